// SPDX-License-Identifier: Apache-2.0
//
// The hash family of rankings: which of a few coordinates is the largest.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/detail/densify.hpp"
#include "skim/hash/detail/drawn_family.hpp"
#include "skim/linalg/winners.hpp"

namespace skim::inline v0 {

/// Sizes of a winner_take_all family.
struct winner_take_all_params {
  std::size_t dim = 1;      ///< d, coordinates of an input
  std::size_t window = 8;   ///< coordinates that compete, a power of two, 2 to 64
  std::size_t windows = 1;  ///< K, windows that make one code; K log2(window) is at most 32
  std::size_t hashes = 1;   ///< L, codes of an input
};

namespace detail {

/// Windows of coordinates: permutations cut into pieces, so that windows of one permutation are
/// disjoint.
class coordinate_windows {
 public:
  coordinate_windows(const winner_take_all_params& p, const random_engine& engine)
      : dim_(p.dim),
        in_code_(p.windows),
        width_(std::min(p.window, p.dim)),
        bits_(static_cast<unsigned>(std::countr_zero(p.window))),
        windows_(p.windows * p.hashes),
        seed_(engine.child(1)()) {
    const std::size_t each = dim_ / width_;  // windows of a permutation
    permutations_ = (windows_ + each - 1) / each;
    coordinates_.resize(windows_ * width_);
    places_.assign(dim_ * permutations_, nowhere);
    std::vector<id_t> order(dim_);
    for (std::size_t k = 0; k < dim_; ++k) order[k] = static_cast<id_t>(k);
    const random_engine permuted = engine.child(0);
    for (std::size_t t = 0; t < permutations_; ++t) {
      random_engine g = permuted.child(t);
      shuffle(std::span<id_t>(order), g);
      for (std::size_t i = 0; i < each * width_; ++i) {
        const std::size_t window = t * each + i / width_;
        if (window >= windows_) break;
        coordinates_[window * width_ + i % width_] = order[i];
        places_[order[i] * permutations_ + t] =
            static_cast<std::uint32_t>(window * max_window + i % width_);
      }
    }
  }

  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    auto frame = ws.frame();
    const auto columns = frame.template take<float>(dim_ * winner_rows);
    const auto winners = frame.template take<std::uint8_t>(windows_ * winner_rows);
    for (std::size_t first = 0; first < x.rows(); first += winner_rows) {
      const std::size_t count = std::min(winner_rows, x.rows() - first);
      // One or two rows are not worth the transposition.
      if (count > 2)
        window_winners(x.rows(first, count), std::span<const id_t>(coordinates_), width_,
                       columns.data(), winners.data());
      for (std::size_t i = 0; i < count; ++i) {
        if (count <= 2)
          row_winners(x.row(first + i).data(), std::span<const id_t>(coordinates_), width_,
                      winners.data() + i * windows_);
        to_codes(winners.data() + i * windows_, codes.subspan((first + i) * hashes(), hashes()));
      }
    }
  }

  void hash(sparse_row x, std::span<code_t> codes, workspace& ws) const {
    auto frame = ws.frame();
    const auto best = frame.template take<float>(windows_);
    const auto winners = frame.template take<std::uint8_t>(windows_);
    std::fill(best.begin(), best.end(), 0.0f);
    std::fill(winners.begin(), winners.end(), no_winner);
    for (std::size_t i = 0; i < x.nonzeros(); ++i) {
      const float value = x.values[i];
      if (value == 0) continue;
      const std::uint32_t* const at = places_.data() + std::size_t{x.indices[i]} * permutations_;
      for (std::size_t t = 0; t < permutations_; ++t) {
        if (at[t] == nowhere) continue;
        const std::size_t window = at[t] / max_window;
        const auto place = static_cast<std::uint8_t>(at[t] % max_window);
        const std::uint8_t held = winners[window];
        if (held == no_winner || value > best[window] || (value == best[window] && place < held)) {
          best[window] = value;
          winners[window] = place;
        }
      }
    }
    to_codes(winners.data(), codes);
  }

 private:
  static constexpr std::size_t max_window = 64;
  static constexpr std::uint32_t nowhere = ~std::uint32_t{0};

  [[nodiscard]] std::size_t hashes() const noexcept { return windows_ / in_code_; }

  void to_codes(const std::uint8_t* winners, std::span<code_t> codes) const noexcept {
    const auto is_empty = [&](std::size_t w) { return winners[w] == no_winner; };
    for (std::size_t h = 0; h < codes.size(); ++h) {
      code_t code = 0;
      for (std::size_t w = h * in_code_; w < (h + 1) * in_code_; ++w) {
        const std::uint8_t winner = winners[w];
        const code_t place = winner != no_winner ? winner : borrowed(winners, w, is_empty);
        code = code << bits_ | place;
      }
      codes[h] = code;
    }
  }
  template <class IsEmpty>
  [[nodiscard]] code_t borrowed(const std::uint8_t* winners, std::size_t w,
                                IsEmpty is_empty) const noexcept {
    const std::size_t from = lender(w, windows_, seed_, is_empty);
    return from < windows_ ? winners[from] : 0;
  }

