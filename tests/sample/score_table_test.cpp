// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/score_table.hpp"

#include <vector>

#include "laws/batch_sampler.hpp"
#include "support/catch.hpp"

namespace {

struct catalogue_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;
  static constexpr std::size_t examples = 300;
  skim::score_table_params params;

  [[nodiscard]] skim::score_table_sampler make(skim::seed s) const { return {examples, params, s}; }
  static skim::drawn_batch draw(skim::score_table_sampler& s, std::size_t, std::size_t n) {
    return s.draw(n);
  }
  static float score(std::size_t t, skim::id_t id) {
    return id < 10 ? 20.0f : static_cast<float>((t + id) % 5) * 0.2f;  // some are 0
  }
};

double mean_value() {
  double sum = 0;
  for (std::size_t id = 0; id < catalogue_case::examples; ++id)
    sum += id < 10 ? 50.0 : static_cast<double>(id % 3);
  return sum / catalogue_case::examples;
}

}  // namespace

TEST_CASE("score_table_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(catalogue_case{});
}

TEST_CASE("score_table_sampler is unbiased with beta 1", "[stat]") {
  const double exponent = GENERATE(0.5, 1.0, 2.0);
  const catalogue_case c{{.exponent = exponent}};
  skim_test::check_unbiased(
      c, [](std::size_t, skim::id_t id) { return id < 10 ? 50.0 : static_cast<double>(id % 3); },
      [](std::size_t) { return mean_value(); });
}

TEST_CASE("drawing by score lowers the variance of sums of what the score predicts", "[stat]") {
  const auto variance = [](double share) {
    const catalogue_case c{{.uniform_share = share}};
    auto sampler = c.make(skim::seed{21});
    double sum = 0, squares = 0;
    for (std::size_t t = 0; t < 3000; ++t) {
      const auto b = skim_test::step(c, sampler, t);
      double estimate = 0;
      for (std::size_t i = 0; i < b.ids.size(); ++i)
        estimate += static_cast<double>(b.weights[i] * catalogue_case::score(0, b.ids[i]));
      sum += estimate;
      squares += estimate * estimate;
    }
    return squares / 3000 - sum / 3000 * sum / 3000;
  };
  CHECK(variance(0.2) < variance(1.0) / 2);
}

TEST_CASE("the first epoch of score_table_sampler sees every example once", "[unit]") {
  catalogue_case c;
  auto sampler = c.make(skim::seed{2});
  std::vector<int> visits(catalogue_case::examples);
  for (std::size_t t = 0; t < 10; ++t)
    for (const auto id : skim_test::step(c, sampler, t).ids) ++visits[id];
  for (const int v : visits) CHECK(v >= 1);
}

TEST_CASE("all scores zero means uniform batches", "[unit]") {
  skim::score_table_sampler sampler(50, {}, skim::seed{3});
  for (int t = 0; t < 20; ++t) {
    const auto b = sampler.draw(25);
    for (const float w : b.weights) REQUIRE(w == 1.0f);
    sampler.observe(b.ids, std::vector<float>(25, 0.0f));
  }
}

TEST_CASE("impossible score_table_sampler parameters are refused", "[unit]") {
  using skim::score_table_sampler;
  CHECK_THROWS_AS(score_table_sampler(0, {}, skim::seed{1}), skim::invalid_params);
  CHECK_THROWS_AS(score_table_sampler(5, {.uniform_share = 0}, skim::seed{1}),
                  skim::invalid_params);
  CHECK_THROWS_AS(score_table_sampler(5, {.beta = 1.5}, skim::seed{1}), skim::invalid_params);
  CHECK_THROWS_AS(score_table_sampler(5, {.exponent = -1}, skim::seed{1}), skim::invalid_params);
}
