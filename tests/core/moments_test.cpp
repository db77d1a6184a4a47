// SPDX-License-Identifier: Apache-2.0
//
// Running moments against two passes in long double, and the median of means.
#include "skim/core/moments.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/io/memory.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

struct weighted {
  std::vector<double> x, w;
};

weighted sample(std::size_t n, double mean, std::uint64_t s) {
  weighted out;
  skim::random_engine g(skim::seed{s});
  for (std::size_t i = 0; i < n; ++i) {
    out.x.push_back(mean + skim::normal(g));
    out.w.push_back(skim::exponential(g));
  }
  return out;
}

skim::running_moments moments_of(std::span<const double> x, std::span<const double> w) {
  skim::running_moments m;
  for (std::size_t i = 0; i < x.size(); ++i) w.empty() ? m.insert(x[i]) : m.insert(x[i], w[i]);
  return m;
}

void check_two_pass(const skim::running_moments& m, std::span<const double> x,
                    std::span<const double> w, double tolerance) {
  long double total = 0, squared = 0, sum = 0, squares = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double weight = w.empty() ? 1 : w[i];
    total += weight;
    squared += weight * weight;
    sum += weight * x[i];
  }
  const long double mean = sum / total;
  for (std::size_t i = 0; i < x.size(); ++i)
    squares += (w.empty() ? 1.0L : w[i]) * (x[i] - mean) * (x[i] - mean);
  const long double n = total * total / squared;
  CHECK_THAT(m.weight(), WithinRel(static_cast<double>(total), 1e-12));
  CHECK_THAT(m.mean(), WithinRel(static_cast<double>(mean), 1e-12));
  CHECK_THAT(m.effective_count(), WithinRel(static_cast<double>(n), 1e-12));
  const auto variance = static_cast<double>(squares / total * n / (n - 1));
  CHECK_THAT(m.variance(), WithinRel(variance, tolerance));
  CHECK_THAT(m.standard_error(),
             WithinRel(std::sqrt(variance / static_cast<double>(n)), tolerance));
}

bool same(const skim::running_moments& a, const skim::running_moments& b) {
  return skim::save_bytes(a) == skim::save_bytes(b);
}

}  // namespace

TEST_CASE("moments equal the two-pass formulas", "[moments][unit]") {
  for (const double mean : {0.5, -3.0, 1e6}) {
    const weighted s = sample(20'000, mean, 1);
    check_two_pass(moments_of(s.x, {}), s.x, {}, 1e-9);
    check_two_pass(moments_of(s.x, s.w), s.x, s.w, 1e-9);
  }
  // A mean of 1e9 deviations: sums of squares would cancel to nothing.
  const weighted far = sample(20'000, 1e9, 2);
  check_two_pass(moments_of(far.x, {}), far.x, {}, 1e-5);
}

TEST_CASE("few values have few moments", "[moments][unit]") {
  skim::running_moments m;
  CHECK(m.weight() == 0);
  CHECK(m.mean() == 0);
  CHECK(m.variance() == 0);
  CHECK(m.standard_error() == 0);
  CHECK(m.effective_count() == 0);
  m.insert(7);
  CHECK(m.mean() == 7);
  CHECK(m.variance() == 0);
  CHECK(m.standard_error() == 0);
  m.insert(9);
  CHECK(m.mean() == 8);
  CHECK_THAT(m.variance(), WithinRel(2, 1e-15));
  CHECK_THAT(m.standard_error(), WithinRel(1, 1e-15));
  const skim::running_moments before = m;
  m.insert(1000, 0);  // weighs nothing
  CHECK(same(m, before));
}

TEST_CASE("merging moments equals inserting both", "[moments][law]") {
  const weighted s = sample(5000, 3, 3);
  const std::span<const double> x = s.x, w = s.w;
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, x.size()}) {
    auto a = moments_of(x.first(cut), w.first(cut));
    a.merge(moments_of(x.subspan(cut), w.subspan(cut)));
    check_two_pass(a, x, w, 1e-10);
  }
  auto twice = moments_of(x, w);
  twice.merge(twice);
  CHECK_THAT(twice.weight(), WithinRel(2 * moments_of(x, w).weight(), 1e-15));
  CHECK_THAT(twice.mean(), WithinRel(moments_of(x, w).mean(), 1e-12));
}

