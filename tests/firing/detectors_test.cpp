// SPDX-License-Identifier: Apache-2.0
//
// Every detector of firing neurons against a look at all pairs: the same pairs and the same values,
// bit by bit, whatever the optimiser does and however near a pair is to firing.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "skim/firing/correlation_tree.hpp"
#include "skim/firing/deadline_index.hpp"
#include "skim/firing/fused_scan.hpp"
#include "skim/firing/max_tree.hpp"
#include "skim/firing/movement.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/striped_dot.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

namespace {

using skim::id_t;

// A pair that fires, and the bits of its value.
using firing = std::tuple<std::size_t, id_t, std::uint32_t>;

struct layer {
  layer(std::size_t neurons, std::size_t dim, skim::seed s)
      : weights(skim_test::gaussian_points(neurons, dim, s)), thresholds(neurons, 1.0f) {}

  [[nodiscard]] skim::neuron_view view() const { return {weights.view(), thresholds}; }
  [[nodiscard]] std::size_t size() const { return thresholds.size(); }

  skim_test::points weights;
  std::vector<float> thresholds;
};

struct recorder {
  std::vector<firing>& to;

  void operator()(std::size_t major, std::span<const id_t> minors,
                  std::span<const float> values) const {
    REQUIRE(minors.size() == values.size());
    REQUIRE(std::is_sorted(minors.begin(), minors.end()));
    for (std::size_t j = 0; j < minors.size(); ++j)
      to.emplace_back(major, minors[j], std::bit_cast<std::uint32_t>(values[j]));
  }
};

std::vector<firing> all_pairs(const skim::firing_points& x, const layer& l, bool by_point,
                              std::span<const id_t> batch) {
  std::vector<firing> out;
  const auto look = [&](std::size_t r, std::size_t i, std::size_t major, std::size_t minor) {
    const float value =
        skim::striped_dot(l.weights.row(r), std::span<const float>(x.row(i), x.dim()));
    if (value > l.thresholds[r])
      out.emplace_back(major, static_cast<id_t>(minor), std::bit_cast<std::uint32_t>(value));
  };
  if (by_point) {
    for (std::size_t b = 0; b < batch.size(); ++b)
      for (std::size_t r = 0; r < l.size(); ++r) look(r, batch[b], b, r);
  } else {
    for (std::size_t r = 0; r < l.size(); ++r)
      for (std::size_t i = 0; i < x.size(); ++i) look(r, i, r, i);
  }
  return out;
}

// All detectors over one layer; each is asked in the orders it knows.
class detectors {
 public:
  detectors(const skim::firing_points& x, const layer& l, double tick = 0)
      : x_(x),
        scan_(x, l.view()),
        neuron_index_(x, l.view(), {.tick = tick}),
        point_index_(x, l.view(), {.tick = tick}),
        data_tree_(x, l.view()),
        wide_data_tree_(x, l.view()),
        weight_tree_(x, l.view()) {}

  void check(const layer& l, std::span<const id_t> batch) {
    const auto by_neuron = all_pairs(x_, l, false, {});
    const auto neuron_order = [&](auto& d) {
      std::vector<firing> got;
      d.for_each_neuron(l.view(), recorder{got});
      return got == by_neuron;
    };
    REQUIRE(neuron_order(scan_));
    REQUIRE(neuron_order(neuron_index_));
    REQUIRE(neuron_order(weight_tree_));
    const auto by_point = all_pairs(x_, l, true, batch);
    const auto point_order = [&](auto& d) {
      std::vector<firing> got;
      d.for_each_point(l.view(), batch, recorder{got});
      return got == by_point;
    };
    REQUIRE(point_order(scan_));
    REQUIRE(point_order(point_index_));
    REQUIRE(point_order(data_tree_));
    REQUIRE(point_order(wide_data_tree_));
  }

  void moved(const layer& l, std::size_t r, skim::movement by) {
    const auto id = static_cast<id_t>(r);
    const auto tell = [&](auto&... d) { (d.moved(l.view(), id, by), ...); };
    tell(scan_, neuron_index_, point_index_, data_tree_, wide_data_tree_, weight_tree_);
  }

