// SPDX-License-Identifier: Apache-2.0
//
// Firing neurons by looking at every pair: the dense layer that everything else has to beat.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/firing/detail/hits.hpp"
#include "skim/firing/detector.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/projection.hpp"

namespace skim::inline v0 {

/// Product of all neurons with all points; the thresholds are compared in registers, and nothing
/// but the pairs that fire is written.
///
/// Shape:   weights (neurons, dim) of any number of neurons; the points are fixed.
/// Memory:  the points once more, packed; 8 to 12 bytes for each pair that fires among 64 neurons,
///          or in a batch.
/// Cost:    neurons * points * dim FMAs near the core's peak; a batch of fewer than 8 points reads
///          the weights at the speed of memory.
/// Error:   exact: pairs and values are those of striped_dot().
/// Threads: none: a detector for each thread.
/// Ref:     none; a matrix product.
class fused_scan {
 public:
  /// Throws invalid_params or invalid_input on neurons that do not fit the points or are not finite.
  /// The points must outlive the detector.
  fused_scan(const firing_points& x, neuron_view w) : x_(&x), neurons_(w.weights.rows()) {
    detail::check_new_neurons("fused_scan", x, w);
  }
  fused_scan(const firing_points&& x, neuron_view w) = delete;

  /// Throws invalid_input, before the sink is called, if the shapes changed.
  template <class Sink>
  void for_each_neuron(neuron_view w, Sink&& sink) {
    detail::check_neurons("fused_scan", *x_, w, neurons_);
    if (panels_.outputs() == 0) panels_ = detail::pack_points(*x_);
    for (std::size_t first = 0; first < neurons_; first += detail::neuron_tile) {
      const std::size_t count = std::min(detail::neuron_tile, neurons_ - first);
      hits_.reset(count);
      detail::scan_rows(
          detail::neurons_of(w, first, count), panels_,
          [&](std::size_t row, std::size_t point, float value) {
            hits_.push(row, static_cast<id_t>(point), value);
          },
          detail::no_values{});
      count_hits(count * x_->size());
      for (std::size_t row = 0; row < count; ++row)
        if (!hits_.ids(row).empty()) sink(first + row, hits_.ids(row), hits_.values(row));
    }
  }

  /// Throws invalid_input, before the sink is called, if the shapes changed or a point is not there.
  template <class Sink>
  void for_each_point(neuron_view w, std::span<const id_t> batch, Sink&& sink) {
    detail::check_neurons("fused_scan", *x_, w, neurons_);
    detail::check_batch("fused_scan", *x_, batch);
    scan_.run(*x_, batch, w, hits_, detail::no_values{});
    count_hits(batch.size() * neurons_);
    for (std::size_t b = 0; b < batch.size(); ++b) sink(b, hits_.ids(b), hits_.values(b));
  }

  /// Nothing is remembered of the neurons.
  void moved(neuron_view, id_t r, movement by) {
    detail::check_movement("fused_scan", neurons_, r, by);
  }
  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return hits_.bytes() + scan_.bytes() +
           panels_.panels() * panel_width * panels_.dim() * sizeof(float);
  }

 private:
  void count_hits(std::size_t pairs) noexcept {
    statistics_.pairs += pairs;
    statistics_.dense += pairs;
    statistics_.fired += hits_.total();
  }

  const firing_points* x_;
  std::size_t neurons_;
  panel_matrix panels_;
  detail::batch_scan scan_;
  detail::hit_lists hits_;
  firing_statistics statistics_;
};

static_assert(neuron_order_detector<fused_scan> && point_order_detector<fused_scan>);

}  // namespace skim::inline v0
