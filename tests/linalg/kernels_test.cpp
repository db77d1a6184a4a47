// SPDX-License-Identifier: Apache-2.0
//
// Vector kernels against scalar references in double, over lengths around the register width and over
// misaligned starts; and that what must be equal to the last bit is.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/random.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/gemm.hpp"
#include "skim/linalg/hadamard.hpp"
#include "skim/linalg/hamming.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/linalg/sparse.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using portable = skim::simd::portable_arch;
using native = skim::simd::default_arch;

std::vector<std::size_t> lengths() {
  std::vector<std::size_t> n;
  for (std::size_t i = 0; i <= 70; ++i) n.push_back(i);
  for (const std::size_t i : {127u, 128u, 129u, 1000u, 4099u}) n.push_back(i);
  return n;
}

// Each term of a float sum of n terms, in whatever order, is rounded at most n + 2 times.
double rounding(std::size_t n, double sum_of_magnitudes) {
  return static_cast<double>(n + 2) * 0x1p-24 * sum_of_magnitudes;
}

template <class Arch>
std::vector<float> projected(skim::matrix_view<const float> x, const skim::panel_matrix& w) {
  std::vector<float> out(x.rows() * w.outputs());
  skim::project<skim::store_epilogue, Arch>(
      x, w, skim::store_epilogue{out.data(), w.outputs(), w.outputs()});
  return out;
}

skim::panel_matrix random_panels(std::size_t outputs, std::size_t dim, skim::seed s) {
  skim::panel_matrix w(outputs, dim);
  skim::random_engine g(s);
  for (std::size_t o = 0; o < outputs; ++o)
    for (std::size_t k = 0; k < dim; ++k) w(o, k) = static_cast<float>(skim::normal(g));
  return w;
}

}  // namespace

TEMPLATE_TEST_CASE("packs do lane by lane what floats do", "[unit]", portable, native) {
  using pack = skim::simd::floats<TestType>;
  constexpr std::size_t n = pack::size;
  std::array<float, n> a{}, b{}, c{}, out{};
  for (std::size_t i = 0; i < n; ++i) {
    a[i] = static_cast<float>(i) - 1.5f;
    b[i] = 0.1f * static_cast<float>(i * i);
    c[i] = 1.0f / static_cast<float>(i + 1);
  }
  const auto pa = pack::load(a.data()), pb = pack::load(b.data()), pc = pack::load(c.data());
  skim::simd::fma(pa, pb, pc).store(out.data());
  for (std::size_t i = 0; i < n; ++i)
    CHECK(out[i] ==
          (skim::simd::fuses_fma<TestType>() ? std::fma(a[i], b[i], c[i]) : a[i] * b[i] + c[i]));
  (pa - pb).store(out.data());
  for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == a[i] - b[i]);
  skim::simd::swap_lanes<1>(pa).store(out.data());
  for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == a[i ^ 1]);
  skim::simd::swap_lanes<n / 2>(pa).store(out.data());
  for (std::size_t i = 0; i < n; ++i) CHECK(out[i] == a[i ^ (n / 2)]);
  std::uint32_t expected = 0;
  for (std::size_t i = 0; i < n; ++i) expected |= std::uint32_t{a[i] > b[i]} << i;
  CHECK(skim::simd::greater_bits(pa, pb) == expected);
  const auto nan = pack::broadcast(std::numeric_limits<float>::quiet_NaN());
  CHECK(skim::simd::greater_bits(nan, pb) == 0);
  CHECK(skim::simd::greater_bits(pb, nan) == 0);
  float sum = 0;
  for (const float v : a) sum += v;
  CHECK(skim::simd::reduce_add(pa) == sum);  // halves of small integers: exact in any order
}

