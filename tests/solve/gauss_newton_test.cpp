// SPDX-License-Identifier: Apache-2.0
//
// Gauss-Newton steps from firing sets against the Jacobian written out.
#include "skim/solve/gauss_newton.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/firing/points.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using skim::id_t;

struct random_sets {
  random_sets(std::size_t lists, std::size_t n, double part, skim::seed s) {
    skim::random_engine g(s);
    for (std::size_t r = 0; r < lists; ++r) {
      for (std::size_t i = 0; i < n; ++i)
        if (skim::uniform_float(g) < static_cast<float>(part))
          points.push_back(static_cast<id_t>(i));
      offsets.push_back(points.size());
    }
  }
  [[nodiscard]] skim::firing_sets view() const { return {offsets, points}; }

  std::vector<std::size_t> offsets{0};
  std::vector<id_t> points;
};

// K from the definition, in double.
std::vector<double> gram_of(const skim_test::points& x, const random_sets& sets,
                            std::size_t neurons) {
  const std::size_t n = x.size();
  std::vector<double> k(n * n);
  for (std::size_t r = 0; r + 1 < sets.offsets.size(); ++r)
    for (std::size_t a = sets.offsets[r]; a < sets.offsets[r + 1]; ++a)
      for (std::size_t b = sets.offsets[r]; b < sets.offsets[r + 1]; ++b) {
        const std::size_t i = sets.points[a], j = sets.points[b];
        k[i * n + j] += skim_test::dot(x.row(i), x.row(j)) / static_cast<double>(neurons);
      }
  return k;
}

double norm(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("the Gram matrix counts common neurons, by lists and by bits", "[unit]") {
  // Long lists are counted by bits, short ones pair by pair.
  const double part = GENERATE(0.02, 0.6);
  constexpr std::size_t n = 40, m = 130;
  const auto x = skim_test::unit_points(n, 7, skim::seed{1});
  const skim::firing_points points(x.view());
  const random_sets sets(m, n, part, skim::seed{2});
  skim::gauss_newton_solver solver(points, m);
  std::vector<double> got(n * n), image(n), v(n);
  solver.gram(sets.view(), got);
  const auto wanted = gram_of(x, sets, m);
  for (std::size_t e = 0; e < n * n; ++e) REQUIRE(std::abs(got[e] - wanted[e]) < 1e-5);
  for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<double>(i % 5) - 1.5;
  solver.multiply_gram(sets.view(), v, image);
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j) sum += wanted[i * n + j] * v[j];
    CHECK(std::abs(image[i] - sum) < 1e-4);
  }
}

TEST_CASE("solutions satisfy the damped system, factored or iterated", "[unit]") {
  const bool factored = GENERATE(true, false);
  constexpr std::size_t n = 300, m = 500;
  const auto x = skim_test::unit_points(n, 20, skim::seed{3});
  const skim::firing_points points(x.view());
  const random_sets sets(m, n, 0.05, skim::seed{4});
  skim::gauss_newton_solver solver(
      points, m,
      {.damping = 1e-3, .exact_points = factored ? n : 0, .tolerance = 1e-4, .landmarks = 60});
  std::vector<double> residual(n), z(n);
  skim::random_engine g(skim::seed{5});
  for (double& v : residual) v = skim::normal(g);
  const auto report = solver.solve(sets.view(), residual, z);
  CHECK(report.solved);
  CHECK(report.factored == factored);
  CHECK(report.shift > 0);
  const auto k = gram_of(x, sets, m);
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += k[i * n + i];
  std::vector<double> left(residual);
  for (std::size_t i = 0; i < n; ++i) {
    left[i] -= 1e-3 * trace / static_cast<double>(n) * z[i];
    for (std::size_t j = 0; j < n; ++j) left[i] -= k[i * n + j] * z[j];
  }
  // Products are of floats: K is known to about 1e-7 of its largest eigenvalue, the damping is 1e-3 of
  // the mean one.
  CHECK(norm(left) < 3e-3 * norm(residual));
}

