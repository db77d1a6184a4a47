// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
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
#include "skim/kde/detail/cluster_density_impl.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0 {

// ---- build ----------------------------------------------------------------------------------------

// Puts n points in clusters: row(i) with weights[i] (or 1) under ids[i] (or i). Pre: *this has no
// clusters, places_ has a place for each id, the points were checked and are as they are kept.
template <class Row, class Executor>
void cluster_density::arrange(std::size_t n, Row&& row, std::span<const float> weights,
                              std::span<const id_t> ids, Executor& run) {
  constexpr std::size_t a_centroid = 32;  // points of the samples that k-means sees
  if (n == 0) return;
  const std::size_t d = dim();
  const bool sphere = params_.kernel.on_sphere();
  const random_engine draws(seed_);
  using rows = std::vector<std::uint32_t>;
  const auto means = [&](const rows& of, std::size_t k, const random_engine& g) {
    return detail::k_means(
        d, std::min(of.size(), k * a_centroid), [&](std::size_t i) { return row(of[i]); }, k,
        params_.rounds, sphere, g);
  };
  const auto share = [&](std::size_t points) {
    return std::clamp<std::size_t>(
        static_cast<std::size_t>(std::round(static_cast<double>(wanted_clusters(n)) *
                                            static_cast<double>(points) / static_cast<double>(n))),
        1, points);
  };

  // Parts of about group_clusters clusters each, by k-means of few centroids over and over. Points that
  // cannot be told apart stay together, so that this ends at some depth.
  std::vector<rows> parts(1), leaves;
  parts[0].resize(n);
  for (std::size_t i = 0; i < n; ++i) parts[0][i] = static_cast<std::uint32_t>(i);
  random_engine g = draws.child(2);
  shuffle(std::span(parts[0]), g);
  std::vector<std::uint32_t> own(n);
  for (std::size_t depth = 0; !parts.empty(); ++depth) {
    std::vector<rows> next;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const rows& part = parts[p];
      const std::size_t k =
          std::min<std::size_t>((share(part.size()) + group_clusters - 1) / group_clusters, 512);
      if (share(part.size()) <= 2 * group_clusters || depth == 4) {
        leaves.push_back(std::move(parts[p]));
        continue;
      }
      const detail::block_list centroids = means(part, k, draws.child(3).child(depth).child(p));
      run.parallel_for(part.size(), 4096, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i)
          own[i] =
              static_cast<std::uint32_t>(detail::nearest_in(centroids, row(part[i]).data()).place);
      });
      std::vector<rows> of(k);
      std::vector<std::size_t> counts(k, 0);
      for (std::size_t i = 0; i < part.size(); ++i) ++counts[own[i]];
      for (std::size_t c = 0; c < k; ++c) of[c].reserve(counts[c]);
      for (std::size_t i = 0; i < part.size(); ++i) of[own[i]].push_back(part[i]);
      parts[p] = {};
      for (rows& r : of)
        if (!r.empty()) next.push_back(std::move(r));
    }
    parts = std::move(next);
  }

  // Each a group of clusters.
  struct leaf_means {
    detail::block_list centroids;
    std::vector<std::uint32_t> own;
  };
  std::vector<leaf_means> fitted(leaves.size(), {detail::block_list(d), {}});
  run.parallel_for(leaves.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t l = first; l < last; ++l) {
      const rows& part = leaves[l];
      const std::size_t k = std::min<std::size_t>(share(part.size()), 4 * group_clusters);
      fitted[l].centroids = means(part, k, draws.child(4).child(l));
      fitted[l].own.resize(part.size());
      for (std::size_t i = 0; i < part.size(); ++i)
        fitted[l].own[i] = static_cast<std::uint32_t>(
            detail::nearest_in(fitted[l].centroids, row(part[i]).data()).place);
    }
  });
  std::vector<float> mean(d), x(d);
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    detail::block_list& centroids = fitted[l].centroids;
    const std::vector<std::uint32_t>& of = fitted[l].own;
    std::vector<double> sum(d, 0.0);
    for (std::size_t c = 0; c < centroids.size(); ++c) {
      centroids.copy_point(c, x);
      for (std::size_t j = 0; j < d; ++j) sum[j] += static_cast<double>(x[j]);
    }
    for (std::size_t j = 0; j < d; ++j)
      mean[j] = static_cast<float>(sum[j] / static_cast<double>(centroids.size()));
    const std::uint32_t to = add_group(mean);
    std::vector<cluster> made(centroids.size(), {detail::block_list(d), 0, 0, 0, 0, nowhere, 0, 0});
    std::vector<std::size_t> counts(centroids.size(), 0);
    for (const std::uint32_t c : of) ++counts[c];
    for (std::size_t c = 0; c < made.size(); ++c) made[c].points.reserve(counts[c]);
    std::vector<std::vector<float>> centres(centroids.size(), std::vector<float>(d));
    for (std::size_t c = 0; c < made.size(); ++c) centroids.copy_point(c, centres[c]);
    for (std::size_t i = 0; i < of.size(); ++i) {
      const std::uint32_t r = leaves[l][i];
      cluster& c = made[of[i]];
      const float w = weights.empty() ? 1.0f : weights[r];
      c.points.push(row(r), w, ids.empty() ? static_cast<id_t>(r) : ids[r]);
      c.weight += static_cast<double>(w);
      c.spread +=
          static_cast<double>(squared_distance(row(r), std::span<const float>(centres[of[i]])));
    }
    for (std::size_t c = 0; c < made.size(); ++c) {
      if (made[c].points.size() == 0) continue;
      made[c].counted = made[c].weight;
      made[c].born = made[c].radius();
      add_cluster(std::move(made[c]), centres[c], to);
    }
    leaves[l] = {};
    fitted[l].own = {};
  }
  const double most = 2 * wanted_size();
  for (std::size_t c = 0; c < clusters_.size(); ++c) {
    const auto at = static_cast<std::uint32_t>(c);
    while (static_cast<double>(clusters_[c].points.size()) > most &&
           clusters_[c].points.size() >= 2 * least_points && split_cluster(at)) {
    }
  }
  sum_weights();
  refresh_median();
}

