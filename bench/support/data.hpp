// SPDX-License-Identifier: Apache-2.0
//
// Inputs of the benchmarks, from fixed seeds.
#pragma once

#include <cstddef>

#include "skim/core/aligned.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"

namespace skim_bench {

struct gaussian_matrix {
  gaussian_matrix(std::size_t rows, std::size_t cols, skim::seed s)
      : n(rows), d(cols), values(rows * cols) {
    skim::random_engine g(s);
    for (float& v : values) v = static_cast<float>(skim::normal(g));
  }
  [[nodiscard]] skim::matrix_view<const float> view() const { return {values.data(), n, d}; }

  std::size_t n, d;
  skim::aligned_vector<float> values;
};

}  // namespace skim_bench
