// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/uniform_density.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <vector>

#include "kde/adversary.hpp"
#include "laws/density_structure.hpp"
#include "skim/core/moments.hpp"
#include "skim/kde/detail/mean_bounds.hpp"
#include "skim/kde/exact_density.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;
using namespace skim;

namespace {

struct uniform_model {
  using structure = uniform_density;
  static structure make(std::size_t dim, density_kernel k, seed s) {
    return structure({.dim = dim, .kernel = k}, s);
  }
  static constexpr bool exact = false;
};

std::vector<float> normals(std::size_t n, std::size_t dim, std::uint64_t s) {
  random_engine g(seed{s});
  std::vector<float> x(n * dim);
  for (float& v : x) v = static_cast<float>(normal(g));
  return x;
}

// The negative control of the attack: one sample of the points, drawn once, answers every query.
class fixed_sample_density {
 public:
  fixed_sample_density(matrix_view<const float> x, std::size_t sample, density_kernel k, seed s)
      : held_({.dim = x.cols(), .kernel = k}) {
    random_engine g(s);
    workspace ws;
    for (std::size_t i = 0; i < sample; ++i)
      held_.insert(x.row(static_cast<std::size_t>(uniform_below(g, x.rows()))), 1, ws);
  }
  density_estimate density(std::span<const float> x, density_target t, random_engine& g,
                           workspace& ws) const {
    return held_.density(x, t, g, ws);
  }

 private:
  exact_density held_;
};

}  // namespace

TEST_CASE("uniform_density keeps the laws of density structures") {
  skim_test::check_density_laws<uniform_model>();
}

TEST_CASE("uniform_density fails no more often than promised, for easy and hard densities") {
  constexpr std::size_t n = 20'000, dim = 4;
  constexpr std::uint64_t queries = 400;
  const auto rows = normals(n + queries, dim, 1);
  const matrix_view<const float> x(rows.data(), n, dim);
  struct setting {
    kernel_kind kind;
    double h;
    density_target target;
    bool weighted;
    double most;  // of the kernels of an exact answer, on average
  };
  for (const setting& s : {setting{kernel_kind::gaussian, 1.5, {0.1, 0.1, 1e-3}, false, 0.2},
                           setting{kernel_kind::gaussian, 0.3, {0.3, 0.3, 1e-3}, false, 1.2},
                           setting{kernel_kind::exponential, 1, {0.2, 0.05, 1e-3}, false, 0.3},
                           setting{kernel_kind::student, 1, {0.05, 0.2, 1e-3}, false, 0.6},
                           setting{kernel_kind::laplacian, 3, {0.2, 0.5, 1e-2}, true, 0.5}}) {
    const density_kernel k{s.kind, s.h};
    uniform_density made({.dim = dim, .kernel = k}, seed{5});
    exact_density oracle({.dim = dim, .kernel = k});
    std::vector<float> weights(s.weighted ? n : 0);
    random_engine g(seed{6});
    for (float& w : weights) w = static_cast<float>(0.5 + uniform(g));
    made.insert(x, weights);
    oracle.insert(x, weights);
    std::uint64_t misses = 0, evaluations = 0;
    const matrix_view<const float> q(rows.data() + n * dim, queries, dim);
    std::vector<density_estimate> got(queries), want(queries);
    made.density(q, s.target, seed{7}, got);
    oracle.density(q, s.target, seed{7}, want);
    for (std::size_t i = 0; i < queries; ++i) {
      const double f = want[i].value;
      misses += got[i].below
                    ? f >= s.target.smallest * (1 + 1e-5)
                    : std::abs(got[i].value - f) > s.target.relative_error * f * (1 + 1e-5);
      evaluations += got[i].evaluations;
    }
    INFO(name_of(s.kind) << ", h " << s.h << ": " << misses << " misses, " << evaluations / queries
                         << " kernels");
    skim_test::check_proportion_at_most(misses, queries, s.target.failure);
    CHECK(static_cast<double>(evaluations) <= s.most * static_cast<double>(n * queries));
    CHECK(static_cast<double>(evaluations) <= 1.75 * static_cast<double>(n * queries));
  }
}

