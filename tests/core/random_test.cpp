// SPDX-License-Identifier: Apache-2.0
//
// The random engine and its distributions: pinned values, uniformity, and independence of bits, of
// words, of neighbouring counters, children and seeds.
#include "skim/core/random.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "skim/core/archive.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::WithinRel;
using skim::random_engine;
using skim::seed;

static_assert(std::uniform_random_bit_generator<random_engine>);
static_assert(skim::random_source<random_engine>);
static_assert(random_engine(seed{3}).at(7) == random_engine(seed{3}).at(7),
              "usable at compile time");

namespace {

/// A source that repeats given words.
struct script {
  std::vector<std::uint64_t> words;
  std::size_t next = 0;
  std::uint64_t operator()() { return words[next++ % words.size()]; }
};

// Uniformity of the words of f(0), f(1), ...: every bit, and every byte position.
template <class F>
void check_words(F f, std::size_t n) {
  std::array<std::uint64_t, 64> ones{};
  std::vector<std::array<std::uint64_t, 256>> bytes(8);
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t word = f(i);
    for (unsigned b = 0; b < 64; ++b) ones[b] += word >> b & 1u;
    for (unsigned k = 0; k < 8; ++k) ++bytes[k][word >> (8 * k) & 255u];
  }
  for (unsigned b = 0; b < 64; ++b) {
    INFO("bit " << b);
    skim_test::check_proportion(ones[b], n, 0.5);
  }
  const std::vector<double> even(256, 1.0);
  for (unsigned k = 0; k < 8; ++k) {
    INFO("byte " << k);
    skim_test::check_chi_square(bytes[k], even);
  }
}

// f(i) and g(i) are independent: the bits in which they differ are binomial(64, 1/2) in number,
// each differs half the time, and their fractions do not correlate.
template <class F, class G>
void check_independent(F f, G g, std::size_t n) {
  std::vector<std::uint64_t> counts(65);
  std::array<std::uint64_t, 64> differs{};
  std::vector<double> products(n);
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t a = f(i), b = g(i), x = a ^ b;
    ++counts[static_cast<std::size_t>(std::popcount(x))];
    for (unsigned k = 0; k < 64; ++k) differs[k] += x >> k & 1u;
    products[i] = (skim::detail::fraction_of(a) - 0.5) * (skim::detail::fraction_of(b) - 0.5);
  }
  std::vector<double> binomial(65);
  for (unsigned k = 0; k <= 64; ++k)
    binomial[k] = std::exp(std::lgamma(65.0) - std::lgamma(k + 1.0) - std::lgamma(65.0 - k));
  skim_test::check_chi_square(counts, binomial);
  for (unsigned k = 0; k < 64; ++k) {
    INFO("bit " << k);
    skim_test::check_proportion(differs[k], n, 0.5);
  }
  skim_test::check_mean(products, 0);
}

// Each of 64 input bits flips each of 64 output bits half the time; f(x) is the output.
template <class F>
void check_avalanche(F f, std::uint64_t s) {
  constexpr std::size_t trials = 4000;
  random_engine g(seed{s});
  std::vector<std::array<std::uint64_t, 64>> flips(64);
  for (std::size_t t = 0; t < trials; ++t) {
    // Half of the inputs are small numbers, as counters and indices are.
    const std::uint64_t x = t % 2 == 0 ? g() : t;
    const std::uint64_t y = f(x);
    for (unsigned in = 0; in < 64; ++in) {
      const std::uint64_t change = y ^ f(x ^ std::uint64_t{1} << in);
      for (unsigned out = 0; out < 64; ++out) flips[in][out] += change >> out & 1u;
    }
  }
  std::size_t wrong = 0;
  for (unsigned in = 0; in < 64; ++in)
    for (unsigned out = 0; out < 64; ++out)
      wrong += !skim_test::proportion_within(flips[in][out], trials, 0.5, 1e-6 / 4096).ok;
  CHECK(wrong == 0);
}

std::vector<double> draw(double (*f)(random_engine&), std::size_t n, std::uint64_t s) {
  random_engine g(seed{s});
  std::vector<double> x(n);
  for (double& v : x) v = f(g);
  return x;
}

std::vector<double> powers(std::span<const double> x, int exponent) {
  std::vector<double> y;
  for (const double v : x) y.push_back(std::pow(v, exponent));
  return y;
}