  // Puts new weights and a new threshold in place and tells.
  void move(layer& l, std::size_t r, std::span<const float> weights, float threshold) {
    const float distance = skim::distance_moved(l.weights.row(r), weights);
    const float lowered = std::max(0.0f, l.thresholds[r] - threshold);
    std::copy(weights.begin(), weights.end(), l.weights.row(r).begin());
    l.thresholds[r] = threshold;
    moved(l, r, {distance, lowered});
  }

  [[nodiscard]] const auto& neuron_index() const { return neuron_index_; }
  [[nodiscard]] const auto& point_index() const { return point_index_; }

 private:
  const skim::firing_points& x_;
  skim::fused_scan scan_;
  skim::neuron_deadline_index neuron_index_;
  skim::point_deadline_index point_index_;
  skim::data_tree<2> data_tree_;
  skim::data_tree<16> wide_data_tree_;
  skim::weight_tree<2> weight_tree_;
};

// One of the three largest values of neuron r: a threshold there lets next to nothing fire, so that it
// is the deadlines that decide.
float near_top(const skim::firing_points& x, const layer& l, std::size_t r,
               skim::random_engine& g) {
  std::vector<float> values;
  for (std::size_t i = 0; i < x.size(); ++i)
    values.push_back(
        skim::striped_dot(l.weights.row(r), std::span<const float>(x.row(i), x.dim())));
  std::sort(values.rbegin(), values.rend());
  return values[skim::uniform_below(g, 3)];
}

std::vector<id_t> random_batch(std::size_t n, std::size_t size, skim::random_engine& g) {
  std::vector<id_t> batch(size);
  for (id_t& i : batch) i = static_cast<id_t>(skim::uniform_below(g, n));
  return batch;
}

// ---- optimisers -------------------------------------------------------------------------------

struct recipe {
  const char* name;
  std::size_t batch;  // 0: all points
  float rate, momentum, decay;
  bool adam, biases;
};

// Squared loss of a shifted-ReLU layer with fixed signs, dense and in double: only here.
struct gradients {
  std::vector<double> weights, thresholds;
};

gradients gradients_of(const skim::firing_points& x, const layer& l, std::span<const id_t> batch,
                       std::span<const float> targets, double scale) {
  const std::size_t m = l.size(), d = x.dim();
  const auto sign = [&](std::size_t r) { return (r % 2 == 0 ? 1.0 : -1.0) / std::sqrt(m); };
  gradients g{std::vector<double>(m * d), std::vector<double>(m)};
  for (const id_t i : batch) {
    const std::span<const float> point(x.row(i), d);
    std::vector<bool> fires(m);
    double output = 0;
    for (std::size_t r = 0; r < m; ++r) {
      const float v = skim::striped_dot(l.weights.row(r), point);
      fires[r] = v > l.thresholds[r];
      if (fires[r]) output += sign(r) * scale * static_cast<double>(v - l.thresholds[r]);
    }
    const double residual = output - static_cast<double>(targets[i]);
    for (std::size_t r = 0; r < m; ++r) {
      if (!fires[r]) continue;
      g.thresholds[r] -= sign(r) * residual;
      for (std::size_t k = 0; k < d; ++k)
        g.weights[r * d + k] += sign(r) * residual * static_cast<double>(point[k]);
    }
  }
  return g;
}

}  // namespace

