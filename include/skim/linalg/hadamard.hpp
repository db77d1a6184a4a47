// SPDX-License-Identifier: Apache-2.0
//
// In-place fast Walsh-Hadamard transform.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "skim/core/config.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

namespace detail {

// Every routine below does the butterflies of a stage before those of the next, distances ascending, on
// each group it holds: an element meets the same additions in the same order whatever the instruction
// set, so results are equal to the last bit everywhere.

inline constexpr std::size_t hadamard_cached = 4096;  // 16 KB: half of a first-level cache

// The stage of one distance inside a pack: x_i + x_j in the lower lane, x_i - x_j in the upper. The
// product with +-1 is exact, so the FMA rounds as the addition would.
template <std::size_t Distance, class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE simd::floats<Arch> butterfly_lanes(simd::floats<Arch> x) noexcept {
  using pack = simd::floats<Arch>;
  alignas(64) static constexpr std::array<float, pack::size> signs = [] {
    std::array<float, pack::size> s{};
    for (std::size_t i = 0; i < s.size(); ++i) s[i] = (i & Distance) != 0 ? -1.0f : 1.0f;
    return s;
  }();
  return simd::fma(x, pack::load(signs.data()), simd::swap_lanes<Distance>(x));
}

template <std::size_t Distance, std::size_t Packs, class Arch>
SKIM_ALWAYS_INLINE void butterfly_packs(std::array<simd::floats<Arch>, Packs>& x) noexcept {
  [&]<std::size_t... I>(std::index_sequence<I...>) SKIM_INLINE_LAMBDA {
    const auto pair = [&](std::size_t i) SKIM_INLINE_LAMBDA {
      if ((i & Distance) == 0) {
        const auto a = x[i], b = x[i + Distance];
        x[i] = a + b;
        x[i + Distance] = a - b;
      }
    };
    (pair(I), ...);
  }
  (std::make_index_sequence<Packs>{});
}

// All stages of Packs adjacent packs, in registers; signs may be null.
template <class Arch, std::size_t Packs, bool Signed>
SKIM_ALWAYS_INLINE void hadamard_block(float* x, const float* signs) noexcept {
  using pack = simd::floats<Arch>;
  std::array<pack, Packs> r;
  [&]<std::size_t... I>(std::index_sequence<I...>) SKIM_INLINE_LAMBDA {
    const auto begin = [&](auto i) SKIM_INLINE_LAMBDA {
      pack v = pack::load(x + i * pack::size);
      if constexpr (Signed) v = v * pack::load(signs + i * pack::size);
      v = butterfly_lanes<1>(v);
      if constexpr (pack::size > 2) v = butterfly_lanes<2>(v);
      if constexpr (pack::size > 4) v = butterfly_lanes<4>(v);
      if constexpr (pack::size > 8) v = butterfly_lanes<8>(v);
      r[i] = v;
    };
    (begin(std::integral_constant<std::size_t, I>{}), ...);
    if constexpr (Packs > 1) butterfly_packs<1>(r);
    if constexpr (Packs > 2) butterfly_packs<2>(r);
    if constexpr (Packs > 4) butterfly_packs<4>(r);
    if constexpr (Packs > 8) butterfly_packs<8>(r);
    (r[I].store(x + I * pack::size), ...);
  }
  (std::make_index_sequence<Packs>{});
}

// log2(Radix) stages at once over groups of Radix vectors of length h: one load and one store instead of
// log2(Radix).
template <class Arch, std::size_t Radix>
inline void hadamard_pass(float* x, std::size_t n, std::size_t h) noexcept {
  using pack = simd::floats<Arch>;
  for (std::size_t group = 0; group < n; group += Radix * h) {
    for (std::size_t i = 0; i < h; i += pack::size) {
      float* at = x + group + i;
      std::array<pack, Radix> r;
      [&]<std::size_t... I>(std::index_sequence<I...>) SKIM_INLINE_LAMBDA {
        ((r[I] = pack::load(at + I * h)), ...);
        butterfly_packs<1>(r);
        if constexpr (Radix > 2) butterfly_packs<2>(r);
        if constexpr (Radix > 4) butterfly_packs<4>(r);
        (r[I].store(at + I * h), ...);
      }
      (std::make_index_sequence<Radix>{});
    }
  }
}

template <class Arch, std::size_t Packs, bool Signed>
inline void hadamard_blocks(float* x, std::size_t n, const float* signs) noexcept {
  for (std::size_t i = 0; i < n; i += Packs * simd::floats<Arch>::size)
    hadamard_block<Arch, Packs, Signed>(x + i, Signed ? signs + i : signs);
}

template <class Arch>
inline void hadamard_passes(float* x, std::size_t n, std::size_t h) noexcept {
  while (h < n) {
    if (n / h >= 8) {
      hadamard_pass<Arch, 8>(x, n, h);
      h *= 8;
    } else if (n / h == 4) {
      hadamard_pass<Arch, 4>(x, n, h);
      h *= 4;
    } else {
      hadamard_pass<Arch, 2>(x, n, h);
      h *= 2;
    }
  }
}

template <class Arch, bool Signed>
inline void hadamard(float* x, std::size_t n, const float* signs) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t w = pack::size;
  constexpr std::size_t packs = w >= 16 ? 16 : 8;  // half the registers of x86-64
  if (n < w) {
    if constexpr (Signed)
      for (std::size_t i = 0; i < n; ++i) x[i] *= signs[i];
    for (std::size_t h = 1; h < n; h *= 2)
      for (std::size_t i = 0; i < n; ++i)
        if ((i & h) == 0) {
          const float a = x[i], b = x[i + h];
          x[i] = a + b;
          x[i + h] = a - b;
        }
    return;
  }
  switch (n / w) {
    case 1:
      return hadamard_block<Arch, 1, Signed>(x, signs);
    case 2:
      return hadamard_block<Arch, 2, Signed>(x, signs);
    case 4:
      return hadamard_block<Arch, 4, Signed>(x, signs);
    default:
      break;
  }
  if constexpr (packs > 8)
    if (n == 8 * w) return hadamard_block<Arch, 8, Signed>(x, signs);
  const std::size_t part = std::min(n, hadamard_cached);
  for (std::size_t i = 0; i < n; i += part) {
    hadamard_blocks<Arch, packs, Signed>(x + i, part, Signed ? signs + i : signs);
    hadamard_passes<Arch>(x + i, part, packs * w);
  }
  if (part < n) hadamard_passes<Arch>(x, n, part);
}

