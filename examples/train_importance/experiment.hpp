// SPDX-License-Identifier: Apache-2.0
//
// A comparison of samplers: which runs it takes, and what follows from their results.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train_importance/bootstrap.hpp"
#include "train_importance/settings.hpp"
#include "train_importance/source.hpp"
#include "train_importance/training.hpp"

namespace skim_examples {

/// One measure of quality, with its direction. What is better when higher is a share of 1.
struct measure {
  std::string_view key;    ///< in JSON
  std::string_view title;  ///< in tables
  double quality::*value;
  bool lower_is_better;
  int decimals;
  double unit;  ///< factor for tables: 100 for percentages

  /// The value where lower is better, else what it lacks to 1, which is an error.
  [[nodiscard]] double cost(double x) const { return lower_is_better ? x : 1 - x; }
};

/// What a task is judged by: what is trained for, then the error people ask about, then the others.
[[nodiscard]] std::vector<measure> measures_of(const problem& p);

/// Mean over the seeds.
struct spread {
  double mean = 0;
  std::optional<double> standard_error;  ///< none for a single seed
};

/// Cost of a sampler over that of a reference with the same budget, means over the seeds; 1 means
/// equal, below 1 better.
struct cost_ratio {
  double value = 1;
  std::optional<double> standard_error;  ///< by bootstrap; none for a single seed
  std::optional<interval> likely;        ///< 95 % by bootstrap; none for a single seed
};

/// Processor time that a reference takes for a sampler's final quality, over the sampler's own.
struct time_ratio {
  double value = 1;
  /// 95 % by bootstrap of qualities and times, none for a single seed; 0 and infinity where it goes
  /// beyond what the reference's runs reached.
  std::optional<interval> likely;
  /// A bound where the quality lies outside what the reference's runs reached.
  enum class kind { exact, at_least, at_most } is = kind::exact;
};

/// One sampler, one budget and one measure against a reference.
struct comparison {
  std::string reference;
  std::optional<cost_ratio> cost;  ///< none where the reference has no runs of the budget
  std::optional<time_ratio> time;  ///< none where it has runs of one budget only
};

struct measure_summary {
  spread final_value;
  /// When the fastest of the samplers with this budget was done; none without points before the end.
  std::optional<spread> at_equal_time;
  std::vector<comparison> against;  ///< every reference, and class-stratified if it is compared
};

/// What one sampler achieved with one budget, at the learning rate that it picked.
struct cell_summary {
  std::string sampler;
  double scale = 1;  ///< the budget
  double learning_rate = 0;
  std::optional<spread> validation;       ///< what the rate was picked by
  std::vector<measure_summary> measures;  ///< as measures_of
  double seconds = 0;                     ///< processor time of a run, as cell::seconds
  spread overhead;                        ///< part of the time spent in the sampler
  spread examples;                        ///< trained on
  spread steps;
  std::optional<spread> gate_open;  ///< part of the steps, where there is a gate
};

/// The runs of one sampler with one budget, at one learning rate.
struct cell {
  std::string sampler;
  double scale = 1;
  double learning_rate = 0;
  std::vector<const run_result*> runs;  ///< by seed
  /// Those at other rates too, by seed, without such as diverged.
  std::vector<std::vector<const run_result*>> timed;
  double seconds = 0;  ///< steady_seconds of all seeds
};

/// Steps times the median time of a step, plus the median time of making the sampler. Medians over the
/// runs of these seeds (numbers, from 0) at all rates: a busy machine slows some of them down.
[[nodiscard]] double steady_seconds(const cell& c, std::span<const std::size_t> seeds);

/// Pre: there are values.
[[nodiscard]] spread spread_of(const std::vector<double>& values);

/// Every sampler with every budget, references on the ladder too if they have company; all with every
/// seed and rate. Longest first, so that threads finish together; then samplers next to each other, so
/// that a busy machine slows all of them down.
[[nodiscard]] std::vector<run_plan> plan_runs(const importance_settings& settings);

/// Carries the plans out on settings.threads threads; results are in the order of the plans.
/// `report` is told the part of all work that is done, one call at a time. A run that diverges is
/// marked as such if there are several rates. Throws what a run throws otherwise, once the others have
/// noticed.
[[nodiscard]] std::vector<run_result> run_all(const problem& p, const importance_settings& settings,
                                              const std::vector<run_plan>& plans,
                                              const std::function<void(double)>& report);

/// Quality of a run when it had spent so much time, linear between the points of its curve; nothing if
/// the end is all there is and comes later.
[[nodiscard]] std::optional<double> value_at(const std::vector<curve_point>& curve, double seconds,
                                             double quality::*value);

/// Sorts the runs by sampler (as settings name them) and budget (ascending) and picks the learning
/// rate of each by the mean over the seeds of the loss, or RMSE, on the validation rows. The results
/// must outlive the cells. Throws training_diverged where no rate is without a run that diverged.
[[nodiscard]] std::vector<cell> pick_rates(const importance_settings& settings,
                                           const std::vector<measure>& measures,
                                           const std::vector<run_result>& results);

/// Summarises the cells, in their order. Pre: they have runs of equally many seeds.
[[nodiscard]] std::vector<cell_summary> summarize(const importance_settings& settings,
                                                  const std::vector<measure>& measures,
                                                  const std::vector<cell>& cells);

}  // namespace skim_examples
