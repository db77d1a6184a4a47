// SPDX-License-Identifier: Apache-2.0
//
// Which outputs a batch computes besides its own labels, each with a known probability.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/nn/active_set.hpp"
#include "skim/sample/alias.hpp"

namespace skim::inline v0 {

/// Adds outputs to a batch's active set at random, independent of the batch.
///
/// `probability(id)` is the chance that one call of `select` draws the id, whether or not the set
/// holds it already. Models: uniform_selector, frequency_selector, selector_union.
template <class S>
concept neuron_selector = requires(const S& s, random_engine& g, active_set& set, id_t id) {
  s.select(g, set);
  { s.probability(id) } -> std::convertible_to<double>;
  { s.outputs() } -> std::convertible_to<std::size_t>;
};

/// Each output with the same probability, independently.
///
/// Memory:  none.
/// Cost:    one exponential an output drawn: the gaps between draws are geometric.
/// Error:   the probability is exactly expected / outputs.
/// Threads: const members may run at once, each with its engine and set.
/// Seeds:   equal engines draw equal sets, but for a last bit of std::log1p in the gaps' scale.
/// Ref:     Fan, Muller and Rezucha 1962, JASA 57 (skipping in Bernoulli sampling).
class uniform_selector {
 public:
  /// Throws invalid_params unless 0 <= expected <= outputs, 0 < outputs < 2^32.
  uniform_selector(std::size_t outputs, double expected) : outputs_(outputs) {
    if (outputs == 0 || outputs >> 32 != 0 ||
        !(expected >= 0 && expected <= static_cast<double>(outputs)))
      SKIM_THROW(invalid_params,
                 detail::concat("uniform_selector: got ", expected, " draws of ", outputs,
                                " outputs, wanted at least one output, fewer than 2^32, and at "
                                "most as many draws"));
    probability_ = expected / static_cast<double>(outputs);
    scale_ = probability_ < 1 ? -1 / std::log1p(-probability_) : 0;
  }

  void select(random_engine& g, active_set& set) const {
    SKIM_EXPECTS(set.bound() == outputs_);
    if (probability_ <= 0) return;
    // The number of outputs skipped is floor(Exp(1) / -log(1 - p)): geometric.
    for (double at = gap(g); at < static_cast<double>(outputs_); at += 1 + gap(g))
      set.insert(static_cast<id_t>(at));
  }

  [[nodiscard]] double probability(id_t) const noexcept { return probability_; }
  [[nodiscard]] std::size_t outputs() const noexcept { return outputs_; }

 private:
  [[nodiscard]] double gap(random_engine& g) const noexcept {
    return std::floor(exponential(g) * scale_);
  }

  std::size_t outputs_;
  double probability_ = 0, scale_ = 0;
};

/// Outputs by the frequency of their labels: a number of draws from weights count^power.
///
/// Memory:  12 bytes an output.
/// Cost:    one random word a draw; draws of the same output count once.
/// Error:   the probability is exactly 1 - (1 - q)^draws, q the quanta of the alias table.
/// Threads: const members may run at once, each with its engine and set.
/// Seeds:   equal engines draw equal sets.
/// Ref:     Mikolov et al. 2013, NeurIPS (powers of the frequency).
class frequency_selector {
 public:
  /// Throws invalid_params unless there are counts, not all zero, and the power is finite.
  frequency_selector(std::span<const std::uint32_t> counts, double power, std::size_t draws)
      : table_(weights(counts, power)), draws_(draws), probabilities_(counts.size()) {
    std::vector<double> q(counts.size());
    table_.probabilities(q);
    for (std::size_t i = 0; i < q.size(); ++i)
      probabilities_[i] =
          -std::expm1(static_cast<double>(draws) * std::log1p(-std::min(q[i], 1.0)));
  }

  void select(random_engine& g, active_set& set) const {
    SKIM_EXPECTS(set.bound() == outputs());
    for (std::size_t i = 0; i < draws_; ++i) set.insert(table_.draw(g));
  }

  [[nodiscard]] double probability(id_t id) const noexcept { return probabilities_[id]; }
  [[nodiscard]] std::size_t outputs() const noexcept { return probabilities_.size(); }

 private:
  [[nodiscard]] static std::vector<double> weights(std::span<const std::uint32_t> counts,
                                                   double power) {
    if (!std::isfinite(power))
      SKIM_THROW(invalid_params, detail::concat("frequency_selector: got a power of ", power,
                                                ", wanted a finite number"));
    std::vector<double> w(counts.size());
    for (std::size_t i = 0; i < w.size(); ++i)
      w[i] = counts[i] > 0 ? std::pow(static_cast<double>(counts[i]), power) : 0.0;
    return w;
  }

