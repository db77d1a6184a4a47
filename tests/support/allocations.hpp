// SPDX-License-Identifier: Apache-2.0
//
// Counts what the program allocates, to show that a warm path allocates nothing. Replaces the
// global operator new, so: include it in one source file of an executable only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "skim/core/config.hpp"

namespace skim_test {

/// Since the start of the program, over all threads.
struct allocation_totals {
  std::atomic<std::size_t> count{0}, bytes{0};
};
inline allocation_totals allocations;

/// Calls f and returns how often it allocated.
template <class F>
std::size_t allocations_of(F&& f) {
  const std::size_t before = allocations.count.load();
  f();
  return allocations.count.load() - before;
}

/// Calls f and returns how many bytes it allocated in all, freed or not.
template <class F>
std::size_t bytes_allocated_by(F&& f) {
  const std::size_t before = allocations.bytes.load();
  f();
  return allocations.bytes.load() - before;
}

namespace detail {

inline void* counted_allocation(std::size_t bytes, std::size_t alignment) noexcept {
  // A terabyte is refused here: sanitizers would end the program over it.
  if (bytes >= std::size_t{1} << 40) return nullptr;
  allocations.count.fetch_add(1, std::memory_order_relaxed);
  allocations.bytes.fetch_add(bytes, std::memory_order_relaxed);
  return std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
}

inline void* allocation_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* p = counted_allocation(bytes, alignment)) return p;
  throw std::bad_alloc();
}

inline constexpr std::size_t plain = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace detail
}  // namespace skim_test

// All forms: a sanitizer brings its own, which do not call one another. Not inlined, or gcc takes their
// malloc and free for a mistake of the callers.
SKIM_NEVER_INLINE void* operator new(std::size_t n) {
  return skim_test::detail::allocation_or_throw(n, skim_test::detail::plain);
}
SKIM_NEVER_INLINE void* operator new[](std::size_t n) {
  return skim_test::detail::allocation_or_throw(n, skim_test::detail::plain);
}
SKIM_NEVER_INLINE void* operator new(std::size_t n, std::align_val_t a) {
  return skim_test::detail::allocation_or_throw(n, static_cast<std::size_t>(a));
}
SKIM_NEVER_INLINE void* operator new[](std::size_t n, std::align_val_t a) {
  return skim_test::detail::allocation_or_throw(n, static_cast<std::size_t>(a));
}
SKIM_NEVER_INLINE void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return skim_test::detail::counted_allocation(n, skim_test::detail::plain);
}
SKIM_NEVER_INLINE void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return skim_test::detail::counted_allocation(n, skim_test::detail::plain);
}
SKIM_NEVER_INLINE void operator delete(void* p) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete[](void* p) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete[](void* p, std::size_t) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete[](void* p, std::align_val_t) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete(void* p, const std::nothrow_t&) noexcept {
  std::free(p);
}
SKIM_NEVER_INLINE void operator delete[](void* p, const std::nothrow_t&) noexcept {
  std::free(p);
}
