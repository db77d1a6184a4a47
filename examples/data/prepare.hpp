// SPDX-License-Identifier: Apache-2.0
//
// What happens to features between the file and the network: scaling and splitting.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.hpp"
#include "data/error.hpp"
#include "skim/core/random.hpp"

namespace skim_examples {

/// none: as they are. unit: bytes 0..255 to [0, 1]. standardize: mean 0 and deviation 1 by column.
/// max_abs: divided by the column's largest absolute value, which keeps zeros. The latter two after
/// logarithms where there are heavy tails, see feature_scaler.
enum class scaling { none, unit, standardize, max_abs };

/// What fits a set: max_abs for sparse features, nothing for images in [0, 1], unit for other bytes
/// of images, else standardize.
[[nodiscard]] inline scaling usual_scaling(const dataset& data) {
  if (data.is_sparse()) return scaling::max_abs;
  if (data.image_width == 0) return scaling::standardize;
  const bool scaled =
      std::all_of(data.dense.begin(), data.dense.end(), [](float x) { return x >= 0 && x <= 1; });
  return scaled ? scaling::none : scaling::unit;
}

/// A scaling whose statistics come from the training set and are applied to every set alike.
///
/// Columns that are constant in training become 0 everywhere: they carry nothing, and a value that
/// only a test set has would meet untrained weights. standardize and max_abs first take
/// sign(x) log(1 + |x|) of columns with heavy tails (kurtosis above 20, of sparse ones that of the
/// values stored), such as incomes and counts: a few huge values would else press all others together.
/// A column of two values is no different for it.
///
/// Memory:  2 d floats and d bytes.
/// Cost:    fit four passes over the data, apply one.
/// Threads: const members may run at once, on different data.
class feature_scaler {
 public:
  feature_scaler() = default;

  /// Throws data_error if the scaling would destroy sparsity.
  [[nodiscard]] static feature_scaler fit(const dataset& train, scaling how) {
    feature_scaler s;
    s.how_ = how;
    s.shift_.assign(train.cols, 0.0F);
    s.factor_.assign(train.cols, 1.0F);
    s.heavy_.assign(train.cols, 0);
    if (how == scaling::unit) s.factor_.assign(train.cols, 1.0F / 255);
    if (how == scaling::standardize) {
      if (train.is_sparse()) {
        throw data_error(train.name + ": standardizing would fill sparse features, wanted max_abs");
      }
    }
    if (how == scaling::standardize || how == scaling::max_abs) s.find_heavy_tails(train);
    if (how == scaling::standardize) s.fit_standardize(train);
    if (how == scaling::max_abs) s.fit_max_abs(train);
    return s;
  }

  /// Throws data_error unless data has the columns of the training set.
  void apply(dataset& data) const {
    if (how_ == scaling::none) return;
    if (data.cols != factor_.size()) {
      throw data_error(data.name + ": " + std::to_string(data.cols) + " columns, wanted " +
                       std::to_string(factor_.size()) + " as in training");
    }
    if (data.is_sparse()) {
      for (std::size_t k = 0; k < data.values.size(); ++k) {
        data.values[k] = tamed(data.values[k], data.indices[k]) * factor_[data.indices[k]];
      }
      return;
    }
    for (std::size_t i = 0; i < data.rows; ++i) {
      float* const x = data.dense.data() + i * data.cols;
      for (std::size_t j = 0; j < data.cols; ++j) x[j] = (tamed(x[j], j) - shift_[j]) * factor_[j];
    }
  }

  [[nodiscard]] scaling how() const noexcept { return how_; }

 private:
  [[nodiscard]] float tamed(float x, std::size_t column) const {
    return heavy_[column] != 0 ? std::copysign(std::log1p(std::abs(x)), x) : x;
  }

