// SPDX-License-Identifier: Apache-2.0
#include "train_wide/training.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "common/arguments.hpp"
#include "common/flush_denormals.hpp"
#include "common/stopwatch.hpp"
#include "common/table.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "skim/firing/correlation_tree.hpp"
#include "skim/firing/deadline_index.hpp"
#include "skim/firing/fused_scan.hpp"
#include "skim/solve/gauss_newton.hpp"
#include "train_wide/wide_network.hpp"

namespace skim_examples {
namespace {

skim::firing_sets sets_of(const firing_lists& fired) {
  return {fired.offsets, fired.positions, fired.neurons};
}

// Processor time of one thread, or where several work the time that passes.
class step_watch {
 public:
  explicit step_watch(bool alone) noexcept : alone_(alone) {}
  void resume() noexcept { began_ = now(); }
  void pause() noexcept { total_ += now() - began_; }
  void reset() noexcept { total_ = 0; }
  [[nodiscard]] double milliseconds() const noexcept { return 1e3 * total_; }

 private:
  [[nodiscard]] double now() const noexcept {
    if (alone_) return thread_seconds();
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  bool alone_;
  double began_ = 0, total_ = 0;
};

// The largest eigenvalue of the outputs' Gram matrix, by power iteration: a step of more than 2 over it
// diverges.
double steepest(skim::gauss_newton_solver& solver, skim::firing_sets sets, std::size_t n) {
  std::vector<double> v(n, 1 / std::sqrt(static_cast<double>(n))), image(n);
  double value = 0;
  for (int i = 0; i < 20; ++i) {
    solver.multiply_gram(sets, v, image);
    value = std::sqrt(std::inner_product(image.begin(), image.end(), image.begin(), 0.0));
    if (value == 0) return 0;
    for (std::size_t k = 0; k < n; ++k) v[k] = image[k] / value;
  }
  return value;
}

template <class Detector>
class run {
 public:
  run(const wide_settings& s, const skim::firing_points& x, std::span<const float> targets,
      double threshold)
      : settings_(s),
        x_(x),
        targets_(targets),
        executor_(s.threads),
        network_(x,
                 {.width = s.width,
                  .rule = s.optimizer == "adam"       ? wide_rule::adam
                          : s.optimizer == "momentum" ? wide_rule::momentum
                                                      : wide_rule::plain,
                  .momentum = s.momentum,
                  .weight_decay = s.weight_decay,
                  .train_thresholds = s.train_thresholds},
                 static_cast<float>(threshold), skim::seed{s.seed}) {
    result_.threshold = threshold;
  }

  wide_result train(const std::function<void(std::size_t, std::size_t)>& progress,
                    const wide_test& test) {
    step_watch watch(settings_.threads == 1);
    watch.resume();
    Detector detector(x_, network_.neurons());
    std::vector<skim::id_t> batch;
    if (settings_.batch > 0)
      look_at_all(detector);
    else
      network_.forward(detector, batch, executor_);
    watch.pause();
    result_.build_ms = watch.milliseconds();
    skim::gauss_newton_solver solver(x_, settings_.width);
    skim::levenberg_damping damping;
    const bool newton = settings_.optimizer == "gauss-newton";
    skim::random_engine random(skim::seed{settings_.seed + 1});
    for (std::size_t t = 0; t < settings_.iterations; ++t) {
      progress(t, settings_.iterations);
      draw(batch, random);
      watch.reset();
      watch.resume();
      network_.forward(detector, batch, executor_);
      double loss = take_residuals(batch);
      watch.pause();
      if (!newton && !std::isfinite(loss))
        throw argument_error("--learning-rate: got " + significant(result_.learning_rate, 6) +
                             ", wanted a lower one: the outputs left the range of numbers");
      if (t == 0) choose_rate(solver);
      hash_firing(network_.fired(), batch, t, result_.firing_hash);
      const std::size_t fired = network_.fired().pairs();
      if (newton) {
        watch.resume();
        if (damping.accept(loss)) {
          network_.keep();
          kept_residuals_ = residuals_;
        } else {
          network_.put_back(detector);
          residuals_ = kept_residuals_;
          ++result_.taken_back;
          loss = damping.loss();
        }
        watch.pause();
      }
      const bool last = settings_.target_loss && loss <= *settings_.target_loss;
      if (!last) {
        watch.resume();
        if (newton) {
          solution_.resize(residuals_.size());
          solver.damp(damping.value());
          static_cast<void>(solver.solve(sets_of(network_.fired()), residuals_, solution_));
          slopes_.assign(solution_.begin(), solution_.end());
        } else {
          slopes_.assign(residuals_.begin(), residuals_.end());
        }
        network_.backward(detector, batch, slopes_, result_.learning_rate, executor_);
        watch.pause();
      }
      result_.iterations.push_back({loss, watch.milliseconds(), fired});
      if (last) break;
    }
    if (test.points != nullptr) try_on(test);
    std::vector<double> times;
    for (const auto& i : result_.iterations) times.push_back(i.milliseconds);
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    result_.median_ms = *middle;
    result_.bytes = detector.bytes();
    result_.statistics = detector.statistics();
    return std::move(result_);
  }

