// SPDX-License-Identifier: Apache-2.0
#include "skim/index/lsh_index.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "skim/hash/fern.hpp"
#include "skim/hash/sign_projection.hpp"
#include "skim/index/flat_index.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/cell_family.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

namespace {

using skim_test::cell_family;

skim::fern_family ferns(std::size_t d, std::size_t hashes, std::size_t bits) {
  const std::vector<skim::fern_coordinate> range(d, {-2, 2, 1});
  return {{.hashes = hashes, .bits = bits}, range, skim::seed{3}};
}
skim::sign_projection signs(std::size_t d, std::size_t hashes, std::size_t bits,
                            skim::seed s = skim::seed{3}) {
  return skim::sign_projection({.dim = d, .bits = bits, .hashes = hashes}, s);
}

template <class Index>
std::vector<skim::neighbor> ask(const Index& index, std::span<const float> q, std::size_t k,
                                skim::lsh_effort effort = {}) {
  skim::workspace ws;
  std::vector<skim::neighbor> out(k);
  out.resize(index.search(q, out, ws, effort));
  return out;
}

template <class Index>
std::set<skim::id_t> candidates(const Index& index, std::span<const float> q,
                                skim::lsh_effort effort = {}) {
  skim::workspace ws;
  std::vector<skim::id_t> ids{77};
  const std::size_t gathered = index.candidates(q, ids, ws, effort);
  REQUIRE(gathered >= ids.size());
  const std::set<skim::id_t> all(ids.begin(), ids.end());
  REQUIRE(all.size() == ids.size());
  return all;
}

// Ids that share a code with the query, by hashing everything anew.
template <class Family>
std::set<skim::id_t> colliding(const Family& family, std::span<const float> q,
                               const skim_test::points& x, std::span<const bool> alive) {
  skim::workspace ws;
  std::vector<skim::code_t> a(family.num_hashes()), b(family.num_hashes());
  family.hash(q, a, ws);
  std::set<skim::id_t> ids;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!alive[i]) continue;
    family.hash(x.row(i), b, ws);
    for (std::size_t t = 0; t < a.size(); ++t)
      if (a[t] == b[t]) ids.insert(static_cast<skim::id_t>(i));
  }
  return ids;
}

template <class Family>
void check_against_rehashing(const Family& family) {
  constexpr std::size_t n = 400;
  const std::size_t d = family.dim();
  auto x = skim_test::gaussian_points(n, d, skim::seed{1});
  const auto q = skim_test::gaussian_points(12, d, skim::seed{2});
  skim::lsh_index<Family> index(family, {.centre = skim::centring::none});
  index.build(x.view());
  bool alive[n];
  std::fill(std::begin(alive), std::end(alive), true);
  skim::workspace ws;
  const auto check = [&] {
    for (std::size_t i = 0; i < q.size(); ++i) {
      const auto expected = colliding(family, q.row(i), x, alive);
      REQUIRE(candidates(index, q.row(i)) == expected);
      // The answer is the exact one among the candidates.
      skim::flat_index flat({.dim = d});
      std::vector<skim::id_t> original;
      for (const skim::id_t id : expected) {
        flat.insert(x.row(id));
        original.push_back(id);
      }
      std::vector<skim::neighbor> out(9);
      out.resize(flat.search(q.row(i), out, ws));
      for (auto& o : out) o.id = original[o.id];
      REQUIRE(ask(index, q.row(i), 9) == out);
    }
  };
  check();
  skim::random_engine g(skim::seed{4});
  for (int step = 0; step < 600; ++step) {
    const auto id = static_cast<skim::id_t>(skim::uniform_below(g, n));
    const auto fresh =
        skim_test::gaussian_points(1, d, skim::seed{static_cast<std::uint64_t>(1000 + step)});
    if (!alive[id]) {
      const skim::id_t got = index.insert(fresh.row(0), ws);
      REQUIRE_FALSE(alive[got]);
      alive[got] = true;
      std::copy(fresh.row(0).begin(), fresh.row(0).end(), x.row(got).begin());
    } else if (g() % 2 == 0) {
      index.erase(id);
      alive[id] = false;
    } else {
      index.update(id, fresh.row(0), ws);
      std::copy(fresh.row(0).begin(), fresh.row(0).end(), x.row(id).begin());
    }
    REQUIRE(index.size() == static_cast<std::size_t>(std::count(alive, alive + n, true)));
  }
  check();
}

}  // namespace

