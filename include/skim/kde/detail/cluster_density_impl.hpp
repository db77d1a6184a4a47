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
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/cluster_density.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/detail/block_means.hpp"
#include "skim/kde/detail/cluster_density_query.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0 {

inline cluster_density::params cluster_density::checked(const params& p) {
  constexpr std::string_view who = "cluster_density";
  p.kernel.check(who);
  if (p.dim == 0 || p.dim > std::size_t{1} << 24)
    SKIM_THROW(invalid_params,
               detail::concat(who, ": got ", p.dim, " dimensions, wanted 1 to 2^24"));
  if (p.clusters > std::size_t{1} << 20 || !(p.exponent >= 0 && p.exponent <= 2) || p.blocks < 16 ||
      p.blocks > std::size_t{1} << 20 || p.rounds > 1000)
    SKIM_THROW(invalid_params,
               detail::concat(who, ": got ", p.clusters, " clusters, an exponent of ", p.exponent,
                              ", ", p.blocks, " blocks and ", p.rounds,
                              " rounds, wanted at most 2^20, 0 to 2, 16 to 2^20, at most 1000"));
  return p;
}

inline cluster_density::cluster_density(params p, seed s)
    : params_(checked(p)),
      seed_(s),
      order_(random_engine(s).child(1)),
      means_(p.dim),
      scratch_(p.dim) {}

inline void cluster_density::check_point(std::string_view who, std::span<const float> x) const {
  if (x.size() != dim())
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got a point of dimension ", x.size(), ", wanted ", dim()));
  if (!all_finite(x)) {
    const std::size_t at = first_non_finite(x);
    SKIM_THROW(invalid_input, detail::concat(who, ": got ", x[at], " at coordinate ", at,
                                             ", wanted finite coordinates"));
  }
  const float square = dot(x, x);
  if (!(square <= 1e37f))
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got a squared norm of ", square, ", wanted at most 1e37"));
  if (params_.kernel.on_sphere() && std::all_of(x.begin(), x.end(), [](float v) { return v == 0; }))
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got a zero vector, wanted one that has an angle"));
}
inline void cluster_density::check_weight(std::string_view who, float weight) {
  if (!(weight >= 1e-15f && weight <= 1e15f))
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got a weight of ", weight, ", wanted 1e-15 to 1e15"));
}
inline void cluster_density::check_id(std::string_view who, id_t id) const {
  if (!contains(id))
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got id ", id, ", wanted that of a point held"));
}
inline std::span<const float> cluster_density::kept(std::span<const float> x,
                                                    std::span<float> to) const {
  if (!params_.kernel.on_sphere()) return x;
  std::copy(x.begin(), x.end(), to.begin());
  detail::scale_to_sphere(to);
  return to;
}

inline void cluster_density::set_kernel(const density_kernel& k) {
  constexpr std::string_view who = "cluster_density::set_kernel";
  k.check(who);
  if (k.on_sphere() != params_.kernel.on_sphere())
    SKIM_THROW(invalid_params,
               detail::concat(who, ": got the ", name_of(k.kind), " kernel for the ",
                              name_of(params_.kernel.kind),
                              " one, wanted both to compare points on the sphere, or neither"));
  params_.kernel = k;
}

inline std::size_t cluster_density::wanted_clusters(std::size_t n) const noexcept {
  const auto automatic = static_cast<std::size_t>(std::sqrt(static_cast<double>(n)));
  const std::size_t most = std::max<std::size_t>(n / least_points, 1);
  return std::clamp<std::size_t>(params_.clusters != 0 ? params_.clusters : automatic, 1, most);
}
// Points of a cluster.
inline double cluster_density::wanted_size() const noexcept {
  return static_cast<double>(size()) / static_cast<double>(wanted_clusters(size()));
}

// ---- clusters and groups --------------------------------------------------------------------------

