// SPDX-License-Identifier: Apache-2.0
//
// The fixed inputs of a layer, laid out for the detectors of firing neurons.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/projection.hpp"

namespace skim::inline v0 {

namespace detail {

/// At least the norm of x, whatever rounding and underflow did to the sum of squares.
[[nodiscard]] inline float norm_bound(std::span<const float> x) noexcept {
  const auto n = static_cast<double>(x.size());
  return static_cast<float>(static_cast<double>(norm(x)) * (1 + (n + 16) * 0x1p-24) +
                            std::sqrt(n) * 0x1p-62);
}

}  // namespace detail

/// Points that neurons fire for: a copy of the rows, each on a cache line, with their norms.
///
/// Shape:   (size, dim); row(i) is readable up to the next multiple of 8 floats, zeros there.
/// Memory:  4 (dim rounded up to 16) + 4 bytes a point.
/// Cost:    O(size dim) to make, O(1) otherwise.
/// Threads: immutable: any number at once. Detectors keep a pointer to it.
/// Ref:     none; storage.
class firing_points {
 public:
  /// Throws invalid_input if there is no row or column, or a value is not finite.
  explicit firing_points(matrix_view<const float> x)
      : size_(x.rows()), dim_(x.cols()), stride_((x.cols() + 15) / 16 * 16) {
    if (size_ == 0 || dim_ == 0)
      SKIM_THROW(invalid_input, detail::concat("firing_points: got ", size_, " x ", dim_,
                                               ", wanted at least one point of one coordinate"));
    rows_.assign(size_ * stride_, 0.0f);
    norms_.resize(size_);
    double squares = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      const std::span<const float> row = x.row(i);
      if (!all_finite(row)) {
        const std::size_t at = first_non_finite(row);
        SKIM_THROW(invalid_input, detail::concat("firing_points: got ", row[at], " in row ", i,
                                                 ", column ", at, ", wanted finite values"));
      }
      std::copy(row.begin(), row.end(), rows_.begin() + static_cast<std::ptrdiff_t>(i * stride_));
      norms_[i] = detail::norm_bound(row);
      squares += static_cast<double>(norms_[i]) * static_cast<double>(norms_[i]);
    }
    const auto typical = static_cast<float>(std::sqrt(squares / static_cast<double>(size_)));
    if (typical > 0 && std::isfinite(typical)) typical_norm_ = typical;
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  /// Point i. Pre: i < size().
  [[nodiscard]] const float* row(std::size_t i) const noexcept {
    SKIM_EXPECTS(i < size_);
    return rows_.data() + i * stride_;
  }
  [[nodiscard]] matrix_view<const float> view() const noexcept {
    matrix_view<const float> v(rows_.data(), size_, dim_, stride_);
    return v;
  }
  /// At least the norm of point i.
  [[nodiscard]] float norm(std::size_t i) const noexcept { return norms_[i]; }
  /// Root of the mean squared norm; 1 if that is zero or beyond float.
  [[nodiscard]] float typical_norm() const noexcept { return typical_norm_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return (rows_.size() + norms_.size()) * sizeof(float);
  }

 private:
  std::size_t size_, dim_, stride_;
  aligned_vector<float> rows_;
  std::vector<float> norms_;
  float typical_norm_ = 1;
};

namespace detail {

/// Points ids[0], ids[1], ... as the outputs of a striped product; the panels' memory is reused.
inline void pack_points(const firing_points& x, std::span<const id_t> ids, panel_matrix& panels) {
  if (panels.outputs() != ids.size() || panels.dim() != x.dim())
    panels = panel_matrix(ids.size(), x.dim());
  for (std::size_t j = 0; j < ids.size(); ++j)
    for (std::size_t k = 0; k < x.dim(); ++k)
      panels(j, striped_position(k, x.dim())) = x.row(ids[j])[k];
}

/// All points, in order.
[[nodiscard]] inline panel_matrix pack_points(const firing_points& x) {
  panel_matrix panels(x.size(), x.dim());
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t k = 0; k < x.dim(); ++k) panels(i, striped_position(k, x.dim())) = x.row(i)[k];
  return panels;
}

}  // namespace detail
}  // namespace skim::inline v0
