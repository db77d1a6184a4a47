// SPDX-License-Identifier: Apache-2.0
//
// What batched searches have in common.
#pragma once

#include <cstddef>
#include <string_view>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0::detail {

// Queries that are hashed in one go.
inline constexpr std::size_t search_block = 32;

// Throws invalid_input unless out and found fit n searches for k neighbours.
inline void check_answers(std::string_view who, std::size_t n, std::size_t k, std::size_t out,
                          std::size_t found) {
  if (found != n || (k == 0 ? out != 0 : out % k != 0 || out / k != n))
    SKIM_THROW(invalid_input, concat(who, ": got room for ", out, " neighbours and ", found,
                                     " counts, wanted ", n, " times ", k, " and ", n));
}

}  // namespace skim::inline v0::detail
