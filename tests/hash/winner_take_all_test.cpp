// SPDX-License-Identifier: Apache-2.0
#include "skim/hash/winner_take_all.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "laws/hash_family.hpp"
#include "skim/hash/minhash.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::ContainsSubstring;
using skim_test::codes_of;

// Unused members must compile too.
template class skim::detail::drawn_family<skim::detail::minhash_kind>;

namespace {

template <std::size_t Window, std::size_t Windows>
struct rankings {
  using family = skim::winner_take_all;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family({.dim = d, .window = Window, .windows = Windows, .hashes = hashes}, s);
  }
};

// Sets that hold about a third of all things.
skim_test::points some_of_all(std::size_t n, std::size_t d, skim::seed s) {
  auto x = skim_test::gaussian_points(n, d, s);
  for (std::size_t i = 0; i < n; ++i)
    for (float& v : x.row(i)) v = v > 0.43f ? 1.0f : 0.0f;
  return x;
}

template <std::size_t Bits>
struct sets {
  using family = skim::minhash;
  static constexpr bool dependent = true;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family({.dim = d, .bits = Bits, .hashes = hashes}, s);
  }
  static skim_test::points sample(std::size_t n, std::size_t d, skim::seed s) {
    return some_of_all(n, d, s);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("winner-take-all hashes keep the laws of hash families", "[law]",
                   (rankings<8, 1>), (rankings<2, 9>), (rankings<64, 5>)) {
  skim_test::hash_family_laws<TestType>();
}

TEMPLATE_TEST_CASE("minhash keeps the laws of hash families", "[law]", sets<32>, sets<4>) {
  skim_test::hash_family_laws<TestType>();
}

TEST_CASE("the ranking kernel is the probability that a winner-take-all hash collides", "[stat]") {
  const std::size_t d = GENERATE(std::size_t{2}, std::size_t{5}, std::size_t{40});
  const std::size_t window = GENERATE(std::size_t{2}, std::size_t{8});
  const auto x = skim_test::gaussian_points(2, d, skim::seed{d});
  auto near = x;
  for (std::size_t k = 0; k < d; ++k) near.row(0)[k] += 0.3f * x.row(1)[k];
  const skim::winner_take_all_params p{.dim = d, .window = window, .windows = 2, .hashes = 1};
  const double wanted = skim::ranking_kernel(p, x.row(0), near.row(0));
  CHECK(wanted == skim::ranking_kernel(p, near.row(0), x.row(0)));
  CHECK_THAT(skim::ranking_kernel(p, x.row(0), x.row(0)), Catch::Matchers::WithinAbs(1, 1e-12));
  constexpr std::uint64_t trials = 8000;
  std::uint64_t hits = 0;
  for (std::uint64_t t = 0; t < trials; ++t) {
    const skim::winner_take_all family(p, skim::seed{t});
    hits += codes_of(family, x.row(0)) == codes_of(family, near.row(0));
  }
  // Both windows of a code may come from one permutation: disjoint, not independent, unless all
  // coordinates are in one.
  if (2 * std::min(window, d) > d) skim_test::check_proportion(hits, trials, wanted);
  const skim::winner_take_all_params one{.dim = d, .window = window, .windows = 1, .hashes = 1};
  hits = 0;
  for (std::uint64_t t = 0; t < trials; ++t) {
    const skim::winner_take_all family(one, skim::seed{t});
    hits += codes_of(family, x.row(0)) == codes_of(family, near.row(0));
  }
  skim_test::check_proportion(hits, trials, skim::ranking_kernel(one, x.row(0), near.row(0)));
}

TEST_CASE("increasing functions that keep zero do not change winner-take-all codes", "[unit]") {
  auto x = some_of_all(30, 100, skim::seed{4});
  const auto noise = skim_test::gaussian_points(30, 100, skim::seed{5});
  for (std::size_t i = 0; i < 30; ++i)
    for (std::size_t k = 0; k < 100; ++k) x.row(i)[k] *= noise.row(i)[k];
  auto cubes = x;
  for (std::size_t i = 0; i < 30; ++i)
    for (float& v : cubes.row(i)) v = 5 * v * v * v;
  const skim::winner_take_all family({.dim = 100, .windows = 2, .hashes = 50}, skim::seed{1});
  CHECK(codes_of(family, x.view()) == codes_of(family, cubes.view()));
}

TEST_CASE("winner-take-all hashes of sparse points tell them apart", "[unit]") {
  // Few windows hold a nonzero: the rest borrow, and equal supports with equal order agree in all.
  const skim::winner_take_all family({.dim = 4096, .hashes = 512}, skim::seed{1});
  std::vector<float> a(4096), b(4096), c(4096);
  for (const std::size_t k : {5u, 700u, 2000u, 4000u}) a[k] = 1 + static_cast<float>(k);
  b = a;
  b[700] = 0;
  c[17] = c[1000] = c[3000] = 1;
  const auto agree = [&](const std::vector<float>& s, const std::vector<float>& t) {
    const auto x = codes_of(family, std::span<const float>(s));
    const auto y = codes_of(family, std::span<const float>(t));
    std::size_t equal = 0;
    for (std::size_t i = 0; i < x.size(); ++i) equal += x[i] == y[i];
    return equal;
  };
  CHECK(agree(a, a) == 512);
  CHECK(agree(a, b) > agree(a, c));
  CHECK(agree(a, b) < 512);
}

TEST_CASE("empty bins borrow from one that is not, the same for equal seeds", "[unit]") {
  for (const std::size_t full : {0u, 3u, 99u}) {
    const auto is_empty = [&](std::size_t b) { return b != full; };
    for (std::size_t b = 0; b < 100; ++b) CHECK(skim::detail::lender(b, 100, 7, is_empty) == full);
  }
  CHECK(skim::detail::lender(5, 100, 7, [](std::size_t) { return true; }) == 100);
  // With half of them empty each of the others lends about as often.
  std::vector<std::uint64_t> lent(100);
  for (std::uint64_t s = 0; s < 2000; ++s)
    ++lent[skim::detail::lender(1, 100, s, [](std::size_t b) { return b % 2 == 1; })];
  for (std::size_t b = 0; b < 100; b += 2) skim_test::check_proportion(lent[b], 2000, 0.02);
}

TEST_CASE("ranking families refuse what they cannot work with", "[unit]") {
  CHECK_THROWS_WITH(skim::winner_take_all({.dim = 4, .window = 6}),
                    ContainsSubstring("got windows of 6, wanted a power of two"));
  CHECK_THROWS_WITH(skim::winner_take_all({.dim = 4, .window = 128}),
                    ContainsSubstring("got windows of 128"));
  CHECK_THROWS_WITH(skim::winner_take_all({.dim = 4, .window = 8, .windows = 11}),
                    ContainsSubstring("wanted at most 32 bits"));
  CHECK_THROWS_WITH(skim::winner_take_all({.dim = 4, .hashes = 1u << 26}),
                    ContainsSubstring("wanted at most 2^25 windows"));
  CHECK_THROWS_WITH(skim::minhash({.dim = 4, .bits = 0}), ContainsSubstring("got 0 bits"));
  const std::vector<float> tied{1, 2, 2}, zero{1, 0, 2}, good{1, 3, 2};
  const skim::winner_take_all_params p{.dim = 3};
  CHECK_THROWS_AS(skim::ranking_kernel(p, tied, good), skim::invalid_input);
  CHECK_THROWS_AS(skim::ranking_kernel(p, good, zero), skim::invalid_input);
  CHECK_THROWS_AS(skim::ranking_kernel(p, good, std::span(good).first(2)), skim::invalid_input);
}
