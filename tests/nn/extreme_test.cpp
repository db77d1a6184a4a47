// SPDX-License-Identifier: Apache-2.0
//
// The classifier as a whole, exact search, and the index that finds nearly the same.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "skim/nn/extreme_classifier.hpp"
#include "skim/nn/label_index.hpp"
#include "skim/nn/top_labels.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using skim::extreme_classifier;
using skim::extreme_classifier_params;
using skim::invalid_input;
using skim::invalid_params;
using skim::label_index;
using skim::label_index_params;
using skim::label_score;

// Examples of topics: a topic has its own tokens and its own labels.
struct topics {
  static constexpr std::size_t count = 40, tokens = 400, labels = 320;
  explicit topics(std::size_t n, std::uint64_t s) {
    x.cols = tokens;
    skim::random_engine g(skim::seed{s});
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t t = skim::uniform_below(g, count);
      std::vector<std::pair<skim::id_t, float>> row;
      std::vector<skim::label_t> own;
      for (std::size_t k = 0; k < 10; ++k)
        if (skim::uniform(g) < 0.5) row.emplace_back(static_cast<skim::id_t>(10 * t + k), 0.4f);
      for (std::size_t k = 0; k < 8; ++k)
        if (skim::uniform(g) < 0.3) own.push_back(static_cast<skim::label_t>(8 * t + k));
      x.push_back(row);
      ids.insert(ids.end(), own.begin(), own.end());
      offsets.push_back(ids.size());
    }
    rows.resize(n);
    std::iota(rows.begin(), rows.end(), skim::id_t{0});
  }
  [[nodiscard]] skim::label_sets sets() const { return {offsets, ids}; }

  skim_test::sparse_points x;
  std::vector<std::size_t> offsets{0};
  std::vector<skim::label_t> ids;
  std::vector<skim::id_t> rows;
};

extreme_classifier_params small() {
  extreme_classifier_params p;
  p.outputs = topics::labels;
  p.hidden = 32;
  p.batch = 64;
  return p;
}

void train(extreme_classifier& model, const topics& data, std::size_t epochs) {
  const std::size_t batches = data.rows.size() / 64;
  for (std::size_t e = 0; e < epochs; ++e)
    for (std::size_t b = 0; b < batches; ++b)
      model.step(data.x.view(), data.sets(), std::span(data.rows).subspan(b * 64, 64),
                 model.rate(e * batches + b, epochs * batches));
}

double precision(const extreme_classifier& model, const topics& data) {
  std::vector<label_score> best(data.rows.size());
  model.search(data.x.view(), data.rows, {best.data(), best.size(), 1});
  std::size_t right = 0;
  for (std::size_t i = 0; i < best.size(); ++i) {
    const auto own = data.sets()[i];
    if (std::binary_search(own.begin(), own.end(), best[i].label)) ++right;
  }
  return static_cast<double>(right) / static_cast<double>(best.size());
}

std::vector<float> hidden_of(const extreme_classifier& model, const topics& data) {
  const std::size_t width = model.parameters().hidden;
  std::vector<float> h(data.rows.size() * width);
  for (std::size_t i = 0; i < data.rows.size(); ++i)
    model.hidden(data.x.row(i), std::span(h).subspan(i * width, width));
  return h;
}

}  // namespace

TEST_CASE("the best few are found in any order, ties to the lower label", "[unit]") {
  skim::random_engine g(skim::seed{1});
  for (const std::size_t n : {1u, 5u, 31u, 64u, 500u}) {
    std::vector<float> scores(n);
    for (float& s : scores) s = static_cast<float>(skim::uniform_below(g, 20));
    std::vector<label_score> all(n);
    for (std::size_t i = 0; i < n; ++i) all[i] = {static_cast<skim::label_t>(i + 3), scores[i]};
    std::vector<label_score> sorted = all;
    std::sort(sorted.begin(), sorted.end());
    for (const std::size_t k : {1u, 4u}) {
      std::vector<label_score> a(k), b(k), c(k);
      skim::top_labels at_once(a), portable(b), shuffled(c);
      at_once.offer_all(scores, 3);
      portable.offer_all<skim::simd::portable_arch>(scores, 3);
      skim::shuffle(std::span(all), g);
      for (const label_score& s : all) shuffled.offer(s);
      sorted.resize(std::max(n, k));
      for (const auto* found : {&a, &b, &c})
        CHECK(std::equal(found->begin(), found->end(), sorted.begin()));
    }
  }
}

