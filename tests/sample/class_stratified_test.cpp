// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/class_stratified.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "laws/batch_sampler.hpp"
#include "support/catch.hpp"

namespace {

std::vector<skim::label_t> imbalanced_labels(std::size_t n, skim::random_engine g) {
  std::vector<skim::label_t> labels(n);
  for (auto& label : labels) {
    const double u = skim::uniform(g);
    label = u < 0.03 ? 7u : u < 0.2 ? 2u : 0u;  // gaps: labels need not be dense
  }
  return labels;
}

double value_of(skim::label_t label, std::size_t id) {
  return (label == 7 ? 40.0 : label == 2 ? 3.0 : 0.2) + static_cast<double>(id % 5);
}

struct catalogue_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;
  skim::class_stratified_params params;
  std::vector<skim::label_t> labels = imbalanced_labels(900, skim::random_engine(skim::seed{4}));

  [[nodiscard]] skim::class_stratified_sampler make(skim::seed s) const {
    return {labels, params, s};
  }
  static skim::drawn_batch draw(skim::class_stratified_sampler& s, std::size_t, std::size_t n) {
    return s.draw(n);
  }
  static float score(std::size_t, skim::id_t id) { return static_cast<float>(id % 3); }
};

struct stream_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;
  static constexpr std::size_t rows = batch * 8;
  skim::class_stratified_params params;

  [[nodiscard]] skim::class_stratified_stream_sampler make(skim::seed s) const {
    return {8, params, s};
  }
  static std::vector<skim::label_t> labels(std::size_t t) {
    return imbalanced_labels(rows, skim::random_engine(skim::seed{77}).child(t));
  }
  static skim::drawn_batch draw(skim::class_stratified_stream_sampler& s, std::size_t t,
                                std::size_t n) {
    static const std::vector<float> features(rows, 0.0f);
    const auto block_labels = labels(t);
    return s.select(
        {.features = {std::span<const float>(features), rows, 1}, .labels = block_labels}, n);
  }
  static float score(std::size_t, skim::id_t id) { return static_cast<float>(id % 3); }
};

}  // namespace

TEST_CASE("class_stratified_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(
      catalogue_case{GENERATE(skim::class_stratified_params{}, skim::class_balanced)});
}

TEST_CASE("class_stratified_stream_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(
      stream_case{GENERATE(skim::class_stratified_params{}, skim::class_balanced)});
}

TEST_CASE("class_stratified_sampler is unbiased", "[stat]") {
  const catalogue_case c;
  double mean = 0;
  for (std::size_t i = 0; i < c.labels.size(); ++i) mean += value_of(c.labels[i], i);
  mean /= static_cast<double>(c.labels.size());
  skim_test::check_unbiased(
      c, [&](std::size_t, skim::id_t id) { return value_of(c.labels[id], id); },
      [&](std::size_t) { return mean; });
}

TEST_CASE("class_stratified_stream_sampler is unbiased for each block", "[stat]") {
  const stream_case c;
  std::vector<skim::label_t> labels;
  std::size_t at = std::size_t(-1);
  const auto labels_of = [&](std::size_t t) -> const std::vector<skim::label_t>& {
    if (t != at) labels = stream_case::labels(at = t);
    return labels;
  };
  skim_test::check_unbiased(
      c, [&](std::size_t t, skim::id_t id) { return value_of(labels_of(t)[id], id); },
      [&](std::size_t t) {
        double sum = 0;
        for (std::size_t i = 0; i < stream_case::rows; ++i) sum += value_of(labels_of(t)[i], i);
        return sum / stream_case::rows;
      });
}

TEST_CASE("classes get the share n_c^t of every batch", "[unit]") {
  const catalogue_case c;
  std::map<skim::label_t, double> count;
  for (const auto label : c.labels) count[label] += 1;
  const double exponent = GENERATE(0.0, 0.5, 1.0);
  double total = 0;
  for (const auto& [label, n] : count) total += std::pow(n, exponent);
  skim::class_stratified_sampler sampler(c.labels, {.exponent = exponent}, skim::seed{6});
  for (int t = 0; t < 200; ++t) {
    const auto b = sampler.draw(100);
    std::map<skim::label_t, double> drawn;
    for (const auto id : b.ids) drawn[c.labels[id]] += 1;
    for (const auto& [label, n] : count)
      REQUIRE(std::abs(drawn[label] - 100 * std::pow(n, exponent) / total) < 1.0 + 1e-9);
  }
}

