// SPDX-License-Identifier: Apache-2.0
//
// Batches drawn by the rank of each example's score: only the order matters, not the scale.
#pragma once

#include <algorithm>
#include <bit>
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
#include "skim/sample/detail/importance.hpp"
#include "skim/sample/detail/weights.hpp"
#include "skim/sample/systematic.hpp"

namespace skim::inline v0 {

/// Settings of the rank samplers.
struct rank_params {
  double pressure = 100;  ///< s_e: how many times likelier the highest score is than the lowest
  double resort = 0.5;    ///< catalogue: epochs of draws between sorts of the scores
  double beta = 0;        ///< weights are (1 / (n p))^beta; 0 is the paper's, 1 is unbiased
  std::size_t pool = 3;   ///< stream: candidates scored for each example drawn
};

namespace detail {

[[nodiscard]] inline bool is_possible(const rank_params& p) noexcept {
  return p.pressure >= 1 && p.pressure <= 1e30 && p.resort > 0 && std::isfinite(p.resort) &&
         p.beta >= 0 && p.beta <= 1 && p.pool > 0;
}
inline void check_params(const rank_params& p) {
  if (!is_possible(p))
    SKIM_THROW(invalid_params, concat("rank_params: got pressure ", p.pressure, ", resort ",
                                      p.resort, ", beta ", p.beta, " and pool ", p.pool,
                                      ", wanted pressure 1 to 1e30, resort > 0, beta in [0, 1] and "
                                      "a pool of at least 1"));
}
inline void put_params(writer& out, const rank_params& p) {
  for (const double v : {p.pressure, p.resort, p.beta}) out.put(v);
  out.put(static_cast<std::uint64_t>(p.pool));
}
[[nodiscard]] inline rank_params get_rank_params(reader& in) {
  rank_params p;
  for (double* v : {&p.pressure, &p.resort, &p.beta}) *v = in.get<double>();
  p.pool = static_cast<std::size_t>(in.get<std::uint64_t>());
  if (!is_possible(p)) in.fail("holds rank parameters that cannot be");
  return p;
}

/// Ranks 0..n-1 with probability ~ q^rank, q = pressure^(-1 / n).
class rank_law {
 public:
  rank_law(std::size_t n, double pressure) noexcept
      : n_(n),
        log_q_(-std::log(pressure) / static_cast<double>(n)),
        mass_(1 - 1 / pressure),  // 1 - q^n
        head_(pressure > 1 ? -std::expm1(log_q_) / mass_ : 1 / static_cast<double>(n)) {}

  [[nodiscard]] double probability(std::size_t rank) const noexcept {
    return head_ * std::exp(log_q_ * static_cast<double>(rank));
  }
  /// By inversion: the distribution function at rank k is (1 - q^(k + 1)) / (1 - q^n).
  template <random_source G>
  [[nodiscard]] std::size_t draw(G& g) const noexcept {
    const double u = uniform(g);
    const double at = mass_ > 0 ? std::log1p(-u * mass_) / log_q_ : u * static_cast<double>(n_);
    return std::min(static_cast<std::size_t>(at), n_ - 1);
  }

