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
