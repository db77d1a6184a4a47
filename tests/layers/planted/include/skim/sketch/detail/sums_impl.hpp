// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "skim/core/value.hpp"

namespace skim::inline v0::detail {
class sums_part {};
}  // namespace skim::inline v0::detail
