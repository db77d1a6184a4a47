// SPDX-License-Identifier: Apache-2.0
//
// Decides while training whether sampling pays, and falls back to uniform draws where it does not.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Whether a sampler may stop sampling.
enum class gate_mode : std::uint8_t {
  automatic,  ///< uniform draws while the evidence says that sampling does not pay
  open,       ///< always sample
};

/// When a sampling_gate opens and closes. Steps are batches.
struct gate_params {
  gate_mode mode = gate_mode::automatic;
  double open_lift = 0.40;          ///< lift that a trial must show
  double keep_lift = 0.35;          ///< lift below which an open gate closes
  std::size_t trial = 60;           ///< steps of a trial, before its first check
  std::size_t window = 80;          ///< steps of evidence that a check looks at
  std::size_t check_interval = 20;  ///< steps between checks
  std::size_t retry = 400;          ///< uniform steps before the next trial
  double retry_growth = 2;          ///< each failed trial multiplies the wait by this
};

/// Lift of predicted over true scores: the share of the true score mass that the tenth of the
/// examples with the highest predictions holds. 0.1 for a useless prediction, 1 if all mass is
/// there.
///
/// Ties at the border count in proportion. Returns 0.1 if there is no mass.
/// Cost:    O(n); reorders `order`, which must hold 0..n-1 in any order.
[[nodiscard]] inline double top_tenth_lift(std::span<const float> predicted,
                                           std::span<const float> observed,
                                           std::span<id_t> order) noexcept {
  const std::size_t n = predicted.size();
  SKIM_EXPECTS(observed.size() == n && order.size() == n);
  if (n == 0) return 0.1;
  const double wanted = static_cast<double>(n) / 10;
  const auto border_at = std::min(n - 1, static_cast<std::size_t>(std::ceil(wanted)) - 1);
  std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(border_at),
                   order.end(), [&](id_t a, id_t b) { return predicted[a] > predicted[b]; });
  const float border = predicted[order[border_at]];
  double above = 0, tied = 0, total = 0;
  std::size_t count_above = 0, count_tied = 0;
  for (std::size_t i = 0; i < n; ++i) {
    total += observed[i];
    if (predicted[i] > border) {
      above += observed[i];
      ++count_above;
    } else if (predicted[i] == border) {
      tied += observed[i];
      ++count_tied;
    }
  }
  if (!(total > 0)) return 0.1;
  const double share =
      (wanted - static_cast<double>(count_above)) / static_cast<double>(count_tied);
  return (above + tied * std::clamp(share, 0.0, 1.0)) / total;
}

namespace detail {

[[nodiscard]] inline bool is_possible(const gate_params& p) noexcept {
  return p.keep_lift >= 0 && p.keep_lift <= p.open_lift && p.open_lift <= 1 && p.trial > 0 &&
         p.window > 0 && p.check_interval > 0 && p.retry_growth >= 1;
}

inline void put_params(writer& out, const gate_params& p) {
  out.put(p.mode);
  for (const double v : {p.open_lift, p.keep_lift, p.retry_growth}) out.put(v);
  for (const std::size_t v : {p.trial, p.window, p.check_interval, p.retry})
    out.put(static_cast<std::uint64_t>(v));
}

[[nodiscard]] inline gate_params get_gate_params(reader& in) {
  gate_params p;
  const auto mode = in.get<std::uint8_t>();
  if (mode > static_cast<std::uint8_t>(gate_mode::open)) in.fail("holds the gate mode ", mode);
  p.mode = static_cast<gate_mode>(mode);
  for (double* v : {&p.open_lift, &p.keep_lift, &p.retry_growth}) *v = in.get<double>();
  for (std::size_t* v : {&p.trial, &p.window, &p.check_interval, &p.retry})
    *v = static_cast<std::size_t>(in.get<std::uint64_t>());
  if (!is_possible(p)) in.fail("holds gate parameters that no gate can have");
  return p;
}

}  // namespace detail

/// Opens and closes importance sampling on evidence that the sampled batches themselves provide.
///
/// Each sampled batch keeps a few rows drawn uniformly. Their true scores, known after the forward
/// pass, against the scores predicted for them give the lift: an unbiased picture of how much of
/// the score mass the sampler would find. A trial samples for some steps; if the lift falls short,
/// the sampler draws uniformly, at no cost, until the next and ever rarer trial. Observing while
/// closed would not do: a predictor that never samples hard regions does not learn them.
///
/// Memory:  12 bytes a uniform row in the window.
/// Cost:    per sampled step O(uniform rows); per check O(rows in the window).
/// Error:   a heuristic, no bound known. In measurements on 13 data sets lift above 0.4 in the
/// first
///          steps told where sampling shortens training and where it does not in all but one.
/// Threads: none.
/// Ref:     this library; the idea of a gate from Katharopoulos and Fleuret 2018, ICML.
class sampling_gate {
 public:
  sampling_gate() : sampling_gate(gate_params{}) {}

