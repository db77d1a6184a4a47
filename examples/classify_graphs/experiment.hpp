// SPDX-License-Identifier: Apache-2.0
//
// Runs of classify_graphs: kernels of several architectures, cross-validated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "classify_graphs/folds.hpp"
#include "data/graph_text.hpp"
#include "skim/graph/kernel_params.hpp"

namespace skim_examples {

struct graph_settings {
  std::string graphs;       ///< file, or empty: generated
  std::size_t count = 300;  ///< of generated ones
  std::vector<std::size_t> layers = {4}, mlp = {2};
  std::vector<std::string> jumping_knowledge = {"yes"}, scaling = {"degree"};
  std::string features = "auto", method = "exact", normalization = "cosine";
  std::size_t sketch_width = 32, sketch_rank = 16;
  std::string classifier = "auto";
  std::vector<double> ridges = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1};  ///< of the mean diagonal
  std::size_t c_values = 13;                                          ///< from 1e-2 to 1e4
  std::size_t svm_kernels = 8;  ///< that svm is tried on, best by ridge first
  std::size_t folds = 10;
  std::size_t threads = 1;
  std::uint64_t seed = 1;
};

/// One kernel of the search.
struct graph_architecture {
  std::size_t layers = 0, mlp = 0;
  bool jumping_knowledge = false, by_degree = false;
};

/// What a classifier reached, in two ways of counting.
struct graph_accuracy {
  fold_summary nested;     ///< settings of each fold chosen without it
  fold_summary published;  ///< settings with the best mean over the same folds
  std::vector<double> nested_folds;
  graph_architecture best;  ///< of `published`, with its ridge or C
  double best_parameter = 0;
};

struct graph_result {
  std::size_t kernels = 0;
  double kernel_seconds = 0, classifier_seconds = 0;
  std::optional<double> sketch_error;  ///< mean standard error over the value
  graph_accuracy ridge;
  std::optional<graph_accuracy> svm;
};

/// "tags", or "degree" where all tags are alike.
[[nodiscard]] std::string usual_features(const graph_set& data);

/// Kernels of all combinations of the settings; ridge regression on each, support vector machines on
/// the best. Calls progress(text) now and then. Throws argument_error or data_error.
[[nodiscard]] graph_result classify_graphs(const graph_settings& settings, const graph_set& data,
                                           const std::function<void(const std::string&)>& progress);

}  // namespace skim_examples
