// SPDX-License-Identifier: Apache-2.0
#include "skim/hash/sign_projection.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "laws/hash_family.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::ContainsSubstring;
using skim_test::codes_of;

// Unused members must compile too.
template class skim::detail::basic_sign_projection<skim::detail::dense_projection>;

namespace {

template <std::size_t Bits>
struct dense {
  using family = skim::dense_sign_projection;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family({.dim = d, .bits = Bits, .hashes = hashes}, s);
  }
};

template <std::size_t Bits>
struct sparse {
  using family = skim::sparse_sign_projection;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family({.dim = d, .bits = Bits, .hashes = hashes}, s);
  }
};

template <std::size_t Bits, std::size_t Rounds>
struct hadamard {
  using family = skim::hadamard_sign_projection;
  static family make(std::size_t d, std::size_t hashes, skim::seed s) {
    return family({.dim = d, .bits = Bits, .hashes = hashes, .rounds = Rounds}, s);
  }
};

// Pairs at the given angle in a uniform random direction, each hashed by a family of its own with one
// single-bit hash out of `outputs` (position `at`).
template <class Model>
std::uint64_t collisions(std::size_t d, double theta, std::size_t trials) {
  std::uint64_t hits = 0;
  for (std::size_t t = 0; t < trials; ++t) {
    const auto pair = skim_test::pair_at_angle(d, theta, skim::seed{t});
    const auto family = Model::make(d, 70, skim::seed{t + 1'000'000});
    hits += codes_of(family, pair.row(0))[t % 70] == codes_of(family, pair.row(1))[t % 70];
  }
  return hits;
}

// Signs of one input under many families, as +-1: samples[t][j] is sign j under seed t.
template <class Model>
std::vector<std::vector<double>> signs_over_seeds(std::span<const float> x, std::size_t outputs,
                                                  std::size_t seeds) {
  std::vector<std::vector<double>> samples;
  for (std::size_t s = 0; s < seeds; ++s) {
    const auto codes = codes_of(Model::make(x.size(), outputs, skim::seed{s + 77}), x);
    samples.emplace_back();
    for (const skim::code_t c : codes) samples.back().push_back(c == 1 ? 1.0 : -1.0);
  }
  return samples;
}

// Mean over all pairs of outputs of the squared correlation of their signs, times the seeds: 1 on
// average where signs are independent. Returns the largest correlation too, in standard errors.
struct correlation_summary {
  double mean_square, largest;
};

correlation_summary pairwise(const std::vector<std::vector<double>>& samples) {
  const std::size_t outputs = samples[0].size();
  const double n = static_cast<double>(samples.size());
  double sum = 0, largest = 0;
  std::size_t pairs = 0;
  for (std::size_t i = 0; i < outputs; ++i)
    for (std::size_t j = i + 1; j < outputs; ++j, ++pairs) {
      double c = 0;
      for (const auto& s : samples) c += s[i] * s[j];
      const double z = c / std::sqrt(n);
      sum += z * z;
      largest = std::max(largest, std::abs(z));
    }
  return {sum / static_cast<double>(pairs), largest};
}

}  // namespace

TEMPLATE_TEST_CASE("sign projections keep the laws of hash families", "[law]", dense<1>, dense<6>,
                   dense<8>, dense<32>, sparse<1>, sparse<7>, (hadamard<1, 3>), (hadamard<5, 2>),
                   (hadamard<16, 1>)) {
  skim_test::hash_family_laws<TestType>();
}