 private:
  std::size_t n_;
  double log_q_, mass_, head_;
};

/// Positions by falling score, of equal scores the earlier first. Scores are finite and >= 0, so that
/// their bits are in the order of their values.
inline void rank_scores(std::span<const float> scores, std::vector<std::uint64_t>& keys,
                        std::vector<id_t>& ranked) {
  keys.resize(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i)
    keys[i] = std::uint64_t{~std::bit_cast<std::uint32_t>(scores[i] + 0.0f)} << 32 | i;
  std::sort(keys.begin(), keys.end());
  ranked.resize(scores.size());
  for (std::size_t i = 0; i < keys.size(); ++i) ranked[i] = static_cast<id_t>(keys[i]);
}

}  // namespace detail

/// Draws examples with a probability that falls exponentially with the rank of their last score.
///
/// The first epoch is uniform without replacement, so that every example has a score. Then draws are
/// independent, with repetition: p ~ s_e^(-rank / n), rank 0 for the highest score. Scores are sorted
/// anew every resort * n examples drawn, all in one call. The paper lets s_e decay while training; here
/// it is constant.
///
/// Shape:   n examples; a batch may be larger than n.
/// Memory:  12 n bytes, 8 n more from the first sort on.
/// Cost:    draw and observe O(1) an example; a sort O(n log n), so O(log n / resort) amortised.
/// Error:   biased by design with beta = 0, which is the paper's: there are no importance weights.
///          beta = 1 is unbiased: p is known exactly, ranks are fixed between sorts.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches; std::log1p decides the rank, so that its last
///          bit could change a draw once in 1e15 / n.
/// Ref:     Loshchilov and Hutter 2015, arXiv:1511.06343. From memory: s_e = 100; the interval between
///          sorts is this library's.
class rank_sampler {
 public:
  /// Throws invalid_params for no examples or parameters out of range.
  rank_sampler(std::size_t examples, rank_params p, seed s)
      : params_(p), engine_(random_engine(s).child(1)) {
    detail::check_params(p);
    detail::check_examples("rank_sampler", examples);
    order_ = detail::epoch_order(examples, random_engine(s).child(0));
    scores_.assign(examples, 0.0f);
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch) {
    detail::check_batch_size("rank_sampler::draw", batch, std::numeric_limits<id_t>::max());
    drawn_.resize(batch);
    std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
    const std::size_t n = order_.size();
    if (!order_.every_id_taken()) {
      order_.take(drawn_.ids);
      return drawn_.view();
    }
    if (ranked_.empty() ||
        static_cast<double>(since_sort_) >= params_.resort * static_cast<double>(n)) {
      detail::rank_scores(scores_, keys_, ranked_);
      since_sort_ = 0;
    }
    since_sort_ += batch;
    const detail::rank_law law(n, params_.pressure);
    for (std::size_t i = 0; i < batch; ++i) {
      const std::size_t rank = law.draw(engine_);
      drawn_.ids[i] = ranked_[rank];
      if (params_.beta > 0)
        drawn_.weights[i] =
            static_cast<float>(1 / (static_cast<double>(n) * law.probability(rank)));
    }
    detail::temper(drawn_.weights, params_.beta);
    return drawn_.view();
  }

  /// Remembers the scores of the batch last drawn.
  void observe(std::span<const id_t> ids, std::span<const float> scores) {
    drawn_.check_observation("rank_sampler::observe", ids, scores);
    for (std::size_t i = 0; i < ids.size(); ++i) scores_[ids[i]] = scores[i];
  }

  [[nodiscard]] std::size_t examples() const noexcept { return order_.size(); }

