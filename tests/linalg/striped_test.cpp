// SPDX-License-Identifier: Apache-2.0
//
// Kernels of the firing detectors: products that are the same alone and in a matrix, bytes, and
// positive definite systems.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/linalg/bytes.hpp"
#include "skim/linalg/cholesky.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/striped_dot.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using portable = skim::simd::portable_arch;
using native = skim::simd::default_arch;

struct keep_striped {
  static constexpr bool striped = true;
  float* out;
  std::size_t outputs;

  template <class Arch>
  void operator()(std::size_t row, std::size_t panel,
                  const skim::panel_result<Arch>& r) const noexcept {
    skim::store_epilogue{out, outputs, outputs}.operator()<Arch>(row, panel, r);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a striped product is the same alone and in a matrix", "[unit]", portable,
                   native) {
  for (const std::size_t d :
       {1u, 2u, 3u, 7u, 8u, 9u, 15u, 16u, 17u, 24u, 31u, 64u, 75u, 200u, 1100u}) {
    for (const std::size_t rows : {1u, 2u, 5u, 6u, 7u, 13u}) {
      const auto a = skim_test::gaussian_points(rows, d, skim::seed{d});
      const auto b = skim_test::gaussian_points(33, d, skim::seed{d + 1});
      skim::panel_matrix panels(b.size(), d);
      for (std::size_t o = 0; o < b.size(); ++o)
        for (std::size_t k = 0; k < d; ++k) panels(o, skim::striped_position(k, d)) = b.row(o)[k];
      std::vector<float> whole(rows * b.size());
      skim::project<keep_striped, TestType>(a.view(), panels, {whole.data(), b.size()});
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t o = 0; o < b.size(); ++o) {
          const float alone = skim::striped_dot<TestType>(a.row(r), b.row(o));
          REQUIRE(std::bit_cast<std::uint32_t>(alone) ==
                  std::bit_cast<std::uint32_t>(whole[r * b.size() + o]));
          if (skim::simd::fuses_fma<native>() == skim::simd::fuses_fma<TestType>())
            REQUIRE(alone == skim::striped_dot<native>(a.row(r), b.row(o)));
          const double exact = skim_test::dot(a.row(r), b.row(o));
          REQUIRE(std::abs(static_cast<double>(alone) - exact) <=
                  skim::striped_error(d) * skim_test::norm(a.row(r)) * skim_test::norm(b.row(o)) +
                      skim::striped_underflow(d));
        }
    }
  }
}

TEST_CASE("a striped product has no negative zero and no room for padding", "[unit]") {
  for (const std::size_t d : {1u, 5u, 8u, 11u}) {
    const std::vector<float> tiny(d, 1e-40f), less(d, -1e-40f);
    CHECK(std::bit_cast<std::uint32_t>(skim::striped_dot(tiny, less)) == 0);
    CHECK(std::bit_cast<std::uint32_t>(skim::striped_dot<portable>(tiny, less)) == 0);
  }
}

TEMPLATE_TEST_CASE("bytes are compared 64 at a time", "[unit]", portable, native) {
  skim::random_engine g(skim::seed{1});
  std::array<std::uint8_t, 64> values{}, limits{};
  for (int round = 0; round < 200; ++round) {
    for (auto& v : values) v = static_cast<std::uint8_t>(skim::uniform_below(g, 256));
    for (auto& v : limits) v = static_cast<std::uint8_t>(skim::uniform_below(g, 256));
    const auto limit = limits[0];
    std::uint64_t one = 0, each = 0;
    for (std::size_t i = 0; i < 64; ++i) {
      one |= std::uint64_t{values[i] <= limit} << i;
      each |= std::uint64_t{values[i] <= limits[i]} << i;
    }
    REQUIRE(skim::at_most<TestType>(values.data(), limit) == one);
    REQUIRE(skim::at_most<TestType>(values.data(), limits.data()) == each);
  }
}

TEST_CASE("bytes are transposed", "[unit]") {
  std::array<std::uint8_t, 256> from, to;
  for (std::size_t i = 0; i < 256; ++i) from[i] = static_cast<std::uint8_t>(i * 37 + i / 16);
  std::array<std::uint8_t*, 16> rows;
  for (std::size_t i = 0; i < 16; ++i) rows[i] = to.data() + 16 * ((i + 5) % 16);
  const auto check = [&] {
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t j = 0; j < 16; ++j) REQUIRE(rows[i][j] == from[16 * j + i]);
  };
  skim::transpose_bytes(from.data(), rows);
  check();
  to.fill(0);
  skim::transpose_bytes<skim::simd::portable_arch>(from.data(), rows);
  check();
}

TEST_CASE("bytes have a least and are lowered to zero", "[unit]") {
  skim::random_engine g(skim::seed{2});
  for (std::size_t n = 0; n < 100; ++n) {
    std::vector<std::uint8_t> values(n), by(n);
    for (auto& v : values) v = static_cast<std::uint8_t>(skim::uniform_below(g, 256));
    for (auto& v : by) v = static_cast<std::uint8_t>(skim::uniform_below(g, 256));
    std::uint8_t least = 255;
    for (const auto v : values) least = std::min(least, v);
    REQUIRE(skim::least_byte(values.data(), n) == least);
    REQUIRE(skim::least_byte<skim::simd::portable_arch>(values.data(), n) == least);
    auto one = values, each = values;
    skim::subtract_saturated(one.data(), std::uint8_t{77}, n);
    skim::subtract_saturated(each.data(), by.data(), n);
    for (std::size_t i = 0; i < n; ++i) {
      REQUIRE(one[i] == (values[i] > 77 ? values[i] - 77 : 0));
      REQUIRE(each[i] == (values[i] > by[i] ? values[i] - by[i] : 0));
    }
  }
}

TEST_CASE("a Cholesky factor solves, and tells what has none", "[unit]") {
  // Columns of a Hilbert-like matrix plus a diagonal.
  constexpr std::size_t n = 12;
  std::vector<double> tall(2 * n * n), a(n * n), x(n), b(n);
  for (std::size_t i = 0; i < 2 * n; ++i)
    for (std::size_t j = 0; j < n; ++j) tall[i * n + j] = 1.0 / static_cast<double>(i + j + 1);
  skim::multiply_columns({tall.data(), 2 * n, n}, {a.data(), n, n});
  double wanted = 0;
  for (std::size_t i = 0; i < 2 * n; ++i) wanted += tall[i * n + 2] * tall[i * n + 5];
  CHECK(std::abs(a[2 * n + 5] - wanted) < 1e-12);
  for (std::size_t i = 0; i < n; ++i) a[i * n + i] += 0.01;
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<double>(i) - 4;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) b[i] += a[i * n + j] * x[j];
  const skim::cholesky factor({a.data(), n, n});
  REQUIRE(factor.ok());
  CHECK(factor.size() == n);
  factor.solve(b);
  for (std::size_t i = 0; i < n; ++i) CHECK(std::abs(b[i] - x[i]) < 1e-9);
  a[0] = -1;
  CHECK_FALSE(skim::cholesky({a.data(), n, n}).ok());
}
