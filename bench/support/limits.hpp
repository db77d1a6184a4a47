// SPDX-License-Identifier: Apache-2.0
//
// Physical limits of this core, measured beside what they are compared with.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <numeric>
#include <vector>

#include <benchmark/benchmark.h>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/simd.hpp"

namespace skim_bench {

[[nodiscard]] inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[nodiscard]] inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Floating-point operations a second, 2 to an FMA, of one burst of about 30 us: 12 independent chains in
/// registers, as the compiler's flags allow.
[[nodiscard]] inline double fma_burst() {
  using pack = skim::simd::floats<>;
  constexpr std::size_t chains = 12, rounds = 10000;
  std::array<pack, chains> sum;
  sum.fill(pack::broadcast(1.0f));
  float factor = 0.999f;
  benchmark::DoNotOptimize(factor);
  const pack f = pack::broadcast(factor), c = pack::broadcast(1e-3f);
  const double start = seconds_now();
  for (std::size_t i = 0; i < rounds; ++i)
    skim::detail::unrolled<chains>(
        [&](auto j) SKIM_INLINE_LAMBDA { sum[j] = skim::simd::fma(sum[j], f, c); });
  const double seconds = seconds_now() - start;
  float total = 0;
  for (const pack& s : sum) total += skim::simd::reduce_add(s);
  benchmark::DoNotOptimize(total);
  return 2.0 * chains * rounds * pack::size / seconds;
}

/// Bytes a second of reading `bytes` bytes again and again.
[[nodiscard]] inline double read_bandwidth(std::size_t bytes) {
  using pack = skim::simd::floats<>;
  const skim::aligned_vector<float> data(bytes / sizeof(float) / 128 * 128, 1.0f);
  std::vector<double> rates;
  for (int repeat = 0; repeat < 15; ++repeat) {
    std::array<pack, 8> sum;
    sum.fill(pack::broadcast(0.0f));
    const std::size_t rounds = std::max<std::size_t>(1, (std::size_t{1} << 22) / bytes);
    const double start = seconds_now();
    for (std::size_t r = 0; r < rounds; ++r)
      for (std::size_t i = 0; i < data.size(); i += 8 * pack::size)
        skim::detail::unrolled<8>([&](auto j) SKIM_INLINE_LAMBDA {
          sum[j] = sum[j] + pack::load_aligned(data.data() + i + j * pack::size);
        });
    const double seconds = seconds_now() - start;
    for (const pack& s : sum) benchmark::DoNotOptimize(skim::simd::reduce_add(s));
    rates.push_back(static_cast<double>(rounds * data.size() * sizeof(float)) / seconds);
  }
  return *std::max_element(rates.begin(), rates.end());
}

/// Times a call, and the FMA burst next to it, so that a core whose clock or whose share of a
/// hyperthread changes slows both. Fills in manual time and returns medians.
struct paired_times {
  double seconds;     ///< one call
  double peak_flops;  ///< bursts beside the calls
};

template <class Call>
paired_times time_beside_peak(benchmark::State& state, Call call) {
  std::vector<double> seconds, peaks;
  call();
  // Enough calls to a sample that the clock's grain does not matter.
  const double once = [&] {
    const double start = seconds_now();
    call();
    return seconds_now() - start;
  }();
  const auto calls = static_cast<std::size_t>(std::clamp(200e-6 / once, 1.0, 1e5));
  for (auto _ : state) {
    const double start = seconds_now();
    for (std::size_t i = 0; i < calls; ++i) {
      call();
      benchmark::ClobberMemory();
    }
    seconds.push_back((seconds_now() - start) / static_cast<double>(calls));
    state.SetIterationTime(seconds.back());
    peaks.push_back(fma_burst());
  }
  return {median(seconds), median(peaks)};
}

}  // namespace skim_bench
