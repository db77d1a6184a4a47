// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/detail/kernel_tiles.hpp"
#include "skim/kde/detail/mean_bounds.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/kde/uniform_density.hpp"
#include "skim/linalg/point_block.hpp"

namespace skim::inline v0 {

// Sums over drawn blocks.
struct uniform_density::moments {
  std::uint64_t count = 0;
  double sum = 0, squares = 0, largest = 0;

  void add(const moments& m) noexcept {
    count += m.count;
    sum += m.sum;
    squares += m.squares;
    largest = std::max(largest, m.largest);
  }

  [[nodiscard]] double mean() const noexcept { return sum / static_cast<double>(count); }
  [[nodiscard]] double variance() const noexcept {
    const double n = static_cast<double>(count);
    return n > 1 ? std::max(0.0, (squares - sum * sum / n) / (n - 1)) : 0;
  }
};

// Puts a point in a uniformly random place: whatever order there was, the new one is uniformly random if it
// was. (Taking the last into a gap keeps that, too.)
inline id_t uniform_density::put(std::span<const float> x, float weight) {
  const id_t id = table_.insert(x, weight);
  classes_.add(weight);
  const std::size_t last = size() - 1;
  table_.swap_places(last, static_cast<std::size_t>(uniform_below(order_, last + 1)));
  return id;
}

inline id_t uniform_density::insert(std::span<const float> x, float weight, workspace& ws) {
  constexpr std::string_view who = "uniform_density::insert";
  detail::check_point(who, x, dim(), kernel_);
  detail::check_weight(who, weight);
  auto frame = ws.frame();
  const auto kept = detail::as_compared(x, kernel_, frame);
  table_.reserve(who, 1);
  return put(kept, weight);
}

inline void uniform_density::insert(matrix_view<const float> x, std::span<const float> weights,
                                    std::span<id_t> ids) {
  constexpr std::string_view who = "uniform_density::insert";
  detail::check_points(who, x, dim(), kernel_);
  detail::check_weights(who, weights, x.rows());
  detail::check_ids_room(who, ids.size(), x.rows());
  workspace ws;
  auto frame = ws.frame();
  const std::span<float> room = frame.take<float>(kernel_.on_sphere() ? dim() : 0);
  table_.reserve(who, x.rows());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const id_t id =
        put(detail::as_compared(x.row(i), kernel_, room), weights.empty() ? 1.0f : weights[i]);
    if (!ids.empty()) ids[i] = id;
  }
}

inline void uniform_density::build(matrix_view<const float> x, std::span<const float> weights) {
  uniform_density fresh(kernel_, order_, detail::point_table(dim()));
  fresh.insert(x, weights);
  *this = std::move(fresh);
}

inline void uniform_density::erase(id_t id) {
  table_.check("uniform_density::erase", id);
  classes_.subtract(table_.weight(id));
  table_.erase(id);
}

inline void uniform_density::replace(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "uniform_density::replace";
  table_.check(who, id);
  detail::check_point(who, x, dim(), kernel_);
  auto frame = ws.frame();
  table_.replace(id, detail::as_compared(x, kernel_, frame));
}

// The weighted kernels of random blocks.
inline void uniform_density::draw(const float* x, std::uint64_t blocks, random_engine& g,
                                  moments& m) const {
  const detail::block_list& list = table_.list();
  const std::size_t n = list.blocks(), lines = std::min<std::size_t>(
                                           16, list.stride() * sizeof(float) / cache_line + 1);
  // Drawn ahead, so that memory answers in time.
  constexpr std::size_t ahead = 8;
  std::array<const float*, ahead> next;
  const auto fetch = [&](std::size_t slot) {
    next[slot] = list.block(static_cast<std::size_t>(uniform_below(g, n)));
    for (std::size_t l = 0; l < lines; ++l)
      SKIM_PREFETCH(next[slot] + l * (cache_line / sizeof(float)));
  };
  detail::with_profile(kernel_, [&](auto profile) {
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(ahead, blocks); ++i)
      fetch(static_cast<std::size_t>(i));
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const std::size_t slot = static_cast<std::size_t>(i % ahead);
      const double v = static_cast<double>(detail::kernel_sum(profile, next[slot], x, list.dim()));
      if (i + ahead < blocks) fetch(slot);
      m.sum += v;
      m.squares += v * v;
      m.largest = std::max(m.largest, v);
    }
  });
  m.count += blocks;
}

inline density_estimate uniform_density::exact(const float* x, const density_target& target) const {
  const double value = detail::kernel_total(kernel_, table_.list(), x) / total_weight();
  return {value, 0, size(), value < target.smallest};
}

