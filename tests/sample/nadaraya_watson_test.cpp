// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/nadaraya_watson.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "laws/batch_sampler.hpp"
#include "skim/hash/sign_projection.hpp"
#include "support/catch.hpp"

namespace {

using skim::nadaraya_watson_sampler;
using skim::nadaraya_watson_sampler_params;
using skim::nadaraya_watson_stream_sampler;

constexpr std::size_t dim = 3;

/// Points of the unit cube in two classes; those of class 1 with x_0 > 0.9 are hard.
struct points {
  std::vector<float> features;
  std::vector<skim::label_t> labels;

  points(std::size_t n, skim::random_engine g) : features(n * dim), labels(n) {
    for (float& x : features) x = skim::uniform_float(g);
    for (auto& label : labels) label = static_cast<skim::label_t>(g() >> 63);
  }
  [[nodiscard]] std::size_t size() const { return labels.size(); }
  [[nodiscard]] skim::matrix_view<const float> view() const {
    return {std::span<const float>(features), size(), dim};
  }
  [[nodiscard]] bool is_hard(std::size_t i) const {
    return labels[i] == 1 && features[i * dim] > 0.9f;
  }
  [[nodiscard]] float score(std::size_t i) const { return is_hard(i) ? 1.0f : 0.02f; }
  [[nodiscard]] double value(std::size_t i) const {
    return is_hard(i) ? 30.0 : static_cast<double>(i % 3);
  }
};

nadaraya_watson_sampler_params quick(double beta = 1) {
  return {.fit_rows = 64, .beta = beta, .half_life = 2000, .warm_up = 200, .refresh = 4};
}

struct catalogue_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;
  nadaraya_watson_sampler_params params = quick();
  points data{1500, skim::random_engine(skim::seed{31})};

  [[nodiscard]] nadaraya_watson_sampler<> make(skim::seed s) const {
    return nadaraya_watson_sampler<>(data.view(), data.labels, params, s);
  }
  static skim::drawn_batch draw(nadaraya_watson_sampler<>& s, std::size_t, std::size_t n) {
    return s.draw(n);
  }
  [[nodiscard]] float score(std::size_t, skim::id_t id) const { return data.score(id); }
};

struct stream_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;
  nadaraya_watson_sampler_params params = quick();
  // What a step was offered; the trainer of a stream holds it in the same way.
  mutable std::optional<points> block;

  [[nodiscard]] nadaraya_watson_stream_sampler make(skim::seed s) const { return {2, params, s}; }
  skim::drawn_batch draw(nadaraya_watson_stream_sampler& s, std::size_t t, std::size_t n) const {
    block.emplace(s.candidates(n), skim::random_engine(skim::seed{99}).child(t));
    return s.select({.features = block->view(), .sparse_features = {}, .labels = block->labels}, n);
  }
  [[nodiscard]] float score(std::size_t, skim::id_t id) const { return block->score(id); }
};

double mean_value(const points& p) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += p.value(i);
  return sum / static_cast<double>(p.size());
}

/// Share of the drawn examples that are hard, after the sampler has learned.
template <class Case, class S, class IsHard>
double hard_share(const Case& c, S& sampler, IsHard is_hard, std::size_t steps = 200) {
  std::size_t hard = 0, all = 0;
  for (std::size_t t = 0; t < 100 + steps; ++t) {
    const auto b = skim_test::step(c, sampler, t);
    if (t < 100) continue;
    for (const auto id : b.ids) hard += is_hard(id) ? 1u : 0u;
    all += b.ids.size();
  }
  return static_cast<double>(hard) / static_cast<double>(all);
}

}  // namespace

TEST_CASE("nadaraya_watson_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(catalogue_case{});
}

TEST_CASE("nadaraya_watson_stream_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(stream_case{});
}

TEST_CASE("nadaraya_watson_sampler is unbiased with beta 1", "[stat]") {
  catalogue_case c;
  c.params.exponent = GENERATE(1.0, 2.0);
  c.params.gate.mode = skim::gate_mode::open;
  const double mean = mean_value(c.data);
  skim_test::check_unbiased(
      c, [&](std::size_t, skim::id_t id) { return c.data.value(id); },
      [&](std::size_t) { return mean; });
}

