// SPDX-License-Identifier: Apache-2.0
//
// Scaling, splitting and the streams of examples.
#include "data/prepare.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "data/labels.hpp"
#include "data/load.hpp"
#include "data/stream.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

using namespace skim_examples;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

dataset dense_set(std::size_t rows, std::size_t cols) {
  dataset d;
  d.name = "made";
  d.rows = rows;
  d.cols = cols;
  d.kind = label_kind::classes;
  d.classes = 3;
  for (std::size_t i = 0; i < rows; ++i) {
    d.labels.push_back(static_cast<skim::label_t>(i % 3));
    for (std::size_t j = 0; j < cols; ++j) d.dense.push_back(static_cast<float>(i * cols + j));
  }
  return d;
}

// Pixel (r, c) of image i is 10 i + 3 r + c + 1: no two positions alike, none zero.
image_set small_images(std::size_t count, std::size_t side) {
  image_set set;
  set.count = count;
  set.height = set.width = side;
  set.classes = 3;
  for (std::size_t i = 0; i < count; ++i) {
    set.labels.push_back(static_cast<skim::label_t>(i % 3));
    for (std::size_t k = 0; k < side * side; ++k) {
      set.pixels.push_back(static_cast<std::uint8_t>(1 + (17 * i + k) % 255));
    }
  }
  return set;
}

}  // namespace

TEST_CASE("Standardizing uses training statistics and silences constant columns", "[unit]") {
  dataset train = dense_set(4, 3);
  for (std::size_t i = 0; i < 4; ++i) train.dense[3 * i + 1] = 16777.216F;  // constant
  dataset test = dense_set(2, 3);
  const auto scaler = feature_scaler::fit(train, scaling::standardize);
  scaler.apply(train);
  scaler.apply(test);
  for (const std::size_t j : {0U, 2U}) {
    double sum = 0, square = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const double x = static_cast<double>(train.dense[3 * i + j]);
      sum += x;
      square += x * x;
    }
    CHECK_THAT(sum, WithinAbs(0, 1e-5));
    CHECK_THAT(square / 4, WithinAbs(1, 1e-5));
  }
  CHECK(train.dense[1] == 0.0F);
  CHECK(test.dense[1] == 0.0F);
  dataset narrow = dense_set(2, 2);
  CHECK_THROWS_AS(scaler.apply(narrow), data_error);
}

TEST_CASE("Heavy tails are taken the logarithm of", "[unit]") {
  const auto scale = [](std::size_t rows, auto value) {
    dataset d = dense_set(rows, 1);
    for (std::size_t i = 0; i < rows; ++i) d.dense[i] = value(i);
    feature_scaler::fit(d, scaling::standardize).apply(d);
    return d.dense;
  };
  // one value of 1000 among numbers of -1 to 1: a deviation of 45 would make all of them one
  const auto heavy =
      scale(500, [](std::size_t i) { return i == 7 ? -1000.0F : static_cast<float>(i % 3) - 1; });
  CHECK(heavy[2] - heavy[0] > 1);
  CHECK(std::abs(heavy[7]) < 15);
  CHECK(heavy[7] < heavy[0]);  // with its sign
  const auto flag = [](std::size_t i) { return i == 7 ? 1.0F : 0.0F; };
  CHECK_THAT(scale(500, flag)[7], WithinRel(std::sqrt(499.0F), 1e-4F));  // as without it
  const auto light = scale(500, [](std::size_t i) { return static_cast<float>(i); });
  CHECK_THAT(light[2] - light[1], WithinRel(light[499] - light[498], 1e-3F));

  dataset sparse;  // 41 values of one column; zeros that are not stored do not count
  sparse.features = storage::sparse;
  sparse.rows = 41;
  sparse.cols = 1;
  for (std::size_t i = 0; i < 41; ++i) {
    sparse.indices.push_back(0);
    sparse.offsets.push_back(i + 1);
    sparse.values.push_back(i == 0 ? 1000.0F : static_cast<float>(1 + i % 2));
  }
  feature_scaler::fit(sparse, scaling::max_abs).apply(sparse);
  CHECK(sparse.values[0] == 1);
  CHECK(sparse.values[1] > 0.1F);
}