// Chi-square over `cells` cells of equal probability under the distribution function.
template <class Cdf>
void check_cells(std::span<const double> x, Cdf cdf, std::size_t cells) {
  std::vector<std::uint64_t> counts(cells);
  for (const double v : x)
    ++counts[std::min(cells - 1, static_cast<std::size_t>(cdf(v) * static_cast<double>(cells)))];
  skim_test::check_chi_square(counts, std::vector<double>(cells, 1.0));
}

double exponential_cdf(double x) {
  return -std::expm1(-x);
}

}  // namespace

TEST_CASE("words are pinned", "[random][golden]") {
  // Computed by a second implementation in another language.
  const auto first = [](random_engine g, std::size_t n) {
    std::vector<std::uint64_t> words(n);
    for (std::uint64_t& w : words) w = g();
    return words;
  };
  using words = std::vector<std::uint64_t>;
  CHECK(first(random_engine(seed{0}), 4) ==
        words{0x00e010eca128f5c7u, 0x6d8de9f5bbac0285u, 0xa90dee7e2c1362efu, 0xc7e6b0d611f5dbffu});
  CHECK(first(random_engine(seed{42}), 4) ==
        words{0x086779f0d8b73dceu, 0x71d4cd1f2e78bb9au, 0x34eef448157182b5u, 0x891274a6bb5b2b6fu});
  CHECK(first(random_engine(seed{42}).child(0), 2) ==
        words{0x0e3fadd402cf2433u, 0x6c86a209db4fd68bu});
  CHECK(first(random_engine(seed{42}).child(1).child(2), 2) ==
        words{0x00eba9a6a88d48b3u, 0xa4cca57ca562ead7u});
}

TEST_CASE("draws are pinned, those of the tails too", "[random][golden]") {
  const auto first = [](auto f, std::size_t n) {
    random_engine g(seed{42});
    std::vector<double> x(n);
    for (double& v : x) v = static_cast<double>(f(g));
    return x;
  };
  using draws = std::vector<double>;
  const auto below = [](std::uint64_t n) {
    return [n](random_engine& g) { return skim::uniform_below(g, n); };
  };
  CHECK(first(skim::uniform<random_engine>, 3) ==
        draws{0x1.0cef3e1b16e7p-5, 0x1.c753347cb9e2ep-2, 0x1.a777a240ab8cp-3});
  CHECK(first(skim::uniform_float<random_engine>, 3) ==
        draws{0x1.0cef2p-5, 0x1.c75334p-2, 0x1.a777ap-3});
  CHECK(first(below(1000), 6) == draws{32, 444, 206, 535, 25, 354});
  CHECK(first(skim::normal<random_engine>, 6) == draws{-0x1.096f9766aac74p-5, -0x1.35d64f03d92afp-1,
                                                       0x1.f1fe08ce2aef2p-3, -0x1.c5122d837a962p-1,
                                                       0x1.83a7101ac2c63p-5, 0x1.3fa464078d3a3p-1});
  CHECK(first(skim::exponential<random_engine>, 6) ==
        draws{0x1.adc9a1055efddp-6, 0x1.3638a2183794cp-1, 0x1.c408f21bb35eap-3,
              0x1.038a194d34e08p+0, 0x1.e549ed0b94378p-5, 0x1.7f39f0439abd2p-1});

  // The first draws beyond the base layer.
  const draws normals = first(skim::normal<random_engine>, 9310);
  CHECK(normals[4250] == 0x1.d5f4bd3fc5199p+1);
  CHECK(normals[9309] == 0x1.0b45bbf36b4d6p+2);
  const draws exponentials = first(skim::exponential<random_engine>, 8320);
  CHECK(exponentials[1560] == 0x1.f664f91f14146p+2);
  CHECK(exponentials[8319] == 0x1.038d769e5d23ap+3);

  // Two million draws, to the last bit: no instruction set may change one of them.
  random_engine g(seed{42});
  std::uint64_t all = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    all = skim::mix_combine(all, std::bit_cast<std::uint64_t>(skim::normal(g)));
    all = skim::mix_combine(all, std::bit_cast<std::uint64_t>(skim::exponential(g)));
  }
  CHECK(all == 0xe40138b18c8422a0u);

  std::array<int, 10> order{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  random_engine h(seed{42});
  skim::shuffle(std::span<int>(order), h);
  CHECK(order == std::array<int, 10>{2, 6, 8, 5, 7, 9, 3, 1, 4, 0});
}

