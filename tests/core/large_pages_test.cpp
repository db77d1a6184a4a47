// SPDX-License-Identifier: Apache-2.0
#include "skim/core/large_pages.hpp"

#include <cstddef>
#include <cstdint>
#include <numeric>

#include "support/catch.hpp"

TEST_CASE("large vectors begin on a cache line and hold what others hold", "[unit]") {
  for (const std::size_t n : {0u, 1u, 1000u, 1u << 20, (1u << 20) + 7, 3u << 20}) {
    skim::large_vector<std::uint32_t> v(n);
    std::iota(v.begin(), v.end(), 1u);
    CHECK(reinterpret_cast<std::uintptr_t>(v.data()) % skim::cache_line == 0);
    v.push_back(7);
    const auto copy = v;
    v.clear();
    v.shrink_to_fit();
    CHECK(copy.size() == n + 1);
    for (std::size_t i = 0; i < n; i += 997) REQUIRE(copy[i] == i + 1);
    CHECK(copy.back() == 7);
  }
}
