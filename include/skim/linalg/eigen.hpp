// SPDX-License-Identifier: Apache-2.0
//
// skim's views as Eigen maps, for callers that hold Eigen matrices. The way back is implicit: a
// matrix_view is made from any row-major Eigen object without a copy.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <Eigen/Core>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim::inline v0 {

/// Row-major matrix of floats, as skim's views want it.
using row_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

namespace detail {
template <class T, class Dense>
using eigen_like = std::conditional_t<std::is_const_v<T>, const Dense, Dense>;
}

/// An Eigen map of the viewed matrix. The data is not copied and must outlive the map.
template <class T>
[[nodiscard]] auto as_eigen(matrix_view<T> m) noexcept {
  using Dense =
      Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<detail::eigen_like<T, Dense>, 0, Eigen::OuterStride<>>(
      m.data(), static_cast<Eigen::Index>(m.rows()), static_cast<Eigen::Index>(m.cols()),
      Eigen::OuterStride<>(static_cast<Eigen::Index>(m.stride())));
}

/// An Eigen map of a span, as a row vector.
template <class T>
[[nodiscard]] auto as_eigen(std::span<T> v) noexcept {
  using Dense = Eigen::Matrix<std::remove_const_t<T>, 1, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<detail::eigen_like<T, Dense>>(v.data(), static_cast<Eigen::Index>(v.size()));
}

}  // namespace skim::inline v0
