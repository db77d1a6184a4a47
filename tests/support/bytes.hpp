// SPDX-License-Identifier: Apache-2.0
//
// Damaged byte strings: what a loader has to refuse without a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/error.hpp"
#include "support/catch.hpp"

namespace skim_test {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes;
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
  return bytes;
}

/// Saved image of anything with save(writer&).
template <class T>
std::vector<std::byte> image_of(const T& object) {
  skim::writer out;
  object.save(out);
  return std::move(out).release();
}

/// Calls f with every proper prefix. Each is a copy of its own size, so that a sanitizer sees a read
/// past its end.
template <class F>
void for_each_truncation(std::span<const std::byte> bytes, F&& f) {
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const std::vector<std::byte> part(bytes.begin(),
                                      bytes.begin() + static_cast<std::ptrdiff_t>(n));
    f(std::span<const std::byte>(part));
  }
}

/// Calls f with every image that differs in one bit.
template <class F>
void for_each_flipped_bit(std::span<const std::byte> bytes, F&& f) {
  std::vector<std::byte> damaged(bytes.begin(), bytes.end());
  for (std::size_t i = 0; i < damaged.size(); ++i)
    for (unsigned bit = 0; bit < 8; ++bit) {
      const std::byte flip = std::byte{1} << bit;
      damaged[i] ^= flip;
      f(std::span<const std::byte>(damaged));
      damaged[i] ^= flip;
    }
}

namespace detail {

inline std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at,
                               std::size_t width) {
  std::uint64_t x = 0;
  for (std::size_t k = 0; k < width; ++k)
    x |= std::to_integer<std::uint64_t>(bytes[at + k]) << (8 * k);
  return x;
}

}  // namespace detail

/// Gives every frame in the image that still has a believable header its right checksum, inner
/// frames first: what a forger would do, so that the checks behind the checksum are reached.
inline void reseal(std::span<std::byte> bytes) {
  constexpr std::size_t header = skim::detail::frame_header_bytes;
  if (bytes.size() < header) return;
  for (std::size_t at = bytes.size() - header + 1; at-- > 0;) {
    if (detail::number_at(bytes, at, 4) != skim::detail::archive_magic) continue;
    const std::uint64_t length = detail::number_at(bytes, at + 8, 8);
    if (length > bytes.size() - at - header) continue;
    const std::uint64_t sum = skim::detail::frame_checksum(
        static_cast<std::uint16_t>(detail::number_at(bytes, at + 4, 2)),
        static_cast<std::uint16_t>(detail::number_at(bytes, at + 6, 2)),
        bytes.subspan(at + header, static_cast<std::size_t>(length)));
    for (std::size_t k = 0; k < 8; ++k)
      bytes[at + 16 + k] = static_cast<std::byte>(sum >> (8 * k) & 255u);
  }
}

/// Checks that T loads from its own image and that every truncation and every flipped bit is a
/// format_error. With a forged checksum, damage may be read as another value, but must neither
/// crash nor throw anything but format_error.
template <class T>
void check_refuses_damage(const T& object) {
  const std::vector<std::byte> bytes = image_of(object);
  const auto load = [](std::span<const std::byte> image) {
    skim::reader in(image);
    static_cast<void>(T::load(in));
  };
  REQUIRE_NOTHROW(load(bytes));
  std::size_t wrongly_read = 0;
  const auto refused = [&](std::span<const std::byte> image) {
    try {
      load(image);
      ++wrongly_read;
    } catch (const skim::format_error&) {
    }
  };
  for_each_truncation(bytes, refused);
  for_each_flipped_bit(bytes, refused);
  CHECK(wrongly_read == 0);
  for_each_flipped_bit(bytes, [&](std::span<const std::byte> image) {
    std::vector<std::byte> forged(image.begin(), image.end());
    reseal(forged);
    refused(forged);
  });
}

}  // namespace skim_test
