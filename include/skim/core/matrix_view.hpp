// SPDX-License-Identifier: Apache-2.0
//
// Non-owning view of a row-major matrix: how dense data crosses skim's interface.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Anything with Eigen's data access: data(), rows(), cols() and outerStride().
template <class M>
concept matrix_like = requires(M& m) {
  m.data();
  static_cast<std::ptrdiff_t>(m.rows());
  static_cast<std::ptrdiff_t>(m.cols());
  static_cast<std::ptrdiff_t>(m.outerStride());
};

/// Non-owning row-major matrix with contiguous rows `stride` elements apart.
///
/// Converts implicitly and without a copy from a std::span with a shape, from raw pointers, and
/// from row-major objects with Eigen's data access (matrices, maps, blocks). A column-major object
/// is a compile-time error rather than a hidden copy.
///
/// Shape:   (rows, cols), element (i, j) at data()[i * stride() + j]; stride() >= cols().
/// Cost:    O(1) for every member.
/// Threads: as a pointer: it neither owns nor locks what it points to.
template <class T>
class matrix_view {
 public:
  using element_type = T;

  constexpr matrix_view() noexcept = default;

  constexpr matrix_view(T* data, std::size_t rows, std::size_t cols, std::size_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {
    if (stride < cols)
      SKIM_THROW(invalid_input, detail::concat("matrix_view: got a stride of ", stride, " for ",
                                               cols, " columns, wanted at least as many"));
  }
  constexpr matrix_view(T* data, std::size_t rows, std::size_t cols) noexcept
      : data_(data), rows_(rows), cols_(cols), stride_(cols) {}

  /// Contiguous rows in a span. Throws invalid_input unless the span holds rows * cols elements.
  constexpr matrix_view(std::span<T> data, std::size_t rows, std::size_t cols)
      : data_(data.data()), rows_(rows), cols_(cols), stride_(cols) {
    const bool fits =
        cols == 0 ? data.empty() : data.size() % cols == 0 && data.size() / cols == rows;
    if (!fits)
      SKIM_THROW(invalid_input, detail::concat("matrix_view: got ", data.size(), " elements for ",
                                               rows, " x ", cols));
  }

  // Views convert implicitly, by design. NOLINTBEGIN(google-explicit-constructor)

  /// A view of writable elements is a view of constant ones. (A template, since a plain constructor
  /// would be the copy constructor of the writable view.)
  template <class U>
  requires(std::is_const_v<T>&& std::is_same_v<U, std::remove_const_t<T>>) constexpr matrix_view(
      const matrix_view<U>& other) noexcept
      : data_(other.data()), rows_(other.rows()), cols_(other.cols()), stride_(other.stride()) {}

  /// Row-major objects with Eigen's data access.
  template <class M>
  requires(
      matrix_like<M> && !std::is_same_v<std::remove_cvref_t<M>, matrix_view> &&
      std::is_convertible_v<decltype(std::declval<M&>().data()), T*>) constexpr matrix_view(M&& m)
      : data_(m.data()),
        rows_(static_cast<std::size_t>(m.rows())),
        cols_(static_cast<std::size_t>(m.cols())),
        stride_(static_cast<std::size_t>(m.outerStride())) {
    using Matrix = std::remove_cvref_t<M>;
    if constexpr (requires { Matrix::IsRowMajor; }) {
      static_assert(
          static_cast<bool>(Matrix::IsRowMajor),
          "skim::matrix_view wants a row-major matrix: declare it with Eigen::RowMajor, or "
          "copy it into one; a column-major matrix would have to be copied at every call");
    }
    if constexpr (requires { Matrix::InnerStrideAtCompileTime; }) {
      static_assert(static_cast<int>(Matrix::InnerStrideAtCompileTime) == 1,
                    "skim::matrix_view wants rows whose elements are adjacent (inner stride 1)");
    }
  }
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t rows() const noexcept { return rows_; }
  [[nodiscard]] constexpr std::size_t cols() const noexcept { return cols_; }
  [[nodiscard]] constexpr std::size_t stride() const noexcept { return stride_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return rows_ == 0; }

  /// Row i. Pre: i < rows().
  [[nodiscard]] constexpr std::span<T> row(std::size_t i) const noexcept {
    SKIM_EXPECTS(i < rows_);
    return {data_ + i * stride_, cols_};
  }

  /// Rows [first, first + count). Pre: they exist.
  [[nodiscard]] constexpr matrix_view rows(std::size_t first, std::size_t count) const noexcept {
    SKIM_EXPECTS(first <= rows_ && count <= rows_ - first);
    matrix_view part = *this;
    part.data_ = data_ + first * stride_;
    part.rows_ = count;
    return part;
  }

 private:
  T* data_ = nullptr;
  std::size_t rows_ = 0, cols_ = 0, stride_ = 0;
};

}  // namespace skim::inline v0
