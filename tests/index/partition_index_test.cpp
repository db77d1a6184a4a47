// SPDX-License-Identifier: Apache-2.0
#include "skim/index/partition_index.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <thread>
#include <vector>

#include "skim/index/flat_index.hpp"
#include "skim/index/tuning.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

constexpr std::size_t all = 1 << 20;

template <class... Effort>
std::vector<skim::neighbor> ask(const auto& index, std::span<const float> q, std::size_t k,
                                Effort... effort) {
  skim::workspace ws;
  std::vector<skim::neighbor> out(k);
  out.resize(index.search(q, out, ws, effort...));
  return out;
}

}  // namespace

TEST_CASE("a search of all lists is exact, whatever was changed", "[unit]") {
  for (const auto m : {skim::metric::euclidean, skim::metric::cosine}) {
    for (const std::size_t d : {1u, 5u, 24u}) {
      const auto x = skim_test::clustered_points(600, d, 12, 0.4, skim::seed{1});
      const auto q = skim_test::gaussian_points(40, d, skim::seed{2});
      skim::partition_index index({.dim = d, .distance = m});
      skim::flat_index flat({.dim = d, .distance = m});
      index.build(x.view());
      flat.insert(x.view());
      CHECK(index.lists() == 24);
      const auto check = [&] {
        std::vector<skim::neighbor> a(40 * 9), b(40 * 9);
        std::vector<std::size_t> found(40), exact(40);
        index.search(q.view(), 9, a, found, all);
        flat.search(q.view(), 9, b, exact);
        REQUIRE(a == b);
        REQUIRE(found == exact);
        for (std::size_t i = 0; i < 40; ++i) {
          REQUIRE(ask(index, q.row(i), 9, all) ==
                  std::vector<skim::neighbor>(b.begin() + static_cast<long>(9 * i),
                                              b.begin() + static_cast<long>(9 * i + 9)));
        }
        std::size_t total = 0;
        for (std::size_t c = 0; c < index.lists(); ++c) total += index.list_size(c);
        REQUIRE(total == index.size());
        REQUIRE(index.size() == flat.size());
      };
      check();
      skim::workspace ws;
      skim::random_engine g(skim::seed{3});
      for (std::size_t step = 0; step < 700; ++step) {
        const auto id = static_cast<skim::id_t>(skim::uniform_below(g, 600));
        const auto fresh = skim_test::gaussian_points(1, d, skim::seed{100 + step});
        if (!index.contains(id)) {
          REQUIRE(index.insert(fresh.row(0), ws) == flat.insert(fresh.row(0)));
        } else if (g() % 2 == 0) {
          index.erase(id);
          flat.erase(id);
        } else {
          index.update(id, fresh.row(0), ws);
          flat.update(id, fresh.row(0));
          REQUIRE(
              std::equal(index.point(id).begin(), index.point(id).end(), flat.point(id).begin()));
        }
      }
      check();
      const auto bytes = skim_test::image_of(index);
      skim::reader in(bytes);
      auto loaded = skim::partition_index::load(in);
      REQUIRE(skim_test::image_of(loaded) == bytes);
      for (std::size_t i = 0; i < 40; ++i)
        REQUIRE(ask(loaded, q.row(i), 5, std::size_t{3}) ==
                ask(index, q.row(i), 5, std::size_t{3}));
      REQUIRE(loaded.insert(q.row(0), ws) == index.insert(q.row(0), ws));
    }
  }
}

TEST_CASE("single searches, batches and threads agree for few lists too", "[unit]") {
  const auto x = skim_test::clustered_points(3000, 16, 40, 0.5, skim::seed{4});
  skim::partition_index index({.dim = 16, .lists = 50}), pooled = index;
  skim::thread_executor pool(3);
  index.build(x.view());
  pooled.build(x.view(), pool);
  CHECK(skim_test::image_of(index) == skim_test::image_of(pooled));
  for (const std::size_t lists : {1u, 3u, 20u}) {
    std::vector<skim::neighbor> a(3000 * 4), b(3000 * 4);
    std::vector<std::size_t> found(3000), found_too(3000);
    index.search(x.view(), 4, a, found, lists);
    index.search(x.view(), 4, b, found_too, lists, pool);
    CHECK(a == b);
    CHECK(found == found_too);
    std::vector<int> wrong(3, 0);
    std::vector<std::thread> readers;
    for (std::size_t t = 0; t < 3; ++t)
      readers.emplace_back([&, t] {
        for (std::size_t i = t; i < 3000; i += 13) {
          const auto one = ask(index, x.row(i), 4, lists);
          wrong[t] += one.size() != found[i] ||
                      !std::equal(one.begin(), one.end(), a.begin() + static_cast<long>(4 * i));
        }
      });
    for (auto& r : readers) r.join();
    CHECK(wrong == std::vector<int>(3, 0));
    for (std::size_t i = 0; i < 3000; ++i) REQUIRE(a[4 * i].id == i);
  }
}

