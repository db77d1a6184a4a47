// SPDX-License-Identifier: Apache-2.0
//
// The minimal trainer all examples share: a multilayer perceptron on Eigen's matrix product, dense
// or sparse inputs, importance weights in the loss and scores of each example out of the same pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/flush_denormals.hpp"
#include "common/gemm.hpp"
#include "common/loss.hpp"
#include "common/optimizer.hpp"
#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"

namespace skim_examples {

/// Rows of a dense or sparse matrix to run through a network: all of them, or those with given ids.
/// A view: the matrix and the ids must outlive it.
template <class Scalar>
class batch_rows {
 public:
  template <class Dense>
  requires std::is_convertible_v<const Dense&, skim::matrix_view<const Scalar>> batch_rows(
      const Dense& all)  // NOLINT(google-explicit-constructor): a view
      : dense_(all), rows_(dense_.rows()) {}
  batch_rows(const skim::sparse_view& all)  // NOLINT(google-explicit-constructor): a view
      : sparse_(all), rows_(all.rows()), is_sparse_(true) {}

  /// Rows `ids`, repeats allowed. Throws skim::invalid_input if one is not there.
  batch_rows(skim::matrix_view<const Scalar> data, std::span<const skim::id_t> ids)
      : dense_(data), ids_(ids), rows_(ids.size()), chosen_(true) {
    check_ids(data.rows());
  }
  batch_rows(const skim::sparse_view& data, std::span<const skim::id_t> ids)
      : sparse_(data), ids_(ids), rows_(ids.size()), is_sparse_(true), chosen_(true) {
    check_ids(data.rows());
  }

  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
  [[nodiscard]] std::size_t cols() const noexcept {
    return is_sparse_ ? sparse_.cols() : dense_.cols();
  }
  [[nodiscard]] bool sparse() const noexcept { return is_sparse_; }
  /// Whether rows were chosen by id, so that they do not lie at equal distances.
  [[nodiscard]] bool chosen() const noexcept { return chosen_; }
  [[nodiscard]] skim::matrix_view<const Scalar> all_dense() const noexcept { return dense_; }
  [[nodiscard]] std::span<const Scalar> dense_row(std::size_t i) const noexcept {
    return dense_.row(chosen_ ? ids_[i] : i);
  }
  [[nodiscard]] skim::sparse_row sparse_row(std::size_t i) const noexcept {
    return sparse_.row(first_ + (chosen_ ? ids_[i] : i));
  }

  [[nodiscard]] batch_rows part(std::size_t first, std::size_t count) const noexcept {
    batch_rows some = *this;
    some.rows_ = count;
    if (chosen_)
      some.ids_ = ids_.subspan(first, count);
    else if (is_sparse_)
      some.first_ = first_ + first;
    else
      some.dense_ = dense_.rows(first, count);
    return some;
  }

 private:
  void check_ids(std::size_t rows) const {
    for (std::size_t i = 0; i < ids_.size(); ++i)
      if (ids_[i] >= rows)
        SKIM_THROW(skim::invalid_input,
                   skim::detail::concat("batch_rows: got id ", ids_[i], " at position ", i,
                                        ", wanted one below ", rows));
  }