TEST_CASE("a classifier with nothing but its number of outputs learns", "[unit][stat]") {
  const topics data(1280, 1), other(400, 2);
  for (const bool dense : {false, true}) {
    extreme_classifier_params p = small();
    if (dense) p.selection = skim::output_selection::dense;
    extreme_classifier model(p, data.x.view(), data.sets(), skim::seed{3});
    CHECK(model.parameters().inputs == topics::tokens);
    CHECK(model.tuned().learning_rate > 0);
    CHECK(model.bytes() > 12 * (topics::tokens + topics::labels) * 32);
    train(model, data, 6);
    model.settle();
    if (dense) CHECK(model.last_active() == topics::labels);
    // Eight labels a topic, .3 each: a guess within the topic is right in .3 of the cases.
    CHECK(precision(model, other) > 0.2);
  }
}

TEST_CASE("a loaded classifier trains on bit for bit", "[unit]") {
  const topics data(640, 1);
  extreme_classifier a(small(), data.x.view(), data.sets(), skim::seed{3});
  train(a, data, 1);
  skim::writer out;
  a.save(out);
  skim::reader in(out.bytes());
  extreme_classifier b = extreme_classifier::load(in);
  CHECK(b.parameters().hidden == 32);
  CHECK(b.tuned().negatives == a.tuned().negatives);
  train(a, data, 1);
  train(b, data, 1);
  skim::writer first, second;
  a.save(first);
  b.save(second);
  CHECK(std::equal(first.bytes().begin(), first.bytes().end(), second.bytes().begin(),
                   second.bytes().end()));
}

TEST_CASE("searches of a classifier agree with its scores, for any number of threads", "[unit]") {
  const topics data(640, 1);
  extreme_classifier model(small(), data.x.view(), data.sets(), skim::seed{3});
  train(model, data, 1);
  model.settle();
  std::vector<label_score> best(data.rows.size() * 3), again = best;
  skim::thread_executor threads(3);
  model.search(data.x.view(), data.rows, {best.data(), data.rows.size(), 3});
  model.search(data.x.view(), data.rows, {again.data(), data.rows.size(), 3}, threads);
  CHECK(best == again);
  const std::vector<float> h = hidden_of(model, data);
  for (std::size_t i = 0; i < 50; ++i) {
    const std::span<const float> row = std::span(h).subspan(i * 32, 32);
    std::vector<double> scores(topics::labels);
    for (std::size_t o = 0; o < scores.size(); ++o)
      scores[o] = skim_test::dot(row, model.output().weights().row(o)) +
                  static_cast<double>(model.output().biases()[o]);
    std::sort(scores.rbegin(), scores.rend());
    for (std::size_t k = 0; k < 3; ++k)
      REQUIRE(std::abs(static_cast<double>(best[i * 3 + k].score) - scores[k]) < 1e-4);
  }
}

TEST_CASE("a classifier refuses what does not fit", "[unit]") {
  const topics data(64, 1), fewer(63, 1);
  const auto make = [&](auto change) {
    extreme_classifier_params p = small();
    change(p);
    return extreme_classifier(p, data.x.view(), data.sets(), skim::seed{1});
  };
  CHECK_THROWS_AS(make([](auto& p) { p.outputs = 0; }), invalid_params);
  CHECK_THROWS_AS(make([](auto& p) { p.hidden = 0; }), invalid_params);
  CHECK_THROWS_AS(make([](auto& p) { p.batch = 0; }), invalid_params);
  CHECK_THROWS_AS(make([](auto& p) { p.negatives = -1; }), invalid_params);
  CHECK_THROWS_AS(make([](auto& p) { p.learning_rate = 0; }), invalid_params);
  CHECK_THROWS_AS(make([](auto& p) { p.inputs = 3; }), invalid_input);
  CHECK_THROWS_AS(make([](auto& p) { p.outputs = 10; }), invalid_input);  // labels beyond
  CHECK_THROWS_AS(extreme_classifier(small(), data.x.view(), fewer.sets(), skim::seed{1}),
                  invalid_input);
  extreme_classifier model = make([](auto&) {});
  const std::vector<skim::id_t> beyond{64}, many(65, 0), one{1};
  const auto step = [&](std::span<const skim::id_t> rows, double rate) {
    (void)model.step(data.x.view(), data.sets(), rows, rate);
  };
  CHECK_THROWS_AS(step(beyond, 0.1), invalid_input);
  CHECK_THROWS_AS(step(many, 0.1), invalid_input);
  CHECK_THROWS_AS(step({}, 0.1), invalid_input);
  CHECK_THROWS_AS(step(one, std::numeric_limits<double>::infinity()), invalid_input);
  CHECK(model.steps() == 0);
  std::vector<label_score> best(2);
  CHECK_THROWS_AS(model.search(data.x.view(), one, {best.data(), 2, 1}), invalid_input);
  CHECK_THROWS_AS(model.search(data.x.view(), beyond, {best.data(), 1, 2}), invalid_input);
}

