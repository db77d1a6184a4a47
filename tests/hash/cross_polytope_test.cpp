// SPDX-License-Identifier: Apache-2.0
#include "skim/hash/cross_polytope.hpp"

#include <cmath>
#include <cstdlib>
#include <numbers>
#include <vector>

#include "laws/hash_family.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using skim_test::codes_of;

namespace {

template <std::size_t Size>
struct polytopes {
  using family = skim::cross_polytope;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family({.dim = d, .size = Size, .hashes = hashes}, s);
  }
};

template <class Arch>
void check_largest_magnitude() {
  skim::random_engine g(skim::seed{3});
  for (const std::size_t n : {8u, 16u, 24u, 64u, 1000u}) {
    for (int t = 0; t < 50; ++t) {
      std::vector<float> x(n);
      for (float& v : x) v = std::round(3 * static_cast<float>(skim::normal(g)));  // with ties
      std::size_t first = 0;
      for (std::size_t i = 1; i < n; ++i)
        if (std::abs(x[i]) > std::abs(x[first])) first = i;
      REQUIRE(skim::largest_magnitude<Arch>(x.data(), n) == 2 * first + (x[first] < 0 ? 1 : 0));
    }
    const std::vector<float> zeros(n);
    CHECK(skim::largest_magnitude<Arch>(zeros.data(), n) == 0);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("cross-polytope hashes keep the laws of hash families", "[law]", polytopes<8>,
                   polytopes<16>, polytopes<128>) {
  skim_test::hash_family_laws<TestType>();
}

TEST_CASE("the largest magnitude is found first, with its sign", "[unit]") {
  check_largest_magnitude<skim::simd::default_arch>();
  check_largest_magnitude<skim::simd::portable_arch>();
}

TEST_CASE("cross-polytope collisions come near their limit", "[stat]") {
  // Rotations of 512 coordinates and cross-polytopes of 16: the limit holds to a percent, which the
  // tolerance of 4000 trials covers.
  const double angle = GENERATE(0.3, 0.8, std::numbers::pi / 2, 2.5);
  const double wanted = skim::cross_polytope_collision(angle, 16);
  constexpr std::size_t trials = 4000;
  std::uint64_t hits = 0;
  for (std::size_t t = 0; t < trials; ++t) {
    const auto pair = skim_test::pair_at_angle(512, angle, skim::seed{t});
    const skim::cross_polytope family({.dim = 512, .hashes = 32}, skim::seed{t + 1'000'000});
    hits += codes_of(family, pair.row(0))[t % 32] == codes_of(family, pair.row(1))[t % 32];
  }
  skim_test::check_proportion(hits, trials, wanted);
}

TEST_CASE("the limit of cross-polytope collisions is what is known of it", "[unit]") {
  CHECK(skim::cross_polytope_collision(0, 16) == 1);
  CHECK(skim::cross_polytope_collision(std::numbers::pi, 16) == 0);
  // Independent coordinates: any of 2 m vertices.
  CHECK_THAT(skim::cross_polytope_collision(std::numbers::pi / 2, 16), WithinAbs(1.0 / 32, 1e-4));
  // One coordinate: its sign.
  CHECK_THAT(skim::cross_polytope_collision(1.0, 1), WithinAbs(1 - 1 / std::numbers::pi, 2e-3));
  CHECK(skim::cross_polytope_collision(0.3, 16) > skim::cross_polytope_collision(0.4, 16));
  CHECK(skim::cross_polytope_collision(0.3, 16) > skim::cross_polytope_collision(0.3, 64));
  CHECK_THROWS_AS(skim::cross_polytope_collision(-1, 16), skim::invalid_input);
  CHECK_THROWS_AS(skim::cross_polytope_collision(std::nan(""), 16), skim::invalid_input);
}

TEST_CASE("cross-polytope families refuse sizes that make no family", "[unit]") {
  CHECK_THROWS_WITH(skim::cross_polytope({.dim = 4, .size = 12}),
                    ContainsSubstring("got cross-polytopes of 12 coordinates, wanted a power"));
  CHECK_THROWS_AS(skim::cross_polytope({.dim = 4, .size = 4}), skim::invalid_params);
  CHECK_THROWS_WITH(skim::cross_polytope({.dim = 4, .size = 65536, .hashes = 1u << 20}),
                    ContainsSubstring("wanted at most 2^30"));
}
