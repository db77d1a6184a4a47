// SPDX-License-Identifier: Apache-2.0
//
// What a sketch is: concepts, and the way cached hash codes are handed to one.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/table/counter_rows.hpp"

namespace skim::inline v0 {

/// Summary of a weighted stream whose size does not grow with the stream.
///
/// total_weight()  sum of the weights inserted, decayed and merged alike.
/// decay(f)        multiplies every weight seen so far by f in [0, 1].
/// fingerprint()   equal for sketches that can be merged.
/// clear()         back to the empty stream.
/// save(), load()  portable little-endian image; load(save(s)) has the same bytes.
template <class S>
concept streaming_sketch = std::copy_constructible<S> &&
    requires(S& s, const S& c, writer& out, reader& in, double f) {
  { c.total_weight() }
  noexcept->std::same_as<double>;
  { c.fingerprint() }
  noexcept->std::same_as<std::uint64_t>;
  { s.decay(f) } -> std::same_as<void>;
  { s.clear() }
  noexcept->std::same_as<void>;
  { c.save(out) } -> std::same_as<void>;
  { S::load(in) } -> std::same_as<S>;
};

/// A streaming_sketch that is a linear function of the stream's weights: merge() of two equals the
/// sketch of both streams, subtract() takes a part away again, and decay() distributes over both; in
/// floating point up to the rounding of sums. Throws merge_error unless compatible().
template <class S>
concept linear_sketch = streaming_sketch<S> && requires(S& s, const S& other) {
  { s.merge(other) } -> std::same_as<void>;
  { s.subtract(other) } -> std::same_as<void>;
  { other.compatible(other) }
  noexcept->std::same_as<bool>;
};

/// Hash codes of a batch or a catalogue, computed earlier by the sketch's own family, and the labels
/// of its rows.
///
/// 16 bits a code hold up to 2^16 values and halve what a lookup reads: 8 bytes an example for four
/// hashes. The largest code and label are found once, here, so that later calls need not look for
/// impossible ones: construct it anew when what it views has changed.
///
/// Shape:   codes (n, hashes), each below the family's range(); labels (n), or empty: all 0.
/// Memory:  none of its own; what it views must outlive it.
/// Cost:    construction one pass over codes and labels, in whole vectors; copies O(1).
/// Threads: as a pointer: it neither owns nor locks what it points to.
/// Ref:     none: a view.
template <code_integer Code>
class cached_codes {
 public:
  /// Throws invalid_input unless there are no labels or one a row.
  explicit cached_codes(matrix_view<const Code> codes, std::span<const label_t> labels = {})
      : codes_(codes), labels_(labels) {
    if (!labels.empty() && labels.size() != codes.rows())
      SKIM_THROW(invalid_input, detail::concat("cached_codes: got ", labels.size(), " labels for ",
                                               codes.rows(), " rows, wanted as many or none"));
    if (codes.stride() == codes.cols()) {
      largest_code_ = largest<Code>({codes.data(), codes.rows() * codes.cols()});
    } else {
      for (std::size_t i = 0; i < codes.rows(); ++i)
        largest_code_ = std::max(largest_code_, largest<Code>(codes.row(i)));
    }
    largest_label_ = largest<label_t>(labels);
  }

  [[nodiscard]] const matrix_view<const Code>& codes() const noexcept { return codes_; }
  [[nodiscard]] std::span<const label_t> labels() const noexcept { return labels_; }
  [[nodiscard]] std::size_t rows() const noexcept { return codes_.rows(); }
  [[nodiscard]] std::size_t hashes() const noexcept { return codes_.cols(); }
  [[nodiscard]] Code largest_code() const noexcept { return largest_code_; }
  [[nodiscard]] label_t largest_label() const noexcept { return largest_label_; }

 private:
  template <class T>
  [[nodiscard]] static T largest(std::span<const T> values) noexcept {
    constexpr std::size_t block = 32;
    std::array<T, block> worst{};
    std::size_t i = 0;
    for (; i + block <= values.size(); i += block)
      for (std::size_t k = 0; k < block; ++k) worst[k] = std::max(worst[k], values[i + k]);
    for (const T v : values.subspan(i)) worst[0] = std::max(worst[0], v);
    return *std::max_element(worst.begin(), worst.end());
  }

  matrix_view<const Code> codes_;
  std::span<const label_t> labels_;
  Code largest_code_ = 0;
  label_t largest_label_ = 0;
};

/// Columns that code_columns::to_columns() made of the codes and labels of a batch or a catalogue: a
/// lookup is one read a row and the cell itself.
///
/// Shape:   columns (n, hashes), each below the sketch's width.
/// Memory:  none of its own; what it views must outlive it.
/// Cost:    construction one pass over the columns, in whole vectors; copies O(1).
/// Threads: as a pointer: it neither owns nor locks what it points to.
/// Ref:     none: a view.
class cached_columns {
 public:
  explicit cached_columns(matrix_view<const std::uint16_t> columns) : columns_(columns) {}

  [[nodiscard]] const matrix_view<const std::uint16_t>& codes() const noexcept {
    return columns_.codes();
  }
  [[nodiscard]] std::size_t rows() const noexcept { return columns_.rows(); }
  [[nodiscard]] std::size_t hashes() const noexcept { return columns_.hashes(); }
  [[nodiscard]] std::uint16_t largest() const noexcept { return columns_.largest_code(); }

 private:
  cached_codes<std::uint16_t> columns_;
};

template <class Codes>
cached_codes(matrix_view<Codes>) -> cached_codes<std::remove_const_t<Codes>>;
template <class Codes, class Labels>
cached_codes(matrix_view<Codes>, Labels&&) -> cached_codes<std::remove_const_t<Codes>>;

}  // namespace skim::inline v0
