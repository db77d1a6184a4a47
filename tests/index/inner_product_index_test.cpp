// SPDX-License-Identifier: Apache-2.0
#include "skim/index/inner_product_index.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/hash/sign_projection.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/cell_family.hpp"
#include "support/points.hpp"

template class skim::inner_product_index<skim::sign_projection>;

namespace {

using index_type = skim::inner_product_index<skim::sign_projection>;

skim::sign_projection signs(std::size_t d, std::size_t hashes, std::size_t bits) {
  return skim::sign_projection({.dim = d + 2, .bits = bits, .hashes = hashes}, skim::seed{3});
}

std::vector<skim::scored_item> ask(const index_type& index, std::span<const float> q, std::size_t k,
                                   skim::lsh_effort effort = {}) {
  skim::workspace ws;
  std::vector<skim::scored_item> out(k);
  out.resize(index.search(q, out, ws, effort));
  return out;
}

struct items {
  skim_test::points x;
  std::vector<float> offsets;
  std::vector<bool> alive;
};

items random_items(std::size_t n, std::size_t d, skim::seed s) {
  items it{skim_test::gaussian_points(n, d, s), std::vector<float>(n), std::vector<bool>(n, true)};
  skim::random_engine g = skim::random_engine(s).child(1);
  for (std::size_t i = 0; i < n; ++i) {
    const auto length = 0.2f + 2 * skim::uniform_float(g);
    for (float& v : it.x.row(i)) v *= length;
    it.offsets[i] = 2 * static_cast<float>(skim::normal(g));
  }
  return it;
}

std::vector<double> best_scores(const items& it, std::span<const float> q) {
  std::vector<double> all;
  for (std::size_t i = 0; i < it.x.size(); ++i)
    if (it.alive[i])
      all.push_back(skim_test::dot(q, it.x.row(i)) + static_cast<double>(it.offsets[i]));
  std::sort(all.rbegin(), all.rend());
  return all;
}

// With all buckets looked into, the answer is exact.
void check_exact(const index_type& index, const items& it, const skim_test::points& queries) {
  const skim::lsh_effort everything{.probes = 1'000'000};
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const auto best = best_scores(it, queries.row(i));
    const auto answer = ask(index, queries.row(i), 7, everything);
    REQUIRE(answer.size() == std::min<std::size_t>(7, best.size()));
    for (std::size_t j = 0; j < answer.size(); ++j) {
      const skim::id_t id = answer[j].id;
      const double own =
          skim_test::dot(queries.row(i), it.x.row(id)) + static_cast<double>(it.offsets[id]);
      REQUIRE_THAT(static_cast<double>(answer[j].score), Catch::Matchers::WithinAbs(own, 1e-3));
      REQUIRE_THAT(own, Catch::Matchers::WithinAbs(best[j], 1e-3));
    }
  }
}

}  // namespace

TEST_CASE("items are found by inner product plus offset, whatever was changed", "[unit]") {
  for (const std::size_t d : {1u, 6u}) {
    for (const float unit : {1.0f, 0.25f}) {
      auto it = random_items(200, d, skim::seed{1});
      const auto q = skim_test::gaussian_points(15, d, skim::seed{2});
      index_type index(signs(d, 2, 6), {.offset_unit = unit});
      index.build(it.x.view(), it.offsets);
      check_exact(index, it, q);
      skim::workspace ws;
      skim::random_engine g(skim::seed{3});
      for (int step = 0; step < 300; ++step) {
        const auto id = static_cast<skim::id_t>(skim::uniform_below(g, 200));
        auto fresh = random_items(1, d, skim::seed{static_cast<std::uint64_t>(100 + step)});
        // Now and then a longer item than any before.
        const float length = step % 60 == 7 ? static_cast<float>(step) : 1.0f;
        for (float& v : fresh.x.values) v *= length;
        if (!it.alive[id]) {
          const skim::id_t got = index.insert(fresh.x.row(0), fresh.offsets[0], ws);
          REQUIRE_FALSE(it.alive[got]);
          it.alive[got] = true;
          std::copy(fresh.x.row(0).begin(), fresh.x.row(0).end(), it.x.row(got).begin());
          it.offsets[got] = fresh.offsets[0];
        } else if (step % 3 == 0) {
          index.erase(id);
          it.alive[id] = false;
        } else if (step % 3 == 1) {
          index.update(id, fresh.x.row(0), fresh.offsets[0], ws);
          std::copy(fresh.x.row(0).begin(), fresh.x.row(0).end(), it.x.row(id).begin());
          it.offsets[id] = fresh.offsets[0];
        } else {
          index.set_offset(id, 3 * fresh.offsets[0], ws);
          it.offsets[id] = 3 * fresh.offsets[0];
        }
        if (it.alive[id]) {
          REQUIRE(std::equal(index.item(id).begin(), index.item(id).end(), it.x.row(id).begin()));
          REQUIRE_THAT(static_cast<double>(index.offset(id)),
                       Catch::Matchers::WithinAbs(static_cast<double>(it.offsets[id]), 1e-5));
        }
      }
      check_exact(index, it, q);
    }
  }
}

TEST_CASE("large products are likely to be found", "[unit]") {
  const auto it = random_items(2000, 16, skim::seed{4});
  const auto q = skim_test::gaussian_points(50, 16, skim::seed{5});
  index_type index(signs(16, 16, 6));
  index.build(it.x.view(), it.offsets);
  skim::workspace ws;
  double expected = 0, other = 0;
  std::size_t hits = 0, candidates = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    const auto best = best_scores(it, q.row(i));
    const auto answer = ask(index, q.row(i), 2000);
    candidates += answer.size();
    hits += !answer.empty() && static_cast<double>(answer[0].score) > best[0] - 1e-3;
    const auto top = ask(index, q.row(i), 1, {.probes = 1'000'000});
    expected += index.inclusion_probability(q.row(i), top[0].id, ws);
    other += index.inclusion_probability(q.row(i), static_cast<skim::id_t>(i), ws);
  }
  CHECK(expected > 1.5 * other);
  // 50 draws that share a family: no more than a plausible distance.
  CHECK(static_cast<double>(hits) > expected - 6 * std::sqrt(50 * 0.25));
  CHECK(static_cast<double>(candidates) < 0.7 * 50 * 2000);
}

