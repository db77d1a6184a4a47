// SPDX-License-Identifier: Apache-2.0
#include "skim/hash/p_stable.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "laws/hash_family.hpp"
#include "skim/hash/random_binning.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

using Catch::Matchers::ContainsSubstring;

// Unused members must compile too.
template class skim::detail::drawn_family<
    skim::detail::p_stable_kind<skim::detail::gaussian_lines>>;
template class skim::detail::drawn_family<skim::detail::p_stable_kind<skim::detail::cauchy_lines>>;

namespace {

// Widths that grow with the dimension, so that neither all nor no points of the laws collide.
template <class Family, std::size_t Bins, std::size_t Bits>
struct p_stable {
  using family = Family;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    const double root = std::sqrt(static_cast<double>(d));
    return family({.dim = d,
                   .width = std::is_same_v<Family, skim::euclidean_p_stable> ? root : root * root,
                   .bins = Bins,
                   .bits = Bits,
                   .hashes = hashes},
                  s);
  }
};

template <std::size_t Bits>
struct grids {
  using family = skim::random_binning;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family({.dim = d, .bandwidth = static_cast<double>(d), .bits = Bits, .hashes = hashes},
                  s);
  }
};

// Integral of f over [0, 1] by the midpoint rule.
template <class F>
double integral(F f) {
  constexpr int steps = 200'000;
  double sum = 0;
  for (int i = 0; i < steps; ++i) sum += f((i + 0.5) / steps);
  return sum / steps;
}

}  // namespace

TEMPLATE_TEST_CASE("p-stable families keep the laws of hash families", "[law]",
                   (p_stable<skim::euclidean_p_stable, 1, 32>),
                   (p_stable<skim::euclidean_p_stable, 3, 7>),
                   (p_stable<skim::manhattan_p_stable, 1, 32>),
                   (p_stable<skim::manhattan_p_stable, 2, 1>)) {
  skim_test::hash_family_laws<TestType>();
}

TEMPLATE_TEST_CASE("random binning keeps the laws of hash families", "[law]", grids<32>, grids<3>) {
  skim_test::hash_family_laws<TestType>();
}

TEST_CASE("collision probabilities are the integrals they stand for", "[unit]") {
  // Two points fall c |z| apart along a line, and into one bin of width 1 with probability 1 - c |z|.
  for (const double c : {0.01, 0.3, 1.0, 4.0, 50.0}) {
    const double gaussian = integral([c](double s) {
      const double z = s / c;  // s = c z in [0, 1]
      return (1 - s) * 2 / c * std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
    });
    CHECK_THAT(skim::detail::euclidean_bin_collision(c),
               Catch::Matchers::WithinAbs(gaussian, 1e-7));
    const double cauchy = integral([c](double s) {
      const double z = s / c;
      return (1 - s) * 2 / c / (std::numbers::pi * (1 + z * z));
    });
    CHECK_THAT(skim::detail::manhattan_bin_collision(c), Catch::Matchers::WithinAbs(cauchy, 1e-7));
  }
  for (const auto p :
       {skim::detail::euclidean_bin_collision, skim::detail::manhattan_bin_collision}) {
    CHECK(p(0) == 1);
    CHECK(p(1e-300) == 1);
    CHECK(p(1e300) >= 0);
    CHECK(p(1e300) < 1e-12);
    CHECK(p(std::numeric_limits<double>::infinity()) == 0);
    for (double r = 1e-3; r < 1e6; r *= 1.1) CHECK(p(r * 1.1) <= p(r));
  }
}

TEST_CASE("bins far from the origin are counted, and the farthest shared", "[unit]") {
  const skim::euclidean_p_stable family({.dim = 1, .width = 1, .hashes = 8}, skim::seed{1});
  const auto code = [&](float x) {
    return skim_test::codes_of(family, std::span<const float>(&x, 1));
  };
  CHECK(code(1e5f) != code(1.001e5f));
  CHECK(code(1e30f) == code(2e30f));
  CHECK(code(1e30f) != code(-1e30f));
  CHECK(code(std::numeric_limits<float>::max()) == code(1e30f));
}

TEST_CASE("p-stable and grid families refuse sizes that make no family", "[unit]") {
  using skim::invalid_params;
  CHECK_THROWS_WITH(skim::euclidean_p_stable({.dim = 0}), ContainsSubstring("got 0 dimensions"));
  CHECK_THROWS_WITH(skim::euclidean_p_stable({.dim = 2, .width = 0}),
                    ContainsSubstring("got a bin width of 0"));
  CHECK_THROWS_AS(skim::euclidean_p_stable({.dim = 2, .width = std::nan("")}), invalid_params);
  CHECK_THROWS_WITH(skim::manhattan_p_stable({.dim = 2, .bins = 0}),
                    ContainsSubstring("got 0 bins to a code, wanted 1 to 1024"));
  CHECK_THROWS_WITH(skim::manhattan_p_stable({.dim = 2, .bits = 33}),
                    ContainsSubstring("got 33 bits to a code, wanted 1 to 32"));
  CHECK_THROWS_WITH(skim::euclidean_p_stable({.dim = 1u << 20, .bins = 4, .hashes = 1u << 20}),
                    ContainsSubstring("wanted at most 2^30"));
  CHECK_THROWS_WITH(skim::random_binning({.dim = 2, .bandwidth = -1}),
                    ContainsSubstring("got a bandwidth of -1"));
  CHECK_THROWS_WITH(skim::random_binning({.dim = 1u << 30, .hashes = 1u << 30}),
                    ContainsSubstring("wanted at most 2^30"));
}
