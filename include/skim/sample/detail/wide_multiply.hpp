// SPDX-License-Identifier: Apache-2.0
//
// The full product of two 64-bit words: turns one random word into an index and a fraction.
#pragma once

#include <cstdint>

namespace skim::inline v0::detail {

/// high * 2^64 + low.
struct scaled_word {
  std::uint64_t high = 0, low = 0;
};

[[nodiscard]] constexpr scaled_word wide_multiply(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
  __extension__ using wide = unsigned __int128;
  const wide product = static_cast<wide>(a) * b;
  return {static_cast<std::uint64_t>(product >> 64), static_cast<std::uint64_t>(product)};
#else
  const std::uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const std::uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
  const std::uint64_t carry = (middle & 0xffffffffu) + a0 * b1;
  return {a1 * b1 + (middle >> 32) + (carry >> 32), a * b};
#endif
}

}  // namespace skim::inline v0::detail
