// SPDX-License-Identifier: Apache-2.0
//
// The best few of many scores.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// An output and its score.
struct label_score {
  label_t label = 0;
  float score = -std::numeric_limits<float>::infinity();

  /// By score, and by label where scores are equal.
  friend bool operator<(const label_score& a, const label_score& b) noexcept {
    return a.score != b.score ? a.score > b.score : a.label < b.label;
  }
  friend bool operator==(const label_score&, const label_score&) noexcept = default;
};

/// Keeps the best of what it is offered, best first, in memory of the caller.
///
/// Ties go to the lower label: the outcome does not depend on the order of the offers.
///
/// Shape:   best (k), filled with scores of minus infinity by clear().
/// Cost:    O(1) for an offer that is not among the best, O(k) for one that is.
/// Threads: none.
/// Ref:     insertion into a sorted list, for k of a few dozen.
class top_labels {
 public:
  explicit top_labels(std::span<label_score> best) noexcept : best_(best) {}

  void clear() noexcept { std::fill(best_.begin(), best_.end(), label_score{}); }

  void offer(label_score candidate) noexcept {
    if (best_.empty() || !(candidate < best_.back())) return;
    std::size_t at = best_.size() - 1;
    for (; at > 0 && candidate < best_[at - 1]; --at) best_[at] = best_[at - 1];
    best_[at] = candidate;
  }

  /// Offers scores of labels first, first + 1, ...
  template <class Arch = simd::default_arch>
  void offer_all(std::span<const float> scores, label_t first) noexcept {
    using pack = simd::floats<Arch>;
    if (best_.empty()) return;
    std::size_t i = 0;
    for (; i + 4 * pack::size <= scores.size(); i += 4 * pack::size) {
      const float* s = scores.data() + i;
      const pack most =
          simd::max(simd::max(pack::load(s), pack::load(s + pack::size)),
                    simd::max(pack::load(s + 2 * pack::size), pack::load(s + 3 * pack::size)));
      if (simd::greater_bits(most, pack::broadcast(best_.back().score)) == 0) continue;
      for (std::size_t j = i; j < i + 4 * pack::size; ++j)
        if (scores[j] > best_.back().score) offer({static_cast<label_t>(first + j), scores[j]});
    }
    for (; i < scores.size(); ++i) offer({static_cast<label_t>(first + i), scores[i]});
  }

  [[nodiscard]] std::span<const label_score> best() const noexcept { return best_; }

 private:
  std::span<label_score> best_;
};

}  // namespace skim::inline v0
