// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
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
#include "skim/index/detail/answers.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/index/detail/scan_batch.hpp"
#include "skim/index/partition_index.hpp"

namespace skim::inline v0 {

namespace detail {

// The k nearest rows of a store to each row of x, whose rows are as the store prepares them, with
// their number for each in found.
inline void nearest_rows(const point_store& store, matrix_view<const float> x, std::size_t k,
                         std::span<neighbor> out, workspace& ws) {
  const std::size_t block = query_block(store.dim());
  std::vector<point_store::query> queries;
  std::vector<nearest> best;
  for (std::size_t first = 0; first < x.rows(); first += block) {
    const std::size_t n = std::min(block, x.rows() - first);
    queries.clear();
    best.clear();
    for (std::size_t i = first; i < first + n; ++i) {
      queries.push_back(store.prepared(x.row(i)));
      best.emplace_back(out.subspan(i * k, k));
    }
    if (n < least_batch) {
      for (std::size_t i = 0; i < n; ++i) store.scan(queries[i], best[i]);
    } else {
      scan_batch(store, queries, best, ws);
    }
    for (nearest& b : best) b.finish();
  }
}

}  // namespace detail

inline partition_index::params partition_index::checked(const params& p) {
  if (p.lists > std::size_t{1} << 16 || p.rounds > 1000 || p.sample == 0 ||
      p.sample > std::size_t{1} << 20)
    SKIM_THROW(invalid_params,
               detail::concat("partition_index: got ", p.lists, " lists, ", p.rounds,
                              " rounds and a sample of ", p.sample,
                              " a list, wanted at most 2^16, at most 1000, and 1 to 2^20"));
  if (p.distance == metric::inner_product)
    SKIM_THROW(invalid_params,
               "partition_index: got inner products, wanted Euclidean distances or cosines");
  return p;
}

inline partition_index::partition_index(params p, seed s)
    : params_(checked(p)), seed_(s), centroids_("partition_index", p.dim, metric::euclidean) {
  lists_.push_back(empty_list());
  static_cast<void>(centroids_.insert("partition_index", std::vector<float>(p.dim, 0.0f)));
}

inline partition_index::cell partition_index::empty_list() const {
  return {detail::point_store("partition_index", params_.dim, params_.distance), {}};
}

// k-means on a sample of the rows, which are as they will be kept.
template <class Executor>
void partition_index::fit(matrix_view<const float> x, std::size_t wanted, Executor& run) {
  const std::size_t d = dim();
  const std::size_t m = std::min(wanted, x.rows());
  const std::size_t n = std::min(x.rows(), m * params_.sample);
  std::vector<std::size_t> order(x.rows());
  std::iota(order.begin(), order.end(), std::size_t{0});
  random_engine g(seed_);
  for (std::size_t i = 0; i < n; ++i)
    std::swap(order[i], order[i + static_cast<std::size_t>(uniform_below(g, order.size() - i))]);
  std::vector<float> sample(n * d);
  for (std::size_t i = 0; i < n; ++i)
    std::copy_n(x.row(order[i]).begin(), d, sample.begin() + static_cast<std::ptrdiff_t>(i * d));
  const matrix_view<const float> points(sample.data(), n, d);
  detail::point_store centroids("partition_index", d, metric::euclidean);
  for (std::size_t c = 0; c < m; ++c)
    static_cast<void>(centroids.insert("partition_index", points.row(c)));
  std::vector<neighbor> own(n);
  std::vector<double> sum;
  std::vector<std::size_t> count;
  for (std::size_t round = 0; round < params_.rounds; ++round) {
    run.parallel_for(n, 4096, [&](std::size_t first, std::size_t last) {
      workspace ws;
      detail::nearest_rows(centroids, points.rows(first, last - first), 1,
                           std::span(own).subspan(first, last - first), ws);
    });
    sum.assign(m * d, 0.0);
    count.assign(m, 0);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t c = own[i].id;
      ++count[c];
      for (std::size_t j = 0; j < d; ++j) sum[c * d + j] += static_cast<double>(sample[i * d + j]);
    }
    std::vector<float> mean(d);
    for (std::size_t c = 0; c < m; ++c) {
      // One that has lost its points begins anew at a point of the sample.
      if (count[c] == 0) {
        centroids.put(static_cast<id_t>(c),
                      points.row(static_cast<std::size_t>(uniform_below(g, n))));
        continue;
      }
      for (std::size_t j = 0; j < d; ++j)
        mean[j] = static_cast<float>(sum[c * d + j] / static_cast<double>(count[c]));
      centroids.put(static_cast<id_t>(c), mean);
    }
  }
  centroids_ = std::move(centroids);
}

