// SPDX-License-Identifier: Apache-2.0
//
// Gradients of the sampled losses by finite differences, and what draws and shifts estimate.
#include "skim/nn/sampled_loss.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "skim/nn/active_set.hpp"
#include "skim/nn/selector.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

namespace {

using skim::invalid_input;
using skim::invalid_params;
using skim::sampled_loss;

double at(float x) {
  return static_cast<double>(x);
}

struct batch_of_labels {
  std::vector<std::size_t> offsets{0};
  std::vector<skim::label_t> ids;
  void add(std::vector<skim::label_t> own) {
    ids.insert(ids.end(), own.begin(), own.end());
    offsets.push_back(ids.size());
  }
  [[nodiscard]] skim::label_sets view() const { return {offsets, ids}; }
};

// The losses as they are defined, in double.
double loss_of(sampled_loss kind, const std::vector<double>& z, const std::vector<float>& shifts,
               const skim::active_set& set, std::span<const skim::label_t> own) {
  double loss = 0;
  if (kind == sampled_loss::sigmoid) {
    for (std::size_t j = 0; j < z.size(); ++j) loss += std::log1p(std::exp(z[j] + at(shifts[j])));
    for (const auto l : own) loss -= z[set.position(l)] + at(shifts[set.position(l)]);
    return loss;
  }
  if (own.empty()) return 0;
  double sum = 0;
  for (std::size_t j = 0; j < z.size(); ++j) {
    const bool mine = std::find(own.begin(), own.end(), set.ids()[j]) != own.end();
    sum += std::exp(z[j] + (mine ? 0 : at(shifts[j])));
  }
  for (const auto l : own)
    loss -= (z[set.position(l)] - std::log(sum)) / static_cast<double>(own.size());
  return loss;
}

}  // namespace

TEST_CASE("sampled losses have the gradient of their definition", "[unit]") {
  batch_of_labels labels;
  labels.add({3, 7});
  labels.add({});
  labels.add({0});
  labels.add({3, 5, 11});
  skim::active_set set(12);
  for (const skim::id_t id : {7u, 3u, 0u, 5u, 11u, 2u, 9u, 1u, 10u}) set.insert(id);
  const std::vector<skim::id_t> examples{2, 0, 3, 1, 0};
  std::vector<float> shifts(set.size());
  for (std::size_t j = 0; j < shifts.size(); ++j) shifts[j] = 0.3f * static_cast<float>(j);
  const auto z = skim_test::gaussian_points(examples.size(), set.size(), skim::seed{1});
  for (const auto kind : {sampled_loss::sigmoid, sampled_loss::softmax}) {
    auto gradient = z, parallel = z;
    std::vector<float> losses(examples.size()), others(examples.size());
    const double mean = skim::take_sampled_loss(kind, gradient.view(), set, shifts, labels.view(),
                                                examples, losses);
    skim::thread_executor threads(2);
    CHECK(mean == skim::take_sampled_loss(kind, parallel.view(), set, shifts, labels.view(),
                                          examples, others, threads));
    CHECK(parallel.values == gradient.values);
    double total = 0;
    for (std::size_t b = 0; b < examples.size(); ++b) {
      const auto own = labels.view()[examples[b]];
      std::vector<double> row(z.row(b).begin(), z.row(b).end());
      const double loss = loss_of(kind, row, shifts, set, own);
      total += loss;
      CHECK(std::abs(at(losses[b]) - loss) < 1e-5 * (1 + loss));
      for (std::size_t j = 0; j < row.size(); ++j) {
        auto up = row, down = row;
        up[j] += 1e-4;
        down[j] -= 1e-4;
        const double slope =
            (loss_of(kind, up, shifts, set, own) - loss_of(kind, down, shifts, set, own)) / 2e-4;
        CHECK(std::abs(at(gradient.row(b)[j]) - slope / static_cast<double>(examples.size())) <
              1e-6);
      }
    }
    CHECK(std::abs(mean - total / static_cast<double>(examples.size())) < 1e-5);
  }
}

TEST_CASE("losses refuse what does not fit and leave the logits", "[unit]") {
  batch_of_labels labels;
  labels.add({1});
  labels.add({2});
  skim::active_set set(4), empty(4);
  set.insert(1);
  set.insert(3);
  std::vector<float> shifts(2), losses(1), two(2), none;
  auto z = skim_test::gaussian_points(1, 2, skim::seed{1});
  const auto before = z.values;
  const auto take = [&](const skim::active_set& s, std::span<const float> shift, skim::id_t example,
                        std::span<float> loss) {
    (void)skim::take_sampled_loss(sampled_loss::sigmoid, z.view(), s, shift, labels.view(),
                                  std::vector<skim::id_t>{example}, loss);
  };
  CHECK_THROWS_AS(take(set, shifts, 1, losses), invalid_input);  // label 2 is not active
  CHECK_THROWS_AS(take(set, shifts, 2, losses), invalid_input);
  CHECK_THROWS_AS(take(set, none, 0, losses), invalid_input);
  CHECK_THROWS_AS(take(set, shifts, 0, two), invalid_input);
  CHECK_THROWS_AS(take(empty, none, 0, losses), invalid_input);
  shifts[0] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(take(set, shifts, 0, losses), invalid_input);
  shifts[0] = 0;
  CHECK(z.values == before);
  z.row(0)[1] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(take(set, shifts, 0, losses), invalid_input);
}

