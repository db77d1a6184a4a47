// SPDX-License-Identifier: Apache-2.0
//
// The results of train_importance as a table, as JSON and as a chart.
#pragma once

#include <string>
#include <vector>

#include "common/table.hpp"
#include "train_importance/experiment.hpp"

namespace skim_examples {

/// Final quality, speed and cost of each sampler, by the budgets that all have. Speeds are those against
/// the first reference.
[[nodiscard]] text_table table_of(const importance_settings& settings,
                                  const std::vector<measure>& measures,
                                  const std::vector<cell_summary>& summaries);

/// How to read the table, and what follows from it.
[[nodiscard]] std::string reading_of(const problem& p, const importance_settings& settings,
                                     const std::vector<measure>& measures,
                                     const std::vector<cell_summary>& summaries);

/// Writes everything that was measured. Throws output_error.
void write_figures(const std::string& path, const problem& p, const importance_settings& settings,
                   const std::vector<measure>& measures, const std::vector<run_result>& runs,
                   const std::vector<cell_summary>& summaries);

/// Draws the mean curves of the runs of the largest budget with a band of one standard error over the
/// seeds.
/// Throws output_error.
void draw_curves(const std::string& path, const std::string& title,
                 const importance_settings& settings, const std::vector<measure>& measures,
                 const std::vector<cell>& cells);

}  // namespace skim_examples
