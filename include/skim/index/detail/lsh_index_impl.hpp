// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
#include "skim/core/workspace.hpp"
#include "skim/hash/bits.hpp"
#include "skim/index/detail/answers.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/index/lsh_index.hpp"
#include "skim/table/dynamic_buckets.hpp"

namespace skim::inline v0 {

namespace detail {

// Rows that are hashed in one go: their codes stay in the second-level cache.
inline constexpr std::size_t hash_block = 256;

/// The cheapest sets of bits to flip, over all tables together; the cost of a set is the sum of its
/// bits' squared margins (Lv et al. 2007). Sets are found table by table below a limit of the cost that
/// is fitted to the number wanted, which is several times faster than a queue of them.
class flip_sets {
 public:
  struct flips {
    float cost;
    std::uint32_t table;
    code_t mask;

    friend bool operator<(const flips& a, const flips& b) noexcept {
      if (a.cost != b.cost) return a.cost < b.cost;
      return a.table != b.table ? a.table < b.table : a.mask < b.mask;
    }
  };

  // margins (tables, bits), or empty: all alike.
  flip_sets(std::span<const float> margins, std::size_t tables, std::size_t bits,
            workspace::frame_type& frame)
      : tables_(tables), bits_(bits), bit_(frame.take<bit>(tables * bits)) {
    for (std::size_t t = 0; t < tables; ++t)
      for (std::size_t b = 0; b < bits; ++b) {
        const float m = margins.empty() ? 1.0f : margins[t * bits + b];
        // Points that are allowed may have margins whose squares are not.
        bit_[t * bits + b] = {std::min(m * m, 1e30f), code_t{1} << b};
      }
  }

  // The `wanted` first; fewer if there are fewer. Pre: wanted > 0.
  std::span<const flips> cheapest(std::size_t wanted, workspace::frame_type& frame) {
    // As many single bits as sets are wanted lie below this limit: enough, with their unions too many.
    const auto costs = frame.take<float>(bit_.size());
    for (std::size_t i = 0; i < costs.size(); ++i) costs[i] = bit_[i].cost;
    const std::size_t rank = std::min(wanted, costs.size()) - 1;
    std::nth_element(costs.begin(), costs.begin() + static_cast<std::ptrdiff_t>(rank), costs.end());
    const float most = costs[rank];
    // Bits above it are in no set; should the limit have to rise, all must be in order.
    const bool rising = wanted > costs.size();
    for (std::size_t t = 0; t < tables_; ++t) sort(bit_.subspan(t * bits_, bits_), most, rising);
    constexpr float infinite = std::numeric_limits<float>::infinity();
    const std::size_t room = 2 * wanted + 64;
    float low = 0, high = rising ? infinite : most, limit = rising ? most : most / 2;
    std::size_t n = count(limit, room);
    for (int tries = 0; tries < 40 && (n < wanted || n > room); ++tries) {
      (n < wanted ? low : high) = limit;
      const float next = high == infinite ? limit * 1.5f + 1e-30f : low + (high - low) / 2;
      if (next == limit) break;
      limit = next;
      n = count(limit, room);
    }
    // Ties may leave nothing between too few and too many: then some of the ties, the first tables'.
    if (n < wanted && high != infinite) limit = high;
    const auto sets = frame.take<flips>(room);
    n = collect(limit, sets);
    const std::size_t kept = std::min(n, wanted);
    std::nth_element(sets.begin(), sets.begin() + static_cast<std::ptrdiff_t>(kept),
                     sets.begin() + static_cast<std::ptrdiff_t>(n));
    return sets.first(kept);
  }

 private:
  struct bit {
    float cost;
    code_t mask;
  };

  // By cost, the bits up to the limit, or all, in front of the others.
  static void sort(std::span<bit> bits, float limit, bool all) noexcept {
    std::size_t sorted = 0;
    for (std::size_t b = 0; b < bits.size(); ++b) {
      if (!all && bits[b].cost > limit) continue;
      const bit here = bits[b];
      bits[b] = bits[sorted];
      std::size_t at = sorted++;
      for (; at > 0 && bits[at - 1].cost > here.cost; --at) bits[at] = bits[at - 1];
      bits[at] = here;
    }
  }

