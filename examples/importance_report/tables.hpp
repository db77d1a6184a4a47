// SPDX-License-Identifier: Apache-2.0
//
// Reports of several data sets as Markdown.
#pragma once

#include <string>
#include <vector>

#include "importance_report/outcome.hpp"

namespace skim_examples {

/// Names of all samplers, in the order of the report that has most.
[[nodiscard]] std::vector<std::string> sampler_names(const std::vector<outcome>& outcomes);

/// Speeds to equal quality, losses at equal budgets, costs and what was reached in the end.
[[nodiscard]] std::string markdown_of(const std::vector<outcome>& outcomes);

}  // namespace skim_examples
