// SPDX-License-Identifier: Apache-2.0
//
// The recursion of the graph neural tangent kernel over two blocks of graphs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/graph/detail/kernel_block.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0::detail {

/// What is read out of the recursion: the sums over all pairs of nodes of Theta after so many
/// layers of rectifiers (0: of Sigma before everything), and of Sigma after the first aggregation.
struct readout_plan {
  std::vector<bool> after;  ///< [layers of rectifiers]
  bool first_aggregation = false;
};

/// values(g, h) = sum over the nodes u of graph g and v of graph h of readout(u) readout(v) x(u, v),
/// times the graphs' scales. The values are (rows' graphs, columns' graphs), row after row.
inline void read_out(const kernel_block& rows, const kernel_block& cols, std::size_t level,
                     matrix_view<const float> x, std::span<double> values) {
  std::vector<float> sums(x.cols());
  const std::size_t width = cols.graphs.size();
  for (std::size_t g = 0; g < rows.graphs.size(); ++g) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (std::size_t u = rows.first[g]; u < rows.first[g + 1]; ++u)
      axpy(rows.readout[level][u], x.row(u), sums);
    for (std::size_t h = 0; h < width; ++h) {
      double sum = 0;
      for (std::size_t v = cols.first[h]; v < cols.first[h + 1]; ++v)
        sum += static_cast<double>(cols.readout[level][v]) * static_cast<double>(sums[v]);
      values[g * width + h] = rows.scale[level][g] * cols.scale[level][h] * sum;
    }
  }
}

/// Calls emit(layers of rectifiers, values) for what the plan asks, in ascending order, and
/// emit_first(values) for Sigma after the first aggregation; the values are (a's graphs, b's).
///
/// The current matrix is transposed by each aggregation: its rows are now a's nodes, now b's.
template <class Aggregation, class Emit, class EmitFirst>
inline void recur(const kernel_block& a, const kernel_block& b, const recursion_shape& shape,
                  const readout_plan& plan, workspace& scratch, const Aggregation& aggregation,
                  Emit emit, EmitFirst emit_first) {
  const kernel_block *rows = &a, *cols = &b;
  auto frame = scratch.frame();
  pair_scratch memory(frame, a.nodes(), b.nodes(), plan.after.size() > 1 ? 2 : 1);
  std::vector<double> values(a.graphs.size() * b.graphs.size()), turned(values.size());

  const auto read = [&](std::size_t level, std::size_t column) -> std::span<const double> {
    const auto m = memory.current(rows->nodes(), cols->nodes());
    read_out(*rows, *cols, level,
             columns<const float>(m, rows->nodes(), column, padded(cols->nodes())), values);
    if (rows == &a) return values;
    for (std::size_t g = 0; g < a.graphs.size(); ++g)
      for (std::size_t h = 0; h < b.graphs.size(); ++h)
        turned[g * b.graphs.size() + h] = values[h * a.graphs.size() + g];
    return turned;
  };

  first_correlations(*rows, *cols,
                     columns(memory.current(rows->nodes(), cols->nodes()), rows->nodes(), 0,
                             padded(cols->nodes())));
  if (plan.after[0]) emit(std::size_t{0}, read(0, 0));
  const std::size_t blocks = plan.after.size() - 1;
  for (std::size_t layer = 0; layer < std::max<std::size_t>(blocks, 1); ++layer) {
    aggregation(*rows, *cols, layer, layer > 0, memory);
    std::swap(rows, cols);
    if (layer == 0 && plan.first_aggregation) emit_first(read(1, 0));
    if (blocks == 0) return;
    const auto m = memory.current(rows->nodes(), cols->nodes());
    const std::size_t width = padded(cols->nodes());
    for (std::size_t u = 0; u < rows->nodes(); ++u) {
      float* const rho = m.data() + u * m.stride();
      if (layer == 0)
        combine_row<true, true>(rho, rho + width, width, shape.mlp_depth);
      else
        combine_row<true, false>(rho, rho + width, width, shape.mlp_depth);
    }
    if (plan.after[layer + 1]) emit(layer + 1, read(layer + 1, width));
  }
}

}  // namespace skim::inline v0::detail
