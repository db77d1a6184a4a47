// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/gate.hpp"

#include <numeric>
#include <vector>

#include "skim/core/random.hpp"
#include "support/catch.hpp"

namespace {

double lift_of(const std::vector<float>& predicted, const std::vector<float>& observed,
               const std::vector<float>& weights = {}) {
  return skim::top_tenth_lift(predicted, observed, weights).share;
}

/// Rows of one step: predictions that rank the observed scores, or that know nothing.
struct rows {
  std::vector<float> predicted, observed;
};

rows informative(std::size_t n, skim::random_engine g) {
  rows r;
  for (std::size_t i = 0; i < n; ++i) {
    const float score = i % 10 == 0 ? 10.0f : 0.1f;
    r.observed.push_back(score);
    r.predicted.push_back(score + 0.01f * skim::uniform_float(g));
  }
  return r;
}

rows useless(std::size_t n, skim::random_engine g) {
  rows r;
  for (std::size_t i = 0; i < n; ++i) {
    r.observed.push_back(0.5f + skim::uniform_float(g));
    r.predicted.push_back(skim::uniform_float(g));
  }
  return r;
}

/// Steps the gate until `steps` are done; returns how many of them were open.
template <class Rows>
std::size_t run(skim::sampling_gate& gate, std::size_t steps, Rows make) {
  std::size_t open = 0;
  for (std::size_t t = 0; t < steps; ++t) {
    if (gate.is_open()) {
      const rows r = make(24, skim::random_engine(skim::seed{t}));
      gate.step_open(r.predicted, r.observed, std::vector<float>(r.predicted.size(), 1.0f));
      ++open;
    } else {
      gate.step_closed();
    }
  }
  return open;
}

std::vector<std::byte> image(const skim::sampling_gate& gate) {
  skim::writer out;
  gate.save(out);
  return {out.bytes().begin(), out.bytes().end()};
}

}  // namespace

TEST_CASE("lift is the share of the mass in the top tenth by prediction", "[unit]") {
  std::vector<float> predicted(100), observed(100, 1.0f);
  std::iota(predicted.begin(), predicted.end(), 0.0f);
  CHECK_THAT(lift_of(predicted, observed), Catch::Matchers::WithinAbs(0.1, 1e-12));
  for (std::size_t i = 90; i < 100; ++i) observed[i] = 91.0f;  // 910 of 1000
  CHECK_THAT(lift_of(predicted, observed), Catch::Matchers::WithinAbs(0.91, 1e-12));
  for (float& p : predicted) p = -p;
  CHECK_THAT(lift_of(predicted, observed), Catch::Matchers::WithinAbs(0.01, 1e-12));
}

TEST_CASE("lift counts ties at the border in proportion", "[unit]") {
  const std::vector<float> same(50, 2.0f);
  std::vector<float> observed(50);
  std::iota(observed.begin(), observed.end(), 1.0f);
  CHECK_THAT(lift_of(same, observed), Catch::Matchers::WithinAbs(0.1, 1e-12));
  std::vector<float> two_levels(50, 0.0f);  // 3 clear leaders, 2 of 47 ties fill the tenth
  two_levels[0] = two_levels[1] = two_levels[2] = 1.0f;
  const std::vector<float> flat(50, 1.0f);
  CHECK_THAT(lift_of(two_levels, flat), Catch::Matchers::WithinAbs(0.1, 1e-12));
}

TEST_CASE("a row that stands for several counts as so many", "[unit]") {
  skim::random_engine g(skim::seed{3});
  std::vector<float> predicted, observed, weights, all_predicted, all_observed;
  for (int i = 0; i < 200; ++i) {
    predicted.push_back(std::floor(20 * skim::uniform_float(g)));  // with ties
    observed.push_back(skim::uniform_float(g));
    weights.push_back(static_cast<float>(1 + skim::uniform_below(g, 5)));
    for (float k = 0; k < weights.back(); ++k) {
      all_predicted.push_back(predicted.back());
      all_observed.push_back(observed.back());
    }
  }
  CHECK_THAT(lift_of(predicted, observed, weights),
             Catch::Matchers::WithinRel(lift_of(all_predicted, all_observed), 1e-5));
  CHECK_THAT(lift_of(predicted, observed, std::vector<float>(200, 0.25f)),
             Catch::Matchers::WithinRel(lift_of(predicted, observed), 1e-5));
}

TEST_CASE("concentration is near 1 where errors are rare and low where all examples have some",
          "[unit]") {
  skim::sampling_gate rare, noisy;
  CHECK_FALSE(rare.last_concentration().has_value());
  run(rare, 60, informative);
  CHECK(rare.last_concentration().value() > 0.7);
  CHECK(rare.is_proven());
  run(noisy, 59, useless);
  CHECK(noisy.last_concentration().value() < 0.2);
  CHECK_FALSE(noisy.is_proven());
}

TEST_CASE("lift of nothing, or of no mass, is that of chance", "[unit]") {
  CHECK(lift_of({}, {}) == 0.1);
  CHECK(lift_of({1.0f, 2.0f, 3.0f}, {0.0f, 0.0f, 0.0f}) == 0.1);
  CHECK(lift_of({1.0f}, {5.0f}) > 0.099);
}

