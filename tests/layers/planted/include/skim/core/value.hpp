// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <vector>

namespace skim::inline v0 {

/// In order.
///
/// Cost:    O(1).
/// Threads: const members may run concurrently.
template <class T>
requires(sizeof(T) > 1) class value {
  T data[2];
};

/// Exceptions need no fields.
class value_error : public std::runtime_error {};

class declared_only;

namespace detail {
class helper {};
}  // namespace detail

/// No fields at all.
class undocumented {};

}  // namespace skim::inline v0
