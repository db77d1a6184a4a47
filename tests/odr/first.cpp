// SPDX-License-Identifier: Apache-2.0
//
// With second.cpp: a function in a header that is not inline is defined twice, and nothing links.
#include "skim/skim.hpp"

std::size_t second_engine_size();
const void* second_address();

namespace {
const void* first_address() {
  return reinterpret_cast<const void*>(&skim::detail::expects_failed);
}
}  // namespace

int main() {
  // An inline function is one function in the whole program, and a class has one layout.
  const bool same =
      first_address() == second_address() && sizeof(skim::random_engine) == second_engine_size();
  return same ? 0 : 1;
}
