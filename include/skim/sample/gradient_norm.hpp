// SPDX-License-Identifier: Apache-2.0
//
// Batches resampled from a larger one by the gradient norms that a forward pass over it tells, while
// that saves more variance than the pass costs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/alias.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/detail/epoch_order.hpp"
#include "skim/sample/detail/importance.hpp"

namespace skim::inline v0 {

/// Settings of the gradient norm samplers.
struct gradient_norm_params {
  std::size_t pool = 3;                  ///< B / b: candidates scored for each example drawn
  std::optional<double> threshold = {};  ///< tau above which to sample; empty: the cost rule
  double smoothing = 0.9;                ///< weight of the past in the moving average of tau
  double beta = 1;  ///< weights are (1 / (B p))^beta; 1 is unbiased, 0 ignores them
};

/// What sampling in proportion to scores is worth: their root mean square over their mean.
///
/// With normalised scores g and u = 1 / B, 1 / tau = sqrt(1 - |g - u|^2 / |g|^2) is the form of the
/// paper; as |g - u|^2 = |g|^2 - 1 / B, tau = sqrt(B) |g|. Where scores are gradient norms, the second
/// moment of the reweighted gradient is 1 / tau^2 of the uniform one. 1 for equal scores or none.
[[nodiscard]] inline double variance_gain(std::span<const float> scores) noexcept {
  double sum = 0, squares = 0;
  for (const float s : scores) {
    sum += static_cast<double>(s);
    squares += static_cast<double>(s) * static_cast<double>(s);
  }
  return sum > 0 ? std::sqrt(squares * static_cast<double>(scores.size())) / sum : 1;
}

namespace detail {

/// What the catalogue and the stream form share: the variance gate and the resampling.
class gradient_norm_selector {
 public:
  gradient_norm_selector() = default;
  gradient_norm_selector(const gradient_norm_params& p, random_engine engine)
      : params_(p), engine_(engine) {
    if (!is_possible(p))
      SKIM_THROW(invalid_params,
                 concat("gradient_norm_params: got pool ", p.pool, ", threshold ",
                        p.threshold.value_or(0), ", smoothing ", p.smoothing, " and beta ", p.beta,
                        ", wanted a pool of 1 to 2^20, threshold >= 0, smoothing in [0, 1) and "
                        "beta in [0, 1]"));
  }

  /// A uniform step costs 3 b (backward is two forwards), a sampled one B + 3 b; tau says how many
  /// times larger the uniform batch may be for the same noise.
  [[nodiscard]] double threshold() const noexcept {
    return params_.threshold.value_or((static_cast<double>(params_.pool) + 3) / 3);
  }
  [[nodiscard]] bool is_open() const noexcept { return tau_ > threshold(); }
  [[nodiscard]] double tau() const noexcept { return tau_; }
  [[nodiscard]] std::size_t candidates(std::size_t batch) const noexcept {
    return batch * params_.pool;
  }
  [[nodiscard]] std::size_t largest_batch() const noexcept {
    return (std::size_t{1} << 31) / (params_.pool + 1);  // an alias table's limit
  }

  /// A batch with repetition among scored candidates; ids are their positions.
  void choose(std::span<const float> scores, std::size_t batch, batch_buffer& drawn) {
    uniform_ = false;
    learn(variance_gain(scores));
    drawn.resize(batch);
    const bool any = std::any_of(scores.begin(), scores.end(), [](float s) { return s > 0; });
    if (!any) {  // nothing to choose by: the first of a random order
      for (std::size_t i = 0; i < batch; ++i) drawn.ids[i] = static_cast<id_t>(i);
      std::fill(drawn.weights.begin(), drawn.weights.end(), 1.0f);
      return;
    }
    const alias_sampler table(scores);
    table.draw(engine_, drawn.ids);
    probabilities_.resize(scores.size());
    table.probabilities(probabilities_);
    const auto candidates = static_cast<double>(scores.size());
    for (std::size_t i = 0; i < batch; ++i)
      drawn.weights[i] = static_cast<float>(1 / (candidates * probabilities_[drawn.ids[i]]));
    temper(drawn.weights, params_.beta);
  }
  /// The gate is closed: the batch is whatever comes next.
  void choose_uniformly(std::size_t batch, batch_buffer& drawn) {
    uniform_ = true;
    drawn.resize(batch);
    std::fill(drawn.weights.begin(), drawn.weights.end(), 1.0f);
  }
  /// Learns from the scores of a uniform batch; those of a sampled one say nothing that its candidates
  /// did not.
  void observe(std::span<const float> scores) noexcept {
    if (uniform_) learn(variance_gain(scores));
  }

