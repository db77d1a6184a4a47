// SPDX-License-Identifier: Apache-2.0
//
// A training step against its matrix products alone.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <Eigen/Core>
#include <benchmark/benchmark.h>

#include "common/mlp.hpp"
#include "skim/core/aligned.hpp"
#include "skim/core/random.hpp"

namespace {

using skim_examples::adam;
using skim_examples::mlp;
using skim_examples::sgd;

constexpr std::size_t inputs = 784, outputs = 10;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Fused multiply-adds a second of this core as compiled here: 12 independent chains in registers.
double peak_gflops() {
  constexpr int chains = 12, rounds = 20000;
  using lane = Eigen::internal::packet_traits<float>::type;
  constexpr double width = sizeof(lane) / sizeof(float);
  double best = 0;
  for (int repeat = 0; repeat < 20; ++repeat) {
    lane x0 = Eigen::internal::pset1<lane>(1.f), x1 = x0, x2 = x0, x3 = x0, x4 = x0, x5 = x0;
    lane x6 = x0, x7 = x0, x8 = x0, x9 = x0, x10 = x0, x11 = x0;
    lane a = Eigen::internal::pset1<lane>(0.999f), b = Eigen::internal::pset1<lane>(0.001f);
    benchmark::DoNotOptimize(a);
    benchmark::DoNotOptimize(b);
    const double began = seconds_now();
    for (int i = 0; i < rounds; ++i) {
      using Eigen::internal::pmadd;
      x0 = pmadd(x0, a, b), x1 = pmadd(x1, a, b), x2 = pmadd(x2, a, b), x3 = pmadd(x3, a, b);
      x4 = pmadd(x4, a, b), x5 = pmadd(x5, a, b), x6 = pmadd(x6, a, b), x7 = pmadd(x7, a, b);
      x8 = pmadd(x8, a, b), x9 = pmadd(x9, a, b), x10 = pmadd(x10, a, b), x11 = pmadd(x11, a, b);
    }
    const double spent = seconds_now() - began;
    for (lane x : {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11}) benchmark::DoNotOptimize(x);
    best = std::max(best, 2.0 * chains * width * rounds / spent * 1e-9);
  }
  return best;
}

// The products of one step as plain Eigen expressions, over buffers laid out as the trainer's.
class bare_products {
 public:
  bare_products(std::vector<std::size_t> widths, std::size_t batch)
      : widths_(std::move(widths)), batch_(batch) {
    const auto random = [](std::size_t n) {
      skim::aligned_vector<float> v(n);
      skim::random_engine g(skim::seed{n});
      for (float& x : v) x = skim::uniform_float(g) - 0.5f;
      return v;
    };
    for (std::size_t l = 0; l < widths_.size(); ++l) {
      activations_.push_back(random(batch * stride(l)));
      deltas_.push_back(random(batch * stride(l)));
      weights_.push_back(l == 0 ? random(0) : random(widths_[l - 1] * stride(l)));
      gradients_.push_back(l == 0 ? random(0) : random(widths_[l - 1] * stride(l)));
    }
  }

  void run() {
    for (std::size_t l = 1; l < widths_.size(); ++l)
      map(activations_[l], batch_, l).noalias() =
          map(activations_[l - 1], batch_, l - 1) * map(weights_[l], widths_[l - 1], l);
    for (std::size_t l = widths_.size() - 1; l > 0; --l) {
      if (l > 1)
        map(deltas_[l - 1], batch_, l - 1).noalias() =
            map(deltas_[l], batch_, l) * map(weights_[l], widths_[l - 1], l).transpose();
      map(gradients_[l], widths_[l - 1], l).noalias() =
          map(activations_[l - 1], batch_, l - 1).transpose() * map(deltas_[l], batch_, l);
    }
    benchmark::ClobberMemory();
  }

  [[nodiscard]] double operations() const {
    double sum = 0;
    for (std::size_t l = 1; l < widths_.size(); ++l)
      sum += (l > 1 ? 6.0 : 4.0) * static_cast<double>(batch_ * widths_[l - 1] * widths_[l]);
    return sum;
  }

 private:
  using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  std::size_t stride(std::size_t l) const { return (widths_[l] + 15) / 16 * 16; }
  Eigen::Map<matrix, Eigen::Aligned64, Eigen::OuterStride<>> map(skim::aligned_vector<float>& v,
                                                                 std::size_t rows, std::size_t l) {
    return {v.data(), static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(widths_[l]),
            Eigen::OuterStride<>(static_cast<Eigen::Index>(stride(l)))};
  }

  std::vector<std::size_t> widths_;
  std::size_t batch_;
  std::vector<skim::aligned_vector<float>> activations_, deltas_, weights_, gradients_;
};

// Step and products take turns, so that what slows the machine for a while slows both; the ratio is
// the median over the turns.
template <class Optimizer>
void step_against_products(benchmark::State& state, Optimizer optimizer) {
  const auto batch = static_cast<std::size_t>(state.range(0));
  const auto width = static_cast<std::size_t>(state.range(1));
  mlp net({.inputs = inputs, .hidden = {width, width}, .outputs = outputs, .batch = batch},
          skim::seed{1});
  bare_products products({inputs, width, width, outputs}, batch);
  skim::random_engine g(skim::seed{2});
  skim::aligned_vector<float> x(batch * inputs), weights(batch, 1.f), loss(batch), residual(batch);
  std::vector<skim::label_t> labels(batch);
  for (float& v : x) v = skim::uniform_float(g);
  for (auto& y : labels) y = static_cast<skim::label_t>(skim::uniform_below(g, outputs));
  const skim::matrix_view<const float> rows(x.data(), batch, inputs);
  const skim_examples::example_scores scores{loss, residual, {}};

  std::vector<double> steps, bare, ratios;
  for (auto _ : state) {
    const double t0 = seconds_now();
    net.step(rows, labels, weights, optimizer, 1e-4, scores);
    const double t1 = seconds_now();
    products.run();
    const double t2 = seconds_now();
    state.SetIterationTime(t1 - t0);
    steps.push_back(t1 - t0);
    bare.push_back(t2 - t1);
    ratios.push_back((t1 - t0) / (t2 - t1));
  }
  const double step = median(steps);
  state.counters["step_us"] = 1e6 * step;
  state.counters["products_us"] = 1e6 * median(bare);
  state.counters["ratio"] = median(ratios);
  state.counters["GFLOPs"] = products.operations() / step * 1e-9;
  state.counters["pct_peak"] = 100 * products.operations() / step * 1e-9 / peak_gflops();
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void step_adam(benchmark::State& state) {
  step_against_products(state, adam());
}
void step_sgd(benchmark::State& state) {
  step_against_products(state, sgd());
}

void grid(benchmark::internal::Benchmark* b) {
  b->ArgNames({"batch", "width"})->UseManualTime()->Unit(benchmark::kMicrosecond)->MinTime(1);
  for (const int width : {128, 256, 512, 1024})
    for (const int batch : {64, 128, 256}) b->Args({batch, width});
}

BENCHMARK(step_adam)->Name("trainer/step/adam")->Apply(grid);
BENCHMARK(step_sgd)->Name("trainer/step/sgd")->Apply(grid);

}  // namespace
