// SPDX-License-Identifier: Apache-2.0
//
// Batches drawn by each example's last observed score: the plain form of importance sampling.
#pragma once

#include <cmath>
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
#include "skim/sample/detail/importance.hpp"
#include "skim/sample/dynamic.hpp"

namespace skim::inline v0 {

/// How a score_table_sampler turns scores into probabilities and weights.
struct score_table_params {
  double uniform_share = 0.2;  ///< lambda: part of each batch drawn uniformly, in (0, 1]
  double exponent = 1;         ///< gamma: probability ~ score^gamma
  double beta = 1;             ///< weights are (1 / (n p))^beta; 1 is unbiased, 0 ignores them
};

/// Draws examples with probability lambda / n + (1 - lambda) s_i / sum(s), s_i the score that example i
/// had when it was last trained on.
///
/// The first epoch is uniform without replacement, so that every example has a score; from then on all
/// draws are independent.
///
/// Shape:   n examples.
/// Memory:  about 20 n bytes: scores, their sampler and the order of the first epoch.
/// Cost:    draw and observe O(batch), whatever n.
/// Error:   unbiased for beta = 1. A score is as old as its example's last visit; label noise makes this
///          sampler chase the noise.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches on every platform.
/// Ref:     importance sampling by remembered scores, e.g. arXiv:2311.14468; the uniform share
///          keeps weights below 1 / lambda.
class score_table_sampler {
 public:
  /// Throws invalid_params for no examples or parameters out of range.
  score_table_sampler(std::size_t examples, score_table_params p, seed s)
      : params_(p), engine_(random_engine(s).child(1)) {
    detail::check_importance("score_table_sampler", p.uniform_share, p.beta, p.exponent);
    detail::check_examples("score_table_sampler", examples);
    order_ = detail::epoch_order(examples, random_engine(s).child(0));
    scores_ = dynamic_sampler(std::vector<float>(examples, 0.0f));
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch) {
    detail::check_batch_size("score_table_sampler::draw", batch, std::numeric_limits<id_t>::max());
    drawn_.resize(batch);
    const double total = scores_.total_weight();
    const bool sampling = order_.every_id_taken() && total > 0;
    const std::size_t uniform =
        sampling ? detail::uniform_rows(batch, params_.uniform_share) : batch;
    std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
    if (!sampling) {
      order_.take(drawn_.ids);
      return drawn_.view();
    }
    // Independent uniform draws: what an epoch has left depends on when scores were updated, which would
    // bias the weights below.
    for (std::size_t i = 0; i < uniform; ++i)
      drawn_.ids[i] = static_cast<id_t>(uniform_below(engine_, order_.size()));
    if (uniform < batch) scores_.draw(engine_, std::span(drawn_.ids).subspan(uniform));
    // Both parts weigh by the mixture they were drawn from (balance heuristic).
    const double lambda = static_cast<double>(uniform) / static_cast<double>(batch);
    const double scale = (1 - lambda) * static_cast<double>(order_.size()) / total;
    for (std::size_t i = 0; i < batch; ++i) {
      const double score = static_cast<double>(scores_.weight(drawn_.ids[i]));
      drawn_.weights[i] = static_cast<float>(1 / (lambda + scale * score));
    }
    detail::temper(drawn_.weights, params_.beta);
    return drawn_.view();
  }

  /// Remembers the scores of the batch last drawn.
  void observe(std::span<const id_t> ids, std::span<const float> scores) {
    drawn_.check_observation("score_table_sampler::observe", ids, scores);
    if (params_.exponent == 1) {
      scores_.update(ids, scores);
      return;
    }
    powers_.resize(scores.size());
    for (std::size_t i = 0; i < scores.size(); ++i)
      powers_[i] = std::min(std::pow(scores[i], static_cast<float>(params_.exponent)),
                            std::numeric_limits<float>::max());
    scores_.update(ids, powers_);
  }

  [[nodiscard]] std::size_t examples() const noexcept { return order_.size(); }

  void save(writer& out) const {
    out.begin_frame("score_table_sampler");
    out.put(params_.uniform_share);
    out.put(params_.exponent);
    out.put(params_.beta);
    engine_.save(out);
    order_.save(out);
    scores_.save(out);
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static score_table_sampler load(reader& in) {
    in.begin_frame("score_table_sampler");
    score_table_sampler s;
    s.params_.uniform_share = in.get<double>();
    s.params_.exponent = in.get<double>();
    s.params_.beta = in.get<double>();
    if (!(s.params_.uniform_share > 0 && s.params_.uniform_share <= 1) ||
        !(s.params_.beta >= 0 && s.params_.beta <= 1) ||
        !(s.params_.exponent >= 0 && std::isfinite(s.params_.exponent)))
      in.fail("holds impossible parameters");
    s.engine_ = random_engine::load(in);
    s.order_ = detail::epoch_order::load(in);
    s.scores_ = dynamic_sampler::load(in);
    s.order_.require_below(s.order_.size(), in);
    if (s.order_.size() == 0 || s.scores_.size() != s.order_.size())
      in.fail(s.scores_.size(), " scores for ", s.order_.size(), " examples");
    s.drawn_.load(in);
    s.drawn_.require_below(s.scores_.size(), in);
    in.end_frame();
    return s;
  }

 private:
  score_table_sampler() = default;

  score_table_params params_;
  detail::epoch_order order_;
  dynamic_sampler scores_;
  random_engine engine_;
  detail::batch_buffer drawn_;
  std::vector<float> powers_;
};

static_assert(batch_sampler<score_table_sampler>);

}  // namespace skim::inline v0
