// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/systematic.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "skim/core/random.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace {

using skim::id_t;

template <class T>
std::vector<T> inclusion(const std::vector<T>& scores, double budget, double floor = 0) {
  std::vector<T> out(scores.size());
  skim::inclusion_probabilities(std::span<const T>(scores), {.budget = budget, .floor = floor},
                                std::span<T>(out));
  return out;
}

template <class T>
std::vector<id_t> draw(const std::vector<T>& p, skim::random_engine& g) {
  std::vector<id_t> out(p.size() + 1);
  out.resize(skim::draw_systematic(std::span<const T>(p), g, std::span<id_t>(out)));
  return out;
}

std::vector<double> heavy_scores(std::size_t n, std::uint64_t seed) {
  skim::random_engine g(skim::seed{seed});
  std::vector<double> s(n);
  for (double& x : s) x = std::pow(1 - skim::uniform(g), -1.2);
  return s;
}

TEST_CASE("inclusion probabilities fill the budget and cap at one", "[unit]") {
  for (const std::size_t n : {1u, 2u, 7u, 64u, 1000u, 10007u})
    for (const double share : {0.001, 0.1, 0.5, 0.99})
      for (const double floor : {0.0, 0.2, 1.0}) {
        const std::vector<double> scores = heavy_scores(n, n);
        const double budget = share * static_cast<double>(n);
        const std::vector<double> p = inclusion(scores, budget, floor);
        const double sum = std::accumulate(p.begin(), p.end(), 0.0);
        CHECK(std::abs(sum - budget) <= 1e-12 * budget * static_cast<double>(n));
        // Uncapped ones are proportional to the mixture, and capped ones would be above one.
        const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
        std::vector<double> mixed(n);
        for (std::size_t i = 0; i < n; ++i)
          mixed[i] = (1 - floor) * scores[i] / total + floor / static_cast<double>(n);
        double c = 0;
        for (std::size_t i = 0; i < n; ++i)
          if (p[i] < 1) c = std::max(c, p[i] / mixed[i]);
        for (std::size_t i = 0; i < n; ++i) {
          CHECK(p[i] >= 0);
          CHECK(p[i] <= 1);
          CHECK(std::abs(p[i] - std::min(1.0, c * mixed[i])) <= 1e-9);
          CHECK(p[i] >= std::min(1.0, floor * budget / static_cast<double>(n)) * (1 - 1e-9));
        }
      }
}

TEST_CASE("water-filling takes as many rounds as it needs", "[unit]") {
  std::vector<double> scores(60);
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = std::ldexp(1.0, -static_cast<int>(i));
  for (const double budget : {0.5, 1.0, 10.0, 30.0, 59.5}) {
    const std::vector<double> p = inclusion(scores, budget);
    CHECK(std::abs(std::accumulate(p.begin(), p.end(), 0.0) - budget) <= 1e-12 * budget);
    CHECK(std::is_sorted(p.rbegin(), p.rend()));
  }
  CHECK(inclusion<float>({5, 0, 2}, 2) == std::vector<float>{1, 0, 1});
  CHECK(inclusion<float>({5, 0, 2}, 9) == std::vector<float>{1, 0, 1});
  CHECK(inclusion<float>({0, 0}, 1, 0.5) == std::vector<float>{0.5f, 0.5f});
  CHECK(inclusion<float>({3e38f, 3e38f, 3e38f}, 1.5) == std::vector<float>{0.5f, 0.5f, 0.5f});
  CHECK(inclusion<double>({5e-324, 5e-324}, 1) == std::vector<double>{0.5, 0.5});
  CHECK(inclusion<double>({1.7e308, 1.7e308}, 1) == std::vector<double>{0.5, 0.5});
}