TEST_CASE("an engine is a position in a stream", "[random][unit]") {
  random_engine g(seed{5});
  const random_engine start = g;
  std::vector<std::uint64_t> words;
  for (int i = 0; i < 100; ++i) words.push_back(g());
  for (std::uint64_t i = 0; i < 100; ++i) CHECK(start.at(i) == words[i]);
  CHECK(g.child(3) == start.child(3));  // children do not depend on the position
  CHECK(!(g == start));
  CHECK(random_engine() == random_engine(seed{0}));

  random_engine copy = g;
  CHECK(copy() == g());
}

TEST_CASE("a saved engine goes on where it was", "[random][unit]") {
  random_engine g = random_engine(seed{5}).child(8);
  for (int i = 0; i < 10; ++i) static_cast<void>(g());
  const auto bytes = skim_test::image_of(g);
  skim::reader in(bytes);
  random_engine loaded = random_engine::load(in);
  CHECK(loaded == g);
  CHECK(loaded() == g());
  skim_test::check_refuses_damage(g);
}

TEST_CASE("words are uniform", "[random][stat]") {
  constexpr std::size_t n = 200'000;
  for (const std::uint64_t s : {0u, 1u, 42u}) {
    const random_engine g(seed{s});
    SECTION("in a stream, seed " + std::to_string(s)) {
      check_words([&](std::uint64_t i) { return g.at(i); }, n);
    }
    SECTION("far out in a stream, seed " + std::to_string(s)) {
      check_words([&](std::uint64_t i) { return g.at((i << 40) + 5); }, n);
    }
    SECTION("at counters of few bits, seed " + std::to_string(s)) {
      // All pairs and triples of bits: what a weak finaliser scrambles least.
      std::vector<std::uint64_t> sparse;
      for (unsigned a = 0; a < 64; ++a)
        for (unsigned b = 0; b < a; ++b)
          for (unsigned c = 0; c <= b; ++c)
            sparse.push_back(std::uint64_t{1} << a | std::uint64_t{1} << b | std::uint64_t{1} << c);
      check_words([&](std::uint64_t i) { return g.at(sparse[i]); }, sparse.size());
    }
    SECTION("as the first words of children, seed " + std::to_string(s)) {
      check_words([&](std::uint64_t i) { return g.child(i).at(0); }, n);
    }
    SECTION("as the first words of grandchildren, seed " + std::to_string(s)) {
      check_words([&](std::uint64_t i) { return g.child(i / 300).child(i % 300).at(0); }, n);
    }
  }
  SECTION("as the first words of successive seeds") {
    check_words([](std::uint64_t i) { return random_engine(seed{i}).at(0); }, n);
  }
}

TEST_CASE("words do not depend on one another", "[random][stat]") {
  constexpr std::size_t n = 100'000;
  const random_engine g(seed{11});
  for (const std::uint64_t lag : {1u, 2u, 3u, 4u, 7u, 16u, 256u, 65536u}) {
    INFO("lag " << lag);
    check_independent([&](std::uint64_t i) { return g.at(i); },
                      [&](std::uint64_t i) { return g.at(i + lag); }, n);
  }
  SECTION("neighbouring children, word by word") {
    for (const std::uint64_t word : {0u, 1u, 1000u})
      check_independent([&](std::uint64_t i) { return g.child(i).at(word); },
                        [&](std::uint64_t i) { return g.child(i + 1).at(word); }, n);
  }
  SECTION("two neighbouring children along their streams") {
    const random_engine a = g.child(6), b = g.child(7);
    check_independent([&](std::uint64_t i) { return a.at(i); },
                      [&](std::uint64_t i) { return b.at(i); }, n);
    check_independent([&](std::uint64_t i) { return a.at(i); },
                      [&](std::uint64_t i) { return b.at(i + 1); }, n);
  }
  SECTION("parent and child") {
    check_independent([&](std::uint64_t i) { return g.at(i); },
                      [&](std::uint64_t i) { return g.child(i).at(i); }, n);
    const random_engine c = g.child(0);
    check_independent([&](std::uint64_t i) { return g.at(i); },
                      [&](std::uint64_t i) { return c.at(i); }, n);
  }
  SECTION("children of swapped indices") {
    check_independent([&](std::uint64_t i) { return g.child(i).child(i + 1).at(0); },
                      [&](std::uint64_t i) { return g.child(i + 1).child(i).at(0); }, n);
  }
  SECTION("neighbouring seeds, and seeds of one differing bit") {
    check_independent([](std::uint64_t i) { return random_engine(seed{i}).at(0); },
                      [](std::uint64_t i) { return random_engine(seed{i + 1}).at(0); }, n);
    check_independent(
        [](std::uint64_t i) { return random_engine(seed{i}).at(3); },
        [](std::uint64_t i) { return random_engine(seed{i ^ std::uint64_t{1} << 63}).at(3); }, n);
  }
  SECTION("a child whose index is the position") {
    check_independent([&](std::uint64_t i) { return g.child(i).at(1); },
                      [&](std::uint64_t i) { return g.child(1).at(i); }, n);
  }
}