TEST_CASE("detectors agree for 300 steps with every optimiser", "[law]") {
  const recipe recipes[] = {
      {"gradient descent", 0, 0.05f, 0, 0, false, false},
      {"large steps", 0, 2.0f, 0, 0, false, false},
      {"stochastic gradients", 7, 0.3f, 0, 0, false, false},
      {"momentum", 16, 0.05f, 0.9f, 0, false, true},
      {"weight decay", 16, 0.1f, 0, 0.02f, false, true},
      {"adam", 16, 0.01f, 0.9f, 0, true, true},
      {"adam with weight decay", 0, 0.01f, 0.9f, 0.05f, true, false},
  };
  const auto& how = recipes[GENERATE(range(0, 7))];
  INFO(how.name);
  constexpr std::size_t n = 70, d = 11, m = 150;
  const auto raw = skim_test::unit_points(n, d, skim::seed{1});
  const skim::firing_points x(raw.view());
  layer l(m, d, skim::seed{2});
  for (std::size_t r = 0; r < m; ++r) l.thresholds[r] = r % 5 == 0 ? -0.3f : 1.6f;
  std::vector<float> targets(n);
  for (std::size_t i = 0; i < n; ++i) targets[i] = i % 3 == 0 ? 1.0f : -1.0f;
  detectors all(x, l);
  std::vector<double> first(m * (d + 1)), second(m * (d + 1));
  // The layer's weights and thresholds are those in `l` times `scale`, which decays.
  double scale = 1;
  std::vector<double> biases(l.thresholds.begin(), l.thresholds.end());
  skim::random_engine g(skim::seed{3});
  for (std::size_t step = 1; step <= 300; ++step) {
    std::vector<id_t> batch = random_batch(n, how.batch, g);
    if (how.batch == 0)
      for (std::size_t i = 0; i < n; ++i) batch.push_back(static_cast<id_t>(i));
    if (step % 4 == 1 || how.batch != 0) all.check(l, batch);
    const gradients grad = gradients_of(x, l, batch, targets, scale);
    scale *= 1 - static_cast<double>(how.rate * how.decay);
    for (std::size_t r = 0; r < m; ++r) {
      std::vector<float> weights(l.weights.row(r).begin(), l.weights.row(r).end());
      for (std::size_t k = 0; k <= d; ++k) {
        if (k == d && !how.biases) continue;
        const double slope = k < d ? grad.weights[r * d + k] : grad.thresholds[r];
        double& mean = first[r * (d + 1) + k];
        double& square = second[r * (d + 1) + k];
        double change = slope;
        if (how.adam) {
          mean += 0.1 * (slope - mean);
          square += 0.001 * (slope * slope - square);
          const auto t = static_cast<double>(step);
          change =
              mean / (1 - std::pow(0.9, t)) / (std::sqrt(square / (1 - std::pow(0.999, t))) + 1e-8);
        } else if (how.momentum > 0) {
          change = mean = static_cast<double>(how.momentum) * mean + slope;
        }
        change *= -static_cast<double>(how.rate);
        if (k < d)
          weights[k] += static_cast<float>(change / scale);
        else
          biases[r] += change;
      }
      const auto threshold = static_cast<float>(biases[r] / scale);
      const bool same = threshold == l.thresholds[r] &&
                        std::equal(weights.begin(), weights.end(), l.weights.row(r).begin());
      if (!same) all.move(l, r, weights, threshold);
    }
  }
  all.check(l, random_batch(n, 20, g));
  CHECK(all.neuron_index().statistics().fired > 0);
}

TEST_CASE("deadlines save work and sleep where they cannot", "[unit]") {
  constexpr std::size_t n = 200, d = 24, m = 128;
  const auto raw = skim_test::unit_points(n, d, skim::seed{4});
  const skim::firing_points x(raw.view());
  layer l(m, d, skim::seed{5});
  const bool rare = GENERATE(true, false);
  std::fill(l.thresholds.begin(), l.thresholds.end(), rare ? 2.5f : 0.0f);
  skim::neuron_deadline_index by_neuron(x, l.view());
  skim::point_deadline_index by_point(x, l.view());
  skim::random_engine g(skim::seed{6});
  std::vector<firing> got;
  for (int step = 0; step < 50; ++step) {
    const auto batch = random_batch(n, 20, g);
    got.clear();
    by_neuron.for_each_neuron(l.view(), recorder{got});
    REQUIRE(got == all_pairs(x, l, false, {}));
    got.clear();
    by_point.for_each_point(l.view(), batch, recorder{got});
    REQUIRE(got == all_pairs(x, l, true, batch));
    for (std::size_t r = 0; r < m; ++r) {
      std::vector<float> before(l.weights.row(r).begin(), l.weights.row(r).end());
      for (float& v : l.weights.row(r)) v += 0.002f * static_cast<float>(skim::normal(g));
      const skim::movement by{skim::distance_moved(before, l.weights.row(r)), 0};
      by_neuron.moved(l.view(), static_cast<id_t>(r), by);
      by_point.moved(l.view(), static_cast<id_t>(r), by);
    }
  }
  const auto look = [&](skim::firing_statistics s, std::uint64_t first_dense) {
    CHECK(s.fired > 0);
    CHECK(s.dense + s.examined <= s.pairs + first_dense);
    if (rare) {
      CHECK(s.dense < first_dense + s.pairs / 20);
      CHECK(s.examined < s.pairs / 20);
    } else {
      CHECK(s.examined == 0);
      CHECK(s.dense == s.pairs);
    }
  };
  look(by_neuron.statistics(), n * m);
  look(by_point.statistics(), n * m);
}

