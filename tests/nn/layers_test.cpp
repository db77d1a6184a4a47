// SPDX-License-Identifier: Apache-2.0
//
// Layers with active rows: products and gradients against a double reference, equal results for any
// number of threads, training that goes on after loading, no allocation once warm.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "skim/nn/activation.hpp"
#include "skim/nn/active_set.hpp"
#include "skim/nn/sampled_loss.hpp"
#include "skim/nn/selector.hpp"
#include "skim/nn/sparse_embedding.hpp"
#include "skim/nn/sparse_linear.hpp"
#include "support/allocations.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using skim::invalid_input;
using skim::invalid_params;
using skim::lazy_optimizer_params;
using skim::sparse_embedding;
using skim::sparse_linear;
using skim::update_rule;

lazy_optimizer_params plain_descent() {
  lazy_optimizer_params p;
  p.rule = update_rule::momentum;
  p.momentum = 0;
  return p;
}

std::vector<skim::id_t> distinct_ids(std::size_t count, std::size_t n, skim::seed s) {
  std::vector<skim::id_t> ids(n);
  for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<skim::id_t>(i);
  skim::random_engine g(s);
  skim::shuffle(std::span(ids), g);
  ids.resize(count);
  return ids;
}

double at(float x) {
  return static_cast<double>(x);
}

// A small network over generated sparse rows: label l of an example is among its tokens as l.
struct toy {
  static constexpr std::size_t tokens = 300, outputs = 200, width = 24, batch = 32;

  explicit toy(std::uint64_t s, skim::sampled_loss kind = skim::sampled_loss::sigmoid)
      : loss(kind),
        embedding({.inputs = tokens, .outputs = width}, skim::seed{s}),
        output({.inputs = width, .outputs = outputs}, skim::seed{s + 1}),
        set(outputs),
        engine(skim::seed{s + 2}) {
    skim::random_engine g(skim::seed{99});
    data.cols = tokens;
    for (std::size_t i = 0; i < 640; ++i) {
      std::vector<std::pair<skim::id_t, float>> entries;
      std::vector<skim::label_t> own;
      for (int k = 0; k < 2; ++k) {
        const auto l = static_cast<skim::label_t>(skim::uniform_below(g, outputs) *
                                                  skim::uniform_below(g, outputs) / outputs);
        if (std::find(own.begin(), own.end(), l) == own.end()) own.push_back(l);
      }
      for (const skim::label_t l : own) entries.emplace_back(l, 0.7f);
      entries.emplace_back(static_cast<skim::id_t>(200 + skim::uniform_below(g, 100)), 0.3f);
      data.push_back(entries);
      std::sort(own.begin(), own.end());
      label_ids.insert(label_ids.end(), own.begin(), own.end());
      label_offsets.push_back(label_ids.size());
    }
    counts = labels().counts(outputs);
    output.set_log_odds(counts, data.size());
    hidden.resize(batch * width);
    back.resize(batch * width);
    logits.resize(batch * outputs);
    shifts.resize(outputs);
    losses.resize(batch);
  }
  [[nodiscard]] skim::label_sets labels() const { return {label_offsets, label_ids}; }

