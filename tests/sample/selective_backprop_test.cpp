// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/selective_backprop.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "laws/batch_sampler.hpp"
#include "support/catch.hpp"

namespace {

using skim::selective_backprop_params;
using skim::selective_backprop_sampler;
using skim::selective_backprop_stream_sampler;

struct catalogue_case {
  static constexpr std::size_t batch = 32, scored = 7, examples = 500;
  static constexpr bool seeds_matter = true;
  selective_backprop_params params{.history = 200};

  [[nodiscard]] selective_backprop_sampler make(skim::seed s) const {
    return {examples, params, s};
  }
  skim::drawn_batch draw(selective_backprop_sampler& s, std::size_t t, std::size_t n) const {
    return skim_test::propose_and_draw(*this, s, t, n);
  }
  static float score(std::size_t t, skim::id_t id) {
    return static_cast<float>((id * 37 + t) % 101);
  }
};

struct stream_case {
  static constexpr std::size_t batch = 32, scored = 7;
  static constexpr bool seeds_matter = true;
  selective_backprop_params params{.history = 50};  // shorter than a block

  [[nodiscard]] selective_backprop_stream_sampler make(skim::seed s) const { return {params, s}; }
  skim::drawn_batch draw(selective_backprop_stream_sampler& s, std::size_t t, std::size_t n) const {
    return skim_test::offer_and_select(*this, s, t, n);
  }
  static float score(std::size_t t, skim::id_t row) {
    return static_cast<float>((row * 37 + t) % 101);
  }
};

}  // namespace

TEST_CASE("selective_backprop samplers keep the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(catalogue_case{});
  skim_test::scoring_batch_sampler_laws(catalogue_case{});
}

TEST_CASE("selective_backprop stream samplers keep the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(stream_case{});
  skim_test::scoring_stream_sampler_laws(stream_case{});
}

TEST_CASE("recent_scores is a sliding window with exact percentiles", "[unit]") {
  skim::random_engine g(skim::seed{5});
  skim::detail::recent_scores recent(40);
  std::deque<float> reference;
  for (int block = 0; block < 60; ++block) {
    std::vector<float> fresh(skim::uniform_below(g, 70));
    for (float& x : fresh) x = static_cast<float>(skim::uniform_below(g, 25));  // many ties
    recent.insert(fresh);
    reference.insert(reference.end(), fresh.begin(), fresh.end());
    while (reference.size() > 40) reference.pop_front();
    REQUIRE(recent.size() == reference.size());
    if (reference.empty()) continue;
    for (float x = 0; x < 26; x += 0.5f) {
      const auto below =
          std::count_if(reference.begin(), reference.end(), [&](float y) { return y <= x; });
      REQUIRE(recent.percentile(x) ==
              static_cast<double>(below) / static_cast<double>(reference.size()));
    }
  }
}

TEST_CASE("an example is kept with the power of its percentile", "[stat]") {
  // Scores are ids and the history is the pass itself: percentiles are known exactly.
  constexpr std::size_t n = 1000, passes = 400;
  const double exponent = GENERATE(1.0, 2.0, 3.0);
  skim::detail::selective_backprop_selector selector({.exponent = exponent, .history = n},
                                                     skim::random_engine(skim::seed{9}));
  std::vector<float> scores(n);
  for (std::size_t i = 0; i < n; ++i) scores[i] = static_cast<float>(i);
  std::vector<std::uint64_t> kept(n / 50);
  std::uint64_t all = 0;
  for (std::size_t t = 0; t < passes; ++t)
    for (const auto at : selector.choose(scores, 0)) {
      ++kept[at / 50];
      ++all;
    }
  double expected = 0;
  for (std::size_t bin = 0; bin < kept.size(); ++bin) {
    double mean = 0;
    for (std::size_t i = 50 * bin; i < 50 * (bin + 1); ++i)
      mean += std::pow(static_cast<double>(i + 1) / n, exponent) / 50;
    expected += mean / static_cast<double>(kept.size());
    // Binomial with one mean probability: at least as wide as the sum over different ones.
    skim_test::check_proportion(kept[bin], 50 * passes, mean);
  }
  skim_test::check_proportion(all, n * passes, expected);
  CHECK(std::abs(expected - 1 / (exponent + 1)) < 1e-3);  // the paper's 33 % for 2, 25 % for 3
}

TEST_CASE("a batch costs exponent + 1 candidates for each example, and wastes none", "[unit]") {
  catalogue_case c;
  c.params.history = 1024;
  auto sampler = c.make(skim::seed{4});
  std::size_t proposed = 0, steps = 400;
  for (std::size_t t = 0; t < steps; ++t) {
    proposed += sampler.propose(c.batch).size();
    skim_test::step(c, sampler, t);
  }
  const double each = static_cast<double>(proposed) / static_cast<double>(steps * c.batch);
  CHECK(each > 2.8);
  CHECK(each < 3.2);
}

TEST_CASE("equal scores are all kept, and wait for their batch", "[unit]") {
  selective_backprop_sampler sampler(90, {}, skim::seed{4});
  std::vector<int> visits(90);
  std::size_t unscored = 0;
  for (int t = 0; t < 40; ++t) {
    const std::vector<float> scores(sampler.propose(10).size(), 0.5f);
    unscored += scores.empty() ? 1u : 0u;
    const auto b = sampler.draw(10, scores);
    for (const auto id : b.ids) ++visits[id];
    for (const float w : b.weights) REQUIRE(w == 1.0f);
  }
  CHECK(unscored > 20);
  for (const int v : visits) CHECK((v >= 4 && v <= 5));  // 400 of 90, in epochs
}

TEST_CASE("too few kept are made up for by those that came closest", "[unit]") {
  // After large scores small ones have percentile near 0: hardly any coin keeps them.
  selective_backprop_stream_sampler sampler({.exponent = 3}, skim::seed{4});
  const std::size_t rows = sampler.candidates(16);
  REQUIRE(rows == 64);
  const std::vector<float> features(rows, 0.0f);
  const skim::stream_block block{.features = {std::span<const float>(features), rows, 1}};
  (void)sampler.select(block, 16, std::vector<float>(rows, 9.0f));
  (void)sampler.select(block, 16, std::vector<float>(rows, 9.0f));
  std::vector<float> scores(rows);
  for (std::size_t i = 0; i < rows; ++i) scores[i] = static_cast<float>(i) / 64.0f;
  std::size_t high = 0;
  for (int t = 0; t < 3; ++t) {
    const auto b = sampler.select(block, 16, scores);
    std::vector<skim::id_t> ids(b.ids.begin(), b.ids.end());
    std::sort(ids.begin(), ids.end());
    CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
    for (const auto id : ids) high += id >= 32 ? 1u : 0u;
  }
  CHECK(high > 36);  // of 48, most from the upper half
}

TEST_CASE("impossible selective_backprop parameters are refused", "[unit]") {
  const auto refused = [](std::size_t examples, selective_backprop_params p) {
    CHECK_THROWS_AS(selective_backprop_sampler(examples, p, skim::seed{1}), skim::invalid_params);
  };
  refused(0, {});
  refused(5, {.exponent = -1});
  refused(5, {.exponent = std::nan("")});
  refused(5, {.history = 0});
}
