// SPDX-License-Identifier: Apache-2.0
//
// A two-layer network of many shifted rectifiers, trained through a detector of firing neurons: what
// a step costs is up to the pairs that fire.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/random.hpp"
#include "skim/firing/detector.hpp"
#include "skim/firing/fused_scan.hpp"
#include "skim/firing/movement.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/dot.hpp"

namespace skim_examples {

/// Which points a neuron fires for, over a batch: positions in the batch, neuron by neuron.
struct firing_lists {
  std::vector<skim::id_t> neurons;      ///< that fire for at least one, ascending
  std::vector<std::size_t> offsets{0};  ///< of each one's list
  std::vector<skim::id_t> positions;

  void clear() {
    neurons.clear();
    offsets.assign(1, 0);
    positions.clear();
  }
  [[nodiscard]] std::size_t pairs() const noexcept { return positions.size(); }
  [[nodiscard]] std::span<const skim::id_t> list(std::size_t k) const noexcept {
    return std::span(positions).subspan(offsets[k], offsets[k + 1] - offsets[k]);
  }
};

enum class wide_rule { plain, momentum, adam };

struct wide_network_params {
  std::size_t width = 0;
  wide_rule rule = wide_rule::plain;
  double momentum = 0.9;    ///< of rule momentum
  double weight_decay = 0;  ///< decoupled: weights shrink by rate times this each step
  bool train_thresholds = false;
};

/// f(x) = m^(-1/2) sum over r of a_r max(<w_r, x> - b_r, 0), a_r = +1, -1, +1, ... fixed, w_r normal.
///
/// Weights and thresholds are kept divided by a common factor that carries the weight decay, so that
/// decay moves no neuron: <w, x> > b as long as <w / s, x> > b / s.
///
/// Memory:  4 bytes a weight (dim rounded up to 16), 8 or 12 with momentum or adam.
/// Cost:    a plain step O(pairs that fire * dim); momentum and adam touch every neuron that ever fired.
/// Threads: an executor may share a step out; one caller at a time.
class wide_network {
 public:
  wide_network(const skim::firing_points& x, const wide_network_params& params, float threshold,
               skim::seed s)
      : x_(&x),
        params_(params),
        dim_(x.dim()),
        stride_((x.dim() + 15) / 16 * 16),
        weights_(params.width * stride_),
        thresholds_(params.width, threshold),
        biases_(params.width, threshold) {
    for (std::size_t r = 0; r < params.width; ++r) {
      skim::random_engine g = skim::random_engine(s).child(r);
      for (float& w : row(r)) w = static_cast<float>(skim::normal(g));
    }
    if (params.rule != wide_rule::plain) first_.resize(params.width * (dim_ + 1));
    if (params.rule == wide_rule::adam) second_.resize(params.width * (dim_ + 1));
    if (params.rule != wide_rule::plain) touched_.assign(params.width, 0);
  }

  /// What a detector is to look at.
  [[nodiscard]] skim::neuron_view neurons() const noexcept {
    return {{weights_.data(), thresholds_.size(), dim_, stride_}, thresholds_};
  }
  [[nodiscard]] std::size_t width() const noexcept { return thresholds_.size(); }
  [[nodiscard]] const firing_lists& fired() const noexcept { return fired_; }
  [[nodiscard]] std::span<const double> outputs() const noexcept { return outputs_; }

