// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/exact_density.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "laws/density_structure.hpp"
#include "support/catch.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using namespace skim;

namespace {

struct exact_model {
  using structure = exact_density;
  static structure make(std::size_t dim, density_kernel k) {
    return structure({.dim = dim, .kernel = k});
  }
  static constexpr bool exact = true;
};

struct exact_angular_model : exact_model {
  static bool takes(const density_kernel& k) { return k.on_sphere(); }
};

std::vector<float> rows_of(std::size_t n, std::size_t dim, double offset, std::uint64_t s) {
  random_engine g(seed{s});
  std::vector<float> x(n * dim);
  for (float& v : x) v = static_cast<float>(normal(g) + offset);
  return x;
}

}  // namespace

TEST_CASE("exact_density keeps the laws of density structures") {
  skim_test::check_density_laws<exact_model>();
}
TEST_CASE("exact_density keeps the laws on the sphere") {
  skim_test::check_density_laws<exact_angular_model>();
}

TEST_CASE("exact densities are within their bound of the definition at every size and offset") {
  workspace ws;
  random_engine g;
  for (const kernel_kind kind : skim_test::density_kinds)
    for (const std::size_t dim : {1u, 3u, 8u, 75u})
      for (const std::size_t n : {1u, 7u, 8u, 9u, 63u, 64u, 65u, 200u}) {
        // Far from the origin: a product form would lose all digits here.
        const double offset = kind == kernel_kind::angular ? 0 : 1000;
        const auto rows = rows_of(n + 9, dim, offset, n * dim);
        const matrix_view<const float> x(rows.data(), n, dim), q(rows.data() + n * dim, 9, dim);
        const double d = static_cast<double>(dim);
        const density_kernel k{kind, kind == kernel_kind::angular     ? 0.2
                                     : kind == kernel_kind::laplacian ? d / 2
                                                                      : std::sqrt(d) / 2};
        exact_density made({.dim = dim, .kernel = k});
        std::vector<float> weights(n);
        for (std::size_t i = 0; i < n; ++i) weights[i] = 1 + static_cast<float>(i % 5);
        made.insert(x, weights);
        std::vector<density_estimate> batch(9);
        made.density(q, {}, seed{}, batch);
        for (std::size_t j = 0; j < 9; ++j) {
          double want = 0;
          for (std::size_t i = 0; i < n; ++i)
            want += static_cast<double>(weights[i]) * kernel_value(k, x.row(i), q.row(j));
          want /= made.total_weight();
          const double bound = kind == kernel_kind::angular
                                   ? 1e-6 * (1 + 1 / k.bandwidth)
                                   : want * ((d + 8) * 0x1p-24 * -std::log(want) + 2e-6) + 1e-37;
          const auto e = made.density(q.row(j), {}, g, ws);
          INFO(name_of(kind) << ", dim " << dim << ", n " << n);
          CHECK_THAT(e.value, WithinAbs(want, bound));
          CHECK_THAT(batch[j].value, WithinAbs(want, bound));
          CHECK(e.evaluations == n);
          CHECK(e.standard_error == 0);
          CHECK(e.below == (e.value < density_target{}.smallest));
        }
      }
}

TEST_CASE("exact_density hands out points, weights and ids") {
  exact_density made({.dim = 2});
  workspace ws;
  std::vector<float> rows{1, 2, 3, 4, 5, 6}, weights{1, 2, 4};
  std::vector<id_t> ids(3);
  made.insert(matrix_view<const float>(rows.data(), 3, 2), weights, ids);
  CHECK(ids == std::vector<id_t>{0, 1, 2});
  made.erase(1);
  CHECK_FALSE(made.contains(1));
  std::array<float, 2> x{};
  made.point(2, x);
  CHECK(x == std::array{5.0f, 6.0f});
  CHECK(made.weight(2) == 4);
  CHECK(made.total_weight() == 5);
  made.replace(2, std::array{7.0f, 8.0f}, ws);
  CHECK(made.weight(2) == 4);
  CHECK(made.insert(std::array{0.0f, 0.0f}, 1, ws) == 1);

  const auto before = skim_test::image_of(made);
  rows[5] = std::nanf("");
  CHECK_THROWS_AS(made.insert(matrix_view<const float>(rows.data(), 3, 2)), invalid_input);
  rows[5] = 1;
  weights[2] = 0;
  CHECK_THROWS_AS(made.insert(matrix_view<const float>(rows.data(), 3, 2), weights), invalid_input);
  CHECK_THROWS_AS(made.insert(matrix_view<const float>(rows.data(), 3, 2), std::vector{1.0f}),
                  invalid_input);
  std::vector<id_t> two(2);
  CHECK_THROWS_AS(made.insert(matrix_view<const float>(rows.data(), 3, 2), {}, two), invalid_input);
  CHECK(skim_test::image_of(made) == before);
}

TEST_CASE("build() holds the rows under their numbers, and clear() nothing") {
  exact_density made({.dim = 3});
  workspace ws;
  const auto rows = rows_of(20, 3, 0, 1);
  for (int i = 0; i < 5; ++i) made.insert(std::array{1.0f, 2.0f, 3.0f}, 1, ws);
  made.erase(2);
  const std::vector<float> weights(20, 0.25f);
  made.build(matrix_view<const float>(rows.data(), 20, 3), weights);
  CHECK(made.total_weight() == 5);
  std::vector<float> row(3);
  made.point(11, row);
  CHECK(std::equal(row.begin(), row.end(), rows.begin() + 33));
  CHECK(made.weight(11) == 0.25f);
  CHECK_THROWS_AS(made.build(matrix_view<const float>(rows.data(), 20, 3), std::vector{1.0f}),
                  invalid_input);
  CHECK(made.size() == 20);
  made.clear();
  CHECK(made.size() == 0);
  CHECK(skim_test::image_of(made) == skim_test::image_of(exact_density({.dim = 3})));
}

TEST_CASE("the kernel of an exact_density may change, but not to or from the sphere") {
  exact_density made({.dim = 1});
  workspace ws;
  random_engine g;
  made.insert(std::array{0.0f}, 1, ws);
  made.set_kernel({kernel_kind::exponential, 2});
  CHECK_THAT(made.density(std::array{2.0f}, {}, g, ws).value, WithinRel(std::exp(-1.0), 1e-6));
  CHECK_THROWS_WITH(made.set_kernel({kernel_kind::angular, 1}),
                    ContainsSubstring("got the angular kernel after the exponential one"));
  CHECK_THROWS_AS(made.set_bandwidth(-1), invalid_params);
  CHECK(made.kernel() == density_kernel{kernel_kind::exponential, 2});
  CHECK_THROWS_AS(exact_density({.dim = 0}), invalid_params);
  CHECK_THROWS_AS(exact_density({.dim = 1, .kernel = {kernel_kind::gaussian, 0}}), invalid_params);
}
