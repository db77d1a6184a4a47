// SPDX-License-Identifier: Apache-2.0
//
// What the counting sketches share: lazy decay, the walk over examples in blocks, input checks.
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

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/sketch/sketch.hpp"
#include "skim/table/counter_rows.hpp"

namespace skim::inline v0::detail {

// Examples side by side. More than 16, or compilers unroll the loops over them before they could make
// vectors of them.
inline constexpr std::size_t lanes = 32;
inline constexpr std::size_t row_chunk = 16;  // rows of cells at a time
inline constexpr std::size_t codes_ahead =
    2 * lanes;  // examples from a prefetch of codes to its use

// The largest magnitude that one insertion may add to a cell. A float sum of terms of at most M
// stops growing at 2^25 M, and stored values exceed true ones by at most 2^32 (lazy_scale, squared
// weights), so no cell can reach infinity: 2^(60 + 25 + 32) < 2^128.
inline constexpr double largest_term = 0x1p60;

// The factor between stored and true values. Decay changes the factor alone; when it becomes small,
// the owner multiplies the cells by it and starts again from 1, once in very many decays.
class lazy_scale {
 public:
  static constexpr double smallest = 0x1p-16;

  [[nodiscard]] double value() const noexcept { return value_; }
  [[nodiscard]] double inverse() const noexcept { return inverse_; }
  /// Whether the cells must be rescaled now.
  [[nodiscard]] bool multiply(double f) noexcept {
    set(value_ * f);
    return value_ < smallest;
  }
  void set(double v) noexcept {
    value_ = v;
    inverse_ = v > 0 ? 1 / v : 0;
  }

 private:
  double value_ = 1, inverse_ = 1;
};

inline void check_decay(std::string_view who, double f) {
  if (!(f >= 0 && f <= 1))
    SKIM_THROW(invalid_input, concat(who, ": got factor ", f, ", wanted one in [0, 1]"));
}

// Which rows of cached codes are meant: all in order, or those of a list.
template <class Code, bool Listed>
struct code_source {
  const cached_codes<Code>& of;
  std::span<const id_t> list;

  [[nodiscard]] std::size_t size() const noexcept {
    if constexpr (Listed) return list.size();
    return of.rows();
  }
  [[nodiscard]] SKIM_ALWAYS_INLINE std::size_t row(std::size_t i) const noexcept {
    if constexpr (Listed) return list[i];
    return i;
  }
  [[nodiscard]] SKIM_ALWAYS_INLINE const Code* codes(std::size_t i) const noexcept {
    return of.codes().data() + row(i) * of.codes().stride();
  }
  [[nodiscard]] SKIM_ALWAYS_INLINE label_t label(std::size_t i) const noexcept {
    return of.labels().empty() ? label_t{0} : of.labels()[row(i)];
  }
  // Rows of a catalogue are far from each other: ask for those of the block after the next.
  SKIM_ALWAYS_INLINE void prefetch(std::size_t first) const noexcept {
    if constexpr (Listed) {
      const std::size_t last = std::min(list.size(), first + lanes);
      for (std::size_t i = first; i < last; ++i) SKIM_PREFETCH(codes(i));
      if (!of.labels().empty())
        for (std::size_t i = first; i < last; ++i) SKIM_PREFETCH(of.labels().data() + list[i]);
    }
  }
  template <class Body>
  SKIM_ALWAYS_INLINE void with_addresses(const code_columns& columns, Body&& body) const {
    columns.with_addresses(body);
  }
};

// The same for cached columns, whose addresses only add the row.
template <bool Listed>
struct column_source {
  const cached_columns& of;
  std::span<const id_t> list;

  struct addresses {
    unsigned row_shift;

    [[nodiscard]] SKIM_ALWAYS_INLINE std::uint32_t base(label_t) const noexcept { return 0; }
    [[nodiscard]] SKIM_ALWAYS_INLINE std::uint32_t operator()(std::size_t r, std::uint16_t column,
                                                              std::uint32_t) const noexcept {
      return column + (static_cast<std::uint32_t>(r) << row_shift);
    }
  };

