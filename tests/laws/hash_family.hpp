// SPDX-License-Identifier: Apache-2.0
//
// What every hash family owes its user, written once.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/family.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

namespace skim_test {

/// Codes of a batch, row-major.
template <skim::hash_family F>
std::vector<skim::code_t> codes_of(const F& family, skim::matrix_view<const float> x) {
  skim::workspace ws;
  std::vector<skim::code_t> codes(x.rows() * family.num_hashes(), 0xdeadbeefu);
  family.hash(x, codes, ws);
  return codes;
}

/// Codes of one point.
template <skim::hash_family F>
std::vector<skim::code_t> codes_of(const F& family, std::span<const float> x) {
  skim::workspace ws;
  std::vector<skim::code_t> codes(family.num_hashes(), 0xdeadbeefu);
  family.hash(x, codes, ws);
  return codes;
}

template <skim::hash_family F>
std::vector<std::byte> saved(const F& family) {
  skim::writer out;
  family.save(out);
  return {out.bytes().begin(), out.bytes().end()};
}

/// A Model has
///   family                                the type under test
///   static family make(dim, hashes, seed)  a family of these sizes
///   static points sample(n, dim, seed)     inputs whose codes differ, if standard normal ones do not do
///   static constexpr bool dependent       if hashes of one family depend on each other
template <class Model>
points sample_of(std::size_t n, std::size_t d, skim::seed s) {
  if constexpr (requires { Model::sample(n, d, s); }) {
    return Model::sample(n, d, s);
  } else {
    return gaussian_points(n, d, s);
  }
}

/// Checks kernel(x, y) against the collisions of `seeds` drawn families of 256 hashes; where the hashes of
/// one family depend on each other (Model::dependent), of one hash of each of many smaller ones.
template <class Model>
void check_kernel(std::span<const float> x, std::span<const float> y, std::size_t seeds = 40) {
  constexpr std::size_t hashes = 256;
  if constexpr (requires { Model::dependent; }) {
    const std::size_t trials = seeds * 100;
    std::uint64_t hits = 0;
    for (std::size_t s = 0; s < trials; ++s) {
      const auto family = Model::make(x.size(), 20, skim::seed{1000 + s});
      hits += codes_of(family, x)[s % 20] == codes_of(family, y)[s % 20];
    }
    return check_proportion(hits, trials, Model::make(x.size(), 20, skim::seed{1}).kernel(x, y));
  }
  std::uint64_t hits = 0, trials = 0;
  double p = 0;
  for (std::size_t s = 0; s < seeds; ++s) {
    const auto family = Model::make(x.size(), hashes, skim::seed{1000 + s});
    const auto a = codes_of(family, x), b = codes_of(family, y);
    for (std::size_t h = 0; h < hashes; ++h) hits += a[h] == b[h];
    trials += hashes;
    p = family.kernel(x, y);
    REQUIRE(p == family.kernel(y, x));
  }
  INFO("kernel " << p);
  check_proportion(hits, trials, p);
}

template <class Model>
void hash_family_laws() {
  using family_type = typename Model::family;
  static_assert(skim::hash_family<family_type>);

  SECTION("a batch has the codes of its rows, whatever its size, stride and order") {
    for (const std::size_t d : {1u, 2u, 7u, 16u, 33u, 128u, 1500u}) {
      const auto family = Model::make(d, 37, skim::seed{1});
      REQUIRE(family.dim() == d);
      REQUIRE(family.num_hashes() == 37);
      for (const std::size_t n : {0u, 1u, 2u, 5u, 6u, 7u, 8u, 9u, 13u, 16u, 64u, 301u}) {
        if (d > 128 && n > 64) continue;
        const points x = sample_of<Model>(n, d, skim::seed{d});
        const auto codes = codes_of(family, x.view());
        REQUIRE(codes.size() == n * 37);
        for (std::size_t i = 0; i < n; ++i) {
          const auto one = codes_of(family, x.row(i));
          REQUIRE(std::equal(one.begin(), one.end(), codes.begin() + static_cast<long>(37 * i)));
        }
        for (const skim::code_t c : codes) REQUIRE(c < family.range());

        // The same rows, wider apart and at another alignment, last first.
        std::vector<float> apart(n * (d + 3) + 1, std::numeric_limits<float>::quiet_NaN());
        for (std::size_t i = 0; i < n; ++i)
          std::copy(x.row(n - 1 - i).begin(), x.row(n - 1 - i).end(),
                    apart.begin() + static_cast<long>(i * (d + 3) + 1));
        const auto reversed =
            codes_of(family, skim::matrix_view<const float>(apart.data() + 1, n, d, d + 3));
        for (std::size_t i = 0; i < n; ++i)
          REQUIRE(std::equal(reversed.begin() + static_cast<long>(37 * i),
                             reversed.begin() + static_cast<long>(37 * (i + 1)),
                             codes.begin() + static_cast<long>(37 * (n - 1 - i))));
      }
    }
  }

  SECTION("equal seeds give equal codes and fingerprints, other seeds and sizes other ones") {
    const points x = sample_of<Model>(50, 24, skim::seed{3});
    const auto a = Model::make(24, 20, skim::seed{5});
    const auto b = Model::make(24, 20, skim::seed{5});
    const auto c = Model::make(24, 20, skim::seed{6});
    CHECK(a.fingerprint() == b.fingerprint());
    CHECK(codes_of(a, x.view()) == codes_of(b, x.view()));
    CHECK(a.fingerprint() != c.fingerprint());
    CHECK(codes_of(a, x.view()) != codes_of(c, x.view()));
    CHECK(a.fingerprint() != Model::make(25, 20, skim::seed{5}).fingerprint());
    CHECK(a.fingerprint() != Model::make(24, 21, skim::seed{5}).fingerprint());
    const family_type copy = a;
    CHECK(copy.fingerprint() == a.fingerprint());
    CHECK(codes_of(copy, x.view()) == codes_of(a, x.view()));
  }

  SECTION("a loaded family is the saved one") {
    for (const std::size_t d : {1u, 24u}) {
      const points x = sample_of<Model>(20, d, skim::seed{3});
      const auto family = Model::make(d, 20, skim::seed{5});
      const auto bytes = saved(family);
      skim::reader in(bytes);
      const auto loaded = family_type::load(in);
      CHECK(loaded.fingerprint() == family.fingerprint());
      CHECK(loaded.range() == family.range());
      CHECK(codes_of(loaded, x.view()) == codes_of(family, x.view()));
      CHECK(saved(loaded) == bytes);
    }
  }

  SECTION("damaged bytes are refused") {
    const auto bytes = saved(Model::make(9, 4, skim::seed{5}));
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      skim::reader in(std::span<const std::byte>(bytes).first(cut));
      REQUIRE_THROWS_AS(family_type::load(in), skim::format_error);
    }
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      auto damaged = bytes;
      damaged[at] ^= std::byte{0x10};
      skim::reader in(damaged);
      REQUIRE_THROWS_AS(family_type::load(in), skim::format_error);
    }
  }

  SECTION("bad input is refused with what was given and wanted, and writes nothing") {
    using Catch::Matchers::ContainsSubstring;
    const auto family = Model::make(19, 6, skim::seed{5});
    skim::workspace ws;
    const points x = sample_of<Model>(8, 19, skim::seed{3});
    std::vector<skim::code_t> codes(8 * 6, 77);
    const std::span<skim::code_t> one(codes.data(), 6);
    const auto untouched = [&] {
      return std::all_of(codes.begin(), codes.end(), [](skim::code_t c) { return c == 77; });
    };
    const auto refused = [&](auto&& call, const std::string& given, const std::string& wanted) {
      try {
        call();
        FAIL("not refused; expected a message with " << given << " and " << wanted);
      } catch (const skim::invalid_input& e) {
        CHECK_THAT(e.what(), ContainsSubstring(given) && ContainsSubstring(wanted));
      }
      CHECK(untouched());
    };
    refused([&] { family.hash(x.row(0).first(18), one, ws); }, "18", "19");
    refused([&] { family.hash(x.row(0).first(0), one, ws); }, "0", "19");
    refused([&] { family.hash(x.row(0), one.first(5), ws); }, "5", "6");
    refused([&] { family.hash(x.view(), std::span<skim::code_t>(codes).first(47), ws); }, "47",
            "48");
    refused(
        [&] { family.hash(skim::matrix_view<const float>(x.view().data(), 8, 18, 19), codes, ws); },
        "18", "19");
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
          -std::numeric_limits<float>::infinity()}) {
      for (std::size_t k = 0; k < 19; ++k) {
        points spoilt = x;
        spoilt.row(k % 8)[k] = bad;
        const std::string what =
            std::to_string(bad).find("nan") != std::string::npos ? "nan" : "inf";
        refused([&] { family.hash(spoilt.view(), codes, ws); }, what, "finite");
        refused([&] { family.hash(spoilt.row(k % 8), one, ws); }, what, "finite");
      }
    }
    family.hash(x.view(), codes, ws);
    CHECK_FALSE(untouched());
  }

  SECTION("zero vectors and extreme ones have codes, equal for equal points") {
    for (const std::size_t d : {1u, 5u, 64u, 100u}) {
      const auto family = Model::make(d, 10, skim::seed{2});
      points x(4, d);
      std::fill(x.row(1).begin(), x.row(1).end(), -0.0f);
      std::fill(x.row(2).begin(), x.row(2).end(), 1e-42f);
      std::fill(x.row(3).begin(), x.row(3).end(), std::numeric_limits<float>::max());
      const auto codes = codes_of(family, x.view());
      REQUIRE(std::equal(codes.begin(), codes.begin() + 10, codes.begin() + 10));
      for (const skim::code_t c : codes) REQUIRE(c < family.range());
    }
  }

  SECTION("a warm workspace does not grow") {
    const auto family = Model::make(70, 33, skim::seed{2});
    const points x = sample_of<Model>(300, 70, skim::seed{3});
    std::vector<skim::code_t> codes(300 * 33);
    skim::workspace ws;
    family.hash(x.view(), codes, ws);
    family.hash(x.view(), codes, ws);
    const std::size_t warm = ws.capacity();
    for (std::size_t n = 0; n <= 300; n += 7)
      family.hash(x.view().rows(0, n), std::span<skim::code_t>(codes).first(n * 33), ws);
    CHECK(ws.capacity() == warm);
  }

  if constexpr (skim::kernel_family<family_type>) {
    SECTION("the kernel is the probability that a hash collides") {
      for (const std::size_t d : {1u, 2u, 10u, 128u}) {
        const points x = sample_of<Model>(3, d, skim::seed{d + 40});
        points near = x;  // a point near x_0, between it and x_1
        for (std::size_t k = 0; k < d; ++k) near.row(0)[k] += 0.2f * x.row(1)[k];
        check_kernel<Model>(x.row(0), near.row(0));
        check_kernel<Model>(x.row(0), x.row(1));
        check_kernel<Model>(x.row(1), x.row(2));
        CHECK_THAT(Model::make(d, 1, skim::seed{1}).kernel(x.row(0), x.row(0)),
                   Catch::Matchers::WithinAbs(1.0, 1e-12));
      }
    }
    SECTION("the kernel refuses what hash refuses") {
      const auto family = Model::make(4, 2, skim::seed{1});
      const points x = sample_of<Model>(1, 4, skim::seed{1});
      points bad = x;
      bad.row(0)[2] = std::numeric_limits<float>::quiet_NaN();
      CHECK_THROWS_AS(family.kernel(x.row(0).first(3), x.row(0)), skim::invalid_input);
      CHECK_THROWS_AS(family.kernel(x.row(0), x.row(0).first(3)), skim::invalid_input);
      CHECK_THROWS_AS(family.kernel(x.row(0), bad.row(0)), skim::invalid_input);
    }
  }

  if constexpr (skim::sparse_hash_family<family_type>) {
    SECTION("a sparse point has the codes of the dense one") {
      for (const std::size_t d : {1u, 20u, 130u}) {
        for (const std::size_t nonzeros : {0u, 1u, 3u, 20u}) {
          if (nonzeros > d) continue;
          const auto family = Model::make(d, 70, skim::seed{8});
          const auto x = sparse_gaussian_points(9, d, nonzeros, skim::seed{nonzeros});
          std::vector<skim::code_t> codes(9 * 70), row(70);
          skim::workspace ws;
          family.hash(x.view(), codes, ws);
          for (std::size_t i = 0; i < 9; ++i) {
            std::vector<float> dense(d, 0.0f);
            for (std::size_t j = 0; j < nonzeros; ++j)
              dense[x.row(i).indices[j]] = x.row(i).values[j];
            family.hash(x.row(i), row, ws);
            REQUIRE(row == codes_of(family, std::span<const float>(dense)));
            REQUIRE(std::equal(row.begin(), row.end(), codes.begin() + static_cast<long>(70 * i)));
          }
        }
      }
    }
    SECTION("bad sparse points are refused") {
      const auto family = Model::make(6, 3, skim::seed{8});
      skim::workspace ws;
      std::vector<skim::code_t> codes(3);
      const auto hash = [&](std::vector<skim::id_t> indices, std::vector<float> values) {
        family.hash(skim::sparse_row{indices, values}, codes, ws);
      };
      CHECK_THROWS_AS(hash({1, 6}, {1, 1}), skim::invalid_input);
      CHECK_THROWS_AS(hash({2, 1}, {1, 1}), skim::invalid_input);
      CHECK_THROWS_AS(hash({2, 2}, {1, 1}), skim::invalid_input);
      CHECK_THROWS_AS(hash({1, 2}, {1}), skim::invalid_input);
      CHECK_THROWS_AS(hash({1}, {std::numeric_limits<float>::quiet_NaN()}), skim::invalid_input);
      const std::vector<std::size_t> offsets{0, 1};
      const std::vector<skim::id_t> index{3};
      const std::vector<float> value{1};
      CHECK_THROWS_AS(family.hash(skim::sparse_view(offsets, index, value, 7), codes, ws),
                      skim::invalid_input);
      CHECK_THROWS_AS(family.hash(skim::sparse_view(offsets, index, value, 6),
                                  std::span<skim::code_t>(codes).first(2), ws),
                      skim::invalid_input);
      CHECK_NOTHROW(hash({0, 5}, {1, 1}));
    }
  }
}

}  // namespace skim_test
