// SPDX-License-Identifier: Apache-2.0
//
// What the fuzzer does with its bytes: reads them as every kind of image and in every way a
// structure may. Nothing but format_error may come of it. Shared by the libFuzzer target and the
// ordinary test that replays mutations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/error.hpp"
#include "skim/core/moments.hpp"
#include "skim/core/random.hpp"
#include "skim/io/memory.hpp"
#include "support/bytes.hpp"

namespace skim_test {

/// A structure that holds others and lists of every width.
struct fuzzed {
  enum class kind : std::uint8_t { plain, nested };

  kind what = kind::nested;
  bool flag = true;
  std::vector<float> floats{1, 2, 3};
  std::vector<std::uint8_t> bytes{1, 2, 3, 4, 5};
  std::vector<std::uint64_t> words{7};
  skim::random_engine engine{skim::seed{1}};
  skim::running_moments moments;

  void save(skim::writer& out) const {
    out.begin_frame("fuzzed", 2);
    out.put(what);
    out.put(flag);
    out.put(std::span(floats));
    out.put(std::span(bytes));
    out.put(std::span(words));
    if (what == kind::nested) {
      engine.save(out);
      moments.save(out);
    }
    out.end_frame();
  }
  static fuzzed load(skim::reader& in) {
    fuzzed f;
    const auto version = in.begin_frame("fuzzed", 2);
    f.what = in.get<kind>();
    if (f.what != kind::plain && f.what != kind::nested)
      in.fail("kind ", static_cast<unsigned>(f.what), ", wanted 0 or 1");
    f.flag = in.get<bool>();
    f.floats = in.get_vector<float>();
    f.bytes.resize(5);
    if (version == 2) in.get_into(std::span(f.bytes));
    f.words = in.get_vector<std::uint64_t>();
    if (f.what == kind::nested) {
      f.engine = skim::random_engine::load(in);
      f.moments = skim::running_moments::load(in);
    }
    in.end_frame();
    return f;
  }
};

/// Loads the bytes, as they are and with checksums made right. What loads must save to an image
/// that loads again to the same image; aborts otherwise.
inline void fuzz_archive(std::span<const std::byte> input) {
  const auto attempt = []<class T>(std::span<const std::byte> image, std::type_identity<T>) {
    try {
      const T object = skim::load_bytes<T>(image);
      const auto again = skim::save_bytes(object);
      if (skim::save_bytes(skim::load_bytes<T>(again)) != again) std::abort();
    } catch (const skim::format_error&) {
    }
  };
  std::vector<std::byte> copy(input.begin(), input.end());
  for (int pass = 0; pass < 2; ++pass) {
    attempt(copy, std::type_identity<fuzzed>{});
    attempt(copy, std::type_identity<skim::random_engine>{});
    attempt(copy, std::type_identity<skim::running_moments>{});
    reseal(copy);
  }
}

}  // namespace skim_test
