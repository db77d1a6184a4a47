// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/cluster_density.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "laws/density_structure.hpp"
#include "skim/kde/exact_density.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

namespace {

struct model {
  using structure = skim::cluster_density;
  static constexpr bool exact = false;
  static structure make(std::size_t d, const skim::density_kernel& k) {
    return skim::cluster_density({.dim = d, .kernel = k}, skim::seed{21});
  }
};

// 20,000 points in 40 clusters, and 2,000 queries among them.
struct setting {
  skim_test::clusters x = skim_test::clustered_points(20'000, 6, 40, 0.25, skim::seed{1});
  skim_test::clusters q = skim_test::clustered_points(2'000, 6, 40, 0.3, skim::seed{1});
  std::vector<skim::density_estimate> exact{2'000};

  explicit setting(double h) {
    skim::exact_density oracle({.dim = 6, .kernel = {skim::kernel_kind::gaussian, h}});
    oracle.build(x.view());
    oracle.density(q.view(), {}, {}, exact);
  }
};

}  // namespace

TEST_CASE("clusters are a density structure", "[law]") {
  skim_test::check_density_laws<model>();
}

TEST_CASE("of many answers no more than the failure are beyond the relative error",
          "[statistical]") {
  const setting s(0.3);
  skim::cluster_density density({.dim = 6, .kernel = {skim::kernel_kind::gaussian, 0.3}});
  density.build(s.x.view());
  for (const skim::density_target target :
       {skim::density_target{0.1, 0.1, 1e-5}, skim::density_target{0.2, 0.2, 1e-5}}) {
    std::vector<skim::density_estimate> out(s.q.size());
    density.density(s.q.view(), target, skim::seed{2}, out);
    std::uint64_t beyond = 0, counted = 0;
    double evaluations = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      evaluations += static_cast<double>(out[i].evaluations);
      if (s.exact[i].value < target.smallest) continue;
      ++counted;
      beyond += std::abs(out[i].value - s.exact[i].value) >
                (target.relative_error + 1e-5) * s.exact[i].value;
    }
    REQUIRE(counted > 1'000);
    skim_test::check_proportion_at_most(beyond, counted, target.failure);
    // What the sampling is for: a small part of the 20,000 kernels.
    CHECK(evaluations / static_cast<double>(out.size()) < 5'000);
  }
}

TEST_CASE("points that come where no centroid is are found all the same", "[statistical]") {
  const setting s(0.3);
  skim::cluster_density density({.dim = 6, .kernel = {skim::kernel_kind::gaussian, 0.3}});
  // Built of the two first clusters alone; the others are inserted.
  std::vector<float> first;
  std::vector<std::size_t> later;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (s.x.labels[i] < 2)
      first.insert(first.end(), s.x.row(i).begin(), s.x.row(i).end());
    else
      later.push_back(i);
  }
  density.build({first.data(), first.size() / 6, 6});
  skim::workspace ws;
  for (const std::size_t i : later) static_cast<void>(density.insert(s.x.row(i), 1, ws));
  REQUIRE(density.size() == s.x.size());
  const skim::density_target target{0.2, 0.1, 1e-5};
  std::vector<skim::density_estimate> out(s.q.size());
  density.density(s.q.view(), target, skim::seed{3}, out);
  std::uint64_t beyond = 0, counted = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (s.exact[i].value < target.smallest) continue;
    ++counted;
    beyond += std::abs(out[i].value - s.exact[i].value) >
              (target.relative_error + 1e-5) * s.exact[i].value;
  }
  skim_test::check_proportion_at_most(beyond, counted, target.failure);
}

TEST_CASE("sizes out of range are refused", "[unit]") {
  using skim::cluster_density;
  CHECK_THROWS_AS(cluster_density({.dim = 0}), skim::invalid_params);
  CHECK_THROWS_AS(cluster_density({.dim = 2, .exponent = 3}), skim::invalid_params);
  CHECK_THROWS_AS(cluster_density({.dim = 2, .blocks = 1}), skim::invalid_params);
  CHECK_THROWS_AS(cluster_density({.dim = 2, .rounds = 1001}), skim::invalid_params);
}