TEST_CASE("successive words fill the cube evenly", "[random][stat]") {
  // Three successive words, the upper four bits of each, over interleaved children as well.
  const random_engine g(seed{12});
  std::vector<std::uint64_t> upper(4096), lower(4096), mixed(4096);
  for (std::uint64_t i = 0; i < 400'000; ++i) {
    std::size_t u = 0, l = 0, m = 0;
    for (std::uint64_t k = 0; k < 3; ++k) {
      u = u << 4 | g.at(3 * i + k) >> 60;
      l = l << 4 | (g.at(3 * i + k) & 15u);
      m = m << 4 | g.child(i + k).at(0) >> 60;
    }
    ++upper[u];
    ++lower[l];
    ++mixed[m];
  }
  const std::vector<double> even(4096, 1.0);
  skim_test::check_chi_square(upper, even);
  skim_test::check_chi_square(lower, even);
  skim_test::check_chi_square(mixed, even);
}

TEST_CASE("first words of a million children are distinct", "[random][stat]") {
  // Two equal ones among 2^20 of 2^64 have probability 3e-8.
  std::vector<std::uint64_t> words;
  const random_engine g(seed{13});
  for (std::uint64_t i = 0; i < 1u << 20; ++i) words.push_back(g.child(i).at(0));
  std::sort(words.begin(), words.end());
  CHECK(std::adjacent_find(words.begin(), words.end()) == words.end());
}

TEST_CASE("counter, child index and seed avalanche", "[random][stat]") {
  const random_engine g(seed{14});
  SECTION("counter") {
    check_avalanche([&](std::uint64_t x) { return g.at(x); }, 1);
  }
  SECTION("child") {
    check_avalanche([&](std::uint64_t x) { return g.child(x).at(0); }, 2);
  }
  SECTION("seed") {
    check_avalanche([](std::uint64_t x) { return random_engine(seed{x}).at(0); }, 3);
  }
}

TEST_CASE("uniform lies between 0 and 1 and is uniform", "[random][stat]") {
  script ones{{std::numeric_limits<std::uint64_t>::max()}}, zeros{{0}};
  CHECK(skim::uniform(ones) == 1 - 0x1p-53);
  CHECK(skim::uniform_float(ones) == 1 - 0x1p-24f);
  CHECK(skim::uniform(zeros) == 0);
  CHECK(skim::uniform_float(zeros) == 0);
  const auto identity = [](double x) { return x; };
  skim_test::check_distribution(draw(skim::uniform, 1'000'000, 20), identity);
  std::vector<double> floats(1'000'000);
  random_engine g(seed{21});
  for (double& x : floats) x = static_cast<double>(skim::uniform_float(g));
  skim_test::check_distribution(floats, identity);
  check_cells(floats, identity, 5000);
}

