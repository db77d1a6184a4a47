// SPDX-License-Identifier: Apache-2.0
//
// What the samplers that mix uniform rows with sampled ones have in common.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/systematic.hpp"

namespace skim::inline v0::detail {

/// Throws invalid_params unless 0 < uniform_share <= 1, 0 <= beta <= 1 and exponent is finite and >= 0.
inline void check_importance(std::string_view who, double uniform_share, double beta,
                             double exponent) {
  if (!(uniform_share > 0 && uniform_share <= 1) || !(beta >= 0 && beta <= 1) ||
      !(exponent >= 0 && std::isfinite(exponent)))
    SKIM_THROW(invalid_params,
               concat(who, ": got uniform_share ", uniform_share, ", beta ", beta, " and exponent ",
                      exponent, ", wanted uniform_share in (0, 1], beta in [0, 1], exponent >= 0"));
}

/// Rows of a batch that are drawn uniformly: the share rounded, at least one.
[[nodiscard]] inline std::size_t uniform_rows(std::size_t batch, double share) noexcept {
  const auto rows = static_cast<std::size_t>(std::lround(share * static_cast<double>(batch)));
  return std::clamp<std::size_t>(rows, 1, batch);
}

/// Draws exactly out.size() ids by inclusion probabilities that sum to it up to rounding.
template <random_source G>
void draw_exactly(std::span<const float> inclusion, G& g, std::vector<id_t>& scratch,
                  std::span<id_t> out) {
  scratch.resize(out.size() + 1);  // the sum may be rounded up
  const std::size_t count = draw_systematic(inclusion, g, std::span<id_t>(scratch));
  SKIM_EXPECTS(count == out.size());
  std::copy_n(scratch.begin(), std::min(count, out.size()), out.begin());
}

/// Turns exact importance weights into weight^beta with mean 1; beta = 1 leaves them as they are.
inline void temper(std::span<float> weights, double beta) noexcept {
  if (beta == 1) return;
  double sum = 0;
  for (float& w : weights) {
    w = beta == 0 ? 1.0f : beta == 0.5 ? std::sqrt(w) : std::pow(w, static_cast<float>(beta));
    sum += static_cast<double>(w);
  }
  const auto scale = static_cast<float>(static_cast<double>(weights.size()) / sum);
  for (float& w : weights) w *= scale;
}

}  // namespace skim::inline v0::detail
