// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/neighbor_density.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "laws/density_structure.hpp"
#include "skim/hash/sign_projection.hpp"
#include "skim/index/flat_index.hpp"
#include "skim/index/lsh_index.hpp"
#include "skim/index/partition_index.hpp"
#include "skim/kde/exact_density.hpp"
#include "skim/kde/uniform_density.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;
using namespace skim;

namespace {

template <std::size_t Neighbors>
struct flat_model {
  using structure = neighbor_density<flat_index>;
  static structure make(std::size_t dim, density_kernel k, seed s) {
    return structure(
        {.kernel = k, .neighbors = Neighbors},
        flat_index({.dim = dim, .distance = k.on_sphere() ? metric::cosine : metric::euclidean}),
        {}, s);
  }
  static constexpr bool exact = false;
};

struct partition_model {
  using structure = neighbor_density<partition_index, std::size_t>;
  static structure make(std::size_t dim, density_kernel k, seed s) {
    return structure(
        {.kernel = k, .neighbors = 10},
        partition_index(
            {.dim = dim, .distance = k.on_sphere() ? metric::cosine : metric::euclidean}),
        1, s);
  }
  static bool takes(const density_kernel& k) {
    return k.kind == kernel_kind::gaussian || k.on_sphere();
  }
  static constexpr bool exact = false;
};

// Forty clouds far apart, in which densities are low.
std::vector<float> clouds(std::size_t n, std::size_t dim, std::uint64_t s) {
  random_engine g(seed{s});
  std::vector<float> x(n * dim);
  for (std::size_t i = 0; i < n; ++i) {
    random_engine centre = random_engine(seed{99}).child(uniform_below(g, 40));
    for (std::size_t j = 0; j < dim; ++j)
      x[i * dim + j] = static_cast<float>(10 * normal(centre) + normal(g));
  }
  return x;
}

// The worst of indexes: finds the farthest points.
class wrong_index : public flat_index {
 public:
  using flat_index::flat_index;
  explicit wrong_index(flat_index f) : flat_index(std::move(f)) {}
  std::size_t search(std::span<const float> x, std::span<neighbor> out, workspace& ws) const {
    std::vector<neighbor> all(size());
    flat_index::search(x, all, ws);
    std::reverse(all.begin(), all.end());
    std::copy_n(all.begin(), out.size(), out.begin());
    return out.size();
  }
  static wrong_index load(reader& in) { return wrong_index(flat_index::load(in)); }
};

}  // namespace

TEST_CASE("neighbor_density keeps the laws of density structures over an exact index") {
  skim_test::check_density_laws<flat_model<10>>();
}
TEST_CASE("neighbor_density keeps the laws where one neighbour is asked for") {
  skim_test::check_density_laws<flat_model<1>>();
}
TEST_CASE("neighbor_density keeps the laws over a partition") {
  skim_test::check_density_laws<partition_model>();
}

TEST_CASE("low densities cost a fraction of the points, within the promise") {
  constexpr std::size_t n = 40'000, dim = 8, queries = 150;
  const auto rows = clouds(n + queries, dim, 1);
  const matrix_view<const float> x(rows.data(), n, dim), q(rows.data() + n * dim, queries, dim);
  const density_target target{0.2, 0.1, 1e-6};
  for (const kernel_kind kind : {kernel_kind::gaussian, kernel_kind::exponential}) {
    const density_kernel k{kind, kind == kernel_kind::gaussian ? 0.7 : 0.3};
    exact_density oracle({.dim = dim, .kernel = k});
    oracle.insert(x);
    std::vector<density_estimate> want(queries), got(queries);
    oracle.density(q, target, seed{}, want);
    neighbor_density<partition_index, std::size_t> made(
        {.kernel = k, .neighbors = 200}, partition_index({.dim = dim, .lists = 40}), 40, seed{1});
    made.build(x);
    for (const std::size_t lists : {40u, 4u}) {
      made.set_effort(lists);
      made.density(q, target, seed{2}, got);
      std::uint64_t misses = 0, evaluations = 0;
      std::vector<double> densities;
      for (std::size_t i = 0; i < queries; ++i) {
        densities.push_back(want[i].value);
        misses += got[i].below ? want[i].value >= target.smallest
                               : std::abs(got[i].value - want[i].value) >
                                     target.relative_error * want[i].value * 1.001;
        evaluations += got[i].evaluations;
      }
      std::sort(densities.begin(), densities.end());
      INFO(name_of(kind) << ", " << lists << " lists: median density " << densities[queries / 2]
                         << ", " << misses << " misses, " << evaluations / queries << " kernels");
      CHECK(densities[queries / 2] < 2e-3);
      // All lists keep the promise; four of forty clouds' hold the points that matter.
      skim_test::check_proportion_at_most(misses, queries, target.failure);
      CHECK(evaluations < n / 3 * queries);
    }
  }
}

