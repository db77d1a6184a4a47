// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/kernel.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "skim/kde/detail/block_list.hpp"
#include "skim/linalg/point_block.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using namespace skim;

namespace {

constexpr std::array kinds{kernel_kind::gaussian, kernel_kind::exponential, kernel_kind::laplacian,
                           kernel_kind::student, kernel_kind::angular};

std::vector<float> random_point(random_engine& g, std::size_t dim) {
  std::vector<float> x(dim);
  for (float& v : x) v = static_cast<float>(normal(g));
  return x;
}

}  // namespace

TEST_CASE("kernels have the values of their formulas") {
  const std::vector<float> x{1, 0, 0}, y{0, 2, 0};
  const double square = 5, sum = 3;
  CHECK_THAT(kernel_value({kernel_kind::gaussian, 2}, x, y), WithinRel(std::exp(-square / 8)));
  CHECK_THAT(kernel_value({kernel_kind::exponential, 2}, x, y),
             WithinRel(std::exp(-std::sqrt(square) / 2)));
  CHECK_THAT(kernel_value({kernel_kind::laplacian, 2}, x, y), WithinRel(std::exp(-sum / 2)));
  CHECK_THAT(kernel_value({kernel_kind::student, 2}, x, y), WithinRel(1 / (1 + square / 4)));
  CHECK_THAT(kernel_value({kernel_kind::angular, 0.25}, x, y), WithinRel(std::pow(0.5, 4)));
  for (const kernel_kind k : kinds) CHECK_THAT(kernel_value({k, 0.7}, x, x), WithinAbs(1, 1e-7));
}

TEST_CASE("the kernels of a block are those of its points, one by one") {
  random_engine g(seed{1});
  for (const kernel_kind kind : kinds)
    for (const std::size_t dim : {1u, 2u, 3u, 4u, 7u, 8u, 75u}) {
      const double h = kind == kernel_kind::angular ? 0.2 : std::sqrt(static_cast<double>(dim));
      const density_kernel k{kind, h};
      detail::block_list list(dim);
      std::vector<std::vector<float>> points;
      for (id_t i = 0; i < 5; ++i) {
        std::vector<float> x = random_point(g, dim);
        if (k.on_sphere()) {
          double length = 0;
          for (const float v : x) length += static_cast<double>(v) * static_cast<double>(v);
          for (float& v : x) v = static_cast<float>(static_cast<double>(v) / std::sqrt(length));
        }
        points.push_back(x);
        list.push(x, 0.5f + static_cast<float>(i), i);
      }
      const std::vector<float>& q = points[4];
      std::array<float, block_points> got;
      detail::with_profile(k, [&](auto profile) {
        detail::weighted_kernels(profile, list.block(0), q.data(), dim).store(got.data());
      });
      for (std::size_t i = 0; i < block_points; ++i) {
        const double want =
            i < 5 ? (0.5 + static_cast<double>(i)) * kernel_value(k, points[i], q) : 0.0;
        INFO(name_of(kind) << ", dim " << dim << ", point " << i);
        // Rounding of a sum of dim squares; acos to 2e-8 over pi, times the power 5, and the square
        // root of a cancelled difference at the point itself.
        CHECK_THAT(static_cast<double>(got[i]), WithinAbs(want, 1e-5 * (want + 1e-3)));
      }
    }
}

TEST_CASE("kernels far away are zero, not NaN") {
  for (const kernel_kind kind : kinds) {
    const float far = kind == kernel_kind::angular ? -1.0f : 1e18f;
    detail::block_list list(1);
    list.push(std::array{far}, 1, 0);
    const float origin = kind == kernel_kind::angular ? 1.0f : 0.0f;
    const float got = detail::with_profile(
        density_kernel{kind, kind == kernel_kind::angular ? 0.01 : 1e-15},
        [&](auto profile) { return detail::kernel_sum(profile, list.block(0), &origin, 1); });
    INFO(name_of(kind));
    CHECK_THAT(static_cast<double>(got), WithinAbs(0, 1e-30));
  }
}

TEST_CASE("bandwidths and kinds out of range are refused") {
  CHECK_THROWS_WITH((density_kernel{kernel_kind::gaussian, 0}).check("it"),
                    ContainsSubstring("it: got a bandwidth of 0, wanted 1e-15 to 1e15"));
  CHECK_THROWS_AS(
      (density_kernel{kernel_kind::gaussian, std::numeric_limits<double>::quiet_NaN()}).check("it"),
      invalid_params);
  CHECK_THROWS_WITH((density_kernel{static_cast<kernel_kind>(9), 1}).check("it"),
                    ContainsSubstring("got kernel 9"));
}

TEST_CASE("the median distance is that of the rows") {
  const std::vector<float> x{0, 0, 3, 4};
  const matrix_view<const float> rows(x.data(), 2, 2);
  CHECK(median_distance(rows, kernel_kind::gaussian) == 5);
  CHECK(median_distance(rows, kernel_kind::laplacian) == 7);
  const std::vector<float> same(20, 1.0f);
  CHECK(median_distance(matrix_view<const float>(same.data(), 10, 2), kernel_kind::gaussian) == 1);
  CHECK_THROWS_AS(median_distance(matrix_view<const float>(x.data(), 1, 4), kernel_kind::gaussian),
                  invalid_input);
  CHECK_THROWS_AS(median_distance(rows, kernel_kind::angular), invalid_input);
}
