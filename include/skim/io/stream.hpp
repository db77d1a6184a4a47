// SPDX-License-Identifier: Apache-2.0
//
// Saving structures to std::ostream and loading them from std::istream, one after another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <istream>
#include <limits>
#include <ostream>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/io/memory.hpp"

namespace skim::inline v0 {

namespace detail {

/// Appends bytes of the stream until there are `wanted`. A buffer grows with what has arrived, to
/// at most its double, so that a length that lies costs no memory. False at an early end.
inline bool read_until(std::istream& in, std::vector<std::byte>& bytes, std::size_t wanted) {
  constexpr std::size_t least = std::size_t{1} << 16;
  while (bytes.size() < wanted) {
    const std::size_t have = bytes.size(), more = std::min(wanted - have, std::max(have, least));
    bytes.resize(have + more);
    in.read(reinterpret_cast<char*>(bytes.data() + have), static_cast<std::streamsize>(more));
    const auto got = static_cast<std::size_t>(in.gcount());
    if (got < more) {
      bytes.resize(have + got);
      if (in.bad())
        SKIM_THROW(io_error, concat("load_stream: reading failed after ", bytes.size(), " bytes"));
      return false;
    }
  }
  return true;
}

/// The next frame of the stream, header included.
inline std::vector<std::byte> read_frame(std::istream& in) {
  if (!in.good()) SKIM_THROW(io_error, "load_stream: got a stream that is not ready to be read");
  std::vector<std::byte> bytes;
  if (!read_until(in, bytes, frame_header_bytes))
    SKIM_THROW(format_error, concat("load_stream: the stream ends after ", bytes.size(),
                                    " bytes, wanted a header of ", frame_header_bytes));
  const std::uint64_t length = reader(bytes).frame_bytes();
  if (length > static_cast<std::uint64_t>(std::numeric_limits<std::ptrdiff_t>::max()) ||
      !read_until(in, bytes, static_cast<std::size_t>(length)))
    SKIM_THROW(format_error, concat("load_stream: the stream ends after ", bytes.size(),
                                    " bytes, its header announces ", length));
  return bytes;
}

inline void write_all(std::ostream& out, std::span<const std::byte> bytes) {
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  if (!out) SKIM_THROW(io_error, concat("save_stream: ", bytes.size(), " bytes were not written"));
}

}  // namespace detail

/// Writes an object's image to a binary stream. Throws io_error if the stream does not take it.
///
/// Memory:  the image, until it is written.
/// Cost:    O(bytes).
/// Threads: as the stream.
template <archived T>
void save_stream(const T& object, std::ostream& out) {
  detail::write_all(out, save_bytes(object));
}

/// Reads the next object from a binary stream and leaves the stream behind it, so that objects may
/// follow one another. Throws format_error if the bytes are no such object or end too early,
/// io_error if the stream fails.
///
/// Memory:  the image and the object; at most twice what has arrived, whatever the header says.
/// Cost:    O(bytes).
/// Threads: as the stream.
template <archived T>
[[nodiscard]] T load_stream(std::istream& in) {
  return load_bytes<T>(detail::read_frame(in));
}

}  // namespace skim::inline v0
