// SPDX-License-Identifier: Apache-2.0
//
// Regress a noisy function from a stream: every pair is seen once and then forgotten.
#include <cmath>
#include <cstdio>

#include "skim/core/random.hpp"
#include "skim/hash/fern.hpp"
#include "skim/sketch/nadaraya_watson.hpp"

int main() {
  // 64 hashes of 24 random comparisons each, of points in the unit square.
  const skim::fern_coordinate unit_square[2] = {{.lo = 0, .hi = 1}, {.lo = 0, .hi = 1}};
  const skim::fern_family family({.hashes = 64, .bits = 24}, unit_square, skim::seed{1});
  skim::nadaraya_watson_sketch sketch(family);
  skim::workspace scratch;
  skim::random_engine random(skim::seed{2});

  const auto truth = [](float a, float b) { return std::sin(3 * a) + b * b; };
  for (int i = 0; i < 100'000; ++i) {
    const float x[2] = {skim::uniform_float(random), skim::uniform_float(random)};
    sketch.insert(x, truth(x[0], x[1]) + 0.5f * float(skim::normal(random)), scratch);
  }
  std::printf("   x            truth   estimate\n");
  for (float a = 0.1f; a < 1; a += 0.2f) {
    const float x[2] = {a, 1 - a};
    std::printf("(%.1f, %.1f)   %7.3f   %8.3f\n", x[0], x[1], truth(x[0], x[1]),
                sketch.query(x, scratch).mean);
  }
}
