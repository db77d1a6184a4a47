// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/dynamic.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "laws/discrete_sampler.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace {

using skim::dynamic_sampler;
using skim::id_t;

dynamic_sampler make(std::span<const float> weights) {
  return dynamic_sampler(weights);
}

std::vector<std::byte> image(const dynamic_sampler& s) {
  skim::writer out;
  s.save(out);
  return {out.bytes().begin(), out.bytes().end()};
}

void check_state(const dynamic_sampler& s, const std::vector<float>& weights) {
  double total = 0;
  REQUIRE(s.size() == weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    CHECK(s.weight(static_cast<id_t>(i)) == weights[i]);
    total += static_cast<double>(weights[i]);
  }
  CHECK(s.total_weight() >= total * (1 - 1e-12));
  CHECK(s.total_weight() <= total * (1 + 1e-12));
}

TEST_CASE("dynamic sampler obeys the laws of discrete samplers", "[law][stat]") {
  skim_test::check_discrete_sampler(make);
}

TEST_CASE("dynamic sampler without weight draws nothing", "[unit]") {
  skim::random_engine g(skim::seed{1});
  std::vector<id_t> ids(5, 9);
  dynamic_sampler s;
  CHECK(s.size() == 0);
  CHECK(s.total_weight() == 0);
  CHECK_FALSE(s.draw(g).has_value());
  CHECK(s.draw(g, std::span<id_t>(ids)) == 0);
  CHECK_THROWS_AS(s.update(0, 1), skim::invalid_input);
  CHECK(s.insert(0) == 0);
  CHECK_FALSE(s.draw(g).has_value());
  CHECK(s.probability(0) == 0);
  CHECK(s.insert(2) == 1);
  CHECK(s.draw(g) == id_t{1});
  s.erase(1);
  CHECK_FALSE(s.draw_and_erase(g).has_value());
  CHECK(make(std::vector<float>(40, 0.0f)).draw(g) == std::nullopt);
  skim::reader in(image(s));
  CHECK(make(std::vector<float>{}).size() == 0);
}

TEST_CASE("dynamic sampler follows any history of changes", "[stat]") {
  skim::random_engine g(skim::seed{2});
  std::vector<float> weights;
  dynamic_sampler s;
  for (int step = 0; step < 20000; ++step) {
    // Weights over the whole range of float, zeros and repeats among them.
    float w = static_cast<float>(
        std::ldexp(1 + skim::uniform(g), static_cast<int>(skim::uniform_below(g, 250)) - 140));
    if (skim::uniform_below(g, 4) == 0) w = 0;
    if (weights.size() < 100 && skim::uniform_below(g, 50) == 0) {
      CHECK(s.insert(w) == weights.size());
      weights.push_back(w);
    } else if (!weights.empty()) {
      const auto i = static_cast<id_t>(skim::uniform_below(g, weights.size()));
      s.update(i, w);
      weights[i] = w;
    }
    if (step % 1000 == 0) {
      check_state(s, weights);
      skim::random_engine draws(skim::seed{static_cast<std::uint64_t>(step)});
      for (int k = 0; k < 100; ++k)
        if (const auto i = s.draw(draws)) CHECK(weights[*i] > 0);
    }
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    weights[i] = static_cast<float>(i % 7);
    s.update(static_cast<id_t>(i), weights[i]);
  }
  check_state(s, weights);
  skim_test::check_draws_follow_weights(s, weights, 3);
}

TEST_CASE("ten million changes leave no drift", "[stat]") {
  skim::random_engine g(skim::seed{4});
  constexpr std::size_t n = 200;
  std::vector<float> weights(n, 1.0f);
  dynamic_sampler s = make(weights);
  for (int k = 0; k < 10'000'000; ++k) {
    const std::uint64_t word = g();
    const auto i = static_cast<id_t>((word >> 32) * n >> 32);
    // Now and then a weight that dwarfs the rest, so that sums by differences would lose them.
    weights[i] = static_cast<float>(word & 0xffffu) * ((word & 0xff0000u) == 0 ? 1e20f : 1e-5f);
    s.update(i, weights[i]);
  }
  for (std::size_t i = 0; i < n; ++i) {
    weights[i] = static_cast<float>(1 + i % 5);
    s.update(static_cast<id_t>(i), weights[i]);
  }
  check_state(s, weights);
  skim_test::check_draws_follow_weights(s, weights, 5, 1'000'000);
}

TEST_CASE("dynamic sampler keeps small weights beside large ones that come and go", "[stat]") {
  std::vector<float> weights{1, 2, 3, 4, 0};
  dynamic_sampler s = make(weights);
  for (int k = 0; k < 1000; ++k) {
    s.update(4, 3e38f);
    s.update(4, 0);
  }
  check_state(s, weights);
  skim_test::check_draws_follow_weights(s, weights, 6);
}

