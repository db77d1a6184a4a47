// SPDX-License-Identifier: Apache-2.0
//
// Near neighbours through tables of hash codes: insert, erase and update in the time of a hash, and the
// probability with which each point is found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/large_pages.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/bits.hpp"
#include "skim/hash/family.hpp"
#include "skim/index/detail/point_store.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/table/dynamic_buckets.hpp"

namespace skim::inline v0 {

/// What is hashed of a point.
enum class centring : std::uint8_t {
  none,  ///< the point
  mean   ///< its difference to the mean of the points that the index was built from
};

/// What an lsh_index holds. Tables and bits are those of its hash family.
struct lsh_index_params {
  metric distance = metric::euclidean;
  /// Signs of projections tell little apart where all points lie on one side of the origin, as
  /// pixels and counts do: there the mean helps much.
  centring centre = centring::mean;
};

/// How thoroughly a search looks.
struct lsh_effort {
  /// Buckets looked into beyond the query's own, over all tables, the most promising first. Only for
  /// families of bits; others have no further buckets.
  std::size_t probes = 0;
  /// Candidates whose distance is computed: those whose codes are nearest to the query's, ties
  /// included; 0: all.
  std::size_t looks = 0;
};

/// Finds near points among those that share a bucket with the query in one of L tables.
///
/// Table t holds each id in the bucket of its t-th code. A search gathers the buckets of the query's
/// codes and of codes a few bits away, in the order of how unsure the flipped bits are; removes
/// duplicates; where asked, keeps the candidates whose codes, which are stored, are nearest in Hamming
/// distance (by the number of equal codes for families that are not of bits); and computes the
/// distances of the rest.
///
/// Shape:   points (d), batches (n, d), d = family().dim(); L = family().num_hashes(). Ids are numbers
///          of places in order of insertion; those of erased points are given again. At most 2^25
///          points.
/// Memory:  bytes(): 4 d a point (to a multiple of 32 bytes), 2 L for its codes (4 L beyond 16 bits; to
///          a multiple of 8), and L dynamic_buckets of all points.
/// Cost:    insert and update a hash and L lists; erase L lists; each besides a pass over the buckets
///          it takes the point out of. A search: a hash, a few ns a candidate, 2 L bytes of each with
///          `looks`, a row of each that is looked at.
/// Error:   a point is found with the probability that inclusion_probability() states. Distances are
///          those of flat_index to the last bit.
/// Threads: const members may run at once, one workspace each. Writers need exclusive access.
/// Seeds:   equal families, points and histories give equal answers; a loaded index answers as the
///          saved one.
/// Ref:     Indyk and Motwani 1998, STOC (the tables); Lv et al. 2007, VLDB (order of probes, section
///          4.4; here over all tables together).
///
/// @tparam Family  hash family; kernel_family for inclusion_probability(), bit_hash_family for probes,
///                 margin_hash_family for their best order
template <hash_family Family>
class lsh_index {
 public:
  using params = lsh_index_params;

  /// An empty index. Throws invalid_params for a metric or centring that does not exist, or more than
  /// 2^16 hashes.
  explicit lsh_index(Family family, params p = {});

  /// Forgets everything and holds the rows of x, with ids 0, 1, ...; the mean is theirs. Throws
  /// invalid_input, and changes nothing, for a wrong shape, a coordinate that is not finite, a squared
  /// norm above 1e37 or too many points.
  template <executor Executor = serial_executor>
  void build(matrix_view<const float> x, Executor&& run = {});

  /// Adds a point and returns its id, or one per row with the ids written out (n, or empty: not
  /// wanted). The mean stays that of build(), or zero. Throws as build() does.
  id_t insert(std::span<const float> x, workspace& ws);
  void insert(matrix_view<const float> x, std::span<id_t> ids, workspace& ws);

  /// Takes a point out, or puts another in its place. Throws invalid_input, and changes nothing, for
  /// the id of no point, and as build() does.
  void erase(id_t id);
  void update(id_t id, std::span<const float> x, workspace& ws);

  /// The nearest of the candidates, nearest first, at most out.size(); returns how many. Throws
  /// invalid_input as build() does.
  std::size_t search(std::span<const float> x, std::span<neighbor> out, workspace& ws,
                     lsh_effort effort = {}) const;

