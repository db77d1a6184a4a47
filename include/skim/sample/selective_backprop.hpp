// SPDX-License-Identifier: Apache-2.0
//
// Batches of the examples whose scores are high among recent ones: forward for all, backward for few.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/detail/epoch_order.hpp"
#include "skim/sample/detail/recent_scores.hpp"

namespace skim::inline v0 {

/// Settings of the selective backprop samplers.
struct selective_backprop_params {
  double exponent = 2;         ///< beta of the paper; about 1 / (exponent + 1) of all are kept
  std::size_t history = 1024;  ///< recent scores that percentiles are taken among
};

namespace detail {

/// What the catalogue and the stream form share: the history and the coins.
class selective_backprop_selector {
 public:
  selective_backprop_selector() = default;
  selective_backprop_selector(const selective_backprop_params& p, random_engine engine)
      : exponent_(p.exponent), engine_(engine) {
    if (!is_possible(p.exponent) || p.history == 0 || p.history > most_history)
      SKIM_THROW(invalid_params,
                 concat("selective_backprop_params: got exponent ", p.exponent, " and history ",
                        p.history, ", wanted an exponent of 0 to 100 and a history of 1 to 2^24"));
    recent_ = recent_scores(p.history);
  }

  /// Candidates of which `wanted` are kept on average, with some more if so many must not be missed.
  [[nodiscard]] std::size_t candidates(std::size_t wanted, bool surely) const noexcept {
    // For a uniform percentile U, E[U^beta] and E[U^(2 beta)] tell that the number kept of m has a
    // variance of m (1 / (beta + 1) - 1 / (2 beta + 1)) < wanted / 2: this is over 2.8 deviations.
    const auto mean = static_cast<double>(wanted);
    return static_cast<std::size_t>(
        std::ceil((exponent_ + 1) * (mean + (surely ? 2 * std::sqrt(mean) : 0))));
  }
  [[nodiscard]] std::size_t largest_batch() const noexcept {
    return static_cast<std::size_t>(static_cast<double>(std::numeric_limits<id_t>::max()) /
                                    (3 * (exponent_ + 1) + 1));
  }

  /// Positions of candidates kept, each with probability percentile^exponent. Should there be fewer
  /// than `least`, all probabilities count as larger by one factor, which makes just so many.
  /// Pre: least <= scores.size().
  [[nodiscard]] std::span<const id_t> choose(std::span<const float> scores, std::size_t least) {
    recent_.insert(scores);
    kept_.clear();
    spare_.clear();
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double keep = std::pow(recent_.percentile(scores[i]), exponent_);
      const double coin = uniform(engine_);
      if (coin < keep)
        kept_.push_back(static_cast<id_t>(i));
      else
        spare_.push_back(
            {coin / std::max(keep, std::numeric_limits<double>::min()), static_cast<id_t>(i)});
    }
    if (kept_.size() < least) {
      const std::size_t more = least - kept_.size();
      std::partial_sort(spare_.begin(), spare_.begin() + static_cast<std::ptrdiff_t>(more),
                        spare_.end(), [](const spare& a, const spare& b) {
                          return a.factor != b.factor ? a.factor < b.factor : a.at < b.at;
                        });
      for (std::size_t i = 0; i < more; ++i) kept_.push_back(spare_[i].at);
    }
    return kept_;
  }

  void save(writer& out) const {
    out.begin_frame("selective_backprop_selector");
    out.put(exponent_);
    recent_.save(out);
    engine_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static selective_backprop_selector load(reader& in) {
    in.begin_frame("selective_backprop_selector");
    selective_backprop_selector s;
    s.exponent_ = in.get<double>();
    if (!is_possible(s.exponent_)) in.fail("holds the exponent ", s.exponent_);
    s.recent_ = recent_scores::load(in);
    if (s.recent_.capacity() > most_history)
      in.fail("holds a history of ", s.recent_.capacity(), " scores");
    s.engine_ = random_engine::load(in);
    in.end_frame();
    return s;
  }

 private:
  struct spare {
    double factor = 0;  // by which its probability would have had to be larger
    id_t at = 0;
  };
  static constexpr std::size_t most_history = std::size_t{1} << 24;
  static bool is_possible(double exponent) noexcept { return exponent >= 0 && exponent <= 100; }

  double exponent_ = 2;
  recent_scores recent_;
  random_engine engine_;
  std::vector<id_t> kept_;
  std::vector<spare> spare_;
};

}  // namespace detail

/// Batches from a catalogue of the examples kept by a coin that favours high scores.
///
/// Examples come in epochs without replacement and are scored; each is kept with probability (share of
/// the recent scores that are not above its own)^exponent, and what is kept gathers until a batch is
/// full. A proposal is large enough for that nearly always; in the rare draw where it is not, all
/// probabilities are raised by one factor. What a batch leaves over goes into the next.
///
/// Shape:   n examples; a batch may be larger than n.
/// Memory:  4 n bytes, 24 a score of the history, about 24 a candidate.
/// Cost:    exponent + 1 candidates scored for each example drawn, O(log candidates + log history)
///          each, and a pass over the history a draw; nothing grows with n.
/// Error:   biased by design: there are no importance weights, hard examples count more. Inclusion
///          probabilities are the percentiles' powers.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches; std::pow decides a coin, so that its last bit
///          could change an outcome once in 1e15 draws.
/// Ref:     Jiang et al. 2019, arXiv:1910.00762. From memory: exponents 2 and 3 (33 % and 25 % kept),
///          a history of 1024.
class selective_backprop_sampler {
 public:
  /// Throws invalid_params for no examples or parameters out of range.
  selective_backprop_sampler(std::size_t examples, selective_backprop_params p, seed s)
      : selector_(p, random_engine(s).child(1)) {
    detail::check_examples("selective_backprop_sampler", examples);
    order_ = detail::epoch_order(examples, random_engine(s).child(0));
  }

