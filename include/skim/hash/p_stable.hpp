// SPDX-License-Identifier: Apache-2.0
//
// Hash families for the Euclidean and the Manhattan distance: bins along random lines.
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
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/detail/drawn_family.hpp"
#include "skim/linalg/projection.hpp"

namespace skim::inline v0 {

/// Sizes of a p-stable family.
struct p_stable_params {
  std::size_t dim = 1;   ///< d, coordinates of an input
  double width = 1;      ///< w, of a bin, in the distance's unit; about the distance of near points
  std::size_t bins = 1;  ///< K, bins that make one code, along as many lines
  std::size_t bits = 32;   ///< of a code, 1 to 32; different bins meet with probability 2^-bits
  std::size_t hashes = 1;  ///< L, codes of an input
};

namespace detail {

/// Probability that points at distance r w fall into one bin of width w along a Gaussian line.
[[nodiscard]] inline double euclidean_bin_collision(double r) noexcept {
  if (r == 0) return 1;
  const double t = 1 / r;
  if (t == 0) return 0;
  // 1 - 2 Phi(-t) is erf(t / sqrt 2); expm1 keeps the difference where t is small.
  const double p = std::erf(t / std::numbers::sqrt2) +
                   std::sqrt(2 / std::numbers::pi) / t * std::expm1(-t * t / 2);
  return std::clamp(p, 0.0, 1.0);
}

/// The same along a Cauchy line, r in the Manhattan distance.
[[nodiscard]] inline double manhattan_bin_collision(double r) noexcept {
  if (r == 0) return 1;
  const double t = 1 / r;
  if (t == 0) return 0;
  const double log = std::isfinite(t * t) ? std::log1p(t * t) : 2 * std::log(t);
  return std::clamp((2 * std::atan(t) - log / t) / std::numbers::pi, 0.0, 1.0);
}

struct gaussian_lines {
  static constexpr std::string_view name = "euclidean_p_stable";
  static float draw(random_engine& g) noexcept { return static_cast<float>(normal(g)); }
  static double collision(std::span<const float> x, std::span<const float> y,
                          double width) noexcept {
    double sum = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      const double off = static_cast<double>(x[k]) - static_cast<double>(y[k]);
      sum += off * off;
    }
    return euclidean_bin_collision(std::sqrt(sum) / width);
  }
};

struct cauchy_lines {
  static constexpr std::string_view name = "manhattan_p_stable";
  static float draw(random_engine& g) noexcept {
    const double a = normal(g);
    double b = normal(g);
    while (b == 0) b = normal(g);
    return static_cast<float>(a / b);
  }
  static double collision(std::span<const float> x, std::span<const float> y,
                          double width) noexcept {
    double sum = 0;
    for (std::size_t k = 0; k < x.size(); ++k)
      sum += std::abs(static_cast<double>(x[k]) - static_cast<double>(y[k]));
    return manhattan_bin_collision(sum / width);
  }
};

/// Whether a bin is a code as it stands.
[[nodiscard]] inline bool bins_are_codes(const p_stable_params& p) noexcept {
  return p.bins == 1 && p.bits == 32;
}

/// What is drawn of a p-stable family: lines divided by the bin width, so that a bin is one wide, and
/// where on them bins begin.
template <class Lines>
class stable_bins {
 public:
  stable_bins(const p_stable_params& p, const random_engine& engine)
      : bins_(p.bins),
        plain_(bins_are_codes(p)),
        lines_(p.bins * p.hashes, p.dim),
        offsets_(lines_.panels() * panel_width),
        code_(p.hashes, p.bins, p.bits, engine.child(1)) {
    const random_engine lines = engine.child(0);
    const auto scale = static_cast<float>(1 / p.width);
    for (std::size_t o = 0; o < lines_.outputs(); ++o) {
      random_engine g = lines.child(o);
      offsets_[o] = uniform_float(g);
      for (std::size_t k = 0; k < p.dim; ++k) lines_(o, k) = Lines::draw(g) * scale;
    }
  }

  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    if (plain_ && stride() == hashes()) {
      project(
          x, lines_,
          floor_epilogue{reinterpret_cast<std::int32_t*>(codes.data()), stride(), offsets_.data()});
      return;
    }
    constexpr std::size_t block = 64;  // whose bins stay in the first cache until they are codes
    auto frame = ws.frame();
    const auto bins = frame.template take<std::int32_t>(std::min(block, x.rows()) * stride());
    for (std::size_t first = 0; first < x.rows(); first += block) {
      const std::size_t count = std::min(block, x.rows() - first);
      project(x.rows(first, count), lines_, floor_epilogue{bins.data(), stride(), offsets_.data()});
      for (std::size_t i = 0; i < count; ++i)
        to_codes(bins.data() + i * stride(), codes.subspan((first + i) * hashes(), hashes()));
    }
  }
  void hash(sparse_row x, std::span<code_t> codes, workspace& ws) const {
    auto frame = ws.frame();
    const auto bins = frame.template take<std::int32_t>(stride());
    project(x, 0, lines_, floor_epilogue{bins.data(), stride(), offsets_.data()});
    to_codes(bins.data(), codes);
  }

