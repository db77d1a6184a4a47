// SPDX-License-Identifier: Apache-2.0
//
// Folds of a cross-validation.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "data/error.hpp"
#include "skim/core/random.hpp"

namespace skim_examples {

/// Examples in folds in which each class has its share, in an order of chance.
struct fold_plan {
  std::vector<std::vector<std::size_t>> members;  ///< ascending

  /// Throws data_error if there are fewer examples than folds.
  fold_plan(std::span<const std::size_t> labels, std::size_t classes, std::size_t folds,
            skim::seed s) {
    if (labels.size() < folds)
      throw data_error(std::to_string(labels.size()) + " graphs in " + std::to_string(folds) +
                       " folds, wanted at least one each");
    skim::random_engine g(s);
    std::vector<std::size_t> fold(labels.size());
    std::size_t next = 0;  // goes on from class to class: sizes differ by at most one
    for (std::size_t c = 0; c < classes; ++c) {
      std::vector<std::size_t> of_class;
      for (std::size_t i = 0; i < labels.size(); ++i)
        if (labels[i] == c) of_class.push_back(i);
      skim::shuffle(std::span(of_class), g);
      for (const std::size_t i : of_class) fold[i] = next++ % folds;
    }
    members.resize(folds);
    for (std::size_t i = 0; i < labels.size(); ++i) members[fold[i]].push_back(i);
  }

  [[nodiscard]] std::size_t size() const noexcept { return members.size(); }

  /// Everything that is not in fold k, ascending.
  [[nodiscard]] std::vector<std::size_t> others(std::size_t k) const {
    std::size_t count = 0;
    for (const auto& m : members) count += m.size();
    std::vector<bool> left_out(count, false);
    for (const std::size_t i : members[k]) left_out[i] = true;
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < count; ++i)
      if (!left_out[i]) out.push_back(i);
    return out;
  }
};

/// Mean and standard deviation over folds.
struct fold_summary {
  double mean = 0, sd = 0;

  fold_summary() = default;
  explicit fold_summary(std::span<const double> accuracy) {
    const auto n = static_cast<double>(accuracy.size());
    for (const double a : accuracy) mean += a / n;
    for (const double a : accuracy) sd += (a - mean) * (a - mean) / n;
    sd = std::sqrt(sd);
  }
};

}  // namespace skim_examples
