// SPDX-License-Identifier: Apache-2.0
//
// Groups, draws and images of dynamic_sampler.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/sample/detail/block16.hpp"
#include "skim/sample/detail/weights.hpp"
#include "skim/sample/detail/wide_multiply.hpp"
#include "skim/sample/dynamic.hpp"

namespace skim::inline v0 {

inline dynamic_sampler::decomposed dynamic_sampler::decompose(double total) noexcept {
  // A sum of floats is a normal double: 2^-149 at least, whose biased exponent is 874.
  const auto bits = std::bit_cast<std::uint64_t>(total);
  const std::uint64_t fraction = (bits & 0xfffffffffffffu) | 0x10000000000000u;
  const auto mantissa = static_cast<std::uint32_t>((fraction + 0x3fffff) >> 22);  // upwards
  const auto index =
      static_cast<std::uint32_t>(bits >> (52 - split_bits)) - ((874u << split_bits) - 1);
  return bits == 0 ? decomposed{} : decomposed{mantissa, index};
}

/// Weight of one unit of mantissa in a group.
inline double dynamic_sampler::unit_of(std::uint32_t index) noexcept {
  // Biased exponent as above, less the 30 bits of the mantissa; still a normal double.
  const std::uint32_t exponent = ((index + ((874u << split_bits) - 1)) >> split_bits) - 30;
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent) << 52);
}

/// Upper end of a group's totals, in 2^-32 units of mantissa.
inline std::uint64_t dynamic_sampler::limit_of(std::uint32_t index) noexcept {
  constexpr std::uint32_t parts = 1u << split_bits;
  const std::uint32_t part = (index + parts - 1) % parts;
  return std::uint64_t{parts + part + 1} << (62 - split_bits);
}

inline void dynamic_sampler::check(id_t i, float weight) const {
  if (i >= size())
    SKIM_THROW(invalid_input, detail::concat("dynamic_sampler::update: got id ", i,
                                             ", wanted less than ", size()));
  if (!detail::is_weight(weight))
    SKIM_THROW(invalid_input, detail::concat("dynamic_sampler::update: got weight ", weight,
                                             ", wanted finite and non-negative"));
}

inline void dynamic_sampler::make_groups() {
  if (!groups_.empty()) return;
  std::vector<group> fresh(group_count);
  active_.reserve(group_count);
  totals_.resize(head + group_count);
  groups_.swap(fresh);
}

/// Leaves the members as they are.
inline void dynamic_sampler::resize_room(std::uint32_t index, std::size_t size) {
  group& in = groups_[index];
  aligned_vector<member> room(size);
  std::copy_n(in.room.begin(), in.size, room.begin());
  in.room.swap(room);
}

inline void dynamic_sampler::refresh(std::uint32_t index) noexcept {
  const group& in = groups_[index];
  totals_[in.rank] = static_cast<double>(static_cast<std::int64_t>(in.mantissas)) * unit_of(index);
}

/// After active_ has changed at this rank.
inline void dynamic_sampler::renumber(std::size_t first_rank) noexcept {
  for (std::size_t r = first_rank; r < active_.size(); ++r) {
    groups_[active_[r]].rank = static_cast<std::uint32_t>(r);
    refresh(active_[r]);
  }
  totals_[active_.size()] = 0;
}

/// Pre: there is room.
inline void dynamic_sampler::join(decomposed to, std::uint32_t block) noexcept {
  group& in = groups_[to.group];
  in.room[in.size] = {block, to.mantissa};
  places_[block] = {to.group, in.size++};
  in.mantissas += to.mantissa;
  if (to.group == 0) return;
  if (in.size == 1) [[unlikely]] {
    // Larger totals first: on most data a walk then ends after a few groups.
    const auto at = std::find_if(active_.begin(), active_.end(),
                                 [&](std::uint32_t other) { return other < to.group; });
    const auto rank = static_cast<std::size_t>(at - active_.begin());
    active_.insert(at, to.group);  // room was reserved
    renumber(rank);
  }
  refresh(to.group);
}

inline double dynamic_sampler::total_weight() const noexcept {
  double sum = 0;
  for (std::size_t r = active_.size(); r-- > 0;) sum += totals_[r];  // small ones first
  return sum;
}

/// Pre: check(i, weight).
inline void dynamic_sampler::set(id_t i, float weight) {
  weight += 0.0f;  // -0 becomes +0, so that a total of zero has no sign either
  const std::uint32_t block = i / block_size;
  float* const line = weights_.data() + std::size_t{block} * block_size;
  const decomposed to = decompose(detail::block_sum(line, i % block_size, weight));
  const place from = places_[block];
  if (from.group == to.group) [[likely]] {
    group& in = groups_[to.group];
    member& m = in.room[from.slot];
    in.mantissas += to.mantissa;
    in.mantissas -= m.mantissa;
    m.mantissa = to.mantissa;
    if (to.group != 0) refresh(to.group);
  } else {
    group& in = groups_[to.group];
    group& old = groups_[from.group];
    // Allocations come first: they may throw. A group gives room back when little of it is used, so
    // that blocks which wander through all groups leave no trail of it.
    if (in.size == in.room.size()) resize_room(to.group, 2 * in.room.size() + 8);
    if (old.room.size() > 64 && old.size < old.room.size() / 4)
      resize_room(from.group, old.room.size() / 2);
    const member last = old.room[--old.size];
    old.mantissas -= old.room[from.slot].mantissa;
    old.room[from.slot] = last;
    places_[last.block].slot = from.slot;
    if (from.group != 0) {
      if (old.size == 0) {
        active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(old.rank));
        renumber(old.rank);
      } else {
        refresh(from.group);
      }
    }
    join(to, block);
  }
  line[i % block_size] = weight;
}

