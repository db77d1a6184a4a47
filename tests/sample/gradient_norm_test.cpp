// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/gradient_norm.hpp"

#include <cmath>
#include <vector>

#include "laws/batch_sampler.hpp"
#include "support/catch.hpp"

namespace {

using skim::gradient_norm_params;
using skim::gradient_norm_sampler;
using skim::gradient_norm_stream_sampler;

/// A tenth of the examples is hard; what is estimated is larger there, but not in proportion.
float score_of(skim::id_t id) {
  return id % 10 == 3 ? 4.0f : 0.05f * static_cast<float>(1 + id % 7);
}
double value_of(skim::id_t id) {
  return static_cast<double>(score_of(id)) * (id % 2 == 0 ? 3.0 : -1.0) + 0.1;
}

struct catalogue_case {
  static constexpr std::size_t batch = 32, scored = 40, examples = 960;
  static constexpr bool seeds_matter = true;
  gradient_norm_params params;

  [[nodiscard]] gradient_norm_sampler make(skim::seed s) const { return {examples, params, s}; }
  skim::drawn_batch draw(gradient_norm_sampler& s, std::size_t t, std::size_t n) const {
    return skim_test::propose_and_draw(*this, s, t, n);
  }
  static float score(std::size_t, skim::id_t id) { return score_of(id); }
};

struct stream_case {
  static constexpr std::size_t batch = 32, scored = 40;
  static constexpr bool seeds_matter = true;
  gradient_norm_params params;

  [[nodiscard]] gradient_norm_stream_sampler make(skim::seed s) const { return {params, s}; }
  skim::drawn_batch draw(gradient_norm_stream_sampler& s, std::size_t t, std::size_t n) const {
    return skim_test::offer_and_select(*this, s, t, n);
  }
  // The block of step t, so that hard examples are at other places each time.
  static float score(std::size_t t, skim::id_t row) {
    return score_of(row + static_cast<skim::id_t>(t) % 10);
  }
};

}  // namespace

TEST_CASE("gradient_norm samplers keep the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(catalogue_case{});
  skim_test::scoring_batch_sampler_laws(catalogue_case{});
}

TEST_CASE("gradient_norm stream samplers keep the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(stream_case{});
  skim_test::scoring_stream_sampler_laws(stream_case{});
}

TEST_CASE("gradient_norm_sampler is unbiased with beta 1, gate open or not", "[stat]") {
  const catalogue_case c{{.threshold = GENERATE(0.0, 2.0, 100.0)}};
  double mean = 0;
  for (skim::id_t id = 0; id < catalogue_case::examples; ++id)
    mean += value_of(id) / catalogue_case::examples;
  skim_test::check_unbiased(
      c, [](std::size_t, skim::id_t id) { return value_of(id); },
      [&](std::size_t) { return mean; });
}

TEST_CASE("gradient_norm_stream_sampler is unbiased for each block with beta 1", "[stat]") {
  const stream_case c{{.threshold = 0}};
  const auto value = [](std::size_t t, skim::id_t row) {
    return value_of(row + static_cast<skim::id_t>(t) % 10);
  };
  constexpr std::size_t rows = 3 * stream_case::batch;
  skim_test::check_unbiased(c, value, [&](std::size_t t) {
    double sum = 0;
    for (skim::id_t i = 0; i < rows; ++i) sum += value(t, i);
    return sum / rows;
  });
}

TEST_CASE("the variance of a resampled batch follows the formula", "[stat]") {
  // (estimate - mean)^2 over draws from one pool has (sum f^2 / p - (sum f)^2) / batch / B^2 for mean.
  constexpr std::size_t batch = 32, rows = 3 * batch;
  gradient_norm_stream_sampler sampler({.threshold = 0}, skim::seed{8});
  const std::vector<float> features(rows, 0.0f);
  const skim::stream_block block{.features = {std::span<const float>(features), rows, 1}};
  std::vector<float> scores(rows);
  double total = 0, sum = 0, second = 0;
  for (skim::id_t i = 0; i < rows; ++i) {
    scores[i] = score_of(i);
    total += static_cast<double>(scores[i]);
    sum += value_of(i);
  }
  for (skim::id_t i = 0; i < rows; ++i)
    second += value_of(i) * value_of(i) * total / static_cast<double>(scores[i]);
  const double variance = (second - sum * sum) / batch / (rows * rows);
  const std::vector<float> some(batch, 1.0f);
  auto b = sampler.select({.features = block.features.rows(0, batch)}, batch, {});
  sampler.observe(b.ids, some);  // opens the gate
  std::vector<double> squares;
  for (int t = 0; t < 4000; ++t) {
    b = sampler.select(block, batch, scores);
    double estimate = 0;
    for (std::size_t i = 0; i < batch; ++i)
      estimate += static_cast<double>(b.weights[i]) * value_of(b.ids[i]) / batch;
    squares.push_back((estimate - sum / rows) * (estimate - sum / rows));
  }
  skim_test::check_mean(squares, variance);
}