TEST_CASE("counts follow lists that change, and steps the factor of an earlier matrix", "[law]") {
  constexpr std::size_t n = 60, m = 200;
  const auto x = skim_test::unit_points(n, 12, skim::seed{8});
  const skim::firing_points points(x.view());
  skim::gauss_newton_solver solver(points, m, {.damping = 1e-3, .tolerance = 1e-6});
  skim::random_engine g(skim::seed{9});
  std::vector<std::vector<bool>> fires(m, std::vector<bool>(n));
  for (auto& row : fires)
    for (std::size_t i = 0; i < n; ++i) row[i] = skim::uniform_float(g) < 0.1f;
  std::vector<double> residual(n), z(n), k(n * n);
  for (double& v : residual) v = skim::normal(g);
  std::size_t reused = 0;
  for (int round = 0; round < 30; ++round) {
    // A few flips, now and then a neuron that falls silent or fires for much, once all anew.
    for (int f = 0; f < (round == 15 ? 5000 : 20); ++f) {
      const std::size_t r = skim::uniform_below(g, m), i = skim::uniform_below(g, n);
      fires[r][i] = !fires[r][i];
    }
    fires[skim::uniform_below(g, m)].assign(n, false);
    if (round % 5 == 4) fires[skim::uniform_below(g, m)].assign(n, true);
    random_sets sets(0, n, 0, skim::seed{0});
    std::vector<id_t> neurons;
    for (std::size_t r = 0; r < m; ++r) {
      const std::size_t before = sets.points.size();
      for (std::size_t i = 0; i < n; ++i)
        if (fires[r][i]) sets.points.push_back(static_cast<id_t>(i));
      if (sets.points.size() == before) continue;
      neurons.push_back(static_cast<id_t>(r));
      sets.offsets.push_back(sets.points.size());
    }
    const skim::firing_sets view{sets.offsets, sets.points, neurons};
    const auto report = solver.solve(view, residual, z);
    REQUIRE(report.solved);
    reused += report.factored ? 0u : 1u;
    const auto wanted = gram_of(x, sets, m);
    solver.gram(view, k);
    std::vector<double> left(residual);
    for (std::size_t i = 0; i < n; ++i) {
      left[i] -= report.shift * z[i];
      for (std::size_t j = 0; j < n; ++j) {
        REQUIRE(std::abs(k[i * n + j] - wanted[i * n + j]) < 1e-5);
        left[i] -= wanted[i * n + j] * z[j];
      }
    }
    REQUIRE(norm(left) < 1e-2 * norm(residual));
  }
  CHECK(reused > 10);
}

TEST_CASE("sketch-preconditioned conjugate gradients find what the factor finds", "[unit]") {
  // Points around a few centres: a spectrum that falls off, where plain iterations would take long.
  constexpr std::size_t n = 1200, d = 16, m = 400;
  auto x = skim_test::unit_points(n, d, skim::seed{10});
  const auto centres = skim_test::unit_points(8, d, skim::seed{11});
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < d; ++k) x.row(i)[k] = 0.3f * x.row(i)[k] + centres.row(i % 8)[k];
  const skim::firing_points points(x.view());
  const auto w = skim_test::gaussian_points(m, d, skim::seed{12});
  random_sets sets(0, n, 0, skim::seed{0});
  for (std::size_t r = 0; r < m; ++r) {
    for (std::size_t i = 0; i < n; ++i)
      if (skim_test::dot(w.row(r), x.row(i)) > 1.5) sets.points.push_back(static_cast<id_t>(i));
    sets.offsets.push_back(sets.points.size());
  }
  std::vector<double> residual(n), direct(n), z(n);
  for (std::size_t i = 0; i < n; ++i) residual[i] = i % 8 < 4 ? 1.0 : -1.0;
  skim::gauss_newton_solver factored(points, m, {.damping = 1e-2, .tolerance = 1e-7});
  REQUIRE(factored.solve(sets.view(), residual, direct).solved);
  const auto with = [&](std::size_t landmarks) {
    skim::gauss_newton_solver solver(points, m,
                                     {.damping = 1e-2,
                                      .exact_points = 0,
                                      .tolerance = 1e-4,
                                      .iterations = 2000,
                                      .landmarks = landmarks});
    const auto report = solver.solve(sets.view(), residual, z);
    INFO(landmarks << " landmarks, " << report.iterations << " iterations");
    CHECK(report.solved);
    std::vector<double> off(n);
    for (std::size_t i = 0; i < n; ++i) off[i] = z[i] - direct[i];
    CHECK(norm(off) < 1e-2 * norm(direct));
    return report.iterations;
  };
  const std::size_t few = with(200), many = with(1);
  INFO(few << " and " << many);
  CHECK(few < many);
}

