// SPDX-License-Identifier: Apache-2.0
//
// The points of a density structure under their ids.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/point_block.hpp"

namespace skim::inline v0::detail {

// Where the point of an id is: a number below 2^31. The id given back last is given first.
class id_table {
 public:
  [[nodiscard]] std::size_t slots() const noexcept { return entries_.size(); }
  [[nodiscard]] bool contains(id_t id) const noexcept {
    return id < slots() && (entries_[id] & free_bit) == 0;
  }
  // Pre: contains(id).
  [[nodiscard]] std::uint32_t operator[](id_t id) const noexcept { return entries_[id]; }
  void move(id_t id, std::uint32_t place) noexcept { entries_[id] = place; }

  void check(std::string_view who, id_t id) const {
    if (!contains(id))
      SKIM_THROW(invalid_input, concat(who, ": got id ", id, ", wanted that of a point it holds"));
  }

  // Room for so many more ids. Throws invalid_input beyond 2^31 - 2 of them.
  void reserve(std::string_view who, std::size_t more) {
    if (more > most_points - 1 - used_)
      SKIM_THROW(invalid_input, concat(who, ": got ", used_, " points and ", more,
                                       " more, wanted fewer than 2^31 - 1"));
    const std::size_t wanted = used_ + more;
    if (wanted > entries_.capacity()) entries_.reserve(std::max(wanted, used_ + used_ / 8 + 16));
  }
  // Pre: there is room.
  id_t add(std::uint32_t place) noexcept {
    ++used_;
    if (head_ == none) {
      entries_.push_back(place);
      return static_cast<id_t>(entries_.size() - 1);
    }
    const id_t id = head_;
    head_ = entries_[id] & ~free_bit;
    entries_[id] = place;
    return id;
  }
  // Pre: contains(id).
  void erase(id_t id) noexcept {
    --used_;
    entries_[id] = head_ | free_bit;
    head_ = id;
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return entries_.capacity() * sizeof(std::uint32_t);
  }

  // The free ids, in the order in which they will be given; the structure knows the others.
  void save(writer& out) const {
    std::vector<id_t> free;
    for (id_t id = head_; id != none; id = entries_[id] & ~free_bit) free.push_back(id);
    out.put(std::span<const id_t>(free));
  }
  // Given the ids of the places 0, 1, ...; each id below slots() is of a place or free.
  [[nodiscard]] static id_table load(reader& in, std::span<const id_t> ids) {
    const std::vector<id_t> free = in.get_vector<id_t>();
    const std::size_t slots = free.size() + ids.size();
    if (slots >= most_points) in.fail(slots, " ids, wanted fewer than 2^31 - 1");
    id_table t;
    t.entries_.assign(slots, untaken);
    t.used_ = ids.size();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= slots || t.entries_[ids[i]] != untaken)
        in.fail("id ", ids[i], " of ", slots, ", or one named twice");
      t.entries_[ids[i]] = static_cast<std::uint32_t>(i);
    }
    for (std::size_t i = free.size(); i-- > 0;) {
      if (free[i] >= slots || t.entries_[free[i]] != untaken)
        in.fail("free id ", free[i], " of ", slots, ", or one named twice");
      t.entries_[free[i]] = t.head_ | free_bit;
      t.head_ = free[i];
    }
    return t;
  }

 private:
  static constexpr std::uint32_t free_bit = 0x80000000u, none = 0x7fffffffu, untaken = 0xfffffffeu;

  std::vector<std::uint32_t> entries_;  // a place, or the next free id
  std::uint32_t head_ = none;
  std::size_t used_ = 0;
};

// A block_list with ids and the sum of its weights. What it is given was checked, but for ids.
class point_table {
 public:
  explicit point_table(std::size_t dim) : list_(dim) {}