template class skim::lsh_index<skim::sign_projection>;
template class skim::lsh_index<skim::fern_family>;

TEST_CASE("candidates are the points that share a code, whatever was changed", "[unit]") {
  SECTION("signs") {
    check_against_rehashing(signs(6, 5, 6));
  }
  SECTION("signs of one bit") {
    check_against_rehashing(signs(3, 2, 1));
  }
  SECTION("signs of 20 bits") {
    check_against_rehashing(signs(4, 3, 20));
  }
  SECTION("signs of 32 bits, searched") {
    check_against_rehashing(signs(2, 3, 32));
  }
  SECTION("ferns") {
    check_against_rehashing(ferns(6, 5, 6));
  }
  SECTION("cells") {
    check_against_rehashing(cell_family(3));
  }
  SECTION("cells of a wide range") {
    check_against_rehashing(cell_family(3, 4, std::uint64_t{1} << 32));
  }
}

TEST_CASE("a point is found with the probability of the formula", "[stat]") {
  constexpr std::size_t d = 8, n = 30, draws = 1500;
  const auto x = skim_test::gaussian_points(n, d, skim::seed{5});
  const auto q = skim_test::gaussian_points(1, d, skim::seed{6});
  for (const auto centre : {skim::centring::none, skim::centring::mean}) {
    std::vector<std::uint64_t> hits(n, 0);
    std::vector<double> expected(n);
    skim::workspace ws;
    for (std::size_t s = 0; s < draws; ++s) {
      skim::lsh_index index(signs(d, 6, 4, skim::seed{s}), {.centre = centre});
      index.build(x.view());
      for (const skim::id_t id : candidates(index, q.row(0))) ++hits[id];
      for (skim::id_t id = 0; id < n && s == 0; ++id)
        expected[id] = index.inclusion_probability(q.row(0), id, ws);
    }
    for (std::size_t i = 0; i < n; ++i)
      skim_test::check_proportion(hits[i], draws, expected[i], 1e-6 / n);
  }
}

TEST_CASE("probes visit all codes, the unsure bits first, and never lose a candidate", "[unit]") {
  constexpr std::size_t d = 10, n = 500;
  const auto x = skim_test::gaussian_points(n, d, skim::seed{7});
  const auto q = skim_test::gaussian_points(20, d, skim::seed{8});
  const auto check = [&](const auto& family, std::size_t all) {
    skim::lsh_index index(family);
    index.build(x.view());
    for (std::size_t i = 0; i < q.size(); ++i) {
      std::set<skim::id_t> before = candidates(index, q.row(i));
      for (const std::size_t probes : {1u, 2u, 5u, 17u, 40u}) {
        const auto now = candidates(index, q.row(i), {.probes = probes});
        REQUIRE(std::includes(now.begin(), now.end(), before.begin(), before.end()));
        before = now;
      }
      REQUIRE(candidates(index, q.row(i), {.probes = all}).size() == n);
      REQUIRE(candidates(index, q.row(i), {.probes = all + 1000}).size() == n);
    }
  };
  check(signs(d, 2, 5), 62);
  check(ferns(d, 2, 5), 62);
  const cell_family cells(d);
  skim::lsh_index index(cells);
  index.build(x.view());
  CHECK(candidates(index, q.row(0), {.probes = 100}) == candidates(index, q.row(0)));
}

