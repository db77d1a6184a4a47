// SPDX-License-Identifier: Apache-2.0
#include "skim/kde/robust_density.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "kde/adversary.hpp"
#include "laws/density_structure.hpp"
#include "skim/kde/exact_density.hpp"
#include "skim/kde/uniform_density.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"

using Catch::Matchers::ContainsSubstring;
using namespace skim;

namespace {

// A structure whose state is random: keeps each point with the probability 1 / rate, for ever.
class thinned_density {
 public:
  thinned_density(std::size_t dim, density_kernel k, std::uint64_t rate, seed s)
      : held_({.dim = dim, .kernel = k}), rate_(rate), g_(s) {}

  id_t insert(std::span<const float> x, float w, workspace& ws) {
    const bool kept = uniform_below(g_, rate_) == 0;
    const id_t inner = kept ? held_.insert(x, w, ws) : 0;
    points_[next_] = {kept, inner, w};
    total_ += static_cast<double>(w);
    return next_++;
  }
  void erase(id_t id) {
    const auto at = find(id);
    if (at->second.kept) held_.erase(at->second.inner);
    total_ -= static_cast<double>(at->second.weight);
    points_.erase(at);
  }
  void replace(id_t id, std::span<const float> x, workspace& ws) {
    const auto at = find(id);
    if (at->second.kept) held_.replace(at->second.inner, x, ws);
  }
  density_estimate density(std::span<const float> x, density_target t, random_engine& g,
                           workspace& ws) const {
    if (held_.size() == 0) return {0, 0, 0, true};
    density_estimate e = held_.density(x, t, g, ws);
    e.value *= held_.total_weight() / total_ * static_cast<double>(rate_);
    e.below = e.value < t.smallest;
    return e;
  }
  void density(matrix_view<const float> x, density_target t, seed s,
               std::span<density_estimate> out) const {
    random_engine g(s);
    workspace ws;
    for (std::size_t i = 0; i < x.rows(); ++i) out[i] = density(x.row(i), t, g, ws);
  }
  std::size_t size() const { return points_.size(); }
  std::size_t dim() const { return held_.dim(); }
  double total_weight() const { return total_; }
  const density_kernel& kernel() const { return held_.kernel(); }
  std::size_t bytes() const { return held_.bytes(); }
  bool contains(id_t id) const { return points_.count(id) != 0; }

 private:
  struct entry {
    bool kept;
    id_t inner;
    float weight;
  };
  std::map<id_t, entry>::iterator find(id_t id) {
    const auto at = points_.find(id);
    if (at == points_.end()) throw invalid_input("thinned_density: no such point");
    return at;
  }

  exact_density held_;
  std::uint64_t rate_;
  random_engine g_;
  std::map<id_t, entry> points_;
  id_t next_ = 0;
  double total_ = 0;
};

struct robust_model {
  using structure = robust_density<uniform_density>;
  static structure make(std::size_t dim, density_kernel k, seed s) {
    return structure(
        {.copies = 5, .votes = 3},
        [&](seed t) { return uniform_density({.dim = dim, .kernel = k}, t); }, s);
  }
  static bool takes(const density_kernel& k) { return k.kind != kernel_kind::laplacian; }
  static constexpr bool exact = false;
};

exact_density exact_copy(std::size_t dim, density_kernel k) {
  return exact_density({.dim = dim, .kernel = k});
}

}  // namespace

TEST_CASE("robust_density keeps the laws of density structures") {
  skim_test::check_density_laws<robust_model>();
}

