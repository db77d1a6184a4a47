// SPDX-License-Identifier: Apache-2.0
//
// A comparison of samplers: which runs it takes, and what follows from their results.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train_importance/settings.hpp"
#include "train_importance/source.hpp"
#include "train_importance/training.hpp"

namespace skim_examples {

/// One measure of quality, with its direction.
struct measure {
  std::string_view key;    ///< in JSON
  std::string_view title;  ///< in tables
  double quality::*value;
  bool lower_is_better;
  int decimals;
  double unit;  ///< factor for tables: 100 for percentages
};

/// What a task is judged by, the measure of the time ratio first.
[[nodiscard]] std::vector<measure> measures_of(const problem& p);

/// Mean over the seeds.
struct spread {
  double mean = 0;
  std::optional<double> standard_error;  ///< none for a single seed
};

/// Processor time that uniform sampling takes for a sampler's final quality, over the sampler's own.
struct time_ratio {
  double value = 0;
  /// With a quality one standard error (of the difference) off; 0 and infinity where that lies outside
  /// what the uniform runs reached.
  double least = 0, most = std::numeric_limits<double>::infinity();
  /// A bound where the quality lies outside what the uniform runs reached.
  enum class kind { exact, at_least, at_most } is = kind::exact;
};

struct measure_summary {
  spread final_value;
  spread at_equal_time;            ///< when the fastest of the samplers was done
  std::optional<time_ratio> time;  ///< none without uniform runs
};

/// What one sampler achieved at the full budget.
struct sampler_summary {
  std::string sampler;
  std::vector<measure_summary> measures;  ///< as measures_of
  spread seconds;                         ///< processor time of a run
  spread overhead;                        ///< part of it spent in the sampler
  spread examples;                        ///< trained on
  std::optional<spread> gate_open;        ///< part of the steps, where there is a gate
};

/// Pre: there are values.
[[nodiscard]] spread spread_of(const std::vector<double>& values);

/// Every sampler at the full budget, uniform on all rungs of the ladder if it has company; longest first,
/// so that threads finish together.
[[nodiscard]] std::vector<run_plan> plan_runs(const importance_settings& settings);

/// Carries the plans out on settings.threads threads; results are in the order of the plans.
/// `report` is told the part of all work that is done, one call at a time. Throws what a run throws, once
/// the others have noticed.
[[nodiscard]] std::vector<run_result> run_all(const problem& p, const importance_settings& settings,
                                              const std::vector<run_plan>& plans,
                                              const std::function<void(double)>& report);

/// Quality of a run when it had spent so much time, linear between the points of its curve.
[[nodiscard]] double value_at(const std::vector<curve_point>& curve, double seconds,
                              double quality::*value);

/// Summarises the runs at the full budget, sampler by sampler. Pre: every sampler has such runs.
[[nodiscard]] std::vector<sampler_summary> summarize(const importance_settings& settings,
                                                     const std::vector<measure>& measures,
                                                     const std::vector<run_result>& results);

}  // namespace skim_examples
