// SPDX-License-Identifier: Apache-2.0
//
// Products of sparse rows with dense vectors and matrices.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/linalg/simd.hpp"

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

namespace detail {

// C's columns [0, Packs packs) from B's, one row of A after the other. Long rows are summed in parts,
// whose rounding errors do not add up.
template <std::size_t Packs, class Arch>
inline void sparse_panel(sparse_view a, const float* b, std::size_t b_stride, float* c,
                         std::size_t c_stride) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t part = 16;
  for (std::size_t i = 0; i < a.rows(); ++i) {
    const sparse_row row = a.row(i);
    const std::size_t n = row.nonzeros();
    float* const to = c + i * c_stride;
    std::size_t k = 0;
    do {
      const std::size_t end = std::min(n, k + part);
      std::array<pack, Packs> sum;
      sum.fill(pack::broadcast(0.0f));
      for (std::size_t l = k; l < end; ++l) {
        const pack w = pack::broadcast(row.values[l]);
        const float* from = b + row.indices[l] * b_stride;
        for (std::size_t p = 0; p < Packs; ++p)
          sum[p] = simd::fma(w, pack::load(from + p * pack::size), sum[p]);
      }
      for (std::size_t p = 0; p < Packs; ++p) {
        float* const at = to + p * pack::size;
        (k == 0 ? sum[p] : pack::load(at) + sum[p]).store(at);
      }
      k = end;
    } while (k < n);
  }
}

}  // namespace detail

/// Columns that multiply() takes at a time.
inline constexpr std::size_t sparse_panel_width = 64;

/// C = A B for a sparse A: panels of B's columns, whose sums stay in registers.
///
/// Every column of C is summed in the same order, wherever it stands. Copies of B's panels
/// pay where B is so tall that its rows fall on pages of their own.
///
/// Shape:   a (n, k), b (k, m), c (n, m); m a multiple of 16. Pre: the shapes fit, no overlap; the
///          indices are below k.
/// Memory:  `panel` is scratch for the copies, sparse_panel_width * k floats; empty: no copies.
/// Cost:    nonzeros * m FMAs.
template <class Arch = simd::default_arch>
inline void multiply(sparse_view a, matrix_view<const float> b, matrix_view<float> c,
                     std::span<float> panel = {}) noexcept {
  using pack = simd::floats<Arch>;
  SKIM_EXPECTS(a.cols() == b.rows() && c.rows() == a.rows() && c.cols() == b.cols());
  SKIM_EXPECTS(b.cols() % 16 == 0);
  constexpr std::size_t wide = sparse_panel_width, narrow = 16;
  std::size_t j = 0;
  for (; j + wide <= b.cols(); j += wide) {
    const float* from = b.data() + j;
    std::size_t stride = b.stride();
    if (!panel.empty()) {
      SKIM_EXPECTS(panel.size() >= b.rows() * wide);
      for (std::size_t i = 0; i < b.rows(); ++i)
        std::copy_n(from + i * stride, wide, panel.data() + i * wide);
      from = panel.data();
      stride = wide;
    }
    // Eight accumulators: with four lanes (SSE) the panel is taken in two halves.
    constexpr std::size_t part = std::min(wide, 8 * pack::size);
    for (std::size_t h = 0; h < wide; h += part)
      detail::sparse_panel<part / pack::size, Arch>(a, from + h, stride, c.data() + j + h,
                                                    c.stride());
  }
  for (; j + narrow <= b.cols(); j += narrow)
    detail::sparse_panel<narrow / pack::size, Arch>(a, b.data() + j, b.stride(), c.data() + j,
                                                    c.stride());
}

}  // namespace skim::inline v0
