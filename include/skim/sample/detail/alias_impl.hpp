// SPDX-License-Identifier: Apache-2.0
//
// Construction, batch draws and images of alias_sampler.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/sample/alias.hpp"
#include "skim/sample/detail/weights.hpp"

namespace skim::inline v0 {

namespace detail {

inline constexpr std::uint64_t alias_column = std::uint64_t{1} << 32;  // quanta of one column

/// Rounds weights to n 2^32 quanta in all. Pre: at least one positive weight, all checked.
///
/// Fractions are carried to the next positive weight, so roundings do not add up; what the quanta
/// forced on tiny weights cost is paid by the largest weight, which has at least 2^32 of them.
template <class T>
[[nodiscard]] std::vector<std::uint64_t> alias_quanta(std::span<const T> weights) {
  const auto largest =
      static_cast<std::size_t>(std::max_element(weights.begin(), weights.end()) - weights.begin());
  // Scaling by a power of two keeps the ratios and the sum below n; in two factors, since 2^1074 is
  // not a double.
  int exponent = 0;
  static_cast<void>(std::frexp(static_cast<double>(weights[largest]), &exponent));
  const double half = std::ldexp(1.0, -exponent / 2);
  const double rest = std::ldexp(1.0, -exponent - -exponent / 2);
  std::vector<double> share(weights.size());
  double sum = 0, lost = 0;  // compensated: an error here would be the largest weight's to bear
  for (std::size_t i = 0; i < share.size(); ++i) {
    share[i] = static_cast<double>(weights[i]) * half * rest;
    const double next = sum + share[i];
    lost += sum >= share[i] ? (sum - next) + share[i] : (share[i] - next) + sum;
    sum = next;
  }
  const auto n = static_cast<double>(share.size());
  const double scale = n * 0x1p32 / (sum + lost);
  // A loop of its own: a product that is added in the same expression may be contracted to a fused
  // multiply-add by one compiler and not by another.
  for (double& s : share) s *= scale;

  std::vector<std::uint64_t> quanta(share.size());
  std::uint64_t used = 0;
  double carry = 0;
  for (std::size_t i = 0; i < share.size(); ++i) {
    if (weights[i] == T(0)) continue;
    std::uint64_t whole = static_cast<std::uint64_t>(share[i]);
    carry += share[i] - static_cast<double>(whole);
    if (carry >= 0.5) {
      carry -= 1;
      ++whole;
    }
    quanta[i] = std::max<std::uint64_t>(whole, 1);
    used += quanta[i];
  }
  quanta[largest] += share.size() * alias_column - used;  // modulo 2^64, so also downwards
  return quanta;
}

}  // namespace detail

inline alias_sampler::alias_sampler(std::span<const float> weights) {
  build(weights);
}
inline alias_sampler::alias_sampler(std::span<const double> weights) {
  build(weights);
}

template <class T>
void alias_sampler::build(std::span<const T> weights) {
  const std::size_t n = weights.size();
  if (n == 0 || n >= (std::size_t{1} << 31))
    SKIM_THROW(invalid_params,
               detail::concat("alias_sampler: got ", n, " weights, wanted 1 to 2^31 - 1"));
  detail::require_weights<invalid_params>("alias_sampler", "weight", weights);
  if (std::all_of(weights.begin(), weights.end(), [](T w) { return w == T(0); }))
    SKIM_THROW(invalid_params, detail::concat("alias_sampler: got ", n,
                                              " weights that are all zero, wanted a positive one"));

  using detail::alias_column;
  std::vector<std::uint64_t> quanta = detail::alias_quanta(weights);
  cells_.resize(n);
  // Two sweeps: `light` walks the ids with less than a column, `heavy` those with at least one. The
  // heavy one fills up light columns until it is itself light, and is then filled by the next.
  const auto next = [&](std::size_t from, bool is_heavy) {
    while (from < n && (quanta[from] >= alias_column) != is_heavy) ++from;
    return from;
  };
  std::size_t light = next(0, false), heavy = next(0, true);
  std::uint64_t left = quanta[heavy];  // the largest has at least the mean, so there is one
  while (heavy < n) {
    if (left >= alias_column && light < n) {
      cells_[light] = {static_cast<std::uint32_t>(quanta[light]), static_cast<id_t>(heavy)};
      left -= alias_column - quanta[light];
      light = next(light + 1, false);
    } else if (left < alias_column) {
      const std::size_t following = next(heavy + 1, true);
      SKIM_EXPECTS(following < n);  // the quanta add up to n columns
      cells_[heavy] = {static_cast<std::uint32_t>(left), static_cast<id_t>(following)};
      left = quanta[following] - (alias_column - left);
      heavy = following;
    } else {  // a full column needs no threshold: both residents are the same
      SKIM_EXPECTS(left == alias_column);
      cells_[heavy] = {0, static_cast<id_t>(heavy)};
      heavy = next(heavy + 1, true);
      if (heavy < n) left = quanta[heavy];
    }
  }
}

template <random_source G>
void alias_sampler::draw(G& g, std::span<id_t> out) const noexcept {
  constexpr std::size_t block = 32;
  std::array<detail::wide_product, block> picks;
  for (std::size_t first = 0; first < out.size(); first += block) {
    const std::size_t count = std::min(block, out.size() - first);
    for (std::size_t k = 0; k < count; ++k) {
      picks[k] = detail::multiply_wide(g(), cells_.size());
      SKIM_PREFETCH(cells_.data() + picks[k].high);
    }
    for (std::size_t k = 0; k < count; ++k)
      out[first + k] = resident(static_cast<std::size_t>(picks[k].high), picks[k].low);
  }
}

inline void alias_sampler::probabilities(std::span<double> out) const {
  if (out.size() != size())
    SKIM_THROW(invalid_input, detail::concat("alias_sampler::probabilities: got room for ",
                                             out.size(), ", wanted ", size()));
  std::vector<std::uint64_t> quanta(size());
  for (std::size_t i = 0; i < size(); ++i) {
    quanta[i] += cells_[i].threshold;
    quanta[cells_[i].alias] += detail::alias_column - cells_[i].threshold;
  }
  for (std::size_t i = 0; i < size(); ++i)
    out[i] = static_cast<double>(quanta[i]) / (static_cast<double>(size()) * 0x1p32);
}

inline double alias_sampler::probability(std::size_t i) const {
  if (i >= size())
    SKIM_THROW(invalid_input, detail::concat("alias_sampler::probability: got id ", i,
                                             ", wanted less than ", size()));
  std::uint64_t quanta = cells_[i].threshold;
  for (const cell& c : cells_) quanta += c.alias == i ? detail::alias_column - c.threshold : 0;
  return static_cast<double>(quanta) / (static_cast<double>(size()) * 0x1p32);
}

inline void alias_sampler::save(writer& out) const {
  out.begin_frame("alias_sampler");
  std::vector<std::uint32_t> words;
  words.reserve(2 * size());
  for (const cell& c : cells_) {
    words.push_back(c.threshold);
    words.push_back(c.alias);
  }
  out.put(std::span<const std::uint32_t>(words));
  out.end_frame();
}

inline alias_sampler alias_sampler::load(reader& in) {
  in.begin_frame("alias_sampler");
  const std::vector<std::uint32_t> words = in.get_vector<std::uint32_t>();
  const std::size_t n = words.size() / 2;
  if (n == 0 || n >= (std::size_t{1} << 31) || words.size() % 2 != 0)
    in.fail("alias_sampler of ", words.size(), " words, wanted a positive even number below 2^32");
  alias_sampler result;
  result.cells_.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (words[2 * i + 1] >= n)
      in.fail("alias_sampler: alias ", words[2 * i + 1], ", wanted less than ", n);
    result.cells_[i] = {words[2 * i], words[2 * i + 1]};
  }
  in.end_frame();
  return result;
}

}  // namespace skim::inline v0
