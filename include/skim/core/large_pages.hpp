// SPDX-License-Identifier: Apache-2.0
//
// Vectors whose memory the system is asked to map in large pages: for arrays of many megabytes that
// are read at random places, where looking up 4 KB pages costs as much as the reads.
#pragma once

#include <cstddef>
#include <limits>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"

namespace skim::inline v0 {

/// Allocator that begins on a cache line, and from 4 MB on, where the system has transparent large
/// pages (Linux), on such a page, which it then asks for. Elsewhere, and if refused, it is an
/// aligned_allocator; only speed depends on it.
///
/// Memory:  up to 2 MB more than asked for, from 4 MB on.
template <class T>
struct large_page_allocator {
  using value_type = T;

  static constexpr std::size_t page = std::size_t{2} << 20;  ///< bytes

  large_page_allocator() noexcept = default;
  template <class U>
  large_page_allocator(const large_page_allocator<U>&) noexcept {}  // NOLINT

  [[nodiscard]] T* allocate(std::size_t n) {
    if (n > std::numeric_limits<std::size_t>::max() / 2 / sizeof(T))
      SKIM_THROW(std::bad_array_new_length);
    void* p = ::operator new (n * sizeof(T), std::align_val_t{alignment(n)});
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    // Whole pages only: what lies around them is not ours.
    if (alignment(n) == page)
      static_cast<void>(::madvise(p, n * sizeof(T) / page * page, MADV_HUGEPAGE));
#endif
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    ::operator delete (p, std::align_val_t{alignment(n)});
  }

  template <class U>
  friend bool operator==(const large_page_allocator&, const large_page_allocator<U>&) noexcept {
    return true;
  }

 private:
  [[nodiscard]] static constexpr std::size_t alignment(std::size_t n) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    return n * sizeof(T) >= 2 * page ? page : cache_line;
#else
    return cache_line;
#endif
  }
};

/// std::vector for large arrays.
template <class T>
using large_vector = std::vector<T, large_page_allocator<T>>;

}  // namespace skim::inline v0
