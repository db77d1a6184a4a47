// SPDX-License-Identifier: Apache-2.0
//
// What every batch sampler owes its user, written once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace skim_test {

template <class S>
std::vector<std::byte> image_of(const S& sampler) {
  skim::writer out;
  sampler.save(out);
  return {out.bytes().begin(), out.bytes().end()};
}

/// A copy of a batch, which the sampler's next call does not overwrite.
struct kept_batch {
  std::vector<skim::id_t> ids;
  std::vector<float> weights;

  explicit kept_batch(const skim::drawn_batch& b)
      : ids(b.ids.begin(), b.ids.end()), weights(b.weights.begin(), b.weights.end()) {}
  friend bool operator==(const kept_batch&, const kept_batch&) = default;
};

/// A sampler of either kind as something that can be stepped. A case has
///   batch                       examples a step
///   seeds_matter                whether other seeds draw other batches
///   make(seed)                  -> sampler
///   draw(sampler, step, batch)  -> drawn_batch; for streams it offers the block of that step
///   score(step, id)             -> the score observed for that example
template <class Case, class S>
kept_batch step(const Case& c, S& sampler, std::size_t t) {
  const kept_batch b(c.draw(sampler, t, c.batch));
  std::vector<float> scores(b.ids.size());
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = c.score(t, b.ids[i]);
  sampler.observe(b.ids, scores);
  return b;
}

/// Checks that sum_i w_i f_i / batch is unbiased for the mean of f over the examples it stands for:
/// value(t, id) is f of an example that could be drawn at step t, expected(t) the mean over all of
/// them.
template <class Case, class Value, class Expected>
void check_unbiased(const Case& c, Value value, Expected expected, std::size_t warm_up = 60,
                    std::size_t steps = 4000) {
  auto sampler = c.make(skim::seed{11});
  std::vector<double> errors;
  for (std::size_t t = 0; t < warm_up + steps; ++t) {
    const kept_batch b = step(c, sampler, t);
    if (t < warm_up) continue;
    double sum = 0;
    for (std::size_t i = 0; i < b.ids.size(); ++i)
      sum += static_cast<double>(b.weights[i]) * value(t, b.ids[i]);
    errors.push_back(sum / static_cast<double>(b.ids.size()) - expected(t));
  }
  check_mean(errors, 0.0);
}

template <class Case>
void batch_sampler_laws(const Case& c) {
  SECTION("a batch has the size asked for, and finite positive weights") {
    auto sampler = c.make(skim::seed{1});
    for (std::size_t t = 0; t < 50; ++t) {
      const kept_batch b = step(c, sampler, t);
      REQUIRE(b.ids.size() == c.batch);
      REQUIRE(b.weights.size() == c.batch);
      for (const float w : b.weights) REQUIRE((std::isfinite(w) && w > 0));
    }
  }

  SECTION("equal seeds draw equal batches, other seeds other ones") {
    auto a = c.make(skim::seed{1}), b = c.make(skim::seed{1}), other = c.make(skim::seed{2});
    bool differed = false;
    for (std::size_t t = 0; t < 60; ++t) {
      const kept_batch from_a = step(c, a, t);
      REQUIRE(from_a == step(c, b, t));
      differed = differed || !(from_a == step(c, other, t));
    }
    CHECK(differed == c.seeds_matter);
  }

  SECTION("a saved sampler continues as if it had not been saved") {
    auto sampler = c.make(skim::seed{3});
    for (std::size_t t = 0; t < 37; ++t) step(c, sampler, t);
    const auto bytes = image_of(sampler);
    skim::reader in(bytes);
    auto loaded = decltype(sampler)::load(in);
    REQUIRE(image_of(loaded) == bytes);
    for (std::size_t t = 37; t < 120; ++t) REQUIRE(step(c, sampler, t) == step(c, loaded, t));
  }

  SECTION("damaged bytes are refused") {
    auto sampler = c.make(skim::seed{4});
    for (std::size_t t = 0; t < 5; ++t) step(c, sampler, t);
    const auto bytes = image_of(sampler);
    using sampler_type = decltype(sampler);
    for (std::size_t cut = 0; cut < bytes.size(); cut += 1 + bytes.size() / 97) {
      skim::reader in(std::span<const std::byte>(bytes).first(cut));
      CHECK_THROWS_AS(sampler_type::load(in), skim::format_error);
    }
    for (std::size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 97) {
      auto damaged = bytes;
      damaged[at] ^= std::byte{0x40};
      skim::reader in(damaged);
      CHECK_THROWS_AS(sampler_type::load(in), skim::format_error);
    }
  }

  SECTION("bad observations are refused and change nothing") {
    auto sampler = c.make(skim::seed{5});
    for (std::size_t t = 0; t < 40; ++t) step(c, sampler, t);
    const kept_batch b(c.draw(sampler, 40, c.batch));
    const auto before = image_of(sampler);
    std::vector<float> scores(b.ids.size(), 1.0f);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0f}) {
      scores.back() = bad;
      CHECK_THROWS_AS(sampler.observe(b.ids, scores), skim::invalid_input);
    }
    scores.back() = 1.0f;
    CHECK_THROWS_AS(sampler.observe(b.ids, std::span(scores).first(scores.size() - 1)),
                    skim::invalid_input);
    auto other_ids = b.ids;
    other_ids.front() += 1;
    CHECK_THROWS_AS(sampler.observe(other_ids, scores), skim::invalid_input);
    CHECK(image_of(sampler) == before);
    CHECK_THROWS_AS(c.draw(sampler, 41, 0), skim::invalid_input);
    CHECK(image_of(sampler) == before);
  }
}

}  // namespace skim_test
