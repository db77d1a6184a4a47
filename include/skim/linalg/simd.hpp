// SPDX-License-Identifier: Apache-2.0
//
// A pack of floats: the few vector operations skim's kernels need. The only file that includes
// xsimd; it hides what xsimd 8.1 (Debian 12) and 9 to 14 spell differently or leave out.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <xsimd/xsimd.hpp>

#include "skim/core/config.hpp"

#if !defined(XSIMD_VERSION_MAJOR) || XSIMD_VERSION_MAJOR < 8 || \
    (XSIMD_VERSION_MAJOR == 8 && XSIMD_VERSION_MINOR < 1)
#error "skim needs xsimd 8.1 or newer"
#endif

namespace skim::inline v0::simd {

/// Stands in where xsimd knows no instruction set: plain loops over four lanes. Can be named
/// anywhere, so tests compare it with the vector kernels.
struct portable_arch {
  static constexpr const char* name() noexcept { return "portable"; }
};

/// What this translation unit was compiled for. Kernels take it as a template argument, so that
/// units with different -m flags do not share symbols.
#if defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
using default_arch = portable_arch;
#else
using default_arch = xsimd::default_arch;
#endif

/// Name of the instruction set this translation unit was compiled for.
template <class Arch = default_arch>
[[nodiscard]] constexpr const char* arch_name() noexcept {
  return Arch::name();
}

/// floats<Arch>::size adjacent floats in a register.
///
/// fma() is fused where the instruction set has it (every x86-64-v3 machine, ARM, the portable
/// loops built for such), else a product and a sum.
template <class Arch = default_arch>
struct floats {
  using batch = xsimd::batch<float, Arch>;
  static constexpr std::size_t size = batch::size;

  batch v;

  static SKIM_ALWAYS_INLINE floats load(const float* p) noexcept {
    return {batch::load_unaligned(p)};
  }
  static SKIM_ALWAYS_INLINE floats load_aligned(const float* p) noexcept {
    return {batch::load_aligned(p)};
  }
  static SKIM_ALWAYS_INLINE floats broadcast(float x) noexcept { return {batch(x)}; }
  SKIM_ALWAYS_INLINE void store(float* p) const noexcept { v.store_unaligned(p); }

  friend SKIM_ALWAYS_INLINE floats operator+(floats a, floats b) noexcept { return {a.v + b.v}; }
  friend SKIM_ALWAYS_INLINE floats operator-(floats a, floats b) noexcept { return {a.v - b.v}; }
  friend SKIM_ALWAYS_INLINE floats operator*(floats a, floats b) noexcept { return {a.v * b.v}; }
  friend SKIM_ALWAYS_INLINE floats operator/(floats a, floats b) noexcept { return {a.v / b.v}; }
};

template <>
struct floats<portable_arch> {
  static constexpr std::size_t size = 4;

  std::array<float, size> v;

  static floats load(const float* p) noexcept { return {{p[0], p[1], p[2], p[3]}}; }
  static floats load_aligned(const float* p) noexcept { return load(p); }
  static floats broadcast(float x) noexcept { return {{x, x, x, x}}; }
  void store(float* p) const noexcept {
    for (std::size_t i = 0; i < size; ++i) p[i] = v[i];
  }

