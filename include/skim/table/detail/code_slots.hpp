// SPDX-License-Identifier: Apache-2.0
//
// From a sparse set of codes to consecutive numbers: open addressing with linear probing.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "skim/core/config.hpp"

namespace skim::inline v0::detail {

// Codes are spread by a multiplication (Fibonacci hashing: its top bits); an entry is taken back
// by moving up those behind it, so that nothing but live codes is ever passed.
class code_slots {
 public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return entries_.capacity() * sizeof(entry); }

  void reserve(std::size_t codes) {
    const std::size_t wanted = std::bit_ceil(std::max<std::size_t>(8, codes * 2));
    if (wanted > entries_.size()) rebuild(wanted);
  }

  [[nodiscard]] std::optional<std::uint32_t> find(code_t code) const noexcept {
    if (entries_.empty()) return std::nullopt;
    for (std::size_t at = home(code);; at = (at + 1) & mask_) {
      const entry& e = entries_[at];
      if (e.slot == 0) return std::nullopt;
      if (e.code == code) return e.slot - 1;
    }
  }

  void prefetch(code_t code) const noexcept {
    if (!entries_.empty()) SKIM_PREFETCH(&entries_[home(code)]);
  }

  // Pre: code is not in, slot < 2^32 - 1.
  void insert(code_t code, std::uint32_t slot) {
    reserve(size_ + 1);
    place({code, slot + 1});
    ++size_;
  }

  // Pre: code is in.
  void erase(code_t code) noexcept {
    std::size_t gap = home(code);
    while (entries_[gap].code != code || entries_[gap].slot == 0) gap = (gap + 1) & mask_;
    for (std::size_t at = (gap + 1) & mask_; entries_[at].slot != 0; at = (at + 1) & mask_) {
      // An entry may move up if its home is not between the gap and itself.
      const std::size_t way = (at - home(entries_[at].code)) & mask_;
      if (way >= ((at - gap) & mask_)) {
        entries_[gap] = entries_[at];
        gap = at;
      }
    }
    entries_[gap] = {};
    --size_;
  }

  void clear() noexcept {
    std::fill(entries_.begin(), entries_.end(), entry{});
    size_ = 0;
  }

 private:
  struct entry {
    code_t code = 0;
    std::uint32_t slot = 0;  // number + 1; 0 is free
  };

  [[nodiscard]] std::size_t home(code_t code) const noexcept {
    return static_cast<std::size_t>((std::uint64_t{code} * 0x9e3779b97f4a7c15u) >> shift_);
  }
  void place(entry e) noexcept {
    std::size_t at = home(e.code);
    while (entries_[at].slot != 0) at = (at + 1) & mask_;
    entries_[at] = e;
  }
  void rebuild(std::size_t capacity) {
    std::vector<entry> old(capacity);
    old.swap(entries_);
    mask_ = capacity - 1;
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(capacity));
    for (const entry& e : old)
      if (e.slot != 0) place(e);
  }

  std::vector<entry> entries_;  // a power of two, at most half of them taken
  std::size_t size_ = 0, mask_ = 0;
  unsigned shift_ = 0;
};

}  // namespace skim::inline v0::detail
