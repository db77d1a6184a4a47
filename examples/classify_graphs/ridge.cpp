// SPDX-License-Identifier: Apache-2.0
#include "classify_graphs/ridge.hpp"

#include <limits>

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include "skim/linalg/eigen.hpp"

namespace skim_examples {
namespace {

using matrix = Eigen::MatrixXd;
using index = Eigen::Index;

// The class with the greatest score; of equals the first.
std::size_t argmax(const Eigen::VectorXd& scores) {
  index best = 0;
  scores.maxCoeff(&best);
  return static_cast<std::size_t>(best);
}

}  // namespace

ridge_outcome cross_validate_ridge(skim::matrix_view<const double> kernel,
                                   std::span<const std::size_t> labels, std::size_t classes,
                                   const fold_plan& folds, double relative) {
  const auto n = static_cast<index>(labels.size());
  matrix y = matrix::Constant(n, static_cast<index>(classes), -1.0);
  for (index i = 0; i < n; ++i) y(i, static_cast<index>(labels[static_cast<std::size_t>(i)])) = 1;

  matrix k = skim::as_eigen(kernel);
  const double mean = k.diagonal().mean();
  k.diagonal().array() += relative * (mean > 0 ? mean : 1.0);
  const Eigen::LLT<Eigen::Ref<matrix>> factor(k);
  ridge_outcome out;
  if (factor.info() != Eigen::Success) {  // too little ridge for this kernel
    out.accuracy.assign(folds.size(), 0.0);
    out.leave_one_out.assign(folds.size(), -1.0);
    return out;
  }
  const matrix inverse = factor.solve(matrix::Identity(n, n));
  const matrix alpha = inverse * y;

  for (std::size_t f = 0; f < folds.size(); ++f) {
    const auto& held = folds.members[f];
    const auto rest = folds.others(f);
    const auto h = static_cast<index>(held.size()), r = static_cast<index>(rest.size());
    matrix within(h, h), across(h, r), alpha_held(h, y.cols());
    for (index i = 0; i < h; ++i) {
      const auto row = static_cast<index>(held[static_cast<std::size_t>(i)]);
      alpha_held.row(i) = alpha.row(row);
      for (index j = 0; j < h; ++j)
        within(i, j) = inverse(row, static_cast<index>(held[static_cast<std::size_t>(j)]));
      for (index j = 0; j < r; ++j)
        across(i, j) = inverse(row, static_cast<index>(rest[static_cast<std::size_t>(j)]));
    }
    const Eigen::LLT<matrix> block(within);
    const matrix residual = block.solve(alpha_held);
    std::size_t right = 0;
    for (index i = 0; i < h; ++i) {
      const auto at = held[static_cast<std::size_t>(i)];
      const Eigen::VectorXd score = y.row(static_cast<index>(at)) - residual.row(i);
      right += argmax(score) == labels[at] ? 1u : 0u;
    }
    out.accuracy.push_back(static_cast<double>(right) / static_cast<double>(held.size()));

    // The inverse for the rest alone: G_TT - G_TF G_FF^-1 G_FT, of which the diagonal will do.
    const matrix alpha_rest = across.transpose() * residual;
    block.matrixL().solveInPlace(across);
    right = 0;
    for (index j = 0; j < r; ++j) {
      const auto at = rest[static_cast<std::size_t>(j)];
      const auto row = static_cast<index>(at);
      const double diagonal = inverse(row, row) - across.col(j).squaredNorm();
      const Eigen::VectorXd score =
          y.row(row) - (alpha.row(row) - alpha_rest.row(j)) /
                           std::max(diagonal, std::numeric_limits<double>::min());
      right += argmax(score) == labels[at] ? 1u : 0u;
    }
    out.leave_one_out.push_back(static_cast<double>(right) / static_cast<double>(rest.size()));
  }
  return out;
}

}  // namespace skim_examples
