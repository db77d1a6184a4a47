// SPDX-License-Identifier: Apache-2.0
//
// Products of a batch with some rows of a large matrix, at the rate of a dense product: the rows are
// copied once into the panels that project() reads, where a whole batch shares them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/linalg/transpose.hpp"

namespace skim::inline v0 {

/// Rows that are packed and multiplied at a time: with a batch of 256 they and their share of the
/// results stay in the second-level cache.
inline constexpr std::size_t gathered_block = 128;

/// Epilogue of project(): as store_epilogue, with a term added to each output.
struct bias_epilogue {
  float* out;
  std::size_t stride;
  std::size_t outputs;
  const float* terms;  ///< one an output, filled up to a multiple of 16

  template <class Arch>
  SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                     const panel_result<Arch>& r) const noexcept {
    using pack = simd::floats<Arch>;
    panel_result<Arch> sum;
    for (std::size_t v = 0; v < r.size(); ++v)
      sum[v] = r[v] + pack::load(terms + panel * panel_width + v * pack::size);
    store_epilogue{out, stride, outputs}.template operator()<Arch>(row, panel, sum);
  }
};

/// Epilogue of project(): adds the results to what is there.
struct add_epilogue {
  float* out;
  std::size_t stride;
  std::size_t outputs;

  template <class Arch>
  SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                     const panel_result<Arch>& r) const noexcept {
    using pack = simd::floats<Arch>;
    const std::size_t first = panel * panel_width;
    float* to = out + row * stride + first;
    if (outputs - first >= panel_width) {
      for (std::size_t v = 0; v < r.size(); ++v)
        (pack::load(to + v * pack::size) + r[v]).store(to + v * pack::size);
    } else {
      std::array<float, panel_width> whole;
      for (std::size_t v = 0; v < r.size(); ++v) r[v].store(whole.data() + v * pack::size);
      for (std::size_t j = 0; j < outputs - first; ++j) to[j] += whole[j];
    }
  }
};

/// Rows `ids` of w as the outputs of a panel_matrix: project(x, out, ..) then gives x w[ids]'.
///
/// Cost:    one read and one write a weight. Pre: ids below w.rows().
/// Threads: reads w only; one caller an `out`.
template <class Arch = simd::default_arch>
inline void pack_rows(matrix_view<const float> w, std::span<const id_t> ids, panel_matrix& out) {
  const std::size_t dim = w.cols(), n = ids.size();
  out.reshape(n, dim);
  constexpr std::size_t line = cache_line / sizeof(float);
  for (std::size_t first = 0; first < out.panels() * panel_width; first += 8) {
    for (std::size_t o = first + 8; o < std::min(first + 16, n); ++o) {
      const float* next = w.data() + ids[o] * w.stride();
      for (std::size_t k = 0; k < dim; k += line) SKIM_PREFETCH(next + k);
    }
    const std::size_t here = first < n ? std::min<std::size_t>(8, n - first) : 0;
    std::array<const float*, 8> rows{};
    for (std::size_t r = 0; r < here; ++r) {
      SKIM_EXPECTS(ids[first + r] < w.rows());
      rows[r] = w.data() + ids[first + r] * w.stride();
    }
    float* to = out.panel(first / panel_width) + first % panel_width;
    std::size_t k = 0;
    if (here == 8) {
      for (; k + 8 <= dim; k += 8) {
        simd::transpose_8x8<Arch>(rows, to + k * panel_width, panel_width);
        for (const float*& p : rows) p += 8;
      }
    }
    for (std::size_t r = 0; r < 8; ++r)
      for (std::size_t j = k; j < dim; ++j)
        to[j * panel_width + r] = r < here ? rows[r][j - k] : 0.0f;
  }
}

/// The columns of w's rows `ids` as the outputs of a panel_matrix whose coordinates are the rows:
/// project(g, out, ..) then gives g w[ids]. Without ids: of all rows.
///
/// Cost:    one read and one write a weight. Pre: ids below w.rows().
/// Threads: reads w only; one caller an `out`.
inline void pack_columns(matrix_view<const float> w, std::span<const id_t> ids, panel_matrix& out) {
  const std::size_t cols = w.cols();
  out.reshape(cols, ids.size());
  constexpr std::size_t ahead = 8;
  for (std::size_t k = 0; k < ids.size(); ++k) {
    SKIM_EXPECTS(ids[k] < w.rows());
    if (k + ahead < ids.size()) {
      const float* next = w.data() + ids[k + ahead] * w.stride();
      for (std::size_t j = 0; j < cols; j += cache_line / sizeof(float)) SKIM_PREFETCH(next + j);
    }
    const float* row = w.data() + ids[k] * w.stride();
    for (std::size_t p = 0; p < out.panels(); ++p) {
      float* to = out.panel(p) + k * panel_width;
      const std::size_t count = std::min(panel_width, cols - p * panel_width);
      if (count == panel_width) {
        std::memcpy(to, row + p * panel_width, panel_width * sizeof(float));
      } else {
        std::fill_n(std::copy_n(row + p * panel_width, count, to), panel_width - count, 0.0f);
      }
    }
  }
}
inline void pack_columns(matrix_view<const float> w, panel_matrix& out) {
  const std::size_t cols = w.cols();
  out.reshape(cols, w.rows());
  for (std::size_t p = 0; p < out.panels(); ++p) {
    const std::size_t count = std::min(panel_width, cols - p * panel_width);
    float* to = out.panel(p);
    for (std::size_t k = 0; k < w.rows(); ++k, to += panel_width)
      std::fill_n(std::copy_n(w.data() + k * w.stride() + p * panel_width, count, to),
                  panel_width - count, 0.0f);
  }
}