TEST_CASE("products of two words are exact", "[random][unit]") {
  using skim::detail::multiply_wide;
  constexpr std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
  CHECK(multiply_wide(max, max).high == max - 1);
  CHECK(multiply_wide(max, max).low == 1);
  CHECK(multiply_wide(0, max).high == 0);
  CHECK(multiply_wide(std::uint64_t{1} << 32, std::uint64_t{1} << 32).high == 1);
  CHECK(multiply_wide(std::uint64_t{1} << 32, std::uint64_t{1} << 32).low == 0);
  // (a 2^32 + b) (c 2^32 + d) for all halves at their limits: by addition of shifted terms.
  random_engine g(seed{22});
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t a = g() >> (g() % 64), b = g() >> (g() % 64);
    std::uint64_t high = 0, low = 0;
    for (unsigned k = 0; k < 64; ++k)
      if ((b >> k & 1u) != 0) {
        const std::uint64_t add = a << k;
        high += k == 0 ? 0 : a >> (64 - k);
        low += add;
        high += low < add ? 1 : 0;
      }
    CHECK(multiply_wide(a, b).high == high);
    CHECK(multiply_wide(a, b).low == low);
  }
}

TEST_CASE("uniform_below is exactly uniform", "[random][stat]") {
  random_engine g(seed{23});
  for (const std::size_t n : {1u, 2u, 3u, 5u, 6u, 7u, 10u, 255u, 256u, 1000u}) {
    INFO("n = " << n);
    std::vector<std::uint64_t> counts(n);
    for (std::size_t i = 0; i < 1000 * n; ++i) ++counts[skim::uniform_below(g, n)];
    if (n > 1) skim_test::check_chi_square(counts, std::vector<double>(n, 1.0));
    CHECK(counts[0] > 0);
  }
  SECTION("where a scaled word without rejection would be off by a factor of 2") {
    // 2^k words on 3/4 2^k values: unrejected, one value in three would get two words.
    for (const unsigned bits : {32u, 64u}) {
      const std::uint64_t n = std::uint64_t{3} << (bits - 2);
      std::array<std::uint64_t, 3> residues{};
      for (int i = 0; i < 300'000; ++i) {
        const std::uint64_t x = skim::uniform_below(g, n);
        REQUIRE(x < n);
        ++residues[x % 3];
      }
      skim_test::check_chi_square(residues, std::vector<double>(3, 1.0));
    }
  }
  SECTION("beyond 32 bits, upper and lower digits") {
    for (const std::uint64_t n :
         {(std::uint64_t{1} << 32) - 1, std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 1,
          std::uint64_t{1} << 33, std::uint64_t{1'000'000'007} * 1000, std::uint64_t{1} << 63,
          (std::uint64_t{1} << 63) + 1, std::numeric_limits<std::uint64_t>::max()}) {
      INFO("n = " << n);
      std::vector<std::uint64_t> slices(50), digits(7);
      std::vector<double> even_digits(7);
      for (std::size_t d = 0; d < 7; ++d) even_digits[d] = static_cast<double>((n - 1 - d) / 7 + 1);
      for (int i = 0; i < 100'000; ++i) {
        const std::uint64_t x = skim::uniform_below(g, n);
        REQUIRE(x < n);
        ++slices[std::min<std::size_t>(
            49, static_cast<std::size_t>(static_cast<double>(x) / static_cast<double>(n) * 50))];
        ++digits[x % 7];
      }
      skim_test::check_chi_square(slices, std::vector<double>(50, 1.0));
      skim_test::check_chi_square(digits, even_digits);
    }
  }
}

TEST_CASE("the ziggurats have layers of equal area", "[random][unit]") {
  const auto check = []<class Density>(Density) {
    constexpr auto& z = skim::detail::ziggurat<Density>;
    for (std::size_t i = 1; i < 256; ++i) {
      CHECK(z.edge[i] > z.edge[i + 1]);
      CHECK(z.height[i] < z.height[i + 1]);
      // The last layer closes the tower: its height of 1 is not computed from its area.
      CHECK_THAT((z.height[i + 1] - z.height[i]) * z.edge[i],
                 WithinRel(Density::area, i == 255 ? 1e-9 : 1e-12));
    }
    CHECK_THAT(z.edge[0] * z.height[1], WithinRel(Density::area, 1e-14));
  };
  check(skim::detail::half_normal_density{});
  check(skim::detail::exponential_density{});
  for (std::size_t i = 1; i < 256; ++i) {
    const auto& n = skim::detail::ziggurat<skim::detail::half_normal_density>;
    const auto& e = skim::detail::ziggurat<skim::detail::exponential_density>;
    CHECK_THAT(n.height[i], WithinRel(std::exp(-n.edge[i] * n.edge[i] / 2), 1e-13));
    CHECK_THAT(e.height[i], WithinRel(std::exp(-e.edge[i]), 1e-13));
  }
  // Base layer = rectangle up to the tail's beginning + the tail.
  using normal_density = skim::detail::half_normal_density;
  using exponential_density = skim::detail::exponential_density;
  const double tail = normal_density::tail;
  CHECK_THAT(tail * std::exp(-tail * tail / 2) +
                 std::sqrt(std::acos(-1.0) / 2) * std::erfc(tail / std::sqrt(2.0)),
             WithinRel(normal_density::area, 1e-12));
  CHECK_THAT((exponential_density::tail + 1) * std::exp(-exponential_density::tail),
             WithinRel(exponential_density::area, 1e-12));
}

TEST_CASE("normal draws are normal", "[random][stat]") {
  const std::vector<double> x = draw(skim::normal, 2'000'000, 30);
  skim_test::check_distribution(x, skim_test::normal_cdf);
  check_cells(x, skim_test::normal_cdf, 20'000);
  skim_test::check_mean(x, 0);
  skim_test::check_mean(powers(x, 2), 1);
  skim_test::check_mean(powers(x, 3), 0);
  skim_test::check_mean(powers(x, 4), 3);

  std::vector<double> products(x.size() - 1);
  for (std::size_t i = 0; i + 1 < x.size(); ++i) products[i] = x[i] * x[i + 1];
  skim_test::check_mean(products, 0);
}

TEST_CASE("exponential draws are exponential", "[random][stat]") {
  const std::vector<double> x = draw(skim::exponential, 2'000'000, 31);
  CHECK(*std::min_element(x.begin(), x.end()) >= 0);
  skim_test::check_distribution(x, exponential_cdf);
  check_cells(x, exponential_cdf, 20'000);
  skim_test::check_mean(x, 1);
  skim_test::check_mean(powers(x, 2), 2);
}

TEST_CASE("draws beyond the base layers have the right probability and shape", "[random][stat]") {
  constexpr std::uint64_t n = 8'000'000;
  random_engine g(seed{32});
  SECTION("normal") {
    const double tail = skim::detail::half_normal_density::tail,
                 p = std::erfc(tail / std::sqrt(2.0));
    std::vector<double> beyond;
    std::uint64_t negative = 0;
    for (std::uint64_t i = 0; i < n; ++i)
      if (const double x = skim::normal(g); std::abs(x) > tail) {
        beyond.push_back(std::abs(x));
        negative += x < 0;
      }
    skim_test::check_proportion(beyond.size(), n, p);
    skim_test::check_proportion(negative, beyond.size(), 0.5);
    skim_test::check_distribution(beyond,
                                  [&](double x) { return 1 - std::erfc(x / std::sqrt(2.0)) / p; });
  }
  SECTION("exponential") {
    const double tail = skim::detail::exponential_density::tail;
    std::vector<double> beyond;
    std::uint64_t twice = 0;
    for (std::uint64_t i = 0; i < n; ++i)
      if (const double x = skim::exponential(g); x > tail) {
        beyond.push_back(x - tail);
        twice += x > 2 * tail;
      }
    skim_test::check_proportion(beyond.size(), n, std::exp(-tail));
    skim_test::check_proportion(twice, n, std::exp(-2 * tail));
    skim_test::check_distribution(beyond, exponential_cdf);
  }
}

TEST_CASE("a shuffle gives every order alike", "[random][stat]") {
  random_engine g(seed{40});
  std::vector<std::uint64_t> counts(120);
  for (int i = 0; i < 120 * 500; ++i) {
    std::array<int, 5> a{0, 1, 2, 3, 4};
    skim::shuffle(std::span<int>(a), g);
    std::size_t rank = 0;  // Lehmer code
    for (std::size_t k = 0; k < 5; ++k) {
      std::size_t smaller = 0;
      for (std::size_t j = k + 1; j < 5; ++j) smaller += a[j] < a[k] ? 1u : 0u;
      rank = rank * (5 - k) + smaller;
    }
    ++counts[rank];
  }
  skim_test::check_chi_square(counts, std::vector<double>(120, 1.0));

  std::vector<int> none, one{7};
  skim::shuffle(std::span<int>(none), g);
  skim::shuffle(std::span<int>(one), g);
  CHECK(one == std::vector<int>{7});
}