/// Adds a block of zeros.
inline void dynamic_sampler::add_block() {
  make_groups();
  const group& in = groups_[0];
  if (in.size == in.room.size()) resize_room(0, 2 * in.room.size() + 8);
  places_.reserve(places_.size() + 1);
  weights_.resize(weights_.size() + block_size);
  places_.emplace_back();
  join({}, static_cast<std::uint32_t>(places_.size() - 1));
}

inline dynamic_sampler::dynamic_sampler(std::span<const float> weights) {
  if (weights.size() > std::numeric_limits<id_t>::max())
    SKIM_THROW(invalid_params, detail::concat("dynamic_sampler: got ", weights.size(),
                                              " weights, wanted less than 2^32"));
  detail::require_weights<invalid_params>("dynamic_sampler", "weight", weights);
  if (weights.empty()) return;
  make_groups();
  size_ = weights.size();
  const std::size_t blocks = (size_ + block_size - 1) / block_size;
  weights_.resize(blocks * block_size);
  for (std::size_t i = 0; i < size_; ++i) weights_[i] = weights[i] + 0.0f;
  places_.resize(blocks);
  for (std::size_t b = 0; b < blocks; ++b) {
    const decomposed to = decompose(detail::block_sum(weights_.data() + b * block_size));
    const group& in = groups_[to.group];
    if (in.size == in.room.size()) resize_room(to.group, 2 * in.room.size() + 8);
    join(to, static_cast<std::uint32_t>(b));
  }
}

inline void dynamic_sampler::update(id_t i, float weight) {
  check(i, weight);
  set(i, weight);
}

inline void dynamic_sampler::update(std::span<const id_t> ids, std::span<const float> weights) {
  if (ids.size() != weights.size())
    SKIM_THROW(invalid_input, detail::concat("dynamic_sampler::update: got ", ids.size(),
                                             " ids and ", weights.size(), " weights"));
  for (std::size_t k = 0; k < ids.size(); ++k) check(ids[k], weights[k]);
  constexpr std::size_t ahead = 16;
  for (std::size_t k = 0; k < ids.size(); ++k) {
    if (k + ahead < ids.size()) {
      SKIM_PREFETCH(weights_.data() + ids[k + ahead]);
      SKIM_PREFETCH(places_.data() + ids[k + ahead] / block_size);
    }
    set(ids[k], weights[k]);
  }
}

inline id_t dynamic_sampler::insert(float weight) {
  if (!detail::is_weight(weight))
    SKIM_THROW(invalid_input, detail::concat("dynamic_sampler::insert: got weight ", weight,
                                             ", wanted finite and non-negative"));
  if (size_ >= std::numeric_limits<id_t>::max())
    SKIM_THROW(invalid_input, detail::concat("dynamic_sampler::insert: got one item more than ",
                                             size_, ", wanted ids below 2^32 - 1"));
  const auto i = static_cast<id_t>(size_);
  if (size_ == weights_.size()) add_block();
  set(i, weight);
  ++size_;
  return i;
}

inline float dynamic_sampler::weight(id_t i) const {
  check(i, 0);
  return weights_[i];
}

inline double dynamic_sampler::probability(id_t i) const {
  const auto w = static_cast<double>(weight(i));
  return w > 0 ? w / total_weight() : 0;
}

/// Pre: active_ is not empty.
template <random_source G>
std::uint32_t dynamic_sampler::draw_group(G& g) const noexcept {
  // Beyond the active groups totals are zero.
  const double* const totals = totals_.data();
  const double s0 = totals[0], s1 = s0 + totals[1], s2 = s1 + totals[2], s3 = s2 + totals[3],
               s4 = s3 + totals[4], s5 = s4 + totals[5];
  double sum = s5;
  const std::size_t size = active_.size();
  for (std::size_t r = head; r < size; ++r) sum += totals[r];
  const double at = uniform(g) * sum;  // below the sum, also when rounded
  const auto passed = [at](double reached) { return at >= reached ? 1u : 0u; };
  std::size_t rank = passed(s0) + passed(s1) + passed(s2) + passed(s3) + passed(s4) + passed(s5);
  if (rank == head) [[unlikely]]
    for (double reached = s5 + totals[rank]; at >= reached; reached += totals[rank]) ++rank;
  return active_[rank];
}