TEST_CASE("clustered points are found in few lists", "[unit]") {
  const auto x = skim_test::clustered_points(4000, 16, 60, 0.3, skim::seed{5});
  skim::partition_index index({.dim = 16});
  skim::flat_index flat({.dim = 16});
  index.build(x.view());
  flat.insert(x.view());
  std::vector<skim::neighbor> a(4000 * 10), b(4000 * 10);
  std::vector<std::size_t> found(4000), exact(4000);
  index.search(x.view(), 10, a, found, 4);
  flat.search(x.view(), 10, b, exact);
  CHECK(skim::recall_of(b, exact, a, found, 10) > 0.97);
}

TEST_CASE("no points, one, constant ones and duplicates in lists", "[unit]") {
  for (const auto m : {skim::metric::euclidean, skim::metric::cosine}) {
    skim::partition_index index({.dim = 2, .distance = m});
    skim::workspace ws;
    const std::vector<float> zero{0, 0}, one{1, 2};
    CHECK(ask(index, one, 3, all).empty());
    std::vector<skim::neighbor> out(2 * 3);
    std::vector<std::size_t> found(2);
    const std::vector<float> two{1, 2, 0, 0};
    index.search(skim::matrix_view<const float>(two.data(), 2, 2), 3, out, found, 1);
    CHECK(found == std::vector<std::size_t>{0, 0});
    CHECK(index.insert(zero, ws) == 0);
    CHECK(ask(index, one, 3, std::size_t{1}).size() == 1);
    index.build(skim::matrix_view<const float>(one.data(), 1, 2));
    CHECK(index.lists() == 1);
    CHECK(ask(index, zero, 3, all).size() == 1);
    for (const float value : {0.0f, 2.0f}) {
      const std::vector<float> same(2 * 3000, value);
      index.build(skim::matrix_view<const float>(same.data(), 3000, 2));
      const auto answer = ask(index, one, 5, all);
      REQUIRE(answer.size() == 5);
      for (std::size_t i = 0; i < 5; ++i) CHECK(answer[i].id == i);
      for (skim::id_t id = 0; id < 3000; ++id) index.erase(id);
      CHECK(index.size() == 0);
      CHECK(ask(index, one, 5, all).empty());
    }
    index.build(skim::matrix_view<const float>(zero.data(), 0, 2));
    CHECK(index.size() == 0);
  }
}

TEST_CASE("a partition refuses bad input and stays as it was", "[unit]") {
  CHECK_THROWS_AS(skim::partition_index({.dim = 0}), skim::invalid_params);
  CHECK_THROWS_AS(skim::partition_index({.dim = 2, .distance = skim::metric::inner_product}),
                  skim::invalid_params);
  CHECK_THROWS_AS(skim::partition_index({.dim = 2, .lists = 1u << 20}), skim::invalid_params);
  CHECK_THROWS_AS(skim::partition_index({.dim = 2, .sample = 0}), skim::invalid_params);
  skim::partition_index index({.dim = 3});
  const auto x = skim_test::gaussian_points(30, 3, skim::seed{6});
  index.build(x.view());
  const auto before = skim_test::image_of(index);
  skim::workspace ws;
  std::vector<skim::neighbor> out(30);
  std::vector<std::size_t> found(30);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e20f}) {
    auto spoilt = x;
    spoilt.row(29)[2] = bad;
    CHECK_THROWS_AS(index.build(spoilt.view()), skim::invalid_input);
    CHECK_THROWS_AS(index.insert(spoilt.row(29), ws), skim::invalid_input);
    CHECK_THROWS_AS(index.update(2, spoilt.row(29), ws), skim::invalid_input);
    CHECK_THROWS_AS(index.search(spoilt.row(29), out, ws, 1), skim::invalid_input);
    CHECK_THROWS_AS(index.search(spoilt.view(), 1, out, found, 1), skim::invalid_input);
  }
  CHECK_THROWS_AS(index.search(x.row(0), out, ws, 0), skim::invalid_input);
  CHECK_THROWS_AS(index.search(x.view(), 1, out, found, 0), skim::invalid_input);
  CHECK_THROWS_AS(index.search(x.view(), 2, out, found, 1), skim::invalid_input);
  CHECK_THROWS_AS(index.erase(30), skim::invalid_input);
  CHECK_THROWS_AS(index.update(30, x.row(0), ws), skim::invalid_input);
  CHECK(skim_test::image_of(index) == before);
  skim::partition_index tiny({.dim = 1, .lists = 2});
  tiny.build(skim_test::gaussian_points(4, 1, skim::seed{7}).view());
  tiny.erase(2);
  skim_test::check_refuses_damage(tiny);
}