inline density_estimate uniform_density::estimate(const float* x, const density_target& target,
                                                  random_engine& g) const {
  // Values of blocks are scaled so that their mean over all blocks is the density: they are 0 to `range`.
  const std::uint64_t blocks = table_.list().blocks();
  const double scale = static_cast<double>(blocks) / total_weight();
  const double range = static_cast<double>(block_points) * classes_.bound() * scale;
  const double e = target.relative_error;
  constexpr std::uint64_t pilot = 16;  // blocks
  // Random blocks take two to five times as long as the same in a row.
  const std::uint64_t most = blocks / 3;
  detail::mean_bounds bounds(range, std::log(2 / target.failure));
  moments all;
  for (std::uint64_t t = pilot; t <= most; t += std::max<std::uint64_t>(t / 8, 2)) {
    // What this round's values are compared with and how much they count was known before it.
    const double centre = all.count == 0 ? 0 : std::min(range, all.mean() * scale);
    if (all.count != 0) {
      const double n = static_cast<double>(all.count), largest = all.largest * scale,
                   variance = all.variance() * scale * scale;
      const double down = e * centre, up = std::max(down, target.smallest - centre);
      if (all.count >= most / 8 &&
          bounds.draws_needed(centre, variance, down, up) > 1.5 * static_cast<double>(most))
        break;
      bounds.aim(centre, (variance * (n - 1) + largest * largest) / (n + 1), down, up);
    }
    moments round;
    draw(x, t - all.count, g, round);
    if (all.count != 0)
      bounds.add(static_cast<double>(round.count), round.sum * scale,
                 round.squares * scale * scale);
    all.add(round);
    const double mean = all.mean() * scale;
    const double error = std::sqrt(all.variance() / static_cast<double>(t)) * scale;
    if (bounds.high() < target.smallest)
      return {std::clamp(mean, 0.0, bounds.high()), error, t * block_points, true};
    const double least = (1 - e) * bounds.high(), largest = (1 + e) * bounds.low();
    if (least <= largest)
      return {std::min(1.0, std::clamp(mean, least, largest)), error, t * block_points, false};
  }
  density_estimate out = exact(x, target);
  out.evaluations += all.count * block_points;
  return out;
}

inline density_estimate uniform_density::density(std::span<const float> x, density_target target,
                                                 random_engine& g, workspace& ws) const {
  constexpr std::string_view who = "uniform_density::density";
  detail::check_point(who, x, dim(), kernel_);
  target.check(who);
  if (size() == 0) return detail::no_points;
  auto frame = ws.frame();
  return estimate(detail::as_compared(x, kernel_, frame).data(), target, g);
}

template <executor Executor>
void uniform_density::density(matrix_view<const float> x, density_target target, seed s,
                              std::span<density_estimate> out, Executor&& run) const {
  constexpr std::string_view who = "uniform_density::density";
  detail::check_points(who, x, dim(), kernel_);
  target.check(who);
  detail::check_estimates_room(who, out.size(), x.rows());
  if (size() == 0) {
    std::fill(out.begin(), out.end(), detail::no_points);
    return;
  }
  detail::each_query(
      who, x.rows(), out, 8, s, run, [&](std::size_t i, random_engine& g, workspace& ws) {
        auto frame = ws.frame();
        return estimate(detail::as_compared(x.row(i), kernel_, frame).data(), target, g);
      });
}

inline density_estimate uniform_density::sample(std::span<const float> x, std::uint64_t evaluations,
                                                random_engine& g, workspace& ws) const {
  constexpr std::string_view who = "uniform_density::sample";
  detail::check_point(who, x, dim(), kernel_);
  if (size() == 0) return detail::no_points;
  if (evaluations == 0)
    SKIM_THROW(invalid_input, detail::concat(who, ": got 0 kernels, wanted 1 at least"));
  auto frame = ws.frame();
  const std::uint64_t blocks = evaluations / block_points + (evaluations % block_points != 0);
  const double scale = static_cast<double>(table_.list().blocks()) / total_weight();
  moments m;
  draw(detail::as_compared(x, kernel_, frame).data(), blocks, g, m);
  return {m.mean() * scale, std::sqrt(m.variance() / static_cast<double>(blocks)) * scale,
          blocks * block_points, false};
}

inline uniform_density::uniform_density(const density_kernel& k, const random_engine& order,
                                        detail::point_table table)
    : kernel_(k), order_(order), table_(std::move(table)) {
  for (std::size_t i = 0; i < size(); ++i) classes_.add(table_.list().weight(i));
}

inline void uniform_density::save(writer& out) const {
  out.begin_frame("uniform_density");
  detail::save_kernel(out, kernel_);
  order_.save(out);
  table_.save(out);
  out.end_frame();
}

inline uniform_density uniform_density::load(reader& in) {
  in.begin_frame("uniform_density");
  const density_kernel k = detail::load_kernel(in);
  const random_engine order = random_engine::load(in);
  uniform_density d(k, order, detail::point_table::load(in, k));
  in.end_frame();
  return d;
}

}  // namespace skim::inline v0