  skim::matrix_view<const Scalar> dense_;
  skim::sparse_view sparse_;
  std::span<const skim::id_t> ids_;
  std::size_t rows_ = 0, first_ = 0;
  bool is_sparse_ = false, chosen_ = false;
};

/// Copies the elements of `all` with the given ids: labels or targets to go with a gathered batch.
/// Throws skim::invalid_input if an id is not there or `out` has another size than `ids`.
template <class T>
void gather(std::span<const T> all, std::span<const skim::id_t> ids,
            std::span<std::remove_const_t<T>> out) {
  if (out.size() != ids.size())
    SKIM_THROW(skim::invalid_input, skim::detail::concat("gather: got room for ", out.size(),
                                                         " of ", ids.size(), " elements"));
  for (const skim::id_t id : ids)
    if (id >= all.size())
      SKIM_THROW(skim::invalid_input,
                 skim::detail::concat("gather: got id ", id, ", wanted one below ", all.size()));
  for (std::size_t i = 0; i < ids.size(); ++i) out[i] = all[ids[i]];
}

struct mlp_params {
  std::size_t inputs = 0;
  std::vector<std::size_t> hidden = {};  ///< widths of the ReLU layers; none gives a linear model
  std::size_t outputs = 0;
  loss_kind loss = loss_kind::softmax;
  std::size_t batch = 128;    ///< most rows of one forward pass or step
  double sparse_below = 0.2;  ///< sparse rows are multiplied as such below this density
};

/// Means over the examples of an evaluation or a step.
struct mlp_result {
  double loss = 0;           ///< mean loss, unweighted
  double weighted_loss = 0;  ///< mean of weight * loss: what the step descends
  double accuracy = 0;       ///< share of right predictions; 0 under squared loss
  double rmse = 0;           ///< root mean square of d loss / d output over all outputs
};

/// Multilayer perceptron with ReLU, trained by minibatches.
///
/// Layer l computes a_l = max(0, a_{l-1} W_l + b_l), the last one without the max. W_l is stored row
/// by row of its inputs, each row padded to a cache line, so a sparse input touches whole rows. Going
/// back, weight gradients are computed a strip of rows at a time and handed to the optimiser while
/// they are in L2: the gradient never travels to memory, which is what makes Adam affordable.
///
/// Shape:   rows (n, inputs), outputs (n, outputs); forward and step take n <= params.batch.
/// Memory:  4 bytes a parameter and activation (params.batch of each), gradients of the widest
///          layer's activations twice, and blocks of Eigen's product (2 MB at most).
/// Cost:    step 6 flops a weight and example (4 in the first layer). No allocation in a step once
///          the first has been made (with Eigen 3.4; in sparse steps, once the batch with most
///          nonzeros has been seen).
/// Error:   gradients are exact up to rounding in Scalar.
/// Threads: none; a network is used by one thread at a time.
/// Seeds:   equal seeds give equal initial weights everywhere, and equal calls equal weights bit
///          for bit with the same compiler and instruction set.
/// Ref:     He et al. 2015, ICCV (initialisation).
template <class Scalar>
class basic_mlp {
 public:
  using params = mlp_params;
  using scalar_type = Scalar;

  /// Weights normal with variance 2 / inputs of the layer (1 / inputs in the last), biases zero.
  /// Throws skim::invalid_params if a size is zero or too large.
  basic_mlp(params p, skim::seed s) : basic_mlp(std::move(p)) {
    const skim::random_engine root(s);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      skim::random_engine engine = root.child(l);
      const layer& at = layers_[l];
      const double gain = l + 1 < layers_.size() ? 2 : 1;
      const double deviation = std::sqrt(gain / static_cast<double>(at.inputs));
      for (std::size_t i = 0; i < at.inputs; ++i)
        for (Scalar& w : weights(l).row(i))
          w = static_cast<Scalar>(deviation * skim::normal(engine));
    }
  }

  /// Outputs for each row, before softmax or sigmoid; valid until the next call.
  skim::matrix_view<const Scalar> forward(const batch_rows<Scalar>& rows) {
    check_rows("mlp::forward", rows);
    const flush_denormals flushed;
    propagate(rows);
    return outputs();
  }

  /// Changes the weights by one step of the optimiser on mean(weight * loss).
  ///
  /// Weights may be empty (all one). Scores are of the network before the step. Throws
  /// skim::invalid_input on wrong shapes, labels out of range, weights that are negative or not
  /// finite, and on a loss that is not finite (bad inputs, or training that diverged); nothing is
  /// changed then but the scores.
  template <optimizer_for<Scalar> Optimizer>
  mlp_result step(const batch_rows<Scalar>& rows, const batch_targets<Scalar>& targets,
                  std::span<const float> weights, Optimizer& optimizer, double learning_rate,
                  const example_scores& scores = {}) {
    check_rows("mlp::step", rows);
    if (rows.rows() == 0)
      SKIM_THROW(skim::invalid_input, "mlp::step: got no examples, wanted at least one");
    check_weights(weights, rows.rows());
    targets.validate(params_.loss, rows.rows(), params_.outputs);
    scores.validate(params_.loss, rows.rows(), params_.outputs);

    const flush_denormals flushed;
    propagate(rows);
    const auto mean = static_cast<Scalar>(1 / static_cast<double>(rows.rows()));
    const loss_sums sums = take_loss(targets, weights, mean, scores);
    if (!std::isfinite(sums.loss) || !std::isfinite(sums.weighted_loss)) throw_not_finite(targets);
    optimizer.begin_step(parameters_.size(), learning_rate);
    propagate_back(optimizer);
    return means(sums, rows.rows());
  }

