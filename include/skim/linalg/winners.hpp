// SPDX-License-Identifier: Apache-2.0
//
// Places of the largest of a few coordinates, for eight rows at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// Rows that window_winners() takes at a time.
inline constexpr std::size_t winner_rows = 8;
/// The winner of a window that holds zeros only.
inline constexpr std::uint8_t no_winner = 255;

/// Place of the largest nonzero coordinate in each window, the first of equal ones, of one row.
///
/// Shape:   coordinates (windows, width), below the row's length; winners (windows). width < 255.
template <class Coordinate>
inline void row_winners(const float* row, std::span<const Coordinate> coordinates,
                        std::size_t width, std::uint8_t* winners) noexcept {
  const std::size_t windows = coordinates.size() / width;
  for (std::size_t w = 0; w < windows; ++w) {
    const Coordinate* const of = coordinates.data() + w * width;
    float best = -std::numeric_limits<float>::infinity();
    std::uint8_t winner = no_winner;
    for (std::size_t j = 0; j < width; ++j) {
      const float value = row[of[j]];
      const bool wins = value > best && value != 0;
      best = wins ? value : best;
      winner = wins ? static_cast<std::uint8_t>(j) : winner;
    }
    winners[w] = winner;
  }
}

/// The same for at most eight rows at a time.
///
/// Shape:   x (at most 8, d); winners (rows, windows); columns: room for 8 d floats.
/// Cost:    a load, a comparison and two selections for eight rows a coordinate of a window, and the
///          transposition of the rows.
template <class Coordinate, class Arch = simd::default_arch>
inline void window_winners(matrix_view<const float> x, std::span<const Coordinate> coordinates,
                           std::size_t width, float* columns, std::uint8_t* winners) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t packs = winner_rows / std::min(winner_rows, pack::size);
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  const std::size_t rows = x.rows(), windows = coordinates.size() / width;
  SKIM_EXPECTS(rows > 0 && rows <= winner_rows);
  // Zeros take no part. Rows that are missing repeat the last.
  std::array<const float*, winner_rows> row;
  for (std::size_t i = 0; i < winner_rows; ++i) row[i] = x.row(std::min(i, rows - 1)).data();
  for (std::size_t k = 0; k < x.cols(); ++k)
    for (std::size_t i = 0; i < winner_rows; ++i) {
      const float value = row[i][k];
      columns[winner_rows * k + i] = value != 0 ? value : lowest;
    }
  for (std::size_t w = 0; w < windows; ++w) {
    const Coordinate* const of = coordinates.data() + w * width;
    alignas(32) std::array<float, winner_rows> place;
    for (std::size_t v = 0; v < packs; ++v) {
      pack best = pack::broadcast(lowest), at = pack::broadcast(no_winner);
      for (std::size_t j = 0; j < width; ++j) {
        const pack value = pack::load(columns + winner_rows * of[j] + v * pack::size);
        at = simd::where_greater(value, best, pack::broadcast(static_cast<float>(j)), at);
        best = simd::max(value, best);
      }
      at.store(place.data() + v * pack::size);
    }
    for (std::size_t i = 0; i < rows; ++i)
      winners[i * windows + w] = static_cast<std::uint8_t>(place[i]);
  }
}

}  // namespace skim::inline v0