template <executor Executor>
void cluster_density::build(matrix_view<const float> x, std::span<const float> weights,
                            Executor&& run) {
  constexpr std::string_view who = "cluster_density::build";
  if (!weights.empty() && weights.size() != x.rows())
    SKIM_THROW(invalid_input, detail::concat(who, ": got ", weights.size(), " weights for ",
                                             x.rows(), " rows, wanted one a row or none"));
  if (x.rows() >= nowhere - 1)
    SKIM_THROW(invalid_input, detail::concat(who, ": wanted fewer than 2^32 - 1 points"));
  for (std::size_t i = 0; i < x.rows(); ++i) check_point(who, x.row(i));
  for (const float w : weights) check_weight(who, w);
  cluster_density fresh(params_, seed_);
  fresh.places_.resize(x.rows());
  if (params_.kernel.on_sphere()) {
    std::vector<float> scaled(x.rows() * dim());
    for (std::size_t i = 0; i < x.rows(); ++i)
      static_cast<void>(kept(x.row(i), std::span(scaled).subspan(i * dim(), dim())));
    const matrix_view<const float> rows(scaled.data(), x.rows(), dim());
    fresh.arrange(
        x.rows(), [&](std::size_t i) { return rows.row(i); }, weights, {}, run);
  } else {
    fresh.arrange(
        x.rows(), [&](std::size_t i) { return x.row(i); }, weights, {}, run);
  }
  *this = std::move(fresh);
}

template <executor Executor>
void cluster_density::refresh(Executor&& run) {
  std::vector<float> values(size() * dim()), weights;
  std::vector<id_t> ids;
  ids.reserve(size());
  weights.reserve(size());
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const auto id = static_cast<id_t>(i);
    if (!contains(id)) continue;
    point(id, std::span(values).subspan(ids.size() * dim(), dim()));
    ids.push_back(id);
    weights.push_back(weight(id));
  }
  const matrix_view<const float> rows(values.data(), ids.size(), dim());
  cluster_density fresh(params_, seed_);
  fresh.places_.resize(places_.size());
  fresh.free_ = free_;
  fresh.arrange(
      ids.size(), [&](std::size_t i) { return rows.row(i); }, weights, ids, run);
  *this = std::move(fresh);
}

