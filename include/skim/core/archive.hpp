// SPDX-License-Identifier: Apache-2.0
//
// The format in which structures save themselves: framed little-endian bytes. Where the bytes go is
// io's business.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/mix.hpp"

namespace skim::inline v0 {

namespace detail {

/// What an archive stores one by one: numbers and enumerations of at most 8 bytes.
template <class T>
concept archivable = (std::is_arithmetic_v<T> || std::is_enum_v<T>)&&sizeof(T) <= 8;

/// 64-bit checksum of bytes, taken eight at a time; detects any change of one word.
[[nodiscard]] inline std::uint64_t checksum(std::span<const std::byte> bytes) noexcept {
  std::uint64_t sum = mix64(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    std::uint64_t word = 0;
    for (std::size_t k = 0; k < 8 && i + k < bytes.size(); ++k)
      word |= std::to_integer<std::uint64_t>(bytes[i + k]) << (8 * k);
    sum = mix64(sum ^ word) + 0x9e3779b97f4a7c15u;
  }
  return sum;
}

inline constexpr std::uint32_t archive_magic = 0x4d494b53;  // "SKIM" in little-endian bytes
inline constexpr std::size_t frame_header_bytes = 4 + 2 + 2 + 8 + 8;

/// Fixed part of a frame: magic, version, tag length, payload length (tag included), checksum of
/// it.
struct frame_header {
  std::uint16_t version = 0, tag_bytes = 0;
  std::uint64_t payload_bytes = 0, payload_checksum = 0;
};

}  // namespace detail

/// Collects the saved image of a structure as little-endian bytes.
///
/// Every structure writes one frame: magic, version, tag, length and checksum, then its values.
/// Frames nest. Equal structures give equal bytes on every platform.
///
/// Memory:  the image itself.
/// Cost:    O(bytes).
/// Threads: none.
class writer {
 public:
  /// Opens a frame. The tag names the structure, the version its layout. Pre: tag of 1 to 255
  /// characters.
  void begin_frame(std::string_view tag, std::uint16_t version = 1) {
    SKIM_EXPECTS(!tag.empty() && tag.size() < 256);
    open_.push_back(bytes_.size());
    put(detail::archive_magic);
    put(version);
    put(static_cast<std::uint16_t>(tag.size()));
    put(std::uint64_t{0});  // length and checksum follow when the frame ends
    put(std::uint64_t{0});
    for (const char c : tag) bytes_.push_back(static_cast<std::byte>(c));
  }

  /// Closes the innermost open frame.
  void end_frame() {
    SKIM_EXPECTS(!open_.empty());
    const std::size_t header = open_.back(), payload = header + detail::frame_header_bytes;
    open_.pop_back();
    const std::span<const std::byte> content = std::span(bytes_).subspan(payload);
    store(header + 8, static_cast<std::uint64_t>(content.size()));
    store(header + 16, detail::checksum(content));
  }

  /// One number.
  template <detail::archivable T>
  void put(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    store(at, value);
  }

  /// A list of numbers, its length first.
  template <class T, std::size_t N>
  requires detail::archivable<std::remove_const_t<T>>
  void put(std::span<T, N> values) {
    put(static_cast<std::uint64_t>(values.size()));
    const std::size_t at = bytes_.size();
    bytes_.resize(at + values.size_bytes());
    if constexpr (std::endian::native == std::endian::little) {
      if (!values.empty()) std::memcpy(bytes_.data() + at, values.data(), values.size_bytes());
    } else {
      for (std::size_t i = 0; i < values.size(); ++i) store(at + i * sizeof(T), values[i]);
    }
  }

  /// Everything written. Pre: no frame is open.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    SKIM_EXPECTS(open_.empty());
    return bytes_;
  }

 private:
  template <class T>
  void store(std::size_t at, T value) noexcept {
    std::array<std::byte, sizeof(T)> raw = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    if constexpr (std::endian::native != std::endian::little) std::reverse(raw.begin(), raw.end());
    std::memcpy(bytes_.data() + at, raw.data(), raw.size());
  }

  std::vector<std::byte> bytes_;
  std::vector<std::size_t> open_;  // where the open frames begin
};

