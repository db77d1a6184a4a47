// SPDX-License-Identifier: Apache-2.0
//
// Densities at a set of candidates, kept current while points come, move and go.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/point_table.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

/// What standing_queries hold.
struct standing_queries_params {
  std::size_t dim = 1;  ///< d, coordinates of a point and of a candidate
  density_kernel kernel{};
};

/// The exact densities at m candidates, each update of the points added to all of them in one pass.
///
/// For those who read the densities of the same places after every few updates: a training loop that
/// watches its candidates. Where fewer than one in n / m queries hits a candidate, ask a density structure.
///
/// A kernel has the same bits whether it is added or taken away, at an update of the points or of the
/// candidates, and sums are kept in two doubles: what came and went leaves nothing behind but 2^-100 of the
/// largest sum there was, however many updates there are.
///
/// Shape:   points and candidates (d); ids of either as those of exact_density, independent of one another.
/// Memory:  bytes(): 4 (d + 1) + 8 a point, 4 (d + 1) + 24 a candidate, an eighth more where they grew one
///          by one.
/// Cost:    insert and erase m d subtractions and FMAs of floats and m kernels, replace twice that; a
///          candidate n d and n kernels; an answer O(1). Batches of either share passes.
/// Error:   as exact_density, and the above.
/// Threads: const members may run at once. Writers need exclusive access; their batches run on an executor,
///          which does not change results.
/// Seeds:   none.
/// Ref:     none; plain sums. (Laenen et al. 2025, ICML, keep sampled ones in hash tables.)
class standing_queries {
 public:
  using params = standing_queries_params;

  /// Throws invalid_params for 0 or more than 2^24 dimensions, or an impossible kernel.
  explicit standing_queries(params p)
      : kernel_(checked(p).kernel), points_(p.dim), watched_(p.dim) {}

  /// Adds a point, or one per row with weights (n; none: all 1), and returns or writes the ids. Throws
  /// invalid_input, and changes nothing, as exact_density::insert() does.
  id_t insert(std::span<const float> x, float weight, workspace& ws);
  template <executor Executor = serial_executor>
  void insert(matrix_view<const float> x, std::span<const float> weights = {},
              std::span<id_t> ids = {}, Executor&& run = {});

  /// Takes a point out, or puts another in its place with the same weight. Throws as insert() does, and for
  /// the id of no point.
  void erase(id_t id, workspace& ws);
  void replace(id_t id, std::span<const float> x, workspace& ws);

  /// Adds a candidate, or one per row. Throws as insert() does.
  id_t watch(std::span<const float> x, workspace& ws);
  template <executor Executor = serial_executor>
  void watch(matrix_view<const float> x, std::span<id_t> ids = {}, Executor&& run = {});
  /// Takes a candidate out, or moves it. Throws invalid_input, and changes nothing, for the id of none,
  /// and as watch() does.
  void unwatch(id_t candidate);
  void move(id_t candidate, std::span<const float> x, workspace& ws);

  /// The density at a candidate, or at each of some (n) to out (n). Throws invalid_input for the id of no
  /// candidate, and if the sizes differ. 0 where there are no points.
  [[nodiscard]] double density(id_t candidate) const;
  void density(std::span<const id_t> candidates, std::span<double> out) const;

  [[nodiscard]] std::size_t dim() const noexcept { return points_.dim(); }
  /// Points, and candidates.
  [[nodiscard]] std::size_t size() const noexcept { return points_.size(); }
  [[nodiscard]] std::size_t watched() const noexcept { return watched_.size(); }
  [[nodiscard]] double total_weight() const noexcept { return points_.total_weight(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return points_.contains(id); }
  [[nodiscard]] bool watches(id_t candidate) const noexcept { return watched_.contains(candidate); }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return kernel_; }
  /// Another kernel for the same points and candidates: as if all candidates were added anew. Throws
  /// invalid_params as exact_density::set_kernel().
  template <executor Executor = serial_executor>
  void set_kernel(const density_kernel& k, Executor&& run = {});
  [[nodiscard]] std::size_t bytes() const noexcept {
    return points_.bytes() + watched_.bytes() + sums_.capacity() * sizeof(sum);
  }

  /// Portable little-endian image; load() throws format_error on anything save() did not write, but takes
  /// sums on trust where they are possible.
  void save(writer& out) const;
  [[nodiscard]] static standing_queries load(reader& in);

 private:
  // A sum in two doubles: high + low, low no more than a rounding of high.
  struct sum {
    double high = 0, low = 0;

    void add(double v) noexcept {
      const double t = high + v, part = t - high;
      low += (high - (t - part)) + (v - part);
      high = t;
    }
  };

  standing_queries(const density_kernel& k, detail::point_table points, detail::point_table watched)
      : kernel_(k), points_(std::move(points)), watched_(std::move(watched)) {}

  static const params& checked(const params& p) {
    detail::check_dim("standing_queries", p.dim);
    p.kernel.check("standing_queries");
    return p;
  }
  // Adds w k(x, .) to all candidates for the points x and (signed) weights w.
  template <class Executor>
  void add(std::span<const float* const> x, std::span<const double> weights, Executor& run);
  void add(const float* x, double weight);
  // The sums of places from `first` on, whose candidates are given, from all points.
  template <class Executor>
  void compute(std::size_t first, std::span<const float* const> x, Executor& run);
  void compute(std::size_t place, const float* x);
  void reserve_sums(std::size_t more) {
    if (const std::size_t n = sums_.size(); n + more > sums_.capacity())
      sums_.reserve(std::max(n + more, n + n / 8 + 8));
  }
  [[nodiscard]] double at(std::size_t place, double total) const noexcept;

  density_kernel kernel_;
  detail::point_table points_, watched_;
  std::vector<sum> sums_;  // of the places of watched_
};

}  // namespace skim::inline v0

#include "skim/kde/detail/standing_queries_impl.hpp"
