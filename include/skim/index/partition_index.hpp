// SPDX-License-Identifier: Apache-2.0
//
// Near neighbours through a partition: points lie in the list of their nearest centroid, a search looks
// through the lists of the centroids nearest to the query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/index/neighbor.hpp"

namespace skim::inline v0 {

/// What a partition_index holds.
struct partition_index_params {
  std::size_t dim = 1;                  ///< d, coordinates of a point
  metric distance = metric::euclidean;  ///< or cosine
  std::size_t lists = 0;                ///< m, at most 2^16; 0: sqrt(n) when it is built
  std::size_t rounds = 8;               ///< of k-means, at most 1000
  std::size_t sample = 64;              ///< points a list that k-means sees, at least 1
};

/// Finds near points in the lists of the centroids nearest to the query.
///
/// The centroids are those of k-means on a sample. A batch of queries is searched list by list: each
/// list is one product with the queries that look into it, with a running threshold, so that a batch
/// costs as little a product as an exact scan does, and visits a few lists instead of all. The list
/// nearest to a query is searched first, for the sake of the threshold.
///
/// Where data have structure and change little this is the fastest index here. Lists are fitted to the
/// points of build(); when the points that come later lie elsewhere, lists grow uneven and searches
/// slow down, though a search of all lists stays exact: build() again then.
///
/// Shape:   points (d), batches (n, d). Ids as in flat_index.
/// Memory:  4 d (to a multiple of 32 bytes) + 24 bytes a point, up to twice that while it grows; m
///          centroids of 4 d.
/// Cost:    build n m d FMAs and k-means on the sample; insert m d FMAs; erase O(1); a search
///          m d + (points of the lists) d FMAs.
/// Error:   no bound known; distances are those of flat_index, and with all lists so is the answer.
/// Threads: const members may run at once, one workspace each. Writers need exclusive access.
/// Seeds:   equal seeds, points and histories give equal answers, for any executor, on machines whose
///          rounding is alike.
/// Ref:     Sivic and Zisserman 2003, ICCV; Jegou, Douze, Schmid 2011, IEEE TPAMI 33(1) (inverted
///          file); Lloyd 1982, IEEE Trans. Inf. Theory 28(2).
class partition_index {
 public:
  using params = partition_index_params;

  /// An empty index of one list. Throws invalid_params for sizes out of range or inner products.
  explicit partition_index(params p, seed s = {});

  /// Forgets everything and holds the rows of x, with ids 0, 1, .... Throws invalid_input, and
  /// changes nothing, for a wrong shape, a coordinate that is not finite, or a squared norm above
  /// 1e37.
  template <executor Executor = serial_executor>
  void build(matrix_view<const float> x, Executor&& run = {});

  /// Adds a point and returns its id. Throws as build() does.
  id_t insert(std::span<const float> x, workspace& ws);

  /// Takes a point out, or puts another in its place. Throws invalid_input, and changes nothing, for
  /// the id of no point, and as build() does.
  void erase(id_t id);
  void update(id_t id, std::span<const float> x, workspace& ws);

  /// The nearest points in the `lists` lists nearest to x, nearest first, at most out.size(); returns
  /// how many. Throws invalid_input as build() does, and for 0 lists; more than there are is all.
  std::size_t search(std::span<const float> x, std::span<neighbor> out, workspace& ws,
                     std::size_t lists) const;

  /// At most k for each row, to out (n, k) and how many to found (n); equal to one by one.
  template <executor Executor = serial_executor>
  void search(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
              std::span<std::size_t> found, std::size_t lists, Executor&& run = {}) const;

  [[nodiscard]] std::size_t dim() const noexcept { return params_.dim; }
  [[nodiscard]] std::size_t size() const noexcept { return places_.size() - free_.size(); }
  [[nodiscard]] std::size_t lists() const noexcept { return lists_.size(); }
  /// Points in a list: uneven lists are a sign that the points have moved. Pre: i < lists().
  [[nodiscard]] std::size_t list_size(std::size_t i) const noexcept {
    return lists_[i].points.size();
  }
  [[nodiscard]] bool contains(id_t id) const noexcept {
    return id < places_.size() && places_[id].list != nowhere;
  }
  /// The point as it is kept, of length 1 for cosines. Pre: contains(id).
  [[nodiscard]] std::span<const float> point(id_t id) const noexcept {
    return lists_[places_[id].list].points.row(places_[id].row);
  }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static partition_index load(reader& in);

 private:
  static constexpr std::uint32_t nowhere = 0xffffffffu;
  struct cell {
    detail::point_store points;
    std::vector<id_t> ids;  // of each row
  };
  struct place {
    std::uint32_t list = nowhere, row = 0;
  };

  [[nodiscard]] static params checked(const params& p);
  [[nodiscard]] cell empty_list() const;
  [[nodiscard]] std::uint32_t nearest_list(std::span<const float> x, workspace& ws) const;
  void put(id_t id, std::uint32_t list, std::span<const float> x);
  template <class Executor>
  void fit(matrix_view<const float> x, std::size_t wanted, Executor& run);
  void search_block(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
                    std::span<std::size_t> found, std::size_t lists, workspace& ws) const;

  params params_;
  seed seed_;
  detail::point_store centroids_;
  std::vector<cell> lists_;
  std::vector<place> places_;  // of each id
  std::vector<id_t> free_;     // the last is used next
};

}  // namespace skim::inline v0

#include "skim/index/detail/partition_index_impl.hpp"