  alias_sampler table_;
  std::size_t draws_;
  std::vector<double> probabilities_;
};

/// What either of two selectors draws.
///
/// Memory:  theirs.
/// Cost:    theirs.
/// Error:   the probability is that of either, for they draw independently.
/// Threads: as both of them.
/// Ref:     derived here.
template <neuron_selector A, neuron_selector B>
class selector_union {
 public:
  /// Throws invalid_params if they have different numbers of outputs.
  selector_union(A a, B b) : a_(std::move(a)), b_(std::move(b)) {
    if (a_.outputs() != b_.outputs())
      SKIM_THROW(invalid_params, detail::concat("selector_union: got ", a_.outputs(), " and ",
                                                b_.outputs(), " outputs, wanted as many"));
  }

  void select(random_engine& g, active_set& set) const {
    a_.select(g, set);
    b_.select(g, set);
  }
  [[nodiscard]] double probability(id_t id) const {
    return 1 - (1 - a_.probability(id)) * (1 - b_.probability(id));
  }
  [[nodiscard]] std::size_t outputs() const { return a_.outputs(); }

 private:
  A a_;
  B b_;
};

static_assert(neuron_selector<uniform_selector> && neuron_selector<frequency_selector> &&
              neuron_selector<selector_union<uniform_selector, frequency_selector>>);

/// The active set of a batch: its own labels, always, and what a selector adds.
///
/// For an example of the batch, an output that is none of its labels is active with probability
/// pi = 1 - (1 - s) (1 - p)^(batch - 1): drawn by the selector (s), or a label of one of the other
/// examples, p being the share of examples that have it. The losses shift logits by -log pi.
///
/// Memory:  4 bytes an output.
/// Cost:    draw: O(1) a label of the batch and the selector's; making it: one power an output.
/// Error:   pi is exact for batches of independent draws; for those of a shuffled pass it leaves out
///          that an example is not drawn twice, a relative difference of batch / examples.
/// Threads: const members may run at once, each with its engine and set.
/// Ref:     Bengio and Senecal 2008, IEEE Trans. Neural Netw. 19(4) (sampled losses); the batch's share
///          of pi is derived here.
template <neuron_selector Selector>
class active_sampler {
 public:
  /// `counts`: examples with each label, of `examples` in all. Throws invalid_params unless the counts
  /// fit the selector's outputs and the number of examples, and for a batch of 0.
  active_sampler(Selector selector, std::span<const std::uint32_t> counts, std::size_t examples,
                 std::size_t batch)
      : selector_(std::move(selector)), shifts_(counts.size()) {
    if (counts.size() != selector_.outputs() || batch == 0)
      SKIM_THROW(invalid_params,
                 detail::concat("active_sampler: got ", counts.size(), " counts and a batch of ",
                                batch, ", wanted ", selector_.outputs(),
                                " counts and a batch of 1 or "
                                "more"));
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] > examples)
        SKIM_THROW(invalid_params,
                   detail::concat("active_sampler: got a count of ", counts[i], " among ", examples,
                                  " examples, wanted at most as many"));
      const double p =
          examples == 0 ? 0 : static_cast<double>(counts[i]) / static_cast<double>(examples);
      const double absent = (1 - selector_.probability(static_cast<id_t>(i))) *
                            std::pow(1 - p, static_cast<double>(batch - 1));
      // An output that can never be active has no shift; neither can it have a logit.
      shifts_[i] = absent < 1 ? static_cast<float>(-std::log1p(-absent)) : 0.0f;
    }
  }

  /// Fills the set anew: labels of the given examples first, then what the selector draws. Throws
  /// invalid_input if an example or a label is out of range.
  void draw(const label_sets& labels, std::span<const id_t> examples, random_engine& g,
            active_set& set) const {
    if (set.bound() != shifts_.size())
      SKIM_THROW(invalid_input, detail::concat("active_sampler: got a set of ids below ",
                                               set.bound(), ", wanted ", shifts_.size()));
    set.clear();
    for (const id_t e : examples) {
      if (e >= labels.size())
        SKIM_THROW(invalid_input, detail::concat("active_sampler: got the example ", e,
                                                 ", wanted one below ", labels.size()));
      for (const label_t l : labels[e]) {
        if (l >= shifts_.size())
          SKIM_THROW(invalid_input, detail::concat("active_sampler: got the label ", l,
                                                   ", wanted one below ", shifts_.size()));
        set.insert(l);
      }
    }
    selector_.select(g, set);
  }

  /// -log pi of each id of the set. Pre: out.size() == set.size().
  void shifts(const active_set& set, std::span<float> out) const noexcept {
    SKIM_EXPECTS(out.size() == set.size());
    for (std::size_t j = 0; j < out.size(); ++j) out[j] = shifts_[set.ids()[j]];
  }

  [[nodiscard]] std::span<const float> shifts() const noexcept { return shifts_; }
  [[nodiscard]] const Selector& selector() const noexcept { return selector_; }
  [[nodiscard]] std::size_t outputs() const noexcept { return shifts_.size(); }

 private:
  Selector selector_;
  std::vector<float> shifts_;
};

}  // namespace skim::inline v0
