// SPDX-License-Identifier: Apache-2.0
//
// Densities by evaluating the kernel at every point. The oracle of all other structures, and for some
// thousands of points the fastest of them.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/point_table.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

/// What an exact_density holds.
struct exact_density_params {
  std::size_t dim = 1;  ///< d, coordinates of a point
  density_kernel kernel{};
};

/// The density by all points.
///
/// Points lie in blocks of eight, coordinate by coordinate; a tile of blocks and queries is worked on in
/// registers, from differences: nothing cancels, as it does in products of matrices.
///
/// Shape:   points (d), batches (n, d); an id is that of a place in order of insertion, and is given again
///          after the point was erased.
/// Memory:  bytes(): 4 (d + 1) + 8 a point, an eighth more where it grew one by one.
/// Cost:    insert, erase and replace O(d); a query n d subtractions and FMAs of floats, n kernels.
/// Error:   none but rounding: for a density f within a relative (d + 8) 2^-24 ln(1/f) + 2e-6, and 1e-37,
///          if all distances round one way; angular: within 1e-6 (1 + 1/h), but that of nearly opposite
///          points by up to 3e-4 sqrt(d). Batches agree with single queries to rounding. The sum of the
///          weights is exact.
/// Threads: const members may run at once, one workspace each. Writers need exclusive access.
/// Seeds:   none: engines are left as they are, seeds do not matter.
/// Ref:     none; the oracle.
class exact_density {
 public:
  using params = exact_density_params;

  /// Throws invalid_params for 0 or more than 2^24 dimensions, or an impossible kernel.
  explicit exact_density(params p) : kernel_(checked(p).kernel), table_(p.dim) {}

  /// Adds a point (on the sphere, if the kernel is angular) and returns its id, or one per row with
  /// weights (n; none: all 1) and the ids written out (n, or empty: not wanted). Throws invalid_input, and
  /// changes nothing, for a wrong shape, a coordinate that is not finite, a squared norm above 1e37, a
  /// weight outside 1e-15 to 1e15, a zero vector where the kernel is angular, and beyond 2^31 - 2 points.
  id_t insert(std::span<const float> x, float weight, workspace& ws);
  void insert(matrix_view<const float> x, std::span<const float> weights = {},
              std::span<id_t> ids = {});

  /// Forgets everything and holds the rows of x, under the ids 0, 1, .... Throws as insert() does.
  void build(matrix_view<const float> x, std::span<const float> weights = {});
  /// Forgets all points.
  void clear() noexcept { table_.clear(); }

  /// Takes a point out, or puts another in its place with the same weight. Throws invalid_input, and
  /// changes nothing, for the id of no point, and as insert() does.
  void erase(id_t id) {
    table_.check("exact_density::erase", id);
    table_.erase(id);
  }
  void replace(id_t id, std::span<const float> x, workspace& ws);

  /// The density at x. Throws invalid_input for an impossible point or target. Where there are no points,
  /// the value is 0 and `below` true.
  [[nodiscard]] density_estimate density(std::span<const float> x, density_target target,
                                         random_engine& g, workspace& ws) const;

  /// That of each row, to out (n).
  template <executor Executor = serial_executor>
  void density(matrix_view<const float> x, density_target target, seed s,
               std::span<density_estimate> out, Executor&& run = {}) const;

  [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }
  [[nodiscard]] std::size_t dim() const noexcept { return table_.dim(); }
  [[nodiscard]] double total_weight() const noexcept { return table_.total_weight(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return table_.contains(id); }
  /// The weight of a point, and its coordinates as they are kept (on the sphere under the angular kernel).
  /// Pre: contains(id), out.size() == dim().
  [[nodiscard]] float weight(id_t id) const noexcept { return table_.weight(id); }
  void point(id_t id, std::span<float> out) const noexcept { table_.copy_point(id, out); }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return kernel_; }
  /// Another kernel for the same points. Throws invalid_params for an impossible one, or if one of the two
  /// is angular and the other is not.
  void set_kernel(const density_kernel& k) {
    detail::check_kernel_change("exact_density::set_kernel", kernel_, k);
    kernel_ = k;
  }
  void set_bandwidth(double h) { set_kernel({kernel_.kind, h}); }
  [[nodiscard]] std::size_t bytes() const noexcept { return table_.bytes(); }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const {
    out.begin_frame("exact_density");
    detail::save_kernel(out, kernel_);
    table_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static exact_density load(reader& in) {
    in.begin_frame("exact_density");
    const density_kernel k = detail::load_kernel(in);
    exact_density d(k, detail::point_table::load(in, k));
    in.end_frame();
    return d;
  }

 private:
  exact_density(const density_kernel& k, detail::point_table table)
      : kernel_(k), table_(std::move(table)) {}

  static const params& checked(const params& p) {
    detail::check_dim("exact_density", p.dim);
    p.kernel.check("exact_density");
    return p;
  }
  [[nodiscard]] density_estimate answer(double sum, const density_target& target) const noexcept {
    const double value = sum / table_.total_weight();
    return {value, 0, table_.size(), value < target.smallest};
  }

  density_kernel kernel_;
  detail::point_table table_;
};

}  // namespace skim::inline v0

#include "skim/kde/detail/exact_density_impl.hpp"
