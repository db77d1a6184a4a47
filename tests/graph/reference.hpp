// SPDX-License-Identifier: Apache-2.0
//
// The published recursion in double with the Kronecker product written out, and random graphs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <numeric>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/graph/graph.hpp"
#include "skim/graph/neural_tangent_kernel.hpp"

namespace graph_test {

using dense = std::vector<double>;

inline dense adjacency(const skim::graph& g) {
  const std::size_t n = g.nodes();
  dense a(n * n, 0.0);
  for (std::size_t u = 0; u < n; ++u) {
    a[u * n + u] = 1;
    for (const auto v : g.neighbors(u)) a[u * n + v] = 1;
  }
  return a;
}

inline dense inputs(const skim::graph& a, const skim::graph& b, skim::node_input input) {
  dense sigma(a.nodes() * b.nodes());
  for (std::size_t u = 0; u < a.nodes(); ++u) {
    for (std::size_t v = 0; v < b.nodes(); ++v) {
      double s = 0;
      if (input == skim::node_input::tags) s = a.tags()[u] == b.tags()[v];
      if (input == skim::node_input::degrees) s = a.degree(u) == b.degree(v);
      if (input == skim::node_input::vectors)
        for (std::size_t k = 0; k < a.feature_dim(); ++k)
          s += static_cast<double>(a.features().row(u)[k]) *
               static_cast<double>(b.features().row(v)[k]);
      sigma[u * b.nodes() + v] = s;
    }
  }
  return sigma;
}

/// kron(A1, A2) vec(X), element by element.
inline dense aggregated(const dense& a1, std::size_t n1, const dense& a2, std::size_t n2,
                        const dense& x, bool by_degree) {
  dense y(n1 * n2, 0.0);
  for (std::size_t u = 0; u < n1; ++u) {
    for (std::size_t v = 0; v < n2; ++v) {
      double sum = 0, d1 = 0, d2 = 0;
      for (std::size_t s = 0; s < n1; ++s)
        for (std::size_t t = 0; t < n2; ++t) sum += a1[u * n1 + s] * a2[v * n2 + t] * x[s * n2 + t];
      for (std::size_t s = 0; s < n1; ++s) d1 += a1[u * n1 + s];
      for (std::size_t t = 0; t < n2; ++t) d2 += a2[v * n2 + t];
      y[u * n2 + v] = by_degree ? sum / d1 / d2 : sum;
    }
  }
  return y;
}

/// Square roots of the diagonals of Sigma, [layer of rectifiers][node].
inline std::vector<dense> diagonals(const skim::graph& g, const skim::graph_kernel_params& p) {
  const std::size_t n = g.nodes();
  const bool by_degree = p.scaling == skim::neighborhood_scaling::degree;
  const dense a = adjacency(g);
  std::vector<dense> out;
  dense sigma = aggregated(a, n, a, n, inputs(g, g, p.input), by_degree);
  for (std::size_t layer = 1; layer < p.layers; ++layer) {
    for (std::size_t m = 0; m < p.mlp_depth; ++m) {
      dense d(n);
      for (std::size_t u = 0; u < n; ++u) d[u] = std::sqrt(std::max(0.0, sigma[u * n + u]));
      for (std::size_t u = 0; u < n; ++u) {
        for (std::size_t v = 0; v < n; ++v) {
          const double r =
              d[u] * d[v] > 0 ? std::clamp(sigma[u * n + v] / d[u] / d[v], -1.0, 1.0) : 0.0;
          sigma[u * n + v] = d[u] * d[v] *
                             (r * (std::numbers::pi - std::acos(r)) + std::sqrt(1 - r * r)) /
                             std::numbers::pi;
        }
      }
      out.push_back(d);
    }
    if (layer + 1 < p.layers) sigma = aggregated(a, n, a, n, sigma, by_degree);
  }
  return out;
}

inline double reference(const skim::graph& g, const skim::graph& h,
                        const skim::graph_kernel_params& p) {
  const std::size_t n = g.nodes(), m = h.nodes();
  const bool by_degree = p.scaling == skim::neighborhood_scaling::degree;
  const dense a1 = adjacency(g), a2 = adjacency(h);
  const auto d1 = diagonals(g, p), d2 = diagonals(h, p);
  dense sigma = inputs(g, h, p.input), jump = sigma;
  sigma = aggregated(a1, n, a2, m, sigma, by_degree);
  dense theta = sigma;
  for (std::size_t layer = 1; layer < p.layers; ++layer) {
    for (std::size_t k = 0; k < p.mlp_depth; ++k) {
      const std::size_t at = (layer - 1) * p.mlp_depth + k;
      for (std::size_t u = 0; u < n; ++u) {
        for (std::size_t v = 0; v < m; ++v) {
          double& s = sigma[u * m + v];
          const double scale = d1[at][u] * d2[at][v];
          const double r = scale > 0 ? std::clamp(s / scale, -1.0, 1.0) : 0.0;
          const double zero = (std::numbers::pi - std::acos(r)) / std::numbers::pi;
          s = scale * (r * (std::numbers::pi - std::acos(r)) + std::sqrt(1 - r * r)) /
              std::numbers::pi;
          theta[u * m + v] = theta[u * m + v] * zero + s;
        }
      }
    }
    for (std::size_t i = 0; i < jump.size(); ++i) jump[i] += theta[i];
    if (layer + 1 < p.layers) {
      sigma = aggregated(a1, n, a2, m, sigma, by_degree);
      theta = aggregated(a1, n, a2, m, theta, by_degree);
    }
  }
  const dense& read = p.jumping_knowledge ? jump : theta;
  return 2 * std::accumulate(read.begin(), read.end(), 0.0);
}

/// Each edge with the given probability, tags below `tags`, and Gaussian vectors if dim > 0.
inline skim::graph random_graph(std::size_t nodes, double density, std::size_t tags,
                                std::size_t dim, skim::random_engine g) {
  std::vector<skim::graph_edge> edges;
  for (std::size_t u = 0; u < nodes; ++u)
    for (std::size_t v = u + 1; v < nodes; ++v)
      if (skim::uniform(g) < density)
        edges.push_back({static_cast<skim::id_t>(u), static_cast<skim::id_t>(v)});
  std::vector<skim::id_t> tag(nodes);
  for (auto& t : tag) t = static_cast<skim::id_t>(skim::uniform_below(g, tags));
  if (dim == 0) return skim::graph(nodes, edges, tag);
  std::vector<float> x(nodes * dim);
  for (float& v : x) v = static_cast<float>(skim::normal(g));
  return skim::graph(nodes, edges, skim::matrix_view<const float>(x.data(), nodes, dim), tag);
}

}  // namespace graph_test