// ---- updates --------------------------------------------------------------------------------------

inline id_t cluster_density::insert(std::span<const float> x, float weight, workspace& ws) {
  constexpr std::string_view who = "cluster_density::insert";
  check_point(who, x);
  check_weight(who, weight);
  if (free_.empty() && places_.size() >= nowhere - 1)
    SKIM_THROW(invalid_input, detail::concat(who, ": wanted fewer than 2^32 - 1 points"));
  auto frame = ws.frame();
  const std::span<const float> p = kept(x, frame.take<float>(dim()));
  if (free_.empty() && places_.size() == places_.capacity()) {
    places_.reserve(places_.size() + places_.size() / 8 + 16);
    free_.reserve(places_.capacity());
  }
  if (until_median_ == 0) refresh_median();
  std::uint32_t c = nowhere;
  float square = 0;
  if (groups_.empty()) {
    c = add_cluster({detail::block_list(dim()), 0, 0, 0, 0, nowhere, 0, 0}, p, add_group(p));
  } else {
    c = nearest_cluster(p.data(), square);
    if (wants_split(clusters_[c], clusters_[c].spread + static_cast<double>(square)) &&
        split_cluster(c))
      c = nearest_cluster(p.data(), square);
  }
  const id_t id = free_.empty() ? static_cast<id_t>(places_.size()) : free_.back();
  clusters_[c].points.reserve_one();
  if (free_.empty()) {
    places_.push_back({});
  } else {
    free_.pop_back();
  }
  put_point(c, p, weight, id, static_cast<double>(square));
  total_ += static_cast<double>(weight);
  counted_ = std::max(counted_, total_);
  --until_median_;
  return id;
}

inline void cluster_density::erase(id_t id) {
  check_id("cluster_density::erase", id);
  const std::uint32_t c = places_[id].cluster;
  // free_ has room for all ids; but for those of build() or load().
  free_.push_back(id);
  total_ -= static_cast<double>(weight(id));
  take_point(c, places_[id].index);
  places_[id] = {};
  if (size() == 0) {
    total_ = counted_ = 0;
    return;
  }
  if (total_ < 0.5 * counted_ || !(total_ > 0)) sum_weights();
  if (8 * static_cast<double>(clusters_[c].points.size()) < wanted_size() &&
      clusters_[c].points.size() > 0 && clusters() > wanted_clusters(size()))
    dissolve(c);
}

inline void cluster_density::replace(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "cluster_density::replace";
  check_id(who, id);
  check_point(who, x);
  auto frame = ws.frame();
  const std::span<const float> p = kept(x, frame.take<float>(dim()));
  if (until_median_ == 0) refresh_median();
  float square = 0;
  std::uint32_t to = nearest_cluster(p.data(), square);
  if (to != places_[id].cluster &&
      wants_split(clusters_[to], clusters_[to].spread + static_cast<double>(square)) &&
      split_cluster(to))
    to = nearest_cluster(p.data(), square);
  const std::uint32_t from = places_[id].cluster;
  const float w = weight(id);
  if (to == from) {
    cluster& c = clusters_[to];
    c.points.copy_point(places_[id].index, scratch_);
    c.spread = std::max(c.spread - square_to_centroid(c, scratch_.data()), 0.0) +
               static_cast<double>(square);
    c.points.put(places_[id].index, p, w);
  } else {
    clusters_[to].points.reserve_one();
    take_point(from, places_[id].index);
    put_point(to, p, w, id, static_cast<double>(square));
  }
  --until_median_;
}

inline void cluster_density::clear() noexcept {
  clusters_.clear();
  free_clusters_.clear();
  groups_.clear();
  means_.clear();
  places_.clear();
  free_.clear();
  total_ = counted_ = median_ = 0;
  until_median_ = 0;
}

