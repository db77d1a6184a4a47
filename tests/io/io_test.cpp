// SPDX-License-Identifier: Apache-2.0
//
// Saving to memory, streams and files: what comes back, what is refused, and what a failed save
// leaves behind.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <streambuf>
#include <string>
#include <thread>
#include <vector>

#include "skim/core/moments.hpp"
#include "skim/core/random.hpp"
#include "skim/io/file.hpp"
#include "skim/io/memory.hpp"
#include "skim/io/stream.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"

namespace fs = std::filesystem;
using Catch::Matchers::ContainsSubstring;
using skim::random_engine;
using skim::seed;

static_assert(skim::archived<random_engine> && skim::archived<skim::running_moments>);
static_assert(!skim::archived<int>);

namespace {

/// Something larger than the chunks a stream is read in.
struct table {
  std::vector<std::uint32_t> cells;

  void save(skim::writer& out) const {
    out.begin_frame("table");
    out.put(std::span(cells));
    out.end_frame();
  }
  static table load(skim::reader& in) {
    in.begin_frame("table");
    table t{in.get_vector<std::uint32_t>()};
    in.end_frame();
    return t;
  }
  friend bool operator==(const table&, const table&) = default;
};

table big_table(std::size_t n = 300'000) {
  table t;
  random_engine g(seed{1});
  for (std::size_t i = 0; i < n; ++i) t.cells.push_back(static_cast<std::uint32_t>(g()));
  return t;
}

std::string text_of(const auto& object) {
  std::ostringstream out;
  skim::save_stream(object, out);
  return out.str();
}

/// A folder of its own for the duration of a test.
struct folder {
  explicit folder(const std::string& name)
      : path(fs::temp_directory_path() / ("skim_io_test_" + name)) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  ~folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
  fs::path path;
};

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_content(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// Gives some bytes, then breaks, as a disk does.
class broken_source : public std::streambuf {
 public:
  explicit broken_source(std::string text) : text_(std::move(text)) {
    setg(text_.data(), text_.data(), text_.data() + text_.size());
  }

 protected:
  int_type underflow() override { throw std::runtime_error("the disk is gone"); }

 private:
  std::string text_;
};

/// Takes no byte.
class full_sink : public std::streambuf {};

/// Counts what is read from it, and never ends.
class endless_source : public std::streambuf {
 public:
  explicit endless_source(std::string head) : buffer_(std::move(head)) {
    setg(buffer_.data(), buffer_.data(), buffer_.data() + buffer_.size());
  }
  std::size_t given = 0;

 protected:
  int_type underflow() override {
    if (given > limit) return traits_type::eof();
    buffer_.assign(4096, 'x');
    given += buffer_.size();
    setg(buffer_.data(), buffer_.data(), buffer_.data() + buffer_.size());
    return traits_type::to_int_type(buffer_[0]);
  }

 private:
  static constexpr std::size_t limit = 1 << 20;
  std::string buffer_;
};

std::string header_that_announces(std::uint64_t length) {
  std::string text = text_of(random_engine(seed{1})).substr(0, 24);
  for (std::size_t i = 0; i < 8; ++i)
    text[8 + i] = static_cast<char>(static_cast<unsigned char>(length >> (8 * i) & 255u));
  return text;
}

}  // namespace

TEST_CASE("memory: what is saved is loaded", "[io][unit]") {
  const random_engine g = random_engine(seed{3}).child(4);
  CHECK(skim::load_bytes<random_engine>(skim::save_bytes(g)) == g);
  const table t = big_table();
  CHECK(skim::load_bytes<table>(skim::save_bytes(t)) == t);
  CHECK(skim::load_bytes<table>(skim::save_bytes(table{})) == table{});
  CHECK(skim::save_bytes(t) == skim::save_bytes(skim::load_bytes<table>(skim::save_bytes(t))));
}

TEST_CASE("memory: anything else is refused", "[io][unit]") {
  auto bytes = skim::save_bytes(random_engine(seed{3}));
  CHECK_THROWS_AS(skim::load_bytes<table>(bytes), skim::format_error);
  CHECK_THROWS_AS(skim::load_bytes<random_engine>({}), skim::format_error);
  bytes.push_back(std::byte{0});
  CHECK_THROWS_WITH(skim::load_bytes<random_engine>(bytes),
                    ContainsSubstring("1 bytes are left over after the last frame"));
  skim_test::check_refuses_damage(table{{1, 2, 3}});
}

TEST_CASE("streams: objects follow one another", "[io][unit]") {
  const table t = big_table();
  const random_engine g(seed{8});
  std::stringstream stream;
  skim::save_stream(g, stream);
  skim::save_stream(t, stream);
  skim::save_stream(g, stream);
  stream << "and then text";
  CHECK(skim::load_stream<random_engine>(stream) == g);
  CHECK(skim::load_stream<table>(stream) == t);
  CHECK(skim::load_stream<random_engine>(stream) == g);
  std::string rest;
  std::getline(stream, rest);
  CHECK(rest == "and then text");
}

TEST_CASE("streams: every truncation is a format_error", "[io][fuzz]") {
  const std::string whole = text_of(table{{1, 2, 3}});
  for (std::size_t n = 0; n < whole.size(); ++n) {
    std::istringstream in(whole.substr(0, n));
    REQUIRE_THROWS_AS(skim::load_stream<table>(in), skim::format_error);
  }
  std::istringstream in(text_of(big_table()).substr(0, 500'000));
  CHECK_THROWS_WITH(skim::load_stream<table>(in),
                    ContainsSubstring("ends after 500000 bytes, its header announces 1200"));
}

TEST_CASE("streams: a length that lies costs no memory", "[io][unit]") {
  for (const std::uint64_t length :
       {std::uint64_t{1} << 40, std::uint64_t{1} << 62, std::uint64_t{1} << 63,
        std::numeric_limits<std::uint64_t>::max() - 24,
        std::numeric_limits<std::uint64_t>::max()}) {
    INFO("length " << length);
    std::istringstream in(header_that_announces(length) + std::string(1000, 'x'));
    CHECK_THROWS_AS(skim::load_stream<random_engine>(in), skim::format_error);
    endless_source source(header_that_announces(length));
    std::istream endless(&source);
    CHECK_THROWS_AS(skim::load_stream<random_engine>(endless), skim::format_error);
  }
}

TEST_CASE("streams: failures of the stream are io_errors", "[io][unit]") {
  std::istringstream used(std::string{});
  used.get();
  CHECK_THROWS_AS(skim::load_stream<random_engine>(used), skim::io_error);

  const std::string whole = text_of(random_engine(seed{1}));
  for (const std::size_t n : {std::size_t{0}, std::size_t{10}, std::size_t{30}}) {
    broken_source source(whole.substr(0, n));
    std::istream in(&source);
    CHECK_THROWS_WITH(skim::load_stream<random_engine>(in),
                      ContainsSubstring("load_stream: reading failed after"));
  }
  full_sink sink;
  std::ostream out(&sink);
  CHECK_THROWS_AS(skim::save_stream(random_engine(seed{1}), out), skim::io_error);
}

TEST_CASE("files: what is saved is loaded, and replaced whole", "[io][unit]") {
  const folder f("replace");
  const fs::path path = f.path / "state.skim";
  const table first = big_table(1000), second = big_table(300'000);
  skim::save_file(first, path);
  CHECK(skim::load_file<table>(path) == first);
  skim::save_file(second, path);
  CHECK(skim::load_file<table>(path) == second);
  skim::save_file(first, path);
  CHECK(skim::load_file<table>(path) == first);
  CHECK(f.entries() == 1);  // nothing is left beside it
  CHECK(content_of(path) == text_of(first));
}

TEST_CASE("files: bad ones are named", "[io][unit]") {
  const folder f("bad");
  const fs::path path = f.path / "state.skim";
  const auto load = [&] { static_cast<void>(skim::load_file<table>(path)); };

  CHECK_THROWS_AS(load(), skim::io_error);
  CHECK_THROWS_WITH(load(), ContainsSubstring("state.skim: there is no such file"));
  CHECK_THROWS_WITH(skim::load_file<table>(f.path), ContainsSubstring("it is a directory"));

  write_content(path, "");
  CHECK_THROWS_AS(load(), skim::format_error);
  write_content(path, "a text that is no image at all");
  CHECK_THROWS_WITH(load(), ContainsSubstring("state.skim") && ContainsSubstring("magic"));
  const std::string whole = text_of(table{{1, 2, 3}});
  for (std::size_t n = 0; n < whole.size(); n += 5) {
    write_content(path, whole.substr(0, n));
    CHECK_THROWS_AS(load(), skim::format_error);
    CHECK_THROWS_WITH(load(), ContainsSubstring("state.skim"));
  }
  write_content(path, whole + "x");
  CHECK_THROWS_WITH(load(), ContainsSubstring("bytes follow"));
  write_content(path, text_of(random_engine(seed{1})));
  CHECK_THROWS_WITH(load(), ContainsSubstring("holds a random_engine, wanted a table"));
  write_content(path, whole);
  CHECK_NOTHROW(load());
}

TEST_CASE("files: a save that fails leaves everything as it was", "[io][unit]") {
  const folder f("fail");
  const table t = big_table(10);
  CHECK_THROWS_AS(skim::save_file(t, f.path / "no" / "such" / "folder"), skim::io_error);
  fs::create_directory(f.path / "folder");
  CHECK_THROWS_WITH(skim::save_file(t, f.path / "folder"), ContainsSubstring("it is a directory"));
  CHECK(f.entries() == 1);
  CHECK(fs::is_empty(f.path / "folder"));

#if defined(__linux__)
  CHECK_THROWS_WITH(skim::save_file(t, "/dev/full"), ContainsSubstring("no regular file"));
  CHECK(fs::is_character_file("/dev/full"));
#endif
}

TEST_CASE("files: links are followed and permissions kept", "[io][unit]") {
  const folder f("links");
  const fs::path file = f.path / "file", link = f.path / "link";
  const table t = big_table(10), u = big_table(20);
  skim::save_file(t, file);
  std::error_code code;
  fs::create_symlink("file", link, code);
  if (code) SKIP("no symbolic links here");
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
  skim::save_file(u, link);
  CHECK(fs::is_symlink(link));
  CHECK(skim::load_file<table>(file) == u);
  CHECK(fs::status(file).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
}

TEST_CASE("files: of several writers one wins, whole", "[io][unit]") {
  const folder f("race");
  const fs::path path = f.path / "state.skim";
  std::vector<table> versions;
  for (std::size_t n = 1; n <= 4; ++n) versions.push_back(big_table(n * 1000));
  write_content(f.path / "state.skim.0.part", "left over from a program that was stopped");
  std::vector<std::thread> writers;
  for (const table& t : versions)
    writers.emplace_back([&path, &t] {
      for (int i = 0; i < 5; ++i) skim::save_file(t, path);
    });
  for (std::thread& w : writers) w.join();
  const table found = skim::load_file<table>(path);
  CHECK(std::count(versions.begin(), versions.end(), found) == 1);
  CHECK(f.entries() == 2);
  CHECK(content_of(f.path / "state.skim.0.part") == "left over from a program that was stopped");
}
