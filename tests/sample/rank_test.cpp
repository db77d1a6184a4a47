// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/rank.hpp"

#include <cmath>
#include <vector>

#include "laws/batch_sampler.hpp"
#include "support/catch.hpp"

namespace {

using skim::rank_params;
using skim::rank_sampler;
using skim::rank_stream_sampler;

struct catalogue_case {
  static constexpr std::size_t batch = 32, examples = 300;
  static constexpr bool seeds_matter = true;
  rank_params params;

  [[nodiscard]] rank_sampler make(skim::seed s) const { return {examples, params, s}; }
  static skim::drawn_batch draw(rank_sampler& s, std::size_t, std::size_t n) { return s.draw(n); }
  static float score(std::size_t t, skim::id_t id) {
    return static_cast<float>((id * 37 + t / 3) % 101) * 0.1f;
  }
};

struct stream_case {
  static constexpr std::size_t batch = 32, scored = 3;
  static constexpr bool seeds_matter = true;
  rank_params params;

  [[nodiscard]] rank_stream_sampler make(skim::seed s) const { return {params, s}; }
  skim::drawn_batch draw(rank_stream_sampler& s, std::size_t t, std::size_t n) const {
    return skim_test::offer_and_select(*this, s, t, n);
  }
  static float score(std::size_t t, skim::id_t row) {
    return static_cast<float>((row * 37 + t) % 101);
  }
};

double value_of(skim::id_t id) {
  return static_cast<double>(id % 3) + (id < 10 ? 20.0 : 0.0);
}

}  // namespace

TEST_CASE("rank_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(catalogue_case{{.beta = GENERATE(0.0, 1.0)}});
}

TEST_CASE("rank_stream_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(stream_case{});
  skim_test::scoring_stream_sampler_laws(stream_case{});
}

TEST_CASE("probabilities fall exponentially with the rank, and draws follow them", "[stat]") {
  const double pressure = GENERATE(1.0, 2.0, 100.0, 1e8);
  constexpr std::size_t n = 200;
  const skim::detail::rank_law law(n, pressure);
  std::vector<double> expected(n);
  double sum = 0;
  for (std::size_t k = 0; k < n; ++k) sum += expected[k] = law.probability(k);
  CHECK_THAT(sum, Catch::Matchers::WithinRel(1.0, 1e-12));
  CHECK_THAT(expected[0] / expected[n / 2],
             Catch::Matchers::WithinRel(std::sqrt(pressure), 1e-9));  // s_e^(rank / n)
  std::vector<std::uint64_t> drawn(n);
  skim::random_engine g(skim::seed{12});
  for (int i = 0; i < 200'000; ++i) ++drawn[law.draw(g)];
  skim_test::check_chi_square(drawn, expected);
}

TEST_CASE("rank_sampler draws the highest scores most often, by ranks of the last sort", "[stat]") {
  // Scores that grow with the id and span eight decades: only their order counts.
  constexpr std::size_t n = 128, batch = 64;
  rank_sampler sampler(n, {}, skim::seed{6});
  const auto score = [](skim::id_t id) { return std::pow(10.0f, static_cast<float>(id) / 16 - 6); };
  std::vector<std::uint64_t> drawn(n);
  for (int t = 0; t < 3002; ++t) {
    const auto b = sampler.draw(batch);
    std::vector<float> scores;
    for (const auto id : b.ids) {
      ++drawn[id];
      scores.push_back(score(id));
    }
    for (const float w : b.weights) REQUIRE(w == 1.0f);
    sampler.observe(b.ids, scores);
    if (t == 1) {
      for (const auto d : drawn) REQUIRE(d == 1);  // the first epoch is everyone's
      std::fill(drawn.begin(), drawn.end(), 0);
    }
  }
  const skim::detail::rank_law law(n, 100);
  std::vector<double> expected(n);
  for (std::size_t id = 0; id < n; ++id) expected[id] = law.probability(n - 1 - id);
  skim_test::check_chi_square(drawn, expected);
}

TEST_CASE("rank_sampler is unbiased with beta 1", "[stat]") {
  const catalogue_case c{{.resort = GENERATE(0.1, 1.0), .beta = 1}};
  double mean = 0;
  for (skim::id_t id = 0; id < catalogue_case::examples; ++id)
    mean += value_of(id) / catalogue_case::examples;
  skim_test::check_unbiased(
      c, [](std::size_t, skim::id_t id) { return value_of(id); },
      [&](std::size_t) { return mean; });
}

TEST_CASE("rank_stream_sampler is unbiased for each block with beta 1", "[stat]") {
  const stream_case c{{.beta = 1, .pool = GENERATE(std::size_t{3}, std::size_t{8})}};
  const std::size_t rows = c.params.pool * stream_case::batch;
  double mean = 0;
  for (skim::id_t i = 0; i < rows; ++i) mean += value_of(i) / static_cast<double>(rows);
  skim_test::check_unbiased(
      c, [](std::size_t, skim::id_t id) { return value_of(id); },
      [&](std::size_t) { return mean; });
}

TEST_CASE("rank_stream_sampler includes by rank within the block", "[stat]") {
  constexpr std::size_t batch = 8, rows = 64, draws = 8000;
  rank_stream_sampler sampler({.pool = rows / batch}, skim::seed{2});
  const std::vector<float> features(rows, 0.0f);
  std::vector<float> scores(rows);
  for (std::size_t i = 0; i < rows; ++i) scores[i] = std::exp(static_cast<float>(i % 32));
  std::vector<std::uint64_t> drawn(rows);
  for (std::size_t t = 0; t < draws; ++t) {
    const auto b =
        sampler.select({.features = {std::span<const float>(features), rows, 1}}, batch, scores);
    for (const auto id : b.ids) ++drawn[id];
  }
  const skim::detail::rank_law law(rows, 100);
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t rank = 2 * (31 - i % 32) + (i < 32 ? 0 : 1);  // of equals the earlier first
    skim_test::check_proportion(drawn[i], draws, batch * law.probability(rank));
  }
}

TEST_CASE("impossible rank parameters are refused", "[unit]") {
  const auto refused = [](std::size_t examples, rank_params p) {
    CHECK_THROWS_AS(rank_sampler(examples, p, skim::seed{1}), skim::invalid_params);
  };
  refused(0, {});
  refused(5, {.pressure = 0.5});
  refused(5, {.pressure = std::nan("")});
  refused(5, {.resort = 0});
  refused(5, {.beta = -1});
  CHECK_THROWS_AS(rank_stream_sampler({.pool = 0}, skim::seed{1}), skim::invalid_params);
}