  // Calls emit(cost, mask) for the sets of a table with a cost of at most limit, until it says false.
  template <class Emit>
  static bool each(const bit* bits, std::size_t from, std::size_t to, float cost, code_t mask,
                   float limit, Emit& emit) {
    for (std::size_t b = from; b < to; ++b) {
      const float sum = cost + bits[b].cost;
      if (!(sum <= limit)) break;
      if (!emit(sum, mask | bits[b].mask)) return false;
      if (!each(bits, b + 1, to, sum, mask | bits[b].mask, limit, emit)) return false;
    }
    return true;
  }

  // room + 1 stands for more than room.
  [[nodiscard]] std::size_t count(float limit, std::size_t room) const {
    std::size_t n = 0;
    const auto emit = [&](float, code_t) { return ++n <= room; };
    for (std::size_t t = 0; t < tables_; ++t)
      if (!each(bit_.data() + t * bits_, 0, bits_, 0, 0, limit, emit)) break;
    return n;
  }
  std::size_t collect(float limit, std::span<flips> to) const {
    std::size_t n = 0;
    for (std::size_t t = 0; t < tables_; ++t) {
      const auto emit = [&](float cost, code_t mask) {
        if (n == to.size()) return false;
        to[n++] = {cost, static_cast<std::uint32_t>(t), mask};
        return true;
      };
      if (!each(bit_.data() + t * bits_, 0, bits_, 0, 0, limit, emit)) break;
    }
    return n;
  }

  std::size_t tables_, bits_;
  std::span<bit> bit_;
};

}  // namespace detail

template <hash_family Family>
lsh_index<Family>::lsh_index(Family family, params p)
    : lsh_index(family, p, detail::point_store("lsh_index", family.dim(), p.distance)) {}

template <hash_family Family>
lsh_index<Family>::lsh_index(Family family, params p, detail::point_store store)
    : family_(std::move(family)), params_(p), store_(std::move(store)) {
  if (p.centre > centring::mean)
    SKIM_THROW(invalid_params, detail::concat("lsh_index: got centring ",
                                              static_cast<unsigned>(p.centre), ", wanted 0 or 1"));
  // Beyond these sizes tables would be large before they hold anything, which a forged image would use.
  constexpr std::uint64_t most_tables = std::uint64_t{1} << 16,
                          most_direct = std::uint64_t{1} << 25;
  if (family_.num_hashes() > most_tables)
    SKIM_THROW(invalid_params, detail::concat("lsh_index: got a family of ", family_.num_hashes(),
                                              " hashes, wanted at most 2^16"));
  code_words_ = family_.range() <= std::uint64_t{1} << 16 ? 1 : 2;
  code_stride_ = (family_.num_hashes() * code_words_ + 3) / 4 * 4;
  const std::uint64_t direct =
      std::min<std::uint64_t>(std::uint64_t{1} << 20, most_direct / family_.num_hashes());
  tables_.assign(family_.num_hashes(),
                 dynamic_buckets({.range = family_.range(), .direct_up_to = direct}));
}

template <hash_family Family>
matrix_view<const float> lsh_index<Family>::centred(matrix_view<const float> x,
                                                    std::span<float> to) const noexcept {
  if (mean_.empty()) return x;
  const std::size_t d = dim();
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const float* const from = x.row(i).data();
    float* const row = to.data() + i * d;
    for (std::size_t c = 0; c < d; ++c) row[c] = from[c] - mean_[c];
  }
  return {to.data(), x.rows(), d};
}

template <hash_family Family>
void lsh_index<Family>::hash(matrix_view<const float> x, std::span<code_t> codes,
                             workspace& ws) const {
  auto frame = ws.frame();
  const auto room = frame.template take<float>(mean_.empty() ? 0 : x.rows() * dim());
  family_.hash(centred(x, room), codes, ws);
}

template <hash_family Family>
void lsh_index<Family>::put_codes(id_t id, std::span<const code_t> codes) noexcept {
  std::uint16_t* const to = codes_.data() + id * code_stride_;
  if (code_words_ == 1) {
    for (std::size_t t = 0; t < codes.size(); ++t) to[t] = static_cast<std::uint16_t>(codes[t]);
  } else {
    for (std::size_t t = 0; t < codes.size(); ++t) {
      to[2 * t] = static_cast<std::uint16_t>(codes[t]);
      to[2 * t + 1] = static_cast<std::uint16_t>(codes[t] >> 16);
    }
  }
}