  /// Loss and scores of any number of rows, without training. `logits` may be empty or hold
  /// (rows, outputs). Throws skim::invalid_input as step does, but for losses that are not finite.
  mlp_result evaluate(const batch_rows<Scalar>& rows, const batch_targets<Scalar>& targets,
                      const example_scores& scores = {}, skim::matrix_view<Scalar> logits = {}) {
    check_cols("mlp::evaluate", rows);
    targets.validate(params_.loss, rows.rows(), params_.outputs);
    scores.validate(params_.loss, rows.rows(), params_.outputs);
    check_logits("mlp::evaluate", logits, rows.rows());
    const flush_denormals flushed;
    loss_sums sums;
    for (std::size_t first = 0; first < rows.rows(); first += params_.batch) {
      const std::size_t count = std::min(params_.batch, rows.rows() - first);
      propagate(rows.part(first, count));
      copy_outputs(logits, first);
      const loss_sums s =
          take_loss(targets.part(first, count), {}, Scalar(1), scores.part(first, count));
      sums.loss += s.loss;
      sums.weighted_loss += s.weighted_loss;
      sums.squared_residual += s.squared_residual;
      sums.correct += s.correct;
    }
    return means(sums, rows.rows());
  }

  /// Outputs of any number of rows, before softmax or sigmoid. Pre: none; throws
  /// skim::invalid_input unless logits is (rows, outputs).
  void predict(const batch_rows<Scalar>& rows, skim::matrix_view<Scalar> logits) {
    check_cols("mlp::predict", rows);
    if (logits.empty() && rows.rows() > 0)
      SKIM_THROW(skim::invalid_input, "mlp::predict: got no room for the outputs");
    check_logits("mlp::predict", logits, rows.rows());
    const flush_denormals flushed;
    for (std::size_t first = 0; first < rows.rows(); first += params_.batch) {
      propagate(rows.part(first, std::min(params_.batch, rows.rows() - first)));
      copy_outputs(logits, first);
    }
  }

  /// Outputs of the last forward pass, which may have been part of a step.
  [[nodiscard]] skim::matrix_view<const Scalar> outputs() const noexcept {
    return activation(layers_.size() - 1);
  }

  /// Activations of the last hidden layer in the last forward pass; empty without hidden layers.
  [[nodiscard]] skim::matrix_view<const Scalar> last_hidden() const noexcept {
    return layers_.size() < 2 ? skim::matrix_view<const Scalar>{} : activation(layers_.size() - 2);
  }

  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::size_t layers() const noexcept { return layers_.size(); }
  [[nodiscard]] std::size_t max_batch() const noexcept { return params_.batch; }

  /// Weights of layer l, (inputs, outputs) of the layer. Pre: l < layers().
  [[nodiscard]] skim::matrix_view<Scalar> weights(std::size_t l) noexcept {
    const layer& at = layers_[l];
    return {parameters_.data() + at.weights, at.inputs, at.outputs, at.stride};
  }
  [[nodiscard]] skim::matrix_view<const Scalar> weights(std::size_t l) const noexcept {
    const layer& at = layers_[l];
    return {parameters_.data() + at.weights, at.inputs, at.outputs, at.stride};
  }
  [[nodiscard]] std::span<Scalar> biases(std::size_t l) noexcept {
    return {parameters_.data() + layers_[l].biases, layers_[l].outputs};
  }
  [[nodiscard]] std::span<const Scalar> biases(std::size_t l) const noexcept {
    return {parameters_.data() + layers_[l].biases, layers_[l].outputs};
  }

  /// Elements an optimiser sees: parameters and the padding of their rows, which stays zero.
  [[nodiscard]] std::size_t storage_size() const noexcept { return parameters_.size(); }
  /// Where layer l begins in them: weights row by row, weights(l).stride() apart, then biases.
  [[nodiscard]] std::size_t weights_offset(std::size_t l) const noexcept {
    return layers_[l].weights;
  }
  [[nodiscard]] std::size_t biases_offset(std::size_t l) const noexcept {
    return layers_[l].biases;
  }

