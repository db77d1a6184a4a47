// SPDX-License-Identifier: Apache-2.0
//
// Products with gathered rows against a double reference, over shapes around the sizes of tiles and
// blocks; and that what an id gives does not depend on the others.
#include "skim/linalg/gathered.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/linalg/logistic.hpp"
#include "skim/linalg/simd.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using portable = skim::simd::portable_arch;
using native = skim::simd::default_arch;

std::vector<skim::id_t> some_ids(std::size_t count, std::size_t n, skim::seed s) {
  skim::random_engine g(s);
  std::vector<skim::id_t> ids(count);
  for (auto& id : ids) id = static_cast<skim::id_t>(skim::uniform_below(g, n));
  return ids;
}

struct shape {
  std::size_t batch, dim, ids;
};
const std::vector<shape> shapes{{1, 1, 1},   {3, 7, 5},     {6, 16, 16},   {7, 17, 33},
                                {5, 8, 127}, {13, 24, 128}, {2, 130, 129}, {19, 40, 300}};

void check_sum(float found, double expected, double magnitude, std::size_t terms) {
  REQUIRE(std::abs(static_cast<double>(found) - expected) <=
          static_cast<double>(terms + 2) * 0x1p-24 * magnitude + 1e-30);
}

}  // namespace

TEMPLATE_TEST_CASE("gathered products match a double reference", "[unit]", portable, native) {
  skim::gathered_scratch scratch;
  for (const auto& [batch, dim, count] : shapes) {
    const std::size_t n = 500;
    const auto w = skim_test::gaussian_points(n, dim, skim::seed{1});
    const auto x = skim_test::gaussian_points(batch, dim, skim::seed{2});
    const auto g = skim_test::gaussian_points(batch, count, skim::seed{3});
    const auto ids = some_ids(count, n, skim::seed{4});
    std::vector<float> bias(n);
    for (std::size_t i = 0; i < n; ++i) bias[i] = 0.25f * static_cast<float>(i % 7);

    const std::size_t stride = count + 3;  // results of a part of a wider matrix
    std::vector<float> out(batch * stride, -1.0f);
    skim::multiply_gathered<TestType>(x.view(), w.view(), bias, ids,
                                      {out.data(), batch, count, stride}, scratch);
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t j = 0; j < count; ++j) {
        double sum = static_cast<double>(bias[ids[j]]), magnitude = sum;
        for (std::size_t k = 0; k < dim; ++k) {
          const double p = static_cast<double>(x.row(b)[k]) * static_cast<double>(w.row(ids[j])[k]);
          sum += p;
          magnitude += std::abs(p);
        }
        check_sum(out[b * stride + j], sum, magnitude, dim + 1);
      }
      for (std::size_t j = count; j < stride; ++j) REQUIRE(out[b * stride + j] == -1.0f);
    }

    std::vector<float> back(batch * dim, -1.0f);
    skim::multiply_back<TestType>(g.view(), w.view(), ids, {back.data(), batch, dim}, scratch);
    for (std::size_t b = 0; b < batch; ++b)
      for (std::size_t k = 0; k < dim; ++k) {
        double sum = 0, magnitude = 0;
        for (std::size_t j = 0; j < count; ++j) {
          const double p = static_cast<double>(g.row(b)[j]) * static_cast<double>(w.row(ids[j])[k]);
          sum += p;
          magnitude += std::abs(p);
        }
        check_sum(back[b * dim + k], sum, magnitude, count);
      }

    skim::panel_matrix packed;
    skim::pack_columns(x.view(), packed);
    std::vector<float> rows(count * dim, -1.0f), sums(count);
    skim::multiply_turned<TestType>(g.view(), packed, {rows.data(), count, dim}, sums, scratch);
    for (std::size_t j = 0; j < count; ++j) {
      double total = 0, whole = 0;
      for (std::size_t b = 0; b < batch; ++b) {
        total += static_cast<double>(g.row(b)[j]);
        whole += std::abs(static_cast<double>(g.row(b)[j]));
      }
      check_sum(sums[j], total, whole, batch);
      for (std::size_t k = 0; k < dim; ++k) {
        double sum = 0, magnitude = 0;
        for (std::size_t b = 0; b < batch; ++b) {
          const double p = static_cast<double>(g.row(b)[j]) * static_cast<double>(x.row(b)[k]);
          sum += p;
          magnitude += std::abs(p);
        }
        check_sum(rows[j * dim + k], sum, magnitude, batch);
      }
    }
  }
}

