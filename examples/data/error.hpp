// SPDX-License-Identifier: Apache-2.0
//
// The one error type of the readers: which file, where in it, what was found, what was wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace skim_examples {

/// A file that cannot be used: missing, damaged, or not what it should be.
///
/// what() is one line, "FILE:LINE: ..." for text and "FILE, byte N: ..." for binary files.
class data_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;

  [[nodiscard]] static data_error in_file(const std::string& file, const std::string& what) {
    return data_error(file + ": " + what);
  }
  [[nodiscard]] static data_error at_line(const std::string& file, std::size_t line,
                                          const std::string& what) {
    return data_error(file + ":" + std::to_string(line) + ": " + what);
  }
  [[nodiscard]] static data_error at_byte(const std::string& file, std::uint64_t offset,
                                          const std::string& what) {
    return data_error(file + ", byte " + std::to_string(offset) + ": " + what);
  }
};

/// A piece of a hostile file, fit to be shown in a message: printable, quoted, at most 40 bytes.
[[nodiscard]] inline std::string shown(std::string_view text) {
  constexpr std::size_t limit = 40;
  std::string out = "'";
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  out += text.size() > limit ? "...'" : "'";
  return out;
}

}  // namespace skim_examples