template <executor Executor>
void partition_index::build(matrix_view<const float> x, Executor&& run) {
  constexpr std::string_view who = "partition_index::build";
  // Through a list, which checks the points and makes of them what is kept.
  partition_index fresh(params_, seed_);
  detail::point_store& all = fresh.lists_[0].points;
  all.check(who, x);
  all.reserve(x.rows());
  for (std::size_t i = 0; i < x.rows(); ++i) static_cast<void>(all.insert(who, x.row(i)));
  const detail::point_store kept = std::move(all);
  fresh.lists_[0] = fresh.empty_list();
  if (x.rows() > 0) {
    const auto root = static_cast<std::size_t>(std::sqrt(static_cast<double>(x.rows())));
    fresh.fit(kept.rows(),
              params_.lists != 0 ? params_.lists : std::clamp<std::size_t>(root, 1, 1u << 16), run);
    fresh.lists_.assign(fresh.centroids_.slots(), fresh.empty_list());
    std::vector<neighbor> own(x.rows());
    run.parallel_for(x.rows(), 4096, [&](std::size_t first, std::size_t last) {
      workspace ws;
      detail::nearest_rows(fresh.centroids_, kept.rows().rows(first, last - first), 1,
                           std::span(own).subspan(first, last - first), ws);
    });
    std::vector<std::size_t> count(fresh.lists_.size(), 0);
    for (const neighbor& c : own) ++count[c.id];
    for (std::size_t c = 0; c < count.size(); ++c) {
      fresh.lists_[c].points.reserve(count[c]);
      fresh.lists_[c].ids.reserve(count[c]);
    }
    fresh.places_.resize(x.rows());
    for (std::size_t i = 0; i < x.rows(); ++i) fresh.put(static_cast<id_t>(i), own[i].id, x.row(i));
  }
  *this = std::move(fresh);
}

// Pre: x was checked, places_ has a place for id.
inline void partition_index::put(id_t id, std::uint32_t list, std::span<const float> x) {
  auto& l = lists_[list];
  const id_t row = l.points.next_id();
  if (row == l.ids.size()) l.ids.push_back(id);
  static_cast<void>(l.points.insert("partition_index", x));
  l.ids[row] = id;
  places_[id] = {list, row};
}

// Of a point as it comes.
inline std::uint32_t partition_index::nearest_list(std::span<const float> x, workspace& ws) const {
  auto frame = ws.frame();
  const auto values = frame.take<float>(dim());
  static_cast<void>(lists_[0].points.prepare(x, values));
  neighbor best;
  detail::nearest one(std::span<neighbor>(&best, 1));
  centroids_.scan(centroids_.prepared(values), one);
  one.finish();
  return best.id;
}

inline id_t partition_index::insert(std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "partition_index::insert";
  static_cast<void>(lists_[0].points.check(who, x));
  if (free_.empty() && places_.size() >= nowhere - 1)
    SKIM_THROW(invalid_input, detail::concat(who, ": wanted fewer than 2^32 - 1 points"));
  const std::uint32_t list = nearest_list(x, ws);
  const id_t id = free_.empty() ? static_cast<id_t>(places_.size()) : free_.back();
  if (free_.empty()) {
    places_.push_back({});
  } else {
    free_.pop_back();
  }
  put(id, list, x);
  return id;
}

inline void partition_index::erase(id_t id) {
  if (!contains(id))
    SKIM_THROW(invalid_input, detail::concat("partition_index::erase: got id ", id,
                                             ", wanted that of a point in the index"));
  free_.push_back(id);
  lists_[places_[id].list].points.erase(places_[id].row);
  places_[id] = {};
}

