// SPDX-License-Identifier: Apache-2.0
//
// What comes between two layers, applied in place.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim::inline v0 {

enum class activation : std::uint8_t { identity, relu, tanh };

/// values = f(values). Cost: one pass; a call of tanh an element for tanh.
inline void activate(activation f, matrix_view<float> values) noexcept {
  for (std::size_t i = 0; i < values.rows(); ++i) {
    if (f == activation::relu)
      for (float& v : values.row(i)) v = v > 0 ? v : 0.0f;
    if (f == activation::tanh)
      for (float& v : values.row(i)) v = std::tanh(v);
  }
}

/// gradient *= f' at the point whose value is given: what activate() made of it. Pre: equal shapes.
inline void activate_back(activation f, matrix_view<const float> values,
                          matrix_view<float> gradient) noexcept {
  SKIM_EXPECTS(values.rows() == gradient.rows() && values.cols() == gradient.cols());
  for (std::size_t i = 0; i < values.rows(); ++i) {
    const float* SKIM_RESTRICT v = values.row(i).data();
    float* SKIM_RESTRICT g = gradient.row(i).data();
    if (f == activation::relu)
      for (std::size_t k = 0; k < values.cols(); ++k) g[k] = v[k] > 0 ? g[k] : 0.0f;
    if (f == activation::tanh)
      for (std::size_t k = 0; k < values.cols(); ++k) g[k] *= 1 - v[k] * v[k];
  }
}

}  // namespace skim::inline v0
