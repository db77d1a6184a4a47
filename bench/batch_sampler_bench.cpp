// SPDX-License-Identifier: Apache-2.0
//
// What batch samplers cost: each stage of a Nadaraya-Watson draw a candidate, each sampler a batch,
// and the share of training time they take beside the bar.
//
// Names: stage/<stage>/<data>, step/<sampler>/<data>/h<width>, rival/<sampler>, build/<data>,
// flat/n<examples>.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "common/mlp.hpp"
#include "skim/core/aligned.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/sample/class_stratified.hpp"
#include "skim/sample/gradient_norm.hpp"
#include "skim/sample/hybrid.hpp"
#include "skim/sample/infobatch.hpp"
#include "skim/sample/nadaraya_watson.hpp"
#include "skim/sample/rank.hpp"
#include "skim/sample/score_table.hpp"
#include "skim/sample/selective_backprop.hpp"
#include "skim/sample/uniform.hpp"
#include "support/limits.hpp"

namespace {

using skim::id_t;
using skim::label_t;
using skim::detail::concat;
using skim_bench::median;

constexpr std::size_t batch = 128, classes = 10;

/// Processor time of this thread: what other programs take is not the sampler's. A call costs 0.3 us.
double seconds_now() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Generated examples of the shape of real sets: images are prototypes of their class plus noise with a
/// black border, tables are Gaussian, sparse rows have 16 of the coordinates set.
class data_set {
 public:
  data_set(std::size_t rows, std::size_t cols, std::size_t nonzeros = 0)
      : rows_(rows), cols_(cols), sparse_(nonzeros > 0), labels_(rows) {
    skim::random_engine g(skim::seed{1});
    for (auto& l : labels_) l = static_cast<label_t>(skim::uniform_below(g, classes));
    if (sparse_)
      fill_sparse(nonzeros, g);
    else
      fill_dense(g);
  }

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t cols() const { return cols_; }
  [[nodiscard]] bool sparse() const { return sparse_; }
  [[nodiscard]] std::span<const label_t> labels() const { return labels_; }
  [[nodiscard]] skim::matrix_view<const float> dense() const {
    return {dense_.data(), rows_, cols_};
  }
  [[nodiscard]] skim::sparse_view csr() const { return {offsets_, indices_, values_, cols_}; }
  /// Rows [first, first + count).
  [[nodiscard]] skim::stream_block block(std::size_t first, std::size_t count) const {
    skim::stream_block b;
    if (sparse_)
      b.sparse_features = {std::span(offsets_).subspan(first, count + 1), indices_, values_, cols_};
    else
      b.features = dense().rows(first, count);
    return b;
  }
  /// Calls f with the features, whatever kind they are.
  template <class F>
  decltype(auto) visit(F f) const {
    return sparse_ ? f(csr()) : f(dense());
  }

 private:
  void fill_dense(skim::random_engine& g) {
    dense_.resize(rows_ * cols_);
    std::vector<float> prototypes(classes * cols_);
    for (std::size_t i = 0; i < prototypes.size(); ++i) {
      const bool border = cols_ == 784 && (i % 28 < 4 || i % 28 >= 24);
      prototypes[i] = border ? 0.0f : skim::uniform_float(g);
    }
    for (std::size_t i = 0; i < rows_; ++i)
      for (std::size_t j = 0; j < cols_; ++j) {
        const float p = prototypes[labels_[i] * cols_ + j];
        dense_[i * cols_ + j] = p == 0 ? 0.0f : p + 0.5f * (skim::uniform_float(g) - 0.5f);
      }
  }
  void fill_sparse(std::size_t nonzeros, skim::random_engine& g) {
    offsets_.push_back(0);
    for (std::size_t i = 0; i < rows_; ++i) {
      const std::size_t span = cols_ / nonzeros;
      for (std::size_t k = 0; k < nonzeros; ++k) {
        indices_.push_back(static_cast<id_t>(k * span + skim::uniform_below(g, span)));
        values_.push_back(0.5f + skim::uniform_float(g));
      }
      offsets_.push_back(indices_.size());
    }
  }

