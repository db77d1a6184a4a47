// SPDX-License-Identifier: Apache-2.0
//
// Draws and updates of the samplers beside their rivals and the limit: one random word and one
// random read. Times are per draw, update, candidate or insert (items_per_second is their inverse).
// Build with SKIM_BENCH_GSL or SKIM_BENCH_ABSEIL defined, and link gsl or absl::random_random, to
// see those rivals too.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include "skim/core/random.hpp"
#include "skim/sample/alias.hpp"
#include "skim/sample/dynamic.hpp"
#include "skim/sample/error_diffusion.hpp"
#include "skim/sample/reservoir.hpp"
#include "skim/sample/systematic.hpp"

#if defined(SKIM_BENCH_GSL)
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#endif
#if defined(SKIM_BENCH_ABSEIL)
#include <absl/random/discrete_distribution.h>
#include <absl/random/random.h>
#endif

namespace {

using skim::id_t;

std::size_t size_of(const benchmark::State& state) {
  return static_cast<std::size_t>(state.range(0));
}

template <class T = float>
std::vector<T> exponential_weights(std::size_t n) {
  skim::random_engine g(skim::seed{1});
  std::vector<T> w(n);
  for (T& x : w) x = static_cast<T>(skim::exponential(g));
  return w;
}

/// Which ids an update benchmark changes, and to what: 2^16 of each, at random.
struct changes {
  static constexpr std::size_t count = std::size_t{1} << 16;
  std::vector<id_t> ids = std::vector<id_t>(count);
  std::vector<float> weights = exponential_weights(count);

