// SPDX-License-Identifier: Apache-2.0
//
// The networks whose graph neural tangent kernels there are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "skim/core/config.hpp"

namespace skim::inline v0 {

/// What the first layer sees of a node.
enum class node_input : std::uint8_t {
  tags,     ///< its tag, one-hot
  degrees,  ///< its number of neighbours, one-hot
  vectors,  ///< its feature vector
};

/// How sums over neighbours are scaled.
enum class neighborhood_scaling : std::uint8_t {
  none,
  degree,  ///< by one over the number of summands: means
};

/// The architecture of a graph_neural_tangent_kernel.
struct graph_kernel_params {
  /// As published: layers - 1 times a sum over neighbours and a perceptron; at 1, the sums of the
  /// inputs alone.
  std::size_t layers = 4;
  std::size_t mlp_depth = 2;      ///< layers of rectifiers in each perceptron
  bool jumping_knowledge = true;  ///< the readout sees every layer, not the last alone
  neighborhood_scaling scaling = neighborhood_scaling::degree;
  node_input input = node_input::tags;
  /// Nodes that the kernel cannot tell apart are computed once. Changes times, not values.
  bool merge_equal_nodes = true;
};

}  // namespace skim::inline v0
