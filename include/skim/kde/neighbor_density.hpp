// SPDX-License-Identifier: Apache-2.0
//
// Densities from the nearest points, which an index finds, and a sample of all others.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/detail/weight_classes.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

/// What a neighbor_density holds, besides its index.
struct neighbor_density_params {
  density_kernel kernel{};
  std::size_t neighbors = 64;  ///< k that the index is asked for, 1 to 2^20
};

/// The effort of an index whose search has none.
struct no_effort {
  friend bool operator==(const no_effort&, const no_effort&) = default;
};

namespace detail {

// What any search takes.
template <class Effort>
[[nodiscard]] constexpr Effort least_effort() noexcept {
  if constexpr (std::integral<Effort>)
    return Effort{1};
  else
    return Effort{};
}

}  // namespace detail

/// An index that a neighbor_density can stand on: flat_index, partition_index (Effort: std::size_t, lists to
/// look into), lsh_index (lsh_effort). One that has build(rows) is built where all points are known.
template <class Index, class Effort>
concept neighbor_index = requires(Index& i, const Index& c, std::span<const float> x, id_t id,
                                  std::span<neighbor> out, workspace& ws, writer& w, reader& r) {
  { c.dim() } -> std::convertible_to<std::size_t>;
  { c.size() } -> std::convertible_to<std::size_t>;
  { c.point(id) } -> std::convertible_to<std::span<const float>>;
  { c.contains(id) } -> std::convertible_to<bool>;
  i.erase(id);
  c.save(w);
  { Index::load(r) } -> std::same_as<Index>;
};

/// The density as the kernels of the k nearest points plus those of blocks of eight points drawn uniformly
/// from the others, afresh for every query: each draw is unbiased, whatever the index finds or misses.
///
/// Promise: as uniform_density, if the index misses no point nearer than the farthest it returns (a flat_index
///          never does; a partition_index with all its lists neither): no other kernel then exceeds that of
///          the farthest, and few draws bound the rest. An index that misses some makes that bound wrong, which
///          shows if such a point is drawn (the query then begins anew without it), and else not: then
///          the answer may be too low by what was missed, more often than promised.
///
/// Shape:   points (d), batches (n, d); ids are the index's.
/// Memory:  that of the index, which holds the points in rows, and 4 (d + 1) + 8 a point for the blocks.
/// Cost:    updates those of the index and O(d); a query a search, k kernels, and the draws of
///          uniform_density with the farthest neighbour's kernel for 1; at most 5 n / 3 kernels.
/// Error:   as promised, and rounding. standard_error is that of the draws. Evaluations are kernels; what the
///          index computes is not among them.
/// Threads: as uniform_density.
/// Seeds:   as uniform_density, with an equal index.
/// Ref:     Karppa, Aumueller and Pagh 2022, AISTATS (DEANN: the split); the bound as in uniform_density.
///
/// @tparam Index   neighbor_index
/// @tparam Effort  what its search takes beyond the workspace; no_effort: nothing
template <class Index, class Effort = no_effort>
requires neighbor_index<Index, Effort>
class neighbor_density {
 public:
  using params = neighbor_density_params;

  /// Takes an index without points. Throws invalid_params for one with points, an impossible kernel, 0 or
  /// more than 2^20 neighbours, and a metric that does not order points as the kernel does: cosines for the
  /// angular one, Euclidean distances for all others.
  neighbor_density(params p, Index index, Effort effort = detail::least_effort<Effort>(),
                   seed s = {});

  /// Forgets everything and holds the rows of x, with weights (n; none: all 1) and ids 0, 1, ...; of an
  /// index that has build(). Throws as exact_density::insert(), and as the index does; then nothing has
  /// changed.
  template <executor Executor = serial_executor>
  void build(matrix_view<const float> x, std::span<const float> weights = {},
             Executor&& run = {}) requires requires(Index& i) {
    i.build(x, run);
  };

  /// As exact_density::insert(), erase() and replace(), and as those of the index. Of a batch in which the
  /// index refuses or fails to store a row, those before it stay.
  id_t insert(std::span<const float> x, float weight, workspace& ws);
  void insert(matrix_view<const float> x, std::span<const float> weights = {},
              std::span<id_t> ids = {});
  void erase(id_t id);
  void replace(id_t id, std::span<const float> x, workspace& ws);

  /// As uniform_density::density().
  [[nodiscard]] density_estimate density(std::span<const float> x, density_target target,
                                         random_engine& g, workspace& ws) const;
  template <executor Executor = serial_executor>
  void density(matrix_view<const float> x, density_target target, seed s,
               std::span<density_estimate> out, Executor&& run = {}) const;

  [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
  [[nodiscard]] std::size_t dim() const noexcept { return list_.dim(); }
  [[nodiscard]] double total_weight() const noexcept { return total_.value(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return index_.contains(id); }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return params_.kernel; }
  /// Another kernel for the same points. Throws invalid_params for an impossible one, or if one of the two is
  /// angular and the other is not.
  void set_kernel(const density_kernel& k) {
    detail::check_kernel_change("neighbor_density::set_kernel", kernel(), k);
    params_.kernel = k;
  }
  void set_bandwidth(double h) { set_kernel({kernel().kind, h}); }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] const Index& index() const noexcept { return index_; }
  [[nodiscard]] const Effort& effort() const noexcept { return effort_; }
  void set_effort(Effort e) noexcept { effort_ = e; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return index_.bytes() + list_.bytes() + places_.capacity() * sizeof(std::uint32_t);
  }

  /// Portable little-endian image, the effort left out; load() throws format_error on anything save() did not
  /// write.
  void save(writer& out) const;
  [[nodiscard]] static neighbor_density load(reader& in,
                                             Effort effort = detail::least_effort<Effort>());

 private:
  struct moments;

  neighbor_density(const params& p, Index index, Effort effort, const random_engine& order)
      : params_(p), index_(std::move(index)), effort_(effort), order_(order), list_(index_.dim()) {}

  void check_id(std::string_view who, id_t id) const {
    if (!contains(id))
      SKIM_THROW(invalid_input,
                 detail::concat(who, ": got id ", id, ", wanted that of a point it holds"));
  }
  [[nodiscard]] static metric metric_of(const Index& index) noexcept {
    if constexpr (requires { index.distance(); })
      return index.distance();
    else
      return index.parameters().distance;
  }
  static const params& checked(const params& p, const Index& index);
  void put(id_t id, float weight);
  void draw(const float* x, std::uint64_t blocks, std::span<const std::uint32_t> left_out,
            random_engine& g, moments& m) const;
  [[nodiscard]] density_estimate estimate(std::span<const float> x, const density_target& target,
                                          random_engine& g, workspace& ws) const;

  params params_;
  Index index_;
  Effort effort_;
  random_engine order_;
  detail::block_list list_;            // the index's points, in random order
  std::vector<std::uint32_t> places_;  // of the index's ids
  detail::weight_sum total_;
  detail::weight_classes classes_;
};

}  // namespace skim::inline v0

#include "skim/kde/detail/neighbor_density_impl.hpp"