TEST_CASE("probes in the order of margins find more than in any order", "[stat]") {
  constexpr std::size_t d = 16, n = 3000;
  auto near = skim_test::gaussian_points(n, d, skim::seed{9});
  const auto x = near;
  skim::random_engine g(skim::seed{10});
  for (float& v : near.values) v += 0.3f * static_cast<float>(skim::normal(g));
  std::uint64_t sure = 0, blind = 0;
  const skim::lsh_effort effort{.probes = 8};
  skim::lsh_index a(signs(d, 1, 14));
  skim::lsh_index b(skim::hadamard_sign_projection({.dim = d, .bits = 14}, skim::seed{1}));
  a.build(x.view());
  b.build(x.view());
  for (std::size_t i = 0; i < n; ++i) {
    const auto id = static_cast<skim::id_t>(i);
    sure += candidates(a, near.row(i), effort).contains(id);
    blind += candidates(b, near.row(i), effort).contains(id);
  }
  INFO(sure << " with margins, " << blind << " without");
  CHECK(sure > blind + 6 * static_cast<std::uint64_t>(std::sqrt(n)));
}

TEST_CASE("looks keep the candidates with the nearest codes", "[unit]") {
  const auto check = [](const auto& family) {
    const std::size_t d = family.dim();
    const auto x = skim_test::gaussian_points(600, d, skim::seed{11});
    const auto q = skim_test::gaussian_points(10, d, skim::seed{12});
    skim::lsh_index index(family, {.centre = skim::centring::none});
    index.build(x.view());
    skim::workspace ws;
    std::vector<skim::code_t> a(family.num_hashes()), b(family.num_hashes());
    for (std::size_t i = 0; i < q.size(); ++i) {
      const auto all = candidates(index, q.row(i));
      const auto kept = candidates(index, q.row(i), {.looks = 30});
      if (all.size() <= 30) {
        CHECK(kept == all);
        continue;
      }
      CHECK(kept.size() >= 30);
      CHECK(std::includes(all.begin(), all.end(), kept.begin(), kept.end()));
      family.hash(q.row(i), a, ws);
      int nearest_left = std::numeric_limits<int>::max(), farthest_kept = 0;
      for (const skim::id_t id : all) {
        family.hash(x.row(id), b, ws);
        int distance = 0;
        for (std::size_t t = 0; t < a.size(); ++t) {
          if constexpr (skim::bit_hash_family<std::decay_t<decltype(family)>>) {
            distance += std::popcount(a[t] ^ b[t]);
          } else {
            distance += a[t] != b[t];
          }
        }
        if (kept.contains(id)) {
          farthest_kept = std::max(farthest_kept, distance);
        } else {
          nearest_left = std::min(nearest_left, distance);
        }
      }
      CHECK(farthest_kept < nearest_left);
    }
  };
  check(signs(8, 16, 3));
  check(signs(8, 3, 17));
  check(ferns(8, 16, 3));
  check(cell_family(2, 6));
}

TEST_CASE("batches, threads and single searches agree", "[unit]") {
  constexpr std::size_t d = 12, n = 3000;
  const auto x = skim_test::clustered_points(n, d, 30, 0.4, skim::seed{13});
  for (const auto m :
       {skim::metric::euclidean, skim::metric::cosine, skim::metric::inner_product}) {
    skim::lsh_index index(signs(d, 20, 9), {.distance = m}), pooled = index;
    skim::thread_executor pool(3);
    index.build(x.view());
    pooled.build(x.view(), pool);
    for (const skim::lsh_effort effort : {skim::lsh_effort{}, skim::lsh_effort{.probes = 30},
                                          skim::lsh_effort{.probes = 9, .looks = 40}}) {
      std::vector<skim::neighbor> a(n * 5), b(n * 5);
      std::vector<std::size_t> found(n), found_too(n);
      index.search(x.view(), 5, a, found, effort);
      pooled.search(x.view(), 5, b, found_too, effort, pool);
      CHECK(found == found_too);
      CHECK(a == b);
      std::vector<int> wrong(4, 0);
      std::vector<std::thread> readers;
      for (std::size_t t = 0; t < 4; ++t)
        readers.emplace_back([&, t] {
          skim::workspace ws;
          std::vector<skim::neighbor> one(5);
          for (std::size_t i = t; i < n; i += 11) {
            const std::size_t got = index.search(x.row(i), one, ws, effort);
            wrong[t] +=
                got != found[i] || !std::equal(one.begin(), one.begin() + static_cast<long>(got),
                                               a.begin() + static_cast<long>(5 * i));
          }
        });
      for (auto& r : readers) r.join();
      CHECK(wrong == std::vector<int>(4, 0));
      // A point shares all codes with itself; its distance comes out as flat_index's.
      if (m == skim::metric::euclidean)
        for (std::size_t i = 0; i < n; ++i) REQUIRE(a[5 * i] == skim::neighbor{skim::id_t(i), 0});
    }
  }
}