TEST_CASE("nadaraya_watson_stream_sampler is unbiased over the stream with beta 1", "[stat]") {
  stream_case c;
  c.params.gate.mode = skim::gate_mode::open;
  // Against the mean of the block: less noise than the stream's, and just as exact, as the order of a
  // block is random.
  skim_test::check_unbiased(
      c, [&](std::size_t, skim::id_t id) { return c.block->value(id); },
      [&](std::size_t) { return mean_value(*c.block); });
}

TEST_CASE("the sketch finds what is rare and hard", "[stat]") {
  const catalogue_case c;
  auto sampler = c.make(skim::seed{5});
  std::size_t hard = 0;
  for (std::size_t i = 0; i < c.data.size(); ++i) hard += c.data.is_hard(i) ? 1u : 0u;
  const double base = static_cast<double>(hard) / static_cast<double>(c.data.size());
  CHECK(hard_share(c, sampler, [&](skim::id_t id) { return c.data.is_hard(id); }) > 2 * base);
  CHECK(sampler.gate().is_open());
  CHECK(sampler.gate().last_lift().value() > 0.4);

  stream_case s;
  auto stream = s.make(skim::seed{5});
  CHECK(hard_share(s, stream, [&](skim::id_t id) { return s.block->is_hard(id); }) > 2 * 0.05);
}

TEST_CASE("weights with beta below 1 have mean 1 and lean to the hard examples", "[unit]") {
  for (const double beta : {0.0, 0.5}) {
    catalogue_case c;
    c.params = quick(beta);
    c.params.gate.mode = skim::gate_mode::open;
    auto sampler = c.make(skim::seed{6});
    for (std::size_t t = 0; t < 100; ++t) skim_test::step(c, sampler, t);
    const auto b = skim_test::step(c, sampler, 100);
    double sum = 0;
    for (const float w : b.weights) sum += static_cast<double>(w);
    CHECK_THAT(sum / static_cast<double>(b.weights.size()), Catch::Matchers::WithinAbs(1.0, 1e-5));
    if (beta == 0)
      CHECK(std::all_of(b.weights.begin(), b.weights.end(), [](float w) { return w == 1.0f; }));
  }
}

TEST_CASE("where scores cannot be predicted the gate closes and draws are class-stratified",
          "[unit]") {
  const points data(1500, skim::random_engine(skim::seed{32}));
  auto params = quick();
  params.class_exponent = 0.5;
  nadaraya_watson_sampler<> sampler(data.view(), data.labels, params, skim::seed{7});
  skim::random_engine noise(skim::seed{8});
  const auto step = [&] {
    const auto b = sampler.draw(32);
    std::vector<float> scores(b.ids.size());
    for (float& s : scores) s = 0.5f + skim::uniform_float(noise);
    sampler.observe(b.ids, scores);
    return skim_test::kept_batch(b);
  };
  for (int t = 0; t < 7 + 20; ++t) step();  // 7 steps of warm-up and what a hopeless trial takes
  CHECK_FALSE(sampler.gate().is_open());
  // Classes of nearly equal size: half of each batch, and weights by their sizes.
  std::array<std::size_t, 2> sizes{};
  for (const auto label : data.labels) ++sizes[label];
  const double root[2] = {std::sqrt(static_cast<double>(sizes[0])),
                          std::sqrt(static_cast<double>(sizes[1]))};
  for (int t = 0; t < 100; ++t) {
    const auto b = step();
    for (std::size_t i = 0; i < b.ids.size(); ++i) {
      const double mine = root[data.labels[b.ids[i]]];
      REQUIRE_THAT(b.weights[i], Catch::Matchers::WithinRel(
                                     static_cast<float>(mine * (root[0] + root[1]) / 1500), 1e-5f));
    }
  }
  CHECK(sampler.gate().steps_open() == 20);
}

TEST_CASE("rare classes are in every pool, and stay unbiased", "[stat]") {
  catalogue_case c;
  c.params.gate.mode = skim::gate_mode::open;
  c.params.class_exponent = GENERATE(0.0, 0.5, 1.0);
  for (std::size_t i = 0; i < c.data.size(); ++i)
    c.data.labels[i] = i % 300 == 7 ? 1 : 0;  // 5 of 1500
  const double mean = mean_value(c.data);
  skim_test::check_unbiased(
      c, [&](std::size_t, skim::id_t id) { return c.data.value(id); },
      [&](std::size_t) { return mean; });
}

