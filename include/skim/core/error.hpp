// SPDX-License-Identifier: Apache-2.0
//
// What skim throws, and the helper that writes the messages.
#pragma once

#include <concepts>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "skim/core/config.hpp"

namespace skim::inline v0 {

/// Base of everything skim throws. Messages say what was given and what was wanted; the structure a
/// call was made on is left as it was.
class error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Parameters that no structure can be built from.
class invalid_params : public error {
 public:
  using error::error;
};

/// Data that cannot be inserted, queried, drawn from or observed: a wrong shape, a NaN, a bad id.
class invalid_input : public error {
 public:
  using error::error;
};

/// Bytes that are not the saved image they should be.
class format_error : public error {
 public:
  using error::error;
};

/// A file or stream that cannot be opened, read or written.
class io_error : public error {
 public:
  using error::error;
};

/// Structures that cannot be merged because their parameters or hash functions differ.
class merge_error : public error {
 public:
  using error::error;
};

namespace detail {

inline void append_text(std::string& out, std::string_view part) {
  out += part;
}

template <class T>
requires std::is_arithmetic_v<T>
void append_text(std::string& out, T part) {
  if constexpr (std::floating_point<T>) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(part));
    out += text;
  } else {
    out += std::to_string(part);
  }
}

/// Joins strings and numbers to one message.
template <class... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::string out;
  (append_text(out, parts), ...);
  return out;
}

}  // namespace detail
}  // namespace skim::inline v0
