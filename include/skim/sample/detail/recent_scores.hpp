// SPDX-License-Identifier: Apache-2.0
//
// The last scores of a stream, in order of size: what share of them a score exceeds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"

namespace skim::inline v0::detail {

/// Sliding window over scores. Blocks are merged in, so that an insertion costs O(log block) and an
/// O(capacity) pass a block, and a percentile a binary search.
class recent_scores {
 public:
  recent_scores() = default;
  /// Pre: capacity > 0.
  explicit recent_scores(std::size_t capacity) : capacity_(capacity) {}

  /// Adds scores, oldest first, and forgets all but the last `capacity`. Pre: finite, >= 0.
  void insert(std::span<const float> scores) {
    scores = scores.last(std::min(scores.size(), capacity_));
    fresh_.clear();
    for (std::size_t i = 0; i < scores.size(); ++i)
      fresh_.push_back({scores[i], static_cast<std::uint32_t>(scores.size() - 1 - i)});
    std::sort(fresh_.begin(), fresh_.end(), less);
    const auto count = static_cast<std::uint32_t>(scores.size());
    std::size_t kept = 0;
    for (entry e : sorted_) {
      e.age += count;
      if (e.age < capacity_) sorted_[kept++] = e;
    }
    sorted_.resize(kept);
    merged_.resize(kept + fresh_.size());
    std::merge(sorted_.begin(), sorted_.end(), fresh_.begin(), fresh_.end(), merged_.begin(), less);
    sorted_.swap(merged_);
  }

  /// Share of the window that is not above the score. Pre: size() > 0.
  [[nodiscard]] double percentile(float score) const noexcept {
    SKIM_EXPECTS(!sorted_.empty());
    const auto above = std::upper_bound(sorted_.begin(), sorted_.end(), score,
                                        [](float s, const entry& e) { return s < e.score; });
    return static_cast<double>(above - sorted_.begin()) / static_cast<double>(sorted_.size());
  }

  [[nodiscard]] std::size_t size() const noexcept { return sorted_.size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  void save(writer& out) const {
    out.begin_frame("recent_scores");
    out.put(static_cast<std::uint64_t>(capacity_));
    out.put(static_cast<std::uint64_t>(sorted_.size()));
    for (const entry& e : sorted_) {
      out.put(e.score);
      out.put(e.age);
    }
    out.end_frame();
  }
  [[nodiscard]] static recent_scores load(reader& in) {
    in.begin_frame("recent_scores");
    recent_scores r;
    r.capacity_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    const auto size = in.get<std::uint64_t>();
    if (r.capacity_ == 0 || size > r.capacity_ || size > in.remaining() / sizeof(entry))
      in.fail("holds ", size, " of ", r.capacity_, " recent scores");
    for (std::uint64_t i = 0; i < size; ++i) {
      entry e;
      e.score = in.get<float>();
      e.age = in.get<std::uint32_t>();
      if (!(e.score >= 0 && std::isfinite(e.score)) || e.age >= size ||
          (i > 0 && less(e, r.sorted_.back())))
        in.fail("holds recent scores that are none or out of order");
      r.sorted_.push_back(e);
    }
    in.end_frame();
    return r;
  }

 private:
  struct entry {
    float score = 0;
    std::uint32_t age = 0;  // scores that came later
  };
  // Of equal scores the younger first, so that the order is one.
  static bool less(const entry& a, const entry& b) noexcept {
    return a.score != b.score ? a.score < b.score : a.age < b.age;
  }

  std::size_t capacity_ = 1;
  std::vector<entry> sorted_, fresh_, merged_;
};

}  // namespace skim::inline v0::detail
