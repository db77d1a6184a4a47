// SPDX-License-Identifier: Apache-2.0
//
// Many copies of a density structure that is drawn at random, a few of which answer each query: what one
// copy's draws give away is of little use against the others.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

/// What a robust_density holds.
struct robust_density_params {
  std::size_t copies = 32;     ///< L, independently drawn
  std::size_t votes = 7;       ///< r, odd: copies that are asked a query
  double copy_failure = 0.05;  ///< what a copy is asked for, below 1/2
  double net_step = 0;         ///< queries are rounded to multiples of it; 0: they are not

  friend bool operator==(const robust_density_params&, const robust_density_params&) = default;
};

/// How many copies the argument over a net takes, and what it rests on.
struct robust_density_plan {
  robust_density_params params;
  double lipschitz = 0;     ///< no density changes by more than this per unit of the query
  double log_net = 0;       ///< natural logarithm of the points of the net in the ball
  double bad_share = 0;     ///< of the copies, at most so many are bad at any point of the net
  double vote_failure = 0;  ///< that half the votes are bad, for any one query
};

/// The largest change of a density of this kernel per unit (Euclidean) of the query; of queries on the
/// sphere, if the kernel is angular. Throws invalid_params for an impossible kernel, and an angular one with a
/// bandwidth above 1, which is not Lipschitz.
[[nodiscard]] inline double density_lipschitz(const density_kernel& k, std::size_t dim) {
  k.check("density_lipschitz");
  switch (k.kind) {
    case kernel_kind::exponential:
      return 1 / k.bandwidth;
    case kernel_kind::laplacian:
      return std::sqrt(static_cast<double>(dim)) / k.bandwidth;
    case kernel_kind::student:  // where the distance is h / sqrt(3)
      return 9 / (8 * std::numbers::sqrt3) / k.bandwidth;
    case kernel_kind::
        angular:  // an angle is at most pi/2 chords; putting back on the sphere doubles these
      if (k.bandwidth > 1)
        SKIM_THROW(invalid_params,
                   detail::concat("density_lipschitz: got the angular kernel of bandwidth ",
                                  k.bandwidth, ", wanted at most 1"));
      return 1 / k.bandwidth;
    default:  // where the distance is h
      return std::exp(-0.5) / k.bandwidth;
  }
}

/// Parameters with which a robust_density keeps its promise for all queries within `radius` of the origin at
/// once (angular: all there are), but with the probability failure / 2 over the copies, each answer then but
/// with the probability failure / 2 over its votes.
///
/// A third of the relative error goes to the net: its step moves no density by more than that of
/// target.smallest, and half of it to the copies. At a point of the net each copy fails with
/// copy_failure at most; that more than bad_share of L do has the probability exp(-L KL(bad_share,
/// copy_failure)) (Chernoff), and L makes the sum over the net failure / 2. The net is a grid, so that
/// rounding to it costs O(d): (1 + 2 R / step)^d points. L grows with d log(R / (e smallest h)): some
/// hundreds to thousands (Gaussian, e = 0.2, failure 0.1, R = 10 h, smallest density 1e-2: 229, 680 and 6,071 at
/// d = 3, 9 and 75). That is what the argument costs, and why this is reported rather than the
/// default.
///
/// Ref: arXiv:2208.03915 (the argument; constants and grid are ours).
[[nodiscard]] inline robust_density_plan plan_robust_density(std::size_t dim,
                                                             const density_kernel& k,
                                                             const density_target& target,
                                                             double radius,
                                                             double copy_failure = 0.05) {
  constexpr std::string_view who = "plan_robust_density";
  detail::check_dim(who, dim);
  target.check(who);
  if (k.on_sphere()) radius = 1;
  if (!(radius > 0 && radius <= 1e18) || !(copy_failure > 0 && copy_failure <= 0.1) ||
      target.smallest == 0)
    SKIM_THROW(invalid_params,
               detail::concat(who, ": got a radius of ", radius, ", a failure of copies of ",
                              copy_failure, " and a smallest density of ", target.smallest,
                              ", wanted (0, 1e18], (0, 0.1] and more than 0"));
  robust_density_plan plan;
  plan.lipschitz = density_lipschitz(k, dim);
  const double d = static_cast<double>(dim);
  const double reach = target.relative_error / 3 * target.smallest / plan.lipschitz;
  plan.params.copy_failure = copy_failure;
  plan.params.net_step = 2 * reach / std::sqrt(d);  // half a diagonal of the grid is the reach
  plan.log_net = d * std::log1p(2 * radius / plan.params.net_step);
  plan.bad_share = std::min(0.3, 4 * copy_failure);
  const double p = copy_failure, b = plan.bad_share;
  const double divergence = b * std::log(b / p) + (1 - b) * std::log((1 - b) / (1 - p));
  plan.params.copies = static_cast<std::size_t>(
      std::ceil((plan.log_net + std::log(2 / target.failure)) / divergence));
  // The chance that more than half of r votes fall on the bad share.
  const auto majority = [&](std::size_t r) {
    const double n = static_cast<double>(r);
    double sum = 0;
    for (std::size_t i = r / 2 + 1; i <= r; ++i) {
      const double m = static_cast<double>(i);
      sum += std::exp(std::lgamma(n + 1) - std::lgamma(m + 1) - std::lgamma(n - m + 1) +
                      m * std::log(b) + (n - m) * std::log1p(-b));
    }
    return sum;
  };
  plan.params.votes = 1;
  while (majority(plan.params.votes) > target.failure / 2) plan.params.votes += 2;
  plan.vote_failure = majority(plan.params.votes);
  return plan;
}

