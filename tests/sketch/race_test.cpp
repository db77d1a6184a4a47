// SPDX-License-Identifier: Apache-2.0
#include "skim/sketch/race.hpp"

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "laws/linear_sketch.hpp"
#include "skim/hash/fern.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

template class skim::race_sketch<skim::fern_family>;

namespace {

using race = skim::race_sketch<skim::fern_family>;

skim::fern_family ferns(std::size_t d, std::size_t hashes, std::size_t bits, skim::seed s) {
  const std::vector<skim::fern_coordinate> range(d, {-2, 2, 1});
  return {{.hashes = hashes, .bits = bits}, range, s};
}

template <std::size_t Width>
struct law_model {
  using sketch = race;
  static sketch make(skim::seed s) {
    return sketch(ferns(2, 3, 4, s), {.width = Width, .groups = 3});
  }
  static void insert(sketch& s, std::size_t i, float times) {
    skim::workspace ws;
    const auto x = skim_test::gaussian_points(1, 2, skim::seed{i});
    s.insert(x.row(0), ws, times);
  }
  static bool same_sums(const sketch& a, const sketch& b) {
    return skim_test::image_of(a) == skim_test::image_of(b);
  }
};

double exact_sum(const skim::fern_family& f, std::span<const float> q, const skim_test::points& x,
                 std::span<const float> w) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += static_cast<double>(w[i]) * f.kernel(q, x.row(i));
  return sum;
}

}  // namespace

TEST_CASE("RACE keeps the laws of linear sketches", "[law]") {
  SECTION("exact columns") {
    skim_test::linear_sketch_laws<law_model<16>>();
  }
  SECTION("hashed columns") {
    skim_test::linear_sketch_laws<law_model<8>>();
  }
}

TEST_CASE("RACE estimates kernel sums without bias, hashed or not", "[stat]") {
  constexpr std::size_t n = 40, d = 3, rows = 4, seeds = 2000;
  const auto x = skim_test::gaussian_points(n, d, skim::seed{1});
  const auto q = skim_test::gaussian_points(1, d, skim::seed{2});
  std::vector<float> w(n);
  for (std::size_t i = 0; i < n; ++i) w[i] = 0.5f + static_cast<float>(i % 3);
  const double exact = exact_sum(ferns(d, rows, 5, skim::seed{0}), q.row(0), x, w);
  double bound = 0;  // (sum w sqrt k)^2, of one row
  const auto any = ferns(d, rows, 5, skim::seed{0});
  for (std::size_t i = 0; i < n; ++i)
    bound += static_cast<double>(w[i]) * std::sqrt(any.kernel(q.row(0), x.row(i)));
  bound *= bound;
  for (const std::size_t width : {32u, 4u}) {
    std::vector<double> values(seeds);
    skim::workspace ws;
    double variance = 0;
    for (std::size_t s = 0; s < seeds; ++s) {
      race sketch(ferns(d, rows, 5, skim::seed{100 + s}), {.width = width});
      sketch.insert(x.view(), w, ws);
      values[s] = sketch.query(q.row(0), ws).value;
      variance += (values[s] - exact) * (values[s] - exact) / seeds;
    }
    skim_test::check_mean(values, exact);
    if (width == 32) CHECK(variance * rows <= bound);
  }
}

TEST_CASE("the error of RACE falls with the square root of its rows", "[stat]") {
  constexpr std::size_t n = 60, d = 3, repeats = 150;
  const auto x = skim_test::gaussian_points(n, d, skim::seed{1});
  const auto q = skim_test::gaussian_points(1, d, skim::seed{2});
  const std::vector<float> w(n, 1.0f);
  const double exact = exact_sum(ferns(d, 1, 6, skim::seed{0}), q.row(0), x, w);
  std::vector<double> log_rows, log_error;
  skim::workspace ws;
  for (std::size_t rows = 4; rows <= 512; rows *= 2) {
    double square = 0;
    for (std::size_t s = 0; s < repeats; ++s) {
      race sketch(ferns(d, rows, 6, skim::seed{1000 * rows + s}), {.width = 64});
      sketch.insert(x.view(), w, ws);
      const double e = sketch.query(q.row(0), ws).value - exact;
      square += e * e / repeats;
    }
    log_rows.push_back(std::log(static_cast<double>(rows)));
    log_error.push_back(std::log(square) / 2);
  }
  skim_test::check_slope(log_rows, log_error, -0.5);
}

