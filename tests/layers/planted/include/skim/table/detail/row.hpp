// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace skim {
class row {};
}  // namespace skim
