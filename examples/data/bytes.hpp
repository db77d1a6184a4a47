// SPDX-License-Identifier: Apache-2.0
//
// Files as a stream of bytes or lines; gzip is undone on the way, whatever the name says.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <zlib.h>

#include "data/error.hpp"

namespace skim_examples {

/// Reads a plain or gzip file from front to back.
///
/// Content decides: a file that begins with 1f 8b is inflated (several members in a row are one
/// stream, as gzip has it), anything else is passed on, except that a name ending in .gz must keep
/// its word. Truncated or damaged data is a data_error, never a short read.
///
/// Memory:  two buffers of 256 KB.
/// Threads: one at a time.
class byte_source {
 public:
  /// Throws data_error if the file cannot be opened or is a folder.
  explicit byte_source(const std::string& file) : file_(file) {
    std::error_code ignored;
    const auto status = std::filesystem::status(file, ignored);
    if (std::filesystem::is_directory(status)) {
      throw data_error::in_file(file, "is a folder, wanted a file");
    }
    handle_.reset(std::fopen(file.c_str(), "rb"));
    if (!handle_) {
      throw data_error::in_file(file, std::string("cannot open: ") + std::strerror(errno));
    }
    if (std::filesystem::is_regular_file(status)) {
      const auto size = std::filesystem::file_size(file, ignored);
      if (!ignored) stored_bytes_ = size;
    }
    refill();
    const bool gzip = raw_available() >= 2 && raw_[0] == 0x1f && raw_[1] == 0x8b;
    if (!gzip && file.size() > 3 && file.compare(file.size() - 3, 3, ".gz") == 0) {
      throw data_error::at_byte(file, 0,
                                "not gzip data, wanted the magic bytes 1f 8b that .gz promises");
    }
    if (gzip) inflate_ = std::make_unique<inflater>(file);
  }

  /// Fills out; returns less than out.size() only at the end of the data.
  std::size_t read(std::span<std::byte> out) {
    std::size_t done = 0;
    while (done < out.size()) {
      const std::size_t got =
          inflate_ ? read_gzip(out.subspan(done)) : read_plain(out.subspan(done));
      if (got == 0) break;
      done += got;
    }
    offset_ += done;
    return done;
  }

  /// Bytes handed out so far; the position that messages name.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
  [[nodiscard]] const std::string& file() const noexcept { return file_; }

  /// The most bytes the whole file can yield: its size, or 1032 times that for gzip (deflate's
  /// limit). Empty for pipes.
  [[nodiscard]] std::optional<std::uint64_t> capacity() const noexcept {
    if (!stored_bytes_) return std::nullopt;
    constexpr std::uint64_t deflate_limit = 1032;
    return inflate_ ? *stored_bytes_ * deflate_limit : *stored_bytes_;
  }

  /// Throws data_error if the file cannot hold `bytes` more; the check before an allocation whose
  /// size comes from a header.
  void require(std::uint64_t bytes, const std::string& what) const {
    const auto most = capacity();
    if (most && bytes > *most - std::min(*most, offset_)) {
      throw data_error::at_byte(
          file_, offset_,
          "the header promises " + what + " (" + std::to_string(bytes) + " bytes), but at most " +
              std::to_string(*most - std::min(*most, offset_)) + " can follow");
    }
  }

 private:
  struct inflater {
    explicit inflater(const std::string& file) {
      constexpr int gzip_only = 16 + MAX_WBITS;
      if (inflateInit2(&stream, gzip_only) != Z_OK) {
        throw data_error::in_file(file, "zlib could not start");
      }
    }
    ~inflater() { inflateEnd(&stream); }
    inflater(const inflater&) = delete;
    inflater& operator=(const inflater&) = delete;

    z_stream stream{};
    bool member_ended = false;
  };
  struct closer {
    void operator()(std::FILE* f) const noexcept { std::fclose(f); }
  };

  [[nodiscard]] std::size_t raw_available() const noexcept { return raw_end_ - raw_begin_; }

  void refill() {
    if (raw_begin_ != 0 && raw_available() != 0) {
      std::memmove(raw_.data(), raw_.data() + raw_begin_, raw_available());
    }
    raw_end_ = raw_available();
    raw_begin_ = 0;
    const std::size_t got =
        std::fread(raw_.data() + raw_end_, 1, raw_.size() - raw_end_, handle_.get());
    if (got == 0 && std::ferror(handle_.get()) != 0) {
      throw data_error::in_file(file_, std::string("cannot read: ") + std::strerror(errno));
    }
    raw_end_ += got;
  }

