// SPDX-License-Identifier: Apache-2.0
//
// Sparse layers: a training step as the number of outputs grows, beside the dense one; searches through
// an index beside exact ones.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "common/flush_denormals.hpp"
#include "common/stopwatch.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/nn/extreme_classifier.hpp"
#include "skim/nn/label_index.hpp"
#include "support/limits.hpp"

namespace {

using skim::extreme_classifier;
using skim::extreme_classifier_params;

// Rows of 45 of 40,000 tokens and 5 of n labels; both follow power laws, and labels the topic of a row's
// tokens, so that there is something to learn.
struct generated {
  static constexpr std::size_t rows = 8192, tokens = 40000, nonzeros = 45, own = 5;

  explicit generated(std::size_t outputs) : n(outputs) {
    skim::random_engine g(skim::seed{1});
    const auto rank = [&](std::size_t most) {
      const double u = skim::uniform(g);  // density about 1 / (rank + 10)
      const auto r =
          static_cast<std::size_t>(10 * (std::pow(static_cast<double>(most) / 10 + 1, u) - 1));
      return std::min(r, most - 1);
    };
    std::vector<skim::id_t> row;
    std::vector<skim::label_t> labels;
    for (std::size_t i = 0; i < rows; ++i) {
      const std::size_t topics = n / 50, topic = rank(topics);
      row.clear();
      labels.clear();
      while (row.size() < nonzeros) {
        const bool of_topic = row.size() < 15;
        const auto t = static_cast<skim::id_t>(
            of_topic ? skim::mix64(topic * 64 + skim::uniform_below(g, 30)) % tokens
                     : rank(tokens));
        if (std::find(row.begin(), row.end(), t) == row.end()) row.push_back(t);
      }
      while (labels.size() < own) {
        const auto l = static_cast<skim::label_t>(topic * 50 + skim::uniform_below(g, 50));
        if (std::find(labels.begin(), labels.end(), l) == labels.end()) labels.push_back(l);
      }
      std::sort(row.begin(), row.end());
      std::sort(labels.begin(), labels.end());
      indices.insert(indices.end(), row.begin(), row.end());
      offsets.push_back(indices.size());
      ids.insert(ids.end(), labels.begin(), labels.end());
      label_offsets.push_back(ids.size());
    }
    values.assign(indices.size(), 1 / std::sqrt(static_cast<float>(nonzeros)));
    order.resize(rows);
    std::iota(order.begin(), order.end(), skim::id_t{0});
  }
  [[nodiscard]] skim::sparse_view x() const { return {offsets, indices, values, tokens}; }
  [[nodiscard]] skim::label_sets labels() const { return {label_offsets, ids}; }

