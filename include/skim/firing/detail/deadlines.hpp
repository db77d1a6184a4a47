// SPDX-License-Identifier: Apache-2.0
//
// How long a neuron may go on moving before it can fire for a point, in one byte.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/firing/detector.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/striped_dot.hpp"

namespace skim::inline v0::detail {

/// Clocks of the neurons, and the rule for deadlines against them.
///
/// A neuron's clock is the way it has gone, in ticks. A change of weights by dw and of a threshold
/// by -dt moves <w, x> - t by at most |dw| |x| + dt <= reach(x) (|dw| + dt / typical), reach being
/// max(|x|, typical): so a pair whose gap is g cannot fire before the clock has advanced by g /
/// reach, less what rounding adds to both products. A pair is due when tick(r) >= its deadline.
class neuron_clocks {
 public:
  /// Ticks after which clock and deadlines are set back.
  static constexpr float turn = 128;
  /// A deadline of 255 means no sooner than that.
  static constexpr float farthest = 254;

  neuron_clocks(const firing_points& x, std::size_t neurons, double tick)
      : x_(&x),
        typical_(static_cast<double>(x.typical_norm())),
        tick_(tick),
        clock_(neurons),
        margin_(neurons),
        ticks_((neurons + neuron_tile_bytes - 1) / neuron_tile_bytes * neuron_tile_bytes) {
    if (!(tick >= 0 && std::isfinite(tick)))
      SKIM_THROW(invalid_params, concat("deadline index: got a tick of ", tick,
                                        ", wanted a finite length, or 0 to have it chosen"));
    per_gap_.resize((x.size() + panel_width - 1) / panel_width * panel_width);
    if (tick_ > 0) set_tick(tick_);
  }

  [[nodiscard]] bool has_tick() const noexcept { return per_tick_ > 0; }
  [[nodiscard]] double tick_length() const noexcept { return tick_; }

  /// A tick of which 128 are the mean way from a pair to firing, over some neurons and points.
  void choose_tick(neuron_view w) {
    const std::size_t m = w.weights.rows(), n = x_->size();
    const std::size_t some = std::min<std::size_t>(m, 64), few = std::min<std::size_t>(n, 64);
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t a = 0; a < some; ++a)
      for (std::size_t b = 0; b < few; ++b) {
        const std::size_t r = a * m / some, i = b * n / few;
        const float value = striped_dot(w.weights.row(r), std::span(x_->row(i), x_->dim()));
        const double gap =
            (static_cast<double>(w.thresholds[r]) - static_cast<double>(value)) / reach(i);
        if (!(gap > 0 && std::isfinite(gap))) continue;
        sum += gap;
        ++count;
      }
    const double mean = count > 0 ? sum / static_cast<double>(count) : 1;
    set_tick(std::clamp(mean / 128, 1e-30, 1e30));
  }

  /// Clock r at zero, its margin for the weights it has now.
  void restart(neuron_view w, std::size_t r) noexcept {
    clock_[r] = 0;
    ticks_[r] = 0;
    set_margin(w, r);
  }

  /// Advances clock r. Returns the ticks by which deadlines of r must be brought forward, mostly 0.
  [[nodiscard]] std::uint8_t advance(neuron_view w, std::size_t r, movement by) noexcept {
    const std::uint8_t back = advance(r, by) ? turn_back(r) : std::uint8_t{0};
    if (back > 0) set_margin(w, r);
    return back;
  }
  /// Advances clock r. Returns whether it should be turned back.
  [[nodiscard]] bool advance(std::size_t r, movement by) noexcept {
    double way = static_cast<double>(by.distance);
    if (by.lowered > 0) way += static_cast<double>(by.lowered) / typical_;
    // Rounded up; beyond float it stays at infinity, and every pair is due.
    clock_[r] = (clock_[r] + static_cast<float>(way * per_tick_)) * (1 + 0x1p-21f);
    ticks_[r] = static_cast<std::uint8_t>(std::min(std::ceil(clock_[r]), 255.0f));
    return clock_[r] > turn;
  }
  /// Sets clock r back by whole ticks and returns them.
  [[nodiscard]] std::uint8_t turn_back(std::size_t r) noexcept {
    const float whole = std::floor(std::min(clock_[r], 255.0f));
    clock_[r] = whole == 255 ? 0 : clock_[r] - whole;
    ticks_[r] = static_cast<std::uint8_t>(std::ceil(clock_[r]));
    return static_cast<std::uint8_t>(whole);
  }
  void set_margin(neuron_view w, std::size_t r) noexcept {
    // Both products, for weights that may go 383 ticks while a deadline set before the next turn
    // lasts; and the roundings of deadline() itself.
    const double length = static_cast<double>(norm_bound(w.weights.row(r))) + 512 * tick_;
    const std::size_t d = x_->dim();
    const double margin =
        2 * per_tick_ * (striped_error(d) * length + striped_underflow(d) / typical_);
    margin_[r] = static_cast<float>(margin * (1 + 1e-6) + 0x1p-10);
  }

  [[nodiscard]] std::uint8_t tick(std::size_t r) const noexcept { return ticks_[r]; }
  /// From neuron 0 on, padded with zeros to a multiple of 64.
  [[nodiscard]] const std::uint8_t* ticks() const noexcept { return ticks_.data(); }
  /// Ticks for each unit of a pair's gap, padded to whole panels.
  [[nodiscard]] const float* per_gap() const noexcept { return per_gap_.data(); }