  [[nodiscard]] std::size_t size() const noexcept {
    if constexpr (Listed) return list.size();
    return of.rows();
  }
  [[nodiscard]] SKIM_ALWAYS_INLINE const std::uint16_t* codes(std::size_t i) const noexcept {
    if constexpr (Listed) return of.codes().data() + list[i] * of.codes().stride();
    return of.codes().data() + i * of.codes().stride();
  }
  [[nodiscard]] SKIM_ALWAYS_INLINE label_t label(std::size_t) const noexcept { return 0; }
  SKIM_ALWAYS_INLINE void prefetch(std::size_t first) const noexcept {
    if constexpr (Listed) {
      const std::size_t last = std::min(list.size(), first + lanes);
      for (std::size_t i = first; i < last; ++i) SKIM_PREFETCH(codes(i));
    }
  }
  template <class Body>
  SKIM_ALWAYS_INLINE void with_addresses(const code_columns& columns, Body&& body) const {
    body(addresses{static_cast<unsigned>(std::countr_zero(columns.width()))});
  }
};

// Cells of up to `lanes` examples and `row_chunk` rows: the addresses are computed in whole vectors and
// go through memory, which is cheaper than taking vectors apart.
class cell_block {
 public:
  template <class Source, class Address>
  SKIM_ALWAYS_INLINE void locate(const Source& source, std::size_t first, std::size_t count,
                                 std::size_t row, std::size_t some, Address address) noexcept {
    const auto fill = [&](auto width) {
      for (std::size_t e = 0; e < count; ++e) {
        const auto* SKIM_RESTRICT codes = source.codes(first + e) + row;
        const auto base = address.base(source.label(first + e));
        std::uint32_t* SKIM_RESTRICT at = at_[e].data();
        for (std::size_t k = 0; k < width(); ++k) at[k] = address(row + k, codes[k], base);
      }
    };
    switch (some) {  // constant trip counts: no remainders
      case 4:
        return fill([] { return std::size_t{4}; });
      case 8:
        return fill([] { return std::size_t{8}; });
      case 16:
        return fill([] { return std::size_t{16}; });
      default:
        return fill([some] { return some; });
    }
  }
  [[nodiscard]] SKIM_ALWAYS_INLINE const std::uint32_t* of(std::size_t e) const noexcept {
    return at_[e].data();
  }

