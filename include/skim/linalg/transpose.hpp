// SPDX-License-Identifier: Apache-2.0
//
// Transposes of dense matrices.
#pragma once

#include <array>
#include <cstddef>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// out(j, i) = a(i, j). Pre: out has the shape of a, turned; no overlap.
///
/// Cost:    one read and one write an element, in blocks of 8 x 8.
template <class Arch = simd::default_arch>
inline void transpose(matrix_view<const float> a, matrix_view<float> out) noexcept {
  SKIM_EXPECTS(out.rows() == a.cols() && out.cols() == a.rows());
  const std::size_t rows = a.rows(), cols = a.cols();
  std::size_t i = 0;
  for (; i + 8 <= rows; i += 8) {
    std::array<const float*, 8> at;
    for (std::size_t r = 0; r < 8; ++r) at[r] = a.data() + (i + r) * a.stride();
    std::size_t j = 0;
    for (; j + 8 <= cols; j += 8) {
      simd::transpose_8x8<Arch>(at, out.data() + j * out.stride() + i, out.stride());
      for (const float*& p : at) p += 8;
    }
    for (std::size_t r = 0; r < 8; ++r)
      for (std::size_t k = j; k < cols; ++k) out.data()[k * out.stride() + i + r] = at[r][k - j];
  }
  for (; i < rows; ++i)
    for (std::size_t j = 0; j < cols; ++j)
      out.data()[j * out.stride() + i] = a.data()[i * a.stride() + j];
}

}  // namespace skim::inline v0
