// SPDX-License-Identifier: Apache-2.0
//
// Arc-cosine kernels of orders 0 and 1: what infinitely wide layers of rectifiers make of a
// correlation.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// kappa_0(x) = (pi - acos x) / pi and kappa_1(x) = (x (pi - acos x) + sqrt(1 - x^2)) / pi.
template <class Arch = simd::default_arch>
struct arc_cosine_kernels {
  simd::floats<Arch> zero, one;
};

/// Both kernels in each lane; x is clipped to [-1, 1].
///
/// With y = 1 - |x|, acos |x| = sqrt(y) P(y) and kappa_1(|x|) = |x| + y^(3/2) R(y), where P and R are
/// smooth: one square root and two polynomials, and nothing cancels where x is near 1. Negative x
/// follow from kappa_0(-x) = 1 - kappa_0(x) and kappa_1(-x) = kappa_1(x) - x.
///
/// Cost:    about 25 instructions.
/// Error:   absolute 3e-7 of either kernel (of x as a float: kappa_0 has a slope of 1 / (pi
///          sqrt(1 - x^2)), so that near 1 an error of x in its last bit is one of 1e-4).
/// Ref:     Cho and Saul 2009, NIPS (the kernels); the polynomials interpolate in Chebyshev points.
template <class Arch = simd::default_arch>
[[nodiscard]] SKIM_ALWAYS_INLINE arc_cosine_kernels<Arch> arc_cosine(
    simd::floats<Arch> x) noexcept {
  using pack = simd::floats<Arch>;
  const pack none = pack::broadcast(0.0f), one = pack::broadcast(1.0f);
  const pack y = simd::max(one - simd::max(x, none - x), none);
  const pack root = simd::sqrt(y);
  const auto horner = [&](const auto& c) SKIM_INLINE_LAMBDA {
    pack p = pack::broadcast(c.back());
    for (std::size_t i = c.size() - 1; i-- > 0;) p = simd::fma(p, y, pack::broadcast(c[i]));
    return p;
  };
  constexpr std::array<float, 7> angle{0.45015821f,   0.037509650f,    0.0084956931f, 0.0021952970f,
                                       0.0016915896f, -0.00075320579f, 0.00070271874f};
  constexpr std::array<float, 6> excess{0.30010542f,    0.015007357f,    0.0023878848f,
                                        0.00065371412f, -1.0112502e-05f, 0.00016558550f};
  const pack turn = root * horner(angle);  // acos(|x|) / pi
  const pack above = (root * y) * horner(excess);
  return {simd::where_positive(x, one - turn, turn), above + simd::min(simd::max(x, none), one)};
}

/// The same for every element of x. Shape: three spans of one size; zero or one may be x.
template <class Arch = simd::default_arch>
inline void arc_cosine(std::span<const float> x, std::span<float> zero,
                       std::span<float> one) noexcept {
  SKIM_EXPECTS(x.size() == zero.size() && x.size() == one.size());
  using pack = simd::floats<Arch>;
  std::size_t i = 0;
  for (; i + pack::size <= x.size(); i += pack::size) {
    const auto k = arc_cosine<Arch>(pack::load(x.data() + i));
    k.zero.store(zero.data() + i);
    k.one.store(one.data() + i);
  }
  if (i < x.size()) {
    const std::size_t left = x.size() - i;
    const auto k = arc_cosine<Arch>(simd::load_part<Arch>(x.data() + i, left));
    const auto z = simd::detail::lanes_of(k.zero), o = simd::detail::lanes_of(k.one);
    std::copy_n(z.begin(), left, zero.data() + i);
    std::copy_n(o.begin(), left, one.data() + i);
  }
}

}  // namespace skim::inline v0
