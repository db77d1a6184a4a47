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
  SKIM_ALWAYS_INLINE void deadlines(std::size_t r, float threshold,
                                    const std::array<float, panel_width>& values,
                                    const float* per_gap, std::uint8_t* out) const noexcept {
    const float margin = margin_[r], clock = clock_[r];
    for (std::size_t j = 0; j < panel_width; ++j)
      out[j] = deadline(threshold - values[j], per_gap[j], margin, clock);
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

/// What looking at deadlines costs, in units of one pair's share of a product of whole matrices.
/// Measured with AVX2, see bench/firing_bench.cpp; a wrong guess costs time, never a pair.
struct look_costs {
  double due;            ///< a pair that is due: its product, and a new deadline for most
  double glance;         ///< a deadline that is read
  double renewal = 1.3;  ///< a pair of a whole product, with its deadline

  /// slope: how slowly the cost of a pair alone falls with the dimension.
  look_costs(std::size_t dim, double slope) noexcept
      : due(std::max(8.0, slope / (static_cast<double>(dim) + 16))),
        glance(6 / (static_cast<double>(dim) + 8)) {}
};

/// When to stop looking at deadlines for a while.
///
/// Where most pairs are due, looking costs more than it saves: the structure then sleeps (and the dense
/// product is all that happens), wakes to see whether things have changed, and sleeps twice as long
/// if not. `shortest` makes a wake in vain cost a few percent of the sleep, and ever less.
class sleep_cycle {
 public:
  explicit sleep_cycle(std::size_t shortest) noexcept : shortest_(shortest), nap_(shortest) {}

  [[nodiscard]] bool asleep() const noexcept { return left_ > 0; }
  /// Deadlines are to be made anew before they are looked at.
  [[nodiscard]] bool stale() const noexcept { return stale_; }
  /// One step went by asleep; crowded if so many pairs fire that waking would be in vain.
  void pass(bool crowded) noexcept {
    if (--left_ == 0 && crowded) sleep();
  }
  /// Deadlines are good from here on.
  void renewed() noexcept { stale_ = false; }
  void sleep() noexcept {
    stale_ = true;
    debt_ = 0;
    left_ = nap_;
    if (nap_ < shortest_ * 256) nap_ *= 2;
  }
  /// Books what a look cost above the dense product (below it if negative), in any unit; sleeps when the
  /// balance is above the limit. Lasting gains make the next sleep a short one.
  void book(double excess, double limit) noexcept {
    debt_ = std::max(0.0, debt_ + excess);
    if (debt_ > limit) {
      sleep();
      gains_ = 0;
    } else if (nap_ > shortest_ && ++gains_ >= nap_) {
      gains_ = 0;
      nap_ = shortest_;
    }
  }

 private:
  std::size_t shortest_, nap_, left_ = 0, gains_ = 0;
  double debt_ = 0;
  bool stale_ = true;
};

}  // namespace skim::inline v0::detail
