// SPDX-License-Identifier: Apache-2.0
#include "skim/linalg/arc_cosine.hpp"

#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/linalg/sparse.hpp"
#include "skim/linalg/transpose.hpp"
#include "support/catch.hpp"

namespace {

template <class Arch>
void check_arc_cosines() {
  std::vector<float> x;
  for (int i = -100000; i <= 100000; ++i) x.push_back(static_cast<float>(i) / 100000.0f);
  for (float y = 1; y > 1e-8f; y /= 2) {  // ever nearer to 1
    x.push_back(1.0f - y);
    x.push_back(y - 1.0f);
  }
  for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{7}, x.size()}) {
    const std::span<const float> some = std::span(x).first(n);
    std::vector<float> zero(n), one(n);
    skim::arc_cosine<Arch>(some, zero, one);
    for (std::size_t i = 0; i < n; ++i) {
      const auto v = static_cast<double>(x[i]);
      const double turn = std::numbers::pi - std::acos(v);
      REQUIRE(std::abs(static_cast<double>(zero[i]) - turn / std::numbers::pi) < 3e-7);
      REQUIRE(std::abs(static_cast<double>(one[i]) -
                       (v * turn + std::sqrt(1 - v * v)) / std::numbers::pi) < 3e-7);
    }
  }
  const std::vector<float> outside = {1.0f, 1.0001f, -1.0f, -1.5f};
  std::vector<float> zero(4), one(4);
  skim::arc_cosine<Arch>(outside, zero, one);
  CHECK(zero[1] == 1.0f);
  CHECK(one[0] == 1.0f);
  CHECK(one[1] == 1.0f);
  CHECK(std::abs(zero[3]) < 3e-7f);
  CHECK(std::abs(one[3]) < 3e-7f);
}

}  // namespace

TEST_CASE("arc-cosine kernels: within 3e-7 of std::acos", "[unit]") {
  check_arc_cosines<skim::simd::default_arch>();
  check_arc_cosines<skim::simd::portable_arch>();
}

TEST_CASE("sparse times dense, and transposes, equal sums in double", "[unit]") {
  skim::random_engine g(skim::seed{4});
  constexpr std::size_t rows = 21, inner = 70;
  for (const std::size_t cols : {16u, 48u, 64u, 144u}) {
    std::vector<std::size_t> offsets = {0};
    std::vector<skim::id_t> indices;
    std::vector<float> values;
    for (std::size_t i = 0; i < rows; ++i) {  // from empty rows to full ones
      for (std::size_t k = 0; k < inner; ++k) {
        if (skim::uniform(g) * rows >= static_cast<double>(i)) continue;
        indices.push_back(static_cast<skim::id_t>(k));
        values.push_back(static_cast<float>(skim::normal(g)));
      }
      offsets.push_back(indices.size());
    }
    const skim::sparse_view a(offsets, indices, values, inner);
    const std::size_t stride = cols + 3;
    std::vector<float> b(inner * stride), c(rows * stride), copied(rows * stride);
    for (float& v : b) v = static_cast<float>(skim::normal(g));
    const skim::matrix_view<const float> dense(b.data(), inner, cols, stride);
    skim::multiply(a, dense, {c.data(), rows, cols, stride});
    std::vector<float> panel(inner * skim::sparse_panel_width);
    skim::multiply(a, dense, {copied.data(), rows, cols, stride}, panel);
    CHECK(c == copied);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < cols; ++j) {
        double sum = 0, size = 0;
        for (std::size_t k = 0; k < a.row(i).nonzeros(); ++k) {
          const double term = static_cast<double>(a.row(i).values[k]) *
                              static_cast<double>(b[a.row(i).indices[k] * stride + j]);
          sum += term;
          size += std::abs(term);
        }
        REQUIRE(std::abs(static_cast<double>(c[i * stride + j]) - sum) <= 4e-6 * size);
      }
    }
    std::vector<float> turned(cols * 72);
    skim::transpose({b.data(), 64, cols, stride}, {turned.data(), cols, 64, 72});
    for (std::size_t i = 0; i < 64; ++i)
      for (std::size_t j = 0; j < cols; ++j) REQUIRE(turned[j * 72 + i] == b[i * stride + j]);
  }
}
