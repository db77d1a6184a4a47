// SPDX-License-Identifier: Apache-2.0
//
// Batches in which rare classes are drawn more often, with exact weights: the free rival of learned
// samplers.
#pragma once

#include <algorithm>
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
#include "skim/sample/systematic.hpp"

namespace skim::inline v0 {

/// How strongly class-stratified draws favour rare classes.
struct class_stratified_params {
  double exponent =
      0.5;  ///< t: class c of n_c examples is drawn at a rate ~ n_c^t; 1 uniform, 0 balanced
  double beta = 1;  ///< weights are their exact values to this power; 1 is unbiased, 0 ignores them
  std::size_t pool = 8;  ///< stream only: candidates looked at for each example drawn
};

/// Class-balanced draws: every class at the same rate, and no weights. Biased by design, towards a
/// network that serves all classes alike.
inline constexpr class_stratified_params class_balanced{.exponent = 0, .beta = 0};

namespace detail {

inline void check_class_stratified(const class_stratified_params& p) {
  if (!(p.exponent >= 0 && p.exponent <= 1) || !(p.beta >= 0 && p.beta <= 1))
    SKIM_THROW(invalid_params, concat("class_stratified_params: got exponent ", p.exponent,
                                      " and beta ", p.beta, ", wanted both 0 to 1"));
  if (p.pool == 0)
    SKIM_THROW(invalid_params, "class_stratified_params: got pool 0, wanted at least 1");
}

}  // namespace detail

/// Class-stratified batches from a catalogue with importance weights that make them exact.
///
/// Class c has the share q_c ~ n_c^t of every batch, rounded up or down at random so that the mean
/// is exact; within a class, epochs without replacement. An example of class c weighs (n_c / n) /
/// q_c.
///
/// Shape:   labels (n), any values; classes without examples are never drawn.
/// Memory:  4 n bytes and about 80 a class.
/// Cost:    O(batch + classes) a draw.
/// Error:   unbiased for beta = 1; no variance from the class composition of the batch.
/// Threads: none.
/// Seeds:   equal seeds give equal batches on every platform.
/// Ref:     stratified sampling (Cochran 1977, Sampling Techniques, chapter 5).
class class_stratified_sampler {
 public:
  /// Throws invalid_params for no labels or an exponent outside [0, 1].
  class_stratified_sampler(std::span<const label_t> labels, class_stratified_params p, seed s)
      : examples_(labels.size()), beta_(p.beta), engine_(random_engine(s).child(0)) {
    detail::check_class_stratified(p);
    if (labels.empty() || labels.size() > std::numeric_limits<id_t>::max())
      SKIM_THROW(invalid_params, detail::concat("class_stratified_sampler: got ", labels.size(),
                                                " labels, wanted 1 to 2^32 - 1"));
    // Classes by sorted label: labels need not be dense.
    std::vector<id_t> by_class(labels.size());
    for (std::size_t i = 0; i < by_class.size(); ++i) by_class[i] = static_cast<id_t>(i);
    std::stable_sort(by_class.begin(), by_class.end(),
                     [&](id_t a, id_t b) { return labels[a] < labels[b]; });
    double total = 0;
    for (auto first = by_class.begin(); first != by_class.end();) {
      const auto last = std::find_if(first, by_class.end(),
                                     [&](id_t id) { return labels[id] != labels[*first]; });
      const auto count = static_cast<double>(last - first);
      strata_.push_back({detail::epoch_order(std::vector<id_t>(first, last),
                                             random_engine(s).child(strata_.size() + 1)),
                         std::pow(count, p.exponent)});
      total += strata_.back().share;
      first = last;
    }
    for (stratum& c : strata_) c.share /= total;
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch) {
    detail::check_batch_size("class_stratified_sampler::draw", batch,
                             std::numeric_limits<id_t>::max());
    drawn_.resize(batch);
    // Systematic rounding of the shares: each count is its expectation rounded up or down.
    const double start = uniform(engine_);
    double sum = 0;
    std::size_t filled = 0;
    for (std::size_t c = 0; c < strata_.size(); ++c) {
      sum += strata_[c].share;
      const bool is_last = c + 1 == strata_.size();
      const auto up_to =
          is_last
              ? batch
              : std::min(batch, static_cast<std::size_t>(sum * static_cast<double>(batch) + start));
      const std::size_t count = std::max(up_to, filled) - filled;
      strata_[c].order.take(std::span(drawn_.ids).subspan(filled, count));
      const double weight = static_cast<double>(strata_[c].order.size()) /
                            (static_cast<double>(examples_) * strata_[c].share);
      std::fill_n(drawn_.weights.begin() + static_cast<std::ptrdiff_t>(filled), count,
                  static_cast<float>(weight));
      filled += count;
    }
    detail::temper(drawn_.weights, beta_);
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) const {
    drawn_.check_observation("class_stratified_sampler::observe", ids, scores);
  }

  [[nodiscard]] std::size_t examples() const noexcept { return examples_; }
  [[nodiscard]] std::size_t classes() const noexcept { return strata_.size(); }

