// SPDX-License-Identifier: Apache-2.0
//
// The k nearest of what is offered.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "skim/core/config.hpp"
#include "skim/index/neighbor.hpp"

namespace skim::inline v0::detail {

// Keeps them in memory of the caller, the farthest on top of a heap.
class nearest {
 public:
  explicit nearest(std::span<neighbor> place) noexcept : place_(place) {}

  [[nodiscard]] bool full() const noexcept { return count_ == place_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

  // What is farther than this is of no interest; infinite until k have come. Pre: k > 0.
  [[nodiscard]] float limit() const noexcept {
    return full() ? place_.front().distance : std::numeric_limits<float>::infinity();
  }

  // From now on id i is called names[i].
  void call(const id_t* names) noexcept { names_ = names; }

  // Pre: k > 0, not offered before.
  void offer(neighbor n) noexcept {
    if (names_ != nullptr) n.id = names_[n.id];
    if (!full()) {
      place_[count_++] = n;
      std::push_heap(place_.begin(), end());
    } else if (n < place_.front()) {
      std::pop_heap(place_.begin(), end());
      place_.back() = n;
      std::push_heap(place_.begin(), end());
    }
  }

  // Nearest first; returns how many.
  std::size_t finish() noexcept {
    std::sort_heap(place_.begin(), end());
    return count_;
  }

 private:
  [[nodiscard]] std::span<neighbor>::iterator end() const noexcept {
    return place_.begin() + static_cast<std::ptrdiff_t>(count_);
  }

  std::span<neighbor> place_;
  std::size_t count_ = 0;
  const id_t* names_ = nullptr;
};

}  // namespace skim::inline v0::detail
