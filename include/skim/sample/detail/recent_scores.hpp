// SPDX-License-Identifier: Apache-2.0
//
// The last scores of a stream, in order of size: what share of them a score exceeds.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"

namespace skim::inline v0::detail {

/// Sliding window over scores, which come in blocks: the last `capacity`, or the last block if that is
/// longer.
///
/// Cost: O(log block) a score and two passes over the window a block, none with branches that go either
/// way.
class recent_scores {
 public:
  recent_scores() = default;
  /// Pre: 0 < capacity < 2^31.
  explicit recent_scores(std::size_t capacity) : capacity_(capacity) {}

  /// Adds scores, oldest first, and tells of each what share of the window is not above it.
  /// Pre: finite, >= 0; fewer than 2^32; as many percentiles.
  void insert(std::span<const float> scores, std::span<double> percentiles) {
    SKIM_EXPECTS(scores.size() == percentiles.size());
    const std::size_t count = scores.size();
    fresh_.resize(count);
    for (std::size_t i = 0; i < count; ++i) fresh_[i] = key_of(scores[i], count - 1 - i);
    std::sort(fresh_.begin(), fresh_.end());
    std::size_t kept = 0;
    for (const std::uint64_t key : sorted_) {
      sorted_[kept] = key + count;
      kept += age_of(key) + count < capacity_ ? 1U : 0U;
    }
    sorted_.resize(kept);
    merge();
    // Of equal scores the last one has them all not above it.
    std::size_t not_above = merged_.size();
    for (std::size_t i = count; i-- > 0;) {
      const bool ties = i + 1 < count && score_of(fresh_[i]) == score_of(fresh_[i + 1]);
      if (!ties) {
        not_above = place_[i] + 1;
        while (not_above < merged_.size() && score_of(merged_[not_above]) == score_of(fresh_[i]))
          ++not_above;
      }
      percentiles[count - 1 - age_of(fresh_[i])] =
          static_cast<double>(not_above) / static_cast<double>(merged_.size());
    }
    sorted_.swap(merged_);
  }

  [[nodiscard]] std::size_t size() const noexcept { return sorted_.size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  void save(writer& out) const {
    out.begin_frame("recent_scores");
    out.put(static_cast<std::uint64_t>(capacity_));
    out.put(std::span(sorted_));
    out.end_frame();
  }
  [[nodiscard]] static recent_scores load(reader& in) {
    in.begin_frame("recent_scores");
    recent_scores r;
    r.capacity_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    r.sorted_ = in.get_vector<std::uint64_t>();
    if (r.capacity_ == 0 || r.capacity_ >= std::size_t{1} << 31)
      in.fail("holds a window of ", r.capacity_, " scores");
    for (std::size_t i = 0; i < r.sorted_.size(); ++i)
      if (score_of(r.sorted_[i]) >= infinity || (i > 0 && r.sorted_[i] <= r.sorted_[i - 1]))
        in.fail("holds recent scores that are none or out of order");
    in.end_frame();
    return r;
  }

 private:
  // A key is a score and how many came later: the bits of floats >= 0 are in the order of their values.
  static constexpr std::uint64_t infinity = 0x7f800000;
  static std::uint64_t key_of(float score, std::size_t age) noexcept {
    return std::uint64_t{std::bit_cast<std::uint32_t>(score + 0.0f)} << 32 | age;
  }
  static std::uint64_t score_of(std::uint64_t key) noexcept { return key >> 32; }
  static std::size_t age_of(std::uint64_t key) noexcept { return key & 0xffffffffU; }

  // Into merged_, with the places that the fresh keys take there.
  void merge() {
    merged_.resize(sorted_.size() + fresh_.size());
    place_.resize(fresh_.size());
    std::size_t old = 0, young = 0, at = 0;
    for (; old < sorted_.size() && young < fresh_.size(); ++at) {
      const bool older = sorted_[old] < fresh_[young];
      place_[young] = at;  // overwritten until it is so
      merged_[at] = older ? sorted_[old] : fresh_[young];
      old += older ? 1U : 0U;
      young += older ? 0U : 1U;
    }
    for (; young < fresh_.size(); ++young, ++at) {
      place_[young] = at;
      merged_[at] = fresh_[young];
    }
    for (; old < sorted_.size(); ++old, ++at) merged_[at] = sorted_[old];
  }

  std::size_t capacity_ = 1;
  std::vector<std::uint64_t> sorted_, fresh_, merged_;
  std::vector<std::size_t> place_;
};

}  // namespace skim::inline v0::detail
