// SPDX-License-Identifier: Apache-2.0
//
// Sum of, and search in, sixteen weights: what dynamic_sampler does within one cache line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "skim/core/config.hpp"

namespace skim::inline v0::detail {

// The order of addition is fixed: item 4 r + l belongs to lane l, lanes add up over their rows r and
// then follow each other. It suits vectors of four and gives the same bits with and without them.

#if defined(__GNUC__) || defined(__clang__)

// Vectors of the language extension, loops written out: gcc 12 at -O2 takes five times as long when
// left to itself.
using float4 [[gnu::vector_size(16)]] = float;
using double4 [[gnu::vector_size(32)]] = double;
using int4 [[gnu::vector_size(16)]] = std::int32_t;
using long4 [[gnu::vector_size(32)]] = std::int64_t;

[[nodiscard]] SKIM_ALWAYS_INLINE float4 load_row(const float* p) noexcept {
  float4 row;
  std::memcpy(&row, p, sizeof row);
  return row;
}

struct block16 {
  double4 within[4];  // lanes up to row r

  SKIM_ALWAYS_INLINE void add_up(float4 a, float4 b, float4 c, float4 d) noexcept {
    within[0] = __builtin_convertvector(a, double4);
    within[1] = within[0] + __builtin_convertvector(b, double4);
    within[2] = within[1] + __builtin_convertvector(c, double4);
    within[3] = within[2] + __builtin_convertvector(d, double4);
  }
  [[nodiscard]] SKIM_ALWAYS_INLINE double total() const noexcept {
    return ((within[3][0] + within[3][1]) + within[3][2]) + within[3][3];
  }
};

/// Sum of a block whose element i is replaced by x. Reads the block before x is written to it: a
/// vector load over a scalar just stored would wait until the store has left the core.
[[nodiscard]] inline double block_sum(const float* block, std::uint32_t i, float x) noexcept {
  const auto at = static_cast<std::int32_t>(i);
  const int4 position = {at, at, at, at};
  const float4 value = {x, x, x, x};
  block16 sums;
  sums.add_up(int4{0, 1, 2, 3} == position ? value : load_row(block),
              int4{4, 5, 6, 7} == position ? value : load_row(block + 4),
              int4{8, 9, 10, 11} == position ? value : load_row(block + 8),
              int4{12, 13, 14, 15} == position ? value : load_row(block + 12));
  return sums.total();
}

[[nodiscard]] inline double block_sum(const float* block) noexcept {
  return block_sum(block, 16, 0.0f);
}

/// How many of the sixteen prefix sums, in the order above, are at most `at`: the item there has
/// position 4 (result % 4) + result / 4; 16 if `at` is not below the block's sum.
[[nodiscard]] inline std::uint32_t block_rank(const float* block, double at) noexcept {
  block16 sums;
  sums.add_up(load_row(block), load_row(block + 4), load_row(block + 8), load_row(block + 12));
  const double first = sums.within[3][0], second = first + sums.within[3][1],
               third = second + sums.within[3][2];
  const double4 before = {0, first, second, third}, wanted = {at, at, at, at};
  const long4 count = ((wanted >= before + sums.within[0]) + (wanted >= before + sums.within[1])) +
                      ((wanted >= before + sums.within[2]) + (wanted >= before + sums.within[3]));
  return static_cast<std::uint32_t>(-((count[0] + count[1]) + (count[2] + count[3])));  // -1 each
}

#else

[[nodiscard]] inline double block_sum(const float* block, std::uint32_t i, float x) noexcept {
  double sum = 0;
  for (std::uint32_t l = 0; l < 4; ++l) {
    double lane = l == i ? x : block[l];
    for (std::uint32_t r = 1; r < 4; ++r) lane += 4 * r + l == i ? x : block[4 * r + l];
    sum += lane;
  }
  return sum;
}

[[nodiscard]] inline double block_sum(const float* block) noexcept {
  return block_sum(block, 16, 0.0f);
}

[[nodiscard]] inline std::uint32_t block_rank(const float* block, double at) noexcept {
  double before = 0;
  std::uint32_t count = 0;
  for (std::uint32_t l = 0; l < 4; ++l) {
    double lane = 0;
    for (std::uint32_t r = 0; r < 4; ++r) {
      lane += block[4 * r + l];
      count += at >= before + lane ? 1u : 0u;
    }
    before += lane;
  }
  return count;
}

#endif

}  // namespace skim::inline v0::detail
