// SPDX-License-Identifier: Apache-2.0
#include "skim/sketch/nadaraya_watson.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "laws/linear_sketch.hpp"
#include "skim/hash/fern.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

template class skim::nadaraya_watson_sketch<skim::fern_family, 1>;
template class skim::nadaraya_watson_sketch<skim::fern_family, 2>;
template class skim::nadaraya_watson_scores<skim::fern_family, 1>;
template class skim::nadaraya_watson_scores<skim::fern_family, 2>;

namespace {

template <std::size_t Moments>
using sketch_of = skim::nadaraya_watson_sketch<skim::fern_family, Moments>;
using skim::regression_form;
using skim::regression_value;

skim::fern_family ferns(std::size_t d, std::size_t hashes, std::size_t bits, skim::seed s) {
  const std::vector<skim::fern_coordinate> range(d, {-2, 2, 1});
  return {{.hashes = hashes, .bits = bits}, range, s};
}

template <std::size_t Moments, std::size_t Width, skim::regression_prior Prior>
struct law_model {
  using sketch = sketch_of<Moments>;
  static sketch make(skim::seed s) {
    return sketch(ferns(2, 2, 3, s), {.width = Width, .classes = 2, .prior = Prior});
  }
  static void insert(sketch& s, std::size_t i, float times) {
    skim::workspace ws;
    const auto x = skim_test::gaussian_points(1, 2, skim::seed{i});
    s.insert(x.row(0),
             {.score = static_cast<float>(i % 7) - 3,
              .weight = times,
              .label = static_cast<skim::label_t>(i % 2)},
             ws);
  }
  static bool same_sums(const sketch& a, const sketch& b) {
    skim::workspace ws;
    for (std::size_t i = 0; i < 10; ++i) {
      const auto x = skim_test::gaussian_points(1, 2, skim::seed{i});
      const auto p = a.query(x.row(0), ws, 1), q = b.query(x.row(0), ws, 1);
      if (p.weighted_sum != q.weighted_sum || p.weight != q.weight || p.mean != q.mean)
        return false;
    }
    return true;
  }
};

// A stream with everything: classes, weights, scores that depend on the point and the class.
struct stream {
  skim_test::points x;
  std::vector<float> scores, weights;
  std::vector<skim::label_t> labels;

  stream(std::size_t n, std::size_t d, std::size_t classes, skim::seed s)
      : x(skim_test::gaussian_points(n, d, s)), scores(n), weights(n), labels(n) {
    for (std::size_t i = 0; i < n; ++i) {
      labels[i] = static_cast<skim::label_t>(i % classes);
      weights[i] = 0.5f + static_cast<float>(i % 4);
      scores[i] = std::sin(x.row(i)[0]) + static_cast<float>(labels[i]);
    }
  }
  [[nodiscard]] skim::observations y() const {
    return {.scores = scores, .weights = weights, .labels = labels};
  }
};

struct kernel_sums {
  double weight = 0, sum = 0, square = 0, weight_bound = 0, sum_bound = 0;
};

kernel_sums exact(const skim::fern_family& f, std::span<const float> q, const stream& s,
                  skim::label_t label) {
  kernel_sums k;
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (s.labels[i] != label) continue;
    const double p = f.kernel(q, s.x.row(i)), w = s.weights[i], y = s.scores[i];
    k.weight += p * w;
    k.sum += p * w * y;
    k.square += p * w * y * y;
    k.weight_bound += std::sqrt(p) * w;
    k.sum_bound += std::sqrt(p) * w * std::abs(y);
  }
  k.weight_bound *= k.weight_bound;
  k.sum_bound *= k.sum_bound;
  return k;
}

template <class Code>
skim::cached_codes<Code> cached(const std::vector<Code>& codes, std::size_t rows,
                                std::span<const skim::label_t> labels = {}) {
  return skim::cached_codes<Code>(
      skim::matrix_view<const Code>(codes.data(), codes.size() / rows, rows), labels);
}

}  // namespace

TEST_CASE("Nadaraya-Watson sketches keep the laws of linear sketches", "[law]") {
  using skim::regression_prior;
  SECTION("one moment, exact") {
    skim_test::linear_sketch_laws<law_model<1, 16, regression_prior::global>>();
  }
  SECTION("two moments, hashed, per-class priors") {
    skim_test::linear_sketch_laws<law_model<2, 8, regression_prior::per_class>>();
  }
}

