// SPDX-License-Identifier: Apache-2.0
//
// Near-neighbour indexes: building, candidates, ranking, updates, and what a recall of 0.9 costs beside a
// batched exact scan of the same run. Data are generated; SKIM_BENCH_DATA=FOLDER adds the sets
// debian-words and covtype20k of that folder, and Fashion-MNIST where Debian or $SKIM_FASHION_MNIST
// has it. hnswlib, where its headers are installed, is the rival of the recall rows.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "skim/core/aligned.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/sign_projection.hpp"
#include "skim/index/flat_index.hpp"
#include "skim/index/lsh_index.hpp"
#include "skim/index/partition_index.hpp"
#include "skim/index/tuning.hpp"
#include "support/limits.hpp"

#if defined(SKIM_BENCH_READERS)
#include "data/array.hpp"
#endif

#if __has_include(<hnswlib/hnswlib.h>)
#define SKIM_BENCH_HNSWLIB 1
#if defined(__GNUC__)  // the compiler's warnings are about our code
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wreorder"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
#endif
#include <hnswlib/hnswlib.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif

namespace {

using skim_bench::seconds_now;

constexpr std::size_t near = 10;

struct points {
  std::size_t n = 0, d = 0;
  skim::aligned_vector<float> values;

  [[nodiscard]] skim::matrix_view<const float> view() const { return {values.data(), n, d}; }
};

/// A mixture of 100 Gaussians in 12 dimensions, mapped into d, and a little noise: of low intrinsic
/// dimension, as embeddings are.
points latent_mixture(std::size_t n, std::size_t d, skim::seed s) {
  constexpr std::size_t inner = 12, parts = 100;
  skim::random_engine fixed(skim::seed{77}), g(s);
  std::vector<float> map(inner * d), centre(parts * inner), z(inner);
  for (float& v : map) v = static_cast<float>(skim::normal(fixed));
  for (float& v : centre) v = 2 * static_cast<float>(skim::normal(fixed));
  points p{n, d, skim::aligned_vector<float>(n * d)};
  for (std::size_t i = 0; i < n; ++i) {
    const auto c = static_cast<std::size_t>(skim::uniform_below(g, parts));
    for (std::size_t k = 0; k < inner; ++k)
      z[k] = centre[c * inner + k] + static_cast<float>(skim::normal(g));
    float* const row = p.values.data() + i * d;
    for (std::size_t j = 0; j < d; ++j) row[j] = 0.1f * (skim::uniform_float(g) - 0.5f);
    for (std::size_t k = 0; k < inner; ++k)
      for (std::size_t j = 0; j < d; ++j) row[j] += z[k] * map[k * d + j];
  }
  return p;
}

const points& generated(std::size_t n) {
  static std::map<std::size_t, points> made;
  auto& p = made[n];
  if (p.n == 0) p = latent_mixture(n, 128, skim::seed{1});
  return p;
}
const points& queries() {
  static const points q = latent_mixture(256, 128, skim::seed{2});
  return q;
}

/// Least seconds of a few calls: other work on the machine only ever adds.
template <class Work>
double fastest(Work&& work, int calls = 5) {
  double least = 1e30;
  for (int i = 0; i < calls; ++i) {
    const double start = seconds_now();
    work();
    least = std::min(least, seconds_now() - start);
  }
  return least;
}

skim::sign_projection signs(std::size_t d, std::size_t bits, std::size_t tables) {
  return skim::sign_projection({.dim = d, .bits = bits, .hashes = tables}, skim::seed{3});
}

// Buckets of about 24 points.
std::size_t bits_for(std::size_t n) {
  return static_cast<std::size_t>(std::log2(static_cast<double>(n) / 24) + 0.5);
}

void build(benchmark::State& state) {
  const points& x = generated(static_cast<std::size_t>(state.range(0)));
  const auto bits = static_cast<std::size_t>(state.range(1)),
             tables = static_cast<std::size_t>(state.range(2));
  const auto family = signs(x.d, bits, tables);
  const double all = static_cast<double>(x.n * bits * tables);
  std::vector<skim::code_t> codes(x.n * tables);
  skim::workspace ws;
  double hashing = 1e30, whole = 1e30;
  std::size_t bytes = 0;
  for (auto _ : state) {
    hashing = std::min(hashing, fastest([&] { family.hash(x.view(), codes, ws); }, 1));
    const double start = seconds_now();
    skim::lsh_index index(family);
    index.build(x.view());
    const double took = seconds_now() - start;
    bytes = index.bytes();
    whole = std::min(whole, took);
    state.SetIterationTime(took);
  }
  state.counters["ns_per_bit"] = 1e9 * whole / all;
  state.counters["hash_ns_per_bit"] = 1e9 * hashing / all;
  state.counters["bytes_per_point"] = static_cast<double>(bytes) / static_cast<double>(x.n);
}

// Candidates of 32 tables: gathered, freed of duplicates; then their distances, beside those of an
// exact scan of one query.
void candidates(benchmark::State& state) {
  const points& x = generated(static_cast<std::size_t>(state.range(0)));
  const points& q = queries();
  const auto probes = static_cast<std::size_t>(state.range(1)),
             looks = static_cast<std::size_t>(state.range(2));
  const auto family = signs(x.d, bits_for(x.n), 32);
  skim::lsh_index index(family);
  index.build(x.view());
  skim::flat_index flat({.dim = x.d});
  flat.insert(x.view());
  skim::workspace ws;
  std::vector<skim::id_t> ids;
  std::vector<skim::neighbor> out(near);
  std::vector<skim::code_t> codes(32);
  double hashing = 1e30, gathering = 1e30, searching = 1e30, scan = 1e30;
  std::size_t total = 0, gathered = 0;
  const skim::lsh_effort effort{.probes = probes, .looks = looks};
  const auto each = [&](auto&& work) {
    for (std::size_t i = 0; i < q.n; ++i) work(q.view().row(i));
  };
  for (auto _ : state) {
    hashing = std::min(hashing,
                       fastest([&] { each([&](auto row) { family.hash(row, codes, ws); }); }, 1));
    total = gathered = 0;
    gathering = std::min(gathering, fastest(
                                        [&] {
                                          each([&](auto row) {
                                            gathered +=
                                                index.candidates(row, ids, ws, {.probes = probes});
                                            total += ids.size();
                                          });
                                        },
                                        1));
    const double took =
        fastest([&] { each([&](auto row) { index.search(row, out, ws, effort); }); }, 1);
    searching = std::min(searching, took);
    for (std::size_t i = 0; i < 4; ++i)
      scan = std::min(scan, fastest([&] { flat.search(q.view().row(i), out, ws); }, 1));
    state.SetIterationTime(took);
  }
  const double count = static_cast<double>(total);
  const double rank = 1e9 * (searching - gathering) / count;
  const double row = 1e9 * scan / static_cast<double>(x.n);
  state.counters["candidates"] = count / static_cast<double>(q.n);
  state.counters["gathered"] = static_cast<double>(gathered) / static_cast<double>(q.n);
  state.counters["gather_ns_each"] = 1e9 * (gathering - hashing) / static_cast<double>(gathered);
  state.counters["rank_ns_each"] = rank;
  state.counters["scan_ns_a_row"] = row;
  state.counters["rank_over_scan"] = rank / row;
  state.counters["us_a_query"] = 1e6 * searching / static_cast<double>(q.n);
}

void updates(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  const points& x = generated(n);
  skim::lsh_index index(signs(x.d, bits_for(n), 32));
  index.build(x.view());
  skim::workspace ws;
  std::vector<skim::id_t> added(2000);
  std::vector<double> insert, update, erase;
  for (auto _ : state) {
    const double start = seconds_now();
    for (std::size_t i = 0; i < added.size(); ++i)
      added[i] = index.insert(x.view().row((i * 37) % n), ws);
    const double second = seconds_now();
    for (std::size_t i = 0; i < added.size(); ++i)
      index.update(added[i], x.view().row((i * 41 + 5) % n), ws);
    const double third = seconds_now();
    for (const skim::id_t id : added) index.erase(id);
    const double end = seconds_now();
    const double count = static_cast<double>(added.size());
    insert.push_back((second - start) / count);
    update.push_back((third - second) / count);
    erase.push_back((end - third) / count);
    state.SetIterationTime(end - start);
  }
  state.counters["insert_us"] = 1e6 * skim_bench::median(insert);
  state.counters["update_us"] = 1e6 * skim_bench::median(update);
  state.counters["erase_us"] = 1e6 * skim_bench::median(erase);
  state.counters["inserts_a_minute"] = 60 / skim_bench::median(insert);
}

// ---- recall 0.9 of the 10 nearest, beside a batched exact scan
// --------------------------------------

void report(benchmark::State& state, const skim::tuning_result& r, const std::string& what) {
  state.counters["recall"] = r.recall;
  state.counters["us_a_query"] = 1e6 * r.seconds;
  state.counters["scan_us"] = 1e6 * r.exact_seconds;
  state.counters["times_scan"] = r.exact_seconds / r.seconds;
  state.counters["MB"] = static_cast<double>(r.bytes) * 1e-6;
  state.SetLabel(what);
}

void tuned_lists(benchmark::State& state, const points& x, const points& q, skim::metric m) {
  skim::partition_tuning best;
  for (auto _ : state)
    best = skim::tune_partition(x.view(), q.view(), {.recall = 0.9, .distance = m});
  report(state, best, best.summary());
}
void tuned_tables(benchmark::State& state, const points& x, const points& q, skim::metric m) {
  skim::lsh_tuning best;
  const auto make = [&](std::size_t bits, std::size_t tables) { return signs(x.d, bits, tables); };
  for (auto _ : state)
    best = skim::tune_lsh(make, x.view(), q.view(), {.recall = 0.9, .distance = m, .rounds = 2});
  report(state, best, best.summary());
}

#if defined(SKIM_BENCH_HNSWLIB)

// hnswlib with M = 16 and 200 links looked at in building, its usual settings; ef rises until the recall is
// 0.9. Graphs win on data that stay as they are; building and changing them is what they pay with.
void rival_graph(benchmark::State& state, const points& x, const points& q, skim::metric m) {
  const auto unit = [m](const points& from) {
    points to = from;
    if (m != skim::metric::cosine) return to;
    for (std::size_t i = 0; i < to.n; ++i) {
      float* const row = to.values.data() + i * to.d;
      double square = 0;
      for (std::size_t j = 0; j < to.d; ++j)
        square += static_cast<double>(row[j]) * static_cast<double>(row[j]);
      if (square == 0) continue;
      for (std::size_t j = 0; j < to.d; ++j)
        row[j] = static_cast<float>(static_cast<double>(row[j]) / std::sqrt(square));
    }
    return to;
  };
  const points base = unit(x), asked = unit(q);  // of unit length, distances order as cosines do
  skim::flat_index flat({.dim = x.d});
  flat.insert(base.view());
  std::vector<skim::neighbor> exact(q.n * near), out(q.n * near);
  std::vector<std::size_t> full(q.n), found(q.n);
  hnswlib::L2Space space(x.d);
  for (auto _ : state) {
    const double scan = fastest([&] { flat.search(asked.view(), near, exact, full); }, 3);
    hnswlib::HierarchicalNSW<float> graph(&space, x.n, 16, 200);
    const double start = seconds_now();
    for (std::size_t i = 0; i < x.n; ++i) graph.addPoint(base.view().row(i).data(), i);
    const double built = seconds_now() - start;
    double recall = 0, seconds = 0;
    std::size_t ef = near;
    for (;; ef += (ef + 3) / 4) {
      graph.setEf(ef);
      seconds = fastest(
          [&] {
            for (std::size_t i = 0; i < q.n; ++i) {
              auto answer = graph.searchKnn(asked.view().row(i).data(), near);
              found[i] = answer.size();
              for (std::size_t k = answer.size(); k-- > 0; answer.pop())
                out[i * near + k] = {static_cast<skim::id_t>(answer.top().second),
                                     answer.top().first};
            }
          },
          3);
      recall = skim::recall_of(exact, full, out, found, near);
      if (recall >= 0.9 || ef > x.n) break;
    }
    const double count = static_cast<double>(q.n);
    state.counters["recall"] = recall;
    state.counters["us_a_query"] = 1e6 * seconds / count;
    state.counters["scan_us"] = 1e6 * scan / count;
    state.counters["times_scan"] = scan / seconds;
    state.counters["build_s"] = built;
    state.counters["insert_us"] = 1e6 * built / static_cast<double>(x.n);
    state.SetLabel(std::string("ef ").append(std::to_string(ef)));
  }
}

#endif

// ---- growth: 16 tables of buckets of about 24 points, or sqrt(n) lists; the effort rises until the
// recall is 0.9

struct grown {
  double seconds = 0, recall = 0;
};

template <class Search>
grown until_recall(std::size_t n, Search&& search) {
  const points& q = queries();
  skim::flat_index flat({.dim = q.d});
  flat.insert(generated(n).view());
  std::vector<skim::neighbor> exact(q.n * near), out(q.n * near);
  std::vector<std::size_t> full(q.n), found(q.n);
  flat.search(q.view(), near, exact, full);
  grown g;
  for (std::size_t effort = 1; effort < (std::size_t{1} << 16); effort += (effort + 3) / 4) {
    search(effort, out, found);
    g.recall = skim::recall_of(exact, full, out, found, near);
    if (g.recall < 0.9) continue;
    g.seconds = fastest([&] { search(effort, out, found); }) / static_cast<double>(q.n);
    break;
  }
  return g;
}

void report_growth(benchmark::State& state, const std::map<std::size_t, grown>& results) {
  double x = 0, y = 0, xx = 0, xy = 0;
  for (const auto& [n, g] : results) {
    const double a = std::log(static_cast<double>(n)), b = std::log(g.seconds);
    x += a;
    y += b;
    xx += a * a;
    xy += a * b;
    state.counters[std::string("us_").append(std::to_string(n))] = 1e6 * g.seconds;
    state.counters[std::string("recall_").append(std::to_string(n))] = g.recall;
  }
  const double count = static_cast<double>(results.size());
  state.counters["slope"] = (xy - x * y / count) / (xx - x * x / count);
}

void growth_tables(benchmark::State& state) {
  std::map<std::size_t, grown> results;
  for (auto _ : state)
    for (const std::size_t n : {10'000u, 100'000u, 1'000'000u}) {
      skim::lsh_index index(signs(128, bits_for(n), 16));
      index.build(generated(n).view());
      results[n] = until_recall(n, [&](std::size_t effort, auto& out, auto& found) {
        index.search(queries().view(), near, out, found, {.probes = 4 * effort, .looks = 300});
      });
    }
  report_growth(state, results);
}

void growth_lists(benchmark::State& state) {
  std::map<std::size_t, grown> results;
  for (auto _ : state)
    for (const std::size_t n : {10'000u, 100'000u, 1'000'000u}) {
      skim::partition_index index({.dim = 128, .rounds = 4, .sample = 32});
      index.build(generated(n).view());
      skim::workspace ws;
      results[n] = until_recall(n, [&](std::size_t effort, auto& out, auto& found) {
        for (std::size_t i = 0; i < queries().n; ++i)
          found[i] = index.search(queries().view().row(i), std::span(out).subspan(i * near, near),
                                  ws, effort);
      });
    }
  report_growth(state, results);
}

BENCHMARK(build)
    ->Args({100'000, 16, 64})
    ->Args({100'000, 13, 64})
    ->Args({10'000, 10, 64})
    ->Args({100'000, 13, 16})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(5);
BENCHMARK(candidates)
    ->ArgsProduct({{100'000, 1'000'000}, {0, 64}, {0, 200}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(7);
BENCHMARK(updates)
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(7);
BENCHMARK(growth_tables)->Unit(benchmark::kSecond)->Iterations(1);
BENCHMARK(growth_lists)->Unit(benchmark::kSecond)->Iterations(1);

// ---- the sets ---------------------------------------------------------------------------------------

void register_set(const std::string& name, points x, points q, skim::metric m) {
  const auto both = std::make_shared<std::pair<points, points>>(std::move(x), std::move(q));
  benchmark::RegisterBenchmark(
      ("recall/" + name + "/lists").c_str(),
      [both, m](benchmark::State& state) { tuned_lists(state, both->first, both->second, m); })
      ->Unit(benchmark::kSecond)
      ->Iterations(1);
  benchmark::RegisterBenchmark(
      ("recall/" + name + "/tables").c_str(),
      [both, m](benchmark::State& state) { tuned_tables(state, both->first, both->second, m); })
      ->Unit(benchmark::kSecond)
      ->Iterations(1);
#if defined(SKIM_BENCH_HNSWLIB)
  benchmark::RegisterBenchmark(
      ("recall/" + name + "/hnswlib").c_str(),
      [both, m](benchmark::State& state) { rival_graph(state, both->first, both->second, m); })
      ->Unit(benchmark::kSecond)
      ->Iterations(1);
#endif
}

#if defined(SKIM_BENCH_READERS)

// The first `held` of all rows, drawn at random, are the queries.
void register_file(const std::string& name, const std::string& file, std::size_t held,
                   skim::metric m) {
  try {
    const skim_examples::dataset data = skim_examples::load_array(file);
    std::vector<std::size_t> order(data.rows);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    skim::random_engine g(skim::seed{5});
    skim::shuffle(std::span(order), g);
    points x{data.rows - held, data.cols, {}}, q{held, data.cols, {}};
    for (std::size_t i = 0; i < data.rows; ++i) {
      const auto row = data.dense_view().row(order[i]);
      auto& to = i < held ? q.values : x.values;
      to.insert(to.end(), row.begin(), row.end());
    }
    register_set(name, std::move(x), std::move(q), m);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "left out %s: %s\n", name.c_str(), e.what());
  }
}

#endif

const bool registered = [] {
  register_set("generated_1e5", latent_mixture(100'000, 128, skim::seed{1}), queries(),
               skim::metric::euclidean);
#if defined(SKIM_BENCH_READERS)
  if (const char* folder = std::getenv("SKIM_BENCH_DATA")) {
    const std::string at(folder);
    register_file("debian-words", at + "/debian-words/vectors.npy", 1000, skim::metric::cosine);
    register_file("covtype20k", at + "/covtype20k/X_train.npy", 1000, skim::metric::euclidean);
    const char* images = std::getenv("SKIM_FASHION_MNIST");
    register_file("fashion-mnist",
                  std::string(images != nullptr ? images : "/usr/share/datasets/fashion-mnist") +
                      "/train-images-idx3-ubyte.gz",
                  500, skim::metric::euclidean);
  }
#endif
  return true;
}();

}  // namespace