  template <class Op>
  static floats map(floats a, floats b, Op op) noexcept {
    floats out;
    for (std::size_t i = 0; i < size; ++i) out.v[i] = op(a.v[i], b.v[i]);
    return out;
  }
  friend floats operator+(floats a, floats b) noexcept {
    return map(a, b, [](float s, float t) { return s + t; });
  }
  friend floats operator-(floats a, floats b) noexcept {
    return map(a, b, [](float s, float t) { return s - t; });
  }
  friend floats operator*(floats a, floats b) noexcept {
    return map(a, b, [](float s, float t) { return s * t; });
  }
  friend floats operator/(floats a, floats b) noexcept {
    return map(a, b, [](float s, float t) { return s / t; });
  }
};

/// The instruction set with at most eight floats a register: for data laid out in groups of eight.
#if defined(__AVX512F__) && !defined(XSIMD_NO_SUPPORTED_ARCHITECTURE)
using eight_lane_arch = xsimd::avx2;
#else
using eight_lane_arch = default_arch;
#endif
static_assert(8 % floats<eight_lane_arch>::size == 0);

namespace detail {

// Which intrinsics a pack's register fits. (A type trait would lose the register's attributes.)
#if defined(__AVX512F__)
template <class Arch>
concept avx512 = requires(floats<Arch> x) {
  _mm512_castps_si512(x.v);
};
#endif
#if defined(__AVX__)
template <class Arch>
concept avx = requires(floats<Arch> x) {
  _mm256_castps_si256(x.v);
};
#endif
#if defined(__SSE2__)
template <class Arch>
concept sse = requires(floats<Arch> x) {
  _mm_castps_si128(x.v);
};
#endif

// The lanes of x in memory and back: what is left where an instruction set has no branch below.
template <class Arch>
[[nodiscard]] inline std::array<float, floats<Arch>::size> lanes_of(floats<Arch> x) noexcept {
  std::array<float, floats<Arch>::size> lanes;
  x.store(lanes.data());
  return lanes;
}

}  // namespace detail

/// The first n floats at p, zeros in the other lanes; reads nothing beyond. Pre: 0 < n < the size.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> load_part(const float* p, std::size_t n) noexcept {
#if defined(__AVX__)
  if constexpr (detail::avx<Arch>) {
    alignas(32) static constexpr std::array<std::int32_t, 16> mask{-1, -1, -1, -1, -1, -1, -1, -1};
    return {_mm256_maskload_ps(
        p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask.data() + 8 - n)))};
  }
#endif
  std::array<float, floats<Arch>::size> lanes{};
  std::memcpy(lanes.data(), p, n * sizeof(float));
  return floats<Arch>::load(lanes.data());
}

/// a * b + c, rounded once where the instruction set can.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> fma(floats<Arch> a, floats<Arch> b,
                                                  floats<Arch> c) noexcept {
#if defined(__AVX512F__)
  // xsimd 8.1 multiplies and adds here, which only some compilers contract.
  if constexpr (detail::avx512<Arch>) return {_mm512_fmadd_ps(a.v, b.v, c.v)};
#endif
#if defined(__FMA__) && defined(__AVX__)
  // The same for translation units whose flags make xsimd choose plain AVX2 although FMA is on.
  if constexpr (detail::avx<Arch>) return {_mm256_fmadd_ps(a.v, b.v, c.v)};
#endif
  if constexpr (std::is_same_v<Arch, portable_arch>) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    floats<Arch> out;
    for (std::size_t i = 0; i < floats<Arch>::size; ++i)
      out.v[i] = std::fma(a.v[i], b.v[i], c.v[i]);
    return out;
#else
    return a * b + c;
#endif
  } else {
    return {xsimd::fma(a.v, b.v, c.v)};
  }
}

/// Whether fma() rounds once: then sums of products are the same on all such machines.
template <class Arch = default_arch>
[[nodiscard]] constexpr bool fuses_fma() noexcept {
#if defined(__FMA__) || defined(__AVX512F__) || defined(__ARM_FEATURE_FMA)
  return true;
#else
  return false;
#endif
}

/// The greater of a and b in each lane; b where one is a NaN.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> max(floats<Arch> a, floats<Arch> b) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>)
    return floats<Arch>::map(a, b, [](float s, float t) { return s > t ? s : t; });
  else
    return {xsimd::max(a.v, b.v)};
}

/// The lesser of a and b in each lane; b where one is a NaN.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> min(floats<Arch> a, floats<Arch> b) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>)
    return floats<Arch>::map(a, b, [](float s, float t) { return s < t ? s : t; });
  else
    return {xsimd::min(a.v, b.v)};
}

/// Writes the greatest integers that are not above the lanes. Pre: the lanes are within +-2^30.
template <class Arch>
SKIM_ALWAYS_INLINE void store_floors(floats<Arch> a, std::int32_t* to) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>) {
    for (std::size_t i = 0; i < floats<Arch>::size; ++i)
      to[i] = static_cast<std::int32_t>(std::floor(a.v[i]));
  } else {
    xsimd::to_int(xsimd::floor(a.v)).store_unaligned(to);
  }
}