  void save(writer& out) const {
    out.begin_frame("class_stratified_sampler");
    out.put(static_cast<std::uint64_t>(examples_));
    out.put(beta_);
    engine_.save(out);
    out.put(static_cast<std::uint64_t>(strata_.size()));
    for (const stratum& c : strata_) {
      c.order.save(out);
      out.put(c.share);
    }
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static class_stratified_sampler load(reader& in) {
    in.begin_frame("class_stratified_sampler");
    class_stratified_sampler s;
    s.examples_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    s.beta_ = in.get<double>();
    if (!(s.beta_ >= 0 && s.beta_ <= 1)) in.fail("holds the exponent ", s.beta_, " of weights");
    s.engine_ = random_engine::load(in);
    std::size_t total = 0;
    for (auto left = in.get<std::uint64_t>(); left > 0; --left) {
      stratum c{detail::epoch_order::load(in), 0};
      c.share = in.get<double>();
      if (c.order.size() == 0 || !(c.share > 0 && c.share <= 1))
        in.fail("holds an impossible class");
      c.order.require_below(s.examples_, in);
      total += c.order.size();
      s.strata_.push_back(std::move(c));
    }
    if (total == 0 || total != s.examples_)
      in.fail("classes hold ", total, " of ", s.examples_, " examples");
    s.drawn_.load(in);
    in.end_frame();
    return s;
  }

 private:
  struct stratum {
    detail::epoch_order order;
    double share = 0;  // q_c
  };

  class_stratified_sampler() = default;

  std::vector<stratum> strata_;
  std::size_t examples_ = 0;
  double beta_ = 1;
  random_engine engine_;
  detail::batch_buffer drawn_;
};

/// Class-stratified batches from a stream: rare classes are kept more often, with exact weights.
///
/// Class frequencies are those of the stream so far. From a block of pool * batch candidates,
/// candidate i of class c is included with probability pi_i = min(1, z n_c^(t-1)), z such that the
/// sum is the batch, by one systematic draw; it weighs batch / (rows * pi_i).
///
/// Shape:   candidates(n) == pool * n; labels are required.
/// Memory:  12 bytes a class, 8 a candidate.
/// Cost:    O(candidates) a batch, without looking at the features.
/// Error:   unbiased for each block for beta = 1 (Horvitz-Thompson).
/// Threads: none.
/// Seeds:   equal seeds give equal batches on every platform.
/// Ref:     Horvitz and Thompson 1952, JASA 47; Madow 1949, Ann. Math. Stat. 20 (systematic draws).
class class_stratified_stream_sampler {
 public:
  /// Throws invalid_params for 0 classes, an exponent outside [0, 1] or an empty pool.
  class_stratified_stream_sampler(std::size_t classes, class_stratified_params p, seed s)
      : params_(p), seen_(classes, 0.0), engine_(s) {
    detail::check_class_stratified(p);
    if (classes == 0)
      SKIM_THROW(invalid_params,
                 "class_stratified_stream_sampler: got 0 classes, wanted at least 1");
  }

  [[nodiscard]] std::size_t candidates(std::size_t batch) const noexcept {
    return batch * params_.pool;
  }

  /// Throws invalid_input for a block of another size, missing labels or a label outside [0,
  /// classes).
  [[nodiscard]] drawn_batch select(const stream_block& block, std::size_t batch) {
    detail::check_batch_size("class_stratified_stream_sampler::select", batch,
                             std::numeric_limits<id_t>::max());
    detail::check_block("class_stratified_stream_sampler::select", block, candidates(batch));
    const std::size_t rows = block.rows();
    if (block.labels.size() != rows)
      SKIM_THROW(invalid_input,
                 "class_stratified_stream_sampler::select: got a block without labels, "
                 "wanted one for each example");
    for (const label_t label : block.labels)
      if (label >= seen_.size())
        SKIM_THROW(invalid_input,
                   detail::concat("class_stratified_stream_sampler::select: got label ", label,
                                  ", wanted one below ", seen_.size()));
    for (const label_t label : block.labels) seen_[label] += 1;
    rates_.resize(seen_.size());
    for (std::size_t c = 0; c < seen_.size(); ++c)
      rates_[c] =
          seen_[c] > 0 ? static_cast<float>(std::pow(seen_[c], params_.exponent - 1)) : 0.0f;
    scores_.resize(rows);
    inclusion_.resize(rows);
    for (std::size_t i = 0; i < rows; ++i) scores_[i] = rates_[block.labels[i]];
    inclusion_probabilities(scores_, {.budget = static_cast<double>(batch)},
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
    drawn_.check_observation("class_stratified_stream_sampler::observe", ids, scores);
  }

  void save(writer& out) const {
    out.begin_frame("class_stratified_stream_sampler");
    out.put(params_.exponent);
    out.put(params_.beta);
    out.put(static_cast<std::uint64_t>(params_.pool));
    engine_.save(out);
    out.put(std::span(seen_));
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static class_stratified_stream_sampler load(reader& in) {
    in.begin_frame("class_stratified_stream_sampler");
    class_stratified_stream_sampler s;
    s.params_.exponent = in.get<double>();
    s.params_.beta = in.get<double>();
    s.params_.pool = static_cast<std::size_t>(in.get<std::uint64_t>());
    if (!(s.params_.exponent >= 0 && s.params_.exponent <= 1) ||
        !(s.params_.beta >= 0 && s.params_.beta <= 1) || s.params_.pool == 0)
      in.fail("holds impossible parameters");
    s.engine_ = random_engine::load(in);
    s.seen_ = in.get_vector<double>();
    for (const double count : s.seen_)
      if (!(count >= 0 && std::isfinite(count))) in.fail("holds a class count of ", count);
    if (s.seen_.empty()) in.fail("holds a sampler of no classes");
    s.drawn_.load(in);
    in.end_frame();
    return s;
  }

 private:
  class_stratified_stream_sampler() = default;

  class_stratified_params params_;
  std::vector<double> seen_;  // examples of each class so far
  random_engine engine_;
  std::vector<float> rates_, scores_, inclusion_;
  std::vector<id_t> scratch_;
  detail::batch_buffer drawn_;
};

static_assert(batch_sampler<class_stratified_sampler> &&
              stream_sampler<class_stratified_stream_sampler>);

}  // namespace skim::inline v0
