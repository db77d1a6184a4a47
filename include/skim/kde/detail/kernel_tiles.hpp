// SPDX-License-Identifier: Apache-2.0
//
// Sums of kernels over all blocks of a list.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <type_traits>

#include "skim/core/config.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/linalg/block_tile.hpp"
#include "skim/linalg/point_block.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0::detail {

// Blocks whose weighted kernels are summed lane by lane in float before the sum goes on in double.
inline constexpr std::size_t group_blocks = 8;
// Queries that share a pass over the blocks.
inline constexpr std::size_t tile_queries = 4;

// Adds the weighted kernels of up to group_blocks blocks to one sum per query.
template <std::size_t Queries, class Profile>
SKIM_ALWAYS_INLINE void add_group(const Profile& profile, const float* group, std::size_t blocks,
                                  std::size_t stride,
                                  const std::array<const float*, Queries>& queries, std::size_t dim,
                                  std::array<double, Queries>& sums) noexcept {
  using pack = block_floats<>::pack;
  constexpr std::size_t packs = block_floats<>::packs;
  // Eight registers of sums.
  constexpr std::size_t tile = std::max<std::size_t>(1, 8 / (packs * Queries));
  std::array<block_floats<>, Queries> total;
  for (auto& t : total) t.v.fill(pack::broadcast(0.0f));
  const auto add = [&]<std::size_t Blocks>(
                       std::size_t b,
                       std::integral_constant<std::size_t, Blocks>) SKIM_INLINE_LAMBDA {
    const auto d = block_tile_distances<Blocks, Queries, Profile::manhattan>(group + b * stride,
                                                                             stride, queries, dim);
    for (std::size_t k = 0; k < Blocks; ++k)
      for (std::size_t i = 0; i < packs; ++i) {
        const pack w =
            pack::load_aligned(group + (b + k) * stride + dim * block_points + i * pack::size);
        for (std::size_t q = 0; q < Queries; ++q)
          total[q].v[i] = simd::fma(profile(d[k][q].v[i]), w, total[q].v[i]);
      }
  };
  std::size_t b = 0;
  for (; b + tile <= blocks; b += tile) add(b, std::integral_constant<std::size_t, tile>{});
  for (; b < blocks; ++b) add(b, std::integral_constant<std::size_t, 1>{});
  for (std::size_t q = 0; q < Queries; ++q) {
    pack sum = total[q].v[0];
    for (std::size_t i = 1; i < packs; ++i) sum = sum + total[q].v[i];
    sums[q] += static_cast<double>(simd::reduce_add(sum));
  }
}

// The sum of all weighted kernels at x.
[[nodiscard]] inline double kernel_total(const density_kernel& k, const block_list& list,
                                         const float* x) noexcept {
  return with_profile(k, [&](auto profile) {
    std::array<double, 1> sum{};
    const std::array queries{x};
    for (std::size_t b = 0; b < list.blocks(); b += group_blocks)
      add_group(profile, list.block(b), std::min(group_blocks, list.blocks() - b), list.stride(),
                queries, list.dim(), sum);
    return sum[0];
  });
}

// That at each of the points, to sums of whole tiles (their number to a multiple of tile_queries). What a
// query gets does not depend on its company.
inline void kernel_totals(const density_kernel& k, const block_list& list,
                          std::span<const float* const> points,
                          std::span<std::array<double, tile_queries>> sums) noexcept {
  std::fill(sums.begin(), sums.end(), std::array<double, tile_queries>{});
  constexpr std::size_t cached = 1u << 17;  // bytes of blocks that all queries pass at a time
  const std::size_t chunk =
      std::max<std::size_t>(1, cached / (list.stride() * sizeof(float)) / group_blocks) *
      group_blocks;
  with_profile(k, [&](auto profile) {
    for (std::size_t first = 0; first < list.blocks(); first += chunk)
      for (std::size_t t = 0; t < sums.size(); ++t) {
        std::array<const float*, tile_queries> queries;
        for (std::size_t q = 0; q < tile_queries; ++q)
          queries[q] = points[std::min(t * tile_queries + q, points.size() - 1)];
        for (std::size_t b = first; b < std::min(first + chunk, list.blocks()); b += group_blocks)
          add_group(profile, list.block(b), std::min(group_blocks, list.blocks() - b),
                    list.stride(), queries, list.dim(), sums[t]);
      }
  });
}

}  // namespace skim::inline v0::detail
