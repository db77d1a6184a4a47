// SPDX-License-Identifier: Apache-2.0
//
// Aligned text tables, and numbers as a person reads them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace skim_examples {

enum class align { left, right };

/// Columns that text takes on a terminal, one a code point.
[[nodiscard]] inline std::size_t display_width(std::string_view text) noexcept {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

/// A table of cells; columns are as wide as their widest cell, numbers stand to the right.
///
///   text_table t({"sampler", "seconds"});
///   t.add({"uniform", fixed(1.25, 2)});
///   std::cout << t;
class text_table {
 public:
  explicit text_table(std::vector<std::string> header) : header_(std::move(header)) {
    for (auto& cell : header_) make_printable(cell);
  }

  /// Throws std::invalid_argument unless there is a cell for every column.
  void add(std::vector<std::string> cells) {
    if (cells.size() != header_.size()) {
      throw std::invalid_argument("text_table: got " + std::to_string(cells.size()) +
                                  " cells, wanted " + std::to_string(header_.size()));
    }
    for (auto& cell : cells) make_printable(cell);
    rows_.push_back(std::move(cells));
  }

  [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }

  friend std::ostream& operator<<(std::ostream& out, const text_table& table) {
    const std::size_t columns = table.header_.size();
    std::vector<std::size_t> width(columns);
    std::vector<align> side(columns, align::left);
    for (std::size_t c = 0; c < columns; ++c) {
      width[c] = display_width(table.header_[c]);
      bool numbers = !table.rows_.empty();
      for (const auto& row : table.rows_) {
        width[c] = std::max(width[c], display_width(row[c]));
        numbers = numbers && is_number(row[c]);
      }
      if (numbers) side[c] = align::right;
    }
    print(out, table.header_, width, side);
    std::string rule;
    for (std::size_t c = 0; c < columns; ++c) {
      rule += (c == 0 ? "" : "  ") + std::string(width[c], '-');
    }
    out << rule << '\n';
    for (const auto& row : table.rows_) print(out, row, width, side);
    return out;
  }

 private:
  static void make_printable(std::string& cell) {
    for (char& c : cell) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7f) c = ' ';
    }
  }

  // "1.25", "3.1x", "> 2.0x", "41 ms", "-", but not "3 layers of sparse": a digit comes first and
  // no more than one word follows
  [[nodiscard]] static bool is_number(std::string_view cell) noexcept {
    while (!cell.empty() && std::string_view("+-<>~= ").find(cell.front()) != cell.npos) {
      cell.remove_prefix(1);
    }
    if (cell.empty()) return true;
    if ((cell.front() < '0' || cell.front() > '9') && cell.front() != '.') return false;
    return std::count(cell.begin(), cell.end(), ' ') <= 3;
  }

  static void print(std::ostream& out, const std::vector<std::string>& cells,
                    const std::vector<std::size_t>& width, const std::vector<align>& side) {
    std::string line;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string pad(width[c] - display_width(cells[c]), ' ');
      line += c == 0 ? "" : "  ";
      line += side[c] == align::right ? pad + cells[c] : cells[c] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }

  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

/// A number with so many decimals; "-" if it is not finite.
[[nodiscard]] inline std::string fixed(double value, int decimals) {
  if (!std::isfinite(value)) return "-";
  char text[400];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}
/// A number with so many significant digits; "-" if it is not finite.
[[nodiscard]] inline std::string significant(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  char text[64];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}
/// A fraction as a percentage.
[[nodiscard]] inline std::string percent(double fraction, int decimals = 1) {
  return std::isfinite(fraction) ? fixed(100 * fraction, decimals) + " %" : "-";
}
/// "850 ns", "1.23 ms", "4.56 s", "2 min 05 s".
[[nodiscard]] inline std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  const double size = std::abs(seconds);
  if (size >= 99.95) {
    const auto whole = std::llround(seconds);
    char text[64];
    std::snprintf(text, sizeof text, "%lld min %02lld s", whole / 60, std::abs(whole % 60));
    return text;
  }
  if (size >= 0.9995 || size == 0) return significant(seconds, 3) + " s";
  if (size >= 0.9995e-3) return significant(seconds * 1e3, 3) + " ms";
  if (size >= 0.9995e-6) return significant(seconds * 1e6, 3) + " us";
  return significant(seconds * 1e9, 3) + " ns";
}
/// "512 B", "1.5 MB" (of 1024 KB of 1024 bytes).
[[nodiscard]] inline std::string byte_size(double bytes) {
  static constexpr const char* unit[] = {"B", "KB", "MB", "GB", "TB"};
  std::size_t u = 0;
  for (; bytes >= 1023.5 && u < 4; ++u) bytes /= 1024;
  return (u == 0 || bytes >= 99.95 ? fixed(bytes, 0) : significant(bytes, 3)) + " " + unit[u];
}
/// 60000 as "60,000".
[[nodiscard]] inline std::string grouped(std::size_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

}  // namespace skim_examples
