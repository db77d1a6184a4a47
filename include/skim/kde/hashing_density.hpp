// SPDX-License-Identifier: Apache-2.0
//
// Densities from hash tables over random subsets of the points: a bucket tells how many points are near, and
// one of them how near.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/kernel_hash.hpp"
#include "skim/kde/detail/point_rows.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/table/dynamic_buckets.hpp"

namespace skim::inline v0 {

/// What a hashing_density holds.
struct hashing_density_params {
  std::size_t dim = 1;  ///< d, coordinates of a point
  density_kernel kernel{};
  std::size_t tables = 512;   ///< T, 1 to 2^12
  std::size_t entries = 512;  ///< m, about how many points a table holds, 1 to 2^20
  /// The density that the hash is tuned to, where one must be (Gaussian, exponential), 1e-12 to 0.5.
  double tuned_to = 1e-4;
  /// Up to so many points, and twice as many on the way up, there are no tables and answers are exact.
  std::size_t exact_up_to = 256;
};

/// The density by hashing, in little memory: T tables, each of a random subset of about m points.
///
/// Table t has a hash of its own whose collision probability p(x, y) is known exactly and is near the square
/// root of the kernel: cells of random grids for the Laplacian kernel (exactly its root), bins along Gaussian
/// lines for the Gaussian, exponential and Student ones, signs for the angular one. A point of weight w is in
/// it s w times on average (rounded up or down at random), with one s for all, so that a uniform draw from a
/// bucket is one by weight. With b entries in the query's bucket and X drawn from them, afresh for each query,
///   Z_t = b / s k(X, q) / p(X, q)
/// has the sum of all weighted kernels as its mean, over the hash, the subset and the draw. (Up to four
/// entries are all evaluated; of more, four are drawn.) The answer is the mean of some tables.
///
/// Which tables a point is in depends on its id, its weight and s alone. s is a power of two, with s W of
/// m / 2 to m for a total weight W of many points; where it leaves a quarter to twice of what it should be, all
/// tables are filled anew.
///
/// How many tables are read grows by half, from 16, until the spread of what they say (with one more of
/// their largest) shows relative_error, and there are ln(1/failure) / sqrt(e f) tables and ln(1/failure) /
/// (e f) entries for the density f that they say: by then a set of points that carries a share e of it would
/// have been met. Where it would take more tables than there are, or more time than the exact sum, the answer
/// is that sum.
///
/// Shape:   points (d), batches (n, d); an id is that of a place in order of insertion, and is given again
///          after the point was erased.
/// Memory:  bytes(): 4 d + 4 a point, an eighth more where it grew one by one; up to 2 T m entries of about 30
///          bytes, whatever n; 16 d (Laplacian) or 64 d bytes a table.
/// Cost:    insert, erase and replace about T min(1, m / n) hashes, of d roundings (Laplacian) or 16 d
///          FMAs, and T random words; filling anew T m hashes, once in a doubling of n. A query reads 1 to T
///          tables: a hash, a bucket, up to four points each. The variance of Z_t is up to about
///          f^2 (1 / sqrt(f) + 1 / (m f)): a density below 1e-3 takes more than 512 tables can say within
///          10 %, unless points are spread evenly, and then the answer costs what the exact sum does.
/// Error:   standard_error is the tables'. That it is within the target is what the sample suggests, over the
///          draw of the structure and of the query; no theorem for finite samples.
/// Threads: const members may run at once, one workspace and engine each. Writers need exclusive access.
/// Seeds:   equal seeds and histories give equal structures; equal engines then equal answers, and row i of a
///          batch the answer of child(i) of the engine of its seed.
/// Ref:     Charikar and Siminelakis 2017, FOCS (hashing-based estimators); Backurs, Indyk and Wagner 2019,
///          NeurIPS (random subsets, and p = sqrt(k) by random grids); Siminelakis, Rong, Bailis, Charikar and
///          Levis 2019, ICML (stopping by what was seen; p-stable bins).
class hashing_density {
 public:
  using params = hashing_density_params;