TEST_CASE("the mean makes signs tell points on one side of the origin apart", "[stat]") {
  constexpr std::size_t d = 20, n = 2000;
  auto x = skim_test::gaussian_points(n, d, skim::seed{14});
  for (float& v : x.values) v += 30;
  skim::lsh_index with(signs(d, 4, 8)), without(signs(d, 4, 8), {.centre = skim::centring::none});
  with.build(x.view());
  without.build(x.view());
  std::size_t few = 0, many = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    few += candidates(with, x.row(i)).size();
    many += candidates(without, x.row(i)).size();
  }
  CHECK(20 * few < many);
}

TEST_CASE("empty, tiny, constant and duplicate data", "[unit]") {
  for (const auto m :
       {skim::metric::euclidean, skim::metric::cosine, skim::metric::inner_product}) {
    for (const std::size_t d : {1u, 5u}) {
      skim::lsh_index index(signs(d, 3, 6), {.distance = m});
      const auto q = skim_test::gaussian_points(1, d, skim::seed{15});
      const std::vector<float> zero(d, 0.0f);
      CHECK(ask(index, q.row(0), 3).empty());
      CHECK(ask(index, q.row(0), 0).empty());
      index.build(skim::matrix_view<const float>(zero.data(), 0, d));
      CHECK(ask(index, zero, 3, {.probes = 1000}).empty());
      skim::workspace ws;
      CHECK(index.insert(zero, ws) == 0);
      CHECK(ask(index, zero, 3).size() == 1);
      CHECK(ask(index, q.row(0), 3, {.probes = 1000}).size() == 1);
      index.update(0, q.row(0), ws);
      CHECK(ask(index, q.row(0), 3).size() == 1);
      index.erase(0);
      CHECK(index.size() == 0);
      CHECK(ask(index, q.row(0), 3, {.probes = 1000}).empty());
      for (const float value : {0.0f, 3.0f}) {
        const std::vector<float> same(5000 * d, value);
        index.build(skim::matrix_view<const float>(same.data(), 5000, d));
        for (const skim::lsh_effort effort : {skim::lsh_effort{}, skim::lsh_effort{.looks = 10}}) {
          const auto found = ask(index, std::span(same).first(d), 7, effort);
          REQUIRE(found.size() == 7);
          for (std::size_t i = 0; i < 7; ++i) CHECK(found[i].id == i);
        }
        for (skim::id_t id = 0; id < 5000; ++id)
          if (id % 50 != 0) index.erase(id);
        CHECK(candidates(index, std::span(same).first(d)).size() == 100);
      }
    }
  }
}