  template <class Executor>
  double step(std::span<const skim::id_t> rows, double rate, Executor& executor) {
    const skim::active_sampler<skim::uniform_selector>& draws = *sampler;
    draws.draw(labels(), rows, engine, set);
    const std::span<float> shift(shifts.data(), set.size());
    draws.shifts(set, shift);
    const skim::matrix_view<float> h(hidden.data(), rows.size(), width);
    const skim::matrix_view<float> z(logits.data(), rows.size(), set.size(), outputs);
    const skim::matrix_view<float> dh(back.data(), rows.size(), width);
    embedding.forward(data.view(), rows, h, executor);
    skim::activate(skim::activation::relu, h);
    output.forward(h, set.ids(), z, executor);
    const double mean = skim::take_sampled_loss(loss, z, set, shift, labels(), rows,
                                                std::span(losses).first(rows.size()), executor);
    output.backward(h, set.ids(), z, rate, dh, executor);
    skim::activate_back(skim::activation::relu, h, dh);
    embedding.backward(data.view(), rows, dh, rate, executor);
    return mean;
  }
  template <class Executor>
  void train(std::size_t epochs, double rate, Executor& executor) {
    if (!sampler) sampler.emplace(skim::uniform_selector(outputs, 20), counts, data.size(), batch);
    std::vector<skim::id_t> order = distinct_ids(data.size(), data.size(), skim::seed{7});
    for (std::size_t e = 0; e < epochs; ++e) {
      skim::shuffle(std::span(order), engine);
      for (std::size_t first = 0; first < order.size(); first += batch)
        step(std::span<const skim::id_t>(order).subspan(first, batch), rate, executor);
    }
  }
  double precision_at_1() {
    embedding.settle();
    output.settle();
    std::size_t right = 0;
    std::vector<float> h(width);
    for (std::size_t i = 0; i < data.size(); ++i) {
      embedding.predict(data.row(i), h);
      skim::activate(skim::activation::relu, {h.data(), 1, width});
      std::size_t best = 0;
      double most = -1e300;
      for (std::size_t o = 0; o < outputs; ++o) {
        const double z = skim_test::dot(h, output.weights().row(o)) + at(output.biases()[o]);
        if (z > most) {
          most = z;
          best = o;
        }
      }
      const auto own = labels()[i];
      if (std::find(own.begin(), own.end(), best) != own.end()) ++right;
    }
    return static_cast<double>(right) / static_cast<double>(data.size());
  }

  skim::sampled_loss loss;
  skim_test::sparse_points data;
  std::vector<std::size_t> label_offsets{0};
  std::vector<skim::label_t> label_ids;
  std::vector<std::uint32_t> counts;
  sparse_embedding embedding;
  sparse_linear output;
  std::optional<skim::active_sampler<skim::uniform_selector>> sampler;
  skim::active_set set;
  skim::random_engine engine;
  std::vector<float> hidden, back, logits, shifts, losses;
};

bool same(skim::matrix_view<const float> a, skim::matrix_view<const float> b) {
  for (std::size_t i = 0; i < a.rows(); ++i)
    if (!std::equal(a.row(i).begin(), a.row(i).end(), b.row(i).begin())) return false;
  return true;
}

}  // namespace

