// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/standing_queries.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <vector>

#include "laws/density_structure.hpp"
#include "skim/kde/exact_density.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;
using namespace skim;

namespace {

constexpr std::array kinds{kernel_kind::gaussian, kernel_kind::exponential, kernel_kind::laplacian,
                           kernel_kind::student, kernel_kind::angular};

std::vector<float> rows_of(std::size_t n, std::size_t dim, std::uint64_t s) {
  random_engine g(seed{s});
  std::vector<float> rows;
  for (std::size_t i = 0; i < n; ++i) {
    const auto x = skim_test::cloud_point(g, dim);
    rows.insert(rows.end(), x.begin(), x.end());
  }
  return rows;
}

}  // namespace

TEST_CASE("standing densities are exact through any history of points and candidates") {
  workspace ws;
  for (const kernel_kind kind : kinds)
    for (const std::size_t dim : {1u, 5u, 19u}) {
      const density_kernel k = skim_test::cloud_kernel(kind, dim);
      standing_queries made({.dim = dim, .kernel = k});
      skim_test::density_oracle oracle(k);
      std::map<id_t, std::vector<float>> watched;
      random_engine g(seed{dim});
      const auto any_watched = [&] {
        auto at = watched.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(uniform_below(g, watched.size())));
        return at;
      };
      const auto any = [&] {
        return oracle.id(static_cast<std::size_t>(uniform_below(g, oracle.size())));
      };
      for (int step = 0; step < 600; ++step) {
        const auto what = uniform_below(g, 8);
        const auto x = skim_test::cloud_point(g, dim);
        if (what < 3 || oracle.size() == 0 || watched.empty()) {
          const float w = static_cast<float>(0.5 + uniform(g));
          oracle.insert(made.insert(x, w, ws), x, w);
          if (step < 100) watched.emplace(made.watch(x, ws), x);
        } else if (what == 3) {
          const id_t id = any();
          made.erase(id, ws);
          oracle.erase(id);
        } else if (what == 4) {
          const id_t id = any();
          made.replace(id, x, ws);
          oracle.replace(id, x);
        } else if (what == 5) {
          CHECK(watched.emplace(made.watch(x, ws), x).second);
        } else if (what == 6) {
          const auto at = any_watched();
          made.unwatch(at->first);
          CHECK_FALSE(made.watches(at->first));
          watched.erase(at);
        } else {
          const auto at = any_watched();
          made.move(at->first, x, ws);
          at->second = x;
        }
      }
      CHECK(made.size() == oracle.size());
      CHECK(made.watched() == watched.size());
      std::vector<id_t> ids;
      for (const auto& [id, q] : watched) ids.push_back(id);
      std::vector<double> got(ids.size());
      made.density(ids, got);
      INFO(name_of(kind) << ", dim " << dim);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const double want = oracle.density(watched.at(ids[i]));
        CHECK_THAT(got[i], WithinAbs(want, 1e-5 * want + 1e-6));
        CHECK(made.density(ids[i]) == got[i]);
      }
    }
}