template <hash_family Family>
code_t lsh_index<Family>::code(id_t id, std::size_t table) const noexcept {
  const std::uint16_t* const at = codes_.data() + id * code_stride_ + table * code_words_;
  return code_words_ == 1 ? code_t{at[0]} : code_t{at[0]} | code_t{at[1]} << 16;
}

template <hash_family Family>
template <class Executor>
void lsh_index<Family>::hash_all(Executor& run) {
  const std::size_t tables = family_.num_hashes();
  codes_.assign(store_.slots() * code_stride_, 0);
  run.parallel_for(store_.slots(), 8 * detail::hash_block,
                   [&](std::size_t first, std::size_t last) {
                     workspace ws;
                     std::vector<code_t> codes(detail::hash_block * tables);
                     for (std::size_t i = first; i < last; i += detail::hash_block) {
                       const std::size_t count = std::min(detail::hash_block, last - i);
                       const auto here = std::span(codes).first(count * tables);
                       hash(store_.rows().rows(i, count), here, ws);
                       for (std::size_t r = 0; r < count; ++r)
                         put_codes(static_cast<id_t>(i + r), here.subspan(r * tables, tables));
                     }
                   });
}

// Of the ids given, ascending, or of all. Columns of 16 tables are copied at once: a line of codes is
// read once for them, and the sort of a table reads and writes little else than its own arrays.
template <hash_family Family>
template <class Executor>
void lsh_index<Family>::build_tables(std::span<const id_t> ids, Executor& run) {
  constexpr std::size_t group = 16;
  const std::size_t n = ids.empty() ? store_.slots() : ids.size();
  const auto build = [&]<class Code>(Code) {
    run.parallel_for(tables(), group, [&](std::size_t first, std::size_t last) {
      std::vector<Code> columns(n * (last - first));
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t id = ids.empty() ? i : ids[i];
        const std::uint16_t* const from = codes_.data() + id * code_stride_;
        for (std::size_t t = first; t < last; ++t) {
          if constexpr (sizeof(Code) == 2) {
            columns[(t - first) * n + i] = from[t];
          } else {
            columns[(t - first) * n + i] = code_t{from[2 * t]} | code_t{from[2 * t + 1]} << 16;
          }
        }
      }
      for (std::size_t t = first; t < last; ++t)
        tables_[t].build(std::span<const Code>(columns).subspan((t - first) * n, n), ids);
    });
  };
  if (code_words_ == 1) {
    build(std::uint16_t{});
  } else {
    build(code_t{});
  }
}

template <hash_family Family>
template <executor Executor>
void lsh_index<Family>::build(matrix_view<const float> x, Executor&& run) {
  constexpr std::string_view who = "lsh_index::build";
  store_.check(who, x);
  if (x.rows() > most_points)
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got ", x.rows(), " points, wanted at most 2^25"));
  lsh_index fresh(family_, params_);
  fresh.store_.reserve(x.rows());
  for (std::size_t i = 0; i < x.rows(); ++i) static_cast<void>(fresh.store_.insert(who, x.row(i)));
  if (params_.centre == centring::mean && x.rows() > 0) {
    std::vector<double> sum(dim(), 0.0);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      const auto row = fresh.store_.row(static_cast<id_t>(i));
      for (std::size_t c = 0; c < dim(); ++c) sum[c] += static_cast<double>(row[c]);
    }
    fresh.mean_.resize(dim());
    for (std::size_t c = 0; c < dim(); ++c)
      fresh.mean_[c] = static_cast<float>(sum[c] / static_cast<double>(x.rows()));
  }
  fresh.hash_all(run);
  fresh.build_tables({}, run);
  *this = std::move(fresh);
}

template <hash_family Family>
id_t lsh_index<Family>::insert(std::span<const float> x, workspace& ws) {
  std::array<id_t, 1> id;
  insert(matrix_view<const float>(x.data(), 1, x.size()), id, ws);
  return id[0];
}