TEST_CASE("classes of about one size are drawn uniformly, rare ones more often", "[unit]") {
  catalogue_case c;
  c.params.gate.open_lift = c.params.gate.keep_lift = c.params.gate.late_lift =
      1;  // closed after the trial
  const std::size_t one_in = GENERATE(std::size_t{4}, std::size_t{20});
  for (std::size_t i = 0; i < c.data.size(); ++i) c.data.labels[i] = i % one_in == 0 ? 1 : 0;
  auto sampler = c.make(skim::seed{5});
  for (std::size_t t = 0; t < 100; ++t) skim_test::step(c, sampler, t);
  REQUIRE_FALSE(sampler.gate().is_open());
  const auto b = sampler.draw(c.batch);
  // 1 / 4 would become .366, 1.46 times as much; 1 / 20 becomes .187, 3.7 times as much
  std::size_t rare = 0;
  for (std::size_t i = 0; i < b.ids.size(); ++i) {
    const bool is_rare = c.data.labels[b.ids[i]] == 1;
    rare += is_rare;
    if (one_in == 4)
      CHECK(b.weights[i] == 1.0f);
    else
      CHECK((b.weights[i] < 1) == is_rare);
  }
  const double share = one_in == 4 ? 0.25 : 1 / (1 + std::sqrt(19.0));
  CHECK(std::abs(static_cast<double>(rare) - share * static_cast<double>(c.batch)) <= 1);
}

TEST_CASE("an automatic beta leans where errors are rare, and is exact in the last part",
          "[unit]") {
  catalogue_case c;
  c.params.beta.reset();
  auto sampler = c.make(skim::seed{5});
  CHECK(sampler.beta() == 1.0);
  for (std::size_t t = 0; t < 100; ++t) skim_test::step(c, sampler, t);
  CHECK(sampler.gate().last_concentration().value() > 0.7);
  CHECK(sampler.beta() == 0.5);
  sampler.progress(0.69);
  CHECK(sampler.beta() == 0.5);
  sampler.progress(0.7);
  CHECK(sampler.beta() == 1.0);

  auto noisy = c.make(skim::seed{5});
  for (std::size_t t = 0; t < 100; ++t) {
    const auto b = noisy.draw(c.batch);
    std::vector<float> scores;
    for (const auto id : b.ids) scores.push_back(c.data.is_hard(id) ? 1.4f : 0.3f);
    noisy.observe(b.ids, scores);
  }
  CHECK(noisy.beta() == 1.0);
}

TEST_CASE("an automatic beta returns to 1 when residuals show a pull", "[unit]") {
  catalogue_case c;
  c.params.beta.reset();
  const double pull = GENERATE(0.0, 0.3);
  auto sampler = c.make(skim::seed{5});
  skim::random_engine noise(skim::seed{6});
  std::size_t leaning = 0;
  for (std::size_t t = 0; t < 400; ++t) {
    const auto b = sampler.draw(c.batch);
    std::vector<float> scores, residuals;
    for (const auto id : b.ids) {
      scores.push_back(c.data.score(id));
      residuals.push_back(static_cast<float>(pull + skim::normal(noise)));
      residuals.push_back(-residuals.back());
    }
    sampler.observe(b.ids, scores, {std::span<const float>(residuals), c.batch, 2});
    leaning += sampler.beta() == 0.5 ? 1u : 0u;
  }
  // Noise scale 1 / 0.09 against the 60 allowed, seen after 1024 of the 6 rows a batch.
  CHECK(sampler.beta() == (pull > 0 ? 1.0 : 0.5));
  CHECK(leaning > 100);
}

