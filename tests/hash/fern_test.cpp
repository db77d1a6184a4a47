// SPDX-License-Identifier: Apache-2.0
#include "skim/hash/fern.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "laws/hash_family.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

namespace {

skim::fern_family uniform_ferns(std::size_t d, skim::fern_params p, skim::seed s) {
  const std::vector<skim::fern_coordinate> range(d, {-2, 2, 1});
  return {p, range, s};
}

template <std::size_t Bits, std::size_t Run>
struct ranged {
  using family = skim::fern_family;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return uniform_ferns(d, {.hashes = hashes, .bits = Bits, .run = Run}, s);
  }
};

struct fitted {
  using family = skim::fern_family;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family::fit(skim_test::gaussian_points(100, d, skim::seed{9}).view(),
                       {.hashes = hashes, .bits = 16, .knots = 7}, s);
  }
};

}  // namespace

TEST_CASE("ferns keep the laws of hash families", "[law]") {
  SECTION("independent features") {
    skim_test::hash_family_laws<ranged<16, 1>>();
  }
  SECTION("features in runs") {
    skim_test::hash_family_laws<ranged<20, 5>>();
  }
  SECTION("thresholds from a sample") {
    skim_test::hash_family_laws<fitted>();
  }
}

TEST_CASE("the kernel of ferns is the formula of their documentation", "[unit]") {
  const std::vector<skim::fern_coordinate> c{{0, 1, 1}, {0, 2, 3}, {5, 5, 9}, {0, 1, 0}};
  const skim::fern_family f({.hashes = 1, .bits = 3}, c, skim::seed{1});
  const std::vector<float> x{0.25f, 0.5f, -7, 0.1f}, y{0.75f, 1.5f, 40, 0.9f};
  // (1 - 1/4 * 0.5 - 3/4 * 0.5)^3; the constant coordinate and the one of weight 0 do not count.
  CHECK_THAT(f.kernel(x, y), Catch::Matchers::WithinAbs(0.125, 1e-12));
  for (const skim::id_t j : f.used()) CHECK(j < 2);
}

TEST_CASE("thresholds follow a sample, atoms included", "[stat]") {
  // Column 0 is 70 % zeros, column 1 is binary, column 2 constant, column 3 continuous.
  constexpr std::size_t n = 400;
  skim_test::points sample(n, 4);
  skim::random_engine g(skim::seed{3});
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = sample.row(i);
    row[0] = skim::uniform(g) < 0.7 ? 0.0f : 1 + skim::uniform_float(g);
    row[1] = skim::uniform(g) < 0.4 ? 1.0f : 0.0f;
    row[2] = 3;
    row[3] = static_cast<float>(skim::normal(g));
  }
  const std::vector<float> x{0, 0, 3, -0.5f}, y{1.5f, 1, 3, 0.25f}, z{0, 1, 8, -0.5f};
  for (const auto weighting : {skim::fern_weighting::uniform, skim::fern_weighting::variation}) {
    std::uint64_t xy = 0, xz = 0, trials = 0;
    double kernel_xy = 0, kernel_xz = 0;
    for (std::uint64_t s = 0; s < 60; ++s) {
      const auto f = skim::fern_family::fit(
          sample.view(), {.hashes = 200, .bits = 2, .weighting = weighting}, skim::seed{s});
      const auto a = skim_test::codes_of(f, std::span(x)), b = skim_test::codes_of(f, std::span(y)),
                 c = skim_test::codes_of(f, std::span(z));
      for (std::size_t r = 0; r < a.size(); ++r, ++trials) {
        xy += a[r] == b[r];
        xz += a[r] == c[r];
      }
      kernel_xy = f.kernel(x, y);
      kernel_xz = f.kernel(x, z);
      for (const skim::id_t j : f.used()) REQUIRE(j != 2);
    }
    CHECK(kernel_xy < kernel_xz);
    skim_test::check_proportion(xy, trials, kernel_xy);
    skim_test::check_proportion(xz, trials, kernel_xz);
  }
}

TEST_CASE("a binary column is always compared between its two values", "[unit]") {
  skim_test::points sample(10, 1);
  for (std::size_t i = 0; i < 10; ++i) sample.row(i)[0] = i < 3 ? 1.0f : 0.0f;
  const auto f = skim::fern_family::fit(sample.view(), {.hashes = 50, .bits = 4}, skim::seed{1});
  for (const auto code : skim_test::codes_of(f, sample.row(0))) CHECK(code == 15);
  for (const auto code : skim_test::codes_of(f, sample.row(9))) CHECK(code == 0);
}

