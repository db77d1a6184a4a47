// SPDX-License-Identifier: Apache-2.0
//
// What densities are asked of: points of a file or generated, queries held out of them, and a bandwidth.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/arguments.hpp"
#include "common/table.hpp"
#include "data/load.hpp"
#include "density/settings.hpp"
#include "skim/core/aligned.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/kde/kernel.hpp"

namespace skim_examples {

struct point_set {
  std::string title;
  std::size_t rows = 0, cols = 0;
  skim::aligned_vector<float> values;

  [[nodiscard]] skim::matrix_view<const float> view() const noexcept {
    return {values.data(), rows, cols};
  }
  void append(std::span<const float> row) {
    values.insert(values.end(), row.begin(), row.end());
    ++rows;
  }
};

/// A mixture of 40 Gaussians, their spreads over a decade.
[[nodiscard]] inline point_set generated_points(std::size_t n, std::size_t d, skim::seed s) {
  constexpr std::size_t parts = 40;
  skim::random_engine g(s);
  std::vector<float> centre(parts * d), spread(parts);
  for (float& c : centre) c = static_cast<float>(skim::normal(g));
  for (float& w : spread) w = static_cast<float>(0.05 * std::pow(10.0, skim::uniform(g)));
  point_set p{"generated", n, d, skim::aligned_vector<float>(n * d)};
  for (std::size_t i = 0; i < n; ++i) {
    const auto k = static_cast<std::size_t>(skim::uniform_below(g, parts));
    for (std::size_t j = 0; j < d; ++j)
      p.values[i * d + j] = centre[k * d + j] + spread[k] * static_cast<float>(skim::normal(g));
  }
  return p;
}

[[nodiscard]] inline point_set load_points(const std::string& file) {
  const dataset data = load_dataset(file);
  point_set p{data.name, data.rows, data.cols, {}};
  if (p.rows == 0 || p.cols == 0)
    throw data_error::in_file(file, "no rows or columns, wanted some points");
  if (!data.is_sparse()) {
    p.values.assign(data.dense.begin(), data.dense.end());
    return p;
  }
  p.values.assign(p.rows * p.cols, 0.0f);
  for (std::size_t i = 0; i < p.rows; ++i) {
    const auto row = data.sparse_view().row(i);
    for (std::size_t j = 0; j < row.nonzeros(); ++j)
      p.values[i * p.cols + row.indices[j]] = row.values[j];
  }
  return p;
}

/// The first rows in a random order as queries, the others as points.
struct points_and_queries {
  point_set points, queries;
};

[[nodiscard]] inline points_and_queries load_both(const density_settings& s) {
  points_and_queries both;
  both.points = s.points.empty()
                    ? generated_points(s.generated + s.most_queries, s.dim, skim::seed{s.seed})
                    : load_points(s.points);
  point_set from;
  if (!s.queries.empty()) {
    from = load_points(s.queries);
    if (from.cols != both.points.cols)
      throw data_error::in_file(s.queries, std::to_string(from.cols) + " columns, wanted " +
                                               std::to_string(both.points.cols) +
                                               " as the points have");
  } else {
    from = both.points;
  }
  const std::size_t asked = s.queries.empty()
                                ? std::min(s.most_queries, std::max<std::size_t>(1, from.rows / 2))
                                : std::min(s.most_queries, from.rows);
  std::vector<std::size_t> order(from.rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  skim::random_engine g(skim::seed{s.seed + 1});
  skim::shuffle(std::span(order), g);
  both.queries = {from.title, 0, from.cols, {}};
  for (std::size_t i = 0; i < asked; ++i) both.queries.append(from.view().row(order[i]));
  if (s.queries.empty() && from.rows > asked) {
    both.points = {from.title, 0, from.cols, {}};
    both.points.values.reserve((from.rows - asked) * from.cols);
    for (std::size_t i = asked; i < from.rows; ++i) both.points.append(from.view().row(order[i]));
  }
  return both;
}

struct bandwidth {
  double value = 1;
  std::string origin;  ///< in words
};

/// A number, "median", or "median:F" for F times the median distance between two points.
[[nodiscard]] inline bandwidth bandwidth_of(const density_settings& s, skim::kernel_kind kind,
                                            skim::matrix_view<const float> points) {
  const std::string wanted = "a number above 0, median, or median:F";
  const auto number = [&](std::string_view text) {
    const auto parsed = whole_double(text);
    if (parsed.status != number_status::ok || !(parsed.value > 0))
      throw argument_error("--bandwidth: got " + shown(s.bandwidth) + ", wanted " + wanted);
    return parsed.value;
  };
  if (!s.bandwidth.starts_with("median")) return {number(s.bandwidth), "as given"};
  if (kind == skim::kernel_kind::angular)
    throw argument_error("--bandwidth: got " + shown(s.bandwidth) +
                         " with the angular kernel, wanted a number (0.1: ten sign bits)");
  double factor = 1;
  if (s.bandwidth.starts_with("median:"))
    factor = number(std::string_view(s.bandwidth).substr(7));
  else if (s.bandwidth != "median")
    static_cast<void>(number(s.bandwidth));
  const double median = skim::median_distance(points, kind, skim::seed{s.seed + 2});
  return {factor * median, significant(factor, 3) + " of the median distance"};
}

[[nodiscard]] inline skim::kernel_kind kernel_named(const std::string& name) {
  for (std::uint8_t k = 0;; ++k)
    if (skim::name_of(static_cast<skim::kernel_kind>(k)) == name)
      return static_cast<skim::kernel_kind>(k);
}

}  // namespace skim_examples