inline std::uint32_t cluster_density::add_group(std::span<const float> mean) {
  means_.reserve_one();
  groups_.push_back({detail::block_list(dim()), {}});
  const auto g = static_cast<std::uint32_t>(groups_.size() - 1);
  means_.push(mean, 1.0f, g);
  return g;
}
// Pre: it has no clusters.
inline void cluster_density::remove_group(std::uint32_t g) noexcept {
  const std::size_t last = groups_.size() - 1;
  means_.remove(g);
  if (g != last) {
    groups_[g] = std::move(groups_[last]);
    for (const id_t c : groups_[g].centroids.ids()) clusters_[c].group = g;
  }
  groups_.pop_back();
}

inline std::uint32_t cluster_density::add_cluster(cluster&& c, std::span<const float> centroid,
                                                  std::uint32_t g) {
  group& to = groups_[g];
  to.centroids.reserve_one();
  to.blocks.reserve((to.centroids.blocks() + 1) * block_points);
  if (free_clusters_.empty()) {
    // Room to free them all: taking clusters out does not allocate.
    if (clusters_.size() == clusters_.capacity()) {
      clusters_.reserve(clusters_.size() + clusters_.size() / 8 + 8);
      free_clusters_.reserve(clusters_.capacity());
    }
    clusters_.push_back({detail::block_list(dim()), 0, 0, 0, 0, nowhere, 0, 0});
    free_clusters_.push_back(static_cast<std::uint32_t>(clusters_.size() - 1));
  }
  const std::uint32_t at = free_clusters_.back();
  free_clusters_.pop_back();
  c.group = g;
  clusters_[at] = std::move(c);
  clusters_[at].index = static_cast<std::uint32_t>(to.centroids.push(centroid, 0.0f, at));
  to.blocks.resize(to.centroids.blocks() * block_points);
  weigh(at);
  renumber(at);
  return at;
}
// Pre: it has no points.
inline void cluster_density::remove_cluster(std::uint32_t c) noexcept {
  const std::uint32_t g = clusters_[c].group, index = clusters_[c].index;
  group& from = groups_[g];
  const std::size_t last = from.centroids.size() - 1;
  from.centroids.remove(index);
  from.blocks[index] = from.blocks[last];
  from.blocks[last] = 0;
  from.blocks.resize(from.centroids.blocks() * block_points);
  if (index != last) clusters_[from.centroids.id(index)].index = index;
  clusters_[c] = {detail::block_list(dim()), 0, 0, 0, 0, nowhere, 0, 0};
  free_clusters_.push_back(c);
  if (from.centroids.size() == 0) remove_group(g);
}

// What the groups know of a cluster: its weight and its blocks.
inline void cluster_density::weigh(std::uint32_t c) noexcept {
  cluster& k = clusters_[c];
  // Differences lose digits: summed up again when half is gone.
  if (k.weight < 0.5 * k.counted || !(k.weight > 0)) {
    k.weight = 0;
    for (std::size_t i = 0; i < k.points.size(); ++i)
      k.weight += static_cast<double>(k.points.weight(i));
    k.counted = k.weight;
  }
  group& g = groups_[k.group];
  g.centroids.set_weight(k.index, static_cast<float>(k.weight));
  g.blocks[k.index] = static_cast<float>(k.points.blocks());
}
inline void cluster_density::renumber(std::uint32_t c) noexcept {
  const auto ids = clusters_[c].points.ids();
  for (std::size_t i = 0; i < ids.size(); ++i) places_[ids[i]] = {c, static_cast<std::uint32_t>(i)};
}
inline void cluster_density::sum_weights() noexcept {
  total_ = 0;
  for (const cluster& c : clusters_)
    if (c.points.size() > 0) total_ += c.weight;
  counted_ = total_;
}

// Of the two groups whose means are nearest. Pre: there are clusters.
inline std::uint32_t cluster_density::nearest_cluster(const float* x,
                                                      float& square) const noexcept {
  std::array<float, block_points> squares;
  detail::nearest_place near, second;
  for (std::size_t b = 0; b < means_.blocks(); ++b) {
    block_squared_distances(means_.block(b), x, dim()).store(squares.data());
    const std::size_t n = std::min(block_points, means_.size() - b * block_points);
    for (std::size_t i = 0; i < n; ++i) {
      if (squares[i] < near.square) {
        second = near;
        near = {b * block_points + i, squares[i]};
      } else if (squares[i] < second.square) {
        second = {b * block_points + i, squares[i]};
      }
    }
  }
  detail::nearest_place best = detail::nearest_in(groups_[near.place].centroids, x);
  std::uint32_t found = groups_[near.place].centroids.id(best.place);
  if (second.square < std::numeric_limits<float>::infinity()) {
    const detail::nearest_place other = detail::nearest_in(groups_[second.place].centroids, x);
    if (other.square < best.square) {
      best = other;
      found = groups_[second.place].centroids.id(other.place);
    }
  }
  square = best.square;
  return found;
}