TEST_CASE("a refused change leaves the dynamic sampler as it was", "[unit]") {
  dynamic_sampler s = make(std::vector<float>{1, 2, 3});
  const auto before = image(s);
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {-1.0f, inf, -inf, std::numeric_limits<float>::quiet_NaN()}) {
    CHECK_THROWS_AS(s.update(1, bad), skim::invalid_input);
    CHECK_THROWS_AS(s.insert(bad), skim::invalid_input);
    const std::vector<id_t> ids{0, 1};
    const std::vector<float> weights{5, bad};
    CHECK_THROWS_AS(s.update(ids, weights), skim::invalid_input);
  }
  CHECK_THROWS_AS(s.update(3, 1), skim::invalid_input);
  CHECK_THROWS_AS(s.weight(3), skim::invalid_input);
  CHECK_THROWS_AS(s.update(std::vector<id_t>{0}, std::vector<float>{1, 2}), skim::invalid_input);
  CHECK(image(s) == before);
}

TEST_CASE("batch updates do what single updates do", "[unit]") {
  skim::random_engine g(skim::seed{8});
  std::vector<float> weights(300, 1.0f), changes(1000);
  std::vector<id_t> ids(1000);
  for (std::size_t k = 0; k < ids.size(); ++k) {
    ids[k] = static_cast<id_t>(skim::uniform_below(g, 300));
    changes[k] = static_cast<float>(skim::exponential(g));
  }
  dynamic_sampler one = make(weights), many = make(weights);
  for (std::size_t k = 0; k < ids.size(); ++k) one.update(ids[k], changes[k]);
  many.update(ids, changes);
  CHECK(image(one) == image(many));
}

TEST_CASE("successive draws with erasure are a sample without replacement", "[stat]") {
  // Against the exact law of the first two of four.
  const std::vector<float> weights{1, 2, 3, 4};
  const dynamic_sampler start = make(weights);
  std::vector<std::uint64_t> seen(16);
  std::vector<double> expected(16);
  for (std::size_t a = 0; a < 4; ++a)
    for (std::size_t b = 0; b < 4; ++b)
      if (a != b)
        expected[4 * a + b] = static_cast<double>(weights[a]) / 10 *
                              static_cast<double>(weights[b]) /
                              (10 - static_cast<double>(weights[a]));
  skim::random_engine g(skim::seed{9});
  for (int k = 0; k < 100000; ++k) {
    dynamic_sampler s = start;
    const id_t a = s.draw_and_erase(g).value(), b = s.draw_and_erase(g).value();
    ++seen[4 * a + b];
  }
  skim_test::check_chi_square(seen, expected);
}

TEST_CASE("items that wander through all sizes do not leave memory behind", "[unit]") {
  // All weights halve again and again: at each time nearly all are in one or two groups.
  std::vector<float> weights(4096, 1.0f);
  dynamic_sampler s = make(weights);
  for (int pass = 0; pass < 60; ++pass)
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i] /= 2;
      s.update(static_cast<id_t>(i), weights[i]);
    }
  check_state(s, weights);
  skim_test::check_draws_follow_weights(s, weights, 10);
}

TEST_CASE("a changed dynamic sampler draws on after saving", "[unit]") {
  skim::random_engine g(skim::seed{12});
  dynamic_sampler s = make(std::vector<float>(500, 1.0f));
  for (int k = 0; k < 5000; ++k)
    s.update(static_cast<id_t>(skim::uniform_below(g, 500)),
             static_cast<float>(skim::exponential(g)));
  const auto bytes = image(s);
  skim::reader in(bytes);
  dynamic_sampler loaded = dynamic_sampler::load(in);
  skim::random_engine h = g;
  for (int k = 0; k < 2000; ++k) {
    const auto i = s.draw(g);
    CHECK(i == loaded.draw(h));
    s.update(*i, 0.5f);
    loaded.update(*i, 0.5f);
  }
  CHECK(image(s) == image(loaded));
}

TEST_CASE("dynamic images that contradict themselves are refused", "[unit]") {
  using words = std::vector<std::uint32_t>;
  const auto forged = [](const std::vector<float>& weights, words order, words bases, words later) {
    skim::writer out;
    out.begin_frame("dynamic_sampler");
    out.put(std::span<const float>(weights));
    for (const words& w : {order, bases, later}) out.put(std::span<const std::uint32_t>(w));
    out.end_frame();
    skim::reader in(out.bytes());
    const dynamic_sampler s = dynamic_sampler::load(in);
    skim::random_engine g(skim::seed{1});
    for (int k = 0; k < 100; ++k) CHECK(weights[s.draw(g).value()] > 0);
    return s.size();
  };
  // 1 and 2 are in groups 597 and 601, 2^-100 in 197.
  const words bases{597, 1, 601, 1};
  CHECK(forged({1, 2}, {1, 0}, bases, {}) == 2);
  CHECK(forged({1, 2}, {1, 0}, bases, words(100, 600)) == 2);
  CHECK(forged({1, 2}, {1, 0}, {597, 1, 601, 1, 197, 1}, {}) == 2);  // a group since left empty
  CHECK_THROWS_AS(forged({1, 2}, {1}, bases, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 0}, bases, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 2}, bases, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, -2}, {0, 1}, bases, {}), skim::format_error);
  // Cells that do not suit the members would bend the law or never end a draw.
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597, 1}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597, 3, 601, 1}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597, 1, 601, 1, 700, 1}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597, 1, 597, 1}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597, 1, 601, 0}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597, 1, 601, 1, 0, 1}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, {597, 1, 601, 1, 1109, 1}, {}), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, bases, words(1500, 600)), skim::format_error);
  CHECK_THROWS_AS(forged({1, 2}, {0, 1}, bases, {1109}), skim::format_error);
}

}  // namespace
