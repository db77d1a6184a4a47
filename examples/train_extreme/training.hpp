// SPDX-License-Identifier: Apache-2.0
//
// Runs of train_extreme: what they are asked to do, and what comes of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.hpp"
#include "skim/nn/extreme_classifier.hpp"
#include "skim/nn/label_index.hpp"

namespace skim_examples {

struct extreme_settings {
  std::string layer = "sampled";
  std::string loss = "auto";
  std::string optimizer = "adam";
  std::size_t hidden = 128, epochs = 5, batch = 256;
  std::optional<double> learning_rate, negatives;
  std::size_t threads = 1;
  std::uint64_t seed = 1;
};

/// Of the true labels, how many are among the best: at 1, 3 and 5.
using precisions = std::array<double, 3>;

struct extreme_epoch {
  double seconds = 0;       ///< processor time of all threads, without evaluation
  double wall_seconds = 0;  ///< the same by the clock on the wall
  double loss = 0;
  double active = 0;  ///< outputs a step computed
  precisions at{};
};

/// What a search costs and finds.
struct extreme_inference {
  double dense_batch_us = 0, dense_single_us = 0;  ///< an example, by exact search
  double sparse_us = 0;                            ///< an example, through the index, one by one
  double recall_at_5 = 0;                          ///< of the exact best five
  double visited = 0;                              ///< rows read over all rows
  double build_seconds = 0;
  std::size_t cells = 0, bytes = 0;
  precisions dense{}, sparse{};
};

struct extreme_result {
  std::vector<extreme_epoch> epochs;
  extreme_inference inference;
  skim::extreme_classifier_tuning tuned;
  std::size_t bytes = 0;  ///< of the network
};

/// A trained network with its index.
class extreme_model {
 public:
  /// Trains; calls progress(epoch, part of it) now and then and after(epoch) behind each.
  extreme_model(const extreme_settings& settings, const dataset& train, const dataset& test,
                const std::function<void(std::size_t, double)>& progress);

  [[nodiscard]] const extreme_result& result() const noexcept { return result_; }
  /// The best labels of a row, through the index, and the microseconds that took.
  [[nodiscard]] std::pair<std::vector<skim::label_score>, double> suggest(
      const std::vector<std::pair<skim::id_t, float>>& row, std::size_t count) const;

 private:
  template <skim::executor Executor>
  void run(const extreme_settings& settings, const dataset& train, const dataset& test,
           const std::function<void(std::size_t, double)>& progress, Executor& executor);
  template <skim::executor Executor>
  void measure_inference(const dataset& train, const dataset& test, std::uint64_t seed,
                         Executor& executor);

  std::unique_ptr<skim::extreme_classifier> network_;
  std::unique_ptr<skim::label_index> index_;
  extreme_result result_;
};

/// Precision at 1, 3 and 5 of rankings with five labels an example.
[[nodiscard]] precisions precision_of(const dataset& data,
                                      skim::matrix_view<const skim::label_score> best);

/// Moves a random part of the rows to a test set of their own.
[[nodiscard]] train_test hold_out(dataset all, double part, std::uint64_t seed);

}  // namespace skim_examples
