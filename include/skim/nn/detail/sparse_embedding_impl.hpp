// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "skim/core/error.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/nn/sparse_embedding.hpp"

namespace skim::inline v0 {

namespace detail {

// to = start + sum of factor_i row_i over n rows, each next one asked for early.
template <class Arch = simd::default_arch, class At>
inline void weighted_sum(std::size_t n, std::size_t dim, const float* start, At at,
                         float* to) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t packs = 8, ahead = 6;
  constexpr std::size_t tile = packs * pack::size;
  std::size_t k = 0;
  for (; k + tile <= dim; k += tile) {
    std::array<pack, packs> sum;
    for (std::size_t p = 0; p < packs; ++p)
      sum[p] = start ? pack::load(start + k + p * pack::size) : pack::broadcast(0.0f);
    for (std::size_t i = 0; i < n; ++i) {
      if (i + ahead < n) {
        const float* next = at(i + ahead).second + k;
        for (std::size_t p = 0; p < tile; p += cache_line / sizeof(float)) SKIM_PREFETCH(next + p);
      }
      const auto [factor, row] = at(i);
      const pack f = pack::broadcast(factor);
      for (std::size_t p = 0; p < packs; ++p)
        sum[p] = simd::fma(f, pack::load(row + k + p * pack::size), sum[p]);
    }
    for (std::size_t p = 0; p < packs; ++p) sum[p].store(to + k + p * pack::size);
  }
  if (k == dim) return;
  for (std::size_t j = k; j < dim; ++j) to[j] = start ? start[j] : 0.0f;
  for (std::size_t i = 0; i < n; ++i) {
    const auto [factor, row] = at(i);
    axpy<Arch>(factor, {row + k, dim - k}, {to + k, dim - k});
  }
}

}  // namespace detail

inline const char* sparse_embedding::problem(const params& p) noexcept {
  constexpr std::size_t most = std::size_t{1} << 31;
  if (p.inputs == 0 || p.outputs == 0) return "wanted at least one token and one output";
  if (p.inputs > most) return "wanted at most 2^31 tokens";
  if (p.outputs > (std::size_t{1} << 40) / p.inputs) return "wanted at most 2^40 weights";
  if (!(p.deviation >= 0 && std::isfinite(p.deviation)))
    return "wanted a finite deviation of at least 0";
  return nullptr;
}

inline sparse_embedding::sparse_embedding(params p)
    : params_(p),
      stride_(detail::whole_lines(p.outputs)),
      weights_(p.inputs * stride_),
      biases_(p.outputs),
      optimizer_(p.optimizer, p.inputs, p.outputs),
      bias_optimizer_(p.optimizer, 1, p.outputs),
      slots_(p.inputs) {}

inline sparse_embedding::sparse_embedding(params p, seed s)
    : sparse_embedding([&] {
        if (const char* wrong = problem(p))
          SKIM_THROW(invalid_params,
                     detail::concat("sparse_embedding: got ", p.inputs, " tokens, ", p.outputs,
                                    " outputs and a deviation of ", p.deviation, ", ", wrong));
        return p;
      }()) {
  const random_engine root(s);
  for (std::size_t t = 0; t < p.inputs; ++t) {
    random_engine g = root.child(t);
    for (float& w : weights().row(t)) w = static_cast<float>(p.deviation * normal(g));
  }
}

// Distinct tokens of the rows, and for each its occurrences in the order of the batch.
inline void sparse_embedding::turn(const sparse_view& x, std::span<const id_t> rows) {
  batch_ = 0;
  tokens_.clear();
  counts_.clear();
  std::size_t total = 0;
  for (const id_t r : rows) {
    const sparse_row row = x.row(r);
    total += row.nonzeros();
    for (std::size_t i = 0; i < row.nonzeros(); ++i) {
      const id_t token = row.indices[i];
      if (token >= params_.inputs || !std::isfinite(row.values[i]))
        SKIM_THROW(invalid_input,
                   detail::concat("sparse_embedding::forward: got the token ", token,
                                  " with the value ", row.values[i], ", wanted tokens below ",
                                  params_.inputs, " and finite values"));
      const std::uint32_t slot = slots_[token];
      if (slot < tokens_.size() && tokens_[slot] == token) {
        ++counts_[slot];
      } else {
        slots_[token] = static_cast<std::uint32_t>(tokens_.size());
        tokens_.push_back(token);
        counts_.push_back(1);
      }
    }
  }
  if (total > std::numeric_limits<std::uint32_t>::max())
    SKIM_THROW(invalid_input, detail::concat("sparse_embedding::forward: got a batch of ", total,
                                             " nonzeros, wanted fewer than 2^32"));
  starts_.resize(tokens_.size() + 1);
  starts_[0] = 0;
  for (std::size_t s = 0; s < tokens_.size(); ++s) {
    starts_[s + 1] = starts_[s] + counts_[s];
    counts_[s] = starts_[s];  // from here on: where the token's next occurrence goes
  }
  occurrences_.resize(total);
  for (std::size_t b = 0; b < rows.size(); ++b) {
    const sparse_row row = x.row(rows[b]);
    for (std::size_t i = 0; i < row.nonzeros(); ++i)
      occurrences_[counts_[slots_[row.indices[i]]]++] = {static_cast<std::uint32_t>(b),
                                                         row.values[i]};
  }
  batch_ = rows.size();
}

