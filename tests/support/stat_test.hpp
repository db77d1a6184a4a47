// SPDX-License-Identifier: Apache-2.0
//
// Statistical checks whose tolerance follows from the probability with which a correct program may
// fail. No tolerance is chosen by hand: a case states its failure budget, 1e-6 unless told.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "skim/core/error.hpp"
#include "support/catch.hpp"

namespace skim_test {

/// Outcome of a statistical test, with the numbers it was decided on.
struct verdict {
  bool ok = false;
  std::string text;

  explicit operator bool() const noexcept { return ok; }
};

// ---- distribution functions ---------------------------------------------------------------------

/// P(X < x) for a standard normal X.
inline double normal_cdf(double x) {
  return std::erfc(-x / std::sqrt(2.0)) / 2;
}

/// The z with P(|X| > z) = failure for a standard normal X. Pre: 1e-300 <= failure <= 1.
inline double z_limit(double failure) {
  // Bisection: erfc decreases strictly, and this runs a few times a test case.
  double low = 0, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) > failure ? low : high) = middle;
  }
  return (low + high) / 2;
}

namespace detail {

// Modified Lentz evaluation of a continued fraction whose i-th partial numerator and denominator
// are given by term(i).
template <class Term>
double continued_fraction(double first, Term term) {
  constexpr double tiny = 1e-300;
  double f = first == 0 ? tiny : first, c = f, d = 0;
  for (int i = 1; i < 10'000'000; ++i) {
    const auto [a, b] = term(i);
    d = b + a * d;
    c = b + a / c;
    if (d == 0) d = tiny;
    if (c == 0) c = tiny;
    d = 1 / d;
    const double factor = c * d;
    f *= factor;
    if (std::abs(factor - 1) < 1e-15) break;
  }
  return f;
}

struct fraction_term {
  double numerator, denominator;
};

}  // namespace detail

/// Regularised upper incomplete gamma function Q(a, x). Ref: DLMF 8.7.1 and 8.9.2.
inline double gamma_q(double a, double x) {
  if (x <= 0) return 1;
  const double scale = std::exp(a * std::log(x) - x - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a, sum = term;
    for (double k = a + 1; term > sum * 1e-16; ++k) sum += term *= x / k;
    return std::max(0.0, 1 - scale * sum);
  }
  return scale / detail::continued_fraction(x + 1 - a, [&](int i) {
           return detail::fraction_term{-i * (i - a), x + 2 * i + 1 - a};
         });
}

/// Regularised incomplete beta function I_x(a, b). Ref: DLMF 8.17.22.
inline double beta_i(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta_i(b, a, 1 - x);
  const double scale = std::exp(a * std::log(x) + b * std::log1p(-x) + std::lgamma(a + b) -
                                std::lgamma(a) - std::lgamma(b)) /
                       a;
  return scale / detail::continued_fraction(1, [&](int i) {
           const double m = i / 2;
           const double top = i % 2 == 0
                                  ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                  : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
           return detail::fraction_term{top, 1};
         });
}

/// P(X > x) for X chi-square with `freedom` degrees of freedom.
inline double chi_square_tail(double x, double freedom) {
  return gamma_q(freedom / 2, x / 2);
}

/// P(|T| > t) for Student's T with `freedom` degrees of freedom.
inline double student_tails(double t, double freedom) {
  return beta_i(freedom / 2, 0.5, freedom / (freedom + t * t));
}

/// P(X >= hits) and P(X <= hits) for X binomial.
inline double binomial_upper(std::uint64_t hits, std::uint64_t trials, double p) {
  return hits == 0 ? 1
                   : beta_i(static_cast<double>(hits), static_cast<double>(trials - hits) + 1, p);
}
inline double binomial_lower(std::uint64_t hits, std::uint64_t trials, double p) {
  return hits >= trials
             ? 1
             : beta_i(static_cast<double>(trials - hits), static_cast<double>(hits) + 1, 1 - p);
}