TEST_CASE("a rehashed sampler follows the new features", "[unit]") {
  catalogue_case c;
  c.params.gate = {.mode = skim::gate_mode::open, .trial = 20};
  c.params.rehash = 40;
  auto sampler = c.make(skim::seed{5});
  // What is hard has nothing to do with where it lies: only the embedding tells.
  std::vector<float> embedded(c.data.size());
  skim::random_engine g(skim::seed{8});
  for (float& x : embedded) x = skim::uniform_float(g);
  const auto score = [&](skim::id_t id) { return embedded[id] > 0.95f ? 1.0f : 0.001f; };
  std::size_t rehashes = 0, hard = 0, steps = 0;
  std::vector<float> features, scores;
  const auto embed = [&](std::span<const skim::id_t> ids) {
    features.clear();
    scores.clear();
    for (const auto id : ids) {
      features.push_back(embedded[id]);
      features.push_back(1.0f);
      scores.push_back(score(id));
    }
    return skim::embedded_examples{{std::span<const float>(features), ids.size(), 2}, scores};
  };
  for (std::size_t t = 0; t < 150; ++t) {
    const auto b = sampler.draw(c.batch);
    std::vector<float> observed;
    for (const auto id : b.ids) observed.push_back(score(id));
    if (rehashes > 0) {
      ++steps;
      for (const float s : observed) hard += s == 1.0f ? 1u : 0u;
    }
    sampler.observe(b.ids, observed);
    if (!sampler.rehash_due()) continue;
    sampler.rehash(embed, 100);
    ++rehashes;
    CHECK_FALSE(sampler.rehash_due());
    CHECK(sampler.sketch().total_weight() > 0);
  }
  CHECK(rehashes == 4);  // when the trial is passed, and every 40 steps from then on
  CHECK(static_cast<double>(hard) / static_cast<double>(steps * c.batch) > 0.25);  // of 0.05 in all

  const auto before = skim_test::image_of(sampler);
  const auto broken = [&](std::span<const skim::id_t> ids) {
    auto e = embed(ids);
    scores.back() = std::numeric_limits<float>::quiet_NaN();
    return e;
  };
  CHECK_THROWS_AS(sampler.rehash(broken), skim::invalid_input);
  const auto short_of_scores = [&](std::span<const skim::id_t> ids) {
    auto e = embed(ids);
    e.scores = e.scores.first(1);
    return e;
  };
  CHECK_THROWS_WITH(sampler.rehash(short_of_scores),
                    Catch::Matchers::ContainsSubstring("1 scores"));
  CHECK_THROWS_AS(sampler.rehash(embed, 0), skim::invalid_input);
  CHECK(skim_test::image_of(sampler) == before);
}

TEST_CASE("residuals of a wrong shape or not finite are refused before anything changes",
          "[unit]") {
  catalogue_case c;
  auto sampler = c.make(skim::seed{5});
  for (std::size_t t = 0; t < 50; ++t) skim_test::step(c, sampler, t);
  const auto b = skim_test::kept_batch(sampler.draw(c.batch));
  const auto before = skim_test::image_of(sampler);
  const std::vector<float> scores(c.batch, 0.5f);
  std::vector<float> residuals(2 * c.batch, 0.1f);
  CHECK_THROWS_WITH(
      sampler.observe(b.ids, scores,
                      {std::span<const float>(residuals).first(c.batch), c.batch / 2, 2}),
      Catch::Matchers::ContainsSubstring("16 rows of residuals, wanted 32"));
  residuals[1] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(sampler.observe(b.ids, scores, {std::span<const float>(residuals), c.batch, 2}),
                  skim::invalid_input);
  CHECK(skim_test::image_of(sampler) == before);
}

TEST_CASE("a reopened gate learns from scratch before it samples", "[unit]") {
  catalogue_case c;
  c.params.gate.retry = 5;
  const points& data = c.data;
  auto sampler = c.make(skim::seed{9});
  skim::random_engine noise(skim::seed{8});
  std::size_t reopened = 0;
  bool was_open = true;
  for (std::size_t t = 0; t < 300; ++t) {
    const auto b = sampler.draw(32);
    const bool open = sampler.gate().is_open();
    if (open && !was_open) {
      ++reopened;
      CHECK(sampler.sketch().total_weight() == 0.0);
    }
    was_open = open;
    std::vector<float> scores(b.ids.size());
    for (float& s : scores) s = skim::uniform_float(noise);
    sampler.observe(b.ids, scores);
    was_open = sampler.gate().is_open();
  }
  CHECK(reopened >= 1);
  CHECK(data.size() == sampler.examples());
}

TEST_CASE("sparse and dense rows of the same points are sampled alike", "[unit]") {
  // Rows with two of six coordinates set.
  constexpr std::size_t n = 400, d = 6;
  skim::random_engine g(skim::seed{12});
  std::vector<float> dense(n * d, 0.0f), values;
  std::vector<std::size_t> offsets{0};
  std::vector<skim::id_t> indices;
  std::vector<skim::label_t> labels(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto a = static_cast<skim::id_t>(skim::uniform_below(g, 3));
    const auto b = static_cast<skim::id_t>(3 + skim::uniform_below(g, 3));
    for (const auto j : {a, b}) {
      dense[i * d + j] = 1.0f + skim::uniform_float(g);
      indices.push_back(j);
      values.push_back(dense[i * d + j]);
    }
    offsets.push_back(indices.size());
    labels[i] = a;
  }
  const skim::sparse_view sparse(offsets, indices, values, d);
  const skim::matrix_view<const float> rows(std::span<const float>(dense), n, d);
  const auto family = skim::fern_family::fit(rows, {.hashes = 4, .bits = 6}, skim::seed{3});
  nadaraya_watson_sampler<> from_dense(family, rows, labels, quick(), skim::seed{4});
  nadaraya_watson_sampler<> from_sparse(family, sparse, labels, quick(), skim::seed{4});
  CHECK(skim_test::image_of(from_dense) == skim_test::image_of(from_sparse));
  nadaraya_watson_sampler<> fitted(sparse, labels, quick(), skim::seed{4});
  CHECK(fitted.draw(16).ids.size() == 16);
}

