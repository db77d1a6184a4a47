// SPDX-License-Identifier: Apache-2.0
//
// Softmax cross-entropy, logistic and squared loss: value, gradient and per-example scores in one
// pass over the outputs of a batch.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <Eigen/Core>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim_examples {

/// What the outputs z of an example are held against.
enum class loss_kind : std::uint8_t {
  softmax,   ///< -log softmax(z)[label]
  logistic,  ///< sum over outputs of log(1 + exp(z)) - y z, with y in [0, 1]
  squared,   ///< |z - y|^2 / 2
};

[[nodiscard]] constexpr const char* name(loss_kind loss) noexcept {
  switch (loss) {
    case loss_kind::softmax:
      return "softmax";
    case loss_kind::logistic:
      return "logistic";
    case loss_kind::squared:
      return "squared";
  }
  return "unknown";
}

/// What a batch should be answered with: a label or a row of target values for each example.
///
/// Softmax takes labels below the number of outputs. Logistic takes labels below 2 for a single
/// output, below the number of outputs for several (each is then told from all others), or values
/// in [0, 1]. Squared takes values.
template <class Scalar>
class batch_targets {
 public:
  template <class Labels>
  requires std::is_convertible_v<const Labels&, std::span<const skim::label_t>> batch_targets(
      const Labels& labels)  // NOLINT(google-explicit-constructor): a view
      : labels_(labels), labelled_(true) {}
  template <class Values>
  requires(!std::is_convertible_v<const Values&, std::span<const skim::label_t>> &&
           std::is_convertible_v<const Values&, skim::matrix_view<const Scalar>>)
      batch_targets(const Values& values)  // NOLINT(google-explicit-constructor): a view
      : values_(values) {}

  [[nodiscard]] bool labelled() const noexcept { return labelled_; }
  [[nodiscard]] std::span<const skim::label_t> labels() const noexcept { return labels_; }
  [[nodiscard]] skim::matrix_view<const Scalar> values() const noexcept { return values_; }
  [[nodiscard]] std::size_t size() const noexcept {
    return labelled_ ? labels_.size() : values_.rows();
  }

  [[nodiscard]] batch_targets part(std::size_t first, std::size_t count) const {
    return labelled_ ? batch_targets(labels_.subspan(first, count))
                     : batch_targets(values_.rows(first, count));
  }

  /// Throws skim::invalid_input unless these are `rows` targets that the loss can be taken against.
  void validate(loss_kind loss, std::size_t rows, std::size_t outputs) const {
    using skim::detail::concat;
    if (size() != rows)
      SKIM_THROW(skim::invalid_input,
                 concat("targets: got ", size(), " for ", rows, " examples, wanted one each"));
    if (labelled_ ? loss == loss_kind::squared : loss == loss_kind::softmax)
      SKIM_THROW(skim::invalid_input,
                 concat("targets: got ", labelled_ ? "labels" : "values", " for ", name(loss),
                        " loss, wanted ", labelled_ ? "values" : "labels"));
    if (labelled_) {
      const std::size_t classes = outputs == 1 ? 2 : outputs;
      skim::label_t highest = 0;
      for (const skim::label_t label : labels_) highest = label > highest ? label : highest;
      if (rows > 0 && highest >= (loss == loss_kind::softmax ? outputs : classes))
        for (std::size_t i = 0; i < rows; ++i)
          if (labels_[i] == highest)
            SKIM_THROW(skim::invalid_input, concat("targets: got label ", highest, " for example ",
                                                   i, ", wanted one below ",
                                                   loss == loss_kind::softmax ? outputs : classes));
      return;
    }
    if (values_.cols() != outputs)
      SKIM_THROW(skim::invalid_input, concat("targets: got ", values_.cols(), " values a row for ",
                                             outputs, " outputs, wanted as many"));
    for (std::size_t i = 0; i < rows; ++i)
      for (const Scalar y : values_.row(i))
        if (loss == loss_kind::logistic ? !(y >= 0 && y <= 1) : !std::isfinite(y))
          SKIM_THROW(skim::invalid_input,
                     concat("targets: got the value ", y, " for example ", i, ", wanted ",
                            loss == loss_kind::logistic ? "one in [0, 1]" : "a finite one"));
  }

 private:
  std::span<const skim::label_t> labels_;
  skim::matrix_view<const Scalar> values_;
  bool labelled_ = false;
};

/// Where the scores of each example go, unweighted; spans may be left empty.
struct example_scores {
  std::span<float> loss;            ///< the example's loss
  std::span<float> residual;        ///< |d loss / d outputs|: |softmax - onehot|, |z - y|
  std::span<std::uint8_t> correct;  ///< 1 if the prediction is right; not for squared loss
  skim::matrix_view<float> derivatives = {};  ///< (rows, outputs) d loss / d outputs

  /// Throws skim::invalid_input unless each span is empty or holds `rows` elements.
  void validate(loss_kind loss_of, std::size_t rows, std::size_t outputs) const {
    for (const std::size_t size : {loss.size(), residual.size(), correct.size()})
      if (size != 0 && size != rows)
        SKIM_THROW(skim::invalid_input,
                   skim::detail::concat("scores: got room for ", size,
                                        " examples, wanted room for ", rows, " or none"));
    if (!derivatives.empty() && (derivatives.rows() != rows || derivatives.cols() != outputs))
      SKIM_THROW(skim::invalid_input,
                 skim::detail::concat("scores: got room for ", derivatives.rows(), " x ",
                                      derivatives.cols(), " derivatives, wanted room for ", rows,
                                      " x ", outputs, " or none"));
    if (loss_of == loss_kind::squared && !correct.empty())
      SKIM_THROW(skim::invalid_input,
                 "scores: got room for correctness, wanted none: under squared loss no prediction "
                 "is right or wrong");
  }

