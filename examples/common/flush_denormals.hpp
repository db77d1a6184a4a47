// SPDX-License-Identifier: Apache-2.0
//
// Denormal numbers taken as zero for a while: arithmetic on them costs a hundred times the usual.
#pragma once

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#define SKIM_EXAMPLES_HAVE_MXCSR 1
#else
#define SKIM_EXAMPLES_HAVE_MXCSR 0
#endif

namespace skim_examples {

/// Takes denormal operands and results as zero on this thread until it goes out of scope.
///
/// Training makes them by itself: an Adam mean whose gradient stays zero is one after 800 steps,
/// the softmax of a class that cannot win is one from the start. Does nothing but on x86.
///
/// Cost:    about 10 ns.
/// Threads: acts on the thread that made it.
class flush_denormals {
 public:
  flush_denormals(const flush_denormals&) = delete;
  flush_denormals& operator=(const flush_denormals&) = delete;
#if SKIM_EXAMPLES_HAVE_MXCSR
  flush_denormals() noexcept : before_(_mm_getcsr()) {
    _mm_setcsr(before_ | 0x8040u);  // flush results to zero, take operands as zero
  }
  ~flush_denormals() {
    _mm_setcsr(before_);
  }

 private:
  unsigned before_;
#else
  flush_denormals() noexcept {}
  ~flush_denormals() {}
#endif
};

}  // namespace skim_examples
