// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/moments.hpp"
#include "skim/core/workspace.hpp"
#include "skim/graph/detail/kernel_recursion.hpp"
#include "skim/graph/kronecker_sketch.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/gemm.hpp"

namespace skim::inline v0 {

inline kronecker_sketch::kronecker_sketch(std::size_t rows, std::size_t cols, params p,
                                          random_engine g)
    : params_(p) {
  if (p.width == 0)
    SKIM_THROW(invalid_params, "kronecker_sketch: got a width of 0, wanted at least 1");
  left_ = draw(rows, p.width, g.child(0));
  right_ = draw(cols, p.width, g.child(1));
  random_engine signs = g.child(2);
  params_.rank = std::min({p.rank, rows, cols});
  probes_.resize(cols * params_.rank);
  for (std::size_t v = 0; v < cols; ++v)
    for (std::size_t k = 0; k < params_.rank; ++k)
      probes_[v * params_.rank + k] = k == 0 || (signs() >> 63) != 0 ? 1.0f : -1.0f;
}

inline kronecker_sketch::side kronecker_sketch::draw(std::size_t n, std::size_t width,
                                                     random_engine g) {
  side s;
  s.bucket.resize(n);
  s.sign.resize(n);
  for (std::size_t u = 0; u < n; ++u) {
    s.bucket[u] = static_cast<id_t>(uniform_below(g, width));
    s.sign[u] = (g() >> 63) != 0 ? 1.0f : -1.0f;
  }
  return s;
}

// out = a S^T, (n, width).
inline void kronecker_sketch::project(sparse_view a, const side& s,
                                      matrix_view<float> out) noexcept {
  for (std::size_t u = 0; u < a.rows(); ++u) {
    const auto row = a.row(u);
    const auto to = out.row(u);
    std::fill(to.begin(), to.end(), 0.0f);
    for (std::size_t k = 0; k < row.nonzeros(); ++k)
      to[s.bucket[row.indices[k]]] += s.sign[row.indices[k]] * row.values[k];
  }
}

// Columns of an orthonormal basis of h times the probes, (rows, rank); zeros where the rank is less.
inline aligned_vector<float> kronecker_sketch::range(matrix_view<const float> h,
                                                     std::size_t rank) const {
  const std::size_t n = h.rows();
  aligned_vector<float> image(n * rank);
  multiply(h, {probes_.data(), h.cols(), rank}, {image.data(), n, rank});
  aligned_vector<float> q(rank * n);  // transposed: vectors are rows
  for (std::size_t k = 0; k < rank; ++k)
    for (std::size_t u = 0; u < n; ++u) q[k * n + u] = image[u * rank + k];
  for (std::size_t k = 0; k < rank; ++k) {
    const std::span<float> x(q.data() + k * n, n);
    const float before = norm(std::span<const float>(x));
    for (int pass = 0; pass < 2; ++pass)  // the second takes out what rounding left
      for (std::size_t l = 0; l < k; ++l) {
        const std::span<const float> y(q.data() + l * n, n);
        axpy(-dot(std::span<const float>(x), y), y, x);
      }
    const float after = norm(std::span<const float>(x));
    const bool new_direction = after > 1e-4f * before;
    for (float& v : x) v = new_direction ? v / after : 0.0f;
  }
  return q;
}

inline void kronecker_sketch::aggregate(sparse_view a1, sparse_view a2, matrix_view<const float> h,
                                        matrix_view<float> out) const {
  const std::size_t n = left_.sign.size(), m = right_.sign.size();
  const std::size_t w = params_.width, rank = params_.rank;
  SKIM_EXPECTS(a1.rows() == n && a1.cols() == n && a2.rows() == m && a2.cols() == m);
  SKIM_EXPECTS(h.rows() == n && h.cols() == m && out.rows() == m && out.cols() == n);

  // The low-rank part q^T (q h), both with vectors as rows.
  aligned_vector<float> q, qh(rank * m);
  if (rank > 0) {
    q = range(h, rank);
    multiply({q.data(), rank, n}, h, {qh.data(), rank, m});
  }

  // S1 (h - q^T q h) S2^T, (w, w).
  aligned_vector<float> folded(w * m, 0.0f), folded_q(w * std::max<std::size_t>(rank, 1), 0.0f);
  for (std::size_t u = 0; u < n; ++u) {
    const std::size_t to = left_.bucket[u];
    axpy(left_.sign[u], h.row(u), std::span(folded).subspan(to * m, m));
    for (std::size_t k = 0; k < rank; ++k) folded_q[to * rank + k] += left_.sign[u] * q[k * n + u];
  }
  aligned_vector<float> core(w * w, 0.0f);
  for (std::size_t i = 0; i < w; ++i) {
    const std::span<float> row(folded.data() + i * m, m);
    for (std::size_t k = 0; k < rank; ++k)
      axpy(-folded_q[i * rank + k], std::span<const float>(qh).subspan(k * m, m), row);
    for (std::size_t v = 0; v < m; ++v) core[i * w + right_.bucket[v]] += right_.sign[v] * row[v];
  }

  // out = [A2 S2^T | A2 (q h)^T] [A1 S1^T core | A1 q^T]^T.
  const std::size_t k = w + rank;
  aligned_vector<float> p1(n * w), right(m * k), left(n * k);
  project(a1, left_, {p1.data(), n, w});
  project(a2, right_, {right.data(), m, w, k});
  multiply({p1.data(), n, w}, {core.data(), w, w}, {left.data(), n, w, k});
  const auto times_vectors = [rank, w, k](sparse_view a, const aligned_vector<float>& vectors,
                                          aligned_vector<float>& to) {
    const std::size_t nodes = a.rows();
    aligned_vector<float> upright(nodes * rank);
    for (std::size_t r = 0; r < rank; ++r)
      for (std::size_t u = 0; u < nodes; ++u) upright[u * rank + r] = vectors[r * nodes + u];
    for (std::size_t u = 0; u < nodes; ++u) {
      const std::span<float> sum(to.data() + u * k + w, rank);
      std::fill(sum.begin(), sum.end(), 0.0f);
      const auto row = a.row(u);
      for (std::size_t i = 0; i < row.nonzeros(); ++i)
        axpy(row.values[i], std::span<const float>(upright).subspan(row.indices[i] * rank, rank),
             sum);
    }
  };
  times_vectors(a1, q, left);
  times_vectors(a2, qh, right);
  multiply_transposed({right.data(), m, k}, {left.data(), n, k}, out);
}

namespace detail {

// A F for the inputs F of a block's nodes: their vectors, or one-hot tags in the order of `tags`.
[[nodiscard]] inline aligned_vector<float> aggregated_inputs(const kernel_block& block,
                                                             std::span<const id_t> tags,
                                                             std::size_t dim) {
  const sparse_view a = block.adjacency(0);
  aligned_vector<float> out(block.nodes() * dim, 0.0f);
  for (std::size_t u = 0; u < block.nodes(); ++u) {
    const sparse_row row = a.row(u);
    const std::span<float> sum(out.data() + u * dim, dim);
    for (std::size_t k = 0; k < row.nonzeros(); ++k) {
      const std::size_t v = row.indices[k];
      if (block.feature_dim > 0) {
        axpy(row.values[k], std::span<const float>(block.features).subspan(v * dim, dim), sum);
      } else {
        const auto at = std::lower_bound(tags.begin(), tags.end(), block.tags[v]);
        sum[static_cast<std::size_t>(at - tags.begin())] += row.values[k];
      }
    }
  }
  return out;
}

/// The aggregations of one recursion, each with sketches of its own but for the first: inputs of few
/// dimensions are summed themselves, which is exact.
struct sketched_aggregation {
  static constexpr bool exact = false;
  static constexpr std::size_t most_dimensions = 1024;