TEST_CASE("batches and threads agree with single searches", "[unit]") {
  const auto it = random_items(500, 5, skim::seed{6});
  index_type index(signs(5, 4, 5));
  index.build(it.x.view(), it.offsets);
  skim::thread_executor pool(2);
  std::vector<skim::scored_item> out(500 * 3);
  std::vector<std::size_t> found(500);
  index.search(it.x.view(), 3, out, found, {.probes = 4}, pool);
  for (std::size_t i = 0; i < 500; ++i) {
    const auto one = ask(index, it.x.row(i), 3, {.probes = 4});
    REQUIRE(one.size() == found[i]);
    REQUIRE(std::equal(one.begin(), one.end(), out.begin() + static_cast<long>(3 * i)));
  }
}

TEST_CASE("zero items, no items and equal items", "[unit]") {
  index_type index(signs(2, 2, 4));
  skim::workspace ws;
  const std::vector<float> zero{0, 0}, one{1, 2};
  CHECK(ask(index, one, 3).empty());
  CHECK(index.insert(zero, 0, ws) == 0);
  const auto found = ask(index, one, 3, {.probes = 1000});
  REQUIRE(found.size() == 1);
  CHECK(found[0].score == 0);
  CHECK(ask(index, zero, 3, {.probes = 1000}).size() == 1);
  const std::vector<float> same(2 * 3000, 1.5f), offsets(3000, -1.0f);
  index.build(skim::matrix_view<const float>(same.data(), 3000, 2), offsets);
  const auto answer = ask(index, one, 4, {.probes = 1000});
  REQUIRE(answer.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(answer[i].id == i);
  CHECK(ask(index, one, 0).empty());
  index.build(skim::matrix_view<const float>(same.data(), 0, 2), {});
  CHECK(index.size() == 0);
}

TEST_CASE("bad items, offsets and queries are refused and change nothing", "[unit]") {
  index_type index(signs(3, 2, 4));
  const auto it = random_items(10, 3, skim::seed{7});
  index.build(it.x.view(), it.offsets);
  const auto before = skim_test::image_of(index);
  skim::workspace ws;
  std::vector<skim::scored_item> out(4);
  std::vector<std::size_t> found(10);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e25f}) {
    auto spoilt = it;
    spoilt.x.row(9)[2] = bad;
    spoilt.offsets[9] = bad;
    CHECK_THROWS_AS(index.build(spoilt.x.view(), it.offsets), skim::invalid_input);
    CHECK_THROWS_AS(index.build(it.x.view(), spoilt.offsets), skim::invalid_input);
    CHECK_THROWS_AS(index.insert(spoilt.x.row(9), 0, ws), skim::invalid_input);
    CHECK_THROWS_AS(index.insert(it.x.row(9), bad, ws), skim::invalid_input);
    CHECK_THROWS_AS(index.update(1, spoilt.x.row(9), 0, ws), skim::invalid_input);
    CHECK_THROWS_AS(index.set_offset(1, bad, ws), skim::invalid_input);
    CHECK_THROWS_AS(index.search(spoilt.x.row(9), out, ws), skim::invalid_input);
  }
  CHECK_THROWS_AS(index.insert(it.x.row(0).first(2), 0, ws), skim::invalid_input);
  CHECK_THROWS_AS(index.update(10, it.x.row(0), 0, ws), skim::invalid_input);
  CHECK_THROWS_AS(index.set_offset(10, 0, ws), skim::invalid_input);
  CHECK_THROWS_AS(index.erase(10), skim::invalid_input);
  CHECK_THROWS_AS(index.build(it.x.view(), std::span(it.offsets).first(9)), skim::invalid_input);
  CHECK_THROWS_AS(index.search(it.x.view(), 2, out, found), skim::invalid_input);
  CHECK(skim_test::image_of(index) == before);
  CHECK_THROWS_AS(
      index_type(skim::sign_projection({.dim = 2, .bits = 4, .hashes = 2}, skim::seed{3})),
      skim::invalid_params);
  CHECK_THROWS_AS(index_type(signs(3, 2, 4), {.offset_unit = 0}), skim::invalid_params);
  CHECK_THROWS_AS(index_type(signs(3, 2, 4), {.largest_norm = -1}), skim::invalid_params);
}

TEST_CASE("a saved inner product index answers as the original", "[unit]") {
  auto it = random_items(60, 3, skim::seed{8});
  index_type index(signs(3, 2, 4), {.offset_unit = 2});
  index.build(it.x.view(), it.offsets);
  index.erase(11);
  const auto bytes = skim_test::image_of(index);
  skim::reader in(bytes);
  const auto loaded = index_type::load(in);
  CHECK(skim_test::image_of(loaded) == bytes);
  for (std::size_t i = 0; i < 60; ++i)
    CHECK(ask(loaded, it.x.row(i), 5) == ask(index, it.x.row(i), 5));
  skim::inner_product_index<skim_test::cell_family> tiny(skim_test::cell_family(3, 2, 50));
  skim::workspace ws;
  tiny.insert(std::vector<float>{2}, 1, ws);
  skim_test::check_refuses_damage(tiny);
}
