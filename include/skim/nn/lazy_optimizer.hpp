// SPDX-License-Identifier: Apache-2.0
//
// Adam and momentum for matrices of which each step touches a few rows: the others wait, and are
// brought up to date when they are next wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim::inline v0 {

/// How a touched row moves.
enum class update_rule : std::uint8_t {
  adam,  ///< m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, both corrected for their start
  momentum,  ///< m = momentum m + g, w -= rate m; plain gradient descent with momentum = 0
};

/// What becomes of a row in the steps that do not touch it.
enum class skipped_steps : std::uint8_t {
  exact,  ///< what a dense optimiser does with a gradient of zero: moments decay, the row drifts on
  frozen,  ///< nothing: moments and row stay as the last touch left them (PyTorch's SparseAdam)
};

struct lazy_optimizer_params {
  update_rule rule = update_rule::adam;
  skipped_steps skipped = skipped_steps::exact;
  double beta1 = 0.9;     ///< Adam's, [0, 1)
  double beta2 = 0.999;   ///< Adam's, (0, 1), above beta1^2
  double epsilon = 1e-8;  ///< Adam's, > 0
  double momentum = 0.9;  ///< of update_rule::momentum, [0, 1)
};

/// State of an optimiser over the rows of a matrix, each with a bias, in which a step costs no more
/// than the rows it touches.
///
/// A row with first moment m and second moment v that no gradient reached in steps t0 + 1 .. t has
/// moved, under a dense optimiser, by -m / (sqrt(v) + epsilon) times the sum over those steps s of
/// rate_s r^(s - t0), r = beta1 / sqrt(beta2) and rate_s with the corrections for the moments' start.
/// That sum is the same for all rows last touched at t0, so it is kept for each of the last few
/// hundred steps, and catch_up() applies it in one go. Rows that were not touched for longer are
/// at rest: the first moment is below 1e-7 of what it was, and taken for zero.
///
///   optimizer.catch_up(id, row, bias);      // before a row of the step is read
///   optimizer.begin_step(rate);
///   optimizer.update(id, row, gradient, bias, bias_gradient);   // each row of the step, once
///   optimizer.end_step(weights, biases);
///
/// Shape:   rows of `dim` floats and a bias each; where rows have none, `bias` is any variable of the
///          caller and `biases` empty.
/// Memory:  8 bytes a weight (4 for momentum), 16 a row, some 10 KB.
/// Cost:    catch_up: reads a row and its moments and writes the row, nothing of a row at rest; update:
///          one pass over all; a square root and a division an element each. begin and end: the window of steps kept, 200 for Adam's defaults; every so
///          many steps a look at the time stamps of all rows.
/// Error:   skipped_steps::exact equals the dense optimiser up to rounding and two approximations:
///          first moments below 1e-7 of their value are dropped, and epsilon counts as constant while
///          v decays; this matters only where sqrt(v) is not large beside epsilon.
/// Threads: catch_up and update for different rows at once; the others alone.
/// Ref:     Kingma and Ba 2015, ICLR (Adam); Polyak 1964 (heavy ball). The closed form of the skipped
///          steps is derived here.
class lazy_optimizer {
 public:
  using params = lazy_optimizer_params;

  /// Throws invalid_params for betas, epsilon or momentum out of range.
  lazy_optimizer(params p, std::size_t rows, std::size_t dim);

  /// Fetches a row's moments from memory; a hint.
  void prefetch(id_t id) const noexcept {
    const float* row = moments_.data() + id * row_floats();
    for (std::size_t i = 0; i < row_floats(); i += cache_line / sizeof(float))
      SKIM_PREFETCH(row + i);
  }
  /// Brings a row to where the last step left it.
  void catch_up(id_t id, std::span<float> row, float& bias) noexcept;

  /// Begins a step. Throws invalid_input unless the rate is finite and at least 0, or after 2^32 - 2
  /// steps.
  void begin_step(double rate);
  /// Moves a row by its gradient. Pre: caught up since the last step, touched once a step.
  void update(id_t id, std::span<float> row, std::span<const float> gradient, float& bias,
              float bias_gradient) noexcept;
  /// Ends the step; now and then puts rows to rest, for which it must see them.
  void end_step(matrix_view<float> rows, std::span<float> biases) noexcept;

  /// Brings all rows up to date, as before an evaluation. Cost: one pass over rows that wait.
  void settle(matrix_view<float> rows, std::span<float> biases) noexcept;

  [[nodiscard]] std::uint64_t steps() const noexcept { return step_; }
  [[nodiscard]] std::size_t rows() const noexcept { return states_.size(); }
  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::size_t bytes() const noexcept;

  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static lazy_optimizer load(reader& in);

 private:
  struct row_state {
    std::uint32_t last = 0;    // step that last touched the row, whose moments these are; 0: none
    std::uint32_t caught = 0;  // step up to which the row has drifted; 0: it drifts no more
    float first = 0, second = 0;  // moments of its bias
  };

  [[nodiscard]] static const char* problem(const params& p) noexcept;
  void prepare();
  [[nodiscard]] bool is_adam() const noexcept { return params_.rule == update_rule::adam; }
  // A row's first moments and, for Adam, its second ones behind them.
  [[nodiscard]] float* first(id_t id) noexcept { return moments_.data() + id * row_floats(); }
  [[nodiscard]] float* second(id_t id) noexcept { return first(id) + stride_; }
  [[nodiscard]] std::size_t row_floats() const noexcept {
    return is_adam() ? 2 * stride_ : stride_;
  }

  params params_;
  std::size_t dim_ = 0, stride_ = 0;  // stride: dim filled up to a cache line
  std::uint32_t step_ = 0;
  std::vector<row_state> states_;
  aligned_vector<float> moments_;
  std::vector<double> drift_;  // by step of the last touch, modulo its size

  // What the parameters imply, and the step's own numbers.
  std::size_t window_ = 0;  // steps after which a first moment is spent
  std::vector<double> ratio_powers_;
  std::vector<float> first_powers_, second_powers_;
  double raw_rate_ = 0;
  float rate_ = 0, epsilon_ = 0;
};

}  // namespace skim::inline v0

#include "skim/nn/detail/lazy_optimizer_impl.hpp"
