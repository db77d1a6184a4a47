// SPDX-License-Identifier: Apache-2.0
//
// Counts what the program allocates, to show that a warm path allocates nothing. Replaces the
// global operator new, so: include it in one source file of an executable only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

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

inline void* counted_allocation(std::size_t bytes, std::size_t alignment) {
  allocations.count.fetch_add(1, std::memory_order_relaxed);
  allocations.bytes.fetch_add(bytes, std::memory_order_relaxed);
  const std::size_t rounded = (bytes + alignment) / alignment * alignment;  // at least one byte
  void* p = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace detail
}  // namespace skim_test

// The array, nothrow and sized forms of the standard library call these.
void* operator new(std::size_t bytes) {
  return skim_test::detail::counted_allocation(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return skim_test::detail::counted_allocation(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