TEST_CASE("damping rises with the loss and falls with it", "[unit]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(skim::levenberg_damping(0), skim::invalid_params);
  CHECK_THROWS_AS(skim::levenberg_damping(nan), skim::invalid_params);
  skim::levenberg_damping d(1e-6);
  CHECK(d.value() == 1e-6);
  CHECK(d.accept(10));
  CHECK(d.value() == 1e-6);
  CHECK_FALSE(d.accept(11));
  const double once = d.value();
  CHECK(once > 1e-6);
  CHECK_FALSE(d.accept(nan));
  CHECK_FALSE(d.accept(10));
  CHECK(d.value() > 10 * once);
  CHECK(d.loss() == 10);
  const double most = d.value();
  CHECK(d.accept(9));
  CHECK(d.value() < most);
  CHECK(d.loss() == 9);
  for (int i = 0; i < 30; ++i) CHECK(d.accept(8 - i / 10.0));
  CHECK(d.value() == 1e-6);
  for (int i = 0; i < 100; ++i) CHECK_FALSE(d.accept(1e9));
  CHECK(std::isfinite(d.value()));
}

TEST_CASE("nothing fires: the damping alone solves", "[unit]") {
  const auto x = skim_test::unit_points(5, 3, skim::seed{6});
  const skim::firing_points points(x.view());
  const std::size_t exact = GENERATE(std::size_t{5}, std::size_t{0});
  skim::gauss_newton_solver solver(points, 4, {.exact_points = exact});
  const std::vector<std::size_t> offsets{0};
  const std::vector<double> residual{1, 2, 3, 4, 5};
  std::vector<double> z(5);
  CHECK(solver.solve({offsets, {}}, residual, z).solved);
  for (std::size_t i = 0; i < 5; ++i) CHECK(std::abs(z[i] * 1e-6 - residual[i]) < 1e-6);
}

TEST_CASE("bad solvers, sets and residuals are refused", "[unit]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto x = skim_test::unit_points(4, 3, skim::seed{7});
  const skim::firing_points points(x.view());
  using solver_type = skim::gauss_newton_solver;
  CHECK_THROWS_AS(solver_type(points, 0), skim::invalid_params);
  CHECK_THROWS_AS(solver_type(points, 2, {.damping = 0}), skim::invalid_params);
  CHECK_THROWS_AS(solver_type(points, 2, {.damping = nan}), skim::invalid_params);
  CHECK_THROWS_AS(solver_type(points, 2, {.tolerance = -1}), skim::invalid_params);
  CHECK_THROWS_AS(solver_type(points, 2, {.landmarks = 0}), skim::invalid_params);
  solver_type solver(points, 2);
  const std::vector<double> residual(4, 1.0), few(3, 1.0), bad{1, nan, 1, 1};
  std::vector<double> z(4, 7.0);
  const std::vector<std::size_t> offsets{0, 2, 3};
  const std::vector<id_t> lists{0, 3, 2};
  const auto throws = [&](std::vector<std::size_t> o, std::vector<id_t> l,
                          std::span<const double> r) {
    CHECK_THROWS_AS(solver.solve({o, l}, r, z), skim::invalid_input);
  };
  throws(offsets, lists, few);
  throws(offsets, lists, bad);
  throws({}, {}, residual);
  throws({0, 2}, lists, residual);
  throws({0, 3, 2, 3}, lists, residual);
  throws({0, 1, 2, 3}, lists, residual);
  throws(offsets, {3, 0, 2}, residual);
  throws(offsets, {0, 4, 2}, residual);
  throws(offsets, {0, 0, 2}, residual);
  for (const std::vector<id_t>& ids : {std::vector<id_t>{0}, {0, 0}, {1, 0}, {0, 2}, {0, 1, 2}})
    CHECK_THROWS_AS(solver.solve({offsets, lists, ids}, residual, z), skim::invalid_input);
  for (const double bad_damping : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(solver.damp(bad_damping), skim::invalid_params);
  std::vector<double> room(3);
  CHECK_THROWS_AS(solver.gram({offsets, lists}, room), skim::invalid_input);
  CHECK(z == std::vector<double>(4, 7.0));
  CHECK(solver.solve({offsets, lists}, residual, z).solved);
}
