// SPDX-License-Identifier: Apache-2.0
//
// Fern hashing, and insertion into and queries of the counting sketches. Beside each cached operation
// stands its limit: the touches of random cells, with nothing computed from them.
//
// Names: sketch/<operation>/R<rows>[/...]; every figure is per example. GB/s are bytes of the cells
// (and codes) touched.
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/fern.hpp"
#include "skim/sketch/nadaraya_watson.hpp"
#include "skim/sketch/race.hpp"

namespace {

using code16 = std::uint16_t;

constexpr std::size_t catalogue_rows = 60'000, batch = 1024;
constexpr std::size_t width = 2048;

skim::aligned_vector<float> gaussian(std::size_t n, std::size_t d, std::uint64_t s) {
  skim::random_engine g(skim::seed{s});
  skim::aligned_vector<float> x(n * d);
  for (float& v : x) v = static_cast<float>(skim::normal(g));
  return x;
}

skim::fern_family ferns(std::size_t d, std::size_t hashes, std::size_t bits, std::size_t run = 1) {
  const std::vector<skim::fern_coordinate> unit(d, {-2, 2, 1});
  return {{.hashes = hashes, .bits = bits, .run = run}, unit, skim::seed{1}};
}

void per_example(benchmark::State& state, std::size_t examples, double bytes) {
  const auto n = static_cast<double>(state.iterations()) * static_cast<double>(examples);
  state.SetItemsProcessed(static_cast<std::int64_t>(n));
  state.counters["per_example"] =
      benchmark::Counter(n, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["GB/s"] = benchmark::Counter(n * bytes * 1e-9, benchmark::Counter::kIsRate);
}

// A catalogue of codes as a sampler caches them, labels, and the rows of one batch.
struct catalogue {
  std::vector<code16> codes;
  std::vector<skim::label_t> labels;
  std::vector<skim::id_t> rows;
  std::vector<float> scores, weights;
  std::size_t hashes;

  catalogue(std::size_t r, std::size_t bits)
      : codes(catalogue_rows * r),
        labels(catalogue_rows),
        rows(batch),
        scores(batch),
        weights(batch),
        hashes(r) {
    skim::random_engine g(skim::seed{3});
    for (code16& c : codes)
      c = static_cast<code16>(skim::uniform_below(g, std::uint64_t{1} << bits));
    for (auto& l : labels) l = static_cast<skim::label_t>(skim::uniform_below(g, 10));
    for (auto& i : rows) i = static_cast<skim::id_t>(skim::uniform_below(g, catalogue_rows));
    for (float& y : scores) y = skim::uniform_float(g);
    for (float& w : weights) w = 0.5f + skim::uniform_float(g);
  }
  [[nodiscard]] skim::cached_codes<code16> view() const {
    return skim::cached_codes<code16>({codes.data(), catalogue_rows, hashes}, labels);
  }
  // The first `batch` rows, in order: what a microbenchmark of the cells alone wants.
  [[nodiscard]] skim::cached_codes<code16> head() const {
    return skim::cached_codes<code16>({codes.data(), batch, hashes},
                                      std::span(labels).first(batch));
  }
};

skim::nadaraya_watson_sketch<skim::fern_family> filled(const catalogue& c, std::size_t bits,
                                                       std::size_t w = width) {
  skim::nadaraya_watson_sketch sketch(ferns(16, c.hashes, bits),
                                      skim::nadaraya_watson_params{.width = w, .classes = 10});
  for (int i = 0; i < 20; ++i) sketch.insert_codes(c.view(), c.rows, c.scores, c.weights);
  return sketch;
}

void fern_hash(benchmark::State& state) {
  const auto d = static_cast<std::size_t>(state.range(0)),
             r = static_cast<std::size_t>(state.range(1));
  const auto bits = static_cast<std::size_t>(state.range(2)),
             run = static_cast<std::size_t>(state.range(3));
  const skim::fern_family family = ferns(d, r, bits, run);
  const auto x = gaussian(batch, d, 2);
  std::vector<skim::code_t> codes(batch * r);
  skim::workspace ws;
  const skim::matrix_view<const float> view(x.data(), batch, d);
  for (auto _ : state) {
    family.hash(view, codes, ws);
    benchmark::DoNotOptimize(codes.data());
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(d * sizeof(float)));
  state.counters["per_bit"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * static_cast<double>(batch * r * bits),
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(fern_hash)
    ->Name("sketch/fern_hash/d/R/K/run")
    ->Args({16, 16, 12, 1})
    ->Args({64, 16, 12, 1})
    ->Args({784, 16, 12, 1})
    ->Args({784, 16, 12, 4})
    ->Args({16, 4, 8, 1})
    ->Args({118, 4, 8, 1})
    ->Args({784, 4, 8, 1})
    ->Args({784, 4, 8, 8});

void fern_hash_one(benchmark::State& state) {
  const auto d = static_cast<std::size_t>(state.range(0));
  const skim::fern_family family = ferns(d, 16, 12);
  const auto x = gaussian(1, d, 2);
  std::vector<skim::code_t> codes(16);
  skim::workspace ws;
  for (auto _ : state) {
    family.hash(std::span<const float>(x), codes, ws);
    benchmark::DoNotOptimize(codes.data());
    benchmark::ClobberMemory();
  }
  per_example(state, 1, static_cast<double>(d * sizeof(float)));
}
BENCHMARK(fern_hash_one)->Name("sketch/fern_hash_one/d")->Arg(64)->Arg(784);

// The limit: R loads of 8-byte cells whose places are known, from 8 R W bytes.
void limit_load(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0));
  skim::aligned_vector<std::uint64_t> cells(r * width, 1);
  std::vector<std::uint32_t> at(batch * r);
  skim::random_engine g(skim::seed{4});
  for (std::size_t i = 0; i < at.size(); ++i)
    at[i] = static_cast<std::uint32_t>(i % r * width + skim::uniform_below(g, width));
  for (auto _ : state) {
    std::array<std::uint64_t, 4> sum{};
    for (std::size_t i = 0; i < at.size(); i += 4)
      for (std::size_t k = 0; k < 4; ++k) sum[k] += cells[at[i + k]];
    benchmark::DoNotOptimize(sum);
  }
  per_example(state, batch, static_cast<double>(8 * r));
}
BENCHMARK(limit_load)->Name("sketch/limit_load/R")->Arg(16)->Arg(4);

// The limit of an update: the same cells, one 8-byte addition each.
void limit_update(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0));
  skim::aligned_vector<std::uint64_t> cells(r * width, 1);
  std::vector<std::uint32_t> at(batch * r);
  skim::random_engine g(skim::seed{4});
  for (std::size_t i = 0; i < at.size(); ++i)
    at[i] = static_cast<std::uint32_t>(i % r * width + skim::uniform_below(g, width));
  for (auto _ : state) {
    for (const std::uint32_t a : at) cells[a] += 1;
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(16 * r));
}
BENCHMARK(limit_update)->Name("sketch/limit_update/R")->Arg(16)->Arg(4);

