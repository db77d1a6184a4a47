// SPDX-License-Identifier: Apache-2.0
//
// Which outputs can be among the best for an input: lists by region of the hidden space, so that a
// search reads a hundredth of an output layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/nn/active_set.hpp"
#include "skim/nn/sparse_linear.hpp"
#include "skim/nn/top_labels.hpp"

namespace skim::inline v0 {

struct label_index_params {
  std::size_t cell_points = 21;  ///< points of the sample an average cell holds
  std::size_t list = 300;        ///< most outputs of a cell's list
  std::size_t exact_points =
      8192;                       ///< points of the sample whose best outputs are computed, 0: all
  std::size_t depth = 16;         ///< how many of their best
  std::size_t groups_probed = 4;  ///< coarse cells whose cells a search looks at
  std::size_t cells_probed = 4;   ///< cells whose lists it reads
};

/// Finds the best outputs of a wide layer without computing the others, nearly always.
///
/// Inputs, not weights, are clustered: hidden vectors of a sample, in two levels. A cell's list holds
/// the outputs that were among the best for points of the cell, computed exactly for some of the
/// points, and the labels of all its points, by weight of their ranks. A search finds the nearest cells
/// and computes the outputs on their lists. Weights may move a little under an index: lists go stale
/// slowly, scores are always those of the weights as they are.
///
///   label_index index({}, layer, hidden, labels, seed{1});
///   index.search(layer, h, best, scratch);
///
/// Shape:   hidden (m, inputs) of the sample, labels (m) or empty; h (inputs), best (k).
/// Memory:  m / 21 cells, each a centroid and at most 300 ids: some 40 bytes a point of the sample for 128
///          inputs.
/// Cost:    building: 2 operations a weight of the layer and exact point, some 20 passes over the
///          sample against sqrt(cells) centroids. search: about 5 sqrt(cells) rows and those of 4 lists.
/// Error:   no bound: the recall follows the likeness of sample and queries; recall() measures it.
/// Threads: const members may run at once, each with its workspace. Building uses the executor's
///          threads and gives the same index for any number of them.
/// Seeds:   equal seeds, weights and samples give equal indexes with the same instruction set.
/// Ref:     label insertion in BOLT (arXiv:2303.17727) lists labels where their inputs hash to; lists
///          over clusters as in inverted files (Jegou et al. 2011, IEEE TPAMI 33(1)). The two together are
///          derived here.
class label_index {
 public:
  using params = label_index_params;

  /// Throws invalid_params for a parameter of zero (but exact_points), invalid_input unless the
  /// sample has rows of the layer's inputs, all finite, and as many label sets as rows or none.
  template <executor Executor>
  label_index(params p, const sparse_linear& layer, matrix_view<const float> hidden,
              const label_sets& labels, seed s, Executor& executor);
  label_index(params p, const sparse_linear& layer, matrix_view<const float> hidden,
              const label_sets& labels, seed s);

  /// The best of the outputs on the lists of the nearest cells, best first; returns how many rows
  /// were read, centroids and repeats among them. Pre: the sizes fit the layer the index was made for.
  std::size_t search(const sparse_linear& layer, std::span<const float> h,
                     std::span<label_score> best, workspace& scratch) const;

  [[nodiscard]] std::size_t cells() const noexcept { return list_offsets_.size() - 1; }
  [[nodiscard]] std::size_t groups() const noexcept { return group_offsets_.size() - 1; }
  [[nodiscard]] std::size_t outputs() const noexcept { return outputs_; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  /// Searches read more cells, or fewer. Throws invalid_params for a zero.
  void set_probes(std::size_t groups_probed, std::size_t cells_probed);
  [[nodiscard]] std::size_t bytes() const noexcept;

  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static label_index load(reader& in);

 private:
  label_index() = default;
  [[nodiscard]] static bool usable(const params& p) noexcept;

  params params_;
  std::size_t dim_ = 0, outputs_ = 0;
  aligned_vector<float> group_centers_, cell_centers_;  // unit vectors, or zero; rows of dim
  std::vector<std::uint32_t> group_offsets_;            // cells of a group
  std::vector<std::uint32_t> list_offsets_;             // ids of a cell
  std::vector<id_t> lists_;
};

}  // namespace skim::inline v0

#include "skim/nn/detail/label_index_impl.hpp"