  /// Outputs for a batch; fired() tells who fired. An empty batch means all points. The same with every
  /// executor, as is backward().
  template <class Detector>
  void forward(Detector& detector, std::span<const skim::id_t> batch) {
    skim::serial_executor serial;
    forward(detector, batch, serial);
  }
  template <class Detector, class Executor>
  void forward(Detector& detector, std::span<const skim::id_t> batch, Executor& executor) {
    fired_.clear();
    outputs_.assign(batch.empty() ? x_->size() : batch.size(), 0);
    // Products of two floats are exact in double: no compiler's choice of FMAs shows in the sums, which
    // so are the same whichever detector a run is made with.
    const float unit = static_cast<float>(factor_ / std::sqrt(static_cast<double>(width())));
    const auto part = [](float a, float over) {
      return static_cast<double>(a) * static_cast<double>(over);
    };
    if constexpr (skim::neuron_order_detector<Detector>) {
      if (batch.empty()) {
        const auto sink = [&](std::size_t r, std::span<const skim::id_t> points,
                              std::span<const float> values) {
          const float a = sign(r) * unit, t = thresholds_[r];
          for (std::size_t j = 0; j < points.size(); ++j)
            outputs_[points[j]] += part(a, values[j] - t);
          fired_.neurons.push_back(static_cast<skim::id_t>(r));
          fired_.positions.insert(fired_.positions.end(), points.begin(), points.end());
          fired_.offsets.push_back(fired_.positions.size());
        };
        if constexpr (requires { detector.for_each_neuron(neurons(), sink, executor); })
          detector.for_each_neuron(neurons(), sink, executor);
        else
          detector.for_each_neuron(neurons(), sink);
        return;
      }
    }
    if constexpr (skim::point_order_detector<Detector>) {
      if (batch.empty() && all_.empty())
        for (std::size_t i = 0; i < x_->size(); ++i) all_.push_back(static_cast<skim::id_t>(i));
      by_point_.clear();
      ends_.clear();
      const auto sink = [&](std::size_t b, std::span<const skim::id_t> ids,
                            std::span<const float> values) {
        double sum = 0;
        for (std::size_t j = 0; j < ids.size(); ++j)
          sum += part(sign(ids[j]) * unit, values[j] - thresholds_[ids[j]]);
        outputs_[b] = sum;
        by_point_.insert(by_point_.end(), ids.begin(), ids.end());
        ends_.push_back(by_point_.size());
      };
      const auto points = batch.empty() ? std::span<const skim::id_t>(all_) : batch;
      if constexpr (requires { detector.for_each_point(neurons(), points, sink, executor); })
        detector.for_each_point(neurons(), points, sink, executor);
      else
        detector.for_each_point(neurons(), points, sink);
      transpose();
    }
  }

  /// One step of the rule for half the sum of squared residuals; tells the detector who moved how far.
  /// residuals[b] belongs to the b-th point of the batch that forward() saw.
  template <class Detector>
  void backward(Detector& detector, std::span<const skim::id_t> batch,
                std::span<const float> residuals, double rate) {
    skim::serial_executor serial;
    backward(detector, batch, residuals, rate, serial);
  }
  template <class Detector, class Executor>
  void backward(Detector& detector, std::span<const skim::id_t> batch,
                std::span<const float> residuals, double rate, Executor& executor) {
    if (params_.weight_decay > 0) decay(detector, rate);
    if (params_.rule == wide_rule::plain)
      step_plain(detector, batch, residuals, rate, executor);
    else
      step_dense(detector, batch, residuals, rate, executor);
  }

  /// Outputs for points that the detector does not know, by looking at every pair.
  template <class Executor>
  [[nodiscard]] std::vector<double> outputs_for(const skim::firing_points& unseen,
                                                Executor& executor) const {
    std::vector<double> outputs(unseen.size());
    const float unit = static_cast<float>(factor_ / std::sqrt(static_cast<double>(width())));
    skim::fused_scan scan(unseen, neurons());
    scan.for_each_neuron(
        neurons(),
        [&](std::size_t r, std::span<const skim::id_t> points, std::span<const float> values) {
          const float a = sign(r) * unit, t = thresholds_[r];
          for (std::size_t j = 0; j < points.size(); ++j)
            outputs[points[j]] += static_cast<double>(a) * static_cast<double>(values[j] - t);
        },
        executor);
    return outputs;
  }

  /// Remembers weights and fired(), for a step that may have to be taken back. Thresholds must not learn.
  void keep() {
    kept_weights_ = weights_;
    kept_fired_ = fired_;
  }
  /// Takes back all steps since keep().
  template <class Detector>
  void put_back(Detector& detector) {
    for (std::size_t r = 0; r < width(); ++r) {
      const std::span<const float> kept = std::span(kept_weights_).subspan(r * stride_, dim_);
      const std::span<float> now = row(r);
      if (std::equal(kept.begin(), kept.end(), now.begin())) continue;
      const skim::movement by{skim::distance_moved(now, kept), 0};
      std::copy(kept.begin(), kept.end(), now.begin());
      detector.moved(neurons(), static_cast<skim::id_t>(r), by);
    }
    fired_ = kept_fired_;
  }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return (weights_.size() + first_.size() + second_.size()) * sizeof(float);
  }

 private:
  [[nodiscard]] static float sign(std::size_t r) noexcept { return r % 2 == 0 ? 1.0f : -1.0f; }
  [[nodiscard]] std::span<float> row(std::size_t r) noexcept {
    return std::span(weights_).subspan(r * stride_, dim_);
  }