TEST_CASE("what came and went leaves nothing behind") {
  // Heavy points come and go; light ones stay. A rounding of the heavy ones would be seen: 1e9 times 2^-24
  // is 60 times all that stays.
  constexpr std::size_t dim = 7, watched = 21;
  for (const kernel_kind kind : kinds) {
    const density_kernel k = skim_test::cloud_kernel(kind, dim);
    const auto rows = rows_of(60 + watched, dim, 4);
    const matrix_view<const float> q(rows.data() + 60 * dim, watched, dim);
    standing_queries busy({.dim = dim, .kernel = k}), quiet({.dim = dim, .kernel = k});
    workspace ws;
    busy.watch(q.rows(0, 10));
    std::vector<id_t> heavy;
    for (std::size_t i = 0; i < 30; ++i)
      heavy.push_back(busy.insert({rows.data() + i * dim, dim}, 1e9f, ws));
    for (std::size_t i = 30; i < 60; ++i) {
      busy.insert({rows.data() + i * dim, dim}, 1e-6f, ws);
      quiet.insert({rows.data() + i * dim, dim}, 1e-6f, ws);
    }
    busy.watch(q.rows(10, 10));
    busy.watch(q.row(20), ws);
    for (int round = 0; round < 50; ++round)
      for (std::size_t i = 0; i < 30; ++i)
        busy.replace(heavy[i], {rows.data() + (i + 1) * dim, dim}, ws);
    for (const id_t id : heavy) busy.erase(id, ws);
    quiet.watch(q);
    CHECK(busy.total_weight() == quiet.total_weight());
    INFO(name_of(kind));
    for (id_t j = 0; j < watched; ++j)
      CHECK_THAT(busy.density(j), WithinRel(quiet.density(j), 1e-9));
  }
}

TEST_CASE("batches and executors do not change standing densities") {
  constexpr std::size_t dim = 6, n = 130, m = 45;
  const density_kernel k{kernel_kind::exponential, 2};
  const auto rows = rows_of(n + m, dim, 5);
  const matrix_view<const float> x(rows.data(), n, dim), q(rows.data() + n * dim, m, dim);
  std::vector<float> weights(n);
  for (std::size_t i = 0; i < n; ++i) weights[i] = 1 + static_cast<float>(i % 4);
  standing_queries one({.dim = dim, .kernel = k}), batch({.dim = dim, .kernel = k}),
      threads({.dim = dim, .kernel = k});
  exact_density oracle({.dim = dim, .kernel = k});
  workspace ws;
  thread_executor pool(3);
  skim_test::backward_executor backward;
  std::vector<id_t> ids(m);
  for (std::size_t j = 0; j < m; ++j) CHECK(one.watch(q.row(j), ws) == j);
  for (std::size_t i = 0; i < n; ++i) one.insert(x.row(i), weights[i], ws);
  batch.watch(q, ids, backward);
  batch.insert(x, weights, {}, backward);
  threads.insert(x, weights, {}, pool);
  threads.watch(q, {}, pool);
  oracle.insert(x, weights);
  std::vector<density_estimate> want(m);
  oracle.density(q, {}, seed{}, want);
  for (std::size_t j = 0; j < m; ++j) {
    CHECK(ids[j] == j);
    CHECK_THAT(one.density(ids[j]), WithinRel(want[j].value, 1e-5));
    CHECK(batch.density(ids[j]) == one.density(ids[j]));
    CHECK_THAT(threads.density(ids[j]), WithinRel(one.density(ids[j]), 1e-14));
  }
  CHECK(skim_test::image_of(batch) == skim_test::image_of(one));

  const density_kernel other{kernel_kind::laplacian, 3};
  one.set_kernel(other);
  batch.set_kernel(other, pool);
  CHECK(skim_test::image_of(batch) == skim_test::image_of(one));
  oracle.set_kernel(other);
  oracle.density(q, {}, seed{}, want);
  for (id_t j = 0; j < m; ++j) CHECK_THAT(one.density(j), WithinRel(want[j].value, 1e-5));
  CHECK_THROWS_AS(one.set_kernel({kernel_kind::angular, 1}), invalid_params);
}