// ---- tests that return a verdict ----------------------------------------------------------------

namespace detail {

struct sample_moments {
  double mean = 0, variance = 0;
};

inline sample_moments two_pass(std::span<const double> x) {
  long double sum = 0, squares = 0;
  for (const double v : x) sum += v;
  const long double mean = x.empty() ? 0 : sum / static_cast<long double>(x.size());
  for (const double v : x) squares += (v - mean) * (v - mean);
  return {static_cast<double>(mean),
          x.size() < 2 ? 0 : static_cast<double>(squares / static_cast<long double>(x.size() - 1))};
}

inline double rounding_of(double a, double b) {
  return 8 * std::numeric_limits<double>::epsilon() * std::max(std::abs(a), std::abs(b));
}

}  // namespace detail

/// Student's test that independent samples have this mean, with their own standard error.
///
/// Exact for normal samples. For others it rests on the central limit theorem: the failure
/// probability is off by a factor of about exp(skewness * z^3 / (6 sqrt(n))), so at 1e-6 it is
/// trusted for n >= 1000 samples of skewness up to 1, or n >= 400 * skewness^2 in general. Where a
/// rare sample carries much of the mean (importance weights, 1/p estimators) use
/// mean_bounded_within.
inline verdict mean_within(std::span<const double> samples, double expected,
                           double failure = 1e-6) {
  using skim::detail::concat;
  if (samples.size() < 2) return {false, "a mean test wants at least two samples"};
  const auto [mean, variance] = detail::two_pass(samples);
  const double n = static_cast<double>(samples.size()), error = std::sqrt(variance / n);
  const double gap = std::abs(mean - expected);
  const double t = error > 0 ? gap / error : 0;
  const double p = student_tails(t, n - 1);
  const bool ok = gap <= detail::rounding_of(mean, expected) || (error > 0 && p >= failure);
  return {ok, concat("mean of ", samples.size(), " samples is ", mean, " +- ", error, ", expected ",
                     expected, ": ", t, " standard errors, p = ", p, ", budget ", failure, " (",
                     z_limit(failure), " standard errors)")};
}

/// Empirical Bernstein test that independent samples in [low, high] have this mean; holds for every
/// n and every distribution on that range. Ref: Maurer and Pontil 2009, COLT, theorem 4.
inline verdict mean_bounded_within(std::span<const double> samples, double expected, double low,
                                   double high, double failure = 1e-6) {
  using skim::detail::concat;
  if (samples.size() < 2) return {false, "a mean test wants at least two samples"};
  for (const double x : samples)
    if (!(x >= low && x <= high))
      return {false, concat("sample ", x, " is not in [", low, ", ", high, "]")};
  const auto [mean, variance] = detail::two_pass(samples);
  const double n = static_cast<double>(samples.size()), log_term = std::log(4 / failure);
  const double limit =
      std::sqrt(2 * variance * log_term / n) + 7 * (high - low) * log_term / (3 * (n - 1));
  const double gap = std::abs(mean - expected);
  return {gap <= limit + detail::rounding_of(mean, expected),
          concat("mean of ", samples.size(), " samples in [", low, ", ", high, "] is ", mean,
                 ", expected ", expected, " +- ", limit, " at ", failure)};
}

/// Exact two-sided binomial test that each of `trials` independent trials hits with probability p.
inline verdict proportion_within(std::uint64_t hits, std::uint64_t trials, double p,
                                 double failure = 1e-6) {
  using skim::detail::concat;
  if (hits > trials || trials == 0 || !(p >= 0 && p <= 1))
    return {false, concat(hits, " hits of ", trials, " trials at p = ", p, " make no sense")};
  const double tail =
      std::min(1.0, 2 * std::min(binomial_upper(hits, trials, p), binomial_lower(hits, trials, p)));
  return {tail >= failure, concat(hits, " hits of ", trials, " = ",
                                  static_cast<double>(hits) / static_cast<double>(trials),
                                  ", expected ", p, ": tail ", tail, ", budget ", failure)};
}

