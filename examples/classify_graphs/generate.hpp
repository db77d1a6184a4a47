// SPDX-License-Identifier: Apache-2.0
//
// Generated graphs of two kinds, for want of a file.
#pragma once

#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "data/graph_text.hpp"
#include "skim/core/random.hpp"
#include "skim/graph/graph.hpp"

namespace skim_examples {

/// Small worlds (rings whose edges to the next `reach` nodes are rewired with probability 0.3; class
/// 0) and random graphs with as many nodes and edges (class 1): the two differ in their triangles.
///
/// Ref: Watts and Strogatz 1998, Nature 393.
[[nodiscard]] inline graph_set generate_graphs(std::size_t count, skim::seed s) {
  graph_set set;
  set.name = "generated";
  set.class_names = {"small-world", "random"};
  const skim::random_engine base(s);
  for (std::size_t i = 0; i < count; ++i) {
    auto g = base.child(i);
    const std::size_t nodes = 20 + static_cast<std::size_t>(skim::uniform_below(g, 21));
    constexpr std::size_t reach = 2;
    constexpr double rewired = 0.3;
    const bool random = i % 2 == 1;
    std::set<std::pair<skim::id_t, skim::id_t>> edges;
    const auto add = [&](std::size_t u, std::size_t v) {
      if (u == v) return false;
      return edges
          .emplace(static_cast<skim::id_t>(std::min(u, v)), static_cast<skim::id_t>(std::max(u, v)))
          .second;
    };
    const auto any_node = [&] { return static_cast<std::size_t>(skim::uniform_below(g, nodes)); };
    for (std::size_t u = 0; u < nodes; ++u) {
      for (std::size_t k = 1; k <= reach; ++k) {
        if (!random && skim::uniform(g) >= rewired && add(u, (u + k) % nodes)) continue;
        while (!add(random ? any_node() : u, any_node())) {
        }
      }
    }
    std::vector<skim::graph_edge> list;
    for (const auto& [u, v] : edges) list.push_back({u, v});
    set.graphs.emplace_back(nodes, list);
    set.labels.push_back(random ? 1 : 0);
  }
  return set;
}

}  // namespace skim_examples