  /// Parameters and shape. With the optimiser saved beside it, training continues bit for bit.
  void save(skim::writer& out) const {
    out.begin_frame("example_mlp");
    out.put(static_cast<std::uint64_t>(params_.inputs));
    std::vector<std::uint64_t> hidden(params_.hidden.begin(), params_.hidden.end());
    out.put(std::span<const std::uint64_t>(hidden));
    out.put(static_cast<std::uint64_t>(params_.outputs));
    out.put(params_.loss);
    out.put(static_cast<std::uint64_t>(params_.batch));
    out.put(params_.sparse_below);
    out.put(std::span<const Scalar>(parameters_));
    out.end_frame();
  }

  /// Throws skim::format_error on anything save did not write.
  [[nodiscard]] static basic_mlp load(skim::reader& in) {
    in.begin_frame("example_mlp");
    params p;
    p.inputs = static_cast<std::size_t>(in.get<std::uint64_t>());
    for (const std::uint64_t width : in.get_vector<std::uint64_t>())
      p.hidden.push_back(static_cast<std::size_t>(width));
    p.outputs = static_cast<std::size_t>(in.get<std::uint64_t>());
    const auto loss = in.get<std::uint8_t>();
    if (loss > static_cast<std::uint8_t>(loss_kind::squared))
      in.fail("example_mlp has loss ", static_cast<unsigned>(loss), ", wanted one of 0 to 2");
    p.loss = static_cast<loss_kind>(loss);
    p.batch = static_cast<std::size_t>(in.get<std::uint64_t>());
    p.sparse_below = in.get<double>();
    const auto values = in.get_vector<Scalar>();
    if (const char* wrong = problem(p)) in.fail("example_mlp: ", wrong);
    std::size_t count = 0;
    for (const layer& at : plan(p)) count = at.biases + at.stride;
    if (count != values.size())
      in.fail("example_mlp has ", values.size(), " parameters, wanted ", count);
    basic_mlp loaded(std::move(p));
    std::copy(values.begin(), values.end(), loaded.parameters_.begin());
    in.end_frame();
    return loaded;
  }

 private:
  struct layer {
    std::size_t inputs = 0, outputs = 0, stride = 0;  // stride: outputs padded to whole blocks
    std::size_t weights = 0, biases = 0;              // offsets into parameters_
    std::size_t activations = 0;                      // offset into activations_
  };
  struct entry {
    std::uint32_t row;
    Scalar value;
  };

  static constexpr std::size_t block = parameter_block;
  static constexpr std::size_t largest = std::size_t{1} << 31;  // of a width and of a batch

  static constexpr std::size_t padded(std::size_t n) noexcept {
    return (n + block - 1) / block * block;
  }

  static const char* problem(const params& p) noexcept {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 64;
    if (p.inputs == 0 || p.inputs > largest) return "inputs must be 1 to 2^31";
    if (p.outputs == 0 || p.outputs > largest) return "outputs must be 1 to 2^31";
    if (p.batch == 0 || p.batch > largest) return "batch must be 1 to 2^31";
    if (!(p.sparse_below >= 0 && p.sparse_below <= 1)) return "sparse_below must be in [0, 1]";
    if (p.loss > loss_kind::squared) return "loss must be one of softmax, logistic, squared";
    if (p.loss == loss_kind::softmax && p.outputs < 2)
      return "softmax wants at least 2 outputs (logistic takes 1)";
    std::size_t inputs = p.inputs, total = 0, widths = 0;
    for (std::size_t l = 0; l <= p.hidden.size(); ++l) {
      const std::size_t outputs = l < p.hidden.size() ? p.hidden[l] : p.outputs;
      if (outputs == 0 || outputs > largest) return "hidden widths must be 1 to 2^31";
      const std::size_t stride = padded(outputs);
      if ((inputs + 1) > (most - total) / stride || stride > most / p.batch - widths)
        return "the layers do not fit into memory";
      total += (inputs + 1) * stride;
      widths += stride;
      inputs = outputs;
    }
    return nullptr;
  }

