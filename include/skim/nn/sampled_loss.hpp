// SPDX-License-Identifier: Apache-2.0
//
// Softmax and one-vs-rest losses over an active set, corrected for how its members were drawn.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/logistic.hpp"
#include "skim/nn/active_set.hpp"

namespace skim::inline v0 {

enum class sampled_loss : std::uint8_t {
  sigmoid,  ///< one-vs-rest: a logistic loss for each active output
  softmax,  ///< cross entropy with 1 / |labels| on each label
};

namespace detail {

inline void check_sampled(const char* who, matrix_view<float> logits, const active_set& set,
                          std::span<const float> shifts, const label_sets& labels,
                          std::span<const id_t> examples, std::span<const float> losses) {
  if (logits.rows() != examples.size() || logits.cols() != set.size() ||
      losses.size() != examples.size() || shifts.size() != set.size() || set.size() == 0)
    SKIM_THROW(invalid_input,
               concat(who, ": got ", logits.rows(), " x ", logits.cols(), " logits for ",
                      examples.size(), " examples and ", set.size(), " active outputs, with ",
                      shifts.size(), " shifts and room for ", losses.size(),
                      " losses, wanted them to fit and some outputs to be active"));
  for (const id_t e : examples) {
    if (e >= labels.size())
      SKIM_THROW(invalid_input,
                 concat(who, ": got the example ", e, ", wanted one below ", labels.size()));
    for (const label_t l : labels[e])
      if (l >= set.bound() || !set.contains(l))
        SKIM_THROW(invalid_input, concat(who, ": label ", l, " of example ", e, " is not active"));
  }
  for (const float s : shifts)
    if (!std::isfinite(s)) SKIM_THROW(invalid_input, concat(who, ": got a shift of ", s));
  for (std::size_t b = 0; b < logits.rows(); ++b)
    if (!all_finite(matrix_view<const float>(logits).row(b)))
      SKIM_THROW(invalid_input, concat(who, ": got a logit that is not finite in row ", b,
                                       ", wanted finite ones"));
}

}  // namespace detail

/// Mean loss of a batch over its active set; the logits become its gradient.
///
/// Sigmoid: every active output j of example b is a question, answered 1 for the example's labels and 0
/// for all others, those of the other examples among them; the logit of a question is
/// l + shift_j. Softmax: cross entropy of the shifted logits, in which the example's own labels,
/// that are active for certain, have no shift. With shift = -log pi (active_sampler) the sum of
/// e^(l + shift) over the active outputs estimates that over all outputs without bias, and logits l
/// themselves, unshifted, are what to rank by. Labels of one example that the selector drew too count
/// once: a set has no duplicates, so there are no accidental hits.
///
/// Shape:   logits (batch, active) in, d mean loss / d logits out; shifts (active); losses (batch) out,
///          of each example before the mean. Examples without labels have loss 0 under softmax.
/// Cost:    about 1 ns a logit for sigmoid, less for softmax.
/// Error:   the gradient is that of the loss over the active set up to 2e-5 (softmax) or 1e-6. It is
///          consistent, not unbiased, as an estimate of the gradient over all outputs.
/// Threads: uses the executor's threads; equal results for any number of them.
/// Throws:  invalid_input on shapes that do not fit, labels that are not active and logits or shifts
///          that are not finite; nothing is changed then.
/// Ref:     Bengio and Senecal 2008, IEEE Trans. Neural Netw. 19(4); Jean et al. 2015, ACL (sets
///          shared by a batch). The shift of the sigmoid is the log-odds correction of case-control
///          sampling: Prentice and Pyke 1979, Biometrika 66(3).
template <executor Executor>
double take_sampled_loss(sampled_loss kind, matrix_view<float> logits, const active_set& set,
                         std::span<const float> shifts, const label_sets& labels,
                         std::span<const id_t> examples, std::span<float> losses,
                         Executor& executor) {
  detail::check_sampled("take_sampled_loss", logits, set, shifts, labels, examples, losses);
  if (examples.empty()) return 0;
  const auto mean = static_cast<float>(1 / static_cast<double>(examples.size()));
  executor.parallel_for(examples.size(), 16, [&](std::size_t first, std::size_t last) {
    for (std::size_t b = first; b < last; ++b) {
      const std::span<float> z = logits.row(b);
      const std::span<const label_t> own = labels[examples[b]];
      double loss = 0;
      if (kind == sampled_loss::sigmoid) {
        for (const label_t l : own) {
          const std::size_t j = set.position(l);
          loss -= static_cast<double>(z[j]) + static_cast<double>(shifts[j]);
        }
        loss += logistic_row(z, shifts, mean, z);
        for (const label_t l : own) z[set.position(l)] -= mean;
      } else if (own.empty()) {
        std::fill(z.begin(), z.end(), 0.0f);
      } else {
        const double share = 1 / static_cast<double>(own.size());
        for (const label_t l : own) {
          const std::size_t j = set.position(l);
          loss -= share * static_cast<double>(z[j]);
          z[j] -= shifts[j];
        }
        loss += softmax_row(z, shifts, mean, z);
        for (const label_t l : own)
          z[set.position(l)] -= static_cast<float>(static_cast<double>(mean) * share);
      }
      losses[b] = static_cast<float>(loss);
    }
  });
  double sum = 0;
  for (const float l : losses) sum += static_cast<double>(l);
  return sum / static_cast<double>(losses.size());
}

inline double take_sampled_loss(sampled_loss kind, matrix_view<float> logits, const active_set& set,
                                std::span<const float> shifts, const label_sets& labels,
                                std::span<const id_t> examples, std::span<float> losses) {
  serial_executor serial;
  return take_sampled_loss(kind, logits, set, shifts, labels, examples, losses, serial);
}

}  // namespace skim::inline v0
