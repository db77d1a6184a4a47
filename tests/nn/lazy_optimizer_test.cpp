// SPDX-License-Identifier: Apache-2.0
//
// Lazy steps against a dense optimiser in double that visits every row in every step.
#include "skim/nn/lazy_optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using skim::lazy_optimizer;
using skim::lazy_optimizer_params;
using skim::skipped_steps;
using skim::update_rule;

// Rows with a bias as the last element, every step applied to every one of them.
struct dense_reference {
  dense_reference(const lazy_optimizer_params& params, const skim_test::points& start)
      : p(params), rows(start.n), cols(start.d + 1), w(rows * cols), m(w.size()), v(w.size()) {
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t k = 0; k < start.d; ++k)
        w[i * cols + k] = static_cast<double>(start.row(i)[k]);
  }
  void step(const std::vector<double>& g, double rate) {
    ++t;
    const double c1 = 1 - std::pow(p.beta1, t), c2 = 1 - std::pow(p.beta2, t);
    for (std::size_t i = 0; i < w.size(); ++i) {
      if (p.rule == update_rule::momentum) {
        m[i] = p.momentum * m[i] + g[i];
        w[i] -= rate * m[i];
      } else {
        m[i] = p.beta1 * m[i] + (1 - p.beta1) * g[i];
        v[i] = p.beta2 * v[i] + (1 - p.beta2) * g[i] * g[i];
        w[i] -= rate * m[i] / c1 / (std::sqrt(v[i] / c2) + p.epsilon);
      }
    }
  }

  lazy_optimizer_params p;
  std::size_t rows, cols;
  double t = 0;
  std::vector<double> w, m, v;
};

struct lazy_run {
  lazy_run(const lazy_optimizer_params& params, const skim_test::points& start)
      : w(start), biases(start.n), optimizer(params, start.n, start.d) {}

  void step(std::span<const skim::id_t> touched, const std::vector<double>& g, double rate) {
    for (const skim::id_t id : touched) optimizer.catch_up(id, w.row(id), biases[id]);
    optimizer.begin_step(rate);
    std::vector<float> gradient(w.d);
    for (const skim::id_t id : touched) {
      const double* from = g.data() + id * (w.d + 1);
      for (std::size_t k = 0; k < w.d; ++k) gradient[k] = static_cast<float>(from[k]);
      optimizer.update(id, w.row(id), gradient, biases[id], static_cast<float>(from[w.d]));
    }
    optimizer.end_step(w.view(), biases);
  }

  skim_test::points w;
  std::vector<float> biases;
  lazy_optimizer optimizer;
};

// Row i is touched with a chance of 2^-i; the last one in two steps only.
struct schedule {
  std::vector<skim::id_t> touched;
  std::vector<double> gradients;
};
schedule draw_step(std::size_t rows, std::size_t dim, std::size_t step, skim::random_engine& g) {
  schedule s;
  s.gradients.assign(rows * (dim + 1), 0.0);
  for (std::size_t i = 0; i < rows; ++i) {
    const bool last = i + 1 == rows;
    if (last ? (step != 3 && step != 700)
             : skim::uniform(g) >= std::ldexp(1.0, -static_cast<int>(i)))
      continue;
    s.touched.push_back(static_cast<skim::id_t>(i));
    for (std::size_t k = 0; k <= dim; ++k)
      s.gradients[i * (dim + 1) + k] =
          static_cast<double>(static_cast<float>(skim::normal(g) + 0.3));
  }
  return s;
}

void compare(lazy_run& lazy, const dense_reference& dense, double tolerance) {
  for (std::size_t i = 0; i < dense.rows; ++i)
    for (std::size_t k = 0; k < dense.cols; ++k) {
      const float found = k + 1 < dense.cols ? lazy.w.row(i)[k] : lazy.biases[i];
      INFO("row " << i << ", element " << k);
      REQUIRE(std::abs(static_cast<double>(found) - dense.w[i * dense.cols + k]) <= tolerance);
    }
}

}  // namespace

TEST_CASE("lazy steps equal those of a dense optimiser", "[unit]") {
  // A step moves an element by about the rate: 800 of them round by less than 1e-5 of a hundred rates.
  lazy_optimizer_params p;
  SECTION("Adam") {}
  SECTION("Adam with a short memory, so that rows come to rest") {
    p.beta1 = 0.5;
  }
  SECTION("Adam without first moments") {
    p.beta1 = 0;
  }
  SECTION("momentum") {
    p.rule = update_rule::momentum;
  }
  SECTION("much momentum") {
    p.rule = update_rule::momentum;
    p.momentum = 0.97;
  }
  SECTION("gradient descent") {
    p.rule = update_rule::momentum;
    p.momentum = 0;
  }
  const std::size_t rows = 9, dim = 11;
  const auto start = skim_test::gaussian_points(rows, dim, skim::seed{1});
  lazy_run lazy(p, start);
  dense_reference dense(p, start);
  skim::random_engine g(skim::seed{2});
  for (std::size_t step = 0; step < 800; ++step) {
    const double rate = 1e-2 * (1 - static_cast<double>(step) / 900);
    const schedule s = draw_step(rows, dim, step, g);
    lazy.step(s.touched, s.gradients, rate);
    dense.step(s.gradients, rate);
    if (step == 50 || step == 400) {
      lazy.optimizer.settle(lazy.w.view(), lazy.biases);
      compare(lazy, dense, 2e-4);
    }
  }
  lazy.optimizer.settle(lazy.w.view(), lazy.biases);
  compare(lazy, dense, 2e-4);
  CHECK(lazy.optimizer.steps() == 800);
}