TEST_CASE("both kernel sums are estimated without bias, hashed or not, label by label", "[stat]") {
  constexpr std::size_t n = 60, d = 2, rows = 4, seeds = 2000;
  const stream s(n, d, 3, skim::seed{1});
  const auto q = skim_test::gaussian_points(1, d, skim::seed{2});
  const kernel_sums truth = exact(ferns(d, 1, 3, skim::seed{0}), q.row(0), s, 1);
  skim::workspace ws;
  for (const std::size_t width : {32u, 8u}) {  // 8 codes x 3 labels
    std::vector<double> weight(seeds), sum(seeds);
    double weight_variance = 0, sum_variance = 0;
    for (std::size_t k = 0; k < seeds; ++k) {
      sketch_of<1> sketch(ferns(d, rows, 3, skim::seed{10 + k}), {.width = width, .classes = 3});
      sketch.insert(s.x.view(), s.y(), ws);
      const auto e = sketch.query(q.row(0), ws, 1, regression_form::ratio_of_means);
      weight[k] = e.weight;
      sum[k] = e.weighted_sum;
      weight_variance += (e.weight - truth.weight) * (e.weight - truth.weight) / seeds;
      sum_variance += (e.weighted_sum - truth.sum) * (e.weighted_sum - truth.sum) / seeds;
    }
    skim_test::check_mean(weight, truth.weight);
    skim_test::check_mean(sum, truth.sum);
    if (width == 32) {
      CHECK(weight_variance * rows <= truth.weight_bound);
      CHECK(sum_variance * rows <= truth.sum_bound);
    }
  }
}

TEST_CASE("ratios of means and of medians converge to the kernel regression", "[stat]") {
  constexpr std::size_t n = 3000, d = 2, rows = 3000;
  const stream s(n, d, 2, skim::seed{1});
  const auto q = skim_test::gaussian_points(1, d, skim::seed{2});
  sketch_of<2> sketch(ferns(d, rows, 3, skim::seed{3}),
                      {.width = 16, .classes = 2, .groups = 15, .shrinkage = 1e-3});
  skim::workspace ws;
  sketch.insert(s.x.view(), s.y(), ws);
  const kernel_sums truth = exact(sketch.family(), q.row(0), s, 1);
  const double z = skim_test::z_limit(1e-6);
  for (const auto form : {regression_form::ratio_of_means, regression_form::median_of_means}) {
    const auto e = sketch.query(q.row(0), ws, 1, form);
    CHECK(std::abs(e.mean - truth.sum / truth.weight) <= z * e.standard_error);
    CHECK(e.standard_error < 0.02);
    CHECK_THAT(e.second_moment, Catch::Matchers::WithinRel(truth.square / truth.weight, 0.05));
    CHECK(e.rows_hit == rows);
  }
}

TEST_CASE("shrunk ratios are the formula of their documentation", "[unit]") {
  sketch_of<2> sketch(ferns(1, 2, 2, skim::seed{1}), {.width = 4, .shrinkage = 2});
  const std::vector<skim::code_t> codes{0, 0, 0, 1, 3, 3};  // three examples, two rows
  const std::vector<float> scores{1, 4, 10}, weights{1, 2, 1};
  sketch.insert_codes(cached(codes, 2), scores, weights);
  const double m = (1 + 8 + 10) / 4.0, k = 2;
  CHECK(sketch.mean() == m);
  CHECK(sketch.second_moment() == (1 + 32 + 100) / 4.0);
  const std::vector<skim::code_t> q{0, 1};
  std::vector<skim::regression_estimate> e(1);
  sketch.query_codes(cached(q, 2), e);
  const double row0 = (1 + 8 + k * m) / (3 + k), row1 = (8 + k * m) / (2 + k);
  CHECK_THAT(e[0].mean, Catch::Matchers::WithinRel((row0 + row1) / 2, 1e-12));
  CHECK(e[0].weight == 2.5);
  CHECK(e[0].weighted_sum == 8.5);
  CHECK(e[0].rows_hit == 2);
  CHECK_THAT(e[0].standard_error, Catch::Matchers::WithinRel(std::abs(row0 - row1) / 2, 1e-12));
  CHECK_THAT(e[0].effective_count, Catch::Matchers::WithinRel(25.0 / (2 * 9), 1e-12));
  std::vector<float> fast(1);
  sketch.query_codes(cached(q, 2), fast);
  CHECK_THAT(static_cast<double>(fast[0]), Catch::Matchers::WithinRel(e[0].mean, 1e-6));
  sketch.query_codes(cached(q, 2), fast, regression_value::root_mean_square);
  CHECK_THAT(static_cast<double>(fast[0]),
             Catch::Matchers::WithinRel(std::sqrt(e[0].second_moment), 1e-6));
}