TEMPLATE_TEST_CASE("reports and what is remembered do not depend on the executor", "[law]",
                   skim::fused_scan, skim::neuron_deadline_index, skim::point_deadline_index) {
  // From few pairs due to so many that the indexes sleep and wake; batches hold points twice.
  const float threshold = GENERATE(2.0f, 1.0f, -0.5f);
  constexpr std::size_t n = 90, d = 13, m = 700;
  const auto raw = skim_test::unit_points(n, d, skim::seed{14});
  const skim::firing_points x(raw.view());
  layer l(m, d, skim::seed{15});
  std::fill(l.thresholds.begin(), l.thresholds.end(), threshold);
  skim::thread_executor pool(3);
  TestType alone(x, l.view()), shared(x, l.view());
  skim::random_engine g(skim::seed{16});
  for (int step = 0; step < 60; ++step) {
    std::vector<firing> one, other;
    if constexpr (skim::neuron_order_detector<TestType>) {
      alone.for_each_neuron(l.view(), recorder{one});
      shared.for_each_neuron(l.view(), recorder{other}, pool);
      REQUIRE(one == other);
      if (step == 0) REQUIRE(one == all_pairs(x, l, false, {}));
    }
    if constexpr (skim::point_order_detector<TestType>) {
      one.clear();
      other.clear();
      auto batch = random_batch(n, 1 + skim::uniform_below(g, 40), g);
      batch.push_back(batch[0]);
      alone.for_each_point(l.view(), batch, recorder{one});
      shared.for_each_point(l.view(), batch, recorder{other}, pool);
      REQUIRE(one == other);
      REQUIRE(one == all_pairs(x, l, true, batch));
    }
    for (std::size_t r = 0; r < m; ++r) {
      std::vector<float> before(l.weights.row(r).begin(), l.weights.row(r).end());
      for (float& v : l.weights.row(r)) v += 0.01f * static_cast<float>(skim::normal(g));
      const skim::movement by{skim::distance_moved(before, l.weights.row(r)), 0};
      alone.moved(l.view(), static_cast<id_t>(r), by);
      shared.moved(l.view(), static_cast<id_t>(r), by);
    }
  }
  const skim::firing_statistics a = alone.statistics(), b = shared.statistics();
  CHECK(a.pairs == b.pairs);
  CHECK(a.fired == b.fired);
  CHECK(a.examined == b.examined);
  CHECK(a.dense == b.dense);
}

TEST_CASE("deadlines take a byte a pair", "[unit]") {
  constexpr std::size_t n = 512, m = 4096;
  const auto raw = skim_test::unit_points(n, 4, skim::seed{4});
  const skim::firing_points x(raw.view());
  const layer l(m, 4, skim::seed{5});
  skim::neuron_deadline_index by_neuron(x, l.view());
  skim::point_deadline_index by_point(x, l.view());
  by_neuron.for_each_neuron(l.view(), skim::detail::firing_sink{});
  by_point.for_each_point(l.view(), std::vector<id_t>{0}, skim::detail::firing_sink{});
  CHECK(by_neuron.bytes() < n * m * 5 / 4);
  CHECK(by_point.bytes() < n * m * 6 / 5);
}