  void find_heavy_tails(const dataset& train) {
    const auto each = [&](auto use) {
      if (train.is_sparse())
        for (std::size_t k = 0; k < train.values.size(); ++k)
          use(train.indices[k], static_cast<double>(train.values[k]));
      else
        for (std::size_t i = 0; i < train.dense.size(); ++i)
          use(i % train.cols, static_cast<double>(train.dense[i]));
    };
    std::vector<double> count(train.cols), mean(train.cols), square(train.cols), fourth(train.cols);
    each([&](std::size_t j, double x) {
      count[j] += 1;
      mean[j] += x;
    });
    for (std::size_t j = 0; j < train.cols; ++j) mean[j] /= std::max(1.0, count[j]);
    each([&](std::size_t j, double x) {
      const double off = (x - mean[j]) * (x - mean[j]);
      square[j] += off;
      fourth[j] += off * off;
    });
    for (std::size_t j = 0; j < train.cols; ++j)
      heavy_[j] = fourth[j] * count[j] > 20 * square[j] * square[j] ? 1 : 0;
  }

  void fit_standardize(const dataset& train) {
    const std::size_t d = train.cols;
    const double n = static_cast<double>(std::max<std::size_t>(1, train.rows));
    std::vector<double> mean(d), square(d);
    for (std::size_t i = 0; i < train.rows; ++i) {
      const float* const x = train.dense.data() + i * d;
      for (std::size_t j = 0; j < d; ++j) mean[j] += static_cast<double>(tamed(x[j], j));
    }
    for (double& m : mean) m /= n;
    for (std::size_t i = 0; i < train.rows; ++i) {
      const float* const x = train.dense.data() + i * d;
      for (std::size_t j = 0; j < d; ++j) {
        const double off = static_cast<double>(tamed(x[j], j)) - mean[j];
        square[j] += off * off;
      }
    }
    for (std::size_t j = 0; j < d; ++j) {
      const double deviation = std::sqrt(square[j] / n);
      shift_[j] = static_cast<float>(mean[j]);
      // a deviation at the rounding error of the mean is a constant column
      const bool constant = deviation <= 1e-6 * std::abs(mean[j]) || deviation < 1e-30;
      factor_[j] = constant ? 0.0F : static_cast<float>(1 / deviation);
    }
  }

  void fit_max_abs(const dataset& train) {
    std::vector<float> largest(train.cols, 0.0F);
    if (train.is_sparse()) {
      for (std::size_t k = 0; k < train.values.size(); ++k) {
        float& m = largest[train.indices[k]];
        m = std::max(m, std::abs(tamed(train.values[k], train.indices[k])));
      }
    } else {
      for (std::size_t i = 0; i < train.dense.size(); ++i) {
        float& m = largest[i % train.cols];
        m = std::max(m, std::abs(tamed(train.dense[i], i % train.cols)));
      }
    }
    for (std::size_t j = 0; j < train.cols; ++j) {
      const float inverse = 1 / largest[j];
      factor_[j] = std::isfinite(inverse) ? inverse : 0.0F;
    }
  }

  scaling how_ = scaling::none;
  std::vector<float> shift_, factor_;
  std::vector<char> heavy_;  // columns of which the logarithm is taken
};

/// Mean and deviation of regression targets, so that networks see numbers near 0 and 1.
struct target_scale {
  double mean = 0, deviation = 1;

