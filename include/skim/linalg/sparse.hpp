// SPDX-License-Identifier: Apache-2.0
//
// Products of sparse rows with dense vectors.
#pragma once

#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/sparse_view.hpp"

namespace skim::inline v0 {

/// Inner product of a sparse row and a dense vector. Pre: the indices are below y.size().
///
/// Cost:  nonzeros multiplications in four chains; gathers gain nothing over scalar loads on x86.
[[nodiscard]] inline float dot(sparse_row x, std::span<const float> y) noexcept {
  const std::size_t n = x.nonzeros();
  float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  std::size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    SKIM_EXPECTS(x.indices[i + 3] < y.size());
    s0 += x.values[i] * y[x.indices[i]];
    s1 += x.values[i + 1] * y[x.indices[i + 1]];
    s2 += x.values[i + 2] * y[x.indices[i + 2]];
    s3 += x.values[i + 3] * y[x.indices[i + 3]];
  }
  for (; i < n; ++i) {
    SKIM_EXPECTS(x.indices[i] < y.size());
    s0 += x.values[i] * y[x.indices[i]];
  }
  return (s0 + s1) + (s2 + s3);
}

/// Sum of the squared values.
[[nodiscard]] inline float squared_norm(sparse_row x) noexcept {
  float s = 0;
  for (const float v : x.values) s += v * v;
  return s;
}

/// Inner product of two sparse rows with ascending indices. Cost: the nonzeros of both.
[[nodiscard]] inline float dot(sparse_row x, sparse_row y) noexcept {
  float s = 0;
  for (std::size_t i = 0, j = 0; i < x.nonzeros() && j < y.nonzeros();) {
    const id_t a = x.indices[i], b = y.indices[j];
    if (a == b) s += x.values[i] * y.values[j];
    i += a <= b;
    j += b <= a;
  }
  return s;
}

/// y += factor * x. Pre: the indices are below y.size().
inline void scatter_add(float factor, sparse_row x, std::span<float> y) noexcept {
  for (std::size_t i = 0; i < x.nonzeros(); ++i) {
    SKIM_EXPECTS(x.indices[i] < y.size());
    y[x.indices[i]] += factor * x.values[i];
  }
}

}  // namespace skim::inline v0
