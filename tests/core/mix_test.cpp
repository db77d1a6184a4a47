// SPDX-License-Identifier: Apache-2.0
//
// Mixers: pinned values, avalanche, collisions; and error messages.
#include "skim/core/mix.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

static_assert(skim::mix64(0) == 0);
static_assert(skim::mix64(1) == 0x5692161d100b05e5u);
static_assert(skim::mix_combine(1, 2) != skim::mix_combine(2, 1));
static_assert(skim::fingerprint_of(1, 2) != skim::fingerprint_of(2, 1));
static_assert(skim::fingerprint_of(1) != skim::fingerprint_of(1, 0));
static_assert(skim::fingerprint_of() != skim::fingerprint_of(0));

TEST_CASE("mixers are pinned", "[mix][golden]") {
  CHECK(skim::mix_combine(1, 2) == 0x30883360cc68d7b1u);
  CHECK(skim::fingerprint_of(1, 2, 3) == 0x96ab8c42460066f1u);
}

TEST_CASE("mix64 is a bijection that avalanches", "[mix][stat]") {
  // Inverse: the steps undone in reverse order.
  const auto unshift = [](std::uint64_t x, unsigned k) {
    std::uint64_t y = x;
    for (unsigned s = k; s < 64; s += k) y = x ^ y >> k;
    return y;
  };
  const auto inverse_of = [](std::uint64_t a) {
    std::uint64_t x = a;  // Newton: each step doubles the bits that are right
    for (int i = 0; i < 6; ++i) x *= 2 - a * x;
    return x;
  };
  skim::random_engine g(skim::seed{1});
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t x = g();
    std::uint64_t y = unshift(skim::mix64(x), 31) * inverse_of(0x94d049bb133111ebu);
    y = unshift(y, 27) * inverse_of(0xbf58476d1ce4e5b9u);
    REQUIRE(unshift(y, 30) == x);
  }
  constexpr std::uint64_t trials = 4000;
  std::vector<std::uint64_t> flips(64 * 64);
  for (std::uint64_t t = 0; t < trials; ++t) {
    const std::uint64_t x = g();
    for (unsigned in = 0; in < 64; ++in) {
      const std::uint64_t change = skim::mix64(x) ^ skim::mix64(x ^ std::uint64_t{1} << in);
      for (unsigned out = 0; out < 64; ++out) flips[in * 64 + out] += change >> out & 1u;
    }
  }
  const auto wrong = std::count_if(flips.begin(), flips.end(), [&](std::uint64_t f) {
    return !skim_test::proportion_within(f, trials, 0.5, 1e-6 / 4096).ok;
  });
  CHECK(wrong == 0);
}

TEST_CASE("mix_combine tells pairs apart", "[mix][stat]") {
  std::vector<std::uint64_t> values;
  for (std::uint64_t a = 0; a < 700; ++a)
    for (std::uint64_t b = 0; b < 700; ++b) values.push_back(skim::mix_combine(a, b));
  std::sort(values.begin(), values.end());
  CHECK(std::adjacent_find(values.begin(), values.end()) == values.end());
}

TEST_CASE("messages join text and numbers", "[error][unit]") {
  using skim::detail::concat;
  CHECK(concat("got ", 3, " of ", std::size_t{4}, ", ", -1.5, " and ", 0.1f) ==
        "got 3 of 4, -1.5 and 0.100000001");
  CHECK(concat("nan: ", std::numeric_limits<double>::quiet_NaN()) == "nan: nan");
  CHECK(concat() == "");
  CHECK_THROWS_AS(SKIM_THROW(skim::merge_error, "x"), skim::error);
  CHECK_THROWS_AS(SKIM_THROW(skim::io_error, "x"), skim::error);
}
