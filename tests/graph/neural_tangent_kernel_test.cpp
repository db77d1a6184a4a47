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
  for (const std::size_t n : {1u, 2u, 5u, 9u, 16u, 17u})
    out.push_back(random_graph(n, 0.3, 3, dim, base.child(n)));
  out.push_back(random_graph(12, 0.0, 2, dim, base.child(100)));  // without edges
  out.push_back(random_graph(7, 1.0, 1, dim, base.child(101)));   // complete
  out.push_back(random_graph(14, 0.1, 2, dim, base.child(102)));  // in pieces
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
            std::vector<double> length;
            for (const auto& g : graphs) length.push_back(std::sqrt(std::abs(reference(g, g, p))));
            for (std::size_t i = 0; i < graphs.size(); ++i) {
              for (std::size_t j = i; j < graphs.size(); ++j) {
                const double wanted = reference(graphs[i], graphs[j], p);
                // vectors have either sign: errors are relative to the graphs' lengths
                const double size = length[i] * length[j];
                INFO("graphs " << i << ", " << j << " layers " << layers << " depth " << depth
                               << " jump " << jump << " input " << static_cast<int>(input));
                REQUIRE(std::abs(k.at(i, j) - wanted) <= tolerance * size);
                REQUIRE(k.at(i, j) == k.at(j, i));
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("graph kernel: the numbering of the nodes does not matter", "[unit]") {
  const graph g = random_graph(19, 0.2, 3, 2, skim::random_engine(skim::seed{5}));
  std::vector<skim::id_t> to(g.nodes());
  std::iota(to.begin(), to.end(), skim::id_t{0});
  skim::random_engine shuffler(skim::seed{6});
  skim::shuffle(std::span(to), shuffler);
  std::vector<graph_edge> edges;
  std::vector<skim::id_t> tags(g.nodes());
  std::vector<float> x(g.nodes() * 2);
  for (std::size_t u = 0; u < g.nodes(); ++u) {
    tags[to[u]] = g.tags()[u];
    std::copy_n(g.features().row(u).begin(), 2, x.begin() + 2 * std::ptrdiff_t{to[u]});
    for (const auto v : g.neighbors(u))
      if (u < v) edges.push_back({to[u], to[v]});
  }
  const graph h(g.nodes(), edges, skim::matrix_view<const float>(x.data(), g.nodes(), 2), tags);
  const graph other = random_graph(11, 0.3, 3, 2, skim::random_engine(skim::seed{7}));
  for (const auto input : {node_input::tags, node_input::degrees, node_input::vectors}) {
    for (const bool merge : {true, false}) {
      const graph_neural_tangent_kernel kernel({.input = input, .merge_equal_nodes = merge});
      const double a = kernel(g, other), b = kernel(h, other);
      CHECK(std::abs(a - b) <= tolerance * std::abs(a));
    }
  }
}

TEST_CASE("graph kernel: merging nodes and graphs changes times alone", "[unit]") {
  auto graphs = graphs_of_many_kinds();
  graphs.push_back(graphs[3]);
  graphs.push_back(graphs[8]);
  square merged(graphs.size()), apart(graphs.size());
  graph_kernel_params p{.layers = 5};
  graph_neural_tangent_kernel(p).gram(graphs, merged.view());
  p.merge_equal_nodes = false;
  graph_neural_tangent_kernel(p).gram(graphs, apart.view());
  for (std::size_t i = 0; i < graphs.size(); ++i)
    for (std::size_t j = 0; j < graphs.size(); ++j)
      CHECK(std::abs(merged.at(i, j) - apart.at(i, j)) <= tolerance * apart.at(i, j));
  for (std::size_t i = 0; i < graphs.size(); ++i) {  // the copies, exactly
    CHECK(merged.at(i, 3) == merged.at(i, graphs.size() - 2));
    CHECK(merged.at(i, 8) == merged.at(i, graphs.size() - 1));
  }
}

TEST_CASE("graph kernel: positive semidefinite, equal on any number of threads", "[unit]") {
  std::vector<graph> graphs;
  const skim::random_engine base(skim::seed{21});
  for (std::size_t i = 0; i < 40; ++i)
    graphs.push_back(random_graph(5 + i % 17, 0.2, 4, 0, base.child(i)));
  square k(graphs.size()), threaded(graphs.size());
  const graph_neural_tangent_kernel kernel({.layers = 6});
  kernel.gram(graphs, k.view());
  skim::thread_executor pool(3);
  kernel.gram(graphs, threaded.view(), pool);
  CHECK(k.values == threaded.values);

  skim::normalize_gram(k.view());
  // Cholesky with a shift of the size of the values' errors, n times the tolerance.
  const std::size_t n = k.size;
  std::vector<double> l = k.values;
  for (std::size_t i = 0; i < n; ++i) l[i * n + i] += static_cast<double>(n) * tolerance;
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t m = 0; m < j; ++m) l[j * n + j] -= l[j * n + m] * l[j * n + m];
    REQUIRE(l[j * n + j] > 0);
    l[j * n + j] = std::sqrt(l[j * n + j]);
    for (std::size_t i = j + 1; i < n; ++i) {
      for (std::size_t m = 0; m < j; ++m) l[i * n + j] -= l[i * n + m] * l[j * n + m];
      l[i * n + j] /= l[j * n + j];
    }
  }
}

