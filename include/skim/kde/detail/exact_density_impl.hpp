// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/kernel_tiles.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/exact_density.hpp"

namespace skim::inline v0 {

inline id_t exact_density::insert(std::span<const float> x, float weight, workspace& ws) {
  constexpr std::string_view who = "exact_density::insert";
  detail::check_point(who, x, dim(), kernel_);
  detail::check_weight(who, weight);
  auto frame = ws.frame();
  const auto kept = detail::as_compared(x, kernel_, frame);
  table_.reserve(who, 1);
  return table_.insert(kept, weight);
}

inline void exact_density::insert(matrix_view<const float> x, std::span<const float> weights,
                                  std::span<id_t> ids) {
  constexpr std::string_view who = "exact_density::insert";
  detail::check_points(who, x, dim(), kernel_);
  detail::check_weights(who, weights, x.rows());
  detail::check_ids_room(who, ids.size(), x.rows());
  workspace ws;
  auto frame = ws.frame();
  const std::span<float> room = frame.take<float>(kernel_.on_sphere() ? dim() : 0);
  table_.reserve(who, x.rows());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const id_t id = table_.insert(detail::as_compared(x.row(i), kernel_, room),
                                  weights.empty() ? 1.0f : weights[i]);
    if (!ids.empty()) ids[i] = id;
  }
}

inline void exact_density::build(matrix_view<const float> x, std::span<const float> weights) {
  exact_density fresh({.dim = dim(), .kernel = kernel_});
  fresh.insert(x, weights);
  *this = std::move(fresh);
}

inline void exact_density::replace(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "exact_density::replace";
  table_.check(who, id);
  detail::check_point(who, x, dim(), kernel_);
  auto frame = ws.frame();
  table_.replace(id, detail::as_compared(x, kernel_, frame));
}

inline density_estimate exact_density::density(std::span<const float> x, density_target target,
                                               random_engine&, workspace& ws) const {
  constexpr std::string_view who = "exact_density::density";
  detail::check_point(who, x, dim(), kernel_);
  target.check(who);
  if (size() == 0) return detail::no_points;
  auto frame = ws.frame();
  const auto query = detail::as_compared(x, kernel_, frame);
  return answer(detail::kernel_total(kernel_, table_.list(), query.data()), target);
}

template <executor Executor>
void exact_density::density(matrix_view<const float> x, density_target target, seed,
                            std::span<density_estimate> out, Executor&& run) const {
  constexpr std::string_view who = "exact_density::density";
  detail::check_points(who, x, dim(), kernel_);
  target.check(who);
  detail::check_estimates_room(who, out.size(), x.rows());
  if (size() == 0) {
    std::fill(out.begin(), out.end(), detail::no_points);
    return;
  }
  constexpr std::size_t grain = 64;
  run.parallel_for(x.rows(), grain, [&](std::size_t first, std::size_t last) {
    const std::size_t n = last - first;
    workspace ws;
    auto frame = ws.frame();
    const auto points = frame.template take<const float*>(n);
    const auto sums = frame.template take<std::array<double, detail::tile_queries>>(
        (n + detail::tile_queries - 1) / detail::tile_queries);
    for (std::size_t i = 0; i < n; ++i)
      points[i] = detail::as_compared(x.row(first + i), kernel_, frame).data();
    detail::kernel_totals(kernel_, table_.list(), points, sums);
    for (std::size_t i = 0; i < n; ++i)
      out[first + i] = answer(sums[i / detail::tile_queries][i % detail::tile_queries], target);
  });
}

}  // namespace skim::inline v0
