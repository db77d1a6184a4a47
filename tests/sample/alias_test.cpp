// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/alias.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "laws/discrete_sampler.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace {

using skim::alias_sampler;

alias_sampler make(std::span<const float> weights) {
  return alias_sampler(weights);
}

std::vector<double> probabilities_of(const alias_sampler& s) {
  std::vector<double> p(s.size());
  s.probabilities(p);
  return p;
}

TEST_CASE("alias sampler obeys the laws of discrete samplers", "[law][stat]") {
  skim_test::check_discrete_sampler(make);
}

TEST_CASE("alias sampler refuses weights it cannot draw from", "[unit]") {
  CHECK_THROWS_AS(make(std::vector<float>{}), skim::invalid_params);
  CHECK_THROWS_AS(make(std::vector<float>(5, 0.0f)), skim::invalid_params);
  CHECK_THROWS_AS(make(std::vector<float>{-0.0f}), skim::invalid_params);
  CHECK_THROWS_WITH(make(std::vector<float>{1, -2}),
                    Catch::Matchers::ContainsSubstring("-2 at position 1"));
}

TEST_CASE("alias probabilities are exact quanta that add up to one", "[unit]") {
  skim::random_engine g(skim::seed{3});
  for (const std::size_t n : {1u, 2u, 3u, 17u, 1000u, 100000u}) {
    std::vector<double> weights(n);
    for (double& w : weights) w = std::exp(10 * skim::normal(g));
    const double total = static_cast<double>(std::accumulate(weights.begin(), weights.end(), 0.0L));
    const alias_sampler s{std::span<const double>(weights)};
    const std::vector<double> p = probabilities_of(s);
    const double quantum = 0x1p-32 / static_cast<double>(n);
    const double largest = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      // Whole quanta, so the sum is exact while n 2^32 fits a double.
      sum += p[i] / quantum;
      if (weights[i] < largest)
        CHECK(std::abs(p[i] - weights[i] / total) <= quantum + 8 * 0x1p-53 * p[i]);
    }
    CHECK(sum == static_cast<double>(n) * 0x1p32);
    CHECK(s.probability(n / 2) == p[n / 2]);
  }
  std::vector<double> wrong(3);
  CHECK_THROWS_AS(make(std::vector<float>{1, 2}).probabilities(wrong), skim::invalid_input);
  CHECK_THROWS_AS(make(std::vector<float>{1, 2}).probability(2), skim::invalid_input);
}

TEST_CASE("alias sampler spans six hundred decades", "[unit]") {
  const std::vector<double> weights{1e-300, 0,     1e300,
                                    5e-324, 1e300, std::numeric_limits<double>::max()};
  const alias_sampler s{std::span<const double>(weights)};
  const std::vector<double> p = probabilities_of(s);
  const double quantum = 0x1p-32 / 6;
  CHECK(p[0] == quantum);  // positive, so it can be drawn and weighted
  CHECK(p[1] == 0);
  CHECK(p[3] == quantum);
  CHECK(std::accumulate(p.begin(), p.end(), 0.0) == 1);
}

TEST_CASE("a batch of alias draws is the sequence of single draws", "[unit]") {
  std::vector<float> weights(77);
  std::iota(weights.begin(), weights.end(), 0.0f);
  const alias_sampler s = make(weights);
  for (const std::size_t m : {0u, 1u, 31u, 32u, 33u, 200u}) {
    skim::random_engine g(skim::seed{5}), h = g;
    std::vector<skim::id_t> ids(m);
    s.draw(g, std::span<skim::id_t>(ids));
    for (const skim::id_t i : ids) CHECK(i == s.draw(h));
    CHECK(g == h);
  }
}

TEST_CASE("an alias image with an impossible alias is refused", "[unit]") {
  skim::writer out;
  out.begin_frame("alias_sampler");
  out.put(std::span<const std::uint32_t>(std::vector<std::uint32_t>{5, 1}));
  out.end_frame();
  skim::reader in(out.bytes());
  CHECK_THROWS_AS(alias_sampler::load(in), skim::format_error);
}

}  // namespace
