// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/detail/answers.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/index/detail/scan_batch.hpp"
#include "skim/index/flat_index.hpp"

namespace skim::inline v0 {

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
    const std::size_t n = last - first;
    if (n < detail::least_batch) {
      for (std::size_t i = first; i < last; ++i)
        found[i] = search(x.row(i), out.subspan(i * k, k), ws);
      return;
    }
    auto frame = ws.frame();
    const auto values = frame.template take<float>(n * dim());
    std::vector<detail::point_store::query> queries;
    std::vector<detail::nearest> best;
    for (std::size_t i = 0; i < n; ++i) {
      queries.push_back(store_.prepare(x.row(first + i), values.subspan(i * dim(), dim())));
      best.emplace_back(out.subspan((first + i) * k, k));
    }
    detail::scan_batch(store_, queries, best, ws);
    for (std::size_t i = 0; i < n; ++i) found[first + i] = best[i].finish();
  });
}

}  // namespace skim::inline v0
