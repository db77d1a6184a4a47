// SPDX-License-Identifier: Apache-2.0
//
// Learning rates as functions of what has been spent: seconds, steps or examples alike.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>

#include "skim/core/error.hpp"

namespace skim_examples {

/// A learning rate given what has been spent so far.
template <class S>
concept learning_rate_schedule = requires(const S& s, double spent) {
  { s(spent) } -> std::convertible_to<double>;
};

/// The same rate throughout.
class constant_rate {
 public:
  /// Throws skim::invalid_params unless the rate is finite and positive.
  explicit constant_rate(double rate) : rate_(rate) {
    if (!(std::isfinite(rate) && rate > 0))
      SKIM_THROW(skim::invalid_params,
                 skim::detail::concat("constant_rate: got ", rate, ", wanted a positive number"));
  }

  [[nodiscard]] double operator()(double = 0) const noexcept { return rate_; }

 private:
  double rate_;
};

struct linear_decay_params {
  double rate = 1e-3;  ///< highest rate
  double budget = 1;   ///< where the rate reaches zero; seconds, steps, what the caller counts
  double warm_up = 0;  ///< part of the budget in which the rate rises from zero, [0, 1)
};

/// A rate that falls linearly to zero over a budget, after an optional linear rise.
class linear_decay {
 public:
  using params = linear_decay_params;

  /// Throws skim::invalid_params unless rate and budget are positive and warm_up is in [0, 1).
  explicit linear_decay(params p) : params_(p) {
    if (!(std::isfinite(p.rate) && p.rate > 0 && std::isfinite(p.budget) && p.budget > 0))
      SKIM_THROW(skim::invalid_params,
                 skim::detail::concat("linear_decay: got a rate of ", p.rate, " and a budget of ",
                                      p.budget, ", wanted positive numbers"));
    if (!(p.warm_up >= 0 && p.warm_up < 1))
      SKIM_THROW(skim::invalid_params, skim::detail::concat("linear_decay: got a warm-up of ",
                                                            p.warm_up, ", wanted one in [0, 1)"));
  }

  /// The rate after `spent` of the budget; zero from its end on.
  [[nodiscard]] double operator()(double spent) const noexcept {
    const double part = std::clamp(spent / params_.budget, 0.0, 1.0);
    if (part < params_.warm_up) return params_.rate * (part / params_.warm_up);
    return params_.rate * ((1 - part) / (1 - params_.warm_up));
  }

  [[nodiscard]] double budget() const noexcept { return params_.budget; }

 private:
  params params_;
};

static_assert(learning_rate_schedule<constant_rate> && learning_rate_schedule<linear_decay>);

}  // namespace skim_examples