TEST_CASE("sign projections refuse sizes that make no family", "[unit]") {
  const auto message = [](auto make) -> std::string {
    try {
      make();
    } catch (const skim::invalid_params& e) {
      return e.what();
    }
    return "not refused";
  };
  using dense_type = skim::sign_projection;
  CHECK_THAT(message([] { dense_type({.dim = 0}); }),
             ContainsSubstring("got 0 dimensions, wanted 1"));
  CHECK_THAT(message([] { dense_type({.dim = 4, .bits = 0}); }),
             ContainsSubstring("got 0 bits to a code, wanted 1 to 32"));
  CHECK_THAT(message([] { dense_type({.dim = 4, .bits = 33}); }), ContainsSubstring("got 33 bits"));
  CHECK_THAT(message([] { dense_type({.dim = 4, .bits = 3, .hashes = 0}); }),
             ContainsSubstring("got 0 hashes"));
  CHECK_THAT(message([] { dense_type({.dim = 1 << 20, .bits = 32, .hashes = 1 << 20}); }),
             ContainsSubstring("wanted at most 2^30 random numbers"));
  CHECK_THAT(message([] { skim::sparse_sign_projection({.dim = 4, .density = 0.0}); }),
             ContainsSubstring("got a density of 0, wanted (0, 1]"));
  CHECK_THAT(message([] { skim::sparse_sign_projection({.dim = 4, .density = std::nan("")}); }),
             ContainsSubstring("wanted (0, 1]"));
  CHECK_THAT(message([] { skim::hadamard_sign_projection({.dim = 4, .rounds = 4}); }),
             ContainsSubstring("got 4 rounds, wanted 1 to 3"));
}

TEST_CASE("a family whose saved sizes are impossible is a format error", "[unit]") {
  skim::writer out;
  out.begin_frame("sign_projection");
  for (const std::uint64_t v : {std::uint64_t{1} << 60, std::uint64_t{32}, std::uint64_t{1} << 60,
                                std::uint64_t{0}, std::uint64_t{1}})
    out.put(v);
  out.end_frame();
  skim::reader in(out.bytes());
  CHECK_THROWS_AS(skim::sign_projection::load(in), skim::format_error);
}

TEST_CASE("the angular kernel at its ends", "[unit]") {
  const skim::sign_projection family({.dim = 3, .bits = 2, .hashes = 50}, skim::seed{1});
  const std::vector<float> x{1, 2, -3}, twice{2, 4, -6}, opposite{-1, -2, 3}, zero{0, 0, 0};
  CHECK_THAT(family.kernel(x, twice), Catch::Matchers::WithinAbs(1, 1e-12));
  CHECK_THAT(family.kernel(x, opposite), Catch::Matchers::WithinAbs(0, 1e-12));
  CHECK(family.kernel(zero, zero) == 1.0);
  CHECK(family.kernel(x, zero) == 0.25);
  CHECK(codes_of(family, std::span<const float>(x)) ==
        codes_of(family, std::span<const float>(twice)));
  skim_test::check_kernel<dense<2>>(x, zero);
  const std::vector<float> right{2, -1, 0};
  CHECK_THAT(family.kernel(x, right), Catch::Matchers::WithinAbs(0.25, 1e-12));
}

TEST_CASE("angles near 0 and pi keep their relative precision", "[unit]") {
  const std::vector<float> x{1, 0}, y{1, 1e-6f}, z{-1, 1e-6f};
  CHECK_THAT(skim::detail::angle_between(x, y), Catch::Matchers::WithinRel(1e-6, 1e-6));
  CHECK_THAT(std::numbers::pi - skim::detail::angle_between(x, z),
             Catch::Matchers::WithinRel(1e-6, 1e-6));
}

TEST_CASE("sparse and Hadamard signs collide as Gaussian ones on pairs of uniform direction",
          "[stat]") {
  // A pair whose direction is uniform sees any fixed nonzero projection as a Gaussian one, so one sign
  // collides with probability 1 - angle / pi exactly.
  for (const double theta : {0.3, 1.2, 2.5}) {
    const double p = 1.0 - theta / std::numbers::pi;
    skim_test::check_proportion(collisions<sparse<1>>(40, theta, 4000), 4000, p);
    skim_test::check_proportion(collisions<hadamard<1, 1>>(40, theta, 4000), 4000, p);
    skim_test::check_proportion(collisions<hadamard<1, 3>>(40, theta, 4000), 4000, p);
    skim_test::check_proportion(collisions<hadamard<1, 3>>(100, theta, 4000), 4000, p);
  }
}

