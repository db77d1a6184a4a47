// SPDX-License-Identifier: Apache-2.0
//
// How long a method takes to reach a quality, read off runs of several lengths.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <utility>
#include <vector>

namespace skim_examples {

/// Quality as a function of the budget, from separate runs; linear in log(budget) between them.
///
/// Separate runs, and not one run's curve: the learning rate falls to zero at the end of each, so what a
/// long run has half way is worse than what a run of half the length ends with.
class budget_curve {
 public:
  struct point {
    double budget;  ///< positive
    double value;   ///< lower is better
  };

  /// Throws std::invalid_argument without points.
  explicit budget_curve(std::vector<point> points) : points_(std::move(points)) {
    if (points_.empty()) throw std::invalid_argument("budget_curve: got no points, wanted some");
    std::sort(points_.begin(), points_.end(),
              [](const point& a, const point& b) { return a.budget < b.budget; });
    // Nobody has to spend all of a larger budget: the best so far.
    for (std::size_t i = 1; i < points_.size(); ++i)
      points_[i].value = std::min(points_[i].value, points_[i - 1].value);
  }

  /// Whether the value is better than that of the largest budget.
  [[nodiscard]] bool is_beyond(double value) const { return value < points_.back().value; }
  /// Whether the value is worse than that of the smallest budget.
  [[nodiscard]] bool is_before(double value) const { return value > points_.front().value; }

  /// The smallest budget that gives the value; the nearest known one outside their range.
  [[nodiscard]] double budget_for(double value) const {
    if (value >= points_.front().value) return points_.front().budget;
    for (std::size_t i = 1; i < points_.size(); ++i) {
      const point &a = points_[i - 1], &b = points_[i];
      if (value < b.value) continue;
      return a.budget * std::pow(b.budget / a.budget, (a.value - value) / (a.value - b.value));
    }
    return points_.back().budget;
  }

 private:
  std::vector<point> points_;
};

}  // namespace skim_examples
