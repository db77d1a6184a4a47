// SPDX-License-Identifier: Apache-2.0
//
// Notices when training with inexact weights pulls a model's predictions to one side.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"

namespace skim::inline v0::detail {

/// Gradient noise scale of the output biases over uniform rows.
///
/// A model that fits has mean residual 0 over the population: training with exact weights drives the
/// gradient of the output biases there. Inexact weights settle elsewhere where labels are noisy. With
/// residuals r_i of n rows, trace(Cov r) / |E r|^2 is the number of rows at which the pull shows above
/// the noise; |E r|^2 is estimated without bias as |mean|^2 - trace / n.
///
/// Memory:  8 bytes an output.
/// Ref:     the noise scale of McCandlish et al. 2018, arXiv:1812.06162, of the output biases alone.
class tilt_monitor {
 public:
  void reset() noexcept {
    sums_.clear();
    squares_ = 0;
    rows_ = 0;
  }

  /// Adds residuals (rows, outputs) of uniform rows, each weighted by what it stands for. Pre: finite.
  void insert(matrix_view<const float> residuals, std::span<const float> weights) {
    SKIM_EXPECTS(residuals.rows() == weights.size());
    sums_.resize(residuals.cols());
    for (std::size_t i = 0; i < residuals.rows(); ++i) {
      const auto row = residuals.row(i);
      const double weight = static_cast<double>(weights[i]);
      double square = 0;
      for (std::size_t k = 0; k < row.size(); ++k) {
        const double r = weight * static_cast<double>(row[k]);
        sums_[k] += r;
        square += r * r;
      }
      squares_ += square;
    }
    rows_ += residuals.rows();
  }

  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }

  /// Infinity where no pull shows.
  [[nodiscard]] double noise_scale() const noexcept {
    constexpr double none = std::numeric_limits<double>::infinity();
    if (rows_ < 2) return none;
    const auto n = static_cast<double>(rows_);
    double mean_square = 0;
    for (const double s : sums_) mean_square += (s / n) * (s / n);
    const double trace = squares_ / n - mean_square;
    const double pull = mean_square - trace / n;
    return pull > 0 ? trace / pull : none;
  }

  void save(writer& out) const {
    out.put(std::span(sums_));
    out.put(squares_);
    out.put(static_cast<std::uint64_t>(rows_));
  }
  [[nodiscard]] static tilt_monitor load(reader& in) {
    tilt_monitor m;
    m.sums_ = in.get_vector<double>();
    m.squares_ = in.get<double>();
    m.rows_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    for (const double s : m.sums_)
      if (!std::isfinite(s)) in.fail("holds the sum ", s);
    if (!(m.squares_ >= 0 && std::isfinite(m.squares_)))
      in.fail("holds the sum of squares ", m.squares_);
    return m;
  }

 private:
  std::vector<double> sums_;  // one an output
  double squares_ = 0;
  std::size_t rows_ = 0;
};

}  // namespace skim::inline v0::detail
