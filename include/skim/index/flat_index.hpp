// SPDX-License-Identifier: Apache-2.0
//
// The exact near-neighbour index: looks at every point. The oracle of all others, and for small or
// fast-changing sets the best of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/linalg/projection.hpp"

namespace skim::inline v0 {

/// What a flat_index holds.
struct flat_index_params {
  std::size_t dim = 1;  ///< d, coordinates of a point
  metric distance = metric::euclidean;
};

/// Finds the nearest points by looking at all of them.
///
/// A batch is a register-tiled product of the points with the queries: the distance that a query's k-th
/// nearest has so far is the threshold in its epilogue, so that products are written nowhere. Rows that
/// pass are looked at exactly.
///
/// Shape:   points (d), batches (n, d); an id is the number of a place, in order of insertion, and is
///          given again after the point was erased.
/// Memory:  4 d (to a multiple of 32 bytes) + 4 bytes a place, up to twice that while it grows.
/// Cost:    insert, erase and update O(d); a search n d FMAs, in batches near the FMA peak.
/// Error:   none but the rounding of the distances, which are sums of float products (differences
///          first where Euclidean); single and batched searches agree to the last bit.
/// Threads: const members may run at once, one workspace each. Writers need exclusive access.
/// Ref:     none; the oracle.
class flat_index {
 public:
  using params = flat_index_params;

  /// Throws invalid_params for 0 or more than 2^30 dimensions.
  explicit flat_index(params p) : store_("flat_index", p.dim, p.distance) {}

  /// Adds a point and returns its id, or one per row with the ids written out (n, or empty: not
  /// wanted). Throws invalid_input, and changes nothing, for a wrong shape, a coordinate that is not
  /// finite, or a squared norm above 1e37.
  id_t insert(std::span<const float> x) {
    static_cast<void>(store_.check("flat_index::insert", x));
    return store_.insert("flat_index::insert", x);
  }
  void insert(matrix_view<const float> x, std::span<id_t> ids = {});

  /// Takes a point out, or puts another in its place. Throws invalid_input, and changes nothing, for
  /// the id of no point, and as insert() does.
  void erase(id_t id) {
    store_.check("flat_index::erase", id);
    store_.erase(id);
  }
  void update(id_t id, std::span<const float> x) {
    store_.check("flat_index::update", id);
    static_cast<void>(store_.check("flat_index::update", x));
    store_.put(id, x);
  }

  /// The out.size() nearest points, nearest first; returns how many there are. Throws invalid_input
  /// as insert() does.
  std::size_t search(std::span<const float> x, std::span<neighbor> out, workspace& ws) const;

  /// The k nearest of each row, to out (n, k) and how many to found (n).
  template <executor Executor = serial_executor>
  void search(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
              std::span<std::size_t> found, Executor&& run = {}) const;

  [[nodiscard]] std::size_t dim() const noexcept { return store_.dim(); }
  [[nodiscard]] metric distance() const noexcept { return store_.metric(); }
  [[nodiscard]] std::size_t size() const noexcept { return store_.size(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return store_.contains(id); }
  /// The point as it is kept, of length 1 for cosines. Pre: contains(id).
  [[nodiscard]] std::span<const float> point(id_t id) const noexcept { return store_.row(id); }
  [[nodiscard]] std::size_t bytes() const noexcept { return store_.bytes(); }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const {
    out.begin_frame("flat_index");
    store_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static flat_index load(reader& in) {
    in.begin_frame("flat_index");
    flat_index f(detail::point_store::load(in));
    in.end_frame();
    return f;
  }

 private:
  explicit flat_index(detail::point_store store) : store_(std::move(store)) {}

  detail::point_store store_;
};

}  // namespace skim::inline v0

#include "skim/index/detail/flat_index_impl.hpp"