TEST_CASE("graph kernel: several depths in one recursion, and between two sets", "[unit]") {
  const auto graphs = graphs_of_many_kinds();
  const std::size_t n = graphs.size(), half = n / 2;
  const graph_kernel_params p{.layers = 6};
  square deep(n), shallow(n), linear(n);
  const skim::graph_kernel_readout readouts[] = {
      {6, true, deep.view()}, {3, false, shallow.view()}, {1, false, linear.view()}};
  graph_neural_tangent_kernel(p).gram(graphs, readouts);
  const auto alone = [&](std::size_t layers, bool jump) {
    auto q = p;
    q.layers = layers;
    q.jumping_knowledge = jump;
    square k(n);
    graph_neural_tangent_kernel(q).gram(graphs, k.view());
    return k.values;
  };
  const auto near = [](const std::vector<double>& a, const std::vector<double>& b) {
    for (std::size_t i = 0; i < a.size(); ++i)
      REQUIRE(std::abs(a[i] - b[i]) <= tolerance * std::abs(b[i]));
  };
  near(deep.values, alone(6, true));
  near(shallow.values, alone(3, false));  // fewer rounds of merging: rounded otherwise
  near(linear.values, alone(1, false));

  std::vector<double> cross(half * (n - half));
  graph_neural_tangent_kernel(p).cross(std::span(graphs).first(half),
                                       std::span(graphs).subspan(half),
                                       skim::matrix_view<double>(cross.data(), half, n - half));
  for (std::size_t i = 0; i < half; ++i)
    for (std::size_t j = half; j < n; ++j)
      CHECK(std::abs(cross[i * (n - half) + j - half] - deep.at(i, j)) <=
            tolerance * deep.at(i, j));
  CHECK(std::abs(graph_neural_tangent_kernel(p)(graphs[4], graphs[5]) - deep.at(4, 5)) <=
        tolerance * deep.at(4, 5));
}

TEST_CASE("graph kernel: empty graphs and sets", "[unit]") {
  const graph_neural_tangent_kernel kernel;
  const graph empty, one(1);
  CHECK(kernel(empty, one) == 0);
  CHECK(kernel(empty, empty) == 0);
  CHECK(kernel(one, one) > 0);
  kernel.gram({}, skim::matrix_view<double>());
  const graph graphs[] = {empty, one, empty};
  square k(3);
  kernel.gram(graphs, k.view());
  CHECK(k.at(0, 0) == 0);
  CHECK(k.at(1, 1) == kernel(one, one));
  skim::normalize_gram(k.view());
  CHECK(k.at(1, 1) == 1);
  CHECK(k.at(0, 1) == 0);
}

TEST_CASE("graph kernel: bad input leaves what it was given as it was", "[unit]") {
  CHECK_THROWS_AS(graph_neural_tangent_kernel({.layers = 0}), skim::invalid_params);
  CHECK_THROWS_AS(graph_neural_tangent_kernel({.mlp_depth = 0}), skim::invalid_params);
  CHECK_THROWS_AS(graph_neural_tangent_kernel({.layers = 257}), skim::invalid_params);
  const skim::random_engine base(skim::seed{3});
  const graph graphs[] = {random_graph(4, 0.5, 2, 2, base), random_graph(5, 0.5, 2, 3, base),
                          random_graph(5, 0.5, 2, 0, base)};
  const graph_neural_tangent_kernel tags, vectors({.input = node_input::vectors});
  square k(2);
  CHECK_THROWS_AS(tags.gram(graphs, k.view()), skim::invalid_input);
  CHECK_THROWS_AS(vectors.gram(std::span(graphs).first(2), k.view()), skim::invalid_input);
  CHECK_THROWS_AS(vectors.gram(std::span(graphs).last(2), k.view()), skim::invalid_input);
  CHECK_THROWS_AS(vectors(graphs[0], graphs[1]), skim::invalid_input);
  const skim::graph_kernel_readout deep[] = {{5, true, k.view()}};
  CHECK_THROWS_AS(tags.gram(std::span(graphs).first(2), deep), skim::invalid_input);
  CHECK(k.values == std::vector<double>(4, -1.0));

  CHECK_THROWS_AS(skim::normalize_gram(k.view()), skim::invalid_input);
  CHECK(k.values == std::vector<double>(4, -1.0));
  CHECK_THROWS_AS(skim::normalize_gram(skim::matrix_view<double>(k.values.data(), 1, 4)),
                  skim::invalid_input);

  // a complete graph of 40 nodes, unscaled: 40^4 more a layer, beyond double
  const graph complete = random_graph(40, 1.0, 1, 0, base);
  const graph_neural_tangent_kernel sums({.layers = 256, .scaling = neighborhood_scaling::none});
  CHECK_THROWS_AS(sums(complete, complete), skim::invalid_input);
  const graph_neural_tangent_kernel means({.layers = 256});
  CHECK(std::isfinite(means(complete, complete)));
}
