// SPDX-License-Identifier: Apache-2.0
//
// The graph neural tangent kernel: what an infinitely wide graph neural network, trained to the end,
// makes of the similarity of two graphs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/graph/detail/prepared_graphs.hpp"
#include "skim/graph/graph.hpp"
#include "skim/graph/kernel_params.hpp"

namespace skim::inline v0 {

/// A depth to read the kernel at, and where the values go. A recursion to some depth passes through
/// all lower ones.
struct graph_kernel_readout {
  std::size_t layers = 0;
  bool jumping_knowledge = false;
  matrix_view<double> out;
};

/// The graph neural tangent kernel, exactly.
///
/// Sigma, the covariance of the network's outputs at two nodes, and Theta, its tangent kernel, go
/// through sums over neighbours, A1 Sigma A2^T as two products with sparse matrices, and through the
/// arc-cosine kernels of wide layers; the kernel is the sum of Theta over all pairs of nodes.
/// Nodes with equal surroundings are merged first, equal graphs are computed once, and graphs are
/// taken in blocks whose rows fill the vector registers however small each graph is.
///
/// Shape:   any graphs; a graph without nodes has kernel 0 with all.
/// Memory:  for two graphs of N and M classes of nodes 16 N M bytes; for sets beside it 4 bytes for
///          each layer, node and edge.
/// Cost:    for two graphs layers (nnz(A1) M + N nnz(A2)) FMAs and some 15 mlp_depth N M vector
///          instructions; before, once a graph, half of that with itself.
/// Error:   relative 1e-4 of the value where correlations come close to 1 without reaching it, as a
///          rule below 1e-5. Correlations above 1 - 2^-21 count as 1.
/// Threads: const members may run concurrently; sets take an executor, and give the same values
///          whatever it is.
/// Ref:     Du, Hou, Salakhutdinov, Poczos, Wang, Xu 2019, NeurIPS, arXiv:1905.13192.
class graph_neural_tangent_kernel {
 public:
  using params = graph_kernel_params;

  /// Throws invalid_params unless layers and mlp_depth are between 1 and 256.
  explicit graph_neural_tangent_kernel(params p = {});

  /// The kernel of two graphs. Throws invalid_input as gram() does.
  [[nodiscard]] double operator()(const graph& a, const graph& b) const;

  /// out(i, j) = the kernel of graphs i and j; symmetric to the last bit.
  ///
  /// Throws invalid_input if out has another shape, if feature vectors are wanted and a graph has
  /// none or they differ in length, or if a value is beyond double (many layers of many neighbours,
  /// unscaled): out then holds what it held or values.
  template <executor Executor = serial_executor>
  void gram(std::span<const graph> graphs, matrix_view<double> out, Executor&& ex = {}) const;

  /// The same at several depths up to params().layers, in the time of the deepest.
  template <executor Executor = serial_executor>
  void gram(std::span<const graph> graphs, std::span<const graph_kernel_readout> readouts,
            Executor&& ex = {}) const;

  /// out(i, j) = the kernel of rows[i] and cols[j]. Throws as gram().
  template <executor Executor = serial_executor>
  void cross(std::span<const graph> rows, std::span<const graph> cols, matrix_view<double> out,
             Executor&& ex = {}) const;
  template <executor Executor = serial_executor>
  void cross(std::span<const graph> rows, std::span<const graph> cols,
             std::span<const graph_kernel_readout> readouts, Executor&& ex = {}) const;

  [[nodiscard]] const graph_kernel_params& parameters() const noexcept { return params_; }

 private:
  void check_readouts(std::span<const graph_kernel_readout> readouts, std::size_t rows,
                      std::size_t cols) const;
  template <class Executor>
  void fill(const detail::prepared_graphs& rows, const detail::prepared_graphs& cols,
            bool symmetric, std::span<const graph_kernel_readout> readouts, Executor& ex) const;

  graph_kernel_params params_;
};

/// k(i, j) becomes k(i, j) / sqrt(k(i, i) k(j, j)): graphs of unit length, whatever their size. Rows
/// with a diagonal of 0 become 0. Throws invalid_input unless k is square and its diagonal is finite
/// and not negative; k is then as it was.
inline void normalize_gram(matrix_view<double> k);

}  // namespace skim::inline v0

#include "skim/graph/detail/neural_tangent_kernel_impl.hpp"
