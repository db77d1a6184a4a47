// SPDX-License-Identifier: Apache-2.0
//
// Distances from one point to eight that lie side by side, coordinate by coordinate: no horizontal
// sums, and what follows (a kernel) takes all eight at once.
#pragma once

#include <array>
#include <cstddef>

#include "skim/core/config.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// Points of a block. Coordinate j of point i is at [j * block_points + i].
inline constexpr std::size_t block_points = 8;

/// Eight floats in as many registers as they take.
template <class Arch = simd::eight_lane_arch>
struct block_floats {
  using pack = simd::floats<Arch>;
  static constexpr std::size_t packs = block_points / pack::size;

  std::array<pack, packs> v;

  void store(float* out) const noexcept {
    for (std::size_t i = 0; i < packs; ++i) v[i].store(out + i * pack::size);
  }
};

namespace detail {

// Sums of step(x_j - y_j, sum) over the coordinates. Four sums in turn where a block is one register:
// a chain of dependent additions would wait for each.
template <class Arch, class Step>
SKIM_ALWAYS_INLINE block_floats<Arch> sum_of_differences(const float* SKIM_RESTRICT block,
                                                         const float* SKIM_RESTRICT point,
                                                         std::size_t dim, Step step) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t packs = block_floats<Arch>::packs, chains = packs == 1 ? 4 : 2;
  std::array<std::array<pack, packs>, chains> sums;
  for (auto& chain : sums)
    for (pack& s : chain) s = pack::broadcast(0.0f);
  const auto add = [&](std::size_t j, std::array<pack, packs>& to) {
    const pack y = pack::broadcast(point[j]);
    for (std::size_t i = 0; i < packs; ++i)
      to[i] = step(pack::load_aligned(block + j * block_points + i * pack::size) - y, to[i]);
  };
  std::size_t j = 0;
  for (; j + chains <= dim; j += chains)
    for (std::size_t c = 0; c < chains; ++c) add(j + c, sums[c]);
  for (; j < dim; ++j) add(j, sums[0]);
  block_floats<Arch> out;
  for (std::size_t i = 0; i < packs; ++i) {
    if constexpr (chains == 4)
      out.v[i] = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
    else
      out.v[i] = sums[0][i] + sums[1][i];
  }
  return out;
}

}  // namespace detail

/// |x_i - y|^2 for the eight x_i of a block. block: (dim, 8), aligned as a register is; point: (dim).
///
/// Cost:    per coordinate one load, one subtraction and one FMA of eight lanes.
template <class Arch = simd::eight_lane_arch>
[[nodiscard]] SKIM_ALWAYS_INLINE block_floats<Arch> block_squared_distances(
    const float* block, const float* point, std::size_t dim) noexcept {
  return detail::sum_of_differences<Arch>(
      block, point, dim,
      [](simd::floats<Arch> t, simd::floats<Arch> sum) { return simd::fma(t, t, sum); });
}

/// |x_i - y|_1, else the same.
template <class Arch = simd::eight_lane_arch>
[[nodiscard]] SKIM_ALWAYS_INLINE block_floats<Arch> block_manhattan_distances(
    const float* block, const float* point, std::size_t dim) noexcept {
  return detail::sum_of_differences<Arch>(
      block, point, dim,
      [](simd::floats<Arch> t, simd::floats<Arch> sum) { return simd::abs(t) + sum; });
}

}  // namespace skim::inline v0
