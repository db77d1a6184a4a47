// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/hashing_density.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "laws/density_structure.hpp"
#include "skim/core/moments.hpp"
#include "skim/kde/exact_density.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;
using namespace skim;

namespace {

using skim_test::cloud_kernel;
using skim_test::cloud_point;
using skim_test::density_kinds;

std::vector<float> cloud(std::size_t n, std::size_t dim, std::uint64_t s) {
  random_engine g(seed{s});
  std::vector<float> rows;
  for (std::size_t i = 0; i < n; ++i) {
    const auto x = cloud_point(g, dim);
    rows.insert(rows.end(), x.begin(), x.end());
  }
  return rows;
}

// Tables whatever the number of points.
struct model {
  using structure = hashing_density;
  static structure make(std::size_t dim, const density_kernel& k, seed s) {
    return structure({.dim = dim, .kernel = k, .tables = 64, .entries = 64, .exact_up_to = 0}, s);
  }
  static constexpr bool exact = false;
  static constexpr bool random_state = true;
};

}  // namespace

TEST_CASE("hashing_density keeps the laws of density structures") {
  skim_test::check_density_laws<model>();
}

TEST_CASE("codes of a kernel's hash agree as often as its formula says") {
  constexpr std::size_t dim = 6;
  random_engine g(seed{1});
  workspace ws;
  for (const kernel_kind kind : density_kinds) {
    for (int pair = 0; pair < 3; ++pair) {
      const density_kernel k = cloud_kernel(kind, dim);
      std::vector<float> x = cloud_point(g, dim), y = x;
      for (float& v : y) v += 0.3f * static_cast<float>(pair) * static_cast<float>(normal(g));
      if (k.on_sphere()) {
        detail::put_on_sphere(x);
        detail::put_on_sphere(y);
      }
      const auto shape = detail::root_hash(k, 1e-3);
      const double distance = detail::with_profile(k, [&](auto profile) {
        return static_cast<double>(
            detail::profile_distance<decltype(profile)>(x.data(), y.data(), dim));
      });
      constexpr std::uint64_t trials = 3000;
      std::uint64_t met = 0;
      for (std::uint64_t t = 0; t < trials; ++t) {
        const detail::kernel_hash hash(kind, dim, shape, seed{t});
        met += hash(x, ws) == hash(y, ws);
      }
      INFO(name_of(kind) << ", distance " << distance);
      skim_test::check_proportion(met, trials, shape.collision(kind, distance));
    }
  }
}

TEST_CASE("the hash's collision probability is near the kernel's square root") {
  const auto at = [](const density_kernel& k, const detail::hash_shape& s, double r) {
    const double distance = k.kind == kernel_kind::laplacian ? r : r * r;
    const double value = detail::with_profile(k, [&](auto p) { return p(distance); });
    return s.collision(k.kind, distance) / std::sqrt(value);
  };
  for (double r = 0; r < 12; r += 0.25) {
    const density_kernel laplacian{kernel_kind::laplacian, 1.5}, student{kernel_kind::student, 1.5};
    INFO("distance " << r);
    CHECK_THAT(at(laplacian, detail::root_hash(laplacian, 1e-4), r), WithinRel(1.0, 1e-6));
    CHECK(std::abs(std::log(at(student, detail::root_hash(student, 1e-4), r))) < 0.2);
  }
}

TEST_CASE("what tables say has the density as its mean, for every kernel and weights") {
  constexpr std::size_t dim = 4, n = 150, trials = 400;
  const auto rows = cloud(n, dim, 1);
  const matrix_view<const float> x(rows.data(), n, dim);
  random_engine g(seed{5});
  std::vector<float> weights(n);
  for (float& w : weights) w = static_cast<float>(std::exp(1.5 * normal(g)));
  const auto q = cloud_point(g, dim);
  workspace ws;
  for (const kernel_kind kind : density_kinds) {
    const density_kernel k = cloud_kernel(kind, dim);
    exact_density truth({.dim = dim, .kernel = k});
    truth.build(x, weights);
    const double want = truth.density(q, {}, g, ws).value;
    std::vector<double> said(trials), scores(trials);
    for (std::size_t t = 0; t < trials; ++t) {
      // Fewer entries than points, so that subsets are random too.
      hashing_density d({.dim = dim, .kernel = k, .tables = 24, .entries = 40, .exact_up_to = 0},
                        seed{t});
      d.build(x, weights);
      const auto e = d.sample(q, 24, g, ws);
      said[t] = e.value;
      scores[t] = e.standard_error * e.standard_error;
    }
    INFO(name_of(kind));
    skim_test::check_mean(said, want);
    // The squared standard error has the answers' variance as its mean: here within a third, where
    // five times the spread of a variance of 400 values is 0.35 of it for values that are nearly normal.
    running_moments of_values, of_scores;
    for (std::size_t t = 0; t < trials; ++t) {
      of_values.insert(said[t]);
      of_scores.insert(scores[t]);
    }
    CHECK_THAT(of_scores.mean(), WithinRel(of_values.variance(), 0.35));
  }
}

