// SPDX-License-Identifier: Apache-2.0
//
// The graph neural tangent kernel against the form of its reference implementation: one sparse
// Kronecker product of the adjacencies a pair, times the vector of all pairs of nodes. Data are
// generated; SKIM_BENCH_DATA=FOLDER adds FOLDER/imdb-binary and FOLDER/mutag (NAME/NAME.txt.gz).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "skim/core/random.hpp"
#include "skim/graph/graph.hpp"
#include "skim/graph/kronecker_sketch.hpp"
#include "skim/graph/neural_tangent_kernel.hpp"

#if defined(SKIM_BENCH_READERS)
#include "data/graph_text.hpp"
#endif

namespace {

using skim::graph;
using skim::graph_kernel_params;
using skim::graph_neural_tangent_kernel;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

graph random_graph(std::size_t nodes, double density, std::size_t tags, skim::random_engine g) {
  std::vector<skim::graph_edge> edges;
  for (std::size_t u = 0; u < nodes; ++u)
    for (std::size_t v = u + 1; v < nodes; ++v)
      if (skim::uniform(g) < density)
        edges.push_back({static_cast<skim::id_t>(u), static_cast<skim::id_t>(v)});
  std::vector<skim::id_t> tag(nodes);
  for (auto& t : tag) t = static_cast<skim::id_t>(skim::uniform_below(g, tags));
  return graph(nodes, edges, tag);
}

// As the reference: in double, the Kronecker product in compressed sparse rows made once a pair and
// applied at every aggregation, diagonals once a graph.
class kronecker_kernel {
 public:
  explicit kronecker_kernel(const graph_kernel_params& p) : p_(p) {}

  struct diagonal {
    std::vector<std::vector<double>> roots;
  };

  [[nodiscard]] diagonal prepare(const graph& g) const {
    diagonal d;
    static_cast<void>(run(g, g, nullptr, nullptr, &d));
    return d;
  }
  [[nodiscard]] double operator()(const graph& a, const graph& b, const diagonal& da,
                                  const diagonal& db) const {
    return run(a, b, &da, &db, nullptr);
  }

 private:
  double run(const graph& a, const graph& b, const diagonal* da, const diagonal* db,
             diagonal* out) const {
    const std::size_t n = a.nodes(), m = b.nodes();
    std::vector<std::size_t> offsets{0};
    std::vector<std::uint32_t> indices;
    std::vector<double> scale(n * m, 1.0);
    const auto row_of = [](const graph& g, std::size_t u) {
      std::vector<std::uint32_t> r(g.neighbors(u).begin(), g.neighbors(u).end());
      r.insert(std::lower_bound(r.begin(), r.end(), static_cast<std::uint32_t>(u)),
               static_cast<std::uint32_t>(u));
      return r;
    };
    std::vector<std::vector<std::uint32_t>> ra(n), rb(m);
    for (std::size_t u = 0; u < n; ++u) ra[u] = row_of(a, u);
    for (std::size_t v = 0; v < m; ++v) rb[v] = row_of(b, v);
    for (std::size_t u = 0; u < n; ++u) {
      for (std::size_t v = 0; v < m; ++v) {
        for (const auto s : ra[u])
          for (const auto t : rb[v]) indices.push_back(static_cast<std::uint32_t>(s * m + t));
        offsets.push_back(indices.size());
        if (p_.scaling == skim::neighborhood_scaling::degree)
          scale[u * m + v] = 1.0 / static_cast<double>(ra[u].size() * rb[v].size());
      }
    }
    std::vector<double> sigma(n * m), next(n * m);
    for (std::size_t u = 0; u < n; ++u)
      for (std::size_t v = 0; v < m; ++v)
        sigma[u * m + v] = p_.input == skim::node_input::degrees ? a.degree(u) == b.degree(v)
                                                                 : a.tags()[u] == b.tags()[v];
    const auto aggregate = [&](std::vector<double>& x) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        double sum = 0;
        for (std::size_t k = offsets[i]; k < offsets[i + 1]; ++k) sum += x[indices[k]];
        next[i] = sum * scale[i];
      }
      std::swap(x, next);
    };
    std::vector<double> jump = sigma;
    aggregate(sigma);
    std::vector<double> theta = sigma;
    std::size_t at = 0;
    for (std::size_t layer = 1; layer < p_.layers; ++layer) {
      for (std::size_t k = 0; k < p_.mlp_depth; ++k, ++at) {
        if (out != nullptr) {
          auto& d = out->roots.emplace_back(n);
          for (std::size_t u = 0; u < n; ++u) d[u] = std::sqrt(sigma[u * m + u]);
        }
        const auto& x = out != nullptr ? out->roots[at] : da->roots[at];
        const auto& y = out != nullptr ? out->roots[at] : db->roots[at];
        for (std::size_t u = 0; u < n; ++u) {
          for (std::size_t v = 0; v < m; ++v) {
            double& s = sigma[u * m + v];
            const double r = std::clamp(s / (x[u] * y[v]), -1.0, 1.0);
            const double turn = std::numbers::pi - std::acos(r);
            s = x[u] * y[v] * (r * turn + std::sqrt(1 - r * r)) / std::numbers::pi;
            if (out == nullptr) theta[u * m + v] = theta[u * m + v] * turn / std::numbers::pi + s;
          }
        }
      }
      for (std::size_t i = 0; i < jump.size(); ++i) jump[i] += theta[i];
      if (layer + 1 < p_.layers) {
        aggregate(sigma);
        if (out == nullptr) aggregate(theta);
      }
    }
    double sum = 0;
    for (const double v : p_.jumping_knowledge ? jump : theta) sum += v;
    return 2 * sum;
  }

  graph_kernel_params p_;
};

