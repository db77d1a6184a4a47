// SPDX-License-Identifier: Apache-2.0
//
// First layer of a network over sparse rows: each token has a row of weights, and a batch reads and
// trains those of its own tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/nn/lazy_optimizer.hpp"

namespace skim::inline v0 {

struct sparse_embedding_params {
  std::size_t inputs = 0;     ///< tokens
  std::size_t outputs = 128;  ///< width of the layer behind
  double deviation = 1;       ///< of the first weights; 1 suits rows of unit norm
  lazy_optimizer_params optimizer = {};
};

/// Linear layer over sparse inputs: out_b = bias + sum over the tokens of x_b of value * w[token].
///
/// Weights lie token by token, so an input reads whole rows; the batch is turned once by token, so
/// that each row's gradient is summed in registers and cache and handed to the optimiser at once.
///
///   layer.forward(x, rows, hidden);                  // x (n, inputs) sparse, rows: ids of a batch
///   layer.backward(x, rows, hidden_gradient, rate);
///
/// Shape:   x (n, inputs), rows (batch) ids below n, hidden (batch, outputs).
/// Memory:  12 bytes a weight with Adam, 8 with momentum; 8 bytes a token; 8 a nonzero of a batch.
/// Cost:    4 operations a nonzero of the batch and output, one pass of the optimiser over the rows of
///          the batch's distinct tokens. No allocation once the batch with most nonzeros has been seen.
/// Error:   as sparse_linear.
/// Threads: members that are not const alone; they use the executor's threads, and the result is the
///          same to the last bit for any number of them. const members may run at once.
/// Seeds:   as sparse_linear.
/// Ref:     arXiv:2303.17727 (BOLT's embedding layer, token by token).
class sparse_embedding {
 public:
  using params = sparse_embedding_params;

  /// Weights normal with the given deviation, biases zero. Throws invalid_params for sizes of zero or
  /// beyond 2^31 tokens, a deviation that is negative or not finite, and as lazy_optimizer does.
  sparse_embedding(params p, seed s);

  /// Outputs of the rows, of weights that are first brought up to date. Throws invalid_input on shapes
  /// that do not fit, rows out of range, tokens out of range and values that are not finite.
  template <executor Executor>
  void forward(const sparse_view& x, std::span<const id_t> rows, matrix_view<float> out,
               Executor& executor);
  void forward(const sparse_view& x, std::span<const id_t> rows, matrix_view<float> out) {
    serial_executor serial;
    forward(x, rows, out, serial);
  }

  /// One step on the rows of the last forward pass. Throws invalid_input on another number of rows,
  /// shapes that do not fit and gradients that are not finite; nothing is changed then.
  template <executor Executor>
  void backward(const sparse_view& x, std::span<const id_t> rows, matrix_view<const float> gradient,
                double rate, Executor& executor);
  void backward(const sparse_view& x, std::span<const id_t> rows, matrix_view<const float> gradient,
                double rate) {
    serial_executor serial;
    backward(x, rows, gradient, rate, serial);
  }

  /// Outputs as the weights are: exact on a settled layer. Pre: tokens below inputs(), out fits.
  void predict(sparse_row x, std::span<float> out) const noexcept;

  /// Brings all rows up to date. Cost: one pass over the layer.
  void settle() noexcept;

  [[nodiscard]] std::size_t inputs() const noexcept { return params_.inputs; }
  [[nodiscard]] std::size_t outputs() const noexcept { return params_.outputs; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::uint64_t steps() const noexcept { return optimizer_.steps(); }
  /// (inputs, outputs): row t belongs to token t.
  [[nodiscard]] matrix_view<const float> weights() const noexcept {
    return {weights_.data(), params_.inputs, params_.outputs, stride_};
  }
  [[nodiscard]] matrix_view<float> weights() noexcept {
    return {weights_.data(), params_.inputs, params_.outputs, stride_};
  }
  [[nodiscard]] std::span<const float> biases() const noexcept { return biases_; }
  [[nodiscard]] std::span<float> biases() noexcept { return biases_; }
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Weights and optimiser: training continues bit for bit.
  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static sparse_embedding load(reader& in);

 private:
  struct occurrence {
    std::uint32_t row;  // within the batch
    float value;
  };

  [[nodiscard]] static const char* problem(const params& p) noexcept;
  explicit sparse_embedding(params p);
  void turn(const sparse_view& x, std::span<const id_t> rows);

  params params_;
  std::size_t stride_ = 0;
  aligned_vector<float> weights_;
  std::vector<float> biases_;
  lazy_optimizer optimizer_, bias_optimizer_;

  // The last batch, turned: occurrences of tokens_[s] are those from starts_[s] to starts_[s + 1].
  std::vector<std::uint32_t> slots_;  // of a token, if tokens_ there names it
  std::vector<id_t> tokens_;
  std::vector<std::uint32_t> starts_, counts_;
  std::vector<occurrence> occurrences_;
  std::size_t batch_ = 0;
  aligned_vector<float> gradients_;  // one row a worker
};

}  // namespace skim::inline v0

#include "skim/nn/detail/sparse_embedding_impl.hpp"
