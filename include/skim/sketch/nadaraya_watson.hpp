// SPDX-License-Identifier: Apache-2.0
//
// Kernel regression from counters: insert (x, y) pairs once, then ask for the locally weighted mean
// of y around any query, in time independent of the stream.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
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

/// One observation at a point.
struct observation {
  float score = 0;    ///< y
  float weight = 1;   ///< w; 1/p keeps the sketch unbiased for examples drawn with probability p
  label_t label = 0;  ///< class of the point, below nadaraya_watson_params::classes
};

/// Observations at the rows of a batch. Empty weights are all 1, empty labels all 0.
struct observations {
  std::span<const float> scores{};
  std::span<const float> weights{};
  std::span<const label_t> labels{};
};

/// How the rows of the sketch are combined to E[y | x].
enum class regression_form : std::uint8_t {
  shrunk_ratios,   ///< mean over rows of (A_r + k m)/(B_r + k): the most accurate in practice
  ratio_of_means,  ///< mean of A_r over mean of B_r, both debiased: consistent
  median_of_means  ///< the same with medians of group means: bounds at exponential confidence
};

/// The mean m that shrunk ratios lean to where there is little data.
enum class regression_prior : std::uint8_t {
  global,    ///< running mean of all scores
  per_class  ///< running mean of the label's scores; the global one while the label has none
};

/// What the fast queries return.
enum class regression_value : std::uint8_t {
  mean,             ///< E[y | x]
  root_mean_square  ///< sqrt(E[y^2 | x]), the best sampling score; needs Moments == 2
};

/// A kernel regression at one point, with what it rests on. k_i = kernel(x, x_i) if x_i has the
/// label asked for, else 0.
struct regression_estimate {
  double mean = 0;             ///< E[y | x]; the prior mean where there is no data
  double second_moment = 0;    ///< E[y^2 | x]; 0 with Moments == 1
  double weighted_sum = 0;     ///< estimates sum_i k_i w_i y_i without bias
  double weight = 0;           ///< estimates sum_i k_i w_i without bias; may be <= 0 by noise
  double effective_count = 0;  ///< equally weighted examples that would carry as much
  double standard_error = 0;   ///< of `mean`, from its variation between rows; infinite for one row
  std::size_t rows_hit = 0;    ///< rows whose cell has seen data
};

/// Sizes of a nadaraya_watson_sketch. The row count R is family.num_hashes().
struct nadaraya_watson_params {
  std::size_t width = 2048;  ///< W, cells a row; a power of two
  std::size_t classes = 1;   ///< labels; 1: not conditioned on labels
  std::size_t groups = 1;    ///< g of median_of_means, at most R; 8 ln(1/p) for confidence 1 - p
  double shrinkage = 1;      ///< k, weight of the prior mean in one row; positive
  regression_prior prior = regression_prior::global;
};

namespace detail {

template <std::size_t Moments>
struct regression_cell {  // adjacent, so that a probe touches one cache line
  float weight = 0, sum = 0;
};
template <>
struct regression_cell<2> {
  float weight = 0, sum = 0, square = 0, weight_square = 0;
};

struct regression_totals {  // over the stream, in stored units
  double weight = 0, sum = 0, square = 0, weight_square = 0;

  void insert(double w, double y) noexcept {
    weight += w;
    sum += w * y;
    square += w * y * y;
    weight_square += w * w;
  }
};

}  // namespace detail

