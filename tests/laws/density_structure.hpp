// SPDX-License-Identifier: Apache-2.0
//
// What every density structure owes its user, written once.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace skim_test {

/// Points under ids, with densities in double from the definition.
class density_oracle {
 public:
  explicit density_oracle(skim::density_kernel k) : kernel_(k) {}

  void insert(skim::id_t id, std::vector<float> x, float weight) {
    points_.push_back({id, std::move(x), weight});
  }
  void erase(skim::id_t id) {
    std::swap(find(id), points_.back());
    points_.pop_back();
  }
  void replace(skim::id_t id, std::vector<float> x) { find(id).x = std::move(x); }
  [[nodiscard]] std::size_t size() const noexcept { return points_.size(); }
  [[nodiscard]] skim::id_t id(std::size_t i) const noexcept { return points_[i].id; }
  [[nodiscard]] double total_weight() const noexcept {
    double sum = 0;
    for (const auto& p : points_) sum += static_cast<double>(p.weight);
    return sum;
  }
  [[nodiscard]] double density(std::span<const float> q) const {
    double sum = 0;
    for (const auto& p : points_)
      sum += static_cast<double>(p.weight) * skim::kernel_value(kernel_, p.x, q);
    return sum / total_weight();
  }

 private:
  struct entry {
    skim::id_t id;
    std::vector<float> x;
    float weight;
  };
  entry& find(skim::id_t id) {
    return *std::find_if(points_.begin(), points_.end(),
                         [&](const entry& e) { return e.id == id; });
  }

  skim::density_kernel kernel_;
  std::vector<entry> points_;
};

/// A point of one of three clouds; never the zero vector.
inline std::vector<float> cloud_point(skim::random_engine& g, std::size_t dim) {
  const auto cloud = static_cast<float>(skim::uniform_below(g, 3));
  std::vector<float> x(dim);
  for (float& v : x) v = cloud - 1 + static_cast<float>(skim::normal(g)) / 2;
  x[0] += 1;
  if (x[0] == 0) x[0] = 1;
  return x;
}

/// A bandwidth at which densities of cloud points are a few hundredths to a few tenths.
inline skim::density_kernel cloud_kernel(skim::kernel_kind kind, std::size_t dim) {
  const double d = static_cast<double>(dim);
  switch (kind) {
    case skim::kernel_kind::angular:
      return {kind, 0.25};
    case skim::kernel_kind::laplacian:
      return {kind, 0.4 * d};
    default:
      return {kind, 0.5 * std::sqrt(d)};
  }
}

/// Runs ranges one by one, last to first: another legal executor.
struct backward_executor {
  template <std::invocable<std::size_t, std::size_t> Body>
  void parallel_for(std::size_t n, std::size_t, Body&& body) {
    while (n-- > 0) body(n, n + 1);
  }
  [[nodiscard]] std::size_t workers() const noexcept { return 1; }
};

namespace detail {

template <class Model>
constexpr bool random_state() {
  if constexpr (requires { Model::random_state; }) return Model::random_state;
  return false;
}
template <class Model>
constexpr double misses() {
  if constexpr (requires { Model::misses; }) return Model::misses;
  return 1;
}

}  // namespace detail

/// A Model has
///   structure                          the type under test
///   static structure make(dim, kernel) or make(dim, kernel, seed)  an empty one
///   static constexpr bool exact        answers are right to rounding
/// and where they are not the defaults
///   static bool takes(kernel)          not every kernel will do
///   static constexpr bool random_state   the structure itself is drawn at random: promises are for it, too
///   static constexpr double misses     answers are beyond the target with the probability misses * failure
template <class Model>
auto make_density(std::size_t dim, const skim::density_kernel& k, skim::seed s) {
  if constexpr (requires { Model::make(dim, k, s); })
    return Model::make(dim, k, s);
  else
    return Model::make(dim, k);
}
template <class Model>
bool takes(const skim::density_kernel& k) {
  if constexpr (requires { Model::takes(k); })
    return Model::takes(k);
  else
    return true;
}
inline constexpr std::array density_kinds{
    skim::kernel_kind::gaussian, skim::kernel_kind::exponential, skim::kernel_kind::laplacian,
    skim::kernel_kind::student, skim::kernel_kind::angular};

/// A structure and an oracle after the same history of inserts, erasures and replacements.
template <class Model>
struct density_pair {
  typename Model::structure made;
  density_oracle oracle;