TEST_CASE("an index finds what exact search finds, nearly always", "[unit][stat]") {
  const topics data(1280, 1), other(400, 2);
  extreme_classifier model(small(), data.x.view(), data.sets(), skim::seed{3});
  train(model, data, 4);
  model.settle();
  const std::vector<float> h = hidden_of(model, data), q = hidden_of(model, other);
  const skim::matrix_view<const float> sample(h.data(), data.rows.size(), 32);
  std::vector<label_score> exact(data.rows.size() * 5), wanted(other.rows.size() * 5), best(5);
  model.search(data.x.view(), data.rows, {exact.data(), data.rows.size(), 5});
  model.search(other.x.view(), other.rows, {wanted.data(), other.rows.size(), 5});
  skim::workspace scratch;

  SECTION("the sample's own points, all exact, in their own cell") {
    label_index_params p;
    p.exact_points = 0;
    p.list = 320;
    p.groups_probed = p.cells_probed = 1;
    const label_index index(p, model.output(), sample, {}, skim::seed{1});
    for (std::size_t i = 0; i < data.rows.size(); ++i) {
      index.search(model.output(), sample.row(i), best, scratch);
      for (std::size_t k = 0; k < 5; ++k)
        REQUIRE(std::abs(best[k].score - exact[i * 5 + k].score) < 1e-4f);
    }
  }
  SECTION("held-out points") {
    label_index_params p;
    p.exact_points = 300;
    const label_index index(p, model.output(), sample, data.sets(), skim::seed{1});
    skim::thread_executor threads(3);
    const label_index same(p, model.output(), sample, data.sets(), skim::seed{1}, threads);
    CHECK(skim_test::image_of(index) == skim_test::image_of(same));
    CHECK(index.cells() >= 40);
    CHECK(index.bytes() < 4 * (index.cells() + index.groups()) * (32 + 320));
    std::size_t found = 0, rows = 0;
    for (std::size_t i = 0; i < other.rows.size(); ++i) {
      rows += index.search(model.output(), std::span(q).subspan(i * 32, 32), best, scratch);
      CHECK(std::is_sorted(best.begin(), best.end()));
      for (std::size_t k = 0; k < 5; ++k)
        for (const label_score& b : best)
          if (b.label == wanted[i * 5 + k].label) ++found;
      for (std::size_t k = 1; k < 5; ++k) CHECK(best[k].label != best[k - 1].label);
    }
    CHECK(static_cast<double>(found) > 0.9 * 5 * static_cast<double>(other.rows.size()));
    CHECK(rows < other.rows.size() * topics::labels);

    skim::writer out;
    index.save(out);
    skim::reader in(out.bytes());
    const label_index loaded = label_index::load(in);
    std::vector<label_score> again(5);
    index.search(model.output(), std::span(q).first(32), best, scratch);
    loaded.search(model.output(), std::span(q).first(32), again, scratch);
    CHECK(best == again);
  }
}

TEST_CASE("indexes refuse bad samples, parameters and bytes", "[unit][fuzz]") {
  const skim::sparse_linear layer({.inputs = 2, .outputs = 5}, skim::seed{1});
  auto h = skim_test::gaussian_points(9, 2, skim::seed{1});
  const auto make = [&](label_index_params p) {
    return label_index(p, layer, h.view(), {}, skim::seed{1});
  };
  CHECK_THROWS_AS(make({.cell_points = 0}), invalid_params);
  CHECK_THROWS_AS(make({.list = 0}), invalid_params);
  CHECK_THROWS_AS(make({.depth = 0}), invalid_params);
  CHECK_THROWS_AS(make({.groups_probed = 0}), invalid_params);
  CHECK_THROWS_AS(make({.cells_probed = 0}), invalid_params);
  CHECK_THROWS_AS(label_index({}, layer, h.view().rows(0, 0), {}, skim::seed{1}), invalid_input);
  const auto wide = skim_test::gaussian_points(9, 3, skim::seed{1});
  CHECK_THROWS_AS(label_index({}, layer, wide.view(), {}, skim::seed{1}), invalid_input);
  label_index index = make({.cell_points = 3, .list = 2});
  CHECK_THROWS_AS(index.set_probes(0, 1), invalid_params);
  index.set_probes(2, 2);
  CHECK(index.parameters().cells_probed == 2);
  skim_test::check_refuses_damage(index);
  h.row(4)[1] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(make({}), invalid_input);
}
