// SPDX-License-Identifier: Apache-2.0
//
// The three kinds of buckets, compared with containers of the standard library.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/table/dynamic_buckets.hpp"
#include "skim/table/flat_buckets.hpp"
#include "skim/table/reservoir_buckets.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace {

using reference = std::map<skim::code_t, std::vector<skim::id_t>>;

std::vector<skim::id_t> sorted(std::span<const skim::id_t> ids) {
  std::vector<skim::id_t> copy(ids.begin(), ids.end());
  std::sort(copy.begin(), copy.end());
  return copy;
}

template <class Code>
std::vector<Code> random_codes(std::size_t n, std::uint64_t range, skim::seed s) {
  skim::random_engine g(s);
  std::vector<Code> codes(n);
  // Few of the codes, so that buckets differ in size.
  for (auto& c : codes)
    c = static_cast<Code>(skim::uniform_below(g, range) & (g() % 4 == 0 ? ~0u : ~0x7u));
  return codes;
}

reference by_code(std::span<const skim::code_t> codes) {
  reference r;
  for (std::size_t i = 0; i < codes.size(); ++i) r[codes[i]].push_back(static_cast<skim::id_t>(i));
  return r;
}

}  // namespace

TEST_CASE("flat buckets hold the ids of each code in order", "[unit]") {
  for (const std::uint64_t range : {std::uint64_t{1}, std::uint64_t{16}, std::uint64_t{5000},
                                    std::uint64_t{1} << 20, std::uint64_t{1} << 32}) {
    for (const std::size_t n : {0u, 1u, 7u, 3000u}) {
      const auto codes = random_codes<skim::code_t>(n, range, skim::seed{n});
      const skim::flat_buckets flat(std::span<const skim::code_t>(codes), range);
      CHECK(flat.size() == n);
      CHECK(flat.direct() == (range <= std::max<std::uint64_t>(4096, 4 * n)));
      for (const auto& [code, ids] : by_code(codes)) {
        const auto bucket = flat.bucket(code);
        REQUIRE(std::equal(bucket.begin(), bucket.end(), ids.begin(), ids.end()));
      }
      skim::random_engine g(skim::seed{9});
      const auto all = by_code(codes);
      for (int i = 0; i < 100; ++i) {
        const auto code = static_cast<skim::code_t>(g() >> 32);
        flat.prefetch(code);
        REQUIRE(flat.bucket(code).empty() == !all.contains(code));
      }
    }
  }
  CHECK(skim::flat_buckets().bucket(0).empty());
}