/// Binomial test that the probability is at least p (misses below only); for bounds.
inline verdict proportion_at_least(std::uint64_t hits, std::uint64_t trials, double p,
                                   double failure = 1e-6) {
  using skim::detail::concat;
  if (hits > trials || trials == 0) return {false, "no trials"};
  const double tail = binomial_lower(hits, trials, p);
  return {tail >= failure, concat(hits, " hits of ", trials, ", expected a rate of at least ", p,
                                  ": tail ", tail, ", budget ", failure)};
}

/// Binomial test that the probability is at most p (too many hits only); for bounds.
inline verdict proportion_at_most(std::uint64_t hits, std::uint64_t trials, double p,
                                  double failure = 1e-6) {
  using skim::detail::concat;
  if (hits > trials || trials == 0) return {false, "no trials"};
  const double tail = binomial_upper(hits, trials, p);
  return {tail >= failure, concat(hits, " hits of ", trials, ", expected a rate of at most ", p,
                                  ": tail ", tail, ", budget ", failure)};
}

/// Pearson's test that counts follow these expectations (counts or weights: they are scaled to the
/// total).
///
/// Neighbouring cells are pooled until each expects 25, where the chi-square tail is trusted at
/// 1e-6. A cell of expectation 0 must be empty. One degree of freedom is lost to the total;
/// `fitted` more to parameters estimated from the counts.
inline verdict chi_square_within(std::span<const std::uint64_t> observed,
                                 std::span<const double> expected, double failure = 1e-6,
                                 std::size_t fitted = 0) {
  using skim::detail::concat;
  if (observed.size() != expected.size())
    return {false, concat(observed.size(), " counts but ", expected.size(), " expectations")};
  double total = 0, weight = 0;
  for (std::size_t i = 0; i < observed.size(); ++i) {
    if (!(expected[i] >= 0)) return {false, concat("expectation ", i, " is ", expected[i])};
    if (expected[i] == 0 && observed[i] != 0)
      return {false, concat("cell ", i, " cannot occur but was counted ", observed[i], " times")};
    total += static_cast<double>(observed[i]);
    weight += expected[i];
  }
  std::vector<double> seen{0}, wanted{0};
  for (std::size_t i = 0; i < observed.size(); ++i) {
    if (wanted.back() >= 25) {
      seen.push_back(0);
      wanted.push_back(0);
    }
    seen.back() += static_cast<double>(observed[i]);
    wanted.back() += expected[i] / weight * total;
  }
  if (wanted.back() < 25 && wanted.size() > 1) {  // the rest joins its neighbour
    const double s = seen.back(), w = wanted.back();
    seen.pop_back();
    wanted.pop_back();
    seen.back() += s;
    wanted.back() += w;
  }
  if (wanted.size() < 2 + fitted)
    return {false, concat("only ", wanted.size(), " cells expect 25 or more of ", total)};
  double statistic = 0;
  for (std::size_t i = 0; i < seen.size(); ++i)
    statistic += (seen[i] - wanted[i]) * (seen[i] - wanted[i]) / wanted[i];
  const double freedom = static_cast<double>(seen.size() - 1 - fitted);
  const double p = chi_square_tail(statistic, freedom);
  return {p >= failure, concat("chi-square ", statistic, " with ", freedom,
                               " degrees of freedom: p = ", p, ", budget ", failure)};
}