TEST_CASE("what is not finite does not enter", "[moments][unit]") {
  skim::running_moments m;
  m.insert(1);
  m.insert(2, 0.5);
  const skim::running_moments before = m;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(),
                   inf = std::numeric_limits<double>::infinity(),
                   max = std::numeric_limits<double>::max();
  for (const double bad : {nan, inf, -inf}) {
    CHECK_THROWS_AS(m.insert(bad), skim::invalid_input);
    CHECK_THROWS_AS(m.insert(1, bad), skim::invalid_input);
  }
  CHECK_THROWS_AS(m.insert(1, -1), skim::invalid_input);
  CHECK_THROWS_AS(m.insert(max), skim::invalid_input);  // its square has no place in a double
  CHECK_THROWS_AS(m.insert(1, max), skim::invalid_input);
  CHECK_THROWS_WITH(m.insert(nan), Catch::Matchers::ContainsSubstring("got nan with weight 1"));
  CHECK(same(m, before));

  skim::running_moments huge;
  huge.insert(max);
  skim::running_moments opposite;
  opposite.insert(-max);
  const skim::running_moments kept = huge;
  CHECK_THROWS_AS(huge.merge(opposite), skim::merge_error);
  CHECK(same(huge, kept));
}

TEST_CASE("moments are saved and loaded", "[moments][unit]") {
  const weighted s = sample(100, 3, 4);
  const auto m = moments_of(s.x, s.w);
  const auto loaded = skim::load_bytes<skim::running_moments>(skim::save_bytes(m));
  CHECK(same(m, loaded));
  CHECK(loaded.standard_error() == m.standard_error());
  skim_test::check_refuses_damage(m);
}

TEST_CASE("the standard error covers the mean as often as it says", "[moments][stat]") {
  skim::random_engine g(skim::seed{5});
  std::uint64_t covered = 0;
  constexpr std::uint64_t trials = 4000;
  for (std::uint64_t t = 0; t < trials; ++t) {
    skim::running_moments m;
    for (int i = 0; i < 400; ++i) m.insert(skim::normal(g));
    covered += std::abs(m.mean()) < skim_test::z_limit(0.05) * m.standard_error();
  }
  // Student's t with 399 degrees of freedom, where the limit is a normal one.
  skim_test::check_proportion(covered, trials,
                              1 - skim_test::student_tails(skim_test::z_limit(0.05), 399));
}

TEST_CASE("median of means is that", "[moments][unit]") {
  const std::vector<double> x{1, 2, 3, 10, 20, 30, 100, 200, 300};
  CHECK(skim::median_of_means(x, 1) == 666.0 / 9);
  CHECK(skim::median_of_means(x, 3) == 20);  // of 2, 20 and 200
  CHECK(skim::median_of_means(x, 9) == 20);
  CHECK(skim::median_of_means(x, 2) == ((1 + 2 + 3 + 10) / 4.0 + 650.0 / 5) / 2);
  CHECK(skim::median_of_means(std::vector<double>{5, 1}, 2) == 3);
  CHECK(skim::median_of_means(std::vector<double>{5}, 1) == 5);

  std::vector<double> many(1000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<double>(i * 7 % 1000);
  CHECK(skim::median_of_means(many, 1000) == 499.5);  // more groups than fit on the stack
  CHECK(skim::median_of_means(many, 999) >= 0);

  CHECK_THROWS_AS(skim::median_of_means(x, 0), skim::invalid_input);
  CHECK_THROWS_AS(skim::median_of_means(x, 10), skim::invalid_input);
  CHECK_THROWS_AS(skim::median_of_means({}, 1), skim::invalid_input);
  const std::vector<double> bad{1, std::nan(""), 3};
  CHECK_THROWS_AS(skim::median_of_means(bad, 3), skim::invalid_input);
  CHECK_THROWS_AS(skim::median_of_means(bad, 1), skim::invalid_input);
}

TEST_CASE("median of means keeps its bound where a mean does not", "[moments][stat]") {
  // Values of variance V with rare huge ones; the stated bound at p = 0.01.
  constexpr double p = 0.01, rare = 1e-4, height = 100;
  const double variance = height * height * rare * (1 - rare);
  constexpr std::size_t n = 2000;
  const auto groups = static_cast<std::size_t>(std::ceil(8 * std::log(1 / p)));
  const double bound = std::sqrt(32 * variance * std::log(1 / p) / n);
  skim::random_engine g(skim::seed{6});
  std::uint64_t outside = 0;
  std::vector<double> x(n);
  for (int t = 0; t < 2000; ++t) {
    for (double& v : x) v = skim::uniform(g) < rare ? height : 0;
    outside += std::abs(skim::median_of_means(x, groups) - height * rare) > bound;
  }
  skim_test::check_proportion_at_most(outside, 2000, p);
}