  kronecker_sketch_params params;
  random_engine base;

  void operator()(const kernel_block& rows, const kernel_block& cols, std::size_t aggregation,
                  bool tau, pair_scratch& scratch) const {
    const std::size_t r = rows.nodes(), c = cols.nodes();
    const auto x = scratch.current(r, c), y = scratch.other(c, r);
    const auto fill_up = [&](std::size_t column) {
      for (std::size_t v = 0; v < c; ++v)
        std::fill_n(y.data() + v * y.stride() + column + r, padded(r) - r, 0.0f);
    };
    if (aggregation == 0) {
      std::vector<id_t> tags(rows.tags);
      tags.insert(tags.end(), cols.tags.begin(), cols.tags.end());
      std::sort(tags.begin(), tags.end());
      tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
      const std::size_t dim = rows.feature_dim > 0 ? rows.feature_dim : tags.size();
      if (dim > most_dimensions) return exact_aggregation{}(rows, cols, 0, tau, scratch);
      const auto a = aggregated_inputs(rows, tags, dim), b = aggregated_inputs(cols, tags, dim);
      multiply_transposed({b.data(), c, dim}, {a.data(), r, dim}, columns(y, c, 0, r));
      fill_up(0);
    } else {
      const kronecker_sketch sketch(r, c, params, base.child(aggregation));
      for (std::size_t part = 0; part < (tau ? 2u : 1u); ++part) {
        sketch.aggregate(rows.adjacency(aggregation), cols.adjacency(aggregation),
                         columns<const float>(x, r, part * padded(c), c),
                         columns(y, c, part * padded(r), r));
        fill_up(part * padded(r));
      }
    }
    scratch.exchange();
  }
};

}  // namespace detail

inline sketched_graph_kernel::sketched_graph_kernel(graph_kernel_params kernel,
                                                    graph_sketch_params sketch, seed s)
    : kernel_(kernel), sketch_(sketch), base_(s) {
  detail::check_params(kernel);
  if (sketch.aggregation.width == 0 || sketch.repetitions < 2)
    SKIM_THROW(invalid_params, detail::concat("sketched_graph_kernel: got a width of ",
                                              sketch.aggregation.width, " and ", sketch.repetitions,
                                              " repetitions, wanted at least 1 and 2"));
}

inline std::vector<detail::kernel_block> sketched_graph_kernel::prepared(
    const detail::distinct_graphs& set, std::size_t i, workspace& scratch) const {
  std::vector<detail::kernel_block> out;
  for (std::size_t r = 0; r < sketch_.repetitions; ++r)
    out.push_back(detail::prepare(
        set.classes[i], detail::shape_of(kernel_), i, set.feature_dim, scratch,
        detail::sketched_aggregation{sketch_.aggregation, base_.child(r).child(1)}));
  return out;
}

inline graph_kernel_estimate sketched_graph_kernel::estimate(
    std::span<const detail::kernel_block> a, std::span<const detail::kernel_block> b,
    workspace& scratch) const {
  detail::readout_plan plan;
  plan.after.assign(kernel_.layers, kernel_.jumping_knowledge);
  if (!kernel_.jumping_knowledge) {
    if (kernel_.layers == 1)
      plan.first_aggregation = true;
    else
      plan.after.back() = true;
  }
  std::vector<double> values(sketch_.repetitions, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto take = [&](std::span<const double> v) { values[i] += 2 * v[0]; };
    detail::recur(
        a[i], b[i], detail::shape_of(kernel_), plan, scratch,
        detail::sketched_aggregation{sketch_.aggregation, base_.child(i).child(0)},
        [&](std::size_t, std::span<const double> v) { take(v); }, take);
  }
  graph_kernel_estimate e;
  const auto count = static_cast<double>(values.size());
  for (const double v : values) e.value += v / count;
  double squares = 0;
  for (const double v : values) squares += (v - e.value) * (v - e.value);
  e.standard_error = std::sqrt(squares / (count - 1) / count);
  return e;
}

inline graph_kernel_estimate sketched_graph_kernel::operator()(const graph& a,
                                                               const graph& b) const {
  serial_executor ex;
  const graph both[] = {a, b};
  const auto set = detail::merge_graphs(both, kernel_, ex);
  if (a.nodes() == 0 || b.nodes() == 0) return {};
  std::vector<detail::kernel_block> blocks[2];
  {
    workspace scratch;  // of its own: the recursion of a pair wants twice as much in one piece
    for (std::size_t i = 0; i < set.classes.size(); ++i) blocks[i] = prepared(set, i, scratch);
  }
  workspace scratch;
  return estimate(blocks[0], set.classes.size() == 1 ? blocks[0] : blocks[1], scratch);
}

template <executor Executor>
void sketched_graph_kernel::gram(std::span<const graph> graphs, matrix_view<double> values,
                                 matrix_view<double> errors, Executor&& ex) const {
  for (const auto& m : {values, errors})
    if (m.rows() != graphs.size() || m.cols() != graphs.size())
      SKIM_THROW(invalid_input,
                 detail::concat("sketched_graph_kernel: got a matrix of ", m.rows(), " x ",
                                m.cols(), " for the values of ", graphs.size(), " graphs"));
  const auto set = detail::merge_graphs(graphs, kernel_, ex);
  std::vector<std::vector<detail::kernel_block>> blocks(set.classes.size());
  ex.parallel_for(blocks.size(), 1, [&](std::size_t first, std::size_t last) {
    workspace scratch;
    for (std::size_t i = first; i < last; ++i) blocks[i] = prepared(set, i, scratch);
  });
  for (std::size_t i = 0; i < graphs.size(); ++i) {
    std::fill(values.row(i).begin(), values.row(i).end(), 0.0);
    std::fill(errors.row(i).begin(), errors.row(i).end(), 0.0);
  }
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t i = 0; i < blocks.size(); ++i)
    for (std::size_t j = i; j < blocks.size(); ++j) pairs.emplace_back(i, j);
  ex.parallel_for(pairs.size(), 1, [&](std::size_t first, std::size_t last) {
    workspace scratch;
    for (std::size_t p = first; p < last; ++p) {
      const auto [g, h] = pairs[p];
      const graph_kernel_estimate e = estimate(blocks[g], blocks[h], scratch);
      for (const std::size_t i : set.copies[g]) {
        for (const std::size_t j : set.copies[h]) {
          values.row(i)[j] = values.row(j)[i] = e.value;
          errors.row(i)[j] = errors.row(j)[i] = e.standard_error;
        }
      }
    }
  });
}

}  // namespace skim::inline v0
