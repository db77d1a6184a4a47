// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/detail/point_table.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "skim/core/random.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;
using namespace skim;

TEST_CASE("sums of weights come back exactly, whatever came and went") {
  random_engine g(seed{1});
  detail::weight_sum sum, empty;
  std::vector<float> weights{detail::least_weight, detail::largest_weight, 1.0f};
  for (int i = 0; i < 1000; ++i)
    weights.push_back(static_cast<float>(std::pow(10.0, 30 * uniform(g) - 15)));
  for (const float w : weights) sum.add(w);
  long double want = 0;
  for (const float w : weights) want += static_cast<long double>(w);
  CHECK_THAT(sum.value(), WithinRel(static_cast<double>(want), 1e-14));
  shuffle(std::span(weights), g);
  for (const float w : weights) sum.subtract(w);
  CHECK(sum == empty);
  CHECK(sum.value() == 0);
  sum.add(detail::largest_weight);
  sum.add(1e-15f);
  sum.subtract(detail::largest_weight);
  CHECK(sum.value() == static_cast<double>(1e-15f));
}

TEST_CASE("a point table is a map from ids to points through any history") {
  constexpr std::size_t dim = 3;
  detail::point_table table(dim);
  std::map<id_t, std::array<float, dim + 1>> model;
  random_engine g(seed{2});
  const auto point = [&] {
    std::array<float, dim> x;
    for (float& v : x) v = static_cast<float>(normal(g));
    return x;
  };
  for (int step = 0; step < 3000; ++step) {
    const auto what = uniform_below(g, step < 1500 ? 5 : 7);
    if (what < 3 || model.empty()) {
      const auto x = point();
      const float w = 1 + static_cast<float>(uniform(g));
      table.reserve("test", 1);
      const id_t id = table.insert(x, w);
      CHECK(model.emplace(id, std::array{x[0], x[1], x[2], w}).second);
      continue;
    }
    auto at = model.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(uniform_below(g, model.size())));
    if (what == 3) {
      const auto x = point();
      table.replace(at->first, x);
      std::copy(x.begin(), x.end(), at->second.begin());
    } else if (what == 4) {
      table.swap_places(table.place(at->first),
                        static_cast<std::size_t>(uniform_below(g, table.size())));
    } else {
      table.erase(at->first);
      CHECK_FALSE(table.contains(at->first));
      model.erase(at);
    }
  }
  const auto agrees = [&](const detail::point_table& t) {
    double total = 0;
    std::array<float, dim> x;
    bool same = t.size() == model.size();
    for (const auto& [id, values] : model) {
      t.copy_point(id, x);
      same = same && t.contains(id) && std::equal(x.begin(), x.end(), values.begin()) &&
             t.weight(id) == values[dim];
      total += static_cast<double>(values[dim]);
    }
    CHECK_THAT(t.total_weight(), WithinRel(total, 1e-12));
    return same;
  };
  CHECK(agrees(table));
  writer out;
  table.save(out);
  reader in(out.bytes());
  const density_kernel k;
  detail::point_table loaded = detail::point_table::load(in, k);
  CHECK(agrees(loaded));
  for (int i = 0; i < 20; ++i) {  // the same ids are given afterwards
    table.reserve("test", 1);
    loaded.reserve("test", 1);
    CHECK(loaded.insert(point(), 1) == table.insert(point(), 1));
  }
}

TEST_CASE("a point table is not loaded from what none saved") {
  detail::point_table table(2);
  table.reserve("test", 3);
  for (int i = 0; i < 3; ++i) table.insert(std::array{1.0f, 2.0f}, 1);
  table.erase(1);
  const auto image = [&](auto change) {
    writer out;
    out.begin_frame("point_table");
    out.put(std::uint64_t{2});
    std::vector<id_t> ids{0, 2}, free{1};
    std::vector<float> a{1, 2, 1}, b{1, 2, 1};
    change(ids, free, a);
    out.put(std::span<const id_t>(ids));
    out.put(std::span<const id_t>(free));
    out.put(std::span<const float>(a));
    out.put(std::span<const float>(b));
    out.end_frame();
    return std::move(out).release();
  };
  using ids_type = std::vector<id_t>;
  using point_type = std::vector<float>;
  const auto load = [](const std::vector<std::byte>& bytes, kernel_kind k = {}) {
    reader in(bytes);
    return detail::point_table::load(in, density_kernel{k, 1}).size();
  };
  writer saved;
  table.save(saved);
  const auto same = image([](ids_type&, ids_type&, point_type&) {});
  CHECK(std::equal(same.begin(), same.end(), saved.bytes().begin(), saved.bytes().end()));
  CHECK(load(same) == 2);
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(load(same, kernel_kind::angular), format_error);  // not on the sphere
  CHECK_THROWS_AS(load(image([](ids_type& ids, ids_type&, point_type&) { ids[1] = 0; })),
                  format_error);
  CHECK_THROWS_AS(load(image([](ids_type& ids, ids_type&, point_type&) { ids[1] = 3; })),
                  format_error);
  CHECK_THROWS_AS(load(image([](ids_type&, ids_type& free, point_type&) { free[0] = 2; })),
                  format_error);
  CHECK_THROWS_AS(load(image([](ids_type&, ids_type& free, point_type&) { free[0] = 9; })),
                  format_error);
  CHECK_THROWS_AS(load(image([](ids_type&, ids_type&, point_type& x) { x[0] = nan; })),
                  format_error);
  CHECK_THROWS_AS(load(image([](ids_type&, ids_type&, point_type& x) { x[0] = 1e30f; })),
                  format_error);
  CHECK_THROWS_AS(load(image([](ids_type&, ids_type&, point_type& x) { x[2] = 0; })), format_error);
  CHECK_THROWS_AS(load(image([](ids_type&, ids_type&, point_type& x) { x.pop_back(); })),
                  format_error);
}

TEST_CASE("points and weights that no structure takes are named") {
  const density_kernel k, angular{kernel_kind::angular, 1};
  constexpr float inf = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH(detail::check_point("it", std::array{1.0f}, 2, k),
                    ContainsSubstring("it: got a point of dimension 1, wanted 2"));
  CHECK_THROWS_WITH(detail::check_point("it", std::array{1.0f, inf}, 2, k),
                    ContainsSubstring("at coordinate 1, wanted finite"));
  CHECK_THROWS_WITH(detail::check_point("it", std::array{1e19f, 0.0f}, 2, k),
                    ContainsSubstring("squared norm"));
  CHECK_NOTHROW(detail::check_point("it", std::array{0.0f, 0.0f}, 2, k));
  CHECK_NOTHROW(detail::check_point("it", std::array{0.0f, 1e-40f}, 2, angular));
  CHECK_THROWS_WITH(detail::check_point("it", std::array{0.0f, 0.0f}, 2, angular),
                    ContainsSubstring("zero vector"));
  for (const float w : {0.0f, -1.0f, inf, std::numeric_limits<float>::quiet_NaN(), 9e-16f, 2e15f})
    CHECK_THROWS_AS(detail::check_weight("it", w), invalid_input);
  std::array small{0.0f, -3e-40f, 4e-40f};
  detail::put_on_sphere(small);
  CHECK_THAT(static_cast<double>(small[2]), WithinRel(0.8, 1e-5));
}
