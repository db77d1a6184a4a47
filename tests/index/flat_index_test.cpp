// SPDX-License-Identifier: Apache-2.0
#include "skim/index/flat_index.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

constexpr skim::metric metrics[] = {skim::metric::euclidean, skim::metric::cosine,
                                    skim::metric::inner_product};

double true_distance(skim::metric m, std::span<const float> x, std::span<const float> y) {
  switch (m) {
    case skim::metric::euclidean:
      return skim_test::distance(x, y) * skim_test::distance(x, y);
    case skim::metric::cosine:
      return skim_test::norm(x) == 0 || skim_test::norm(y) == 0 ? 1 : 1 - skim_test::cosine(x, y);
    default:
      return -skim_test::dot(x, y);
  }
}

// The answer names the points that an exact scan in double names, up to what float cannot tell apart.
void check_exact(skim::metric m, std::span<const float> q, const skim_test::points& x,
                 std::span<const bool> alive, std::span<const skim::neighbor> answer) {
  std::vector<double> all;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (alive.empty() || alive[i]) all.push_back(true_distance(m, q, x.row(i)));
  std::sort(all.begin(), all.end());
  REQUIRE(answer.size() <= all.size());
  double scale = skim_test::dot(q, q) + 1;
  for (std::size_t i = 0; i < x.size(); ++i) scale += skim_test::dot(x.row(i), x.row(i)) / 10;
  const double tolerance = 1e-5 * (m == skim::metric::cosine ? 1 : scale);
  for (std::size_t i = 0; i < answer.size(); ++i) {
    if (i > 0) REQUIRE(answer[i - 1] < answer[i]);
    const double own = true_distance(m, q, x.row(answer[i].id));
    REQUIRE_THAT(static_cast<double>(answer[i].distance),
                 Catch::Matchers::WithinAbs(own, tolerance));
    REQUIRE_THAT(own, Catch::Matchers::WithinAbs(all[i], tolerance));
  }
}

std::vector<skim::neighbor> ask(const skim::flat_index& index, std::span<const float> q,
                                std::size_t k) {
  skim::workspace ws;
  std::vector<skim::neighbor> out(k);
  out.resize(index.search(q, out, ws));
  return out;
}

}  // namespace

TEST_CASE("the flat index is exact, one query or many", "[unit]") {
  for (const skim::metric m : metrics) {
    for (const std::size_t d : {1u, 2u, 7u, 16u, 33u, 128u}) {
      for (const std::size_t n : {0u, 1u, 3u, 200u, 5000u}) {
        if (n == 5000 && d > 16) continue;
        auto x = skim_test::gaussian_points(n, d, skim::seed{n + d});
        if (n >= 3) std::fill(x.row(2).begin(), x.row(2).end(), 0.0f);
        const auto q = skim_test::gaussian_points(37, d, skim::seed{1});
        skim::flat_index index({.dim = d, .distance = m});
        index.insert(x.view());
        REQUIRE(index.size() == n);
        for (const std::size_t k : {0u, 1u, 10u}) {
          std::vector<skim::neighbor> out(37 * k);
          std::vector<std::size_t> found(37, 99);
          index.search(q.view(), k, out, found);
          for (std::size_t i = 0; i < 37; ++i) {
            REQUIRE(found[i] == std::min(n, k));
            const auto answer = std::span(out).subspan(i * k, found[i]);
            const auto one = ask(index, q.row(i), k);
            REQUIRE(std::equal(one.begin(), one.end(), answer.begin(), answer.end()));
            if (i % 6 == 0) check_exact(m, q.row(i), x, {}, answer);
          }
        }
      }
    }
  }
}

TEST_CASE("erased points are not found, their places are used again", "[unit]") {
  for (const skim::metric m : metrics) {
    const auto x = skim_test::gaussian_points(300, 5, skim::seed{3});
    const auto q = skim_test::gaussian_points(20, 5, skim::seed{4});
    skim::flat_index index({.dim = 5, .distance = m});
    std::vector<skim::id_t> ids(300);
    index.insert(x.view(), ids);
    bool alive[300];
    std::fill(std::begin(alive), std::end(alive), true);
    for (std::size_t i = 0; i < 300; i += 3) {
      index.erase(ids[i]);
      alive[i] = false;
      CHECK_FALSE(index.contains(ids[i]));
    }
    CHECK(index.size() == 200);
    const auto check = [&](const skim_test::points& now) {
      std::vector<skim::neighbor> out(20 * 8);
      std::vector<std::size_t> found(20);
      index.search(q.view(), 8, out, found);
      for (std::size_t i = 0; i < 20; ++i) {
        check_exact(m, q.row(i), now, alive, std::span(out).subspan(i * 8, found[i]));
        check_exact(m, q.row(i), now, alive, ask(index, q.row(i), 250));
      }
    };
    check(x);
    CHECK_THROWS_AS(index.erase(ids[0]), skim::invalid_input);
    CHECK_THROWS_AS(index.update(ids[0], x.row(0)), skim::invalid_input);
    CHECK_THROWS_AS(index.erase(300), skim::invalid_input);
    auto now = x;
    for (std::size_t i = 0; i < 50; ++i) {
      const auto fresh = skim_test::gaussian_points(1, 5, skim::seed{100 + i});
      const skim::id_t id = index.insert(fresh.row(0));
      REQUIRE(id < 300);
      std::copy(fresh.row(0).begin(), fresh.row(0).end(), now.row(id).begin());
      alive[id] = true;
    }
    for (std::size_t i = 1; i < 100; i += 3) {
      std::copy(q.row(i % 20).begin(), q.row(i % 20).end(), now.row(i).begin());
      index.update(ids[i], now.row(i));
    }
    check(now);
  }
}

