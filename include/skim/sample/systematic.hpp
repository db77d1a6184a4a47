// SPDX-License-Identifier: Apache-2.0
//
// Inclusion probabilities for a budget, and low-variance draws that follow them.
#pragma once

#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0 {

/// Budget of a draw without replacement.
struct inclusion_params {
  double budget = 1;  ///< ids expected in the sample; positive
  double floor = 0;   ///< share of the budget that is spread evenly, in [0, 1]; bounds the weights
};

/// Turns scores into inclusion probabilities that add up to a budget.
///
/// out_i = min(1, c s_i) for the mixture s_i = (1 - floor) score_i / sum + floor / n, with the c for
/// which they add up to the budget. Returns the sum reached: min(budget, number of positive s_i).
/// Scores that are all zero count as all equal if floor > 0.
///
/// Shape:   scores and out (n), n > 0; scores finite, non-negative.
/// Cost:    a few passes over n, one more for each time raising c caps new items (Newton's method on
///          a concave function, so never past the solution); vectorised.
/// Error:   exact up to rounding. Every out_i is at least min(1, floor * budget / n), so that
///          importance weights 1 / out_i are at most n / (floor * budget).
/// Threads: may run at once.
/// Seeds:   equal scores give equal results on every platform.
/// Ref:     Sarndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, 3.6.2.
///
/// Throws invalid_params on a budget that is not positive and finite or a floor outside [0, 1];
/// invalid_input on sizes that differ, no scores, a negative or non-finite one, or only zeros with
/// floor 0. Then out is untouched.
double inclusion_probabilities(std::span<const float> scores, inclusion_params params,
                               std::span<float> out);
double inclusion_probabilities(std::span<const double> scores, inclusion_params params,
                               std::span<double> out);

/// Draws ids so that id i is in the sample with probability p_i, each at most once.
///
/// One random start, then every position start + k that falls into [p_0 + .. + p_{i-1}, .. + p_i) takes
/// id i. Ids come in rising order. The sample has floor or ceil of sum p_i ids, and exactly sum p_i
/// if that is an integer up to the rounding of the p_i (then the start avoids the sliver that would give
/// another count). Returns the count.
///
/// Shape:   probabilities (n) in [0, 1]; out has room for ceil(sum p_i).
/// Cost:    O(n), one random word.
/// Error:   p_i is rounded to 2^-51; where the sum is steered to an integer, probabilities change by
///          at most its distance from it. Many pairs are never drawn together, so the
///          variance of a total can only be bounded from below by the data; neighbours exclude each other, which
///          makes data sorted by what is to be estimated the good case.
/// Threads: may run at once, each with its own generator.
/// Seeds:   equal generator states give equal samples on every platform.
/// Ref:     Madow 1949, Ann. Math. Statist. 20(3).
///
/// Throws invalid_input on a probability outside [0, 1] or too little room; then out is untouched.
template <random_source G>
std::size_t draw_systematic(std::span<const float> probabilities, G& g, std::span<id_t> out);
template <random_source G>
std::size_t draw_systematic(std::span<const double> probabilities, G& g, std::span<id_t> out);

/// Draws out.size() ids with repetition: id i floor or ceil of m w_i / sum w times, m = out.size().
///
/// The systematic draw for expectations above 1: the low-variance resampling of particle filters. Ids
/// come in rising order; shuffle() them if their order matters.
///
/// Shape:   weights (n), finite, non-negative, not all zero.
/// Cost:    O(n + m), one random word.
/// Error:   expected counts are rounded to m 2^-60, and steered by at most n m 2^-60 in all. A zero
///          weight is never drawn.
/// Threads: may run at once, each with its own generator.
/// Seeds:   equal generator states give equal samples on every platform.
/// Ref:     Kitagawa 1996, J. Comput. Graph. Statist. 5(1); Douc, Cappe and Moulines 2005, ISPA.
///
/// Throws invalid_input on a bad weight or only zeros, or more than 2^28 of either; then out is untouched.
template <random_source G>
void resample_systematic(std::span<const float> weights, G& g, std::span<id_t> out);
template <random_source G>
void resample_systematic(std::span<const double> weights, G& g, std::span<id_t> out);

}  // namespace skim::inline v0

#include "skim/sample/detail/systematic_impl.hpp"