inline void partition_index::update(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "partition_index::update";
  if (!contains(id))
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got id ", id, ", wanted that of a point in the index"));
  static_cast<void>(lists_[0].points.check(who, x));
  const std::uint32_t list = nearest_list(x, ws);
  if (list == places_[id].list) {
    lists_[list].points.put(places_[id].row, x);
    return;
  }
  lists_[places_[id].list].points.erase(places_[id].row);
  put(id, list, x);
}

inline void partition_index::search_block(matrix_view<const float> x, std::size_t k,
                                          std::span<neighbor> out, std::span<std::size_t> found,
                                          std::size_t lists, workspace& ws) const {
  const std::size_t n = x.rows(), d = dim(), m = lists_.size();
  const std::size_t visits = std::min(lists, m);
  auto frame = ws.frame();
  const auto values = frame.take<float>(n * d);
  const auto near = frame.take<neighbor>(n * visits);
  for (std::size_t i = 0; i < n; ++i)
    static_cast<void>(lists_[0].points.prepare(x.row(i), values.subspan(i * d, d)));
  detail::nearest_rows(centroids_, {values.data(), n, d}, visits, near, ws);
  std::vector<detail::nearest> best;
  for (std::size_t i = 0; i < n; ++i) best.emplace_back(out.subspan(i * k, k));

  // The nearest list of each query, then the others; queries sorted by list each time.
  const auto starts = frame.take<std::uint32_t>(m + 1);
  const auto order = frame.take<std::uint32_t>(n * visits);
  std::vector<detail::point_store::query> queries;
  std::vector<detail::nearest> here;
  const auto pass = [&](std::size_t first, std::size_t last) {
    std::fill(starts.begin(), starts.end(), 0u);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t v = first; v < last; ++v) ++starts[near[i * visits + v].id + 1];
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t v = first; v < last; ++v)
        order[starts[near[i * visits + v].id]++] = static_cast<std::uint32_t>(i);
    // Each start is the next list's now.
    std::size_t from = 0;
    const std::size_t block = detail::query_block(d);
    for (std::size_t c = 0; c < m; ++c) {
      const auto& l = lists_[c];
      const std::size_t to = starts[c];
      if (l.points.size() == 0) from = to;
      while (from < to) {
        const std::size_t count = std::min(block, to - from);
        queries.clear();
        here.clear();
        for (std::size_t q = from; q < from + count; ++q) {
          queries.push_back(l.points.prepared(values.subspan(order[q] * d, d)));
          best[order[q]].call(l.ids.data());
          here.push_back(best[order[q]]);
        }
        if (count < detail::least_batch) {
          for (std::size_t q = 0; q < count; ++q) l.points.scan(queries[q], here[q]);
        } else {
          detail::scan_batch(l.points, queries, here, ws);
        }
        for (std::size_t q = 0; q < count; ++q) best[order[from + q]] = here[q];
        from += count;
      }
    }
  };
  pass(0, 1);
  if (visits > 1) pass(1, visits);
  for (std::size_t i = 0; i < n; ++i) found[i] = best[i].finish();
}

inline std::size_t partition_index::search(std::span<const float> x, std::span<neighbor> out,
                                           workspace& ws, std::size_t lists) const {
  constexpr std::string_view who = "partition_index::search";
  static_cast<void>(lists_[0].points.check(who, x));
  if (lists == 0) SKIM_THROW(invalid_input, detail::concat(who, ": got 0 lists, wanted 1 or more"));
  if (out.empty()) return 0;
  const std::size_t d = dim(), visits = std::min(lists, lists_.size());
  auto frame = ws.frame();
  const auto values = frame.take<float>(d);
  const auto near = frame.take<neighbor>(visits);
  static_cast<void>(lists_[0].points.prepare(x, values));
  detail::nearest centroids(near);
  centroids_.scan(centroids_.prepared(values), centroids);
  centroids.finish();
  detail::nearest best(out);
  for (const neighbor& c : near) {
    const auto& l = lists_[c.id];
    best.call(l.ids.data());
    l.points.scan(l.points.prepared(values), best);
  }
  return best.finish();
}

