// SPDX-License-Identifier: Apache-2.0
//
// Steps of a weight vector together with what a detector wants to know of them: how far the stored
// numbers went, rounded up.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

namespace detail {

// At least the root of a sum of n squared float differences of stored floats: differences, squares
// and sum are rounded, n + 32 times at most with the arithmetic here, and squares below 2^-126 may be
// lost, each at most 2^-63 of its root.
[[nodiscard]] inline float distance_bound(float squares, std::size_t n) noexcept {
  const auto count = static_cast<float>(n);
  return std::sqrt(squares) * (1 + (count + 32) * 0x1p-24f) + count * 0x1p-62f;
}

}  // namespace detail

/// At least the distance between two weight vectors. Pre: equal sizes. Cost: one pass.
[[nodiscard]] inline float distance_moved(std::span<const float> before,
                                          std::span<const float> after) noexcept {
  return detail::distance_bound(squared_distance(before, after), before.size());
}

/// weights += sum over j of factors[j] * point ids[j]; returns at least the distance moved.
///
/// Shape:   weights (x.dim()); ids and factors equally long.
/// Cost:    dim FMAs a point, sums in registers; the weights are read and written once.
/// Error:   the sum over j is one chain of FMAs from zero in each coordinate, added to the weight.
template <class Arch = simd::default_arch>
inline float add_points(std::span<float> weights, std::span<const float> factors,
                        std::span<const id_t> ids, const firing_points& x) noexcept {
  SKIM_EXPECTS(weights.size() == x.dim() && factors.size() == ids.size());
  using pack = simd::floats<Arch>;
  const std::size_t dim = weights.size();
  pack squares = pack::broadcast(0.0f);
  const auto run = [&]<std::size_t Packs>(std::integral_constant<std::size_t, Packs>,
                                          std::size_t k) {
    std::array<pack, Packs> sum;
    sum.fill(pack::broadcast(0.0f));
    for (std::size_t j = 0; j < ids.size(); ++j) {
      const pack f = pack::broadcast(factors[j]);
      const float* row = x.row(ids[j]) + k;
      detail::unrolled<Packs>([&](auto p) SKIM_INLINE_LAMBDA {
        sum[p] = simd::fma(f, pack::load_aligned(row + p * pack::size), sum[p]);
      });
    }
    return sum;
  };
  const auto add = [&](pack s, float* at) {
    const pack before = pack::load(at), after = before + s, d = after - before;
    after.store(at);
    squares = simd::fma(d, d, squares);
  };
  std::size_t k = 0;
  constexpr std::size_t wide = 8;
  for (; k + wide * pack::size <= dim; k += wide * pack::size) {
    const auto sum = run(std::integral_constant<std::size_t, wide>{}, k);
    for (std::size_t p = 0; p < wide; ++p) add(sum[p], weights.data() + k + p * pack::size);
  }
  for (; k < dim; k += pack::size) {
    const pack sum = run(std::integral_constant<std::size_t, 1>{}, k)[0];
    if (k + pack::size <= dim) {
      add(sum, weights.data() + k);
    } else {  // points have zeros there, so the sum does as well
      std::array<float, pack::size> rest{};
      std::copy(weights.begin() + static_cast<std::ptrdiff_t>(k), weights.end(), rest.begin());
      add(sum, rest.data());
      std::copy_n(rest.begin(), dim - k, weights.begin() + static_cast<std::ptrdiff_t>(k));
    }
  }
  return detail::distance_bound(simd::reduce_add(squares), dim);
}

}  // namespace skim::inline v0
