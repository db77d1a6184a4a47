// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/error_diffusion.hpp"

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace {

using skim::error_diffusion_sampler;
using skim::id_t;

std::vector<std::byte> image(const error_diffusion_sampler& s) {
  skim::writer out;
  s.save(out);
  return {out.bytes().begin(), out.bytes().end()};
}

TEST_CASE("every run of visits is within one draw of its expectation", "[unit]") {
  const std::vector<float> rates{0, 1e-4f, 0.1f, 0.5f, 0.999f, 1, 1.5f, 7.25f};
  error_diffusion_sampler s(rates.size(), skim::seed{1});
  std::vector<std::uint64_t> drawn(rates.size());
  for (int epoch = 1; epoch <= 3000; ++epoch)
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const std::uint32_t times = s.visit(static_cast<id_t>(i), rates[i]);
      const auto floor = static_cast<std::uint32_t>(rates[i]);
      CHECK((times == floor || times == floor + 1));
      drawn[i] += times;
      const double gap = static_cast<double>(drawn[i]) - epoch * static_cast<double>(rates[i]);
      CHECK(std::abs(gap) <= 1 + epoch * 0x1p-32);
    }
  CHECK(drawn[0] == 0);
  CHECK(drawn[5] == 3000);
}

TEST_CASE("each visit draws with the rate as probability", "[stat]") {
  // Over items with independent starts; the third visit of three with different rates.
  constexpr std::size_t n = 100000;
  error_diffusion_sampler s(n, skim::seed{2});
  std::uint64_t hits = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto id = static_cast<id_t>(i);
    static_cast<void>(s.visit(id, 0.9f));
    static_cast<void>(s.visit(id, 0.05f));
    hits += s.visit(id, 0.3f);
  }
  skim_test::check_proportion(hits, n, 0.3f);
}

TEST_CASE("a batch visit is the sequence of single visits", "[unit]") {
  error_diffusion_sampler one(50, skim::seed{3}), many(50, skim::seed{3});
  std::vector<float> rates(20);
  for (std::size_t k = 0; k < rates.size(); ++k) rates[k] = static_cast<float>(k) / 8;
  for (int epoch = 0; epoch < 100; ++epoch) {
    std::vector<id_t> ids(many.draws(10, rates)), expected;
    CHECK(many.visit(10, rates, ids) == ids.size());
    for (std::size_t k = 0; k < rates.size(); ++k) {
      const auto i = static_cast<id_t>(10 + k);
      expected.insert(expected.end(), one.visit(i, rates[k]), i);
    }
    CHECK(ids == expected);
  }
  CHECK(image(one) == image(many));
}

TEST_CASE("bad visits leave the credits as they were", "[unit]") {
  error_diffusion_sampler s(3, skim::seed{4});
  const auto before = image(s);
  constexpr float inf = std::numeric_limits<float>::infinity();
  std::vector<id_t> ids(10);
  for (const float bad : {-0.1f, inf, 2e6f, std::numeric_limits<float>::quiet_NaN()}) {
    CHECK_THROWS_AS(s.visit(0, bad), skim::invalid_input);
    CHECK_THROWS_AS(s.visit(0, std::vector<float>{0.5f, bad}, ids), skim::invalid_input);
  }
  CHECK_THROWS_AS(s.visit(3, 0.5f), skim::invalid_input);
  CHECK_THROWS_AS(s.visit(2, std::vector<float>{1, 1}, ids), skim::invalid_input);
  CHECK_THROWS_AS(s.visit(0, std::vector<float>{9, 9}, ids), skim::invalid_input);
  CHECK_THROWS_AS(s.credit(3), skim::invalid_input);
  CHECK(image(s) == before);
}

TEST_CASE("credits depend on seed and position, are saved, and grow with the catalogue", "[unit]") {
  error_diffusion_sampler s(10, skim::seed{5}), grown(4, skim::seed{5});
  grown.resize(10);
  CHECK(image(s) == image(grown));
  CHECK(s.credit(0) != error_diffusion_sampler(1, skim::seed{6}).credit(0));
  static_cast<void>(s.visit(2, 0.7f));
  const auto bytes = image(s);
  skim::reader in(bytes);
  error_diffusion_sampler loaded = error_diffusion_sampler::load(in);
  s.resize(20);
  loaded.resize(20);
  for (int k = 0; k < 100; ++k)
    CHECK(s.visit(static_cast<id_t>(k % 20), 0.37f) ==
          loaded.visit(static_cast<id_t>(k % 20), 0.37f));
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    skim::reader part{std::span(bytes).first(cut)};
    CHECK_THROWS_AS(error_diffusion_sampler::load(part), skim::format_error);
  }
  error_diffusion_sampler none(0, skim::seed{7});
  CHECK(none.size() == 0);
  CHECK(none.visit(0, {}, {}) == 0);
}

}  // namespace
