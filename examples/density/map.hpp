// SPDX-License-Identifier: Apache-2.0
//
// A picture of the density of points in the plane or on a sphere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "common/arguments.hpp"
#include "common/plot.hpp"
#include "density/points.hpp"
#include "density/settings.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/kde/estimate.hpp"

namespace skim_examples {

/// The places whose densities make the picture: a grid over the points' rectangle and a margin, or over
/// longitude and latitude where the points lie on the unit sphere.
class density_grid {
 public:
  /// Throws argument_error for points that are neither.
  density_grid(const point_set& points, std::size_t columns) : sphere_(points.cols == 3) {
    if (points.cols != 2 && !sphere_) refuse(std::to_string(points.cols) + " columns");
    double least[2] = {-180, -90}, most[2] = {180, 90};
    if (sphere_) {
      for (std::size_t i = 0; i < points.rows; ++i) {
        const auto x = points.view().row(i);
        const double length = std::hypot(x[0], x[1], x[2]);
        if (!(std::abs(length - 1) < 1e-3)) refuse("a row of length " + significant(length, 4));
      }
    } else {
      for (const std::size_t j : {0u, 1u}) {
        least[j] = std::numeric_limits<double>::infinity();
        most[j] = -least[j];
        for (std::size_t i = 0; i < points.rows; ++i) {
          const double v = static_cast<double>(points.view().row(i)[j]);
          least[j] = std::min(least[j], v);
          most[j] = std::max(most[j], v);
        }
        const double margin = most[j] > least[j] ? 0.05 * (most[j] - least[j]) : 1;
        least[j] -= margin;
        most[j] += margin;
      }
    }
    grid_.columns = columns;
    const double shape = (most[1] - least[1]) / (most[0] - least[0]);
    grid_.rows = std::clamp<std::size_t>(
        static_cast<std::size_t>(static_cast<double>(columns) * std::clamp(shape, 0.25, 1.0)), 1,
        4096);
    grid_.x_least = least[0];
    grid_.x_most = most[0];
    grid_.y_least = least[1];
    grid_.y_most = most[1];
    for (std::size_t i = 0; i < grid_.rows; ++i)
      for (std::size_t j = 0; j < columns; ++j)
        add(place(least[0], most[0], j, columns), place(least[1], most[1], i, grid_.rows));
  }

  [[nodiscard]] skim::matrix_view<const float> queries() const noexcept {
    const std::size_t cols = sphere_ ? 3 : 2;
    return {values_.data(), values_.size() / cols, cols};
  }

  /// The figure; cells below the floor stay white.
  [[nodiscard]] plot_figure figure(const std::string& title,
                                   std::span<const skim::density_estimate> answers,
                                   double floor) const {
    plot_panel panel{title,
                     {sphere_ ? "longitude, degrees" : "first coordinate"},
                     {sphere_ ? "latitude, degrees" : "second coordinate"},
                     {},
                     panel_kind::map,
                     grid_};
    panel.x.least = grid_.x_least;
    panel.x.most = grid_.x_most;
    panel.y.least = grid_.y_least;
    panel.y.most = grid_.y_most;
    double most = floor;
    for (const auto& a : answers) {
      const bool shown = !a.below && a.value >= floor && a.value > 0;
      panel.grid.values.push_back(shown ? a.value : std::numeric_limits<double>::quiet_NaN());
      if (shown) most = std::max(most, a.value);
    }
    panel.grid.colour = {"density, relative to all mass at the place", axis_scale::logarithmic};
    panel.grid.colour.least = std::max(floor, 1e-5 * most);
    panel.grid.colour.most = most;
    plot_figure figure{"", {panel}};
    figure.panel_width = 1000;
    figure.panel_height = 84 + static_cast<std::size_t>(816.0 * static_cast<double>(grid_.rows) /
                                                        static_cast<double>(grid_.columns));
    return figure;
  }

 private:
  [[noreturn]] static void refuse(const std::string& got) {
    throw argument_error("--map: got " + got +
                         ", wanted points with 2 columns, or 3 on the unit sphere");
  }
  [[nodiscard]] static double place(double least, double most, std::size_t i, std::size_t n) {
    return least + (most - least) * (static_cast<double>(i) + 0.5) / static_cast<double>(n);
  }
  void add(double x, double y) {
    if (!sphere_) {
      values_.push_back(static_cast<float>(x));
      values_.push_back(static_cast<float>(y));
      return;
    }
    const double lon = x * std::numbers::pi / 180, lat = y * std::numbers::pi / 180;
    values_.push_back(static_cast<float>(std::cos(lat) * std::cos(lon)));
    values_.push_back(static_cast<float>(std::cos(lat) * std::sin(lon)));
    values_.push_back(static_cast<float>(std::sin(lat)));
  }

  bool sphere_;
  plot_grid grid_;
  std::vector<float> values_;
};

}  // namespace skim_examples