/// One-pass sketch of the Nadaraya-Watson estimator under an LSH kernel.
///
/// Row r keeps sums B of w and A of w y per cell, over the points whose r-th code (mixed with the
/// label) lands there; with two moments also sums of w y^2 and w^2. The cells a query lands in have
/// the kernel sums as their expectation over the hash functions: E[A_r] = sum_i k_i w_i y_i, and
/// E[B_r] = sum_i k_i w_i. Where codes and labels outnumber the cells of a row they are hashed, which
/// adds 1/W of all other data to each cell; the unbiased forms subtract it,
/// (A_r - Y/W) / (1 - 1/W) with Y = sum_i w_i y_i. Shrunk ratios keep it: it is a pull to the mean.
///
/// Decay is lazy: it changes one factor between stored and true values.
///
/// Shape:   x is (d) or sparse, a batch row-major (n, d) or CSR, d = family().dim(); cached codes
///          (n, R); weights in [0, 2^30]; |w y|, and w y^2 with two moments, at most 2^60.
/// Memory:  8 R W bytes, 16 R W with two moments; keep it inside the second-level cache.
/// Cost:    a hash of x (none with cached codes) and R cells; decay O(1) amortised, O(R W) at most
///          once per factor of 2^16.
/// Error:   each row of the weight has variance at most (sum_i w_i sqrt(k_i))^2, of the weighted sum
///          (sum_i w_i |y_i| sqrt(k_i))^2 when codes are addressed exactly: Pr[i and j both collide]
///          <= sqrt(k_i k_j). Hence both are within sqrt(32 V ln(1/p) / R) of their means with
///          probability 1 - p for g = 8 ln(1/p) groups, V that variance. Shrunk ratios are biased to
///          m by about k/(B + k) + (1/W) N/(B + k). A cell stops counting at 2^24 times the weight of
///          an insertion (float): decay, or use wider rows.
/// Linear:  merge equals the sketch of both streams, and subtract undoes it, up to the rounding of
///          float sums; exactly while all sums are integers below 2^24. Decay by powers of two is
///          exact.
/// Threads: const members may run at once, one workspace per thread. Writers need exclusive access;
///          sketch shards apart and merge() them instead.
/// Seeds:   equal families and parameters give equal cells on every platform.
/// Ref:     Daghaghi et al. 2023, arXiv:2311.13583 (this sketch); Coleman and Shrivastava 2020, WWW
///          (counters, and the variance bound); Lugosi and Mendelson 2019 (median of means).
///
/// @tparam Family   hash family; its collision probability is the kernel
/// @tparam Moments  1, or 2 to estimate E[y^2 | x] and exact effective counts as well
template <hash_family Family, std::size_t Moments = 1>
class nadaraya_watson_sketch {
  static_assert(Moments == 1 || Moments == 2,
                "nadaraya_watson_sketch keeps one or two moments of y");

 public:
  using params = nadaraya_watson_params;
  using cell = detail::regression_cell<Moments>;

  /// Throws invalid_params for a width that is no power of two, no classes, groups outside 1 to R,
  /// or a shrinkage outside [2^-20, 2^30].
  explicit nadaraya_watson_sketch(Family family, params p = {});

  /// Adds one observation, or one per row. Throws invalid_input, and changes nothing, for a wrong
  /// shape, a score or weight that is not finite or out of bounds, or a label out of range.
  void insert(std::span<const float> x, float score, workspace& ws);
  void insert(std::span<const float> x, observation y, workspace& ws);
  void insert(matrix_view<const float> x, observations y, workspace& ws);
  void insert(sparse_row x, observation y, workspace& ws) requires sparse_hash_family<Family>;
  void insert(sparse_view x, observations y, workspace& ws) requires sparse_hash_family<Family>;

  /// The same for all rows of cached codes, or for those listed: scores[i] belongs to rows[i], which
  /// may repeat. Also throws for a code that family() could not have produced.
  template <code_integer Code>
  void insert_codes(const cached_codes<Code>& of, std::span<const float> scores,
                    std::span<const float> weights = {});
  template <code_integer Code>
  void insert_codes(const cached_codes<Code>& of, std::span<const id_t> rows,
                    std::span<const float> scores, std::span<const float> weights = {});
  /// The same for codes and labels that columns() has made columns of.
  void insert_columns(const cached_columns& of, std::span<const float> scores,
                      std::span<const float> weights = {});
  void insert_columns(const cached_columns& of, std::span<const id_t> rows,
                      std::span<const float> scores, std::span<const float> weights = {});