/// Square root of each lane.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> sqrt(floats<Arch> a) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>)
    return floats<Arch>::map(a, a, [](float s, float) { return std::sqrt(s); });
  else
    return {xsimd::sqrt(a.v)};
}

/// e to each lane, within a few units in the last place; 0 below about -87.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> exp(floats<Arch> a) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>)
    return floats<Arch>::map(a, a, [](float s, float) { return std::exp(s); });
  else
    return {xsimd::exp(a.v)};
}

/// The natural logarithm of each lane, within a few units in the last place. Pre: lanes >= 0.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> log(floats<Arch> a) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>)
    return floats<Arch>::map(a, a, [](float s, float) { return std::log(s); });
  else
    return {xsimd::log(a.v)};
}

/// The absolute value of each lane.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> abs(floats<Arch> a) noexcept {
  return max(a, floats<Arch>::broadcast(0.0f) - a);
}

/// a where x > 0, else b.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> where_positive(floats<Arch> x, floats<Arch> a,
                                                             floats<Arch> b) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>) {
    floats<Arch> out;
    for (std::size_t i = 0; i < floats<Arch>::size; ++i) out.v[i] = x.v[i] > 0 ? a.v[i] : b.v[i];
    return out;
  } else {
    return {xsimd::select(x.v > typename floats<Arch>::batch(0.0f), a.v, b.v)};
  }
}

/// x where a > b, else y.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> where_greater(floats<Arch> a, floats<Arch> b,
                                                            floats<Arch> x,
                                                            floats<Arch> y) noexcept {
  if constexpr (std::is_same_v<Arch, portable_arch>) {
    floats<Arch> out;
    for (std::size_t i = 0; i < floats<Arch>::size; ++i)
      out.v[i] = a.v[i] > b.v[i] ? x.v[i] : y.v[i];
    return out;
  } else {
    return {xsimd::select(a.v > b.v, x.v, y.v)};
  }
}

/// Bit i of the result tells whether a > b in lane i; a NaN is not greater than anything.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE std::uint32_t greater_bits(floats<Arch> a,
                                                            floats<Arch> b) noexcept {
  // xsimd 8.1 has no batch_bool::mask(), and its AVX-512 masks are registers of another kind.
#if defined(__AVX512F__)
  if constexpr (detail::avx512<Arch>) return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ);
#endif
#if defined(__AVX__)
  if constexpr (detail::avx<Arch>)
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)));
#endif
#if defined(__SSE2__)
  if constexpr (detail::sse<Arch>)
    return static_cast<std::uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(a.v, b.v)));
#endif
  const auto s = detail::lanes_of(a), t = detail::lanes_of(b);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < s.size(); ++i) bits |= std::uint32_t{s[i] > t[i]} << i;
  return bits;
}

/// Lane i of the result is lane i ^ Distance. Distance: a power of two below the size.
template <std::size_t Distance, class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> swap_lanes(floats<Arch> x) noexcept {
  static_assert(std::has_single_bit(Distance) && Distance < floats<Arch>::size);
#if defined(__AVX512F__)
  if constexpr (detail::avx512<Arch>) {
    // Masked forms with a full mask: gcc 12 warns of its own undefined register in the plain ones.
    if constexpr (Distance == 1) return {_mm512_maskz_permute_ps(0xffff, x.v, 0xb1)};
    if constexpr (Distance == 2) return {_mm512_maskz_permute_ps(0xffff, x.v, 0x4e)};
    if constexpr (Distance == 4) return {_mm512_maskz_shuffle_f32x4(0xffff, x.v, x.v, 0xb1)};
    if constexpr (Distance == 8) return {_mm512_maskz_shuffle_f32x4(0xffff, x.v, x.v, 0x4e)};
  }
#endif
#if defined(__AVX__)
  if constexpr (detail::avx<Arch>) {
    if constexpr (Distance == 1) return {_mm256_permute_ps(x.v, 0xb1)};
    if constexpr (Distance == 2) return {_mm256_permute_ps(x.v, 0x4e)};
    if constexpr (Distance == 4) return {_mm256_permute2f128_ps(x.v, x.v, 0x01)};
  }
#endif
#if defined(__SSE2__)
  if constexpr (detail::sse<Arch>) {
    if constexpr (Distance == 1) return {_mm_shuffle_ps(x.v, x.v, 0xb1)};
    if constexpr (Distance == 2) return {_mm_shuffle_ps(x.v, x.v, 0x4e)};
  }
#endif
  const auto lanes = detail::lanes_of(x);
  std::array<float, floats<Arch>::size> swapped;
  for (std::size_t i = 0; i < lanes.size(); ++i) swapped[i] = lanes[i ^ Distance];
  return floats<Arch>::load(swapped.data());
}

