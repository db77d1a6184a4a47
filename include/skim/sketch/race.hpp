// SPDX-License-Identifier: Apache-2.0
//
// Kernel sums from counters: how much weight lies around a query, in time and memory independent of
// the stream.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/family.hpp"
#include "skim/sketch/detail/counting.hpp"
#include "skim/sketch/sketch.hpp"
#include "skim/table/counter_rows.hpp"

namespace skim::inline v0 {

/// How the rows of a race_sketch are combined.
enum class race_form : std::uint8_t {
  mean,            ///< least variance
  median_of_means  ///< exponential confidence: a few bad rows cannot move it far
};

/// A kernel sum, with the error seen between rows.
struct race_estimate {
  double value = 0;           ///< estimates sum_i w_i kernel(x, x_i); may be < 0 by debiasing
  double standard_error = 0;  ///< of value over the hash functions; infinite for one row
  std::size_t rows_hit = 0;   ///< rows whose cell has seen data
};

/// Sizes of a race_sketch. The row count R is family.num_hashes().
struct race_params {
  std::size_t width = 4096;  ///< W, cells a row; a power of two
  std::size_t groups = 1;    ///< g of median_of_means, at most R; 8 ln(1/p) for confidence 1 - p
};

/// Repeated array-of-counts estimator: a one-pass sketch of weighted kernel sums.
///
/// Row r adds the weight of a point to the cell of its r-th code. The cell a query lands in has
/// expectation sum_i w_i kernel(x, x_i) over the hash functions. Codes that outnumber the cells are
/// hashed; the 1/W of all weight that lands anywhere is then subtracted:
/// (C_r - N/W) / (1 - 1/W), N the total weight.
///
/// Shape:   x is (d) or sparse, a batch row-major (n, d) or CSR, d = family().dim(); cached codes
///          (n, R); weights in [0, 2^30].
/// Memory:  4 R W bytes.
/// Cost:    a hash of x (none with cached codes) and R cells; decay O(1) amortised.
/// Error:   unbiased. One row has variance at most V = (sum_i w_i sqrt(k_i))^2 when codes are
///          addressed exactly, since Pr[i and j both collide with x] <= sqrt(k_i k_j); hashing adds
///          at most the variance of the 1/W share. With probability 1 - p the median of g = 8 ln(1/p)
///          means is within sqrt(32 V ln(1/p) / R). A cell stops counting at 2^24 times the weight of
///          an insertion (float).
/// Linear:  merge equals the sketch of both streams, and subtract undoes it, up to the rounding of
///          float sums; exactly while all sums are integers below 2^24.
/// Threads: const members may run at once, one workspace per thread. Writers need exclusive access.
/// Seeds:   equal families and parameters give equal cells on every platform.
/// Ref:     Coleman and Shrivastava 2020, WWW, Theorem 1; Lugosi and Mendelson 2019.
///
/// @tparam Family  hash family; its collision probability is the kernel
template <hash_family Family>
class race_sketch {
 public:
  using params = race_params;

  /// Throws invalid_params for a width that is no power of two, or groups outside 1 to R.
  explicit race_sketch(Family family, params p = {});

  /// Adds a point, or one per row. Empty weights are all 1. Throws invalid_input, and changes
  /// nothing, for a wrong shape, a coordinate that is not finite, or a weight outside [0, 2^30].
  void insert(std::span<const float> x, workspace& ws, float weight = 1);
  void insert(sparse_row x, workspace& ws, float weight = 1) requires sparse_hash_family<Family>;
  void insert(matrix_view<const float> x, std::span<const float> weights, workspace& ws);
  void insert(sparse_view x, std::span<const float> weights,
              workspace& ws) requires sparse_hash_family<Family>;
  template <code_integer Code>
  void insert_codes(const cached_codes<Code>& of, std::span<const float> weights = {});

  /// The kernel sum at a point, or at each row.
  [[nodiscard]] race_estimate query(std::span<const float> x, workspace& ws,
                                    race_form form = race_form::mean) const;
  [[nodiscard]] race_estimate query(sparse_row x, workspace& ws, race_form form = race_form::mean)
      const requires sparse_hash_family<Family>;
  void query(matrix_view<const float> x, std::span<race_estimate> out, workspace& ws,
             race_form form = race_form::mean) const;
  template <code_integer Code>
  void query_codes(const cached_codes<Code>& of, std::span<race_estimate> out,
                   race_form form = race_form::mean) const;

  /// Multiplies all weights so far by factor. Throws invalid_input unless 0 <= factor <= 1.
  void decay(double factor);
  void clear() noexcept;

  /// Adds another sketch, or takes a part away again. Throws merge_error unless compatible(other), if
  /// a cell would overflow, or if more is subtracted than there is.
  void merge(const race_sketch& other) { combine(other, 1, "merge"); }
  void subtract(const race_sketch& other) { combine(other, -1, "subtract"); }
  [[nodiscard]] bool compatible(const race_sketch& other) const noexcept {
    return fingerprint() == other.fingerprint();
  }
  [[nodiscard]] std::uint64_t fingerprint() const noexcept {
    return fingerprint_of(std::uint64_t{0x72616365}, family_.fingerprint(), params_.width);
  }

  [[nodiscard]] std::size_t dim() const noexcept { return family_.dim(); }
  [[nodiscard]] std::size_t rows() const noexcept { return cells_.rows(); }
  [[nodiscard]] std::size_t width() const noexcept { return cells_.width(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return cells_.bytes(); }
  [[nodiscard]] const Family& family() const noexcept { return family_; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] double total_weight() const noexcept { return total_ * scale_.value(); }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static race_sketch load(reader& in);

 private:
  void combine(const race_sketch& other, double sign, std::string_view verb);
  void insert_points(const auto& x, std::size_t n, std::span<const float> weights, workspace& ws);
  void query_points(const auto& x, std::size_t n, std::span<race_estimate> out, workspace& ws,
                    race_form form) const;

  Family family_;
  params params_;
  code_columns columns_;
  counter_rows<float> cells_;
  detail::lazy_scale scale_;
  double total_ = 0;  // of stored weights
};

}  // namespace skim::inline v0

#include "skim/sketch/detail/race_impl.hpp"