  [[nodiscard]] static target_scale fit(std::span<const float> targets) {
    target_scale s;
    if (targets.empty()) return s;
    const double n = static_cast<double>(targets.size());
    for (const float y : targets) s.mean += static_cast<double>(y) / n;
    double square = 0;
    for (const float y : targets) {
      const double off = static_cast<double>(y) - s.mean;
      square += off * off / n;
    }
    if (square > 0) s.deviation = std::sqrt(square);
    return s;
  }
  [[nodiscard]] float scaled(float y) const noexcept {
    return static_cast<float>((static_cast<double>(y) - mean) / deviation);
  }
};

/// The given rows of a set, in the given order.
[[nodiscard]] inline dataset take_rows(const dataset& from, std::span<const std::size_t> rows) {
  dataset out;
  out.name = from.name;
  out.rows = rows.size();
  out.cols = from.cols;
  out.features = from.features;
  out.kind = from.kind;
  out.classes = from.classes;
  out.class_values = from.class_values;
  out.class_names = from.class_names;
  out.feature_names = from.feature_names;
  out.image_height = from.image_height;
  out.image_width = from.image_width;
  if (!from.is_sparse()) out.dense.reserve(rows.size() * from.cols);
  const auto append = [](auto& to, const auto& source, std::size_t first, std::size_t last) {
    to.insert(to.end(), source.begin() + static_cast<std::ptrdiff_t>(first),
              source.begin() + static_cast<std::ptrdiff_t>(last));
  };
  for (const std::size_t i : rows) {
    if (from.is_sparse()) {
      append(out.indices, from.indices, from.offsets[i], from.offsets[i + 1]);
      append(out.values, from.values, from.offsets[i], from.offsets[i + 1]);
      out.offsets.push_back(out.indices.size());
    } else {
      append(out.dense, from.dense, i * from.cols, (i + 1) * from.cols);
    }
    switch (from.kind) {
      case label_kind::none:
        break;
      case label_kind::classes:
        out.labels.push_back(from.labels[i]);
        break;
      case label_kind::targets:
        out.targets.push_back(from.targets[i]);
        break;
      case label_kind::multi:
        append(out.multi_ids, from.multi_ids, from.multi_offsets[i], from.multi_offsets[i + 1]);
        out.multi_offsets.push_back(out.multi_ids.size());
        break;
    }
  }
  return out;
}

/// Row numbers in two parts, each ascending.
struct row_split {
  std::vector<std::size_t> kept, held;
};

/// Holds out a random `fraction` of the rows, at least one and not all; with labels, of each class's
/// rows, so that both parts have their shares, and not all of any.
///
/// Seeds:   equal seeds give equal splits on every platform.
/// Pre:     two rows or more, the fraction in (0, 1), a label a row or none.
[[nodiscard]] inline row_split split_row_numbers(std::size_t rows,
                                                 std::span<const skim::label_t> labels,
                                                 double fraction, skim::seed seed) {
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  skim::random_engine g(seed);
  skim::shuffle(std::span(order), g);
  const auto class_of = [&](std::size_t row) { return labels.empty() ? 0 : labels[row]; };
  std::vector<std::size_t> quota(labels.empty() ? 1 : *std::ranges::max_element(labels) + 1);
  for (const std::size_t row : order) ++quota[class_of(row)];
  for (std::size_t& q : quota) {
    const auto wanted = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(q)));
    q = q == 0 ? 0 : std::min(wanted, q - 1);
  }
  if (std::ranges::all_of(quota, [](std::size_t q) { return q == 0; }))
    quota[class_of(order.front())] = 1;
  row_split parts;
  for (const std::size_t row : order) {
    std::size_t& left = quota[class_of(row)];
    (left > 0 ? parts.held : parts.kept).push_back(row);
    left -= left > 0 ? 1 : 0;
  }
  // so that both parts are read from front to back
  std::ranges::sort(parts.kept);
  std::ranges::sort(parts.held);
  return parts;
}

/// A set in two parts as split_row_numbers: what is held out is the test set.
/// Throws data_error if there are fewer than two rows or the fraction is not in (0, 1).
[[nodiscard]] inline train_test split_rows(const dataset& data, double fraction, skim::seed seed) {
  if (!(fraction > 0 && fraction < 1) || data.rows < 2) {
    throw data_error(data.name + ": cannot split " + std::to_string(data.rows) + " rows by " +
                     std::to_string(fraction) + ", wanted at least 2 and a fraction inside (0, 1)");
  }
  const row_split parts = split_row_numbers(data.rows, data.labels, fraction, seed);
  return {take_rows(data, parts.kept), take_rows(data, parts.held)};
}

}  // namespace skim_examples