TEST_CASE("the variance of a table is that of the formula where buckets are whole") {
  // Two points, each in all tables, at distances with known kernels: Z = sum of k / p over those that meet.
  const density_kernel k{kernel_kind::laplacian, 1};
  hashing_density d({.dim = 1, .kernel = k, .tables = 4096, .entries = 2, .exact_up_to = 0},
                    seed{3});
  workspace ws;
  d.insert(std::array{1.0f}, 1, ws);
  d.insert(std::array{-2.0f}, 1, ws);
  CHECK(d.entries() == 2 * 4096);
  CHECK(d.share() == 1);
  random_engine g(seed{4});
  const auto e = d.sample(std::array{0.0f}, 4096, g, ws);
  // Cells that hold 1, or -2, and 0; both only where a cell holds all three: E max(0, 1 - 3 / pitch).
  const double p1 = std::exp(-0.5), p2 = std::exp(-1.0), both = std::exp(-1.5);
  const double z1 = std::exp(-1.0) / p1, z2 = std::exp(-2.0) / p2;
  const double mean = z1 * p1 + z2 * p2,
               variance = z1 * z1 * p1 + z2 * z2 * p2 + 2 * z1 * z2 * both - mean * mean;
  const double error = std::sqrt(variance / 4096) / 2;
  CHECK_THAT(e.standard_error, WithinRel(error, 0.1));
  CHECK(std::abs(e.value - mean / 2) < 5 * error);
}

TEST_CASE("tables hold what they should through growth, heavy points and decline") {
  constexpr std::size_t dim = 3, entries = 50, tables = 16;
  hashing_density d({.dim = dim,
                     .kernel = {kernel_kind::exponential, 1},
                     .tables = tables,
                     .entries = entries,
                     .exact_up_to = 20});
  random_engine g(seed{2});
  workspace ws;
  std::vector<id_t> ids;
  const auto held = [&] { return d.share() * d.total_weight(); };
  for (std::size_t i = 0; i < 3000; ++i) {
    ids.push_back(d.insert(cloud_point(g, dim), i == 1000 ? 5000.0f : 1.0f, ws));
    CHECK((d.tables_in_use() != 0) == (d.size() > 40));
    if (d.tables_in_use() != 0) {
      CHECK(held() <= 2.001 * entries);
      CHECK(static_cast<double>(d.entries()) < tables * (held() + 5 * std::sqrt(held())) + 10);
    }
    if (i % 7 == 0) d.replace(ids[i / 2], cloud_point(g, dim), ws);
  }
  shuffle(std::span(ids), g);
  while (!ids.empty()) {
    d.erase(ids.back());
    ids.pop_back();
    CHECK((d.tables_in_use() != 0) == (d.size() > 10));
    if (d.tables_in_use() != 0 && d.size() > 2 * entries) CHECK(held() >= 0.2 * entries);
  }
  CHECK(d.entries() == 0);
}

TEST_CASE("tables alone answer within the target where densities are high") {
  constexpr std::size_t dim = 5, n = 20'000, queries = 300;
  const auto rows = cloud(n, dim, 7);
  const matrix_view<const float> x(rows.data(), n, dim);
  const density_target target{0.25, 0.1, 1e-3};
  workspace ws;
  for (const kernel_kind kind : {kernel_kind::laplacian, kernel_kind::gaussian}) {
    const density_kernel k = cloud_kernel(kind, dim);
    exact_density truth({.dim = dim, .kernel = k});
    hashing_density d({.dim = dim, .kernel = k}, seed{9});
    truth.build(x);
    d.build(x);
    random_engine g(seed{6});
    std::uint64_t bad = 0, sums = 0;
    for (std::size_t i = 0; i < queries; ++i) {
      const auto q = cloud_point(g, dim);
      const double want = truth.density(q, target, g, ws).value;
      const auto e = d.density(q, target, g, ws);
      bad += std::abs(e.value - want) > target.relative_error * want;
      sums += e.evaluations >= n;
    }
    INFO(name_of(kind) << ": " << bad << " bad, " << sums << " exact of " << queries);
    skim_test::check_proportion_at_most(bad, queries, target.failure);
    CHECK(sums < queries / 2);
  }
}

TEST_CASE("a far query is known to be below without an exact sum") {
  constexpr std::size_t dim = 3, n = 30'000;
  const auto rows = cloud(n, dim, 3);
  hashing_density d({.dim = dim, .kernel = {kernel_kind::gaussian, 0.5}});
  d.build(matrix_view<const float>(rows.data(), n, dim));
  random_engine g(seed{1});
  workspace ws;
  const auto e = d.density(std::vector<float>(dim, 50.0f), {0.1, 0.1, 1e-3}, g, ws);
  CHECK(e.below);
  CHECK(e.value == 0);
  CHECK(e.evaluations < n / 10);
}

TEST_CASE("images with forged numbers are refused or read, and impossible parameters refused") {
  hashing_density d({.dim = 2, .tables = 3, .entries = 4, .exact_up_to = 0});
  workspace ws;
  for (int i = 0; i < 3; ++i) d.insert(std::array{0.5f, static_cast<float>(i)}, 1.5f, ws);
  d.erase(1);
  skim_test::check_refuses_damage(d);
  CHECK_THROWS_AS(hashing_density({.dim = 0}), invalid_params);
  CHECK_THROWS_AS(hashing_density({.tables = 0}), invalid_params);
  CHECK_THROWS_AS(hashing_density({.entries = 0}), invalid_params);
  CHECK_THROWS_AS(hashing_density({.tuned_to = 0}), invalid_params);
  CHECK_THROWS_AS(hashing_density({.kernel = {kernel_kind::gaussian, -1}}), invalid_params);
  random_engine g;
  CHECK_THROWS_WITH(d.sample(std::array{0.5f, 0.0f}, 4, g, ws), ContainsSubstring("wanted 1 to 3"));
}