TEST_CASE("Sparse features are scaled by their largest value", "[unit]") {
  dataset d;
  d.features = storage::sparse;
  d.rows = 2;
  d.cols = 3;
  d.offsets = {0, 2, 3};
  d.indices = {0, 2, 0};
  d.values = {1, 0, -4};
  CHECK(usual_scaling(d) == scaling::max_abs);
  feature_scaler::fit(d, scaling::max_abs).apply(d);
  CHECK(d.values == std::vector<float>{.25F, 0, -1});
  CHECK_THROWS_AS(feature_scaler::fit(d, scaling::standardize), data_error);
}

TEST_CASE("Targets keep their scale", "[unit]") {
  const std::vector<float> y{1, 3};
  const auto s = target_scale::fit(y);
  CHECK(s.mean == 2);
  CHECK(s.deviation == 1);
  CHECK(s.scaled(3) == 1.0F);
  CHECK(target_scale::fit(std::vector<float>{5, 5}).deviation == 1);
}

TEST_CASE("Tasks are told apart by their labels", "[unit]") {
  std::vector<double> years(1000), digits(1000), halves{0, .5, 1};
  for (std::size_t i = 0; i < 1000; ++i) {
    years[i] = static_cast<double>(i);
    digits[i] = static_cast<double>(i % 10);
  }
  CHECK(detect_task(years) == task::regression);
  CHECK(detect_task(digits) == task::classification);
  CHECK(detect_task(halves) == task::regression);
  CHECK(class_counts(dense_set(7, 1)) == std::vector<std::size_t>{3, 2, 2});
}

TEST_CASE("A split takes every row once, the same for the same seed", "[unit]") {
  const dataset d = dense_set(24, 2);
  const auto both = split_rows(d, 0.25, skim::seed{3});
  CHECK(both.test.rows == 6);
  CHECK(both.train.rows == 18);
  CHECK(class_counts(both.test) == std::vector<std::size_t>{2, 2, 2});
  std::set<float> seen;
  for (const auto* part : {&both.train, &both.test}) {
    for (std::size_t i = 0; i < part->rows; ++i) {
      const float id = part->dense[2 * i];
      seen.insert(id);
      CHECK(part->labels[i] == d.labels[static_cast<std::size_t>(id) / 2]);
    }
  }
  CHECK(seen.size() == 24);
  CHECK(split_rows(d, 0.25, skim::seed{3}).test.dense == both.test.dense);
  CHECK(split_rows(d, 0.25, skim::seed{4}).test.dense != both.test.dense);
  CHECK_THROWS_AS(split_rows(d, 1.0, skim::seed{}), data_error);
  CHECK_THROWS_AS(split_rows(dense_set(1, 1), 0.5, skim::seed{}), data_error);
  // no class loses its last row while there is another, and something is held out all the same
  const std::vector<skim::label_t> rare{0, 0, 0, 0, 0, 1, 2};
  const row_split parts = split_row_numbers(7, rare, 0.9, skim::seed{1});
  CHECK(parts.held.size() == 4);
  CHECK(parts.kept.back() == 6);
  CHECK(split_row_numbers(3, std::vector<skim::label_t>{0, 1, 2}, 0.1, skim::seed{1}).held.size() ==
        1);
  CHECK(split_row_numbers(10, {}, 0.5, skim::seed{1}).held.size() == 5);
}

TEST_CASE("Rare-event stream: example i is the same in every block", "[unit]") {
  const auto images = small_images(30, 6);
  rare_event_params p{.rare = 1, .others = {0, 2}, .rare_fraction = 0.3, .max_shift = 2};
  rare_event_stream stream(images, p, skim::seed{5});
  const auto whole = stream.take(0, 200, "whole");
  CHECK(whole.classes == 2);
  dataset part = stream.take(117, 5, "part");
  CHECK(std::equal(part.dense.begin(), part.dense.end(), whole.dense.begin() + 117 * 36));
  CHECK(std::equal(part.labels.begin(), part.labels.end(), whole.labels.begin() + 117));

  skim::aligned_vector<float> x(7 * 40);
  std::vector<skim::label_t> y(7);
  for (std::size_t first = 0; first < 70; first += 7) {  // rows apart by more than their width
    CHECK(stream.next({x.data(), 7, 36, 40}, y) == 7);
    for (std::size_t i = 0; i < 7; ++i) {
      CHECK(std::equal(&x[i * 40], &x[i * 40 + 36], &whole.dense[(first + i) * 36]));
    }
  }
  CHECK(stream.position() == 70);
  CHECK(rare_event_stream(images, p, skim::seed{6}).take(0, 200, "").dense != whole.dense);
}

