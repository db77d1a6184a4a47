// SPDX-License-Identifier: Apache-2.0
//
// Integer mixing: scrambling and combining.
#pragma once

#include <cstdint>

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

}  // namespace skim::inline v0
