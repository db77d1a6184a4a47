// SPDX-License-Identifier: Apache-2.0
//
// Saving structures to files that are replaced whole or not at all, and loading them back.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/io/memory.hpp"
#include "skim/io/stream.hpp"

namespace skim::inline v0 {

namespace detail {

/// A new file beside its target, which takes the target's place on commit() and is gone otherwise.
class replacement_file {
 public:
  explicit replacement_file(const std::filesystem::path& target) : target_(target) {
    namespace fs = std::filesystem;
    std::error_code code;
    if (fs::is_symlink(fs::symlink_status(target_, code))) {  // replace what the link points to
      target_ = fs::canonical(target_, code);
      if (code) fail("follow the link", code.message());
    }
    const fs::file_status status = fs::status(target_, code);
    if (fs::exists(status) && !fs::is_regular_file(status))
      fail("replace it", fs::is_directory(status) ? "it is a directory" : "it is no regular file");
    // Mode x creates or fails, so that two writers never share a file; the names need no randomness.
    for (int attempt = 0; attempt < 1000 && file_ == nullptr; ++attempt) {
      path_ = target_;
      path_ += concat(".", attempt, ".part");
      errno = 0;
      file_ = std::fopen(path_.string().c_str(), "wbx");
      if (file_ == nullptr && errno != EEXIST) break;
    }
    if (file_ == nullptr) fail(concat("create ", path_.string()), std::strerror(errno));
    if (fs::exists(status))
      fs::permissions(path_, status.permissions(), code);  // as well as may be
  }
  replacement_file(const replacement_file&) = delete;
  replacement_file& operator=(const replacement_file&) = delete;
  ~replacement_file() {
    if (file_ != nullptr) {
      std::fclose(file_);
      discard();
    }
  }

  void write(std::span<const std::byte> bytes) {
    errno = 0;
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size())
      fail(concat("write ", bytes.size(), " bytes"), std::strerror(errno));
  }

  void commit() {
    errno = 0;
    bool written = std::fflush(file_) == 0;
#if defined(__unix__) || defined(__APPLE__)
    // On the disk before the name is: else a power cut may leave an empty file under it.
    written = written && (::fsync(::fileno(file_)) == 0 || errno == EINVAL || errno == ENOTSUP);
#endif
    const std::string reason = std::strerror(errno);
    const bool closed = std::fclose(file_) == 0;
    file_ = nullptr;
    if (!written || !closed) {
      discard();
      fail("write it", reason);
    }
    std::error_code code;
    std::filesystem::rename(path_, target_, code);
    if (code) {
      discard();
      fail("put the new file in its place", code.message());
    }
  }

 private:
  void discard() noexcept {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  [[noreturn]] void fail(const std::string& what, const std::string& why) const {
    SKIM_THROW(io_error, concat("save_file: ", target_.string(), ": cannot ", what, ": ", why));
  }

  std::filesystem::path target_, path_;
  std::FILE* file_ = nullptr;
};

inline std::vector<std::byte> read_file_frame(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  if (!fs::exists(status))
    SKIM_THROW(io_error, concat("load_file: ", path.string(), ": there is no such file"));
  if (fs::is_directory(status))
    SKIM_THROW(io_error, concat("load_file: ", path.string(), ": it is a directory"));
  std::ifstream in(path, std::ios::binary);
  if (!in) SKIM_THROW(io_error, concat("load_file: ", path.string(), ": it cannot be opened"));
  std::vector<std::byte> bytes = read_frame(in);
  if (in.peek() != std::ifstream::traits_type::eof())
    SKIM_THROW(format_error, concat("load_file: bytes follow the ", bytes.size(), " of the image"));
  return bytes;
}

}  // namespace detail

/// Saves an object to a file, which holds the old image or the new one at every moment, also if the
/// program or the machine stops halfway.
///
/// The image goes to a new file in the same folder, which is flushed to the disk and renamed. A
/// symbolic link is followed, permissions are kept. Throws io_error, which names the file, if the
/// folder or the disk does not take it; the old file is then untouched.
///
/// Memory:  the image, until it is written.
/// Cost:    O(bytes), and a flush to the disk.
/// Threads: writers of one file at once: one of them wins, whole.
template <archived T>
void save_file(const T& object, const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = save_bytes(object);
  detail::replacement_file file(path);
  file.write(bytes);
  file.commit();
}

/// Loads the object that a file holds. Throws io_error if the file cannot be read, format_error if
/// it holds anything else, or more; both name the file.
///
/// Memory:  the image and the object; at most twice the file, whatever its header says.
/// Cost:    O(bytes).
/// Threads: none.
template <archived T>
[[nodiscard]] T load_file(const std::filesystem::path& path) {
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
  try {
    return load_bytes<T>(detail::read_file_frame(path));
  } catch (const format_error& e) {
    throw format_error(detail::concat(path.string(), ": ", e.what()));
  }
#else
  return load_bytes<T>(detail::read_file_frame(path));
#endif
}

}  // namespace skim::inline v0