TEST_CASE("the promise holds in any order of the points, and where few points are all there is") {
  // Blocks of near points among blocks of far ones would be the worst order; with 40 near points among
  // 4,000 and a floor below them, samples that saw none must not stop.
  constexpr std::size_t n = 4000;
  uniform_density made({.dim = 1, .kernel = {kernel_kind::gaussian, 1}}, seed{1});
  workspace ws;
  for (std::size_t i = 0; i < n; ++i) made.insert(std::array{i % 100 == 0 ? 0.0f : 1000.0f}, 1, ws);
  std::uint64_t misses = 0;
  random_engine g(seed{2});
  constexpr std::uint64_t trials = 500;
  for (std::uint64_t t = 0; t < trials; ++t) {
    const auto e = made.density(std::array{0.0f}, {0.25, 0.1, 1e-4}, g, ws);
    misses += e.below || std::abs(e.value - 0.01) > 0.0025001;
  }
  skim_test::check_proportion_at_most(misses, trials, 0.1);
  // Densities above the floor are not said to be below it, those far below it are.
  std::uint64_t wrong = 0, cheap = 0;
  for (std::uint64_t t = 0; t < trials; ++t) {
    wrong += made.density(std::array{0.0f}, {0.25, 0.1, 0.009}, g, ws).below;
    const auto e = made.density(std::array{500.0f}, {0.25, 0.1, 0.05}, g, ws);
    CHECK(e.below);
    CHECK(e.value <= 0.05);
    cheap += e.evaluations < n;
  }
  skim_test::check_proportion_at_most(wrong, trials, 0.1);
  CHECK(cheap == trials);
}

TEST_CASE("samples of a given size are unbiased, with the standard error they say") {
  constexpr std::size_t n = 1003, dim = 2;
  const auto rows = normals(n, dim, 3);
  uniform_density made({.dim = dim}, seed{1});
  exact_density oracle({.dim = dim});
  std::vector<float> weights(n);
  for (std::size_t i = 0; i < n; ++i) weights[i] = static_cast<float>(1 + i % 3);
  made.insert(matrix_view<const float>(rows.data(), n, dim), weights);
  oracle.insert(matrix_view<const float>(rows.data(), n, dim), weights);
  random_engine g(seed{2});
  workspace ws;
  const std::array<float, dim> q{1, 0.5f};
  const double want = oracle.density(q, {}, g, ws).value;
  std::vector<double> values, squares;
  for (int i = 0; i < 4000; ++i) {
    const auto e = made.sample(q, 100, g, ws);
    CHECK(e.evaluations == 104);
    values.push_back(e.value);
    squares.push_back(e.standard_error * e.standard_error);
  }
  skim_test::check_mean(values, want);
  double variance = 0;
  for (const double v : values) variance += (v - want) * (v - want);
  variance /= static_cast<double>(values.size());
  // 4,000 squared deviations, near enough normal: their mean is known to 8 standard errors sqrt(2/4000).
  CHECK_THAT(std::accumulate(squares.begin(), squares.end(), 0.0) / 4000,
             WithinRel(variance, 8 * std::sqrt(2.0 / 4000)));
  CHECK_THROWS_WITH(made.sample(q, 0, g, ws), ContainsSubstring("got 0 kernels"));
}

TEST_CASE("points lie in uniformly random order after any history") {
  // Of six points two are erased and one is replaced: the order of the other four, seen through samples of
  // the saved image, takes each of its 24 values as often.
  std::map<std::vector<id_t>, std::uint64_t> orders;
  workspace ws;
  constexpr std::uint64_t trials = 6000;
  for (std::uint64_t t = 0; t < trials; ++t) {
    uniform_density made({.dim = 1}, seed{t});
    for (int i = 0; i < 6; ++i) made.insert(std::array{static_cast<float>(i)}, 1, ws);
    made.erase(1);
    made.replace(3, std::array{9.0f}, ws);
    made.erase(4);
    const auto image = skim_test::image_of(made);
    reader in(image);
    in.begin_frame("uniform_density");
    static_cast<void>(detail::load_kernel(in));
    static_cast<void>(random_engine::load(in));
    const auto table = detail::point_table::load(in, made.kernel());
    ++orders[std::vector<id_t>(table.list().ids().begin(), table.list().ids().end())];
  }
  CHECK(orders.size() == 24);
  std::vector<std::uint64_t> counts;
  for (const auto& [order, count] : orders) counts.push_back(count);
  skim_test::check_chi_square(counts, std::vector<double>(counts.size(), 1.0));
}