  /// At most k for each row, to out (n, k) and how many to found (n); equal to one by one.
  template <executor Executor = serial_executor>
  void search(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
              std::span<std::size_t> found, lsh_effort effort = {}, Executor&& run = {}) const;

  /// The candidates of a search, each once, in no particular order, written over out. Returns how many
  /// ids lay in the buckets, duplicates among them.
  std::size_t candidates(std::span<const float> x, std::vector<id_t>& out, workspace& ws,
                         lsh_effort effort = {}) const;

  /// Probability, over the draw of the family, that a point's bucket is the query's in at least one
  /// table: 1 - (1 - kernel)^L, the kernel that of the points as they are hashed. With probes a lower
  /// bound. Throws invalid_input for the id of no point and as search() does.
  [[nodiscard]] double inclusion_probability(std::span<const float> x, id_t id,
                                             workspace& ws) const requires kernel_family<Family>;

  [[nodiscard]] std::size_t dim() const noexcept { return store_.dim(); }
  [[nodiscard]] std::size_t size() const noexcept { return store_.size(); }
  [[nodiscard]] std::size_t tables() const noexcept { return tables_.size(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return store_.contains(id); }
  /// The point as it is kept, of length 1 for cosines. Pre: contains(id).
  [[nodiscard]] std::span<const float> point(id_t id) const noexcept { return store_.row(id); }
  [[nodiscard]] const Family& family() const noexcept { return family_; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Portable little-endian image: family, points and mean; load() hashes the points again. It throws
  /// format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static lsh_index load(reader& in);

 private:
  static constexpr std::size_t most_points = std::size_t{1} << 25;
  struct probe {
    std::uint32_t table;
    code_t code;
  };

  lsh_index(Family family, params p, detail::point_store store);

  // Codes of points that were checked, as they are stored.
  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const;
  // x less the mean. `to` has room for all of x, and is not used without a mean.
  [[nodiscard]] matrix_view<const float> centred(matrix_view<const float> x,
                                                 std::span<float> to) const noexcept;
  void put_codes(id_t id, std::span<const code_t> codes) noexcept;
  [[nodiscard]] code_t code(id_t id, std::size_t table) const noexcept;
  template <class Executor>
  void build_tables(std::span<const id_t> ids, Executor& run);
  template <class Executor>
  void hash_all(Executor& run);
  // Queries as the searches want them: values as the store prepares them, codes, and for families that
  // have them the margins, if there will be probes.
  struct queries {
    std::span<float> values;
    std::span<code_t> codes;
    std::span<float> margins;
    std::size_t margins_each;
  };
  [[nodiscard]] queries hash_queries(matrix_view<const float> x, lsh_effort effort,
                                     workspace::frame_type& frame, workspace& ws) const;
  [[nodiscard]] std::span<id_t> candidate_ids(const queries& q, std::size_t i, lsh_effort effort,
                                              workspace::frame_type& frame, workspace& ws,
                                              std::size_t& gathered) const;
  void search_rows(matrix_view<const float> x, std::size_t k, std::span<neighbor> out,
                   std::span<std::size_t> found, lsh_effort effort, workspace& ws) const;
  [[nodiscard]] std::size_t probe_bits() const noexcept;
  std::size_t plan(std::span<const code_t> codes, std::span<const float> margins,
                   std::span<probe> probes, workspace& ws) const;
  [[nodiscard]] std::span<id_t> gather(std::span<const probe> probes, workspace::frame_type& frame,
                                       std::size_t& gathered) const;
  [[nodiscard]] std::size_t code_distance(const std::uint16_t* a,
                                          const std::uint16_t* b) const noexcept;
  [[nodiscard]] std::size_t keep_nearest_codes(std::span<id_t> ids, std::span<const code_t> codes,
                                               std::size_t looks, workspace& ws) const;

  Family family_;
  params params_;
  std::size_t code_words_ = 1;   // of 16 bits, to a code
  std::size_t code_stride_ = 4;  // of 16 bits, to a point
  detail::point_store store_;
  std::vector<float> mean_;            // empty: zero
  large_vector<std::uint16_t> codes_;  // (slots, code_stride_), low words first, zeros behind
  std::vector<dynamic_buckets> tables_;
};

}  // namespace skim::inline v0

#include "skim/index/detail/lsh_index_impl.hpp"
