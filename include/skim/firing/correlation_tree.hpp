// SPDX-License-Identifier: Apache-2.0
//
// The correlation trees of "Bypass Exponential Time Preprocessing", as published: the reference that
// shows what deadline_index.hpp saves.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/firing/detector.hpp"
#include "skim/firing/max_tree.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/striped_dot.hpp"

namespace skim::inline v0 {

namespace detail {

// Products of one vector with n others, vector(i) being the i-th.
template <class Vector>
inline void products_with(const float* shared, std::size_t dim, Vector vector,
                          std::span<float> out) noexcept {
  for (std::size_t i = 0; i < out.size(); i += striped_rows) {
    std::array<const float*, striped_rows> rows;
    std::array<float, striped_rows> values;
    const std::size_t count = std::min(striped_rows, out.size() - i);
    for (std::size_t q = 0; q < striped_rows; ++q) rows[q] = vector(i + std::min(q, count - 1));
    striped_dots(shared, rows, dim, values.data());
    std::copy_n(values.begin(), count, out.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

}  // namespace detail

/// DTree: for each point a tree over its products with all neurons.
///
/// INIT computes every product; QUERY(i, b) walks point i's tree; UPDATE(r), done by moved(), computes
/// the products of neuron r with all points and mends a path in each tree. With a threshold for each
/// neuron the least one guides the walk and the leaf decides.
///
/// Shape:   as point_order_detector.
/// Memory:  4 B / (B - 1) bytes a pair.
/// Cost:    INIT neurons * points * dim; UPDATE points (dim + log neurons); QUERY log neurons a pair.
/// Error:   exact: pairs and values are those of striped_dot().
/// Threads: none: a detector for each thread.
/// Ref:     Alman, Liang, Song, Zhang, Zhuo 2023, arXiv:2211.14227; B = 2 as there.
template <std::size_t B = 2>
class data_tree {
 public:
  /// Throws invalid_params or invalid_input on neurons that do not fit the points or are not finite.
  /// The points must outlive the detector.
  data_tree(const firing_points& x, neuron_view w)
      : x_(detail::check_new_neurons("data_tree", x, w)), neurons_(w.weights.rows()) {
    std::vector<float> values(neurons_);
    trees_.reserve(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      detail::products_with(
          x.row(i), x.dim(), [&](std::size_t r) { return w.weights.row(r).data(); }, values);
      trees_.emplace_back(values);
    }
    column_.resize(x.size());
  }
  data_tree(const firing_points&& x, neuron_view w) = delete;

  /// Throws invalid_input, before the sink is called, if the shapes changed or a point is not there.
  template <class Sink>
  void for_each_point(neuron_view w, std::span<const id_t> batch, Sink&& sink) {
    detail::check_neurons("data_tree", *x_, w, neurons_);
    detail::check_batch("data_tree", *x_, batch);
    const float least = *std::min_element(w.thresholds.begin(), w.thresholds.end());
    for (std::size_t b = 0; b < batch.size(); ++b) {
      ids_.clear();
      values_.clear();
      trees_[batch[b]].above(least, [&](std::size_t r, float value) {
        if (!(value > w.thresholds[r])) return;
        ids_.push_back(static_cast<id_t>(r));
        values_.push_back(value);
      });
      statistics_.pairs += neurons_;
      statistics_.fired += ids_.size();
      sink(b, std::span<const id_t>(ids_), std::span<const float>(values_));
    }
  }

  /// UPDATE. Throws invalid_input on a neuron that is not there and on a way that is no finite number.
  void moved(neuron_view w, id_t r, movement by) {
    detail::check_movement("data_tree", neurons_, r, by);
    detail::check_neurons("data_tree", *x_, w, neurons_);
    if (by.distance == 0) return;
    detail::products_with(
        w.weights.row(r).data(), x_->dim(), [&](std::size_t i) { return x_->row(i); }, column_);
    for (std::size_t i = 0; i < x_->size(); ++i) trees_[i].set(r, column_[i]);
    statistics_.examined += x_->size();
  }

  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return trees_.size() * trees_[0].bytes(); }

 private:
  const firing_points* x_;
  std::size_t neurons_;
  std::vector<max_tree<B>> trees_;
  std::vector<float> column_, values_;
  std::vector<id_t> ids_;
  firing_statistics statistics_;
};

/// WTree: for each neuron a tree over its products with all points.
///
/// QUERY(r, b) walks neuron r's tree; UPDATE(r) builds it anew. Otherwise as data_tree.
///
/// Shape:   as neuron_order_detector.
/// Memory:  4 B / (B - 1) bytes a pair.
/// Cost:    INIT neurons * points * dim; UPDATE points * dim; QUERY log points a pair.
/// Error:   exact: pairs and values are those of striped_dot().
/// Threads: none: a detector for each thread.
/// Ref:     Alman, Liang, Song, Zhang, Zhuo 2023, arXiv:2211.14227; B = 2 as there.
template <std::size_t B = 2>
class weight_tree {
 public:
  /// Throws as data_tree. The points must outlive the detector.
  weight_tree(const firing_points& x, neuron_view w)
      : x_(detail::check_new_neurons("weight_tree", x, w)),
        neurons_(w.weights.rows()),
        row_(x.size()) {
    trees_.reserve(neurons_);
    for (std::size_t r = 0; r < neurons_; ++r) {
      compute(w, r);
      trees_.emplace_back(row_);
    }
  }
  weight_tree(const firing_points&& x, neuron_view w) = delete;

  /// Throws invalid_input, before the sink is called, if the shapes changed.
  template <class Sink>
  void for_each_neuron(neuron_view w, Sink&& sink) {
    detail::check_neurons("weight_tree", *x_, w, neurons_);
    for (std::size_t r = 0; r < neurons_; ++r) {
      ids_.clear();
      values_.clear();
      trees_[r].above(w.thresholds[r], [&](std::size_t i, float value) {
        ids_.push_back(static_cast<id_t>(i));
        values_.push_back(value);
      });
      statistics_.fired += ids_.size();
      if (!ids_.empty()) sink(r, std::span<const id_t>(ids_), std::span<const float>(values_));
    }
    statistics_.pairs += neurons_ * x_->size();
  }

  /// UPDATE. Throws invalid_input on a neuron that is not there and on a way that is no finite number.
  void moved(neuron_view w, id_t r, movement by) {
    detail::check_movement("weight_tree", neurons_, r, by);
    detail::check_neurons("weight_tree", *x_, w, neurons_);
    if (by.distance == 0) return;
    compute(w, r);
    trees_[r].assign(row_);
    statistics_.examined += x_->size();
  }

  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return trees_.size() * trees_[0].bytes(); }

 private:
  void compute(neuron_view w, std::size_t r) noexcept {
    detail::products_with(
        w.weights.row(r).data(), x_->dim(), [&](std::size_t i) { return x_->row(i); }, row_);
  }

  const firing_points* x_;
  std::size_t neurons_;
  std::vector<max_tree<B>> trees_;
  std::vector<float> row_, values_;
  std::vector<id_t> ids_;
  firing_statistics statistics_;
};

static_assert(point_order_detector<data_tree<>> && neuron_order_detector<weight_tree<>>);

}  // namespace skim::inline v0
