// SPDX-License-Identifier: Apache-2.0
//
// Queries that are chosen to break a density structure.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/exact_density.hpp"

namespace skim_test {

struct attack_report {
  std::uint64_t misses = 0, late_misses = 0, evaluations = 0;
};

// An adversary who knows the points, and of the structure its answers only: it walks to where the answer
// is largest relative to the truth. Counts the answers that are not within the target, and those among the
// last `late`.
template <class Structure>
attack_report attack(const Structure& s, const skim::exact_density& truth,
                     skim::density_target target, std::size_t queries, std::size_t late) {
  skim::random_engine moves(skim::seed{77}), g(skim::seed{78});
  skim::workspace ws;
  const std::size_t dim = truth.dim();
  std::vector<float> best(dim, 0.0f), tried(dim);
  double best_ratio = 0;
  constexpr double step = 0.2;
  attack_report out;
  for (std::size_t i = 0; i < queries; ++i) {
    for (std::size_t j = 0; j < dim; ++j)
      tried[j] = best[j] + static_cast<float>(step * skim::normal(moves));
    const double want = truth.density(tried, target, g, ws).value;
    const auto e = s.density(tried, target, g, ws);
    out.evaluations += e.evaluations;
    const bool miss = std::abs(e.value - want) > target.relative_error * want;
    out.misses += miss;
    out.late_misses += miss && i + late >= queries;
    // Stays where densities are of interest.
    if (want >= target.smallest && e.value / want > best_ratio) {
      best_ratio = e.value / want;
      best = tried;
    }
  }
  return out;
}

}  // namespace skim_test