  std::size_t dim_, in_code_, width_;
  unsigned bits_;
  std::size_t windows_, permutations_ = 0;
  std::uint64_t seed_;
  std::vector<id_t> coordinates_;      // (windows, width)
  std::vector<std::uint32_t> places_;  // (dim, permutations): window and place in it
};

struct winner_take_all_kind {
  using params = winner_take_all_params;
  using functions = coordinate_windows;
  static constexpr std::string_view name = "winner_take_all";
  static constexpr bool exact_kernel = false;

  template <class P, class F>
  static void each(P& p, F f) {
    f(p.window);
    f(p.windows);
  }
  static std::size_t place_bits(const params& p) noexcept {
    return static_cast<std::size_t>(std::countr_zero(p.window));
  }
  static void check(const params& p) {
    if (p.window < 2 || p.window > 64 || !std::has_single_bit(p.window))
      SKIM_THROW(invalid_params, concat(name, ": got windows of ", p.window,
                                        ", wanted a power of two from 2 to 64"));
    if (p.windows < 1 || p.windows > 32 || p.windows * place_bits(p) > 32)
      SKIM_THROW(invalid_params, concat(name, ": got ", p.windows, " windows of ", p.window,
                                        " to a code, wanted at most 32 bits in all"));
    if (p.hashes > (std::size_t{1} << 25) / p.windows)
      SKIM_THROW(invalid_params, concat(name, ": got ", p.hashes, " hashes of ", p.windows,
                                        " windows, wanted at most 2^25 windows"));
  }
  static std::uint64_t numbers(const params& p) noexcept {
    const std::uint64_t each = p.dim / std::min(p.window, p.dim);
    const std::uint64_t permutations = (p.windows * p.hashes + each - 1) / each;
    return permutations * p.dim + p.windows * p.hashes * p.window;
  }
  static std::uint64_t range(const params& p) noexcept {
    return std::uint64_t{1} << (p.windows * place_bits(p));
  }
};

}  // namespace detail

/// Places of the largest of a few coordinates: the hash family of rankings.
///
/// Each of the K windows of a hash looks at `window` coordinates drawn without replacement and gives the
/// place of the largest among those that are not zero; a code is K places. Windows without nonzeros
/// borrow the place of another window (densification). Codes do not change when an increasing function
/// that keeps zero is applied to all coordinates.
///
/// Shape:   x (dim) or X (n, dim), dense or CSR; codes (hashes) or (n, hashes), below window^windows. With
///          fewer coordinates than `window` all of them compete.
/// Memory:  4 dim bytes a permutation, of which one serves dim / window windows, and 4 bytes a coordinate
///          of a window.
/// Cost:    dense: a comparison a coordinate of a window, eight rows at a time; CSR: a comparison for each
///          nonzero and permutation.
/// Error:   ranking_kernel() is the collision probability for points without zeros and ties; there is
///          none in closed form for sparse ones.
/// Threads: const after construction; one workspace a thread.
/// Seeds:   equal seeds give equal codes on every platform.
/// Ref:     Yagnik, Strelow, Ross and Lin 2011, ICCV (winner take all); Chen and Shrivastava 2018, UAI
///          (densified); Shrivastava 2017, ICML (whom to borrow from).
using winner_take_all = detail::drawn_family<detail::winner_take_all_kind>;

/// Probability that one hash of a winner_take_all family gives x and y the same code, if no coordinate is
/// zero and neither point has equal ones: coordinate i wins for both in C(s_i, m - 1) of the C(d, m)
/// windows of m coordinates, s_i being how many are smaller than coordinate i in both points.
///
/// Throws invalid_input for points that are not such, or of another length than dim. Cost: O(dim^2).
[[nodiscard]] inline double ranking_kernel(const winner_take_all_params& p,
                                           std::span<const float> x, std::span<const float> y) {
  using detail::winner_take_all_kind;
  for (const auto point : {x, y}) {
    detail::check_point(winner_take_all_kind::name, point, p.dim);
    std::vector<float> sorted(point.begin(), point.end());
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end() ||
        std::find(sorted.begin(), sorted.end(), 0.0f) != sorted.end())
      SKIM_THROW(invalid_input, detail::concat(winner_take_all_kind::name,
                                               ": got a point with zeros or ties, wanted neither"));
  }
  const std::size_t m = std::min(p.window, p.dim);
  double one = 0;
  for (std::size_t i = 0; i < p.dim; ++i) {
    std::size_t smaller = 0;
    for (std::size_t j = 0; j < p.dim; ++j) smaller += x[j] < x[i] && y[j] < y[i] ? 1u : 0u;
    // C(s, m - 1) / C(d, m) = m / d times the product of (s - t) / (d - 1 - t) for t < m - 1
    double share = static_cast<double>(m) / static_cast<double>(p.dim);
    for (std::size_t t = 0; t + 1 < m; ++t)
      share *=
          smaller > t ? static_cast<double>(smaller - t) / static_cast<double>(p.dim - 1 - t) : 0.0;
    one += share;
  }
  return std::pow(std::min(one, 1.0), static_cast<double>(p.windows));
}

}  // namespace skim::inline v0