inline double cluster_density::square_to_centroid(const cluster& c, const float* x) const noexcept {
  const float* block = groups_[c.group].centroids.block(c.index / block_points);
  double sum = 0;
  for (std::size_t j = 0; j < dim(); ++j) {
    const double t = static_cast<double>(block[j * block_points + c.index % block_points]) -
                     static_cast<double>(x[j]);
    sum += t * t;
  }
  return sum;
}

inline void cluster_density::put_point(std::uint32_t c, std::span<const float> x, float weight,
                                       id_t id, double square) {
  cluster& to = clusters_[c];
  to.points.reserve_one();
  const std::size_t last = to.points.push(x, weight, id);
  // At a random place among them: whatever order points come in, any blocks are a random sample.
  const std::size_t at =
      last < block_points ? last : static_cast<std::size_t>(uniform_below(order_, last + 1));
  to.points.swap(last, at);
  places_[to.points.id(last)] = {c, static_cast<std::uint32_t>(last)};
  places_[id] = {c, static_cast<std::uint32_t>(at)};
  to.weight += static_cast<double>(weight);
  to.counted = std::max(to.counted, to.weight);
  to.spread += square;
  weigh(c);
}

inline void cluster_density::take_point(std::uint32_t c, std::size_t index) noexcept {
  cluster& from = clusters_[c];
  const float w = from.points.weight(index);
  from.points.copy_point(index, scratch_);
  from.spread = std::max(from.spread - square_to_centroid(from, scratch_.data()), 0.0);
  from.weight -= static_cast<double>(w);
  from.points.remove(index);
  if (index < from.points.size())
    places_[from.points.id(index)].index = static_cast<std::uint32_t>(index);
  if (from.points.size() > 0) {
    weigh(c);
  } else {
    remove_cluster(c);
  }
}

// ---- splits ---------------------------------------------------------------------------------------

inline void cluster_density::refresh_median() {
  std::vector<double> radii;
  radii.reserve(clusters());
  for (const cluster& c : clusters_)
    if (c.points.size() > 1) radii.push_back(c.radius());
  median_ = 0;
  if (!radii.empty()) {
    const auto middle = radii.begin() + static_cast<std::ptrdiff_t>(radii.size() / 2);
    std::nth_element(radii.begin(), middle, radii.end());
    median_ = *middle;
  }
  until_median_ = std::max<std::uint64_t>(clusters(), 64);
}

// Of a cluster that gets one more point: twice too large, or half as wide again as it was and as others
// are.
inline bool cluster_density::wants_split(const cluster& c, double grown_spread) const noexcept {
  const auto n = static_cast<double>(c.points.size() + 1);
  if (c.points.size() + 1 < least_points || c.points.size() < c.patience) return false;
  const double wanted = wanted_size();
  if (n > 2 * wanted && c.points.size() >= 2 * least_points) return true;
  return grown_spread > 2.25 * n * std::max(median_, c.born) && 4 * n > wanted &&
         clusters() < 4 * wanted_clusters(size());
}