 private:
  // Detectors that learn of points as they come have seen all of them after this.
  void look_at_all(Detector& detector) {
    std::vector<skim::id_t> some;
    for (std::size_t i = 0; i < x_.size(); i += 64) {
      some.resize(std::min<std::size_t>(64, x_.size() - i));
      std::iota(some.begin(), some.end(), static_cast<skim::id_t>(i));
      network_.forward(detector, some, executor_);
    }
  }

  void try_on(const wide_test& test) {
    const std::vector<double> outputs = network_.outputs_for(*test.points, executor_);
    double squares = 0;
    std::size_t right = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const auto target = static_cast<double>(test.targets[i]);
      squares += (outputs[i] - target) * (outputs[i] - target);
      right += (outputs[i] > 0) == (target > 0) ? 1u : 0u;
    }
    const auto n = static_cast<double>(outputs.size());
    result_.test_loss = squares / n / 2;
    if (test.classes) result_.test_accuracy = static_cast<double>(right) / n;
  }

  void draw(std::vector<skim::id_t>& batch, skim::random_engine& random) {
    batch.resize(settings_.batch);
    for (skim::id_t& i : batch) {
      if (order_.empty()) {
        order_.resize(x_.size());
        std::iota(order_.begin(), order_.end(), skim::id_t{0});
        skim::shuffle(std::span(order_), random);
      }
      i = order_.back();
      order_.pop_back();
    }
  }

  double take_residuals(std::span<const skim::id_t> batch) {
    const auto outputs = network_.outputs();
    residuals_.resize(outputs.size());
    double loss = 0;
    for (std::size_t b = 0; b < outputs.size(); ++b) {
      residuals_[b] = outputs[b] - static_cast<double>(targets_[batch.empty() ? b : batch[b]]);
      loss += residuals_[b] * residuals_[b] / 2;
    }
    return loss;
  }

  void choose_rate(skim::gauss_newton_solver& solver) {
    double& rate = result_.learning_rate;
    if (settings_.optimizer == "gauss-newton") {
      rate = 1;
    } else if (settings_.learning_rate) {
      rate = *settings_.learning_rate;
    } else if (settings_.optimizer == "adam") {
      rate = 1e-3;
    } else if (settings_.batch == 0) {
      const double most = steepest(solver, sets_of(network_.fired()), x_.size());
      rate = most > 0 ? 1 / most : 1;
    } else {
      // A batch's Gram matrix has a trace of its firing pairs over the width, for unit points.
      rate = 0.5 * static_cast<double>(settings_.width) /
             std::max(1.0, static_cast<double>(network_.fired().pairs()));
    }
    if (!settings_.learning_rate && settings_.optimizer == "momentum")
      rate *= 1 - settings_.momentum;
    if (rate * settings_.weight_decay >= 1)
      throw argument_error("--weight-decay: got " + significant(settings_.weight_decay, 6) +
                           ", wanted less than 1 over the learning rate of " +
                           significant(rate, 6));
  }

  const wide_settings& settings_;
  const skim::firing_points& x_;
  std::span<const float> targets_;
  skim::thread_executor executor_;
  wide_network network_;
  wide_result result_;
  std::vector<skim::id_t> order_;
  std::vector<double> residuals_, kept_residuals_, solution_;
  std::vector<float> slopes_;
};

}  // namespace

double threshold_of(const std::string& text, std::size_t width) {
  if (text == "paper") return std::sqrt(0.4 * std::log(static_cast<double>(width)));
  const std::string prefix = "fraction:";
  const bool fraction = text.starts_with(prefix);
  const std::string number = fraction ? text.substr(prefix.size()) : text;
  try {
    const double value = detail::to_real("--threshold", number, {});
    if (!fraction) return value;
    if (value > 0 && value < 1) {
      double low = -40, high = 40;
      for (int i = 0; i < 100; ++i) {
        const double middle = (low + high) / 2;
        (std::erfc(middle / std::sqrt(2.0)) / 2 > value ? low : high) = middle;
      }
      return low;
    }
  } catch (const std::exception&) {
  }
  throw argument_error("--threshold: got '" + text +
                       "', wanted paper, a number, or fraction:P with P between 0 and 1");
}

wide_result train_wide(const wide_settings& s, const skim::firing_points& x,
                       std::span<const float> targets,
                       const std::function<void(std::size_t, std::size_t)>& progress,
                       const wide_test& test) {
  const flush_denormals flushing;
  const double threshold = threshold_of(s.threshold, s.width);
  const auto with = [&]<class Detector>(std::type_identity<Detector>) {
    try {
      return run<Detector>(s, x, targets, threshold).train(progress, test);
    } catch (const skim::invalid_input& e) {  // a move that is no finite number
      throw argument_error(std::string("--learning-rate: wanted a lower one: ") + e.what());
    }
  };
  if (s.detector == "dense") return with(std::type_identity<skim::fused_scan>{});
  if (s.detector == "max-tree") return with(std::type_identity<skim::data_tree<16>>{});
  if (s.detector == "correlation-tree") return with(std::type_identity<skim::data_tree<2>>{});
  if (s.batch > 0) return with(std::type_identity<skim::point_deadline_index>{});
  return with(std::type_identity<skim::neuron_deadline_index>{});
}

}  // namespace skim_examples