 private:
  alignas(cache_line) std::array<std::array<std::uint32_t, row_chunk>, lanes> at_;
};

inline void check_list(std::string_view who, std::span<const id_t> list, std::size_t rows) {
  id_t worst = 0;
  for (const id_t i : list) worst = std::max(worst, i);
  if (worst >= rows && !list.empty())
    SKIM_THROW(invalid_input,
               concat(who, ": got row ", worst, " of ", rows, " rows of codes, wanted one below"));
}

// Throws invalid_input unless every code, label and list entry can be addressed.
template <class Code, bool Listed>
void check_codes(std::string_view who, const code_source<Code, Listed>& source,
                 const code_columns& columns, std::uint64_t labels) {
  const cached_codes<Code>& of = source.of;
  if (of.hashes() != columns.rows() && of.rows() != 0)
    SKIM_THROW(invalid_input,
               concat(who, ": got ", of.hashes(), " codes a row, wanted ", columns.rows()));
  if (of.rows() != 0 && of.largest_code() >= columns.range())
    SKIM_THROW(invalid_input, concat(who, ": got code ", of.largest_code(), ", wanted codes below ",
                                     columns.range()));
  if (of.largest_label() >= labels)
    SKIM_THROW(invalid_input,
               concat(who, ": got label ", of.largest_label(), ", wanted labels below ", labels));
  if constexpr (Listed) check_list(who, source.list, of.rows());
}
template <bool Listed>
void check_codes(std::string_view who, const column_source<Listed>& source,
                 const code_columns& columns, std::uint64_t) {
  const cached_columns& of = source.of;
  if (of.rows() != 0 && (of.hashes() != columns.rows() || of.largest() >= columns.width()))
    SKIM_THROW(invalid_input,
               concat(who, ": got ", of.hashes(), " columns a row up to ", of.largest(),
                      ", wanted ", columns.rows(), " below ", columns.width()));
  if constexpr (Listed) check_list(who, source.list, of.rows());
}

inline void check_count(std::string_view who, std::string_view what, std::size_t got,
                        std::size_t wanted) {
  if (got != wanted)
    SKIM_THROW(invalid_input, concat(who, ": got ", got, " ", what, ", wanted ", wanted));
}

inline void check_weights(std::string_view who, std::span<const float> weights) {
  bool sound = true;
  for (const float w : weights) sound &= w >= 0 && w <= 0x1p30f;
  if (sound) return;
  for (const float w : weights)
    if (!(w >= 0 && w <= 0x1p30f))
      SKIM_THROW(invalid_input, concat(who, ": got weight ", w, ", wanted one in [0, 2^30]"));
}

// Values that decay has made meaningless, before they slow every addition down as denormals.
[[nodiscard]] inline float without_denormals(float x) noexcept {
  return std::abs(x) < 0x1p-100f ? 0.0f : x;
}

// The largest magnitude a stored sum may have; see largest_term.
inline constexpr float largest_cell = 0x1p117f;

// Cells are plain floats, or structures of them.
template <class Cell>
using cell_floats = std::array<float, sizeof(Cell) / sizeof(float)>;

template <class Cell>
[[nodiscard]] inline bool sound_cell(const Cell& c) noexcept {
  bool sound = true;
  for (const float x : std::bit_cast<cell_floats<Cell>>(c)) sound &= std::abs(x) <= largest_cell;
  return sound;
}

// (sum + mean) / (weight + strength), or the same of squares. Leftovers of subtraction count as none.
template <class Cell>
[[nodiscard]] SKIM_ALWAYS_INLINE float shrunk(const Cell& c, bool first_moment, float strength,
                                              float mean) noexcept {
  float sum = c.sum;
  if constexpr (requires { c.square; }) sum = first_moment ? c.sum : c.square;
  return (sum + mean) / ((c.weight > 0 ? c.weight : 0.0f) + strength);
}

template <class Cell>
void put_cells(writer& out, std::span<const Cell> cells) {
  constexpr std::size_t n = sizeof(Cell) / sizeof(float);
  std::vector<float> flat;
  flat.reserve(cells.size() * n);
  for (const Cell& c : cells)
    for (const float x : std::bit_cast<cell_floats<Cell>>(c)) flat.push_back(x);
  out.put(std::span<const float>(flat));
}

template <class Cell>
void get_cells(reader& in, std::span<Cell> cells) {
  constexpr std::size_t n = sizeof(Cell) / sizeof(float);
  std::vector<float> flat(cells.size() * n);
  in.get_into(std::span<float>(flat));
  for (std::size_t i = 0; i < cells.size(); ++i) {
    cell_floats<Cell> c;
    std::copy_n(flat.begin() + static_cast<std::ptrdiff_t>(i * n), n, c.begin());
    cells[i] = std::bit_cast<Cell>(c);
    if (!sound_cell(cells[i])) in.fail("cell ", i, " of a sketch is not a sum it could hold");
  }
}

// Announced sizes against the bytes that remain, before anything is allocated for them.
inline void check_saved_size(const reader& in, std::size_t rows, std::size_t width,
                             std::size_t cell_bytes) {
  if (width == 0 || rows == 0 || rows > in.remaining() / cell_bytes / width)
    in.fail(rows, " rows of ", width, " cells are announced, ", in.remaining(), " bytes remain");
}

inline void get_scale(reader& in, lazy_scale& scale) {
  const auto value = in.get<double>();
  if (!(value >= lazy_scale::smallest && value <= 1))
    in.fail("a sketch has scale ", value, ", wanted one in [2^-16, 1]");
  scale.set(value);
}

// Parameters that a constructor rejects are, in saved bytes, a matter of format.
template <class Build>
[[nodiscard]] auto built_or_format_error([[maybe_unused]] const reader& in, Build build) {
#if defined(__cpp_exceptions)
  try {
    return build();
  } catch (const invalid_params& e) {
    in.fail(e.what());
  }
#else
  return build();
#endif
}

}  // namespace skim::inline v0::detail
