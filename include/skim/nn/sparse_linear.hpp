// SPDX-License-Identifier: Apache-2.0
//
// A layer with very many outputs, of which each batch computes and trains a few.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/linalg/gathered.hpp"
#include "skim/nn/lazy_optimizer.hpp"

namespace skim::inline v0 {

struct sparse_linear_params {
  std::size_t inputs = 128;
  std::size_t outputs = 0;
  lazy_optimizer_params optimizer = {};
};

/// Linear layer whose cost follows the active outputs, not all of them.
///
/// The active set is shared by a batch, so forward and backward are dense products of the batch with
/// gathered rows, near the machine's rate; the optimiser touches the same rows, and what others miss
/// is made up for when they are next wanted. A block of gradients is used up while it is in cache.
///
///   layer.forward(hidden, active, logits);              // logits (batch, active)
///   ... logits become gradients (sampled_loss.hpp) ...
///   layer.backward(hidden, active, logits, rate, hidden_gradient);
///
/// Shape:   hidden (batch, inputs), active: distinct ids below outputs, logits (batch, active).
/// Memory:  12 bytes a weight with Adam, 8 with momentum, 4 for the batch's inputs; a few blocks of
///          128 x (inputs + batch) floats a thread.
/// Cost:    forward 2, backward 4 operations a weight of an active row and example; one pass of the
///          optimiser over the active rows each. No allocation once a shape has been seen.
/// Error:   gradients are exact up to rounding; the steps between touches as lazy_optimizer says.
/// Threads: members that are not const alone; they use the executor's threads, and the result is the
///          same to the last bit for any number of them. const members may run at once.
/// Seeds:   equal seeds give equal weights everywhere; equal calls equal training bit for bit with
///          the same compiler and instruction set.
/// Ref:     Chen et al. 2020, MLSys (SLIDE) and arXiv:2303.17727 (BOLT) for active outputs; sets
///          shared by a batch as in Jean et al. 2015, ACL.
class sparse_linear {
 public:
  using params = sparse_linear_params;

  /// Weights uniform in +-1 / sqrt(inputs), biases zero. Throws invalid_params for sizes of zero or
  /// beyond 2^31 outputs, and as lazy_optimizer does.
  sparse_linear(params p, seed s);

  /// Biases at the log-odds of each output's frequency: log((count + 1/2) / (examples - count + 1/2)).
  /// Throws invalid_input unless there is a count of at most `examples` for each output.
  void set_log_odds(std::span<const std::uint32_t> counts, std::size_t examples);

  /// logits(b, j) = <x_b, w[active[j]]> + bias[active[j]], of rows that are first brought up to date.
  /// Throws invalid_input on shapes that do not fit and on ids that are repeated or out of range.
  template <executor Executor>
  void forward(matrix_view<const float> x, std::span<const id_t> active, matrix_view<float> logits,
               Executor& executor);
  void forward(matrix_view<const float> x, std::span<const id_t> active,
               matrix_view<float> logits) {
    serial_executor serial;
    forward(x, active, logits, serial);
  }

  /// One step: x_gradient = gradient * w[active] (left out where it is empty), then each active row
  /// moves by gradient' x and its bias by the column's sum. Throws invalid_input as forward, unless
  /// the gradient is finite, and unless forward has been called for just this set; nothing is
  /// changed then.
  template <executor Executor>
  void backward(matrix_view<const float> x, std::span<const id_t> active,
                matrix_view<const float> gradient, double rate, matrix_view<float> x_gradient,
                Executor& executor);
  void backward(matrix_view<const float> x, std::span<const id_t> active,
                matrix_view<const float> gradient, double rate, matrix_view<float> x_gradient) {
    serial_executor serial;
    backward(x, active, gradient, rate, x_gradient, serial);
  }

  /// Brings all rows up to date: before weights are read or searched. Cost: one pass over the layer.
  void settle() noexcept { optimizer_.settle(weights(), biases_); }

  [[nodiscard]] std::size_t inputs() const noexcept { return params_.inputs; }
  [[nodiscard]] std::size_t outputs() const noexcept { return params_.outputs; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::uint64_t steps() const noexcept { return optimizer_.steps(); }
  /// (outputs, inputs); rows as of their last touch unless the layer is settled.
  [[nodiscard]] matrix_view<const float> weights() const noexcept {
    return {weights_.data(), params_.outputs, params_.inputs, stride_};
  }
  [[nodiscard]] matrix_view<float> weights() noexcept {
    return {weights_.data(), params_.outputs, params_.inputs, stride_};
  }
  [[nodiscard]] std::span<const float> biases() const noexcept { return biases_; }
  [[nodiscard]] std::span<float> biases() noexcept { return biases_; }
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Weights and optimiser: training continues bit for bit.
  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static sparse_linear load(reader& in);

 private:
  struct worker {
    gathered_scratch products;
    aligned_vector<float> rows, sums;  // gradients of a block of weights and biases
  };

  [[nodiscard]] static const char* problem(const params& p) noexcept;
  explicit sparse_linear(params p);
  void check_active(const char* who, std::span<const id_t> active);
  void check_shapes(const char* who, matrix_view<const float> x, std::span<const id_t> active,
                    matrix_view<const float> logits) const;
  template <executor Executor, class Body>
  void over_blocks(std::size_t active, Executor& executor, Body body);

  params params_;
  std::size_t stride_ = 0;
  aligned_vector<float> weights_;
  std::vector<float> biases_;
  lazy_optimizer optimizer_;

  std::vector<std::uint32_t> seen_;  // round in which forward saw an output
  std::uint32_t round_ = 0;
  std::size_t active_ = 0;  // outputs of the last forward pass
  panel_matrix packed_;     // the batch's inputs
  std::vector<worker> workers_;
};

}  // namespace skim::inline v0

#include "skim/nn/detail/sparse_linear_impl.hpp"
