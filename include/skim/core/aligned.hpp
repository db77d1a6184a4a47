// SPDX-License-Identifier: Apache-2.0
//
// Vectors that begin on a cache line, whatever instruction set a translation unit is compiled for.
#pragma once

#include <cstddef>
#include <limits>
#include <new>
#include <vector>

#include "skim/core/config.hpp"

namespace skim::inline v0 {

inline constexpr std::size_t cache_line = 64;  ///< bytes

/// Allocator whose memory begins on a cache line.
template <class T>
struct aligned_allocator {
  using value_type = T;

  aligned_allocator() noexcept = default;
  template <class U>
  aligned_allocator(const aligned_allocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] T* allocate(std::size_t n) {
    if (n > std::numeric_limits<std::size_t>::max() / sizeof(T))
      SKIM_THROW(std::bad_array_new_length);
    return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{cache_line}));
  }
  void deallocate(T* p, std::size_t) noexcept {
    ::operator delete (p, std::align_val_t{cache_line});
  }

  template <class U>
  friend bool operator==(const aligned_allocator&, const aligned_allocator<U>&) noexcept {
    return true;
  }
};

/// std::vector that begins on a cache line.
template <class T>
using aligned_vector = std::vector<T, aligned_allocator<T>>;

}  // namespace skim::inline v0