template <hash_family Family>
void lsh_index<Family>::insert(matrix_view<const float> x, std::span<id_t> ids, workspace& ws) {
  constexpr std::string_view who = "lsh_index::insert";
  store_.check(who, x);
  if (!ids.empty() && ids.size() != x.rows())
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got room for ", ids.size(), " ids, wanted ", x.rows()));
  if (x.rows() > most_points - size())
    SKIM_THROW(invalid_input, detail::concat(who, ": got ", x.rows(), " points more than ", size(),
                                             ", wanted at most 2^25 in all"));
  const std::size_t tables = family_.num_hashes();
  store_.reserve(x.rows());
  std::array<id_t, detail::hash_block> places;
  for (std::size_t first = 0; first < x.rows(); first += detail::hash_block) {
    const std::size_t count = std::min(detail::hash_block, x.rows() - first);
    auto frame = ws.frame();
    const auto codes = frame.template take<code_t>(count * tables);
    const auto rows = frame.template take<float>(count * dim());
    for (std::size_t r = 0; r < count; ++r) {
      const id_t id = places[r] = store_.insert(who, x.row(first + r));
      const auto row = store_.row(id);
      std::copy(row.begin(), row.end(), rows.begin() + static_cast<std::ptrdiff_t>(r * dim()));
      if (!ids.empty()) ids[first + r] = id;
    }
    if (codes_.size() < store_.slots() * code_stride_) {
      if (codes_.capacity() < store_.slots() * code_stride_)
        codes_.reserve(std::max(2 * codes_.size(), store_.slots() * code_stride_));
      codes_.resize(store_.slots() * code_stride_);
    }
    hash({rows.data(), count, dim()}, codes, ws);
    for (std::size_t r = 0; r < count; ++r) put_codes(places[r], codes.subspan(r * tables, tables));
    for (std::size_t t = 0; t < tables; ++t) {
      for (std::size_t r = 0; r < count; ++r) tables_[t].prefetch(codes[r * tables + t]);
      for (std::size_t r = 0; r < count; ++r) tables_[t].insert(codes[r * tables + t], places[r]);
    }
  }
}

template <hash_family Family>
void lsh_index<Family>::erase(id_t id) {
  store_.check("lsh_index::erase", id);
  for (std::size_t t = 0; t < tables(); ++t) tables_[t].prefetch(code(id, t));
  for (std::size_t t = 0; t < tables(); ++t) SKIM_PREFETCH(tables_[t].bucket(code(id, t)).data());
  for (std::size_t t = 0; t < tables(); ++t) {
    const bool found = tables_[t].erase(code(id, t), id);
    SKIM_EXPECTS(found);
    static_cast<void>(found);
  }
  store_.erase(id);
}

template <hash_family Family>
void lsh_index<Family>::update(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "lsh_index::update";
  store_.check(who, id);
  static_cast<void>(store_.check(who, x));
  auto frame = ws.frame();
  const auto codes = frame.template take<code_t>(tables());
  store_.put(id, x);
  hash({store_.row(id).data(), 1, dim()}, codes, ws);
  for (std::size_t t = 0; t < tables(); ++t) {
    if (code(id, t) == codes[t]) continue;
    const bool found = tables_[t].move(code(id, t), codes[t], id);
    SKIM_EXPECTS(found);
    static_cast<void>(found);
  }
  put_codes(id, codes);
}

template <hash_family Family>
std::size_t lsh_index<Family>::probe_bits() const noexcept {
  if constexpr (bit_hash_family<Family>) {
    return family_.bits();
  } else {
    return 0;
  }
}

// The query's own buckets, then those of codes with flipped bits. Returns how many.
template <hash_family Family>
std::size_t lsh_index<Family>::plan(std::span<const code_t> codes, std::span<const float> margins,
                                    std::span<probe> probes, workspace& ws) const {
  const std::size_t own = tables(), bits = probe_bits();
  for (std::size_t t = 0; t < own; ++t) probes[t] = {static_cast<std::uint32_t>(t), codes[t]};
  if (probes.size() == own || bits == 0) return own;
  auto frame = ws.frame();
  std::size_t n = own;
  detail::flip_sets sets(margins, own, bits, frame);
  for (const auto& f : sets.cheapest(probes.size() - own, frame))
    probes[n++] = {f.table, codes[f.table] ^ f.mask};
  return n;
}