TEST_CASE("the median of copies is right more often than a copy") {
  constexpr std::size_t n = 2000, dim = 3;
  const density_kernel k{kernel_kind::gaussian, 1};
  const density_target target{0.2, 0.1, 0.01};
  random_engine g(seed{1});
  workspace ws;
  std::uint64_t single = 0, median = 0;
  constexpr std::uint64_t trials = 60;
  for (std::uint64_t t = 0; t < trials; ++t) {
    robust_density<thinned_density> made(
        {.copies = 30, .votes = 9}, [&](seed s) { return thinned_density(dim, k, 60, s); },
        seed{t});
    exact_density oracle = exact_copy(dim, k);
    for (std::size_t i = 0; i < n; ++i) {
      const std::array x{static_cast<float>(normal(g)), static_cast<float>(normal(g)),
                         static_cast<float>(normal(g))};
      CHECK(made.insert(x, 1, ws) == i);
      oracle.insert(x, 1, ws);
    }
    const std::array<float, dim> q{0.5f, 0, 0};
    const double want = oracle.density(q, target, g, ws).value;
    const auto bad = [&](double v) { return std::abs(v - want) > target.relative_error * want; };
    single += bad(made.copy(0).density(q, target, g, ws).value);
    const auto e = made.density(q, target, g, ws);
    median += bad(e.value);
    CHECK(e.standard_error > 0);
  }
  INFO(single << " and " << median << " of " << trials);
  CHECK(single > 5);  // 33 points of weight about 0.4: a relative standard deviation of about 0.2
  CHECK(median * 2 < single);
}

TEST_CASE("the adversary that breaks one copy does not break fifty") {
  constexpr std::size_t n = 24'000, dim = 20, queries = 1500, late = 500;
  random_engine g(seed{9});
  workspace ws;
  const density_kernel k{kernel_kind::gaussian, 1.5};
  const density_target target{0.2, 0.1, 0.01};
  const auto make = [&](seed s) { return thinned_density(dim, k, 60, s); };
  robust_density<thinned_density> robust({.copies = 50, .votes = 7}, make, seed{1});
  thinned_density plain = make(seed{2});
  exact_density truth = exact_copy(dim, k);
  std::vector<float> x(dim);
  for (std::size_t i = 0; i < n; ++i) {
    for (float& v : x) v = static_cast<float>(normal(g));
    robust.insert(x, 1, ws);
    plain.insert(x, 1, ws);
    truth.insert(x, 1, ws);
  }
  const auto broken = skim_test::attack(plain, truth, target, queries, late);
  const auto defended = skim_test::attack(robust, truth, target, queries, late);
  INFO("plain: " << broken.misses << ", late " << broken.late_misses
                 << "; robust: " << defended.misses << ", late " << defended.late_misses);
  CHECK_FALSE(skim_test::proportion_at_most(broken.late_misses, late, target.failure).ok);
  CHECK(broken.late_misses > late / 2);
  skim_test::check_proportion_at_most(defended.misses, queries, target.failure);
  skim_test::check_proportion_at_most(defended.late_misses, late, target.failure);
}

TEST_CASE(
    "no density changes faster than its kernel's Lipschitz constant says, and some nearly so") {
  for (const kernel_kind kind : {kernel_kind::gaussian, kernel_kind::exponential,
                                 kernel_kind::laplacian, kernel_kind::student})
    for (const double h : {0.5, 2.0}) {
      const density_kernel k{kind, h};
      constexpr double step = 1e-3;
      double most = 0;
      for (double r = 0; r < 5 * h; r += step) {
        // Along the diagonal of the plane, where the sum of absolute differences grows fastest.
        const auto at = [&](double t) {
          const float c = static_cast<float>(t / std::sqrt(2.0));
          return kernel_value(k, std::array{0.0f, 0.0f}, std::array{c, c});
        };
        most = std::max(most, std::abs(at(r + step) - at(r)) / step);
      }
      INFO(name_of(kind));
      CHECK(most <= density_lipschitz(k, 2) * (1 + 1e-3));
      CHECK(most >= density_lipschitz(k, 2) * 0.99);
    }
  CHECK_THROWS_AS(density_lipschitz({kernel_kind::angular, 2}, 2), invalid_params);
  // Of points on the circle, per unit of a query near it.
  const density_kernel k{kernel_kind::angular, 0.25};
  double most = 0;
  for (double a = 0; a < 3.1; a += 1e-3) {
    const auto at = [&](double t) {
      return kernel_value(
          k, std::array{1.0f, 0.0f},
          std::array{static_cast<float>(std::cos(t)), static_cast<float>(std::sin(t))});
    };
    most = std::max(most, std::abs(at(a + 1e-3) - at(a)) / (2 * std::sin(5e-4)));
  }
  CHECK(most <= density_lipschitz(k, 2));
}

