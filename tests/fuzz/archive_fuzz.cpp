// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer target: clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Itests.
#include "fuzz/archive_fuzz.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  skim_test::fuzz_archive(std::as_bytes(std::span(data, size)));
  return 0;
}