/// Memory that the products below pack into; grows to the largest shape and stays.
///
/// Memory:  (dim + batch) 128 floats, and batch dim in gathered_inputs().
/// Cost:    none but the memory.
/// Threads: none: one for each thread at work.
class gathered_scratch {
 public:
  panel_matrix panels;           ///< packed rows of the matrix
  aligned_vector<float> turned;  ///< a block of gradients, turned
  aligned_vector<float> terms;   ///< biases of a block
};

/// out = x w[ids]' + bias[ids]: inner products of the batch with the gathered rows.
///
/// Shape:   x (batch, dim), w (n, dim), bias (n) or empty, out (batch, ids). Pre: the shapes fit, ids
///          below n.
/// Cost:    2 batch dim |ids| operations near the rate of a dense product; packing reads each row
///          once. No allocation once the scratch has seen the shape.
/// Error:   as project(): one chain of FMAs an output, the same for any batch and any set of ids.
/// Threads: for disjoint ids and columns of out from several threads, each with its scratch.
template <class Arch = simd::default_arch>
inline void multiply_gathered(matrix_view<const float> x, matrix_view<const float> w,
                              std::span<const float> bias, std::span<const id_t> ids,
                              matrix_view<float> out, gathered_scratch& scratch) {
  SKIM_EXPECTS(x.cols() == w.cols() && out.rows() == x.rows() && out.cols() == ids.size());
  SKIM_EXPECTS(bias.empty() || bias.size() == w.rows());
  scratch.terms.resize(gathered_block);
  for (std::size_t first = 0; first < ids.size(); first += gathered_block) {
    const auto block = ids.subspan(first, std::min(gathered_block, ids.size() - first));
    pack_rows<Arch>(w, block, scratch.panels);
    if (bias.empty()) {
      project<store_epilogue, Arch>(x, scratch.panels,
                                    store_epilogue{out.data() + first, out.stride(), block.size()});
    } else {
      std::fill(scratch.terms.begin(), scratch.terms.end(), 0.0f);
      for (std::size_t j = 0; j < block.size(); ++j) scratch.terms[j] = bias[block[j]];
      project<bias_epilogue, Arch>(
          x, scratch.panels,
          bias_epilogue{out.data() + first, out.stride(), block.size(), scratch.terms.data()});
    }
  }
}

/// out = g w[ids]: what comes back through the gathered rows.
///
/// Shape:   g (batch, ids), w (n, dim), out (batch, dim). Pre: the shapes fit, ids below n.
/// Cost:    as multiply_gathered.
/// Error:   each element is a sum over blocks of 128 ids, in order, of chains of FMAs: it depends on
///          the order of the ids, not on the batch.
/// Threads: for disjoint rows of g and out from several threads, each with its scratch.
template <class Arch = simd::default_arch>
inline void multiply_back(matrix_view<const float> g, matrix_view<const float> w,
                          std::span<const id_t> ids, matrix_view<float> out,
                          gathered_scratch& scratch) {
  SKIM_EXPECTS(g.cols() == ids.size() && out.rows() == g.rows() && out.cols() == w.cols());
  for (std::size_t i = 0; i < out.rows(); ++i) std::fill_n(out.row(i).begin(), out.cols(), 0.0f);
  for (std::size_t first = 0; first < ids.size(); first += gathered_block) {
    const auto block = ids.subspan(first, std::min(gathered_block, ids.size() - first));
    pack_columns(w, block, scratch.panels);
    const matrix_view<const float> part(g.data() + first, g.rows(), block.size(), g.stride());
    project<add_epilogue, Arch>(part, scratch.panels,
                                add_epilogue{out.data(), out.stride(), out.cols()});
  }
}

/// out = g' x: gradients of the gathered rows, and sums of g's columns, those of their biases.
///
/// Shape:   g (batch, m), x (batch, dim) as pack_columns(x, packed) left it, out (m, dim), sums (m).
///          Pre: the shapes fit, m of at most a few hundred (a block that stays in cache).
/// Cost:    as multiply_gathered.
/// Error:   one chain of FMAs over the batch an element; sums from first to last.
/// Threads: for disjoint columns of g and rows of out from several threads, each with its scratch.
template <class Arch = simd::default_arch>
inline void multiply_turned(matrix_view<const float> g, const panel_matrix& packed,
                            matrix_view<float> out, std::span<float> sums,
                            gathered_scratch& scratch) {
  SKIM_EXPECTS(packed.dim() == g.rows() && out.rows() == g.cols());
  SKIM_EXPECTS(out.cols() == packed.outputs() && sums.size() == g.cols());
  const std::size_t batch = g.rows(), m = g.cols();
  if (scratch.turned.size() < m * batch) scratch.turned.resize(m * batch);
  const matrix_view<float> turned(scratch.turned.data(), m, batch);
  transpose<Arch>(g, turned);
  std::fill(sums.begin(), sums.end(), 0.0f);
  for (std::size_t i = 0; i < batch; ++i) {
    const float* row = g.data() + i * g.stride();
    for (std::size_t j = 0; j < m; ++j) sums[j] += row[j];
  }
  project<store_epilogue, Arch>(turned, packed,
                                store_epilogue{out.data(), out.stride(), out.cols()});
}

}  // namespace skim::inline v0