TEST_CASE("selectors draw each output with the probability they say", "[stat]") {
  const std::size_t n = 40, rounds = 20000;
  std::vector<std::uint32_t> counts(n);
  for (std::size_t i = 0; i < n; ++i) counts[i] = static_cast<std::uint32_t>(i * i);
  const skim::uniform_selector uniform(n, 6.5);
  const skim::frequency_selector frequency(counts, 0.5, 12);
  const skim::selector_union both(uniform, frequency);
  const auto check = [&](const auto& selector, std::uint64_t s) {
    skim::random_engine g(skim::seed{s});
    skim::active_set set(n);
    std::vector<std::uint64_t> hits(n);
    for (std::size_t r = 0; r < rounds; ++r) {
      set.clear();
      selector.select(g, set);
      for (const auto id : set.ids()) ++hits[id];
    }
    for (std::size_t i = 0; i < n; ++i) {
      INFO("output " << i);
      skim_test::check_proportion(hits[i], rounds, selector.probability(static_cast<skim::id_t>(i)),
                                  1e-6 / static_cast<double>(n));
    }
  };
  check(uniform, 1);
  check(frequency, 2);
  check(both, 3);
  CHECK(frequency.probability(0) == 0);
  skim::random_engine g(skim::seed{4});
  skim::active_set set(n);
  skim::uniform_selector(n, static_cast<double>(n)).select(g, set);
  CHECK(set.size() == n);
  set.clear();
  skim::uniform_selector(n, 0).select(g, set);
  CHECK(set.size() == 0);
  CHECK_THROWS_AS(skim::uniform_selector(n, 41), invalid_params);
  CHECK_THROWS_AS(skim::uniform_selector(0, 0), invalid_params);
  CHECK_THROWS_AS(skim::frequency_selector(counts, std::nan(""), 3), invalid_params);
  CHECK_THROWS_AS(skim::selector_union(uniform, skim::uniform_selector(n + 1, 1)), invalid_params);
}

TEST_CASE("shifted sums over the active set estimate sums over all outputs without bias",
          "[stat]") {
  // A population of examples with skewed labels, batches of independent draws from it, an example of
  // our own in front whose labels have no shift: the denominator of the sampled softmax.
  const std::size_t n = 50, population = 400, batch = 8, rounds = 20000;
  skim::random_engine g(skim::seed{1});
  batch_of_labels labels;
  for (std::size_t i = 0; i < population; ++i) {
    const auto a =
        static_cast<skim::label_t>(skim::uniform_below(g, n) * skim::uniform_below(g, n) / n);
    const auto b = static_cast<skim::label_t>(skim::uniform_below(g, n));
    if (a == b)
      labels.add({a});
    else
      labels.add({std::min(a, b), std::max(a, b)});
  }
  const auto counts = labels.view().counts(n);
  const skim::active_sampler sampler(skim::uniform_selector(n, 5), counts, population, batch);
  std::vector<double> z(n);
  double all = 0;
  for (double& l : z) all += std::exp(l = skim::normal(g));
  skim::active_set set(n);
  std::vector<skim::id_t> examples(batch);
  std::vector<double> sums, active;
  const auto own = labels.view()[0];
  for (std::size_t r = 0; r < rounds; ++r) {
    for (auto& e : examples) e = static_cast<skim::id_t>(skim::uniform_below(g, population));
    examples[0] = 0;
    sampler.draw(labels.view(), examples, g, set);
    std::vector<float> shifts(set.size());
    sampler.shifts(set, shifts);
    double sum = 0;
    for (std::size_t j = 0; j < set.size(); ++j) {
      const skim::id_t id = set.ids()[j];
      const bool mine = std::find(own.begin(), own.end(), id) != own.end();
      sum += std::exp(z[id] + (mine ? 0 : at(shifts[j])));
    }
    sums.push_back(sum);
    active.push_back(static_cast<double>(set.size()));
    for (const auto l : own) REQUIRE(set.contains(l));
  }
  skim_test::check_mean(sums, all);
  double expected = 0;  // probabilities of being active: e^-shift, and 1 for the labels
  for (std::size_t i = 0; i < n; ++i)
    expected +=
        std::find(own.begin(), own.end(), i) != own.end() ? 1 : std::exp(-at(sampler.shifts()[i]));
  skim_test::check_mean(active, expected);
}

TEST_CASE("with all outputs active a sampled loss is the loss", "[unit]") {
  // pi = 1: no shift is left.
  const std::vector<std::uint32_t> counts(6, 1);
  const skim::active_sampler sampler(skim::uniform_selector(6, 6), counts, 10, 4);
  for (const float s : sampler.shifts()) CHECK(s == 0.0f);
  CHECK_THROWS_AS(skim::active_sampler(skim::uniform_selector(6, 6), counts, 0, 4), invalid_params);
  CHECK_THROWS_AS(skim::active_sampler(skim::uniform_selector(5, 5), counts, 10, 4),
                  invalid_params);
  CHECK_THROWS_AS(skim::active_sampler(skim::uniform_selector(6, 6), counts, 10, 0),
                  invalid_params);
}

TEST_CASE("active sets know their members and label sets their examples", "[unit]") {
  skim::active_set set(10);
  CHECK(set.insert(7));
  CHECK(set.insert(2));
  CHECK_FALSE(set.insert(7));
  CHECK(set.position(2) == 1);
  CHECK_FALSE(set.contains(3));
  set.clear();
  CHECK_FALSE(set.contains(7));
  CHECK_THROWS_AS(skim::active_set(0), invalid_params);

  batch_of_labels labels;
  labels.add({1, 4});
  labels.add({});
  labels.view().validate(5);
  CHECK_THROWS_AS(labels.view().validate(4), invalid_input);
  CHECK(labels.view().counts(5) == std::vector<std::uint32_t>{0, 1, 0, 0, 1});
  labels.add({3, 3});
  CHECK_THROWS_AS(labels.view().validate(5), invalid_input);
  const std::vector<std::size_t> wrong{0, 9};
  CHECK_THROWS_AS(skim::label_sets(wrong, labels.ids), invalid_input);
}
