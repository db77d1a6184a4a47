// SPDX-License-Identifier: Apache-2.0
#include "skim/graph/kronecker_sketch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "graph/reference.hpp"
#include "skim/graph/neural_tangent_kernel.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace {

using graph_test::random_graph;

// A graph's adjacency with itself, as sparse rows.
struct sparse_adjacency {
  explicit sparse_adjacency(const skim::graph& g) : nodes(g.nodes()) {
    for (std::size_t u = 0; u < nodes; ++u) {
      for (std::size_t v = 0; v < nodes; ++v) {
        const auto row = g.neighbors(u);
        if (u != v && !std::binary_search(row.begin(), row.end(), static_cast<skim::id_t>(v)))
          continue;
        indices.push_back(static_cast<skim::id_t>(v));
        values.push_back(1.0f + 0.1f * static_cast<float>(u));
      }
      offsets.push_back(indices.size());
    }
  }
  [[nodiscard]] skim::sparse_view view() const { return {offsets, indices, values, nodes}; }

  std::size_t nodes;
  std::vector<std::size_t> offsets = {0};
  std::vector<skim::id_t> indices;
  std::vector<float> values;
};

}  // namespace

TEST_CASE("kronecker sketch: without bias, with and without a low-rank part", "[stat]") {
  constexpr std::size_t n = 13, m = 9, trials = 4000;
  const skim::random_engine base(skim::seed{31});
  const sparse_adjacency a(random_graph(n, 0.3, 1, 0, base.child(0)));
  const sparse_adjacency b(random_graph(m, 0.3, 1, 0, base.child(1)));
  std::vector<float> h(n * m);
  auto g = base.child(2);
  for (float& v : h) v = static_cast<float>(1 + skim::normal(g));
  const auto entry = [&](std::size_t v, std::size_t u) {
    double sum = 0;
    const auto p = a.view().row(u), q = b.view().row(v);
    for (std::size_t i = 0; i < p.nonzeros(); ++i)
      for (std::size_t j = 0; j < q.nonzeros(); ++j)
        sum += static_cast<double>(p.values[i]) * static_cast<double>(q.values[j]) *
               static_cast<double>(h[p.indices[i] * m + q.indices[j]]);
    return sum;
  };
  for (const std::size_t rank : {0u, 2u}) {
    std::vector<std::vector<double>> samples(3);
    std::vector<float> out(m * n);
    for (std::size_t t = 0; t < trials; ++t) {
      const skim::kronecker_sketch sketch(n, m, {.width = 8, .rank = rank}, base.child(10 + t));
      sketch.aggregate(a.view(), b.view(), {h.data(), n, m}, {out.data(), m, n});
      double sum = 0;
      for (const float v : out) sum += static_cast<double>(v);
      samples[0].push_back(static_cast<double>(out[0]));
      samples[1].push_back(static_cast<double>(out[4 * n + 7]));
      samples[2].push_back(sum);
    }
    double total = 0;
    for (std::size_t v = 0; v < m; ++v)
      for (std::size_t u = 0; u < n; ++u) total += entry(v, u);
    const double wanted[] = {entry(0, 0), entry(4, 7), total};
    for (std::size_t i = 0; i < 3; ++i) {
      INFO("rank " << rank << " quantity " << i);
      skim_test::check_mean(samples[i], wanted[i]);
    }
  }
}

TEST_CASE("kronecker sketch: exact where the rank covers the matrix", "[unit]") {
  constexpr std::size_t n = 12, m = 7;
  const skim::random_engine base(skim::seed{32});
  const sparse_adjacency a(random_graph(n, 0.3, 1, 0, base.child(0)));
  const sparse_adjacency b(random_graph(m, 0.3, 1, 0, base.child(1)));
  std::vector<float> h(n * m), out(m * n), wide(m * n);
  for (std::size_t u = 0; u < n; ++u)
    for (std::size_t v = 0; v < m; ++v)
      h[u * m + v] = static_cast<float>(u + 1) + static_cast<float>((u % 3) * (v % 2));
  const skim::kronecker_sketch low(n, m, {.width = 2, .rank = 4}, base.child(3));
  low.aggregate(a.view(), b.view(), {h.data(), n, m}, {out.data(), m, n});
  for (std::size_t v = 0; v < m; ++v) {
    for (std::size_t u = 0; u < n; ++u) {
      double sum = 0;
      const auto p = a.view().row(u), q = b.view().row(v);
      for (std::size_t i = 0; i < p.nonzeros(); ++i)
        for (std::size_t j = 0; j < q.nonzeros(); ++j)
          sum += static_cast<double>(p.values[i]) * static_cast<double>(q.values[j]) *
                 static_cast<double>(h[p.indices[i] * m + q.indices[j]]);
      CHECK(std::abs(static_cast<double>(out[v * n + u]) - sum) < 1e-4 * sum);
    }
  }
  CHECK_THROWS_AS(skim::kronecker_sketch(n, m, {.width = 0}, base), skim::invalid_params);
}

TEST_CASE("sketched graph kernel: near the exact one, symmetric, reproducible", "[unit]") {
  const skim::random_engine base(skim::seed{33});
  const skim::graph graphs[] = {random_graph(220, 0.2, 5, 0, base.child(0)),
                                random_graph(180, 0.3, 5, 0, base.child(1)), skim::graph()};
  const skim::graph_kernel_params p{.layers = 3};
  const skim::sketched_graph_kernel sketch(p, {}, skim::seed{9});
  std::vector<double> values(9, -1.0), errors(9, -1.0), again(9), ignored(9);
  sketch.gram(graphs, {values.data(), 3, 3}, {errors.data(), 3, 3});
  skim::thread_executor pool(2);
  sketch.gram(graphs, {again.data(), 3, 3}, {ignored.data(), 3, 3}, pool);
  CHECK(values == again);
  CHECK(values[1] == values[3]);
  CHECK(values[2] == 0);
  CHECK(errors[8] == 0);
  const double exact = skim::graph_neural_tangent_kernel(p)(graphs[0], graphs[1]);
  CHECK(std::abs(values[1] - exact) < 0.05 * exact);
  CHECK(errors[1] < 0.05 * exact);
  CHECK(sketch(graphs[0], graphs[1]).value == values[1]);
  CHECK(sketch(graphs[0], graphs[2]).value == 0);
}

TEST_CASE("sketched graph kernel: bad input", "[unit]") {
  const skim::graph_kernel_params p;
  CHECK_THROWS_AS(skim::sketched_graph_kernel(p, {.repetitions = 1}, {}), skim::invalid_params);
  CHECK_THROWS_AS(skim::sketched_graph_kernel(p, {.aggregation = {.width = 0}}, {}),
                  skim::invalid_params);
  CHECK_THROWS_AS(skim::sketched_graph_kernel({.layers = 0}, {}, {}), skim::invalid_params);
  const skim::graph one(1);
  std::vector<double> values(4), errors(4);
  CHECK_THROWS_AS(skim::sketched_graph_kernel(p, {}, {}).gram(
                      std::span(&one, 1), {values.data(), 2, 2}, {errors.data(), 2, 2}),
                  skim::invalid_input);
}
