// SPDX-License-Identifier: Apache-2.0
//
// The archive: what is written comes back, and nothing else is ever read.
#include "skim/core/archive.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "support/bytes.hpp"
#include "support/catch.hpp"

using Catch::Matchers::ContainsSubstring;

namespace {

enum class colour : std::uint8_t { red = 1, blue = 250 };

// A structure with everything an archive stores, a frame within a frame among it.
struct everything {
  bool flag = true;
  std::int8_t i8 = -5;
  std::uint16_t u16 = 65000;
  std::int32_t i32 = -70000;
  std::uint64_t u64 = 0xfedcba9876543210u;
  float f = -1.5e-30f;
  double d = 3.0e300;
  colour c = colour::blue;
  std::vector<float> floats{1, -2, 3.5f};
  std::vector<std::uint32_t> empty;
  std::array<std::int16_t, 4> fixed{1, -2, 3, -4};
  skim::random_engine engine{skim::seed{9}};

  void save(skim::writer& out) const {
    out.begin_frame("everything", 2);
    out.put(flag);
    out.put(i8);
    out.put(u16);
    out.put(i32);
    out.put(u64);
    out.put(f);
    out.put(d);
    out.put(c);
    out.put(std::span(floats));
    out.put(std::span(empty));
    out.put(std::span(fixed));
    engine.save(out);
    out.end_frame();
  }
  static everything load(skim::reader& in) {
    everything e;
    in.begin_frame("everything", 3);
    e.flag = in.get<bool>();
    e.i8 = in.get<std::int8_t>();
    e.u16 = in.get<std::uint16_t>();
    e.i32 = in.get<std::int32_t>();
    e.u64 = in.get<std::uint64_t>();
    e.f = in.get<float>();
    e.d = in.get<double>();
    e.c = in.get<colour>();
    e.floats = in.get_vector<float>();
    e.empty = in.get_vector<std::uint32_t>();
    in.get_into(std::span(e.fixed));
    e.engine = skim::random_engine::load(in);
    in.end_frame();
    return e;
  }
  friend bool operator==(const everything&, const everything&) = default;
};

std::vector<std::byte> image_of(const everything& e) {
  skim::writer out;
  e.save(out);
  return std::move(out).release();
}

everything read(std::span<const std::byte> bytes) {
  skim::reader in(bytes);
  return everything::load(in);
}

}  // namespace

TEST_CASE("what is written comes back", "[archive][unit]") {
  everything e;
  const auto bytes = image_of(e);
  CHECK(read(bytes) == e);

  e.floats = {std::numeric_limits<float>::infinity(), -0.0f,
              std::numeric_limits<float>::denorm_min()};
  e.flag = false;
  e.i32 = std::numeric_limits<std::int32_t>::min();
  const auto again = read(image_of(e));
  CHECK(again == e);
  CHECK(std::signbit(again.floats[1]));

  e.f = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(read(image_of(e)).f));
}

TEST_CASE("the image is the documented one", "[archive][golden]") {
  skim::writer out;
  out.begin_frame("ab", 3);
  out.put(std::uint16_t{0x0102});
  out.put(std::span<const std::uint16_t>(std::array<std::uint16_t, 2>{0x0304, 0x0506}));
  out.end_frame();
  const std::vector<std::uint8_t> expected{
      'S', 'K', 'I', 'M', 3, 0, 2, 0,                    // magic, version, length of the tag
      16,  0,   0,   0,   0, 0, 0, 0,                    // length of the payload
      0,   0,   0,   0,   0, 0, 0, 0,                    // checksum, pinned below
      'a', 'b', 2,   1,   2, 0, 0, 0, 0, 0, 0, 0, 4, 3,  // tag, number, length, ...
      6,   5};
  std::vector<std::uint8_t> got;
  for (const std::byte b : out.bytes()) got.push_back(std::to_integer<std::uint8_t>(b));
  REQUIRE(got.size() == expected.size());
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    sum |= std::uint64_t{got[16 + i]} << (8 * i);
    got[16 + i] = 0;
  }
  CHECK(got == expected);
  CHECK(sum == 0x3ceac93c07be1505u);
}

TEST_CASE("the checksum is that of its definition at every length", "[archive][unit]") {
  // Against a plain byte by byte version, so that the word-wise loop and its tail agree with it.
  std::vector<std::byte> bytes;
  skim::random_engine g(skim::seed{4});
  for (std::size_t n = 0; n < 40; ++n) {
    std::uint64_t sum = skim::mix64(77 ^ std::uint64_t{n}) + 0x9e3779b97f4a7c15u;
    for (std::size_t i = 0; i < n; i += 8) {
      std::uint64_t word = 0;
      for (std::size_t k = i; k < n && k < i + 8; ++k)
        word |= std::to_integer<std::uint64_t>(bytes[k]) << (8 * (k - i));
      sum = skim::mix64(sum ^ word) + 0x9e3779b97f4a7c15u;
    }
    CHECK(skim::detail::checksum(bytes, 77) == sum);
    bytes.push_back(static_cast<std::byte>(g() & 255u));
  }
}

