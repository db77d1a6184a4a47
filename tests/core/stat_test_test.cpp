// SPDX-License-Identifier: Apache-2.0
//
// The statistical checks themselves: they pass on what is true, fail on what is false, and their
// distribution functions agree with values known otherwise.
#include "support/stat_test.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/random.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

std::vector<double> normals(std::size_t n, double mean, std::uint64_t s) {
  skim::random_engine g(skim::seed{s});
  std::vector<double> x(n);
  for (double& v : x) v = mean + skim::normal(g);
  return x;
}

}  // namespace

TEST_CASE("distribution functions agree with closed forms", "[support][unit]") {
  CHECK_THAT(skim_test::z_limit(0.05), WithinAbs(1.959963984540054, 1e-9));
  CHECK_THAT(skim_test::z_limit(1e-6), WithinAbs(4.891638475699, 1e-9));
  CHECK_THAT(skim_test::z_limit(1), WithinAbs(0, 1e-9));
  for (const double z : {0.5, 1.0, 3.0, 8.0, 20.0})
    CHECK_THAT(skim_test::z_limit(std::erfc(z / std::sqrt(2.0))), WithinAbs(z, 1e-9));

  for (const double x : {0.1, 1.0, 5.0, 40.0, 300.0}) {
    CHECK_THAT(skim_test::chi_square_tail(x, 2), WithinRel(std::exp(-x / 2), 1e-10));
    CHECK_THAT(skim_test::chi_square_tail(x, 1), WithinRel(std::erfc(std::sqrt(x / 2)), 1e-9));
    CHECK_THAT(skim_test::chi_square_tail(x, 4), WithinRel(std::exp(-x / 2) * (1 + x / 2), 1e-9));
  }
  for (const double t : {0.2, 1.0, 7.0, 500.0}) {  // Cauchy, and two degrees of freedom
    CHECK_THAT(skim_test::student_tails(t, 1),
               WithinRel(std::atan2(1.0, t) / std::atan(1.0) / 2, 1e-9));
    CHECK_THAT(skim_test::student_tails(t, 2), WithinRel(1 - t / std::sqrt(2 + t * t), 1e-6));
  }
  CHECK_THAT(skim_test::student_tails(4.891638475699, 1e9), WithinRel(1e-6, 1e-3));

  // Binomial tails against direct summation.
  const std::uint64_t n = 60;
  const double p = 0.3;
  double upper = 0;
  for (std::uint64_t k = n;; --k) {
    const double dk = static_cast<double>(k), dn = static_cast<double>(n);
    upper += std::exp(std::lgamma(dn + 1) - std::lgamma(dk + 1) - std::lgamma(dn - dk + 1) +
                      dk * std::log(p) + (dn - dk) * std::log1p(-p));
    CHECK_THAT(skim_test::binomial_upper(k, n, p), WithinRel(upper, 1e-9));
    if (k > 0) CHECK_THAT(skim_test::binomial_lower(k - 1, n, p), WithinAbs(1 - upper, 1e-9));
    if (k == 0) break;
  }
  CHECK_THAT(skim_test::binomial_upper(500'000'000, 1'000'000'000, 0.5), WithinAbs(0.5, 1e-4));
}

TEST_CASE("p-values are uniform when the hypothesis is true", "[support][stat]") {
  // Each test at a budget of 0.1 must reject about a tenth of the time, not less and not more.
  skim::random_engine g(skim::seed{1});
  constexpr std::size_t rounds = 4000;
  std::uint64_t mean_fails = 0, proportion_fails = 0, chi_fails = 0, slope_fails = 0, dkw_fails = 0,
                bounded_fails = 0;
  for (std::size_t r = 0; r < rounds; ++r) {
    std::vector<double> x(30), lx, ly, u(100);
    for (double& v : x) v = skim::normal(g);
    mean_fails += !skim_test::mean_within(x, 0, 0.1).ok;
    std::uint64_t hits = 0;
    for (int i = 0; i < 2000; ++i) hits += skim::uniform(g) < 0.3;
    proportion_fails += !skim_test::proportion_within(hits, 2000, 0.3, 0.1).ok;
    std::array<std::uint64_t, 10> cells{};
    for (int i = 0; i < 1000; ++i) ++cells[skim::uniform_below(g, 10)];
    const std::vector<double> even(10, 1.0);
    chi_fails += !skim_test::chi_square_within(cells, even, 0.1).ok;
    for (int i = 0; i < 6; ++i) {
      lx.push_back(i);
      ly.push_back(3 - 0.5 * i + 0.1 * skim::normal(g));
    }
    slope_fails += !skim_test::slope_within(lx, ly, -0.5, 0.1).ok;
    for (double& v : u) v = skim::uniform(g);
    dkw_fails += !skim_test::distribution_within(
                      u, [](double v) { return v; }, 0.1)
                      .ok;
    bounded_fails += !skim_test::mean_bounded_within(u, 0.5, 0, 1, 0.1).ok;
  }
  skim_test::check_proportion(mean_fails, rounds, 0.1);
  skim_test::check_proportion(slope_fails, rounds, 0.1);
  // Counts are discrete, so these reject at most that often; the bounds are not tight.
  skim_test::check_proportion_at_most(proportion_fails, rounds, 0.1);
  skim_test::check_proportion_at_least(proportion_fails, rounds, 0.07);
  skim_test::check_proportion_at_most(chi_fails, rounds, 0.11);
  skim_test::check_proportion_at_least(chi_fails, rounds, 0.08);
  skim_test::check_proportion_at_most(dkw_fails, rounds, 0.1);
  skim_test::check_proportion_at_most(bounded_fails, rounds, 0.1);
}

TEST_CASE("tests fail on what is false", "[support][unit]") {
  SECTION("mean") {
    const auto x = normals(10000, 0.1, 2);
    CHECK(skim_test::mean_within(x, 0.1).ok);
    const auto v = skim_test::mean_within(x, 0);
    CHECK_FALSE(v.ok);
    CHECK_THAT(v.text, Catch::Matchers::ContainsSubstring("expected 0"));
    CHECK_FALSE(skim_test::mean_within(std::vector<double>{1}, 1).ok);
    CHECK(skim_test::mean_within(std::vector<double>{3, 3, 3}, 3).ok);
    CHECK_FALSE(skim_test::mean_within(std::vector<double>{3, 3, 3}, 3.001).ok);
    CHECK_FALSE(skim_test::mean_within(std::vector<double>{1, 2, std::nan("")}, 1.5).ok);
  }
  SECTION("bounded mean") {
    std::vector<double> x(100000);
    skim::random_engine g(skim::seed{3});
    for (double& v : x) v = skim::uniform(g) < 1e-3 ? 1000 : 0;  // mean 1, heavy
    CHECK(skim_test::mean_bounded_within(x, 1, 0, 1000).ok);
    CHECK_FALSE(skim_test::mean_bounded_within(x, 4, 0, 1000).ok);
    CHECK_FALSE(skim_test::mean_bounded_within(x, 1, 0, 500).ok);  // out of range
    CHECK_FALSE(skim_test::mean_bounded_within(std::vector<double>{0, std::nan("")}, 0, 0, 1).ok);
  }
  SECTION("proportion") {
    CHECK(skim_test::proportion_within(5000, 10000, 0.5).ok);
    CHECK_FALSE(skim_test::proportion_within(5300, 10000, 0.5).ok);
    CHECK_FALSE(skim_test::proportion_within(4700, 10000, 0.5).ok);
    CHECK(skim_test::proportion_within(0, 1000, 0).ok);
    CHECK_FALSE(skim_test::proportion_within(1, 1000, 0).ok);
    CHECK(skim_test::proportion_within(1000, 1000, 1).ok);
    CHECK_FALSE(skim_test::proportion_within(999, 1000, 1).ok);
    CHECK_FALSE(skim_test::proportion_within(0, 0, 0.5).ok);
    CHECK_FALSE(skim_test::proportion_within(3, 2, 0.5).ok);
    CHECK(skim_test::proportion_at_least(9000, 10000, 0.5).ok);
    CHECK_FALSE(skim_test::proportion_at_least(4000, 10000, 0.5).ok);
    CHECK(skim_test::proportion_at_most(4000, 10000, 0.5).ok);
    CHECK_FALSE(skim_test::proportion_at_most(9000, 10000, 0.5).ok);
  }
  SECTION("chi-square") {
    const std::vector<std::uint64_t> fair{1010, 990, 1005, 995}, skewed{1200, 800, 1000, 1000};
    const std::vector<double> even{1, 1, 1, 1}, hole{1, 1, 2, 0};
    CHECK(skim_test::chi_square_within(fair, even).ok);
    CHECK_FALSE(skim_test::chi_square_within(skewed, even).ok);
    CHECK_FALSE(skim_test::chi_square_within(fair, hole).ok);  // an impossible cell was hit
    CHECK_FALSE(skim_test::chi_square_within(fair, std::vector<double>{1, 1}).ok);
    CHECK_FALSE(
        skim_test::chi_square_within(std::vector<std::uint64_t>{3, 4}, std::vector<double>{1, 1})
            .ok);  // too few to say anything
  }
  SECTION("distribution") {
    auto x = normals(100000, 0, 5);
    CHECK(skim_test::distribution_within(x, skim_test::normal_cdf).ok);
    for (double& v : x) v *= 1.05;
    CHECK_FALSE(skim_test::distribution_within(x, skim_test::normal_cdf).ok);
    CHECK_FALSE(skim_test::distribution_within({}, skim_test::normal_cdf).ok);
  }
  SECTION("slope") {
    const std::vector<double> x{0, 1, 2, 3, 4, 5}, y{0.01, -0.5, -1.02, -1.5, -1.99, -2.51};
    CHECK(skim_test::slope_within(x, y, -0.5).ok);
    CHECK_FALSE(skim_test::slope_within(x, y, -1).ok);
    CHECK_FALSE(skim_test::slope_within(x, std::vector<double>{1, 2}, 1).ok);
    const std::vector<double> same(6, 1.0);
    CHECK_FALSE(skim_test::slope_within(same, y, -0.5).ok);
    CHECK(skim_test::slope_within(x, x, 1).ok);
    CHECK_FALSE(skim_test::slope_within(x, x, 0.9).ok);
  }
}

TEST_CASE("points have the geometry they promise", "[support][unit]") {
  using skim_test::angle, skim_test::norm, skim_test::distance;
  const skim::seed s{7};
  for (const double theta : {0.0, 1e-3, 0.5, 1.5, 3.0}) {
    const skim_test::points p = skim_test::pair_at_angle(50, theta, s);
    CHECK_THAT(angle(p.row(0), p.row(1)), WithinAbs(theta, 1e-6));
    CHECK_THAT(norm(p.row(1)), WithinAbs(1, 1e-6));
  }
  for (const double length : {0.0, 0.1, 3.0}) {
    const skim_test::points p = skim_test::pair_at_distance(40, length, s);
    CHECK_THAT(distance(p.row(0), p.row(1)), WithinAbs(length, 1e-5));
  }
  const skim_test::points u = skim_test::unit_points(20, 30, s);
  for (std::size_t i = 0; i < u.size(); ++i) CHECK_THAT(norm(u.row(i)), WithinAbs(1, 1e-6));
  CHECK(u.view().rows() == 20);
  CHECK(u.view().row(3).data() == u.row(3).data());

  const skim_test::clusters c = skim_test::clustered_points(60, 8, 3, 0.01, s);
  for (std::size_t i = 0; i < c.size(); ++i)
    CHECK(distance(c.row(i), c.centres.row(c.labels[i])) < 0.01 * 10 * std::sqrt(8.0));

  const skim_test::sparse_points sp = skim_test::sparse_gaussian_points(50, 200, 13, s);
  CHECK_NOTHROW(sp.view().validate());
  CHECK(sp.view().rows() == 50);
  CHECK(sp.row(4).nonzeros() == 13);
  const auto [x, y] = skim_test::sets_with_overlap(30, 10, 1000, s);
  CHECK(x.size() == 30);
  CHECK(y.size() == 30);
  CHECK_THAT(skim_test::jaccard(x, y), WithinAbs(0.2, 1e-12));
  CHECK(skim_test::jaccard({}, {}) == 1);
  CHECK_THAT(skim_test::manhattan_distance(std::vector<float>{1, 2}, std::vector<float>{-1, 5}),
             WithinAbs(5, 1e-12));
  CHECK_THAT(skim_test::cosine(std::vector<float>{1, 0}, std::vector<float>{1, 1}),
             WithinAbs(std::sqrt(0.5), 1e-12));
}
