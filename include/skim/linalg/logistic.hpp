// SPDX-License-Identifier: Apache-2.0
//
// Logistic and softmax functions of rows of logits, with what a loss needs beside them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "skim/core/config.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

namespace detail {

// Calls f(position, pack) over a row: the last pack is filled up with `padding` and has `count`
// valid lanes.
template <class Arch, class F>
SKIM_ALWAYS_INLINE void over_row(std::span<const float> z, std::span<const float> shift,
                                 float padding, F f) noexcept {
  using pack = simd::floats<Arch>;
  std::size_t i = 0;
  for (; i + pack::size <= z.size(); i += pack::size)
    f(i, pack::load(z.data() + i) + pack::load(shift.data() + i), pack::size);
  if (i < z.size()) {
    const std::size_t count = z.size() - i;
    std::array<float, pack::size> rest;
    rest.fill(padding);
    for (std::size_t j = 0; j < count; ++j) rest[j] = z[i + j] + shift[i + j];
    f(i, pack::load(rest.data()), count);
  }
}

template <class Arch>
SKIM_ALWAYS_INLINE void store_some(simd::floats<Arch> x, float* to, std::size_t count) noexcept {
  if (count == simd::floats<Arch>::size) {
    x.store(to);
  } else {
    const auto lanes = simd::detail::lanes_of(x);
    std::copy_n(lanes.begin(), count, to);
  }
}

}  // namespace detail

/// out = scale / (1 + e^-(z + shift)) element by element; returns the sum of log(1 + e^(z + shift)),
/// the loss of a logistic regression whose targets are all 0.
///
/// Shape:   z, shift and out of one size; out may be z. Pre: finite, but for a result that is not.
/// Cost:    one exponential and one division an element; a logarithm each 512 (the terms of a loss
///          are multiplied before: each is between 1 and 2).
/// Error:   relative 1e-6 an element; of the loss 1e-6 times the sum of |z + shift| + 1.
template <class Arch = simd::default_arch>
inline double logistic_row(std::span<const float> z, std::span<const float> shift, float scale,
                           std::span<float> out) noexcept {
  SKIM_EXPECTS(z.size() == shift.size() && z.size() == out.size());
  using pack = simd::floats<Arch>;
  const pack zero = pack::broadcast(0.0f), one = pack::broadcast(1.0f);
  const pack by = pack::broadcast(scale);
  constexpr std::size_t most = 64;  // factors of at most 2 a lane
  pack linear = zero, product = one;
  std::size_t factors = 0;
  double loss = 0;
  const auto take_logarithms = [&] {
    for (const float p : simd::detail::lanes_of(product)) loss += std::log(static_cast<double>(p));
    for (const float s : simd::detail::lanes_of(linear)) loss += static_cast<double>(s);
    product = one;
    linear = zero;
    factors = 0;
  };
  // A padded lane has e^-|t| = 0 and so no loss.
  constexpr float nothing = -1e30f;
  detail::over_row<Arch>(z, shift, nothing, [&](std::size_t i, pack t, std::size_t count) {
    const pack e = simd::exp(zero - simd::max(t, zero - t));
    const pack denominator = one + e;
    linear = linear + simd::max(t, zero);
    product = product * denominator;
    if (++factors == most) take_logarithms();
    const pack numerator = simd::where_positive(t, by, by * e);
    detail::store_some<Arch>(numerator / denominator, out.data() + i, count);
  });
  take_logarithms();
  return loss;
}

/// out = scale softmax(z + shift); returns the logarithm of the sum of e^(z + shift).
///
/// Shape:   z, shift and out of one size, not empty; out may be z.
/// Cost:    one exponential an element; three passes.
/// Error:   relative 2e-5 an element while the sum has fewer than a million terms.
template <class Arch = simd::default_arch>
inline double softmax_row(std::span<const float> z, std::span<const float> shift, float scale,
                          std::span<float> out) noexcept {
  SKIM_EXPECTS(z.size() == shift.size() && z.size() == out.size() && !z.empty());
  using pack = simd::floats<Arch>;
  constexpr float least = std::numeric_limits<float>::lowest();
  pack top = pack::broadcast(least);
  detail::over_row<Arch>(z, shift, least, [&](std::size_t, pack t, std::size_t) SKIM_INLINE_LAMBDA {
    top = simd::max(top, t);
  });
  float most = least;
  for (const float t : simd::detail::lanes_of(top)) most = std::max(most, t);
  const pack m = pack::broadcast(most);
  pack sum = pack::broadcast(0.0f);
  double total = 0;
  std::size_t terms = 0;
  const auto add_up = [&] {
    for (const float s : simd::detail::lanes_of(sum)) total += static_cast<double>(s);
    sum = pack::broadcast(0.0f);
    terms = 0;
  };
  detail::over_row<Arch>(z, shift, least, [&](std::size_t i, pack t, std::size_t count) {
    const pack e = simd::exp(t - m);  // of a padded lane: zero
    sum = sum + e;
    if (++terms == 64) add_up();
    detail::store_some<Arch>(e, out.data() + i, count);
  });
  add_up();
  const pack factor = pack::broadcast(static_cast<float>(static_cast<double>(scale) / total));
  std::size_t i = 0;
  for (; i + pack::size <= out.size(); i += pack::size)
    (factor * pack::load(out.data() + i)).store(out.data() + i);
  for (; i < out.size(); ++i) out[i] *= static_cast<float>(static_cast<double>(scale) / total);
  return static_cast<double>(most) + std::log(total);
}

}  // namespace skim::inline v0