TEST_CASE("every truncation and every flipped bit is a format_error", "[archive][fuzz]") {
  const auto bytes = image_of({});
  std::size_t cases = 0;
  skim_test::for_each_truncation(bytes, [&](std::span<const std::byte> damaged) {
    ++cases;
    REQUIRE_THROWS_AS(read(damaged), skim::format_error);
  });
  CHECK(cases == bytes.size());
  cases = 0;
  skim_test::for_each_flipped_bit(bytes, [&](std::span<const std::byte> damaged) {
    ++cases;
    REQUIRE_THROWS_AS(read(damaged), skim::format_error);
  });
  CHECK(cases == 8 * bytes.size());
}

TEST_CASE("hostile images with a right checksum are refused by their structure",
          "[archive][fuzz]") {
  // Whoever forges the checksum too reaches the inner checks: each value replaced, then resealed.
  const auto bytes = image_of({});
  std::size_t read_back = 0, refused = 0;
  skim_test::for_each_flipped_bit(bytes, [&](std::span<const std::byte> damaged) {
    std::vector<std::byte> forged(damaged.begin(), damaged.end());
    skim_test::reseal(forged);
    try {
      static_cast<void>(read(forged));
      ++read_back;
    } catch (const skim::format_error&) {
      ++refused;
    }
  });
  CHECK(read_back > 0);  // a changed number is a number
  CHECK(refused > 8 * 24);
}

TEST_CASE("a length that cannot be is refused before anything is allocated", "[archive][unit]") {
  for (const std::uint64_t length :
       {std::uint64_t{2}, std::uint64_t{1} << 32, std::uint64_t{1} << 61, std::uint64_t{1} << 62,
        (std::uint64_t{1} << 62) + 1, std::numeric_limits<std::uint64_t>::max()}) {
    skim::writer out;
    out.begin_frame("list");
    out.put(length);
    out.put(1.0f);
    out.end_frame();
    skim::reader in(out.bytes());
    in.begin_frame("list");
    CHECK_THROWS_AS(static_cast<void>(in.get_vector<float>()), skim::format_error);
  }
  // The same in the header of the frame.
  const auto bytes = image_of({});
  for (const std::uint64_t length :
       {std::uint64_t{0}, std::uint64_t{bytes.size()}, std::numeric_limits<std::uint64_t>::max()}) {
    auto forged = bytes;
    for (std::size_t i = 0; i < 8; ++i)
      forged[8 + i] = static_cast<std::byte>(length >> (8 * i) & 255u);
    CHECK_THROWS_AS(read(forged), skim::format_error);
  }
}

TEST_CASE("messages say what was found and what was wanted", "[archive][unit]") {
  skim::writer out;
  out.begin_frame("race", 4);
  out.put(std::uint8_t{7});
  out.end_frame();
  const auto bytes = out.bytes();

  CHECK_THROWS_WITH(skim::reader(bytes).begin_frame("alias"),
                    ContainsSubstring("holds a race, wanted a alias"));
  CHECK_THROWS_WITH(skim::reader(bytes).begin_frame("race", 3),
                    ContainsSubstring("version 4 of race, wanted 1 to 3"));
  CHECK_THROWS_WITH(skim::reader({}).begin_frame("race"),
                    ContainsSubstring("4 bytes wanted, 0 remain"));
  const std::vector<std::byte> zeros(64);
  CHECK_THROWS_WITH(skim::reader(zeros).begin_frame("race"), ContainsSubstring("magic number"));
  {
    skim::reader in(bytes);
    CHECK(in.frame_bytes() == bytes.size());
    CHECK(in.begin_frame("race", 9) == 4);
    CHECK_THROWS_WITH(in.end_frame(), ContainsSubstring("1 bytes are left over"));
  }
  {
    skim::reader in(bytes);
    in.begin_frame("race", 4);
    CHECK_THROWS_WITH(static_cast<void>(in.get<bool>()),
                      ContainsSubstring("holds 7, wanted a truth value"));
  }
  {
    skim::reader in(bytes);
    in.begin_frame("race", 4);
    CHECK_THROWS_WITH(static_cast<void>(in.get<std::uint32_t>()),
                      ContainsSubstring("4 bytes wanted, 1 remain"));
  }
  skim::writer list;
  list.begin_frame("list");
  list.put(std::span<const int>(std::array<int, 2>{1, 2}));
  list.end_frame();
  skim::reader in(list.bytes());
  in.begin_frame("list");
  std::array<int, 3> three{};
  CHECK_THROWS_WITH(in.get_into(std::span(three)),
                    ContainsSubstring("a list has 2 elements, wanted 3"));
}

TEST_CASE("a frame cannot be read past its end", "[archive][unit]") {
  skim::writer out;
  out.begin_frame("outer");
  out.begin_frame("inner");
  out.put(1);
  out.end_frame();
  out.put(2);
  out.end_frame();
  out.begin_frame("next");
  out.end_frame();

  skim::reader in(out.bytes());
  in.begin_frame("outer");
  in.begin_frame("inner");
  CHECK(in.get<int>() == 1);
  CHECK(in.remaining() == 0);
  CHECK_THROWS_AS(static_cast<void>(in.get<int>()), skim::format_error);
  in.end_frame();
  CHECK(in.get<int>() == 2);
  in.end_frame();
  in.begin_frame("next");
  in.end_frame();
  CHECK(in.remaining() == 0);
}