  void save(writer& out) const {
    out.begin_frame("gradient_norm_selector");
    out.put(static_cast<std::uint64_t>(params_.pool));
    out.put(params_.threshold.has_value());
    out.put(params_.threshold.value_or(0));
    out.put(params_.smoothing);
    out.put(params_.beta);
    out.put(tau_);
    out.put(uniform_);
    engine_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static gradient_norm_selector load(reader& in) {
    in.begin_frame("gradient_norm_selector");
    gradient_norm_selector s;
    s.params_.pool = static_cast<std::size_t>(in.get<std::uint64_t>());
    const bool given = in.get<bool>();
    const auto threshold = in.get<double>();
    if (given) s.params_.threshold = threshold;
    s.params_.smoothing = in.get<double>();
    s.params_.beta = in.get<double>();
    s.tau_ = in.get<double>();
    s.uniform_ = in.get<bool>();
    s.engine_ = random_engine::load(in);
    if (!is_possible(s.params_) || !(s.tau_ >= 0 && std::isfinite(s.tau_)))
      in.fail("holds a selector that cannot be");
    in.end_frame();
    return s;
  }

 private:
  static bool is_possible(const gradient_norm_params& p) noexcept {
    return p.pool > 0 && p.pool <= (std::size_t{1} << 20) && p.threshold.value_or(0) >= 0 &&
           p.smoothing >= 0 && p.smoothing < 1 && p.beta >= 0 && p.beta <= 1;
  }

  void learn(double tau) noexcept {
    tau_ = params_.smoothing * tau_ + (1 - params_.smoothing) * tau;
  }

  gradient_norm_params params_;
  random_engine engine_;
  double tau_ = 0;  // from 0 it takes some batches to open
  bool uniform_ = true;
  std::vector<double> probabilities_;
};

}  // namespace detail

/// Batches from a catalogue, resampled by score from pool * batch uniform candidates.
///
/// Candidates come in epochs without replacement; of them the batch is drawn independently, with
/// repetition, p_i ~ score_i, and weighs 1 / (B p_i). The score to hand in is |softmax - onehot| or
/// |residual|, which bounds the gradient norm up to a constant of the network. A gate compares a
/// moving average of tau, see variance_gain(), with the price of the forward pass over the candidates; while
/// it is closed batches are uniform, propose() asks for nothing, and tau follows from the batches'
/// own scores.
///
/// Shape:   n examples; a batch may be larger than n.
/// Memory:  4 n bytes, and about 36 a candidate.
/// Cost:    O(candidates) a draw, besides the forward pass; nothing grows with n.
/// Error:   unbiased for beta = 1 and whatever vanishes where scores do, as gradients must. Variance
///          of an estimate of sum f_i from a pool: (sum f_i^2 / p_i - (sum f_i)^2) / batch.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches on every platform.
/// Ref:     Katharopoulos and Fleuret 2018, arXiv:1803.00942. The threshold's cost rule and smoothing
///          0.9 are the paper's; pool 3 and the start at tau = 0 are from memory.
class gradient_norm_sampler {
 public:
  /// Throws invalid_params for no examples or parameters out of range.
  gradient_norm_sampler(std::size_t examples, gradient_norm_params p, seed s)
      : selector_(p, random_engine(s).child(1)) {
    detail::check_examples("gradient_norm_sampler", examples);
    order_ = detail::epoch_order(examples, random_engine(s).child(0));
  }

  [[nodiscard]] std::span<const id_t> propose(std::size_t batch) {
    detail::check_batch_size("gradient_norm_sampler::propose", batch, selector_.largest_batch());
    if (!proposal_.stands("gradient_norm_sampler::propose", batch)) {
      proposal_.open(batch);
      proposal_.ids.resize(selector_.is_open() ? selector_.candidates(batch) : 0);
      order_.take(proposal_.ids);
    }
    return proposal_.ids;
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch, std::span<const float> scores) {
    proposal_.check("gradient_norm_sampler::draw", batch, scores);
    if (scores.empty()) {
      selector_.choose_uniformly(batch, drawn_);
      order_.take(drawn_.ids);
    } else {
      selector_.choose(scores, batch, drawn_);
      for (id_t& id : drawn_.ids) id = proposal_.ids[id];
    }
    proposal_.close();
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) {
    drawn_.check_observation("gradient_norm_sampler::observe", ids, scores);
    selector_.observe(scores);
  }