  /// Throws invalid_params for 0 or more than 2^24 dimensions, an impossible kernel, or a size out of range.
  explicit hashing_density(params p, seed s = {});

  /// As exact_density::insert().
  id_t insert(std::span<const float> x, float weight, workspace& ws);
  void insert(matrix_view<const float> x, std::span<const float> weights = {},
              std::span<id_t> ids = {});

  /// As exact_density::build() and clear().
  void build(matrix_view<const float> x, std::span<const float> weights = {});
  void clear() noexcept;

  /// As exact_density::erase() and replace().
  void erase(id_t id);
  void replace(id_t id, std::span<const float> x, workspace& ws);

  /// The density at x. Throws invalid_input for an impossible point or target. Where there are no points, the
  /// value is 0 and `below` true.
  [[nodiscard]] density_estimate density(std::span<const float> x, density_target target,
                                         random_engine& g, workspace& ws) const;

  /// That of each row, to out (n).
  template <executor Executor = serial_executor>
  void density(matrix_view<const float> x, density_target target, seed s,
               std::span<density_estimate> out, Executor&& run = {}) const;

  /// The mean of so many tables, unbiased, with its standard error. Throws invalid_input as density() does,
  /// and for 0 tables or more than tables_in_use().
  [[nodiscard]] density_estimate sample(std::span<const float> x, std::size_t tables,
                                        random_engine& g, workspace& ws) const;

  [[nodiscard]] std::size_t size() const noexcept { return rows_.size(); }
  [[nodiscard]] std::size_t dim() const noexcept { return rows_.dim(); }
  [[nodiscard]] double total_weight() const noexcept { return rows_.total_weight(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return rows_.contains(id); }
  /// The weight of a point, and the point as it is kept (on the sphere under the angular kernel), until the
  /// next change. Pre: contains(id).
  [[nodiscard]] float weight(id_t id) const noexcept { return rows_.weight(id); }
  [[nodiscard]] std::span<const float> point(id_t id) const noexcept { return rows_.row(id); }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return params_.kernel; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  /// 0 or parameters().tables.
  [[nodiscard]] std::size_t tables_in_use() const noexcept { return tables_.size(); }
  /// Entries of all tables.
  [[nodiscard]] std::size_t entries() const noexcept;
  /// s, entries of a point of weight 1 to a table.
  [[nodiscard]] double share() const noexcept;
  /// The probability that one of the hashes gives x and y the same code. Throws invalid_input as insert().
  [[nodiscard]] double collision(std::span<const float> x, std::span<const float> y) const;
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Portable little-endian image: parameters, seeds and points; load() hashes the points again. It throws
  /// format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static hashing_density load(reader& in);

 private:
  struct table {
    detail::kernel_hash hash;
    dynamic_buckets buckets;
  };
  struct moments;

  hashing_density(const params& p, const random_engine& root, detail::point_rows rows);
  static const params& checked(const params& p);

  [[nodiscard]] std::uint64_t copies(id_t id, std::size_t t) const noexcept;
  [[nodiscard]] int wanted_scale() const noexcept;
  void settle(workspace& ws);
  void fill(workspace& ws);
  void enter(id_t id, workspace& ws);
  void leave(id_t id, workspace& ws);
  void read(std::span<const float> x, std::size_t first, std::size_t count, random_engine& g,
            workspace& ws, moments& m) const;
  [[nodiscard]] density_estimate exact(const float* x, const density_target& target) const;
  [[nodiscard]] density_estimate estimate(std::span<const float> x, const density_target& target,
                                          random_engine& g, workspace& ws) const;

  params params_;
  detail::hash_shape shape_;
  random_engine root_;
  random_engine choice_;  // of the tables a point is in
  detail::point_rows rows_;
  std::vector<table> tables_;
  int scale_ = 0;  // log2 of s
};

}  // namespace skim::inline v0

#include "skim/kde/detail/hashing_density_impl.hpp"
