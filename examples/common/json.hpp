// SPDX-License-Identifier: Apache-2.0
//
// The machine-readable report of a program.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "common/output_file.hpp"

namespace skim_examples {

/// Keys keep the order in which they were set.
using json = nlohmann::ordered_json;

/// Writes value to path, indented, with a newline at the end. NaN and infinity become null, bytes
/// that are not UTF-8 the replacement character. Throws output_error; the old file stays then.
inline void write_json(const std::string& path, const json& value) {
  write_file(path, value.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace skim_examples
