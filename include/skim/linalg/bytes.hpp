// SPDX-License-Identifier: Apache-2.0
//
// Comparisons of 64 bytes at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "skim/core/config.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// Bytes that the functions below look at: a cache line, and the bits of a word.
inline constexpr std::size_t byte_block = 64;

namespace detail {

// Bit i tells whether values[i] <= limits(i), where limits.load<V>(i) are those from i on.
template <class Arch, class Limits>
[[nodiscard]] SKIM_ALWAYS_INLINE std::uint64_t at_most_bits(const std::uint8_t* values,
                                                            const Limits& limits) noexcept {
#if defined(__AVX2__)
  if constexpr (!std::is_same_v<Arch, simd::portable_arch>) {
    const auto half = [&](std::size_t i) SKIM_INLINE_LAMBDA {
      const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
      const __m256i least = _mm256_min_epu8(v, limits.wide(i));
      return std::uint64_t{
          static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, least)))};
    };
    return half(0) | half(32) << 32;
  }
#elif defined(__SSE2__)
  if constexpr (!std::is_same_v<Arch, simd::portable_arch>) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < byte_block; i += 16) {
      const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + i));
      const __m128i least = _mm_min_epu8(v, limits.narrow(i));
      bits |= std::uint64_t{static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(v, least)))}
              << i;
    }
    return bits;
  }
#endif
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < byte_block; ++i)
    bits |= std::uint64_t{values[i] <= limits.at(i)} << i;
  return bits;
}

struct one_limit {
  std::uint8_t limit;
#if defined(__AVX2__)
  SKIM_ALWAYS_INLINE __m256i wide(std::size_t) const noexcept {
    return _mm256_set1_epi8(static_cast<char>(limit));
  }
#elif defined(__SSE2__)
  SKIM_ALWAYS_INLINE __m128i narrow(std::size_t) const noexcept {
    return _mm_set1_epi8(static_cast<char>(limit));
  }
#endif
  std::uint8_t at(std::size_t) const noexcept {
    return limit;
  }
};

struct many_limits {
  const std::uint8_t* limits;
#if defined(__AVX2__)
  SKIM_ALWAYS_INLINE __m256i wide(std::size_t i) const noexcept {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(limits + i));
  }
#elif defined(__SSE2__)
  SKIM_ALWAYS_INLINE __m128i narrow(std::size_t i) const noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(limits + i));
  }
#endif
  std::uint8_t at(std::size_t i) const noexcept {
    return limits[i];
  }
};

}  // namespace detail

/// Bit i of the result tells whether values[i] <= limit, i < 64.
template <class Arch = simd::default_arch>
[[nodiscard]] SKIM_ALWAYS_INLINE std::uint64_t at_most(const std::uint8_t* values,
                                                       std::uint8_t limit) noexcept {
  return detail::at_most_bits<Arch>(values, detail::one_limit{limit});
}

/// Bit i of the result tells whether values[i] <= limits[i], i < 64.
template <class Arch = simd::default_arch>
[[nodiscard]] SKIM_ALWAYS_INLINE std::uint64_t at_most(const std::uint8_t* values,
                                                       const std::uint8_t* limits) noexcept {
  return detail::at_most_bits<Arch>(values, detail::many_limits{limits});
}

/// The least of n bytes, 255 if there are none.
template <class Arch = simd::default_arch>
[[nodiscard]] SKIM_ALWAYS_INLINE std::uint8_t least_byte(const std::uint8_t* values,
                                                         std::size_t n) noexcept {
  std::size_t i = 0;
  std::uint8_t least = 255;
#if defined(__SSE2__)
  if constexpr (!std::is_same_v<Arch, simd::portable_arch>) {
    if (n >= 16) {
      const auto load = [&](std::size_t at) SKIM_INLINE_LAMBDA {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(values + at));
      };
      __m128i lane = load(0);
      for (i = 16; i + 16 <= n; i += 16) lane = _mm_min_epu8(lane, load(i));
      lane = _mm_min_epu8(lane, _mm_srli_si128(lane, 8));
      lane = _mm_min_epu8(lane, _mm_srli_si128(lane, 4));
      lane = _mm_min_epu8(lane, _mm_srli_si128(lane, 2));
      lane = _mm_min_epu8(lane, _mm_srli_si128(lane, 1));
      least = static_cast<std::uint8_t>(_mm_cvtsi128_si32(lane));
    }
  }
#endif
  for (; i < n; ++i) least = std::min(least, values[i]);
  return least;
}

/// values[i] = max(values[i] - by[i], 0) for i < n.
inline void subtract_saturated(std::uint8_t* values, const std::uint8_t* by,
                               std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i)
    values[i] = static_cast<std::uint8_t>(std::max(values[i], by[i]) - by[i]);
}

/// values[i] = max(values[i] - by, 0) for i < n.
inline void subtract_saturated(std::uint8_t* values, std::uint8_t by, std::size_t n) noexcept {
  for (std::size_t i = 0; i < n; ++i)
    values[i] = static_cast<std::uint8_t>(std::max(values[i], by) - by);
}

/// The transpose of 16 rows of 16 bytes: row i of the result begins at to[i].
template <class Arch = simd::default_arch>
inline void transpose_bytes(const std::uint8_t* from,
                            const std::array<std::uint8_t*, 16>& to) noexcept {
#if defined(__SSE2__)
  if constexpr (!std::is_same_v<Arch, simd::portable_arch>) {
    // Row i interleaved with row i + 8, four times over.
    __m128i a[16], b[16];
    for (std::size_t i = 0; i < 16; ++i)
      a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * i));
    for (int round = 0; round < 4; ++round) {
      for (std::size_t i = 0; i < 8; ++i) {
        b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
        b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
      }
      std::copy_n(b, 16, a);
    }
    for (std::size_t i = 0; i < 16; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(to[i]), a[i]);
    return;
  }
#endif
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 16; ++j) to[i][j] = from[16 * j + i];
}

}  // namespace skim::inline v0