TEST_CASE("an index that finds the wrong points is found out, and costs no more than time") {
  constexpr std::size_t n = 3000, dim = 2;
  neighbor_density<wrong_index> made({.neighbors = 5}, wrong_index({.dim = dim}), {}, seed{1});
  exact_density oracle({.dim = dim});
  random_engine g(seed{2});
  workspace ws;
  for (std::size_t i = 0; i < n; ++i) {
    const std::array x{static_cast<float>(normal(g)), static_cast<float>(normal(g))};
    made.insert(x, 1, ws);
    oracle.insert(x, 1, ws);
  }
  std::uint64_t misses = 0;
  constexpr std::uint64_t trials = 200;
  for (std::uint64_t t = 0; t < trials; ++t) {
    const std::array q{static_cast<float>(normal(g)), static_cast<float>(normal(g))};
    const double want = oracle.density(q, {}, g, ws).value;
    const auto e = made.density(q, {0.2, 0.1, 1e-3}, g, ws);
    misses += e.below || std::abs(e.value - want) > 0.2 * want;
  }
  skim_test::check_proportion_at_most(misses, trials, 0.1);
}

TEST_CASE("neighbor_density stands on hash tables, and holds what was built") {
  constexpr std::size_t n = 2000, dim = 16;
  const auto rows = clouds(n + 100, dim, 3);
  using index = lsh_index<sign_projection>;
  const density_kernel k{kernel_kind::angular, 0.05};
  neighbor_density<index, lsh_effort> made(
      {.kernel = k, .neighbors = 100},
      index(sign_projection({.dim = dim, .bits = 8, .hashes = 10}, seed{4}),
            {.distance = metric::cosine}),
      {.probes = 10}, seed{5});
  exact_density oracle({.dim = dim, .kernel = k});
  const matrix_view<const float> x(rows.data(), n, dim);
  std::vector<float> weights(n);
  for (std::size_t i = 0; i < n; ++i) weights[i] = 1 + static_cast<float>(i % 3);
  workspace ws;
  made.insert({rows.data(), dim}, 5, ws);
  made.build(x, weights);
  oracle.insert(x, weights);
  CHECK(made.size() == n);
  CHECK(made.total_weight() == oracle.total_weight());
  made.erase(17);
  oracle.erase(17);
  std::uint64_t misses = 0;
  random_engine g(seed{6});
  for (std::size_t i = n; i < n + 100; ++i) {
    const std::span<const float> q(rows.data() + i * dim, dim);
    const double want = oracle.density(q, {}, g, ws).value;
    const auto e = made.density(q, {0.3, 0.1, 1e-5}, g, ws);
    misses += !e.below && std::abs(e.value - want) > 0.3 * want;
  }
  INFO(misses << " misses");
  skim_test::check_proportion_at_most(misses, 100, 0.1);
}

TEST_CASE("neighbor_density refuses indexes that do not fit") {
  workspace ws;
  flat_index held({.dim = 2});
  held.insert(std::array{1.0f, 2.0f});
  CHECK_THROWS_WITH(neighbor_density<flat_index>({}, held), ContainsSubstring("got an index of 1"));
  CHECK_THROWS_WITH(
      neighbor_density<flat_index>({.kernel = {kernel_kind::angular, 1}}, flat_index({.dim = 2})),
      ContainsSubstring("wanted 1 (cosine)"));
  CHECK_THROWS_AS(
      neighbor_density<flat_index>({}, flat_index({.dim = 2, .distance = metric::cosine})),
      invalid_params);
  CHECK_THROWS_AS(neighbor_density<flat_index>({.neighbors = 0}, flat_index({.dim = 2})),
                  invalid_params);
  neighbor_density<flat_index> made({}, flat_index({.dim = 2}));
  const std::array rows{1.0f, 2.0f, 3.0f, std::nanf("")};
  CHECK_THROWS_AS(made.insert(matrix_view<const float>(rows.data(), 2, 2)), invalid_input);
  CHECK(made.size() == 0);
  std::vector<id_t> ids(1);
  made.insert(matrix_view<const float>(rows.data(), 1, 2), std::array{2.0f}, ids);
  CHECK(made.contains(ids[0]));
  CHECK(made.total_weight() == 2);
  made.set_bandwidth(2);
  random_engine g;
  CHECK_THAT(made.density(std::array{1.0f, 4.0f}, {}, g, ws).value,
             WithinRel(std::exp(-0.5), 1e-6));
  CHECK_THROWS_AS(made.set_kernel({kernel_kind::angular, 1}), invalid_params);
}
