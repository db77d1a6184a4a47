// SPDX-License-Identifier: Apache-2.0
//
// Non-owning views of sparse rows: how sparse data crosses skim's interface.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// One sparse vector: strictly ascending indices and their values.
struct sparse_row {
  std::span<const id_t> indices;
  std::span<const float> values;

  [[nodiscard]] constexpr std::size_t nonzeros() const noexcept { return indices.size(); }
};

/// Non-owning matrix in compressed sparse row form.
///
/// Row i holds indices[offsets[i] .. offsets[i+1]) and the values beside them.
///
/// Shape:   offsets (rows + 1), indices and values (nonzeros); in a row, indices ascend below cols.
/// Cost:    O(1) for every member but validate().
/// Threads: as a pointer: it neither owns nor locks what it points to.
class sparse_view {
 public:
  sparse_view() noexcept = default;

  /// Throws invalid_input if the three arrays do not fit together; O(1). What the rows hold is
  /// checked by validate() only.
  sparse_view(std::span<const std::size_t> offsets, std::span<const id_t> indices,
              std::span<const float> values, std::size_t cols)
      : offsets_(offsets), indices_(indices), values_(values), cols_(cols) {
    if (offsets.empty() || indices.size() != values.size() || offsets.front() > offsets.back() ||
        offsets.back() > indices.size())
      SKIM_THROW(invalid_input,
                 detail::concat("sparse_view: got ", offsets.size(), " offsets, ", indices.size(),
                                " indices and ", values.size(),
                                " values, wanted rows + 1 offsets that end within the indices, and "
                                "as many values as indices"));
  }

  [[nodiscard]] std::size_t rows() const noexcept {
    return offsets_.empty() ? 0 : offsets_.size() - 1;
  }
  [[nodiscard]] std::size_t cols() const noexcept { return cols_; }
  [[nodiscard]] std::size_t nonzeros() const noexcept {
    return offsets_.empty() ? 0 : offsets_.back() - offsets_.front();
  }

  /// Row i. Pre: i < rows().
  [[nodiscard]] sparse_row row(std::size_t i) const noexcept {
    SKIM_EXPECTS(i < rows());
    SKIM_EXPECTS(offsets_[i] <= offsets_[i + 1] && offsets_[i + 1] <= indices_.size());
    const std::size_t first = offsets_[i], count = offsets_[i + 1] - first;
    return {indices_.subspan(first, count), values_.subspan(first, count)};
  }

  /// Rows [first, first + count). Pre: first + count <= rows(), count > 0.
  [[nodiscard]] sparse_view rows(std::size_t first, std::size_t count) const noexcept {
    SKIM_EXPECTS(count > 0 && first + count <= rows());
    sparse_view some = *this;
    some.offsets_ = offsets_.subspan(first, count + 1);
    return some;
  }

  /// Throws invalid_input unless offsets ascend, indices ascend within each row and stay below
  /// cols(), and values are finite. Cost: O(nonzeros).
  void validate() const {
    for (std::size_t i = 0; i < rows(); ++i) {
      if (offsets_[i] > offsets_[i + 1] || offsets_[i + 1] > indices_.size())
        SKIM_THROW(invalid_input,
                   detail::concat("sparse_view: offsets of row ", i, " are ", offsets_[i], " and ",
                                  offsets_[i + 1], ", wanted ascending ones"));
      const sparse_row r = row(i);
      for (std::size_t k = 0; k < r.nonzeros(); ++k) {
        if (r.indices[k] >= cols_ || (k > 0 && r.indices[k] <= r.indices[k - 1]))
          SKIM_THROW(invalid_input,
                     detail::concat("sparse_view: row ", i, " has index ", r.indices[k],
                                    ", wanted ascending indices below ", cols_));
        if (!std::isfinite(r.values[k]))
          SKIM_THROW(invalid_input, detail::concat("sparse_view: row ", i, " has the value ",
                                                   r.values[k], ", wanted finite ones"));
      }
    }
  }

 private:
  std::span<const std::size_t> offsets_;
  std::span<const id_t> indices_;
  std::span<const float> values_;
  std::size_t cols_ = 0;
};

}  // namespace skim::inline v0
