// SPDX-License-Identifier: Apache-2.0
//
// How sure a figure is that was computed from the runs of a few seeds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/random.hpp"

namespace skim_examples {

struct interval {
  double least = 0, most = 0;
};

/// Seeds drawn with replacement, again and again; the same draws for every figure, so that figures of
/// one seed stay paired.
///
/// Error:   percentile intervals of a few seeds are too narrow; of 8 or more they are usable.
/// Seeds:   its own, and fixed: equal runs give equal intervals.
class seed_bootstrap {
 public:
  static constexpr std::size_t resamples = 2000;

  /// Pre: seeds > 0.
  explicit seed_bootstrap(std::size_t seeds) : seeds_(seeds), picks_(seeds * resamples) {
    skim::random_engine g(skim::seed{0x626f6f74});
    for (std::size_t& pick : picks_) pick = static_cast<std::size_t>(skim::uniform_below(g, seeds));
  }

  /// What `statistic` makes of each draw: of its number, and of the numbers of its seeds, from 0.
  template <class Statistic>
  [[nodiscard]] std::vector<double> resample(Statistic statistic) const {
    std::vector<double> values(resamples);
    for (std::size_t r = 0; r < resamples; ++r)
      values[r] = statistic(r, std::span<const std::size_t>(picks_).subspan(r * seeds_, seeds_));
    return values;
  }

 private:
  std::size_t seeds_;
  std::vector<std::size_t> picks_;
};

/// The middle 95 % of values. Pre: there are some.
[[nodiscard]] inline interval middle_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t tail = values.size() / 40;
  return {values[tail], values[values.size() - 1 - tail]};
}

/// Mean of the chosen values. Pre: there are some.
[[nodiscard]] inline double mean_of(std::span<const double> values,
                                    std::span<const std::size_t> chosen) {
  double sum = 0;
  for (const std::size_t i : chosen) sum += values[i];
  return sum / static_cast<double>(chosen.size());
}

}  // namespace skim_examples