TEST_CASE("Rare-event stream: every example is a shifted, perhaps mirrored image", "[unit]") {
  const auto images = small_images(9, 5);
  for (const auto mirror : {mirroring::never, mirroring::half}) {
    rare_event_params p{.rare = 1,
                        .others = {0, 2},
                        .rare_fraction = 0.4,
                        .max_shift = 2,
                        .mirror = mirror,
                        .labels = stream_labels::original};
    const auto made = rare_event_stream(images, p, skim::seed{7}).take(0, 300, "");
    CHECK(made.classes == 3);
    std::size_t found = 0, mirrored = 0;
    for (std::size_t e = 0; e < made.rows; ++e) {
      bool match = false;
      for (std::size_t i = 0; i < 9 && !match; ++i) {
        if (images.labels[i] != made.labels[e]) continue;
        for (int flip = 0; flip < (mirror == mirroring::half ? 2 : 1) && !match; ++flip) {
          for (int down = -2; down <= 2 && !match; ++down) {
            for (int right = -2; right <= 2 && !match; ++right) {
              bool same = true;
              for (int r = 0; r < 5 && same; ++r) {
                for (int c = 0; c < 5 && same; ++c) {
                  const int fr = r - down, fc = c - right;
                  const bool inside = fr >= 0 && fr < 5 && fc >= 0 && fc < 5;
                  const int column = flip == 1 ? 4 - fc : fc;
                  const auto at =
                      static_cast<std::size_t>(25 * static_cast<int>(i) + 5 * fr + column);
                  const float want =
                      inside ? static_cast<float>(images.pixels[at]) * (1.0F / 255) : 0.0F;
                  same = made.dense[e * 25 + static_cast<std::size_t>(5 * r + c)] == want;
                }
              }
              match = same;
              if (same && flip == 1) ++mirrored;
            }
          }
        }
      }
      found += match ? 1 : 0;
    }
    CHECK(found == made.rows);
    if (mirror == mirroring::half) skim_test::check_proportion(mirrored, made.rows, 0.5);
  }
}

TEST_CASE("Rare-event stream: the share of rare examples", "[stat]") {
  const auto images = small_images(12, 4);
  rare_event_params p{.rare = 2, .others = {0, 1}, .rare_fraction = 0.02, .max_shift = 1};
  const auto made = rare_event_stream(images, p, skim::seed{8}).take(0, 50000, "");
  const auto rare =
      static_cast<std::uint64_t>(std::count(made.labels.begin(), made.labels.end(), 1U));
  skim_test::check_proportion(rare, 50000, 0.02);
}

TEST_CASE("Rare-event stream: parameters that make no sense", "[unit]") {
  const auto images = small_images(9, 4);
  const auto make = [&](rare_event_params p) { rare_event_stream(images, p, skim::seed{}); };
  CHECK_THROWS_AS(make({.rare = 7, .others = {0}}), data_error);
  CHECK_THROWS_AS(make({.rare = 1, .others = {0, 1}}), data_error);
  CHECK_THROWS_AS(make({.rare = 1, .others = {}}), data_error);
  CHECK_THROWS_AS(make({.rare = 1, .others = {0}, .rare_fraction = 1.5}), data_error);
  CHECK_THROWS_AS(make({.rare = 1, .others = {0}, .max_shift = 4}), data_error);
  rare_event_stream stream(images, {.rare = 1, .others = {0}, .max_shift = 1}, skim::seed{});
  std::vector<float> x(15);
  std::vector<skim::label_t> y(1);
  CHECK_THROWS_AS(stream.next({x.data(), 1, 15}, y), data_error);
}

TEST_CASE("One pass over a set shows every row once", "[unit]") {
  const dataset d = dense_set(10, 2);
  pass_stream pass(d, skim::seed{9});
  std::vector<float> x(8);
  std::vector<skim::label_t> y(4);
  std::set<float> seen;
  std::size_t total = 0;
  while (const std::size_t rows = pass.next({x.data(), 4, 2}, y)) {
    for (std::size_t i = 0; i < rows; ++i) {
      seen.insert(x[2 * i]);
      CHECK(y[i] == d.labels[static_cast<std::size_t>(x[2 * i]) / 2]);
    }
    total += rows;
  }
  CHECK(total == 10);
  CHECK(seen.size() == 10);
  CHECK(pass.remaining() == 0);
  CHECK(pass.next(3).empty());
  std::vector<float> narrow(4);
  CHECK_THROWS_AS(pass.next({narrow.data(), 4, 1}, y), data_error);
}