TEST_CASE("a gate stays open on informative predictions", "[unit]") {
  skim::sampling_gate gate;
  CHECK(gate.is_open());
  CHECK_FALSE(gate.last_lift().has_value());
  CHECK(run(gate, 3000, informative) == 3000);
  CHECK(gate.last_lift().value() > 0.7);  // 3 rows of 24 hold 93 %, the tenth is 2.4 rows
  CHECK(gate.steps_open() == 3000);
}

TEST_CASE("a gate closes in its trial on useless predictions and tries ever more rarely",
          "[unit]") {
  const skim::gate_params p{.trial = 60, .check_interval = 20, .retry = 400, .retry_growth = 2};
  skim::sampling_gate gate(p);
  CHECK(run(gate, 20, useless) == 20);
  CHECK_FALSE(gate.is_open());
  CHECK(run(gate, 400, useless) == 0);
  CHECK(gate.is_open());
  CHECK(run(gate, 20, useless) == 20);
  CHECK(run(gate, 800, useless) == 0);
  CHECK(gate.is_open());
  CHECK(gate.steps_closed() == 1200);
}

TEST_CASE("a proven gate keeps to the lower bound and closes below it", "[unit]") {
  // Top tenth holds 0.37: not enough for a trial, enough to stay.
  const auto middling = [](std::size_t n, skim::random_engine) {
    rows r;
    for (std::size_t i = 0; i < n; ++i) {
      r.observed.push_back(i % 12 == 0 ? 6.0f : 1.0f);
      r.predicted.push_back(r.observed.back());
    }
    return r;
  };
  skim::sampling_gate untried;
  CHECK(run(untried, 61, middling) == 60);
  skim::sampling_gate proven;
  run(proven, 100, informative);
  CHECK(run(proven, 2000, middling) == 2000);
  CHECK(run(proven, 200, useless) < 200);
  CHECK_FALSE(proven.is_open());
}

TEST_CASE("a trial whose mass lies in few rows is not cut short", "[unit]") {
  // One row in 100 has nearly all mass, and the predictions miss it: that may be chance at first.
  const auto rare = [](std::size_t n, skim::random_engine g) {
    rows r = useless(n, g);
    for (float& x : r.observed) x *= 1e-3f;
    if (skim::uniform(g) < 0.24) {
      r.observed[0] = 1.0f;
      r.predicted[0] = 0.0f;
    }
    return r;
  };
  skim::sampling_gate gate;
  CHECK(run(gate, 100, rare) == 60);
}

TEST_CASE("a gate that no trial has opened asks later ones for more", "[unit]") {
  // Top tenth holds 0.51: enough for the first trial, too little for a later one.
  const auto halfway = [](std::size_t n, skim::random_engine) {
    rows r;
    for (std::size_t i = 0; i < n; ++i) {
      r.observed.push_back(i % 12 == 0 ? 13.0f : 1.0f);
      r.predicted.push_back(r.observed.back());
    }
    return r;
  };
  skim::sampling_gate first;
  CHECK(run(first, 500, halfway) == 500);
  skim::sampling_gate later;
  run(later, 420, useless);
  CHECK(run(later, 100, halfway) == 20);
  CHECK_FALSE(later.is_open());
  while (!later.is_open()) run(later, 1, halfway);
  CHECK(run(later, 500, informative) == 500);
  // once it has succeeded, it opens as at first
  while (later.is_open()) run(later, 1, useless);
  while (!later.is_open()) run(later, 1, useless);
  CHECK(run(later, 500, halfway) == 500);
}

TEST_CASE("a gate that must stay open measures all the same", "[unit]") {
  skim::sampling_gate gate({.mode = skim::gate_mode::open});
  CHECK(run(gate, 1000, useless) == 1000);
  CHECK(gate.last_lift().value() < 0.2);
  CHECK(gate.is_proven());
}

TEST_CASE("a loaded gate goes on as the saved one", "[unit]") {
  skim::sampling_gate gate;
  run(gate, 75, informative);
  const auto bytes = image(gate);
  skim::reader in(bytes);
  auto loaded = skim::sampling_gate::load(in);
  CHECK(image(loaded) == bytes);
  CHECK(run(gate, 600, useless) == run(loaded, 600, useless));
  CHECK(image(loaded) == image(gate));
}

TEST_CASE("impossible gate parameters are refused", "[unit]") {
  CHECK_THROWS_AS(skim::sampling_gate({.open_lift = 0.3, .keep_lift = 0.4}), skim::invalid_params);
  CHECK_THROWS_AS(skim::sampling_gate({.late_lift = 0.3}), skim::invalid_params);
  CHECK_THROWS_AS(skim::sampling_gate({.trial = 0}), skim::invalid_params);
  CHECK_THROWS_AS(skim::sampling_gate({.window = 0}), skim::invalid_params);
  CHECK_THROWS_AS(skim::sampling_gate({.retry_growth = 0.5}), skim::invalid_params);
}
