// SPDX-License-Identifier: Apache-2.0
//
// Distance of packed sign codes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "skim/core/config.hpp"

namespace skim::inline v0 {

/// Number of positions in which two bit strings differ. Pre: equal sizes; unused bits alike.
///
/// Cost:  one XOR and one popcount for 64 bits; a single instruction each from x86-64-v2 on.
[[nodiscard]] inline std::size_t hamming_distance(std::span<const std::uint64_t> a,
                                                  std::span<const std::uint64_t> b) noexcept {
  SKIM_EXPECTS(a.size() == b.size());
  std::size_t s0 = 0, s1 = 0;
  std::size_t i = 0;
  for (; i + 2 <= a.size(); i += 2) {
    s0 += static_cast<std::size_t>(std::popcount(a[i] ^ b[i]));
    s1 += static_cast<std::size_t>(std::popcount(a[i + 1] ^ b[i + 1]));
  }
  if (i < a.size()) s0 += static_cast<std::size_t>(std::popcount(a[i] ^ b[i]));
  return s0 + s1;
}

}  // namespace skim::inline v0