  [[nodiscard]] std::size_t examples() const noexcept { return order_.size(); }
  /// Whether the next proposal will ask for scores.
  [[nodiscard]] bool wants_scores() const noexcept { return selector_.is_open(); }
  /// Moving average of the variance gain.
  [[nodiscard]] double tau() const noexcept { return selector_.tau(); }

  void save(writer& out) const {
    out.begin_frame("gradient_norm_sampler");
    selector_.save(out);
    order_.save(out);
    proposal_.save(out);
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static gradient_norm_sampler load(reader& in) {
    in.begin_frame("gradient_norm_sampler");
    gradient_norm_sampler s;
    s.selector_ = detail::gradient_norm_selector::load(in);
    s.order_ = detail::epoch_order::load(in);
    const std::size_t n = s.order_.size();
    s.order_.require_below(n, in);
    s.proposal_.load(in, n);
    if (const std::size_t ids = s.proposal_.ids.size();
        s.proposal_.batch() > s.selector_.largest_batch() ||
        (ids != 0 && ids != s.selector_.candidates(s.proposal_.batch())))
      in.fail("proposes ", ids, " ids for a batch of ", s.proposal_.batch());
    s.drawn_.load(in);
    s.drawn_.require_below(n, in);
    if (n == 0) in.fail("holds a sampler of no examples");
    in.end_frame();
    return s;
  }

 private:
  gradient_norm_sampler() = default;

  detail::gradient_norm_selector selector_;
  detail::epoch_order order_;
  detail::score_proposal proposal_;
  detail::batch_buffer drawn_;
};

/// Batches from a stream, resampled by score from the block that is offered.
///
/// As gradient_norm_sampler, with the next pool * batch examples of the stream for candidates while
/// the gate is open, and just a batch while it is closed.
///
/// Shape:   blocks of candidates(batch) rows; features and labels are not looked at.
/// Memory:  about 32 bytes a candidate.
/// Cost:    O(candidates) a batch, besides the forward pass.
/// Error:   unbiased for each block, as gradient_norm_sampler.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches on every platform.
/// Ref:     Katharopoulos and Fleuret 2018, arXiv:1803.00942; see gradient_norm_sampler.
class gradient_norm_stream_sampler {
 public:
  /// Throws invalid_params for parameters out of range.
  gradient_norm_stream_sampler(gradient_norm_params p, seed s) : selector_(p, random_engine(s)) {}

  [[nodiscard]] bool wants_scores() const noexcept { return selector_.is_open(); }
  [[nodiscard]] std::size_t candidates(std::size_t batch) const noexcept {
    return wants_scores() ? selector_.candidates(batch) : batch;
  }

  /// Throws invalid_input, and changes nothing, for a block of another size, scores that are not
  /// wanted or not one for each row.
  [[nodiscard]] drawn_batch select(const stream_block& block, std::size_t batch,
                                   std::span<const float> scores) {
    constexpr auto who = "gradient_norm_stream_sampler::select";
    detail::check_batch_size(who, batch, selector_.largest_batch());
    detail::check_block(who, block, candidates(batch));
    detail::check_scores(who, scores, wants_scores() ? block.rows() : 0);
    if (wants_scores()) {
      selector_.choose(scores, batch, drawn_);
    } else {
      selector_.choose_uniformly(batch, drawn_);
      for (std::size_t i = 0; i < batch; ++i) drawn_.ids[i] = static_cast<id_t>(i);
    }
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) {
    drawn_.check_observation("gradient_norm_stream_sampler::observe", ids, scores);
    selector_.observe(scores);
  }

  /// Moving average of the variance gain.
  [[nodiscard]] double tau() const noexcept { return selector_.tau(); }

  void save(writer& out) const {
    out.begin_frame("gradient_norm_stream_sampler");
    selector_.save(out);
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static gradient_norm_stream_sampler load(reader& in) {
    in.begin_frame("gradient_norm_stream_sampler");
    gradient_norm_stream_sampler s;
    s.selector_ = detail::gradient_norm_selector::load(in);
    s.drawn_.load(in);
    in.end_frame();
    return s;
  }

 private:
  gradient_norm_stream_sampler() = default;

  detail::gradient_norm_selector selector_;
  detail::batch_buffer drawn_;
};

static_assert(scoring_batch_sampler<gradient_norm_sampler> &&
              scoring_stream_sampler<gradient_norm_stream_sampler>);

}  // namespace skim::inline v0