TEST_CASE("class_balanced gives each class the same rate and no weights", "[unit]") {
  const catalogue_case c{skim::class_balanced};
  auto sampler = c.make(skim::seed{6});
  for (int t = 0; t < 100; ++t) {
    const auto b = sampler.draw(90);
    std::map<skim::label_t, double> drawn;
    for (const auto id : b.ids) drawn[c.labels[id]] += 1;
    for (const skim::label_t label : {0u, 2u, 7u})
      REQUIRE(std::abs(drawn[label] - 30) < 1.0 + 1e-9);
    for (const float w : b.weights) REQUIRE(w == 1.0f);
  }
}

TEST_CASE("class_balanced includes the classes of a stream at the same rate", "[stat]") {
  constexpr std::size_t batch = 8, rows = 64, draws = 8000;
  const std::array<std::size_t, 3> sizes{40, 16, 8};
  std::vector<skim::label_t> labels;
  for (skim::label_t c = 0; c < 3; ++c) labels.insert(labels.end(), sizes[c], c);
  const std::vector<float> features(rows, 0.0f);
  skim::class_stratified_stream_sampler sampler(3, skim::class_balanced, skim::seed{6});
  std::vector<std::uint64_t> drawn(rows);
  for (std::size_t t = 0; t < draws; ++t) {
    const auto b = sampler.select(
        {.features = {std::span<const float>(features), rows, 1}, .labels = labels}, batch);
    for (const auto id : b.ids) ++drawn[id];
    for (const float w : b.weights) REQUIRE(w == 1.0f);
  }
  for (std::size_t i = 0; i < rows; ++i)
    skim_test::check_proportion(drawn[i], draws,
                                batch / 3.0 / static_cast<double>(sizes[labels[i]]));
}

TEST_CASE("class_stratified weights to the power beta have mean 1", "[unit]") {
  const catalogue_case exact, tempered{{.beta = 0.5}};
  auto a = exact.make(skim::seed{6}), b = tempered.make(skim::seed{6});
  for (int t = 0; t < 20; ++t) {
    const auto from_a = a.draw(60), from_b = b.draw(60);
    REQUIRE(std::equal(from_a.ids.begin(), from_a.ids.end(), from_b.ids.begin()));
    double sum = 0;
    const double factor = from_b.weights[0] / std::sqrt(from_a.weights[0]);
    for (std::size_t i = 0; i < 60; ++i) {
      sum += static_cast<double>(from_b.weights[i]);
      REQUIRE_THAT(from_b.weights[i] / std::sqrt(from_a.weights[i]),
                   Catch::Matchers::WithinRel(factor, 1e-5));
    }
    REQUIRE_THAT(sum, Catch::Matchers::WithinRel(60.0, 1e-6));
  }
}

TEST_CASE("class_stratified samplers refuse what they cannot stratify", "[unit]") {
  const std::vector<skim::label_t> none, some{0, 1};
  CHECK_THROWS_AS(skim::class_stratified_sampler(none, {}, skim::seed{1}), skim::invalid_params);
  CHECK_THROWS_AS(skim::class_stratified_sampler(some, {.exponent = -0.1}, skim::seed{1}),
                  skim::invalid_params);
  CHECK_THROWS_AS(skim::class_stratified_sampler(some, {.exponent = std::nan("")}, skim::seed{1}),
                  skim::invalid_params);
  CHECK_THROWS_AS(skim::class_stratified_sampler(some, {.beta = 1.1}, skim::seed{1}),
                  skim::invalid_params);
  CHECK_THROWS_AS(skim::class_stratified_stream_sampler(0, {}, skim::seed{1}),
                  skim::invalid_params);
  skim::class_stratified_stream_sampler stream(2, {.pool = 1}, skim::seed{1});
  const std::vector<float> features(2, 0.0f);
  const std::vector<skim::label_t> beyond{0, 2};
  CHECK_THROWS_WITH(
      stream.select({.features = {std::span<const float>(features), 2, 1}, .labels = beyond}, 2),
      Catch::Matchers::ContainsSubstring("got label 2"));
  CHECK_THROWS_WITH(stream.select({.features = {std::span<const float>(features), 2, 1}}, 2),
                    Catch::Matchers::ContainsSubstring("without labels"));
}
