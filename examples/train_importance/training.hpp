// SPDX-License-Identifier: Apache-2.0
//
// One training run: a network, a sampler and a budget; the curve and what the sampling cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "train_importance/metrics.hpp"
#include "train_importance/settings.hpp"
#include "train_importance/source.hpp"

namespace skim_examples {

/// A run whose loss is not finite any more. what() says which, after how many steps.
class training_diverged : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Quality on the test set after some training.
struct curve_point {
  double seconds = 0;        ///< processor time of sampling and training
  std::size_t examples = 0;  ///< trained on so far
  quality test;
};

/// What one run is to do.
struct run_plan {
  std::string sampler;
  std::uint64_t seed = 0;
  double scale = 1;  ///< its budget in units of the settings' one
  double learning_rate = 1e-3;

  friend bool operator==(const run_plan&, const run_plan&) = default;
};

/// What one run did.
struct run_result {
  run_plan plan;
  bool diverged = false;            ///< then it has a plan and nothing else
  std::vector<curve_point> curve;   ///< the last point is the final one
  quality validation;               ///< final, where rows are held out for it
  double seconds = 0;               ///< processor time: sampling, forward, backward, optimiser
  double construction_seconds = 0;  ///< of it, making the sampler
  double sampling_seconds = 0;      ///< of it, in the sampler, construction included
  std::size_t steps = 0;
  std::size_t examples_seen = 0;  ///< trained on, or looked at by the sampler
  double gate_open_fraction = 0;  ///< of the steps; samplers without a gate: 0
  std::size_t gate_checks = 0;
  double last_lift = 0;  ///< at the last check
  bool has_gate = false;

  [[nodiscard]] const quality& final_quality() const { return curve.back().test; }
  /// Processor time of a step.
  [[nodiscard]] double step_seconds() const {
    return steps > 0 ? (seconds - construction_seconds) / static_cast<double>(steps) : 0;
  }
  [[nodiscard]] double overhead() const { return seconds > 0 ? sampling_seconds / seconds : 0; }
};

/// Trains a network by one plan. `report` is told the part of the budget spent, now and then.
///
/// Time is the thread's processor time. Sampling counts, hashing included; making a stream's examples
/// and evaluation do not. The learning rate falls linearly to zero at the end of the budget. Throws
/// training_diverged, and what `report` throws.
///
/// Threads: problems and settings are shared, everything else is the run's own.
[[nodiscard]] run_result run_training(const problem& p, const importance_settings& settings,
                                      run_plan plan, const std::function<void(double)>& report);

}  // namespace skim_examples
