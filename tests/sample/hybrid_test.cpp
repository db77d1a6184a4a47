// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/hybrid.hpp"

#include <vector>

#include "laws/batch_sampler.hpp"
#include "skim/hash/sign_projection.hpp"
#include "support/catch.hpp"

namespace {

using skim::hybrid_params;
using skim::hybrid_sampler;
using skim::nadaraya_watson_sampler;

constexpr std::size_t dim = 3, examples = 1500;

skim::nadaraya_watson_sampler_params quick() {
  skim::nadaraya_watson_sampler_params p{
      .fit_rows = 64, .beta = 1, .half_life = 2000, .warm_up = 200, .refresh = 4};
  p.gate.mode = skim::gate_mode::open;
  return p;
}

/// Points of the unit cube; which of them are hard has nothing to do with where they are.
struct catalogue_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;
  hybrid_params params{.sketch = quick()};
  std::vector<float> features;
  std::vector<skim::label_t> labels;

  catalogue_case() : features(examples * dim), labels(examples) {
    skim::random_engine g(skim::seed{31});
    for (float& x : features) x = skim::uniform_float(g);
    for (auto& label : labels) label = static_cast<skim::label_t>(g() >> 63);
  }
  [[nodiscard]] skim::matrix_view<const float> view() const {
    return {std::span<const float>(features), examples, dim};
  }
  [[nodiscard]] hybrid_sampler<> make(skim::seed s) const {
    return hybrid_sampler<>(view(), labels, params, s);
  }
  template <class S>
  static skim::drawn_batch draw(S& s, std::size_t, std::size_t n) {
    return s.draw(n);
  }
  static bool is_hard(skim::id_t id) { return id % 20 == 7; }
  [[nodiscard]] static float score(std::size_t, skim::id_t id) {
    return is_hard(id) ? 1.0f : 0.02f;
  }
};

/// Share of the drawn examples that are hard, after the sampler has seen them all.
template <class S>
double hard_share(const catalogue_case& c, S sampler) {
  std::size_t hard = 0, all = 0;
  for (std::size_t t = 0; t < 500; ++t) {
    const auto b = skim_test::step(c, sampler, t);
    if (t < 250) continue;
    for (const auto id : b.ids) hard += catalogue_case::is_hard(id) ? 1u : 0u;
    all += b.ids.size();
  }
  return static_cast<double>(hard) / static_cast<double>(all);
}

}  // namespace

TEST_CASE("hybrid_sampler keeps the laws of batch samplers", "[law]") {
  catalogue_case c;
  c.params.sketch.gate.mode = GENERATE(skim::gate_mode::open, skim::gate_mode::automatic);
  skim_test::batch_sampler_laws(c);
}

TEST_CASE("hybrid_sampler is unbiased with beta 1", "[stat]") {
  catalogue_case c;
  c.params.horizon = GENERATE(500u, 50000u);
  const auto value = [](skim::id_t id) {
    return catalogue_case::is_hard(id) ? 30.0 : static_cast<double>(id % 3);
  };
  double mean = 0;
  for (skim::id_t id = 0; id < examples; ++id) mean += value(id) / examples;
  skim_test::check_unbiased(
      c, [&](std::size_t, skim::id_t id) { return value(id); }, [&](std::size_t) { return mean; });
}

TEST_CASE("hybrid_sampler remembers hard examples that no neighbour tells of", "[unit]") {
  const catalogue_case c;
  const double learned =
      hard_share(c, nadaraya_watson_sampler<>(c.view(), c.labels, c.params.sketch, skim::seed{5}));
  const double remembered = hard_share(c, c.make(skim::seed{5}));
  CHECK(learned < 0.15);  // 5 % are hard
  CHECK(remembered > 0.25);
}

TEST_CASE("a hybrid_sampler that trusts no memory draws as the sketch says", "[unit]") {
  catalogue_case c;
  c.params.horizon = 0;
  auto hybrid = c.make(skim::seed{8});
  nadaraya_watson_sampler<> sketch(c.view(), c.labels, c.params.sketch, skim::seed{8});
  for (std::size_t t = 0; t < 60; ++t)
    REQUIRE(skim_test::step(c, hybrid, t) == skim_test::step(c, sketch, t));
}

TEST_CASE("hybrid_sampler takes sparse rows and families of the caller's", "[unit]") {
  const std::vector<std::size_t> offsets{0, 1, 2, 3, 4};
  const std::vector<skim::id_t> indices{0, 1, 0, 1};
  const std::vector<float> values{1, 2, 3, 4};
  const skim::sparse_view rows(offsets, indices, values, 2);
  hybrid_sampler sparse(rows, {}, {.sketch = quick()}, skim::seed{1});
  CHECK(sparse.draw(4).ids.size() == 4);
  const catalogue_case c;
  const skim::sign_projection family({.dim = dim, .bits = 6, .hashes = 4}, skim::seed{2});
  hybrid_sampler<skim::sign_projection> own(family, c.view(), c.labels, c.params, skim::seed{1});
  for (std::size_t t = 0; t < 60; ++t) REQUIRE(skim_test::step(c, own, t).ids.size() == c.batch);
  CHECK(own.gate().is_open());
  CHECK(own.examples() == examples);
}

TEST_CASE("hybrid_sampler refuses what its parts refuse", "[unit]") {
  const catalogue_case c;
  hybrid_params bad = c.params;
  bad.sketch.pool = 0;
  CHECK_THROWS_AS(hybrid_sampler<>(c.view(), c.labels, bad, skim::seed{1}), skim::invalid_params);
  CHECK_THROWS_AS(hybrid_sampler<>(c.view(), std::span(c.labels).first(3), c.params, skim::seed{1}),
                  skim::invalid_input);
}
