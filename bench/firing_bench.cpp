// SPDX-License-Identifier: Apache-2.0
//
// Training steps of a wide layer through each detector, beside those through fused_scan: the same
// steps, taken in turn. Times are processor time of the thread; speed-ups are medians over the turns.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "common/stopwatch.hpp"
#include "skim/core/random.hpp"
#include "skim/firing/correlation_tree.hpp"
#include "skim/firing/deadline_index.hpp"
#include "skim/firing/fused_scan.hpp"
#include "skim/firing/points.hpp"
#include "support/limits.hpp"
#include "train_wide/blobs.hpp"
#include "train_wide/wide_network.hpp"

namespace {

using skim_bench::median;
using skim_examples::thread_seconds;
using skim_examples::wide_rule;

struct setting {
  std::size_t m, n, d, batch;  // batch 0: all points
  double threshold, rate;
  wide_rule rule = wide_rule::plain;
};

// The paper's threshold.
double paper_threshold(std::size_t m) {
  return std::sqrt(0.4 * std::log(static_cast<double>(m)));
}

// The threshold that lets the given part of a normal distribution through.
double threshold_of(double fraction) {
  double low = -10, high = 10;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) / 2 > fraction ? low : high) = middle;
  }
  return low;
}

struct step_times {
  double detect = 0, step = 0;
  std::size_t fired = 0;
};

// One network and the detector it is trained through.
template <class Detector>
class trainee {
 public:
  trainee(const setting& s, const skim::firing_points& x, std::span<const float> targets)
      : network_(x, {.width = s.m, .rule = s.rule}, static_cast<float>(s.threshold), skim::seed{1}),
        detector_(x, network_.neurons()),
        targets_(targets),
        rate_(s.rate) {}

  step_times step(std::span<const skim::id_t> batch) {
    const double t0 = thread_seconds();
    network_.forward(detector_, batch);
    const double t1 = thread_seconds();
    const auto outputs = network_.outputs();
    residuals_.resize(outputs.size());
    for (std::size_t b = 0; b < outputs.size(); ++b)
      residuals_[b] = static_cast<float>(
          outputs[b] - static_cast<double>(targets_[batch.empty() ? b : batch[b]]));
    network_.backward(detector_, batch, residuals_, rate_);
    return {t1 - t0, thread_seconds() - t0, network_.fired().pairs()};
  }
  // A look at all points, without a step.
  double look(std::size_t n, std::size_t batch) {
    const double t0 = thread_seconds();
    if (batch == 0) network_.forward(detector_, {});
    std::vector<skim::id_t> ids(64);
    for (std::size_t first = 0; batch != 0 && first < n; first += ids.size()) {
      ids.resize(std::min<std::size_t>(64, n - first));
      std::iota(ids.begin(), ids.end(), static_cast<skim::id_t>(first));
      network_.forward(detector_, ids);
    }
    return thread_seconds() - t0;
  }

  [[nodiscard]] Detector& detector() { return detector_; }

 private:
  skim_examples::wide_network network_;
  Detector detector_;
  std::span<const float> targets_;
  double rate_;
  std::vector<float> residuals_;
};

struct comparison {
  double rival_ms, ms, speedup, detect_speedup, fraction, build_steps;
};

// The detector against fused_scan, step by step. Warm: its first look at all points is no step.
template <class Detector>
comparison compare(benchmark::State& state, const setting& s) {
  const skim_examples::labelled_blobs data(s.n, s.d, skim::seed{2});
  const skim::firing_points x(data.view());
  trainee<skim::fused_scan> rival(s, x, data.targets);
  const double t0 = thread_seconds();
  trainee<Detector> ours(s, x, data.targets);
  const double made = thread_seconds() - t0;
  const double first = rival.look(s.n, s.batch);
  const double build = made + ours.look(s.n, s.batch);
  skim::random_engine g(skim::seed{3});
  std::vector<double> rival_step, our_step, ratio, detect, rate, peak;
  double fired = 0;
  std::vector<skim::id_t> batch(s.batch);
  const double flops = 2.0 * static_cast<double>(s.m * s.d * (s.batch == 0 ? s.n : s.batch));
  for (auto _ : state) {
    for (skim::id_t& i : batch) i = static_cast<skim::id_t>(skim::uniform_below(g, s.n));
    const step_times theirs = rival.step(batch);
    peak.push_back(skim_bench::fma_burst());
    const step_times mine = ours.step(batch);
    state.SetIterationTime(mine.step);
    rival_step.push_back(theirs.step);
    our_step.push_back(mine.step);
    ratio.push_back(theirs.step / mine.step);
    detect.push_back(theirs.detect / mine.detect);
    rate.push_back(flops / theirs.detect);
    fired += static_cast<double>(mine.fired);
    if (theirs.fired != mine.fired) state.SkipWithError("the detectors disagree");
  }
  const double pairs = static_cast<double>(s.m * (s.batch == 0 ? s.n : s.batch));
  const comparison c{1e3 * median(rival_step),
                     1e3 * median(our_step),
                     median(ratio),
                     median(detect),
                     fired / pairs / static_cast<double>(state.iterations()),
                     build / (s.batch == 0 ? median(rival_step) : first)};
  const skim::firing_statistics did = ours.detector().statistics();
  state.counters["dense_ms"] = c.rival_ms;
  state.counters["ms"] = c.ms;
  state.counters["speedup"] = c.speedup;
  state.counters["detect_speedup"] = c.detect_speedup;
  state.counters["fired_pct"] = 100 * c.fraction;
  state.counters["examined_per_fired"] =
      static_cast<double>(did.examined) / std::max<double>(1, static_cast<double>(did.fired));
  state.counters["dense_%_of_fma_peak"] = 100 * median(rate) / median(peak);
  state.counters["build_in_dense_steps"] = c.build_steps;
  state.counters["bytes_per_pair"] =
      static_cast<double>(ours.detector().bytes()) / static_cast<double>(s.m * s.n);
  return c;
}