  /// Full estimate at one point, or at each row. Empty labels are all 0. Throws invalid_input for a
  /// wrong shape, a coordinate that is not finite or a label out of range.
  [[nodiscard]] regression_estimate query(
      std::span<const float> x, workspace& ws, label_t label = 0,
      regression_form form = regression_form::shrunk_ratios) const;
  [[nodiscard]] regression_estimate query(sparse_row x, workspace& ws, label_t label = 0,
                                          regression_form form = regression_form::shrunk_ratios)
      const requires sparse_hash_family<Family>;
  void query(matrix_view<const float> x, std::span<const label_t> labels,
             std::span<regression_estimate> out, workspace& ws,
             regression_form form = regression_form::shrunk_ratios) const;
  template <code_integer Code>
  void query_codes(const cached_codes<Code>& of, std::span<regression_estimate> out,
                   regression_form form = regression_form::shrunk_ratios) const;

  /// Shrunk ratios alone, as scores: the fast path. For all rows of a batch or of cached codes, or for
  /// the rows listed: out[i] belongs to rows[i].
  void query(matrix_view<const float> x, std::span<const label_t> labels, std::span<float> out,
             workspace& ws, regression_value value = regression_value::mean) const;
  void query(sparse_view x, std::span<const label_t> labels, std::span<float> out, workspace& ws,
             regression_value value = regression_value::mean) const requires
      sparse_hash_family<Family>;
  template <code_integer Code>
  void query_codes(const cached_codes<Code>& of, std::span<float> out,
                   regression_value value = regression_value::mean) const;
  template <code_integer Code>
  void query_codes(const cached_codes<Code>& of, std::span<const id_t> rows, std::span<float> out,
                   regression_value value = regression_value::mean) const;

  /// Multiplies everything seen so far by factor, so that stale scores fade. Throws invalid_input
  /// unless 0 <= factor <= 1.
  void decay(double factor);
  /// Forgets all data.
  void clear() noexcept;

  /// Adds another sketch, or takes a part away again. Throws merge_error unless compatible(other), if
  /// a cell would overflow, or if more is subtracted than there is.
  void merge(const nadaraya_watson_sketch& other) { combine(other, 1, "merge"); }
  void subtract(const nadaraya_watson_sketch& other) { combine(other, -1, "subtract"); }
  [[nodiscard]] bool compatible(const nadaraya_watson_sketch& other) const noexcept {
    return fingerprint() == other.fingerprint();
  }
  [[nodiscard]] std::uint64_t fingerprint() const noexcept;

