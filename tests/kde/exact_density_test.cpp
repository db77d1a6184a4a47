// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/exact_density.hpp"

#include <cstddef>
#include <vector>

#include "laws/density_structure.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

struct model {
  using structure = skim::exact_density;
  static constexpr bool exact = true;
  static structure make(std::size_t d, const skim::density_kernel& k) {
    return skim::exact_density({.dim = d, .kernel = k});
  }
};

}  // namespace

TEST_CASE("exact sums are a density structure", "[law]") {
  skim_test::check_density_laws<model>();
}

TEST_CASE("a batch gives the answers of single queries", "[unit]") {
  const auto x = skim_test::clustered_points(777, 7, 5, 0.5, skim::seed{1});
  const auto q = skim_test::gaussian_points(67, 7, skim::seed{2});
  skim::exact_density s({.dim = 7, .kernel = {skim::kernel_kind::gaussian, 1.5}});
  s.build(x.view());
  CHECK(s.size() == 777);
  std::vector<skim::density_estimate> out(67);
  s.density(q.view(), {}, {}, out);
  skim::workspace ws;
  skim::random_engine g(skim::seed{});
  for (std::size_t i = 0; i < 67; ++i) {
    const auto one = s.density(q.row(i), {}, g, ws);
    // The order of the sums over coordinates differs.
    REQUIRE_THAT(out[i].value, Catch::Matchers::WithinRel(one.value, 1e-5));
    REQUIRE(out[i].evaluations == 777);
  }
}

TEST_CASE("build() holds the rows under their numbers", "[unit]") {
  const auto x = skim_test::gaussian_points(20, 3, skim::seed{1});
  skim::exact_density s({.dim = 3});
  const std::vector<float> weights(20, 0.25f);
  s.build(x.view(), weights);
  CHECK(s.total_weight() == 5);
  std::vector<float> row(3);
  s.point(11, row);
  CHECK(std::vector<float>(x.row(11).begin(), x.row(11).end()) == row);
  CHECK(s.weight(11) == 0.25f);
  const std::vector<float> few(19, 1.0f);
  CHECK_THROWS_AS(s.build(x.view(), few), skim::invalid_input);
  CHECK(s.size() == 20);
}

TEST_CASE("the bandwidth may change, the sphere not", "[unit]") {
  const auto x = skim_test::gaussian_points(50, 3, skim::seed{1});
  skim::exact_density s({.dim = 3}), t({.dim = 3, .kernel = {skim::kernel_kind::student, 0.2}});
  s.build(x.view());
  t.build(x.view());
  s.set_kernel({skim::kernel_kind::student, 0.2});
  skim::workspace ws;
  skim::random_engine g(skim::seed{});
  CHECK(s.density(x.row(0), {}, g, ws) == t.density(x.row(0), {}, g, ws));
  CHECK_THROWS_AS(s.set_kernel({skim::kernel_kind::angular, 0.1}), skim::invalid_params);
  CHECK_THROWS_AS(s.set_bandwidth(-1), skim::invalid_params);
  CHECK_THROWS_AS(skim::exact_density({.dim = 0}), skim::invalid_params);
}