std::size_t arg(const benchmark::State& state, std::size_t i) {
  return static_cast<std::size_t>(state.range(i));
}

void full_batch(benchmark::State& state) {
  const std::size_t m = arg(state, 0), d = arg(state, 1), n = arg(state, 2);
  compare<skim::neuron_deadline_index>(state, {m, n, d, 0, paper_threshold(m), 0.03});
}

void minibatch(benchmark::State& state) {
  const std::size_t m = arg(state, 0), d = arg(state, 1), n = 1024;
  compare<skim::point_deadline_index>(state, {m, n, d, arg(state, 2), paper_threshold(m), 0.1});
}

// Slope of log time over log m, by least squares over the runs of one family.
class slope {
 public:
  void add(double m, double ms) {
    x_.push_back(std::log(m));
    y_.push_back(std::log(ms));
  }
  [[nodiscard]] double value() const {
    const auto n = static_cast<double>(x_.size());
    double sx = 0, sy = 0, xx = 0, xy = 0;
    for (std::size_t i = 0; i < x_.size(); ++i) {
      sx += x_[i];
      sy += y_[i];
      xx += x_[i] * x_[i];
      xy += x_[i] * y_[i];
    }
    return x_.size() < 2 ? 0 : (n * xy - sx * sy) / (n * xx - sx * sx);
  }

 private:
  std::vector<double> x_, y_;
};

// Firing is rare: a part of 1e-4 at every width, or at the threshold sqrt(c ln m) that gives 1e-4 at
// 2^15, where the pairs that fire grow as m to a power below one, as the paper has it.
template <bool Falling>
void rare(benchmark::State& state) {
  static slope ours, rival;
  const std::size_t m = arg(state, 0);
  const double at = threshold_of(1e-4);
  const double threshold =
      Falling ? at * std::sqrt(std::log(static_cast<double>(m)) / std::log(32768.0)) : at;
  const comparison c =
      compare<skim::neuron_deadline_index>(state, {m, 512, 64, 0, threshold, 0.03});
  ours.add(static_cast<double>(m), c.ms);
  rival.add(static_cast<double>(m), c.rival_ms);
  state.counters["slope"] = ours.value();
  state.counters["dense_slope"] = rival.value();
}

void widths(benchmark::State& state) {
  static slope ours, rival;
  const std::size_t m = arg(state, 0);
  const comparison c =
      compare<skim::neuron_deadline_index>(state, {m, 1000, 64, 0, paper_threshold(m), 0.03});
  ours.add(static_cast<double>(m), c.ms);
  rival.add(static_cast<double>(m), c.rival_ms);
  state.counters["slope"] = ours.value();
  state.counters["dense_slope"] = rival.value();
}

