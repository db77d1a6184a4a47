// SPDX-License-Identifier: Apache-2.0
//
// Running mean and variance, and the median of means.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Mean and variance of a stream of weighted numbers, without storing them.
///
/// Memory:  32 bytes.
/// Cost:    O(1) each.
/// Error:   as the two-pass formulas up to rounding; no cancellation when the mean is large.
/// Linear:  merge equals having inserted both streams, up to rounding.
/// Threads: none for writers; const members may run at once.
class running_moments {
 public:
  /// Adds x. Throws invalid_input unless x is finite, weight finite and not negative, and the sums
  /// stay finite; then nothing has changed.
  void insert(double x, double weight = 1) {
    if (!std::isfinite(x) || !std::isfinite(weight) || weight < 0)
      SKIM_THROW(invalid_input, detail::concat("running_moments::insert: got ", x, " with weight ",
                                               weight, ", wanted finite numbers and weight >= 0"));
    if (weight == 0) return;
    running_moments next = *this;
    next.weight_ += weight;
    next.weight_squared_ += weight * weight;
    const double delta = x - mean_;
    next.mean_ += delta * (weight / next.weight_);
    next.squares_ += weight * delta * (x - next.mean_);
    if (!next.finite())
      SKIM_THROW(invalid_input, detail::concat("running_moments::insert: got ", x, " with weight ",
                                               weight, ", too large for sums in double"));
    *this = next;
  }

  /// Adds what the other has seen. Throws merge_error if the sums overflow; then nothing has
  /// changed.
  void merge(const running_moments& other) {
    if (other.weight_ == 0) return;
    running_moments next = *this;
    next.weight_ += other.weight_;
    next.weight_squared_ += other.weight_squared_;
    const double delta = other.mean_ - mean_, share = other.weight_ / next.weight_;
    next.mean_ += delta * share;
    next.squares_ += other.squares_ + delta * delta * share * weight_;
    if (!next.finite())
      SKIM_THROW(merge_error, "running_moments::merge: the sums are too large for double");
    *this = next;
  }

  /// Total weight; the count if all are 1.
  [[nodiscard]] double weight() const noexcept { return weight_; }
  /// 0 while empty.
  [[nodiscard]] double mean() const noexcept { return mean_; }
  /// Number of equally weighted values that would carry as much information.
  [[nodiscard]] double effective_count() const noexcept {
    return weight_squared_ > 0 ? weight_ * weight_ / weight_squared_ : 0;
  }
  /// Unbiased for unit weights (denominator n - 1); 0 for fewer than two values.
  [[nodiscard]] double variance() const noexcept {
    const double n = effective_count();
    return n > 1 ? squares_ / weight_ * (n / (n - 1)) : 0;
  }
  [[nodiscard]] double standard_error() const noexcept {
    const double n = effective_count();
    return n > 1 ? std::sqrt(variance() / n) : 0;
  }

  void save(writer& out) const {
    out.begin_frame("running_moments");
    for (const double x : {weight_, weight_squared_, mean_, squares_}) out.put(x);
    out.end_frame();
  }
  [[nodiscard]] static running_moments load(reader& in) {
    in.begin_frame("running_moments");
    running_moments m;
    for (double* x : {&m.weight_, &m.weight_squared_, &m.mean_, &m.squares_}) *x = in.get<double>();
    if (!m.finite() || m.weight_ < 0 || m.weight_squared_ < 0 || m.squares_ < 0)
      in.fail("moments of weight ", m.weight_, ", mean ", m.mean_, " and squares ", m.squares_,
              ", wanted finite sums that are not negative");
    in.end_frame();
    return m;
  }

 private:
  [[nodiscard]] bool finite() const noexcept {
    return std::isfinite(weight_) && std::isfinite(weight_squared_) && std::isfinite(mean_) &&
           std::isfinite(squares_);
  }

  double weight_ = 0, weight_squared_ = 0, mean_ = 0, squares_ = 0;
};

/// Median of the means of `groups` consecutive, nearly equal groups.
///
/// Error:   with g = 8 ln(1/p) groups and n values of variance V the result is within
///          sqrt(32 V ln(1/p) / n) of the mean with probability 1 - p.
/// Cost:    O(n); allocates only for more than 64 groups.
/// Ref:     Lugosi and Mendelson 2019, Found. Comput. Math. 19, theorem 2.
///
/// Throws invalid_input unless 1 <= groups <= values.size() and the means are finite.
[[nodiscard]] inline double median_of_means(std::span<const double> values, std::size_t groups) {
  const std::size_t n = values.size();
  if (groups == 0 || groups > n)
    SKIM_THROW(invalid_input, detail::concat("median_of_means: got ", groups, " groups for ", n,
                                             " values, wanted 1 to ", n));
  std::array<double, 64> few;
  std::vector<double> many(groups > few.size() ? groups : 0);
  const std::span<double> means =
      many.empty() ? std::span<double>(few).first(groups) : std::span(many);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t first = g * n / groups, last = (g + 1) * n / groups;
    double sum = 0;
    for (std::size_t i = first; i < last; ++i) sum += values[i];
    means[g] = sum / static_cast<double>(last - first);
    if (!std::isfinite(means[g]))  // a NaN has no place in an order
      SKIM_THROW(invalid_input,
                 detail::concat("median_of_means: values ", first, " to ", last - 1,
                                " have the mean ", means[g], ", wanted finite ones"));
  }
  const auto middle = means.begin() + static_cast<std::ptrdiff_t>(groups / 2);
  std::nth_element(means.begin(), middle, means.end());
  if (groups % 2 == 1) return *middle;
  return (*middle + *std::max_element(means.begin(), middle)) / 2;
}

}  // namespace skim::inline v0
