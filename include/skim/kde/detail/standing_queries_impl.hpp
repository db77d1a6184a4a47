// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/detail/point_table.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/kde/standing_queries.hpp"
#include "skim/linalg/block_tile.hpp"
#include "skim/linalg/point_block.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

namespace detail {

// The kernels of eight distances. Not inlined: whoever calls it, equal distances give equal bits.
template <class Profile>
SKIM_NEVER_INLINE void kernels_of(const Profile& profile, const block_floats<>& distances,
                                  float* out) noexcept {
  block_floats<> k;
  for (std::size_t i = 0; i < k.packs; ++i) k.v[i] = profile(distances.v[i]);
  k.store(out);
}

// Calls f(block, point, kernels) with the eight kernels of each of a list's blocks [first, last) at each of
// the points, a block's points in order.
template <class Profile, class F>
void each_kernel(const Profile& profile, const block_list& list, std::size_t first,
                 std::size_t last, std::span<const float* const> points, const F& f) {
  constexpr std::size_t wide = 8 / block_floats<>::packs, few = 4;
  alignas(cache_line) std::array<float, block_points> k;
  const auto tile = [&]<std::size_t Blocks, std::size_t Points>(
                        std::size_t b, std::size_t p, std::integral_constant<std::size_t, Blocks>,
                        std::integral_constant<std::size_t, Points>) {
    std::array<const float*, Points> x;
    for (std::size_t i = 0; i < Points; ++i) x[i] = points[std::min(p + i, points.size() - 1)];
    const auto d = block_tile_distances<Blocks, Points, Profile::manhattan>(
        list.block(b), list.stride(), x, list.dim());
    for (std::size_t i = 0; i < Blocks; ++i)
      for (std::size_t j = 0; j < Points && p + j < points.size(); ++j) {
        kernels_of(profile, d[i][j], k.data());
        f(b + i, p + j, std::span<const float, block_points>(k));
      }
  };
  constexpr std::integral_constant<std::size_t, 1> one;
  if (points.size() == 1) {
    std::size_t b = first;
    for (; b + wide <= last; b += wide)
      tile(b, 0, std::integral_constant<std::size_t, wide>{}, one);
    for (; b < last; ++b) tile(b, 0, one, one);
    return;
  }
  constexpr std::size_t tall = std::max<std::size_t>(1, wide / few);
  constexpr std::integral_constant<std::size_t, few> several;
  std::size_t b = first;
  for (; b + tall <= last; b += tall)
    for (std::size_t p = 0; p < points.size(); p += few)
      tile(b, p, std::integral_constant<std::size_t, tall>{}, several);
  for (; b < last; ++b)
    for (std::size_t p = 0; p < points.size(); p += few) tile(b, p, one, several);
}

}  // namespace detail

template <class Executor>
void standing_queries::add(std::span<const float* const> x, std::span<const double> weights,
                           Executor& run) {
  if (x.empty()) return;
  const detail::block_list& list = watched_.list();
  detail::with_profile(kernel_, [&](auto profile) {
    run.parallel_for(list.blocks(), 8, [&](std::size_t first, std::size_t last) {
      detail::each_kernel(
          profile, list, first, last, x,
          [&](std::size_t b, std::size_t p, std::span<const float, block_points> k) {
            const std::size_t place = b * block_points;
            const std::size_t lanes = std::min(block_points, sums_.size() - place);
            for (std::size_t i = 0; i < lanes; ++i)
              sums_[place + i].add(weights[p] * static_cast<double>(k[i]));
          });
    });
  });
}

inline void standing_queries::add(const float* x, double weight) {
  const std::array points{x};
  const std::array weights{weight};
  serial_executor run;
  add(points, weights, run);
}

