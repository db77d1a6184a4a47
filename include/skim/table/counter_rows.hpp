// SPDX-License-Identifier: Apache-2.0
//
// Rows of counters addressed by hash codes: the storage of RACE and of kernel regression, and the
// map from a (code, label) pair to the cell that counts it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0 {

/// Integers that hash codes are kept in: code_t as hashed, 16 bits where a catalogue caches them.
template <class T>
concept code_integer = std::is_same_v<T, std::uint16_t> || std::is_same_v<T, code_t>;

/// Maps the r-th code of a point, and its label, to a column of row r.
///
/// The key is code + range * label. If all range * labels keys fit into a row, the column is the key
/// (exact()). Otherwise row r hashes it by multiply-shift, a key -> top bits of (a_r key + b_r), with
/// a_r and b_r drawn uniformly at a word length of at least key bits + column bits - 1: two distinct
/// keys then share a column with probability exactly 1/width, which is what debiasing subtracts.
///
/// Shape:   codes (rows) below `range`, label below `labels`; cells are row * width + column.
/// Memory:  8 or 16 bytes a row.
/// Cost:    one multiplication a row, vectorised over rows.
/// Error:   none when exact(), else collisions as above.
/// Threads: immutable: any number at once.
/// Seeds:   equal seeds and sizes give equal columns on every platform.
/// Ref:     Dietzfelbinger 1996, STACS (strongly universal multiply-shift).
class code_columns {
 public:
  /// Throws invalid_params unless width is a power of two of at least 2, rows * width < 2^32, range
  /// and labels at least 1, and the keys fit into the 64-bit hash.
  code_columns(std::size_t rows, std::size_t width, std::uint64_t range, std::uint64_t labels,
               seed s)
      : rows_(rows), width_(width), range_(range), labels_(labels) {
    if (width < 2 || !std::has_single_bit(width) || rows == 0 ||
        width > std::numeric_limits<std::uint32_t>::max() / rows) {
      SKIM_THROW(invalid_params,
                 detail::concat("code_columns: got ", rows, " rows of width ", width,
                                ", wanted at least one row, a power of two of at least 2, and "
                                "fewer than 2^32 cells in all"));
    }
    if (range == 0 || labels == 0 || range > (std::uint64_t{1} << 32) ||
        labels > (std::uint64_t{1} << 31)) {
      SKIM_THROW(invalid_params, detail::concat("code_columns: got ", range, " codes and ", labels,
                                                " labels, wanted 1 to 2^32 and 1 to 2^31"));
    }
    bits_ = static_cast<unsigned>(std::countr_zero(width));
    const unsigned key_bits = static_cast<unsigned>(std::bit_width(range * labels - 1));
    if (key_bits + bits_ > 65) {
      SKIM_THROW(invalid_params, detail::concat("code_columns: got ", range, " codes x ", labels,
                                                " labels for width ", width, ", wanted at most 2^",
                                                65 - bits_, " pairs"));
    }
    exact_ = range * labels <= width;
    narrow_ = exact_ || key_bits + bits_ <= 33;
    random_engine g{s};
    if (narrow_) {
      narrow_multiplier_.assign(rows, std::uint32_t{1} << (32 - bits_));  // exact: a plain shift
      narrow_offset_.assign(rows, 0);
      for (std::size_t r = 0; r < rows && !exact_; ++r) {
        narrow_multiplier_[r] = static_cast<std::uint32_t>(g() >> 32);
        narrow_offset_[r] = static_cast<std::uint32_t>(g() >> 32);
      }
    } else {
      multiplier_.resize(rows);
      offset_.resize(rows);
      for (std::size_t r = 0; r < rows; ++r) {
        multiplier_[r] = g();
        offset_[r] = g();
      }
    }
  }

  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
  [[nodiscard]] std::size_t width() const noexcept { return width_; }
  [[nodiscard]] std::uint64_t range() const noexcept { return range_; }
  [[nodiscard]] std::uint64_t labels() const noexcept { return labels_; }
  /// Whether distinct keys of a row never share a column.
  [[nodiscard]] bool exact() const noexcept { return exact_; }

  /// Column of one key in row r. Pre: r < rows().
  [[nodiscard]] std::uint32_t column(std::size_t r, std::uint64_t code,
                                     std::uint64_t label) const noexcept {
    SKIM_EXPECTS(r < rows_);
    const std::uint64_t key = code + range_ * label;
    if (narrow_)
      return (static_cast<std::uint32_t>(key) * narrow_multiplier_[r] + narrow_offset_[r]) >>
             (32 - bits_);
    return static_cast<std::uint32_t>((key * multiplier_[r] + offset_[r]) >> (64 - bits_));
  }

