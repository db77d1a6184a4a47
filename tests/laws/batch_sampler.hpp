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

/// Scores of a case for these ids.
template <class Case>
std::vector<float> scores_of(const Case& c, std::size_t t, std::span<const skim::id_t> ids) {
  std::vector<float> scores(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) scores[i] = c.score(t, ids[i]);
  return scores;
}

/// What draw() of a case does for a scoring_batch_sampler.
template <class Case, skim::scoring_batch_sampler S>
skim::drawn_batch propose_and_draw(const Case& c, S& sampler, std::size_t t, std::size_t batch) {
  const std::vector<float> scores = scores_of(c, t, sampler.propose(batch));
  return sampler.draw(batch, scores);
}

/// What draw() of a case does for a scoring_stream_sampler that looks at scores only.
template <class Case, skim::scoring_stream_sampler S>
skim::drawn_batch offer_and_select(const Case& c, S& sampler, std::size_t t, std::size_t batch) {
  const std::size_t rows = sampler.candidates(batch);
  const std::vector<float> features(rows, 0.0f);
  std::vector<float> scores(sampler.wants_scores() ? rows : 0);
  for (std::size_t i = 0; i < scores.size(); ++i)
    scores[i] = c.score(t, static_cast<skim::id_t>(i));
  return sampler.select({.features = {std::span<const float>(features), rows, 1}}, batch, scores);
}

/// What scoring_batch_samplers owe besides; the case has `scored`, a step whose draw wants scores.
template <class Case>
void scoring_batch_sampler_laws(const Case& c) {
  SECTION("a proposal stands until a batch is drawn from it") {
    auto sampler = c.make(skim::seed{6});
    for (std::size_t t = 0; t < c.scored; ++t) step(c, sampler, t);
    CHECK_THROWS_AS(sampler.draw(c.batch, {}), skim::invalid_input);
    const auto proposed = sampler.propose(c.batch);
    const std::vector<skim::id_t> ids(proposed.begin(), proposed.end());
    REQUIRE(!ids.empty());
    const auto before = image_of(sampler);
    const auto again = sampler.propose(c.batch);
    CHECK(std::equal(again.begin(), again.end(), ids.begin(), ids.end()));
    std::vector<float> scores = scores_of(c, c.scored, ids);
    CHECK_THROWS_AS(sampler.propose(c.batch + 1), skim::invalid_input);
    CHECK_THROWS_AS(sampler.draw(c.batch + 1, scores), skim::invalid_input);
    CHECK_THROWS_AS(sampler.draw(c.batch, std::span(scores).first(ids.size() - 1)),
                    skim::invalid_input);
    CHECK_THROWS_AS(sampler.draw(c.batch, {}), skim::invalid_input);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0f}) {
      std::vector<float> damaged = scores;
      damaged.back() = bad;
      CHECK_THROWS_AS(sampler.draw(c.batch, damaged), skim::invalid_input);
    }
    REQUIRE(image_of(sampler) == before);
    skim::reader in(before);
    auto loaded = decltype(sampler)::load(in);
    CHECK(kept_batch(loaded.draw(c.batch, scores)) == kept_batch(sampler.draw(c.batch, scores)));
    CHECK(image_of(loaded) == image_of(sampler));
  }
}

/// What scoring_stream_samplers owe besides.
template <class Case>
void scoring_stream_sampler_laws(const Case& c) {
  SECTION("blocks and scores that do not fit are refused and change nothing") {
    auto sampler = c.make(skim::seed{6});
    for (std::size_t t = 0; t < c.scored; ++t) step(c, sampler, t);
    REQUIRE(sampler.wants_scores());
    const std::size_t rows = sampler.candidates(c.batch);
    const std::vector<float> features(rows, 0.0f);
    const skim::stream_block block{.features = {std::span<const float>(features), rows, 1}};
    const skim::stream_block shorter{.features = block.features.rows(0, rows - 1)};
    std::vector<float> scores(rows, 1.0f);
    const auto before = image_of(sampler);
    CHECK_THROWS_AS(sampler.select(shorter, c.batch, std::span(scores).first(rows - 1)),
                    skim::invalid_input);
    CHECK_THROWS_AS(sampler.select(block, c.batch, {}), skim::invalid_input);
    CHECK_THROWS_AS(sampler.select(block, c.batch, std::span(scores).first(rows - 1)),
                    skim::invalid_input);
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0f}) {
      scores.back() = bad;
      CHECK_THROWS_AS(sampler.select(block, c.batch, scores), skim::invalid_input);
    }
    CHECK(image_of(sampler) == before);
  }
}

}  // namespace skim_test
