// SPDX-License-Identifier: Apache-2.0
//
// Files that a program leaves behind: whole or not at all.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace skim_examples {

/// A file that cannot be written, or a tool that is missing for it. what() is one line.
class output_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws output_error unless a file can be written at path; for use before hours of work.
inline void check_output(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path file(path);
  if (path.empty()) throw output_error("empty file name, wanted where to write");
  if (std::filesystem::is_directory(file, ignored)) {
    throw output_error(path + ": is a folder, wanted a file name");
  }
  if (std::filesystem::exists(file, ignored) && !std::filesystem::is_regular_file(file, ignored)) {
    if (::access(path.c_str(), W_OK) != 0) throw output_error(path + ": cannot be written");
    return;
  }
  const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  if (!std::filesystem::is_directory(folder, ignored)) {
    throw output_error(path + ": there is no folder " + folder.string() +
                       ", wanted an existing one");
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw output_error(path + ": the folder " + folder.string() + " cannot be written to");
  }
}

/// A name beside path that no other process uses.
[[nodiscard]] inline std::string temporary_name(const std::string& path) {
  return path + ".part-" + std::to_string(::getpid());
}

/// Writes contents to path so that a reader sees the old file or the new one, never a part of it.
/// (Devices and pipes are written to as they are.) Throws output_error.
inline void write_file(const std::string& path, std::string_view contents) {
  check_output(path);
  std::error_code failed;
  // symbolic links keep pointing at the file that is replaced
  const bool exists = std::filesystem::exists(path, failed);
  const std::string target =
      exists ? std::filesystem::canonical(path, failed).string() : std::string(path);
  const bool special = exists && !std::filesystem::is_regular_file(path, failed);
  const std::string name = special ? path : temporary_name(target);
  const auto fail = [&](const char* what, int code) {
    if (!special) std::remove(name.c_str());
    throw output_error(path + ": cannot " + what + ": " + std::strerror(code));
  };
  std::FILE* const file = std::fopen(name.c_str(), "wb");
  if (file == nullptr) fail("open", errno);
  const bool written = std::fwrite(contents.data(), 1, contents.size(), file) == contents.size();
  const int write_code = errno;
  const bool closed = std::fclose(file) == 0;
  if (!written) fail("write", write_code);
  if (!closed) fail("write", errno);
  if (!special && std::rename(name.c_str(), target.c_str()) != 0) fail("replace", errno);
}

}  // namespace skim_examples