TEST_CASE("variance_gain is the paper's tau, and the ratio of second moments", "[unit]") {
  const std::vector<float> scores{0.5f, 2.0f, 0.25f, 1.0f, 7.0f, 0.0f};
  const auto count = static_cast<double>(scores.size());
  double total = 0, squares = 0, distance = 0, uniform = 0, sampled = 0;
  for (const float s : scores) total += static_cast<double>(s);
  for (const float s : scores) {
    const double g = static_cast<double>(s) / total;
    squares += g * g;
    distance += (g - 1 / count) * (g - 1 / count);
    // E[(w f)^2] for f = s: under p = 1 / n with w = 1, under p = g with w = 1 / (n g)
    uniform += static_cast<double>(s * s) / count;
    if (s > 0) sampled += g * static_cast<double>(s * s) / (count * g) / (count * g);
  }
  const double tau = skim::variance_gain(scores);
  CHECK_THAT(tau, Catch::Matchers::WithinRel(1 / std::sqrt(1 - distance / squares), 1e-12));
  CHECK_THAT(tau * tau, Catch::Matchers::WithinRel(uniform / sampled, 1e-12));
  CHECK(skim::variance_gain(std::vector<float>(5, 0.3f)) == 1.0);
  CHECK(skim::variance_gain(std::vector<float>(5, 0.0f)) == 1.0);
}

TEST_CASE("the gate of gradient_norm_sampler follows the variance gain", "[unit]") {
  gradient_norm_sampler sampler(1000, {}, skim::seed{2});
  const auto train = [&](float hard) {  // one in sixteen examples has this score, the others 1
    const auto score = [&](skim::id_t id) { return id % 16 == 0 ? hard : 1.0f; };
    std::vector<float> scores;
    for (const auto id : sampler.propose(64)) scores.push_back(score(id));
    const auto b = sampler.draw(64, scores);
    std::vector<float> observed;
    for (const auto id : b.ids) observed.push_back(score(id));
    sampler.observe(b.ids, observed);
    return !scores.empty();
  };
  for (int t = 0; t < 100; ++t) REQUIRE_FALSE(train(2));
  bool opened = false;
  for (int t = 0; t < 100; ++t) opened = train(100);  // tau near 3.4, above (3 b + 3 b) / (3 b)
  CHECK(opened);
  CHECK(sampler.tau() > 2);
  for (int t = 0; t < 100; ++t) opened = train(2);
  CHECK_FALSE(opened);
}

TEST_CASE("candidates without any score give the plain batch", "[unit]") {
  gradient_norm_sampler sampler(100, {.threshold = 0}, skim::seed{3});
  for (int t = 0; t < 5; ++t) {
    const std::vector<float> zeros(sampler.propose(20).size(), 0.0f);
    const auto b = sampler.draw(20, zeros);
    for (const float w : b.weights) REQUIRE(w == 1.0f);
    sampler.observe(b.ids, std::vector<float>(20, 0.0f));
  }
  CHECK(sampler.wants_scores());
}

TEST_CASE("impossible gradient_norm_sampler parameters are refused", "[unit]") {
  const auto refused = [](std::size_t examples, gradient_norm_params p) {
    CHECK_THROWS_AS(gradient_norm_sampler(examples, p, skim::seed{1}), skim::invalid_params);
  };
  refused(0, {});
  refused(5, {.pool = 0});
  refused(5, {.threshold = -1});
  refused(5, {.threshold = std::nan("")});
  refused(5, {.smoothing = 1});
  refused(5, {.beta = 1.5});
  gradient_norm_stream_sampler closed({}, skim::seed{1});
  const std::vector<float> features(8, 0.0f);
  CHECK_THROWS_AS(
      closed.select({.features = {std::span<const float>(features), 8, 1}}, 8, features),
      skim::invalid_input);  // scores that were not wanted
}