TEST_CASE("an empty sketch and an empty neighbourhood give the prior", "[unit]") {
  sketch_of<1> sketch(ferns(1, 2, 2, skim::seed{1}), {.width = 4});
  const std::vector<skim::code_t> a{0, 0}, b{3, 3};
  std::vector<skim::regression_estimate> e(1);
  for (const auto form : {regression_form::shrunk_ratios, regression_form::ratio_of_means,
                          regression_form::median_of_means}) {
    sketch.query_codes(cached(a, 2), e, form);
    CHECK(e[0].mean == 0);
    CHECK(e[0].weight == 0);
    CHECK(e[0].rows_hit == 0);
    CHECK(e[0].effective_count == 0);
  }
  const std::vector<float> y{5};
  sketch.insert_codes(cached(a, 2), y);
  for (const auto form : {regression_form::shrunk_ratios, regression_form::ratio_of_means,
                          regression_form::median_of_means}) {
    sketch.query_codes(cached(b, 2), e, form);
    CHECK(e[0].mean == 5);
    CHECK(e[0].weight == 0);
    CHECK(e[0].rows_hit == 0);
  }
}

TEST_CASE("labels keep classes apart", "[unit]") {
  sketch_of<1> sketch(ferns(1, 3, 2, skim::seed{1}),
                      {.width = 16, .classes = 4, .shrinkage = 1e-3});
  skim::workspace ws;
  const std::vector<float> x{0.3f};
  for (skim::label_t c = 0; c < 3; ++c)
    for (int i = 0; i < 10; ++i)
      sketch.insert(x, {.score = static_cast<float>(10 * c), .label = c}, ws);
  for (skim::label_t c = 0; c < 3; ++c) {
    const auto e = sketch.query(x, ws, c, regression_form::ratio_of_means);
    CHECK(e.mean == 10.0 * c);
    CHECK(e.weight == 10);
  }
  CHECK(sketch.query(x, ws, 3).weight == 0);
  CHECK_THAT(sketch.query(x, ws, 3).mean, Catch::Matchers::WithinRel(10.0, 1e-12));
}

TEST_CASE("a class prior takes over where its class has data", "[unit]") {
  sketch_of<1> sketch(ferns(1, 2, 2, skim::seed{1}),
                      {.width = 16, .classes = 3, .prior = skim::regression_prior::per_class});
  skim::workspace ws;
  const std::vector<float> here{-1.9f}, there{1.9f};
  for (int i = 0; i < 4; ++i) sketch.insert(here, {.score = 2, .label = 0}, ws);
  for (int i = 0; i < 4; ++i) sketch.insert(here, {.score = 6, .label = 1}, ws);
  const std::vector<skim::code_t> q{3, 3, 3, 3, 3, 3};
  std::vector<float> out(3);
  const std::vector<skim::label_t> labels{0, 1, 2};
  const auto far = cached(q, 2, labels);
  sketch.query_codes(far, out);
  const auto seen = sketch.query(there, ws, 0).rows_hit;
  if (seen == 0) {
    CHECK(out[0] == 2);
    CHECK(out[1] == 6);
  }
  CHECK(out[2] == 4);
  CHECK_THROWS_AS((skim::nadaraya_watson_scores<skim::fern_family>(sketch)), skim::invalid_params);
}