TEST_CASE("bad scores and budgets are refused and nothing is written", "[unit]") {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> out{7, 7, 7};
  const auto call = [&](std::vector<float> scores, double budget, double floor = 0) {
    skim::inclusion_probabilities(std::span<const float>(scores),
                                  {.budget = budget, .floor = floor}, std::span<float>(out));
  };
  for (const float bad : {-1.0f, inf, nan})
    CHECK_THROWS_AS(call({1, bad, 1}, 1), skim::invalid_input);
  CHECK_THROWS_AS(call({1, 1}, 1), skim::invalid_input);
  CHECK_THROWS_AS(call({}, 1), skim::invalid_input);
  CHECK_THROWS_AS(call({0, 0, 0}, 1), skim::invalid_input);
  for (const double bad : {0.0, -1.0, double{inf}, double{nan}})
    CHECK_THROWS_AS(call({1, 1, 1}, bad), skim::invalid_params);
  for (const double bad : {-0.1, 1.1, double{nan}})
    CHECK_THROWS_AS(call({1, 1, 1}, 1, bad), skim::invalid_params);
  CHECK(out == std::vector<float>{7, 7, 7});

  skim::random_engine g(skim::seed{1});
  std::vector<id_t> ids{9};
  const auto take = [&](std::vector<float> p) {
    return skim::draw_systematic(std::span<const float>(p), g, std::span<id_t>(ids));
  };
  for (const float bad : {-0.5f, 1.5f, nan})
    CHECK_THROWS_AS(take({0.1f, bad}), skim::invalid_input);
  CHECK_THROWS_AS(take({0.5f, 0.7f}), skim::invalid_input);  // might be two
  CHECK(ids[0] == 9);
  CHECK(take({}) == 0);
  const auto resample = [&](std::vector<float> w) {
    skim::resample_systematic(std::span<const float>(w), g, std::span<id_t>(ids));
  };
  CHECK_THROWS_AS(resample({}), skim::invalid_input);
  CHECK_THROWS_AS(resample({0, 0}), skim::invalid_input);
  CHECK_THROWS_AS(resample({1, nan}), skim::invalid_input);
  CHECK(ids[0] == 9);
}

TEST_CASE("a systematic draw takes exactly the budget, each id once", "[unit]") {
  skim::random_engine g(skim::seed{2});
  for (const std::size_t n : {1u, 5u, 100u, 1024u, 5000u})
    for (const std::size_t budget : {std::size_t{1}, n / 16 + 1, n / 2 + 1, n}) {
      std::vector<float> scores;
      for (const double s : heavy_scores(n, n + budget)) scores.push_back(static_cast<float>(s));
      const std::vector<float> p = inclusion(scores, static_cast<double>(budget));
      for (int k = 0; k < 50; ++k) {
        const std::vector<id_t> ids = draw(p, g);
        CHECK(ids.size() == budget);
        CHECK(std::is_sorted(ids.begin(), ids.end(), std::less_equal<>{}));  // strictly rising
        for (const id_t i : ids) CHECK(p[i] > 0);
        std::size_t sure = 0;
        for (const id_t i : ids) sure += p[i] == 1 ? 1u : 0u;
        CHECK(sure == static_cast<std::size_t>(std::count(p.begin(), p.end(), 1.0f)));
      }
    }
}

TEST_CASE("systematic inclusion probabilities are exact to first order", "[stat]") {
  skim::random_engine g(skim::seed{3});
  std::vector<double> p = inclusion(heavy_scores(40, 1), 7.0);
  SECTION("at an integral budget") {}
  SECTION("at a fractional one") {
    p = inclusion(heavy_scores(40, 2), 7.3);
  }
  SECTION("with zeros") {
    p[3] = p[20] = 0;
  }
  constexpr std::uint64_t trials = 100000;
  std::vector<std::uint64_t> hits(p.size());
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (std::uint64_t k = 0; k < trials; ++k) {
    const std::vector<id_t> ids = draw(p, g);
    const double size = static_cast<double>(ids.size());
    if (std::abs(size - sum) >= 1) FAIL("sample of " << ids.size() << " for " << sum);
    for (const id_t i : ids) ++hits[i];
  }
  for (std::size_t i = 0; i < p.size(); ++i)
    skim_test::check_proportion(hits[i], trials, p[i], 1e-6 / 40);
}

