// SPDX-License-Identifier: Apache-2.0
//
// A tree of maxima: all numbers above a threshold that is chosen at the time of the question.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Complete tree with B children to a node; a node holds the maximum of its children.
///
/// Shape:   leaves are numbered from 0.
/// Memory:  4 B / (B - 1) bytes a leaf.
/// Cost:    build O(size); set O(B log size / log B), less where a node's maximum stays; above:
///          O(B log size / log B) for each leaf reported, at most.
/// Threads: const members may run concurrently.
/// Ref:     Alman, Liang, Song, Zhang, Zhuo 2023, arXiv:2211.14227, for B = 2 (their correlation
///          trees); wide nodes are ours.
template <std::size_t B = 16>
class max_tree {
  static_assert(B >= 2, "a node of a tree has two children at least");

 public:
  /// Throws invalid_params if there is no leaf, invalid_input on a NaN.
  explicit max_tree(std::span<const float> leaves) : size_(leaves.size()) {
    if (leaves.empty()) SKIM_THROW(invalid_params, "max_tree: got no leaves, wanted at least one");
    for (const float v : leaves) check(v);
    std::size_t nodes = size_;
    for (std::size_t at = 0;; nodes = (nodes + B - 1) / B) {
      begin_.push_back(at);
      at += nodes == 1 ? 1 : (nodes + B - 1) / B * B;
      if (nodes == 1) {
        nodes_.assign(at, -std::numeric_limits<float>::infinity());
        break;
      }
    }
    assign(leaves);
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] float operator[](std::size_t leaf) const noexcept {
    SKIM_EXPECTS(leaf < size_);
    return nodes_[leaf];
  }
  [[nodiscard]] float max() const noexcept { return nodes_.back(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return nodes_.size() * sizeof(float); }

  /// Changes one leaf. Throws invalid_input on a NaN or a leaf that is not there.
  void set(std::size_t leaf, float value) {
    if (leaf >= size_)
      SKIM_THROW(invalid_input,
                 detail::concat("max_tree: got leaf ", leaf, ", wanted one below ", size_));
    check(value);
    nodes_[leaf] = value;
    for (std::size_t level = 1, at = leaf / B; level < begin_.size(); ++level, at /= B) {
      const float most = most_below(level, at);
      float& node = nodes_[begin_[level] + at];
      if (node == most) return;
      node = most;
    }
  }

  /// Changes all leaves. Throws invalid_input, before any changes, on a NaN or another number of them.
  void assign(std::span<const float> leaves) {
    if (leaves.size() != size_)
      SKIM_THROW(invalid_input, detail::concat("max_tree: got ", leaves.size(), " leaves, wanted ",
                                               size_, " as before"));
    for (const float v : leaves) check(v);
    std::copy(leaves.begin(), leaves.end(), nodes_.begin());
    for (std::size_t level = 1; level < begin_.size(); ++level) {
      const std::size_t count = (begin_[level] - begin_[level - 1]) / B;
      for (std::size_t at = 0; at < count; ++at) nodes_[begin_[level] + at] = most_below(level, at);
    }
  }

  /// Calls found(leaf, value) for each leaf above the threshold, in ascending order.
  template <class Found>
  void above(float threshold, Found&& found) const {
    descend(begin_.size() - 1, 0, threshold, found);
  }

 private:
  static void check(float value) {
    if (std::isnan(value)) SKIM_THROW(invalid_input, "max_tree: got a NaN, wanted numbers");
  }

  [[nodiscard]] float most_below(std::size_t level, std::size_t at) const noexcept {
    const float* const child = nodes_.data() + begin_[level - 1] + at * B;
    return *std::max_element(child, child + B);
  }

  template <class Found>
  void descend(std::size_t level, std::size_t at, float threshold, Found& found) const {
    const float value = nodes_[begin_[level] + at];
    if (!(value > threshold)) return;
    if (level == 0) {
      found(at, value);
      return;
    }
    for (std::size_t c = 0; c < B; ++c) descend(level - 1, at * B + c, threshold, found);
  }

  std::size_t size_;
  std::vector<std::size_t> begin_;  // of each level in nodes_, leaves first
  std::vector<float> nodes_;        // padded with minus infinity to whole families
};

}  // namespace skim::inline v0