// The whole Gram matrix of `graphs`, and the reference's time from every k-th graph: kernel time of
// all pairs is the sampled pairs' share, taken up.
void gram(benchmark::State& state, const std::vector<graph>& graphs, graph_kernel_params p,
          std::size_t stride) {
  std::vector<double> k(graphs.size() * graphs.size());
  const skim::matrix_view<double> view(k.data(), graphs.size(), graphs.size());
  double ours = 0, rounds = 0;
  for (auto _ : state) {
    const auto start = clock_type::now();
    graph_neural_tangent_kernel(p).gram(graphs, view);
    ours += seconds_since(start);
    ++rounds;
  }
  ours /= rounds;
  // The reference on a sample of graphs chosen evenly, all pairs among them.
  std::vector<std::size_t> some;
  for (std::size_t i = 0; i < graphs.size(); i += stride) some.push_back(i);
  const kronecker_kernel reference(p);
  auto start = clock_type::now();
  std::vector<kronecker_kernel::diagonal> diagonals;
  for (const std::size_t i : some) diagonals.push_back(reference.prepare(graphs[i]));
  const double preparing = seconds_since(start);
  start = clock_type::now();
  double worst = 0;
  std::size_t pairs = 0;
  double work = 0, sampled_work = 0;
  const auto nnz = [](const graph& g) { return static_cast<double>(2 * g.edges() + g.nodes()); };
  for (std::size_t i = 0; i < some.size(); ++i) {
    for (std::size_t j = i; j < some.size(); ++j, ++pairs) {
      const double v = reference(graphs[some[i]], graphs[some[j]], diagonals[i], diagonals[j]);
      const double size = std::sqrt(view.row(some[i])[some[i]] * view.row(some[j])[some[j]]);
      worst = std::max(worst, std::abs(v - view.row(some[i])[some[j]]) / size);
    }
  }
  const double sampled = seconds_since(start);
  // Its time goes with the products' nonzeros: all pairs' over the sampled pairs'.
  double all = 0, all_squares = 0, part = 0, part_squares = 0;
  for (const auto& g : graphs) {
    all += nnz(g);
    all_squares += nnz(g) * nnz(g);
  }
  for (const std::size_t i : some) {
    part += nnz(graphs[i]);
    part_squares += nnz(graphs[i]) * nnz(graphs[i]);
  }
  work = (all * all + all_squares) / 2;
  sampled_work = (part * part + part_squares) / 2;
  const double theirs = sampled * work / sampled_work + preparing * all_squares / part_squares;
  state.counters["kernel_seconds"] = ours;
  state.counters["us_per_pair"] =
      1e6 * ours / (0.5 * static_cast<double>(graphs.size() * (graphs.size() + 1)));
  state.counters["reference_seconds"] = theirs;
  state.counters["times_faster"] = theirs / ours;
  state.counters["worst_error"] = worst;
}

std::vector<graph> generated(std::size_t count, std::size_t most_nodes, double density) {
  const skim::random_engine base(skim::seed{7});
  std::vector<graph> out;
  for (std::size_t i = 0; i < count; ++i) {
    auto g = base.child(i);
    const auto n = most_nodes / 2 + static_cast<std::size_t>(uniform_below(g, most_nodes / 2 + 1));
    out.push_back(random_graph(n, density, 7, g.child(0)));
  }
  return out;
}