TEST_CASE("an adaptive adversary breaks a fixed sample, and not fresh draws") {
  constexpr std::size_t n = 40'000, dim = 20, queries = 2000, late = 1000;
  const auto rows = normals(n, dim, 9);
  const matrix_view<const float> x(rows.data(), n, dim);
  const density_kernel k{kernel_kind::gaussian, 1.5};
  const density_target target{0.2, 0.1, 0.01};
  exact_density truth({.dim = dim, .kernel = k});
  truth.insert(x);
  uniform_density fresh({.dim = dim, .kernel = k}, seed{1});
  fresh.insert(x);

  // The control is large enough to keep the promise for queries chosen beforehand.
  const fixed_sample_density fixed(x, 400, k, seed{2});
  random_engine g(seed{3});
  workspace ws;
  std::uint64_t oblivious = 0;
  auto others = normals(300, dim, 10);
  for (float& v : others) v *= 0.3f;
  for (std::size_t i = 0; i < 300; ++i) {
    const std::span<const float> q(others.data() + i * dim, dim);
    const double want = truth.density(q, target, g, ws).value;
    CHECK(want > target.smallest);
    oblivious +=
        std::abs(fixed.density(q, target, g, ws).value - want) > target.relative_error * want;
  }
  skim_test::check_proportion_at_most(oblivious, 300, target.failure);
  const auto broken = skim_test::attack(fixed, truth, target, queries, late);
  INFO("misses of the fixed sample: " << oblivious << " of 300 chosen beforehand, " << broken.misses
                                      << " of the adversary, " << broken.late_misses << " late");
  CHECK_FALSE(skim_test::proportion_at_most(broken.late_misses, late, target.failure).ok);
  CHECK(broken.late_misses > late / 2);

  // Whatever was seen before a query of the other, it fails with at most this probability.
  const auto defended = skim_test::attack(fresh, truth, target, queries, late);
  INFO("fresh draws: " << defended.misses << " misses, " << defended.evaluations / queries
                       << " kernels a query");
  skim_test::check_proportion_at_most(defended.misses, queries, target.failure);
  CHECK(defended.evaluations < n / 2 * queries);
}

TEST_CASE("bounds of a mean hold at all times at once, for rare and for even values") {
  constexpr std::uint64_t trials = 2000;
  constexpr double failure = 0.2;
  for (const double rare : {0.002, 0.05, 0.5, 1.0})
    for (const double noise : {0.0, 0.01, 0.3}) {
      // With probability `rare` a value of 0.7 to 1, else up to `noise`.
      const double mean = rare * 0.85 + (1 - rare) * noise / 2;
      std::uint64_t above = 0, below = 0;
      for (std::uint64_t t = 0; t < trials; ++t) {
        random_engine g(seed{t});
        detail::mean_bounds bounds(1, std::log(2 / failure));
        running_moments seen;
        bool low = false, high = false;
        for (std::size_t n = 4; n < 600; n += n / 8 + 2) {
          bounds.aim(seen.mean(), seen.variance(), 0.1 * seen.mean(), 0.1 * seen.mean() + 0.01);
          double sum = 0, squares = 0;
          for (std::size_t i = 0; i < n; ++i) {
            const double x = uniform(g) < rare ? 0.7 + 0.3 * uniform(g) : noise * uniform(g);
            sum += x;
            squares += x * x;
            seen.insert(x);
          }
          bounds.add(static_cast<double>(n), sum, squares);
          low = low || bounds.low() > mean;
          high = high || bounds.high() < mean;
        }
        above += high;
        below += low;
      }
      INFO("rare " << rare << ", noise " << noise << ": " << below << " and " << above);
      skim_test::check_proportion_at_most(below, trials, failure / 2);
      skim_test::check_proportion_at_most(above, trials, failure / 2);
    }
}