TEST_CASE("a sparse linear layer computes its active rows and moves them by their gradient",
          "[unit]") {
  const std::size_t n = 700, dim = 21;
  for (const std::size_t batch : {1u, 9u}) {
    for (const std::size_t active : {1u, 5u, 300u}) {
      sparse_linear layer({.inputs = dim, .outputs = n, .optimizer = plain_descent()},
                          skim::seed{1});
      std::vector<std::uint32_t> counts(n, 3);
      layer.set_log_odds(counts, 10);
      CHECK(std::abs(at(layer.biases()[n - 1]) - std::log(3.5 / 7.5)) < 1e-6);
      const auto x = skim_test::gaussian_points(batch, dim, skim::seed{2});
      const auto g = skim_test::gaussian_points(batch, active, skim::seed{3});
      const auto ids = distinct_ids(active, n, skim::seed{4});
      skim_test::points logits(batch, active), back(batch, dim);
      layer.forward(x.view(), ids, logits.view());
      const auto before = layer.weights();
      std::vector<float> w(n * dim), bias(layer.biases().begin(), layer.biases().end());
      for (std::size_t o = 0; o < n; ++o)
        std::copy_n(before.row(o).begin(), dim, w.begin() + static_cast<std::ptrdiff_t>(o * dim));
      const auto old_row = [&](std::size_t o) {
        return std::span<const float>(w).subspan(o * dim, dim);
      };
      for (std::size_t b = 0; b < batch; ++b)
        for (std::size_t j = 0; j < active; ++j)
          REQUIRE(std::abs(at(logits.row(b)[j]) - skim_test::dot(x.row(b), old_row(ids[j])) -
                           at(bias[ids[j]])) < 1e-4);
      const double rate = 0.125;
      layer.backward(x.view(), ids, g.view(), rate, back.view());
      for (std::size_t b = 0; b < batch; ++b)
        for (std::size_t k = 0; k < dim; ++k) {
          double sum = 0;
          for (std::size_t j = 0; j < active; ++j) sum += at(g.row(b)[j]) * at(old_row(ids[j])[k]);
          REQUIRE(std::abs(at(back.row(b)[k]) - sum) < 1e-3);
        }
      std::vector<bool> touched(n);
      for (std::size_t j = 0; j < active; ++j) {
        touched[ids[j]] = true;
        double total = 0;
        for (std::size_t b = 0; b < batch; ++b) total += at(g.row(b)[j]);
        REQUIRE(std::abs(at(layer.biases()[ids[j]]) - (at(bias[ids[j]]) - rate * total)) < 1e-4);
        for (std::size_t k = 0; k < dim; ++k) {
          double sum = 0;
          for (std::size_t b = 0; b < batch; ++b) sum += at(g.row(b)[j]) * at(x.row(b)[k]);
          REQUIRE(std::abs(at(layer.weights().row(ids[j])[k]) -
                           (at(old_row(ids[j])[k]) - rate * sum)) < 1e-4);
        }
      }
      for (std::size_t o = 0; o < n; ++o)
        if (!touched[o]) {
          REQUIRE(std::equal(old_row(o).begin(), old_row(o).end(), layer.weights().row(o).begin()));
          REQUIRE(layer.biases()[o] == bias[o]);
        }
    }
  }
}

TEST_CASE("an embedding sums the rows of its tokens and moves them by their gradient", "[unit]") {
  const std::size_t tokens = 60, batch = 13;
  for (const std::size_t width : {3u, 64u, 77u}) {
    sparse_embedding layer({.inputs = tokens, .outputs = width, .optimizer = plain_descent()},
                           skim::seed{1});
    skim_test::sparse_points x = skim_test::sparse_gaussian_points(40, tokens, 12, skim::seed{2});
    x.push_back({});  // a row without tokens
    std::vector<skim::id_t> rows = distinct_ids(batch, 41, skim::seed{3});
    rows[3] = 40;
    rows[4] = rows[5];  // repeats are allowed
    for (std::size_t k = 0; k < width; ++k) layer.biases()[k] = 0.5f * static_cast<float>(k % 3);
    skim_test::points out(batch, width), w(tokens, width);
    const auto g = skim_test::gaussian_points(batch, width, skim::seed{4});
    for (std::size_t t = 0; t < tokens; ++t)
      std::copy_n(layer.weights().row(t).begin(), width, w.row(t).begin());
    layer.forward(x.view(), rows, out.view());
    for (std::size_t b = 0; b < batch; ++b)
      for (std::size_t k = 0; k < width; ++k) {
        double sum = at(layer.biases()[k]);
        const auto row = x.row(rows[b]);
        for (std::size_t i = 0; i < row.nonzeros(); ++i)
          sum += at(row.values[i]) * at(w.row(row.indices[i])[k]);
        REQUIRE(std::abs(at(out.row(b)[k]) - sum) < 1e-4);
      }
    layer.backward(x.view(), rows, g.view(), 0.25);
    skim_test::points wanted = w;
    std::vector<double> bias(width);
    for (std::size_t b = 0; b < batch; ++b) {
      const auto row = x.row(rows[b]);
      for (std::size_t k = 0; k < width; ++k) {
        bias[k] += at(g.row(b)[k]);
        for (std::size_t i = 0; i < row.nonzeros(); ++i)
          wanted.row(row.indices[i])[k] -= 0.25f * row.values[i] * g.row(b)[k];
      }
    }
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t k = 0; k < width; ++k)
        REQUIRE(std::abs(at(layer.weights().row(t)[k]) - at(wanted.row(t)[k])) < 1e-4);
    for (std::size_t k = 0; k < width; ++k)
      CHECK(std::abs(at(layer.biases()[k]) - (0.5 * static_cast<double>(k % 3) - 0.25 * bias[k])) <
            1e-4);
  }
}