  static std::vector<layer> plan(const params& p) {
    std::vector<layer> layers;
    std::size_t inputs = p.inputs, parameters = 0, activations = 0;
    for (std::size_t l = 0; l <= p.hidden.size(); ++l) {
      layer at;
      at.inputs = inputs;
      at.outputs = l < p.hidden.size() ? p.hidden[l] : p.outputs;
      at.stride = padded(at.outputs);
      at.weights = parameters;
      at.biases = at.weights + at.inputs * at.stride;
      at.activations = activations;
      parameters = at.biases + at.stride;
      activations += p.batch * at.stride;
      inputs = at.outputs;
      layers.push_back(at);
    }
    return layers;
  }

  explicit basic_mlp(params p) : params_(std::move(p)) {
    if (const char* wrong = problem(params_))
      SKIM_THROW(skim::invalid_params, skim::detail::concat("mlp: ", wrong));
    layers_ = plan(params_);
    std::size_t widest = 0, strip = 0;
    for (const layer& at : layers_) {
      widest = std::max(widest, at.stride);
      strip = std::max(strip, strip_rows(at) * at.stride);
    }
    parameters_.assign(layers_.back().biases + layers_.back().stride, Scalar(0));
    activations_.assign(layers_.back().activations + params_.batch * layers_.back().stride,
                        Scalar(0));
    delta_.assign(params_.batch * widest, Scalar(0));
    next_delta_.assign(params_.batch * widest, Scalar(0));
    bias_gradient_.assign(widest, Scalar(0));
    strip_.assign(strip, Scalar(0));
  }

  // Rows of weights whose gradient is computed at once: 128 KB, a fraction of L2.
  static std::size_t strip_rows(const layer& at) noexcept {
    const std::size_t fit = (std::size_t{128} << 10) / sizeof(Scalar) / at.stride;
    return std::min(at.inputs, std::max<std::size_t>(fit / block * block, block));
  }

  skim::matrix_view<Scalar> activation(std::size_t l) noexcept {
    return {activations_.data() + layers_[l].activations, rows_, layers_[l].outputs,
            layers_[l].stride};
  }
  skim::matrix_view<const Scalar> activation(std::size_t l) const noexcept {
    return {activations_.data() + layers_[l].activations, rows_, layers_[l].outputs,
            layers_[l].stride};
  }
  // The same with its padding as columns: products of whole blocks are the faster ones.
  static skim::matrix_view<Scalar> whole(skim::matrix_view<Scalar> m, std::size_t cols) noexcept {
    return {m.data(), m.rows(), cols, m.stride()};
  }

  void check_cols(const char* who, const batch_rows<Scalar>& rows) const {
    if (rows.cols() != params_.inputs)
      SKIM_THROW(skim::invalid_input, skim::detail::concat(who, ": got rows of ", rows.cols(),
                                                           " inputs, wanted ", params_.inputs));
  }
  void check_rows(const char* who, const batch_rows<Scalar>& rows) const {
    check_cols(who, rows);
    if (rows.rows() > params_.batch)
      SKIM_THROW(skim::invalid_input,
                 skim::detail::concat(who, ": got ", rows.rows(),
                                      " examples, wanted at most the batch of ", params_.batch));
  }
  void check_logits(const char* who, skim::matrix_view<Scalar> logits, std::size_t rows) const {
    if (!logits.empty() && (logits.rows() != rows || logits.cols() != params_.outputs))
      SKIM_THROW(skim::invalid_input,
                 skim::detail::concat(who, ": got room for ", logits.rows(), " x ", logits.cols(),
                                      " outputs, wanted ", rows, " x ", params_.outputs));
  }
  static void check_weights(std::span<const float> weights, std::size_t rows) {
    if (weights.empty()) return;
    if (weights.size() != rows)
      SKIM_THROW(skim::invalid_input,
                 skim::detail::concat("mlp::step: got ", weights.size(), " weights for ", rows,
                                      " examples, wanted one each or none"));
    for (std::size_t i = 0; i < rows; ++i)
      if (!(std::isfinite(weights[i]) && weights[i] >= 0))
        SKIM_THROW(skim::invalid_input,
                   skim::detail::concat("mlp::step: got weight ", weights[i], " for example ", i,
                                        ", wanted a finite number of at least 0"));
  }
  [[noreturn]] void throw_not_finite(const batch_targets<Scalar>&) const {
    std::size_t at = 0;
    for (std::size_t i = rows_; i-- > 0;)
      for (const Scalar z : outputs().row(i))
        if (!std::isfinite(z)) at = i;
    SKIM_THROW(skim::invalid_input,
               skim::detail::concat("mlp::step: the loss is not finite (outputs of example ", at,
                                    "), wanted finite inputs and a learning rate that does not "
                                    "diverge"));
  }