// One pair of growing graphs of 8 neighbours a node: time against N nnz = 9 N^2.
void growth(benchmark::State& state) {
  double last_time = 0, last_size = 0;
  double sx = 0, sy = 0, sxx = 0, sxy = 0, points = 0;
  for (auto _ : state) {
    for (std::size_t n = 128; n <= 2048; n *= 2) {
      const skim::random_engine base(skim::seed{n});
      const graph a = random_graph(n, 8.0 / static_cast<double>(n), 7, base.child(0));
      const graph b = random_graph(n, 8.0 / static_cast<double>(n), 7, base.child(1));
      const graph_neural_tangent_kernel kernel({.layers = 4, .mlp_depth = 2});
      double best = 1e30;
      for (int r = 0; r < 5; ++r) {
        const auto start = clock_type::now();
        benchmark::DoNotOptimize(kernel(a, b));
        best = std::min(best, seconds_since(start));
      }
      const double size = static_cast<double>(n) * static_cast<double>(2 * a.edges() + n);
      const double x = std::log(size), y = std::log(best);
      sx += x;
      sy += y;
      sxx += x * x;
      sxy += x * y;
      ++points;
      last_time = best;
      last_size = size;
    }
  }
  state.counters["slope_over_N_nnz"] = (points * sxy - sx * sy) / (points * sxx - sx * sx);
  state.counters["ns_per_N_nnz"] = 1e9 * last_time / last_size;
}

// One pair of N = 4000 nodes, density 0.05: everything, diagonals included, exact and sketched. The
// sketch runs the recursion twice, for its error.
void sketched_pair(benchmark::State& state, std::size_t width, std::size_t rank,
                   skim::node_input input, std::size_t layers) {
  constexpr std::size_t n = 4000;
  constexpr double density = 0.05;
  const skim::random_engine base(skim::seed{3});
  const graph a = random_graph(n, density, 7, base.child(0));
  const graph b = random_graph(n, density, 7, base.child(1));
  const graph_kernel_params p{.layers = layers, .mlp_depth = 2, .input = input};
  double exact = 0, exact_seconds = 0, sketch_seconds = 0, rounds = 0;
  skim::graph_kernel_estimate e;
  for (auto _ : state) {
    auto start = clock_type::now();
    exact = graph_neural_tangent_kernel(p)(a, b);
    exact_seconds += seconds_since(start);
    start = clock_type::now();
    e = skim::sketched_graph_kernel(p, {.aggregation = {.width = width, .rank = rank}},
                                    skim::seed{1})(a, b);
    sketch_seconds += seconds_since(start);
    ++rounds;
  }
  state.counters["exact_seconds"] = exact_seconds / rounds;
  state.counters["sketch_seconds"] = sketch_seconds / rounds;
  state.counters["times_faster"] = exact_seconds / sketch_seconds;
  state.counters["rel_err"] = std::abs(e.value - exact) / exact;
  state.counters["reported_err"] = e.standard_error / exact;
}

void register_sketch(const std::string& name, std::size_t width, std::size_t rank,
                     skim::node_input input, std::size_t layers) {
  benchmark::RegisterBenchmark(
      ("graph/sketch/4000/" + name).c_str(),
      [=](benchmark::State& s) { sketched_pair(s, width, rank, input, layers); })
      ->Unit(benchmark::kMillisecond)
      ->Iterations(1);
}

void register_gram(const std::string& name, std::shared_ptr<std::vector<graph>> graphs,
                   graph_kernel_params p, std::size_t stride) {
  benchmark::RegisterBenchmark(("graph/gram/" + name).c_str(),
                               [=](benchmark::State& s) { gram(s, *graphs, p, stride); })
      ->Unit(benchmark::kMillisecond)
      ->Iterations(1);
}

}  // namespace

int main(int argc, char** argv) {
  const graph_kernel_params p{.layers = 5, .mlp_depth = 2};
  auto molecules = std::make_shared<std::vector<graph>>(generated(300, 24, 0.12));
  register_gram("generated-24", molecules, p, 5);
  auto distinct_nodes = p;
  distinct_nodes.merge_equal_nodes = false;
  register_gram("generated-24/unmerged", molecules, distinct_nodes, 5);
  benchmark::RegisterBenchmark("graph/pair/growth", growth)
      ->Unit(benchmark::kMillisecond)
      ->Iterations(1);
  constexpr auto tags = skim::node_input::tags, degrees = skim::node_input::degrees;
  register_sketch("layers-3/rank-16/width-32", 32, 16, tags, 3);
  register_sketch("layers-5/rank-16/width-32", 32, 16, tags, 5);
  register_sketch("layers-5/degrees/rank-16/width-32", 32, 16, degrees, 5);
  register_sketch("layers-5/rank-0/width-256", 256, 0, tags, 5);
#if defined(SKIM_BENCH_READERS)
  if (const char* folder = std::getenv("SKIM_BENCH_DATA")) {
    for (const std::string name : {"mutag", "imdb-binary"}) {
      const auto file = std::filesystem::path(folder) / name / (name + ".txt.gz");
      if (!std::filesystem::exists(file)) continue;
      auto graphs =
          std::make_shared<std::vector<graph>>(skim_examples::load_graphs(file.string()).graphs);
      auto settings = p;
      if (name == "imdb-binary") settings.input = skim::node_input::degrees;
      const std::size_t stride = name == "mutag" ? 1 : 10;
      register_gram(name, graphs, settings, stride);
      settings.merge_equal_nodes = false;
      register_gram(name + "/unmerged", graphs, settings, stride);
    }
  }
#endif
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