TEMPLATE_TEST_CASE("dot, distance, norm and axpy match a double reference", "[unit]", portable,
                   native) {
  const auto source = skim_test::gaussian_points(2, 4200, skim::seed{1});
  for (const std::size_t n : lengths()) {
    for (const std::size_t offset : {0u, 1u, 5u}) {
      const auto a = source.row(0).subspan(offset, n), b = source.row(1).subspan(3 - offset % 3, n);
      double exact = 0, magnitude = 0, square = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double p = static_cast<double>(a[i]) * static_cast<double>(b[i]);
        const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
        exact += p;
        magnitude += std::abs(p);
        square += d * d;
      }
      REQUIRE(std::abs(static_cast<double>(skim::dot<TestType>(a, b)) - exact) <=
              rounding(n, magnitude));
      // A difference is rounded too, and counts twice in its square.
      REQUIRE(std::abs(static_cast<double>(skim::squared_distance<TestType>(a, b)) - square) <=
              rounding(n + 2, square));
      REQUIRE(skim::norm<TestType>(a) == std::sqrt(skim::dot<TestType>(a, a)));
      std::vector<float> y(b.begin(), b.end());
      skim::axpy<TestType>(0.37f, a, y);
      for (std::size_t i = 0; i < n; ++i)
        REQUIRE(y[i] == (skim::simd::fuses_fma<TestType>() ? std::fma(0.37f, a[i], b[i])
                                                           : 0.37f * a[i] + b[i]));
    }
  }
}