  density_pair(std::size_t dim, skim::density_kernel k, skim::seed s, std::size_t points,
               bool weighted = true)
      : made(make_density<Model>(dim, k, s)), oracle(k) {
    skim::random_engine g(s);
    skim::workspace ws;
    const auto weight = [&] {
      return weighted ? static_cast<float>(0.25 + 2 * skim::uniform(g)) : 1.0f;
    };
    const auto add = [&] {
      const auto x = cloud_point(g, dim);
      const float w = weight();
      oracle.insert(made.insert(x, w, ws), x, w);
    };
    const auto any = [&] {
      return oracle.id(static_cast<std::size_t>(skim::uniform_below(g, oracle.size())));
    };
    for (std::size_t i = 0; i < points; ++i) add();
    for (std::size_t i = 0; i < points / 2; ++i) {
      const auto gone = any();
      made.erase(gone);
      oracle.erase(gone);
      const auto moved = any();
      const auto x = cloud_point(g, dim);
      made.replace(moved, x, ws);
      oracle.replace(moved, x);
      add();
    }
  }
};

template <class Model>
void check_density_laws() {
  using structure = typename Model::structure;
  static_assert(skim::density_structure<structure>);
  using skim::density_estimate;
  constexpr std::size_t dim = 5;
  constexpr skim::density_target target{0.2, 0.1, 1e-3};
  // The first kernel it takes.
  const skim::kernel_kind first =
      *std::find_if(density_kinds.begin(), density_kinds.end(),
                    [](skim::kernel_kind k) { return takes<Model>(cloud_kernel(k, dim)); });
  const skim::density_kernel kernel = cloud_kernel(first, dim);
  skim::workspace ws;
  const auto good = [](const density_estimate& e, double want, const skim::density_target& t) {
    if (Model::exact) return std::abs(e.value - want) <= 1e-5 * want + 1e-6;
    if (e.below) return want < t.smallest;
    return want < t.smallest || std::abs(e.value - want) <= t.relative_error * want + 1e-6;
  };
  const auto rows_of = [](std::size_t n, std::size_t d, std::uint64_t s) {
    skim::random_engine g(skim::seed{s});
    std::vector<float> rows;
    for (std::size_t i = 0; i < n; ++i) {
      const auto x = cloud_point(g, d);
      rows.insert(rows.end(), x.begin(), x.end());
    }
    return rows;
  };

  SECTION("answers are as promised after any history, for every kernel") {
    for (const skim::kernel_kind kind : density_kinds) {
      const skim::density_kernel k = cloud_kernel(kind, dim);
      if (!takes<Model>(k)) continue;
      constexpr std::uint64_t trials = 300;
      std::uint64_t bad = 0;
      skim::random_engine g(skim::seed{17});
      density_pair<Model> pair(dim, k, skim::seed{3}, 200);
      for (std::uint64_t t = 0; t < trials; ++t) {
        if (detail::random_state<Model>())
          pair = density_pair<Model>(dim, k, skim::seed{1000 + t}, 100);
        const auto q = cloud_point(g, dim);
        const auto e = pair.made.density(q, target, g, ws);
        CHECK(e.value >= 0);
        CHECK(e.value <= 1.0001);
        CHECK(e.standard_error >= 0);
        if (!good(e, pair.oracle.density(q), target)) ++bad;
      }
      INFO(name_of(kind));
      if (Model::exact)
        CHECK(bad == 0);
      else
        check_proportion_at_most(bad, trials,
                                 std::min(1.0, detail::misses<Model>() * target.failure));
      CHECK(pair.made.size() == pair.oracle.size());
      CHECK(pair.made.dim() == dim);
      CHECK(pair.made.kernel() == k);
      CHECK_THAT(pair.made.total_weight(),
                 Catch::Matchers::WithinRel(pair.oracle.total_weight(), 1e-9));
      CHECK(pair.made.bytes() > 0);
    }
  }
  SECTION("weights count as so many points") {
    structure heavy = make_density<Model>(dim, kernel, skim::seed{1});
    density_oracle oracle(kernel);
    skim::random_engine g(skim::seed{2});
    for (std::size_t i = 0; i < 60; ++i) {
      const auto x = cloud_point(g, dim);
      const float w = i == 7 ? 1000.0f : 1e-3f;
      oracle.insert(heavy.insert(x, w, ws), x, w);
    }
    std::uint64_t bad = 0;
    constexpr std::uint64_t trials = 100;
    for (std::uint64_t t = 0; t < trials; ++t) {
      const auto q = cloud_point(g, dim);
      if (!good(heavy.density(q, target, g, ws), oracle.density(q), target)) ++bad;
    }
    // With a random state all trials may hang on one draw of it.
    if (!detail::random_state<Model>())
      check_proportion_at_most(bad, trials, detail::misses<Model>() * target.failure);
  }
  SECTION("batches do not depend on the executor, and say what single queries say") {
    const density_pair<Model> pair(dim, kernel, skim::seed{5}, 150);
    constexpr std::size_t n = 70;
    const auto rows = rows_of(n, dim, 6);
    const skim::matrix_view<const float> x(rows.data(), n, dim);
    std::vector<density_estimate> serial(n), threads(n), backward(n), again(n), other(n);
    skim::thread_executor pool(3);
    backward_executor back;
    pair.made.density(x, target, skim::seed{8}, serial);
    pair.made.density(x, target, skim::seed{8}, again);
    pair.made.density(x, target, skim::seed{8}, threads, pool);
    pair.made.density(x, target, skim::seed{8}, backward, back);
    CHECK(serial == again);
    CHECK(serial == threads);
    CHECK(serial == backward);
    std::uint64_t bad = 0;
    for (std::size_t i = 0; i < n; ++i)
      if (!good(serial[i], pair.oracle.density(x.row(i)), target)) ++bad;
    if (!detail::random_state<Model>())
      check_proportion_at_most(bad, n, detail::misses<Model>() * target.failure);
    std::vector<density_estimate> none;
    pair.made.density(x.rows(0, 0), target, skim::seed{8}, none);
  }
  SECTION("equal seeds and histories give equal structures and answers") {
    const density_pair<Model> a(dim, kernel, skim::seed{9}, 80), b(dim, kernel, skim::seed{9}, 80);
    CHECK(image_of(a.made) == image_of(b.made));
    skim::random_engine query(skim::seed{1}), ga(skim::seed{2}), gb(skim::seed{2});
    for (int i = 0; i < 20; ++i) {
      const auto q = cloud_point(query, dim);
      CHECK(a.made.density(q, target, ga, ws) == b.made.density(q, target, gb, ws));
    }
  }
  SECTION("an empty structure says 0, below, and an emptied one is as good as new") {
    structure s = make_density<Model>(dim, kernel, skim::seed{1});
    skim::random_engine g(skim::seed{2});
    const auto x = cloud_point(g, dim);
    CHECK(s.size() == 0);
    CHECK(s.total_weight() == 0);
    const auto says_nothing = [&] {
      const auto e = s.density(x, target, g, ws);
      std::vector<density_estimate> one(1);
      s.density(skim::matrix_view<const float>(x.data(), 1, dim), target, skim::seed{1}, one);
      return e.value == 0 && e.below && one[0].value == 0 && one[0].below;
    };
    CHECK(says_nothing());
    std::vector<skim::id_t> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(s.insert(cloud_point(g, dim), 2.5f, ws));
    auto sorted = ids;
    std::sort(sorted.begin(), sorted.end());
    CHECK(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
    for (const skim::id_t id : ids) s.erase(id);
    CHECK(s.size() == 0);
    CHECK(s.total_weight() == 0);
    CHECK(says_nothing());
    const auto id = s.insert(x, 0.5f, ws);
    CHECK(s.total_weight() == 0.5);
    CHECK_THAT(s.density(x, target, g, ws).value, Catch::Matchers::WithinAbs(1, 1e-5));
    s.erase(id);
  }
  SECTION("many points in one place, on one axis") {
    structure s = make_density<Model>(1, cloud_kernel(first, 1), skim::seed{1});
    skim::random_engine g(skim::seed{2});
    std::vector<skim::id_t> ids;
    for (int i = 0; i < 300; ++i) ids.push_back(s.insert(std::vector{1.0f}, 1.0f, ws));
    const auto e = s.density(std::vector{1.0f}, target, g, ws);
    CHECK_THAT(e.value, Catch::Matchers::WithinAbs(1, Model::exact ? 1e-5 : 0.5));
    for (std::size_t i = 0; i < 150; ++i) s.erase(ids[2 * i]);
    for (std::size_t i = 0; i < 150; ++i) s.replace(ids[2 * i + 1], std::vector{2.0f}, ws);
    CHECK(s.size() == 150);
    CHECK_THAT(s.density(std::vector{2.0f}, target, g, ws).value,
               Catch::Matchers::WithinAbs(1, Model::exact ? 1e-5 : 0.5));
  }
  SECTION("what cannot be is refused and changes nothing") {
    density_pair<Model> pair(dim, kernel, skim::seed{4}, 60);
    structure& s = pair.made;
    const auto before = image_of(s);
    constexpr float nan = std::numeric_limits<float>::quiet_NaN(),
                    inf = std::numeric_limits<float>::infinity();
    skim::random_engine g(skim::seed{1});
    const auto x = cloud_point(g, dim);
    const auto live = pair.oracle.id(0);
    std::vector<std::vector<float>> wrong{
        std::vector<float>(dim - 1, 1.0f), std::vector<float>(dim + 1, 1.0f), {}};
    for (const float v : {nan, inf, -inf, 1e19f}) {
      wrong.push_back(x);
      wrong.back()[dim - 1] = v;
    }
    if (kernel.on_sphere()) wrong.emplace_back(dim, 0.0f);
    for (const auto& w : wrong) {
      CHECK_THROWS_AS(s.insert(w, 1.0f, ws), skim::invalid_input);
      CHECK_THROWS_AS(s.replace(live, w, ws), skim::invalid_input);
      CHECK_THROWS_AS(s.density(w, target, g, ws), skim::invalid_input);
    }
    for (const float w : {0.0f, -1.0f, nan, inf, -inf})
      CHECK_THROWS_AS(s.insert(x, w, ws), skim::invalid_input);
    skim::id_t gone = s.insert(x, 1.0f, ws);
    s.erase(gone);
    const auto then = image_of(s);
    for (const skim::id_t id : {gone, skim::id_t{5000}, skim::id_t{0xffffffffu}}) {
      CHECK_THROWS_AS(s.erase(id), skim::invalid_input);
      CHECK_THROWS_AS(s.replace(id, x, ws), skim::invalid_input);
    }
    CHECK(image_of(s) == then);
    for (const skim::density_target t :
         {skim::density_target{0, 0.1, 0}, skim::density_target{1, 0.1, 0},
          skim::density_target{0.1, 0, 0}, skim::density_target{0.1, 1, 0},
          skim::density_target{0.1, 0.1, -1}, skim::density_target{0.1, 0.1, 2},
          skim::density_target{std::nan(""), 0.1, 0}})
      CHECK_THROWS_AS(s.density(x, t, g, ws), skim::invalid_input);
    std::vector<density_estimate> two(2);
    const skim::matrix_view<const float> row(x.data(), 1, dim);
    CHECK_THROWS_AS(s.density(row, target, skim::seed{1}, two), skim::invalid_input);
    const skim::matrix_view<const float> narrow(x.data(), 1, dim - 1);
    std::vector<density_estimate> single(1);
    CHECK_THROWS_AS(s.density(narrow, target, skim::seed{1}, single), skim::invalid_input);
    density_pair<Model> same(dim, kernel, skim::seed{4}, 60);
    CHECK(image_of(same.made) == before);
  }
  SECTION("a loaded structure goes on as the saved one") {
    density_pair<Model> pair(dim, kernel, skim::seed{11}, 70);
    const auto image = image_of(pair.made);
    skim::reader in(image);
    structure loaded = structure::load(in);
    CHECK(in.remaining() == 0);
    CHECK(image_of(loaded) == image);
    CHECK(loaded.total_weight() == pair.made.total_weight());
    skim::random_engine query(skim::seed{1}), ga(skim::seed{2}), gb(skim::seed{2});
    for (int i = 0; i < 40; ++i) {
      const auto x = cloud_point(query, dim);
      CHECK(pair.made.density(x, target, ga, ws) == loaded.density(x, target, gb, ws));
      CHECK(pair.made.insert(x, 1.5f, ws) == loaded.insert(x, 1.5f, ws));
      if (i % 3 == 0) {
        pair.made.erase(pair.oracle.id(static_cast<std::size_t>(i)));
        loaded.erase(pair.oracle.id(static_cast<std::size_t>(i)));
      } else {
        pair.made.replace(pair.oracle.id(static_cast<std::size_t>(i)), x, ws);
        loaded.replace(pair.oracle.id(static_cast<std::size_t>(i)), x, ws);
      }
    }
    CHECK(image_of(loaded) == image_of(pair.made));
  }
  SECTION("damaged images are refused") {
    structure s = make_density<Model>(2, cloud_kernel(first, 2), skim::seed{1});
    for (int i = 0; i < 3; ++i) s.insert(std::vector{1.0f, static_cast<float>(i)}, 1.0f, ws);
    const auto image = image_of(s);
    const auto refused = [](std::span<const std::byte> bytes) {
      try {
        skim::reader in(bytes);
        static_cast<void>(structure::load(in));
        return false;
      } catch (const skim::format_error&) {
        return true;
      }
    };
    bool all = true;
    for_each_truncation(image, [&](std::span<const std::byte> b) { all = all && refused(b); });
    for_each_flipped_bit(image, [&](std::span<const std::byte> b) { all = all && refused(b); });
    CHECK(all);
  }
}

}  // namespace skim_test
