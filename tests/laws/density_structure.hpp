// SPDX-License-Identifier: Apache-2.0
//
// What every density structure owes its user, written once.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"
#include "support/stat_test.hpp"

namespace skim_test {

inline constexpr std::array density_kernels{
    skim::density_kernel{skim::kernel_kind::gaussian, 0.8},
    skim::density_kernel{skim::kernel_kind::exponential, 0.8},
    skim::density_kernel{skim::kernel_kind::laplacian, 2},
    skim::density_kernel{skim::kernel_kind::student, 0.5},
    skim::density_kernel{skim::kernel_kind::angular, 0.2}};

/// The points that a structure should hold, and sums over them in double.
struct density_oracle {
  struct item {
    skim::id_t id;
    std::vector<float> x;
    float weight;
  };
  skim::density_kernel kernel;
  std::vector<item> items;

  [[nodiscard]] double density(std::span<const float> q) const {
    double sum = 0, total = 0;
    for (const item& i : items) {
      sum += static_cast<double>(i.weight) * skim::kernel_value(kernel, i.x, q);
      total += static_cast<double>(i.weight);
    }
    return total == 0 ? 0 : sum / total;
  }
};

/// A Model has
///   structure                     the type under test
///   static structure make(dim, kernel)
///   static constexpr bool exact   if answers are exact sums
/// and, where not every kernel will do,
///   static bool takes(kernel)
template <class Model>
bool takes(const skim::density_kernel& k) {
  if constexpr (requires { Model::takes(k); })
    return Model::takes(k);
  else
    return true;
}

/// Compares the structure's answers at the rows of q with exact sums: exact ones to rounding, others by how
/// many lie beyond the target, which failure bounds.
template <class Model>
void check_densities(const typename Model::structure& s, const density_oracle& oracle,
                     const points& q, const skim::density_target& target, skim::seed seed) {
  std::vector<skim::density_estimate> out(q.n);
  s.density(q.view(), target, seed, out);
  std::uint64_t beyond = 0, counted = 0;
  for (std::size_t i = 0; i < q.n; ++i) {
    const double truth = oracle.density(q.row(i));
    REQUIRE(std::isfinite(out[i].value));
    REQUIRE(out[i].standard_error >= 0);
    if constexpr (Model::exact) {
      REQUIRE_THAT(out[i].value,
                   Catch::Matchers::WithinAbs(
                       truth, 1e-6 * (10 + static_cast<double>(q.d)) * (truth + 1e-6)));
      REQUIRE(out[i].standard_error == 0);
      REQUIRE(out[i].below == (out[i].value < target.smallest));
    } else if (truth >= target.smallest) {
      ++counted;
      // Rounding of floats on top of the promise.
      beyond += std::abs(out[i].value - truth) > (target.relative_error + 1e-5) * truth;
    }
  }
  if (counted > 0) check_proportion_at_most(beyond, counted, target.failure);
}

template <class Model>
void check_density_laws() {
  using structure = typename Model::structure;
  static_assert(skim::density_structure<structure>);
  const skim::density_target target{0.2, 0.1, 1e-3};

  SECTION("answers are those of the points it holds, through insertions, erasures and moves") {
    for (const skim::density_kernel& kernel : density_kernels) {
      if (!takes<Model>(kernel)) continue;
      for (const std::size_t d : {1u, 3u, 12u}) {
        INFO(skim::name_of(kernel.kind) << ", d " << d);
        const auto x = clustered_points(900, d, 9, 0.3, skim::seed{1});
        const auto q = clustered_points(150, d, 9, 0.3, skim::seed{1});
        structure s = Model::make(d, kernel);
        density_oracle oracle{kernel, {}};
        skim::workspace ws;
        skim::random_engine g(skim::seed{2});
        for (std::size_t i = 0; i < 700; ++i) {
          const float weight = 0.5f + skim::uniform_float(g);
          const skim::id_t id = s.insert(x.row(i), weight, ws);
          oracle.items.push_back({id, {x.row(i).begin(), x.row(i).end()}, weight});
        }
        check_densities<Model>(s, oracle, q.data, target, skim::seed{3});
        for (std::size_t i = 0; i < 300; ++i) {
          const auto at = static_cast<std::size_t>(skim::uniform_below(g, oracle.items.size()));
          auto& item = oracle.items[at];
          if (i % 3 == 0) {
            s.replace(item.id, x.row(600 + i), ws);
            item.x.assign(x.row(600 + i).begin(), x.row(600 + i).end());
          } else {
            s.erase(item.id);
            std::swap(item, oracle.items.back());
            oracle.items.pop_back();
          }
        }
        for (std::size_t i = 700; i < 900; ++i) {
          const skim::id_t id = s.insert(x.row(i), 2, ws);
          for (const auto& item : oracle.items) REQUIRE(item.id != id);
          oracle.items.push_back({id, {x.row(i).begin(), x.row(i).end()}, 2});
        }
        REQUIRE(s.size() == oracle.items.size());
        double total = 0;
        for (const auto& item : oracle.items) total += static_cast<double>(item.weight);
        REQUIRE_THAT(s.total_weight(), Catch::Matchers::WithinRel(total, 1e-12));
        check_densities<Model>(s, oracle, q.data, target, skim::seed{4});
      }
    }
  }

  SECTION("no point, one, and many in one place") {
    for (const skim::density_kernel& kernel : density_kernels) {
      if (!takes<Model>(kernel)) continue;
      INFO(skim::name_of(kernel.kind));
      structure s = Model::make(2, kernel);
      skim::workspace ws;
      skim::random_engine g(skim::seed{5});
      const std::array x{1.0f, 2.0f}, y{1.5f, 1.0f};
      const skim::density_estimate none = s.density(x, target, g, ws);
      CHECK(none.value == 0);
      CHECK(none.below);
      const skim::id_t id = s.insert(x, 3, ws);
      density_oracle oracle{kernel, {{id, {x.begin(), x.end()}, 3}}};
      points q(1, 2);
      std::copy(y.begin(), y.end(), q.row(0).begin());
      check_densities<Model>(s, oracle, q, target, skim::seed{6});
      for (int i = 0; i < 3000; ++i) static_cast<void>(s.insert(x, 3, ws));
      check_densities<Model>(s, oracle, q, target, skim::seed{7});
      s.erase(id);
      CHECK(s.size() == 3000);
    }
  }

  SECTION("bad input is refused and changes nothing") {
    for (const skim::density_kernel& kernel : density_kernels) {
      if (!takes<Model>(kernel)) continue;
      structure s = Model::make(2, kernel);
      skim::workspace ws;
      skim::random_engine g(skim::seed{8});
      const auto x = clustered_points(60, 2, 3, 0.3, skim::seed{9});
      for (std::size_t i = 0; i < x.size(); ++i) static_cast<void>(s.insert(x.row(i), 1, ws));
      s.erase(7);
      const auto before = image_of(s);
      const float nan = std::numeric_limits<float>::quiet_NaN(),
                  infinite = std::numeric_limits<float>::infinity();
      const std::array good{0.5f, 0.5f};
      const auto refuses = [&](auto&& call) {
        CHECK_THROWS_AS(call(), skim::invalid_input);
        CHECK(image_of(s) == before);
      };
      for (const std::vector<float>& bad : std::vector<std::vector<float>>{
               {1}, {1, 2, 3}, {nan, 1}, {1, -infinite}, {1e19f, 1e19f}}) {
        refuses([&] { static_cast<void>(s.insert(bad, 1, ws)); });
        refuses([&] { s.replace(3, bad, ws); });
        refuses([&] { static_cast<void>(s.density(bad, target, g, ws)); });
      }
      for (const float weight : {0.0f, -1.0f, nan, infinite, 1e20f})
        refuses([&] { static_cast<void>(s.insert(good, weight, ws)); });
      for (const skim::id_t id : {7u, 60u, 0xffffffffu}) {
        refuses([&] { s.erase(id); });
        refuses([&] { s.replace(id, good, ws); });
      }
      for (const skim::density_target& t :
           {skim::density_target{0, 0.1, 0}, skim::density_target{0.1, 1, 0},
            skim::density_target{0.1, 0.1, -1}})
        refuses([&] { static_cast<void>(s.density(good, t, g, ws)); });
      std::vector<skim::density_estimate> out(59);
      refuses([&] { s.density(x.view(), target, skim::seed{}, out); });
      if (kernel.on_sphere()) {
        const std::array zero{0.0f, 0.0f};
        refuses([&] { static_cast<void>(s.insert(zero, 1, ws)); });
        refuses([&] { static_cast<void>(s.density(zero, target, g, ws)); });
      }
    }
  }

  SECTION("equal seeds give equal answers, on any executor and after a round trip") {
    const skim::density_kernel kernel = density_kernels[takes<Model>(density_kernels[0]) ? 0 : 2];
    const auto x = clustered_points(2000, 4, 9, 0.3, skim::seed{1});
    const auto q = clustered_points(130, 4, 9, 0.3, skim::seed{11});
    const auto filled = [&] {
      structure s = Model::make(4, kernel);
      skim::workspace ws;
      for (std::size_t i = 0; i < x.size(); ++i) static_cast<void>(s.insert(x.row(i), 1, ws));
      for (skim::id_t i = 0; i < 300; ++i) s.erase(i * 5);
      return s;
    };
    const auto ask = [&](const structure& s, auto&& run) {
      std::vector<skim::density_estimate> out(q.size());
      s.density(q.view(), target, skim::seed{12}, out, run);
      return out;
    };
    structure a = filled();
    const structure b = filled();
    const auto expected = ask(a, skim::serial_executor{});
    CHECK(ask(b, skim::serial_executor{}) == expected);
    skim::thread_executor threads(3);
    CHECK(ask(a, threads) == expected);
    const auto image = image_of(a);
    skim::reader in(image);
    structure c = structure::load(in);
    CHECK(ask(c, skim::serial_executor{}) == expected);
    CHECK(image_of(c) == image);
    skim::workspace ws;
    for (std::size_t i = 0; i < 100; ++i)
      CHECK(a.insert(q.row(i), 1, ws) == c.insert(q.row(i), 1, ws));
    CHECK(ask(c, skim::serial_executor{}) == ask(a, skim::serial_executor{}));
  }

  SECTION("damaged images are refused") {
    for (const skim::density_kernel& kernel : density_kernels) {
      if (!takes<Model>(kernel)) continue;
      structure s = Model::make(2, kernel);
      skim::workspace ws;
      const auto x = clustered_points(12, 2, 3, 0.3, skim::seed{13});
      for (std::size_t i = 0; i < x.size(); ++i) static_cast<void>(s.insert(x.row(i), 1, ws));
      s.erase(4);
      check_refuses_damage(s);
    }
  }
}

}  // namespace skim_test