inline cluster_health cluster_density::health() const {
  cluster_health h;
  h.clusters = clusters();
  std::vector<double> radii;
  for (const cluster& c : clusters_) {
    if (c.points.size() == 0) continue;
    h.largest = std::max(h.largest, static_cast<double>(c.points.size()) / wanted_size());
    radii.push_back(std::sqrt(c.radius()));
  }
  if (radii.empty()) return h;
  std::sort(radii.begin(), radii.end());
  const double middle = radii[radii.size() / 2];
  h.widest = middle > 0 ? radii.back() / middle : radii.back() > 0 ? 1e30 : 1.0;
  return h;
}

inline std::size_t cluster_density::bytes() const noexcept {
  std::size_t total =
      clusters_.capacity() * sizeof(cluster) + free_clusters_.capacity() * sizeof(std::uint32_t) +
      groups_.capacity() * sizeof(group) + means_.bytes() + places_.capacity() * sizeof(place) +
      free_.capacity() * sizeof(id_t) + scratch_.capacity() * sizeof(float);
  for (const cluster& c : clusters_) total += c.points.bytes();
  for (const group& g : groups_) total += g.centroids.bytes() + g.blocks.capacity() * sizeof(float);
  return total;
}

// ---- save and load --------------------------------------------------------------------------------

inline void cluster_density::save(writer& out) const {
  out.begin_frame("cluster_density");
  out.put(std::uint64_t{params_.dim});
  out.put(params_.kernel.kind);
  out.put(params_.kernel.bandwidth);
  out.put(std::uint64_t{params_.clusters});
  out.put(params_.exponent);
  out.put(std::uint64_t{params_.blocks});
  out.put(std::uint64_t{params_.rounds});
  out.put(seed_.value);
  order_.save(out);
  for (const double v : {total_, counted_, median_}) out.put(v);
  out.put(until_median_);
  out.put(std::uint64_t{places_.size()});
  out.put(std::span<const id_t>(free_));
  out.put(std::uint64_t{groups_.size()});
  std::vector<float> x(dim());
  const auto put_point_of = [&](const detail::block_list& list, std::size_t i) {
    list.copy_point(i, x);
    out.put(std::span<const float>(x));
  };
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    put_point_of(means_, g);
    out.put(std::uint64_t{groups_[g].centroids.size()});
    for (std::size_t i = 0; i < groups_[g].centroids.size(); ++i) {
      put_point_of(groups_[g].centroids, i);
      const cluster& c = clusters_[groups_[g].centroids.id(i)];
      for (const double v : {c.weight, c.counted, c.spread, c.born}) out.put(v);
      out.put(std::uint64_t{c.patience});
      out.put(c.points.ids());
      for (std::size_t p = 0; p < c.points.size(); ++p) {
        out.put(c.points.weight(p));
        put_point_of(c.points, p);
      }
    }
  }
  out.end_frame();
}