TEST_CASE("points, 32-bit codes, 16-bit codes and lists of them are the same data", "[unit]") {
  for (const std::size_t rows : {1u, 3u, 4u, 8u, 16u, 21u, 40u}) {
    constexpr std::size_t n = 77;
    const stream s(n, 5, 3, skim::seed{1});
    const auto family = ferns(5, rows, 9, skim::seed{2});
    const skim::nadaraya_watson_params p{.width = 256, .classes = 3};
    sketch_of<1> points(family, p), wide(family, p), narrow(family, p), single(family, p),
        listed(family, p);
    skim::workspace ws;
    std::vector<skim::code_t> codes(n * rows);
    family.hash(s.x.view(), codes, ws);
    const std::vector<std::uint16_t> codes16(codes.begin(), codes.end());
    const auto all = cached(codes, rows, s.labels);
    const auto all16 = cached(codes16, rows, s.labels);

    points.insert(s.x.view(), s.y(), ws);
    wide.insert_codes(all, s.scores, s.weights);
    narrow.insert_codes(all16, s.scores, s.weights);
    for (std::size_t i = 0; i < n; ++i)
      single.insert(s.x.row(i), {s.scores[i], s.weights[i], s.labels[i]}, ws);
    std::vector<skim::id_t> ids(n);
    for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<skim::id_t>(i);
    listed.insert_codes(all16, ids, s.scores, s.weights);
    const auto bytes = skim_test::image_of(points);
    CHECK(skim_test::image_of(wide) == bytes);
    CHECK(skim_test::image_of(narrow) == bytes);
    CHECK(skim_test::image_of(single) == bytes);
    CHECK(skim_test::image_of(listed) == bytes);
    std::vector<std::uint16_t> columns = codes16;
    points.columns().to_columns(columns, s.labels);
    const skim::cached_columns located({columns.data(), n, rows});
    sketch_of<1> by_column(family, p), by_listed_column(family, p);
    by_column.insert_columns(located, s.scores, s.weights);
    by_listed_column.insert_columns(located, ids, s.scores, s.weights);
    CHECK(skim_test::image_of(by_column) == bytes);
    CHECK(skim_test::image_of(by_listed_column) == bytes);

    std::vector<float> a(n), b(n), c(n), table(n);
    points.query(s.x.view(), s.labels, std::span<float>(a), ws);
    points.query_codes(all, b);
    CHECK(a == b);
    std::reverse(ids.begin(), ids.end());
    points.query_codes(all16, ids, c);
    std::reverse(c.begin(), c.end());
    CHECK(a == c);
    std::vector<skim::regression_estimate> full(n);
    points.query(s.x.view(), s.labels, full, ws);
    for (std::size_t i = 0; i < n; ++i)
      REQUIRE_THAT(static_cast<double>(a[i]), Catch::Matchers::WithinRel(full[i].mean, 1e-5) ||
                                                  Catch::Matchers::WithinAbs(full[i].mean, 1e-5));
    const skim::nadaraya_watson_scores<skim::fern_family> scores(points);
    scores.query_codes(all16, table);
    std::vector<float> from_columns(n);
    scores.query_columns(located, ids, from_columns);
    std::reverse(from_columns.begin(), from_columns.end());
    CHECK(table == from_columns);
    for (std::size_t i = 0; i < n; ++i)
      REQUIRE_THAT(static_cast<double>(table[i]), Catch::Matchers::WithinAbs(a[i], 1e-5));
  }
}

TEST_CASE("a score table follows the cells that are refreshed", "[unit]") {
  const stream s(50, 3, 2, skim::seed{1});
  const auto family = ferns(3, 4, 8, skim::seed{2});
  sketch_of<2> sketch(family, {.width = 128, .classes = 2});
  skim::workspace ws;
  std::vector<skim::code_t> codes(50 * 4);
  family.hash(s.x.view(), codes, ws);
  const auto all = cached(codes, 4, s.labels);
  skim::nadaraya_watson_scores<skim::fern_family, 2> scores(sketch,
                                                            regression_value::root_mean_square);
  std::vector<skim::id_t> ids(50);
  for (std::size_t i = 0; i < 50; ++i) ids[i] = static_cast<skim::id_t>(i);
  std::vector<float> want(50), got(50);
  sketch.insert_codes(all, ids, s.scores, s.weights);
  sketch.query_codes(all, want, regression_value::root_mean_square);
  scores.query_codes(all, got);
  CHECK(got != want);
  scores.refresh(sketch, all, ids);
  scores.query_codes(all, ids, got);
  for (std::size_t i = 0; i < 50; ++i)
    CHECK_THAT(static_cast<double>(got[i]), Catch::Matchers::WithinAbs(want[i], 1e-5));
  const sketch_of<2> other(ferns(3, 4, 8, skim::seed{3}), {.width = 128, .classes = 2});
  CHECK_THROWS_AS(scores.refresh(other), skim::merge_error);
}

