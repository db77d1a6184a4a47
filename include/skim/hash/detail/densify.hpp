// SPDX-License-Identifier: Apache-2.0
//
// Whom an empty bin borrows from.
#pragma once

#include <cstddef>
#include <cstdint>

#include "skim/core/config.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0::detail {

/// The first bin that is not empty in a random order that depends on the empty bin and the seed alone, so
/// that two points with the same empty bins borrow alike; `bins` if all are empty.
///
/// Cost:    bins / (bins that are not empty) tries on average.
/// Ref:     Shrivastava 2017, ICML (optimal densification: each try a hash of the bin and its number).
template <class IsEmpty>
[[nodiscard]] inline std::size_t lender(std::size_t bin, std::size_t bins, std::uint64_t seed,
                                        IsEmpty is_empty) noexcept {
  // Beyond so many tries almost all bins are empty, and the next one that is not serves.
  constexpr std::uint64_t tries = 64;
  const std::uint64_t start = mix_combine(seed, bin);
  std::size_t at = bin;
  for (std::uint64_t t = 0; t < tries; ++t) {
    at = static_cast<std::size_t>(multiply_wide(mix_combine(start, t), bins).high);
    if (!is_empty(at)) return at;
  }
  for (std::size_t passed = 0; passed < bins; ++passed) {
    at = at + 1 == bins ? 0 : at + 1;
    if (!is_empty(at)) return at;
  }
  return bins;
}

}  // namespace skim::inline v0::detail