TEST_CASE("points far from the origin and close together are told apart", "[unit]") {
  // Here |x|^2 + |q|^2 - 2 <x, q> has no correct digit.
  skim_test::points x = skim_test::gaussian_points(500, 24, skim::seed{5});
  for (float& v : x.values) v = 1000.0f + 0.01f * v;
  skim::flat_index index({.dim = 24});
  index.insert(x.view());
  std::vector<skim::neighbor> out(500);
  std::vector<std::size_t> found(500);
  index.search(x.view(), 1, out, found);
  for (std::size_t i = 0; i < 500; ++i) {
    REQUIRE(out[i].id == i);
    REQUIRE(out[i].distance == 0);
  }
}

TEST_CASE("duplicates and constant data are found in the order of their ids", "[unit]") {
  for (const skim::metric m : metrics) {
    for (const float value : {0.0f, -2.5f}) {
      const std::vector<float> data(3000 * 3, value);
      skim::flat_index index({.dim = 3, .distance = m});
      index.insert(skim::matrix_view<const float>(data.data(), 3000, 3));
      const std::vector<float> q{1, 2, 3};
      const auto answer = ask(index, q, 20);
      REQUIRE(answer.size() == 20);
      for (std::size_t i = 0; i < 20; ++i) CHECK(answer[i].id == i);
      std::vector<skim::neighbor> out(5 * 20);
      std::vector<std::size_t> found(5);
      index.search(skim::matrix_view<const float>(data.data(), 5, 3), 20, out, found);
      for (std::size_t i = 0; i < 100; ++i) CHECK(out[i].id == i % 20);
    }
  }
}

TEST_CASE("answers do not depend on executor, stride or order of queries", "[unit]") {
  const auto x = skim_test::gaussian_points(900, 20, skim::seed{6});
  const auto q = skim_test::gaussian_points(700, 17, skim::seed{7});
  skim::flat_index index({.dim = 17, .distance = skim::metric::cosine});
  index.insert(skim::matrix_view<const float>(x.values.data(), 900, 17, 20));
  std::vector<skim::neighbor> a(700 * 5), b(700 * 5);
  std::vector<std::size_t> found(700);
  index.search(q.view(), 5, a, found);
  skim::thread_executor pool(3);
  index.search(q.view(), 5, b, found, pool);
  CHECK(a == b);
}

TEST_CASE("the flat index refuses what it cannot hold and stays as it was", "[unit]") {
  CHECK_THROWS_AS(skim::flat_index({.dim = 0}), skim::invalid_params);
  skim::flat_index index({.dim = 4});
  const auto x = skim_test::gaussian_points(6, 4, skim::seed{8});
  index.insert(x.view());
  const auto before = skim_test::image_of(index);
  skim::workspace ws;
  std::vector<skim::neighbor> out(3);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e30f}) {
    auto spoilt = x;
    spoilt.row(5)[3] = bad;
    CHECK_THROWS_AS(index.insert(spoilt.view()), skim::invalid_input);
    CHECK_THROWS_AS(index.insert(spoilt.row(5)), skim::invalid_input);
    CHECK_THROWS_AS(index.update(0, spoilt.row(5)), skim::invalid_input);
    CHECK_THROWS_AS(index.search(spoilt.row(5), out, ws), skim::invalid_input);
  }
  CHECK_THROWS_AS(index.insert(x.row(0).first(3)), skim::invalid_input);
  std::vector<skim::id_t> ids(5);
  CHECK_THROWS_AS(index.insert(x.view(), ids), skim::invalid_input);
  std::vector<std::size_t> found(6);
  CHECK_THROWS_AS(index.search(x.view(), 2, out, found), skim::invalid_input);
  CHECK(skim_test::image_of(index) == before);
}

TEST_CASE("a saved flat index answers as the original", "[unit]") {
  for (const skim::metric m : metrics) {
    const auto x = skim_test::gaussian_points(40, 6, skim::seed{9});
    skim::flat_index index({.dim = 6, .distance = m});
    index.insert(x.view());
    for (const skim::id_t id : {3u, 17u, 4u}) index.erase(id);
    const auto bytes = skim_test::image_of(index);
    skim::reader in(bytes);
    auto loaded = skim::flat_index::load(in);
    for (std::size_t i = 0; i < 40; ++i) CHECK(ask(loaded, x.row(i), 7) == ask(index, x.row(i), 7));
    CHECK(loaded.insert(x.row(0)) == index.insert(x.row(0)));
    CHECK(skim_test::image_of(loaded) == skim_test::image_of(index));
  }
  skim::flat_index small({.dim = 2});
  small.insert(skim_test::gaussian_points(4, 2, skim::seed{1}).view());
  small.erase(2);
  skim_test::check_refuses_damage(small);
}

TEST_CASE("many threads search one flat index", "[unit]") {
  const auto x = skim_test::gaussian_points(2000, 8, skim::seed{10});
  skim::flat_index index({.dim = 8});
  index.insert(x.view());
  std::vector<std::thread> readers;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < 4; ++t)
    readers.emplace_back([&, t] {
      skim::workspace ws;
      std::vector<skim::neighbor> out(1);
      for (std::size_t i = t; i < 2000; i += 7) {
        index.search(x.row(i), out, ws);
        wrong[t] += out[0].id != i;
      }
    });
  for (auto& r : readers) r.join();
  CHECK(wrong == std::vector<int>(4, 0));
}
