// SPDX-License-Identifier: Apache-2.0
//
// Reusable scratch memory, so that hot paths do not allocate.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Scratch memory that a caller lends to one call at a time.
///
/// A bump allocator: a frame marks the top, take() moves it, and the frame's end moves it back.
/// Blocks grow geometrically and are joined to one when the outermost frame ends, so a loop
/// allocates only in its first rounds.
///
/// Memory:  at most four times the largest total that was taken at once.
/// Cost:    take O(1); an allocation only when it has never held as much.
/// Threads: none: give each thread its own.
class workspace {
 public:
  workspace() = default;
  workspace(const workspace&) = delete;
  workspace& operator=(const workspace&) = delete;
  workspace(workspace&&) noexcept = default;
  workspace& operator=(workspace&&) noexcept = default;

  /// Everything taken through a frame is returned when it goes out of scope; frames nest as scopes
  /// do.
  class frame_type {
   public:
    frame_type(const frame_type&) = delete;
    frame_type& operator=(const frame_type&) = delete;
    ~frame_type() {
      SKIM_EXPECTS(owner_.depth_ == depth_);
      owner_.rewind(block_, used_);
    }

    /// n uninitialised elements on a cache line of their own. Throws std::bad_alloc. Pre: this is
    /// the innermost frame (the end of an inner one would return the memory).
    template <class T>
    [[nodiscard]] std::span<T> take(std::size_t n) {
      static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>,
                    "scratch memory holds trivial types only: nothing constructs or destroys them");
      SKIM_EXPECTS(owner_.depth_ == depth_);
      if (n > std::numeric_limits<std::size_t>::max() / 4 / sizeof(T)) SKIM_THROW(std::bad_alloc);
      return {reinterpret_cast<T*>(owner_.take_bytes(n * sizeof(T))), n};
    }

   private:
    friend class workspace;
    explicit frame_type(workspace& owner) noexcept
        : owner_(owner), block_(owner.block_), used_(owner.used_), depth_(++owner.depth_) {}

    workspace& owner_;
    std::size_t block_, used_, depth_;
  };

  [[nodiscard]] frame_type frame() noexcept { return frame_type(*this); }

  /// Bytes held, in use or not.
  [[nodiscard]] std::size_t capacity() const noexcept {
    std::size_t total = 0;
    for (const auto& b : blocks_) total += b.size();
    return total;
  }

 private:
  using block = aligned_vector<std::byte>;

  std::byte* take_bytes(std::size_t bytes) {
    bytes = (bytes + cache_line - 1) / cache_line * cache_line;
    while (block_ < blocks_.size() && blocks_[block_].size() - used_ < bytes) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) {
      const std::size_t least = std::max<std::size_t>(bytes, capacity());
      blocks_.emplace_back(std::max<std::size_t>(least, 4096));
    }
    std::byte* p = blocks_[block_].data() + used_;
    used_ += bytes;
    return p;
  }

  void rewind(std::size_t to_block, std::size_t to_used) noexcept {
    block_ = to_block;
    used_ = to_used;
    if (--depth_ == 0 && blocks_.size() > 1) join();
  }

  // One block as large as all together: the next round fits into it. The many go first, so that
  // both are never held at once; should the one not be had, take() starts anew.
  void join() noexcept {
    const std::size_t total = capacity();
    blocks_.clear();
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    try {
      blocks_.emplace_back(total);
    } catch (const std::bad_alloc&) {
    }
#else
    blocks_.emplace_back(total);
#endif
  }

  std::vector<block> blocks_;
  std::size_t block_ = 0, used_ = 0, depth_ = 0;
};

}  // namespace skim::inline v0
