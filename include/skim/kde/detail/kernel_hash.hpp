// SPDX-License-Identifier: Apache-2.0
//
// One hash of points whose collision probability is a known function of the distance that a kernel takes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <variant>

#include "skim/core/config.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/p_stable.hpp"
#include "skim/hash/random_binning.hpp"
#include "skim/hash/sign_projection.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0::detail {

// The family is that of the kernel's distance: random grids for sums of absolute differences, bins along
// Gaussian lines for Euclidean distances, signs for angles.
struct hash_shape {
  double width = 1;  // bandwidth of the grids, or width of a bin; angular: not used
  std::size_t functions =
      1;  // bins or signs to a code; grids: not used; 0: all points have one code

  static constexpr std::size_t most_bins = 16;   // what a line of memory gives room for
  static constexpr std::size_t most_signs = 32;  // of a code

  friend constexpr bool operator==(const hash_shape&, const hash_shape&) = default;

  // The probability that two points at this distance (squared, or the sum of absolute differences) have one
  // code, exactly.
  [[nodiscard]] double collision(kernel_kind kind, double distance) const noexcept {
    switch (kind) {
      case kernel_kind::laplacian:
        return functions == 0 ? 1 : with_chance_collisions(std::exp(-distance / width), 32);
      case kernel_kind::angular: {
        const double angle = 2 * std::asin(std::min(1.0, std::sqrt(distance) / 2));
        return power(1 - angle / std::numbers::pi);
      }
      default: {
        const double p = power(euclidean_bin_collision(std::sqrt(distance) / width));
        return functions <= 1 ? p : with_chance_collisions(p, 32);
      }
    }
  }

 private:
  [[nodiscard]] double power(double p) const noexcept {
    double all = 1;
    for (std::size_t n = functions; n != 0; n /= 2, p *= p)
      if (n % 2 != 0) all *= p;
    return all;
  }
};

class kernel_hash {
 public:
  kernel_hash(kernel_kind kind, std::size_t dim, const hash_shape& shape, seed s)
      : family_(make(kind, dim, shape, s)) {}

  // Pre: x was checked.
  [[nodiscard]] code_t operator()(std::span<const float> x, workspace& ws) const {
    code_t code = 0;
    std::visit(
        [&](const auto& f) {
          if constexpr (requires { f.hash(x, std::span(&code, 1), ws); })
            f.hash(x, std::span(&code, 1), ws);
        },
        family_);
    return code;
  }
  // Of the numbers that were drawn.
  [[nodiscard]] static std::size_t bytes(kernel_kind kind, std::size_t dim,
                                         const hash_shape& shape) noexcept {
    if (shape.functions == 0) return 0;
    if (kind == kernel_kind::laplacian) return 16 * dim + 8;
    const std::size_t panels = (shape.functions + 15) / 16;
    return panels * 64 * (dim + 1) + 8 * (shape.functions + 1);
  }

 private:
  using family =
      std::variant<std::monostate, random_binning, euclidean_p_stable, dense_sign_projection>;

  static family make(kernel_kind kind, std::size_t dim, const hash_shape& shape, seed s) {
    if (shape.functions == 0) return std::monostate{};
    switch (kind) {
      case kernel_kind::laplacian:
        return random_binning({.dim = dim, .bandwidth = shape.width}, s);
      case kernel_kind::angular:
        return dense_sign_projection({.dim = dim, .bits = shape.functions}, s);
      default:
        return euclidean_p_stable({.dim = dim, .width = shape.width, .bins = shape.functions}, s);
    }
  }

  family family_;
};

// A hash whose collision probability is near the square root of the kernel where that is `least` or more:
// exactly so for the Laplacian kernel; within a factor of 1.1 for the Student one, whose tail is that of a
// bin's; for the exponential one p is about exp(-r / 2h). No power of bins follows a Gaussian: its exponent
// is linear in the distance, and meets half the kernel's where the kernel is `least`.
[[nodiscard]] inline hash_shape root_hash(const density_kernel& k, double least) noexcept {
  const double h = k.bandwidth, depth = std::max(1.0, std::log(1 / least));
  // -ln of the collision probability of one bin is sqrt(2 / pi) r / width for small r.
  const double slope = std::sqrt(2 / std::numbers::pi);
  const auto bins = static_cast<std::size_t>(
      std::clamp(std::ceil(depth), 1.0, static_cast<double>(hash_shape::most_bins)));
  switch (k.kind) {
    case kernel_kind::laplacian:
      return {2 * h, 1};
    case kernel_kind::exponential:
      return {2 * h * slope * static_cast<double>(bins), bins};
    case kernel_kind::student:
      return {std::sqrt(2 * std::numbers::pi) * h, 1};
    case kernel_kind::angular:
      return {1, static_cast<std::size_t>(std::min(std::floor(0.5 / h + 0.5),
                                                   static_cast<double>(hash_shape::most_signs)))};
    default: {
      const double far = h * std::sqrt(2 * depth);
      return {2 * far * slope * static_cast<double>(bins) / depth, bins};
    }
  }
}

}  // namespace skim::inline v0::detail