TEST_CASE("no margin is too narrow", "[law]") {
  // Points and neurons of wild sizes; steps of one unit in the last place, steps that end at the
  // threshold of some pair as nearly as floats can, steps that move everything, thresholds laid on
  // the very value of a pair.
  const auto variant = static_cast<std::uint64_t>(GENERATE(range(0, 24)));
  const std::size_t d = std::array<std::size_t, 6>{1, 3, 8, 19, 64, 130}[variant % 6];
  const double tick = std::array<double, 4>{0, 1e-3, 10, 0}[variant / 6];
  constexpr std::size_t n = 67, m = 70;
  skim::random_engine g(skim::seed{100 + variant});
  auto raw = skim_test::gaussian_points(n, d, skim::seed{200 + variant});
  layer l(m, d, skim::seed{300 + variant});
  // From denormals to the root of the largest float, and zero.
  const auto size = [&](std::size_t which) {
    constexpr std::array<float, 9> sizes{1, 1, 1, 1e-3f, 1e6f, 1e-20f, 1e-41f, 1e17f, 0};
    return variant % 3 == 0 ? 1.0f : sizes[which % (variant % 3 == 1 ? 5 : 9)];
  };
  for (std::size_t i = 0; i < n; ++i)
    for (float& v : raw.row(i)) v *= size(i);
  for (std::size_t r = 0; r < m; ++r)
    for (float& v : l.weights.row(r)) v *= size(r / 3);
  const skim::firing_points x(raw.view());
  const auto value = [&](std::size_t r, std::size_t i) {
    return skim::striped_dot(l.weights.row(r), std::span<const float>(x.row(i), d));
  };
  for (std::size_t r = 0; r < m; ++r) l.thresholds[r] = near_top(x, l, r, g);
  l.thresholds[0] = std::numeric_limits<float>::infinity();
  l.thresholds[1] = -std::numeric_limits<float>::infinity();
  auto all = std::make_unique<detectors>(x, l, tick);
  for (std::size_t round = 0; round < 60; ++round) {
    // Anew from time to time, for indexes that have much due sleep.
    if (round % 12 == 0) all = std::make_unique<detectors>(x, l, tick);
    all->check(l, random_batch(n, 1 + round % 20, g));
    const std::uint64_t kind =
        std::array<std::uint64_t, 8>{0, 1, 2, 4, 5, 0, 1, 3}[skim::uniform_below(g, 8)];
    for (std::size_t r = 0; r < m; ++r) {
      if (kind != 3 && skim::uniform_below(g, 3) != 0) continue;
      const std::size_t i = skim::uniform_below(g, n);
      std::vector<float> w(l.weights.row(r).begin(), l.weights.row(r).end());
      float threshold = l.thresholds[r];
      if (kind == 0) {  // one unit in the last place of one weight
        float& v = w[skim::uniform_below(g, d)];
        v = std::nextafter(v, skim::uniform_below(g, 2) == 0 ? 1e30f : -1e30f);
      } else if (kind == 1 || kind == 2) {  // straight at a pair's threshold, all the way or half
        const auto point = raw.row(i);
        const double square = skim_test::dot(point, point);
        const double gap = static_cast<double>(threshold) - static_cast<double>(value(r, i));
        const double part =
            kind == 1 ? 1.0 + 1e-7 * (static_cast<double>(skim::uniform_below(g, 5)) - 2) : 0.5;
        if (std::isfinite(gap) && square > 1e-30 && std::abs(gap / std::sqrt(square)) < 1e17)
          for (std::size_t k = 0; k < d; ++k)
            w[k] += static_cast<float>(part * gap / square * static_cast<double>(point[k]));
      } else if (kind == 3) {  // everything moves, a little or beyond all deadlines
        const float step =
            std::array<float, 4>{1e-4f, 0.03f, 1.0f, 100.0f}[skim::uniform_below(g, 4)];
        for (float& v : w) v += step * size(r / 3) * static_cast<float>(skim::normal(g));
      } else if (r > 1 && kind == 4) {  // the threshold is the value of a pair, or just below
        threshold = near_top(x, l, r, g);
        if (skim::uniform_below(g, 2) == 0) threshold = std::nextafter(threshold, -1e38f);
      } else if (r > 1) {
        threshold += 0.1f * static_cast<float>(skim::normal(g)) * std::abs(threshold);
      }
      const bool finite = skim::all_finite(std::span<const float>(w)) && std::isfinite(value(r, i));
      if (finite && (r < 2 || std::isfinite(threshold)) &&
          std::isfinite(skim::distance_moved(l.weights.row(r), w)))
        all->move(l, r, w, threshold);
    }
  }
}