void query_cached(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0)),
             bits = static_cast<std::size_t>(state.range(1));
  const catalogue c(r, bits);
  const auto sketch = filled(c, bits);
  std::vector<float> out(batch);
  const auto head = c.head();
  for (auto _ : state) {
    sketch.query_codes(head, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(10 * r));
}
BENCHMARK(query_cached)->Name("sketch/query_cached/R/K")->Args({16, 12})->Args({4, 8});

void query_cached_listed(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0)),
             bits = static_cast<std::size_t>(state.range(1));
  const catalogue c(r, bits);
  const auto sketch = filled(c, bits);
  std::vector<float> out(batch);
  const auto all = c.view();
  for (auto _ : state) {
    sketch.query_codes(all, c.rows, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(10 * r));
}
BENCHMARK(query_cached_listed)
    ->Name("sketch/query_cached_listed/R/K")
    ->Args({16, 12})
    ->Args({4, 8});

void query_full(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0));
  const catalogue c(r, 12);
  const auto sketch = filled(c, 12);
  std::vector<skim::regression_estimate> out(batch);
  const auto head = c.head();
  for (auto _ : state) {
    sketch.query_codes(head, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(10 * r));
}
BENCHMARK(query_full)->Name("sketch/query_full_estimate/R")->Arg(16)->Arg(4);

void insert_cached(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0)),
             bits = static_cast<std::size_t>(state.range(1));
  const catalogue c(r, bits);
  auto sketch = filled(c, bits);
  const auto head = c.head();
  for (auto _ : state) {
    sketch.insert_codes(head, c.scores, c.weights);
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(18 * r));
}
BENCHMARK(insert_cached)->Name("sketch/insert_cached/R/K")->Args({16, 12})->Args({4, 8});

void insert_cached_listed(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0)),
             bits = static_cast<std::size_t>(state.range(1));
  const catalogue c(r, bits);
  auto sketch = filled(c, bits);
  const auto all = c.view();
  for (auto _ : state) {
    sketch.insert_codes(all, c.rows, c.scores, c.weights);
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(18 * r));
}
BENCHMARK(insert_cached_listed)
    ->Name("sketch/insert_cached_listed/R/K")
    ->Args({16, 12})
    ->Args({4, 8});

// Cells beyond the second-level cache: what prefetching is for.
void insert_cached_large(benchmark::State& state) {
  const auto w = static_cast<std::size_t>(state.range(0));
  const catalogue c(16, 12);
  auto sketch = filled(c, 12, w);
  const auto all = c.view();
  for (auto _ : state) {
    sketch.insert_codes(all, c.rows, c.scores, c.weights);
    benchmark::ClobberMemory();
  }
  per_example(state, batch, 18.0 * 16);
}
BENCHMARK(insert_cached_large)
    ->Name("sketch/insert_cached/R16/W")
    ->RangeMultiplier(8)
    ->Range(256, 1 << 17);