TEST_CASE("frozen moments wait for the next touch", "[unit]") {
  lazy_optimizer_params p;
  p.skipped = skipped_steps::frozen;
  const auto start = skim_test::gaussian_points(1, 5, skim::seed{1});
  lazy_run lazy(p, start);
  std::vector<double> w(start.values.begin(), start.values.end()), m(5), v(5);
  skim::random_engine g(skim::seed{3});
  for (int step = 1; step <= 60; ++step) {
    const bool touch = step % 7 == 0 || step < 3;
    std::vector<double> gradient(6);
    for (double& x : gradient) x = static_cast<double>(static_cast<float>(skim::normal(g)));
    const std::vector<skim::id_t> id{0};
    lazy.step(touch ? std::span<const skim::id_t>(id) : std::span<const skim::id_t>(), gradient,
              1e-2);
    if (!touch) continue;
    for (std::size_t k = 0; k < 5; ++k) {
      m[k] = 0.9 * m[k] + 0.1 * gradient[k];
      v[k] = 0.999 * v[k] + 0.001 * gradient[k] * gradient[k];
      w[k] -= 1e-2 * m[k] / (1 - std::pow(0.9, step)) /
              (std::sqrt(v[k] / (1 - std::pow(0.999, step))) + 1e-8);
    }
  }
  lazy.optimizer.settle(lazy.w.view(), lazy.biases);
  for (std::size_t k = 0; k < 5; ++k)
    CHECK(std::abs(static_cast<double>(lazy.w.row(0)[k]) - w[k]) < 1e-5);
}

TEST_CASE("a loaded optimiser goes on bit for bit, and hostile bytes are refused", "[unit][fuzz]") {
  for (const auto rule : {update_rule::adam, update_rule::momentum}) {
    lazy_optimizer_params p;
    p.rule = rule;
    p.beta1 = 0.4;
    p.momentum = 0.4;
    const std::size_t rows = 6, dim = 3;
    lazy_run a(p, skim_test::gaussian_points(rows, dim, skim::seed{1}));
    skim::random_engine g(skim::seed{5});
    for (std::size_t step = 0; step < 90; ++step) {
      const schedule s = draw_step(rows, dim, step, g);
      a.step(s.touched, s.gradients, 1e-2);
    }
    skim::writer out;
    a.optimizer.save(out);
    lazy_run b = a;
    skim::reader in(out.bytes());
    b.optimizer = lazy_optimizer::load(in);
    for (std::size_t step = 0; step < 90; ++step) {
      const schedule s = draw_step(rows, dim, step, g);
      a.step(s.touched, s.gradients, 1e-2);
      b.step(s.touched, s.gradients, 1e-2);
    }
    a.optimizer.settle(a.w.view(), a.biases);
    b.optimizer.settle(b.w.view(), b.biases);
    CHECK(a.w.values == b.w.values);
    CHECK(a.biases == b.biases);
    if (rule == update_rule::momentum) continue;
    lazy_run small(p, skim_test::gaussian_points(2, 1, skim::seed{1}));
    small.step(std::vector<skim::id_t>{1}, {0, 0, 1, 2}, 1e-2);
    skim_test::check_refuses_damage(small.optimizer);
  }
}

TEST_CASE("what no optimiser can be made of is refused", "[unit]") {
  using skim::invalid_params;
  const auto with = [](auto change) {
    lazy_optimizer_params p;
    change(p);
    return lazy_optimizer(p, 2, 3);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(with([](auto& p) { p.beta1 = 1; }), invalid_params);
  CHECK_THROWS_AS(with([](auto& p) { p.beta1 = -0.1; }), invalid_params);
  CHECK_THROWS_AS(with([](auto& p) { p.beta2 = 1; }), invalid_params);
  CHECK_THROWS_AS(with([](auto& p) { p.beta2 = 0.5; }), invalid_params);
  CHECK_THROWS_AS(with([&](auto& p) { p.beta2 = nan; }), invalid_params);
  CHECK_THROWS_AS(with([](auto& p) { p.epsilon = 0; }), invalid_params);
  CHECK_THROWS_AS(with([](auto& p) { p.momentum = 1; }), invalid_params);
  lazy_optimizer fine({}, 2, 3);
  CHECK_THROWS_AS(fine.begin_step(nan), skim::invalid_input);
  CHECK_THROWS_AS(fine.begin_step(-1), skim::invalid_input);
  CHECK(fine.steps() == 0);
}