/// Reads what a writer wrote; treats the bytes as hostile.
///
/// Lengths are checked against what remains before anything is allocated, a frame's checksum before
/// its values are read. Everything throws format_error, and says what was found and what was
/// wanted.
///
/// Memory:  none of its own; the bytes must outlive it.
/// Cost:    O(bytes).
/// Threads: none.
class reader {
 public:
  explicit reader(std::span<const std::byte> bytes) noexcept : bytes_(bytes), end_(bytes.size()) {}

  /// Enters the frame that begins here and returns its version. Throws unless it has this tag, a
  /// version of at most `newest`, lies within the bytes and matches its checksum.
  std::uint16_t begin_frame(std::string_view tag, std::uint16_t newest = 1) {
    if (const auto magic = get<std::uint32_t>(); magic != detail::archive_magic)
      fail("begins with ", magic, ", wanted skim's magic number ", detail::archive_magic);
    const auto version = get<std::uint16_t>();
    const auto tag_bytes = get<std::uint16_t>();
    const auto length = get<std::uint64_t>();
    const auto sum = get<std::uint64_t>();
    if (length > remaining() || tag_bytes > length)
      fail("a frame of ", length, " bytes is announced, ", remaining(), " remain");
    const auto payload = bytes_.subspan(position_, static_cast<std::size_t>(length));
    if (detail::checksum(payload) != sum)
      fail("the checksum does not match: the bytes were damaged");
    std::string found(tag_bytes, '?');
    for (std::size_t i = 0; i < tag_bytes; ++i) {
      const char c = std::to_integer<char>(payload[i]);
      found[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    if (found != tag) fail("holds a ", found, ", wanted a ", tag);
    if (version == 0 || version > newest)
      fail("has version ", version, " of ", tag, ", wanted 1 to ", newest);
    open_.push_back(end_);
    end_ = position_ + payload.size();
    position_ += tag_bytes;
    return version;
  }

  /// Leaves the innermost frame. Throws if values are left in it.
  void end_frame() {
    SKIM_EXPECTS(!open_.empty());
    if (remaining() != 0) fail(remaining(), " bytes are left over at the end of a frame");
    end_ = open_.back();
    open_.pop_back();
  }

  template <detail::archivable T>
  [[nodiscard]] T get() {
    require(sizeof(T));
    return take<T>();
  }

  /// A list of numbers.
  template <detail::archivable T>
  [[nodiscard]] std::vector<T> get_vector() {
    std::vector<T> values(get_length<T>());
    take_into(std::span<T>(values));
    return values;
  }

  /// A list that must have just this length.
  template <detail::archivable T>
  void get_into(std::span<T> values) {
    if (const std::size_t length = get_length<T>(); length != values.size())
      fail("a list has ", length, " elements, wanted ", values.size());
    take_into(values);
  }

  /// Bytes left in the innermost frame.
  [[nodiscard]] std::size_t remaining() const noexcept { return end_ - position_; }

  /// Throws format_error with the position; for values that a structure finds impossible.
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    SKIM_THROW(format_error, detail::concat("archive, byte ", position_, ": ", parts...));
  }

 private:
  void require(std::size_t bytes) const {
    if (bytes > remaining()) fail(bytes, " bytes wanted, ", remaining(), " remain");
  }

  template <class T>
  std::size_t get_length() {
    const auto length = get<std::uint64_t>();
    if (length > remaining() / sizeof(T))
      fail("a list of ", length, " elements is announced, ", remaining(), " bytes remain");
    return static_cast<std::size_t>(length);
  }

  template <class T>
  T take() noexcept {
    std::array<std::byte, sizeof(T)> raw;
    std::memcpy(raw.data(), bytes_.data() + position_, raw.size());
    position_ += raw.size();
    if constexpr (std::endian::native != std::endian::little) std::reverse(raw.begin(), raw.end());
    return std::bit_cast<T>(raw);
  }

  template <class T>
  void take_into(std::span<T> values) noexcept {
    if constexpr (std::endian::native == std::endian::little) {
      if (!values.empty())
        std::memcpy(values.data(), bytes_.data() + position_, values.size_bytes());
      position_ += values.size_bytes();
    } else {
      for (T& value : values) value = take<T>();
    }
  }

  std::span<const std::byte> bytes_;
  std::size_t position_ = 0, end_ = 0;
  std::vector<std::size_t> open_;  // ends of the enclosing frames
};

}  // namespace skim::inline v0