TEST_CASE("all_finite sees each non-finite value wherever it stands", "[unit]") {
  for (const std::size_t n : lengths()) {
    if (n > 200) continue;
    std::vector<float> x(n, std::numeric_limits<float>::max());
    for (std::size_t i = 0; i < n; i += 3) x[i] = -0.0f;
    for (std::size_t i = 1; i < n; i += 3) x[i] = std::numeric_limits<float>::denorm_min();
    REQUIRE(skim::all_finite(std::span<const float>(x)));
    REQUIRE(skim::first_non_finite(x) == n);
    for (std::size_t i = 0; i < n; ++i) {
      for (const float bad :
           {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
            std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
        const float kept = x[i];
        x[i] = bad;
        REQUIRE_FALSE(skim::all_finite(std::span<const float>(x)));
        REQUIRE(skim::first_non_finite(x) == i);
        x[i] = kept;
      }
    }
  }
}

TEST_CASE("sparse products match dense ones", "[unit]") {
  const auto x = skim_test::sparse_gaussian_points(12, 50, 11, skim::seed{2});
  const auto y = skim_test::gaussian_points(1, 50, skim::seed{3});
  for (std::size_t i = 0; i < 12; ++i) {
    std::vector<float> dense(50, 0.0f);
    skim::scatter_add(1.0f, x.row(i), dense);
    for (std::size_t j = 0; j < 11; ++j) REQUIRE(dense[x.row(i).indices[j]] == x.row(i).values[j]);
    double magnitude = 0;
    for (std::size_t k = 0; k < 50; ++k)
      magnitude += std::abs(static_cast<double>(dense[k]) * static_cast<double>(y.row(0)[k]));
    REQUIRE(std::abs(static_cast<double>(skim::dot(x.row(i), y.row(0))) -
                     skim_test::dot(dense, y.row(0))) <= rounding(11, magnitude));
    std::vector<float> other(50, 0.0f);
    skim::scatter_add(1.0f, x.row((i + 1) % 12), other);
    REQUIRE(std::abs(static_cast<double>(skim::dot(x.row(i), x.row((i + 1) % 12))) -
                     skim_test::dot(dense, other)) <=
            rounding(11, skim_test::norm(dense) * skim_test::norm(other)));
    REQUIRE_THAT(static_cast<double>(skim::squared_norm(x.row(i))),
                 Catch::Matchers::WithinRel(skim_test::dot(dense, dense), 13 * 0x1p-24));
  }
}

TEST_CASE("Hamming distance counts differing bits", "[unit]") {
  skim::random_engine g(skim::seed{1});
  for (std::size_t n = 0; n < 9; ++n) {
    std::vector<std::uint64_t> a(n), b(n);
    std::size_t expected = 0;
    for (std::size_t i = 0; i < n; ++i) {
      a[i] = g();
      b[i] = g();
      for (std::size_t bit = 0; bit < 64; ++bit) expected += (a[i] >> bit & 1) != (b[i] >> bit & 1);
    }
    CHECK(skim::hamming_distance(a, b) == expected);
  }
}

TEST_CASE("the Hadamard transform has the signs of its matrix", "[unit]") {
  for (std::size_t n = 1; n <= 16384; n *= 2) {
    // Column j of H is the transform of a unit vector; entry (i, j) is the parity of i & j.
    for (const std::size_t j : {std::size_t{0}, n / 3, n - 1}) {
      skim::aligned_vector<float> x(n, 0.0f);
      x[j] = 1;
      skim::hadamard_transform(std::span<float>(x));
      for (std::size_t i = 0; i < n; ++i)
        REQUIRE(x[i] == (std::popcount(i & j) % 2 == 1 ? -1.0f : 1.0f));
    }
  }
}

TEMPLATE_TEST_CASE("the Hadamard transform is the same to the last bit everywhere", "[unit]",
                   portable, native) {
  for (std::size_t n = 1; n <= 32768; n *= 2) {
    const auto source = skim_test::gaussian_points(1, n, skim::seed{n});
    std::vector<float> x(source.row(0).begin(), source.row(0).end()), signs(n);
    skim::random_engine g(skim::seed{5});
    for (float& s : signs) s = (g() & 1) != 0 ? -1.0f : 1.0f;
    std::vector<float> reference = x, flipped = x;
    for (std::size_t i = 0; i < n; ++i) flipped[i] *= signs[i];
    const auto scalar = [n](std::vector<float>& v) {
      for (std::size_t h = 1; h < n; h *= 2)
        for (std::size_t i = 0; i < n; ++i)
          if ((i & h) == 0) {
            const float a = v[i], b = v[i + h];
            v[i] = a + b;
            v[i + h] = a - b;
          }
    };
    scalar(reference);
    scalar(flipped);
    std::vector<float> plain = x;
    skim::hadamard_transform<TestType>(std::span<float>(plain));
    skim::hadamard_transform<TestType>(std::span<float>(x), std::span<const float>(signs));
    REQUIRE(plain == reference);
    REQUIRE(x == flipped);
  }
}

TEMPLATE_TEST_CASE("Hadamard transforms of columns are those of rows", "[unit]", portable, native) {
  using pack = skim::simd::floats<TestType>;
  for (std::size_t n = 64; n <= 32768; n *= 2) {
    const auto columns = skim_test::gaussian_points(n, 8, skim::seed{n});
    std::vector<float> scratch(8 * n), result(8 * n), row(n);
    skim::detail::hadamard_columns<TestType>(
        scratch.data(), n,
        [&](std::size_t k, std::size_t lane) {
          return pack::load(columns.row(k).data() + lane);  // rows are adjacent
        },
        [&](std::size_t k, std::size_t lane, pack v) { v.store(result.data() + 8 * k + lane); });
    for (std::size_t lane = 0; lane < 8; ++lane) {
      for (std::size_t k = 0; k < n; ++k) row[k] = columns.row(k)[lane];
      skim::hadamard_transform<TestType>(std::span<float>(row));
      for (std::size_t k = 0; k < n; ++k) REQUIRE(result[8 * k + lane] == row[k]);
    }
  }
}

TEMPLATE_TEST_CASE("packs repeat values, 8 x 8 floats and 16 x 8 bits are transposed", "[unit]",
                   portable, native) {
  using pack = skim::simd::floats<TestType>;
  const auto x = skim_test::gaussian_points(8, 9, skim::seed{1});
  std::array<float, 64> lanes{};
  skim::simd::repeat<8, TestType>(x.row(0).data()).store(lanes.data());
  for (std::size_t i = 0; i < pack::size; ++i) CHECK(lanes[i] == x.row(0)[i / 8]);
  std::array<const float*, 8> rows;
  for (std::size_t i = 0; i < 8; ++i) rows[i] = x.row(i).data() + 1;
  skim::simd::transpose_8x8<TestType>(rows, lanes.data());
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t k = 0; k < 8; ++k) CHECK(lanes[8 * k + i] == x.row(i)[k + 1]);
  std::array<std::uint8_t, 16> bytes;
  skim::random_engine g(skim::seed{2});
  for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(g());
  const auto words = skim::simd::transpose_bits(bytes.data());
  for (std::size_t l = 0; l < 8; ++l)
    for (std::size_t k = 0; k < 16; ++k) CHECK((words[l] >> k & 1) == (bytes[k] >> l & 1));
}

