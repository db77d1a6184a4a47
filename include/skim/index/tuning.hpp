// SPDX-License-Identifier: Apache-2.0
//
// Chooses the sizes of an index by measurement: the fastest that reaches a recall on a sample of queries
// within a limit of memory, and what was measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/hash/family.hpp"
#include "skim/index/flat_index.hpp"
#include "skim/index/lsh_index.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/index/partition_index.hpp"

namespace skim::inline v0 {

/// What an index is tuned for.
struct tuning_target {
  double recall = 0.9;  ///< share of the true `neighbors` nearest that is found, in (0, 1]
  std::size_t neighbors = 10;
  metric distance = metric::euclidean;
  std::uint64_t most_bytes = ~std::uint64_t{0};  ///< of the index, points included
  std::size_t most_tables = 64;                  ///< of an lsh_index, at least 1
  std::size_t rounds = 3;  ///< of timing a setting; the fastest counts; at least 1
};

/// What every tuner measures. Times are of batches on one thread of this machine, by the clock: they
/// differ from run to run, and so may the choice between settings that are about as fast.
struct tuning_result {
  bool reached = false;  ///< whether recall is the one wanted; else the best recall that was met
  double recall = 0;     ///< measured
  double seconds = 0;    ///< a query
  double exact_seconds = 0;  ///< a query of the exact scan
  std::uint64_t bytes = 0;   ///< of the index
  std::size_t settings = 0;  ///< that were measured
};

/// The sizes chosen for an lsh_index.
struct lsh_tuning : tuning_result {
  std::size_t bits = 0, tables = 0;
  lsh_effort effort;

  /// One line for people.
  [[nodiscard]] std::string summary() const;
};

/// The sizes chosen for a partition_index.
struct partition_tuning : tuning_result {
  std::size_t lists = 0;   ///< that there are
  std::size_t visits = 0;  ///< that a search looks into

  /// One line for people.
  [[nodiscard]] std::string summary() const;
};

/// Share of the exact answers that are found, or equally near: answers (n, k) of which found[i] are
/// there, nearest first, against exact ones likewise. 1 if there are none to find.
[[nodiscard]] double recall_of(std::span<const neighbor> exact,
                               std::span<const std::size_t> exact_found,
                               std::span<const neighbor> answers,
                               std::span<const std::size_t> found, std::size_t k);

/// Tunes an lsh_index over the families make(bits, tables), bits 1 to 20.
///
/// Builds indexes with about 4 to 256 points a bucket and 8, 16, 32 ... tables, as far as memory
/// allows, and raises probes in each, with all looks and with few, until the recall is reached.
///
/// Shape:   x (n, d) the points, queries (m, d); some hundred queries are enough.
/// Cost:    an exact scan of the queries, some ten builds, and some ten searches with each.
/// Throws invalid_input for a wrong shape, no points, no queries, or what the indexes refuse;
/// invalid_params for a target out of range, or if no index fits into the memory.
template <class Make>
[[nodiscard]] lsh_tuning tune_lsh(Make make, matrix_view<const float> x,
                                  matrix_view<const float> queries, tuning_target target);

/// Tunes a partition_index: about sqrt(n)/2, sqrt(n) and 2 sqrt(n) lists, and how many are visited.
[[nodiscard]] partition_tuning tune_partition(matrix_view<const float> x,
                                              matrix_view<const float> queries,
                                              tuning_target target, seed s = {});

}  // namespace skim::inline v0

#include "skim/index/detail/tuning_impl.hpp"