TEST_CASE("sparse signs collide as enumeration says", "[stat]") {
  // Density 1 in four dimensions: all 16 sign patterns can be written down, on inputs that a Gaussian
  // limit describes badly.
  const std::vector<float> x{3, 1, 0.5f, 0.25f}, y{1, 3, -0.5f, 0.25f};
  int agree = 0;
  for (unsigned pattern = 0; pattern < 16; ++pattern) {
    float sx = 0, sy = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const float s = (pattern >> k & 1) != 0 ? -1.0f : 1.0f;
      sx += s * x[k];
      sy += s * y[k];
    }
    agree += (sx > 0) == (sy > 0);
  }
  std::uint64_t hits = 0;
  for (std::size_t s = 0; s < 40; ++s) {
    const skim::sparse_sign_projection family({.dim = 4, .bits = 1, .hashes = 250, .density = 1.0},
                                              skim::seed{s});
    const auto a = codes_of(family, std::span<const float>(x));
    const auto b = codes_of(family, std::span<const float>(y));
    for (std::size_t h = 0; h < 250; ++h) hits += a[h] == b[h];
  }
  skim_test::check_proportion(hits, 40 * 250, agree / 16.0);
}

TEST_CASE("each coordinate and sign is equally likely in a sparse sum", "[stat]") {
  // A unit vector has a positive sum iff its coordinate was taken with a plus: density / 2.
  const std::size_t d = 12;
  std::uint64_t trials = 0;
  std::vector<std::uint64_t> hits(d);
  for (std::size_t s = 0; s < 20; ++s) {
    const skim::sparse_sign_projection family(
        {.dim = d, .bits = 1, .hashes = 1000, .density = 0.25}, skim::seed{s});
    for (std::size_t k = 0; k < d; ++k) {
      std::vector<float> unit(d, 0.0f);
      unit[k] = 1;
      for (const skim::code_t c : codes_of(family, std::span<const float>(unit))) hits[k] += c;
    }
    trials += 1000;
  }
  for (const std::uint64_t h : hits) skim_test::check_proportion(h, trials, 0.125);
}

TEST_CASE("signs of one rotation are independent", "[stat]") {
  // 200 outputs of d = 100 come from two rotations of width 128. Over `seeds` families each of the 19900
  // correlations is a mean of `seeds` products of independent signs: its square, in squared standard
  // errors, is 1 on average, and the largest stays below the normal limit at 1e-6 / 19900.
  constexpr std::size_t seeds = 2000, outputs = 200, d = 100;
  const double limit = skim_test::z_limit(1e-6 / (outputs * (outputs - 1) / 2.0));
  std::vector<float> input(d);
  const auto check = [&](const char* what, auto model) {
    INFO(what);
    const auto r = pairwise(signs_over_seeds<decltype(model)>(input, outputs, seeds));
    CHECK(r.largest < limit);
    // Under independence the squares are uncorrelated, with variance below 2: a z-test of the mean.
    const double spread = std::sqrt(2.0 / (outputs * (outputs - 1) / 2.0));
    CHECK(std::abs(r.mean_square - 1.0) < skim_test::z_limit(1e-6) * spread);
  };
  SECTION("a Gaussian input") {
    const auto x = skim_test::gaussian_points(1, d, skim::seed{4});
    std::copy(x.row(0).begin(), x.row(0).end(), input.begin());
    check("three rounds", hadamard<1, 3>{});
    check("two rounds", hadamard<1, 2>{});
  }
  SECTION("an image-like input: smooth, non-negative, half of it zero") {
    for (std::size_t k = 0; k < d; ++k)
      input[k] = std::max(0.0f, std::sin(0.13f * static_cast<float>(k)));
    check("three rounds", hadamard<1, 3>{});
    check("two rounds", hadamard<1, 2>{});
  }
  SECTION("three nonzeros of very different size") {
    input[3] = 1;
    input[40] = 0.1f;
    input[77] = -10;
    check("three rounds", hadamard<1, 3>{});
  }
}

TEST_CASE("one round leaves structure that two rounds remove", "[stat]") {
  // A single nonzero: after one round every output is +-x, its sign the product of one random sign with
  // an entry of H; all outputs of a rotation are known from one.
  std::vector<float> unit(64, 0.0f);
  unit[5] = 1;
  const auto one = pairwise(signs_over_seeds<hadamard<1, 1>>(unit, 64, 500));
  CHECK(one.mean_square > 499);
}
