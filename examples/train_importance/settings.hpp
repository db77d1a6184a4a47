// SPDX-License-Identifier: Apache-2.0
//
// What train_importance is asked to do.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/labels.hpp"
#include "skim/sample/gate.hpp"

namespace skim_examples {

/// Names for --sampler. Those that remember examples need ids that come back: they have no stream form.
inline constexpr std::array<std::string_view, 10> catalogue_samplers{
    "uniform",   "class-stratified",   "loss-table", "nadaraya-watson", "gradient-norm",
    "infobatch", "selective-backprop", "rank",       "class-balanced",  "hybrid"};
inline constexpr std::array<std::string_view, 7> stream_samplers{
    "uniform", "class-stratified", "nadaraya-watson", "gradient-norm", "selective-backprop",
    "rank",    "class-balanced"};

/// Whether a sampler draws by class.
[[nodiscard]] constexpr bool needs_classes(std::string_view sampler) noexcept {
  return sampler == "class-stratified" || sampler == "class-balanced";
}

/// Settings of a comparison of samplers, as its command line names them.
struct importance_settings {
  // data
  std::string train, test;        ///< files, or
  std::string dataset;            ///< a name or a folder
  std::optional<double> holdout;  ///< test on this part of the training rows
  task wanted = task::automatic;
  bool stream = false;              ///< examples pass by once
  std::optional<std::size_t> rare;  ///< endless stream of images in which this class is rare
  std::vector<std::size_t> among;   ///< the classes it is rare among; empty: its look-alikes
  double rare_fraction = 0.02;

  // training
  std::vector<std::string> samplers;               ///< empty: all that fit the data
  std::vector<std::string> references{"uniform"};  ///< whose speed is the measure of all
  double seconds = 4;                ///< processor time of a run, unless there are steps or epochs
  std::optional<double> epochs;      ///< passes over the data; of a stream, the part that passes
  std::optional<std::size_t> steps;  ///< batches of a run
  std::vector<double> budgets{1};    ///< of every sampler's runs, in units of the above
  std::size_t seeds = 3;
  std::size_t batch = 128;
  std::vector<std::size_t> hidden{128, 128};
  std::vector<double> learning_rates{2e-3};  ///< several: every sampler picks its own
  double validation = 0;       ///< part of the training rows that the picking is done on
  std::optional<double> beta;  ///< exponent of the importance weights; none: the sampler's choice
  std::optional<std::size_t> rehash;  ///< sampled batches between hashes of the last hidden layer
  std::size_t pool = 8;               ///< candidates for each example drawn
  skim::gate_mode gate = skim::gate_mode::automatic;
  std::vector<double> ladder{0.25, 0.5, 1, 2};  ///< further budgets of the references' runs
  std::size_t evaluations = 12;                 ///< of a run on the test set, besides the last
  std::size_t test_examples = 20000;            ///< of a rare-event stream

  // run
  std::uint64_t seed = 1;
  std::size_t threads = 1;
  std::string json, plot;
};

}  // namespace skim_examples
