// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <span>
#include <type_traits>

#include "skim/core/config.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/cluster_density.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/linalg/point_block.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

namespace detail {

// The logarithm of a kernel. Where the kernel is the exponential of something, that: it has no underflow.
template <class Profile>
[[nodiscard]] SKIM_ALWAYS_INLINE block_floats<>::pack log_kernel(const Profile& profile,
                                                                 block_floats<>::pack x) noexcept {
  using pack = block_floats<>::pack;
  if constexpr (std::is_same_v<Profile, exponential_profile>) {
    return simd::sqrt(x) * pack::broadcast(static_cast<float>(profile.scale));
  } else if constexpr (std::is_same_v<Profile, gaussian_profile> ||
                       std::is_same_v<Profile, laplacian_profile>) {
    return x * pack::broadcast(static_cast<float>(profile.scale));
  } else {
    return simd::log(simd::max(profile(x), pack::broadcast(1e-37f)));
  }
}

// z with P(|N(0, 1)| > z) = p, to 1e-9 or so. Pre: 0 < p < 1.
[[nodiscard]] inline double two_sided_normal(double p) noexcept {
  // Abramowitz and Stegun 1964, 26.2.23, then Newton's step.
  const double t = std::sqrt(-2 * std::log(p / 2));
  double z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                     (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  z = std::max(z, 0.0);
  const double density = 2 * std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
  if (density > 1e-290) z += (std::erfc(z / std::numbers::sqrt2) - p) / density;
  return std::max(z, 0.0);
}

// Half the width of a confidence interval for the mean of n values of this skewness, in standard errors:
// Student's quantile and the skewness term of the two-sided coverage (Hall 1992), both to order 1/n.
[[nodiscard]] inline double interval_width(double z, double n, double skewness) noexcept {
  const double z2 = z * z;
  const double student = (z2 + 1) / 4;
  const double skewed = skewness * skewness * std::max(z2 * z2 + 2 * z2 - 3, 0.0) / 18;
  return z * (1 + (student + skewed) / n);
}

inline void prefetch_block(const float* block, std::size_t floats) noexcept {
  // What comes later the machine sees coming.
  const std::size_t lines = std::min<std::size_t>(floats / 16 + 1, 40);
  for (std::size_t l = 0; l < lines; ++l) SKIM_PREFETCH(block + l * 16);
}

// Masses of clusters (their weights in the sampling), eight at a time.
struct cluster_masses {
  using pack = block_floats<>::pack;
  float* mass;    // 0: read whole, or no cluster
  float* blocks;  // of the cluster
  std::size_t slots;

  struct shares {
    double whole = 0;  // blocks of clusters that are read whole
    double rest = 0;   // mass of the others
  };
  // What a rate of lambda a mass makes whole.
  [[nodiscard]] shares divide(double lambda, double whole_rate) const noexcept {
    const pack rate = pack::broadcast(static_cast<float>(lambda / whole_rate));
    pack whole = pack::broadcast(0.0f), rest = whole;
    const pack zero = whole;
    for (std::size_t s = 0; s < slots; s += pack::size) {
      const pack m = pack::load(mass + s), b = pack::load(blocks + s), r = m * rate;
      whole = whole + simd::where_greater(r, b, b, zero);
      rest = rest + simd::where_greater(r, b, zero, m);
    }
    return {static_cast<double>(simd::reduce_add(whole)),
            static_cast<double>(simd::reduce_add(rest))};
  }
  // A rate at which about so many blocks are read, and not many more.
  [[nodiscard]] double rate_for(double budget, double whole_rate) const noexcept {
    const double all = divide(0, whole_rate).rest;
    if (!(all > 0)) return 0;
    // At this rate each cluster costs no more than its share: the budget is kept.
    double low = whole_rate * budget / all, high = 0;
    shares at = divide(low, whole_rate);
    for (int step = 0; step < 8; ++step) {
      const double cost = at.whole + low * at.rest;
      if (at.rest <= 0 || cost >= 0.95 * budget) break;
      double next = (budget - at.whole) / at.rest;
      if (high > 0 && next >= high) next = std::sqrt(low * high);
      if (next <= low * 1.02) break;
      const shares then = divide(next, whole_rate);
      if (then.whole + next * then.rest <= 1.05 * budget) {
        low = next;
        at = then;
      } else {
        high = next;
      }
    }
    return low;
  }
};

}  // namespace detail

template <class Profile>
double cluster_density::whole(const Profile& profile, const cluster& c,
                              const float* q) const noexcept {
  const std::size_t n = c.points.blocks();
  double sum = 0;
  for (std::size_t b = 0; b < n; ++b) {
    if (b + 1 < n) SKIM_PREFETCH(c.points.block(b + 1));
    sum += static_cast<double>(detail::kernel_sum(profile, c.points.block(b), q, dim()));
  }
  return sum;
}

template <class Profile>
density_estimate cluster_density::estimate(const Profile& profile, const float* q,
                                           const density_target& target, random_engine& g,
                                           workspace& ws) const {
  using pack = block_floats<>::pack;
  const std::size_t d = dim();
  density_estimate out;
  std::size_t slots = 0;
  double all_blocks = 0;
  for (const group& gr : groups_) slots += gr.blocks.size();
  for (const group& gr : groups_)
    for (std::size_t i = 0; i < gr.blocks.size(); i += block_points)
      all_blocks += static_cast<double>(simd::reduce_add(pack::load(gr.blocks.data() + i)));
  const double first = static_cast<double>(params_.blocks);
  const auto exact = [&] {
    double sum = 0;
    for (const cluster& c : clusters_) {
      sum += whole(profile, c, q);
      out.evaluations += c.points.size();
    }
    out.value = std::min(sum / total_, 1.0);
    out.standard_error = 0;
    out.below = out.value < target.smallest;
    return out;
  };
  if (all_blocks <= 2 * first + static_cast<double>(slots) / block_points) return exact();

  // Every cluster's mass: what its points weigh times the kernel of its centroid to the power g, over
  // the largest such power, by logarithms.
  auto frame = ws.frame();
  const std::span<float> mass = frame.take<float>(slots), blocks = frame.take<float>(slots),
                         sums = frame.take<float>(slots / block_points);
  const std::span<std::uint32_t> ids = frame.take<std::uint32_t>(slots);
  const pack zero = pack::broadcast(0.0f), lowest = pack::broadcast(-2e30f);
  pack top = lowest;
  std::size_t at = 0;
  for (const group& gr : groups_) {
    std::copy(gr.blocks.begin(), gr.blocks.end(), blocks.begin() + static_cast<std::ptrdiff_t>(at));
    std::copy(gr.centroids.ids().begin(), gr.centroids.ids().end(),
              ids.begin() + static_cast<std::ptrdiff_t>(at));
    for (std::size_t b = 0; b < gr.centroids.blocks(); ++b) {
      const float* block = gr.centroids.block(b);
      const block_floats<> x = Profile::manhattan ? block_manhattan_distances(block, q, d)
                                                  : block_squared_distances(block, q, d);
      for (std::size_t v = 0; v < x.packs; ++v, at += pack::size) {
        const pack weight = pack::load_aligned(block + d * block_points + v * pack::size);
        const pack value = simd::max(detail::log_kernel(profile, x.v[v]), pack::broadcast(-1e30f));
        const pack log = simd::where_greater(weight, zero, value, lowest);
        log.store(mass.data() + at);
        top = simd::max(top, log);
      }
    }
  }
  float largest = -2e30f;
  std::array<float, pack::size> tops;
  top.store(tops.data());
  for (const float v : tops) largest = std::max(largest, v);
  at = 0;
  const pack power = pack::broadcast(static_cast<float>(params_.exponent));
  for (const group& gr : groups_)
    for (std::size_t b = 0; b < gr.centroids.blocks(); ++b)
      for (std::size_t v = 0; v < block_floats<>::packs; ++v, at += pack::size) {
        const pack weight =
            pack::load_aligned(gr.centroids.block(b) + d * block_points + v * pack::size);
        const pack log = (pack::load(mass.data() + at) - pack::broadcast(largest)) * power;
        (weight * simd::exp(simd::max(log, pack::broadcast(-50.0f)))).store(mass.data() + at);
      }
  out.evaluations = clusters();

  const detail::cluster_masses masses{mass.data(), blocks.data(), slots};
  const double z = detail::two_sided_normal(target.failure);
  const auto limit = static_cast<std::size_t>(all_blocks) + slots + 64;
  std::size_t held = 0;
  double near = 0, near_blocks = 0;  // of clusters that were read whole
  double rate = 0;                   // at which the others were drawn, in all rounds, a mass
  double budget = first;
  std::span<draw> room = frame.take<draw>(std::min<std::size_t>(limit, 4 * params_.blocks));
  for (std::uint32_t round = 0;; ++round) {
    if (budget >= 0.5 * all_blocks) return exact();
    // Clusters that this budget makes whole; their draws of earlier rounds go.
    const double next = std::max(masses.rate_for(budget - near_blocks, whole_rate), rate);
    for (std::size_t s = 0; s < slots; ++s) {
      if (!(static_cast<double>(mass[s]) * next > whole_rate * static_cast<double>(blocks[s])))
        continue;
      near += whole(profile, clusters_[ids[s]], q);
      near_blocks += static_cast<double>(blocks[s]);
      out.evaluations += static_cast<std::uint64_t>(blocks[s]) * block_points;
      mass[s] = blocks[s] = 0;
    }
    held = static_cast<std::size_t>(
        std::remove_if(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(held),
                       [&](const draw& x) { return mass[x.slot] == 0; }) -
        room.begin());
    double rest = 0;
    for (std::size_t s = 0; s < slots; s += block_points) {
      float sum = 0;
      for (std::size_t v = 0; v < block_floats<>::packs; ++v)
        sum += simd::reduce_add(pack::load(mass.data() + s + v * pack::size));
      sums[s / block_points] = sum;
      rest += static_cast<double>(sum);
    }
    if (!(rest > 0)) {
      out.value = std::min(near / total_, 1.0);
      out.standard_error = 0;
      out.below = out.value < target.smallest;
      return out;
    }
    // A whole number of draws from the others, equally far apart along their masses.
    const double wanted = std::max((next - rate) * rest, 0.5 * first - rate * rest);
    const auto n = static_cast<std::size_t>(std::max(std::ceil(wanted), 8.0));
    const double step = rest / static_cast<double>(n);
    const double lambda = 1 / step;
    if (held + n > room.size()) {
      const std::span<draw> more = frame.take<draw>(2 * (held + n));
      std::copy_n(room.begin(), held, more.begin());
      room = more;
    }
    double reached = 0, mark = uniform(g) * step;
    std::size_t made = 0;
    for (std::size_t s = 0; s < slots && made < n; s += block_points) {
      const double end = reached + static_cast<double>(sums[s / block_points]);
      if (mark >= end) {
        reached = end;
        continue;
      }
      for (std::size_t i = s; i < s + block_points && made < n; ++i) {
        if (!(mass[i] > 0)) continue;
        reached += static_cast<double>(mass[i]);
        if (mark >= reached) continue;
        const auto of = static_cast<std::uint64_t>(blocks[i]);
        const detail::block_list& points = clusters_[ids[i]].points;
        auto b = static_cast<std::size_t>(of > 1 ? uniform_below(g, of) : 0);
        const float r = static_cast<float>(lambda * static_cast<double>(mass[i])) / blocks[i];
        for (; mark < reached && made < n; mark += step, ++made) {
          room[held + made] = {static_cast<std::uint32_t>(i), round, r, points.block(b), 0};
          if (++b == of) b = 0;
        }
      }
      reached = end;
    }
    const std::size_t ahead = 2;
    for (std::size_t i = 0; i < std::min(made, ahead); ++i)
      detail::prefetch_block(room[held + i].block, (d + 1) * block_points);
    for (std::size_t i = held; i < held + made; ++i) {
      if (i + ahead < held + made)
        detail::prefetch_block(room[i + ahead].block, (d + 1) * block_points);
      draw& x = room[i];
      const double sum = static_cast<double>(detail::kernel_sum(profile, x.block, q, d));
      x.term = sum * static_cast<double>(blocks[x.slot]) / static_cast<double>(mass[x.slot]);
    }
    held += made;
    out.evaluations += made * block_points;
    rate += lambda;

    const double count = static_cast<double>(held);
    double mean = 0;
    for (std::size_t i = 0; i < held; ++i) mean += room[i].term;
    const double far = mean / rate;
    mean /= count;
    // Neighbours along the masses are alike, which a systematic sample gains from: so differences of
    // successive terms are its spread, not those to the mean. Without replacement within a round.
    double squares = 0, cubes = 0, differences = 0, pairs = 0;
    for (std::size_t i = 0; i < held; ++i) {
      const double t = room[i].term - mean;
      squares += t * t;
      cubes += t * t * t;
      if (i == 0 || room[i].round != room[i - 1].round) continue;
      const double step_back = room[i].term - room[i - 1].term;
      differences += step_back * step_back *
                     std::max(1 - 0.5 * static_cast<double>(room[i].rate + room[i - 1].rate), 0.0);
      pairs += 1;
    }
    const double variance =
        pairs > 0 ? 0.5 * differences / pairs * count / (rate * rate) : far * far;
    const double skewness = squares > 0 ? cubes / count / std::pow(squares / count, 1.5) : 0;
    const double width = detail::interval_width(z, count, skewness);
    const double value = near + far, half = width * std::sqrt(variance);
    out.value = std::min(value / total_, 1.0);
    out.standard_error = std::sqrt(variance) / total_;
    const double allowed = target.relative_error * value;
    if (value > 0 && half <= allowed) break;
    if ((value + half) / total_ < target.smallest) {
      out.below = true;
      break;
    }
    // As many draws as this spread asks for, if it is the true one.
    const double need = value > 0 ? half / allowed : 10;
    const double more = (std::min(need * need, 10.0) - 1) * count * 1.1;
    const double so_far = near_blocks + rate * rest;
    budget =
        std::clamp(so_far + more, 1.3 * std::max(budget, so_far), 3 * std::max(budget, so_far));
  }
  return out;
}

inline density_estimate cluster_density::density(std::span<const float> x,
                                                 const density_target& target, random_engine& g,
                                                 workspace& ws) const {
  constexpr std::string_view who = "cluster_density::density";
  check_point(who, x);
  target.check(who);
  if (size() == 0) return {.value = 0, .standard_error = 0, .evaluations = 0, .below = true};
  auto frame = ws.frame();
  const std::span<const float> q = kept(x, frame.take<float>(dim()));
  return detail::with_profile(
      params_.kernel, [&](auto profile) { return estimate(profile, q.data(), target, g, ws); });
}

template <executor Executor>
void cluster_density::density(matrix_view<const float> x, const density_target& target, seed s,
                              std::span<density_estimate> out, Executor&& run) const {
  constexpr std::string_view who = "cluster_density::density";
  if (out.size() != x.rows())
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got room for ", out.size(), " estimates, wanted ", x.rows()));
  target.check(who);
  for (std::size_t i = 0; i < x.rows(); ++i) check_point(who, x.row(i));
  const random_engine all(s);
  run.parallel_for(x.rows(), 32, [&](std::size_t from, std::size_t to) {
    workspace ws;
    for (std::size_t i = from; i < to; ++i) {
      random_engine g = all.child(i);
      out[i] = density(x.row(i), target, g, ws);
    }
  });
}

}  // namespace skim::inline v0
