// SPDX-License-Identifier: Apache-2.0
//
// The structures by name, and the choice among them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "common/table.hpp"
#include "density/measure.hpp"
#include "density/settings.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/kde/cluster_density.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/exact_density.hpp"
#include "skim/kde/uniform_density.hpp"

namespace skim_examples {

[[nodiscard]] inline std::vector<std::string> estimator_names() {
  return {"auto", "exact", "uniform", "clusters"};
}

/// Builds what is asked for and measures it; auto asks clusters a few queries and takes exact sums where
/// these read most of the points. The densities of the map's places go to `cells`.
[[nodiscard]] inline density_outcome run_estimator(const density_settings& s,
                                                   const skim::density_kernel& kernel,
                                                   skim::matrix_view<const float> points,
                                                   skim::matrix_view<const float> queries,
                                                   skim::matrix_view<const float> places,
                                                   std::vector<skim::density_estimate>& cells) {
  constexpr std::size_t pilot_queries = 50;
  // Exact sums of a batch read points in order and share them among queries: a kernel costs about half.
  constexpr double exact_cost = 0.5;
  density_outcome out;
  skim::thread_executor run(s.threads);
  std::vector<skim::id_t> ids(points.rows());
  std::iota(ids.begin(), ids.end(), skim::id_t{0});
  const skim::density_target target{s.relative_error, s.failure, s.smallest_density};
  const auto use = [&](auto& structure) {
    if (places.rows() > 0) {
      cells.resize(places.rows());
      structure.density(places, target, skim::seed{s.seed + 5}, cells, run);
    }
    measure(s, structure, points, ids, queries, run, out);
  };
  const auto built = [&](auto& structure) {
    out.build_ms = 1e3 * seconds_of(1, [&] { structure.build(points); });
  };
  const skim::seed seed{s.seed + 6};
  std::string chosen = s.estimator;
  if (chosen == "auto" || chosen == "clusters") {
    skim::cluster_density clusters({.dim = points.cols(), .kernel = kernel}, seed);
    built(clusters);
    if (chosen == "auto") {
      std::vector<skim::density_estimate> pilot(std::min(pilot_queries, queries.rows()));
      clusters.density(queries.rows(0, pilot.size()), target, seed, pilot);
      double kernels = 0;
      for (const auto& a : pilot) kernels += static_cast<double>(a.evaluations);
      kernels /= static_cast<double>(pilot.size());
      const bool pays = kernels < exact_cost * static_cast<double>(points.rows());
      chosen = pays ? "clusters" : "exact";
      out.reason = "chose " + chosen + ": a pilot of " + std::to_string(pilot.size()) +
                   " queries took " + grouped(static_cast<std::size_t>(kernels)) +
                   " kernels a query with clusters, exact sums take " + grouped(points.rows()) +
                   (pays ? "" : ", each at half the cost");
    }
    if (chosen == "clusters") {
      out.structure = "clusters";
      use(clusters);
      return out;
    }
  }
  out.structure = chosen;
  if (chosen == "uniform") {
    skim::uniform_density uniform({.dim = points.cols(), .kernel = kernel}, seed);
    built(uniform);
    use(uniform);
  } else {
    skim::exact_density exact({.dim = points.cols(), .kernel = kernel});
    built(exact);
    use(exact);
  }
  return out;
}

}  // namespace skim_examples
