// SPDX-License-Identifier: Apache-2.0
//
// What the density structures are asked and what they answer.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

/// When an estimate is good enough: the answer is to be within relative_error of the density but with
/// probability failure, wherever the density is at least `smallest`. Lower densities need no more than
/// the certainty that they are lower.
struct density_target {
  double relative_error = 0.1;  ///< epsilon, above 0 and below 1
  double failure = 0.1;         ///< delta, above 0 and below 1, over the draws of the query
  double smallest = 1e-5;       ///< 0 to 1; 0: any density is of interest

  /// Throws invalid_input for values out of range.
  void check(std::string_view who) const {
    if (!(relative_error > 0 && relative_error < 1) || !(failure > 0 && failure < 1) ||
        !(smallest >= 0 && smallest <= 1))
      SKIM_THROW(invalid_input,
                 detail::concat(who, ": got a relative error of ", relative_error,
                                ", a failure of ", failure, " and a smallest density of ", smallest,
                                ", wanted the first two in (0, 1), the last in [0, 1]"));
  }
};

/// An estimate of sum_i w_i k(x_i, q) / sum_i w_i, a value of 0 to 1.
struct density_estimate {
  double value = 0;
  double standard_error = 0;      ///< of value, as far as the sample shows it; 0 where exact
  std::uint64_t evaluations = 0;  ///< of the kernel, those of centroids among them
  bool below = false;  ///< surely below target.smallest: value need not be within relative_error

  friend constexpr bool operator==(const density_estimate&, const density_estimate&) = default;
};

/// Points with positive weights, and the density anywhere. Every query draws afresh from the engine it is
/// given, and an answer says nothing of draws to come: estimates hold for queries that were chosen
/// knowing all earlier answers, where the structure itself was not drawn at random (docstrings say).
template <class S>
concept density_structure = requires(S& s, const S& c, std::span<const float> x, id_t id,
                                     density_target target, random_engine& g, workspace& ws,
                                     matrix_view<const float> rows, seed sd,
                                     std::span<density_estimate> out) {
  { s.insert(x, 1.0f, ws) } -> std::same_as<id_t>;
  s.erase(id);
  s.replace(id, x, ws);
  { c.density(x, target, g, ws) } -> std::same_as<density_estimate>;
  c.density(rows, target, sd, out);
  { c.size() } -> std::same_as<std::size_t>;
  { c.dim() } -> std::same_as<std::size_t>;
  { c.total_weight() } -> std::same_as<double>;
  { c.kernel() } -> std::same_as<const density_kernel&>;
  { c.bytes() } -> std::same_as<std::size_t>;
};

}  // namespace skim::inline v0