TEST_CASE("decay leaves means alone and fades weights, across rescaling", "[unit]") {
  const stream s(200, 2, 1, skim::seed{1});
  sketch_of<2> sketch(ferns(2, 8, 6, skim::seed{2}), {.width = 64});
  skim::workspace ws;
  sketch.insert(s.x.view(), s.y(), ws);
  const auto before = sketch.query(s.x.row(0), ws, 0, regression_form::ratio_of_means);
  for (int i = 0; i < 30; ++i) sketch.decay(0.5);
  const auto after = sketch.query(s.x.row(0), ws, 0, regression_form::ratio_of_means);
  CHECK_THAT(after.mean, Catch::Matchers::WithinRel(before.mean, 1e-12));
  CHECK_THAT(after.second_moment, Catch::Matchers::WithinRel(before.second_moment, 1e-12));
  CHECK_THAT(after.weight, Catch::Matchers::WithinRel(before.weight * 0x1p-30, 1e-12));
  CHECK_THAT(after.effective_count, Catch::Matchers::WithinRel(before.effective_count, 1e-12));
  // New data soon outweigh what has faded.
  sketch.insert(s.x.row(0), 100.0f, ws);
  CHECK_THAT(sketch.query(s.x.row(0), ws, 0, regression_form::ratio_of_means).mean,
             Catch::Matchers::WithinRel(100.0, 1e-4));
}

TEST_CASE("a few bad rows do not move the median of means regression", "[unit]") {
  constexpr std::size_t rows = 60;
  sketch_of<1> sketch(ferns(2, rows, 4, skim::seed{1}), {.width = 16, .groups = 20});
  const std::vector<skim::code_t> here(rows, 3);
  std::vector<skim::code_t> bad(rows, 5);
  bad[0] = bad[20] = bad[40] = 3;
  const std::vector<float> y{7}, huge{1e9f};
  sketch.insert_codes(cached(here, rows), y);
  sketch.insert_codes(cached(bad, rows), huge);
  std::vector<skim::regression_estimate> e(1);
  sketch.query_codes(cached(here, rows), e, regression_form::median_of_means);
  CHECK(e[0].mean == 7);
  sketch.query_codes(cached(here, rows), e, regression_form::ratio_of_means);
  CHECK(e[0].mean > 1e6);
}

