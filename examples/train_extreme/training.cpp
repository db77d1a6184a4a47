// SPDX-License-Identifier: Apache-2.0
#include "train_extreme/training.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <numeric>
#include <span>

#include "common/flush_denormals.hpp"
#include "common/stopwatch.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"

namespace skim_examples {
namespace {

double process_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}
double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<skim::id_t> all_rows(std::size_t n) {
  std::vector<skim::id_t> rows(n);
  std::iota(rows.begin(), rows.end(), skim::id_t{0});
  return rows;
}

skim::label_sets labels_of(const dataset& data) {
  return {data.multi_offsets, data.multi_ids};
}

constexpr std::size_t ranked = 5;

}  // namespace

precisions precision_of(const dataset& data, skim::matrix_view<const skim::label_score> best) {
  precisions sums{};
  for (std::size_t i = 0; i < best.rows(); ++i) {
    const auto own = data.label_set(i);
    std::size_t hits = 0;
    for (std::size_t k = 0; k < best.cols(); ++k) {
      if (std::binary_search(own.begin(), own.end(), best.row(i)[k].label)) ++hits;
      const auto found = static_cast<double>(hits);
      if (k == 0) sums[0] += found;
      if (k == 2) sums[1] += found / 3;
      if (k == 4) sums[2] += found / 5;
    }
  }
  for (double& s : sums) s /= static_cast<double>(std::max<std::size_t>(best.rows(), 1));
  return sums;
}

train_test hold_out(dataset all, double part, std::uint64_t seed) {
  train_test both;
  for (dataset* set : {&both.train, &both.test}) {
    set->name = all.name;
    set->cols = all.cols;
    set->features = all.features;
    set->kind = all.kind;
    set->classes = all.classes;
    set->class_names = all.class_names;
  }
  skim::random_engine g(skim::seed{seed});
  for (std::size_t i = 0; i < all.rows; ++i) {
    dataset& to = skim::uniform(g) < part ? both.test : both.train;
    const auto row = all.sparse_view().row(i);
    to.indices.insert(to.indices.end(), row.indices.begin(), row.indices.end());
    to.values.insert(to.values.end(), row.values.begin(), row.values.end());
    to.offsets.push_back(to.indices.size());
    const auto own = all.label_set(i);
    to.multi_ids.insert(to.multi_ids.end(), own.begin(), own.end());
    to.multi_offsets.push_back(to.multi_ids.size());
    ++to.rows;
  }
  return both;
}

extreme_model::extreme_model(const extreme_settings& settings, const dataset& train,
                             const dataset& test,
                             const std::function<void(std::size_t, double)>& progress) {
  if (settings.threads > 1) {
    skim::thread_executor threads(settings.threads);
    run(settings, train, test, progress, threads);
  } else {
    skim::serial_executor serial;
    run(settings, train, test, progress, serial);
  }
}

template <skim::executor Executor>
void extreme_model::run(const extreme_settings& s, const dataset& train, const dataset& test,
                        const std::function<void(std::size_t, double)>& progress,
                        Executor& executor) {
  const flush_denormals flushed;
  skim::extreme_classifier_params p;
  p.inputs = train.cols;
  p.outputs = train.classes;
  p.hidden = s.hidden;
  p.batch = s.batch;
  p.learning_rate = s.learning_rate;
  p.negatives = s.negatives;
  if (s.layer == "dense") p.selection = skim::output_selection::dense;
  if (s.loss == "sigmoid") p.loss = skim::sampled_loss::sigmoid;
  if (s.loss == "softmax") p.loss = skim::sampled_loss::softmax;
  if (s.optimizer == "sparse-adam") p.optimizer.skipped = skim::skipped_steps::frozen;
  if (s.optimizer == "momentum") p.optimizer.rule = skim::update_rule::momentum;
  const skim::sparse_view x = train.sparse_view();
  const skim::label_sets labels = labels_of(train);
  network_ = std::make_unique<skim::extreme_classifier>(p, x, labels, skim::seed{s.seed});
  skim::extreme_classifier& network = *network_;
  result_.tuned = network.tuned();

  std::vector<skim::id_t> order = all_rows(train.rows);
  const std::vector<skim::id_t> tested = all_rows(test.rows);
  std::vector<skim::label_score> best(test.rows * ranked);
  const skim::matrix_view<skim::label_score> found(best.data(), test.rows, ranked);
  skim::random_engine g = skim::random_engine(skim::seed{s.seed}).child(3);
  const std::size_t steps = (train.rows + s.batch - 1) / s.batch;
  for (std::size_t e = 0; e < s.epochs; ++e) {
    extreme_epoch epoch;
    const double began = process_seconds(), wall = wall_seconds();
    skim::shuffle(std::span(order), g);
    for (std::size_t b = 0; b < steps; ++b) {
      const std::size_t first = b * s.batch, count = std::min(s.batch, train.rows - first);
      epoch.loss += network.step(x, labels, std::span(order).subspan(first, count),
                                 network.rate(e * steps + b, s.epochs * steps), executor) *
                    static_cast<double>(count) / static_cast<double>(train.rows);
      epoch.active += static_cast<double>(network.last_active()) / static_cast<double>(steps);
      progress(e, static_cast<double>(b + 1) / static_cast<double>(steps));
    }
    epoch.seconds = process_seconds() - began;
    epoch.wall_seconds = wall_seconds() - wall;
    network.settle();
    network.search(test.sparse_view(), tested, found, executor);
    epoch.at = precision_of(test, found);
    result_.epochs.push_back(epoch);
  }
  network.settle();
  result_.bytes = network.bytes();
  measure_inference(train, test, s.seed, executor);
}

