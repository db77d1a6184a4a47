// SPDX-License-Identifier: Apache-2.0
//
// Products, distances and checks over spans of floats.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "skim/core/config.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

namespace detail {

// Sums term(a[i], b[i]) with four chains of vector accumulators, which hides the latency of an FMA.
// The tail is padded with zeros, so term(0, 0, acc) must leave acc as it is.
template <class Arch, class Term>
[[nodiscard]] SKIM_ALWAYS_INLINE float sum_over(const float* a, const float* b, std::size_t n,
                                                Term term) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t w = pack::size;
  const pack zero = pack::broadcast(0.0f);
  pack s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  std::size_t i = 0;
  for (; i + 4 * w <= n; i += 4 * w) {
    s0 = term(pack::load(a + i), pack::load(b + i), s0);
    s1 = term(pack::load(a + i + w), pack::load(b + i + w), s1);
    s2 = term(pack::load(a + i + 2 * w), pack::load(b + i + 2 * w), s2);
    s3 = term(pack::load(a + i + 3 * w), pack::load(b + i + 3 * w), s3);
  }
  for (; i + w <= n; i += w) s0 = term(pack::load(a + i), pack::load(b + i), s0);
  if (i < n) {
    std::array<float, w> ta{}, tb{};
    std::memcpy(ta.data(), a + i, (n - i) * sizeof(float));
    std::memcpy(tb.data(), b + i, (n - i) * sizeof(float));
    s1 = term(pack::load(ta.data()), pack::load(tb.data()), s1);
  }
  return simd::reduce_add((s0 + s1) + (s2 + s3));
}

}  // namespace detail

/// Inner product of a and b. Pre: equal sizes.
///
/// Cost:  n FMAs. Error: within n 2^-24 sum |a_i b_i| of the exact value, in practice far less; the
///        order of summation, and so the last bits, depend on the instruction set.
template <class Arch = simd::default_arch>
[[nodiscard]] inline float dot(std::span<const float> a, std::span<const float> b) noexcept {
  SKIM_EXPECTS(a.size() == b.size());
  return detail::sum_over<Arch>(a.data(), b.data(), a.size(),
                                [](auto x, auto y, auto s) { return simd::fma(x, y, s); });
}

/// Squared Euclidean distance of a and b, summed from differences (no cancellation). Pre: equal
/// sizes.
template <class Arch = simd::default_arch>
[[nodiscard]] inline float squared_distance(std::span<const float> a,
                                            std::span<const float> b) noexcept {
  SKIM_EXPECTS(a.size() == b.size());
  return detail::sum_over<Arch>(a.data(), b.data(), a.size(), [](auto x, auto y, auto s) {
    const auto d = x - y;
    return simd::fma(d, d, s);
  });
}

/// Euclidean norm of a.
template <class Arch = simd::default_arch>
[[nodiscard]] inline float norm(std::span<const float> a) noexcept {
  return std::sqrt(dot<Arch>(a, a));
}

/// y += factor * x. Pre: equal sizes, no overlap unless x and y are the same.
template <class Arch = simd::default_arch>
inline void axpy(float factor, std::span<const float> x, std::span<float> y) noexcept {
  SKIM_EXPECTS(x.size() == y.size());
  using pack = simd::floats<Arch>;
  const pack f = pack::broadcast(factor);
  std::size_t i = 0;
  for (; i + pack::size <= x.size(); i += pack::size)
    simd::fma(f, pack::load(x.data() + i), pack::load(y.data() + i)).store(y.data() + i);
  if (i < x.size()) {
    // Through a pack as well: every element is rounded alike wherever it stands.
    std::array<float, pack::size> tx{}, ty{};
    const std::size_t bytes = (x.size() - i) * sizeof(float);
    std::memcpy(tx.data(), x.data() + i, bytes);
    std::memcpy(ty.data(), y.data() + i, bytes);
    simd::fma(f, pack::load(tx.data()), pack::load(ty.data())).store(ty.data());
    std::memcpy(y.data() + i, ty.data(), bytes);
  }
}

/// Whether no element is a NaN or an infinity. One pass; safe under -ffast-math, for it looks at
/// bits.
template <class Arch = simd::default_arch>
[[nodiscard]] inline bool all_finite(std::span<const float> x) noexcept {
  // The exponent of a non-finite float is all ones: adding one to it carries into the sign bit.
  // Sixteen words at a time in plain integers: every compiler turns this into vectors at -O2.
  constexpr std::size_t block = 16;
  const auto carried = [](float v) {
    return (std::bit_cast<std::uint32_t>(v) & 0x7f800000u) + 0x00800000u;
  };
  std::array<std::uint32_t, block> seen{};
  std::size_t i = 0;
  for (; i + block <= x.size(); i += block)
    for (std::size_t j = 0; j < block; ++j) seen[j] |= carried(x[i + j]);
  std::uint32_t any = 0;
  for (; i < x.size(); ++i) any |= carried(x[i]);
  for (const std::uint32_t s : seen) any |= s;
  return (any >> 31) == 0;
}

/// Position of the first NaN or infinity, x.size() if there is none. For error messages.
[[nodiscard]] inline std::size_t first_non_finite(std::span<const float> x) noexcept {
  const auto bad = [](float v) {
    return (std::bit_cast<std::uint32_t>(v) & 0x7f800000u) == 0x7f800000u;
  };
  return static_cast<std::size_t>(std::find_if(x.begin(), x.end(), bad) - x.begin());
}

}  // namespace skim::inline v0
