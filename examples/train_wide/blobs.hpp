// SPDX-License-Identifier: Apache-2.0
//
// Generated points for wide networks.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"

namespace skim_examples {

/// Points of unit length around 20 normal centres, with labels +1 and -1 by centre.
struct labelled_blobs {
  labelled_blobs(std::size_t n, std::size_t d, skim::seed s)
      : rows(n), cols(d), points(n * d), targets(n) {
    constexpr std::size_t centres = 20;
    skim::random_engine g(s);
    std::vector<float> centre(centres * d);
    for (float& c : centre) c = static_cast<float>(skim::normal(g));
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t k = i % centres;
      const std::span<float> x(points.data() + i * d, d);
      double square = 0;
      for (std::size_t j = 0; j < d; ++j) {
        x[j] = centre[k * d + j] + static_cast<float>(skim::normal(g));
        square += static_cast<double>(x[j]) * static_cast<double>(x[j]);
      }
      for (float& v : x) v *= static_cast<float>(1 / std::sqrt(square));
      targets[i] = k % 2 == 0 ? 1.0f : -1.0f;
    }
  }
  [[nodiscard]] skim::matrix_view<const float> view() const noexcept {
    return {points.data(), rows, cols};
  }

  std::size_t rows, cols;
  skim::aligned_vector<float> points;
  std::vector<float> targets;
};

}  // namespace skim_examples
