// SPDX-License-Identifier: Apache-2.0
//
// Maximum inner product with an offset for each item: what a sparse layer asks for its biases, and an
// online matcher for the prices of its items.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/family.hpp"
#include "skim/index/lsh_index.hpp"
#include "skim/index/neighbor.hpp"

namespace skim::inline v0 {

/// An item and its score, inner product plus offset. The better of two has the larger score, of
/// equal scores the smaller id.
struct scored_item {
  id_t id = 0;
  float score = 0;

  friend constexpr bool operator==(const scored_item&, const scored_item&) noexcept = default;
};

/// What the index may assume of its items.
struct inner_product_index_params {
  /// M: sqrt(|x|^2 + (offset / offset_unit)^2) of an item is at most this; an item beyond it makes the
  /// index rebuild itself with a larger one. 0: taken from the first items.
  float largest_norm = 0;
  /// What an offset is divided by before it becomes a coordinate; the query's is multiplied by it, and
  /// scores do not change. Its best value makes offsets about as large as the coordinates of x.
  float offset_unit = 1;
};

/// Finds the items with the largest <q, x_i> + c_i through tables of hash codes.
///
/// Item i is stored as [x_i, c_i / u, sqrt(M^2 - |x_i|^2 - c_i^2 / u^2)], of length M for all i; the
/// query as [q, u, 0]. Their inner product is <q, x_i> + c_i, and since all lengths are alike, the
/// largest is the smallest angle, which an lsh_index over a family of the angle finds.
///
/// Shape:   items and queries (d); family().dim() = d + 2. Ids as in lsh_index.
/// Memory:  that of an lsh_index of d + 2 dimensions.
/// Cost:    that of lsh_index; an offset changes in the cost of an update. An item longer than M
///          rebuilds all, with M twice the length, so that n items cost O(log) rebuilds.
/// Error:   that of lsh_index; scores are sums of float products.
/// Threads: const members may run at once, one workspace each. Writers need exclusive access.
/// Seeds:   as lsh_index.
/// Ref:     Neyshabur and Srebro 2015, ICML (SIMPLE-LSH, the last coordinate); Bachrach et al. 2014,
///          RecSys (offsets as a coordinate).
///
/// @tparam Family  hash family of the angle, such as sign_projection
template <hash_family Family>
class inner_product_index {
 public:
  using params = inner_product_index_params;

  /// Throws invalid_params for a family of less than 3 dimensions, or parameters that are negative,
  /// not finite, or a unit of 0.
  explicit inner_product_index(Family family, params p = {});

  /// Forgets everything and holds the rows of x, with ids 0, 1, ... and their offsets (n, or empty: 0).
  /// Throws invalid_input, and changes nothing, for a wrong shape, numbers that are not finite, or a
  /// squared norm above 1e36.
  template <executor Executor = serial_executor>
  void build(matrix_view<const float> x, std::span<const float> offsets, Executor&& run = {});

  /// Adds an item and returns its id. Throws as build() does.
  id_t insert(std::span<const float> x, float offset, workspace& ws);

  /// Takes an item out; puts another in its place; changes its offset alone. Throws invalid_input, and
  /// changes nothing, for the id of no item, and as build() does.
  void erase(id_t id) { index_.erase(id); }
  void update(id_t id, std::span<const float> x, float offset, workspace& ws);
  void set_offset(id_t id, float offset, workspace& ws);

  /// The best of the candidates, best first, at most out.size(); returns how many. Throws
  /// invalid_input for a wrong shape, a coordinate that is not finite, or a squared norm above 1e36.
  std::size_t search(std::span<const float> q, std::span<scored_item> out, workspace& ws,
                     lsh_effort effort = {}) const;

  /// At most k for each row, to out (n, k) and how many to found (n); equal to one by one.
  template <executor Executor = serial_executor>
  void search(matrix_view<const float> q, std::size_t k, std::span<scored_item> out,
              std::span<std::size_t> found, lsh_effort effort = {}, Executor&& run = {}) const;

  /// Probability that an item's bucket is the query's in at least one table; see lsh_index.
  [[nodiscard]] double inclusion_probability(std::span<const float> q, id_t id,
                                             workspace& ws) const requires kernel_family<Family>;

  [[nodiscard]] std::size_t dim() const noexcept { return index_.dim() - 2; }
  [[nodiscard]] std::size_t size() const noexcept { return index_.size(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return index_.contains(id); }
  /// Pre: contains(id).
  [[nodiscard]] std::span<const float> item(id_t id) const noexcept {
    return index_.point(id).first(dim());
  }
  [[nodiscard]] float offset(id_t id) const noexcept {
    return index_.point(id)[dim()] * params_.offset_unit;
  }
  [[nodiscard]] const Family& family() const noexcept { return index_.family(); }
  /// largest_norm is what it has grown to.
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return index_.bytes(); }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static inner_product_index load(reader& in);

 private:
  inner_product_index(lsh_index<Family> index, params p) : index_(std::move(index)), params_(p) {}

  // Squared length of an item with its offset; throws unless it may be stored.
  [[nodiscard]] float check_item(std::string_view who, std::span<const float> x,
                                 float offset) const;
  void augment(std::span<const float> x, float offset, std::span<float> row) const noexcept;
  // Rebuilds with a larger M if an item of this squared length does not fit.
  void make_room(float square, workspace& ws);
  [[nodiscard]] static float least_norm(float square) noexcept;
  void search_rows(matrix_view<const float> q, std::size_t k, std::span<scored_item> out,
                   std::span<std::size_t> found, lsh_effort effort, workspace& ws) const;

  lsh_index<Family> index_;
  params params_;
};

}  // namespace skim::inline v0

#include "skim/index/detail/inner_product_index_impl.hpp"
