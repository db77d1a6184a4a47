// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/workspace.hpp"
#include "skim/graph/detail/kernel_recursion.hpp"
#include "skim/graph/detail/node_classes.hpp"
#include "skim/graph/neural_tangent_kernel.hpp"

namespace skim::inline v0 {

namespace detail {

/// Nodes a block is filled up to: two matrices of its square, rho and tau, stay in a second-level
/// cache, and rows are long enough for the registers.
inline constexpr std::size_t block_nodes = 96;

// Throws unless the graph has what the first layer wants to see.
inline void check_input(const graph& g, std::size_t i, node_input input, std::size_t dim) {
  if (input != node_input::vectors || g.nodes() == 0) return;
  if (g.feature_dim() == 0 || g.feature_dim() != dim)
    SKIM_THROW(invalid_input,
               concat("graph_neural_tangent_kernel: graph ", i, " has feature vectors of length ",
                      g.feature_dim(), ", wanted ",
                      dim == 0 ? "some" : "the length of all others, ", dim));
}

[[nodiscard]] inline node_classes classes_of(const graph& g, const graph_kernel_params& p,
                                             std::size_t rounds) {
  const node_colors colors = p.input == node_input::tags      ? node_colors::tags
                             : p.input == node_input::degrees ? node_colors::degrees
                                                              : node_colors::vectors;
  color_refinement refinement(g, colors);
  return p.merge_equal_nodes ? refinement.merged(rounds) : refinement.unmerged();
}

}  // namespace detail

// Different graphs in blocks, and which of the given graphs each of them stands for.
struct graph_neural_tangent_kernel::prepared_set {
  std::vector<detail::kernel_block> blocks;
  std::vector<std::vector<std::size_t>> copies;
};

inline graph_neural_tangent_kernel::graph_neural_tangent_kernel(params p) : params_(p) {
  constexpr std::size_t most = 256;
  if (p.layers == 0 || p.layers > most || p.mlp_depth == 0 || p.mlp_depth > most)
    SKIM_THROW(invalid_params,
               detail::concat("graph_neural_tangent_kernel: got ", p.layers, " layers and ",
                              p.mlp_depth, " in each perceptron, wanted 1 to ", most));
}

inline detail::recursion_shape graph_neural_tangent_kernel::shape() const noexcept {
  return {std::max<std::size_t>(params_.layers - 1, 1), params_.mlp_depth,
          params_.scaling == neighborhood_scaling::degree};
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
graph_neural_tangent_kernel::prepared_set graph_neural_tangent_kernel::prepared(
    std::span<const graph> graphs, Executor& ex) const {
  std::size_t dim = 0;
  if (params_.input == node_input::vectors)
    for (const graph& g : graphs)
      if (dim == 0 && g.nodes() > 0) dim = g.feature_dim();
  for (std::size_t i = 0; i < graphs.size(); ++i)
    detail::check_input(graphs[i], i, params_.input, dim);

  std::vector<detail::node_classes> classes(graphs.size());
  const std::size_t rounds = shape().aggregations;
  constexpr std::size_t grain = 16;
  ex.parallel_for(graphs.size(), grain, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i)
      classes[i] = detail::classes_of(graphs[i], params_, rounds);
  });

  prepared_set set;
  std::vector<std::size_t> distinct;
  std::unordered_multimap<std::uint64_t, std::size_t> seen;
  for (std::size_t i = 0; i < graphs.size(); ++i) {
    if (classes[i].size() == 0) continue;  // kernel 0 with all
    const std::uint64_t hash = classes[i].hash();
    const auto [begin, end] = seen.equal_range(hash);
    const auto twin = std::find_if(
        begin, end, [&](const auto& at) { return classes[distinct[at.second]] == classes[i]; });
    if (params_.merge_equal_nodes && twin != end) {
      set.copies[twin->second].push_back(i);
    } else {
      seen.emplace(hash, distinct.size());
      distinct.push_back(i);
      set.copies.push_back({i});
    }
  }

  std::vector<detail::kernel_block> single(distinct.size());
  ex.parallel_for(distinct.size(), grain, [&](std::size_t first, std::size_t last) {
    workspace scratch;
    for (std::size_t i = first; i < last; ++i)
      single[i] = detail::prepare(classes[distinct[i]], shape(), i, dim, scratch);
  });
  for (auto& s : single) {
    if (set.blocks.empty() || set.blocks.back().nodes() + s.nodes() > detail::block_nodes)
      set.blocks.push_back(std::move(s));
    else
      set.blocks.back().append(s);
  }
  return set;
}

template <class Executor>
void graph_neural_tangent_kernel::fill(const prepared_set& rows, const prepared_set& cols,
                                       bool symmetric,
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
          a, b, shape(), plan, scratch, detail::exact_aggregation{},
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
  const prepared_set set = prepared(graphs, ex);
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
  const prepared_set a = prepared(rows, ex), b = prepared(cols, ex);
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
      k.row(i)[j] = root[i] > 0 && root[j] > 0 ? k.row(i)[j] / root[i] / root[j] : 0.0;
}

}  // namespace skim::inline v0
