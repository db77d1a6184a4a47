// SPDX-License-Identifier: Apache-2.0
//
// From what a file calls its labels to class ids or targets.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/dataset.hpp"
#include "data/error.hpp"

namespace skim_examples {

enum class task { automatic, classification, regression };

/// One label a row as a file has it: numbers, or texts where they are not numbers.
struct label_column {
  std::vector<double> numbers;
  std::vector<std::string> texts;
  bool integer_type = false;   ///< stored as integers, so classes unless told otherwise
  std::string file;            ///< for messages
  std::size_t first_line = 0;  ///< line of row 0, or 0 for binary files

  [[nodiscard]] bool is_text() const noexcept { return !texts.empty(); }
  [[nodiscard]] std::size_t size() const noexcept {
    return is_text() ? texts.size() : numbers.size();
  }

  [[nodiscard]] data_error error(std::size_t row, const std::string& what) const {
    return first_line == 0 ? data_error::in_file(file, "row " + std::to_string(row) + ": " + what)
                           : data_error::at_line(file, first_line + row, what);
  }
};

/// A number as a person would write it.
[[nodiscard]] inline std::string plain(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

/// Classification if the numbers are few distinct integers (at most 100, each five times on
/// average), else regression.
[[nodiscard]] inline task detect_task(std::span<const double> numbers) {
  constexpr std::size_t most = 100;
  std::vector<double> seen;
  for (const double x : numbers) {
    if (x != std::floor(x)) return task::regression;
    const auto at = std::lower_bound(seen.begin(), seen.end(), x);
    if (at != seen.end() && *at == x) continue;
    if (seen.size() == most) return task::regression;
    seen.insert(at, x);
  }
  const bool repeated = seen.size() <= std::max<std::size_t>(2, numbers.size() / 5);
  return repeated ? task::classification : task::regression;
}

namespace detail {

inline std::string known_classes(const dataset& like) {
  std::string out = "wanted one of the " + std::to_string(like.classes) + " training classes (";
  for (std::size_t k = 0; k < like.classes; ++k) {
    if (k == 4 && like.classes > 5) {
      return out + "..., " + like.class_name(like.classes - 1) + ")";
    }
    out += (k == 0 ? "" : ", ") + like.class_name(k);
  }
  return out + ")";
}

inline void text_classes(dataset& data, const label_column& column, const dataset* like) {
  data.class_names = like != nullptr ? like->class_names : column.texts;
  if (like == nullptr) {
    std::sort(data.class_names.begin(), data.class_names.end());
    data.class_names.erase(std::unique(data.class_names.begin(), data.class_names.end()),
                           data.class_names.end());
  }
  data.classes = data.class_names.size();
  std::unordered_map<std::string_view, skim::label_t> ids;
  for (std::size_t k = 0; k < data.classes; ++k) {
    ids.emplace(data.class_names[k], static_cast<skim::label_t>(k));
  }
  data.labels.reserve(column.size());
  for (std::size_t i = 0; i < column.size(); ++i) {
    const auto found = ids.find(column.texts[i]);
    if (found == ids.end()) {
      throw column.error(i, "label " + shown(column.texts[i]) + ", " + known_classes(*like));
    }
    data.labels.push_back(found->second);
  }
}

inline void number_classes(dataset& data, const label_column& column, const dataset* like) {
  for (std::size_t i = 0; i < column.size(); ++i) {
    if (column.numbers[i] != std::floor(column.numbers[i])) {
      throw column.error(i, "label " + plain(column.numbers[i]) +
                                ", wanted a whole number for classification (or ask for "
                                "regression)");
    }
  }
  if (like != nullptr) {
    data.class_values = like->class_values;
    data.class_names = like->class_names;
    data.classes = like->classes;
  } else {
    std::vector<double>& seen = data.class_values;
    seen = column.numbers;
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    // ids 0, 1, 2, ... with few gaps are kept, so that a class missing here keeps its number
    const bool ids = !seen.empty() && seen.front() == 0 &&
                     seen.back() < 4 * static_cast<double>(seen.size()) + 16;
    if (ids) {
      data.classes = static_cast<std::size_t>(seen.back()) + 1;
      seen.clear();
    } else {
      data.classes = seen.size();
    }
  }
  const auto& known = data.class_values;
  data.labels.reserve(column.size());
  for (std::size_t i = 0; i < column.size(); ++i) {
    const double x = column.numbers[i];
    std::size_t id = data.classes;
    if (known.empty()) {
      if (x >= 0 && x < static_cast<double>(data.classes)) id = static_cast<std::size_t>(x);
    } else if (const auto at = std::lower_bound(known.begin(), known.end(), x);
               at != known.end() && *at == x) {
      id = static_cast<std::size_t>(at - known.begin());
    }
    if (id == data.classes) {
      throw column.error(i, "label " + plain(x) + " is outside the range, " + known_classes(*like));
    }
    data.labels.push_back(static_cast<skim::label_t>(id));
  }
}

}  // namespace detail

/// Gives data its labels: class ids or targets by `wanted`, by `like` (the training set a test set
/// belongs to; its classes are then the only ones allowed), or by detect_task.
///
/// Throws data_error on a count other than data.rows, a fractional class or one unknown to like.
inline void set_labels(dataset& data, const label_column& column, task wanted,
                       const dataset* like = nullptr) {
  if (column.size() != data.rows) {
    throw data_error::in_file(column.file, std::to_string(column.size()) + " labels, wanted " +
                                               std::to_string(data.rows) +
                                               ", one for each row of " + data.name);
  }
  if (like != nullptr) {
    wanted = like->kind == label_kind::targets ? task::regression : task::classification;
    if (wanted == task::classification && column.is_text() != !like->class_names.empty() &&
        data.rows != 0) {
      throw column.error(0, std::string("labels are ") + (column.is_text() ? "texts" : "numbers") +
                                ", unlike those of the training data " + like->name);
    }
  }
  if (column.is_text()) {
    if (wanted == task::regression) {
      throw column.error(0, "label " + shown(column.texts[0]) + ", wanted a number for regression");
    }
    detail::text_classes(data, column, like);
    data.kind = label_kind::classes;
    return;
  }
  if (wanted == task::automatic) {
    wanted = column.integer_type ? task::classification : detect_task(column.numbers);
  }
  if (wanted == task::classification) {
    detail::number_classes(data, column, like);
    data.kind = label_kind::classes;
  } else {
    data.targets.assign(column.numbers.size(), 0.0F);
    std::transform(column.numbers.begin(), column.numbers.end(), data.targets.begin(),
                   [](double x) { return static_cast<float>(x); });
    data.kind = label_kind::targets;
  }
}

/// Makes one label a row a set of one label a row.
inline void to_multi_label(dataset& data) {
  if (data.kind != label_kind::classes) return;
  data.multi_ids = std::move(data.labels);
  data.labels.clear();
  data.multi_offsets.resize(data.rows + 1);
  for (std::size_t i = 0; i <= data.rows; ++i) data.multi_offsets[i] = i;
  data.kind = label_kind::multi;
}

/// How many examples carry each class.
[[nodiscard]] inline std::vector<std::size_t> class_counts(const dataset& data) {
  std::vector<std::size_t> counts(data.classes);
  for (const auto id : data.kind == label_kind::multi ? data.multi_ids : data.labels) ++counts[id];
  return counts;
}

}  // namespace skim_examples
