// SPDX-License-Identifier: Apache-2.0
//
// The format in which structures save themselves: framed little-endian bytes. Where the bytes go is
// io's business.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/mix.hpp"

namespace skim::inline v0 {

namespace detail {

/// What an archive stores one by one: numbers and enumerations of at most 8 bytes.
template <class T>
concept archivable = (std::is_arithmetic_v<T> || std::is_enum_v<T>)&&sizeof(T) <= 8;

/// What an archive stores in lists. Not bool: std::vector<bool> is no array.
template <class T>
concept archivable_element = archivable<T> && !std::same_as<T, bool>;

/// 64-bit checksum of bytes, taken eight at a time. Each step is a bijection of the sum and of the
/// word, so a change confined to one word is always seen, any other but for 2^-64.
[[nodiscard]] inline std::uint64_t checksum(std::span<const std::byte> bytes,
                                            std::uint64_t start) noexcept {
  const auto step = [](std::uint64_t sum, std::uint64_t word) {
    return mix64(sum ^ word) + 0x9e3779b97f4a7c15u;
  };
  std::uint64_t sum = step(start, bytes.size());
  std::size_t i = 0;
  if constexpr (std::endian::native == std::endian::little) {
    for (; bytes.size() - i >= 8; i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, 8);
      sum = step(sum, word);
    }
  }
  while (i < bytes.size()) {
    std::uint64_t word = 0;
    for (unsigned shift = 0; shift < 64 && i < bytes.size(); shift += 8, ++i)
      word |= std::to_integer<std::uint64_t>(bytes[i]) << shift;
    sum = step(sum, word);
  }
  return sum;
}

inline constexpr std::uint32_t archive_magic = 0x4d494b53;  // "SKIM" in little-endian bytes

/// A frame begins with its magic (4 bytes), version (2), length of the tag (2), length of the
/// payload (8), and the checksum (8) of all but magic and itself. The payload is the tag and the
/// values.
inline constexpr std::size_t frame_header_bytes = 4 + 2 + 2 + 8 + 8;
inline constexpr std::size_t longest_tag = 255;

[[nodiscard]] inline std::uint64_t frame_checksum(std::uint16_t version, std::uint16_t tag_bytes,
                                                  std::span<const std::byte> payload) noexcept {
  return checksum(payload, (std::uint64_t{version} << 16) | tag_bytes);
}

}  // namespace detail

/// Collects the saved image of a structure as little-endian bytes.
///
/// Every structure writes one frame: magic, version, tag, length and checksum, then its values.
/// Frames nest. Equal structures give equal bytes on every platform, if their values have types of
/// fixed width (a std::size_t is put as std::uint64_t).
///
/// Memory:  the image itself.
/// Cost:    O(bytes), times the depth of nesting (a frame's checksum covers the frames in it).
/// Threads: none.
class writer {
 public:
  /// Opens a frame. The tag names the structure, the version its layout. Pre: tag of 1 to 255
  /// characters.
  void begin_frame(std::string_view tag, std::uint16_t version = 1) {
    SKIM_EXPECTS(!tag.empty() && tag.size() <= detail::longest_tag);
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
    std::uint16_t version = 0, tag_bytes = 0;  // as begin_frame stored them
    fetch(header + 4, version);
    fetch(header + 6, tag_bytes);
    store(header + 16, detail::frame_checksum(version, tag_bytes, content));
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
  requires detail::archivable_element<std::remove_const_t<T>>
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

  /// Everything written, moved out. Pre: no frame is open.
  [[nodiscard]] std::vector<std::byte> release() && noexcept {
    SKIM_EXPECTS(open_.empty());
    return std::move(bytes_);
  }

 private:
  template <class T>
  void store(std::size_t at, T value) noexcept {
    std::array<std::byte, sizeof(T)> raw = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    if constexpr (std::endian::native != std::endian::little) std::reverse(raw.begin(), raw.end());
    std::memcpy(bytes_.data() + at, raw.data(), raw.size());
  }
  void fetch(std::size_t at, std::uint16_t& value) const noexcept {
    value = static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes_[at]) |
                                       std::to_integer<unsigned>(bytes_[at + 1]) << 8);
  }

  std::vector<std::byte> bytes_;
  std::vector<std::size_t> open_;  // where the open frames begin
};

/// Reads what a writer wrote; treats the bytes as hostile.
///
/// Lengths are checked against what remains before anything is allocated, a frame's checksum before
/// its values are read. Everything throws format_error, and says what was found and what was
/// wanted; a reader that has thrown is of no further use. The checksum guards against damage, not
/// against malice, so a structure still checks every value it reads.
///
/// Memory:  none of its own; the bytes must outlive it.
/// Cost:    O(bytes), times the depth of nesting.
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
    if (length > remaining())
      fail("a frame of ", length, " bytes is announced, ", remaining(), " remain");
    if (tag_bytes > length || tag_bytes > detail::longest_tag)
      fail("a tag of ", tag_bytes, " bytes in a frame of ", length);
    const auto payload = bytes_.subspan(position_, static_cast<std::size_t>(length));
    if (detail::frame_checksum(version, tag_bytes, payload) != sum)
      fail("the checksum does not match: the bytes were damaged");
    std::string found(tag_bytes, '\0');
    for (std::size_t i = 0; i < tag_bytes; ++i) found[i] = std::to_integer<char>(payload[i]);
    if (found != tag) {
      for (char& c : found)
        if (c < ' ' || c > '~') c = '?';
      fail("holds a ", found, ", wanted a ", tag);
    }
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

  /// Bytes of the frame that begins here, header included, as the header announces; does not move.
  /// For those who must fetch the rest of a frame before they can read it.
  [[nodiscard]] std::uint64_t frame_bytes() const {
    reader header = *this;
    if (const auto magic = header.get<std::uint32_t>(); magic != detail::archive_magic)
      fail("begins with ", magic, ", wanted skim's magic number ", detail::archive_magic);
    static_cast<void>(header.get<std::uint32_t>());  // version and length of the tag
    const auto length = header.get<std::uint64_t>();
    if (length > std::numeric_limits<std::uint64_t>::max() - detail::frame_header_bytes)
      fail("a frame of ", length, " bytes is announced");
    return length + detail::frame_header_bytes;
  }

  /// One number. An enumeration comes back as any value of its underlying type: check it.
  template <detail::archivable T>
  [[nodiscard]] T get() {
    require(sizeof(T));
    if constexpr (std::same_as<T, bool>) {
      const auto byte = take<std::uint8_t>();
      if (byte > 1) fail("holds ", byte, ", wanted a truth value, 0 or 1");
      return byte == 1;
    } else {
      return take<T>();
    }
  }

  /// A list of numbers.
  template <detail::archivable_element T>
  [[nodiscard]] std::vector<T> get_vector() {
    std::vector<T> values(get_length<T>());
    take_into(std::span<T>(values));
    return values;
  }

  /// A list that must have just this length.
  template <detail::archivable_element T, std::size_t N>
  void get_into(std::span<T, N> values) {
    if (const std::size_t length = get_length<T>(); length != values.size())
      fail("a list has ", length, " elements, wanted ", values.size());
    take_into(std::span<T>(values));
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
