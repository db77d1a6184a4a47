// SPDX-License-Identifier: Apache-2.0
//
// One line that tells how far long work is, for people only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <sys/ioctl.h>
#include <unistd.h>

#include "common/table.hpp"

namespace skim_examples {

enum class progress_mode { automatic, on, off };

/// Shows a line that replaces itself while stdout is a terminal, and leaves nothing behind.
///
/// Cost:    show() draws at most ten times a second; otherwise it reads a clock. Without a terminal
///          it does nothing.
/// Threads: one at a time.
class progress_line {
 public:
  explicit progress_line(progress_mode mode = progress_mode::automatic, std::FILE* to = stdout)
      : to_(to) {
    const char* const terminal = std::getenv("TERM");
    const bool able =
        ::isatty(::fileno(to)) != 0 && terminal != nullptr && std::string_view(terminal) != "dumb";
    on_ = mode == progress_mode::on || (mode == progress_mode::automatic && able);
  }
  ~progress_line() { clear(); }
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;

  /// Whether a line would be shown now; lets a caller save the making of its text.
  [[nodiscard]] bool due() const noexcept {
    return on_ && (!shown_ || clock::now() - last_ >= std::chrono::milliseconds(100));
  }

  void show(std::string_view text) {
    if (!due()) return;
    last_ = clock::now();
    shown_ = true;
    const std::string line = "\r\x1b[2K" + std::string(cut(text, terminal_width() - 1));
    std::fwrite(line.data(), 1, line.size(), to_);
    std::fflush(to_);
  }

  /// Takes the line away, as is due before anything else is printed.
  void clear() {
    if (!shown_) return;
    std::fputs("\r\x1b[2K", to_);
    std::fflush(to_);
    shown_ = false;
  }

 private:
  using clock = std::chrono::steady_clock;

  [[nodiscard]] std::size_t terminal_width() const noexcept {
    winsize size{};
    const bool known = ::ioctl(::fileno(to_), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? size.ws_col : 80;
  }

  // a line that wraps could not be taken away again; never cuts a code point in two
  [[nodiscard]] static std::string_view cut(std::string_view text, std::size_t columns) noexcept {
    std::size_t at = 0;
    for (; at < text.size(); ++at) {
      const bool begins = (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
      if (begins && columns-- == 0) break;
    }
    return text.substr(0, at);
  }

  std::FILE* to_;
  bool on_ = false, shown_ = false;
  clock::time_point last_{};
};

}  // namespace skim_examples
