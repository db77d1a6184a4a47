// SPDX-License-Identifier: Apache-2.0
//
// The kernels beneath: transforms, products, checks.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include "skim/core/aligned.hpp"
#include "skim/core/random.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/eigen.hpp"
#include "skim/linalg/gathered.hpp"
#include "skim/linalg/gemm.hpp"
#include "skim/linalg/hadamard.hpp"
#include "skim/linalg/hamming.hpp"
#include "skim/linalg/simd.hpp"
#include "support/data.hpp"
#include "support/limits.hpp"

namespace {

using skim_bench::gaussian_matrix;

// An addition fills an FMA's slot: the limit is half the FMA peak in operations.
void hadamard_transform(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  skim::aligned_vector<float> x(n, 0.0f), signs(n, -1.0f);
  const auto t = skim_bench::time_beside_peak(
      state, [&] { skim::hadamard_transform(std::span<float>(x), std::span<const float>(signs)); });
  const double adds = static_cast<double>(n) * std::log2(static_cast<double>(n));
  state.counters["ns"] = t.seconds * 1e9;
  state.counters["ns_per_element"] = t.seconds * 1e9 / static_cast<double>(n);
  state.counters["%_of_add_peak"] = 100 * adds / t.seconds / (t.peak_flops / 2);
  state.SetLabel(skim::simd::arch_name());
}

template <class Kernel>
void over_spans(benchmark::State& state, double flops_per_element, Kernel kernel) {
  const auto n = static_cast<std::size_t>(state.range(0));
  const gaussian_matrix x(2, n, skim::seed{1});
  const auto t = skim_bench::time_beside_peak(
      state, [&] { benchmark::DoNotOptimize(kernel(x.view().row(0), x.view().row(1))); });
  state.counters["ns"] = t.seconds * 1e9;
  state.counters["%_of_fma_peak"] =
      100 * flops_per_element * static_cast<double>(n) / t.seconds / t.peak_flops;
}

void dot(benchmark::State& state) {
  over_spans(state, 2, [](auto a, auto b) { return skim::dot(a, b); });
}
void squared_distance(benchmark::State& state) {
  over_spans(state, 3, [](auto a, auto b) { return skim::squared_distance(a, b); });
}
void all_finite(benchmark::State& state) {
  over_spans(state, 0, [](auto a, auto) { return skim::all_finite(a); });
}

void hamming_distance(benchmark::State& state) {
  const auto bits = static_cast<std::size_t>(state.range(0));
  const std::vector<std::uint64_t> a(bits / 64, 0x123456789abcdefu), b(bits / 64, 0x77777u);
  const auto t = skim_bench::time_beside_peak(
      state, [&] { benchmark::DoNotOptimize(skim::hamming_distance(a, b)); });
  state.counters["ns"] = t.seconds * 1e9;
}

void multiply_transposed(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0)), d = static_cast<std::size_t>(128);
  const gaussian_matrix a(n, d, skim::seed{1}), b(n, d, skim::seed{2});
  std::vector<float> c(n * n);
  const auto t = skim_bench::time_beside_peak(state, [&] {
    skim::multiply_transposed(a.view(), b.view(), skim::matrix_view<float>(c.data(), n, n));
  });
  state.counters["%_of_fma_peak"] =
      100 * 2.0 * static_cast<double>(n * n * d) / t.seconds / t.peak_flops;
}

// A batch of 256 against gathered rows of 128 of a matrix of 26,000, and Eigen's product of the same shape
// on a contiguous copy, for the same of going back.
enum class gathered { forward, back, turned };

template <gathered Way>
void multiply_gathered(benchmark::State& state) {
  const auto m = static_cast<std::size_t>(state.range(0));
  constexpr std::size_t n = 26000, dim = 128, batch = 256;
  const gaussian_matrix w(n, dim, skim::seed{1}), x(batch, dim, skim::seed{2});
  const gaussian_matrix g(batch, m, skim::seed{3}), copy(m, dim, skim::seed{4});
  std::vector<skim::id_t> ids(m);
  skim::random_engine random(skim::seed{5});
  for (auto& id : ids) id = static_cast<skim::id_t>(skim::uniform_below(random, n));
  skim::aligned_vector<float> out(batch * m), back(batch * dim), rows(m * dim), sums(m);
  const skim::matrix_view<float> logits(out.data(), batch, m), hidden(back.data(), batch, dim);
  const skim::matrix_view<float> weights(rows.data(), m, dim);
  skim::gathered_scratch scratch;
  skim::panel_matrix packed;
  const auto ours = skim_bench::time_beside_peak(state, [&] {
    if constexpr (Way == gathered::forward) {
      skim::multiply_gathered(x.view(), w.view(), {}, ids, logits, scratch);
    } else if constexpr (Way == gathered::back) {
      skim::multiply_back(g.view(), w.view(), ids, hidden, scratch);
    } else {
      skim::pack_columns(x.view(), packed);
      for (std::size_t first = 0; first < m; first += skim::gathered_block) {
        const std::size_t some = std::min(skim::gathered_block, m - first);
        skim::multiply_turned({g.view().data() + first, batch, some, m}, packed,
                              weights.rows(first, some),
                              std::span<float>(sums).subspan(first, some), scratch);
      }
    }
  });
  std::vector<double> eigen;
  for (int repeat = 0; repeat < 30; ++repeat) {
    const double start = skim_bench::seconds_now();
    if constexpr (Way == gathered::forward)
      skim::multiply_transposed(x.view(), copy.view(), logits);
    else if constexpr (Way == gathered::back)
      skim::multiply(g.view(), copy.view(), hidden);
    else
      skim::as_eigen(weights).noalias() =
          skim::as_eigen(g.view()).transpose() * skim::as_eigen(x.view());
    eigen.push_back(skim_bench::seconds_now() - start);
  }
  state.counters["ns_per_row"] = ours.seconds * 1e9 / static_cast<double>(m);
  state.counters["%_of_fma_peak"] =
      100 * 2.0 * static_cast<double>(batch * dim * m) / ours.seconds / ours.peak_flops;
  state.counters["times_eigen"] = ours.seconds / skim_bench::median(eigen);
}
BENCHMARK(multiply_gathered<gathered::forward>)
    ->Name("multiply_gathered/forward")
    ->Arg(1475)
    ->Arg(5000)
    ->UseManualTime()
    ->Iterations(60);
BENCHMARK(multiply_gathered<gathered::back>)
    ->Name("multiply_gathered/back")
    ->Arg(1475)
    ->Arg(5000)
    ->UseManualTime()
    ->Iterations(60);
BENCHMARK(multiply_gathered<gathered::turned>)
    ->Name("multiply_gathered/turned")
    ->Arg(1475)
    ->Arg(5000)
    ->UseManualTime()
    ->Iterations(60);

BENCHMARK(hadamard_transform)
    ->RangeMultiplier(2)
    ->Range(32, 4096)
    ->Arg(65536)
    ->UseManualTime()
    ->Iterations(60);
BENCHMARK(dot)->Arg(128)->Arg(1024)->UseManualTime()->Iterations(60);
BENCHMARK(squared_distance)->Arg(128)->Arg(1024)->UseManualTime()->Iterations(60);
BENCHMARK(all_finite)->Arg(128)->Arg(1024)->UseManualTime()->Iterations(60);
BENCHMARK(hamming_distance)->Arg(256)->Arg(1024)->UseManualTime()->Iterations(60);
BENCHMARK(multiply_transposed)->Arg(256)->Arg(512)->UseManualTime()->Iterations(60);

}  // namespace