TEST_CASE("sums weighted by 1 / p are unbiased, and beat independent draws on sorted data",
          "[stat]") {
  // y grows along the ids and scores follow it loosely: the case systematic draws are for.
  constexpr std::size_t n = 400, budget = 20;
  std::vector<double> y(n), scores(n);
  skim::random_engine g(skim::seed{4});
  double total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = 1 + static_cast<double>(i) / 50;
    scores[i] = std::sqrt(y[i]);
    total += y[i];
  }
  const std::vector<double> p = inclusion(scores, budget);
  const double score_sum = std::accumulate(scores.begin(), scores.end(), 0.0);
  std::vector<double> estimates;
  for (int k = 0; k < 4000; ++k) {
    double sum = 0;
    for (const id_t i : draw(p, g)) sum += y[i] / p[i];
    estimates.push_back(sum);
  }
  skim_test::check_mean(estimates, total);
  double systematic = 0, multinomial = 0;
  for (const double e : estimates) systematic += (e - total) * (e - total) / 4000;
  for (std::size_t i = 0; i < n; ++i) {
    const double q = scores[i] / score_sum, gap = y[i] / q - total;
    multinomial += q * gap * gap / budget;
  }
  CHECK(systematic < 0.1 * multinomial);
}

TEST_CASE("resampling takes floor or ceil of what is expected", "[stat]") {
  skim::random_engine g(skim::seed{5});
  std::vector<float> weights;
  for (const double s : heavy_scores(30, 7)) weights.push_back(static_cast<float>(s));
  weights[4] = weights[29] = 0;
  double total = 0;
  for (const float w : weights) total += static_cast<double>(w);
  for (const std::size_t m : {1u, 10u, 30u, 500u}) {
    std::vector<std::uint64_t> extra(weights.size());
    constexpr std::uint64_t trials = 20000;
    for (std::uint64_t k = 0; k < trials; ++k) {
      std::vector<id_t> ids(m);
      skim::resample_systematic(std::span<const float>(weights), g, std::span<id_t>(ids));
      std::vector<std::uint64_t> times(weights.size());
      for (const id_t i : ids) ++times.at(i);
      for (std::size_t i = 0; i < times.size(); ++i) {
        const double expected = static_cast<double>(m) * static_cast<double>(weights[i]) / total;
        const auto floor = static_cast<std::uint64_t>(expected);
        if (times[i] < floor || times[i] > floor + 1 || (weights[i] == 0 && times[i] != 0))
          FAIL("id " << i << " came " << times[i] << " times for " << expected);
        extra[i] += times[i] - floor;
      }
    }
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double expected = static_cast<double>(m) * static_cast<double>(weights[i]) / total;
      skim_test::check_proportion(extra[i], trials, expected - std::floor(expected), 1e-6 / 30);
    }
  }
  std::vector<id_t> ids(3);
  const std::vector<double> extremes{5e-324, 0, 1.7e308, 1.7e308};
  skim::resample_systematic(std::span<const double>(extremes), g, std::span<id_t>(ids));
  CHECK(ids[0] == 2);
  skim::resample_systematic(std::span<const double>(std::vector<double>{5e-324}), g,
                            std::span<id_t>(ids));
  CHECK(ids == std::vector<id_t>(3, 0));
}

TEST_CASE("equal seeds give equal systematic samples", "[unit]") {
  const std::vector<double> p = inclusion(heavy_scores(100, 9), 10);
  skim::random_engine g(skim::seed{6}), h = g;
  CHECK(draw(p, g) == draw(p, h));
}

TEST_CASE("the walk's sums do not overflow on a large catalogue", "[unit]") {
  skim::random_engine g(skim::seed{7});
  const std::vector<float> p(50000, 0.5f), sure(50000, 1.0f);
  CHECK(draw(p, g).size() == 25000);
  CHECK(draw(sure, g).size() == 50000);
}

}  // namespace