TEST_CASE("standing queries refuse what cannot be, and change nothing") {
  standing_queries made({.dim = 2, .kernel = {kernel_kind::angular, 0.5}});
  workspace ws;
  CHECK(made.watch(std::array{1.0f, 1.0f}, ws) == 0);
  CHECK(made.density(0) == 0);
  CHECK(made.insert(std::array{1.0f, 0.0f}, 2, ws) == 0);
  const auto before = skim_test::image_of(made);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& x :
       {std::vector<float>{1}, {0, 0}, {nan, 1}, {1e19f, 1}, {1, 2, 3}}) {
    CHECK_THROWS_AS(made.insert(x, 1, ws), invalid_input);
    CHECK_THROWS_AS(made.replace(0, x, ws), invalid_input);
    CHECK_THROWS_AS(made.watch(x, ws), invalid_input);
    CHECK_THROWS_AS(made.move(0, x, ws), invalid_input);
  }
  const std::array x{0.0f, 1.0f};
  const std::array bad{0.0f, 1.0f, 0.0f, 0.0f};
  const matrix_view<const float> two(bad.data(), 2, 2);
  CHECK_THROWS_AS(made.insert(two), invalid_input);
  CHECK_THROWS_AS(made.watch(two), invalid_input);
  CHECK_THROWS_AS(made.insert(x, 0, ws), invalid_input);
  CHECK_THROWS_AS(made.erase(1, ws), invalid_input);
  CHECK_THROWS_AS(made.replace(1, x, ws), invalid_input);
  CHECK_THROWS_AS(made.unwatch(1), invalid_input);
  CHECK_THROWS_AS(made.move(1, x, ws), invalid_input);
  CHECK_THROWS_AS(made.density(1), invalid_input);
  std::vector<double> out(2);
  CHECK_THROWS_AS(made.density(std::vector<id_t>{0}, out), invalid_input);
  CHECK_THROWS_AS(made.density(std::vector<id_t>{0, 1}, out), invalid_input);
  CHECK(skim_test::image_of(made) == before);
  CHECK_THAT(made.density(0), WithinAbs(0.75 * 0.75, 1e-6));
  made.erase(0, ws);
  made.insert(x, 1e-15f, ws);
  CHECK_THAT(made.density(0), WithinAbs(0.75 * 0.75, 1e-6));
}

TEST_CASE("loaded standing queries go on as the saved ones, damaged ones are refused") {
  constexpr std::size_t dim = 3;
  const auto rows = rows_of(40, dim, 6);
  standing_queries made({.dim = dim});
  workspace ws;
  made.insert(matrix_view<const float>(rows.data(), 4, dim));
  made.watch(matrix_view<const float>(rows.data() + 4 * dim, 3, dim));
  made.erase(2, ws);
  made.unwatch(1);
  const auto image = skim_test::image_of(made);
  reader in(image);
  standing_queries loaded = standing_queries::load(in);
  CHECK(skim_test::image_of(loaded) == image);
  for (standing_queries* s : {&made, &loaded}) {
    s->insert({rows.data() + 30 * dim, dim}, 3, ws);
    s->watch({rows.data() + 31 * dim, dim}, ws);
    s->replace(0, {rows.data() + 32 * dim, dim}, ws);
  }
  CHECK(skim_test::image_of(loaded) == skim_test::image_of(made));
  const auto refused = [](std::span<const std::byte> bytes) {
    try {
      reader r(bytes);
      static_cast<void>(standing_queries::load(r));
      return false;
    } catch (const format_error&) {
      return true;
    }
  };
  bool all = true;
  skim_test::for_each_truncation(image,
                                 [&](std::span<const std::byte> b) { all = all && refused(b); });
  skim_test::for_each_flipped_bit(image,
                                  [&](std::span<const std::byte> b) { all = all && refused(b); });
  CHECK(all);
  // With a right checksum, but sums that no kernels have.
  for (const double wrong : {-1.0, 5.0, std::nan(""), HUGE_VAL}) {
    writer out;
    out.begin_frame("standing_queries");
    detail::save_kernel(out, density_kernel{});
    detail::point_table points(1), watched(1);
    for (detail::point_table* t : {&points, &watched}) {
      t->reserve("test", 1);
      t->insert(std::array{0.0f}, 1);
    }
    points.save(out);
    watched.save(out);
    out.put(std::span<const double>(std::array{wrong, 0.0}));
    out.end_frame();
    CHECK(refused(out.bytes()));
  }
}
