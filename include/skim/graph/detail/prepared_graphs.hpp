// SPDX-License-Identifier: Apache-2.0
//
// Sets of graphs made ready for the recursion: checked, merged, in blocks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/workspace.hpp"
#include "skim/graph/detail/kernel_block.hpp"
#include "skim/graph/detail/node_classes.hpp"
#include "skim/graph/graph.hpp"
#include "skim/graph/kernel_params.hpp"

namespace skim::inline v0::detail {

/// Nodes a block is filled up to: two matrices of its square, rho and tau, stay in a second-level
/// cache, and rows are long enough for the registers.
inline constexpr std::size_t block_nodes = 96;

inline void check_params(const graph_kernel_params& p) {
  constexpr std::size_t most = 256;
  if (p.layers == 0 || p.layers > most || p.mlp_depth == 0 || p.mlp_depth > most)
    SKIM_THROW(invalid_params, concat("graph kernel: got ", p.layers, " layers and ", p.mlp_depth,
                                      " in each perceptron, wanted 1 to ", most));
}

[[nodiscard]] inline recursion_shape shape_of(const graph_kernel_params& p) noexcept {
  return {std::max<std::size_t>(p.layers - 1, 1), p.mlp_depth,
          p.scaling == neighborhood_scaling::degree};
}

// Throws unless the graph has what the first layer wants to see.
inline void check_input(const graph& g, std::size_t i, node_input input, std::size_t dim) {
  if (input != node_input::vectors || g.nodes() == 0) return;
  if (g.feature_dim() == 0 || g.feature_dim() != dim)
    SKIM_THROW(invalid_input,
               concat("graph kernel: graph ", i, " has feature vectors of length ", g.feature_dim(),
                      ", wanted ", dim == 0 ? "some" : "the length of all others"));
}

[[nodiscard]] inline node_classes classes_of(const graph& g, const graph_kernel_params& p) {
  const node_colors colors = p.input == node_input::tags      ? node_colors::tags
                             : p.input == node_input::degrees ? node_colors::degrees
                                                              : node_colors::vectors;
  color_refinement refinement(g, colors);
  return p.merge_equal_nodes ? refinement.merged(shape_of(p).aggregations) : refinement.unmerged();
}

/// Different graphs in blocks, and which of the given graphs each of them stands for.
struct prepared_graphs {
  std::vector<kernel_block> blocks;
  std::vector<std::vector<std::size_t>> copies;
};

/// Different graphs as classes of nodes, and which of the given graphs each of them stands for.
struct distinct_graphs {
  std::vector<node_classes> classes;
  std::vector<std::vector<std::size_t>> copies;
  std::size_t feature_dim = 0;
};

/// Graphs without nodes are left out: their kernel is 0 with all.
template <class Executor>
[[nodiscard]] distinct_graphs merge_graphs(std::span<const graph> graphs,
                                           const graph_kernel_params& p, Executor& ex) {
  std::size_t dim = 0;
  if (p.input == node_input::vectors)
    for (const graph& g : graphs)
      if (dim == 0 && g.nodes() > 0) dim = g.feature_dim();
  for (std::size_t i = 0; i < graphs.size(); ++i) check_input(graphs[i], i, p.input, dim);

  std::vector<node_classes> classes(graphs.size());
  constexpr std::size_t grain = 16;
  ex.parallel_for(graphs.size(), grain, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) classes[i] = classes_of(graphs[i], p);
  });

  distinct_graphs set;
  set.feature_dim = dim;
  std::vector<std::size_t> distinct;
  std::unordered_multimap<std::uint64_t, std::size_t> seen;
  for (std::size_t i = 0; i < graphs.size(); ++i) {
    if (classes[i].size() == 0) continue;  // kernel 0 with all
    const std::uint64_t hash = classes[i].hash();
    const auto [begin, end] = seen.equal_range(hash);
    const auto twin = std::find_if(
        begin, end, [&](const auto& at) { return classes[distinct[at.second]] == classes[i]; });
    if (p.merge_equal_nodes && twin != end) {
      set.copies[twin->second].push_back(i);
    } else {
      seen.emplace(hash, distinct.size());
      distinct.push_back(i);
      set.copies.push_back({i});
    }
  }
  for (const std::size_t i : distinct) set.classes.push_back(std::move(classes[i]));
  return set;
}

/// Blocks are filled up to `most_nodes`; one graph each if that is 0.
template <class Executor>
[[nodiscard]] prepared_graphs prepare_graphs(std::span<const graph> graphs,
                                             const graph_kernel_params& p, std::size_t most_nodes,
                                             Executor& ex) {
  distinct_graphs distinct = merge_graphs(graphs, p, ex);
  prepared_graphs set;
  set.copies = std::move(distinct.copies);
  std::vector<kernel_block> single(distinct.classes.size());
  ex.parallel_for(single.size(), std::size_t{16}, [&](std::size_t first, std::size_t last) {
    workspace scratch;
    for (std::size_t i = first; i < last; ++i)
      single[i] = prepare(distinct.classes[i], shape_of(p), i, distinct.feature_dim, scratch);
  });
  for (auto& s : single) {
    if (set.blocks.empty() || set.blocks.back().nodes() + s.nodes() > most_nodes)
      set.blocks.push_back(std::move(s));
    else
      set.blocks.back().append(s);
  }
  return set;
}

}  // namespace skim::inline v0::detail
