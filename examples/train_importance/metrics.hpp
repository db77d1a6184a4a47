// SPDX-License-Identifier: Apache-2.0
//
// How good a network is on a test set.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim_examples {

/// Quality on a test set; what a task does not have is 0.
struct quality {
  double loss = 0;               ///< log loss in nats; regression: half the mean square of
                                 ///< (prediction - target) / deviation of the targets
  double accuracy = 0;           ///< share of right predictions
  double balanced_accuracy = 0;  ///< mean over classes of their share of right predictions
  double rare_recall = 0;        ///< share of right predictions of the rarest class there is
  double auc = 0;                ///< two classes: chance that a positive ranks above a negative
  double rmse = 0;               ///< regression, in the unit of the targets
};

/// Area under the ROC curve by ranks; ties count half. 0.5 if a class is missing.
/// Cost: O(n log n).
[[nodiscard]] inline double area_under_curve(std::span<const float> scores,
                                             std::span<const skim::label_t> labels) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] < scores[b]; });
  double positives = 0, rank_sum = 0;
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && scores[order[end]] == scores[order[i]]) ++end;
    const double rank = static_cast<double>(i + end + 1) / 2;  // mean of the ties' ranks, from 1
    for (; i < end; ++i) {
      if (labels[order[i]] == 0) continue;
      positives += 1;
      rank_sum += rank;
    }
  }
  const double negatives = static_cast<double>(order.size()) - positives;
  if (positives == 0 || negatives == 0) return 0.5;
  return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives);
}

/// Share of each class's examples predicted right; NaN for a class that does not occur.
[[nodiscard]] inline std::vector<double> class_recalls(skim::matrix_view<const float> logits,
                                                       std::span<const skim::label_t> labels) {
  std::vector<double> count(logits.cols()), right(logits.cols());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto row = logits.row(i);
    const auto predicted = std::max_element(row.begin(), row.end()) - row.begin();
    count[labels[i]] += 1;
    right[labels[i]] += static_cast<skim::label_t>(predicted) == labels[i] ? 1 : 0;
  }
  for (std::size_t c = 0; c < count.size(); ++c) right[c] /= count[c];
  return right;
}

/// Mean recall of the classes that occur; 0 if none does.
[[nodiscard]] inline double balanced_accuracy(std::span<const double> recalls) {
  double sum = 0, classes = 0;
  for (const double recall : recalls) {
    if (std::isnan(recall)) continue;
    sum += recall;
    classes += 1;
  }
  return classes > 0 ? sum / classes : 0;
}

/// The class with the fewest labels, but one at least; the first of several. Pre: there are labels,
/// below `classes`.
[[nodiscard]] inline std::size_t rarest_class(std::span<const skim::label_t> labels,
                                              std::size_t classes) {
  std::vector<std::size_t> count(classes);
  for (const skim::label_t label : labels) ++count[label];
  std::size_t rarest = labels.front();
  for (std::size_t c = 0; c < classes; ++c)
    if (count[c] > 0 && (count[c] < count[rarest] || (count[c] == count[rarest] && c < rarest)))
      rarest = c;
  return rarest;
}

}  // namespace skim_examples