TEST_CASE("bad input is refused before any cell is touched", "[unit]") {
  const stream s(20, 2, 3, skim::seed{1});
  sketch_of<2> sketch(ferns(2, 4, 4, skim::seed{2}), {.width = 64, .classes = 3});
  skim::workspace ws;
  sketch.insert(s.x.view(), s.y(), ws);
  const auto before = skim_test::image_of(sketch);
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              inf = std::numeric_limits<float>::infinity();
  const auto refused = [&](auto&& call) {
    CHECK_THROWS_AS(call(), skim::invalid_input);
    CHECK(skim_test::image_of(sketch) == before);
  };
  for (const float bad : {nan, inf, -inf, 1e30f}) {
    stream t = s;
    t.scores[19] = bad;
    refused([&] { sketch.insert(t.x.view(), t.y(), ws); });
    refused([&] { sketch.insert(s.x.row(0), bad, ws); });
  }
  for (const float bad : {nan, inf, -1.0f, 0x1p31f}) {
    stream t = s;
    t.weights[19] = bad;
    refused([&] { sketch.insert(t.x.view(), t.y(), ws); });
  }
  stream t = s;
  t.labels[19] = 3;
  refused([&] { sketch.insert(t.x.view(), t.y(), ws); });
  refused([&] { static_cast<void>(sketch.query(s.x.row(0), ws, 3)); });
  t = s;
  t.x.row(19)[1] = nan;
  refused([&] { sketch.insert(t.x.view(), t.y(), ws); });
  t = s;
  t.scores.pop_back();
  refused([&] { sketch.insert(t.x.view(), t.y(), ws); });
  t = s;
  t.labels.pop_back();
  refused([&] { sketch.insert(t.x.view(), t.y(), ws); });
  t = s;
  t.weights.pop_back();
  refused([&] { sketch.insert(t.x.view(), t.y(), ws); });

  const std::vector<skim::code_t> codes{0, 1, 2, 16}, short_row{0, 1, 2};
  const std::vector<float> one{1};
  std::vector<float> out(1);
  refused([&] { sketch.insert_codes(cached(codes, 4), one); });
  refused([&] { sketch.query_codes(cached(codes, 4), out); });
  refused([&] { sketch.insert_codes(cached(short_row, 3), one); });
  const std::vector<skim::code_t> good{0, 1, 2, 15};
  const std::vector<skim::id_t> beyond{1};
  refused([&] { sketch.insert_codes(cached(good, 4), beyond, one); });
  const std::vector<std::uint16_t> near{0, 1, 2, 3}, beside{0, 1, 2, 60000};
  const auto columns = [](const std::vector<std::uint16_t>& c, std::size_t hashes) {
    return skim::cached_columns({c.data(), c.size() / hashes, hashes});
  };
  refused([&] { sketch.insert_columns(columns(beside, 4), one); });
  refused([&] { sketch.insert_columns(columns(near, 2), std::vector<float>(2, 1.0f)); });
  refused([&] { sketch.insert_columns(columns(near, 4), beyond, one); });
  refused([&] { sketch.query_codes(cached(good, 4), beyond, out); });

  using params = skim::nadaraya_watson_params;
  const auto make = [](params p) { return sketch_of<1>(ferns(2, 4, 4, skim::seed{2}), p); };
  CHECK_THROWS_AS(make({.width = 100}), skim::invalid_params);
  CHECK_THROWS_AS(make({.width = 0}), skim::invalid_params);
  CHECK_THROWS_AS(make({.classes = 0}), skim::invalid_params);
  CHECK_THROWS_AS(make({.groups = 5}), skim::invalid_params);
  CHECK_THROWS_AS(make({.shrinkage = 0}), skim::invalid_params);
  CHECK_THROWS_AS(make({.shrinkage = std::nan("")}), skim::invalid_params);
  const sketch_of<1> single = make({});
  CHECK_THROWS_AS(single.query_codes(cached(good, 4), out, regression_value::root_mean_square),
                  skim::invalid_params);
}

TEST_CASE("the largest allowed terms never reach infinity", "[unit]") {
  sketch_of<2> sketch(ferns(1, 1, 1, skim::seed{1}), {.width = 2});
  const std::vector<skim::code_t> codes(64, 0);
  const std::vector<float> scores(64, 0x1p15f), weights(64, 0x1p30f);
  for (int i = 0; i < 15; ++i) sketch.decay(0.5);
  for (int i = 0; i < 100; ++i) sketch.insert_codes(cached(codes, 1), scores, weights);
  std::vector<skim::regression_estimate> e(1);
  sketch.query_codes(
      skim::cached_codes<skim::code_t>(skim::matrix_view<const skim::code_t>(codes.data(), 1, 1)),
      e);
  CHECK(std::isfinite(e[0].weight));
  CHECK(e[0].mean == 0x1p15);
  CHECK(std::isfinite(e[0].effective_count));
}

TEST_CASE("sparse points are regressed as the dense ones", "[unit]") {
  const auto sparse = skim_test::sparse_gaussian_points(20, 10, 3, skim::seed{2});
  skim_test::points dense(20, 10);
  for (std::size_t i = 0; i < 20; ++i)
    for (std::size_t k = 0; k < 3; ++k)
      dense.row(i)[sparse.row(i).indices[k]] = sparse.row(i).values[k];
  sketch_of<1> a(ferns(10, 6, 8, skim::seed{1})), b = a;
  std::vector<float> y(20), u(20), v(20);
  for (std::size_t i = 0; i < 20; ++i) y[i] = static_cast<float>(i);
  skim::workspace ws;
  a.insert(sparse.view(), {.scores = y}, ws);
  b.insert(dense.view(), {.scores = y}, ws);
  CHECK(skim_test::image_of(a) == skim_test::image_of(b));
  a.query(sparse.view(), {}, u, ws);
  b.query(dense.view(), {}, std::span<float>(v), ws);
  CHECK(u == v);
  CHECK(a.query(sparse.row(4), ws).mean == b.query(dense.row(4), ws).mean);
}