  explicit changes(std::size_t n) {
    skim::random_engine g(skim::seed{2});
    for (id_t& i : ids) i = static_cast<id_t>(skim::uniform_below(g, n));
  }
};

void decades(benchmark::internal::Benchmark* b) {
  b->RangeMultiplier(10)->Range(1000, 10'000'000);
}

// ---- the limit ----------------------------------------------------------------------------------

void limit_word_and_read(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  skim::random_engine g(skim::seed{3});
  for (auto _ : state) benchmark::DoNotOptimize(w[skim::uniform_below(g, w.size())]);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(limit_word_and_read)->Name("sample/limit_word_and_read")->Apply(decades);

// ---- drawing from a fixed distribution ----------------------------------------------------------

void alias_build(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(skim::alias_sampler(std::span<const float>(w)));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(alias_build)->Name("sample/alias_build")->Apply(decades);

template <class Sampler>
void draw(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  const Sampler s{std::span<const float>(w)};
  skim::random_engine g(skim::seed{3});
  for (auto _ : state) benchmark::DoNotOptimize(s.draw(g));
  state.SetItemsProcessed(state.iterations());
}

template <class Sampler>
void draw_batch(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  const Sampler s{std::span<const float>(w)};
  skim::random_engine g(skim::seed{3});
  std::vector<id_t> ids(256);
  for (auto _ : state) {
    static_cast<void>(s.draw(g, std::span<id_t>(ids)));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * 256);
}
BENCHMARK(draw<skim::alias_sampler>)->Name("sample/alias_draw")->Apply(decades);
BENCHMARK(draw_batch<skim::alias_sampler>)->Name("sample/alias_draw_batch")->Apply(decades);

void std_draw(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  std::discrete_distribution<std::uint32_t> d(w.begin(), w.end());
  std::mt19937_64 g(3);
  for (auto _ : state) benchmark::DoNotOptimize(d(g));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(std_draw)->Name("sample/rival_std_draw")->Apply(decades);

#if defined(SKIM_BENCH_GSL)
void gsl_draw(benchmark::State& state) {
  const std::vector<double> w = exponential_weights<double>(size_of(state));
  gsl_ran_discrete_t* const d = gsl_ran_discrete_preproc(w.size(), w.data());
  gsl_rng* const g = gsl_rng_alloc(gsl_rng_taus2);
  for (auto _ : state) benchmark::DoNotOptimize(gsl_ran_discrete(g, d));
  gsl_rng_free(g);
  gsl_ran_discrete_free(d);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(gsl_draw)->Name("sample/rival_gsl_draw")->Apply(decades);
#endif

#if defined(SKIM_BENCH_ABSEIL)
void abseil_draw(benchmark::State& state) {
  const std::vector<double> w = exponential_weights<double>(size_of(state));
  absl::discrete_distribution<std::uint32_t> d(w.begin(), w.end());
  absl::InsecureBitGen g;
  for (auto _ : state) benchmark::DoNotOptimize(d(g));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(abseil_draw)->Name("sample/rival_abseil_draw")->Apply(decades);
#endif

// ---- weights that change ------------------------------------------------------------------------

/// The textbook's dynamic sampler: binary indexed tree of partial sums.
class fenwick_tree {
 public:
  explicit fenwick_tree(std::span<const float> weights)
      : weights_(weights.begin(), weights.end()), tree_(weights.size() + 1) {
    while (2 * top_ <= weights.size()) top_ *= 2;
    for (std::size_t i = 0; i < weights.size(); ++i) add(i, static_cast<double>(weights[i]));
  }
  void update(id_t i, float weight) {
    add(i, static_cast<double>(weight) - static_cast<double>(weights_[i]));
    weights_[i] = weight;
  }
  template <skim::random_source G>
  id_t draw(G& g) const {
    double at = skim::uniform(g) * total_;
    std::size_t i = 0;
    for (std::size_t step = top_; step > 0; step /= 2)
      if (i + step < tree_.size() && tree_[i + step] <= at) at -= tree_[i += step];
    return static_cast<id_t>(i);
  }

 private:
  void add(std::size_t i, double delta) {
    total_ += delta;
    for (++i; i < tree_.size(); i += i & (0 - i)) tree_[i] += delta;
  }

  std::vector<float> weights_;
  std::vector<double> tree_;
  std::size_t top_ = 1;
  double total_ = 0;
};

/// The limit of updates: changing one random word in place.
void limit_change(benchmark::State& state) {
  std::vector<std::uint64_t> words(size_of(state));
  const changes c(words.size());
  std::size_t k = 0;
  for (auto _ : state) {
    words[c.ids[k]] += k;
    benchmark::ClobberMemory();
    k = (k + 1) % changes::count;
  }
  benchmark::DoNotOptimize(words.data());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(limit_change)->Name("sample/limit_change_of_word")->Apply(decades);

/// The same where an index tells where the word is, as any structure must that keeps its items in lists.
void limit_change_by_index(benchmark::State& state) {
  std::vector<std::uint64_t> words(size_of(state));
  std::vector<std::uint64_t> places(words.size());
  std::iota(places.begin(), places.end(), std::uint64_t{0});
  skim::random_engine g(skim::seed{4});
  skim::shuffle(std::span(places), g);
  const changes c(words.size());
  std::size_t k = 0;
  for (auto _ : state) {
    words[places[c.ids[k]]] += k;
    benchmark::ClobberMemory();
    k = (k + 1) % changes::count;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(limit_change_by_index)->Name("sample/limit_change_by_index")->Apply(decades);

/// What one of these reads takes if the next has to wait for it.
void limit_latency(benchmark::State& state) {
  const std::vector<std::uint64_t> zeros(size_of(state));
  const changes c(zeros.size());
  std::size_t k = 0;
  std::uint64_t found = 0;
  for (auto _ : state) {
    found = zeros[c.ids[k] + found];
    benchmark::DoNotOptimize(found);
    k = (k + 1) % changes::count;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(limit_latency)->Name("sample/limit_latency_of_read")->Apply(decades);

template <class Sampler>
void update(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  const changes c(w.size());
  Sampler s{std::span<const float>(w)};
  std::size_t k = 0, j = 0;
  for (auto _ : state) {
    s.update(c.ids[k], c.weights[j]);
    k = (k + 1) % changes::count;
    j = (j + 7) % changes::count;
  }
  state.SetItemsProcessed(state.iterations());
}

void update_batch(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  const changes c(w.size());
  skim::dynamic_sampler s{std::span<const float>(w)};
  std::size_t k = 0, j = 0;
  for (auto _ : state) {
    s.update(std::span(c.ids).subspan(k, 256), std::span(c.weights).subspan(j, 256));
    k = (k + 256) % changes::count;
    j = (j + 768) % changes::count;
  }
  state.SetItemsProcessed(state.iterations() * 256);
}

template <class Sampler>
void draw_and_update(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  const changes c(w.size());
  Sampler s{std::span<const float>(w)};
  skim::random_engine g(skim::seed{3});
  std::size_t k = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(s.draw(g));
    s.update(c.ids[k], c.weights[changes::count - 1 - k]);
    k = (k + 1) % changes::count;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(draw<skim::dynamic_sampler>)->Name("sample/dynamic_draw")->Apply(decades);
BENCHMARK(draw_batch<skim::dynamic_sampler>)->Name("sample/dynamic_draw_batch")->Apply(decades);
BENCHMARK(draw<fenwick_tree>)->Name("sample/rival_fenwick_draw")->Apply(decades);
BENCHMARK(update<skim::dynamic_sampler>)->Name("sample/dynamic_update")->Apply(decades);
BENCHMARK(update_batch)->Name("sample/dynamic_update_batch")->Apply(decades);
BENCHMARK(update<fenwick_tree>)->Name("sample/rival_fenwick_update")->Apply(decades);
BENCHMARK(draw_and_update<skim::dynamic_sampler>)
    ->Name("sample/dynamic_draw_and_update")
    ->Apply(decades);
BENCHMARK(draw_and_update<fenwick_tree>)
    ->Name("sample/rival_fenwick_draw_and_update")
    ->Apply(decades);

// ---- samples to a budget ------------------------------------------------------------------------

void inclusion(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  std::vector<float> p(w.size());
  const skim::inclusion_params params{.budget = static_cast<double>(w.size()) / 8, .floor = 0.2};
  for (auto _ : state) {
    skim::inclusion_probabilities(std::span<const float>(w), params, std::span<float>(p));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(inclusion)->Name("sample/inclusion_probabilities")->Arg(1024)->Arg(1 << 20);

void systematic(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  std::vector<float> p(w.size());
  const std::size_t budget = w.size() / 8;
  skim::inclusion_probabilities(std::span<const float>(w),
                                {.budget = static_cast<double>(budget), .floor = 0.2},
                                std::span<float>(p));
  std::vector<id_t> ids(budget + 1);
  skim::random_engine g(skim::seed{3});
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        skim::draw_systematic(std::span<const float>(p), g, std::span<id_t>(ids)));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(systematic)->Name("sample/draw_systematic")->Arg(1024)->Arg(1 << 20);

void resample(benchmark::State& state) {
  const std::vector<float> w = exponential_weights(size_of(state));
  std::vector<id_t> ids(w.size() / 8);
  skim::random_engine g(skim::seed{3});
  for (auto _ : state) {
    skim::resample_systematic(std::span<const float>(w), g, std::span<id_t>(ids));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(resample)->Name("sample/resample_systematic")->Arg(1024)->Arg(1 << 20);

void error_diffusion(benchmark::State& state) {
  std::vector<float> rates = exponential_weights(size_of(state));
  for (float& r : rates) r /= 8;
  std::vector<id_t> ids(rates.size());
  skim::error_diffusion_sampler s(rates.size(), skim::seed{3});
  for (auto _ : state) {
    benchmark::DoNotOptimize(s.visit(0, rates, ids));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(error_diffusion)->Name("sample/error_diffusion_visit")->Arg(1024)->Arg(1 << 20);

// ---- streams ------------------------------------------------------------------------------------

void reservoir(benchmark::State& state) {
  skim::reservoir_sampler<id_t> s(size_of(state), skim::seed{3});
  for (id_t i = 0; i < 1'000'000; ++i) s.insert(i);
  id_t i = 0;
  for (auto _ : state) s.insert(i++);
  benchmark::DoNotOptimize(s.sample().data());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(reservoir)->Name("sample/reservoir_insert")->Arg(256)->Arg(4096);

void weighted_reservoir(benchmark::State& state) {
  // From empty, a million inserts at a time: the filling and the acceptances are in the figure.
  const std::vector<double> w = exponential_weights<double>(1'000'000);
  for (auto _ : state) {
    skim::weighted_reservoir_sampler<id_t> s(size_of(state), skim::seed{3});
    for (id_t i = 0; i < w.size(); ++i) s.insert(i, w[i]);
    benchmark::DoNotOptimize(s.sample().data());
  }
  state.SetItemsProcessed(state.iterations() * 1'000'000);
}
BENCHMARK(weighted_reservoir)
    ->Name("sample/weighted_reservoir_insert")
    ->Arg(256)
    ->Arg(4096)
    ->Unit(benchmark::kMillisecond);

}  // namespace