TEST_CASE("sampled training learns, alike for any number of threads", "[unit][stat]") {
  for (const auto kind : {skim::sampled_loss::sigmoid, skim::sampled_loss::softmax}) {
    toy one(5, kind), three(5, kind);
    skim::serial_executor serial;
    skim::thread_executor threads(3);
    const double before = one.precision_at_1();
    one.train(10, 3e-2, serial);
    three.train(10, 3e-2, threads);
    // A label is one of two tokens: all examples can be learned, chance is about 1 %.
    CHECK(before < 0.2);
    CHECK(one.precision_at_1() > 0.9);
    three.embedding.settle();
    three.output.settle();
    CHECK(same(one.output.weights(), three.output.weights()));
    CHECK(same(one.embedding.weights(), three.embedding.weights()));
    CHECK(std::equal(one.output.biases().begin(), one.output.biases().end(),
                     three.output.biases().begin()));
  }
}

TEST_CASE("loaded layers train on bit for bit", "[unit]") {
  toy a(6);
  skim::serial_executor serial;
  a.train(2, 1e-2, serial);
  skim::writer out;
  a.embedding.save(out);
  a.output.save(out);
  toy b(6);
  b.train(1, 1e-2, serial);  // leaves b's sampler and engine where they are not a's
  skim::reader in(out.bytes());
  b.embedding = sparse_embedding::load(in);
  b.output = sparse_linear::load(in);
  b.engine = a.engine;
  a.train(2, 1e-2, serial);
  b.train(2, 1e-2, serial);
  CHECK(same(a.output.weights(), b.output.weights()));
  CHECK(same(a.embedding.weights(), b.embedding.weights()));
  CHECK(a.output.steps() == b.output.steps());
}

TEST_CASE("warm training steps allocate nothing", "[unit]") {
  toy t(7);
  skim::serial_executor serial;
  t.train(2, 1e-2, serial);
  const std::vector<skim::id_t> rows = distinct_ids(toy::batch, t.data.size(), skim::seed{8});
  for (int i = 0; i < 50; ++i) t.step(rows, 1e-2, serial);
  CHECK(skim_test::allocations_of([&] { t.step(rows, 1e-2, serial); }) == 0);
}

TEST_CASE("damaged images of layers are refused", "[fuzz]") {
  lazy_optimizer_params p;
  p.beta1 = 0.3;
  skim_test::check_refuses_damage(
      sparse_linear({.inputs = 1, .outputs = 1, .optimizer = p}, skim::seed{1}));
  skim_test::check_refuses_damage(
      sparse_embedding({.inputs = 1, .outputs = 1, .optimizer = p}, skim::seed{1}));
}

