// SPDX-License-Identifier: Apache-2.0
//
// Kernel density by summing over all points: the oracle of the others, and the best of them for a few
// thousand points.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
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
  std::size_t dim = 1;    ///< d, coordinates of a point
  density_kernel kernel = {};  ///< may change later
};

/// Kernel density by summing over all points, eight at a time; a batch takes four queries at once over
/// points that stay in the cache.
///
/// Shape:   points (d), batches (n, d).
/// Memory:  4 (d + 1) + 8 bytes a point, an eighth more at most as it grows.
/// Cost:    insert, erase and replace O(d); a query n d subtractions and FMAs of floats and n kernels,
///          in batches at some two thirds of the FMA rate (differences first: no digit is lost to
///          cancellation).
/// Error:   rounding alone: a kernel is within some 1e-6 (1 + d / 10) of its value, sums are in double.
/// Threads: const members may run at once, one workspace and engine each. Writers need exclusive
///          access.
/// Seeds:   nothing is random; engines and seeds are taken for the sake of the common interface.
/// Ref:     none; the oracle.
class exact_density {
 public:
  using params = exact_density_params;

  /// Holds no points. Throws invalid_params for 0 or more than 2^24 dimensions, or a kernel out of
  /// range.
  explicit exact_density(params p) : table_("exact_density", p.dim, p.kernel) {}

  /// Adds a point and returns its id, an id that was erased before if there is one. Throws
  /// invalid_input, and changes nothing, for a wrong shape, a coordinate that is not finite, a squared
  /// norm above 1e37, a weight outside 1e-15 to 1e15, or a zero vector under the angular kernel.
  id_t insert(std::span<const float> x, float weight, workspace&) {
    return table_.insert("exact_density::insert", x, weight);
  }
  /// Forgets everything and holds the rows of x, with ids 0, 1, ...; weights: one a row, or none for 1
  /// each. Throws as insert() does.
  void build(matrix_view<const float> x, std::span<const float> weights = {}) {
    table_.build("exact_density::build", x, weights);
  }
  /// Takes a point out. Throws invalid_input, and changes nothing, for the id of no point.
  void erase(id_t id) { table_.erase("exact_density::erase", id); }
  /// Puts a point where another was, with its id and weight. Throws as insert() and erase() do.
  void replace(id_t id, std::span<const float> x, workspace&) {
    table_.replace("exact_density::replace", id, x);
  }
  /// Forgets all points.
  void clear() noexcept { table_.clear(); }

  /// The density at x. Throws invalid_input for a point that insert() would not take, or a target out
  /// of range. Where there are no points, the value is 0 and `below` true.
  [[nodiscard]] density_estimate density(std::span<const float> x, const density_target& target,
                                         random_engine&, workspace& ws) const;
  /// The same for each row of x, to out (n).
  template <executor Executor = serial_executor>
  void density(matrix_view<const float> x, const density_target& target, seed,
               std::span<density_estimate> out, Executor&& run = {}) const;

  /// Other kernels over the same points, at no cost. Throws invalid_params for values out of range, and
  /// between the angular kernel, whose points are kept on the sphere, and others.
  void set_kernel(const density_kernel& k) { table_.set_kernel("exact_density::set_kernel", k); }
  void set_bandwidth(double h) { set_kernel({kernel().kind, h}); }

  [[nodiscard]] std::size_t dim() const noexcept { return table_.dim(); }
  [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }
  [[nodiscard]] double total_weight() const noexcept { return table_.total_weight(); }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return table_.kernel(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return table_.contains(id); }
  /// Copies a point, as it is kept (on the sphere under the angular kernel). Pre: contains(id),
  /// out.size() == dim().
  void point(id_t id, std::span<float> out) const noexcept {
    table_.points().copy_point(table_.place(id), out);
  }
  /// Pre: contains(id).
  [[nodiscard]] float weight(id_t id) const noexcept {
    return table_.points().weight(table_.place(id));
  }
  [[nodiscard]] std::size_t bytes() const noexcept { return table_.bytes(); }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const {
    out.begin_frame("exact_density");
    table_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static exact_density load(reader& in) {
    in.begin_frame("exact_density");
    exact_density d(detail::point_table::load("exact_density", in));
    in.end_frame();
    return d;
  }

 private:
  explicit exact_density(detail::point_table table) : table_(std::move(table)) {}

  [[nodiscard]] density_estimate answer(double sum, const density_target& target) const noexcept {
    if (size() == 0) return {0, 0, 0, true};
    const double value = std::min(sum / total_weight(), 1.0);
    return {value, 0, size(), value < target.smallest};
  }

  detail::point_table table_;
};

inline density_estimate exact_density::density(std::span<const float> x,
                                               const density_target& target, random_engine&,
                                               workspace& ws) const {
  detail::check_density_point("exact_density::density", x, dim(), kernel());
  target.check("exact_density::density");
  auto frame = ws.frame();
  const float* const q = detail::kept_point(x, frame.take<float>(dim()), kernel()).data();
  const detail::block_list& points = table_.points();
  double sum = 0;
  detail::with_profile(kernel(), [&](auto profile) {
    for (std::size_t b = 0; b < points.blocks(); ++b)
      sum += static_cast<double>(detail::kernel_sum(profile, points.block(b), q, dim()));
  });
  return answer(sum, target);
}

template <executor Executor>
void exact_density::density(matrix_view<const float> x, const density_target& target, seed,
                            std::span<density_estimate> out, Executor&& run) const {
  constexpr std::size_t grain = 64, tile_bytes = std::size_t{1} << 17;
  detail::check_density_batch("exact_density::density", x.rows(), out.size());
  target.check("exact_density::density");
  for (std::size_t i = 0; i < x.rows(); ++i)
    detail::check_density_point("exact_density::density", x.row(i), dim(), kernel());
  const detail::block_list& points = table_.points();
  const std::size_t tile = std::max<std::size_t>(1, tile_bytes / sizeof(float) / points.stride());
  run.parallel_for(x.rows(), grain, [&](std::size_t first, std::size_t last) {
    workspace ws;
    auto frame = ws.frame();
    // Whole groups of four: the last query stands in for those that are missing.
    const std::size_t count = last - first, padded = (count + 3) / 4 * 4;
    const auto kept = frame.take<float>(padded * dim());
    const auto sums = frame.take<double>(padded);
    for (std::size_t i = 0; i < padded; ++i) {
      const auto to = kept.subspan(i * dim(), dim());
      const auto from = detail::kept_point(x.row(first + std::min(i, count - 1)), to, kernel());
      if (from.data() != to.data()) std::copy(from.begin(), from.end(), to.begin());
      sums[i] = 0;
    }
    detail::with_profile(kernel(), [&](auto profile) {
      for (std::size_t from = 0; from < points.blocks(); from += tile) {
        const std::size_t to = std::min(points.blocks(), from + tile);
        for (std::size_t i = 0; i < padded; i += 4) {
          const std::array<const float*, 4> four{&kept[i * dim()], &kept[(i + 1) * dim()],
                                                 &kept[(i + 2) * dim()], &kept[(i + 3) * dim()]};
          for (std::size_t b = from; b < to; ++b) {
            std::array<float, 4> s;
            detail::kernel_sums(profile, points.block(b), four, dim(), s);
            for (std::size_t k = 0; k < 4; ++k) sums[i + k] += static_cast<double>(s[k]);
          }
        }
      }
    });
    for (std::size_t i = 0; i < count; ++i) out[first + i] = answer(sums[i], target);
  });
}

}  // namespace skim::inline v0
