// SPDX-License-Identifier: Apache-2.0
//
// Graphs made ready for the recursion of the neural tangent kernel, and blocks of them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/graph/detail/node_classes.hpp"
#include "skim/linalg/arc_cosine.hpp"
#include "skim/linalg/gemm.hpp"
#include "skim/linalg/sparse.hpp"
#include "skim/linalg/transpose.hpp"

namespace skim::inline v0::detail {

/// Above this a correlation of floats counts as 1: nodes with equal neighbourhoods, whose sums were
/// rounded in another order.
inline constexpr float full_correlation = 1.0f - 0x1p-21f;

/// Columns and rows of the dense matrices are filled up to a multiple of it.
inline constexpr std::size_t lanes_padding = 16;
[[nodiscard]] constexpr std::size_t padded(std::size_t n) noexcept {
  return (n + lanes_padding - 1) / lanes_padding * lanes_padding;
}

/// A stride of an odd number of cache lines: columns do not share a cache set.
[[nodiscard]] constexpr std::size_t odd_stride(std::size_t n) noexcept {
  n = padded(n);
  return n / lanes_padding % 2 == 0 ? n + lanes_padding : n;
}

/// What the recursion does to every graph alike.
struct recursion_shape {
  std::size_t aggregations = 1, mlp_depth = 1;
  bool by_degree = false;
};

/// Several graphs side by side as one, without edges between them.
///
/// Covariances are kept as correlations: Sigma(u, v) = scale(u) scale(v) rho(u, v). A sum over
/// neighbours is then a product with weights(a), in which the scales before and after it are
/// contained, so that nothing grows with the layers but the scales.
struct kernel_block {
  std::vector<std::size_t> graphs;       // which they are
  std::vector<std::size_t> first = {0};  // where each one's nodes begin, and the end
  std::vector<std::size_t> offsets = {0};
  std::vector<id_t> neighbors;
  std::vector<std::vector<float>> weights;  // [aggregation]
  std::vector<std::vector<float>> readout;  // [level]: size and scale of a node over its graph's
  std::vector<std::vector<double>> scale;   // [level][graph]
  std::vector<id_t> tags;
  aligned_vector<float> features;  // unit rows
  std::size_t feature_dim = 0;

  [[nodiscard]] std::size_t nodes() const noexcept { return first.back(); }
  [[nodiscard]] sparse_view adjacency(std::size_t aggregation) const {
    return {offsets, neighbors, weights[aggregation], nodes()};
  }

  /// Puts the graphs of another block behind those of this one.
  void append(const kernel_block& other) {
    const std::size_t base = nodes();
    if (weights.empty()) {
      weights.resize(other.weights.size());
      readout.resize(other.readout.size());
      scale.resize(other.scale.size());
      feature_dim = other.feature_dim;
    }
    const auto add = [](auto& to, const auto& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    add(graphs, other.graphs);
    for (std::size_t g = 1; g < other.first.size(); ++g) first.push_back(base + other.first[g]);
    const std::size_t edges = offsets.back();
    for (std::size_t u = 1; u < other.offsets.size(); ++u)
      offsets.push_back(edges + other.offsets[u]);
    for (const id_t v : other.neighbors) neighbors.push_back(static_cast<id_t>(base + v));
    for (std::size_t a = 0; a < weights.size(); ++a) add(weights[a], other.weights[a]);
    for (std::size_t l = 0; l < readout.size(); ++l) {
      add(readout[l], other.readout[l]);
      add(scale[l], other.scale[l]);
    }
    add(tags, other.tags);
    add(features, other.features);
  }
};

// rho of the first layer, (rows' nodes, columns' nodes).
inline void first_correlations(const kernel_block& rows, const kernel_block& cols,
                               matrix_view<float> rho) {
  if (rows.feature_dim > 0) {
    multiply_transposed({rows.features.data(), rows.nodes(), rows.feature_dim},
                        {cols.features.data(), cols.nodes(), cols.feature_dim},
                        {rho.data(), rows.nodes(), cols.nodes(), rho.stride()});
  } else {
    for (std::size_t u = 0; u < rows.nodes(); ++u)
      for (std::size_t v = 0; v < cols.nodes(); ++v)
        rho.data()[u * rho.stride() + v] = rows.tags[u] == cols.tags[v] ? 1.0f : 0.0f;
  }
  for (std::size_t u = 0; u < rows.nodes(); ++u)
    for (std::size_t v = cols.nodes(); v < padded(cols.nodes()); ++v)
      rho.data()[u * rho.stride() + v] = 0.0f;
}

/// One layer of rectifiers, `depth` times, on every (rho, tau) of a row; tau is left out if Tau is
/// false, taken as rho before if Fresh is true.
template <bool Tau, bool Fresh, class Arch = simd::default_arch>
inline void combine_row(float* rho, float* tau, std::size_t n, std::size_t depth) noexcept {
  using pack = simd::floats<Arch>;
  const pack one = pack::broadcast(1.0f), full = pack::broadcast(full_correlation);
  for (std::size_t j = 0; j < n; j += pack::size) {
    pack r = pack::load(rho + j);
    r = simd::where_greater(r, full, one, r);
    pack t = r;
    if constexpr (Tau && !Fresh) t = pack::load(tau + j);
    for (std::size_t m = 0; m < depth; ++m) {
      const auto k = arc_cosine<Arch>(r);
      if constexpr (Tau) t = simd::fma(t, k.zero, k.one);
      r = k.one;
    }
    r.store(rho + j);
    if constexpr (Tau) t.store(tau + j);
  }
}

/// Scratch of a recursion over two blocks: two matrices whose rows hold rho and tau of one node with
/// all nodes of the other block.
class pair_scratch {
 public:
  /// Without tau if parts is 1. Everything in one piece: the workspace need not join any.
  pair_scratch(workspace::frame_type& frame, std::size_t rows, std::size_t cols, std::size_t parts)
      : parts_(parts) {
    const std::size_t r = padded(rows), c = padded(cols);
    const std::size_t size = std::max(r * odd_stride(parts * c), c * odd_stride(parts * r));
    const std::size_t tall = std::max(r, c);
    const std::size_t panel = tall > 512 ? tall * sparse_panel_width : 0;
    const std::span<float> all = frame.take<float>(2 * size + panel);
    memory_ = {all.first(size), all.subspan(size, size)};
    panel_ = all.subspan(2 * size);
  }