TEMPLATE_TEST_CASE("each projection is one chain of FMAs, in any batch", "[unit]", portable,
                   native) {
  for (const std::size_t d : {0u, 1u, 2u, 3u, 17u, 128u, 1537u, 4100u}) {
    for (const std::size_t outputs : {1u, 15u, 16u, 17u, 64u, 100u}) {
      if (d > 200 && outputs > 17) continue;
      const auto w = random_panels(outputs, d, skim::seed{d + outputs});
      const std::size_t most = d > 200 ? 60 : 300;
      const auto x = skim_test::gaussian_points(most, d, skim::seed{7});
      std::vector<float> expected(most * outputs);
      for (std::size_t i = 0; i < most; ++i)
        for (std::size_t o = 0; o < outputs; ++o) {
          float sum = 0;
          for (std::size_t k = 0; k < d; ++k)
            sum = skim::simd::fuses_fma<TestType>() ? std::fma(x.row(i)[k], w(o, k), sum)
                                                    : x.row(i)[k] * w(o, k) + sum;
          expected[i * outputs + o] = sum;
        }
      for (const std::size_t n : {0u, 1u, 2u, 3u, 5u, 6u, 7u, 13u, 50u, 300u}) {
        if (n > most) continue;
        const auto out = projected<TestType>(x.view().rows(0, n), w);
        REQUIRE(std::equal(out.begin(), out.end(), expected.begin()));
      }
    }
  }
}

TEMPLATE_TEST_CASE("sign and threshold epilogues compare what is stored", "[unit]", portable,
                   native) {
  const auto w = random_panels(40, 33, skim::seed{1});
  const auto x = skim_test::gaussian_points(29, 33, skim::seed{2});
  const auto values = projected<TestType>(x.view(), w);
  std::vector<float> thresholds(48, std::numeric_limits<float>::max());
  for (std::size_t o = 0; o < 40; ++o) thresholds[o] = values[o];  // equality is not above
  std::vector<std::uint16_t> positive(29 * 5, 0xffff), above(29 * 5, 0xffff);
  skim::project<skim::sign_epilogue, TestType>(x.view(), w,
                                               skim::sign_epilogue{positive.data(), 5});
  skim::project<skim::threshold_epilogue, TestType>(
      x.view(), w, skim::threshold_epilogue{above.data(), 5, thresholds.data()});
  for (std::size_t i = 0; i < 29; ++i) {
    for (std::size_t o = 0; o < 48; ++o) {
      const float v = o < 40 ? values[i * 40 + o] : 0.0f;
      REQUIRE((positive[i * 5 + o / 16] >> (o % 16) & 1) == (v > 0));
      REQUIRE((above[i * 5 + o / 16] >> (o % 16) & 1) == (v > thresholds[o]));
    }
    REQUIRE(positive[i * 5 + 3] == 0xffff);  // beyond the last panel: untouched
  }
}

TEST_CASE("products through Eigen match a double reference", "[unit]") {
  const auto a = skim_test::gaussian_points(7, 20, skim::seed{1});
  const auto b = skim_test::gaussian_points(5, 20, skim::seed{2});
  std::vector<float> c(7 * 8, -1.0f), square(7 * 20);
  skim::multiply_transposed(a.view(), b.view(), skim::matrix_view<float>(c.data(), 7, 5, 8));
  for (std::size_t i = 0; i < 7; ++i)
    for (std::size_t j = 0; j < 8; ++j) {
      if (j < 5) {
        REQUIRE(std::abs(static_cast<double>(c[i * 8 + j]) - skim_test::dot(a.row(i), b.row(j))) <=
                rounding(20, skim_test::norm(a.row(i)) * skim_test::norm(b.row(j))));
      } else {
        REQUIRE(c[i * 8 + j] == -1.0f);
      }
    }
  skim::multiply(skim::matrix_view<const float>(c.data(), 7, 5, 8), b.view(),
                 skim::matrix_view<float>(square.data(), 7, 20));
  double expected = 0, magnitude = 0;
  for (std::size_t j = 0; j < 5; ++j) {
    const double p = static_cast<double>(c[8 + j]) * static_cast<double>(b.row(j)[3]);
    expected += p;
    magnitude += std::abs(p);
  }
  CHECK(std::abs(static_cast<double>(square[20 + 3]) - expected) <= rounding(5, magnitude));
}

TEST_CASE("views and Eigen matrices share their memory", "[unit]") {
  skim::row_matrix m(3, 4);
  m.setRandom();
  const skim::matrix_view<float> view = m;
  CHECK(skim::as_eigen(view).data() == m.data());
  CHECK(skim::as_eigen(view) == m);
  const skim::matrix_view<const float> block = m.block(1, 1, 2, 2);
  CHECK(block.stride() == 4);
  CHECK(skim::as_eigen(block) == m.block(1, 1, 2, 2));
  CHECK(skim::as_eigen(view.row(2)) == m.row(2));
}