TEST_CASE("a plan's net is as fine and its copies are as many as the argument wants") {
  const density_target target{0.3, 0.1, 0.01};
  for (const kernel_kind kind : {kernel_kind::gaussian, kernel_kind::laplacian,
                                 kernel_kind::student, kernel_kind::angular}) {
    const density_kernel k{kind, kind == kernel_kind::angular ? 0.25 : 1.0};
    const auto plan = plan_robust_density(3, k, target, 4);
    const auto larger = plan_robust_density(6, k, target, 4);
    CHECK(plan.params.copies > 50);
    CHECK(larger.params.copies > 2 * plan.params.copies - 100);
    CHECK(plan.params.votes % 2 == 1);
    CHECK(plan.vote_failure <= 0.05);
    CHECK(plan.params.net_step * std::sqrt(3.0) / 2 * plan.lipschitz <= 0.1 * 0.01 * 1.0001);
    // Exact copies: rounding to the net is all that is lost, a third of the relative error at most.
    robust_density<exact_density> made({.copies = 1, .votes = 1, .net_step = plan.params.net_step},
                                       [&](seed) { return exact_copy(3, k); });
    exact_density oracle = exact_copy(3, k);
    random_engine g(seed{3});
    workspace ws;
    for (int i = 0; i < 50; ++i) {
      const auto x = skim_test::cloud_point(g, 3);
      made.insert(x, 1, ws);
      oracle.insert(x, 1, ws);
    }
    double moved = 0;
    for (int i = 0; i < 200; ++i) {
      const auto q = skim_test::cloud_point(g, 3);
      const double want = oracle.density(q, target, g, ws).value,
                   got = made.density(q, target, g, ws).value;
      if (want < target.smallest) continue;
      CHECK(std::abs(got - want) <= target.relative_error / 3 * want + 1e-6);
      moved = std::max(moved, std::abs(got - want));
    }
    INFO(name_of(kind));
    CHECK(moved > 0);
  }
  // As the docstring has it.
  const std::array<std::pair<std::size_t, double>, 3> stated{{{3, 229}, {9, 680}, {75, 6071}}};
  for (const auto& [dim, copies] : stated)
    CHECK_THAT(
        static_cast<double>(plan_robust_density(dim, {}, {0.2, 0.1, 0.01}, 10).params.copies),
        Catch::Matchers::WithinAbs(copies, 1));
  CHECK_THROWS_WITH(plan_robust_density(3, {}, {0.1, 0.1, 0}, 1), ContainsSubstring("smallest"));
  CHECK_THROWS_AS(plan_robust_density(3, {}, target, 0), invalid_params);
  CHECK_THROWS_AS(plan_robust_density(3, {}, target, 1, 0.2), invalid_params);
}

TEST_CASE("copies that cannot be or differ are refused") {
  const auto make = [](seed) { return exact_copy(2, {}); };
  using robust = robust_density<exact_density>;
  CHECK_THROWS_WITH(robust({.copies = 0}, make), ContainsSubstring("got 0 copies"));
  CHECK_THROWS_AS(robust({.votes = 2}, make), invalid_params);
  CHECK_THROWS_AS(robust({.copy_failure = 0.5}, make), invalid_params);
  CHECK_THROWS_AS(robust({.net_step = -1}, make), invalid_params);
  int made = 0;
  workspace ws;
  CHECK_THROWS_WITH(robust({.copies = 3},
                           [&](seed) {
                             exact_density d = exact_copy(2, {});
                             if (++made == 2) d.insert(std::array{0.0f, 1.0f}, 1, ws);
                             return d;
                           }),
                    ContainsSubstring("copies that differ"));
  // Equal points under unequal ids are found out at the first insertion.
  made = 0;
  robust odd({.copies = 2}, [&](seed) {
    exact_density d = exact_copy(2, {});
    if (++made == 2) d.erase(d.insert(std::array{0.0f, 1.0f}, 1, ws));
    d.insert(std::array{0.0f, 1.0f}, 1, ws);
    if (made == 2) {
      d.insert(std::array{0.0f, 1.0f}, 1, ws);
      d.erase(0);
    }
    return d;
  });
  CHECK_THROWS_WITH(odd.insert(std::array{1.0f, 1.0f}, 1, ws), ContainsSubstring("equal ids"));
  CHECK(odd.size() == 1);
  CHECK_THROWS_AS(odd.erase(0), invalid_input);
  CHECK(odd.size() == 1);
}