TEST_CASE("sparse batches hash as their dense rows, with few features and with many", "[unit]") {
  for (const std::size_t hashes : {4u, 40u})
    for (const std::size_t n : {1u, 32u, 33u, 77u}) {
      const auto sparse = skim_test::sparse_gaussian_points(n, 200, 6, skim::seed{n});
      std::vector<float> x(n * 200, 0.0f);
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t k = 0; k < sparse.row(i).nonzeros(); ++k)
          x[i * 200 + sparse.row(i).indices[k]] = sparse.row(i).values[k];
      const skim::matrix_view<const float> dense(x.data(), n, 200);
      const std::vector<skim::fern_coordinate> ranges(200, {.lo = -1, .hi = 1});
      const skim::fern_family f({.hashes = hashes, .bits = 8}, ranges, skim::seed{3});
      skim::workspace ws;
      std::vector<skim::code_t> want(n * hashes), got(n * hashes), one(hashes);
      f.hash(dense, want, ws);
      f.hash(sparse.view(), got, ws);
      CHECK(got == want);
      f.hash(sparse.view().rows(n - 1, 1), one, ws);
      CHECK(std::equal(one.begin(), one.end(), want.end() - static_cast<std::ptrdiff_t>(hashes)));
    }
}

TEST_CASE("a sparse sample gives the family of the same sample written densely", "[unit]") {
  const auto sparse = skim_test::sparse_gaussian_points(60, 30, 4, skim::seed{2});
  skim_test::points dense(60, 30);
  for (std::size_t i = 0; i < 60; ++i)
    for (std::size_t k = 0; k < 4; ++k)
      dense.row(i)[sparse.row(i).indices[k]] = sparse.row(i).values[k];
  for (const auto weighting : {skim::fern_weighting::uniform, skim::fern_weighting::variation}) {
    const skim::fern_params p{.hashes = 5, .bits = 8, .weighting = weighting};
    const auto a = skim::fern_family::fit(sparse.view(), p, skim::seed{1});
    const auto b = skim::fern_family::fit(dense.view(), p, skim::seed{1});
    if (weighting == skim::fern_weighting::uniform) CHECK(a.fingerprint() == b.fingerprint());
    for (std::size_t i = 1; i < 60; ++i)
      CHECK_THAT(a.kernel(dense.row(0), dense.row(i)),
                 Catch::Matchers::WithinAbs(b.kernel(dense.row(0), dense.row(i)), 1e-9));
  }
}

TEST_CASE("features in runs touch few cache lines", "[unit]") {
  const auto f = uniform_ferns(784, {.hashes = 4, .bits = 8, .run = 8}, skim::seed{1});
  std::vector<skim::id_t> lines;
  for (const skim::id_t j : f.used()) lines.push_back(j / 16);
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  CHECK(lines.size() <= 4);
}

TEST_CASE("ferns refuse impossible parameters", "[unit]") {
  const std::vector<skim::fern_coordinate> c(3);
  const skim::seed s{1};
  using skim::fern_family;
  CHECK_THROWS_AS(fern_family({.hashes = 0}, c, s), skim::invalid_params);
  CHECK_THROWS_AS(fern_family({.bits = 0}, c, s), skim::invalid_params);
  CHECK_THROWS_AS(fern_family({.bits = 33}, c, s), skim::invalid_params);
  CHECK_THROWS_AS(fern_family({.bits = 12, .run = 5}, c, s), skim::invalid_params);
  CHECK_THROWS_AS(fern_family({.run = 0}, c, s), skim::invalid_params);
  CHECK_THROWS_AS(fern_family({}, {}, s), skim::invalid_params);
  const auto with = [&](skim::fern_coordinate odd) {
    std::vector<skim::fern_coordinate> d = c;
    d[1] = odd;
    return fern_family({}, d, s);
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(with({1, 0, 1}), skim::invalid_params);
  CHECK_THROWS_AS(with({nan, 1, 1}), skim::invalid_params);
  CHECK_THROWS_AS(with({0, 1, -1}), skim::invalid_params);
  const std::vector<skim::fern_coordinate> constant(4, {2, 2, 1});
  CHECK_THROWS_AS(fern_family({}, constant, s), skim::invalid_params);

  skim_test::points sample(5, 2);
  CHECK_THROWS_AS(fern_family::fit(sample.view(), {}, s), skim::invalid_params);
  sample.row(3)[1] = 1;
  CHECK_NOTHROW(fern_family::fit(sample.view(), {}, s));
  CHECK_THROWS_AS(fern_family::fit(sample.view(), {.knots = 0}, s), skim::invalid_params);
  sample.row(3)[1] = nan;
  CHECK_THROWS_AS(fern_family::fit(sample.view(), {}, s), skim::invalid_input);
  CHECK_THROWS_AS(fern_family::fit(sample.view().rows(0, 0), {}, s), skim::invalid_input);
}

TEST_CASE("saved ferns refuse damage", "[fuzz]") {
  skim_test::check_refuses_damage(uniform_ferns(3, {.hashes = 2, .bits = 4}, skim::seed{1}));
}