// What lies in the buckets, each id once.
template <hash_family Family>
std::span<id_t> lsh_index<Family>::gather(std::span<const probe> probes,
                                          workspace::frame_type& frame,
                                          std::size_t& gathered) const {
  // Three rounds over the probes: their headers come, then their lists, then the lists are read.
  constexpr std::size_t ahead = 16;
  const auto fetch = [](std::span<const id_t> list) {
    constexpr std::size_t line = cache_line / sizeof(id_t);
    for (std::size_t i = 0; i < std::min(list.size(), 4 * line); i += line)
      SKIM_PREFETCH(list.data() + i);
  };
  const auto lists = frame.template take<std::span<const id_t>>(probes.size());
  for (std::size_t p = 0; p < std::min(ahead, probes.size()); ++p)
    tables_[probes[p].table].prefetch(probes[p].code);
  std::size_t total = 0, used = 0;
  for (std::size_t p = 0; p < probes.size(); ++p) {
    if (p + ahead < probes.size())
      tables_[probes[p + ahead].table].prefetch(probes[p + ahead].code);
    const auto list = tables_[probes[p].table].bucket(probes[p].code);
    if (list.empty()) continue;
    if (used < ahead) fetch(list);
    lists[used++] = list;
    total += list.size();
  }
  gathered = total;
  const auto ids = frame.template take<id_t>(std::min(total, size()) + 1);
  // A bit a point is small enough to be cleared for each search.
  const auto seen = frame.template take<std::uint64_t>(store_.slots() / 64 + 1);
  std::fill(seen.begin(), seen.end(), std::uint64_t{0});
  std::size_t n = 0;
  for (std::size_t l = 0; l < used; ++l) {
    if (l + ahead < used) fetch(lists[l + ahead]);
    for (const id_t id : lists[l]) {
      std::uint64_t& word = seen[id / 64];
      const std::uint64_t before = word;
      word = before | std::uint64_t{1} << (id % 64);
      ids[n] = id;
      n += (~before >> (id % 64)) & 1;
    }
  }
  return ids.first(n);
}

template <hash_family Family>
std::size_t lsh_index<Family>::code_distance(const std::uint16_t* a,
                                             const std::uint16_t* b) const noexcept {
  std::size_t distance = 0;
  if constexpr (bit_hash_family<Family>) {
    for (std::size_t w = 0; w < code_stride_; w += 4) {
      std::uint64_t x = 0, y = 0;
      std::memcpy(&x, a + w, sizeof x);
      std::memcpy(&y, b + w, sizeof y);
      distance += static_cast<std::size_t>(std::popcount(x ^ y));
    }
  } else {
    for (std::size_t t = 0; t < tables() * code_words_; t += code_words_) {
      bool differs = a[t] != b[t];
      if (code_words_ == 2) differs = differs || a[t + 1] != b[t + 1];
      distance += differs;
    }
  }
  return distance;
}

// Moves the ids with the nearest codes to the front, `looks` and ties with the last; returns how many.
template <hash_family Family>
std::size_t lsh_index<Family>::keep_nearest_codes(std::span<id_t> ids,
                                                  std::span<const code_t> codes, std::size_t looks,
                                                  workspace& ws) const {
  auto frame = ws.frame();
  const std::size_t farthest = code_stride_ * 16;
  const auto own = frame.template take<std::uint16_t>(code_stride_);
  const auto distance = frame.template take<std::uint32_t>(ids.size());
  const auto count = frame.template take<std::uint32_t>(farthest + 1);
  std::fill(own.begin(), own.end(), std::uint16_t{0});
  std::fill(count.begin(), count.end(), 0u);
  for (std::size_t t = 0; t < codes.size(); ++t) {
    own[t * code_words_] = static_cast<std::uint16_t>(codes[t]);
    if (code_words_ == 2) own[2 * t + 1] = static_cast<std::uint16_t>(codes[t] >> 16);
  }
  constexpr std::size_t ahead = 16;
  const std::uint16_t* const all = codes_.data();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i + ahead < ids.size()) SKIM_PREFETCH(all + ids[i + ahead] * code_stride_);
    distance[i] =
        static_cast<std::uint32_t>(code_distance(own.data(), all + ids[i] * code_stride_));
    ++count[distance[i]];
  }
  std::size_t kept = 0, limit = 0;
  for (; kept < looks && limit <= farthest; ++limit) kept += count[limit];
  std::size_t n = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const id_t id = ids[i];
    const bool near = distance[i] < limit;
    ids[n] = id;
    n += near;
  }
  return n;
}