  // From lists by point to lists by neuron.
  void transpose() {
    if (ends_.size() == 1) {
      fired_.neurons.assign(by_point_.begin(), by_point_.end());
      fired_.positions.assign(by_point_.size(), 0);
      for (std::size_t k = 1; k <= by_point_.size(); ++k) fired_.offsets.push_back(k);
      return;
    }
    counts_.assign(width(), 0);
    for (const skim::id_t r : by_point_) ++counts_[r];
    std::size_t at = 0;
    for (std::size_t r = 0; r < counts_.size(); ++r) {
      const std::size_t count = counts_[r];
      counts_[r] = static_cast<std::uint32_t>(at);
      if (count == 0) continue;
      at += count;
      fired_.neurons.push_back(static_cast<skim::id_t>(r));
      fired_.offsets.push_back(at);
    }
    fired_.positions.resize(at);
    std::size_t j = 0;
    for (std::size_t b = 0; b < ends_.size(); ++b)
      for (; j < ends_[b]; ++j)
        fired_.positions[counts_[by_point_[j]]++] = static_cast<skim::id_t>(b);
  }

  // What one part of a step works with.
  struct lane {
    std::vector<skim::id_t> ids;
    std::vector<float> factors, row, before;
    std::vector<std::pair<skim::id_t, skim::movement>> moves;
  };

