// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <xsimd/xsimd.hpp>

#include "skim/index/flat.hpp"
#include "skim/sketch/detail/sums_impl.hpp"
#include "skim/table/detail/row.hpp"

namespace skim::inline v0 {

/// Has Cost and Threads.
///
/// Cost:    O(1).
/// Threads: none.
class sums {};

}  // namespace skim::inline v0
