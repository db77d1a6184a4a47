// SPDX-License-Identifier: Apache-2.0
//
// Point sets with known geometry for tests, and exact geometry in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"

namespace skim_test {

// ---- exact geometry -----------------------------------------------------------------------------

inline double dot(std::span<const float> x, std::span<const float> y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

inline double norm(std::span<const float> x) {
  return std::sqrt(dot(x, x));
}

inline double distance(std::span<const float> x, std::span<const float> y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += d * d;
  }
  return std::sqrt(sum);
}

inline double manhattan_distance(std::span<const float> x, std::span<const float> y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    sum += std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
  return sum;
}

inline double cosine(std::span<const float> x, std::span<const float> y) {
  return std::clamp(dot(x, y) / (norm(x) * norm(y)), -1.0, 1.0);
}

/// Angle in [0, pi]; accurate for small angles too (Kahan's formula rather than acos).
inline double angle(std::span<const float> x, std::span<const float> y) {
  const double nx = norm(x), ny = norm(y);
  double less = 0, more = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double a = static_cast<double>(x[i]) / nx, b = static_cast<double>(y[i]) / ny;
    less += (a - b) * (a - b);
    more += (a + b) * (a + b);
  }
  return 2 * std::atan2(std::sqrt(less), std::sqrt(more));
}

/// Jaccard similarity of two ascending index sets; 1 if both are empty.
inline double jaccard(std::span<const skim::id_t> x, std::span<const skim::id_t> y) {
  std::size_t both = 0, i = 0, j = 0;
  while (i < x.size() && j < y.size()) {
    if (x[i] == y[j]) ++both;
    const bool step_x = x[i] <= y[j], step_y = y[j] <= x[i];
    i += step_x ? 1 : 0;
    j += step_y ? 1 : 0;
  }
  const std::size_t either = x.size() + y.size() - both;
  return either == 0 ? 1 : static_cast<double>(both) / static_cast<double>(either);
}

// ---- dense points -------------------------------------------------------------------------------

/// Owns n points of d floats, row-major on a cache line; converts to a view.
struct points {
  points(std::size_t rows, std::size_t cols) : values(rows * cols), n(rows), d(cols) {}

  [[nodiscard]] skim::matrix_view<const float> view() const noexcept {
    return {values.data(), n, d};
  }
  [[nodiscard]] skim::matrix_view<float> view() noexcept { return {values.data(), n, d}; }
  [[nodiscard]] std::span<const float> row(std::size_t i) const noexcept {
    return std::span(values).subspan(i * d, d);
  }
  [[nodiscard]] std::span<float> row(std::size_t i) noexcept {
    return std::span(values).subspan(i * d, d);
  }
  [[nodiscard]] std::size_t size() const noexcept { return n; }
  [[nodiscard]] std::size_t dim() const noexcept { return d; }

  skim::aligned_vector<float> values;
  std::size_t n, d;
};

/// Independent standard normal coordinates.
inline points gaussian_points(std::size_t n, std::size_t d, skim::seed s) {
  points p(n, d);
  skim::random_engine g(s);
  for (float& x : p.values) x = static_cast<float>(skim::normal(g));
  return p;
}

/// Uniform in [0, 1)^d.
inline points uniform_points(std::size_t n, std::size_t d, skim::seed s) {
  points p(n, d);
  skim::random_engine g(s);
  for (float& x : p.values) x = skim::uniform_float(g);
  return p;
}

/// Uniform on the unit sphere.
inline points unit_points(std::size_t n, std::size_t d, skim::seed s) {
  points p = gaussian_points(n, d, s);
  for (std::size_t i = 0; i < n; ++i) {
    const auto scale = static_cast<float>(1 / norm(p.row(i)));
    for (float& x : p.row(i)) x *= scale;
  }
  return p;
}

/// Points around centres.
struct clusters {
  points data, centres;
  std::vector<skim::label_t> labels;  ///< centre of each point; round robin, so sizes are equal

  [[nodiscard]] skim::matrix_view<const float> view() const noexcept { return data.view(); }
  [[nodiscard]] std::span<const float> row(std::size_t i) const noexcept { return data.row(i); }
  [[nodiscard]] std::size_t size() const noexcept { return data.n; }
  [[nodiscard]] std::size_t dim() const noexcept { return data.d; }
};

/// n points, each a standard normal centre plus normal noise of deviation `spread` a coordinate.
inline clusters clustered_points(std::size_t n, std::size_t d, std::size_t centres, double spread,
                                 skim::seed s) {
  clusters c{points(n, d), gaussian_points(centres, d, s), std::vector<skim::label_t>(n)};
  skim::random_engine g = skim::random_engine(s).child(1);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t k = i % centres;
    c.labels[i] = static_cast<skim::label_t>(k);
    for (std::size_t j = 0; j < d; ++j)
      c.data.row(i)[j] = c.centres.row(k)[j] + static_cast<float>(spread * skim::normal(g));
  }
  return c;
}

