// SPDX-License-Identifier: Apache-2.0
#include "skim/table/counter_rows.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

#include "support/catch.hpp"
#include "support/stat_test.hpp"

TEST_CASE("keys that fit are their own columns", "[unit]") {
  const skim::code_columns c(3, 64, 16, 4, skim::seed{1});
  CHECK(c.exact());
  for (std::size_t r = 0; r < 3; ++r)
    for (std::uint32_t label = 0; label < 4; ++label)
      for (std::uint32_t code = 0; code < 16; ++code)
        REQUIRE(c.column(r, code, label) == code + 16 * label);
}

TEST_CASE("cells of a point are the columns of its rows", "[unit]") {
  for (const std::uint64_t range :
       {std::uint64_t{16}, std::uint64_t{5000}, std::uint64_t{1} << 32}) {
    const skim::code_columns c(5, 128, range, 7, skim::seed{3});
    CHECK(c.exact() == (range == 16));
    skim::random_engine g(skim::seed{4});
    for (int i = 0; i < 200; ++i) {
      std::vector<skim::code_t> codes(5);
      for (auto& x : codes) x = static_cast<skim::code_t>(skim::uniform_below(g, range));
      const auto label = static_cast<skim::label_t>(skim::uniform_below(g, 7));
      std::vector<std::uint32_t> at(5);
      c.locate(codes.data(), label, at);
      for (std::size_t r = 0; r < 5; ++r) REQUIRE(at[r] == r * 128 + c.column(r, codes[r], label));
    }
  }
}

TEST_CASE("codes replaced by their columns are the columns one by one", "[unit]") {
  for (const std::size_t rows : {1u, 4u, 5u})
    for (const std::uint64_t range :
         {std::uint64_t{16}, std::uint64_t{5000}, std::uint64_t{1} << 32})
      for (const std::size_t width : {128u, 65536u}) {
        if (range == std::uint64_t{1} << 32 && width == 65536) continue;
        const skim::code_columns c(rows, width, range, 7, skim::seed{3});
        skim::random_engine g(skim::seed{4});
        constexpr std::size_t n = 50;
        std::vector<std::uint16_t> codes(n * rows);
        std::vector<skim::label_t> labels(n);
        for (auto& x : codes)
          x = static_cast<std::uint16_t>(
              skim::uniform_below(g, std::min(range, std::uint64_t{65536})));
        for (auto& l : labels) l = static_cast<skim::label_t>(skim::uniform_below(g, 7));
        std::vector<std::uint16_t> labelled = codes, plain = codes;
        c.to_columns(labelled, labels);
        c.to_columns(plain, {});
        for (std::size_t i = 0; i < codes.size(); ++i) {
          REQUIRE(labelled[i] == c.column(i % rows, codes[i], labels[i / rows]));
          REQUIRE(plain[i] == c.column(i % rows, codes[i], 0));
        }
      }
}

TEST_CASE("codes beyond the range still give a cell of their row", "[unit]") {
  for (const std::size_t range : {4u, 4000u, 1u << 30}) {
    const skim::code_columns c(2, 16, range, 3, skim::seed{1});
    const std::vector<skim::code_t> codes(2, std::numeric_limits<skim::code_t>::max());
    std::vector<std::uint32_t> at(2);
    c.locate(codes.data(), 2, at);
    CHECK(at[0] < 16);
    CHECK((at[1] >= 16 && at[1] < 32));
  }
}

TEST_CASE("two keys share a column with probability 1/width", "[stat]") {
  constexpr std::size_t width = 32, rows = 50'000;
  // Narrow (32-bit) and wide (64-bit) words; neighbours, and keys far apart.
  for (const std::uint64_t range : {std::uint64_t{1000}, std::uint64_t{1} << 32}) {
    const skim::code_columns c(rows, width, range, 10, skim::seed{9});
    struct pair {
      std::uint64_t a, b, label_a, label_b;
    };
    for (const pair p :
         {pair{0, 1, 0, 0}, pair{7, 7, 1, 4}, pair{range - 1, 0, 9, 0}, pair{512, 256, 3, 3}}) {
      std::uint64_t hits = 0;
      for (std::size_t r = 0; r < rows; ++r)
        hits += c.column(r, p.a, p.label_a) == c.column(r, p.b, p.label_b);
      skim_test::check_proportion(hits, rows, 1.0 / width);
    }
  }
}

TEST_CASE("columns are uniform for every key", "[stat]") {
  const skim::code_columns c(20'000, 16, 5000, 2, skim::seed{2});
  std::vector<std::uint64_t> seen(16, 0);
  for (std::size_t r = 0; r < c.rows(); ++r) ++seen[c.column(r, 4321, 1)];
  skim_test::check_chi_square(seen, std::vector<double>(16, 1));
}

TEST_CASE("impossible sizes are refused", "[unit]") {
  const skim::seed s{1};
  CHECK_THROWS_AS(skim::code_columns(0, 16, 4, 1, s), skim::invalid_params);
  CHECK_THROWS_AS(skim::code_columns(1, 12, 4, 1, s), skim::invalid_params);
  CHECK_THROWS_AS(skim::code_columns(1, 1, 4, 1, s), skim::invalid_params);
  CHECK_THROWS_AS(skim::code_columns(1, 16, 0, 1, s), skim::invalid_params);
  CHECK_THROWS_AS(skim::code_columns(1, 16, 4, 0, s), skim::invalid_params);
  CHECK_THROWS_AS(skim::code_columns(1 << 20, 1 << 20, 4, 1, s), skim::invalid_params);
  CHECK_THROWS_AS(skim::counter_rows<float>(0, 16), skim::invalid_params);
  CHECK_THROWS_AS(skim::counter_rows<float>(2, 17), skim::invalid_params);
}

TEST_CASE("counters begin at zero on a cache line", "[unit]") {
  const skim::counter_rows<float> c(3, 32);
  CHECK(c.bytes() == 3 * 32 * 4);
  CHECK(reinterpret_cast<std::uintptr_t>(c.cells().data()) % 64 == 0);
  CHECK(c.row(2).data() == c.cells().data() + 64);
  for (const float x : c.cells()) CHECK(x == 0);
}
