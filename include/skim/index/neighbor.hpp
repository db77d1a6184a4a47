// SPDX-License-Identifier: Apache-2.0
//
// What the near-neighbour indexes share: what "near" means, and what they answer.
#pragma once

#include <cstdint>

#include "skim/core/config.hpp"

namespace skim::inline v0 {

/// What is least for the nearest.
enum class metric : std::uint8_t {
  euclidean,     ///< |x - y|^2
  cosine,        ///< 1 - cosine of the angle; a zero vector has the distance 1 from everything
  inner_product  ///< -<x, y>
};

/// A stored point and its distance, as the metric has it, from a query. The nearer of two is the one
/// with the smaller distance, of equal distances with the smaller id: searches that see the same
/// points give the same answer in whatever order they see them.
struct neighbor {
  id_t id = 0;
  float distance = 0;

  friend constexpr bool operator==(const neighbor&, const neighbor&) noexcept = default;
  /// Whether a is nearer.
  friend constexpr bool operator<(const neighbor& a, const neighbor& b) noexcept {
    return a.distance < b.distance || (a.distance == b.distance && a.id < b.id);
  }
};

}  // namespace skim::inline v0
