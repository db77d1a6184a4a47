// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/workspace.hpp"
#include "skim/graph/detail/kernel_recursion.hpp"
#include "skim/graph/detail/prepared_graphs.hpp"
#include "skim/graph/neural_tangent_kernel.hpp"

namespace skim::inline v0 {

inline graph_neural_tangent_kernel::graph_neural_tangent_kernel(params p) : params_(p) {
  detail::check_params(p);
}

inline void graph_neural_tangent_kernel::check_readouts(
    std::span<const graph_kernel_readout> readouts, std::size_t rows, std::size_t cols) const {
  for (const auto& r : readouts) {
    if (r.layers == 0 || r.layers > params_.layers)
      SKIM_THROW(invalid_input, detail::concat("graph_neural_tangent_kernel: got a readout at ",
                                               r.layers, " layers, wanted 1 to ", params_.layers));
    if (r.out.rows() != rows || r.out.cols() != cols)
      SKIM_THROW(
          invalid_input,
          detail::concat("graph_neural_tangent_kernel: got a matrix of ", r.out.rows(), " x ",
                         r.out.cols(), " for the values of ", rows, " x ", cols, " graphs"));
  }
}

template <class Executor>
void graph_neural_tangent_kernel::fill(const detail::prepared_graphs& rows,
                                       const detail::prepared_graphs& cols, bool symmetric,
                                       std::span<const graph_kernel_readout> readouts,
                                       Executor& ex) const {
  detail::readout_plan plan;
  std::size_t deepest = 1;
  for (const auto& r : readouts) deepest = std::max(deepest, r.layers);
  plan.after.assign(deepest, false);
  for (const auto& r : readouts) {
    if (r.jumping_knowledge)
      for (std::size_t l = 0; l < r.layers; ++l) plan.after[l] = true;
    else if (r.layers == 1)
      plan.first_aggregation = true;
    else
      plan.after[r.layers - 1] = true;
  }

  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t i = 0; i < rows.blocks.size(); ++i)
    for (std::size_t j = symmetric ? i : 0; j < cols.blocks.size(); ++j) pairs.emplace_back(i, j);

  std::atomic<bool> overflow{false};
  constexpr std::size_t grain = 4;
  ex.parallel_for(pairs.size(), grain, [&](std::size_t first, std::size_t last) {
    workspace scratch;
    std::vector<double> sums;
    for (std::size_t p = first; p < last; ++p) {
      const auto& a = rows.blocks[pairs[p].first];
      const auto& b = cols.blocks[pairs[p].second];
      const bool half = symmetric && pairs[p].first == pairs[p].second;
      const auto store = [&](const graph_kernel_readout& r, std::span<const double> values) {
        for (std::size_t g = 0; g < a.graphs.size(); ++g) {
          for (std::size_t h = half ? g : 0; h < b.graphs.size(); ++h) {
            const double value = 2 * values[g * b.graphs.size() + h];
            if (!std::isfinite(value)) overflow = true;
            for (const std::size_t i : rows.copies[a.graphs[g]]) {
              for (const std::size_t j : cols.copies[b.graphs[h]]) {
                r.out.row(i)[j] = value;
                if (symmetric) r.out.row(j)[i] = value;
              }
            }
          }
        }
      };
      sums.assign(a.graphs.size() * b.graphs.size(), 0.0);
      detail::recur(
          a, b, detail::shape_of(params_), plan, scratch, detail::exact_aggregation{},
          [&](std::size_t layer, std::span<const double> values) {
            for (std::size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
            for (const auto& r : readouts) {
              if (r.layers != layer + 1) continue;
              if (r.jumping_knowledge)
                store(r, sums);
              else if (layer > 0)
                store(r, values);
            }
          },
          [&](std::span<const double> values) {
            for (const auto& r : readouts)
              if (r.layers == 1 && !r.jumping_knowledge) store(r, values);
          });
    }
  });
  if (overflow)
    SKIM_THROW(invalid_input,
               "graph_neural_tangent_kernel: a value is beyond double, wanted fewer layers or "
               "scaling by degrees");
}

inline double graph_neural_tangent_kernel::operator()(const graph& a, const graph& b) const {
  double value = 0;
  cross(std::span(&a, 1), std::span(&b, 1), matrix_view<double>(&value, 1, 1));
  return value;
}

template <executor Executor>
void graph_neural_tangent_kernel::gram(std::span<const graph> graphs, matrix_view<double> out,
                                       Executor&& ex) const {
  const graph_kernel_readout whole{params_.layers, params_.jumping_knowledge, out};
  gram(graphs, std::span(&whole, 1), ex);
}

template <executor Executor>
void graph_neural_tangent_kernel::gram(std::span<const graph> graphs,
                                       std::span<const graph_kernel_readout> readouts,
                                       Executor&& ex) const {
  check_readouts(readouts, graphs.size(), graphs.size());
  const detail::prepared_graphs set =
      detail::prepare_graphs(graphs, params_, detail::block_nodes, ex);
  for (const auto& r : readouts)
    for (std::size_t i = 0; i < graphs.size(); ++i)
      std::fill(r.out.row(i).begin(), r.out.row(i).end(), 0.0);
  fill(set, set, true, readouts, ex);
}

template <executor Executor>
void graph_neural_tangent_kernel::cross(std::span<const graph> rows, std::span<const graph> cols,
                                        matrix_view<double> out, Executor&& ex) const {
  const graph_kernel_readout whole{params_.layers, params_.jumping_knowledge, out};
  cross(rows, cols, std::span(&whole, 1), ex);
}

template <executor Executor>
void graph_neural_tangent_kernel::cross(std::span<const graph> rows, std::span<const graph> cols,
                                        std::span<const graph_kernel_readout> readouts,
                                        Executor&& ex) const {
  check_readouts(readouts, rows.size(), cols.size());
  const detail::prepared_graphs a = detail::prepare_graphs(rows, params_, detail::block_nodes, ex);
  const detail::prepared_graphs b = detail::prepare_graphs(cols, params_, detail::block_nodes, ex);
  if (!a.blocks.empty() && !b.blocks.empty() &&
      a.blocks.front().feature_dim != b.blocks.front().feature_dim)
    SKIM_THROW(invalid_input,
               detail::concat("graph_neural_tangent_kernel: got feature vectors of lengths ",
                              a.blocks.front().feature_dim, " and ", b.blocks.front().feature_dim,
                              ", wanted one length"));
  for (const auto& r : readouts)
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::fill(r.out.row(i).begin(), r.out.row(i).end(), 0.0);
  fill(a, b, false, readouts, ex);
}

inline void normalize_gram(matrix_view<double> k) {
  if (k.rows() != k.cols())
    SKIM_THROW(invalid_input, detail::concat("normalize_gram: got a matrix of ", k.rows(), " x ",
                                             k.cols(), ", wanted a square one"));
  std::vector<double> root(k.rows());
  for (std::size_t i = 0; i < root.size(); ++i) {
    const double d = k.row(i)[i];
    if (!(d >= 0) || !std::isfinite(d))
      SKIM_THROW(invalid_input, detail::concat("normalize_gram: diagonal element ", i, " is ", d,
                                               ", wanted finite ones of at least 0"));
    root[i] = std::sqrt(d);
  }
  for (std::size_t i = 0; i < root.size(); ++i)
    for (std::size_t j = 0; j < root.size(); ++j)
      k.row(i)[j] = i == j && root[i] > 0        ? 1.0
                    : root[i] > 0 && root[j] > 0 ? k.row(i)[j] / root[i] / root[j]
                                                 : 0.0;
}

}  // namespace skim::inline v0