  std::size_t n;
  std::vector<std::size_t> offsets{0}, label_offsets{0};
  std::vector<skim::id_t> indices, order;
  std::vector<float> values;
  std::vector<skim::label_t> ids;
};

double slope(const std::map<std::size_t, double>& seconds) {
  double mx = 0, my = 0, xx = 0, xy = 0;
  const auto count = static_cast<double>(seconds.size());
  for (const auto& [n, s] : seconds) {
    mx += std::log(static_cast<double>(n)) / count;
    my += std::log(s) / count;
  }
  for (const auto& [n, s] : seconds) {
    const double dx = std::log(static_cast<double>(n)) - mx;
    xx += dx * dx;
    xy += dx * (std::log(s) - my);
  }
  return xx > 0 ? xy / xx : 0;
}

// A step of 256 rows; processor time of the thread, medians.
template <skim::output_selection Selection>
void step(benchmark::State& state) {
  static std::map<std::size_t, double> so_far;
  const auto n = static_cast<std::size_t>(state.range(0));
  const generated data(n);
  const skim_examples::flush_denormals flushed;
  extreme_classifier_params p;
  p.outputs = n;
  p.selection = Selection;
  extreme_classifier model(p, data.x(), data.labels(), skim::seed{1});
  std::vector<double> seconds, peaks;
  std::size_t at = 0, active = 0;
  const auto batch = [&] {
    const auto rows = std::span<const skim::id_t>(data.order).subspan(at, 256);
    at = (at + 256) % generated::rows;
    model.step(data.x(), data.labels(), rows, 1e-2);
  };
  batch();
  for (auto _ : state) {
    const double start = skim_examples::thread_seconds();
    batch();
    seconds.push_back(skim_examples::thread_seconds() - start);
    state.SetIterationTime(seconds.back());
    peaks.push_back(skim_bench::fma_burst());
    active = model.last_active();
  }
  const double median = skim_bench::median(seconds);
  so_far[n] = median;
  state.counters["ms"] = 1e3 * median;
  state.counters["active"] = static_cast<double>(active);
  state.counters["%_of_fma_peak"] =
      100 * 6.0 * 256 * 128 * static_cast<double>(active) / median / skim_bench::median(peaks);
  state.counters["bytes_over_12_a_weight"] =
      static_cast<double>(model.bytes()) /
      (12.0 * 128 * static_cast<double>(n + generated::tokens));
  if (so_far.size() > 1) state.counters["slope"] = slope(so_far);
}

// Searches on a model that has learned its topics, one row at a time.
void search(benchmark::State& state) {
  static std::map<std::size_t, double> so_far;
  const auto n = static_cast<std::size_t>(state.range(0));
  const generated data(n);
  const skim_examples::flush_denormals flushed;
  extreme_classifier_params p;
  p.outputs = n;
  extreme_classifier model(p, data.x(), data.labels(), skim::seed{1});
  constexpr std::size_t trained = 7168, tested = generated::rows - trained;
  for (std::size_t e = 0; e < 3; ++e)
    for (std::size_t at = 0; at < trained; at += 256)
      model.step(data.x(), data.labels(), std::span<const skim::id_t>(data.order).subspan(at, 256),
                 1e-2);
  model.settle();
  std::vector<float> h(generated::rows * 128);
  for (std::size_t i = 0; i < generated::rows; ++i)
    model.hidden(data.x().row(i), std::span(h).subspan(i * 128, 128));
  const skim::label_index index({}, model.output(), {h.data(), trained, 128}, {}, skim::seed{1});
  const auto queries = std::span<const skim::id_t>(data.order).subspan(trained);
  std::vector<skim::label_score> exact(tested * 5), best(5);
  double start = skim_examples::thread_seconds();
  model.search(data.x(), queries, {exact.data(), tested, 5});
  const double batch = (skim_examples::thread_seconds() - start) / tested;
  start = skim_examples::thread_seconds();
  constexpr std::size_t singles = 20;
  std::vector<skim::label_score> one(5);
  for (std::size_t i = 0; i < singles; ++i)
    model.search(data.x(), queries.subspan(i, 1), {one.data(), 1, 5});
  const double single = (skim_examples::thread_seconds() - start) / singles;

  skim::workspace scratch;
  std::vector<double> seconds;
  std::size_t found = 0, visited = 0;
  for (auto _ : state) {
    found = visited = 0;
    start = skim_examples::thread_seconds();
    for (std::size_t i = 0; i < tested; ++i) {
      visited += index.search(model.output(), std::span(h).subspan((trained + i) * 128, 128), best,
                              scratch);
      for (const auto& b : best)
        for (std::size_t k = 0; k < 5; ++k)
          if (b.label == exact[i * 5 + k].label) ++found;
    }
    seconds.push_back((skim_examples::thread_seconds() - start) / tested);
    state.SetIterationTime(seconds.back());
  }
  const double median = skim_bench::median(seconds);
  so_far[n] = median;
  state.counters["us"] = 1e6 * median;
  state.counters["exact_batch_over_it"] = batch / median;
  state.counters["exact_single_over_it"] = single / median;
  state.counters["recall_at_5"] = static_cast<double>(found) / (5.0 * tested);
  state.counters["%_visited"] =
      100 * static_cast<double>(visited) / (static_cast<double>(tested * n));
  if (so_far.size() > 1) state.counters["slope"] = slope(so_far);
}

BENCHMARK(step<skim::output_selection::sampled>)
    ->Name("step/sampled")
    ->Arg(10000)
    ->Arg(30000)
    ->Arg(100000)
    ->Arg(300000)
    ->Arg(1000000)
    ->UseManualTime()
    ->Iterations(60);
BENCHMARK(step<skim::output_selection::dense>)
    ->Name("step/dense")
    ->Arg(10000)
    ->Arg(30000)
    ->Arg(100000)
    ->Arg(300000)
    ->UseManualTime()
    ->Iterations(4);
BENCHMARK(search)->Arg(10000)->Arg(100000)->Arg(1000000)->UseManualTime()->Iterations(5);

}  // namespace