TEST_CASE("rounding that flips a pair by a step too small to matter is allowed for", "[law]") {
  // Large terms that cancel, so that the last bits of their sum are noise; thresholds within that noise
  // above a pair's value; ticks finer than it; and weights so small that a change of theirs goes
  // under in the sum but for its rounding.
  constexpr std::size_t n = 64, m = 64;
  const std::size_t d = GENERATE(64u, 100u, 300u);
  auto raw = skim_test::gaussian_points(n, d, skim::seed{d});
  for (float& v : raw.values) v = (1 + 0.01f * v) / std::sqrt(static_cast<float>(d));
  const skim::firing_points x(raw.view());
  layer l(m, d, skim::seed{d + 1});
  for (std::size_t r = 0; r < m; ++r)
    for (std::size_t k = 0; k < d; ++k) l.weights.row(r)[k] *= k % 3 == r % 3 ? 1e-6f : 0.1f;
  for (std::size_t r = 0; r < m; ++r)
    for (std::size_t k = 0; k < d; ++k)
      if (k % 3 != r % 3) l.weights.row(r)[k] += k / 3 % 2 == 0 ? 50.0f : -50.0f;
  skim::random_engine g(skim::seed{d + 2});
  const auto lay = [&](std::size_t r) {
    const double noise = 0x1p-28 * skim_test::norm(l.weights.row(r));
    return near_top(x, l, r, g) + static_cast<float>(noise) * skim::uniform_float(g);
  };
  // Detectors anew each time: a threshold that falls makes everything due, and the indexes sleep.
  for (std::size_t trial = 0; trial < 8; ++trial) {
    for (std::size_t r = 0; r < m; ++r) l.thresholds[r] = lay(r);
    detectors all(x, l, 1e-8);
    for (std::size_t round = 0; round < 15; ++round) {
      all.check(l, random_batch(n, 40, g));
      for (std::size_t r = 0; r < m; ++r) {
        std::vector<float> w(l.weights.row(r).begin(), l.weights.row(r).end());
        for (std::size_t k = r % 3; k < d; k += 3)
          w[k] += 1e-8f / std::sqrt(static_cast<float>(d)) * static_cast<float>(skim::normal(g));
        all.move(l, r, w, l.thresholds[r]);
      }
    }
    CHECK(all.neuron_index().statistics().dense < all.neuron_index().statistics().pairs / 2);
  }
}

TEST_CASE("add_points adds, and its bound covers the way", "[unit]") {
  for (const std::size_t d : {1u, 7u, 8u, 33u, 64u, 200u}) {
    const auto raw = skim_test::gaussian_points(9, d, skim::seed{d});
    const skim::firing_points x(raw.view());
    std::vector<float> w(d, 0.25f), before;
    const std::vector<id_t> ids{3, 0, 8};
    for (const float size : {1.0f, 1e-9f, 1e-25f, 1e9f}) {
      before = w;
      const std::vector<float> factors{0.5f * size, -2 * size, 0.1f * size};
      const float way = skim::add_points(w, factors, ids, x);
      double square = 0;
      for (std::size_t k = 0; k < d; ++k) {
        double wanted = static_cast<double>(before[k]), terms = std::abs(wanted);
        for (std::size_t j = 0; j < 3; ++j) {
          const double term =
              static_cast<double>(factors[j]) * static_cast<double>(raw.row(ids[j])[k]);
          wanted += term;
          terms += std::abs(term);
        }
        CHECK(std::abs(static_cast<double>(w[k]) - wanted) <= 7 * 0x1p-24 * terms);
        const double went = static_cast<double>(w[k]) - static_cast<double>(before[k]);
        square += went * went;
      }
      CHECK(static_cast<double>(way) >= std::sqrt(square));
      CHECK(static_cast<double>(way) <=
            std::sqrt(square) * 1.0001 + 0x1p-62 * static_cast<double>(d));
    }
  }
}

TEST_CASE("a max tree finds what is above", "[unit]") {
  skim::random_engine g(skim::seed{9});
  for (const std::size_t size : {1u, 2u, 3u, 15u, 16u, 17u, 300u}) {
    std::vector<float> leaves(size);
    for (float& v : leaves) v = skim::uniform_float(g);
    const auto check = [&](const auto& tree) {
      REQUIRE(tree.max() == *std::max_element(leaves.begin(), leaves.end()));
      for (const float t : {-1.0f, 0.3f, 0.9f, leaves[0], 2.0f}) {
        std::vector<std::pair<std::size_t, float>> got, wanted;
        tree.above(t, [&](std::size_t leaf, float v) { got.emplace_back(leaf, v); });
        for (std::size_t i = 0; i < size; ++i)
          if (leaves[i] > t) wanted.emplace_back(i, leaves[i]);
        REQUIRE(got == wanted);
      }
    };
    skim::max_tree<2> narrow(leaves);
    skim::max_tree<16> wide(leaves);
    for (int round = 0; round < 50; ++round) {
      check(narrow);
      check(wide);
      const std::size_t at = skim::uniform_below(g, size);
      leaves[at] = skim::uniform_float(g);
      narrow.set(at, leaves[at]);
      wide.set(at, leaves[at]);
    }
    leaves.assign(size, 0.5f);
    narrow.assign(leaves);
    check(narrow);
  }
  skim::max_tree<4> tree(std::vector<float>{1, 2, 3});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(tree.set(3, 0), skim::invalid_input);
  CHECK_THROWS_AS(tree.set(0, nan), skim::invalid_input);
  CHECK_THROWS_AS(tree.assign(std::vector<float>{1, nan, 3}), skim::invalid_input);
  CHECK_THROWS_AS(tree.assign(std::vector<float>{1, 2}), skim::invalid_input);
  CHECK_THROWS_AS(skim::max_tree<4>(std::vector<float>{}), skim::invalid_params);
  CHECK(tree[0] == 1);
  CHECK(tree.max() == 3);
}

