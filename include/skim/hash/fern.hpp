// SPDX-License-Identifier: Apache-2.0
//
// Ferns: hashes made of comparisons of single coordinates with random thresholds. No products: the
// cheapest family for wide rows and for streams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/bits.hpp"
#include "skim/hash/family.hpp"

namespace skim::inline v0 {

/// Where the thresholds of one coordinate lie: uniform in [lo, hi). A coordinate with lo == hi or
/// weight 0 is never compared.
struct fern_coordinate {
  float lo = 0, hi = 1;
  double weight = 1;  ///< relative probability that a feature compares this coordinate
};

/// How fit() weighs the coordinates.
enum class fern_weighting : std::uint8_t {
  uniform,   ///< alike, but for those that are constant in the sample
  variation  ///< by how often a comparison separates two points of the sample: right for sparse data
};

/// Sizes of a fern_family.
struct fern_params {
  std::size_t hashes = 16;  ///< R, codes a point
  std::size_t bits = 12;    ///< K, features a hash; codes are below 2^K; at most 32
  /// Features drawn in one go from one block of 16 neighbouring coordinates; divides `bits`. With 1
  /// features are independent; a hash touches at most bits/run cache lines of a row.
  std::size_t run = 1;
  std::size_t knots = 16;  ///< m, quantile intervals a coordinate; used by fit() only; at most 1024
  fern_weighting weighting = fern_weighting::uniform;  ///< used by fit() only
};

/// Hashes a point by comparing coordinates with random thresholds.
///
/// A feature is a coordinate j, drawn with probability w_j, and a threshold t from a distribution of
/// j's own; its bit is x_j > t. A hash packs `bits` features, the first in the highest bit. Two
/// points differ in a feature of coordinate j just if min(x_j, y_j) <= t < max(x_j, y_j), that is
/// with probability delta_j = |G_j(x_j) - G_j(y_j)|, where G_j(z) = P(t < z). So for independent
/// features
///
///   kernel(x, y) = (1 - sum_j w_j delta_j)^bits,
///
/// a product kernel in the L1 metric of the rank-transformed coordinates. With run > 1 the `run`
/// features of a group share a block b of 16 coordinates, drawn with the total weight W_b of its
/// coordinates; then
///
///   kernel(x, y) = ( sum_b W_b (1 - sum_{j in b} (w_j / W_b) delta_j)^run )^(bits / run).
///
/// G_j is piecewise linear: uniform on a given range, or through the m-quantiles of a sample, where it
/// jumps at values that many points share. Thresholds at the maximum, which separate nothing, are not
/// drawn.
///
/// Shape:   x is (d) or sparse with missing = 0, a batch (n, d) or CSR; codes (hashes) or (n, hashes).
/// Memory:  24 bytes a feature, the knots (at most 4 (m + 1) d bytes), 3/16 d bytes to find the
///          features of a sparse entry.
/// Cost:    dense: hashes * bits comparisons, 32 points at a time in a batch and a register of
///          features at a time in a single point; one pass over the coordinates that are compared.
///          Sparse: the nonzeros, and the features they meet; in a batch with few features for its
///          nonzeros, all features, 32 points at a time.
/// Error:   the kernel is exact up to the rounding of thresholds to float.
/// Threads: immutable: any number at once, each with its own workspace.
/// Seeds:   equal seeds, parameters and coordinates give equal codes on every platform.
/// Ref:     Ozuysal et al. 2010, IEEE TPAMI 32(3) (ferns); Andoni and Indyk 2006, FOCS, and Gionis,
///          Indyk, Motwani 1999, VLDB (thresholds as hashing for L1). The kernel is derived above.
class fern_family {
 public:
  using params = fern_params;

  /// Thresholds uniform in given ranges, one per coordinate. Throws invalid_params for bad sizes, for
  /// a range that is not finite and ascending, and if no coordinate can be drawn.
  fern_family(params p, std::span<const fern_coordinate> coordinates, seed s);