// Times are of one thread: what a program waits for that asks for one example after the other.
template <skim::executor Executor>
void extreme_model::measure_inference(const dataset& train, const dataset& test, std::uint64_t seed,
                                      Executor& executor) {
  extreme_inference& r = result_.inference;
  const skim::extreme_classifier& network = *network_;
  const std::size_t width = network.parameters().hidden, n = test.rows;
  const double building = process_seconds();
  std::vector<float> sample(train.rows * width);
  for (std::size_t i = 0; i < train.rows; ++i)
    network.hidden(train.sparse_view().row(i), std::span(sample).subspan(i * width, width));
  index_ = std::make_unique<skim::label_index>(
      skim::label_index_params{}, network.output(),
      skim::matrix_view<const float>(sample.data(), train.rows, width), labels_of(train),
      skim::seed{seed}, executor);
  r.build_seconds = process_seconds() - building;
  r.cells = index_->cells();
  r.bytes = index_->bytes();

  const auto us_each = [](thread_stopwatch& watch, std::size_t examples) {
    return 1e6 * watch.seconds() / static_cast<double>(std::max<std::size_t>(examples, 1));
  };
  const std::vector<skim::id_t> rows = all_rows(n);
  std::vector<skim::label_score> exact(n * ranked), best(n * ranked);
  thread_stopwatch dense;
  network.search(test.sparse_view(), rows, {exact.data(), n, ranked});
  r.dense_batch_us = us_each(dense, n);

  const std::size_t singles = std::min<std::size_t>(n, 200);
  thread_stopwatch single;
  for (std::size_t i = 0; i < singles; ++i)
    network.search(test.sparse_view(), std::span(rows).subspan(i, 1),
                   {best.data() + i * ranked, 1, ranked});
  r.dense_single_us = us_each(single, singles);

  skim::workspace scratch;
  std::vector<float> h(width);
  std::size_t visited = 0, hits = 0;
  thread_stopwatch sparse;
  for (std::size_t i = 0; i < n; ++i) {
    network.hidden(test.sparse_view().row(i), h);
    visited +=
        index_->search(network.output(), h, std::span(best).subspan(i * ranked, ranked), scratch);
  }
  r.sparse_us = us_each(sparse, n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < ranked; ++k)
      for (std::size_t j = 0; j < ranked; ++j)
        if (exact[i * ranked + k].label == best[i * ranked + j].label) ++hits;
  const auto examples = static_cast<double>(std::max<std::size_t>(n, 1));
  r.recall_at_5 = static_cast<double>(hits) / (examples * static_cast<double>(ranked));
  r.visited = static_cast<double>(visited) / (examples * static_cast<double>(train.classes));
  r.dense = precision_of(test, skim::matrix_view<const skim::label_score>(exact.data(), n, ranked));
  r.sparse = precision_of(test, skim::matrix_view<const skim::label_score>(best.data(), n, ranked));
}

std::pair<std::vector<skim::label_score>, double> extreme_model::suggest(
    const std::vector<std::pair<skim::id_t, float>>& row, std::size_t count) const {
  std::vector<skim::id_t> indices;
  std::vector<float> values;
  for (const auto& [id, value] : row) {
    indices.push_back(id);
    values.push_back(value);
  }
  std::vector<float> h(network_->parameters().hidden);
  std::vector<skim::label_score> best(count);
  skim::workspace scratch;
  index_->search(network_->output(), h, best, scratch);  // takes the scratch memory
  thread_stopwatch watch;
  network_->hidden({indices, values}, h);
  index_->search(network_->output(), h, best, scratch);
  const double us = 1e6 * watch.seconds();
  while (!best.empty() && best.back() == skim::label_score{}) best.pop_back();
  return {best, us};
}

}  // namespace skim_examples