TEMPLATE_TEST_CASE("bad neurons, points and moves are refused", "[unit]", skim::fused_scan,
                   skim::neuron_deadline_index, skim::point_deadline_index, skim::data_tree<>,
                   skim::weight_tree<>) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const auto raw = skim_test::unit_points(5, 3, skim::seed{1});
  const skim::firing_points x(raw.view());
  layer l(4, 3, skim::seed{2});
  const layer other_dim(4, 2, skim::seed{2}), fewer(3, 3, skim::seed{2});
  const layer none(0, 3, skim::seed{2});
  CHECK_THROWS_AS(TestType(x, none.view()), skim::invalid_params);
  CHECK_THROWS_AS(TestType(x, other_dim.view()), skim::invalid_input);
  CHECK_THROWS_AS(TestType(x, {l.weights.view(), fewer.thresholds}), skim::invalid_input);
  for (const float bad : {nan, inf}) {
    layer broken = l;
    broken.weights.row(2)[1] = bad;
    CHECK_THROWS_AS(TestType(x, broken.view()), skim::invalid_input);
  }
  layer unsure = l;
  unsure.thresholds[1] = nan;
  CHECK_THROWS_AS(TestType(x, unsure.view()), skim::invalid_input);

  TestType d(x, l.view());
  std::vector<firing> before, after;
  const std::vector<id_t> batch{4, 0};
  const auto fire = [&](const layer& asked, std::span<const id_t> points, std::vector<firing>& to) {
    if constexpr (skim::neuron_order_detector<TestType>)
      d.for_each_neuron(asked.view(), recorder{to});
    else
      d.for_each_point(asked.view(), points, recorder{to});
  };
  fire(l, batch, before);
  CHECK_THROWS_AS(fire(other_dim, batch, after), skim::invalid_input);
  CHECK_THROWS_AS(fire(fewer, batch, after), skim::invalid_input);
  if constexpr (!skim::neuron_order_detector<TestType>) {
    const std::vector<id_t> missing{0, 5};
    CHECK_THROWS_AS(fire(l, missing, after), skim::invalid_input);
  }
  CHECK_THROWS_AS(d.moved(l.view(), 4, {0.1f, 0}), skim::invalid_input);
  CHECK_THROWS_AS(d.moved(l.view(), 0, {-0.1f, 0}), skim::invalid_input);
  CHECK_THROWS_AS(d.moved(l.view(), 0, {nan, 0}), skim::invalid_input);
  CHECK_THROWS_AS(d.moved(l.view(), 0, {inf, 0}), skim::invalid_input);
  CHECK_THROWS_AS(d.moved(l.view(), 0, {0, nan}), skim::invalid_input);
  CHECK(after.empty());
  fire(l, batch, after);
  CHECK(after == before);
}

TEST_CASE("bad points and ticks are refused", "[unit]") {
  auto raw = skim_test::unit_points(5, 3, skim::seed{1});
  CHECK_THROWS_AS(skim::firing_points(skim_test::points(0, 3).view()), skim::invalid_input);
  CHECK_THROWS_AS(skim::firing_points(skim_test::points(3, 0).view()), skim::invalid_input);
  const skim::firing_points x(raw.view());
  const layer l(4, 3, skim::seed{2});
  for (const double bad :
       {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(skim::neuron_deadline_index(x, l.view(), {.tick = bad}), skim::invalid_params);
    CHECK_THROWS_AS(skim::point_deadline_index(x, l.view(), {.tick = bad}), skim::invalid_params);
  }
  raw.row(3)[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(skim::firing_points(raw.view()),
                    "firing_points: got nan in row 3, column 2, wanted finite values");
}
