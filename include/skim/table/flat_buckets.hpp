// SPDX-License-Identifier: Apache-2.0
//
// Buckets that are built once: for each code the ids that have it, side by side in one array.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/table/counter_rows.hpp"
#include "skim/table/detail/code_slots.hpp"

namespace skim::inline v0 {

/// For each code the ids that have it, in ascending order; built once, read often.
///
/// Few codes are counting-sorted and address an array of starts; more codes than 4 n (and 4096) are
/// radix-sorted, and those that occur are found by open addressing.
///
/// Shape:   codes (n), each below range; id i is the position of its code.
/// Memory:  4 n + 4 range bytes when direct(), else 4 n + at most 36 bytes for each code that occurs.
/// Cost:    build O(n + range) direct, else two to three passes over n; bucket() O(1).
/// Threads: immutable: any number at once.
/// Ref:     Knuth, The Art of Computer Programming 3, 5.2 and 6.4.
class flat_buckets {
 public:
  /// No codes, no ids.
  flat_buckets() = default;

  /// Throws invalid_input for a code at or above range, invalid_params for a range of 0 or above
  /// 2^32 or for 2^32 ids and more.
  template <code_integer Code>
  flat_buckets(std::span<const Code> codes, std::uint64_t range) : range_(range) {
    if (range == 0 || range > std::uint64_t{1} << 32)
      SKIM_THROW(invalid_params,
                 detail::concat("flat_buckets: got a range of ", range, ", wanted 1 to 2^32"));
    if (codes.size() > std::numeric_limits<id_t>::max())
      SKIM_THROW(invalid_params, detail::concat("flat_buckets: got ", codes.size(),
                                                " codes, wanted fewer than 2^32"));
    for (std::size_t i = 0; i < codes.size(); ++i)
      if (codes[i] >= range)
        SKIM_THROW(invalid_input, detail::concat("flat_buckets: got code ", codes[i], " at ", i,
                                                 ", wanted codes below ", range));
    direct_ = range <= std::max<std::uint64_t>(4096, std::uint64_t{4} * codes.size());
    if (direct_) {
      count(codes);
    } else {
      sort(codes);
    }
  }

  /// The ids that have a code. The memory they lie in is not touched.
  [[nodiscard]] std::span<const id_t> bucket(code_t code) const noexcept {
    if (direct_) {
      if (code >= range_) return {};
      return {ids_.data() + starts_[code], starts_[code + 1] - starts_[code]};
    }
    const auto slot = slots_.find(code);
    if (!slot) return {};
    return {ids_.data() + starts_[*slot], starts_[*slot + 1] - starts_[*slot]};
  }

  /// Fetches what bucket() will read. For loops over many codes.
  void prefetch(code_t code) const noexcept {
    if (!direct_) {
      slots_.prefetch(code);
    } else if (code < range_) {
      SKIM_PREFETCH(starts_.data() + code);
    }
  }

  [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }
  [[nodiscard]] std::uint64_t range() const noexcept { return range_; }
  /// Whether codes address the starts without a search.
  [[nodiscard]] bool direct() const noexcept { return direct_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return (ids_.capacity() + starts_.capacity()) * sizeof(std::uint32_t) + slots_.bytes();
  }

 private:
  template <class Code>
  void count(std::span<const Code> codes) {
    starts_.assign(static_cast<std::size_t>(range_) + 1, 0);
    for (const Code c : codes) ++starts_[c];
    std::uint32_t sum = 0;
    for (std::uint32_t& s : starts_) {
      sum += s;
      s = sum;
    }
    // Starts are the ends of the buckets now: filled from behind, each becomes its start.
    ids_.resize(codes.size());
    for (std::size_t i = codes.size(); i-- > 0;) ids_[--starts_[codes[i]]] = static_cast<id_t>(i);
  }

  template <class Code>
  void sort(std::span<const Code> codes) {
    constexpr unsigned digit_bits = 11;
    constexpr std::size_t digits = std::size_t{1} << digit_bits;
    std::vector<std::uint64_t> pairs(codes.size()), other(codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) pairs[i] = (std::uint64_t{codes[i]} << 32) | i;
    std::array<std::uint32_t, digits> next;
    for (unsigned shift = 32; shift < 64 && ((range_ - 1) >> (shift - 32)) != 0;
         shift += digit_bits) {
      next.fill(0);
      for (const std::uint64_t p : pairs) ++next[(p >> shift) % digits];
      std::uint32_t sum = 0;
      for (std::uint32_t& n : next) {
        const std::uint32_t here = n;
        n = sum;
        sum += here;
      }
      for (const std::uint64_t p : pairs) other[next[(p >> shift) % digits]++] = p;
      pairs.swap(other);
    }
    ids_.resize(codes.size());
    std::size_t distinct = 0;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      ids_[i] = static_cast<id_t>(pairs[i]);
      distinct += i == 0 || pairs[i] >> 32 != pairs[i - 1] >> 32;
    }
    slots_.reserve(distinct);
    starts_.reserve(distinct + 1);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (i != 0 && pairs[i] >> 32 == pairs[i - 1] >> 32) continue;
      slots_.insert(static_cast<code_t>(pairs[i] >> 32),
                    static_cast<std::uint32_t>(starts_.size()));
      starts_.push_back(static_cast<std::uint32_t>(i));
    }
    starts_.push_back(static_cast<std::uint32_t>(pairs.size()));
  }

  std::uint64_t range_ = 0;
  bool direct_ = false;
  std::vector<std::uint32_t> starts_;  // of each code when direct, else of each slot; and the end
  std::vector<id_t> ids_;
  detail::code_slots slots_;
};

}  // namespace skim::inline v0
