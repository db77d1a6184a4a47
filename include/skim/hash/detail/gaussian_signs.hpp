// SPDX-License-Identifier: Apache-2.0
//
// Signs of products with Gaussian vectors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/linalg/projection.hpp"

namespace skim::inline v0::detail {

class gaussian_signs {
 public:
  gaussian_signs(std::size_t dim, std::size_t outputs, const random_engine& engine)
      : weights_(outputs, dim) {
    for (std::size_t o = 0; o < outputs; ++o) {
      random_engine g = engine.child(o);
      for (std::size_t k = 0; k < dim; ++k) weights_(o, k) = static_cast<float>(normal(g));
    }
  }

  void signs(matrix_view<const float> x, std::uint16_t* words, std::size_t stride,
             workspace&) const {
    project(x, weights_, sign_epilogue{words, stride});
  }
  void signs(sparse_row x, std::uint16_t* words, workspace&) const {
    project(x, 0, weights_, sign_epilogue{words, 0});
  }

  // The same, and the products themselves, (rows, outputs).
  void signs(matrix_view<const float> x, std::uint16_t* words, std::size_t stride,
             float* products) const {
    project(x, weights_,
            both_epilogue{{words, stride}, {products, weights_.outputs(), weights_.outputs()}});
  }

 private:
  struct both_epilogue {
    sign_epilogue signs;
    store_epilogue products;

    template <class Arch>
    SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                       const panel_result<Arch>& r) const noexcept {
      signs.template operator()<Arch>(row, panel, r);
      products.template operator()<Arch>(row, panel, r);
    }
  };

  panel_matrix weights_;
};

}  // namespace skim::inline v0::detail