void query_cached_large(benchmark::State& state) {
  const auto w = static_cast<std::size_t>(state.range(0));
  const catalogue c(16, 12);
  const auto sketch = filled(c, 12, w);
  std::vector<float> out(batch);
  const auto all = c.view();
  for (auto _ : state) {
    sketch.query_codes(all, c.rows, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  per_example(state, batch, 10.0 * 16);
}
BENCHMARK(query_cached_large)
    ->Name("sketch/query_cached/R16/W")
    ->RangeMultiplier(8)
    ->Range(256, 1 << 17);

void score_table(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0)),
             bits = static_cast<std::size_t>(state.range(1));
  const catalogue c(r, bits);
  const auto sketch = filled(c, bits);
  const skim::nadaraya_watson_scores<skim::fern_family> table(sketch);
  std::vector<float> out(batch);
  const auto all = c.view();
  for (auto _ : state) {
    table.query_codes(all, c.rows, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(6 * r));
}
BENCHMARK(score_table)->Name("sketch/score_table_listed/R/K")->Args({4, 8})->Args({16, 12});

void refresh_table(benchmark::State& state) {
  const auto r = static_cast<std::size_t>(state.range(0));
  const catalogue c(r, 8);
  const auto sketch = filled(c, 8);
  skim::nadaraya_watson_scores<skim::fern_family> table(sketch);
  for (auto _ : state) {
    table.refresh(sketch);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(12 * r * width));
}
BENCHMARK(refresh_table)->Name("sketch/refresh_table/R")->Arg(4)->Arg(16);

void insert_raw(benchmark::State& state) {
  const auto d = static_cast<std::size_t>(state.range(0));
  skim::nadaraya_watson_sketch sketch(ferns(d, 16, 12));
  const auto x = gaussian(batch, d, 2);
  const std::vector<float> y(batch, 1.0f);
  skim::workspace ws;
  for (auto _ : state)
    sketch.insert(skim::matrix_view<const float>(x.data(), batch, d), {.scores = y}, ws);
  per_example(state, batch, static_cast<double>(d * sizeof(float) + 16 * 16));
}
BENCHMARK(insert_raw)->Name("sketch/insert/R16/K12/d")->Arg(16)->Arg(64)->Arg(784);

void query_raw(benchmark::State& state) {
  const auto d = static_cast<std::size_t>(state.range(0));
  skim::nadaraya_watson_sketch sketch(ferns(d, 16, 12));
  const auto x = gaussian(batch, d, 2);
  const skim::matrix_view<const float> view(x.data(), batch, d);
  std::vector<float> y(batch, 1.0f);
  skim::workspace ws;
  sketch.insert(view, {.scores = y}, ws);
  for (auto _ : state) {
    sketch.query(view, {}, std::span<float>(y), ws);
    benchmark::ClobberMemory();
  }
  per_example(state, batch, static_cast<double>(d * sizeof(float) + 16 * 8));
}
BENCHMARK(query_raw)->Name("sketch/query/R16/K12/d")->Arg(16)->Arg(64)->Arg(784);

// RACE, with the error of its answer against the exact kernel sum.
void race_query(benchmark::State& state) {
  constexpr std::size_t d = 8, n = 2000;
  const auto r = static_cast<std::size_t>(state.range(0));
  const skim::fern_family family = ferns(d, r, 8);
  skim::race_sketch sketch(family, skim::race_params{.width = 256});
  const auto x = gaussian(n, d, 2);
  const skim::matrix_view<const float> view(x.data(), n, d);
  skim::workspace ws;
  sketch.insert(view, {}, ws);
  std::vector<skim::race_estimate> out(64);
  for (auto _ : state) {
    sketch.query(view.rows(0, out.size()), out, ws);
    benchmark::ClobberMemory();
  }
  double error = 0;
  for (std::size_t q = 0; q < out.size(); ++q) {
    double exact = 0;
    for (std::size_t i = 0; i < n; ++i) exact += family.kernel(view.row(q), view.row(i));
    error += std::abs(out[q].value / exact - 1) / static_cast<double>(out.size());
  }
  per_example(state, out.size(), static_cast<double>(4 * r));
  state.counters["rel_err"] = error;
}
BENCHMARK(race_query)->Name("sketch/race_query/R")->RangeMultiplier(4)->Range(16, 1024);

void race_exact(benchmark::State& state) {
  constexpr std::size_t d = 8, n = 2000;
  const skim::fern_family family = ferns(d, 16, 8);
  const auto x = gaussian(n, d, 2);
  const skim::matrix_view<const float> view(x.data(), n, d);
  for (auto _ : state) {
    double exact = 0;
    for (std::size_t i = 0; i < n; ++i) exact += family.kernel(view.row(0), view.row(i));
    benchmark::DoNotOptimize(exact);
  }
  per_example(state, 1, static_cast<double>(n * d * sizeof(float)));
}
BENCHMARK(race_exact)->Name("sketch/race_exact_sum/n2000");

}  // namespace