  // body(lane, first, last) over parts of [0, n); then the detector hears of all moves, in order.
  template <class Detector, class Executor, class Body>
  void in_parts(Detector& detector, std::size_t n, Executor& executor, Body&& body) {
    const std::size_t parts =
        executor.workers() <= 1 ? 1 : std::clamp<std::size_t>(n / 64, 1, 4 * executor.workers());
    if (lanes_.size() < parts) lanes_.resize(parts);
    executor.parallel_for(parts, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t p = begin; p < end; ++p) {
        lanes_[p].row.resize(dim_);
        lanes_[p].before.resize(dim_);
        lanes_[p].moves.clear();
        body(lanes_[p], n * p / parts, n * (p + 1) / parts);
      }
    });
    for (std::size_t p = 0; p < parts; ++p)
      for (const auto& [r, by] : lanes_[p].moves) detector.moved(neurons(), r, by);
  }

  // The points of fired neuron k and their slopes, times `rate`.
  void gather(lane& l, std::size_t k, std::span<const skim::id_t> batch,
              std::span<const float> residuals, float rate) const {
    const auto positions = fired_.list(k);
    l.ids.resize(positions.size());
    l.factors.resize(positions.size());
    const float a = rate * sign(fired_.neurons[k]);
    for (std::size_t j = 0; j < positions.size(); ++j) {
      l.ids[j] = batch.empty() ? positions[j] : batch[positions[j]];
      l.factors[j] = a * residuals[positions[j]];
    }
  }

  template <class Detector, class Executor>
  void step_plain(Detector& detector, std::span<const skim::id_t> batch,
                  std::span<const float> residuals, double rate, Executor& executor) {
    const double unit = rate / std::sqrt(static_cast<double>(width()));
    const std::size_t n = fired_.neurons.size();
    in_parts(detector, n, executor, [&](lane& l, std::size_t first, std::size_t last) {
      for (std::size_t k = first; k < last; ++k) {
        const skim::id_t r = fired_.neurons[k];
        if (k + 4 < n) {
          const float* const next = row(fired_.neurons[k + 4]).data();
          for (std::size_t c = 0; c < std::min<std::size_t>(dim_, 256); c += 16)
            SKIM_PREFETCH(next + c);
        }
        gather(l, k, batch, residuals, static_cast<float>(-unit / factor_));
        skim::movement by{skim::add_points(row(r), l.factors, l.ids, *x_), 0};
        if (params_.train_thresholds) {
          double slope = 0;
          for (const float f : l.factors) slope -= static_cast<double>(f);
          by.lowered = set_bias(r, biases_[r] + slope * factor_);
        }
        l.moves.emplace_back(r, by);
      }
    });
  }

  template <class Detector, class Executor>
  void step_dense(Detector& detector, std::span<const skim::id_t> batch,
                  std::span<const float> residuals, double rate, Executor& executor) {
    ++steps_;
    const double unit = 1 / std::sqrt(static_cast<double>(width()));
    const auto t = static_cast<double>(steps_);
    const adam_step adam{.rate = static_cast<float>(rate * std::sqrt(1 - std::pow(0.999, t)) /
                                                    (1 - std::pow(0.9, t))),
                         .epsilon = static_cast<float>(1e-8 * std::sqrt(1 - std::pow(0.999, t)))};
    in_parts(detector, width(), executor, [&](lane& l, std::size_t first, std::size_t last) {
      auto k = static_cast<std::size_t>(
          std::lower_bound(fired_.neurons.begin(), fired_.neurons.end(), first) -
          fired_.neurons.begin());
      for (std::size_t r = first; r < last; ++r) {
        const bool fires = k < fired_.neurons.size() && fired_.neurons[k] == r;
        if (!fires && touched_[r] == 0) continue;
        touched_[r] = 1;
        std::fill(l.row.begin(), l.row.end(), 0.0f);
        float slope = 0;
        if (fires) {
          gather(l, k++, batch, residuals, static_cast<float>(unit));
          skim::add_points(l.row, l.factors, l.ids, *x_);
          for (const float f : l.factors) slope -= f;
        }
        const auto weights = row(r);
        std::copy(weights.begin(), weights.end(), l.before.begin());
        float* const mean = first_.data() + r * (dim_ + 1);
        const float shrink = static_cast<float>(1 / factor_);
        float change;  // of the threshold
        if (params_.rule == wide_rule::adam) {
          float* const square = second_.data() + r * (dim_ + 1);
          for (std::size_t c = 0; c < dim_; ++c)
            weights[c] -= shrink * adam.of(l.row[c], mean[c], square[c]);
          change = adam.of(slope, mean[dim_], square[dim_]);
        } else {
          const auto keep = static_cast<float>(params_.momentum);
          const auto step = static_cast<float>(rate);
          for (std::size_t c = 0; c < dim_; ++c) {
            mean[c] = keep * mean[c] + l.row[c];
            weights[c] -= shrink * step * mean[c];
          }
          mean[dim_] = keep * mean[dim_] + slope;
          change = step * mean[dim_];
        }
        skim::movement by{skim::distance_moved(l.before, weights), 0};
        if (params_.train_thresholds)
          by.lowered = set_bias(r, biases_[r] - static_cast<double>(change));
        l.moves.emplace_back(static_cast<skim::id_t>(r), by);
      }
    });
  }

  struct adam_step {
    float rate, epsilon;
    [[nodiscard]] float of(float slope, float& mean, float& square) const noexcept {
      mean += 0.1f * (slope - mean);
      square += 0.001f * (slope * slope - square);
      return rate * mean / (std::sqrt(square) + epsilon);
    }
  };

  // Sets threshold r; returns how much it fell as the detector sees it.
  float set_bias(std::size_t r, double bias) {
    biases_[r] = bias;
    const float before = thresholds_[r];
    thresholds_[r] = static_cast<float>(bias / factor_);
    return std::max(0.0f, before - thresholds_[r]);
  }

  template <class Detector>
  void decay(Detector& detector, double rate) {
    factor_ *= 1 - rate * params_.weight_decay;
    // Long before the weights' size shows in their last bits.
    const bool fold = factor_ < 1.0 / 64;
    const auto all = static_cast<float>(factor_);
    std::vector<float> before(fold ? dim_ : 0);
    if (fold) factor_ = 1;
    for (std::size_t r = 0; r < width(); ++r) {
      skim::movement by;
      if (fold) {
        const auto weights = row(r);
        std::copy(weights.begin(), weights.end(), before.begin());
        for (float& w : weights) w *= all;
        by.distance = skim::distance_moved(before, weights);
      }
      by.lowered = set_bias(r, biases_[r]);
      if (by.distance > 0 || by.lowered > 0)
        detector.moved(neurons(), static_cast<skim::id_t>(r), by);
    }
  }

  const skim::firing_points* x_;
  wide_network_params params_;
  std::size_t dim_, stride_;
  skim::aligned_vector<float> weights_;  // divided by factor_
  std::vector<float> thresholds_;        // divided by factor_
  std::vector<double> biases_;
  double factor_ = 1;
  std::size_t steps_ = 0;
  std::vector<float> first_, second_;  // averages of the slopes and their squares; thresholds last
  std::vector<std::uint8_t> touched_;

  firing_lists fired_, kept_fired_;
  skim::aligned_vector<float> kept_weights_;
  std::vector<double> outputs_;
  std::vector<skim::id_t> all_, by_point_;
  std::vector<std::size_t> ends_;
  std::vector<std::uint32_t> counts_;
  std::vector<lane> lanes_;
};

/// Adds the firing pairs of one step to a hash that depends on the set of them only, so that runs with
/// different detectors can be compared.
inline void hash_firing(const firing_lists& fired, std::span<const skim::id_t> batch,
                        std::uint64_t step, std::uint64_t& hash) {
  std::uint64_t sum = 0;
  for (std::size_t k = 0; k < fired.neurons.size(); ++k)
    for (const skim::id_t b : fired.list(k)) {
      const std::uint64_t point = batch.empty() ? b : batch[b];
      sum += skim::mix64(std::uint64_t{fired.neurons[k]} << 32 | point);
    }
  hash = skim::mix64(hash ^ skim::mix64(sum + step));
}

}  // namespace skim_examples
