// SPDX-License-Identifier: Apache-2.0
//
// Hashing: nanoseconds for a bit, and how far from what the core can do. Names: what / d / bits / batch.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>

#include "skim/core/workspace.hpp"
#include "skim/hash/p_stable.hpp"
#include "skim/hash/random_binning.hpp"
#include "skim/hash/sign_projection.hpp"
#include "skim/hash/winner_take_all.hpp"
#include "skim/linalg/gemm.hpp"
#include "skim/linalg/simd.hpp"
#include "support/data.hpp"
#include "support/limits.hpp"

namespace {

using skim_bench::gaussian_matrix;

struct shape {
  explicit shape(const benchmark::State& state)
      : dim(static_cast<std::size_t>(state.range(0))),
        bits(static_cast<std::size_t>(state.range(1))),
        batch(static_cast<std::size_t>(state.range(2))) {}
  std::size_t dim, bits, batch;
};

void report(benchmark::State& state, const shape& s, skim_bench::paired_times t,
            double flops_per_bit) {
  const double bits = static_cast<double>(s.bits * s.batch);
  state.counters["ns_per_bit"] = t.seconds * 1e9 / bits;
  state.counters["items_per_second"] = static_cast<double>(s.batch) / t.seconds;
  if (flops_per_bit > 0)
    state.counters["%_of_fma_peak"] = 100 * flops_per_bit * bits / t.seconds / t.peak_flops;
  state.counters["peak_gflops"] = t.peak_flops * 1e-9;
  state.SetLabel(skim::simd::arch_name());
}

template <class Family>
void hash(benchmark::State& state, double flops_per_bit) {
  const shape s(state);
  const Family family({.dim = s.dim, .bits = 8, .hashes = s.bits / 8}, skim::seed{1});
  const gaussian_matrix x(s.batch, s.dim, skim::seed{2});
  std::vector<skim::code_t> codes(s.batch * family.num_hashes());
  skim::workspace ws;
  const auto t = skim_bench::time_beside_peak(state, [&] { family.hash(x.view(), codes, ws); });
  report(state, s, t, flops_per_bit);
}

void hash_dense(benchmark::State& state) {
  hash<skim::dense_sign_projection>(state, 2.0 * static_cast<double>(state.range(0)));
}
void hash_sparse(benchmark::State& state) {
  hash<skim::sparse_sign_projection>(state, 0);
}
// Additions in the place of FMAs: the transforms alone, as if each gave none but signs that are wanted.
void hash_hadamard(benchmark::State& state) {
  const auto d = std::bit_ceil(std::max<std::size_t>(64, static_cast<std::size_t>(state.range(0))));
  hash<skim::hadamard_sign_projection>(state, 2.0 * 3 * std::countr_zero(d));
}

// One input has nothing to share a weight with: reading the weights is the limit.
void hash_dense_single(benchmark::State& state) {
  hash_dense(state);
  const shape s(state);
  const std::size_t bytes = s.dim * s.bits * sizeof(float);
  state.counters["%_of_read_bandwidth"] = 100 * 4.0 * static_cast<double>(s.dim) /
                                          (state.counters["ns_per_bit"] * 1e-9) /
                                          skim_bench::read_bandwidth(bytes);
}

// The rival: Eigen's product, then the sign bits of what it wrote.
void rival_eigen_gemm(benchmark::State& state) {
  const shape s(state);
  const gaussian_matrix x(s.batch, s.dim, skim::seed{2}), w(s.bits, s.dim, skim::seed{1});
  std::vector<float> products(s.batch * s.bits);
  std::vector<std::uint16_t> words(products.size() / 16);
  using pack = skim::simd::floats<>;
  const auto t = skim_bench::time_beside_peak(state, [&] {
    skim::multiply_transposed(x.view(), w.view(),
                              skim::matrix_view<float>(products.data(), s.batch, s.bits));
    for (std::size_t i = 0; i < words.size(); ++i) {
      std::uint32_t bits = 0;
      for (std::size_t v = 0; v < 16 / pack::size; ++v)
        bits |= skim::simd::greater_bits(pack::load(products.data() + i * 16 + v * pack::size),
                                         pack::broadcast(0.0f))
                << (v * pack::size);
      words[i] = static_cast<std::uint16_t>(bits);
    }
  });
  report(state, s, t, 2.0 * static_cast<double>(s.dim));
}

void batches(benchmark::internal::Benchmark* b) {
  for (const int d : {64, 128, 256, 512, 1024}) b->Args({d, 1024, 256});
  b->Args({128, 64, 256})
      ->Args({128, 256, 256})
      ->Args({128, 1024, 32})
      ->UseManualTime()
      ->Iterations(60);
}
void singles(benchmark::internal::Benchmark* b) {
  for (const int bits : {64, 256, 1024}) b->Args({128, bits, 1});
  b->UseManualTime()->Iterations(60);
}
void dimensions(benchmark::internal::Benchmark* b) {
  for (const int d : {16, 64, 128, 256, 1024, 4096}) b->Args({d, 1024, 32});
  b->Args({128, 1024, 1})
      ->Args({128, 128, 1})
      ->Args({128, 4096, 32})
      ->Args({1024, 4096, 32})
      ->Args({4096, 4096, 32})
      ->UseManualTime()
      ->Iterations(60);
}
void sparse_shapes(benchmark::internal::Benchmark* b) {
  b->Args({128, 1024, 256})
      ->Args({1024, 1024, 256})
      ->Args({128, 1024, 1})
      ->UseManualTime()
      ->Iterations(60);
}

// Other families beside the dense signs of as many projections, timed in turn: `times_signs`, the ratio.
// Names: what / d / numbers / batch, a number being what takes a sign's place: a bin, a winner's three
// bits, a code.
template <class Family>
void beside_signs(benchmark::State& state, const Family& family, std::size_t bits_per_number) {
  const shape s(state);
  const skim::dense_sign_projection signs({.dim = s.dim, .bits = 1, .hashes = s.bits},
                                          skim::seed{1});
  const gaussian_matrix x(s.batch, s.dim, skim::seed{2});
  std::vector<skim::code_t> codes(s.batch * family.num_hashes()), bits(s.batch * s.bits);
  skim::workspace ws;
  const auto seconds_of = [&](auto call) {
    const double start = skim_bench::seconds_now();
    call();
    return skim_bench::seconds_now() - start;
  };
  std::vector<double> own, ratios;
  for (auto _ : state) {
    const auto once = [&] { family.hash(x.view(), codes, ws); };
    own.push_back(std::min(seconds_of(once), seconds_of(once)));
    const auto sign = [&] { signs.hash(x.view(), bits, ws); };
    ratios.push_back(own.back() / std::min(seconds_of(sign), seconds_of(sign)));
    state.SetIterationTime(own.back());
  }
  const double numbers = static_cast<double>(s.bits * s.batch);
  state.counters["ns_per_number"] = skim_bench::median(own) * 1e9 / numbers;
  state.counters["ns_per_bit"] =
      skim_bench::median(own) * 1e9 / (numbers * static_cast<double>(bits_per_number));
  state.counters["times_signs"] = skim_bench::median(ratios);
  state.SetLabel(skim::simd::arch_name());
}

void hash_euclidean(benchmark::State& state) {
  const shape s(state);
  beside_signs(
      state, skim::euclidean_p_stable({.dim = s.dim, .width = 4, .hashes = s.bits}, skim::seed{1}),
      1);
}
void hash_winner_take_all(benchmark::State& state) {
  const shape s(state);
  beside_signs(state, skim::winner_take_all({.dim = s.dim, .hashes = s.bits}, skim::seed{1}), 3);
}
void hash_random_binning(benchmark::State& state) {
  const shape s(state);
  beside_signs(state, skim::random_binning({.dim = s.dim, .hashes = s.bits}, skim::seed{1}), 1);
}

void families(benchmark::internal::Benchmark* b) {
  for (const int d : {64, 128, 256, 1024}) b->Args({d, 512, 256});
  b->Args({128, 512, 1})->UseManualTime()->Iterations(40);
}

BENCHMARK(hash_euclidean)->Apply(families);
BENCHMARK(hash_winner_take_all)->Apply(families);
BENCHMARK(hash_random_binning)->Args({64, 64, 64})->UseManualTime()->Iterations(20);
BENCHMARK(hash_dense)->Apply(batches);
BENCHMARK(rival_eigen_gemm)->Apply(batches);
BENCHMARK(hash_dense_single)->Apply(singles);
BENCHMARK(rival_eigen_gemm)->Apply(singles);
BENCHMARK(hash_hadamard)->Apply(dimensions);
BENCHMARK(hash_sparse)->Apply(sparse_shapes);

}  // namespace
