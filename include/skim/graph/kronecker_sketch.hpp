// SPDX-License-Identifier: Apache-2.0
//
// The graph neural tangent kernel of graphs of thousands of nodes, with sketched aggregations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/graph/detail/prepared_graphs.hpp"
#include "skim/graph/graph.hpp"
#include "skim/graph/kernel_params.hpp"

namespace skim::inline v0 {

/// Sizes of a kronecker_sketch.
struct kronecker_sketch_params {
  std::size_t width = 32;  ///< rows of each sketch
  std::size_t rank = 16;   ///< of the part that is not sketched; 0: everything is, as published
};

/// A1 H A2^T without the product: a low-rank part Q Q^T H exactly, through (A1 Q) (Q^T H A2^T), and
/// the rest R = H - Q Q^T H through (A1 S1^T) (S1 R S2^T) (S2 A2^T).
///
/// Q is an orthonormal basis of H times `rank` random sign vectors, the first all ones. Covariances
/// of nodes are close to matrices of low rank: what is left for the sketch is small, and so is its
/// noise, which for H itself would need a width beyond the number of nodes.
/// S1 and S2 have one random sign a column, in a random row.
///
/// Shape:   a1 (n, n), a2 (m, m), h (n, m), out (m, n): the result is transposed.
/// Memory:  about 4 (width + rank) (3 n + 3 m) bytes a call.
/// Cost:    nnz(a1) rank + nnz(a2) rank + n m additions, and dense products of n m (width + 3 rank)
///          FMAs.
/// Error:   without bias; the variance of an entry falls as 1 / width.
/// Threads: const members may run concurrently.
/// Seeds:   equal seeds give equal sketches on every platform.
/// Ref:     Jiang, Man, Song, Yu, Zhuo 2022, AAAI, arXiv:2112.02446 (sketching both sides);
///          Charikar, Chen, Farach-Colton 2002, ICALP (one sign a column);
///          Halko, Martinsson, Tropp 2011, SIAM Review 53(2) (the low-rank part).
class kronecker_sketch {
 public:
  using params = kronecker_sketch_params;

  /// For matrices h of (rows, cols). Throws invalid_params if the width is 0.
  kronecker_sketch(std::size_t rows, std::size_t cols, params p, random_engine g);

  /// out = an estimate of (a1 h a2^T)^T. Pre: the shapes fit.
  void aggregate(sparse_view a1, sparse_view a2, matrix_view<const float> h,
                 matrix_view<float> out) const;

  [[nodiscard]] const params& parameters() const noexcept { return params_; }

 private:
  struct side {
    std::vector<id_t> bucket;
    std::vector<float> sign;
  };
  [[nodiscard]] static side draw(std::size_t n, std::size_t width, random_engine g);
  static void project(sparse_view a, const side& s, matrix_view<float> out) noexcept;
  [[nodiscard]] aligned_vector<float> range(matrix_view<const float> h, std::size_t rank) const;

  params params_;
  side left_, right_;
  aligned_vector<float> probes_;  // (cols, rank)
};

/// Sizes of a sketched_graph_kernel.
struct graph_sketch_params {
  kronecker_sketch_params aggregation = {};
  std::size_t repetitions = 2;  ///< independent recursions that are averaged
};

/// A kernel value and what its repetitions say of its error.
struct graph_kernel_estimate {
  double value = 0;
  /// Standard error of the mean of the repetitions. Does not see the bias that clipping noisy
  /// correlations to [-1, 1] leaves.
  double standard_error = 0;
};

/// graph_neural_tangent_kernel with sketched aggregations, for graphs of thousands of nodes with many
/// neighbours each; for smaller or sparser ones the exact kernel is faster.
///
/// The first aggregation is exact where inputs have at most 1024 dimensions (or different tags).
/// Diagonals, which set the scale of all correlations, come from the sketched recursion of a graph
/// with itself.
///
/// Shape:   as graph_neural_tangent_kernel.
/// Memory:  for two graphs of N and M nodes 16 N M bytes and the sketches' of both.
/// Cost:    repetitions * layers aggregations as kronecker_sketch says, and the arc-cosine kernels;
///          once a graph as much for the graph with itself.
/// Error:   see graph_kernel_estimate; grows with the layers. Nodes of few neighbours in a graph
///          where others have many get the noise of the whole matrix.
/// Threads: const members may run concurrently; gram() gives the same values with any executor.
/// Seeds:   equal seeds give equal sketches on every platform.
/// Ref:     as kronecker_sketch; the recursion as graph_neural_tangent_kernel.
class sketched_graph_kernel {
 public:
  /// Throws invalid_params for a width of 0, fewer than two repetitions, or as
  /// graph_neural_tangent_kernel.
  sketched_graph_kernel(graph_kernel_params kernel, graph_sketch_params sketch, seed s);

  /// Throws invalid_input as graph_neural_tangent_kernel.
  [[nodiscard]] graph_kernel_estimate operator()(const graph& a, const graph& b) const;

  /// values(i, j) of graphs i and j, symmetric; errors(i, j) beside them.
  template <executor Executor = serial_executor>
  void gram(std::span<const graph> graphs, matrix_view<double> values, matrix_view<double> errors,
            Executor&& ex = {}) const;

  [[nodiscard]] const graph_kernel_params& parameters() const noexcept { return kernel_; }
  [[nodiscard]] const graph_sketch_params& sketch() const noexcept { return sketch_; }

 private:
  [[nodiscard]] std::vector<detail::kernel_block> prepared(const detail::distinct_graphs& set,
                                                           std::size_t i, workspace& scratch) const;
  [[nodiscard]] graph_kernel_estimate estimate(std::span<const detail::kernel_block> a,
                                               std::span<const detail::kernel_block> b,
                                               workspace& scratch) const;

  graph_kernel_params kernel_;
  graph_sketch_params sketch_;
  random_engine base_;
};

}  // namespace skim::inline v0

#include "skim/graph/detail/kronecker_sketch_impl.hpp"