template <class Executor>
void standing_queries::compute(std::size_t first, std::span<const float* const> x, Executor& run) {
  const detail::block_list& points = points_.list();
  detail::with_profile(kernel_, [&](auto profile) {
    run.parallel_for(x.size(), 8, [&](std::size_t begin, std::size_t end) {
      const std::span<sum> sums(sums_.data() + first + begin, end - begin);
      std::fill(sums.begin(), sums.end(), sum{});
      detail::each_kernel(
          profile, points, 0, points.blocks(), x.subspan(begin, end - begin),
          [&](std::size_t b, std::size_t p, std::span<const float, block_points> k) {
            const float* weights = points.block(b) + points.dim() * block_points;
            for (std::size_t i = 0; i < block_points; ++i)
              sums[p].add(static_cast<double>(weights[i]) * static_cast<double>(k[i]));
          });
    });
  });
}

inline void standing_queries::compute(std::size_t place, const float* x) {
  const std::array points{x};
  serial_executor run;
  compute(place, points, run);
}

inline id_t standing_queries::insert(std::span<const float> x, float weight, workspace& ws) {
  constexpr std::string_view who = "standing_queries::insert";
  detail::check_point(who, x, dim(), kernel_);
  detail::check_weight(who, weight);
  auto frame = ws.frame();
  const auto kept = detail::as_compared(x, kernel_, frame);
  points_.reserve(who, 1);
  add(kept.data(), static_cast<double>(weight));
  return points_.insert(kept, weight);
}

template <executor Executor>
void standing_queries::insert(matrix_view<const float> x, std::span<const float> weights,
                              std::span<id_t> ids, Executor&& run) {
  constexpr std::string_view who = "standing_queries::insert";
  detail::check_points(who, x, dim(), kernel_);
  detail::check_weights(who, weights, x.rows());
  detail::check_ids_room(who, ids.size(), x.rows());
  workspace ws;
  auto frame = ws.frame();
  const auto rows = frame.template take<const float*>(x.rows());
  const auto signed_weights = frame.template take<double>(x.rows());
  const auto room =
      frame.template take<float>(kernel_.on_sphere() ? x.rows() * dim() : std::size_t{0});
  points_.reserve(who, x.rows());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const float w = weights.empty() ? 1.0f : weights[i];
    const auto kept = detail::as_compared(
        x.row(i), kernel_, kernel_.on_sphere() ? room.subspan(i * dim(), dim()) : room);
    rows[i] = kept.data();
    signed_weights[i] = static_cast<double>(w);
  }
  add(rows, signed_weights, run);
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const id_t id = points_.insert({rows[i], dim()}, weights.empty() ? 1.0f : weights[i]);
    if (!ids.empty()) ids[i] = id;
  }
}

inline void standing_queries::erase(id_t id, workspace& ws) {
  points_.check("standing_queries::erase", id);
  auto frame = ws.frame();
  const auto old = frame.take<float>(dim());
  points_.copy_point(id, old);
  add(old.data(), -static_cast<double>(points_.weight(id)));
  points_.erase(id);
  if (size() == 0) std::fill(sums_.begin(), sums_.end(), sum{});
}

inline void standing_queries::replace(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "standing_queries::replace";
  points_.check(who, id);
  detail::check_point(who, x, dim(), kernel_);
  auto frame = ws.frame();
  const auto old = frame.take<float>(dim());
  const auto kept = detail::as_compared(x, kernel_, frame);
  points_.copy_point(id, old);
  const auto weight = static_cast<double>(points_.weight(id));
  const std::array<const float*, 2> both{old.data(), kept.data()};
  const std::array weights{-weight, weight};
  serial_executor run;
  add(both, weights, run);
  points_.replace(id, kept);
}

inline id_t standing_queries::watch(std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "standing_queries::watch";
  detail::check_point(who, x, dim(), kernel_);
  auto frame = ws.frame();
  const auto kept = detail::as_compared(x, kernel_, frame);
  watched_.reserve(who, 1);
  reserve_sums(1);
  const id_t id = watched_.insert(kept, 1);
  sums_.emplace_back();
  compute(sums_.size() - 1, kept.data());
  return id;
}