TEST_CASE("any family with 16-bit codes will do", "[unit]") {
  const points data(300, skim::random_engine(skim::seed{33}));
  const skim::dense_sign_projection family({.dim = dim, .bits = 8, .hashes = 4}, skim::seed{1});
  nadaraya_watson_sampler sampler(family, data.view(), data.labels, quick(), skim::seed{2});
  for (int t = 0; t < 60; ++t) {
    const auto b = sampler.draw(20);
    sampler.observe(b.ids, std::vector<float>(b.ids.size(), 1.0f));
  }
  const skim::dense_sign_projection wide({.dim = dim, .bits = 17, .hashes = 2}, skim::seed{1});
  CHECK_THROWS_AS(nadaraya_watson_sampler(wide, data.view(), data.labels, quick(), skim::seed{2}),
                  skim::invalid_params);
}

TEST_CASE("a copied sampler goes on by itself", "[unit]") {
  const catalogue_case c;
  auto a = c.make(skim::seed{3});
  for (std::size_t t = 0; t < 50; ++t) skim_test::step(c, a, t);
  auto b = a;
  {
    auto moved = std::move(a);
    a = moved;
  }
  for (std::size_t t = 50; t < 80; ++t)
    REQUIRE(skim_test::step(c, a, t) == skim_test::step(c, b, t));
}

TEST_CASE("nadaraya_watson samplers refuse what they cannot work with", "[unit]") {
  const points data(100, skim::random_engine(skim::seed{34}));
  const auto make = [&](nadaraya_watson_sampler_params p) {
    return nadaraya_watson_sampler<>(data.view(), data.labels, p, skim::seed{1});
  };
  CHECK_THROWS_AS(make({.pool = 0}), skim::invalid_params);
  CHECK_THROWS_AS(make({.uniform_share = 0}), skim::invalid_params);
  CHECK_THROWS_AS(make({.beta = 2}), skim::invalid_params);
  CHECK_THROWS_AS(make({.half_life = 0}), skim::invalid_params);
  CHECK_THROWS_AS(make({.bits = 17}), skim::invalid_params);
  CHECK_THROWS_AS(make({.width = 1000}), skim::invalid_params);
  CHECK_THROWS_AS(make({.width = 131072}), skim::invalid_params);
  CHECK_THROWS_AS(make({.class_exponent = 1.5}), skim::invalid_params);
  CHECK_THROWS_AS(make({.rare_errors = std::nan("")}), skim::invalid_params);
  CHECK_THROWS_AS(nadaraya_watson_sampler<>(data.view().rows(0, 0), {}, {}, skim::seed{1}),
                  skim::invalid_params);
  CHECK_THROWS_WITH(
      nadaraya_watson_sampler<>(data.view(), std::span(data.labels).first(99), {}, skim::seed{1}),
      Catch::Matchers::ContainsSubstring("99 labels for 100 examples"));
  auto broken = data;
  broken.features[50] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(nadaraya_watson_sampler<>(broken.view(), broken.labels, {}, skim::seed{1}),
                  skim::invalid_input);

  nadaraya_watson_stream_sampler stream(2, quick(), skim::seed{1});
  CHECK_THROWS_AS(stream.gate(), skim::invalid_input);
  const points block(stream.candidates(32), skim::random_engine(skim::seed{2}));
  CHECK_THROWS_WITH(
      stream.select({.features = block.view(), .sparse_features = {}, .labels = {}}, 32),
      Catch::Matchers::ContainsSubstring("no labels"));
  auto wrong = block.labels;
  wrong.back() = 2;
  CHECK_THROWS_WITH(
      stream.select({.features = block.view(), .sparse_features = {}, .labels = wrong}, 32),
      Catch::Matchers::ContainsSubstring("got label 2"));
}
