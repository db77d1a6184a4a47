// SPDX-License-Identifier: Apache-2.0
//
// What a report of train_importance says, as far as tables and figures of several reports need it.
#pragma once

#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skim_examples {

/// A figure and how far off it may be; ends that are not known are infinite.
struct estimated {
  double value = 0;
  std::optional<std::pair<double, double>> likely;
};

/// A sampler's figure against a reference.
struct against {
  std::string reference;
  std::optional<estimated> cost;  ///< over the reference's, with the same budget
  double cost_error = std::numeric_limits<double>::quiet_NaN();
  std::optional<estimated> time;  ///< the reference's to equal quality over the sampler's
  char bound = ' ';               ///< of the time: '>' and '<' where it is one
};

/// One measure of one cell.
struct measured {
  double mean = 0;
  std::optional<double> standard_error;
  std::vector<against> comparisons;

  [[nodiscard]] const against* with(std::string_view reference) const {
    for (const against& a : comparisons)
      if (a.reference == reference) return &a;
    return nullptr;
  }
};

/// One sampler with one budget.
struct outcome_cell {
  std::string sampler;
  double budget = 1, learning_rate = 0, seconds = 0, steps = 0, overhead = 0;
  std::optional<double> gate_open;
  bool of_all = true;  ///< all samplers have the budget; else a rung of a reference's ladder
  std::vector<measured> measures;
};

/// One report.
struct outcome {
  std::string name;     ///< of its file
  std::string network;  ///< "118-128-128-5"
  std::size_t seeds = 0;
  std::vector<std::string> samplers, references;
  std::vector<double> budgets;
  double unit = 1;  ///< steps, epochs or seconds of a budget of 1
  std::string unit_name;
  std::vector<std::string> measures;  ///< keys; the target first
  std::optional<std::size_t> error;   ///< index of the error people ask about, if there is one
  std::vector<outcome_cell> cells;

  [[nodiscard]] const outcome_cell* cell(std::string_view sampler, double budget) const {
    for (const outcome_cell& c : cells)
      if (c.sampler == sampler && c.budget == budget) return &c;
    return nullptr;
  }
  [[nodiscard]] bool is_share(std::size_t m) const {
    return measures[m] != "test_loss" && measures[m] != "test_rmse";
  }
  /// "485 steps"
  [[nodiscard]] std::string title_of_budget(double budget) const;
  /// What a measure is called where lower is better, as charts show it.
  [[nodiscard]] std::string title_of(std::size_t m) const;
};

/// Reads all .json files of a folder, by name. Throws data_error.
[[nodiscard]] std::vector<outcome> read_outcomes(const std::string& folder);

}  // namespace skim_examples
