// SPDX-License-Identifier: Apache-2.0
//
// The kernels whose densities the structures of kde/ estimate.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// How a kernel k(x, y) falls with the distance; h is its bandwidth, k(x, x) = 1.
enum class kernel_kind : std::uint8_t {
  gaussian,     ///< exp(-|x - y|^2 / (2 h^2)); h is a standard deviation
  exponential,  ///< exp(-|x - y| / h)
  laplacian,    ///< exp(-|x - y|_1 / h), of the sum of absolute differences
  student,      ///< 1 / (1 + |x - y|^2 / h^2), the Cauchy or rational quadratic kernel
  angular       ///< (1 - angle(x, y) / pi)^(1/h): h = 1/b is the chance that b random signs agree
};

/// The name of a kind, as command lines and messages have it.
[[nodiscard]] constexpr std::string_view name_of(kernel_kind k) noexcept {
  constexpr std::string_view names[] = {"gaussian", "exponential", "laplacian", "student",
                                        "angular"};
  return k <= kernel_kind::angular ? names[static_cast<std::size_t>(k)] : "unknown";
}

/// A kernel: its kind and its bandwidth, in the units of the coordinates (angular: none).
struct density_kernel {
  kernel_kind kind = kernel_kind::gaussian;
  double bandwidth = 1;  ///< h, 1e-15 to 1e15

  friend constexpr bool operator==(const density_kernel&, const density_kernel&) = default;

  /// Throws invalid_params unless kind and bandwidth are in range.
  void check(std::string_view who) const {
    if (kind > kernel_kind::angular)
      SKIM_THROW(invalid_params, detail::concat(who, ": got kernel ", static_cast<unsigned>(kind),
                                                ", wanted 0 to 4"));
    if (!(bandwidth >= 1e-15 && bandwidth <= 1e15))
      SKIM_THROW(invalid_params,
                 detail::concat(who, ": got a bandwidth of ", bandwidth, ", wanted 1e-15 to 1e15"));
  }
  /// Whether points are put on the unit sphere before they are compared.
  [[nodiscard]] constexpr bool on_sphere() const noexcept { return kind == kernel_kind::angular; }
};

namespace detail {

// Of a kernel: its value from the squared distance (or the sum of absolute differences, where
// `manhattan`), for a pack of floats and for one double.

struct gaussian_profile {
  static constexpr bool manhattan = false;
  double scale;
  explicit gaussian_profile(double h) noexcept : scale(-0.5 / (h * h)) {}
  [[nodiscard]] double operator()(double square) const noexcept { return std::exp(scale * square); }
  template <class Arch>
  [[nodiscard]] SKIM_ALWAYS_INLINE simd::floats<Arch> operator()(
      simd::floats<Arch> square) const noexcept {
    return simd::exp(square * simd::floats<Arch>::broadcast(static_cast<float>(scale)));
  }
};

struct exponential_profile {
  static constexpr bool manhattan = false;
  double scale;
  explicit exponential_profile(double h) noexcept : scale(-1 / h) {}
  [[nodiscard]] double operator()(double square) const noexcept {
    return std::exp(scale * std::sqrt(square));
  }
  template <class Arch>
  [[nodiscard]] SKIM_ALWAYS_INLINE simd::floats<Arch> operator()(
      simd::floats<Arch> square) const noexcept {
    return simd::exp(simd::sqrt(square) * simd::floats<Arch>::broadcast(static_cast<float>(scale)));
  }
};

struct laplacian_profile {
  static constexpr bool manhattan = true;
  double scale;
  explicit laplacian_profile(double h) noexcept : scale(-1 / h) {}
  [[nodiscard]] double operator()(double distance) const noexcept {
    return std::exp(scale * distance);
  }
  template <class Arch>
  [[nodiscard]] SKIM_ALWAYS_INLINE simd::floats<Arch> operator()(
      simd::floats<Arch> distance) const noexcept {
    return simd::exp(distance * simd::floats<Arch>::broadcast(static_cast<float>(scale)));
  }
};

struct student_profile {
  static constexpr bool manhattan = false;
  double scale;
  explicit student_profile(double h) noexcept : scale(1 / (h * h)) {}
  [[nodiscard]] double operator()(double square) const noexcept { return 1 / (1 + scale * square); }
  template <class Arch>
  [[nodiscard]] SKIM_ALWAYS_INLINE simd::floats<Arch> operator()(
      simd::floats<Arch> square) const noexcept {
    using pack = simd::floats<Arch>;
    const pack one = pack::broadcast(1.0f);
    return one / simd::fma(square, pack::broadcast(static_cast<float>(scale)), one);
  }
};

// Of points on the unit sphere, where |x - y|^2 = 2 - 2 cos(angle).
struct angular_profile {
  static constexpr bool manhattan = false;
  double power;
  explicit angular_profile(double h) noexcept : power(1 / h) {}
  [[nodiscard]] double operator()(double square) const noexcept {
    const double angle = 2 * std::asin(std::min(1.0, std::sqrt(square) / 2));
    return std::pow(1 - angle / std::numbers::pi, power);
  }
  template <class Arch>
  [[nodiscard]] SKIM_ALWAYS_INLINE simd::floats<Arch> operator()(
      simd::floats<Arch> square) const noexcept {
    using pack = simd::floats<Arch>;
    const auto value = [](double x) { return pack::broadcast(static_cast<float>(x)); };
    // arccos(c) = sqrt(1 - c) p(c) for 0 <= c <= 1 to 2e-8 (Abramowitz and Stegun 1964, 4.4.46), and
    // the rest by symmetry; sqrt(1 - |c|) straight from the square, which loses nothing at small angles.
    const pack half = simd::min(square, value(4)) * value(0.5),
               near = simd::min(half, value(2) - half);
    const pack c = value(1) - near;
    pack p = value(-0.0012624911);
    for (const double a : {0.0066700901, -0.0170881256, 0.0308918810, -0.0501743046, 0.0889789874,
                           -0.2145988016, 1.5707963050})
      p = simd::fma(p, c, value(a));
    const pack angle = simd::sqrt(near) * p * value(1 / std::numbers::pi);  // in units of pi
    const pack agree = simd::where_greater(half, value(1), angle, value(1) - angle);
    return simd::exp(simd::log(simd::max(agree, value(1e-30))) * value(power));
  }
};

// Calls f with the profile of k.
template <class F>
SKIM_ALWAYS_INLINE decltype(auto) with_profile(const density_kernel& k, F&& f) {
  switch (k.kind) {
    case kernel_kind::exponential:
      return f(exponential_profile(k.bandwidth));
    case kernel_kind::laplacian:
      return f(laplacian_profile(k.bandwidth));
    case kernel_kind::student:
      return f(student_profile(k.bandwidth));
    case kernel_kind::angular:
      return f(angular_profile(k.bandwidth));
    default:
      return f(gaussian_profile(k.bandwidth));
  }
}

}  // namespace detail

