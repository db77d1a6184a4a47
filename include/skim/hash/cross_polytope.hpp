// SPDX-License-Identifier: Apache-2.0
//
// The hash family of the angle with the best exponent: nearest vertices of rotated cross-polytopes.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string_view>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/detail/drawn_family.hpp"
#include "skim/linalg/hadamard.hpp"
#include "skim/linalg/winners.hpp"

namespace skim::inline v0 {

/// Sizes of a cross_polytope family.
struct cross_polytope_params {
  std::size_t dim = 1;     ///< d, coordinates of an input
  std::size_t size = 16;   ///< m, coordinates of a cross-polytope, a power of two, 8 to 2^16
  std::size_t hashes = 1;  ///< L, codes of an input
};

namespace detail {

/// Three rounds of random signs and Hadamard transforms; each `size` coordinates of the result a hash.
class rotated_polytopes {
 public:
  rotated_polytopes(const cross_polytope_params& p, const random_engine& engine)
      : dim_(p.dim),
        size_(p.size),
        hashes_(p.hashes),
        width_(padded(p)),
        rotations_((hashes_ * size_ + width_ - 1) / width_),
        signs_(rotations_ * rounds * width_) {
    for (std::size_t i = 0; i < rotations_ * rounds; ++i) {
      random_engine g = engine.child(i);
      for (std::size_t k = 0; k < width_; k += 64) {
        const std::uint64_t bits = g();
        for (std::size_t j = 0; j < 64; ++j)
          signs_[i * width_ + k + j] = (bits >> j & 1) != 0 ? -1.0f : 1.0f;
      }
    }
  }

  // Padded at least to 64: rotations of fewer coordinates are far from uniform.
  [[nodiscard]] static std::size_t padded(const cross_polytope_params& p) noexcept {
    return std::max<std::size_t>({64, std::bit_ceil(p.dim), p.size});
  }

  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    for (std::size_t i = 0; i < x.rows(); ++i)
      hash_filled(
          [row = x.row(i)](std::span<float> to) {
            std::copy(row.begin(), row.end(), to.begin());
            std::fill(to.begin() + static_cast<std::ptrdiff_t>(row.size()), to.end(), 0.0f);
          },
          codes.subspan(i * hashes_, hashes_), ws);
  }
  void hash(sparse_row x, std::span<code_t> codes, workspace& ws) const {
    hash_filled(
        [x](std::span<float> to) {
          std::fill(to.begin(), to.end(), 0.0f);
          for (std::size_t i = 0; i < x.nonzeros(); ++i) to[x.indices[i]] = x.values[i];
        },
        codes, ws);
  }

 private:
  static constexpr std::size_t rounds = 3;

  // Short transforms of several rotations in turn fill each other's latency.
  template <class Fill>
  void hash_filled(Fill fill, std::span<code_t> codes, workspace& ws) const {
    const std::size_t side_by_side = width_ <= 1024 ? 4 : 1;
    auto frame = ws.frame();
    const auto rotated = frame.template take<float>(side_by_side * width_);
    for (std::size_t first = 0; first < rotations_; first += side_by_side) {
      const std::size_t group = std::min(side_by_side, rotations_ - first);
      for (std::size_t j = 0; j < group; ++j) fill(rotated.subspan(j * width_, width_));
      for (std::size_t r = 0; r < rounds; ++r)
        for (std::size_t j = 0; j < group; ++j)
          hadamard_transform(rotated.subspan(j * width_, width_),
                             {signs_.data() + ((first + j) * rounds + r) * width_, width_});
      const std::size_t each = width_ / size_, begin = first * each;
      const std::size_t end = std::min(hashes_, begin + group * each);
      for (std::size_t h = begin; h < end; ++h)
        codes[h] =
            static_cast<code_t>(largest_magnitude(rotated.data() + (h - begin) * size_, size_));
    }
  }

  std::size_t dim_, size_, hashes_, width_, rotations_;
  aligned_vector<float> signs_;  // (rotations, rounds, width)
};

struct cross_polytope_kind {
  using params = cross_polytope_params;
  using functions = rotated_polytopes;
  static constexpr std::string_view name = "cross_polytope";
  static constexpr bool exact_kernel = false;