template <executor Executor>
void standing_queries::watch(matrix_view<const float> x, std::span<id_t> ids, Executor&& run) {
  constexpr std::string_view who = "standing_queries::watch";
  detail::check_points(who, x, dim(), kernel_);
  detail::check_ids_room(who, ids.size(), x.rows());
  workspace ws;
  auto frame = ws.frame();
  const auto rows = frame.template take<const float*>(x.rows());
  const auto room =
      frame.template take<float>(kernel_.on_sphere() ? x.rows() * dim() : std::size_t{0});
  watched_.reserve(who, x.rows());
  reserve_sums(x.rows());
  const std::size_t first = sums_.size();
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const auto kept = detail::as_compared(
        x.row(i), kernel_, kernel_.on_sphere() ? room.subspan(i * dim(), dim()) : room);
    rows[i] = kept.data();
    const id_t id = watched_.insert(kept, 1);
    if (!ids.empty()) ids[i] = id;
    sums_.emplace_back();
  }
  compute(first, rows, run);
}

inline void standing_queries::unwatch(id_t candidate) {
  watched_.check("standing_queries::unwatch", candidate);
  sums_[watched_.place(candidate)] = sums_.back();
  sums_.pop_back();
  watched_.erase(candidate);
}

inline void standing_queries::move(id_t candidate, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "standing_queries::move";
  watched_.check(who, candidate);
  detail::check_point(who, x, dim(), kernel_);
  auto frame = ws.frame();
  const auto kept = detail::as_compared(x, kernel_, frame);
  watched_.replace(candidate, kept);
  compute(watched_.place(candidate), kept.data());
}

inline double standing_queries::at(std::size_t place, double total) const noexcept {
  return total > 0 ? std::max(0.0, (sums_[place].high + sums_[place].low) / total) : 0;
}

inline double standing_queries::density(id_t candidate) const {
  watched_.check("standing_queries::density", candidate);
  return at(watched_.place(candidate), total_weight());
}

inline void standing_queries::density(std::span<const id_t> candidates,
                                      std::span<double> out) const {
  constexpr std::string_view who = "standing_queries::density";
  detail::check_estimates_room(who, out.size(), candidates.size());
  for (const id_t c : candidates) watched_.check(who, c);
  const double total = total_weight();
  for (std::size_t i = 0; i < candidates.size(); ++i)
    out[i] = at(watched_.place(candidates[i]), total);
}

template <executor Executor>
void standing_queries::set_kernel(const density_kernel& k, Executor&& run) {
  detail::check_kernel_change("standing_queries::set_kernel", kernel_, k);
  workspace ws;
  auto frame = ws.frame();
  const auto values = frame.template take<float>(watched() * dim());
  const auto rows = frame.template take<const float*>(watched());
  for (std::size_t i = 0; i < watched(); ++i) {
    const auto row = values.subspan(i * dim(), dim());
    watched_.list().copy_point(i, row);
    rows[i] = row.data();
  }
  kernel_ = k;
  compute(0, rows, run);
}

inline void standing_queries::save(writer& out) const {
  out.begin_frame("standing_queries");
  detail::save_kernel(out, kernel_);
  points_.save(out);
  watched_.save(out);
  std::vector<double> values;
  for (const sum& s : sums_) {
    values.push_back(s.high);
    values.push_back(s.low);
  }
  out.put(std::span<const double>(values));
  out.end_frame();
}

inline standing_queries standing_queries::load(reader& in) {
  in.begin_frame("standing_queries");
  const density_kernel k = detail::load_kernel(in);
  detail::point_table points = detail::point_table::load(in, k);
  standing_queries q(k, std::move(points), detail::point_table::load(in, k));
  if (q.watched_.dim() != q.dim())
    in.fail("candidates of ", q.watched_.dim(), " dimensions, points of ", q.dim());
  const std::vector<double> values = in.get_vector<double>();
  if (values.size() != 2 * q.watched())
    in.fail(values.size(), " parts of sums for ", q.watched(), " candidates");
  const double most = q.total_weight() * (1 + 1e-5);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const double high = values[i], low = values[i + 1];
    if (!(high + low <= most) || !std::isfinite(low) || !(high + low >= -1e-3 * most))
      in.fail("a sum of ", high, " and ", low, " of kernels of the weight ", q.total_weight());
    q.sums_.push_back({high, low});
  }
  in.end_frame();
  return q;
}

}  // namespace skim::inline v0
