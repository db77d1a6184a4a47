// SPDX-License-Identifier: Apache-2.0
//
// Epochs that leave out a share of the easy examples and let the others stand for them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/detail/epoch_order.hpp"
#include "skim/sample/detail/weights.hpp"

namespace skim::inline v0 {

/// Settings of the InfoBatch sampler.
struct infobatch_params {
  double prune = 0.5;  ///< r: share of the examples below the mean score that an epoch leaves out
};

/// Epochs without replacement from which examples with a last score below the mean are left out with
/// probability r; those that stay weigh 1 / (1 - r), all others 1.
///
/// Mean and scores are those at the start of the epoch: an example is visited once an epoch, so its
/// last score still is the one it began with, and the coin is tossed when its turn comes. Examples
/// without a score stay. The training loop calls anneal() for the last epochs, the last 12.5 % in the
/// paper, which then use all data.
///
/// Shape:   n examples; a batch may be larger than n and may straddle epochs.
/// Memory:  8 n bytes: last scores and an order.
/// Cost:    O(1) amortised an example, of it one vectorised pass over the scores an epoch; 1 / (1 - r)
///          candidates looked at for an example drawn at most.
/// Error:   sums over an epoch are unbiased. An epoch has fewer steps than a full one by the share left out,
///          and the mean of weight * gradient over a batch is larger than the mean gradient by as much: an
///          epoch moves the network as far as a full one.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches on every platform.
/// Ref:     Qin et al. 2024, ICLR, arXiv:2303.04947 (r = 0.5, annealing from 87.5 % of training).
class infobatch_sampler {
 public:
  /// Throws invalid_params for no examples or a share outside [0, 1).
  infobatch_sampler(std::size_t examples, infobatch_params p, seed s)
      : prune_(p.prune), engine_(random_engine(s).child(1)) {
    detail::check_examples("infobatch_sampler", examples);
    if (!is_possible(prune_))
      SKIM_THROW(invalid_params,
                 detail::concat("infobatch_params: got prune ", prune_, ", wanted 0 to below 1"));
    order_ = detail::epoch_order(examples, random_engine(s).child(0));
    scores_.assign(examples, unknown);
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch) {
    detail::check_batch_size("infobatch_sampler::draw", batch, std::numeric_limits<id_t>::max());
    drawn_.resize(batch);
    const auto heavy = static_cast<float>(1 / (1 - prune_));
    for (std::size_t filled = 0; filled < batch;) {
      if (order_.left() == 0) begin_epoch();
      const std::size_t left = order_.left() == 0 ? order_.size() : order_.left();
      const std::size_t count = std::min(batch - filled, left);
      const std::span<id_t> fresh = std::span(drawn_.ids).subspan(filled, count);
      order_.take(fresh);
      for (const id_t id : fresh) {
        const bool easy = scores_[id] >= 0 && scores_[id] < threshold_;
        if (easy && uniform(engine_) < prune_) continue;
        drawn_.weights[filled] = easy ? heavy : 1.0f;
        drawn_.ids[filled++] = id;
      }
    }
    return drawn_.view();
  }

  /// Remembers the scores of the batch last drawn.
  void observe(std::span<const id_t> ids, std::span<const float> scores) {
    drawn_.check_observation("infobatch_sampler::observe", ids, scores);
    for (std::size_t i = 0; i < ids.size(); ++i) scores_[ids[i]] = scores[i];
  }

  /// From the next epoch on, uses all data with weight 1.
  void anneal() noexcept { annealing_ = true; }

  [[nodiscard]] std::size_t examples() const noexcept { return order_.size(); }
  /// Epochs begun so far.
  [[nodiscard]] std::size_t epochs() const noexcept { return order_.epochs(); }
  /// Score below which examples of this epoch may be left out; 0 if none may.
  [[nodiscard]] float threshold() const noexcept { return threshold_; }

  void save(writer& out) const {
    out.begin_frame("infobatch_sampler");
    out.put(prune_);
    out.put(threshold_);
    out.put(annealing_);
    engine_.save(out);
    order_.save(out);
    out.put(std::span(scores_));
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static infobatch_sampler load(reader& in) {
    in.begin_frame("infobatch_sampler");
    infobatch_sampler s;
    s.prune_ = in.get<double>();
    s.threshold_ = in.get<float>();
    if (!is_possible(s.prune_) || !detail::is_weight(s.threshold_))
      in.fail("holds the share ", s.prune_, " and the threshold ", s.threshold_);
    s.annealing_ = in.get<bool>();
    s.engine_ = random_engine::load(in);
    s.order_ = detail::epoch_order::load(in);
    s.scores_ = in.get_vector<float>();
    const std::size_t n = s.order_.size();
    if (n == 0 || s.scores_.size() != n) in.fail(s.scores_.size(), " scores for ", n, " examples");
    for (const float score : s.scores_)
      if (score != unknown && !detail::is_weight(score)) in.fail("holds the score ", score);
    s.order_.require_below(n, in);
    s.drawn_.load(in);
    s.drawn_.require_below(n, in);
    in.end_frame();
    return s;
  }

 private:
  static constexpr float unknown = -1;  // stands for no score

  infobatch_sampler() = default;

  static bool is_possible(double prune) noexcept { return prune >= 0 && prune < 1; }

  void begin_epoch() noexcept {
    const std::span<const float> all = scores_;
    const double known = detail::lane_sum(all, [](float s) { return s >= 0 ? 1.0 : 0.0; });
    const double sum =
        detail::lane_sum(all, [](float s) { return s >= 0 ? static_cast<double>(s) : 0.0; });
    // Rounded as the scores are: equal ones are not below their mean.
    threshold_ = annealing_ || known == 0 ? 0.0f : static_cast<float>(sum / known);
  }

  double prune_ = 0.5;
  float threshold_ = 0;
  bool annealing_ = false;
  random_engine engine_;
  detail::epoch_order order_;
  std::vector<float> scores_;
  detail::batch_buffer drawn_;
};

static_assert(batch_sampler<infobatch_sampler>);

}  // namespace skim::inline v0
