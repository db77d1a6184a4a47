// SPDX-License-Identifier: Apache-2.0
//
// Bounds on a mean that hold after every round of draws at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "skim/core/config.hpp"

namespace skim::inline v0::detail {

// Of independent values in [0, range] with mean mu. For xi >= -b and 0 <= b l < 1,
// exp(l xi - psi(l) xi^2) <= 1 + l xi with psi(l) = (-log(1 - b l) - b l) / b^2 (Fan, Grama and Liu). With xi =
// value - c, c any number known before the value is drawn, exp(l (value - mu) - psi(l) (value - c)^2) has
// mean at most 1; products of such over the draws, each with its own l and c, are a supermartingale,
// which exceeds exp(log_term) ever with probability at most exp(-log_term) (Ville). That is a lower bound
// of mu, where b = c; the same of c - value, where b = range - c, an upper one. Both fail with probability
// 2 exp(-log_term) at most, whatever the rounds, the rules for l and c, and the rule to stop.
class mean_bounds {
 public:
  mean_bounds(double range, double log_term) noexcept : range_(range), log_term_(log_term) {}

  // The next round's c and l: the l that shows soonest that mu is not below c - down, or above c + up, if the
  // values' mean square distance from c is `variance`. Pre: 0 <= c <= range, variance >= 0.
  void aim(double c, double variance, double down, double up) noexcept {
    centre_ = c;
    // A rare large value that was not seen yet must not cost the lower bound everything.
    below_.aim(c, variance, down, 16 / range_);
    above_.aim(range_ - c, variance, up, 0.8 / range_);
  }
  // How many draws that takes in all; where up > down, the upper bound is all that is wanted.
  [[nodiscard]] double draws_needed(double c, double variance, double down,
                                    double up) const noexcept {
    mean_bounds other(range_, log_term_);
    other.aim(c, variance, down, up);
    const double draws = other.above_.draws(variance, up, log_term_);
    return up > down ? draws : std::max(draws, other.below_.draws(variance, down, log_term_));
  }

  // Takes a round of n values in.
  void add(double n, double sum, double squares) noexcept {
    const double square = std::max(0.0, squares - 2 * centre_ * sum + n * centre_ * centre_);
    below_.add(n, sum, square);
    above_.add(n, sum, square);
    if (below_.weight > 0)
      low_ = std::max(low_, (below_.sum - log_term_ - below_.penalty) / below_.weight);
    if (above_.weight > 0)
      high_ = std::min(high_, (above_.sum + log_term_ + above_.penalty) / above_.weight);
  }
  [[nodiscard]] double low() const noexcept { return low_; }
  [[nodiscard]] double high() const noexcept { return high_; }

 private:
  struct side {
    double rate = 0, psi = 0;                 // of the next round
    double weight = 0, sum = 0, penalty = 0;  // over all rounds

    void aim(double b, double variance, double width, double most) noexcept {
      const double denominator = variance + b * width;
      rate = width > 0 ? (denominator > 0 ? std::min(width / denominator, most) : most) : 0;
      if (b * rate > 0.9) rate = 0.9 / b;
      const double y = b * rate;
      // -log(1 - y) - y loses its digits where y is small.
      psi = y < 1e-3 ? rate * rate * (0.5 + y / 3 + y * y / 4) * (1 + 1e-8)
                     : (-std::log1p(-y) - y) / (b * b);
    }
    [[nodiscard]] double draws(double variance, double width, double log_term) const noexcept {
      const double gain = rate * width - psi * variance;
      return gain > 0 ? log_term / gain : std::numeric_limits<double>::infinity();
    }
    void add(double n, double s, double square) noexcept {
      weight += rate * n;
      sum += rate * s;
      penalty += psi * square;
    }
  };

  double range_, log_term_;
  side below_, above_;
  double centre_ = 0;
  double low_ = 0, high_ = std::numeric_limits<double>::infinity();
};

}  // namespace skim::inline v0::detail
