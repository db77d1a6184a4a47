// SPDX-License-Identifier: Apache-2.0
//
// Water-filling and the walk of the systematic draws.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/detail/weights.hpp"
#include "skim/sample/systematic.hpp"

namespace skim::inline v0 {

namespace detail {

inline constexpr int walk_bits = 51;  // of fraction a walk keeps

/// round(x * scale) for scale a power of two and a product below 2^51, by way of a double whose last
/// bit is worth one: vectorises without AVX-512, and no contraction can change it.
[[nodiscard]] SKIM_ALWAYS_INLINE std::uint64_t to_fixed(double x, double scale) noexcept {
  return std::bit_cast<std::uint64_t>(x * scale + 0x1p52) - std::bit_cast<std::uint64_t>(0x1p52);
}

/// A sum of expectations: whole + fraction / 2^bits.
struct fixed_sum {
  std::uint64_t whole = 0, fraction = 0;
};

template <class Expectation>
[[nodiscard]] fixed_sum sum_fixed(std::size_t n, int bits, Expectation expectation) noexcept {
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  constexpr std::size_t chunk = 2048;  // of 2^51 units each at most, or of 2^61 together
  fixed_sum sum;
  for (std::size_t first = 0; first < n; first += chunk) {
    const std::size_t last = std::min(n, first + chunk);
    std::uint64_t part = sum.fraction;
    for (std::size_t i = first; i < last; ++i) part += expectation(i);
    sum.whole += part >> bits;
    sum.fraction = part & mask;
  }
  return sum;
}

struct walk {
  std::uint64_t start = 0;  // in units of 2^-bits
  std::size_t count = 0;    // ids it will take
};

/// Chooses the start of a walk. Within `rounding` units of an integer the sum counts as that
/// integer, and the start avoids the stretch for which the walk would take another count.
template <random_source G>
[[nodiscard]] walk choose_start(fixed_sum sum, int bits, std::uint64_t rounding, G& g) noexcept {
  const std::uint64_t one = std::uint64_t{1} << bits;
  std::uint64_t low = 0, high = one;  // a walk takes floor(sum + start / one) ids
  if (sum.fraction <= rounding)
    high = one - sum.fraction;
  else if (one - sum.fraction <= rounding)
    low = one - sum.fraction;
  const std::uint64_t start = low + uniform_below(g, high - low);
  return {start, static_cast<std::size_t>(sum.whole + ((sum.fraction + start) >> bits))};
}

template <class T, random_source G>
std::size_t draw_systematic_of(std::span<const T> probabilities, G& g, std::span<id_t> out) {
  const std::size_t n = probabilities.size();
  if (n > std::numeric_limits<id_t>::max())
    SKIM_THROW(invalid_input, concat("draw_systematic: got ", n, " probabilities, wanted < 2^32"));
  unsigned bad = 0;
  for (const T p : probabilities) bad |= p >= T(0) && p <= T(1) ? 0u : 1u;
  for (std::size_t i = 0; bad != 0 && i < n; ++i)
    if (!(probabilities[i] >= T(0) && probabilities[i] <= T(1)))
      SKIM_THROW(invalid_input, concat("draw_systematic: got probability ", probabilities[i],
                                       " at position ", i, ", wanted 0 to 1"));

  const auto expectation = [&](std::size_t i) {
    return to_fixed(static_cast<double>(probabilities[i]), 0x1p51);
  };
  const std::uint64_t one = std::uint64_t{1} << walk_bits;
  const fixed_sum sum = sum_fixed(n, walk_bits, expectation);
  if (const std::uint64_t most = sum.whole + (sum.fraction > 0 ? 1 : 0); out.size() < most)
    SKIM_THROW(invalid_input,
               concat("draw_systematic: got room for ", out.size(), " ids, wanted ", most));
  // Each p_i is off by half its last digit, and by half a unit.
  constexpr int digits = std::numeric_limits<T>::digits;
  const std::uint64_t rounding = std::min(
      one / 4, n + (digits < walk_bits ? (sum.whole + 1) << (walk_bits - digits) : sum.whole));
  const walk w = choose_start(sum, walk_bits, rounding, g);
  if (w.count == 0) return 0;

  // From position to position is one addition; its whole part is taken away chunk by chunk.
  constexpr std::size_t chunk = std::size_t{1} << (62 - walk_bits);
  std::uint64_t position = w.start;
  std::size_t taken = 0;
  for (std::size_t first = 0; taken < w.count; first += chunk) {
    const std::size_t last = std::min(n, first + chunk), before = taken;
    for (std::size_t i = first; i < last && taken < w.count; ++i) {
      position += expectation(i);
      out[taken] = static_cast<id_t>(i);  // stays if the walk has passed an integer
      taken = before + static_cast<std::size_t>(position >> walk_bits);
    }
    position &= one - 1;
  }
  return taken;
}

template <class T, random_source G>
void resample_systematic_of(std::span<const T> weights, G& g, std::span<id_t> out) {
  // So that n roundings to 2^-bits cannot add up to half a draw.
  constexpr std::size_t most = std::size_t{1} << 28;
  const std::size_t n = weights.size(), m = out.size();
  if (n > most || m > most)
    SKIM_THROW(invalid_input, concat("resample_systematic: got ", n, " weights and ", m,
                                     " draws, wanted at most 2^28 of each"));
  require_weights<invalid_input>("resample_systematic", "weight", weights);
  const T largest = n == 0 ? T(0) : *std::max_element(weights.begin(), weights.end());
  if (!(largest > T(0)))
    SKIM_THROW(invalid_input, concat("resample_systematic: got ", n,
                                     " weights without a positive one, wanted at least one"));
  if (m == 0) return;

  // A power of two keeps sums of the largest and quotients of the smallest doubles finite.
  const double factor = largest > T(0x1p100) ? 0x1p-100 : largest < T(0x1p-100) ? 0x1p200 : 1.0;
  const double sum = lane_sum(weights, [factor](T w) { return static_cast<double>(w) * factor; });
  const double ratio = static_cast<double>(m) / sum;
  const int bits = 61 - static_cast<int>(std::bit_width(m));
  const double scale = static_cast<double>(std::uint64_t{1} << bits);
  const auto expectation = [&](std::size_t i) {
    const double x = static_cast<double>(weights[i]) * factor * ratio * scale;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(x + 0.5));
  };
  const std::uint64_t one = std::uint64_t{1} << bits;
  // The sum is m but for roundings: the walk is steered to m ids whatever they were.
  const walk w = choose_start(sum_fixed(n, bits, expectation), bits, one / 2, g);
  SKIM_EXPECTS(w.count == m);