/// k(x, y) in double. Pre: sizes equal, k in range; angular: neither is a zero vector.
[[nodiscard]] inline double kernel_value(const density_kernel& k, std::span<const float> x,
                                         std::span<const float> y) noexcept {
  SKIM_EXPECTS(x.size() == y.size());
  double sum = 0, xx = 0, yy = 0;
  for (std::size_t j = 0; j < x.size(); ++j) {
    const double a = static_cast<double>(x[j]), b = static_cast<double>(y[j]);
    sum += k.kind == kernel_kind::laplacian ? std::abs(a - b) : (a - b) * (a - b);
    xx += a * a;
    yy += b * b;
  }
  if (k.on_sphere()) {
    const double lengths = std::sqrt(xx) * std::sqrt(yy);
    sum = (sum - (std::sqrt(xx) - std::sqrt(yy)) * (std::sqrt(xx) - std::sqrt(yy))) / lengths;
    sum = std::max(sum, 0.0);
  }
  return detail::with_profile(k, [&](auto profile) { return profile(sum); });
}

/// The median distance between two rows of x (the median heuristic for a bandwidth), over `pairs`
/// random pairs of different rows; sums of absolute differences where `kind` is laplacian. Density
/// estimates want much less, a quarter say: at the median distance everything is near everything.
/// The least positive distance seen where the median is 0, and 1 where all are. Throws invalid_input
/// for fewer than two rows, coordinates that are not finite, or an angular kernel.
///
/// Cost:    O(pairs d).
[[nodiscard]] inline double median_distance(matrix_view<const float> x, kernel_kind kind,
                                            seed s = {}, std::size_t pairs = 10'000) {
  if (x.rows() < 2 || pairs == 0)
    SKIM_THROW(invalid_input, detail::concat("median_distance: got ", x.rows(), " rows and ", pairs,
                                             " pairs, wanted 2 rows and a pair at least"));
  if (kind >= kernel_kind::angular)
    SKIM_THROW(invalid_input, "median_distance: got the angular kernel, which has no unit");
  random_engine g(s);
  std::vector<double> distances(pairs);
  for (double& d : distances) {
    const std::uint64_t i = uniform_below(g, x.rows()), k = uniform_below(g, x.rows() - 1);
    const auto a = x.row(static_cast<std::size_t>(i)),
               b = x.row(static_cast<std::size_t>(k < i ? k : k + 1));
    double sum = 0;
    for (std::size_t j = 0; j < x.cols(); ++j) {
      const double t = static_cast<double>(a[j]) - static_cast<double>(b[j]);
      sum += kind == kernel_kind::laplacian ? std::abs(t) : t * t;
    }
    if (!std::isfinite(sum))
      SKIM_THROW(invalid_input, "median_distance: wanted finite coordinates");
    d = kind == kernel_kind::laplacian ? sum : std::sqrt(sum);
  }
  std::sort(distances.begin(), distances.end());
  double middle = distances[pairs / 2];
  if (middle == 0) {
    const auto positive = std::upper_bound(distances.begin(), distances.end(), 0.0);
    middle = positive == distances.end() ? 1.0 : *positive;
  }
  return middle;
}

}  // namespace skim::inline v0