  [[nodiscard]] std::size_t dim() const noexcept { return list_.dim(); }
  [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
  [[nodiscard]] double total_weight() const noexcept { return total_.value(); }
  [[nodiscard]] const block_list& list() const noexcept { return list_; }
  [[nodiscard]] bool contains(id_t id) const noexcept { return ids_.contains(id); }
  [[nodiscard]] std::size_t place(id_t id) const noexcept { return ids_[id]; }
  [[nodiscard]] float weight(id_t id) const noexcept { return list_.weight(ids_[id]); }
  void check(std::string_view who, id_t id) const { ids_.check(who, id); }
  void copy_point(id_t id, std::span<float> out) const noexcept { list_.copy_point(ids_[id], out); }
  [[nodiscard]] std::size_t bytes() const noexcept { return list_.bytes() + ids_.bytes(); }

  // An exception changes nothing.
  void reserve(std::string_view who, std::size_t more) {
    ids_.reserve(who, more);
    if (size() + more > list_.room())
      list_.reserve(std::max(size() + more, size() + size() / 8 + block_points));
  }
  // At the last place. Pre: there is room.
  id_t insert(std::span<const float> x, float w) {
    const id_t id = ids_.add(static_cast<std::uint32_t>(size()));
    list_.push(x, w, id);
    total_.add(w);
    return id;
  }
  // The last point takes the place. Pre: contains(id).
  void erase(id_t id) noexcept {
    const std::size_t at = ids_[id];
    total_.subtract(list_.weight(at));
    list_.remove(at);
    ids_.erase(id);
    if (at < size()) ids_.move(list_.id(at), static_cast<std::uint32_t>(at));
  }
  // Keeps the weight. Pre: contains(id).
  void replace(id_t id, std::span<const float> x) noexcept {
    list_.put(ids_[id], x, list_.weight(ids_[id]));
  }
  void clear() noexcept {
    list_.clear();
    ids_ = {};
    total_ = {};
  }
  // Exchanges the points of two places.
  void swap_places(std::size_t a, std::size_t b) noexcept {
    list_.swap(a, b);
    ids_.move(list_.id(a), static_cast<std::uint32_t>(a));
    ids_.move(list_.id(b), static_cast<std::uint32_t>(b));
  }

  void save(writer& out) const {
    out.begin_frame("point_table");
    out.put(std::uint64_t{dim()});
    out.put(list_.ids());
    ids_.save(out);
    std::vector<float> x(dim() + 1);
    for (std::size_t i = 0; i < size(); ++i) {
      list_.copy_point(i, std::span(x).first(dim()));
      x.back() = list_.weight(i);
      out.put(std::span<const float>(x));
    }
    out.end_frame();
  }
  // Points are checked as those of k.
  [[nodiscard]] static point_table load(reader& in, const density_kernel& k) {
    in.begin_frame("point_table");
    const auto dim = in.get<std::uint64_t>();
    if (dim == 0 || dim > std::uint64_t{1} << 24) in.fail("points of ", dim, " dimensions");
    const std::vector<id_t> ids = in.get_vector<id_t>();
    id_table table = id_table::load(in, ids);
    if (ids.size() > in.remaining() / sizeof(float) / (dim + 1))
      in.fail(ids.size(), " points of ", dim, " dimensions are announced, ", in.remaining(),
              " bytes remain");
    point_table t(static_cast<std::size_t>(dim));
    t.list_.reserve(ids.size());
    std::vector<float> values(ids.empty() ? 0 : t.dim() + 1);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      in.get_into(std::span(values));
      const std::span<const float> x = std::span<const float>(values).first(t.dim());
      const float w = values.back();
      const float square = all_finite(x) ? dot(x, x) : -1.0f;
      if (!(square >= 0 && square <= largest_point_square) ||
          !(w >= least_weight && w <= largest_weight) ||
          (k.on_sphere() && !(square > 0.999f && square < 1.001f)))
        in.fail("point ", i, " has an impossible coordinate, norm or weight");
      t.list_.push(x, w, ids[i]);
      t.total_.add(w);
    }
    t.ids_ = std::move(table);
    in.end_frame();
    return t;
  }

 private:
  block_list list_;
  id_table ids_;
  weight_sum total_;
};

// A kernel as structures save it.
inline void save_kernel(writer& out, const density_kernel& k) {
  out.put(k.kind);
  out.put(k.bandwidth);
}
[[nodiscard]] inline density_kernel load_kernel(reader& in) {
  density_kernel k;
  k.kind = in.get<kernel_kind>();
  k.bandwidth = in.get<double>();
  if (k.kind > kernel_kind::angular || !(k.bandwidth >= 1e-15 && k.bandwidth <= 1e15))
    in.fail("kernel ", static_cast<unsigned>(k.kind), " of bandwidth ", k.bandwidth);
  return k;
}

}  // namespace skim::inline v0::detail
