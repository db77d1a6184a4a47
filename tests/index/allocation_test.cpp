// SPDX-License-Identifier: Apache-2.0
//
// What the indexes allocate: as much as they say, and nothing in a search that was made before.
#include <cstddef>
#include <vector>

#include "skim/hash/sign_projection.hpp"
#include "skim/index/lsh_index.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

TEST_CASE("a warm search of tables allocates nothing, and memory is as stated", "[unit]") {
  constexpr std::size_t d = 16, n = 4000;
  const auto x = skim_test::gaussian_points(n, d, skim::seed{19});
  skim::lsh_index index(skim::sign_projection({.dim = d, .bits = 8, .hashes = 8}, skim::seed{3}));
  const std::size_t allocated = skim_test::bytes_allocated_by([&] { index.build(x.view()); });
  CHECK(index.bytes() <= allocated);
  CHECK(index.bytes() <= n * (4 * d + 4 + 2 * 8) + 4 * d + 8 * (8 * 256 + 16 * n + 512));
  skim::workspace ws;
  std::vector<skim::neighbor> out(10);
  const skim::lsh_effort effort{.probes = 40, .looks = 100};
  const auto pass = [&] {
    for (std::size_t i = 0; i < 200; ++i) index.search(x.row(i), out, ws, effort);
  };
  pass();
  CHECK(skim_test::allocations_of(pass) == 0);
}
