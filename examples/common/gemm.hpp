// SPDX-License-Identifier: Apache-2.0
//
// Eigen's matrix product on row-major views, accumulating, with packing buffers that are kept
// between calls: Eigen's own expressions allocate theirs in every product above 128 KB.
#pragma once

#include <algorithm>
#include <cstddef>

#include <Eigen/Core>

#include "skim/core/aligned.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim_examples {

enum class transposed { none, left, right };

/// Where a product keeps the packed blocks of its factors; grows to the largest product and stays.
///
/// Memory:  at most 0.4 MB for the left factor's blocks and 1.5 MB for the right one's.
/// Threads: none: give each thread its own.
template <class Scalar>
class product_buffers {
 public:
  struct blocks {
    Eigen::Index mc, nc, kc;
    Scalar *a, *b;
  };

  /// Block sizes as Eigen chooses them for a column-major (rows x depth) (depth x cols) product.
  blocks reserve(Eigen::Index rows, Eigen::Index cols, Eigen::Index depth) {
    blocks b{rows, cols, depth, nullptr, nullptr};
    Eigen::internal::computeProductBlockingSizes<Scalar, Scalar>(b.kc, b.mc, b.nc);
    b.a = grow(a_, b.kc * b.mc);
    b.b = grow(b_, b.kc * b.nc);
    return b;
  }

 private:
  static Scalar* grow(skim::aligned_vector<Scalar>& buffer, Eigen::Index size) {
    if (buffer.size() < static_cast<std::size_t>(size))
      buffer.resize(static_cast<std::size_t>(size));
    return buffer.data();
  }

  skim::aligned_vector<Scalar> a_, b_;
};

namespace detail {

// Eigen 3.4's blocked product with blocks that the caller owns. Its signature is internal to Eigen;
// other versions take the public expression below, which is the same but for the allocations.
#if EIGEN_WORLD_VERSION == 3 && EIGEN_MAJOR_VERSION == 4
#define SKIM_EXAMPLES_OWN_PACKING 1
template <class Scalar>
struct lent_blocks : Eigen::internal::level3_blocking<Scalar, Scalar> {
  explicit lent_blocks(const typename product_buffers<Scalar>::blocks& b) {
    this->m_blockA = b.a;
    this->m_blockB = b.b;
    this->m_mc = b.mc;
    this->m_nc = b.nc;
    this->m_kc = b.kc;
  }
};
#else
#define SKIM_EXAMPLES_OWN_PACKING 0
#endif

}  // namespace detail

/// c += a b, a' b or a b', whichever factor is to be transposed.
///
/// Shape:   c (m, n), row-major; a (m, k) or, transposed, (k, m); b (k, n) or, transposed, (n, k).
/// Cost:    2 m n k operations; no allocation once the buffers have seen the shape (Eigen 3.4).
/// Threads: one a buffer.
template <transposed T, class Scalar>
void add_product(skim::matrix_view<const Scalar> a, skim::matrix_view<const Scalar> b,
                 skim::matrix_view<Scalar> c, product_buffers<Scalar>& buffers) {
  using Eigen::Index;
  constexpr bool left = T == transposed::left, right = T == transposed::right;
  const auto m = static_cast<Index>(c.rows()), n = static_cast<Index>(c.cols());
  const auto k = static_cast<Index>(left ? a.rows() : a.cols());
  SKIM_EXPECTS((left ? a.cols() : a.rows()) == c.rows());
  SKIM_EXPECTS((right ? b.rows() : b.cols()) == c.cols());
  SKIM_EXPECTS(static_cast<Index>(right ? b.cols() : b.rows()) == k);
  if (m == 0 || n == 0 || k == 0) return;
  const auto lda = static_cast<Index>(a.stride()), ldb = static_cast<Index>(b.stride());
  const auto ldc = static_cast<Index>(c.stride());
#if SKIM_EXAMPLES_OWN_PACKING
  // Eigen computes column-major results: c' (n x m) += op(b)' (n x k) op(a)' (k x m).
  detail::lent_blocks<Scalar> blocks(buffers.reserve(n, m, k));
  Eigen::internal::general_matrix_matrix_product<
      Index, Scalar, right ? Eigen::RowMajor : Eigen::ColMajor, false, Scalar,
      left ? Eigen::RowMajor : Eigen::ColMajor, false, Eigen::ColMajor, 1>::run(n, m, k, b.data(),
                                                                                ldb, a.data(), lda,
                                                                                c.data(), 1, ldc,
                                                                                Scalar(1), blocks);
#else
  using matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using stride = Eigen::OuterStride<>;
  (void)buffers;
  const Eigen::Map<const matrix, 0, stride> left_factor(a.data(), left ? k : m, left ? m : k,
                                                        stride(lda));
  const Eigen::Map<const matrix, 0, stride> right_factor(b.data(), right ? n : k, right ? k : n,
                                                         stride(ldb));
  Eigen::Map<matrix, 0, stride> result(c.data(), m, n, stride(ldc));
  if constexpr (left)
    result.noalias() += left_factor.transpose() * right_factor;
  else if constexpr (right)
    result.noalias() += left_factor * right_factor.transpose();
  else
    result.noalias() += left_factor * right_factor;
#endif
}

}  // namespace skim_examples