TEST_CASE("bad input is refused and changes nothing", "[unit]") {
  skim::lsh_index index(signs(4, 3, 6));
  const auto x = skim_test::gaussian_points(20, 4, skim::seed{16});
  index.build(x.view());
  const auto before = skim_test::image_of(index);
  skim::workspace ws;
  std::vector<skim::neighbor> out(40);
  std::vector<std::size_t> found(20);
  std::vector<skim::id_t> ids;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 1e25f}) {
    auto spoilt = x;
    spoilt.row(19)[1] = bad;
    CHECK_THROWS_AS(index.build(spoilt.view()), skim::invalid_input);
    CHECK_THROWS_AS(index.insert(spoilt.row(19), ws), skim::invalid_input);
    CHECK_THROWS_AS(index.insert(spoilt.view(), {}, ws), skim::invalid_input);
    CHECK_THROWS_AS(index.update(3, spoilt.row(19), ws), skim::invalid_input);
    CHECK_THROWS_AS(index.search(spoilt.row(19), out, ws), skim::invalid_input);
    CHECK_THROWS_AS(index.search(spoilt.view(), 2, out, found), skim::invalid_input);
    CHECK_THROWS_AS(index.candidates(spoilt.row(19), ids, ws), skim::invalid_input);
    CHECK_THROWS_AS(index.inclusion_probability(spoilt.row(19), 0, ws), skim::invalid_input);
  }
  CHECK_THROWS_AS(index.insert(x.row(0).first(3), ws), skim::invalid_input);
  CHECK_THROWS_AS(index.erase(20), skim::invalid_input);
  CHECK_THROWS_AS(index.update(20, x.row(0), ws), skim::invalid_input);
  CHECK_THROWS_AS(index.inclusion_probability(x.row(0), 20, ws), skim::invalid_input);
  CHECK_THROWS_AS(index.search(x.view(), 3, out, found), skim::invalid_input);
  CHECK_THROWS_AS(skim::lsh_index(signs(4, 3, 6), {.distance = static_cast<skim::metric>(7)}),
                  skim::invalid_params);
  CHECK(skim_test::image_of(index) == before);
}

TEST_CASE("a saved index answers as the original", "[unit]") {
  const auto check = [](const auto& family) {
    using index_type = skim::lsh_index<std::decay_t<decltype(family)>>;
    const std::size_t d = family.dim();
    const auto x = skim_test::gaussian_points(300, d, skim::seed{17});
    index_type index(family, {.distance = skim::metric::cosine});
    index.build(x.view());
    skim::workspace ws;
    for (skim::id_t id = 0; id < 300; id += 7) index.erase(id);
    for (std::size_t i = 0; i < 20; ++i) index.insert(x.row(i + 50), ws);
    const auto bytes = skim_test::image_of(index);
    skim::reader in(bytes);
    auto loaded = index_type::load(in);
    CHECK(skim_test::image_of(loaded) == bytes);
    for (std::size_t i = 0; i < 300; ++i)
      REQUIRE(ask(loaded, x.row(i), 6, {.probes = 5}) == ask(index, x.row(i), 6, {.probes = 5}));
    CHECK(loaded.insert(x.row(0), ws) == index.insert(x.row(0), ws));
  };
  check(signs(5, 4, 6));
  check(ferns(5, 4, 6));
  check(cell_family(5));
  skim::lsh_index<cell_family> tiny(cell_family(2, 2, 50));
  tiny.build(skim_test::gaussian_points(3, 2, skim::seed{18}).view());
  tiny.erase(1);
  skim_test::check_refuses_damage(tiny);
}

TEST_CASE("single insertions move what is there seldom", "[unit]") {
  // Each one that makes room for one more only would be quadratic: seconds here instead of
  // milliseconds. The memory says how much room was made.
  constexpr std::size_t n = 3000;
  const auto x = skim_test::gaussian_points(n, 4, skim::seed{20});
  skim::lsh_index index(signs(4, 1, 4));
  skim::workspace ws;
  std::size_t changes = 0, before = index.bytes();
  for (std::size_t i = 0; i < n; ++i) {
    index.insert(x.row(i), ws);
    changes += index.bytes() != before;
    before = index.bytes();
  }
  CHECK(changes < 300);
}
