// SPDX-License-Identifier: Apache-2.0
#include "skim/skim.hpp"

std::size_t second_engine_size();
const void* second_address();

std::size_t second_engine_size() {
  return sizeof(skim::random_engine);
}

const void* second_address() {
  return reinterpret_cast<const void*>(&skim::detail::expects_failed);
}