// The published tree, point by point, against deadlines: both beside fused_scan.
void published(benchmark::State& state) {
  const setting s{arg(state, 0), arg(state, 1), 64, 0, paper_threshold(arg(state, 0)), 0.03};
  const skim_examples::labelled_blobs data(s.n, s.d, skim::seed{2});
  const skim::firing_points x(data.view());
  trainee<skim::data_tree<2>> tree(s, x, data.targets);
  trainee<skim::neuron_deadline_index> index(s, x, data.targets);
  trainee<skim::fused_scan> scan(s, x, data.targets);
  index.look(s.n, 0);
  std::vector<double> ratio, tree_ms, index_ms, scan_ms;
  for (auto _ : state) {
    const double a = tree.step({}).step, b = index.step({}).step, c = scan.step({}).step;
    state.SetIterationTime(a);
    ratio.push_back(a / b);
    tree_ms.push_back(1e3 * a);
    index_ms.push_back(1e3 * b);
    scan_ms.push_back(1e3 * c);
  }
  state.counters["tree_ms"] = median(tree_ms);
  state.counters["deadline_ms"] = median(index_ms);
  state.counters["dense_ms"] = median(scan_ms);
  state.counters["deadlines_over_tree"] = median(ratio);
}

// Settings in which deadlines cannot help: total time over 60 steps, the first included.
template <class Detector>
void worst(benchmark::State& state) {
  const double fraction = static_cast<double>(state.range(0)) / 1000;
  const double rate = static_cast<double>(state.range(1)) / 1000;
  const bool adam = rate > 0;
  const setting s{2048,
                  512,
                  arg(state, 2),
                  std::is_same_v<Detector, skim::neuron_deadline_index> ? 0u : 32u,
                  threshold_of(fraction),
                  adam ? rate : 0.003,
                  adam ? wide_rule::adam : wide_rule::plain};
  const skim_examples::labelled_blobs data(s.n, s.d, skim::seed{2});
  const skim::firing_points x(data.view());
  std::vector<double> step_ratio, detect_ratio;
  std::uint64_t pairs = 0, dense = 0;
  for (auto _ : state) {
    trainee<skim::fused_scan> rival(s, x, data.targets);
    trainee<Detector> ours(s, x, data.targets);
    skim::random_engine g(skim::seed{3});
    std::vector<skim::id_t> batch(s.batch);
    step_times theirs, mine;
    for (int i = 0; i < (s.batch == 0 ? 60 : 600); ++i) {
      for (skim::id_t& p : batch) p = static_cast<skim::id_t>(skim::uniform_below(g, s.n));
      const step_times a = rival.step(batch), b = ours.step(batch);
      theirs.detect += a.detect;
      theirs.step += a.step;
      mine.detect += b.detect;
      mine.step += b.step;
    }
    state.SetIterationTime(mine.step);
    step_ratio.push_back(mine.step / theirs.step);
    detect_ratio.push_back(mine.detect / theirs.detect);
    pairs += ours.detector().statistics().pairs;
    dense += ours.detector().statistics().dense;
  }
  state.counters["step_over_dense"] = median(step_ratio);
  state.counters["detect_over_dense"] = median(detect_ratio);
  state.counters["dense_pct"] = 100 * static_cast<double>(dense) / static_cast<double>(pairs);
}

BENCHMARK(full_batch)
    ->Name("firing/full/m/d/n")
    ->Args({1 << 12, 64, 1000})
    ->Args({1 << 16, 64, 1000})
    ->Args({1 << 12, 512, 1000})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(15);
BENCHMARK(full_batch)
    ->Name("firing/full/m/d/n")
    ->Args({1 << 16, 512, 1000})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(7);
BENCHMARK(minibatch)
    ->Name("firing/batch/m/d/B")
    ->ArgsProduct({{1 << 16}, {128, 512}, {1}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(400);
BENCHMARK(minibatch)
    ->Name("firing/batch/m/d/B")
    ->ArgsProduct({{1 << 16}, {128, 512}, {8, 64}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(40);
BENCHMARK(rare<false>)
    ->Name("firing/rare_fixed/m")
    ->RangeMultiplier(4)
    ->Range(1 << 12, 1 << 18)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(15);
BENCHMARK(rare<true>)
    ->Name("firing/rare_falling/m")
    ->RangeMultiplier(4)
    ->Range(1 << 12, 1 << 18)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(15);
BENCHMARK(widths)
    ->Name("firing/widths/m")
    ->RangeMultiplier(4)
    ->Range(1 << 8, 1 << 16)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(11);
BENCHMARK(published)
    ->Name("firing/published/m/n")
    ->Args({1 << 12, 256})
    ->Args({1 << 14, 256})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5);
// Fraction and Adam's rate in thousandths (0: plain steps).
BENCHMARK(worst<skim::neuron_deadline_index>)
    ->Name("firing/worst_full/fraction/rate/d")
    ->ArgsProduct({{500, 200, 100, 30, 1}, {0, 30, 1000}, {16, 64}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3);
BENCHMARK(worst<skim::point_deadline_index>)
    ->Name("firing/worst_batch/fraction/rate/d")
    ->ArgsProduct({{500, 200, 100, 30, 1}, {0, 30, 1000}, {16, 64}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(3);

}  // namespace