template <executor Executor>
void sparse_embedding::forward(const sparse_view& x, std::span<const id_t> rows,
                               matrix_view<float> out, Executor& executor) {
  if (out.rows() != rows.size() || out.cols() != params_.outputs)
    SKIM_THROW(invalid_input, detail::concat("sparse_embedding::forward: got room for ", out.rows(),
                                             " x ", out.cols(), " outputs, wanted ", rows.size(),
                                             " x ", params_.outputs));
  for (const id_t r : rows)
    if (r >= x.rows())
      SKIM_THROW(invalid_input, detail::concat("sparse_embedding::forward: got the row ", r,
                                               ", wanted one below ", x.rows()));
  turn(x, rows);
  const matrix_view<float> w = weights();
  executor.parallel_for(tokens_.size(), 256, [&](std::size_t first, std::size_t last) {
    constexpr std::size_t ahead = 4;
    for (std::size_t s = first; s < last; ++s) {
      if (s + ahead < last) {
        optimizer_.prefetch(tokens_[s + ahead]);
        const float* next = w.row(tokens_[s + ahead]).data();
        for (std::size_t k = 0; k < stride_; k += detail::line_floats) SKIM_PREFETCH(next + k);
      }
      float none = 0;
      optimizer_.catch_up(tokens_[s], w.row(tokens_[s]), none);
    }
  });
  float none = 0;
  bias_optimizer_.catch_up(0, biases_, none);
  executor.parallel_for(rows.size(), 16, [&](std::size_t first, std::size_t last) {
    for (std::size_t b = first; b < last; ++b) predict(x.row(rows[b]), out.row(b));
  });
}

inline void sparse_embedding::predict(sparse_row x, std::span<float> out) const noexcept {
  SKIM_EXPECTS(out.size() == params_.outputs);
  detail::weighted_sum(
      x.nonzeros(), params_.outputs, biases_.data(),
      [&](std::size_t i) SKIM_INLINE_LAMBDA {
        SKIM_EXPECTS(x.indices[i] < params_.inputs);
        return std::pair<float, const float*>(x.values[i],
                                              weights_.data() + x.indices[i] * stride_);
      },
      out.data());
}

