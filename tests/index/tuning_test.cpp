// SPDX-License-Identifier: Apache-2.0
#include "skim/index/tuning.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "skim/hash/sign_projection.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

constexpr std::size_t d = 8;

skim::sign_projection make(std::size_t bits, std::size_t tables) {
  return skim::sign_projection({.dim = d, .bits = bits, .hashes = tables}, skim::seed{1});
}

}  // namespace

TEST_CASE("recall counts what is found or equally near", "[unit]") {
  const std::vector<skim::neighbor> exact{{1, 1}, {2, 2}, {3, 3}, {4, 9}};
  const std::vector<std::size_t> full{2, 2};
  const std::vector<skim::neighbor> answers{{1, 1}, {7, 2}, {3, 3}, {5, 9.5f}};
  CHECK(skim::recall_of(exact, full, answers, full, 2) == 0.75);
  CHECK(skim::recall_of(exact, full, answers, std::vector<std::size_t>{1, 0}, 2) == 0.25);
  CHECK(skim::recall_of({}, {}, {}, {}, 2) == 1);
  CHECK_THROWS_AS(skim::recall_of(exact, full, answers, full, 3), skim::invalid_input);
}

TEST_CASE("tuning reaches the recall, and an index of its sizes has it", "[unit]") {
  const auto x = skim_test::clustered_points(1500, d, 20, 0.5, skim::seed{2});
  const auto q = skim_test::clustered_points(60, d, 20, 0.5, skim::seed{2});
  const skim::tuning_target target{.recall = 0.8, .neighbors = 5, .most_tables = 16, .rounds = 1};
  const auto lsh = skim::tune_lsh(make, x.view(), q.view(), target);
  CHECK(lsh.reached);
  CHECK(lsh.recall >= 0.8);
  CHECK(lsh.seconds > 0);
  CHECK(lsh.settings > 3);
  CHECK(lsh.summary().find("tables of") != std::string::npos);

  skim::flat_index flat({.dim = d});
  flat.insert(x.view());
  std::vector<skim::neighbor> exact(60 * 5), answers(60 * 5);
  std::vector<std::size_t> full(60), found(60);
  flat.search(q.view(), 5, exact, full);
  skim::lsh_index index(make(lsh.bits, lsh.tables));
  index.build(x.view());
  CHECK(index.bytes() == lsh.bytes);
  index.search(q.view(), 5, answers, found, lsh.effort);
  CHECK(skim::recall_of(exact, full, answers, found, 5) == lsh.recall);

  const auto lists = skim::tune_partition(x.view(), q.view(), target);
  CHECK(lists.reached);
  CHECK(lists.visits <= lists.lists);
  CHECK(lists.summary().find("visited") != std::string::npos);
}

TEST_CASE("memory is kept, and bad targets are refused", "[unit]") {
  const auto x = skim_test::gaussian_points(800, d, skim::seed{3});
  const auto q = skim_test::gaussian_points(20, d, skim::seed{4});
  const auto tune = [&](skim::tuning_target t) {
    return skim::tune_lsh(make, x.view(), q.view(), t);
  };
  skim::tuning_target target{.recall = 1, .neighbors = 3, .rounds = 1};
  target.most_bytes = 200'000;
  const auto small = tune(target);
  CHECK(small.bytes <= target.most_bytes);
  target.most_bytes = 1000;
  CHECK_THROWS_AS(tune(target), skim::invalid_params);
  CHECK_THROWS_AS(skim::tune_partition(x.view(), q.view(), target), skim::invalid_params);
  target.most_bytes = ~std::uint64_t{0};
  for (const double recall : {0.0, -1.0, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    auto bad = target;
    bad.recall = recall;
    CHECK_THROWS_AS(tune(bad), skim::invalid_params);
  }
  auto none = target;
  none.neighbors = 0;
  CHECK_THROWS_AS(tune(none), skim::invalid_params);
  CHECK_THROWS_AS(skim::tune_lsh(make, x.view().rows(0, 0), q.view(), target), skim::invalid_input);
  CHECK_THROWS_AS(skim::tune_partition(x.view(), q.view().rows(0, 0), target), skim::invalid_input);
}
