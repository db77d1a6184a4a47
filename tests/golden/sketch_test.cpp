// SPDX-License-Identifier: Apache-2.0
//
// Pinned codes of ferns and images of the counting sketches. A failure here means that stored codes and
// sketches lose their meaning: that is a decision, and a new archive version.
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/mix.hpp"
#include "skim/hash/fern.hpp"
#include "skim/sketch/nadaraya_watson.hpp"
#include "skim/sketch/race.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"

namespace {

skim::fern_family family() {
  const std::vector<skim::fern_coordinate> range(8, {-10, 10, 1});
  return {{.hashes = 6, .bits = 8}, range, skim::seed{42}};
}

const std::vector<float> point{3, -1, 4, -1, 5, -9, 2, -6};

template <class Sketch>
std::uint64_t digest(const Sketch& sketch) {
  std::uint64_t d = 0;
  for (const std::byte b : skim_test::image_of(sketch))
    d = skim::mix_combine(d, std::to_integer<std::uint64_t>(b));
  return d;
}

}  // namespace

TEST_CASE("codes of ferns are pinned", "[golden]") {
  const skim::fern_family f = family();
  std::vector<skim::code_t> codes(6);
  skim::workspace ws;
  f.hash(std::span<const float>(point), codes, ws);
  CHECK(codes == std::vector<skim::code_t>{238, 114, 110, 150, 232, 123});
  CHECK(f.fingerprint() == 12397914327024129534u);
}

TEST_CASE("images of counting sketches are pinned", "[golden]") {
  skim::workspace ws;
  skim::race_sketch race(family(), skim::race_params{.width = 16});
  race.insert(std::span<const float>(point), ws, 2);
  CHECK(digest(race) == 1397004994520025281u);
  skim::nadaraya_watson_sketch<skim::fern_family, 2> regression(family(),
                                                                {.width = 16, .classes = 3});
  regression.insert(std::span<const float>(point), {.score = 3, .weight = 2, .label = 1}, ws);
  CHECK(digest(regression) == 7087123618446462360u);
  CHECK(skim_test::image_of(regression).size() == 1935);
}
