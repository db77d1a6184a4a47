// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/detail/answers.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/index/flat_index.hpp"
#include "skim/linalg/projection.hpp"

namespace skim::inline v0 {

namespace detail {

// Queries that one pass over the points serves: their panels stay in the second-level cache.
[[nodiscard]] inline std::size_t query_block(std::size_t dim) noexcept {
  const std::size_t fit = (std::size_t{192} << 10) / (sizeof(float) * dim);
  return std::clamp<std::size_t>(fit / panel_width * panel_width, 2 * panel_width, 256);
}

// The nearest of all points of the store for each row of x, at most query_block() of them.
inline void scan_batch(const point_store& store, matrix_view<const float> x, std::size_t k,
                       std::span<neighbor> out, std::span<std::size_t> found, workspace& ws) {
  const std::size_t n = x.rows(), d = store.dim();
  auto frame = ws.frame();
  const std::size_t lanes = (n + panel_width - 1) / panel_width * panel_width;
  const auto values = frame.take<float>(n * d);
  const auto limits = frame.take<float>(lanes);
  std::fill(limits.begin(), limits.end(), -std::numeric_limits<float>::infinity());
  std::vector<point_store::query> queries;
  std::vector<nearest> best;
  queries.reserve(n);
  best.reserve(n);
  panel_matrix panels(n, d);
  for (std::size_t i = 0; i < n; ++i) {
    const auto row = values.subspan(i * d, d);
    queries.push_back(store.prepare(x.row(i), row));
    best.emplace_back(out.subspan(i * k, k));
    limits[i] = store.limit_of(queries[i], best[i].limit());
    for (std::size_t c = 0; c < d; ++c) panels(i, c) = row[c];
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
  for (std::size_t i = 0; i < n; ++i) found[i] = best[i].finish();
}

}  // namespace detail

inline void flat_index::insert(matrix_view<const float> x, std::span<id_t> ids) {
  constexpr std::string_view who = "flat_index::insert";
  store_.check(who, x);
  if (!ids.empty() && ids.size() != x.rows())
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got room for ", ids.size(), " ids, wanted ", x.rows()));
  store_.reserve(x.rows());
  for (std::size_t i = 0; i < x.rows(); ++i) {
    const id_t id = store_.insert(who, x.row(i));
    if (!ids.empty()) ids[i] = id;
  }
}

inline std::size_t flat_index::search(std::span<const float> x, std::span<neighbor> out,
                                      workspace& ws) const {
  static_cast<void>(store_.check("flat_index::search", x));
  if (out.empty()) return 0;
  auto frame = ws.frame();
  const auto query = store_.prepare(x, frame.take<float>(dim()));
  detail::nearest best(out);
  store_.scan(query, best);
  return best.finish();
}

template <executor Executor>
void flat_index::search(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
                        std::span<std::size_t> found, Executor&& run) const {
  constexpr std::string_view who = "flat_index::search";
  store_.check(who, x);
  detail::check_answers(who, x.rows(), k, out.size(), found.size());
  std::fill(found.begin(), found.end(), std::size_t{0});
  if (k == 0) return;
  run.parallel_for(x.rows(), detail::query_block(dim()), [&](std::size_t first, std::size_t last) {
    workspace ws;
    // A product with a panel of 16 pays from a few queries on.
    if (last - first < 4) {
      for (std::size_t i = first; i < last; ++i)
        found[i] = search(x.row(i), out.subspan(i * k, k), ws);
      return;
    }
    detail::scan_batch(store_, x.rows(first, last - first), k,
                       out.subspan(first * k, (last - first) * k),
                       found.subspan(first, last - first), ws);
  });
}

}  // namespace skim::inline v0