  [[nodiscard]] std::size_t dim() const noexcept { return family_.dim(); }
  [[nodiscard]] std::size_t rows() const noexcept { return cells_.rows(); }
  [[nodiscard]] std::size_t width() const noexcept { return cells_.width(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return cells_.bytes(); }
  [[nodiscard]] const Family& family() const noexcept { return family_; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  /// Which cell counts which code and label.
  [[nodiscard]] const code_columns& columns() const noexcept { return columns_; }

  [[nodiscard]] double total_weight() const noexcept { return totals_.weight * scale_.value(); }
  /// Running mean, and mean square, of all scores; 0 while empty. Exact.
  [[nodiscard]] double mean() const noexcept;
  [[nodiscard]] double second_moment() const noexcept;

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static nadaraya_watson_sketch load(reader& in);

 private:
  template <hash_family F, std::size_t M>
  friend class nadaraya_watson_scores;

  struct pull {  // towards the prior, in stored units: ratio = (sum + mean) / (weight + strength)
    float strength, mean;
  };

  void combine(const nadaraya_watson_sketch& other, double sign, std::string_view verb);
  void rescale() noexcept;
  [[nodiscard]] detail::regression_totals prior_totals(label_t label) const noexcept;
  [[nodiscard]] pull pull_for(label_t label, regression_value value) const noexcept;
  void check_value(regression_value value) const;
  void check_scores(std::string_view who, std::size_t n, std::span<const float> scores,
                    std::span<const float> weights) const;
  template <class Points>
  void insert_points(const Points& x, std::size_t n, const observations& y, workspace& ws);
  template <class Points, class Out, class How>
  void query_points(const Points& x, std::size_t n, std::span<const label_t> labels,
                    std::span<Out> out, workspace& ws, How how) const;
  template <class Source>
  void insert_from(const Source& source, std::span<const float> scores,
                   std::span<const float> weights);
  template <class Source>
  void query_from(const Source& source, std::span<float> out, regression_value value) const;
  template <class Source>
  void query_from(const Source& source, std::span<regression_estimate> out,
                  regression_form form) const;
  [[nodiscard]] regression_estimate estimate(std::span<const std::uint32_t> at, label_t label,
                                             regression_form form, std::span<double> scratch) const;

  Family family_;
  params params_;
  code_columns columns_;
  counter_rows<cell> cells_;
  detail::lazy_scale scale_;
  detail::regression_totals totals_;
  std::vector<detail::regression_totals> class_totals_;  // with prior == per_class only
};

/// Shrunk ratios of all cells of a nadaraya_watson_sketch, computed ahead: for scoring very many
/// candidates between few insertions.
///
/// After a full refresh a score equals the sketch's own; later ones lag behind by the cells not yet
/// refreshed. A training loop refreshes the cells of each batch it inserts, and all of them every 16
/// batches or so.
///
/// Memory:  4 R W bytes; 32 KB for R = 4, W = 2048.
/// Cost:    a score is R additions; a full refresh R W vectorised divisions.
/// Error:   that of the sketch; stale cells as above.
/// Threads: query is const: any number at once.
/// Ref:     a cache of nadaraya_watson_sketch, arXiv:2311.13583.
template <hash_family Family, std::size_t Moments = 1>
class nadaraya_watson_scores {
 public:
  using sketch_type = nadaraya_watson_sketch<Family, Moments>;

  /// Throws invalid_params for a sketch with per-class priors, whose scores depend on more than the
  /// cell, and for root_mean_square of one moment.
  explicit nadaraya_watson_scores(const sketch_type& of,
                                  regression_value value = regression_value::mean);

  /// Recomputes all cells, or those that the listed rows of cached codes fall into. Throws merge_error
  /// unless the sketch is compatible with the first one.
  void refresh(const sketch_type& of);
  template <code_integer Code>
  void refresh(const sketch_type& of, const cached_codes<Code>& codes, std::span<const id_t> rows);
  void refresh(const sketch_type& of, const cached_columns& columns, std::span<const id_t> rows);

  /// Scores of all rows of cached codes, or of those listed.
  template <code_integer Code>
  void query_codes(const cached_codes<Code>& of, std::span<float> out) const;
  template <code_integer Code>
  void query_codes(const cached_codes<Code>& of, std::span<const id_t> rows,
                   std::span<float> out) const;
  void query_columns(const cached_columns& of, std::span<const id_t> rows,
                     std::span<float> out) const;

  /// The cached values with their staleness, so that a loaded training loop goes on bit for bit; `of`
  /// is the sketch they belong to. load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static nadaraya_watson_scores load(reader& in, const sketch_type& of);

 private:
  void require_compatible(const sketch_type& of) const;
  template <class Source>
  void refresh_from(const sketch_type& of, const Source& source);
  template <class Source>
  void query_from(const Source& source, std::span<float> out) const;

  code_columns columns_;
  std::uint64_t fingerprint_;
  regression_value value_;
  aligned_vector<float> values_;  // (R, W)
};

}  // namespace skim::inline v0

#include "skim/sketch/detail/nadaraya_watson_impl.hpp"
