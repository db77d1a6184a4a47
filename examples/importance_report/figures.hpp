// SPDX-License-Identifier: Apache-2.0
//
// Reports of several data sets as charts.
#pragma once

#include <vector>

#include "common/plot.hpp"
#include "importance_report/outcome.hpp"

namespace skim_examples {

/// Final loss and error against processor time, a point for each budget.
[[nodiscard]] plot_figure curves_of(const outcome& o);

/// Speeds to equal loss and error of all sets with their largest budget, against one reference.
[[nodiscard]] plot_figure speeds_of(const std::vector<outcome>& outcomes,
                                    const std::string& reference);

}  // namespace skim_examples