  void save(writer& out) const {
    out.begin_frame("rank_sampler");
    detail::put_params(out, params_);
    engine_.save(out);
    order_.save(out);
    out.put(std::span(scores_));
    out.put(std::span(ranked_));
    out.put(static_cast<std::uint64_t>(since_sort_));
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static rank_sampler load(reader& in) {
    in.begin_frame("rank_sampler");
    rank_sampler s;
    s.params_ = detail::get_rank_params(in);
    s.engine_ = random_engine::load(in);
    s.order_ = detail::epoch_order::load(in);
    s.scores_ = in.get_vector<float>();
    s.ranked_ = in.get_vector<id_t>();
    s.since_sort_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    const std::size_t n = s.order_.size();
    if (n == 0 || s.scores_.size() != n || (!s.ranked_.empty() && s.ranked_.size() != n))
      in.fail(s.scores_.size(), " scores and ", s.ranked_.size(), " ranks for ", n, " examples");
    if (!detail::are_weights(std::span<const float>(s.scores_)))
      in.fail("holds a score that is none");
    s.order_.require_below(n, in);
    for (const id_t id : s.ranked_)
      if (id >= n) in.fail("ranks id ", id, " of ", n);
    s.drawn_.load(in);
    s.drawn_.require_below(n, in);
    in.end_frame();
    return s;
  }

 private:
  rank_sampler() = default;

  rank_params params_;
  random_engine engine_;
  detail::epoch_order order_;   // of the first epoch
  std::vector<float> scores_;   // last known
  std::vector<id_t> ranked_;    // by falling score, as of the last sort; empty before the first
  std::size_t since_sort_ = 0;  // examples drawn
  std::vector<std::uint64_t> keys_;
  detail::batch_buffer drawn_;
};

/// Selects from a block of a stream with a probability that falls exponentially with the rank of an
/// example's score within the block.
///
/// Inclusion probabilities ~ s_e^(-rank / rows) are capped at 1 and add up to the batch; one systematic
/// draw follows them. With beta > 0 example i weighs (batch / (rows * pi_i))^beta.
///
/// Shape:   blocks of candidates(n) == pool * n rows; features and labels are not looked at.
/// Memory:  about 28 bytes a candidate.
/// Cost:    one sort of the block, besides the forward pass over it.
/// Error:   biased by design with beta = 0; unbiased for each block with beta = 1.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches; probabilities are those of std::exp.
/// Ref:     Loshchilov and Hutter 2015, arXiv:1511.06343, for the law; the pool and the draw without
///          replacement are this library's.
class rank_stream_sampler {
 public:
  /// Throws invalid_params for parameters out of range.
  rank_stream_sampler(rank_params p, seed s) : params_(p), engine_(s) { detail::check_params(p); }

  [[nodiscard]] bool wants_scores() const noexcept { return true; }
  [[nodiscard]] std::size_t candidates(std::size_t batch) const noexcept {
    return batch * params_.pool;
  }

  /// Throws invalid_input, and changes nothing, for a block of another size or scores that are not
  /// one for each row.
  [[nodiscard]] drawn_batch select(const stream_block& block, std::size_t batch,
                                   std::span<const float> scores) {
    constexpr auto who = "rank_stream_sampler::select";
    detail::check_batch_size(who, batch, std::numeric_limits<id_t>::max() / params_.pool);
    detail::check_block(who, block, candidates(batch));
    detail::check_scores(who, scores, block.rows());
    const std::size_t rows = block.rows();
    detail::rank_scores(scores, keys_, ranked_);
    const detail::rank_law law(rows, params_.pressure);
    rates_.resize(rows);
    inclusion_.resize(rows);
    for (std::size_t rank = 0; rank < rows; ++rank)
      rates_[ranked_[rank]] = static_cast<float>(law.probability(rank));
    inclusion_probabilities(rates_, {.budget = static_cast<double>(batch)},
                            std::span<float>(inclusion_));
    drawn_.resize(batch);
    detail::draw_exactly(inclusion_, engine_, scratch_, drawn_.ids);
    const double scale = static_cast<double>(batch) / static_cast<double>(rows);
    for (std::size_t i = 0; i < batch; ++i)
      drawn_.weights[i] =
          static_cast<float>(scale / static_cast<double>(inclusion_[drawn_.ids[i]]));
    detail::temper(drawn_.weights, params_.beta);
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) const {
    drawn_.check_observation("rank_stream_sampler::observe", ids, scores);
  }

  void save(writer& out) const {
    out.begin_frame("rank_stream_sampler");
    detail::put_params(out, params_);
    engine_.save(out);
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static rank_stream_sampler load(reader& in) {
    in.begin_frame("rank_stream_sampler");
    rank_stream_sampler s(detail::get_rank_params(in), seed{});
    s.engine_ = random_engine::load(in);
    s.drawn_.load(in);
    in.end_frame();
    return s;
  }

 private:
  rank_params params_;
  random_engine engine_;
  std::vector<std::uint64_t> keys_;
  std::vector<id_t> ranked_, scratch_;
  std::vector<float> rates_, inclusion_;
  detail::batch_buffer drawn_;
};

static_assert(batch_sampler<rank_sampler> && scoring_stream_sampler<rank_stream_sampler>);

}  // namespace skim::inline v0