  mlp_result means(const loss_sums& sums, std::size_t rows) const noexcept {
    if (rows == 0) return {};
    const auto n = static_cast<double>(rows), outputs = static_cast<double>(params_.outputs);
    return {sums.loss / n, sums.weighted_loss / n, static_cast<double>(sums.correct) / n,
            std::sqrt(sums.squared_residual / (n * outputs))};
  }

  // ---- forward

  void propagate(const batch_rows<Scalar>& rows) {
    rows_ = rows.rows();
    admit(rows);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const layer& at = layers_[l];
      const skim::matrix_view<Scalar> z = whole(activation(l), at.stride);
      const Scalar* bias = parameters_.data() + at.biases;
      for (std::size_t i = 0; i < rows_; ++i) std::copy_n(bias, at.stride, z.row(i).data());
      const skim::matrix_view<const Scalar> w(parameters_.data() + at.weights, at.inputs, at.stride,
                                              at.stride);
      if (l == 0 && sparse_)
        add_sparse_product(w, z);
      else
        add_product<transposed::none, Scalar>(l == 0 ? input_ : activation(l - 1), w, z, buffers_);
      if (l + 1 < layers_.size())
        for (std::size_t i = 0; i < rows_; ++i) rectify(z.row(i));
    }
  }

  // Decides how the first layer multiplies, and brings chosen rows together.
  void admit(const batch_rows<Scalar>& rows) {
    sparse_ = false;
    input_ = {};
    if (!rows.sparse() && !rows.chosen()) {
      input_ = rows.all_dense();
      return;
    }
    if (rows.sparse()) {
      std::size_t nonzeros = 0;
      for (std::size_t i = 0; i < rows_; ++i) {
        const skim::sparse_row row = rows.sparse_row(i);
        nonzeros += row.nonzeros();
        for (const skim::id_t j : row.indices)
          if (j >= params_.inputs)
            SKIM_THROW(skim::invalid_input,
                       skim::detail::concat("mlp: got index ", j, " in example ", i,
                                            ", wanted one below ", params_.inputs));
      }
      sparse_ = static_cast<double>(nonzeros) < params_.sparse_below * static_cast<double>(rows_) *
                                                    static_cast<double>(params_.inputs);
      if (sparse_) {
        transpose_batch(rows, nonzeros);
        return;
      }
    }
    const std::size_t stride = padded(params_.inputs);
    if (gathered_.empty()) gathered_.assign(params_.batch * stride, Scalar(0));
    for (std::size_t i = 0; i < rows_; ++i) {
      Scalar* to = gathered_.data() + i * stride;
      if (!rows.sparse()) {
        if (i + 2 < rows_) prefetch(rows.dense_row(i + 2));
        std::copy_n(rows.dense_row(i).data(), params_.inputs, to);
        continue;
      }
      std::fill_n(to, params_.inputs, Scalar(0));
      const skim::sparse_row row = rows.sparse_row(i);
      for (std::size_t k = 0; k < row.nonzeros(); ++k)
        to[row.indices[k]] += static_cast<Scalar>(row.values[k]);
    }
    input_ = {gathered_.data(), rows_, params_.inputs, stride};
  }

  // Chosen rows are cold; the hardware prefetcher starts anew with each, so it gets a head start.
  static void prefetch(std::span<const Scalar> row) noexcept {
    const std::size_t head = std::min<std::size_t>(row.size(), 1024 / sizeof(Scalar));
    for (std::size_t j = 0; j < head; j += skim::cache_line / sizeof(Scalar))
      SKIM_PREFETCH(row.data() + j);
  }

  // Rows of the batch as they are, for the forward pass, and by input, for weight gradients.
  void transpose_batch(const batch_rows<Scalar>& rows, std::size_t nonzeros) {
    if (nonzeros > by_input_.size()) {
      by_input_.resize(nonzeros);
      by_row_.resize(nonzeros);
    }
    input_start_.assign(params_.inputs + 1, 0);
    row_start_.resize(params_.batch + 1);
    std::size_t k = 0;
    for (std::size_t i = 0; i < rows_; ++i) {
      row_start_[i] = k;
      const skim::sparse_row row = rows.sparse_row(i);
      for (std::size_t e = 0; e < row.nonzeros(); ++e) {
        by_row_[k++] = {row.indices[e], static_cast<Scalar>(row.values[e])};
        ++input_start_[row.indices[e]];
      }
    }
    row_start_[rows_] = k;
    std::size_t sum = 0;
    for (std::size_t& start : input_start_) sum += std::exchange(start, sum);
    for (std::size_t i = 0; i < rows_; ++i)
      for (std::size_t e = row_start_[i]; e < row_start_[i + 1]; ++e)
        by_input_[input_start_[by_row_[e].row]++] = {static_cast<std::uint32_t>(i),
                                                     by_row_[e].value};
    // Each start has moved to its end, which is where the next one began: move them back by one.
    for (std::size_t j = params_.inputs; j > 0; --j) input_start_[j] = input_start_[j - 1];
    input_start_[0] = 0;
  }

  void add_sparse_product(skim::matrix_view<const Scalar> w, skim::matrix_view<Scalar> z) noexcept {
    for (std::size_t i = 0; i < rows_; ++i)
      add_rows({by_row_.data() + row_start_[i], row_start_[i + 1] - row_start_[i]}, w, z.row(i));
  }

  // out += sum over entries of value * m[row], in strips of columns that stay in registers.
  static void add_rows(std::span<const entry> entries, skim::matrix_view<const Scalar> m,
                       std::span<Scalar> out) noexcept {
    constexpr std::size_t strip = 4 * block;
    using wide = Eigen::Array<Scalar, static_cast<int>(strip), 1>;
    std::size_t j = 0;
    for (; j + strip <= out.size(); j += strip) add_strip<wide>(entries, m, out.data() + j, j);
    for (; j < out.size(); j += block)
      add_strip<detail::block_array<Scalar>>(entries, m, out.data() + j, j);
  }
  template <class Array>
  static void add_strip(std::span<const entry> entries, skim::matrix_view<const Scalar> m,
                        Scalar* out, std::size_t column) noexcept {
    Eigen::Map<Array, Eigen::Aligned64> to(out);
    Array sum = to;
    for (const entry& e : entries)
      sum += e.value *
             Eigen::Map<const Array, Eigen::Aligned64>(m.data() + e.row * m.stride() + column);
    to = sum;
  }

  // Written so that a NaN stays one, and the loss shows it. Whole blocks with a constant count of
  // elements are what compilers turn into vector code at any optimisation level.
  static void rectify(std::span<Scalar> row) noexcept {
    for (std::size_t j = 0; j < row.size(); j += block) {
      Scalar* SKIM_RESTRICT z = row.data() + j;
      for (std::size_t k = 0; k < block; ++k) z[k] = Scalar(0) > z[k] ? Scalar(0) : z[k];
    }
  }

  loss_sums take_loss(const batch_targets<Scalar>& targets, std::span<const float> weights,
                      Scalar scale, const example_scores& scores) noexcept {
    const layer& last = layers_.back();
    return compute_loss<block, Scalar>(params_.loss, outputs(), targets, weights, scale,
                                       {delta_.data(), rows_, last.outputs, last.stride}, scores);
  }

  void copy_outputs(skim::matrix_view<Scalar> logits, std::size_t first) const noexcept {
    if (logits.empty()) return;
    for (std::size_t i = 0; i < rows_; ++i)
      std::copy_n(outputs().row(i).data(), params_.outputs, logits.row(first + i).data());
  }

  // ---- backward: delta_ holds the gradient by the outputs of the layer at hand

  template <class Optimizer>
  void propagate_back(Optimizer& optimizer) {
    for (std::size_t l = layers_.size(); l-- > 0;) {
      const layer& at = layers_[l];
      const skim::matrix_view<const Scalar> delta(delta_.data(), rows_, at.stride, at.stride);
      sum_columns(at.stride, l + 1 < layers_.size() ? activation(l).data() : nullptr);
      if (l > 0) {  // before the weights change
        const layer& below = layers_[l - 1];
        const skim::matrix_view<Scalar> next(next_delta_.data(), rows_, below.outputs,
                                             below.stride);
        std::fill_n(next_delta_.data(), rows_ * below.stride, Scalar(0));
        add_product<transposed::right, Scalar>(delta, whole_weights(at), next, buffers_);
      }
      update_weights(l, delta, optimizer);
      optimizer.update(at.biases, std::span(parameters_).subspan(at.biases, at.stride),
                       std::span<const Scalar>(bias_gradient_).first(at.stride),
                       parameter_kind::bias);
      std::swap(delta_, next_delta_);
    }
  }

  skim::matrix_view<const Scalar> whole_weights(const layer& at) const noexcept {
    return {parameters_.data() + at.weights, at.inputs, at.stride, at.stride};
  }

  // Gradient by the pre-activations (zero where the unit did not fire) and, summed, by the biases.
  void sum_columns(std::size_t width, const Scalar* fired) noexcept {
    Scalar* const sum = bias_gradient_.data();
    Scalar* const delta = delta_.data();
    const std::size_t end = rows_ * width;
    std::fill_n(sum, width, Scalar(0));
    if (fired == nullptr) {
      for (std::size_t row = 0; row < end; row += width)
        for (std::size_t j = 0; j < width; j += block) add_block(delta + row + j, sum + j);
    } else {
      for (std::size_t row = 0; row < end; row += width)
        for (std::size_t j = 0; j < width; j += block)
          mask_and_add(delta + row + j, fired + row + j, sum + j);
    }
  }

  // One block each, with the pointers' independence in the signature: written into the loops above,
  // the same lines become scalar code.
  static void mask_and_add(Scalar* SKIM_RESTRICT d, const Scalar* SKIM_RESTRICT fired,
                           Scalar* SKIM_RESTRICT sum) noexcept {
    for (std::size_t k = 0; k < block; ++k) {
      const Scalar kept = fired[k] > Scalar(0) ? d[k] : Scalar(0);
      d[k] = kept;
      sum[k] += kept;
    }
  }
  static void add_block(const Scalar* SKIM_RESTRICT d, Scalar* SKIM_RESTRICT sum) noexcept {
    for (std::size_t k = 0; k < block; ++k) sum[k] += d[k];
  }

  template <class Optimizer>
  void update_weights(std::size_t l, skim::matrix_view<const Scalar> delta, Optimizer& optimizer) {
    const layer& at = layers_[l];
    const std::size_t strip = strip_rows(at);
    for (std::size_t first = 0; first < at.inputs; first += strip) {
      const std::size_t count = std::min(strip, at.inputs - first);
      const skim::matrix_view<Scalar> gradient(strip_.data(), count, at.stride, at.stride);
      std::fill_n(strip_.data(), count * at.stride, Scalar(0));
      if (l == 0 && sparse_) {
        for (std::size_t j = 0; j < count; ++j)
          add_rows({by_input_.data() + input_start_[first + j],
                    input_start_[first + j + 1] - input_start_[first + j]},
                   delta, gradient.row(j));
      } else {
        const skim::matrix_view<const Scalar> x = l == 0 ? input_ : activation(l - 1);
        add_product<transposed::left, Scalar>({x.data() + first, rows_, count, x.stride()}, delta,
                                              gradient, buffers_);
      }
      const std::size_t offset = at.weights + first * at.stride;
      optimizer.update(offset, std::span(parameters_).subspan(offset, count * at.stride),
                       std::span<const Scalar>(strip_).first(count * at.stride),
                       parameter_kind::weight);
    }
  }

  params params_;
  std::vector<layer> layers_;
  skim::aligned_vector<Scalar> parameters_;
  skim::aligned_vector<Scalar> activations_, delta_, next_delta_, bias_gradient_, strip_, gathered_;
  product_buffers<Scalar> buffers_;
  std::vector<entry> by_row_, by_input_;  // nonzeros of a sparse batch: (input, x) and (row, x)
  std::vector<std::size_t> row_start_, input_start_;
  skim::matrix_view<const Scalar> input_;  // of the last forward pass, unless it was sparse
  std::size_t rows_ = 0;
  bool sparse_ = false;
};

using mlp = basic_mlp<float>;

}  // namespace skim_examples