  [[nodiscard]] example_scores part(std::size_t first, std::size_t count) const {
    return {loss.empty() ? loss : loss.subspan(first, count),
            residual.empty() ? residual : residual.subspan(first, count),
            correct.empty() ? correct : correct.subspan(first, count),
            derivatives.empty() ? derivatives : derivatives.rows(first, count)};
  }
};

/// Sums over the examples of a batch.
struct loss_sums {
  double loss = 0;              ///< unweighted
  double weighted_loss = 0;     ///< times the example's weight
  double squared_residual = 0;  ///< of |d loss / d outputs|^2, unweighted
  std::size_t correct = 0;      ///< right predictions; none under squared loss
};

/// Losses of a batch; turns outputs into the gradient of (sum of weight * loss) * scale.
///
/// Shape:   z and delta are (rows, outputs) with rows a multiple of `padding` apart and at least
///          the next multiple of it long; delta's columns from outputs up to there become zero.
///          weights (rows) or empty for ones.
/// Cost:    one exponential an output; no allocation.
/// Threads: none shared.
template <std::size_t Padding, class Scalar>
loss_sums compute_loss(loss_kind kind, skim::matrix_view<const Scalar> z,
                       const batch_targets<Scalar>& targets, std::span<const float> weights,
                       Scalar scale, skim::matrix_view<Scalar> delta,
                       const example_scores& scores) {
  using array = Eigen::Array<Scalar, Eigen::Dynamic, 1>;
  using map = Eigen::Map<array, Eigen::Aligned64>;
  using const_map = Eigen::Map<const array, Eigen::Aligned64>;
  const std::size_t outputs = z.cols(), padded = (outputs + Padding - 1) / Padding * Padding;
  SKIM_EXPECTS(z.rows() == delta.rows() && delta.cols() == outputs);
  SKIM_EXPECTS(z.stride() >= padded && delta.stride() >= padded);
  const auto n = static_cast<Eigen::Index>(outputs), wide = static_cast<Eigen::Index>(padded);
  const bool labelled = targets.labelled();
  loss_sums sums;
  for (std::size_t i = 0; i < z.rows(); ++i) {
    const const_map row(z.row(i).data(), wide);
    map d(delta.row(i).data(), wide);
    Scalar loss = 0;
    bool correct = false;
    switch (kind) {
      case loss_kind::softmax: {
        const std::size_t label = targets.labels()[i];
        Eigen::Index best = 0;
        Scalar top = row[0];
        for (Eigen::Index j = 1; j < n; ++j)
          if (row[j] > top) top = row[j], best = j;
        d = (row - top).exp();
        d.tail(wide - n).setZero();
        const Scalar sum = d.sum();
        loss = std::log(sum) - (row[static_cast<Eigen::Index>(label)] - top);
        d *= Scalar(1) / sum;
        d[static_cast<Eigen::Index>(label)] -= Scalar(1);
        correct = static_cast<std::size_t>(best) == label;
        break;
      }
      case loss_kind::logistic: {
        // With e = exp(-|z|): log(1 + exp(z)) = max(z, 0) + log(1 + e), without overflow.
        d = (-row.abs()).exp();
        Eigen::Index best = 0;
        bool all_agree = true;
        for (Eigen::Index j = 0; j < n; ++j) {
          Scalar y = 0;
          if (!labelled)
            y = targets.values().row(i)[static_cast<std::size_t>(j)];
          else if (n == 1)
            y = static_cast<Scalar>(targets.labels()[i]);
          else
            y = static_cast<Scalar>(static_cast<Eigen::Index>(targets.labels()[i]) == j);
          loss += std::log1p(d[j]) + (row[j] > 0 ? row[j] : Scalar(0)) - y * row[j];
          if (row[j] > row[best]) best = j;
          all_agree = all_agree && (row[j] > 0) == (y > Scalar(0.5));
          d[j] = (row[j] >= 0 ? Scalar(1) : d[j]) / (Scalar(1) + d[j]) - y;
        }
        d.tail(wide - n).setZero();
        correct =
            labelled && n > 1 ? best == static_cast<Eigen::Index>(targets.labels()[i]) : all_agree;
        break;
      }
      case loss_kind::squared: {
        const std::span<const Scalar> y = targets.values().row(i);
        d.head(n) = row.head(n) - Eigen::Map<const array>(y.data(), n);
        d.tail(wide - n).setZero();
        break;
      }
    }
    const Scalar residual_square = d.square().sum();
    if (kind == loss_kind::squared) loss = residual_square / 2;
    const Scalar weight = weights.empty() ? Scalar(1) : static_cast<Scalar>(weights[i]);
    if (!scores.derivatives.empty())
      Eigen::Map<Eigen::ArrayXf>(scores.derivatives.row(i).data(), n) =
          d.head(n).template cast<float>();
    d *= weight * scale;

    sums.loss += static_cast<double>(loss);
    sums.weighted_loss += static_cast<double>(weight) * static_cast<double>(loss);
    sums.squared_residual += static_cast<double>(residual_square);
    sums.correct += correct;
    if (!scores.loss.empty()) scores.loss[i] = static_cast<float>(loss);
    if (!scores.residual.empty())
      scores.residual[i] = static_cast<float>(std::sqrt(residual_square));
    if (!scores.correct.empty()) scores.correct[i] = correct;
  }
  return sums;
}

}  // namespace skim_examples