  /// The matrix that is current, for (rows, cols) nodes; tau begins at column padded(cols).
  [[nodiscard]] matrix_view<float> current(std::size_t rows, std::size_t cols) const {
    return shaped(memory_[now_], rows, cols);
  }
  [[nodiscard]] matrix_view<float> other(std::size_t rows, std::size_t cols) const {
    return shaped(memory_[1 - now_], rows, cols);
  }
  void exchange() noexcept { now_ = 1 - now_; }
  [[nodiscard]] std::span<float> panel() const noexcept { return panel_; }

 private:
  [[nodiscard]] matrix_view<float> shaped(std::span<float> memory, std::size_t rows,
                                          std::size_t cols) const {
    return {memory.data(), padded(rows), parts_ * padded(cols), odd_stride(parts_ * padded(cols))};
  }

  std::array<std::span<float>, 2> memory_;
  std::span<float> panel_;  // copies of panels pay for tall matrices
  std::size_t parts_, now_ = 0;
};

/// Columns [first, first + count) of a matrix.
template <class T>
[[nodiscard]] matrix_view<T> columns(matrix_view<T> m, std::size_t rows, std::size_t first,
                                     std::size_t count) {
  return {m.data() + first, rows, count, m.stride()};
}

/// A X B^T for X = rho, or rho and tau, of (rows, cols) nodes: the result is current, transposed.
inline void aggregate(sparse_view a, sparse_view b, bool tau, pair_scratch& scratch) noexcept {
  const std::size_t rows = a.rows(), cols = b.rows(), r = padded(rows), c = padded(cols);
  const std::size_t parts = tau ? 2 : 1;
  const auto x = scratch.current(rows, cols), y = scratch.other(rows, cols);
  multiply(a, columns<const float>(x, rows, 0, parts * c), columns(y, rows, 0, parts * c),
           scratch.panel());
  for (std::size_t u = rows; u < r; ++u) std::fill_n(y.data() + u * y.stride(), parts * c, 0.0f);
  const auto back = scratch.current(cols, rows), out = scratch.other(cols, rows);
  for (std::size_t p = 0; p < parts; ++p)
    transpose(columns<const float>(y, r, p * c, c), columns(back, c, p * r, r));
  multiply(b, columns<const float>(back, cols, 0, parts * r), columns(out, cols, 0, parts * r),
           scratch.panel());
  scratch.exchange();
}

/// Aggregates by products with the adjacencies themselves.
struct exact_aggregation {
  static constexpr bool exact = true;

