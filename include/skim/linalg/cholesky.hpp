// SPDX-License-Identifier: Apache-2.0
//
// Symmetric positive definite systems through Eigen.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/eigen.hpp"

namespace skim::inline v0 {

/// Factor A = L L^T of a symmetric positive definite matrix, for solving systems with it.
///
/// Shape:   (n, n); only the lower triangle of A is read.
/// Memory:  8 n^2 bytes.
/// Cost:    n^3 / 3 operations to factor, 2 n^2 for each solve.
/// Threads: const members may run concurrently.
class cholesky {
 public:
  /// ok() is false if A is not positive definite as far as double can tell.
  explicit cholesky(matrix_view<const double> a) {
    SKIM_EXPECTS(a.rows() == a.cols());
    factor_.compute(as_eigen(a));
  }

  [[nodiscard]] bool ok() const noexcept { return factor_.info() == Eigen::Success; }
  [[nodiscard]] std::size_t size() const noexcept {
    return static_cast<std::size_t>(factor_.rows());
  }

  /// x becomes A^-1 x. Pre: ok(), x.size() == size().
  void solve(std::span<double> x) const {
    SKIM_EXPECTS(ok() && x.size() == size());
    // In Eigen's own memory: where a vector begins must not show in the result.
    Eigen::Map<Eigen::VectorXd> in(x.data(), static_cast<Eigen::Index>(x.size()));
    Eigen::VectorXd v = in;
    factor_.solveInPlace(v);
    in = v;
  }

 private:
  Eigen::LLT<Eigen::MatrixXd, Eigen::Lower> factor_;
};

/// The same in float, of which only the upper triangle of A is read: not to solve with, but to
/// precondition.
///
/// Shape:   (n, n).
/// Memory:  4 n^2 bytes.
/// Cost:    n^3 / 3 operations to factor, 2 n^2 for each solve; about half the time of cholesky.
/// Threads: const members may run concurrently.
class rough_cholesky {
 public:
  /// Of A + shift; ok() is false if that is not positive definite as far as float can tell.
  rough_cholesky(matrix_view<const float> upper, float shift) {
    SKIM_EXPECTS(upper.rows() == upper.cols() && upper.stride() == upper.cols());
    const auto n = static_cast<Eigen::Index>(upper.rows());
    // Rows read as columns: the upper triangle becomes the lower one.
    factor_ = Eigen::Map<const Eigen::MatrixXf>(upper.data(), n, n);
    factor_.diagonal().array() += shift;
    ok_ = Eigen::LLT<Eigen::Ref<Eigen::MatrixXf>, Eigen::Lower>(factor_).info() == Eigen::Success;
  }

  [[nodiscard]] bool ok() const noexcept { return ok_; }

  /// x becomes (A + shift)^-1 x, roughly. Pre: ok(), x.size() == n.
  void solve(std::span<float> x) const {
    SKIM_EXPECTS(ok() && x.size() == static_cast<std::size_t>(factor_.rows()));
    Eigen::Map<Eigen::VectorXf> in(x.data(), static_cast<Eigen::Index>(x.size()));
    Eigen::VectorXf v = in;  // in Eigen's own memory, as above
    const auto lower = factor_.triangularView<Eigen::Lower>();
    lower.solveInPlace(v);
    lower.transpose().solveInPlace(v);
    in = v;
  }

 private:
  Eigen::MatrixXf factor_;  // its lower triangle
  bool ok_ = false;
};

/// out = A v for a symmetric matrix of which only the upper triangle is read.
///
/// Shape:   upper (n, n); v and out (n), no overlap. Cost: n^2 FMAs, 2 n^2 bytes read.
inline void multiply_symmetric(matrix_view<const float> upper, std::span<const float> v,
                               std::span<float> out) noexcept {
  SKIM_EXPECTS(upper.rows() == upper.cols() && v.size() == upper.rows() && out.size() == v.size());
  std::fill(out.begin(), out.end(), 0.0f);
  for (std::size_t i = 0; i < v.size(); ++i) {
    const auto row = upper.row(i).subspan(i);
    out[i] += dot(row, v.subspan(i));
    axpy(v[i], row.subspan(1), out.subspan(i + 1));
  }
}

/// C = A^T A: the inner products of the columns of A.
///
/// Shape:   a (n, k), c (k, k). Pre: the shapes fit; no overlap.
/// Cost:    n k^2 FMAs; Eigen takes packing buffers from the heap.
inline void multiply_columns(matrix_view<const double> a, matrix_view<double> c) {
  SKIM_EXPECTS(c.rows() == a.cols() && c.cols() == a.cols());
  as_eigen(c).noalias() = as_eigen(a).transpose() * as_eigen(a);
}

}  // namespace skim::inline v0
