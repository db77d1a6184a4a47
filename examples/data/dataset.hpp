// SPDX-License-Identifier: Apache-2.0
//
// A data set in memory: dense or sparse features beside class ids, numbers or sets of labels.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"

namespace skim_examples {

enum class storage { dense, sparse };
enum class label_kind { none, classes, targets, multi };

/// Features and labels of n examples.
///
/// Exactly one feature store is used (see `features`) and at most one label store (see `kind`).
///
/// Shape:   dense (rows, cols) row-major, or CSR; labels, targets (rows); multi_ids of row i are
///          multi_ids[multi_offsets[i] .. multi_offsets[i+1]), ascending, each < classes.
struct dataset {
  std::string name;  ///< what it was loaded from
  std::size_t rows = 0, cols = 0;

  storage features = storage::dense;
  skim::aligned_vector<float> dense;
  std::vector<std::size_t> offsets{0};
  std::vector<skim::id_t> indices;
  std::vector<float> values;

  label_kind kind = label_kind::none;
  std::vector<skim::label_t> labels;
  std::vector<float> targets;
  std::vector<std::size_t> multi_offsets{0};
  std::vector<skim::label_t> multi_ids;

  std::size_t classes = 0;                 ///< for classes and multi
  std::vector<double> class_values;        ///< what the file calls class k, where it is not k
  std::vector<std::string> class_names;    ///< empty, or one a class
  std::vector<std::string> feature_names;  ///< empty, or one a column
  std::size_t image_height = 0, image_width = 0;  ///< of each row, where rows are images

  [[nodiscard]] bool is_sparse() const noexcept { return features == storage::sparse; }

  /// The dense features. Pre: !is_sparse().
  [[nodiscard]] skim::matrix_view<const float> dense_view() const {
    return {std::span<const float>(dense), rows, cols};
  }
  /// The sparse features. Pre: is_sparse().
  [[nodiscard]] skim::sparse_view sparse_view() const { return {offsets, indices, values, cols}; }

  /// The label set of row i. Pre: kind == multi, i < rows.
  [[nodiscard]] std::span<const skim::label_t> label_set(std::size_t i) const noexcept {
    return std::span(multi_ids).subspan(multi_offsets[i], multi_offsets[i + 1] - multi_offsets[i]);
  }

  /// What a table calls class k: its name, its value in the file, or its number.
  [[nodiscard]] std::string class_name(std::size_t k) const {
    if (k < class_names.size()) return class_names[k];
    if (k < class_values.size()) return std::to_string(static_cast<long long>(class_values[k]));
    return std::to_string(k);
  }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return sizeof(float) * (dense.size() + values.size() + targets.size()) +
           sizeof(std::size_t) * (offsets.size() + multi_offsets.size()) +
           sizeof(skim::id_t) * (indices.size() + labels.size() + multi_ids.size());
  }
};

struct train_test {
  dataset train, test;
};

}  // namespace skim_examples
