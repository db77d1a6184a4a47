// SPDX-License-Identifier: Apache-2.0
//
// Laws of the samplers that are built from weights and draw ids in proportion to them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/random.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace skim_test {

/// A draw as an id, whether the sampler can come up empty or not.
inline skim::id_t value_of(skim::id_t i) {
  return i;
}
inline skim::id_t value_of(std::optional<skim::id_t> i) {
  REQUIRE(i.has_value());
  return *i;
}

/// Weight vectors that samplers find hard, one per law run.
inline std::vector<std::vector<float>> awkward_weights() {
  std::vector<std::vector<float>> all{
      {1},
      {0, 3, 0},
      {1, 1},
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0},
      {1e-30f, 1, 1e30f, 3e30f},
      {1e-45f, 3e-45f, 0, 2e-45f},          // below the normal range
      {3.4e38f, 3.4e38f, 1.7e38f, 1e-45f},  // a sum beyond float
      {1, 0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 1e-2f, 7e-3f, 3e-3f, 1e-3f, 4e-4f, 1e-4f},
  };
  skim::random_engine g(skim::seed{11});
  std::vector<float> exponential, heavy, ones(1000, 1.0f);
  for (int i = 0; i < 1000; ++i) {
    exponential.push_back(static_cast<float>(skim::exponential(g)));
    heavy.push_back(static_cast<float>(std::pow(1 - skim::uniform(g), -1.5)));
    if (i % 3 == 0) exponential.back() = 0;
  }
  all.push_back(exponential);
  all.push_back(heavy);
  all.push_back(ones);
  return all;
}

/// Draws follow the weights, singly and in batches, and zero weights never come.
template <class Sampler>
void check_draws_follow_weights(const Sampler& s, std::span<const float> weights,
                                std::uint64_t seed, std::size_t draws = 200000) {
  skim::random_engine g(skim::seed{seed});
  const std::size_t n = weights.size();
  std::vector<double> expected(weights.begin(), weights.end());
  std::vector<std::uint64_t> single(n), batch(n);
  for (std::size_t k = 0; k < draws; ++k) ++single.at(value_of(s.draw(g)));
  std::vector<skim::id_t> ids(draws);
  static_cast<void>(s.draw(g, std::span<skim::id_t>(ids)));
  for (const skim::id_t i : ids) ++batch.at(i);
  double total = 0;
  for (const double w : expected) total += w;
  std::size_t large = 0;  // cells that a chi-square test can see
  for (std::size_t i = 0; i < n; ++i) {
    if (weights[i] == 0) {
      CHECK(single[i] == 0);
      CHECK(batch[i] == 0);
    }
    const double p = expected[i] / total;
    if (p * static_cast<double>(draws) >= 25) ++large;
  }
  if (large >= 2) {
    check_chi_square(single, expected);
    check_chi_square(batch, expected);
  }
}

/// All laws, over a model's way to build a sampler: make(std::span<const float>).
template <class Make>
void check_discrete_sampler(Make make) {
  using sampler = decltype(make(std::span<const float>{}));
  std::uint64_t seed = 100;
  for (const std::vector<float>& weights : awkward_weights()) {
    INFO("weights: " << weights.size() << ", first " << weights[0]);
    const sampler s = make(weights);
    CHECK(s.size() == weights.size());
    check_draws_follow_weights(s, weights, ++seed);

    // Probabilities are the weights over their sum and add up to one.
    double total = 0, sum = 0;
    for (const float w : weights) total += static_cast<double>(w);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double p = s.probability(static_cast<skim::id_t>(i));
      CHECK((p > 0) == (weights[i] > 0));
      CHECK(std::abs(p - static_cast<double>(weights[i]) / total) <= 0x1p-30);
      sum += p;
    }
    CHECK(std::abs(sum - 1) <= 0x1p-29);

    // The same seed gives the same draws, from a copy and from a saved image too.
    skim::writer out;
    s.save(out);
    skim::reader in(out.bytes());
    const sampler loaded = sampler::load(in);
    CHECK(in.remaining() == 0);
    const sampler copy = s;
    skim::random_engine g(skim::seed{7}), h = g, f = g;
    for (int k = 0; k < 1000; ++k) {
      const skim::id_t i = value_of(s.draw(g));
      CHECK(value_of(loaded.draw(h)) == i);
      CHECK(value_of(copy.draw(f)) == i);
    }
    skim::writer again;
    loaded.save(again);
    CHECK(std::equal(out.bytes().begin(), out.bytes().end(), again.bytes().begin(),
                     again.bytes().end()));
    // A truncated image is refused, wherever it ends.
    const std::size_t stride = out.bytes().size() / 50 + 1;
    for (std::size_t cut = 0; cut < out.bytes().size(); cut += stride) {
      skim::reader part(out.bytes().first(cut));
      CHECK_THROWS_AS(sampler::load(part), skim::format_error);
    }
  }
  constexpr float inf = std::numeric_limits<float>::infinity(),
                  nan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {-1.0f, inf, -inf, nan}) {
    const std::vector<float> weights{1, bad, 2};
    CHECK_THROWS_AS(make(weights), skim::invalid_params);
  }
}

}  // namespace skim_test
