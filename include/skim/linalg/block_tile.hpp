// SPDX-License-Identifier: Apache-2.0
//
// Distances of several blocks of eight points from several others at once, in registers.
#pragma once

#include <array>
#include <cstddef>

#include "skim/core/config.hpp"
#include "skim/linalg/point_block.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// Distances of Blocks blocks, `stride` floats apart, from Points points (pointers to them): squared ones,
/// or sums of absolute differences. Each is one chain of sums in the order of the coordinates, the same for
/// every shape of the tile. Blocks * Points wants to be eight registers or so.
///
/// Cost:    per coordinate and pair of a block and a point one subtraction and one FMA of eight lanes: half
///          the FMA peak, and no digits lost to cancellation as in |x|^2 + |y|^2 - 2 x y.
template <std::size_t Blocks, std::size_t Points, bool Manhattan,
          class Arch = simd::eight_lane_arch>
[[nodiscard]] SKIM_ALWAYS_INLINE std::array<std::array<block_floats<Arch>, Points>, Blocks>
block_tile_distances(const float* SKIM_RESTRICT blocks, std::size_t stride,
                     const std::array<const float*, Points>& points, std::size_t dim) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t packs = block_floats<Arch>::packs;
  std::array<std::array<block_floats<Arch>, Points>, Blocks> sums;
  for (auto& row : sums)
    for (auto& sum : row) sum.v.fill(pack::broadcast(0.0f));
  for (std::size_t j = 0; j < dim; ++j) {
    std::array<pack, Points> y;
    for (std::size_t q = 0; q < Points; ++q) y[q] = pack::broadcast(points[q][j]);
    for (std::size_t b = 0; b < Blocks; ++b)
      for (std::size_t i = 0; i < packs; ++i) {
        const pack x = pack::load_aligned(blocks + b * stride + j * block_points + i * pack::size);
        for (std::size_t q = 0; q < Points; ++q) {
          pack& sum = sums[b][q].v[i];
          const pack t = x - y[q];
          if constexpr (Manhattan)
            sum = simd::abs(t) + sum;
          else
            sum = simd::fma(t, t, sum);
        }
      }
  }
  return sums;
}

}  // namespace skim::inline v0
