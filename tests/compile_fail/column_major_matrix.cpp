// SPDX-License-Identifier: Apache-2.0
//
// A column-major matrix would have to be copied at every call; the user hears of it at compile time.
// expect: skim::matrix_view wants a row-major matrix
#include <Eigen/Core>

#include "skim/core/matrix_view.hpp"

#ifdef SKIM_MUST_NOT_COMPILE
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic>;
#else
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
#endif

std::size_t rows(skim::matrix_view<const float> x);

std::size_t rows_of(const matrix& m) {
  return rows(m);
}