/// Copies of a structure whose own state is random, that answer by the median of a few.
///
/// Every query draws afresh which copies it asks (r of them, with replacement), and the answer is the
/// median of theirs.
///
/// Promise: with the parameters of plan_robust_density(), as its docstring says: for queries chosen knowing
///          all earlier answers, if a copy fails a query that does not depend on its state with copy_failure
///          at most, and points come and go without regard to the answers. With fewer copies, or without a
///          net: what the median gives for such queries, and no theorem for others. An answer then tells an
///          adversary of r unnamed copies out of L: the attack of the tests breaks one copy, and not fifty.
///
/// Shape:   as S; ids as S gives them, which must give equal ids for equal histories.
/// Memory:  L times that of S.
/// Cost:    updates L times, queries r times those of S.
/// Error:   as promised. standard_error is that of a median of the r values, from their spread; where r is 1
///          that of the copy.
/// Threads: const members may run at once, one workspace and engine each. Writers need exclusive access.
/// Seeds:   copy i is made from word i of the engine of the seed. Equal seeds and histories give equal
///          structures; row i of a batch gets the answer of child(i) of the engine of its seed.
/// Ref:     arXiv:2208.03915 (copies by a net); Hassidim, Kaplan, Mansour, Matias and Stemmer 2020, NeurIPS
///          (the median of random copies; here without its noise, hence without its theorem).
///
/// @tparam S  density_structure
template <density_structure S>
class robust_density {
 public:
  using params = robust_density_params;

  /// make(seed) gives a copy, empty or not: all must hold the same points. Throws invalid_params for
  /// parameters out of range (votes odd, at most 255; 1 to 2^20 copies), and for copies that differ.
  template <std::invocable<seed> Make>
  requires std::same_as<std::invoke_result_t<Make&, seed>, S> robust_density(params p, Make&& make,
                                                                             seed s = {})
      : params_(checked(p)) {
    random_engine g(s);
    copies_.reserve(p.copies);
    for (std::size_t i = 0; i < p.copies; ++i) copies_.push_back(make(seed{g()}));
    if (!alike())
      SKIM_THROW(invalid_params,
                 "robust_density: got copies that differ in their dimension, kernel "
                 "or points, wanted them alike but for their seeds");
  }

  /// As those of S. Each reaches all copies, or none.
  id_t insert(std::span<const float> x, float weight, workspace& ws);
  void erase(id_t id);
  void replace(id_t id, std::span<const float> x, workspace& ws);

  /// The density at x. Throws as S does.
  [[nodiscard]] density_estimate density(std::span<const float> x, density_target target,
                                         random_engine& g, workspace& ws) const;
  template <executor Executor = serial_executor>
  void density(matrix_view<const float> x, density_target target, seed s,
               std::span<density_estimate> out, Executor&& run = {}) const;

  [[nodiscard]] std::size_t size() const noexcept { return copies_.front().size(); }
  [[nodiscard]] std::size_t dim() const noexcept { return copies_.front().dim(); }
  [[nodiscard]] double total_weight() const noexcept { return copies_.front().total_weight(); }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return copies_.front().kernel(); }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  /// Pre: i < parameters().copies.
  [[nodiscard]] const S& copy(std::size_t i) const noexcept { return copies_[i]; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = 0;
    for (const S& c : copies_) sum += c.bytes();
    return sum;
  }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static robust_density load(reader& in);

 private:
  robust_density(const params& p, std::vector<S> copies) : params_(p), copies_(std::move(copies)) {}

  [[nodiscard]] static bool possible(const params& p) noexcept {
    return p.copies >= 1 && p.copies <= std::size_t{1} << 20 && p.votes % 2 == 1 &&
           p.votes <= 255 && p.copy_failure > 0 && p.copy_failure < 0.5 &&
           (p.net_step == 0 || (p.net_step >= 1e-18 && p.net_step <= 1e18));
  }
  static const params& checked(const params& p) {
    if (!possible(p))
      SKIM_THROW(
          invalid_params,
          detail::concat("robust_density: got ", p.copies, " copies, ", p.votes,
                         " votes, a failure of ", p.copy_failure, " and a step of ", p.net_step,
                         ", wanted 1 to 2^20, odd and at most 255, (0, 0.5), and 0 or "
                         "1e-18 to 1e18"));
    return p;
  }
  [[nodiscard]] bool alike() const noexcept {
    return std::all_of(copies_.begin(), copies_.end(), [&](const S& c) {
      return c.dim() == dim() && c.size() == size() && c.kernel() == kernel() &&
             c.total_weight() == total_weight();
    });
  }
  void check_id(std::string_view who, id_t id) const {
    if constexpr (requires(const S& c) { c.contains(id); })
      if (!std::all_of(copies_.begin(), copies_.end(), [&](const S& c) { return c.contains(id); }))
        SKIM_THROW(invalid_input,
                   detail::concat(who, ": got id ", id, ", wanted that of a point it holds"));
  }
  [[nodiscard]] density_estimate estimate(std::span<const float> x, const density_target& target,
                                          random_engine& g, workspace& ws) const;

  params params_;
  std::vector<S> copies_;
};

}  // namespace skim::inline v0

#include "skim/kde/detail/robust_density_impl.hpp"