  /// Deadline of a pair that has this gap, threshold minus value: 0 if it fires or may by rounding.
  [[nodiscard]] SKIM_ALWAYS_INLINE std::uint8_t deadline(std::size_t r, float gap,
                                                         float per_gap) const noexcept {
    return deadline(gap, per_gap, margin_[r], clock_[r]);
  }
  /// The same for the points of a panel. gap = threshold - values[j].
  SKIM_ALWAYS_INLINE void deadlines(std::size_t r, float threshold, const float* values,
                                    const float* per_gap, std::uint8_t* out) const noexcept {
    const float margin = margin_[r], clock = clock_[r];
    std::array<std::uint8_t, panel_width> at;  // which nothing else points to
    for (std::size_t j = 0; j < panel_width; ++j)
      at[j] = deadline(threshold - values[j], per_gap[j], margin, clock);
    std::copy(at.begin(), at.end(), out);
  }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return (clock_.size() + margin_.size() + per_gap_.size()) * sizeof(float) + ticks_.size();
  }

 private:
  static constexpr std::size_t neuron_tile_bytes = 64;

  [[nodiscard]] static SKIM_ALWAYS_INLINE std::uint8_t deadline(float gap, float per_gap,
                                                                float margin,
                                                                float clock) noexcept {
    const float ticks = gap * per_gap - margin;
    // With a NaN neither comparison holds, and the pair stays due.
    const float at = ticks + clock < farthest ? ticks + clock : farthest;
    return static_cast<std::uint8_t>(ticks >= 0 ? static_cast<int>(at) + 1 : 0);
  }

  void set_tick(double length) {
    tick_ = length;
    per_tick_ = 1 / length;
    for (std::size_t i = 0; i < x_->size(); ++i)
      per_gap_[i] = static_cast<float>((1 - 0x1p-20) / (reach(i) * tick_));
  }
  [[nodiscard]] double reach(std::size_t i) const noexcept {
    return std::max(static_cast<double>(x_->norm(i)), typical_);
  }

  const firing_points* x_;
  double typical_, tick_, per_tick_ = 0;
  std::vector<float> clock_, margin_;
  aligned_vector<std::uint8_t> ticks_;
  std::vector<float> per_gap_;
};

/// What a pair costs, in nanoseconds of the machine it was measured on (AVX2, 3 GHz): only the ratios
/// matter, and a wrong guess costs time, never a pair.
struct look_costs {
  double scan;     ///< in a product of whole matrices
  double renewal;  ///< more, where deadlines are made of it
  double glance;   ///< to read its deadline
  double due;      ///< to compute its product alone, and a new deadline for most
  double moved;    ///< a neuron's clock, of any number of pairs
  double margin;   ///< the same with a new margin

  explicit look_costs(std::size_t dim) noexcept
      : scan(0.4 + 0.026 * static_cast<double>(dim)),
        renewal(1),
        glance(0.07),
        due(8 + 0.06 * static_cast<double>(dim)),
        moved(3),
        margin(20 + 0.1 * static_cast<double>(dim)) {}
  /// Neurons lie apart for the points of a batch, mostly in memory.
  [[nodiscard]] static look_costs by_point(std::size_t dim) noexcept {
    look_costs c(dim);
    c.due = 10 + 0.1 * static_cast<double>(dim);
    return c;
  }
  /// Of the points of a batch, one neuron's: those that do not fill a panel are computed alone.
  [[nodiscard]] double scan_batch(std::size_t panels, std::size_t alone) const noexcept {
    return scan * static_cast<double>(panels * panel_width + 3 * alone);
  }
};

/// When to stop looking at deadlines, and when to try again.
///
/// Where most pairs are due, looking costs more than it saves. So it lives on a budget: each dense pass
/// allows a small part of a pass for trials, what looking cost above (or below) the dense product is
/// booked, and when the budget is spent the structure sleeps: the dense product is all that happens until
/// a trial is affordable again. What is lost against the dense product is therefore at most that part,
/// in the model's costs; each trial in vain halves the allowance, lasting gains restore it.
class look_budget {
 public:
  /// price: what a trial may lose in all, in dense passes.
  explicit look_budget(double price) noexcept : price_(price), credit_(price) {}

  [[nodiscard]] bool asleep() const noexcept { return asleep_; }
  /// Deadlines are to be made anew before they are looked at.
  [[nodiscard]] bool stale() const noexcept { return stale_; }
  /// Deadlines are good from here on.
  void renewed() noexcept { stale_ = false; }
  /// So much of a dense pass went by asleep; crowded if so many pairs fire that a trial would be in vain.
  void pass(double part, bool crowded) noexcept {
    credit_ += allowance_ * part;
    if (credit_ < price_) return;
    if (crowded)
      sleep();
    else
      asleep_ = false;
  }
  void sleep() noexcept {
    asleep_ = stale_ = true;
    credit_ = gains_ = 0;
    allowance_ = std::max(allowance_ / 2, first_allowance / 256);
  }
  /// A look in place of `part` of a dense pass cost `excess` passes more than that, less if negative.
  void book(double part, double excess) noexcept {
    credit_ = std::min(credit_ + allowance_ * part - excess, most_credit + price_);
    gains_ = std::max(0.0, gains_ - excess);
    if (gains_ > 4) allowance_ = first_allowance;
    if (credit_ < 0) sleep();
  }

 private:
  static constexpr double first_allowance = 0.02, most_credit = 0.2;

  double price_, credit_, allowance_ = first_allowance, gains_ = 0;
  bool asleep_ = false, stale_ = true;
};

}  // namespace skim::inline v0::detail
