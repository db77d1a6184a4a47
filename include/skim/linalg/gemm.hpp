// SPDX-License-Identifier: Apache-2.0
//
// Dense products through Eigen. For a fixed right-hand side whose results are used at once (signs,
// thresholds) see projection.hpp, which is faster and writes nothing out.
#pragma once

#include <Eigen/Core>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/eigen.hpp"

namespace skim::inline v0 {

/// C = A B^T: the inner products of the rows of A with the rows of B.
///
/// Shape:   a (n, d), b (m, d), c (n, m). Pre: the shapes fit; c overlaps neither a nor b.
/// Cost:    n m d FMAs; Eigen takes packing buffers from the heap for large shapes.
/// Threads: Eigen runs in parallel by itself only where it is compiled with OpenMP.
inline void multiply_transposed(matrix_view<const float> a, matrix_view<const float> b,
                                matrix_view<float> c) {
  SKIM_EXPECTS(a.cols() == b.cols() && c.rows() == a.rows() && c.cols() == b.rows());
  as_eigen(c).noalias() = as_eigen(a) * as_eigen(b).transpose();
}

/// C = A B. Shape: a (n, d), b (d, m), c (n, m); otherwise as multiply_transposed.
inline void multiply(matrix_view<const float> a, matrix_view<const float> b, matrix_view<float> c) {
  SKIM_EXPECTS(a.cols() == b.rows() && c.rows() == a.rows() && c.cols() == b.cols());
  as_eigen(c).noalias() = as_eigen(a) * as_eigen(b);
}

}  // namespace skim::inline v0
