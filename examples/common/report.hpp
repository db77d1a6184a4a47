// SPDX-License-Identifier: Apache-2.0
//
// What every program tells at its end: tables, JSON, and the memory it took.
#pragma once

#include <cstddef>

#include <sys/resource.h>

#include "common/json.hpp"
#include "common/progress.hpp"
#include "common/table.hpp"

namespace skim_examples {

/// The most memory this process has had resident so far, in bytes.
[[nodiscard]] inline std::size_t peak_memory_bytes() noexcept {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
  return static_cast<std::size_t>(usage.ru_maxrss);
#else
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
#endif
}

}  // namespace skim_examples