TEST_CASE("layers refuse what does not fit and stay as they were", "[unit]") {
  CHECK_THROWS_AS(sparse_linear({.inputs = 0, .outputs = 3}, skim::seed{1}), invalid_params);
  CHECK_THROWS_AS(sparse_linear({.inputs = 3, .outputs = 0}, skim::seed{1}), invalid_params);
  CHECK_THROWS_AS(sparse_embedding({.inputs = 0, .outputs = 3}, skim::seed{1}), invalid_params);
  CHECK_THROWS_AS(sparse_embedding({.inputs = 2, .outputs = 3, .deviation = -1}, skim::seed{1}),
                  invalid_params);
  sparse_linear layer({.inputs = 3, .outputs = 5}, skim::seed{1});
  const auto x = skim_test::gaussian_points(2, 3, skim::seed{1});
  skim_test::points z(2, 2), dx(2, 3), narrow(2, 1);
  const std::vector<skim::id_t> ids{4, 1}, twice{1, 1}, beyond{1, 5}, others{4, 2};
  CHECK_THROWS_AS(layer.forward(x.view(), twice, z.view()), invalid_input);
  CHECK_THROWS_AS(layer.forward(x.view(), beyond, z.view()), invalid_input);
  CHECK_THROWS_AS(layer.forward(x.view(), ids, narrow.view()), invalid_input);
  CHECK_THROWS_AS(layer.forward(z.view(), ids, z.view()), invalid_input);
  CHECK_THROWS_AS(layer.backward(x.view(), ids, z.view(), 0.1, dx.view()), invalid_input);
  layer.forward(x.view(), ids, z.view());
  CHECK_THROWS_AS(layer.backward(x.view(), others, z.view(), 0.1, dx.view()), invalid_input);
  CHECK_THROWS_AS(layer.backward(x.view(), ids, z.view(), -0.1, dx.view()), invalid_input);
  CHECK_THROWS_AS(layer.backward(x.view(), ids, z.view(), 0.1, narrow.view()), invalid_input);
  z.row(1)[1] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(layer.backward(x.view(), ids, z.view(), 0.1, dx.view()), invalid_input);
  CHECK(layer.steps() == 0);
  z.row(1)[1] = 0;
  layer.backward(x.view(), ids, z.view(), 0.1, dx.view());
  CHECK(layer.steps() == 1);
  CHECK_THROWS_AS(layer.backward(x.view(), ids, z.view(), 0.1, dx.view()), invalid_input);
  CHECK_THROWS_AS(layer.set_log_odds(std::vector<std::uint32_t>{1}, 5), invalid_input);
  CHECK_THROWS_AS(layer.set_log_odds(std::vector<std::uint32_t>(5, 6), 5), invalid_input);

  sparse_embedding embedding({.inputs = 4, .outputs = 3}, skim::seed{1});
  skim_test::sparse_points rows;
  rows.cols = 9;
  rows.push_back({{1, 1.0f}, {3, 2.0f}});
  rows.push_back({{8, 1.0f}});
  rows.push_back({{2, std::numeric_limits<float>::infinity()}});
  skim_test::points one(1, 3);
  const auto forward = [&](skim::id_t row) {
    embedding.forward(rows.view(), std::vector<skim::id_t>{row}, one.view());
  };
  const auto backward = [&] {
    embedding.backward(rows.view(), std::vector<skim::id_t>{0}, one.view(), 0.1);
  };
  CHECK_THROWS_AS(backward(), invalid_input);
  CHECK_THROWS_AS(forward(1), invalid_input);
  CHECK_THROWS_AS(forward(2), invalid_input);
  CHECK_THROWS_AS(forward(3), invalid_input);
  forward(0);
  backward();
  CHECK(embedding.steps() == 1);
  CHECK_THROWS_AS(backward(), invalid_input);
}

TEST_CASE("activations and their derivatives", "[unit]") {
  for (const auto f :
       {skim::activation::identity, skim::activation::relu, skim::activation::tanh}) {
    auto x = skim_test::gaussian_points(3, 7, skim::seed{1});
    for (float& v : x.values)
      if (std::abs(v) < 0.1f) v = 0.5f;  // clear of the rectifier's bend
    auto up = x, down = x;
    skim_test::points slope(3, 7);
    std::fill(slope.values.begin(), slope.values.end(), 1.0f);
    for (float& v : up.values) v += 1e-2f;
    for (float& v : down.values) v -= 1e-2f;
    skim::activate(f, x.view());
    skim::activate(f, up.view());
    skim::activate(f, down.view());
    skim::activate_back(f, x.view(), slope.view());
    for (std::size_t i = 0; i < x.values.size(); ++i)
      CHECK(std::abs(at(slope.values[i]) - at(up.values[i] - down.values[i]) / 2e-2) < 1e-3);
  }
}
