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
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/sample/detail/weights.hpp"
#include "skim/sample/dynamic.hpp"

namespace skim::inline v0 {

SKIM_ALWAYS_INLINE dynamic_sampler::decomposed dynamic_sampler::decompose(float weight) noexcept {
  // The group has the weight's exponent and the first bits of its mantissa.
  const auto bits = std::bit_cast<std::uint32_t>(weight);
  constexpr std::uint32_t top = 0x800000u;
  if (bits - 1 < top - 1) [[unlikely]] {
    // Subnormal floats are normal as doubles: 2^-149, the smallest, has the biased exponent 874.
    const auto wide = std::bit_cast<std::uint64_t>(static_cast<double>(weight));
    return {static_cast<std::uint32_t>(wide >> (52 - octave_bits)) - ((874u << octave_bits) - 1),
            (static_cast<std::uint32_t>(wide >> 29) & (top - 1)) | top};
  }
  return {bits == 0 ? 0 : (bits >> (23 - octave_bits)) + (22u << octave_bits) + 1,
          (bits & (top - 1)) | top};
}

/// Power of two below the weights of a group.
inline double dynamic_sampler::octave_of(std::uint32_t index) noexcept {
  const std::uint64_t exponent = (index - 1 + (874u << octave_bits)) >> octave_bits;
  return std::bit_cast<double>(exponent << 52);
}

/// Upper end of the weights of a group.
inline double dynamic_sampler::limit_of(std::uint32_t index) noexcept {
  constexpr std::uint32_t steps = 1u << octave_bits;
  return octave_of(index) * ((steps + (index - 1) % steps + 1) / static_cast<double>(steps));
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
  aligned_vector<group> fresh(group_count);
  for (std::uint32_t index = 1; index < group_count; ++index)
    fresh[index].scale = limit_of(index) * 0x1p-53;
  fresh[0].most = std::numeric_limits<std::uint32_t>::max();
  cells_.resize(cell_count);
  bases_.resize(group_count);
  active_.reserve(group_count);
  groups_.swap(fresh);
}

/// Leaves the members as they are.
inline void dynamic_sampler::resize_room(group& in, std::size_t size) {
  aligned_vector<member> room(size);
  std::copy_n(in.room.begin(), in.size, room.begin());
  in.room.swap(room);
}

inline void dynamic_sampler::grow_room(group& in) {
  resize_room(in, in.room.size() + in.room.size() / 4 + 8);
}

/// Bounds and width from the number of cells. Pre: no more than all of them.
inline void dynamic_sampler::fit(std::uint32_t index) noexcept {
  group& in = groups_[index];
  // The unit's mantissa has 5 bits, so that this has at most 12 and it and the width are exact.
  double slots = cell_units * unit_ / limit_of(index);
  constexpr double any = std::numeric_limits<std::uint32_t>::max();
  in.most = static_cast<std::uint32_t>(std::min(in.cells * slots, any));
  in.faint = 0;
  for (; slots >= 0x1p34; slots *= 0x1p-2) in.faint = static_cast<std::uint16_t>(in.faint + 2);
  in.width = static_cast<std::uint64_t>(
      static_cast<std::int64_t>(slots * static_cast<double>(1u << (cell_bits + width_bits))));
}

/// Pre: there is a free one.
inline void dynamic_sampler::add_cell(std::uint32_t index) noexcept {
  group& in = groups_[index];
  if (in.cells == 0) active_.push_back(index);  // room was reserved
  cells_[used_++] = static_cast<std::uint32_t>(index * cell_count) + in.cells++;
}

/// Gives a group that has outgrown its cells more of them; whether there were enough.
inline bool dynamic_sampler::widen(std::uint32_t index) noexcept {
  group& in = groups_[index];
  const double wanted = std::ceil(in.size * limit_of(index) / (cell_units * unit_));
  const auto left = static_cast<double>(cell_count - used_);
  if (!(wanted - in.cells <= left)) return false;
  // Somewhat more, so that a growing group comes here less often.
  const double more = std::min(left, wanted - in.cells + std::floor(wanted / 32));
  for (auto k = static_cast<std::size_t>(more); k > 0; --k) add_cell(index);
  fit(index);
  return true;
}

/// Deals out the cells anew, where this group may have members but no cells.
inline void dynamic_sampler::deal_with(std::uint32_t newcomer) noexcept {
  if (newcomer != 0 && groups_[newcomer].cells == 0) active_.push_back(newcomer);
  deal();
}

inline void dynamic_sampler::deal() noexcept {
  std::size_t kept = 0;
  for (const std::uint32_t index : active_) {
    group& in = groups_[index];
    in.cells = 0;
    in.most = in.least = 0;
    bases_[index] = in.size;
    if (in.size > 0) active_[kept++] = index;
  }
  active_.resize(kept);
  deal_for_bases();
}

/// Pre: bases_ are positive for the active groups, which have no cells.
inline void dynamic_sampler::deal_for_bases() noexcept {
  double mass = 0;  // the products are exact: no matter if they are contracted with the sum
  for (const std::uint32_t index : active_) mass += bases_[index] * limit_of(index);
  // A group may need one cell more than its share. One in four is left for growth.
  const std::size_t shared = cell_count - cell_count / 4 - active_.size();
  const double least_unit = mass / (cell_units * static_cast<double>(shared));
  unit_ = std::bit_cast<double>(
      (std::bit_cast<std::uint64_t>(least_unit) + ((std::uint64_t{1} << 48) - 1)) >> 48 << 48);
  used_ = 0;
  for (const std::uint32_t index : active_) {
    group& in = groups_[index];
    const double own = bases_[index] * limit_of(index);
    in.cells = static_cast<std::uint16_t>(std::ceil(own / (cell_units * unit_)));
    for (std::uint32_t k = 0; k < in.cells; ++k)
      cells_[used_ + k] = static_cast<std::uint32_t>(index * cell_count) + k;
    used_ += in.cells;
    // All groups without such a bound have a sixteenth of the mass, so that while the bounds hold
    // there is not less than 15/32 of it.
    in.least = own * (16.0 * group_count) > mass ? (bases_[index] + 1) / 2 : 0;
    fit(index);
  }
  dealt_ = used_;
}

inline double dynamic_sampler::total_weight() const noexcept {
  double sum = 0;
  for (const std::uint32_t index : active_)
    sum += static_cast<double>(static_cast<std::int64_t>(groups_[index].mantissas)) *
           (octave_of(index) * 0x1p-23);
  return sum;
}

/// Makes i, which is no member, one. Pre: there is room.
SKIM_ALWAYS_INLINE void dynamic_sampler::append(id_t i, float weight) {
  const decomposed to = decompose(weight);
  group& in = groups_[to.group];
  in.room.data()[in.size] = {i, weight};
  items_[i] = {weight, in.size++};
  in.mantissas += to.mantissa;
}

/// Pre: check(i, weight).
inline void dynamic_sampler::set(id_t i, float weight) {
  weight += 0.0f;  // -0 becomes +0, so that zeros have no sign
  const item was = items_[i];
  const std::uint32_t to = decompose(weight).group;
  const decomposed from = decompose(was.weight);
  group& in = groups_[to];
  group& old = groups_[from.group];
  SKIM_PREFETCH(old.room.data() + was.slot);  // to be written: the store alone would ask too late
  // Allocations come first: they may throw. A group gives room back when little of it is used, so
  // that items which wander through all groups leave no trail of it.
  if (in.size == in.room.size()) [[unlikely]]
    grow_room(in);
  if (old.size < old.room.size() / 2 && old.room.size() > 64) [[unlikely]]
    resize_room(old, old.room.size() / 2 + 8);
  // No branch on whether the group stays the same: it would often be mispredicted, and then wait
  // for the item.
  const member last = old.room.data()[--old.size];
  old.room.data()[was.slot] = last;
  items_[last.id()].slot = was.slot;
  old.mantissas -= from.mantissa;
  // The next to leave this group has this one's item written to.
  SKIM_PREFETCH(items_.data() + old.room.data()[old.size - (old.size > 0 ? 1 : 0)].id());
  append(i, weight);
  if (old.size < old.least || in.size > in.most) [[unlikely]]
    if (old.size < old.least || !widen(to)) deal_with(to);
}

/// Makes all items members, in this order. Pre: there are none yet.
inline void dynamic_sampler::place(std::span<const float> weights, std::span<const id_t> order) {
  std::vector<std::uint32_t> sizes(group_count);
  for (const float w : weights) ++sizes[decompose(w + 0.0f).group];
  for (std::uint32_t index = 0; index < group_count; ++index)
    if (sizes[index] > 0) resize_room(groups_[index], sizes[index] + sizes[index] / 16 + 8);
  items_.resize(weights.size());
  for (const id_t i : order) append(i, weights[i] + 0.0f);
}

inline dynamic_sampler::dynamic_sampler(std::span<const float> weights) {
  if (weights.size() > std::numeric_limits<id_t>::max())
    SKIM_THROW(invalid_params, detail::concat("dynamic_sampler: got ", weights.size(),
                                              " weights, wanted less than 2^32"));
  detail::require_weights<invalid_params>("dynamic_sampler", "weight", weights);
  if (weights.empty()) return;
  make_groups();
  std::vector<id_t> order(weights.size());
  std::iota(order.begin(), order.end(), id_t{0});
  place(weights, order);
  for (std::uint32_t index = group_count - 1; index > 0; --index)
    if (groups_[index].size > 0) active_.push_back(index);
  deal();
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
  constexpr std::size_t ahead = 8;
  for (std::size_t k = 0; k < ids.size(); ++k) {
    if (k + 2 * ahead < ids.size()) SKIM_PREFETCH(items_.data() + ids[k + 2 * ahead]);
    if (k + ahead < ids.size()) {
      const item next = items_[ids[k + ahead]];
      SKIM_PREFETCH(groups_[decompose(next.weight).group].room.data() + next.slot);
    }
    set(ids[k], weights[k]);
  }
}

inline id_t dynamic_sampler::insert(float weight) {
  if (!detail::is_weight(weight))
    SKIM_THROW(invalid_input, detail::concat("dynamic_sampler::insert: got weight ", weight,
                                             ", wanted finite and non-negative"));
  if (size() >= std::numeric_limits<id_t>::max())
    SKIM_THROW(invalid_input, detail::concat("dynamic_sampler::insert: got one item more than ",
                                             size(), ", wanted ids below 2^32 - 1"));
  const auto i = static_cast<id_t>(size());
  weight += 0.0f;
  make_groups();
  const std::uint32_t to = decompose(weight).group;
  group& in = groups_[to];
  if (in.size == in.room.size()) grow_room(in);
  items_.emplace_back();
  append(i, weight);
  if (in.size > in.most && !widen(to)) deal_with(to);
  return i;
}

inline float dynamic_sampler::weight(id_t i) const {
  check(i, 0);
  return items_[i].weight;
}

inline double dynamic_sampler::probability(id_t i) const {
  const auto w = static_cast<double>(weight(i));
  return w > 0 ? w / total_weight() : 0;
}

SKIM_ALWAYS_INLINE dynamic_sampler::attempt dynamic_sampler::point_at(
    std::uint64_t word) const noexcept {
  // The word picks a cell. What is left of it, behind the cell's place among those of its group, is a
  // fraction of the slots of cell_count cells of the group.
  const auto [number, rest] = detail::multiply_wide(word, used_);
  const std::uint32_t cell = cells_.data()[number];
  const group* const in = groups_.data() + cell / cell_count;
  const std::uint64_t place = (std::uint64_t{cell} << (64 - cell_bits)) | (rest >> cell_bits);
  const auto [high, low] = detail::multiply_wide(place, in->width);
  const std::uint64_t slot = high >> width_bits;
  const bool within = slot < in->size;
  return {in, in->room.data() + (within ? slot : 0),
          (high << (64 - width_bits)) | (low >> width_bits), within};
}

template <random_source G>
SKIM_ALWAYS_INLINE bool dynamic_sampler::accepts(const attempt& a, G& g) noexcept {
  const auto point = static_cast<double>(static_cast<std::int64_t>(a.fraction >> 11));
  const bool accepted = a.within & (point * a.in->scale < static_cast<double>(a.at->weight()));
  if (!(accepted & (a.in->faint != 0))) [[likely]]
    return accepted;
  unsigned bits = a.in->faint;
  for (; bits > 32; bits -= 32)
    if (g() >> 32 != 0) return false;
  return g() >> (64 - bits) == 0;
}

template <random_source G>
std::optional<id_t> dynamic_sampler::draw(G& g) const noexcept {
  if (used_ == 0) return std::nullopt;
  for (;;) {
    const attempt a = point_at(g());
    if (accepts(a, g)) return a.at->id();
  }
}

template <random_source G>
std::size_t dynamic_sampler::draw(G& g, std::span<id_t> out) const noexcept {
  if (used_ == 0) return 0;
  constexpr std::size_t batch = 32;
  std::array<attempt, batch> attempts;
  for (std::size_t first = 0; first < out.size();) {
    const std::size_t count = std::min(batch, out.size() - first);
    for (std::size_t k = 0; k < count; ++k) {
      attempts[k] = point_at(g());
      SKIM_PREFETCH(attempts[k].at);
    }
    // A refused one is overwritten by the next: no branch depends on a single outcome.
    for (std::size_t k = 0; k < count; ++k) {
      out[first] = attempts[k].at->id();
      first += accepts(attempts[k], g) ? 1u : 0u;
    }
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
  std::vector<float> weights;
  std::vector<std::uint32_t> order, bases, later;
  weights.reserve(size());
  for (const item& x : items_) weights.push_back(x.weight);
  order.reserve(size());
  for (const group& in : groups_)
    for (std::size_t s = 0; s < in.size; ++s) order.push_back(in.room[s].id());
  for (const std::uint32_t index : active_)
    if (bases_[index] > 0) bases.insert(bases.end(), {index, bases_[index]});
  for (std::size_t c = dealt_; c < used_; ++c)
    later.push_back(static_cast<std::uint32_t>(cells_[c] / cell_count));
  out.begin_frame("dynamic_sampler");
  out.put(std::span<const float>(weights));
  out.put(std::span<const std::uint32_t>(order));  // of the members, group by group
  out.put(std::span<const std::uint32_t>(bases));  // groups and sizes the cells were dealt for
  out.put(std::span<const std::uint32_t>(later));  // groups of the cells added since
  out.end_frame();
}

inline dynamic_sampler dynamic_sampler::load(reader& in) {
  in.begin_frame("dynamic_sampler");
  const std::vector<float> weights = in.get_vector<float>();
  const std::vector<std::uint32_t> order = in.get_vector<std::uint32_t>();
  const std::vector<std::uint32_t> bases = in.get_vector<std::uint32_t>();
  const std::vector<std::uint32_t> later = in.get_vector<std::uint32_t>();
  in.end_frame();

  if (weights.size() > std::numeric_limits<id_t>::max() || order.size() != weights.size())
    in.fail("dynamic_sampler: ", weights.size(), " weights, ", order.size(), " members");
  if (!detail::are_weights<float>(weights))
    in.fail("dynamic_sampler: a weight is negative or not finite");
  std::vector<bool> seen(weights.size());
  for (const id_t i : order) {
    if (i >= seen.size() || seen[i])
      in.fail("dynamic_sampler: member ", i, " is unknown or occurs twice");
    seen[i] = true;
  }
  dynamic_sampler result;
  if (weights.empty()) return result;
  result.make_groups();
  result.place(weights, order);
  if (bases.size() % 2 != 0) in.fail("dynamic_sampler: a group without its size");
  for (std::size_t k = 0; k < bases.size(); k += 2) {
    const std::uint32_t index = bases[k];
    if (index == 0 || index >= group_count || result.bases_[index] != 0 || bases[k + 1] == 0)
      in.fail("dynamic_sampler: group ", index, " is unknown, empty or occurs twice");
    result.active_.push_back(index);
    result.bases_[index] = bases[k + 1];
  }
  result.deal_for_bases();
  for (const std::uint32_t index : later) {
    if (index == 0 || index >= group_count || result.used_ == cell_count)
      in.fail("dynamic_sampler: a cell too many, of group ", index);
    result.add_cell(index);
    result.fit(index);
  }
  for (std::uint32_t index = 1; index < group_count; ++index) {
    group& g = result.groups_[index];
    if (g.size < g.least || g.size > g.most)
      in.fail("dynamic_sampler: ", g.size, " members of group ", index, " with cells for ", g.least,
              " to ", g.most);
    if (g.cells > 0 && g.room.empty()) resize_room(g, 8);  // draws look there
  }
  return result;
}

}  // namespace skim::inline v0