// False where the points cannot be told apart. An exception changes nothing.
inline bool cluster_density::split_cluster(std::uint32_t c) {
  const std::size_t n = clusters_[c].points.size();
  const detail::halves h =
      detail::two_means(clusters_[c].points, 3, params_.kernel.on_sphere(), order_);
  if (h.seconds == 0 || h.seconds == n) {
    clusters_[c].patience = 2 * n;
    return false;
  }
  const auto blank = [&](std::size_t points) {
    cluster k{detail::block_list(dim()), 0, 0, 0, 0, nowhere, 0, 0};
    k.points.reserve(points);
    return k;
  };
  cluster parts[2] = {blank(n - h.seconds), blank(h.seconds)};
  for (std::size_t i = 0; i < n; ++i) {
    cluster& to = parts[h.second[i] ? 1 : 0];
    clusters_[c].points.copy_point(i, scratch_);
    to.points.push(scratch_, clusters_[c].points.weight(i), clusters_[c].points.id(i));
    to.weight += static_cast<double>(clusters_[c].points.weight(i));
    double square = 0;
    for (std::size_t j = 0; j < dim(); ++j) {
      const double t =
          static_cast<double>(scratch_[j]) - static_cast<double>(h.means[h.second[i] ? 1 : 0][j]);
      square += t * t;
    }
    to.spread += square;
  }
  for (cluster& k : parts) {
    k.counted = k.weight;
    k.born = k.radius();
  }
  const std::uint32_t g = clusters_[c].group, index = clusters_[c].index;
  add_cluster(std::move(parts[1]), h.means[1], g);
  parts[0].group = g;
  parts[0].index = index;
  clusters_[c] = std::move(parts[0]);
  groups_[g].centroids.put(index, h.means[0], 0.0f);
  weigh(c);
  renumber(c);
  if (groups_[g].centroids.size() > 2 * group_clusters) split_group(g);
  return true;
}

inline void cluster_density::split_group(std::uint32_t g) {
  const detail::halves h =
      detail::two_means(groups_[g].centroids, 4, params_.kernel.on_sphere(), order_);
  const std::size_t n = groups_[g].centroids.size();
  if (h.seconds == 0 || h.seconds == n) return;
  group parts[2] = {{detail::block_list(dim()), {}}, {detail::block_list(dim()), {}}};
  parts[0].centroids.reserve(n - h.seconds);
  parts[1].centroids.reserve(h.seconds);
  for (std::size_t i = 0; i < n; ++i) {
    group& to = parts[h.second[i] ? 1 : 0];
    groups_[g].centroids.copy_point(i, scratch_);
    const std::size_t at =
        to.centroids.push(scratch_, groups_[g].centroids.weight(i), groups_[g].centroids.id(i));
    to.blocks.resize(to.centroids.blocks() * block_points, 0.0f);
    to.blocks[at] = groups_[g].blocks[i];
  }
  const std::uint32_t second = add_group(h.means[1]);
  means_.put(g, h.means[0], 1.0f);
  groups_[g] = std::move(parts[0]);
  groups_[second] = std::move(parts[1]);
  for (const std::uint32_t k : {g, second}) {
    const auto ids = groups_[k].centroids.ids();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      clusters_[ids[i]].group = k;
      clusters_[ids[i]].index = static_cast<std::uint32_t>(i);
    }
  }
}

// Gives a small cluster's points to others.
inline void cluster_density::dissolve(std::uint32_t c) {
  if (clusters() < 2) return;
  // Out of the others' way: no point is near to this.
  std::vector<float> centroid(dim()), x(dim(), 1e18f / std::sqrt(static_cast<float>(dim())));
  groups_[clusters_[c].group].centroids.copy_point(clusters_[c].index, centroid);
  groups_[clusters_[c].group].centroids.put(clusters_[c].index, x,
                                            static_cast<float>(clusters_[c].weight));
  for (std::size_t left = clusters_[c].points.size(); left > 0; --left) {
    const float w = clusters_[c].points.weight(left - 1);
    const id_t id = clusters_[c].points.id(left - 1);
    clusters_[c].points.copy_point(left - 1, x);
    float square = 0;
    const std::uint32_t to = nearest_cluster(x.data(), square);
    if (to == c) {  // the groups nearest to it hold nothing else
      groups_[clusters_[c].group].centroids.put(clusters_[c].index, centroid, 0.0f);
      weigh(c);
      return;
    }
    clusters_[to].points.reserve_one();
    take_point(c, left - 1);
    put_point(to, x, w, id, static_cast<double>(square));
  }
}

}  // namespace skim::inline v0

#include "skim/kde/detail/cluster_density_update.hpp"