inline cluster_density cluster_density::load(reader& in) {
  in.begin_frame("cluster_density");
  params p;
  p.dim = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.kernel.kind = in.get<kernel_kind>();
  p.kernel.bandwidth = in.get<double>();
  p.clusters = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.exponent = in.get<double>();
  p.blocks = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.rounds = static_cast<std::size_t>(in.get<std::uint64_t>());
  const seed s{in.get<std::uint64_t>()};
  if (p.kernel.kind > kernel_kind::angular ||
      !(p.kernel.bandwidth >= 1e-15 && p.kernel.bandwidth <= 1e15) || p.dim == 0 ||
      p.dim > std::size_t{1} << 24 || p.clusters > std::size_t{1} << 20 ||
      !(p.exponent >= 0 && p.exponent <= 2) || p.blocks < 16 || p.blocks > std::size_t{1} << 20 ||
      p.rounds > 1000)
    in.fail("parameters that no cluster_density has");
  cluster_density out(p, s);
  out.order_ = random_engine::load(in);
  const double total = in.get<double>(), counted = in.get<double>(), median = in.get<double>();
  const auto until = in.get<std::uint64_t>();
  const auto places = in.get<std::uint64_t>();
  // Each id is free or has a point, in 4 bytes at least.
  if (places > in.remaining() / sizeof(id_t) || places >= nowhere)
    in.fail(places, " ids are announced, ", in.remaining(), " bytes remain");
  out.places_.resize(static_cast<std::size_t>(places));
  out.free_ = in.get_vector<id_t>();
  const auto amount = [&](double v) { return std::isfinite(v) && v >= 0; };
  const auto point = [&](std::span<float> x, double most) {
    in.get_into(x);
    if (!all_finite(std::span<const float>(x)) ||
        !(static_cast<double>(dot(std::span<const float>(x), std::span<const float>(x))) <= most))
      in.fail("a coordinate that is not finite, or too large a norm");
  };
  const auto groups = in.get<std::uint64_t>();
  if (groups > in.remaining() / sizeof(float)) in.fail(groups, " groups are announced");
  std::vector<float> x(p.dim), centroid(p.dim);
  std::size_t held = 0;
  double sum = 0;
  for (std::uint64_t g = 0; g < groups; ++g) {
    point(x, 1.1e37);
    const std::uint32_t group = out.add_group(x);
    const auto count = in.get<std::uint64_t>();
    if (count == 0 || count > in.remaining() / sizeof(float))
      in.fail("group ", g, " has ", count, " clusters");
    for (std::uint64_t i = 0; i < count; ++i) {
      point(centroid, 1.1e37);
      cluster c{detail::block_list(p.dim), 0, 0, 0, 0, nowhere, 0, 0};
      const double weight = in.get<double>(), was = in.get<double>();
      c.spread = in.get<double>();
      c.born = in.get<double>();
      c.patience = static_cast<std::size_t>(in.get<std::uint64_t>());
      const std::vector<id_t> ids = in.get_vector<id_t>();
      if (ids.empty() || ids.size() > in.remaining() / sizeof(float) / p.dim || !amount(c.spread) ||
          !amount(c.born))
        in.fail("cluster ", i, " of group ", g, " is none that a cluster_density has");
      c.points.reserve(ids.size());
      for (const id_t id : ids) {
        if (id >= places || out.places_[id].cluster != nowhere)
          in.fail("id ", id, " of ", places, ", or one that is in two places");
        const auto w = in.get<float>();
        if (!(w >= 1e-15f && w <= 1e15f)) in.fail("a weight of ", w);
        point(x, 1e37);
        if (p.kernel.on_sphere()) {
          const double square =
              static_cast<double>(dot(std::span<const float>(x), std::span<const float>(x)));
          if (!(std::abs(square - 1) < 1e-4)) in.fail("a point off the sphere");
        }
        c.points.push(x, w, id);
        c.weight += static_cast<double>(w);
        out.places_[id].cluster = 0;  // where: when the cluster is added
      }
      if (!(std::abs(weight - c.weight) <= 1e-6 * c.weight) || !amount(was) || was < weight)
        in.fail("a cluster's weight of ", weight, " whose points weigh ", c.weight);
      sum += c.weight;
      c.weight = weight;
      c.counted = std::min(was, 2 * weight);
      held += ids.size();
      out.add_cluster(std::move(c), centroid, group);
    }
  }
  std::vector<bool> named(out.places_.size(), false);
  for (const id_t id : out.free_) {
    if (id >= places || out.places_[id].cluster != nowhere || named[id])
      in.fail("a free id ", id, " of ", places, ", or one that is in use");
    named[id] = true;
  }
  if (held + out.free_.size() != places)
    in.fail(places, " ids, of which ", held, " in use and ", out.free_.size(), " free");
  if (!(std::abs(total - sum) <= 1e-6 * sum) || !amount(counted) || counted < total ||
      !amount(median))
    in.fail("a weight of ", total, " in all, where the points weigh ", sum);
  in.end_frame();
  out.total_ = total;
  out.counted_ = counted;
  out.median_ = median;
  out.until_median_ = std::min<std::uint64_t>(until, std::uint64_t{1} << 21);
  return out;
}

}  // namespace skim::inline v0