  /// Thresholds distributed as the coordinates of a sample. Throws invalid_input for an empty sample
  /// or one that is not finite, invalid_params if all its coordinates are constant.
  [[nodiscard]] static fern_family fit(matrix_view<const float> sample, params p, seed s);
  [[nodiscard]] static fern_family fit(sparse_view sample, params p, seed s);

  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  [[nodiscard]] std::size_t num_hashes() const noexcept { return params_.hashes; }
  /// K, comparisons to one code.
  [[nodiscard]] std::size_t bits() const noexcept { return params_.bits; }
  [[nodiscard]] std::uint64_t range() const noexcept { return std::uint64_t{1} << params_.bits; }
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  /// Coordinates that some feature compares: what hash() reads of a row.
  [[nodiscard]] std::span<const id_t> used() const noexcept { return used_; }

  /// Codes of one point, or of n; see hash_family.
  void hash(std::span<const float> x, std::span<code_t> codes, workspace& ws) const;
  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const;
  void hash(sparse_row x, std::span<code_t> codes, workspace& ws) const;
  void hash(sparse_view x, std::span<code_t> codes, workspace& ws) const;

  /// Probability that one hash gives x and y the same code.
  [[nodiscard]] double kernel(std::span<const float> x, std::span<const float> y) const;

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static fern_family load(reader& in);

 private:
  struct distribution {  // of every coordinate's thresholds: knots[first[j] .. first[j + 1])
    std::vector<std::uint32_t> first;
    std::vector<float> knots;
    std::vector<double> weights;  // 0: never drawn
  };
  struct flip {  // what an entry of a sparse row can change
    std::uint32_t hash = 0;
    code_t bit = 0;
    float threshold = 0;
  };

  fern_family(seed s, params p, distribution d);
  void draw();
  void index_sparse();
  [[nodiscard]] double separation(std::size_t j, float x, float y) const noexcept;
  [[nodiscard]] double below(std::size_t j, float x) const noexcept;
  void check_used(std::span<const float> x, std::size_t row) const;
  template <class Arch>
  [[nodiscard]] bool hash_one(const float* x, float* compared, std::uint16_t* words) const noexcept;
  template <class Arch>
  [[nodiscard]] bool hash_block(const float* const* rows, std::size_t count, float* lanes,
                                code_t* codes) const noexcept;
  template <class Arch>
  void hash_block(sparse_view x, std::size_t first, std::size_t count, float* lanes,
                  code_t* codes) const noexcept;
  template <class Arch>
  void compare_lanes(const float* lanes, std::size_t count, code_t* codes) const noexcept;
  void hash_sparse(sparse_row x, code_t* codes) const noexcept;
  template <class Column>
  static distribution fit_columns(std::size_t rows, std::size_t cols, const params& p,
                                  Column&& column);

  params params_;
  seed seed_;
  std::size_t dim_ = 0;
  std::uint64_t fingerprint_ = 0;
  distribution distribution_;
  std::vector<id_t> used_;  // ascending
  // Features, (hashes, bits), the last of a hash first: that is the order of its bits.
  std::vector<id_t> coordinates_;
  std::vector<std::uint32_t> slots_;    // positions of these in used_
  aligned_vector<float> thresholds_;    // padded to whole words with thresholds nothing exceeds
  std::vector<code_t> zero_codes_;      // codes of the zero vector
  std::vector<std::uint64_t> present_;  // bit j: coordinate j is used
  std::vector<std::uint32_t> present_before_;  // used coordinates below 64 w
  std::vector<std::uint32_t> flips_first_;     // (used + 1)
  std::vector<flip> flips_;
};

static_assert(kernel_family<fern_family> && sparse_hash_family<fern_family>);
static_assert(bit_hash_family<fern_family>);

}  // namespace skim::inline v0

#include "skim/hash/detail/fern_impl.hpp"
