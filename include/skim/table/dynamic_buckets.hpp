// SPDX-License-Identifier: Apache-2.0
//
// Buckets that change: ids are put into the bucket of a code, taken out, moved to that of another.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/large_pages.hpp"
#include "skim/table/counter_rows.hpp"
#include "skim/table/detail/code_slots.hpp"

namespace skim::inline v0 {

/// How a dynamic_buckets finds a bucket.
struct dynamic_buckets_params {
  std::uint64_t range = 1;  ///< number of codes, at most 2^32
  /// Codes up to which each has a place of its own (8 bytes, used or not); beyond it codes are
  /// searched by open addressing. At most 2^30.
  std::uint64_t direct_up_to = std::uint64_t{1} << 16;
};

/// Lists of ids, one for each code, that grow and shrink.
///
/// All lists lie in one array. A list has room for a power of two of ids; when it is full it moves to
/// a place of twice the size, and free places wait for the next list of their size. Lists of up to 16
/// ids lie in one cache line.
///
/// Shape:   codes below range; an id may be in a bucket more than once, and in several.
/// Memory:  8 range bytes when direct(), else at most 24 for each code in use; for the ids at most
///          16 bytes for each of the largest size that each list has had, twice that while the array
///          grows.
/// Cost:    insert O(1) amortised; erase and move a pass over the bucket; build a few ns an id.
/// Threads: const members may run at once; writers need exclusive access.
/// Ref:     Knuth, The Art of Computer Programming 1, 2.5 (places by powers of two).
class dynamic_buckets {
 public:
  using params = dynamic_buckets_params;

  /// Throws invalid_params for sizes out of range.
  explicit dynamic_buckets(params p) : params_(p) {
    if (p.range == 0 || p.range > std::uint64_t{1} << 32 || p.direct_up_to > std::uint64_t{1} << 30)
      SKIM_THROW(invalid_params,
                 detail::concat("dynamic_buckets: got ", p.range, " codes, direct up to ",
                                p.direct_up_to, ", wanted 1 to 2^32 and at most 2^30"));
    if (direct()) headers_.resize(static_cast<std::size_t>(p.range));
  }

  /// The ids in a code's bucket, in no particular order. The memory they lie in is not touched.
  [[nodiscard]] std::span<const id_t> bucket(code_t code) const noexcept {
    const header* h = find(code);
    return h == nullptr ? std::span<const id_t>{}
                        : std::span<const id_t>{pool_.data() + h->begin, h->size};
  }

  /// Fetches what bucket() will read. For loops over many codes.
  void prefetch(code_t code) const noexcept {
    if (!direct()) {
      slots_.prefetch(code);
    } else if (code < params_.range) {
      SKIM_PREFETCH(headers_.data() + code);
    }
  }

  /// Throws invalid_input, and changes nothing, for a code at or above range().
  void insert(code_t code, id_t id) {
    header& h = open(code);
    if (h.size == capacity(h)) grow(h);
    pool_[h.begin + h.size++] = id;
    ++size_;
  }

  /// Takes an id out of a bucket, one occurrence of it; false if it is not there.
  bool erase(code_t code, id_t id) noexcept {
    header* h = find(code);
    if (h == nullptr) return false;
    id_t* const first = pool_.data() + h->begin;
    id_t* const at = std::find(first, first + h->size, id);
    if (at == first + h->size) return false;
    *at = first[--h->size];
    --size_;
    shrink(code, *h);
    return true;
  }

  /// erase() from one bucket and insert() into another. False, and nothing done, if id is not in the
  /// first. Throws invalid_input for a code at or above range().
  bool move(code_t from, code_t to, id_t id) {
    check(to);
    if (from == to) {
      const auto ids = bucket(from);
      return std::find(ids.begin(), ids.end(), id) != ids.end();
    }
    if (const auto ids = bucket(from); std::find(ids.begin(), ids.end(), id) == ids.end())
      return false;
    insert(to, id);
    return erase(from, id);
  }

