// SPDX-License-Identifier: Apache-2.0
//
// The only include of Catch2, 2.13 or 3. Tests keep to what both have: TEST_CASE, SECTION,
// TEMPLATE_TEST_CASE, GENERATE, REQUIRE*, CHECK*, and from Catch::Matchers WithinAbs, WithinRel,
// ContainsSubstring, StartsWith, EndsWith and Equals. Never Approx: its default tolerance is a guess.
#pragma once

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_message.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#else
#include <string>

#include <catch2/catch.hpp>

namespace Catch::Matchers {
// The name that version 3 gave it.
inline auto ContainsSubstring(const std::string& text) {
  return Contains(text);
}
}  // namespace Catch::Matchers
#endif

#ifndef SKIP
// Before 3.3 a test could not be skipped: it passes with a note.
#define SKIP(...)                        \
  do {                                   \
    SUCCEED("skipped: " << __VA_ARGS__); \
    return;                              \
  } while (false)
#endif