  template <class P, class F>
  static void each(P& p, F f) {
    f(p.size);
  }
  static void check(const params& p) {
    if (p.size < 8 || p.size > 65536 || !std::has_single_bit(p.size))
      SKIM_THROW(invalid_params, concat(name, ": got cross-polytopes of ", p.size,
                                        " coordinates, wanted a power of two from 8 to 65536"));
  }
  static std::uint64_t numbers(const params& p) noexcept {
    const std::uint64_t width = rotated_polytopes::padded(p);
    return 3 * width * ((p.hashes * p.size + width - 1) / width);
  }
  static std::uint64_t range(const params& p) noexcept { return 2 * std::uint64_t{p.size}; }
};

}  // namespace detail

/// Nearest vertices of randomly rotated cross-polytopes.
///
/// A point is rotated (three times random signs and a Hadamard transform); of each m coordinates of the
/// result the one of largest magnitude is found: a code is twice its place, plus one if it is negative.
/// For near-neighbour search over angles this has the best exponent known of practical families: a code
/// of log2(2 m) bits tells near from far points as more signs would.
///
/// Shape:   x (dim) or X (n, dim), dense or CSR; codes (hashes) or (n, hashes), below 2 m.
/// Memory:  12 bytes a coordinate of a rotation; one of w coordinates (dim filled up to a power of two, at
///          least 64 and m) serves w / m hashes.
/// Cost:    3 w log2 w additions a rotation, and a comparison a coordinate.
/// Error:   no exact kernel: cross_polytope_collision() is that of a uniform rotation of many coordinates.
///          Hashes of one rotation are nearly, not quite, independent.
/// Threads: const after construction; one workspace a thread.
/// Seeds:   equal seeds give equal codes on every platform.
/// Ref:     Andoni, Indyk, Laarhoven, Razenshteyn and Schmidt 2015, NIPS (family and its exponent;
///          pseudo-random rotations).
using cross_polytope = detail::drawn_family<detail::cross_polytope_kind>;

/// Probability that points at an angle have the same nearest vertex of a cross-polytope of `size`
/// coordinates whose coordinates are Gaussian: what that of cross_polytope tends to as the rotation widens.
///
/// Cost:    some 10 ms: tabulate it.
/// Error:   below 0.002 for angles of 0.1 and more (midpoint rules).
/// Ref:     derived here: twice `size` times the integral over u, v > 0 of the bivariate normal density
///          times P(|X| < u, |Y| < v)^(size - 1), correlation cos(angle).
[[nodiscard]] inline double cross_polytope_collision(double angle, std::size_t size) {
  if (!(angle >= 0 && angle <= std::numbers::pi) || size == 0)
    SKIM_THROW(invalid_input,
               detail::concat("cross_polytope_collision: got the angle ", angle, " and ", size,
                              " coordinates, wanted 0 to pi and some"));
  const double rho = std::cos(angle), s = std::sin(angle);
  if (s < 1e-9) return rho > 0 ? 1 : 0;
  const auto density = [](double z) {
    return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
  };
  const auto below = [](double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); };
  constexpr int steps_u = 60, steps_z = 40, steps_x = 40;
  constexpr double far = 7;
  double sum = 0;
  for (int i = 0; i < steps_u; ++i) {
    const double u = far * (i + 0.5) / steps_u;
    // v = rho u + s z, from 0 on
    const double low = std::max(-far, -rho * u / s);
    if (low >= far) continue;
    for (int j = 0; j < steps_z; ++j) {
      const double z = low + (far - low) * (j + 0.5) / steps_z, v = rho * u + s * z;
      double inside = 0;
      for (int k = 0; k < steps_x; ++k) {
        const double x = u * (k + 0.5) / steps_x;
        inside += density(x) * (below((v - rho * x) / s) - below((-v - rho * x) / s));
      }
      inside *= 2 * u / steps_x;  // the integrand is even in x
      sum += density(u) * density(z) * (far / steps_u) * ((far - low) / steps_z) *
             std::pow(std::min(inside, 1.0), static_cast<double>(size - 1));
    }
  }
  return std::min(1.0, 2 * static_cast<double>(size) * sum);
}

}  // namespace skim::inline v0
