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

/// to = from^T in blocks of 8 x 8.
///
/// Shape:   from (n, m), to (m, n), n and m multiples of 8, no overlap.
/// Cost:    one read and one write of each element.
template <class Arch = simd::default_arch>
inline void transpose(matrix_view<const float> from, matrix_view<float> to) noexcept {
  SKIM_EXPECTS(from.rows() == to.cols() && from.cols() == to.rows());
  SKIM_EXPECTS(from.rows() % 8 == 0 && from.cols() % 8 == 0);
  for (std::size_t j = 0; j < from.cols(); j += 8) {
    for (std::size_t i = 0; i < from.rows(); i += 8) {
      std::array<const float*, 8> rows;
      for (std::size_t k = 0; k < 8; ++k) rows[k] = from.data() + (i + k) * from.stride() + j;
      simd::transpose_8x8<Arch>(rows, to.data() + j * to.stride() + i, to.stride());
    }
  }
}

}  // namespace skim::inline v0
