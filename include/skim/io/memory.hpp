// SPDX-License-Identifier: Apache-2.0
//
// Saving structures to byte buffers and loading them back.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"

namespace skim::inline v0 {

/// A structure that writes itself as one frame and can be made from it.
template <class T>
concept archived = requires(const T& object, writer& out, reader& in) {
  object.save(out);
  { T::load(in) } -> std::same_as<T>;
};

/// The saved image of an object; equal objects give equal bytes on every platform.
///
/// Memory:  the image.
/// Cost:    O(bytes).
/// Threads: reads the object only.
template <archived T>
[[nodiscard]] std::vector<std::byte> save_bytes(const T& object) {
  writer out;
  object.save(out);
  return std::move(out).release();
}

/// The object whose image these bytes are. Throws format_error if they are anything else, or more.
///
/// Memory:  the object; no more than the bytes account for is allocated before they are checked.
/// Cost:    O(bytes).
template <archived T>
[[nodiscard]] T load_bytes(std::span<const std::byte> bytes) {
  reader in(bytes);
  T object = T::load(in);
  if (in.remaining() != 0) in.fail(in.remaining(), " bytes are left over after the last frame");
  return object;
}

}  // namespace skim::inline v0