template <executor Executor>
void partition_index::search(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
                             std::span<std::size_t> found, std::size_t lists,
                             Executor&& run) const {
  constexpr std::string_view who = "partition_index::search";
  lists_[0].points.check(who, x);
  detail::check_answers(who, x.rows(), k, out.size(), found.size());
  if (lists == 0) SKIM_THROW(invalid_input, detail::concat(who, ": got 0 lists, wanted 1 or more"));
  std::fill(found.begin(), found.end(), std::size_t{0});
  if (k == 0) return;
  // Many queries at once, so that a list meets several of them.
  run.parallel_for(x.rows(), 2048, [&](std::size_t first, std::size_t last) {
    workspace ws;
    search_block(x.rows(first, last - first), k, out.subspan(first * k, (last - first) * k),
                 found.subspan(first, last - first), lists, ws);
  });
}

inline std::size_t partition_index::bytes() const noexcept {
  std::size_t total = centroids_.bytes() + places_.capacity() * sizeof(place) +
                      free_.capacity() * sizeof(id_t) + lists_.capacity() * sizeof(cell);
  for (const cell& l : lists_) total += l.points.bytes() + l.ids.capacity() * sizeof(id_t);
  return total;
}

inline void partition_index::save(writer& out) const {
  out.begin_frame("partition_index");
  out.put(params_.distance);
  out.put(std::uint64_t{params_.lists});
  out.put(std::uint64_t{params_.rounds});
  out.put(std::uint64_t{params_.sample});
  out.put(seed_.value);
  centroids_.save(out);
  out.put(std::uint64_t{places_.size()});
  out.put(std::span<const id_t>(free_));
  for (const cell& l : lists_) {
    l.points.save(out);
    out.put(std::span<const id_t>(l.ids));
  }
  out.end_frame();
}

inline partition_index partition_index::load(reader& in) {
  in.begin_frame("partition_index");
  params p;
  p.distance = in.get<metric>();
  p.lists = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.rounds = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.sample = static_cast<std::size_t>(in.get<std::uint64_t>());
  const seed s{in.get<std::uint64_t>()};
  if (p.distance > metric::cosine || p.lists > std::size_t{1} << 16 || p.rounds > 1000 ||
      p.sample == 0 || p.sample > std::size_t{1} << 20)
    in.fail("parameters that no partition_index has");
  auto centroids = detail::point_store::load(in);
  if (centroids.metric() != metric::euclidean || centroids.size() == 0 ||
      centroids.size() != centroids.slots() || centroids.size() > std::size_t{1} << 16)
    in.fail("centroids that no partition_index has");
  p.dim = centroids.dim();
  partition_index index(p, s);
  index.centroids_ = std::move(centroids);
  const auto places = in.get<std::uint64_t>();
  // Each id is free, or in a list with 4 bytes at least.
  if (places > in.remaining() / sizeof(id_t)) in.fail(places, " ids are announced");
  index.places_.resize(static_cast<std::size_t>(places));
  index.free_ = in.get_vector<id_t>();
  index.lists_.clear();
  std::size_t held = 0;
  for (std::size_t c = 0; c < index.centroids_.size(); ++c) {
    auto points = detail::point_store::load(in);
    auto ids = in.get_vector<id_t>();
    if (points.dim() != p.dim || points.metric() != p.distance || ids.size() != points.slots())
      in.fail("list ", c, " is not one of this index");
    for (std::size_t r = 0; r < ids.size(); ++r) {
      if (!points.contains(static_cast<id_t>(r))) continue;
      if (ids[r] >= places || index.places_[ids[r]].list != nowhere)
        in.fail("id ", ids[r], " of ", places, ", or one that is in two places");
      index.places_[ids[r]] = {static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(r)};
      ++held;
    }
    index.lists_.push_back({std::move(points), std::move(ids)});
  }
  std::vector<bool> named(index.places_.size(), false);
  for (const id_t id : index.free_) {
    if (id >= places || index.places_[id].list != nowhere || named[id])
      in.fail("a free id ", id, " of ", places, ", or one that is in use");
    named[id] = true;
  }
  if (held + index.free_.size() != places)
    in.fail(places, " ids, of which ", held, " in use and ", index.free_.size(), " free");
  in.end_frame();
  return index;
}

}  // namespace skim::inline v0
