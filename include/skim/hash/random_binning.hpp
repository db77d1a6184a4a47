// SPDX-License-Identifier: Apache-2.0
//
// The hash family of the Laplacian kernel: cells of random grids.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/detail/drawn_family.hpp"

namespace skim::inline v0 {

/// Sizes of a random_binning family.
struct random_binning_params {
  std::size_t dim = 1;     ///< d, coordinates of an input
  double bandwidth = 1;    ///< sigma: the kernel is exp(-|x - y|_1 / sigma)
  std::size_t bits = 32;   ///< of a code, 1 to 32; different cells meet with probability 2^-bits
  std::size_t hashes = 1;  ///< L, codes of an input
};

namespace detail {

/// Grids whose pitch in each coordinate is Gamma(2, sigma) distributed, shifted uniformly.
class random_grids {
 public:
  random_grids(const random_binning_params& p, const random_engine& engine)
      : dim_(p.dim),
        scales_(p.dim * p.hashes),
        shifts_(p.dim * p.hashes),
        code_(p.hashes, p.dim, p.bits, engine.child(1)) {
    const random_engine grids = engine.child(0);
    for (std::size_t h = 0; h < p.hashes; ++h) {
      random_engine g = grids.child(h);
      for (std::size_t k = 0; k < dim_; ++k) {
        const double pitch = p.bandwidth * (exponential(g) + exponential(g));
        scales_[h * dim_ + k] = static_cast<float>(std::min(1 / pitch, 1e30));
        shifts_[h * dim_ + k] = uniform_float(g);
      }
    }
  }

  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    auto frame = ws.frame();
    const auto cell = frame.template take<std::int32_t>(dim_);
    const std::size_t hashes = scales_.size() / dim_;
    for (std::size_t i = 0; i < x.rows(); ++i) {
      const float* const row = x.row(i).data();
      for (std::size_t h = 0; h < hashes; ++h) {
        const float* const scale = scales_.data() + h * dim_;
        const float* const shift = shifts_.data() + h * dim_;
        for (std::size_t k = 0; k < dim_; ++k) {
          const float at = std::clamp(row[k] * scale[k] + shift[k], -0x1p30f, 0x1p30f);
          const auto truncated = static_cast<std::int32_t>(at);
          cell[k] = truncated - (at < static_cast<float>(truncated) ? 1 : 0);
        }
        codes[i * hashes + h] = code_(h, cell.data());
      }
    }
  }

 private:
  std::size_t dim_;
  std::vector<float> scales_, shifts_;  // (hashes, dim)
  tuple_hashes code_;
};

struct random_binning_kind {
  using params = random_binning_params;
  using functions = random_grids;
  static constexpr std::string_view name = "random_binning";
  static constexpr bool exact_kernel = true;

  template <class P, class F>
  static void each(P& p, F f) {
    f(p.bandwidth);
    f(p.bits);
  }
  static void check(const params& p) {
    if (!(p.bandwidth > 0 && std::isfinite(p.bandwidth)))
      SKIM_THROW(invalid_params,
                 concat(name, ": got a bandwidth of ", p.bandwidth, ", wanted a positive number"));
    check_code_bits(name, p.bits);
  }
  static std::uint64_t numbers(const params& p) noexcept {
    return 3 * std::uint64_t{p.dim} * p.hashes;
  }
  static std::uint64_t range(const params& p) noexcept { return std::uint64_t{1} << p.bits; }
  static double collision(const params& p, std::span<const float> x, std::span<const float> y) {
    double distance = 0;
    for (std::size_t k = 0; k < x.size(); ++k)
      distance += std::abs(static_cast<double>(x[k]) - static_cast<double>(y[k]));
    return with_chance_collisions(std::exp(-distance / p.bandwidth), p.bits);
  }
};

}  // namespace detail

/// Cells of random grids: the hash family whose kernel is the Laplacian one, exp(-|x - y|_1 / sigma).
///
/// In each coordinate a hash has bins of a pitch of its own, Gamma(2, sigma) distributed, that begin at
/// a uniform place; a code is a hash of the d bins of a point. Points that differ by t in one coordinate
/// share its bin with probability E max(0, 1 - t / pitch) = exp(-t / sigma); coordinates multiply. Other
/// cells have the code with probability 2^-bits.
///
/// Shape:   x (dim) or X (n, dim), dense; codes (hashes) or (n, hashes), below 2^bits.
/// Memory:  16 dim bytes a hash.
/// Cost:    dim products, roundings and 64-bit products a hash.
/// Error:   the kernel is exact but for rounding: coordinates beyond 2^24 pitches lose bits, beyond 2^30
///          they share the last bin.
/// Threads: const after construction; one workspace a thread.
/// Seeds:   equal seeds give equal codes on all machines that round products alike.
/// Ref:     Rahimi and Recht 2007, NIPS, section 4 (random binning features).
using random_binning = detail::drawn_family<detail::random_binning_kind>;

}  // namespace skim::inline v0