  [[nodiscard]] std::span<const id_t> propose(std::size_t batch) {
    constexpr auto who = "selective_backprop_sampler::propose";
    detail::check_batch_size(who, batch, selector_.largest_batch());
    if (!proposal_.stands(who, batch)) {
      proposal_.open(batch);
      proposal_.ids.resize(
          batch > waiting_.size() ? selector_.candidates(batch - waiting_.size(), true) : 0);
      order_.take(proposal_.ids);
    }
    return proposal_.ids;
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch, std::span<const float> scores) {
    proposal_.check("selective_backprop_sampler::draw", batch, scores);
    if (!scores.empty())
      for (const id_t at : selector_.choose(scores, batch - waiting_.size()))
        waiting_.push_back(proposal_.ids[at]);
    proposal_.close();
    drawn_.resize(batch);
    std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
    const auto last = waiting_.begin() + static_cast<std::ptrdiff_t>(batch);
    std::copy(waiting_.begin(), last, drawn_.ids.begin());
    waiting_.erase(waiting_.begin(), last);
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) const {
    drawn_.check_observation("selective_backprop_sampler::observe", ids, scores);
  }

  [[nodiscard]] std::size_t examples() const noexcept { return order_.size(); }

  void save(writer& out) const {
    out.begin_frame("selective_backprop_sampler");
    selector_.save(out);
    order_.save(out);
    out.put(std::span(waiting_));
    proposal_.save(out);
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static selective_backprop_sampler load(reader& in) {
    in.begin_frame("selective_backprop_sampler");
    selective_backprop_sampler s;
    s.selector_ = detail::selective_backprop_selector::load(in);
    s.order_ = detail::epoch_order::load(in);
    const std::size_t n = s.order_.size();
    s.order_.require_below(n, in);
    s.waiting_ = in.get_vector<id_t>();
    for (const id_t id : s.waiting_)
      if (id >= n) in.fail("keeps id ", id, " of ", n);
    s.proposal_.load(in, n);
    // A draw relies on as many candidates as the batch lacks.
    if (s.proposal_.batch() > s.waiting_.size() + s.proposal_.ids.size() ||
        (!s.proposal_.ids.empty() && s.proposal_.batch() <= s.waiting_.size()))
      in.fail("proposes ", s.proposal_.ids.size(), " ids for a batch of ", s.proposal_.batch());
    s.drawn_.load(in);
    s.drawn_.require_below(n, in);
    if (n == 0) in.fail("holds a sampler of no examples");
    in.end_frame();
    return s;
  }

 private:
  selective_backprop_sampler() = default;

  detail::selective_backprop_selector selector_;
  detail::epoch_order order_;
  std::vector<id_t> waiting_;  // kept, not yet trained on
  detail::score_proposal proposal_;
  detail::batch_buffer drawn_;
};

/// Batches from a stream of the examples kept by a coin that favours high scores.
///
/// As selective_backprop_sampler among (exponent + 1) * batch candidates at a time. What is kept beyond
/// a batch, the last of the block, passes by; where too few are, all probabilities are raised by one factor.
///
/// Shape:   blocks of candidates(batch) rows; features and labels are not looked at.
/// Memory:  24 bytes a score of the history, about 24 a candidate.
/// Cost:    O(log candidates + log history) a candidate besides its forward pass, and a pass over
///          the history a batch.
/// Error:   biased by design: there are no importance weights.
/// Threads: none.
/// Seeds:   as selective_backprop_sampler.
/// Ref:     Jiang et al. 2019, arXiv:1910.00762; see selective_backprop_sampler.
class selective_backprop_stream_sampler {
 public:
  /// Throws invalid_params for parameters out of range.
  selective_backprop_stream_sampler(selective_backprop_params p, seed s)
      : selector_(p, random_engine(s)) {}

  [[nodiscard]] bool wants_scores() const noexcept { return true; }
  [[nodiscard]] std::size_t candidates(std::size_t batch) const noexcept {
    return selector_.candidates(batch, false);
  }

  /// Throws invalid_input, and changes nothing, for a block of another size or scores that are not
  /// one for each row.
  [[nodiscard]] drawn_batch select(const stream_block& block, std::size_t batch,
                                   std::span<const float> scores) {
    constexpr auto who = "selective_backprop_stream_sampler::select";
    detail::check_batch_size(who, batch, selector_.largest_batch());
    detail::check_block(who, block, candidates(batch));
    detail::check_scores(who, scores, block.rows());
    const std::span<const id_t> kept = selector_.choose(scores, batch);
    drawn_.resize(batch);
    std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
    std::copy_n(kept.begin(), batch, drawn_.ids.begin());
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) const {
    drawn_.check_observation("selective_backprop_stream_sampler::observe", ids, scores);
  }

  void save(writer& out) const {
    out.begin_frame("selective_backprop_stream_sampler");
    selector_.save(out);
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static selective_backprop_stream_sampler load(reader& in) {
    in.begin_frame("selective_backprop_stream_sampler");
    selective_backprop_stream_sampler s;
    s.selector_ = detail::selective_backprop_selector::load(in);
    s.drawn_.load(in);
    in.end_frame();
    return s;
  }

 private:
  selective_backprop_stream_sampler() = default;

  detail::selective_backprop_selector selector_;
  detail::batch_buffer drawn_;
};

static_assert(scoring_batch_sampler<selective_backprop_sampler> &&
              scoring_stream_sampler<selective_backprop_stream_sampler>);

}  // namespace skim::inline v0