  /// Forgets everything and puts ids[i], or i where ids are not given, into the bucket of codes[i].
  /// Throws invalid_input, and changes nothing, for a code at or above range() or unequal lengths.
  template <code_integer Code>
  void build(std::span<const Code> codes, std::span<const id_t> ids = {});

  void clear() noexcept {
    std::fill(headers_.begin(), headers_.end(), header{});
    if (!direct()) headers_.clear();
    slots_.clear();
    pool_.clear();
    free_.fill(none);
    free_header_ = none;
    size_ = 0;
  }

  /// Ids in all buckets.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint64_t range() const noexcept { return params_.range; }
  /// Whether a code finds its bucket without a search.
  [[nodiscard]] bool direct() const noexcept { return params_.range <= params_.direct_up_to; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return pool_.capacity() * sizeof(id_t) + headers_.capacity() * sizeof(header) + slots_.bytes();
  }

 private:
  // Also the end of the lists of free places.
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  static constexpr unsigned sizes = 32;

  struct header {
    std::uint32_t begin = 0;      // in pool_
    std::uint32_t size : 26 = 0;  // ids; of one bucket at most 2^25
    std::uint32_t place : 6 = 0;  // 1 + log2 of the room, 0: none
  };
  static constexpr std::uint32_t largest_place = 26;

  [[nodiscard]] static std::uint32_t capacity(const header& h) noexcept {
    return h.place == 0 ? 0 : std::uint32_t{1} << (h.place - 1);
  }
  [[nodiscard]] static std::uint32_t place_for(std::size_t ids) noexcept {
    return ids == 0 ? 0 : static_cast<std::uint32_t>(std::bit_width(ids - 1)) + 1;
  }

  void check(code_t code) const {
    if (code >= params_.range)
      SKIM_THROW(invalid_input, detail::concat("dynamic_buckets: got code ", code,
                                               ", wanted one below ", params_.range));
  }

  [[nodiscard]] const header* find(code_t code) const noexcept {
    if (direct()) return code < params_.range ? headers_.data() + code : nullptr;
    const auto slot = slots_.find(code);
    return slot ? headers_.data() + *slot : nullptr;
  }
  [[nodiscard]] header* find(code_t code) noexcept {
    return const_cast<header*>(std::as_const(*this).find(code));
  }

  // The bucket of a code, a new one if it has none.
  header& open(code_t code) {
    check(code);
    if (header* h = find(code)) return *h;
    std::uint32_t slot = free_header_;
    if (slot == none) {
      headers_.push_back({});
      slot = static_cast<std::uint32_t>(headers_.size() - 1);
      slots_.insert(code, slot);
    } else {
      slots_.insert(code, slot);
      free_header_ = headers_[slot].begin;
      headers_[slot] = {};
    }
    return headers_[slot];
  }

  // Room for 2^(place - 1) ids.
  [[nodiscard]] std::uint32_t take(std::uint32_t place) {
    if (place > largest_place)
      SKIM_THROW(
          invalid_input,
          "dynamic_buckets: got 2^25 ids of one code and one more, wanted no more than 2^25");
    if (const std::uint32_t at = free_[place - 1]; at != none) {
      free_[place - 1] = pool_[at];
      return at;
    }
    const std::size_t room = std::size_t{1} << (place - 1);
    // Up to a cache line a place begins at a multiple of its size; what lies before is given away.
    const std::size_t align = std::min<std::size_t>(room, cache_line / sizeof(id_t));
    const std::size_t end = (pool_.size() + align - 1) / align * align + room;
    if (end >= none)
      SKIM_THROW(invalid_input, "dynamic_buckets: wanted fewer than 2^32 places for ids in all");
    std::size_t at = pool_.size();
    pool_.resize(end);
    while (at % align != 0) {
      const auto part = static_cast<std::uint32_t>(std::countr_zero(at)) + 1;
      give(static_cast<std::uint32_t>(at), part);
      at += std::size_t{1} << (part - 1);
    }
    return static_cast<std::uint32_t>(at);
  }
  void give(std::uint32_t at, std::uint32_t place) noexcept {
    pool_[at] = free_[place - 1];
    free_[place - 1] = at;
  }