template <hash_family Family>
auto lsh_index<Family>::hash_queries(matrix_view<const float> x, lsh_effort effort,
                                     workspace::frame_type& frame, workspace& ws) const -> queries {
  const std::size_t n = x.rows(), d = dim(), own = tables();
  queries q{frame.template take<float>(n * d), frame.template take<code_t>(n * own), {}, 0};
  if constexpr (margin_hash_family<Family>) {
    if (effort.probes > 0) q.margins_each = own * family_.bits();
    q.margins = frame.template take<float>(n * q.margins_each);
  }
  for (std::size_t i = 0; i < n; ++i)
    static_cast<void>(store_.prepare(x.row(i), q.values.subspan(i * d, d)));
  const matrix_view<const float> rows(q.values.data(), n, d);
  if constexpr (margin_hash_family<Family>) {
    if (q.margins_each > 0) {
      auto inner = ws.frame();
      const auto room = inner.template take<float>(mean_.empty() ? 0 : n * d);
      family_.hash(centred(rows, room), q.codes, q.margins, ws);
      return q;
    }
  }
  hash(rows, q.codes, ws);
  return q;
}

template <hash_family Family>
std::span<id_t> lsh_index<Family>::candidate_ids(const queries& q, std::size_t i, lsh_effort effort,
                                                 workspace::frame_type& frame, workspace& ws,
                                                 std::size_t& gathered) const {
  const std::size_t own = tables(), bits = probe_bits();
  // There are no more probes than codes.
  std::size_t further = bits == 0 ? 0 : effort.probes;
  if (bits < 32) further = std::min(further, own * ((std::size_t{1} << bits) - 1));
  const auto probes = frame.template take<probe>(own + further);
  const std::span<const code_t> codes = q.codes.subspan(i * own, own);
  const std::size_t planned =
      plan(codes, q.margins.subspan(i * q.margins_each, q.margins_each), probes, ws);
  const std::span<id_t> ids = gather(probes.first(planned), frame, gathered);
  if (effort.looks == 0 || ids.size() <= effort.looks) return ids;
  return ids.first(keep_nearest_codes(ids, codes, effort.looks, ws));
}

template <hash_family Family>
void lsh_index<Family>::search_rows(matrix_view<const float> x, std::size_t k,
                                    std::span<neighbor> out, std::span<std::size_t> found,
                                    lsh_effort effort, workspace& ws) const {
  auto frame = ws.frame();
  const queries q = hash_queries(x, effort, frame, ws);
  for (std::size_t i = 0; i < x.rows(); ++i) {
    auto inner = ws.frame();
    std::size_t gathered = 0;
    const std::span<const id_t> ids = candidate_ids(q, i, effort, inner, ws, gathered);
    detail::nearest best(out.subspan(i * k, k));
    store_.scan(store_.prepared(q.values.subspan(i * dim(), dim())), ids, best);
    found[i] = best.finish();
  }
}

template <hash_family Family>
std::size_t lsh_index<Family>::search(std::span<const float> x, std::span<neighbor> out,
                                      workspace& ws, lsh_effort effort) const {
  static_cast<void>(store_.check("lsh_index::search", x));
  if (out.empty()) return 0;
  std::array<std::size_t, 1> found{};
  search_rows({x.data(), 1, x.size()}, out.size(), out, found, effort, ws);
  return found[0];
}

