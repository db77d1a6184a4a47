// SPDX-License-Identifier: Apache-2.0
//
// From settings to the data that train_importance works on.
#pragma once

#include "train_importance/settings.hpp"
#include "train_importance/source.hpp"

namespace skim_examples {

/// Loads and scales what the settings name: files, a folder, Fashion-MNIST, or an endless stream made of
/// its images. Throws data_error and argument_error.
[[nodiscard]] problem load_problem(const importance_settings& settings);

}  // namespace skim_examples