TEST_CASE("a gathered product is the same in any batch and among any ids", "[unit]") {
  skim::gathered_scratch scratch;
  const auto w = skim_test::gaussian_points(900, 37, skim::seed{1});
  const auto x = skim_test::gaussian_points(20, 37, skim::seed{2});
  const auto ids = some_ids(300, 900, skim::seed{3});
  std::vector<float> all(20 * 300);
  skim::multiply_gathered(x.view(), w.view(), {}, ids, {all.data(), 20, 300}, scratch);
  for (const std::size_t b : {0u, 7u, 19u})
    for (const std::size_t j : {0u, 127u, 128u, 299u}) {
      float alone = 0;
      skim::multiply_gathered(x.view().rows(b, 1), w.view(), {},
                              std::span<const skim::id_t>(ids).subspan(j, 1), {&alone, 1, 1},
                              scratch);
      REQUIRE(alone == all[b * 300 + j]);
    }
}

TEMPLATE_TEST_CASE("a matrix is turned", "[unit]", portable, native) {
  for (const std::size_t rows : {1u, 7u, 8u, 9u, 40u})
    for (const std::size_t cols : {1u, 8u, 15u, 64u}) {
      const auto a = skim_test::gaussian_points(rows, cols, skim::seed{5});
      std::vector<float> out(rows * cols);
      skim::transpose<TestType>(a.view(), {out.data(), cols, rows});
      for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < cols; ++j) REQUIRE(out[j * rows + i] == a.row(i)[j]);
    }
}

TEMPLATE_TEST_CASE("logistic and softmax rows match a double reference", "[unit]", portable,
                   native) {
  skim::random_engine g(skim::seed{6});
  for (const std::size_t n : {1u, 3u, 8u, 9u, 31u, 200u, 1000u}) {
    for (const double scale : {0.1, 3.0, 60.0}) {
      std::vector<float> z(n), shift(n), out(n);
      double loss = 0, magnitude = 0;
      for (std::size_t i = 0; i < n; ++i) {
        z[i] = static_cast<float>(scale * skim::normal(g));
        shift[i] = static_cast<float>(2 * skim::uniform(g));
        const auto t = static_cast<double>(z[i] + shift[i]);
        loss += std::max(t, 0.0) + std::log1p(std::exp(-std::abs(t)));
        magnitude += std::abs(t) + 1;
      }
      const float half = 0.5f;
      const double found = skim::logistic_row<TestType>(z, shift, half, out);
      CHECK(std::abs(found - loss) <= 1e-6 * magnitude);
      for (std::size_t i = 0; i < n; ++i) {
        const auto t = static_cast<double>(z[i] + shift[i]);
        const double expected = 0.5 / (1 + std::exp(-t));
        // Beyond -87 e^t is below the least normal number: zero is as good.
        REQUIRE(std::abs(static_cast<double>(out[i]) - expected) <= 1e-6 * expected + 1e-37);
      }

      double top = -1e300, sum = 0;
      for (std::size_t i = 0; i < n; ++i) top = std::max(top, static_cast<double>(z[i] + shift[i]));
      for (std::size_t i = 0; i < n; ++i)
        sum += std::exp(static_cast<double>(z[i] + shift[i]) - top);
      const double log_sum = skim::softmax_row<TestType>(z, shift, half, out);
      CHECK(std::abs(log_sum - (top + std::log(sum))) <= 1e-5 * (1 + std::abs(top)));
      for (std::size_t i = 0; i < n; ++i) {
        const double expected = 0.5 * std::exp(static_cast<double>(z[i] + shift[i]) - top) / sum;
        REQUIRE(std::abs(static_cast<double>(out[i]) - expected) <= 2e-5 * expected + 1e-37);
      }
    }
  }
}
