// SPDX-License-Identifier: Apache-2.0
//
// Runs of train_wide: what they are asked to do, and what comes of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "skim/firing/detector.hpp"
#include "skim/firing/points.hpp"

namespace skim_examples {

struct wide_settings {
  std::string train;        ///< files, a name, or empty: generated
  std::string test;         ///< the same, or empty: none
  std::size_t rows = 1000;  ///< of the file, the first ones; or generated
  std::size_t dim = 64;     ///< of generated points
  std::size_t width = 1u << 14;
  std::string threshold = "paper";
  std::string detector = "deadline";
  std::string optimizer = "gd";
  std::optional<double> learning_rate;
  double momentum = 0.9;
  double weight_decay = 0;
  bool train_thresholds = false;
  std::size_t batch = 0;  ///< 0: all points
  std::size_t iterations = 50;
  std::optional<double> target_loss;
  std::uint64_t seed = 1;
  std::size_t threads = 1;
};

struct wide_iteration {
  double loss =
      0;  ///< half the sum of squared residuals over the batch, before the step (gauss-newton: of
          ///< the weights that are kept)
  double milliseconds = 0;
  std::size_t fired = 0;
};

struct wide_result {
  std::vector<wide_iteration> iterations;
  double threshold = 0, learning_rate = 0;
  double build_ms = 0;    ///< detector made and asked once for all points
  double median_ms = 0;   ///< of an iteration
  std::size_t bytes = 0;  ///< of the detector
  std::uint64_t firing_hash = 0;
  std::size_t taken_back = 0;  ///< steps of gauss-newton that raised the loss
  std::optional<double> test_loss,
      test_accuracy;  ///< half the mean square; part with the right sign
  skim::firing_statistics statistics;
};

/// The threshold of neurons: "paper" is sqrt(0.4 ln width), "fraction:P" lets a part P of a standard
/// normal distribution through, or a number. Throws argument_error.
[[nodiscard]] double threshold_of(const std::string& text, std::size_t width);

/// Points that are not trained on, with one target each.
struct wide_test {
  const skim::firing_points* points = nullptr;
  std::span<const float> targets;
  bool classes = false;  ///< targets are +1 and -1
};

/// Trains on points with one target each. Calls progress(done, of) now and then. Throws argument_error
/// if the weights leave the range of floats.
[[nodiscard]] wide_result train_wide(const wide_settings& settings, const skim::firing_points& x,
                                     std::span<const float> targets,
                                     const std::function<void(std::size_t, std::size_t)>& progress,
                                     const wide_test& test = {});

}  // namespace skim_examples
