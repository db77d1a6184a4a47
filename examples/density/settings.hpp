// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace skim_examples {

struct density_settings {
  std::string points, queries;  // files; empty: generated points, some of them as queries
  std::size_t generated = 100'000, dim = 8;
  std::size_t most_queries = 1000;  // of a file, or drawn from the points
  std::string kernel = "gaussian";
  std::string bandwidth = "median:0.25";
  std::string estimator = "auto";
  double relative_error = 0.1, failure = 0.1, smallest_density = 1e-5;
  std::size_t check = 0, updates = 0;
  std::string map;
  std::size_t map_columns = 480;
  std::size_t threads = 1;
  std::uint64_t seed = 1;
};

}  // namespace skim_examples