  void transfer(header& h, std::uint32_t place) {
    const std::uint32_t at = take(place);
    std::copy_n(pool_.begin() + h.begin, h.size, pool_.begin() + at);
    if (h.place != 0) give(h.begin, h.place);
    h.begin = at;
    h.place = place & 63u;
  }
  void grow(header& h) { transfer(h, h.place + 1u); }

  // Gives back the place of an empty list, and moves one that fills a quarter to a place that waits.
  void shrink(code_t code, header& h) noexcept {
    if (h.size == 0) {
      give(h.begin, h.place);
      h = {};
      if (!direct()) {
        h.begin = free_header_;
        free_header_ = static_cast<std::uint32_t>(&h - headers_.data());
        slots_.erase(code);
      }
    } else if (h.size <= capacity(h) / 4 && free_[h.place - 2u] != none) {
      transfer(h, h.place - 1u);
    }
  }

  params params_;
  large_vector<header> headers_;  // of each code when direct, else of each slot
  detail::code_slots slots_;
  large_vector<id_t> pool_;
  std::array<std::uint32_t, sizes> free_ = [] {
    std::array<std::uint32_t, sizes> f;
    f.fill(none);
    return f;
  }();
  std::uint32_t free_header_ = none;
  std::size_t size_ = 0;
};

template <code_integer Code>
void dynamic_buckets::build(std::span<const Code> codes, std::span<const id_t> ids) {
  if (!ids.empty() && ids.size() != codes.size())
    SKIM_THROW(invalid_input, detail::concat("dynamic_buckets::build: got ", ids.size(),
                                             " ids for ", codes.size(), " codes"));
  if (codes.size() >= std::size_t{1} << 31)
    SKIM_THROW(invalid_input, detail::concat("dynamic_buckets::build: got ", codes.size(),
                                             " codes, wanted fewer than 2^31"));
  code_t largest = 0;
  for (const Code c : codes) largest = std::max<code_t>(largest, c);
  if (!codes.empty()) check(largest);
  clear();
  if (!direct()) {
    for (std::size_t i = 0; i < codes.size(); ++i)
      insert(codes[i], ids.empty() ? static_cast<id_t>(i) : ids[i]);
    return;
  }
  // A counting sort: sizes, places (the large ones first, so that all are aligned), then the ids.
  std::vector<std::uint32_t> next(headers_.size());
  for (const Code c : codes) ++next[c];
  std::array<std::uint32_t, sizes> lists{}, first{};
  for (const std::uint32_t n : next) {
    const std::uint32_t place = place_for(n);
    if (place > largest_place)
      SKIM_THROW(invalid_input, detail::concat("dynamic_buckets::build: got ", n,
                                               " ids of one code, wanted 2^25 at most"));
    ++lists[place];
  }
  std::uint64_t end = 0;
  for (std::uint32_t place = sizes - 1; place > 0; --place) {
    first[place] = static_cast<std::uint32_t>(end);
    end += std::uint64_t{lists[place]} << (place - 1);
  }
  pool_.resize(static_cast<std::size_t>(end));
  for (std::size_t c = 0; c < next.size(); ++c) {
    const std::uint32_t n = next[c], place = place_for(n);
    if (n == 0) continue;
    header& h = headers_[c];
    h.begin = next[c] = first[place];
    h.size = n & ((std::uint32_t{1} << 26) - 1);
    h.place = place & 63u;
    first[place] += std::uint32_t{1} << (place - 1);
  }
  if (ids.empty()) {
    for (std::size_t i = 0; i < codes.size(); ++i) pool_[next[codes[i]]++] = static_cast<id_t>(i);
  } else {
    for (std::size_t i = 0; i < codes.size(); ++i) pool_[next[codes[i]]++] = ids[i];
  }
  size_ = codes.size();
}

}  // namespace skim::inline v0