template <hash_family Family>
template <executor Executor>
void lsh_index<Family>::search(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
                               std::span<std::size_t> found, lsh_effort effort,
                               Executor&& run) const {
  constexpr std::string_view who = "lsh_index::search";
  store_.check(who, x);
  detail::check_answers(who, x.rows(), k, out.size(), found.size());
  std::fill(found.begin(), found.end(), std::size_t{0});
  if (k == 0) return;
  run.parallel_for(x.rows(), 8 * detail::search_block, [&](std::size_t first, std::size_t last) {
    workspace ws;
    for (std::size_t i = first; i < last; i += detail::search_block) {
      const std::size_t count = std::min(detail::search_block, last - i);
      search_rows(x.rows(i, count), k, out.subspan(i * k, count * k), found.subspan(i, count),
                  effort, ws);
    }
  });
}

template <hash_family Family>
std::size_t lsh_index<Family>::candidates(std::span<const float> x, std::vector<id_t>& out,
                                          workspace& ws, lsh_effort effort) const {
  static_cast<void>(store_.check("lsh_index::candidates", x));
  auto frame = ws.frame();
  const queries q = hash_queries({x.data(), 1, x.size()}, effort, frame, ws);
  std::size_t gathered = 0;
  const auto found = candidate_ids(q, 0, effort, frame, ws, gathered);
  out.assign(found.begin(), found.end());
  return gathered;
}

template <hash_family Family>
double lsh_index<Family>::inclusion_probability(
    std::span<const float> x, id_t id, workspace& ws) const requires kernel_family<Family> {
  constexpr std::string_view who = "lsh_index::inclusion_probability";
  static_cast<void>(store_.check(who, x));
  store_.check(who, id);
  auto frame = ws.frame();
  const std::size_t d = dim();
  const auto values = frame.template take<float>(d), a = frame.template take<float>(d),
             b = frame.template take<float>(d);
  static_cast<void>(store_.prepare(x, values));
  const double p = family_.kernel(centred({values.data(), 1, d}, a).row(0),
                                  centred({store_.row(id).data(), 1, d}, b).row(0));
  // 1 - (1 - p)^L, to a relative precision for small p too.
  return p >= 1 ? 1 : -std::expm1(static_cast<double>(tables()) * std::log1p(-p));
}

template <hash_family Family>
std::size_t lsh_index<Family>::bytes() const noexcept {
  std::size_t total =
      store_.bytes() + codes_.capacity() * sizeof(std::uint16_t) + mean_.capacity() * sizeof(float);
  for (const dynamic_buckets& t : tables_) total += sizeof(dynamic_buckets) + t.bytes();
  return total;
}

template <hash_family Family>
void lsh_index<Family>::save(writer& out) const {
  out.begin_frame("lsh_index");
  family_.save(out);
  out.put(params_.centre);
  store_.save(out);
  out.put(std::span<const float>(mean_));
  out.end_frame();
}

template <hash_family Family>
lsh_index<Family> lsh_index<Family>::load(reader& in) {
  in.begin_frame("lsh_index");
  Family family = Family::load(in);
  params p;
  p.centre = in.get<centring>();
  if (p.centre > centring::mean)
    in.fail("centring ", static_cast<unsigned>(p.centre), ", wanted 0 or 1");
  detail::point_store store = detail::point_store::load(in);
  p.distance = store.metric();
  if (store.dim() != family.dim())
    in.fail("points of dimension ", store.dim(), " and a family for ", family.dim());
  if (store.slots() > most_points) in.fail(store.slots(), " points, wanted at most 2^25");
  std::vector<float> mean = in.get_vector<float>();
  if (!mean.empty() &&
      (p.centre == centring::none || mean.size() != store.dim() || !all_finite(mean) ||
       !(dot(mean, mean) <= detail::point_store::largest_square)))
    in.fail("a mean that the points cannot have");
  in.end_frame();
  if (family.num_hashes() > std::size_t{1} << 16)
    in.fail("a family of ", family.num_hashes(), " hashes, wanted at most 2^16");
  lsh_index index(std::move(family), p, std::move(store));
  index.mean_ = std::move(mean);
  serial_executor run;
  index.hash_all(run);
  std::vector<id_t> ids;
  for (std::size_t i = 0; i < index.store_.slots(); ++i)
    if (index.contains(static_cast<id_t>(i))) ids.push_back(static_cast<id_t>(i));
  if (!ids.empty()) index.build_tables(ids, run);
  return index;
}

}  // namespace skim::inline v0
