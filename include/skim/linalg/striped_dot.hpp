// SPDX-License-Identifier: Apache-2.0
//
// Inner products of one vector with a few others, equal to the last bit to what project() computes
// for a striped epilogue: a pair that is looked at alone gives the number that it gives in a product
// of whole matrices.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <type_traits>

#include "skim/core/config.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// Vectors that striped_dots() multiplies one vector with.
inline constexpr std::size_t striped_rows = 4;

namespace detail {

// Registers of more lanes than stripes are of no use here.
#if defined(__AVX512F__)
template <class Arch>
using striped_arch =
    std::conditional_t<(simd::floats<Arch>::size > striped_lanes), xsimd::avx2, Arch>;
#else
template <class Arch>
using striped_arch = Arch;
#endif

template <class Arch>
using stripes = std::array<simd::floats<Arch>, striped_lanes / simd::floats<Arch>::size>;

// ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)) over the lanes of each of four vectors, and no negative
// zero.
template <class Arch>
SKIM_ALWAYS_INLINE void sum_stripes(const std::array<stripes<Arch>, striped_rows>& s,
                                    float* out) noexcept {
#if defined(__AVX__)
  if constexpr (simd::detail::avx<Arch>) {
    const __m256 pairs =
        _mm256_hadd_ps(_mm256_hadd_ps(s[0][0].v, s[1][0].v), _mm256_hadd_ps(s[2][0].v, s[3][0].v));
    const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
    _mm_storeu_ps(out, _mm_add_ps(sums, _mm_setzero_ps()));
    return;
  }
#endif
#if defined(__SSE2__)
  if constexpr (simd::detail::sse<Arch>) {
    const auto pairs = [](__m128 a, __m128 b) SKIM_INLINE_LAMBDA {
      return _mm_add_ps(_mm_shuffle_ps(a, b, 0x88), _mm_shuffle_ps(a, b, 0xdd));
    };
    const auto half = [&](std::size_t h) SKIM_INLINE_LAMBDA {
      return pairs(pairs(s[0][h].v, s[1][h].v), pairs(s[2][h].v, s[3][h].v));
    };
    _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(half(0), half(1)), _mm_setzero_ps()));
    return;
  }
#endif
  for (std::size_t r = 0; r < striped_rows; ++r) {
    std::array<float, striped_lanes> lane;
    for (std::size_t p = 0; p < s[r].size(); ++p)
      s[r][p].store(lane.data() + p * simd::floats<Arch>::size);
    out[r] = (((lane[0] + lane[1]) + (lane[2] + lane[3])) +
              ((lane[4] + lane[5]) + (lane[6] + lane[7]))) +
             0.0f;
  }
}

}  // namespace detail

/// out[r] = inner product of `shared` and rows[r], for four rows.
///
/// Shape:   all of `dim` floats; out holds 4.
/// Cost:    4 dim FMAs.
/// Error:   lane j of eight is a chain of FMAs over coordinates j, j + 8, ... from zero; the lanes
///          are added as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). The same on every machine with
///          FMA, and within striped_error(dim) |shared| |row| + striped_underflow of the exact value.
template <class Arch = simd::default_arch>
inline void striped_dots(const float* shared, const std::array<const float*, striped_rows>& rows,
                         std::size_t dim, float* out) noexcept {
  using arch = detail::striped_arch<Arch>;
  using pack = simd::floats<arch>;
  constexpr std::size_t packs = striped_lanes / pack::size;
  std::array<detail::stripes<arch>, striped_rows> sum;
  for (auto& row : sum) row.fill(pack::broadcast(0.0f));
  // Unrolled to the last index, or the sums would live in memory.
  const auto add = [&](std::size_t k, auto load) SKIM_INLINE_LAMBDA {
    detail::unrolled<packs>([&](auto p) SKIM_INLINE_LAMBDA {
      const std::size_t at = k + p * pack::size;
      const pack a = load(shared, at);
      detail::unrolled<striped_rows>([&](auto r) SKIM_INLINE_LAMBDA {
        sum[r][p] = simd::fma(a, load(rows[r], at), sum[r][p]);
      });
    });
  };
  const auto whole = [](const float* from, std::size_t at)
                         SKIM_INLINE_LAMBDA { return pack::load(from + at); };
  std::size_t k = 0;
  for (; k + 2 * striped_lanes <= dim; k += 2 * striped_lanes) {
    add(k, whole);
    add(k + striped_lanes, whole);
  }
  if (k + striped_lanes <= dim) {
    add(k, whole);
    k += striped_lanes;
  }
  if (k < dim)
    add(k, [&](const float* from, std::size_t at) SKIM_INLINE_LAMBDA {
      if (at + pack::size <= dim) return pack::load(from + at);
      return at < dim ? simd::load_part<arch>(from + at, dim - at) : pack::broadcast(0.0f);
    });
  detail::sum_stripes<arch>(sum, out);
}

/// Inner product of one pair, as striped_dots() has it.
template <class Arch = simd::default_arch>
[[nodiscard]] inline float striped_dot(std::span<const float> a,
                                       std::span<const float> b) noexcept {
  SKIM_EXPECTS(a.size() == b.size());
  std::array<float, striped_rows> out;
  striped_dots<Arch>(a.data(), {b.data(), b.data(), b.data(), b.data()}, a.size(), out.data());
  return out[0];
}

/// Rounding bound of striped_dots() relative to the product of the norms: a product passes at most
/// one rounding of its own where there is no FMA, dim / 8 additions in its lane and three more.
/// (Standard: (1 + u)^k - 1 <= k u / (1 - k u); the magnitudes' sum is at most the norms' product.)
[[nodiscard]] constexpr double striped_error(std::size_t dim) noexcept {
  const std::size_t packs = (dim + striped_lanes - 1) / striped_lanes;
  const double roundings = static_cast<double>(packs) + 4;
  return roundings * 0x1p-24 / (1 - roundings * 0x1p-24);
}

/// What may be lost besides to results below the normal range, flushed to zero or not.
[[nodiscard]] constexpr double striped_underflow(std::size_t dim) noexcept {
  return 2 * static_cast<double>(dim + striped_lanes) * 0x1p-126;
}

}  // namespace skim::inline v0