template <executor Executor>
void sparse_embedding::backward(const sparse_view& x, std::span<const id_t> rows,
                                matrix_view<const float> gradient, double rate,
                                Executor& executor) {
  static_cast<void>(x);
  if (batch_ == 0 || rows.size() != batch_)
    SKIM_THROW(invalid_input,
               detail::concat("sparse_embedding::backward: got ", rows.size(), " rows, wanted the ",
                              batch_, " of a forward pass since the last step"));
  if (gradient.rows() != rows.size() || gradient.cols() != params_.outputs)
    SKIM_THROW(invalid_input, detail::concat("sparse_embedding::backward: got ", gradient.rows(),
                                             " x ", gradient.cols(), " gradients, wanted ",
                                             rows.size(), " x ", params_.outputs));
  for (std::size_t b = 0; b < gradient.rows(); ++b)
    if (!all_finite(gradient.row(b)))
      SKIM_THROW(invalid_input, detail::concat("sparse_embedding::backward: got a gradient that is "
                                               "not finite in row ",
                                               b, ", wanted finite ones"));
  optimizer_.begin_step(rate);
  bias_optimizer_.begin_step(rate);
  batch_ = 0;
  const matrix_view<float> w = weights();
  const std::size_t tasks = std::min<std::size_t>(std::max<std::size_t>(executor.workers(), 1),
                                                  std::max<std::size_t>(tokens_.size(), 1));
  if (gradients_.size() < tasks * stride_) gradients_.resize(tasks * stride_);
  executor.parallel_for(tasks, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t t = begin; t < end; ++t) {
      const std::span<float> sum(gradients_.data() + t * stride_, params_.outputs);
      const std::size_t last = tokens_.size() * (t + 1) / tasks;
      for (std::size_t s = tokens_.size() * t / tasks; s < last; ++s) {
        if (s + 2 < last) {
          optimizer_.prefetch(tokens_[s + 2]);
          const float* next = w.row(tokens_[s + 2]).data();
          for (std::size_t k = 0; k < stride_; k += detail::line_floats) SKIM_PREFETCH(next + k);
        }
        const occurrence* of = occurrences_.data() + starts_[s];
        detail::weighted_sum(
            starts_[s + 1] - starts_[s], params_.outputs, nullptr,
            [&](std::size_t i) SKIM_INLINE_LAMBDA {
              return std::pair<float, const float*>(
                  of[i].value, gradient.data() + of[i].row * gradient.stride());
            },
            sum.data());
        float none = 0;
        optimizer_.update(tokens_[s], w.row(tokens_[s]), sum, none, 0.0f);
      }
    }
  });
  optimizer_.end_step(w, {});
  const std::span<float> sum(gradients_.data(), params_.outputs);
  std::fill(sum.begin(), sum.end(), 0.0f);
  for (std::size_t b = 0; b < gradient.rows(); ++b) axpy(1.0f, gradient.row(b), sum);
  float none = 0;
  bias_optimizer_.update(0, biases_, sum, none, 0.0f);
  bias_optimizer_.end_step({biases_.data(), 1, biases_.size()}, {});
}

inline void sparse_embedding::settle() noexcept {
  optimizer_.settle(weights(), {});
  bias_optimizer_.settle({biases_.data(), 1, biases_.size()}, {});
}

inline std::size_t sparse_embedding::bytes() const noexcept {
  return sizeof(float) * (weights_.size() + biases_.size() + slots_.size()) + optimizer_.bytes() +
         bias_optimizer_.bytes();
}

inline void sparse_embedding::save(writer& out) const {
  out.begin_frame("sparse_embedding");
  out.put(static_cast<std::uint64_t>(params_.inputs));
  out.put(static_cast<std::uint64_t>(params_.outputs));
  out.put(params_.deviation);
  out.put(std::span<const float>(weights_));
  out.put(std::span<const float>(biases_));
  optimizer_.save(out);
  bias_optimizer_.save(out);
  out.end_frame();
}

inline sparse_embedding sparse_embedding::load(reader& in) {
  in.begin_frame("sparse_embedding");
  params p;
  p.inputs = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.outputs = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.deviation = in.get<double>();
  if (const char* wrong = problem(p)) in.fail("sparse_embedding: ", wrong);
  if (p.inputs > in.remaining() / sizeof(float) / detail::whole_lines(p.outputs))
    in.fail("sparse_embedding: ", p.inputs, " x ", p.outputs, " weights are announced, ",
            in.remaining(), " bytes remain");
  const auto weights = in.get_vector<float>();
  const auto biases = in.get_vector<float>();
  lazy_optimizer optimizer = lazy_optimizer::load(in), bias_optimizer = lazy_optimizer::load(in);
  p.optimizer = optimizer.parameters();
  if (optimizer.rows() != p.inputs || optimizer.dim() != p.outputs || bias_optimizer.rows() != 1 ||
      bias_optimizer.dim() != p.outputs)
    in.fail("sparse_embedding: optimisers of ", optimizer.rows(), " x ", optimizer.dim(), " and ",
            bias_optimizer.rows(), " x ", bias_optimizer.dim(), ", wanted ", p.inputs, " x ",
            p.outputs, " and 1 x ", p.outputs);
  sparse_embedding loaded(p);
  if (weights.size() != loaded.weights_.size() || biases.size() != p.outputs)
    in.fail("sparse_embedding: ", weights.size(), " weights and ", biases.size(),
            " biases, wanted ", loaded.weights_.size(), " and ", p.outputs);
  if (!all_finite(weights) || !all_finite(biases))
    in.fail("sparse_embedding: a weight is no number");
  std::copy(weights.begin(), weights.end(), loaded.weights_.begin());
  std::copy(biases.begin(), biases.end(), loaded.biases_.begin());
  loaded.optimizer_ = std::move(optimizer);
  loaded.bias_optimizer_ = std::move(bias_optimizer);
  in.end_frame();
  return loaded;
}

}  // namespace skim::inline v0
