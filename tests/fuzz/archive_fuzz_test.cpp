// SPDX-License-Identifier: Apache-2.0
//
// The fuzzer's loop as an ordinary test: a small corpus made here, and mutations of it from fixed
// seeds.
#include "fuzz/archive_fuzz.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/io/memory.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"

namespace {

using image = std::vector<std::byte>;

std::vector<image> corpus() {
  skim_test::fuzzed plain, nested;
  plain.what = skim_test::fuzzed::kind::plain;
  nested.moments.insert(3);
  nested.floats.resize(40);
  skim::running_moments moments;
  moments.insert(1);
  moments.insert(2, 0.5);
  const image engine = skim::save_bytes(skim::random_engine(skim::seed{2}));
  image twice = engine;
  twice.insert(twice.end(), engine.begin(), engine.end());
  return {skim::save_bytes(plain),
          skim::save_bytes(nested),
          skim::save_bytes(moments),
          engine,
          twice,
          {},
          skim_test::bytes_of("SKIM")};
}

/// One to four of: a changed byte, a special number, a cut, a repeated piece, a piece of another.
image mutated(image x, const std::vector<image>& all, skim::random_engine& g) {
  const auto below = [&](std::size_t n) {
    return static_cast<std::ptrdiff_t>(skim::uniform_below(g, std::max<std::size_t>(n, 1)));
  };
  for (auto edits = 1 + below(4); edits > 0; --edits) {
    if (x.empty()) x.push_back(std::byte{0});
    const std::ptrdiff_t at = below(x.size());
    switch (below(5)) {
      case 0:
        x[static_cast<std::size_t>(at)] = static_cast<std::byte>(g() & 255u);
        break;
      case 1: {
        constexpr std::uint64_t special[] = {0,
                                             1,
                                             0x7f,
                                             0xff,
                                             0xffff,
                                             0x7fffffff,
                                             0xffffffff,
                                             std::uint64_t{1} << 61,
                                             std::uint64_t{1} << 63,
                                             ~std::uint64_t{0}};
        const std::uint64_t value = special[below(std::size(special))];
        for (std::size_t k = 0; k < 8 && static_cast<std::size_t>(at) + k < x.size(); ++k)
          x[static_cast<std::size_t>(at) + k] = static_cast<std::byte>(value >> (8 * k) & 255u);
        break;
      }
      case 2:
        x.erase(x.begin() + at,
                x.begin() + at + below(x.size() - static_cast<std::size_t>(at) + 1));
        break;
      case 3: {
        const image piece(x.begin() + at,
                          x.begin() + at + below(x.size() - static_cast<std::size_t>(at) + 1));
        x.insert(x.begin() + below(x.size()), piece.begin(), piece.end());
        break;
      }
      default: {
        const image& other = all[static_cast<std::size_t>(below(all.size()))];
        const std::ptrdiff_t from = below(other.size());
        x.insert(x.begin() + at, other.begin() + std::min<std::ptrdiff_t>(from, std::ssize(other)),
                 other.end());
      }
    }
  }
  return x;
}

}  // namespace

TEST_CASE("mutated images are read or refused, nothing else", "[archive][fuzz]") {
  const std::vector<image> all = corpus();
  for (const image& x : all) CHECK_NOTHROW(skim_test::fuzz_archive(x));
  skim::random_engine g(skim::seed{1});
  for (int i = 0; i < 50'000; ++i) {
    const image x = mutated(all[skim::uniform_below(g, all.size())], all, g);
    try {
      skim_test::fuzz_archive(x);
    } catch (const std::exception& e) {
      FAIL("mutation " << i << ": " << e.what());
    }
  }
}

TEST_CASE("a structure of structures refuses damage", "[archive][fuzz]") {
  skim_test::check_refuses_damage(skim_test::fuzzed{});
}
