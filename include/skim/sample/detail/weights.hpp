// SPDX-License-Identifier: Apache-2.0
//
// Checking and adding up weights.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>

#include "skim/core/error.hpp"

namespace skim::inline v0::detail {

/// Whether x is finite and not negative.
template <std::floating_point T>
[[nodiscard]] constexpr bool is_weight(T x) noexcept {
  return x >= T(0) && x <= std::numeric_limits<T>::max();
}

/// Whether all are; one pass that vectorises.
template <std::floating_point T>
[[nodiscard]] bool are_weights(std::span<const T> values) noexcept {
  unsigned bad = 0;
  for (const T x : values) bad |= is_weight(x) ? 0u : 1u;
  return bad == 0;
}

/// Throws Error with the first offender unless all values are finite and non-negative.
template <class Error, std::floating_point T>
void require_weights(const char* where, const char* what, std::span<const T> values) {
  if (are_weights(values)) return;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!is_weight(values[i]))
      SKIM_THROW(Error, concat(where, ": got ", what, " ", values[i], " at position ", i,
                               ", wanted finite and non-negative"));
}

/// The largest; 0 if there are none. Lanes let compilers make vectors of it. Pre: weights.
template <std::floating_point T>
[[nodiscard]] T lane_max(std::span<const T> values) noexcept {
  constexpr std::size_t lanes = 32;
  T largest[lanes] = {};
  std::size_t i = 0;
  for (; i + lanes <= values.size(); i += lanes)
    for (std::size_t k = 0; k < lanes; ++k)
      largest[k] = largest[k] < values[i + k] ? values[i + k] : largest[k];
  for (; i < values.size(); ++i) largest[0] = largest[0] < values[i] ? values[i] : largest[0];
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t k = 0; k < half; ++k)
      largest[k] = largest[k] < largest[k + half] ? largest[k + half] : largest[k];
  return largest[0];
}

/// Sum in double over eight lanes, in an order that does not depend on the instruction set.
template <class T, class Map>
[[nodiscard]] double lane_sum(std::span<const T> values, Map map) noexcept {
  double lanes[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= values.size(); i += 8)
    for (std::size_t k = 0; k < 8; ++k) lanes[k] += map(values[i + k]);
  for (std::size_t k = 0; i < values.size(); ++i, ++k) lanes[k] += map(values[i]);
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
         ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

}  // namespace skim::inline v0::detail