/// Kolmogorov-Smirnov test that independent samples have this distribution function, by the
/// Dvoretzky-Kiefer-Wolfowitz inequality, which holds for every n. Ref: Massart 1990, Ann. Probab.
template <std::invocable<double> Cdf>
verdict distribution_within(std::vector<double> samples, Cdf cdf, double failure = 1e-6) {
  std::sort(samples.begin(), samples.end());
  const double n = static_cast<double>(samples.size());
  double gap = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double f = cdf(samples[i]), k = static_cast<double>(i);
    gap = std::max({gap, f - k / n, (k + 1) / n - f});
  }
  const double limit = std::sqrt(std::log(2 / failure) / (2 * n));
  return {
      !samples.empty() && gap <= limit,
      skim::detail::concat("largest gap of ", samples.size(), " samples to the distribution is ",
                           gap, ", limit ", limit, " at ", failure)};
}

/// Student's test that log y is linear in log x with this slope, by least squares with the fit's
/// own standard error. The y must be independent of one another, with like relative errors.
inline verdict slope_within(std::span<const double> log_x, std::span<const double> log_y,
                            double expected, double failure = 1e-6) {
  using skim::detail::concat;
  if (log_x.size() != log_y.size() || log_x.size() < 4)
    return {false, concat("a slope test wants four pairs or more, got ", log_x.size(), " and ",
                          log_y.size())};
  const double n = static_cast<double>(log_x.size());
  const double mean_x = detail::two_pass(log_x).mean, mean_y = detail::two_pass(log_y).mean;
  double xx = 0, xy = 0;
  for (std::size_t i = 0; i < log_x.size(); ++i) {
    xx += (log_x[i] - mean_x) * (log_x[i] - mean_x);
    xy += (log_x[i] - mean_x) * (log_y[i] - mean_y);
  }
  if (!(xx > 0) || !std::isfinite(xy)) return {false, "a slope test wants different finite x"};
  const double slope = xy / xx;
  double residual = 0;
  for (std::size_t i = 0; i < log_x.size(); ++i) {
    const double r = log_y[i] - mean_y - slope * (log_x[i] - mean_x);
    residual += r * r;
  }
  const double error = std::sqrt(residual / (n - 2) / xx), gap = std::abs(slope - expected);
  const double p = error > 0 ? student_tails(gap / error, n - 2) : 0;
  const bool ok = gap <= 1e-9 || (error > 0 && p >= failure);
  return {ok, concat("slope of ", log_x.size(), " points is ", slope, " +- ", error, ", expected ",
                     expected, ": p = ", p, ", budget ", failure)};
}

// ---- the same as Catch2 checks ------------------------------------------------------------------

inline void check(const verdict& v) {
  INFO(v.text);
  CHECK(v.ok);
}

inline void check_mean(std::span<const double> samples, double expected, double failure = 1e-6) {
  check(mean_within(samples, expected, failure));
}
inline void check_mean_bounded(std::span<const double> samples, double expected, double low,
                               double high, double failure = 1e-6) {
  check(mean_bounded_within(samples, expected, low, high, failure));
}
inline void check_proportion(std::uint64_t hits, std::uint64_t trials, double p,
                             double failure = 1e-6) {
  check(proportion_within(hits, trials, p, failure));
}
inline void check_proportion_at_least(std::uint64_t hits, std::uint64_t trials, double p,
                                      double failure = 1e-6) {
  check(proportion_at_least(hits, trials, p, failure));
}
inline void check_proportion_at_most(std::uint64_t hits, std::uint64_t trials, double p,
                                     double failure = 1e-6) {
  check(proportion_at_most(hits, trials, p, failure));
}
inline void check_chi_square(std::span<const std::uint64_t> observed,
                             std::span<const double> expected, double failure = 1e-6,
                             std::size_t fitted = 0) {
  check(chi_square_within(observed, expected, failure, fitted));
}
template <std::invocable<double> Cdf>
void check_distribution(std::vector<double> samples, Cdf cdf, double failure = 1e-6) {
  check(distribution_within(std::move(samples), cdf, failure));
}
inline void check_slope(std::span<const double> log_x, std::span<const double> log_y,
                        double expected, double failure = 1e-6) {
  check(slope_within(log_x, log_y, expected, failure));
}

}  // namespace skim_test
