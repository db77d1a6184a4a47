// SPDX-License-Identifier: Apache-2.0
//
// The parts of train_wide: runs that are the same with every detector, thresholds, convergence.
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "common/arguments.hpp"
#include "support/catch.hpp"
#include "train_wide/blobs.hpp"
#include "train_wide/training.hpp"

using namespace skim_examples;
using Catch::Matchers::ContainsSubstring;

namespace {

wide_settings small_settings(std::size_t rows, std::size_t dim, std::size_t width) {
  wide_settings s;
  s.rows = rows;
  s.dim = dim;
  s.width = width;
  return s;
}

wide_result run_with(const wide_settings& s) {
  const labelled_blobs data(s.rows, s.dim, skim::seed{3});
  const skim::firing_points x(data.view());
  return train_wide(s, x, data.targets, [](std::size_t, std::size_t) {});
}

}  // namespace

TEST_CASE("wide runs are the same with every detector", "[law]") {
  struct recipe {
    const char* optimizer;
    std::size_t batch;
    bool thresholds;
    double decay;
  };
  const recipe recipes[] = {{"gd", 0, false, 0},           {"gd", 0, true, 0.01},
                            {"sgd", 1, false, 0},          {"sgd", 9, true, 0},
                            {"momentum", 20, false, 0.01}, {"adam", 0, true, 0.5},
                            {"gauss-newton", 0, false, 0}};
  const auto& how = recipes[GENERATE(range(0, 7))];
  INFO(how.optimizer << ", batch " << how.batch);
  wide_settings s = small_settings(120, 17, 300);
  s.optimizer = how.optimizer;
  s.batch = how.batch;
  s.train_thresholds = how.thresholds;
  s.weight_decay = how.decay;
  s.iterations = s.optimizer == "gauss-newton" ? 5 : 40;
  s.detector = "dense";
  const wide_result dense = run_with(s);
  CHECK(dense.iterations.back().loss < dense.iterations.front().loss);
  for (const char* name : {"deadline", "max-tree", "correlation-tree"}) {
    s.detector = name;
    const wide_result other = run_with(s);
    INFO(name);
    CHECK(other.firing_hash == dense.firing_hash);
    REQUIRE(other.iterations.size() == dense.iterations.size());
    for (std::size_t t = 0; t < dense.iterations.size(); ++t) {
      CHECK(other.iterations[t].loss == dense.iterations[t].loss);
      CHECK(other.iterations[t].fired == dense.iterations[t].fired);
    }
  }
}

TEST_CASE("a Gauss-Newton run reaches a small loss in a few steps and stops there", "[unit]") {
  wide_settings s = small_settings(100, 20, 2000);
  s.optimizer = "gauss-newton";
  s.target_loss = 1e-6;
  const wide_result r = run_with(s);
  CHECK(r.iterations.size() <= 10);
  CHECK(r.iterations.back().loss <= 1e-6);
}

TEST_CASE("wide runs are the same with any number of threads", "[law]") {
  const char* optimizer = GENERATE("gd", "sgd", "adam", "gauss-newton");
  const char* detector = GENERATE("dense", "deadline", "max-tree");
  INFO(optimizer << " " << detector);
  wide_settings s = small_settings(120, 17, 700);
  s.optimizer = optimizer;
  s.detector = detector;
  s.batch = s.optimizer == "sgd" ? 20 : 0;
  s.train_thresholds = s.optimizer == "adam";
  s.iterations = s.optimizer == "gauss-newton" ? 4 : 25;
  const wide_result one = run_with(s);
  s.threads = 3;
  const wide_result three = run_with(s);
  CHECK(three.firing_hash == one.firing_hash);
  REQUIRE(three.iterations.size() == one.iterations.size());
  for (std::size_t t = 0; t < one.iterations.size(); ++t)
    CHECK(three.iterations[t].loss == one.iterations[t].loss);
  CHECK(three.statistics.examined == one.statistics.examined);
}

TEST_CASE("Gauss-Newton steps that raise the loss are taken back and damped", "[unit]") {
  // Points in pairs that are nearly alike with opposite targets: undamped steps go far and wide.
  constexpr std::size_t n = 80, d = 6;
  labelled_blobs data(n, d, skim::seed{4});
  for (std::size_t i = 1; i < n; i += 2) {
    for (std::size_t k = 0; k < d; ++k)
      data.points[i * d + k] = data.points[(i - 1) * d + k] + (k == i % d ? 1e-3f : 0.0f);
    data.targets[i] = -data.targets[i - 1];
  }
  const skim::firing_points x(data.view());
  wide_settings s = small_settings(n, d, 500);
  s.optimizer = "gauss-newton";
  s.iterations = 30;
  const wide_result r = train_wide(s, x, data.targets, [](std::size_t, std::size_t) {});
  CHECK(r.taken_back > 0);
  for (std::size_t t = 1; t < r.iterations.size(); ++t)
    CHECK(r.iterations[t].loss <= r.iterations[t - 1].loss);
  CHECK(r.iterations.back().loss < r.iterations.front().loss);
  s.detector = "dense";
  CHECK(train_wide(s, x, data.targets, [](std::size_t, std::size_t) {}).firing_hash ==
        r.firing_hash);
}

TEST_CASE("a trained network is tried on rows it has not seen", "[unit]") {
  const labelled_blobs data(400, 16, skim::seed{3});
  const skim::matrix_view<const float> all = data.view();
  const skim::firing_points x(all.rows(0, 200)), unseen(all.rows(200, 200));
  const std::span<const float> targets(data.targets);
  wide_settings s = small_settings(200, 16, 2000);
  s.optimizer = "gauss-newton";
  s.iterations = 4;
  const auto none = [](std::size_t, std::size_t) {};
  const wide_result r =
      train_wide(s, x, targets.first(200), none, {&unseen, targets.subspan(200), true});
  REQUIRE(r.test_loss);
  REQUIRE(r.test_accuracy);
  CHECK(*r.test_accuracy > 0.9);
  CHECK(*r.test_loss < 0.3);
  // On its own training rows it does as training says.
  const wide_result own =
      train_wide(s, x, targets.first(200), none, {&x, targets.first(200), false});
  CHECK_FALSE(own.test_accuracy);
  CHECK(*own.test_loss * 200 <= own.iterations.back().loss * 1.01 + 1e-9);
}

TEST_CASE("too large a rate is told", "[unit]") {
  wide_settings s = small_settings(50, 8, 200);
  s.learning_rate = 1e30;
  CHECK_THROWS_WITH(run_with(s), ContainsSubstring("--learning-rate"));
  s.learning_rate = 4;
  s.weight_decay = 0.3;
  CHECK_THROWS_WITH(run_with(s), ContainsSubstring("--weight-decay: got 0.3"));
}

TEST_CASE("thresholds are the paper's, numbers or fractions", "[unit]") {
  CHECK(threshold_of("paper", 1 << 16) == std::sqrt(0.4 * std::log(65536.0)));
  CHECK(threshold_of("-0.5", 10) == -0.5);
  CHECK(std::abs(threshold_of("fraction:0.5", 10)) < 1e-9);
  CHECK(std::abs(threshold_of("fraction:0.0013498980316300933", 10) - 3) < 1e-9);
  for (const char* bad : {"", "x", "fraction:", "fraction:0", "fraction:1", "fraction:-1", "nan"})
    CHECK_THROWS_AS(threshold_of(bad, 10), argument_error);
}