  /// Replaces codes, rows() of each point, by their columns: what no longer needs the labels and a
  /// multiplication to be found. labels (points) or empty: all 0. Pre: width() <= 65536.
  void to_columns(std::span<std::uint16_t> codes, std::span<const label_t> labels) const {
    SKIM_EXPECTS(width_ <= 65536 && codes.size() % rows_ == 0);
    const std::size_t points = codes.size() / rows_;
    SKIM_EXPECTS(labels.empty() || labels.size() == points);
    with_addresses([&](auto address) {
      const auto replace = [&](auto rows) {
        for (std::size_t i = 0; i < points; ++i) {
          const auto base = address.base(labels.empty() ? 0 : labels[i]);
          std::uint16_t* const at = codes.data() + i * rows();
          for (std::size_t r = 0; r < rows(); ++r)
            at[r] = static_cast<std::uint16_t>(address.column(r, at[r], base));
        }
      };
      if (rows_ == 4)  // a constant trip count: no remainder
        replace([] { return std::size_t{4}; });
      else
        replace([this] { return rows_; });
    });
  }

  /// Calls body(address), where address.base(label) is a label's part of the key and
  /// address(r, code, base) the cell row * width + column. For hot loops: what does not change is
  /// decided outside. Codes beyond range() give some cell of row r, so memory is safe whatever they
  /// are.
  template <class Body>
  SKIM_ALWAYS_INLINE void with_addresses(Body&& body) const {
    if (narrow_) {
      body(addresses<std::uint32_t>{narrow_multiplier_.data(), narrow_offset_.data(), range_,
                                    32 - bits_, bits_});
    } else {
      body(addresses<std::uint64_t>{multiplier_.data(), offset_.data(), range_, 64 - bits_, bits_});
    }
  }

  /// Cells of all rows, given the codes of one point. Pre: rows() of each.
  template <code_integer Code>
  void locate(const Code* codes, std::uint64_t label, std::span<std::uint32_t> cells) const {
    SKIM_EXPECTS(cells.size() == rows_);
    with_addresses([&](auto address) {
      const auto base = address.base(label);
      for (std::size_t r = 0; r < cells.size(); ++r) cells[r] = address(r, codes[r], base);
    });
  }

 private:
  template <class Word>
  struct addresses {
    const Word* multiplier;
    const Word* offset;
    std::uint64_t range;
    unsigned shift, row_shift;

    [[nodiscard]] SKIM_ALWAYS_INLINE Word base(std::uint64_t label) const noexcept {
      return static_cast<Word>(range * label);
    }
    [[nodiscard]] SKIM_ALWAYS_INLINE std::uint32_t column(std::size_t r, code_t code,
                                                          Word base) const noexcept {
      const Word key = code + base;
      return static_cast<std::uint32_t>((key * multiplier[r] + offset[r]) >> shift);
    }
    [[nodiscard]] SKIM_ALWAYS_INLINE std::uint32_t operator()(std::size_t r, code_t code,
                                                              Word base) const noexcept {
      return column(r, code, base) + (static_cast<std::uint32_t>(r) << row_shift);
    }
  };

  std::size_t rows_, width_;
  std::uint64_t range_, labels_;
  unsigned bits_ = 0;
  bool exact_ = false, narrow_ = false;
  std::vector<std::uint32_t> narrow_multiplier_, narrow_offset_;
  std::vector<std::uint64_t> multiplier_, offset_;
};

/// R rows of W accumulators on cache lines.
///
/// Shape:   cell (r, c) at cells()[r * width() + c]; W is a power of two.
/// Memory:  R * W * sizeof(Cell).
/// Cost:    O(1) for every member but the constructor and copies.
/// Threads: const members may run at once; writers need exclusive access.
/// Ref:     Coleman and Shrivastava 2020, WWW (arrays of counts).
///
/// @tparam Cell  trivially copyable accumulator; a value-initialised one is empty
template <class Cell>
class counter_rows {
 public:
  static_assert(std::is_trivially_copyable_v<Cell> && std::is_standard_layout_v<Cell>);

  /// Throws invalid_params unless rows > 0 and width is a power of two.
  counter_rows(std::size_t rows, std::size_t width) : rows_(rows), width_(width) {
    if (rows == 0 || !std::has_single_bit(width) ||
        width > std::numeric_limits<std::uint32_t>::max() / rows) {
      SKIM_THROW(invalid_params,
                 detail::concat("counter_rows: got ", rows, " rows of width ", width,
                                ", wanted at least one row of a power of two, and fewer than 2^32 "
                                "cells in all"));
    }
    cells_.resize(rows * width);
  }

  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
  [[nodiscard]] std::size_t width() const noexcept { return width_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return cells_.size() * sizeof(Cell); }

  [[nodiscard]] std::span<Cell> cells() noexcept { return cells_; }
  [[nodiscard]] std::span<const Cell> cells() const noexcept { return cells_; }

  /// Row r. Pre: r < rows().
  [[nodiscard]] std::span<const Cell> row(std::size_t r) const noexcept {
    SKIM_EXPECTS(r < rows_);
    return cells().subspan(r * width_, width_);
  }

 private:
  std::size_t rows_, width_;
  aligned_vector<Cell> cells_;
};

}  // namespace skim::inline v0
