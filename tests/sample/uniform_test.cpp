// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/uniform.hpp"

#include <algorithm>
#include <vector>

#include "laws/batch_sampler.hpp"
#include "support/catch.hpp"

namespace {

struct catalogue_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;
  static constexpr std::size_t examples = 501;

  static skim::uniform_sampler make(skim::seed s) { return {examples, s}; }
  static skim::drawn_batch draw(skim::uniform_sampler& s, std::size_t, std::size_t n) {
    return s.draw(n);
  }
  static float score(std::size_t t, skim::id_t id) { return static_cast<float>((t + id) % 7); }
};

struct stream_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = false;

  std::vector<float> features = std::vector<float>(batch * 2, 1.0f);
  std::vector<skim::label_t> labels = std::vector<skim::label_t>(batch, 0);

  static skim::uniform_stream_sampler make(skim::seed) { return {}; }
  [[nodiscard]] skim::drawn_batch draw(skim::uniform_stream_sampler& s, std::size_t,
                                       std::size_t n) const {
    return s.select({.features = {std::span<const float>(features), batch, 2},
                     .sparse_features = {},
                     .labels = labels},
                    n);
  }
  static float score(std::size_t, skim::id_t) { return 1; }
};

}  // namespace

TEST_CASE("uniform_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(catalogue_case{});
}

TEST_CASE("uniform_stream_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(stream_case{});
}

TEST_CASE("an epoch visits every example once, whatever the batch", "[unit]") {
  const auto batch = static_cast<std::size_t>(GENERATE(1, 7, 32, 501, 502, 1300));
  skim::uniform_sampler sampler(501, skim::seed{9});
  std::vector<int> visits(501);
  std::size_t drawn = 0;
  while (drawn < 501 * 4) {
    for (const skim::id_t id : sampler.draw(batch).ids) {
      ++visits[id];
      if (++drawn % 501 == 0) {
        const auto [least, most] = std::minmax_element(visits.begin(), visits.end());
        REQUIRE(*least == *most);
      }
    }
  }
}

TEST_CASE("uniform_sampler is unbiased", "[stat]") {
  skim_test::check_unbiased(
      catalogue_case{}, [](std::size_t, skim::id_t id) { return id < 5 ? 100.0 : 1.0 / (1 + id); },
      [](std::size_t) {
        double sum = 0;
        for (std::size_t id = 0; id < catalogue_case::examples; ++id)
          sum += id < 5 ? 100.0 : 1.0 / static_cast<double>(1 + id);
        return sum / catalogue_case::examples;
      });
}

TEST_CASE("uniform_sampler refuses an empty data set", "[unit]") {
  CHECK_THROWS_AS(skim::uniform_sampler(0, skim::seed{1}), skim::invalid_params);
  skim::uniform_sampler one(1, skim::seed{1});
  CHECK(one.draw(3).ids[2] == 0);
}

TEST_CASE("uniform_stream_sampler takes the block as it is", "[unit]") {
  stream_case c;
  skim::uniform_stream_sampler sampler;
  const auto b = c.draw(sampler, 0, c.batch);
  for (std::size_t i = 0; i < c.batch; ++i) {
    CHECK(b.ids[i] == i);
    CHECK(b.weights[i] == 1.0f);
  }
  CHECK_THROWS_AS(c.draw(sampler, 0, c.batch - 1), skim::invalid_input);
}