  /// Throws invalid_params unless 0 <= keep_lift <= open_lift <= 1, trial, window and
  /// check_interval are at least 1, and retry_growth >= 1.
  explicit sampling_gate(const gate_params& p) : params_(p), wait_(p.retry) {
    if (!detail::is_possible(p))
      SKIM_THROW(
          invalid_params,
          detail::concat("sampling_gate: got keep_lift ", p.keep_lift, ", open_lift ", p.open_lift,
                         ", trial ", p.trial, ", window ", p.window, ", check_interval ",
                         p.check_interval, ", retry_growth ", p.retry_growth,
                         ", wanted 0 <= keep_lift <= open_lift <= 1 and the others at least 1"));
  }

  /// Whether the next batch should be sampled.
  [[nodiscard]] bool is_open() const noexcept { return open_; }

  /// Lift at the last check; empty before the first.
  [[nodiscard]] std::optional<double> last_lift() const noexcept {
    return checks_ > 0 ? std::optional(lift_) : std::nullopt;
  }
  [[nodiscard]] std::size_t checks() const noexcept { return checks_; }

  [[nodiscard]] std::size_t steps_open() const noexcept { return steps_open_; }
  [[nodiscard]] std::size_t steps_closed() const noexcept { return steps_closed_; }

  /// Reports a step that was drawn uniformly because the gate was closed.
  void step_closed() noexcept {
    ++steps_closed_;
    if (--remaining_ == 0) open();
  }

  /// Reports a sampled step: predicted and true scores of its uniform rows, in the same order.
  void step_open(std::span<const float> predicted, std::span<const float> observed) {
    SKIM_EXPECTS(predicted.size() == observed.size());
    ++steps_open_;
    if (params_.mode == gate_mode::open) return;
    predicted_.insert(predicted_.end(), predicted.begin(), predicted.end());
    observed_.insert(observed_.end(), observed.begin(), observed.end());
    rows_.push_back(static_cast<id_t>(predicted.size()));
    ++phase_steps_;
    if (rows_.size() > params_.window) forget_oldest();
    const bool due = phase_steps_ >= params_.trial &&
                     (phase_steps_ - params_.trial) % params_.check_interval == 0;
    if (due) check();
  }

  [[nodiscard]] const gate_params& params() const noexcept { return params_; }

  void save(writer& out) const {
    out.begin_frame("sampling_gate");
    detail::put_params(out, params_);
    for (const std::size_t v :
         {wait_, remaining_, phase_steps_, checks_, steps_open_, steps_closed_})
      out.put(static_cast<std::uint64_t>(v));
    out.put(lift_);
    out.put(open_);
    out.put(proven_);
    out.put(std::span(predicted_));
    out.put(std::span(observed_));
    out.put(std::span(rows_));
    out.end_frame();
  }

  [[nodiscard]] static sampling_gate load(reader& in) {
    in.begin_frame("sampling_gate");
    sampling_gate g(detail::get_gate_params(in));
    for (std::size_t* v :
         {&g.wait_, &g.remaining_, &g.phase_steps_, &g.checks_, &g.steps_open_, &g.steps_closed_})
      *v = static_cast<std::size_t>(in.get<std::uint64_t>());
    g.lift_ = in.get<double>();
    g.open_ = in.get<std::uint8_t>() != 0;
    g.proven_ = in.get<std::uint8_t>() != 0;
    g.predicted_ = in.get_vector<float>();
    g.observed_ = in.get_vector<float>();
    g.rows_ = in.get_vector<id_t>();
    std::size_t rows = 0;
    for (const id_t r : g.rows_) rows += r;
    if (rows != g.predicted_.size() || rows != g.observed_.size() ||
        (!g.open_ && g.remaining_ == 0))
      in.fail("holds a gate that contradicts itself");
    in.end_frame();
    return g;
  }

 private:
  void open() noexcept {
    open_ = true;
    proven_ = false;
    phase_steps_ = 0;
    predicted_.clear();
    observed_.clear();
    rows_.clear();
  }

  void check() {
    order_.resize(predicted_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<id_t>(i);
    lift_ = top_tenth_lift(predicted_, observed_, order_);
    ++checks_;
    if (lift_ >= (proven_ ? params_.keep_lift : params_.open_lift)) {
      proven_ = true;
      return;
    }
    open_ = false;
    remaining_ = std::max<std::size_t>(wait_, 1);
    const double longer = static_cast<double>(wait_) * params_.retry_growth;
    wait_ = longer < 1e15 ? static_cast<std::size_t>(longer) : wait_;
  }

  void forget_oldest() {
    const auto oldest = static_cast<std::ptrdiff_t>(rows_.front());
    predicted_.erase(predicted_.begin(), predicted_.begin() + oldest);
    observed_.erase(observed_.begin(), observed_.begin() + oldest);
    rows_.erase(rows_.begin());
  }

  gate_params params_;
  bool open_ = true;
  bool proven_ = false;  // has passed a check since it opened
  std::size_t wait_ = 0, remaining_ = 0, phase_steps_ = 0;
  std::size_t checks_ = 0, steps_open_ = 0, steps_closed_ = 0;
  double lift_ = 0;
  std::vector<float> predicted_, observed_;  // uniform rows of the window, oldest first
  std::vector<id_t> rows_;                   // how many of them each step gave
  std::vector<id_t> order_;
};

}  // namespace skim::inline v0
