// SPDX-License-Identifier: Apache-2.0
//
// Sparse rows in, the best of very many labels out: the layers of nn/ put together, with settings that
// choose themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/nn/activation.hpp"
#include "skim/nn/active_set.hpp"
#include "skim/nn/sampled_loss.hpp"
#include "skim/nn/selector.hpp"
#include "skim/nn/sparse_embedding.hpp"
#include "skim/nn/sparse_linear.hpp"
#include "skim/nn/top_labels.hpp"

namespace skim::inline v0 {

/// Which outputs a training step computes.
enum class output_selection : std::uint8_t {
  sampled,  ///< the batch's labels and some uniform draws
  dense,    ///< all: the layer to compare with
};

/// Everything but the sizes has a default that depends on them; tuned() says which.
struct extreme_classifier_params {
  std::size_t inputs = 0;   ///< 0: as many as the data has columns
  std::size_t outputs = 0;  ///< labels
  std::size_t hidden = 128;
  std::size_t batch = 256;  ///< most rows of a step
  activation between = activation::relu;
  output_selection selection = output_selection::sampled;
  std::optional<sampled_loss> loss = {};     ///< sigmoid when sampled, softmax when dense
  std::optional<double> negatives = {};      ///< uniform draws expected a step
  std::optional<double> learning_rate = {};  ///< at the beginning; falls linearly to 0
  double deviation = 0.02;                   ///< of the first layer's first weights
  lazy_optimizer_params optimizer = {};
};

/// What an extreme_classifier works with, chosen by itself or given.
struct extreme_classifier_tuning {
  sampled_loss loss = sampled_loss::sigmoid;
  double negatives = 0;
  double learning_rate = 0;
  double expected_active = 0;  ///< outputs a step computes, labels of the batch included
};

/// A network of one hidden layer over sparse rows for multi-label problems with 10^4 to 10^6 labels.
///
///   extreme_classifier model({.outputs = n}, x, labels, seed{1});
///   for each batch: model.step(x, labels, rows, model.rate(done, of));
///   model.settle();
///   model.search(x, rows, best);                     // exact, all outputs
///
/// Shape:   x (n, inputs) sparse, best without tokens allowed; labels (n); best (rows, k).
/// Memory:  12 bytes a weight with Adam; 16 bytes an output and a batch's activations.
/// Cost:    step: 6 operations a weight of an active output and example, 4 a nonzero and hidden unit;
///          search: 2 operations a weight of the output layer and example.
/// Error:   sampled training estimates the loss over all outputs (sampled_loss.hpp).
/// Threads: members that are not const alone; equal results for any number of executor threads.
/// Seeds:   equal seeds and calls give equal models with the same compiler and instruction set.
/// Ref:     as sparse_linear and take_sampled_loss. The defaults come from measurements on Debian's
///          package index: bench/README.md.
class extreme_classifier {
 public:
  using params = extreme_classifier_params;

  /// Takes the frequencies of the labels for biases and inclusion probabilities. Throws invalid_params
  /// and invalid_input as the parts do.
  extreme_classifier(params p, const sparse_view& x, const label_sets& labels, seed s);

  /// One step on the rows; returns their mean loss before it. Throws invalid_input for more rows than
  /// params.batch, and as the layers and the loss do; no layer has moved then.
  template <executor Executor>
  double step(const sparse_view& x, const label_sets& labels, std::span<const id_t> rows,
              double rate, Executor& executor);
  double step(const sparse_view& x, const label_sets& labels, std::span<const id_t> rows,
              double rate) {
    serial_executor serial;
    return step(x, labels, rows, rate, serial);
  }

  /// Learning rate after `done` of `of` steps: linear to zero.
  [[nodiscard]] double rate(std::size_t done, std::size_t of) const noexcept {
    return of == 0
               ? 0
               : tuning_.learning_rate * (1 - static_cast<double>(done) / static_cast<double>(of));
  }

  /// Brings all weights up to date: before search(), hidden() and an index of the outputs.
  void settle() noexcept;

  /// The best outputs of each row by exact scores, best first. Throws invalid_input on shapes that do
  /// not fit. Pre: settled.
  template <executor Executor>
  void search(const sparse_view& x, std::span<const id_t> rows, matrix_view<label_score> best,
              Executor& executor) const;
  void search(const sparse_view& x, std::span<const id_t> rows,
              matrix_view<label_score> best) const {
    serial_executor serial;
    search(x, rows, best, serial);
  }

  /// Activations of the hidden layer. Pre: settled, tokens below inputs(), out.size() == hidden.
  void hidden(sparse_row x, std::span<float> out) const noexcept;

  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] const extreme_classifier_tuning& tuned() const noexcept { return tuning_; }
  [[nodiscard]] const sparse_embedding& first() const noexcept { return embedding_; }
  [[nodiscard]] const sparse_linear& output() const noexcept { return output_; }
  /// Outputs that the last step computed.
  [[nodiscard]] std::size_t last_active() const noexcept { return set_.size(); }
  [[nodiscard]] std::uint64_t steps() const noexcept { return output_.steps(); }
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Layers, optimiser and the state of the draws: training continues bit for bit.
  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static extreme_classifier load(reader& in);

 private:
  using sampler = active_sampler<uniform_selector>;

  extreme_classifier(params p, extreme_classifier_tuning t, std::vector<std::uint32_t> counts,
                     std::size_t examples, sparse_embedding embedding, sparse_linear output,
                     random_engine engine);
  [[nodiscard]] static params checked(params p, const sparse_view& x, const label_sets& labels);
  [[nodiscard]] static extreme_classifier_tuning tune(const params& p,
                                                      std::span<const std::uint32_t> counts,
                                                      std::size_t examples);

  params params_;
  extreme_classifier_tuning tuning_;
  std::vector<std::uint32_t> counts_;
  std::size_t examples_ = 0;
  sparse_embedding embedding_;
  sparse_linear output_;
  sampler sampler_;
  random_engine engine_;

  active_set set_;
  aligned_vector<float> hidden_, back_, logits_;
  std::vector<float> shifts_, losses_;
};

}  // namespace skim::inline v0

#include "skim/nn/detail/extreme_classifier_impl.hpp"
