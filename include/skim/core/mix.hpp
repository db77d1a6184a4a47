// SPDX-License-Identifier: Apache-2.0
//
// Integer mixing: scrambling, combining, and hashing to a range.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "skim/core/config.hpp"

namespace skim::inline v0 {

/// Scrambles 64 bits; a bijection in which each input bit flips each output bit with probability
/// near 1/2.
///
/// Ref: Steele, Lea, Flood 2014, OOPSLA (SplitMix; finaliser constants by Stafford, variant 13).
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Combines two values to one; order matters.
[[nodiscard]] constexpr std::uint64_t mix_combine(std::uint64_t a, std::uint64_t b) noexcept {
  return mix64(a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u);
}

/// Fingerprint of a list of numbers: equal lists give equal values on every platform.
template <class... Values>
[[nodiscard]] constexpr std::uint64_t fingerprint_of(Values... values) noexcept {
  std::uint64_t f = 0x736b696du;
  ((f = mix_combine(f, static_cast<std::uint64_t>(values))), ...);
  return f;
}

/// Hashes 32-bit keys to [0, 2^bits) by multiply-shift with an offset.
///
/// Cost:    one multiplication and two shifts a key.
/// Error:   any two distinct 32-bit keys collide with probability 2^-bits over a uniform draw of
///          multiplier and offset (strongly universal); mix longer keys first.
/// Threads: as a value; hashing is const.
/// Ref:     Dietzfelbinger 1996, STACS (strongly universal multiply-shift).
class multiply_shift {
 public:
  constexpr multiply_shift() noexcept = default;
  /// Pre: bits <= 32.
  constexpr multiply_shift(std::uint64_t seed, unsigned bits) noexcept
      : multiplier_(mix64(seed)), offset_(mix64(seed ^ 0xa5a5a5a5a5a5a5a5u)), bits_(bits) {}

  [[nodiscard]] constexpr std::uint32_t operator()(std::uint32_t key) const noexcept {
    // The upper half of the product is what multiply-shift keeps; bits_ == 0 must not shift by 64.
    return static_cast<std::uint32_t>(((key * multiplier_ + offset_) >> 32) >> (32 - bits_));
  }

 private:
  std::uint64_t multiplier_ = 1, offset_ = 0;
  unsigned bits_ = 0;
};

}  // namespace skim::inline v0
