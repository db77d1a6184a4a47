// SPDX-License-Identifier: Apache-2.0
//
// Numbers out of text: checked, independent of the locale, and quick for short decimals.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <system_error>

namespace skim_examples {

enum class number_status { ok, not_a_number, not_finite, out_of_range };

/// What a message says about a status other than ok.
[[nodiscard]] constexpr const char* describe(number_status status) noexcept {
  switch (status) {
    case number_status::not_finite:
      return "wanted a finite number";
    case number_status::out_of_range:
      return "wanted a number within the range of float";
    default:
      return "wanted a number";
  }
}

template <class T>
struct parsed {
  T value{};
  const char* next = nullptr;  ///< first character not used
  number_status status = number_status::not_a_number;
};

[[nodiscard]] inline std::string_view trimmed(std::string_view text) noexcept {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Reads a double from the front of [first, last).
[[nodiscard]] inline parsed<double> parse_double(const char* first, const char* last) noexcept {
  if (first != last && *first == '+' && last - first > 1 && first[1] != '-') ++first;
  parsed<double> out;
  const auto [next, code] = std::from_chars(first, last, out.value);
  out.next = next;
  if (code == std::errc::result_out_of_range) {
    // from_chars does not tell 1e400 from 1e-400; only the second has a harmless nearest value
    const std::string_view token(first, static_cast<std::size_t>(next - first));
    const bool tiny = token.find("e-") != token.npos || token.find("E-") != token.npos;
    out.value = 0;
    out.status = tiny ? number_status::ok : number_status::out_of_range;
  } else if (code != std::errc{}) {
    out.status = number_status::not_a_number;
  } else {
    out.status = std::isfinite(out.value) ? number_status::ok : number_status::not_finite;
  }
  return out;
}

/// Reads a float from the front of [first, last), rounded correctly.
[[nodiscard]] inline parsed<float> parse_float(const char* first, const char* last) noexcept {
  // m / 10^k with m < 2^24 and k <= 10 is one correctly rounded division of exact floats
  static constexpr std::array<float, 11> power{1e0F, 1e1F, 1e2F, 1e3F, 1e4F, 1e5F,
                                               1e6F, 1e7F, 1e8F, 1e9F, 1e10F};
  const char* p = first;
  const bool negative = p != last && *p == '-';
  if (negative) ++p;
  std::uint32_t mantissa = 0;
  std::size_t digits = 0, decimals = 0;
  const auto take_digits = [&](std::size_t& count) {
    while (p != last && *p >= '0' && *p <= '9' && mantissa < (1U << 24) && count <= 10) {
      mantissa = 10 * mantissa + static_cast<std::uint32_t>(*p - '0');
      ++p;
      ++count;
    }
  };
  take_digits(digits);
  if (p != last && *p == '.') {
    ++p;
    take_digits(decimals);
  }
  const bool ended = p == last || *p == ' ' || *p == ',' || *p == '\t' || *p == ';';
  if (ended && digits + decimals > 0 && mantissa < (1U << 24) && decimals <= 10) {
    const float magnitude = static_cast<float>(mantissa) / power[decimals];
    return {negative ? -magnitude : magnitude, p, number_status::ok};
  }

  if (first != last && *first == '+' && last - first > 1 && first[1] != '-') ++first;
  parsed<float> out;
  const auto [next, code] = std::from_chars(first, last, out.value);
  out.next = next;
  if (code == std::errc::result_out_of_range) {
    const auto wide = parse_double(first, last);
    const bool tiny = wide.status == number_status::ok && std::abs(wide.value) < 1;
    out.value = tiny ? static_cast<float>(wide.value) : 0.0F;
    out.status = tiny ? number_status::ok : number_status::out_of_range;
  } else if (code != std::errc{}) {
    out.status = number_status::not_a_number;
  } else {
    out.status = std::isfinite(out.value) ? number_status::ok : number_status::not_finite;
  }
  return out;
}

/// Reads a whole number >= 0 from the front of [first, last).
[[nodiscard]] inline parsed<std::uint64_t> parse_count(const char* first,
                                                       const char* last) noexcept {
  parsed<std::uint64_t> out;
  const auto [next, code] = std::from_chars(first, last, out.value);
  out.next = next;
  out.status = code == std::errc{}                      ? number_status::ok
               : code == std::errc::result_out_of_range ? number_status::out_of_range
                                                        : number_status::not_a_number;
  return out;
}

/// The whole text as one number, or a status.
[[nodiscard]] inline parsed<double> whole_double(std::string_view text) noexcept {
  auto out = parse_double(text.data(), text.data() + text.size());
  if (out.next != text.data() + text.size() || text.empty())
    out.status = number_status::not_a_number;
  return out;
}
[[nodiscard]] inline parsed<float> whole_float(std::string_view text) noexcept {
  auto out = parse_float(text.data(), text.data() + text.size());
  if (out.next != text.data() + text.size() || text.empty())
    out.status = number_status::not_a_number;
  return out;
}

}  // namespace skim_examples
