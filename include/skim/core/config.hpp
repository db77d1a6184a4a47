// SPDX-License-Identifier: Apache-2.0
//
// Macros, compiler checks and the integer types every header shares.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if __cplusplus < 202002L && !(defined(_MSVC_LANG) && _MSVC_LANG >= 202002L)
#error "skim needs C++20: compile with -std=c++20 or link the CMake target skim::skim"
#endif

/// Checks a precondition of an internal kernel. Active without NDEBUG or with SKIM_CHECKED=1;
/// prints the expression and aborts. Public entry points throw instead.
#if !defined(NDEBUG) || (defined(SKIM_CHECKED) && SKIM_CHECKED)
#define SKIM_EXPECTS(...)         \
  (static_cast<bool>(__VA_ARGS__) \
       ? void()                   \
       : ::skim::detail::expects_failed(#__VA_ARGS__, __FILE__, __LINE__))
#else
#define SKIM_EXPECTS(...) void()
#endif

/// Throws `type(message)`; where exceptions are off, prints the message and aborts.
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define SKIM_THROW(type, ...) throw type(__VA_ARGS__)
#else
#define SKIM_THROW(type, ...) ::skim::detail::abort_with(type(__VA_ARGS__))
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SKIM_ALWAYS_INLINE inline __attribute__((always_inline))
#define SKIM_INLINE_LAMBDA __attribute__((always_inline))  // after a lambda's parameters
#define SKIM_NEVER_INLINE __attribute__((noinline))
#define SKIM_RESTRICT __restrict__
#define SKIM_PREFETCH(address) __builtin_prefetch(address)
#else
#define SKIM_ALWAYS_INLINE inline
#define SKIM_INLINE_LAMBDA
#define SKIM_NEVER_INLINE
#define SKIM_RESTRICT
#define SKIM_PREFETCH(address) void()
#endif

namespace skim::inline v0 {

using id_t = std::uint32_t;     ///< position of an example, a neuron or a feature
using code_t = std::uint32_t;   ///< value of one hash
using label_t = std::uint32_t;  ///< class of an example

namespace detail {

[[noreturn]] inline void expects_failed(const char* expression, const char* file,
                                        int line) noexcept {
  std::fprintf(stderr, "%s:%d: skim expects %s\n", file, line, expression);
  std::abort();
}

template <class Error>
[[noreturn]] inline void abort_with(const Error& error) noexcept {
  std::fprintf(stderr, "skim: %s\n", error.what());
  std::abort();
}

}  // namespace detail
}  // namespace skim::inline v0