/// Two unit vectors (rows 0 and 1) in a random plane, theta radians apart. Pre: d >= 2.
inline points pair_at_angle(std::size_t d, double theta, skim::seed s) {
  skim::random_engine g(s);
  std::vector<double> u(d), v(d);
  double uu = 0, uv = 0, vv = 0;
  for (double& x : u) x = skim::normal(g);
  for (double& x : v) x = skim::normal(g);
  for (std::size_t i = 0; i < d; ++i) {
    uu += u[i] * u[i];
    uv += u[i] * v[i];
  }
  for (std::size_t i = 0; i < d; ++i) {
    v[i] -= uv / uu * u[i];
    vv += v[i] * v[i];
  }
  points p(2, d);
  for (std::size_t i = 0; i < d; ++i) {
    const double a = u[i] / std::sqrt(uu), b = v[i] / std::sqrt(vv);
    p.row(0)[i] = static_cast<float>(a);
    p.row(1)[i] = static_cast<float>(std::cos(theta) * a + std::sin(theta) * b);
  }
  return p;
}

/// Two points (rows 0 and 1) `length` apart in Euclidean distance, the first standard normal.
inline points pair_at_distance(std::size_t d, double length, skim::seed s) {
  points p(2, d);
  skim::random_engine g(s);
  std::vector<double> step(d);
  double squares = 0;
  for (double& x : step) {
    x = skim::normal(g);
    squares += x * x;
  }
  for (std::size_t i = 0; i < d; ++i) {
    const double x = skim::normal(g);
    p.row(0)[i] = static_cast<float>(x);
    p.row(1)[i] = static_cast<float>(x + length * step[i] / std::sqrt(squares));
  }
  return p;
}

// ---- sparse points ------------------------------------------------------------------------------

/// Owns compressed sparse rows; converts to a view.
struct sparse_points {
  [[nodiscard]] skim::sparse_view view() const { return {offsets, indices, values, cols}; }
  [[nodiscard]] skim::sparse_row row(std::size_t i) const { return view().row(i); }
  [[nodiscard]] std::size_t size() const noexcept { return offsets.size() - 1; }

  /// Appends a row; `entries` need not be sorted, equal indices must not occur.
  void push_back(std::vector<std::pair<skim::id_t, float>> entries) {
    std::sort(entries.begin(), entries.end());
    for (const auto& [index, value] : entries) {
      indices.push_back(index);
      values.push_back(value);
    }
    offsets.push_back(indices.size());
  }

  std::vector<std::size_t> offsets{0};
  std::vector<skim::id_t> indices;
  std::vector<float> values;
  std::size_t cols = 0;
};

/// n rows of `nonzeros` distinct uniform columns with standard normal values. Pre: nonzeros <=
/// cols.
inline sparse_points sparse_gaussian_points(std::size_t n, std::size_t cols, std::size_t nonzeros,
                                            skim::seed s) {
  sparse_points p;
  p.cols = cols;
  skim::random_engine g(s);
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<skim::id_t> chosen;  // Floyd's sampling without replacement
    for (std::size_t top = cols - nonzeros; top < cols; ++top) {
      const auto id = static_cast<skim::id_t>(skim::uniform_below(g, top + 1));
      const bool seen = std::find(chosen.begin(), chosen.end(), id) != chosen.end();
      chosen.push_back(seen ? static_cast<skim::id_t>(top) : id);
    }
    std::vector<std::pair<skim::id_t, float>> entries;
    for (const skim::id_t id : chosen)
      entries.emplace_back(id, static_cast<float>(skim::normal(g)));
    p.push_back(std::move(entries));
  }
  return p;
}

/// Two ascending index sets of `size` elements that share `shared` of them, so that their Jaccard
/// similarity is shared / (2 * size - shared). Pre: 2 * size - shared <= cols, shared <= size.
inline std::pair<std::vector<skim::id_t>, std::vector<skim::id_t>> sets_with_overlap(
    std::size_t size, std::size_t shared, std::size_t cols, skim::seed s) {
  const sparse_points all = sparse_gaussian_points(1, cols, 2 * size - shared, s);
  std::vector<skim::id_t> pool = all.indices;
  skim::random_engine g = skim::random_engine(s).child(1);
  skim::shuffle(std::span(pool), g);
  const auto begin = pool.begin();
  const auto at = [&](std::size_t i) { return begin + static_cast<std::ptrdiff_t>(i); };
  std::vector<skim::id_t> x(begin, at(size)), y(at(size - shared), pool.end());
  std::sort(x.begin(), x.end());
  std::sort(y.begin(), y.end());
  return {std::move(x), std::move(y)};
}

}  // namespace skim_test