  std::size_t rows_, cols_;
  bool sparse_;
  std::vector<label_t> labels_;
  skim::aligned_vector<float> dense_;
  std::vector<std::size_t> offsets_;
  std::vector<id_t> indices_;
  std::vector<float> values_;
};

enum class shape { image784, table3, table9, sparse118 };
constexpr std::array shapes{shape::image784, shape::table3, shape::table9, shape::sparse118};

std::string name_of(shape s) {
  switch (s) {
    case shape::image784:
      return "d784";
    case shape::table3:
      return "d3";
    case shape::table9:
      return "d9";
    case shape::sparse118:
      return "d118sparse";
  }
  return {};
}

const data_set& data_of(shape s) {  // one at a time: the benchmarks run in the order of the shapes
  static std::optional<std::pair<shape, data_set>> held;
  if (!held || held->first != s) {
    held.reset();
    switch (s) {
      case shape::image784:
        held.emplace(s, data_set(60'000, 784));
        break;
      case shape::table3:
        held.emplace(s, data_set(60'000, 3));
        break;
      case shape::table9:
        held.emplace(s, data_set(60'000, 9));
        break;
      case shape::sparse118:
        held.emplace(s, data_set(60'000, 118, 16));
        break;
    }
  }
  return held->second;
}

skim::nadaraya_watson_sampler_params sketch_params(skim::gate_mode mode) {
  skim::nadaraya_watson_sampler_params p;
  p.gate.mode = mode;
  if (mode == skim::gate_mode::automatic) {  // closes after one step, for good
    p.gate.open_lift = p.gate.keep_lift = 1;
    p.gate.trial = 1;
    p.gate.retry = std::size_t{1} << 40;
  }
  return p;
}

/// Scores as training gives them: few are large, and neighbours of an example resemble it.
void fill_scores(std::span<const label_t> labels, std::span<const id_t> ids, skim::random_engine& g,
                 std::span<float> out) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    out[i] = 0.05f + (labels[ids[i]] == 3 ? 0.8f : 0.1f) * skim::uniform_float(g);
}

// ---------------------------------------------------------------------------------------------------
// Samplers behind one face: `offer` is what costs the trainer nothing extra, or is not the sampler's.

struct any_sampler {
  any_sampler() = default;
  any_sampler(const any_sampler&) = delete;
  any_sampler& operator=(const any_sampler&) = delete;
  virtual ~any_sampler() = default;
  virtual void offer() {}
  virtual skim::drawn_batch draw() = 0;
  virtual void observe(std::span<const id_t> ids, std::span<const float> scores) = 0;
  /// What drawn ids refer to.
  [[nodiscard]] virtual const data_set& data() const = 0;
  [[nodiscard]] virtual std::span<const label_t> labels() const { return data().labels(); }
  [[nodiscard]] virtual skim_examples::batch_rows<float> rows(std::span<const id_t> ids) const {
    return data().visit([&](auto x) { return skim_examples::batch_rows<float>(x, ids); });
  }
};

template <class S>
class catalogue final : public any_sampler {
 public:
  catalogue(const data_set& d, S s) : data_(d), sampler_(std::move(s)) {}
  skim::drawn_batch draw() override { return sampler_.draw(batch); }
  void observe(std::span<const id_t> ids, std::span<const float> scores) override {
    sampler_.observe(ids, scores);
  }
  [[nodiscard]] const data_set& data() const override { return data_; }

 private:
  const data_set& data_;
  S sampler_;
};

/// The data set in random order, as blocks copied to a buffer of their own: as they would arrive.
template <class S>
class stream final : public any_sampler {
 public:
  stream(const data_set& d, S s)
      : data_(d), sampler_(std::move(s)), order_(d.rows(), skim::random_engine(skim::seed{5})) {}

  void offer() override {
    const std::size_t n = sampler_.candidates(batch);
    ids_.resize(n);
    order_.take(ids_);
    labels_.resize(n);
    for (std::size_t i = 0; i < n; ++i) labels_[i] = data_.labels()[ids_[i]];
    block_ = {};
    block_.labels = labels_;
    if (data_.sparse()) {
      offsets_.assign(1, 0);
      indices_.clear();
      values_.clear();
      for (const id_t id : ids_) {
        const auto row = data_.csr().row(id);
        indices_.insert(indices_.end(), row.indices.begin(), row.indices.end());
        values_.insert(values_.end(), row.values.begin(), row.values.end());
        offsets_.push_back(indices_.size());
      }
      block_.sparse_features = skim::sparse_view(offsets_, indices_, values_, data_.cols());
    } else {
      dense_.resize(n * data_.cols());
      for (std::size_t i = 0; i < n; ++i) {
        const auto row = data_.dense().row(ids_[i]);
        std::copy(row.begin(), row.end(),
                  dense_.begin() + static_cast<std::ptrdiff_t>(i * data_.cols()));
      }
      block_.features = {dense_.data(), n, data_.cols()};
    }
  }
  skim::drawn_batch draw() override { return sampler_.select(block_, batch); }
  void observe(std::span<const id_t> ids, std::span<const float> scores) override {
    sampler_.observe(ids, scores);
  }
  [[nodiscard]] const data_set& data() const override { return data_; }
  [[nodiscard]] std::span<const label_t> labels() const override { return labels_; }
  [[nodiscard]] skim_examples::batch_rows<float> rows(std::span<const id_t> ids) const override {
    return data_.sparse() ? skim_examples::batch_rows<float>(block_.sparse_features, ids)
                          : skim_examples::batch_rows<float>(block_.features, ids);
  }

 private:
  const data_set& data_;
  S sampler_;
  skim::detail::epoch_order order_;
  std::vector<id_t> ids_;
  std::vector<label_t> labels_;
  skim::aligned_vector<float> dense_;
  std::vector<std::size_t> offsets_;
  std::vector<id_t> indices_;
  std::vector<float> values_;
  skim::stream_block block_;
};

enum class sampler {
  uniform,
  class_stratified,
  score_table,
  catalogue_open,
  catalogue_closed,
  stream_uniform,
  stream_stratified,
  stream_open,
  stream_open_run4,
  stream_closed
};
constexpr std::array samplers{sampler::uniform,           sampler::class_stratified,
                              sampler::score_table,       sampler::catalogue_open,
                              sampler::catalogue_closed,  sampler::stream_uniform,
                              sampler::stream_stratified, sampler::stream_open,
                              sampler::stream_open_run4,  sampler::stream_closed};

std::string name_of(sampler s) {
  switch (s) {
    case sampler::uniform:
      return "uniform";
    case sampler::class_stratified:
      return "class_stratified";
    case sampler::score_table:
      return "score_table";
    case sampler::catalogue_open:
      return "nadaraya_watson_open";
    case sampler::catalogue_closed:
      return "nadaraya_watson_closed";
    case sampler::stream_uniform:
      return "stream_uniform";
    case sampler::stream_stratified:
      return "stream_class_stratified";
    case sampler::stream_open:
      return "stream_nadaraya_watson_open";
    case sampler::stream_open_run4:
      return "stream_nadaraya_watson_open_run4";
    case sampler::stream_closed:
      return "stream_nadaraya_watson_closed";
  }
  return {};
}

std::unique_ptr<any_sampler> make(sampler kind, const data_set& d) {
  const auto in_catalogue = [&]<class S>(S s) -> std::unique_ptr<any_sampler> {
    return std::make_unique<catalogue<S>>(d, std::move(s));
  };
  const auto in_stream = [&]<class S>(S s) -> std::unique_ptr<any_sampler> {
    return std::make_unique<stream<S>>(d, std::move(s));
  };
  const skim::seed s{7};
  const auto sketched = [&](skim::gate_mode mode) {
    return d.visit([&](auto x) {
      return in_catalogue(skim::nadaraya_watson_sampler(x, d.labels(), sketch_params(mode), s));
    });
  };
  switch (kind) {
    case sampler::uniform:
      return in_catalogue(skim::uniform_sampler(d.rows(), s));
    case sampler::class_stratified:
      return in_catalogue(skim::class_stratified_sampler(d.labels(), {}, s));
    case sampler::score_table:
      return in_catalogue(skim::score_table_sampler(d.rows(), {}, s));
    case sampler::catalogue_open:
      return sketched(skim::gate_mode::open);
    case sampler::catalogue_closed:
      return sketched(skim::gate_mode::automatic);
    case sampler::stream_uniform:
      return in_stream(skim::uniform_stream_sampler());
    case sampler::stream_stratified:
      return in_stream(skim::class_stratified_stream_sampler(classes, {}, s));
    case sampler::stream_open:
      return in_stream(
          skim::nadaraya_watson_stream_sampler(classes, sketch_params(skim::gate_mode::open), s));
    case sampler::stream_open_run4: {
      auto p = sketch_params(skim::gate_mode::open);
      p.run = 4;
      return in_stream(skim::nadaraya_watson_stream_sampler(classes, p, s));
    }
    case sampler::stream_closed:
      return in_stream(skim::nadaraya_watson_stream_sampler(
          classes, sketch_params(skim::gate_mode::automatic), s));
  }
  return {};
}

/// Steps after which every sampler is in its steady state: the score table has seen each example once.
std::size_t steps_to_warm_up(sampler kind, const data_set& d) {
  return kind == sampler::score_table ? d.rows() / batch + 2 : 40;
}

/// Training steps with the sampler in the loop, the caches as the training leaves them. One iteration
/// is a turn of 96 steps, so that full refreshes and new epochs are counted; figures are medians of turns.
void step_share(benchmark::State& state, sampler kind, shape s, std::size_t width, double bar) {
  constexpr std::size_t turn = 96;
  const data_set& d = data_of(s);
  const auto sampled = make(kind, d);
  skim_examples::mlp net(
      {.inputs = d.cols(), .hidden = {width, width}, .outputs = classes, .batch = batch},
      skim::seed{1});
  skim_examples::adam optimizer;
  skim::aligned_vector<float> loss(batch), residual(batch);
  std::vector<label_t> labels(batch);
  skim::random_engine g(skim::seed{3});
  for (std::size_t i = 0; i < steps_to_warm_up(kind, d); ++i) {
    sampled->offer();
    const auto b = sampled->draw();
    fill_scores(sampled->labels(), b.ids, g, residual);
    sampled->observe(b.ids, residual);
  }

  std::vector<double> draws, observes, steps, shares;
  for (auto _ : state) {
    double draw = 0, observe = 0, step = 0;
    for (std::size_t i = 0; i < turn; ++i) {
      sampled->offer();
      const double t0 = seconds_now();
      const auto b = sampled->draw();
      const double t1 = seconds_now();
      skim_examples::gather(sampled->labels(), b.ids, std::span<label_t>(labels));
      net.step(sampled->rows(b.ids), labels, b.weights, optimizer, 1e-4, {loss, residual, {}});
      const double t2 = seconds_now();
      sampled->observe(b.ids, residual);
      const double t3 = seconds_now();
      draw += t1 - t0;
      step += t2 - t1;
      observe += t3 - t2;
    }
    constexpr double each = 1e6 / turn;
    draws.push_back(draw * each);
    observes.push_back(observe * each);
    steps.push_back(step * each);
    shares.push_back(100 * (draw + observe) / (draw + observe + step));
    state.SetIterationTime((draw + observe) / turn);
  }
  state.counters["draw_us"] = median(draws);
  state.counters["observe_us"] = median(observes);
  state.counters["step_us"] = median(steps);
  state.counters["share_pct"] = median(shares);
  if (bar > 0) state.counters["bar_pct"] = bar;
}

// ---------------------------------------------------------------------------------------------------
// The stages of a draw by score, each alone on the same pool: warm caches, so a lower limit of what the
// steps above pay.

enum class stage {
  order,
  score,
  inclusion,
  systematic,
  weights,
  insert,
  refresh_some,
  refresh_all,
  hash
};
constexpr std::array stages{stage::order,        stage::score,       stage::inclusion,
                            stage::systematic,   stage::weights,     stage::insert,
                            stage::refresh_some, stage::refresh_all, stage::hash};

std::string name_of(stage s) {
  switch (s) {
    case stage::order:
      return "order";
    case stage::score:
      return "score";
    case stage::inclusion:
      return "inclusion";
    case stage::systematic:
      return "systematic";
    case stage::weights:
      return "weights";
    case stage::insert:
      return "insert";
    case stage::refresh_some:
      return "refresh_some";
    case stage::refresh_all:
      return "refresh_all_by_16";
    case stage::hash:
      return "hash_stream";
  }
  return {};
}

void one_stage(benchmark::State& state, stage kind, shape s) {
  const data_set& d = data_of(s);
  const skim::nadaraya_watson_sampler_params p;
  const std::size_t candidates = batch * p.pool;
  const auto family = d.visit(
      [&](auto x) { return skim::detail::fit_ferns(x, p, skim::random_engine(skim::seed{1})); });
  skim::workspace ws;
  std::vector<std::uint16_t> codes(d.rows() * p.hashes);
  d.visit([&](auto x) { skim::detail::hash_to_16_bits(family, x, codes, ws); });
  skim::nadaraya_watson_sketch<skim::fern_family, 2> sketch(
      family, {.width = p.width, .classes = classes, .shrinkage = p.shrinkage});
  std::vector<std::uint16_t> columns = codes;
  sketch.columns().to_columns(columns, d.labels());
  const skim::cached_columns cached(
      skim::matrix_view<const std::uint16_t>(columns.data(), d.rows(), p.hashes));
  skim::random_engine g(skim::seed{2});
  skim::detail::epoch_order order(d.rows(), g.child(0));
  std::vector<id_t> pool(candidates), chosen(batch), scratch;
  std::vector<float> predicted(candidates), inclusion(candidates), given(batch), exact(batch, 1.0f);
  for (int i = 0; i < 40; ++i) {
    order.take(chosen);
    fill_scores(d.labels(), chosen, g, given);
    sketch.insert_columns(cached, chosen, given);
  }
  skim::nadaraya_watson_scores<skim::fern_family, 2> scores(
      sketch, skim::regression_value::root_mean_square);
  order.take(pool);
  scores.query_columns(cached, pool, std::span<float>(predicted));
  const std::size_t sampled = batch - skim::detail::uniform_rows(batch, p.uniform_share);
  const skim::inclusion_params budget{.budget = static_cast<double>(sampled), .floor = 1e-3};
  skim::inclusion_probabilities(predicted, budget, std::span<float>(inclusion));
  const std::span<id_t> places = std::span(chosen).first(sampled);
  skim::detail::draw_exactly(inclusion, g, scratch, places);

  std::size_t at = 0;
  const auto run = [&] {
    switch (kind) {
      case stage::order:
        return order.take(pool);
      case stage::score:
        order.take(pool);  // fresh candidates; subtract `order`
        return scores.query_columns(cached, pool, std::span<float>(predicted));
      case stage::inclusion:
        skim::inclusion_probabilities(predicted, budget, std::span<float>(inclusion));
        return;
      case stage::systematic:
        return skim::detail::draw_exactly(inclusion, g, scratch, places);
      case stage::weights:
        for (std::size_t i = 0; i < batch; ++i)
          exact[i] = static_cast<float>(batch) / (26 + 1024 * inclusion[chosen[i]]);
        return;
      case stage::insert:
        sketch.decay(std::exp2(-static_cast<double>(batch) / p.half_life));
        return sketch.insert_columns(cached, std::span(pool).first(batch), given, exact);
      case stage::refresh_some:
        return scores.refresh(sketch, cached, std::span(pool).first(batch));
      case stage::refresh_all:
        return scores.refresh(sketch);
      case stage::hash: {
        const skim::stream_block b = d.block(at, candidates);  // the next: not in any cache
        at = at + 2 * candidates <= d.rows() ? at + candidates : 0;
        const std::span<std::uint16_t> out = std::span(codes).first(candidates * p.hashes);
        if (d.sparse())
          skim::detail::hash_to_16_bits(family, b.sparse_features, out, ws);
        else
          skim::detail::hash_to_16_bits(family, b.features, out, ws);
        return;
      }
    }
  };
  // Calls of a turn together: the clock's own cost is not a candidate's.
  const std::size_t calls = 64;
  std::vector<double> times;
  for (auto _ : state) {
    const double start = seconds_now();
    for (std::size_t i = 0; i < calls; ++i) {
      run();
      benchmark::ClobberMemory();
    }
    times.push_back((seconds_now() - start) / static_cast<double>(calls));
    state.SetIterationTime(times.back());
  }
  const double share = kind == stage::refresh_all ? 1.0 / static_cast<double>(p.refresh) : 1.0;
  state.counters["ns/candidate"] = 1e9 * share * median(times) / static_cast<double>(candidates);
}

/// Draw and observe of a sampler alone, an example drawn: no network between the calls, and no forward
/// pass where it asks for scores, so a lower limit of what it costs.
template <class Make>
void rival(benchmark::State& state, Make make) {
  constexpr std::size_t n = 60'000, turn = 128;
  auto sampler = make(n);
  skim::random_engine g(skim::seed{4});
  std::vector<float> scores, proposed_scores;
  const auto score = [&](std::size_t count, std::vector<float>& out) {
    out.resize(count);
    for (float& s : out) s = 0.05f + (g() % 10 == 0 ? 0.8f : 0.1f) * skim::uniform_float(g);
  };
  double spent = 0;
  std::size_t proposed = 0;
  const auto step = [&] {
    score(batch, scores);
    if constexpr (skim::scoring_batch_sampler<decltype(sampler)>) {
      const double start = seconds_now();
      const std::size_t wanted = sampler.propose(batch).size();
      const double pause = seconds_now();
      score(wanted, proposed_scores);
      const double again = seconds_now();
      const auto b = sampler.draw(batch, proposed_scores);
      sampler.observe(b.ids, scores);
      spent += seconds_now() - again + pause - start;
      proposed += wanted;
    } else {
      const double start = seconds_now();
      const auto b = sampler.draw(batch);
      sampler.observe(b.ids, scores);
      spent += seconds_now() - start;
    }
  };
  for (std::size_t i = 0; i < n / batch + 2; ++i) step();  // every example has a score
  proposed = 0;
  std::vector<double> times;
  for (auto _ : state) {
    spent = 0;
    for (std::size_t i = 0; i < turn; ++i) step();
    times.push_back(1e9 * spent / (turn * batch));
    state.SetIterationTime(spent / turn);
  }
  state.counters["ns/example"] = median(times);
  state.counters["proposed/example"] =
      static_cast<double>(proposed) / (static_cast<double>(state.iterations()) * turn * batch);
}

/// Construction of the catalogue sampler: it counts as training time.
void build(benchmark::State& state, shape s) {
  const data_set& d = data_of(s);
  std::vector<double> all, fits;
  for (auto _ : state) {
    const double t0 = seconds_now();
    d.visit([&](auto x) {
      benchmark::DoNotOptimize(skim::detail::fit_ferns(x, {}, skim::random_engine(skim::seed{1})));
    });
    const double t1 = seconds_now();
    d.visit([&](auto x) {
      benchmark::DoNotOptimize(skim::nadaraya_watson_sampler(x, d.labels(), {}, skim::seed{1}));
    });
    const double t2 = seconds_now();
    fits.push_back(t1 - t0);
    all.push_back(t2 - t1);
    state.SetIterationTime(t2 - t1);
  }
  state.counters["build_ms"] = 1e3 * median(all);
  state.counters["fit_ms"] = 1e3 * median(fits);
}

/// A draw and its observation from catalogues of very different sizes. The slope is that of time against
/// size in logarithms over all sizes measured so far; 0 is flat.
void flat(benchmark::State& state, std::size_t n) {
  static std::vector<std::pair<double, double>> measured;
  data_set d(n, 3);
  skim::nadaraya_watson_sampler sampler(d.dense(), d.labels(), sketch_params(skim::gate_mode::open),
                                        skim::seed{1});
  skim::random_engine g(skim::seed{2});
  std::vector<float> scores(batch);
  std::vector<double> times;
  double worst = 0;
  for (std::size_t i = 0; i < 40; ++i) {
    const auto b = sampler.draw(batch);
    fill_scores(d.labels(), b.ids, g, scores);
    sampler.observe(b.ids, scores);
  }
  for (auto _ : state) {
    double sum = 0;
    for (int i = 0; i < 48; ++i) {
      const double t0 = seconds_now();
      const auto b = sampler.draw(batch);
      const double t1 = seconds_now();
      fill_scores(d.labels(), b.ids, g, scores);
      const double t2 = seconds_now();
      sampler.observe(b.ids, scores);
      const double spent = seconds_now() - t2 + t1 - t0;
      sum += spent;
      worst = std::max(worst, spent);
    }
    times.push_back(sum / 48);
    state.SetIterationTime(times.back());
  }
  measured.emplace_back(std::log(static_cast<double>(n)), std::log(median(times)));
  double mx = 0, my = 0, xy = 0, xx = 0;
  for (const auto& [x, y] : measured) mx += x, my += y;
  mx /= static_cast<double>(measured.size());
  my /= static_cast<double>(measured.size());
  for (const auto& [x, y] : measured) xy += (x - mx) * (y - my), xx += (x - mx) * (x - mx);
  state.counters["us/batch"] = 1e6 * median(times);
  state.counters["worst_us"] = 1e6 * worst;
  if (xx > 0) state.counters["slope"] = xy / xx;
}

const int registered = [] {
  const auto add = [](const std::string& name, auto body) {
    return benchmark::RegisterBenchmark(name.c_str(), body)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  };
  for (const shape s : shapes) {
    const std::string on = concat("/", name_of(s));
    for (const stage kind : stages)
      add(concat("stage/", name_of(kind), on), [=](benchmark::State& state) {
        one_stage(state, kind, s);
      })->Iterations(25);
    add(concat("build", on), [=](benchmark::State& state) { build(state, s); })->Iterations(5);
    for (const std::size_t width : {std::size_t{128}, std::size_t{512}}) {
      if (s != shape::image784 && width != 128) continue;
      for (const sampler kind : samplers) {
        const double bar = kind != sampler::catalogue_open ? 0 : width == 128 ? 10 : 3;
        add(concat("step/", name_of(kind), on, "/h", width), [=](benchmark::State& state) {
          step_share(state, kind, s, width, bar);
        })->Iterations(width == 128 ? 9 : 5);
      }
    }
  }
  const auto add_rival = [&](const std::string& name, auto make) {
    add(concat("rival/", name), [=](benchmark::State& state) {
      rival(state, make);
    })->Iterations(15);
  };
  const skim::seed s{7};
  add_rival("uniform", [=](std::size_t n) { return skim::uniform_sampler(n, s); });
  add_rival("score_table", [=](std::size_t n) { return skim::score_table_sampler(n, {}, s); });
  add_rival("infobatch", [=](std::size_t n) { return skim::infobatch_sampler(n, {}, s); });
  add_rival("rank", [=](std::size_t n) { return skim::rank_sampler(n, {}, s); });
  add_rival("gradient_norm_open",
            [=](std::size_t n) { return skim::gradient_norm_sampler(n, {.threshold = 0}, s); });
  add_rival("gradient_norm_closed",
            [=](std::size_t n) { return skim::gradient_norm_sampler(n, {.threshold = 1e9}, s); });
  add_rival("selective_backprop",
            [=](std::size_t n) { return skim::selective_backprop_sampler(n, {}, s); });
  const auto open_params = sketch_params(skim::gate_mode::open);
  add_rival("nadaraya_watson_open", [=](std::size_t) {
    const data_set& d = data_of(shape::image784);
    return skim::nadaraya_watson_sampler(d.dense(), d.labels(), open_params, s);
  });
  add_rival("hybrid_open", [=](std::size_t) {
    const data_set& d = data_of(shape::image784);
    return skim::hybrid_sampler(d.dense(), d.labels(), {.sketch = open_params}, s);
  });
  for (const std::size_t n :
       {std::size_t{10'000}, std::size_t{100'000}, std::size_t{1'000'000}, std::size_t{10'000'000}})
    add(concat("flat/n", n), [=](benchmark::State& state) { flat(state, n); })->Iterations(20);
  return 0;
}();

}  // namespace