TEST_CASE("flat buckets keep to the memory they state and refuse codes out of range", "[unit]") {
  const auto few = random_codes<std::uint16_t>(10'000, 256, skim::seed{1});
  const skim::flat_buckets direct(std::span<const std::uint16_t>(few), 256);
  CHECK(direct.bytes() <= 4 * 10'000 + 4 * 257);
  std::vector<skim::code_t> many(10'000);
  skim::random_engine g(skim::seed{2});
  for (auto& c : many) c = static_cast<skim::code_t>(g() >> 32);
  const skim::flat_buckets searched(std::span<const skim::code_t>(many), std::uint64_t{1} << 32);
  CHECK(searched.bytes() <= 4 * 10'000 + 36 * 10'000 + 4);
  const std::vector<skim::code_t> bad{1, 2, 16};
  CHECK_THROWS_AS(skim::flat_buckets(std::span<const skim::code_t>(bad), 16), skim::invalid_input);
  CHECK_THROWS_AS(skim::flat_buckets(std::span<const skim::code_t>(bad), 0), skim::invalid_params);
  CHECK_THROWS_AS(skim::flat_buckets(std::span<const skim::code_t>(bad), std::uint64_t{1} << 33),
                  skim::invalid_params);
}

TEST_CASE("dynamic buckets do what a map of lists does", "[unit]") {
  for (const std::uint64_t range : {std::uint64_t{1}, std::uint64_t{40}, std::uint64_t{1} << 30}) {
    for (const std::size_t start : {0u, 1u, 500u}) {
      skim::dynamic_buckets table({.range = range});
      reference r;
      std::vector<skim::code_t> of(2000, 0);  // where each id is
      std::vector<bool> in(2000, false);
      skim::random_engine g(skim::seed{range + start});
      // Few distinct codes in every range.
      const auto code = [&] {
        return static_cast<skim::code_t>(
            skim::uniform_below(g, std::min<std::uint64_t>(range, 40)) *
            (range / std::min<std::uint64_t>(range, 40)));
      };
      std::vector<skim::code_t> first(start);
      for (auto& c : first) c = code();
      table.build(std::span<const skim::code_t>(first));
      for (std::size_t i = 0; i < start; ++i) {
        r[first[i]].push_back(static_cast<skim::id_t>(i));
        of[i] = first[i];
        in[i] = true;
      }
      for (int step = 0; step < 20'000; ++step) {
        const auto id = static_cast<skim::id_t>(skim::uniform_below(g, 2000));
        const skim::code_t to = code();
        // Phases of growth and of decay.
        const bool growing = step / 4000 % 2 == 0;
        if (!in[id] && (growing || g() % 4 == 0)) {
          table.insert(to, id);
          r[to].push_back(id);
          of[id] = to;
          in[id] = true;
        } else if (in[id] && g() % 2 == 0) {
          REQUIRE(table.move(of[id], to, id));
          std::erase(r[of[id]], id);
          r[to].push_back(id);
          of[id] = to;
        } else if (in[id] && (!growing || g() % 4 == 0)) {
          REQUIRE(table.erase(of[id], id));
          REQUIRE_FALSE(table.erase(of[id], id));
          std::erase(r[of[id]], id);
          in[id] = false;
        } else if (!in[id]) {
          REQUIRE_FALSE(table.move(of[id], to, id));
        }
        if (step % 1000 != 0) continue;
        std::size_t total = 0;
        for (const auto& [c, ids] : r) {
          table.prefetch(c);
          REQUIRE(sorted(table.bucket(c)) == sorted(ids));
          total += ids.size();
        }
        REQUIRE(table.size() == total);
      }
      table.clear();
      CHECK(table.size() == 0);
      CHECK(table.bucket(0).empty());
      table.insert(0, 5);
      CHECK(sorted(table.bucket(0)) == std::vector<skim::id_t>{5});
    }
  }
}

TEST_CASE("a built list of up to 16 ids lies in one cache line", "[unit]") {
  const auto codes = random_codes<std::uint16_t>(4000, 1024, skim::seed{3});
  skim::dynamic_buckets table({.range = 1024});
  table.build(std::span<const std::uint16_t>(codes));
  for (int i = 0; i < 3000; ++i)
    table.insert(codes[static_cast<std::size_t>(i)], static_cast<skim::id_t>(4000 + i));
  for (skim::code_t c = 0; c < 1024; ++c) {
    const auto ids = table.bucket(c);
    if (ids.empty() || ids.size() > 16) continue;
    const auto first = reinterpret_cast<std::uintptr_t>(ids.data());
    const auto last = reinterpret_cast<std::uintptr_t>(ids.data() + ids.size() - 1);
    REQUIRE(first / 64 == last / 64);
  }
}

TEST_CASE("dynamic buckets keep to the memory they state", "[unit]") {
  skim::dynamic_buckets table({.range = 256});
  skim::random_engine g(skim::seed{4});
  std::vector<std::size_t> peak(256, 0), size(256, 0);
  std::vector<std::pair<skim::code_t, skim::id_t>> live;
  for (int step = 0; step < 60'000; ++step) {
    if (live.empty() || g() % 100 < (step / 10'000 % 2 == 0 ? 70u : 30u)) {
      const auto code = static_cast<skim::code_t>(skim::uniform_below(g, 256));
      table.insert(code, static_cast<skim::id_t>(step));
      live.emplace_back(code, static_cast<skim::id_t>(step));
      peak[code] = std::max(peak[code], ++size[code]);
    } else {
      const auto at = skim::uniform_below(g, live.size());
      std::swap(live[at], live.back());
      REQUIRE(table.erase(live.back().first, live.back().second));
      --size[live.back().first];
      live.pop_back();
    }
  }
  std::size_t ids = 0;
  for (const std::size_t p : peak) ids += p;
  CHECK(table.bytes() <= 8 * 256 + 2 * 16 * ids + 128);
  while (!live.empty()) {
    REQUIRE(table.erase(live.back().first, live.back().second));
    live.pop_back();
  }
  const auto fill_and_empty = [&] {
    for (skim::id_t i = 0; i < 5000; ++i) table.insert(i % 256, i);
    for (skim::id_t i = 0; i < 5000; ++i) REQUIRE(table.erase(i % 256, i));
  };
  fill_and_empty();
  const std::size_t once = table.bytes();
  for (int round = 0; round < 5; ++round) fill_and_empty();
  CHECK(table.bytes() == once);  // places are used again
}

TEST_CASE("thousands of ids share a bucket", "[unit]") {
  for (const std::uint64_t range : {std::uint64_t{4}, std::uint64_t{1} << 30}) {
    skim::dynamic_buckets table({.range = range});
    table.build(std::span<const skim::code_t>(std::vector<skim::code_t>(20'000, 3)));
    CHECK(table.bucket(3).size() == 20'000);
    for (skim::id_t id = 0; id < 20'000; id += 2) REQUIRE(table.erase(3, id));
    CHECK(table.bucket(3).size() == 10'000);
    CHECK(table.bucket(2).empty());
  }
}

TEST_CASE("dynamic buckets refuse codes out of range and change nothing", "[unit]") {
  skim::dynamic_buckets table({.range = 10});
  table.insert(3, 1);
  CHECK_THROWS_AS(table.insert(10, 2), skim::invalid_input);
  CHECK_THROWS_AS(table.move(3, 10, 1), skim::invalid_input);
  CHECK_THROWS_AS(table.build(std::span<const skim::code_t>(std::vector<skim::code_t>{1, 10})),
                  skim::invalid_input);
  const std::vector<skim::id_t> ids{1};
  CHECK_THROWS_AS(table.build(std::span<const skim::code_t>(std::vector<skim::code_t>{1, 2}), ids),
                  skim::invalid_input);
  CHECK(sorted(table.bucket(3)) == std::vector<skim::id_t>{1});
  CHECK(table.size() == 1);
  CHECK_FALSE(table.erase(12, 1));
  CHECK(table.bucket(12).empty());
  CHECK_THROWS_AS(skim::dynamic_buckets({.range = 0}), skim::invalid_params);
  CHECK_THROWS_AS(skim::dynamic_buckets({.range = std::uint64_t{1} << 33}), skim::invalid_params);
  table.build(std::span<const skim::code_t>(std::vector<skim::code_t>{4}), ids);
  CHECK(sorted(table.bucket(4)) == std::vector<skim::id_t>{1});
}

TEST_CASE("a reservoir bucket is a uniform sample, after erasures too", "[stat]") {
  constexpr std::size_t capacity = 8, trials = 4000;
  std::vector<std::uint64_t> kept(40, 0);
  std::uint64_t total = 0;
  for (std::size_t t = 0; t < trials; ++t) {
    skim::reservoir_buckets r({.range = 4, .capacity = capacity}, skim::seed{t});
    for (skim::id_t id = 0; id < 40; ++id) {
      r.insert(2, id);
      r.insert(1, id);  // takes nothing from the other's randomness
      if (id == 25) {
        for (skim::id_t gone = 10; gone < 20; ++gone) r.erase(2, gone);
      }
    }
    REQUIRE(r.population(2) == 30);
    for (const skim::id_t id : r.bucket(2)) ++kept[id];
    total += r.bucket(2).size();
  }
  for (skim::id_t id = 10; id < 20; ++id) CHECK(kept[id] == 0);
  // Given its size the sample is uniform: every survivor is kept equally often.
  for (std::size_t id = 0; id < 40; ++id) {
    if (id >= 10 && id < 20) continue;
    skim_test::check_proportion(kept[id], trials,
                                static_cast<double>(total) / (30.0 * static_cast<double>(trials)),
                                1e-6 / 30);
  }
}

TEST_CASE("reservoir buckets are empty, full, and never more", "[unit]") {
  skim::reservoir_buckets r({.range = 3, .capacity = 2}, skim::seed{1});
  CHECK(r.bucket(0).empty());
  CHECK(r.bucket(7).empty());
  const std::size_t bytes = r.bytes();
  CHECK(bytes <= (4 * 2 + 20) * 3);
  for (skim::id_t id = 0; id < 100; ++id) r.insert(1, id);
  CHECK(r.bucket(1).size() == 2);
  CHECK(r.population(1) == 100);
  CHECK(r.bytes() == bytes);
  CHECK_THROWS_AS(r.insert(3, 1), skim::invalid_input);
  CHECK_THROWS_AS(r.erase(0, 1), skim::invalid_input);
  CHECK_THROWS_AS(skim::reservoir_buckets({.range = 0}), skim::invalid_params);
  CHECK_THROWS_AS(skim::reservoir_buckets({.range = 1, .capacity = 0}), skim::invalid_params);
  r.clear();
  CHECK(r.bucket(1).empty());
  CHECK(r.population(1) == 0);
}

TEST_CASE("a fifo bucket keeps the latest", "[unit]") {
  skim::reservoir_buckets r({.range = 1, .capacity = 4, .full = skim::replacement::fifo});
  for (skim::id_t id = 0; id < 10; ++id) r.insert(0, id);
  CHECK(sorted(r.bucket(0)) == std::vector<skim::id_t>{6, 7, 8, 9});
  CHECK(r.erase(0, 7));
  CHECK_FALSE(r.erase(0, 2));
  r.insert(0, 10);
  CHECK(sorted(r.bucket(0)) == std::vector<skim::id_t>{6, 8, 9, 10});
  r.insert(0, 11);
  CHECK(sorted(r.bucket(0)) == std::vector<skim::id_t>{8, 9, 10, 11});
}

TEST_CASE("saved reservoir buckets go on as the original would", "[unit]") {
  for (const auto full : {skim::replacement::reservoir, skim::replacement::fifo}) {
    skim::reservoir_buckets a({.range = 5, .capacity = 3, .full = full}, skim::seed{7});
    skim::random_engine g(skim::seed{8});
    for (skim::id_t id = 0; id < 60; ++id) {
      a.insert(static_cast<skim::code_t>(skim::uniform_below(g, 4)), id);
    }
    a.erase(0, a.bucket(0)[1]);
    skim::writer out;
    a.save(out);
    skim::reader in(out.bytes());
    auto b = skim::reservoir_buckets::load(in);
    for (skim::id_t id = 60; id < 200; ++id) {
      const auto code = static_cast<skim::code_t>(skim::uniform_below(g, 5));
      a.insert(code, id);
      b.insert(code, id);
    }
    for (skim::code_t c = 0; c < 5; ++c) CHECK(sorted(a.bucket(c)) == sorted(b.bucket(c)));
    CHECK(skim_test::image_of(a) == skim_test::image_of(b));
    skim_test::check_refuses_damage(a);
  }
}
