// SPDX-License-Identifier: Apache-2.0
#include "skim/hash/bits.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "skim/hash/sign_projection.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

TEST_CASE("bits of codes are the signs of the margins", "[unit]") {
  for (const std::size_t bits : {1u, 7u, 16u, 32u}) {
    const skim::sign_projection family({.dim = 9, .bits = bits, .hashes = 5}, skim::seed{1});
    CHECK(family.range() == std::uint64_t{1} << family.bits());
    auto x = skim_test::gaussian_points(40, 9, skim::seed{2});
    std::fill(x.row(3).begin(), x.row(3).end(), 0.0f);
    std::vector<skim::code_t> codes(40 * 5);
    std::vector<float> margins(40 * 5 * bits), one(5 * bits);
    skim::workspace ws;
    family.hash(x.view(), codes, ws);
    const auto alone = codes;
    std::fill(codes.begin(), codes.end(), 0u);
    family.hash(x.view(), codes, margins, ws);
    REQUIRE(codes == alone);
    for (std::size_t c = 0; c < codes.size(); ++c)
      for (std::size_t b = 0; b < bits; ++b)
        REQUIRE((codes[c] >> b & 1u) == (margins[c * bits + b] > 0 ? 1u : 0u));
    std::vector<skim::code_t> code(5);
    family.hash(x.view().rows(7, 1), code, one, ws);
    CHECK(std::equal(code.begin(), code.end(), codes.begin() + 7 * 5));
    CHECK(std::equal(one.begin(), one.end(),
                     margins.begin() + static_cast<std::ptrdiff_t>(7 * 5 * bits)));
    CHECK_THROWS_AS(family.hash(x.view().rows(0, 1), code, margins, ws), skim::invalid_input);
    x.row(0)[0] = std::numeric_limits<float>::infinity();
    CHECK_THROWS_AS(family.hash(x.view().rows(0, 1), code, one, ws), skim::invalid_input);
  }
}
