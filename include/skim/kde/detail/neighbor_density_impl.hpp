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
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/detail/kernel_tiles.hpp"
#include "skim/kde/detail/mean_bounds.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/detail/point_table.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/kde/neighbor_density.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/point_block.hpp"

namespace skim::inline v0 {

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
struct neighbor_density<Index, Effort>::moments {
  std::uint64_t count = 0;
  double sum = 0, squares = 0, largest = 0;
  float largest_kernel = 0;

  void add(const moments& m) noexcept {
    count += m.count;
    sum += m.sum;
    squares += m.squares;
    largest = std::max(largest, m.largest);
    largest_kernel = std::max(largest_kernel, m.largest_kernel);
  }
  [[nodiscard]] double mean() const noexcept { return sum / static_cast<double>(count); }
  [[nodiscard]] double variance() const noexcept {
    const double n = static_cast<double>(count);
    return n > 1 ? std::max(0.0, (squares - sum * sum / n) / (n - 1)) : 0;
  }
};

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
const neighbor_density_params& neighbor_density<Index, Effort>::checked(const params& p,
                                                                        const Index& index) {
  constexpr std::string_view who = "neighbor_density";
  p.kernel.check(who);
  if (p.neighbors == 0 || p.neighbors > std::size_t{1} << 20)
    SKIM_THROW(invalid_params,
               detail::concat(who, ": got ", p.neighbors, " neighbours, wanted 1 to 2^20"));
  if (index.size() != 0)
    SKIM_THROW(invalid_params,
               detail::concat(who, ": got an index of ", index.size(), " points, wanted none yet"));
  if (metric_of(index) != (p.kernel.on_sphere() ? metric::cosine : metric::euclidean))
    SKIM_THROW(invalid_params,
               detail::concat(who, ": got metric ", static_cast<unsigned>(metric_of(index)),
                              " under the ", name_of(p.kernel.kind),
                              " kernel, wanted 1 (cosine) for the angular one, 0 for others"));
  return p;
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort> neighbor_density<Index, Effort>::neighbor_density(
    params p, Index index, Effort effort, seed s)
    : params_(checked(p, index)),
      index_(std::move(index)),
      effort_(effort),
      order_(s),
      list_(index_.dim()) {}

// Of a point that the index holds. Pre: there is room.
template <class Index, class Effort>
requires neighbor_index<Index, Effort>
void neighbor_density<Index, Effort>::put(id_t id, float weight) {
  if (id >= places_.size()) places_.resize(std::size_t{id} + 1);
  const std::size_t last = list_.push(index_.point(id), weight, id);
  total_.add(weight);
  classes_.add(weight);
  const auto at = static_cast<std::size_t>(uniform_below(order_, last + 1));
  list_.swap(last, at);
  places_[list_.id(last)] = static_cast<std::uint32_t>(last);
  places_[id] = static_cast<std::uint32_t>(at);
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
template <executor Executor>
void neighbor_density<Index, Effort>::build(matrix_view<const float> x,
                                            std::span<const float> weights, Executor&& run) requires
    requires(Index& i) {
  i.build(x, run);
}
{
  constexpr std::string_view who = "neighbor_density::build";
  detail::check_points(who, x, dim(), kernel());
  detail::check_weights(who, weights, x.rows());
  list_.reserve(x.rows());
  places_.reserve(x.rows());
  index_.build(x, run);
  list_.clear();
  places_.clear();
  total_ = {};
  classes_ = {};
  for (std::size_t i = 0; i < x.rows(); ++i)
    put(static_cast<id_t>(i), weights.empty() ? 1.0f : weights[i]);
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
void neighbor_density<Index, Effort>::insert(matrix_view<const float> x,
                                             std::span<const float> weights, std::span<id_t> ids) {
  constexpr std::string_view who = "neighbor_density::insert";
  detail::check_points(who, x, dim(), kernel());
  detail::check_weights(who, weights, x.rows());
  detail::check_ids_room(who, ids.size(), x.rows());
  workspace ws;
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const id_t id = insert(x.row(i), weights.empty() ? 1.0f : weights[i], ws);
    if (!ids.empty()) ids[i] = id;
  }
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort> id_t
neighbor_density<Index, Effort>::insert(std::span<const float> x, float weight, workspace& ws) {
  constexpr std::string_view who = "neighbor_density::insert";
  detail::check_point(who, x, dim(), kernel());
  detail::check_weight(who, weight);
  list_.reserve_one();
  if (places_.size() == places_.capacity())
    places_.reserve(places_.size() + places_.size() / 8 + 8);
  id_t id = 0;
  if constexpr (requires { index_.insert(x, ws); })
    id = index_.insert(x, ws);
  else
    id = index_.insert(x);
  put(id, weight);
  return id;
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
void neighbor_density<Index, Effort>::erase(id_t id) {
  check_id("neighbor_density::erase", id);
  index_.erase(id);
  const std::size_t at = places_[id];
  total_.subtract(list_.weight(at));
  classes_.subtract(list_.weight(at));
  list_.remove(at);
  if (at < size()) places_[list_.id(at)] = static_cast<std::uint32_t>(at);
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
void neighbor_density<Index, Effort>::replace(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "neighbor_density::replace";
  check_id(who, id);
  detail::check_point(who, x, dim(), kernel());
  if constexpr (requires { index_.update(id, x, ws); })
    index_.update(id, x, ws);
  else
    index_.update(id, x);
  list_.put(places_[id], index_.point(id), list_.weight(places_[id]));
}

// The weighted kernels of random blocks, without those of the places (sorted) that are left out.
template <class Index, class Effort>
requires neighbor_index<Index, Effort>
void neighbor_density<Index, Effort>::draw(const float* x, std::uint64_t blocks,
                                           std::span<const std::uint32_t> left_out,
                                           random_engine& g, moments& m) const {
  const std::size_t n = list_.blocks();
  const std::size_t lines =
      std::min<std::size_t>(16, list_.stride() * sizeof(float) / cache_line + 1);
  constexpr std::size_t ahead = 8;
  std::array<std::size_t, ahead> next;
  const auto fetch = [&](std::size_t slot) {
    next[slot] = static_cast<std::size_t>(uniform_below(g, n));
    const float* at = list_.block(next[slot]);
    for (std::size_t l = 0; l < lines; ++l) SKIM_PREFETCH(at + l * (cache_line / sizeof(float)));
  };
  detail::with_profile(kernel(), [&](auto profile) {
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(ahead, blocks); ++i)
      fetch(static_cast<std::size_t>(i));
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const std::size_t slot = static_cast<std::size_t>(i % ahead), b = next[slot];
      alignas(cache_line) std::array<float, block_points> k;
      detail::weighted_kernels(profile, list_.block(b), x, dim()).store(k.data());
      const auto first = static_cast<std::uint32_t>(b * block_points);
      for (auto at = std::lower_bound(left_out.begin(), left_out.end(), first);
           at != left_out.end() && *at < first + block_points; ++at)
        k[*at - first] = 0;
      if (i + ahead < blocks) fetch(slot);
      double v = 0;
      const float* weights = list_.block(b) + dim() * block_points;
      for (std::size_t j = 0; j < block_points; ++j) {
        v += static_cast<double>(k[j]);
        if (k[j] > m.largest_kernel * weights[j]) m.largest_kernel = k[j] / weights[j];
      }
      m.sum += v;
      m.squares += v * v;
      m.largest = std::max(m.largest, v);
    }
  });
  m.count += blocks;
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort> density_estimate neighbor_density<Index, Effort>::estimate(
    std::span<const float> x, const density_target& target, random_engine& g, workspace& ws)
const {
  auto frame = ws.frame();
  const auto query = detail::as_compared(x, kernel(), frame);
  const auto found = frame.template take<neighbor>(std::min(params_.neighbors, size()));
  const auto left_out = frame.template take<std::uint32_t>(found.size());
  std::size_t k = 0;
  if constexpr (std::is_same_v<Effort, no_effort>)
    k = index_.search(query, found, ws);
  else
    k = index_.search(query, found, ws, effort_);
  const double total = total_weight();
  double near = 0, farthest = 1;
  for (std::size_t i = 0; i < k; ++i) {
    left_out[i] = places_[found[i].id];
    const double distance = static_cast<double>(found[i].distance);
    double value = 0;
    // Only where the index's distance is the kernel's, and loses no digits.
    if (kernel().kind == kernel_kind::laplacian || kernel().on_sphere())
      value = kernel_value(kernel(), index_.point(found[i].id), query);
    else
      value = detail::with_profile(kernel(), [&](auto profile) { return profile(distance); });
    near += static_cast<double>(list_.weight(left_out[i])) * value;
    // A sum of absolute differences is no less than the Euclidean distance; a cosine is right to 1e-6.
    const double least = kernel().kind == kernel_kind::laplacian ? std::sqrt(distance)
                         : kernel().on_sphere() ? std::max(0.0, 2 * distance - 2e-6)
                                                : distance;
    farthest = std::min(farthest, 1.001 * detail::with_profile(kernel(), [&](auto profile) {
                                    return profile(least);
                                  }));
  }
  near /= total;
  if (k == size()) return {near, 0, k, near < target.smallest};
  std::sort(left_out.begin(), left_out.begin() + static_cast<std::ptrdiff_t>(k));
  const auto out_of_sample = left_out.first(k);

  const std::uint64_t blocks = list_.blocks(), most = blocks / 3;
  const double scale = static_cast<double>(blocks) / total;
  const double largest_block = static_cast<double>(block_points) * classes_.bound() * scale;
  const double e = target.relative_error;
  std::uint64_t spent = 0;
  // With the index's word for the largest kernel left, and without it if that was wrong.
  for (double most_kernel = farthest;; most_kernel = 1) {
    const double range = std::max(largest_block * most_kernel, 1e-300);
    detail::mean_bounds bounds(range, std::log(4 / target.failure));
    moments all;
    bool wrong = false;
    for (std::uint64_t t = 16; t <= most; t += std::max<std::uint64_t>(t / 8, 2)) {
      const double centre = all.count == 0 ? 0 : std::min(range, all.mean() * scale);
      if (all.count != 0) {
        const double n = static_cast<double>(all.count), largest = all.largest * scale,
                     variance = all.variance() * scale * scale;
        const double down = e * (near + centre),
                     up = std::max(down, target.smallest - near - centre);
        if (all.count >= most / 8 &&
            bounds.draws_needed(centre, variance, down, up) > 1.5 * static_cast<double>(most))
          break;
        bounds.aim(centre, (variance * (n - 1) + largest * largest) / (n + 1), down, up);
      }
      moments round;
      draw(query.data(), t - all.count, out_of_sample, g, round);
      spent += round.count * block_points;
      if (static_cast<double>(round.largest_kernel) > most_kernel) {
        wrong = true;
        break;
      }
      if (all.count != 0)
        bounds.add(static_cast<double>(round.count), round.sum * scale,
                   round.squares * scale * scale);
      all.add(round);
      // No mean exceeds the largest value: often the first round, which would show a bad index, is all.
      const double low = near + bounds.low(), high = near + std::min(bounds.high(), range);
      const double mean = near + all.mean() * scale;
      const double error = std::sqrt(all.variance() / static_cast<double>(t)) * scale;
      if (high < target.smallest) return {std::clamp(mean, 0.0, high), error, spent + k, true};
      const double least = (1 - e) * high, largest = (1 + e) * low;
      if (least <= largest)
        return {std::min(1.0, std::clamp(mean, least, largest)), error, spent + k, false};
    }
    if (!wrong || most_kernel >= 1) break;
  }
  const double value = detail::kernel_total(kernel(), list_, query.data()) / total;
  return {value, 0, spent + k + size(), value < target.smallest};
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort> density_estimate neighbor_density<Index, Effort>::density(
    std::span<const float> x, density_target target, random_engine& g, workspace& ws)
const {
  constexpr std::string_view who = "neighbor_density::density";
  detail::check_point(who, x, dim(), kernel());
  target.check(who);
  if (size() == 0) return detail::no_points;
  return estimate(x, target, g, ws);
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
template <executor Executor>
void neighbor_density<Index, Effort>::density(matrix_view<const float> x, density_target target,
                                              seed s, std::span<density_estimate> out,
                                              Executor&& run) const {
  constexpr std::string_view who = "neighbor_density::density";
  detail::check_points(who, x, dim(), kernel());
  target.check(who);
  detail::check_estimates_room(who, out.size(), x.rows());
  if (size() == 0) {
    std::fill(out.begin(), out.end(), detail::no_points);
    return;
  }
  detail::each_query(who, x.rows(), out, 8, s, run,
                     [&](std::size_t i, random_engine& g, workspace& ws) {
                       return estimate(x.row(i), target, g, ws);
                     });
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort>
void neighbor_density<Index, Effort>::save(writer& out) const {
  out.begin_frame("neighbor_density");
  detail::save_kernel(out, kernel());
  out.put(std::uint64_t{params_.neighbors});
  order_.save(out);
  index_.save(out);
  out.put(list_.ids());
  std::vector<float> weights(size());
  for (std::size_t i = 0; i < size(); ++i) weights[i] = list_.weight(i);
  out.put(std::span<const float>(weights));
  out.end_frame();
}

template <class Index, class Effort>
requires neighbor_index<Index, Effort> neighbor_density<Index, Effort>
neighbor_density<Index, Effort>::load(reader& in, Effort effort) {
  in.begin_frame("neighbor_density");
  params p;
  p.kernel = detail::load_kernel(in);
  const auto neighbors = in.get<std::uint64_t>();
  if (neighbors == 0 || neighbors > std::uint64_t{1} << 20) in.fail(neighbors, " neighbours");
  p.neighbors = static_cast<std::size_t>(neighbors);
  const random_engine order = random_engine::load(in);
  Index index = Index::load(in);
  if (metric_of(index) != (p.kernel.on_sphere() ? metric::cosine : metric::euclidean))
    in.fail("an index of metric ", static_cast<unsigned>(metric_of(index)), " under the ",
            name_of(p.kernel.kind), " kernel");
  const std::vector<id_t> ids = in.get_vector<id_t>();
  const std::vector<float> weights = in.get_vector<float>();
  if (ids.size() != index.size() || weights.size() != ids.size())
    in.fail(ids.size(), " ids and ", weights.size(), " weights of ", index.size(), " points");
  const auto most = ids.empty() ? ids.end() : std::max_element(ids.begin(), ids.end());
  std::vector<std::uint32_t> places;
  if (!ids.empty()) {
    if (!index.contains(*most)) in.fail("id ", *most, " of no point");
    places.resize(std::size_t{*most} + 1, 0xffffffffu);
  }
  neighbor_density d(p, std::move(index), effort, order);
  d.list_.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const float w = weights[i];
    if (!d.contains(ids[i]) || places[ids[i]] != 0xffffffffu ||
        !(w >= detail::least_weight && w <= detail::largest_weight))
      in.fail("id ", ids[i], " of no point or named twice, or a weight of ", w);
    const auto x = d.index_.point(ids[i]);
    if (const float square = dot(x, x);
        p.kernel.on_sphere() && !(square > 0.999f && square < 1.001f))
      in.fail("point ", ids[i], " of squared norm ", square, " on the sphere");
    places[ids[i]] = static_cast<std::uint32_t>(i);
    d.list_.push(x, w, ids[i]);
    d.total_.add(w);
    d.classes_.add(w);
  }
  d.places_ = std::move(places);
  in.end_frame();
  return d;
}

}  // namespace skim::inline v0
