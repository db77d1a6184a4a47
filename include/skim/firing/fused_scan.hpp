// SPDX-License-Identifier: Apache-2.0
//
// Firing neurons by looking at every pair: the dense layer that everything else has to beat.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
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
///          or in a batch; with several workers, for each pair that fires.
/// Cost:    neurons * points * dim FMAs near the core's peak; a batch of fewer than 8 points reads
///          the weights at the speed of memory.
/// Error:   exact: pairs and values are those of striped_dot().
/// Threads: an executor shares out the neurons; what is reported, and in which order, does not depend on
///          it. Otherwise a detector for each thread.
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
  template <class Sink, executor Executor>
  void for_each_neuron(neuron_view w, Sink&& sink, Executor& e) {
    detail::check_neurons("fused_scan", *x_, w, neurons_);
    if (panels_.outputs() == 0) panels_ = detail::pack_points(*x_);
    const std::size_t tiles = (neurons_ + detail::neuron_tile - 1) / detail::neuron_tile;
    const std::size_t parts = detail::parts_of(e, tiles);
    if (lanes_.size() < parts) lanes_.resize(parts);
    if (parts == 1) {
      scan(w, lanes_[0], 0, tiles, sink);
    } else {
      detail::for_parts(e, parts, tiles, [&](std::size_t p, std::size_t first, std::size_t last) {
        lanes_[p].reports.clear();
        scan(w, lanes_[p], first, last, lanes_[p].reports);
      });
      for (std::size_t p = 0; p < parts; ++p) lanes_[p].reports.replay(sink);
    }
    for (lane& l : lanes_) statistics_.fired += std::exchange(l.fired, 0);
    count_pairs(neurons_ * x_->size());
  }
  template <class Sink>
  void for_each_neuron(neuron_view w, Sink&& sink) {
    serial_executor serial;
    for_each_neuron(w, sink, serial);
  }

  /// Throws invalid_input, before the sink is called, if the shapes changed or a point is not there.
  template <class Sink, executor Executor>
  void for_each_point(neuron_view w, std::span<const id_t> batch, Sink&& sink, Executor& e) {
    detail::check_neurons("fused_scan", *x_, w, neurons_);
    detail::check_batch("fused_scan", *x_, batch);
    scan_.run(*x_, batch, w, detail::no_values{}, e);
    count_pairs(batch.size() * neurons_);
    for (std::size_t b = 0; b < batch.size(); ++b) statistics_.fired += scan_.report(b, b, sink);
  }
  template <class Sink>
  void for_each_point(neuron_view w, std::span<const id_t> batch, Sink&& sink) {
    serial_executor serial;
    for_each_point(w, batch, sink, serial);
  }

  /// Nothing is remembered of the neurons.
  void moved(neuron_view, id_t r, movement by) {
    detail::check_movement("fused_scan", neurons_, r, by);
  }
  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum =
        scan_.bytes() + panels_.panels() * panel_width * panels_.dim() * sizeof(float);
    for (const lane& l : lanes_) sum += l.hits.bytes() + l.reports.bytes();
    return sum;
  }

 private:
  struct lane {
    detail::hit_lists hits;
    detail::kept_reports reports;
    std::uint64_t fired = 0;
  };

  template <class Sink>
  void scan(neuron_view w, lane& l, std::size_t first_tile, std::size_t last_tile, Sink& sink) {
    for (std::size_t t = first_tile; t < last_tile; ++t) {
      const std::size_t first = t * detail::neuron_tile;
      const std::size_t count = std::min(detail::neuron_tile, neurons_ - first);
      l.hits.reset(count);
      detail::scan_rows(
          detail::neurons_of(w, first, count), panels_,
          [&](std::size_t row, std::size_t point, float value) {
            l.hits.push(row, static_cast<id_t>(point), value);
          },
          detail::no_values{});
      l.fired += l.hits.total();
      for (std::size_t row = 0; row < count; ++row)
        if (!l.hits.ids(row).empty()) sink(first + row, l.hits.ids(row), l.hits.values(row));
    }
  }

  void count_pairs(std::size_t pairs) noexcept {
    statistics_.pairs += pairs;
    statistics_.dense += pairs;
  }

  const firing_points* x_;
  std::size_t neurons_;
  panel_matrix panels_;
  detail::batch_scan scan_;
  std::vector<lane> lanes_;
  firing_statistics statistics_;
};

static_assert(neuron_order_detector<fused_scan> && point_order_detector<fused_scan>);

}  // namespace skim::inline v0