inline constexpr std::size_t hadamard_columns_count = 8;

// The same over the columns of an array (n, 8), h in rows. load(k, lane) gives the pack that begins at
// row k, store(k, lane, pack) takes its result.
template <class Arch, std::size_t Radix, class Load, class Store>
SKIM_ALWAYS_INLINE void hadamard_columns_pass(std::size_t n, std::size_t h, Load load,
                                              Store store) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t rows = std::max<std::size_t>(1, pack::size / hadamard_columns_count);
  for (std::size_t group = 0; group < n; group += Radix * h) {
    for (std::size_t k = group; k < group + h; k += rows) {
      for (std::size_t lane = 0; lane < hadamard_columns_count; lane += pack::size) {
        std::array<pack, Radix> r;
        [&]<std::size_t... I>(std::index_sequence<I...>) SKIM_INLINE_LAMBDA {
          ((r[I] = load(k + I * h, lane)), ...);
          butterfly_packs<1>(r);
          if constexpr (Radix > 2) butterfly_packs<2>(r);
          if constexpr (Radix > 4) butterfly_packs<4>(r);
          (store(k + I * h, lane, r[I]), ...);
        }
        (std::make_index_sequence<Radix>{});
      }
    }
  }
}

// Transforms of the 8 columns of an array (n, 8): each stage adds packs, none moves a lane. The input is
// what load gives, the result what store takes; x is scratch memory for 8 n floats, which they may use
// too. Pre: n >= 64.
template <class Arch, class Load, class Store>
inline void hadamard_columns(float* x, std::size_t n, Load load, Store store) noexcept {
  using pack = simd::floats<Arch>;
  const auto from_x = [x](std::size_t k, std::size_t lane) SKIM_INLINE_LAMBDA {
    return pack::load(x + k * hadamard_columns_count + lane);
  };
  const auto to_x = [x](std::size_t k, std::size_t lane, pack v)
                        SKIM_INLINE_LAMBDA { v.store(x + k * hadamard_columns_count + lane); };
  constexpr std::size_t begin = pack::size > hadamard_columns_count ? 2 : 1;  // rows of a pack
  // The last pass takes 8 or 4 rows, whichever leaves whole passes of 8 to the others if one does.
  const std::size_t last = std::countr_zero(n) % 3 == 1 ? 4 : 8;
  const std::size_t part =
      std::clamp(n / last, 8 * begin, hadamard_cached / hadamard_columns_count);
  for (std::size_t first = 0; first < n; first += part) {
    hadamard_columns_pass<Arch, 8>(
        part, begin,
        [=](std::size_t k, std::size_t lane) SKIM_INLINE_LAMBDA {
          pack v = load(first + k, lane);
          if constexpr (begin > 1) v = butterfly_lanes<hadamard_columns_count>(v);
          return v;
        },
        [=](std::size_t k, std::size_t lane, pack v)
            SKIM_INLINE_LAMBDA { to_x(first + k, lane, v); });
    hadamard_passes<Arch>(x + first * hadamard_columns_count, part * hadamard_columns_count,
                          8 * begin * hadamard_columns_count);
  }
  std::size_t h = part;
  for (; n / h > 8; h *= 8)
    hadamard_pass<Arch, 8>(x, n * hadamard_columns_count, h * hadamard_columns_count);
  switch (n / h) {
    case 8:
      return hadamard_columns_pass<Arch, 8>(n, h, from_x, store);
    case 4:
      return hadamard_columns_pass<Arch, 4>(n, h, from_x, store);
    default:
      return hadamard_columns_pass<Arch, 2>(n, h, from_x, store);
  }
}

}  // namespace detail

/// Replaces x by H x, where H is the n x n Hadamard matrix in natural (Sylvester) order, entries +-1.
///
/// Blocks of up to 8 registers (16 with AVX-512) go through all their stages at once, then passes of
/// radix 8, 4 and 2 join them. Not scaled: H H = n I.
///
/// Shape:   x (n), n a power of two.
/// Cost:    n log2(n) additions.
/// Error:   each result within log2(n) 2^-24 sum |x_i| of the exact one; equal to the last bit on
///          every platform.
/// Ref:     Fino and Algazi 1976, IEEE Trans. Computers 25(11).
template <class Arch = simd::default_arch>
inline void hadamard_transform(std::span<float> x) noexcept {
  SKIM_EXPECTS(std::has_single_bit(x.size()));
  detail::hadamard<Arch, false>(x.data(), x.size(), nullptr);
}

/// The same of the element-wise product of x with signs: H diag(signs) x. Pre: signs are +1 or -1, as
/// many as x.
template <class Arch = simd::default_arch>
inline void hadamard_transform(std::span<float> x, std::span<const float> signs) noexcept {
  SKIM_EXPECTS(std::has_single_bit(x.size()) && signs.size() == x.size());
  detail::hadamard<Arch, true>(x.data(), x.size(), signs.data());
}

}  // namespace skim::inline v0