/// The item at this point of the block's total, in 2^-32 units of mantissa; nothing if that lies in
/// what the total was rounded up by.
inline std::optional<id_t> dynamic_sampler::pick(std::uint32_t index, std::uint32_t block,
                                                 std::uint64_t point) const noexcept {
  const double at =
      static_cast<double>(static_cast<std::int64_t>(point >> 10)) * (unit_of(index) * 0x1p-22);
  const std::uint32_t rank =
      detail::block_rank(weights_.data() + std::size_t{block} * block_size, at);
  if (rank == block_size) [[unlikely]]
    return std::nullopt;
  return static_cast<id_t>(block * block_size + std::size_t{4} * (rank % 4) + rank / 4);
}

template <random_source G>
std::optional<id_t> dynamic_sampler::draw(G& g) const noexcept {
  if (active_.empty()) return std::nullopt;
  for (;;) {
    const std::uint32_t index = draw_group(g);
    const group& in = groups_[index];
    const std::uint64_t limit = limit_of(index);
    for (;;) {
      const auto [slot, fraction] = detail::wide_multiply(g(), in.size);
      const member m = in.room[static_cast<std::size_t>(slot)];
      const std::uint64_t point = detail::wide_multiply(fraction, limit).high;
      if ((point >> 32) >= m.mantissa) continue;
      if (const auto i = pick(index, m.block, point)) [[likely]]
        return i;
      break;
    }
  }
}

template <random_source G>
std::size_t dynamic_sampler::draw(G& g, std::span<id_t> out) const noexcept {
  if (active_.empty()) return 0;
  struct attempt {
    std::uint32_t group = 0, block = 0;
    std::uint64_t point = 0;
    const member* candidate = nullptr;
  };
  constexpr std::size_t batch = 32;
  std::array<attempt, batch> attempts;  // the accepted ones first
  for (std::size_t first = 0; first < out.size();) {
    const std::size_t count = std::min(batch, out.size() - first);
    for (std::size_t k = 0; k < count; ++k) attempts[k].group = draw_group(g);
    // All try once, then those refused once more and so on: no branch depends on a single outcome.
    for (std::size_t accepted = 0; accepted < count;) {
      for (std::size_t k = accepted; k < count; ++k) {
        attempt& a = attempts[k];
        const group& in = groups_[a.group];
        const auto [slot, fraction] = detail::wide_multiply(g(), in.size);
        a.point = detail::wide_multiply(fraction, limit_of(a.group)).high;
        a.candidate = in.room.data() + slot;
        SKIM_PREFETCH(a.candidate);
      }
      for (std::size_t k = accepted; k < count; ++k) {
        attempt a = attempts[k];
        const member m = *a.candidate;
        a.block = m.block;
        SKIM_PREFETCH(weights_.data() + std::size_t{m.block} * block_size);
        attempts[k] = attempts[accepted];
        attempts[accepted] = a;
        accepted += (a.point >> 32) < m.mantissa ? 1u : 0u;
      }
    }
    for (std::size_t k = 0; k < count; ++k)
      if (const auto i = pick(attempts[k].group, attempts[k].block, attempts[k].point))
        out[first++] = *i;
  }
  return out.size();
}

template <random_source G>
std::optional<id_t> dynamic_sampler::draw_and_erase(G& g) {
  const std::optional<id_t> i = draw(g);
  if (i) set(*i, 0);
  return i;
}

inline void dynamic_sampler::save(writer& out) const {
  std::vector<std::uint32_t> order;
  order.reserve(places_.size());
  for (const group& in : groups_)
    for (std::size_t s = 0; s < in.size; ++s) order.push_back(in.room[s].block);
  out.begin_frame("dynamic_sampler");
  out.put(std::span<const float>(weights_).first(size_));
  out.put(std::span<const std::uint32_t>(order));
  out.end_frame();
}

inline dynamic_sampler dynamic_sampler::load(reader& in) {
  in.begin_frame("dynamic_sampler");
  const std::vector<float> weights = in.get_vector<float>();
  const std::vector<std::uint32_t> order = in.get_vector<std::uint32_t>();
  in.end_frame();

  const std::size_t blocks = (weights.size() + block_size - 1) / block_size;
  if (weights.size() > std::numeric_limits<id_t>::max() || order.size() != blocks)
    in.fail("dynamic_sampler: ", weights.size(), " weights in ", order.size(), " blocks");
  if (!detail::are_weights<float>(weights))
    in.fail("dynamic_sampler: a weight is negative or not finite");
  dynamic_sampler result;
  if (blocks > 0) result.make_groups();
  result.size_ = weights.size();
  result.weights_.resize(blocks * block_size);
  for (std::size_t i = 0; i < weights.size(); ++i) result.weights_[i] = weights[i] + 0.0f;
  result.places_.resize(blocks);
  std::vector<bool> seen(blocks);
  for (const std::uint32_t b : order) {
    if (b >= blocks || seen[b])
      in.fail("dynamic_sampler: block ", b, " is unknown or occurs twice");
    seen[b] = true;
    const decomposed to = decompose(detail::block_sum(&result.weights_[b * block_size]));
    const group& group = result.groups_[to.group];
    if (group.size == group.room.size()) result.resize_room(to.group, 2 * group.room.size() + 8);
    result.join(to, b);
  }
  return result;
}

}  // namespace skim::inline v0