/// Lane i of the result is values[i / Count]: each value Count times, or one value all over.
template <std::size_t Count, class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE floats<Arch> repeat(const float* values) noexcept {
  constexpr std::size_t size = floats<Arch>::size;
  if constexpr (size <= Count) {
    return floats<Arch>::broadcast(*values);
  } else {
    std::array<float, size> lanes;
    for (std::size_t i = 0; i < size; ++i) lanes[i] = values[i / Count];
    return floats<Arch>::load(lanes.data());
  }
}

/// Sum of the lanes, halves first: the order does not depend on xsimd's version.
template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE float reduce_add(floats<Arch> x) noexcept {
  auto lanes = detail::lanes_of(x);
  for (std::size_t half = lanes.size() / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

/// The first 8 floats of 8 rows as 8 columns: to[stride k + i] = rows[i][k].
template <class Arch>
SKIM_ALWAYS_INLINE void transpose_8x8(const std::array<const float*, 8>& rows, float* to,
                                      std::size_t stride = 8) noexcept {
#if defined(__AVX__)
  if constexpr (floats<Arch>::size >= 8) {
    // Halves of rows i and i + 4 come together as they are loaded; the rest are 4 x 4 blocks.
    const auto block = [&](std::size_t k) SKIM_INLINE_LAMBDA {
      const auto pair = [&](std::size_t i) SKIM_INLINE_LAMBDA {
        return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[i] + k)),
                                    _mm_loadu_ps(rows[i + 4] + k), 1);
      };
      const __m256 a = pair(0), b = pair(1), c = pair(2), d = pair(3);
      const __m256 ab = _mm256_unpacklo_ps(a, b), cd = _mm256_unpacklo_ps(c, d);
      const __m256 ab_high = _mm256_unpackhi_ps(a, b), cd_high = _mm256_unpackhi_ps(c, d);
      _mm256_storeu_ps(to + stride * k, _mm256_shuffle_ps(ab, cd, 0x44));
      _mm256_storeu_ps(to + stride * (k + 1), _mm256_shuffle_ps(ab, cd, 0xee));
      _mm256_storeu_ps(to + stride * (k + 2), _mm256_shuffle_ps(ab_high, cd_high, 0x44));
      _mm256_storeu_ps(to + stride * (k + 3), _mm256_shuffle_ps(ab_high, cd_high, 0xee));
    };
    block(0);
    block(4);
    return;
  }
#endif
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t k = 0; k < 8; ++k) to[stride * k + i] = rows[i][k];
}

/// Bit l of bytes[k] becomes bit k of word l.
[[nodiscard]] SKIM_ALWAYS_INLINE std::array<std::uint16_t, 8> transpose_bits(
    const std::uint8_t* bytes) noexcept {
  std::array<std::uint16_t, 8> words;
#if defined(__SSE2__)
  __m128i rest = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  for (std::size_t l = 8; l-- > 0; rest = _mm_add_epi8(rest, rest))
    words[l] = static_cast<std::uint16_t>(_mm_movemask_epi8(rest));
#else
  for (std::size_t l = 0; l < 8; ++l) {
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 16; ++k) word |= (std::uint32_t{bytes[k]} >> l & 1u) << k;
    words[l] = static_cast<std::uint16_t>(word);
  }
#endif
  return words;
}

}  // namespace skim::inline v0::simd