  std::uint64_t position = w.start;
  std::size_t taken = 0;
  for (std::size_t i = 0; taken < m; ++i) {
    position = (position & (one - 1)) + expectation(i);
    for (std::uint64_t times = position >> bits; times > 0; --times)
      out[taken++] = static_cast<id_t>(i);
  }
}

template <class T>
double inclusion_probabilities_of(std::span<const T> scores, inclusion_params params,
                                  std::span<T> out) {
  const std::size_t n = scores.size();
  if (!(params.budget > 0) || !std::isfinite(params.budget))
    SKIM_THROW(invalid_params, concat("inclusion_probabilities: got budget ", params.budget,
                                      ", wanted positive and finite"));
  if (!(params.floor >= 0 && params.floor <= 1))
    SKIM_THROW(invalid_params,
               concat("inclusion_probabilities: got floor ", params.floor, ", wanted 0 to 1"));
  if (n == 0 || out.size() != n)
    SKIM_THROW(invalid_input, concat("inclusion_probabilities: got ", n, " scores and room for ",
                                     out.size(), ", wanted as many and at least one"));
  require_weights<invalid_input>("inclusion_probabilities", "score", scores);
  const T largest = lane_max(scores);
  if (largest == T(0) && params.floor == 0)
    SKIM_THROW(invalid_input,
               concat("inclusion_probabilities: got ", n, " scores that are all zero and floor 0"));

  const double count = static_cast<double>(n);
  if (largest == T(0) || params.floor == 1) {
    const double even = std::min(1.0, params.budget / count);
    std::fill(out.begin(), out.end(), static_cast<T>(even));
    return std::min(params.budget, count);
  }
  // The mixture up to a factor, as a sum: the shift is the mean score times floor / (1 - floor). No
  // product is added to anything, so no contraction can change a result.
  const double factor = largest > T(0x1p100) ? 0x1p-100 : largest < T(0x1p-100) ? 0x1p200 : 1.0;
  const double sum = lane_sum(scores, [factor](T s) { return static_cast<double>(s) * factor; });
  const double shift = sum / count * (params.floor / (1 - params.floor));
  const auto mixed = [factor, shift](T s) { return static_cast<double>(s) * factor + shift; };

  const double positive =
      shift > 0 ? count : lane_sum(scores, [](T s) { return s > T(0) ? 1.0 : 0.0; });
  if (params.budget >= positive) {
    for (std::size_t i = 0; i < n; ++i) out[i] = mixed(scores[i]) > 0 ? T(1) : T(0);
    return positive;
  }
  // limit = 1 / c falls from pass to pass, until the capped items stay the same.
  double limit = (sum + shift * count) / params.budget, capped = 0;
  const double most = static_cast<double>(largest) * factor + shift;
  while (most >= limit) {  // else none is capped
    const double now = lane_sum(scores, [&](T s) { return mixed(s) >= limit ? 1.0 : 0.0; });
    if (now <= capped || now >= params.budget) break;
    capped = now;
    const double rest = lane_sum(scores, [&](T s) {
      const double x = mixed(s);
      return x >= limit ? 0.0 : x;
    });
    limit = rest / (params.budget - capped);
  }
  const double c = 1 / limit;
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<T>(std::min(1.0, mixed(scores[i]) * c));
  return params.budget;
}

}  // namespace detail

inline double inclusion_probabilities(std::span<const float> scores, inclusion_params params,
                                      std::span<float> out) {
  return detail::inclusion_probabilities_of(scores, params, out);
}
inline double inclusion_probabilities(std::span<const double> scores, inclusion_params params,
                                      std::span<double> out) {
  return detail::inclusion_probabilities_of(scores, params, out);
}

template <random_source G>
std::size_t draw_systematic(std::span<const float> probabilities, G& g, std::span<id_t> out) {
  return detail::draw_systematic_of(probabilities, g, out);
}
template <random_source G>
std::size_t draw_systematic(std::span<const double> probabilities, G& g, std::span<id_t> out) {
  return detail::draw_systematic_of(probabilities, g, out);
}

template <random_source G>
void resample_systematic(std::span<const float> weights, G& g, std::span<id_t> out) {
  detail::resample_systematic_of(weights, g, out);
}
template <random_source G>
void resample_systematic(std::span<const double> weights, G& g, std::span<id_t> out) {
  detail::resample_systematic_of(weights, g, out);
}

}  // namespace skim::inline v0