  std::size_t read_plain(std::span<std::byte> out) {
    if (raw_available() == 0) refill();
    const std::size_t count = std::min(out.size(), raw_available());
    std::memcpy(out.data(), raw_.data() + raw_begin_, count);
    raw_begin_ += count;
    return count;
  }

  std::size_t read_gzip(std::span<std::byte> out) {
    z_stream& z = inflate_->stream;
    const std::size_t wanted = std::min<std::size_t>(out.size(), std::numeric_limits<uInt>::max());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(wanted);
    while (z.avail_out == wanted) {
      if (raw_available() < 2) refill();
      if (inflate_->member_ended) {
        if (raw_available() == 0) return 0;
        if (raw_available() < 2 || raw_[raw_begin_] != 0x1f || raw_[raw_begin_ + 1] != 0x8b) {
          throw data_error::in_file(file_, "other bytes follow the end of the gzip data");
        }
        inflateReset(&z);
        inflate_->member_ended = false;
      }
      if (raw_available() == 0) {
        throw data_error::at_byte(file_, offset_, "truncated gzip data, wanted more to follow");
      }
      z.next_in = raw_.data() + raw_begin_;
      z.avail_in = static_cast<uInt>(raw_available());
      const int status = inflate(&z, Z_NO_FLUSH);
      raw_begin_ = raw_end_ - z.avail_in;
      if (status == Z_STREAM_END) {
        inflate_->member_ended = true;
      } else if (status != Z_OK) {
        throw data_error::at_byte(
            file_, offset_,
            std::string("damaged gzip data (") + (z.msg != nullptr ? z.msg : "checksum") + ")");
      }
    }
    return wanted - z.avail_out;
  }

  std::string file_;
  std::unique_ptr<std::FILE, closer> handle_;
  std::optional<std::uint64_t> stored_bytes_;
  std::vector<unsigned char> raw_ = std::vector<unsigned char>(std::size_t{1} << 18);
  std::size_t raw_begin_ = 0, raw_end_ = 0;
  std::unique_ptr<inflater> inflate_;
  std::uint64_t offset_ = 0;
};

/// Hands out the lines of a text file; LF or CRLF, the last one with or without its end.
///
/// Memory:  one buffer of 1 MB, more only for longer lines.
/// Threads: one at a time.
class line_reader {
 public:
  explicit line_reader(const std::string& file) : source_(file) {}

  /// The next line without its end, valid until the next call; empty at the end of the file.
  std::optional<std::string_view> next() {
    std::size_t searched = begin_;
    for (;;) {
      const char* const from = buffer_.data() + searched;
      const void* const found =
          searched == end_ ? nullptr : std::memchr(from, '\n', end_ - searched);
      if (found != nullptr) {
        const auto stop =
            static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.data());
        return take(stop, stop + 1);
      }
      const std::size_t tail = end_ - begin_;
      if (!more()) {
        if (tail == 0) return std::nullopt;
        return take(end_, end_);
      }
      searched = begin_ + tail;
    }
  }

  /// The number of the line handed out last, counted from 1.
  [[nodiscard]] std::size_t line() const noexcept { return line_; }
  [[nodiscard]] const std::string& file() const noexcept { return source_.file(); }
  [[nodiscard]] const byte_source& source() const noexcept { return source_; }

  [[nodiscard]] data_error error(const std::string& what) const {
    return data_error::at_line(file(), line_, what);
  }

 private:
  std::string_view take(std::size_t stop, std::size_t resume) {
    std::string_view text(buffer_.data() + begin_, stop - begin_);
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    begin_ = resume;
    ++line_;
    return text;
  }

  bool more() {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (end_ == buffer_.size()) {
      constexpr std::size_t longest = std::size_t{1} << 28;
      if (buffer_.size() >= longest) {
        throw data_error::at_line(file(), line_ + 1, "a line of more than 256 MB, wanted text");
      }
      buffer_.resize(2 * buffer_.size());
    }
    const std::size_t got = source_.read(std::as_writable_bytes(std::span(buffer_).subspan(end_)));
    end_ += got;
    return got != 0;
  }

  byte_source source_;
  std::vector<char> buffer_ = std::vector<char>(std::size_t{1} << 20);
  std::size_t begin_ = 0, end_ = 0, line_ = 0;
};

}  // namespace skim_examples