 private:
  [[nodiscard]] std::size_t hashes() const noexcept { return lines_.outputs() / bins_; }
  [[nodiscard]] std::size_t stride() const noexcept { return offsets_.size(); }
  void to_codes(const std::int32_t* bins, std::span<code_t> codes) const noexcept {
    if (plain_) {
      std::copy_n(bins, codes.size(), codes.begin());
      return;
    }
    for (std::size_t h = 0; h < codes.size(); ++h) codes[h] = code_(h, bins + h * bins_);
  }

  std::size_t bins_;
  bool plain_;
  panel_matrix lines_;
  std::vector<float> offsets_;
  tuple_hashes code_;
};

template <class Lines>
struct p_stable_kind {
  using params = p_stable_params;
  using functions = stable_bins<Lines>;
  static constexpr std::string_view name = Lines::name;
  static constexpr bool exact_kernel = true;

  template <class P, class F>
  static void each(P& p, F f) {
    f(p.width);
    f(p.bins);
    f(p.bits);
  }
  static void check(const params& p) {
    if (!(p.width > 0 && std::isfinite(p.width)))
      SKIM_THROW(invalid_params,
                 concat(name, ": got a bin width of ", p.width, ", wanted a positive number"));
    if (p.bins < 1 || p.bins > 1024)
      SKIM_THROW(invalid_params,
                 concat(name, ": got ", p.bins, " bins to a code, wanted 1 to 1024"));
    check_code_bits(name, p.bits);
  }
  // At most 2^10 times the product of two sizes that are at most 2^30 each.
  static std::uint64_t numbers(const params& p) noexcept {
    return p.dim > (std::uint64_t{1} << 31) / p.hashes ? std::uint64_t{1} << 40
                                                       : p.dim * p.hashes * p.bins;
  }
  static std::uint64_t range(const params& p) noexcept { return std::uint64_t{1} << p.bits; }
  static double collision(const params& p, std::span<const float> x, std::span<const float> y) {
    const double one = Lines::collision(x, y, p.width);
    if (bins_are_codes(p)) return one;
    return with_chance_collisions(std::pow(one, static_cast<double>(p.bins)), p.bits);
  }
};

}  // namespace detail

/// Bins along Gaussian lines: the hash family of the Euclidean distance.
///
/// Bin j of x is floor(<a_j, x> / w + b_j), a_j standard Gaussian and b_j uniform in [0, 1); a code is
/// a hash of K bins. Points at distance c share a bin with probability
///   erf(t / sqrt 2) - sqrt(2 / pi) / t (1 - exp(-t^2 / 2)),   t = w / c,
/// and a code with that to the power of K (and else with probability 2^-bits; never for one bin of 32 bits).
///
/// Shape:   x (dim) or X (n, dim), dense or CSR; codes (hashes) or (n, hashes), below 2^bits.
/// Memory:  4 dim bytes a bin.
/// Cost:    dim FMAs a bin, register-tiled over a batch; in proportion to the nonzeros for CSR rows.
/// Error:   the kernel is exact up to the rounding of float sums. Points further than 2^30 w from the
///          origin along a line share its last bin.
/// Threads: const after construction; one workspace a thread.
/// Seeds:   equal seeds give equal codes on all machines with FMA.
/// Ref:     Datar, Immorlica, Indyk and Mirrokni 2004, SoCG, section 3.
using euclidean_p_stable = detail::drawn_family<detail::p_stable_kind<detail::gaussian_lines>>;

/// Bins along Cauchy lines: the hash family of the Manhattan distance.
///
/// As euclidean_p_stable with a_j of independent Cauchy numbers: points at distance c share a bin with
/// probability (2 atan(t) - log(1 + t^2) / t) / pi, t = w / c. Cauchy numbers have no variance: far points
/// collide more often than with random_binning, which is exact for the same distance but costs more.
using manhattan_p_stable = detail::drawn_family<detail::p_stable_kind<detail::cauchy_lines>>;

}  // namespace skim::inline v0
