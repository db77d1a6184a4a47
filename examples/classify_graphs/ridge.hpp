// SPDX-License-Identifier: Apache-2.0
//
// Kernel ridge regression of classes, cross-validated in closed form.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "classify_graphs/folds.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim_examples {

/// What one kernel and one ridge do on every fold.
struct ridge_outcome {
  std::vector<double> accuracy;       ///< on the fold, trained on the others
  std::vector<double> leave_one_out;  ///< accuracy within the others, each graph left out in turn
};

/// Fits one-against-all targets of +-1 with the ridge `relative` times the kernel's mean diagonal.
/// Both accuracies follow from one inverse G = (K + ridge)^-1: what is predicted for a set that is
/// left out is y - G_FF^-1 (G y)_F, exactly as if the rest had been fitted anew.
///
/// Cost: 4/3 n^3 FMAs whatever the number of folds.
[[nodiscard]] ridge_outcome cross_validate_ridge(skim::matrix_view<const double> kernel,
                                                 std::span<const std::size_t> labels,
                                                 std::size_t classes, const fold_plan& folds,
                                                 double relative);

}  // namespace skim_examples