TEST_CASE("the standard error covers the truth", "[stat]") {
  constexpr std::size_t n = 60, d = 3, rows = 400, seeds = 300;
  const auto x = skim_test::gaussian_points(n, d, skim::seed{1});
  const auto q = skim_test::gaussian_points(1, d, skim::seed{2});
  const std::vector<float> w(n, 1.0f);
  const double exact = exact_sum(ferns(d, 1, 5, skim::seed{0}), q.row(0), x, w);
  skim::workspace ws;
  for (const auto form : {skim::race_form::mean, skim::race_form::median_of_means}) {
    std::uint64_t covered = 0;
    for (std::size_t s = 0; s < seeds; ++s) {
      race sketch(ferns(d, rows, 5, skim::seed{s}), {.width = 32, .groups = 20});
      sketch.insert(x.view(), w, ws);
      const auto e = sketch.query(q.row(0), ws, form);
      covered += std::abs(e.value - exact) <= 2 * e.standard_error;
    }
    // 95.4 % for a normal estimate; a little less is granted to the estimated deviation.
    skim_test::check_proportion_at_least(covered, seeds, 0.93);
  }
}

TEST_CASE("a few bad rows do not move the median of means", "[unit]") {
  constexpr std::size_t rows = 60;
  race sketch(ferns(2, rows, 4, skim::seed{1}), {.width = 16, .groups = 20});
  const std::vector<skim::code_t> here(rows, 3);
  const skim::cached_codes<skim::code_t> q(
      skim::matrix_view<const skim::code_t>(here.data(), 1, rows));
  const std::vector<float> ten{10}, huge{1e6f};
  sketch.insert_codes(q, ten);
  std::vector<skim::code_t> bad(rows, 5);
  bad[0] = bad[20] = bad[40] = 3;
  sketch.insert_codes(
      skim::cached_codes<skim::code_t>(skim::matrix_view<const skim::code_t>(bad.data(), 1, rows)),
      huge);
  std::vector<skim::race_estimate> e(1);
  sketch.query_codes(q, e, skim::race_form::median_of_means);
  CHECK(e[0].value == 10);
  CHECK(e[0].rows_hit == rows);
  sketch.query_codes(q, e);
  CHECK(e[0].value > 10'000);
}

TEST_CASE("an empty RACE answers zero", "[unit]") {
  const race sketch(ferns(2, 5, 4, skim::seed{1}), {.width = 4});
  skim::workspace ws;
  const std::vector<float> x{0, 0};
  const auto e = sketch.query(std::span(x), ws);
  CHECK(e.value == 0);
  CHECK(e.standard_error == 0);
  CHECK(e.rows_hit == 0);
  const race one(ferns(2, 1, 4, skim::seed{1}));
  CHECK(std::isinf(one.query(std::span(x), ws).standard_error));
}

TEST_CASE("RACE refuses bad input and stays as it was", "[unit]") {
  race sketch(ferns(2, 5, 4, skim::seed{1}));
  skim::workspace ws;
  const auto x = skim_test::gaussian_points(3, 2, skim::seed{1});
  sketch.insert(x.view(), {}, ws);
  const auto before = skim_test::image_of(sketch);
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              inf = std::numeric_limits<float>::infinity();
  for (const float w : {nan, inf, -1.0f, 0x1p31f}) {
    const std::vector<float> weights{1, 1, w};
    CHECK_THROWS_AS(sketch.insert(x.row(0), ws, w), skim::invalid_input);
    CHECK_THROWS_AS(sketch.insert(x.view(), weights, ws), skim::invalid_input);
  }
  const std::vector<float> two(2, 1.0f);
  CHECK_THROWS_AS(sketch.insert(x.view(), two, ws), skim::invalid_input);
  std::vector<skim::race_estimate> out(2);
  CHECK_THROWS_AS(sketch.query(x.view(), out, ws), skim::invalid_input);
  auto bad = x;
  bad.row(2)[1] = nan;
  CHECK_THROWS_AS(sketch.insert(bad.view(), {}, ws), skim::invalid_input);
  CHECK(skim_test::image_of(sketch) == before);
  CHECK_THROWS_AS(race(ferns(2, 5, 4, skim::seed{1}), {.width = 100}), skim::invalid_params);
  CHECK_THROWS_AS(race(ferns(2, 5, 4, skim::seed{1}), {.groups = 6}), skim::invalid_params);
  CHECK_THROWS_AS(race(ferns(2, 5, 4, skim::seed{1}), {.groups = 0}), skim::invalid_params);
}

TEST_CASE("sparse points count as the dense ones", "[unit]") {
  const auto sparse = skim_test::sparse_gaussian_points(20, 10, 3, skim::seed{2});
  skim_test::points dense(20, 10);
  for (std::size_t i = 0; i < 20; ++i)
    for (std::size_t k = 0; k < 3; ++k)
      dense.row(i)[sparse.row(i).indices[k]] = sparse.row(i).values[k];
  race a(ferns(10, 6, 8, skim::seed{1})), b = a;
  skim::workspace ws;
  a.insert(sparse.view(), {}, ws);
  b.insert(dense.view(), {}, ws);
  CHECK(skim_test::image_of(a) == skim_test::image_of(b));
  CHECK(a.query(sparse.row(3), ws).value == b.query(dense.row(3), ws).value);
}
