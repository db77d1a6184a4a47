// SPDX-License-Identifier: Apache-2.0
//
// What every linear sketch owes its user, written once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/random.hpp"
#include "skim/sketch/sketch.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"

namespace skim_test {

/// A Model has
///   sketch                              the type under test
///   static sketch make(seed)            an empty sketch, small: it is saved and damaged bit by bit
///   static void insert(sketch&, i, times)  adds example i of a fixed stream with weight `times`; all
///                                       weights and values are small integers, so that sums are exact
template <class Model>
void linear_sketch_laws() {
  using sketch = typename Model::sketch;
  static_assert(skim::linear_sketch<sketch>);
  constexpr std::size_t n = 60;
  const skim::seed s{5};
  const auto filled = [&](std::size_t first, std::size_t last) {
    sketch out = Model::make(s);
    for (std::size_t i = first; i < last; ++i) Model::insert(out, i, 1);
    return out;
  };
  const sketch a = filled(0, 25), b = filled(25, n), both = filled(0, n);

  SECTION("merging equals sketching the union, in either order") {
    sketch ab = a, ba = b;
    ab.merge(b);
    ba.merge(a);
    CHECK(image_of(ab) == image_of(both));
    CHECK(image_of(ba) == image_of(both));
    CHECK(ab.total_weight() == static_cast<double>(n));
  }
  SECTION("the order of insertion does not matter") {
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    skim::random_engine g(skim::seed{1});
    skim::shuffle(std::span(order), g);
    sketch shuffled = Model::make(s);
    for (const std::size_t i : order) Model::insert(shuffled, i, 1);
    CHECK(image_of(shuffled) == image_of(both));
  }
  SECTION("subtracting undoes merging") {
    sketch ab = a;
    ab.merge(b);
    ab.subtract(b);
    CHECK(image_of(ab) == image_of(a));
    ab.subtract(a);
    CHECK(image_of(ab) == image_of(Model::make(s)));
  }
  SECTION("decay distributes over merging") {
    sketch left = a, right = b, joint = both;
    left.decay(0.25);
    right.decay(0.25);
    left.merge(right);
    joint.decay(0.25);
    CHECK(image_of(left) == image_of(joint));
  }
  SECTION("sketches at different ages merge as their true weights") {
    sketch old = a;
    old.decay(0.5);
    sketch other = b;
    other.merge(old);  // b + a/2
    old.merge(b);      // a/2 + b, stored at another scale
    CHECK(other.total_weight() == 35 + 12.5);
    CHECK(old.total_weight() == 35 + 12.5);
    other.subtract(old);
    CHECK(other.total_weight() == 0);
  }
  SECTION("lazy decay is exact for powers of two, however many") {
    sketch slow = both, fast = both;
    for (int i = 0; i < 40; ++i) slow.decay(0.5);
    for (int i = 0; i < 4; ++i) fast.decay(0x1p-10);
    CHECK(slow.total_weight() == static_cast<double>(n) * 0x1p-40);
    CHECK(fast.total_weight() == static_cast<double>(n) * 0x1p-40);
    sketch kept = both;
    kept.decay(1);
    CHECK(image_of(kept) == image_of(both));
  }
  SECTION("decay by other factors is exact up to rounding") {
    sketch d = both;
    double expected = static_cast<double>(n);
    for (int i = 0; i < 500; ++i) {
      d.decay(0.97);
      expected *= 0.97;
    }
    CHECK_THAT(d.total_weight(), Catch::Matchers::WithinRel(expected, 1e-10));
  }
  SECTION("decay to nothing is the empty sketch, and clear() too") {
    sketch d = both, c = both;
    d.decay(0);
    c.clear();
    CHECK(image_of(d) == image_of(Model::make(s)));
    CHECK(image_of(c) == image_of(Model::make(s)));
  }
  SECTION("a weight counts as that many insertions") {
    sketch once = Model::make(s), thrice = Model::make(s);
    for (std::size_t i = 0; i < n; ++i) {
      Model::insert(once, i, 3);
      for (int k = 0; k < 3; ++k) Model::insert(thrice, i, 1);
    }
    CHECK(once.total_weight() == thrice.total_weight());
    CHECK(Model::same_sums(once, thrice));
  }
  SECTION("impossible factors and sketches are refused and change nothing") {
    sketch x = a;
    const auto before = image_of(x);
    for (const double f : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN(),
                           std::numeric_limits<double>::infinity()})
      CHECK_THROWS_AS(x.decay(f), skim::invalid_input);
    const sketch other = Model::make(skim::seed{6});
    CHECK_FALSE(x.compatible(other));
    CHECK_THROWS_AS(x.merge(other), skim::merge_error);
    CHECK_THROWS_AS(x.subtract(other), skim::merge_error);
    CHECK_THROWS_AS(x.subtract(both), skim::merge_error);
    CHECK(image_of(x) == before);
  }
  SECTION("a loaded sketch is the saved one, decayed or not") {
    sketch x = both;
    for (int round = 0; round < 3; ++round) {
      const auto bytes = image_of(x);
      skim::reader in(bytes);
      const sketch loaded = sketch::load(in);
      CHECK(image_of(loaded) == bytes);
      CHECK(loaded.fingerprint() == x.fingerprint());
      CHECK(loaded.total_weight() == x.total_weight());
      x.decay(0.3);
    }
  }
  SECTION("damaged bytes are refused") {
    check_refuses_damage(a);
  }
}

}  // namespace skim_test