  void operator()(const kernel_block& rows, const kernel_block& cols, std::size_t aggregation,
                  bool tau, pair_scratch& scratch) const {
    aggregate(rows.adjacency(aggregation), cols.adjacency(aggregation), tau, scratch);
  }
};

/// Keeps estimates of w(u)^T rho w(u) within what any rho with 0 <= rho <= 1 and a diagonal of 1
/// gives, for weights of at least 0.
inline void keep_possible(sparse_view w, std::span<double> forms) noexcept {
  for (std::size_t u = 0; u < w.rows(); ++u) {
    double sum = 0, squares = 0;
    for (const float v : w.row(u).values) {
      sum += static_cast<double>(v);
      squares += static_cast<double>(v) * static_cast<double>(v);
    }
    forms[u] = std::clamp(forms[u], squares, std::max(squares, sum * sum));
  }
}

/// A block of one graph: the recursion of the graph with itself gives the scales.
template <class Aggregation = exact_aggregation>
[[nodiscard]] inline kernel_block prepare(const node_classes& q, const recursion_shape& shape,
                                          std::size_t id, std::size_t feature_dim,
                                          workspace& scratch, const Aggregation& aggregation = {}) {
  const std::size_t n = q.size();
  kernel_block block;
  block.graphs = {id};
  block.first = {0, n};
  block.offsets = q.offsets;
  block.neighbors = q.neighbors;
  block.tags = q.tags;
  block.feature_dim = feature_dim;
  block.features.assign(q.features.begin(), q.features.end());

  std::vector<double> scale(n, 1.0);
  for (std::size_t u = 0; u < n && feature_dim > 0; ++u) {
    const std::span<float> x(block.features.data() + u * feature_dim, feature_dim);
    double square = 0;
    for (const float v : x) square += static_cast<double>(v) * static_cast<double>(v);
    scale[u] = std::sqrt(square);
    for (float& v : x)
      v = square > 0 ? static_cast<float>(static_cast<double>(v) / scale[u]) : 0.0f;
  }
  const auto add_level = [&] {
    double most = 0;
    for (const double s : scale) most = std::max(most, s);
    auto& out = block.readout.emplace_back(n);
    for (std::size_t u = 0; u < n; ++u)
      out[u] =
          most > 0 ? static_cast<float>(static_cast<double>(q.sizes[u]) * (scale[u] / most)) : 0.0f;
    block.scale.push_back({most});
  };
  add_level();

  auto frame = scratch.frame();
  pair_scratch memory(frame, n, n, 1);
  first_correlations(block, block, columns(memory.current(n, n), n, 0, padded(n)));
  std::vector<double> largest(n), squares(n);
  for (std::size_t a = 0; a < shape.aggregations; ++a) {
    auto& weights = block.weights.emplace_back(q.counts.size());
    for (std::size_t u = 0; u < n; ++u) {
      largest[u] = 0;
      for (std::size_t k = q.offsets[u]; k < q.offsets[u + 1]; ++k)
        largest[u] = std::max(largest[u], scale[q.neighbors[k]]);
      for (std::size_t k = q.offsets[u]; k < q.offsets[u + 1]; ++k)
        weights[k] = largest[u] > 0 ? static_cast<float>(static_cast<double>(q.counts[k]) *
                                                         (scale[q.neighbors[k]] / largest[u]))
                                    : 0.0f;
    }
    aggregation(block, block, a, false, memory);
    const auto sums = memory.current(n, n);
    for (std::size_t u = 0; u < n; ++u)
      squares[u] = static_cast<double>(sums.data()[u * sums.stride() + u]);
    // After a layer of rectifiers no correlation is below 0.
    if (!Aggregation::exact && a > 0) keep_possible(block.adjacency(a), squares);
    std::vector<float> shrink(padded(n), 0.0f);
    for (std::size_t u = 0; u < n; ++u) {
      const double root = squares[u] > 0 ? std::sqrt(squares[u]) : 0.0;
      shrink[u] = root > 0 ? static_cast<float>(1 / root) : 0.0f;
      scale[u] = largest[u] * root / (shape.by_degree ? q.degree(u) : 1.0);
    }
    for (std::size_t u = 0; u < n; ++u) {
      for (std::size_t k = q.offsets[u]; k < q.offsets[u + 1]; ++k) weights[k] *= shrink[u];
      float* const row = sums.data() + u * sums.stride();
      for (std::size_t v = 0; v < padded(n); ++v) row[v] *= shrink[u] * shrink[v];
      combine_row<false, false>(row, nullptr, padded(n), shape.mlp_depth);
    }
    add_level();
  }
  return block;
}

}  // namespace skim::inline v0::detail
