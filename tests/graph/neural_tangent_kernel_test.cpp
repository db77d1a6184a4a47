// SPDX-License-Identifier: Apache-2.0
#include "skim/graph/neural_tangent_kernel.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "graph/reference.hpp"
#include "support/catch.hpp"

namespace {

using graph_test::random_graph;
using graph_test::reference;
using skim::graph;
using skim::graph_edge;
using skim::graph_kernel_params;
using skim::graph_neural_tangent_kernel;
using skim::neighborhood_scaling;
using skim::node_input;

// Float accumulates: a correlation close to 1 has a kappa_0 off by some 1e-4 of pi.
constexpr double tolerance = 2e-4;

std::vector<graph> graphs_of_many_kinds(std::size_t dim = 3) {
  const skim::random_engine base(skim::seed{11});
  std::vector<graph> out;
  for (const std::size_t n : {1u, 2u, 5u, 9u, 16u, 17u, 23u})
    out.push_back(random_graph(n, 0.3, 3, dim, base.child(n)));
  out.push_back(random_graph(12, 0.0, 2, dim, base.child(100)));   // without edges
  out.push_back(random_graph(7, 1.0, 1, dim, base.child(101)));    // complete
  out.push_back(random_graph(20, 0.07, 2, dim, base.child(102)));  // in pieces
  return out;
}

struct square {
  explicit square(std::size_t n) : size(n), values(n * n, -1.0) {}
  [[nodiscard]] skim::matrix_view<double> view() { return {values.data(), size, size}; }
  [[nodiscard]] double at(std::size_t i, std::size_t j) const { return values[i * size + j]; }

  std::size_t size;
  std::vector<double> values;
};

}  // namespace

TEST_CASE("graph kernel: equals the recursion with the Kronecker product written out", "[unit]") {
  const auto graphs = graphs_of_many_kinds();
  for (const auto input : {node_input::tags, node_input::degrees, node_input::vectors}) {
    for (const auto scaling : {neighborhood_scaling::none, neighborhood_scaling::degree}) {
      for (const bool jump : {false, true}) {
        for (const std::size_t layers : {1u, 2u, 5u}) {
          for (const std::size_t depth : {1u, 3u}) {
            const graph_kernel_params p{.layers = layers,
                                        .mlp_depth = depth,
                                        .jumping_knowledge = jump,
                                        .scaling = scaling,
                                        .input = input};
            square k(graphs.size());
            graph_neural_tangent_kernel(p).gram(graphs, k.view());
            for (std::size_t i = 0; i < graphs.size(); ++i) {
              for (std::size_t j = 0; j < graphs.size(); ++j) {
                const double wanted = reference(graphs[i], graphs[j], p);
                // vectors have either sign: errors are relative to the graphs' lengths
                const double size = std::sqrt(std::abs(reference(graphs[i], graphs[i], p) *
                                                       reference(graphs[j], graphs[j], p)));
                INFO("graphs " << i << ", " << j << " layers " << layers << " depth " << depth
                               << " jump " << jump << " input " << static_cast<int>(input));
                REQUIRE(std::abs(k.at(i, j) - wanted) <= tolerance * size);
              }
            }
          }
        }
      }
    }
  }
}
