// SPDX-License-Identifier: Apache-2.0
//
// A product of stored points with a panel of queries that keeps the nearest of each.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/linalg/projection.hpp"

namespace skim::inline v0::detail {

// Queries that one pass over the points serves: their panels stay in the second-level cache.
[[nodiscard]] inline std::size_t query_block(std::size_t dim) noexcept {
  const std::size_t fit = (std::size_t{192} << 10) / (sizeof(float) * dim);
  return std::clamp<std::size_t>(fit / panel_width * panel_width, 2 * panel_width, 256);
}

// A panel of 16 pays from so many queries on.
inline constexpr std::size_t least_batch = 4;

// Offers all points of the store to best[i] for queries[i], at most query_block() of them.
inline void scan_batch(const point_store& store, std::span<const point_store::query> queries,
                       std::span<nearest> best, workspace& ws) {
  const std::size_t n = queries.size(), d = store.dim();
  auto frame = ws.frame();
  const std::size_t lanes = (n + panel_width - 1) / panel_width * panel_width;
  const auto limits = frame.take<float>(lanes);
  std::fill(limits.begin(), limits.end(), -std::numeric_limits<float>::infinity());
  panel_matrix panels(n, d);
  for (std::size_t i = 0; i < n; ++i) {
    limits[i] = store.limit_of(queries[i], best[i].limit());
    const float* const from = queries[i].values;
    float* const to = &panels(i, 0);
    for (std::size_t c = 0; c < d; ++c) to[c * panel_width] = from[c];
  }
  // In pieces whose rows are near when they are looked at once more.
  constexpr std::size_t piece = 4096;
  const matrix_view<const float> rows = store.rows();
  for (std::size_t first = 0; first < rows.rows(); first += piece) {
    const std::size_t count = std::min(piece, rows.rows() - first);
    project(rows.rows(first, count), panels,
            nearest_epilogue{&store, store.biases() + first, static_cast<id_t>(first),
                             queries.data(), best.data(), limits.data()});
  }
}

}  // namespace skim::inline v0::detail
