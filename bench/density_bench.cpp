// SPDX-License-Identifier: Apache-2.0
//
// The density structures beside the sampling ones' default: exact sums, uniform draws with a bound, nearest
// neighbours plus draws, standing queries, updates. Rival of the exact batch: Eigen's product, with the
// squares expanded; of the others: the exact single query, and a uniform sample of fixed size. Data are
// generated.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <Eigen/Core>
#include <benchmark/benchmark.h>

#include "skim/core/aligned.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/partition_index.hpp"
#include "skim/kde/exact_density.hpp"
#include "skim/kde/neighbor_density.hpp"
#include "skim/kde/standing_queries.hpp"
#include "skim/kde/uniform_density.hpp"
#include "support/limits.hpp"

namespace {

using skim_bench::seconds_now;

using skim::density_estimate;
using skim::density_kernel;
using skim::density_target;
using skim::matrix_view;

constexpr std::size_t points = 100'000, queries = 64;

/// 100 Gaussians in min(12, d) dimensions, mapped into d, and a little noise: points, then queries.
struct data_set {
  std::size_t d;
  skim::aligned_vector<float> values;

  explicit data_set(std::size_t dim) : d(dim), values((points + queries) * dim) {
    const std::size_t inner = std::min<std::size_t>(12, d);
    constexpr std::size_t parts = 100;
    skim::random_engine g(skim::seed{77});
    std::vector<float> map(inner * d), centre(parts * inner), z(inner);
    for (float& v : map)
      v = static_cast<float>(skim::normal(g) / std::sqrt(static_cast<double>(inner)));
    for (float& v : centre) v = 2 * static_cast<float>(skim::normal(g));
    for (std::size_t i = 0; i < points + queries; ++i) {
      const auto part = static_cast<std::size_t>(skim::uniform_below(g, parts));
      for (std::size_t k = 0; k < inner; ++k)
        z[k] = centre[part * inner + k] + 0.5f * static_cast<float>(skim::normal(g));
      for (std::size_t j = 0; j < d; ++j) {
        float v = 0.05f * static_cast<float>(skim::normal(g));
        for (std::size_t k = 0; k < inner; ++k) v += z[k] * map[k * d + j];
        values[i * d + j] = v;
      }
    }
  }
  [[nodiscard]] matrix_view<const float> x() const { return {values.data(), points, d}; }
  [[nodiscard]] matrix_view<const float> q() const {
    return {values.data() + points * d, queries, d};
  }
};

const data_set& data_of(std::size_t d) {
  static std::map<std::size_t, std::unique_ptr<data_set>> sets;
  auto& set = sets[d];
  if (!set) set = std::make_unique<data_set>(d);
  return *set;
}

/// A Gaussian bandwidth at which the queries' median density is `density`.
double bandwidth_for(const data_set& set, double density) {
  skim::exact_density sums({.dim = set.d});
  sums.build(set.x().rows(0, 20'000));
  double low = 1e-2, high = 1e2;
  std::vector<density_estimate> out(queries);
  for (int i = 0; i < 12; ++i) {
    const double h = std::sqrt(low * high);
    sums.set_bandwidth(h);
    sums.density(set.q(), {}, {}, out);
    std::nth_element(out.begin(), out.begin() + queries / 2, out.end(),
                     [](const auto& a, const auto& b) { return a.value < b.value; });
    (out[queries / 2].value < density ? low : high) = h;
  }
  return std::sqrt(low * high);
}

struct turn {
  double seconds = 0, error = 0, kernels = 0;
};

/// All queries one by one: seconds and kernels a query, mean relative error.
template <class Ask>
turn ask_all(const data_set& set, const std::vector<density_estimate>& truth, const Ask& ask) {
  skim::random_engine g(skim::seed{5});
  skim::workspace ws;
  turn t;
  const double start = seconds_now();
  std::vector<density_estimate> out(queries);
  for (std::size_t i = 0; i < queries; ++i) out[i] = ask(set.q().row(i), g, ws);
  t.seconds = (seconds_now() - start) / queries;
  for (std::size_t i = 0; i < queries; ++i) {
    t.error += std::abs(out[i].value - truth[i].value) / truth[i].value / queries;
    t.kernels += static_cast<double>(out[i].evaluations) / queries;
  }
  return t;
}

void exact_sums(benchmark::State& state) {
  const data_set& set = data_of(static_cast<std::size_t>(state.range(0)));
  const auto d = static_cast<Eigen::Index>(set.d);
  skim::exact_density sums({.dim = set.d, .kernel = {{}, std::sqrt(static_cast<double>(set.d))}});
  sums.build(set.x());
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const matrix> x(set.values.data(), points, d),
      q(set.values.data() + points * set.d, queries, d);
  const Eigen::VectorXf xx = x.rowwise().squaredNorm();
  const Eigen::RowVectorXf qq = q.rowwise().squaredNorm().transpose();
  std::vector<density_estimate> out(queries);
  std::vector<double> single, batch, eigen;
  for (auto _ : state) {
    double start = seconds_now();
    const auto t = ask_all(set, std::vector<density_estimate>(queries, {1, 0, 0, false}),
                           [&](auto y, auto& g, auto& ws) { return sums.density(y, {}, g, ws); });
    single.push_back(t.seconds);
    start = seconds_now();
    sums.density(set.q(), {}, {}, out);
    batch.push_back((seconds_now() - start) / queries);
    start = seconds_now();
    Eigen::RowVectorXd total = Eigen::RowVectorXd::Zero(queries);
    constexpr Eigen::Index rows = 1000;
    const float scale = -0.5f / static_cast<float>(set.d);
    for (Eigen::Index i = 0; i < static_cast<Eigen::Index>(points); i += rows) {
      matrix s = x.middleRows(i, rows) * q.transpose();
      s = (-2 * s).colwise() + xx.segment(i, rows);
      s.rowwise() += qq;
      total += (s.array() * scale).exp().matrix().colwise().sum().cast<double>();
    }
    benchmark::DoNotOptimize(total.sum());
    eigen.push_back((seconds_now() - start) / queries);
  }
  const auto best = [](std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); };
  state.counters["single_us"] = best(single) * 1e6;
  state.counters["batch_us"] = best(batch) * 1e6;
  state.counters["eigen_over_batch"] = best(eigen) / best(batch);
}
BENCHMARK(exact_sums)
    ->Name("exact/d")
    ->Arg(3)
    ->Arg(9)
    ->Arg(75)
    ->Arg(363)
    ->Iterations(5)
    ->Unit(benchmark::kMillisecond);

/// One density and dimension: uniform draws with their bound, a sample of fixed size, and the nearest plus
/// draws. Times over that of the exact single query of the same turn.
void estimates(benchmark::State& state) {
  const data_set& set = data_of(static_cast<std::size_t>(state.range(0)));
  const double density = std::pow(10.0, -static_cast<double>(state.range(1)));
  const density_kernel k{{}, bandwidth_for(set, density)};
  const density_target target{0.1, 0.1, density / 100};
  skim::exact_density sums({.dim = set.d, .kernel = k});
  skim::uniform_density uniform({.dim = set.d, .kernel = k}, skim::seed{1});
  skim::neighbor_density<skim::partition_index, std::size_t> nearest(
      {.kernel = k, .neighbors = static_cast<std::size_t>(state.range(2))},
      skim::partition_index({.dim = set.d}), 16, skim::seed{1});
  sums.build(set.x());
  uniform.build(set.x());
  nearest.build(set.x());
  std::vector<density_estimate> truth(queries);
  sums.density(set.q(), {}, {}, truth);
  turn exact, bounded, sample, split;
  double least_exact = 1e9;
  const auto keep = [](turn& best, const turn& t) {
    if (best.seconds == 0 || t.seconds < best.seconds) best = t;
  };
  for (auto _ : state) {
    keep(exact, ask_all(set, truth,
                        [&](auto y, auto& g, auto& ws) { return sums.density(y, target, g, ws); }));
    keep(bounded, ask_all(set, truth, [&](auto y, auto& g, auto& ws) {
           return uniform.density(y, target, g, ws);
         }));
    keep(sample, ask_all(set, truth, [&](auto y, auto& g, auto& ws) {
           return uniform.sample(y, static_cast<std::uint64_t>(bounded.kernels), g, ws);
         }));
    keep(split, ask_all(set, truth, [&](auto y, auto& g, auto& ws) {
           return nearest.density(y, target, g, ws);
         }));
    least_exact = std::min(least_exact, exact.seconds);
  }
  state.counters["exact_us"] = least_exact * 1e6;
  state.counters["uniform_us"] = bounded.seconds * 1e6;
  state.counters["uniform_err"] = bounded.error;
  state.counters["uniform_kernels"] = bounded.kernels;
  state.counters["sample_us"] = sample.seconds * 1e6;
  state.counters["sample_err"] = sample.error;
  state.counters["split_us"] = split.seconds * 1e6;
  state.counters["split_err"] = split.error;
  state.counters["split_kernels"] = split.kernels;
}
BENCHMARK(estimates)
    ->Name("estimate/d/log_density/neighbors")
    ->Args({9, 1, 100})
    ->Args({9, 2, 1000})
    ->Args({9, 4, 1000})
    ->Args({9, 5, 300})
    ->Args({75, 1, 100})
    ->Args({75, 2, 1000})
    ->Args({75, 4, 1000})
    ->Args({75, 5, 300})
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

/// An insertion and an erasure, microseconds; of standing queries with 1,000 candidates, nanoseconds a
/// candidate.
void updates(benchmark::State& state) {
  const data_set& set = data_of(static_cast<std::size_t>(state.range(0)));
  skim::exact_density sums({.dim = set.d});
  skim::uniform_density uniform({.dim = set.d});
  skim::standing_queries standing({.dim = set.d});
  sums.build(set.x());
  uniform.build(set.x());
  standing.watch(set.x().rows(0, 1000));
  skim::workspace ws;
  constexpr std::size_t many = 2000;
  double exact = 1e9, drawn = 1e9, watched = 1e9;
  const auto times = [&](auto& s) {
    std::vector<skim::id_t> ids(many);
    const double start = seconds_now();
    for (std::size_t i = 0; i < many; ++i) ids[i] = s.insert(set.x().row(i), 1, ws);
    for (const skim::id_t id : ids) {
      if constexpr (requires { s.erase(id, ws); })
        s.erase(id, ws);
      else
        s.erase(id);
    }
    return (seconds_now() - start) / many;
  };
  for (auto _ : state) {
    exact = std::min(exact, times(sums));
    drawn = std::min(drawn, times(uniform));
    watched = std::min(watched, times(standing));
  }
  state.counters["exact_us"] = exact * 1e6;
  state.counters["uniform_us"] = drawn * 1e6;
  state.counters["standing_ns_each"] = watched / 2 / 1000 * 1e9;
}
BENCHMARK(updates)
    ->Name("update/d")
    ->Arg(9)
    ->Arg(75)
    ->Arg(363)
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
