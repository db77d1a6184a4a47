// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/infobatch.hpp"

#include <cmath>
#include <vector>

#include "laws/batch_sampler.hpp"
#include "support/catch.hpp"

namespace {

using skim::infobatch_sampler;

constexpr std::size_t examples = 320;

bool is_easy(skim::id_t id) {
  return id % 4 != 0;  // scores 0.1 to 0.3 with a mean near 0.4
}

struct catalogue_case {
  static constexpr std::size_t batch = 32;
  static constexpr bool seeds_matter = true;

  static infobatch_sampler make(skim::seed s) { return {examples, {}, s}; }
  static skim::drawn_batch draw(infobatch_sampler& s, std::size_t, std::size_t n) {
    return s.draw(n);
  }
  static float score(std::size_t, skim::id_t id) {
    return is_easy(id) ? 0.1f * static_cast<float>(id % 4) : 1.0f;
  }
};

/// Calls use(epoch, id, weight) for each example of so many epochs, drawn one by one: none straddles.
template <class Use>
void draw_epochs(infobatch_sampler& sampler, std::size_t last, Use use) {
  for (;;) {
    const auto b = sampler.draw(1);
    if (sampler.epochs() > last) return;
    use(sampler.epochs(), b.ids[0], b.weights[0]);
    sampler.observe(b.ids, std::vector<float>{catalogue_case::score(0, b.ids[0])});
  }
}

}  // namespace

TEST_CASE("infobatch_sampler keeps the laws of batch samplers", "[law]") {
  skim_test::batch_sampler_laws(catalogue_case{});
}

TEST_CASE("infobatch_sampler leaves out a share of the easy, whom the others stand for", "[stat]") {
  const double prune = GENERATE(0.0, 0.25, 0.5, 0.8);
  constexpr std::size_t epochs = 2000, easy = examples * 3 / 4;
  const auto value = [](skim::id_t id) { return 1.0 + static_cast<double>(id % 11); };
  double truth = 0;
  for (skim::id_t id = 0; id < examples; ++id) truth += value(id);
  infobatch_sampler sampler(examples, {.prune = prune}, skim::seed{3});
  std::vector<double> sums(epochs);
  std::vector<std::size_t> last_seen(examples), hard(epochs);
  std::uint64_t kept = 0;
  draw_epochs(sampler, epochs, [&](std::size_t epoch, skim::id_t id, float weight) {
    REQUIRE(last_seen[id] < epoch);  // once an epoch
    last_seen[id] = epoch;
    const bool whole = epoch == 1;  // no scores yet
    const float heavy = whole ? 1.0f : static_cast<float>(1 / (1 - prune));
    REQUIRE(weight == (is_easy(id) ? heavy : 1.0f));
    sums[epoch - 1] += static_cast<double>(weight) * value(id);
    if (!is_easy(id)) ++hard[epoch - 1];
    if (is_easy(id) && !whole) ++kept;
  });
  CHECK_THAT(sums[0], Catch::Matchers::WithinRel(truth, 1e-12));
  for (const std::size_t h : hard) REQUIRE(h == examples - easy);
  skim_test::check_proportion(kept, (epochs - 1) * easy, 1 - prune);
  skim_test::check_mean(std::span(sums).subspan(1), truth);
}

TEST_CASE("an annealed infobatch_sampler finishes its epoch and then uses all data", "[unit]") {
  infobatch_sampler sampler(examples, {}, skim::seed{7});
  std::vector<std::size_t> drawn(8);
  draw_epochs(sampler, 6, [&](std::size_t epoch, skim::id_t, float weight) {
    ++drawn[epoch];
    if (epoch == 4) sampler.anneal();
    if (epoch > 4) REQUIRE(weight == 1.0f);
  });
  CHECK(drawn[1] == examples);
  for (const std::size_t epoch : {2U, 3U, 4U}) CHECK(drawn[epoch] < examples * 3 / 4);
  for (const std::size_t epoch : {5U, 6U}) CHECK(drawn[epoch] == examples);
}

TEST_CASE("equal scores are none below their mean", "[unit]") {
  const float score = GENERATE(0.0f, 0.1f, 1e30f);
  infobatch_sampler sampler(101, {.prune = 0.9}, skim::seed{7});
  for (int t = 0; t < 30; ++t) {
    const auto b = sampler.draw(25);
    for (const float w : b.weights) REQUIRE(w == 1.0f);
    sampler.observe(b.ids, std::vector<float>(25, score));
  }
  CHECK(sampler.epochs() == 8);  // 750 of 101
}

TEST_CASE("impossible infobatch_sampler parameters are refused", "[unit]") {
  CHECK_THROWS_AS(infobatch_sampler(0, {}, skim::seed{1}), skim::invalid_params);
  for (const double prune : {-0.1, 1.0, std::nan("")})
    CHECK_THROWS_AS(infobatch_sampler(5, {.prune = prune}, skim::seed{1}), skim::invalid_params);
}
