// SPDX-License-Identifier: Apache-2.0
//
// Kernel density from a stratified sample: points lie in clusters, near clusters are summed, of far ones
// a few blocks are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/detail/block_means.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

/// What a cluster_density holds, and how it samples.
struct cluster_density_params {
  std::size_t dim = 1;         ///< d, coordinates of a point
  density_kernel kernel = {};  ///< may change later
  std::size_t clusters = 0;    ///< C, at most 2^20; 0: 2 sqrt(n) as n goes
  double exponent = 0.5;       ///< g: rates go with k(centroid)^g; 0 to 2
  std::size_t blocks = 60;     ///< B, of 8 points, that a query reads at first; 16 to 2^20
  std::size_t rounds = 4;      ///< of k-means, at most 1000
};

/// How well the clusters fit their points.
struct cluster_health {
  std::size_t clusters = 0;
  double largest = 0;  ///< points of the largest, over the size that is wanted
  double widest = 0;   ///< largest of the root mean square radii, over their median
};

/// Kernel density by stratified cluster sampling.
///
/// A query looks at all centroids; a cluster whose centroid is at distance D has the weight k(D)^g times
/// what its points weigh. The number of blocks to read is shared out by weight: clusters that would get
/// 0.7 of theirs or more are summed whole, the others are sampled systematically, each from a random
/// block on. So the sample is dense where the kernel is large, whatever the bandwidth: the index does
/// not depend on it. The estimate is unbiased for any clustering; only its variance depends on how well
/// the clusters fit.
///
/// Sampling goes on, in rounds, until the half width of a confidence interval is at most
/// target.relative_error times the value (or the interval lies below target.smallest), or until half of
/// all blocks would be read: then all are, and the answer is exact. The interval is that of Student's t with
/// a correction for the skewness of the sample. What no block of the sample shows it cannot know: a point
/// that is near to the query but in a cluster whose centroid is far.
///
/// Clusters twice as large as they should be are split as points are added, as are clusters that grow
/// wide; those that lose their points go. Without that, points that come where no centroid is would be
/// such hidden points (measured: errors of half the density that the standard error did not see).
///
/// Shape:   points (d), batches (n, d).
/// Memory:  4 (d + 1) + 12 bytes a point, an eighth more at most as clusters grow, and C centroids of
///          4 (d + 2) bytes.
/// Cost:    build n sqrt(C) d FMAs and more; a query C d FMAs for the centroids, then 8 d a block;
///          insert some 3 sqrt(C) d and one copy; erase two copies; a split every sqrt(n) inserts or so.
/// Error:   target.relative_error but with probability target.failure, as far as intervals are honest:
///          tests measure it. No bound is proven.
/// Threads: const members may run at once, one workspace and engine each. Writers need exclusive
///          access.
/// Seeds:   equal seeds, points and histories give equal answers, for any executor, on machines whose
///          rounding is alike. A query draws blocks afresh: only the order of points within a cluster and
///          the clusters themselves, on which no unbiasedness rests, come from the structure's seed.
/// Ref:     Charikar and Siminelakis 2017, FOCS (weights of the root of the kernel); Hansen and Hurwitz
///          1943, Ann. Math. Stat. 14(4) (the estimator); Hall 1992, The Bootstrap and Edgeworth
///          Expansion (coverage of Student's interval under skewness).
class cluster_density {
 public:
  using params = cluster_density_params;

  /// Holds no points. Throws invalid_params for values out of range.
  explicit cluster_density(params p, seed s = {});

  /// Forgets everything and holds the rows of x, with ids 0, 1, ...; weights: one a row, or none for 1
  /// each. Throws invalid_input, and changes nothing, for a wrong shape, a coordinate that is not finite,
  /// a squared norm above 1e37, a weight outside 1e-15 to 1e15, or a zero vector under the angular
  /// kernel.
  template <executor Executor = serial_executor>
  void build(matrix_view<const float> x, std::span<const float> weights = {}, Executor&& run = {});

  /// Adds a point and returns its id. Throws as build() does.
  id_t insert(std::span<const float> x, float weight, workspace& ws);
  /// Takes a point out. Throws invalid_input, and changes nothing, for the id of no point.
  void erase(id_t id);
  /// Puts a point where another was, with its id and weight. Throws as insert() and erase() do.
  void replace(id_t id, std::span<const float> x, workspace& ws);
  /// Forgets all points.
  void clear() noexcept;
  /// Clusters the points anew; ids stay. For after a change of everything: splits keep up with less.
  template <executor Executor = serial_executor>
  void refresh(Executor&& run = {});

  /// Estimates the density at x. Throws invalid_input for a point that insert() would not take, or a
  /// target out of range. Where there are no points, the value is 0 and `below` true.
  [[nodiscard]] density_estimate density(std::span<const float> x, const density_target& target,
                                         random_engine& g, workspace& ws) const;
  /// The same for each row; row i draws from random_engine(s).child(i).
  template <executor Executor = serial_executor>
  void density(matrix_view<const float> x, const density_target& target, seed s,
               std::span<density_estimate> out, Executor&& run = {}) const;

  /// Other kernels over the same points, at no cost. Throws invalid_params for values out of range, and
  /// between the angular kernel, whose points are kept on the sphere, and others.
  void set_kernel(const density_kernel& k);
  void set_bandwidth(double h) { set_kernel({params_.kernel.kind, h}); }

  [[nodiscard]] std::size_t dim() const noexcept { return params_.dim; }
  [[nodiscard]] std::size_t size() const noexcept { return places_.size() - free_.size(); }
  [[nodiscard]] double total_weight() const noexcept { return total_; }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return params_.kernel; }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::size_t clusters() const noexcept {
    return clusters_.size() - free_clusters_.size();
  }
  [[nodiscard]] bool contains(id_t id) const noexcept {
    return id < places_.size() && places_[id].cluster != nowhere;
  }
  /// Copies a point, as it is kept (on the sphere under the angular kernel). Pre: contains(id),
  /// out.size() == dim().
  void point(id_t id, std::span<float> out) const noexcept {
    clusters_[places_[id].cluster].points.copy_point(places_[id].index, out);
  }
  /// Pre: contains(id).
  [[nodiscard]] float weight(id_t id) const noexcept {
    return clusters_[places_[id].cluster].points.weight(places_[id].index);
  }
  [[nodiscard]] cluster_health health() const;
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static cluster_density load(reader& in);

 private:
  static constexpr std::uint32_t nowhere = 0xffffffffu;
  static constexpr std::size_t group_clusters = 48;  // of a group that is made; twice that is split
  static constexpr std::size_t least_points = 16;    // of a cluster that may be split
  static constexpr double whole_rate = 0.7;          // of blocks, from which on all are read

  struct cluster {
    detail::block_list points;  // in random order
    double weight = 0;          // of the points
    double counted = 0;         // weight when last summed up
    double spread = 0;          // sum of squared distances to the centroid
    double born = 0;            // mean of those when it was made
    std::uint32_t group = nowhere, index = 0;
    std::size_t patience = 0;  // no split is tried up to so many points

    [[nodiscard]] double radius() const noexcept {
      return points.size() == 0 ? 0 : spread / static_cast<double>(points.size());
    }
  };
  // Clusters near each other. The centroids' ids are those of the clusters, their weights the clusters'.
  struct group {
    detail::block_list centroids;
    aligned_vector<float>
        blocks;  // of each cluster, in whole blocks of eight: 0 where there is none
  };
  struct place {
    std::uint32_t cluster = nowhere, index = 0;
  };
  // A block that was read: of which cluster, and its kernel sum over the cluster's share.
  struct draw {
    std::uint32_t slot = 0, round = 0;
    float rate = 0;  // at which blocks of the cluster were drawn
    const float* block = nullptr;
    double term = 0;
  };

  [[nodiscard]] static params checked(const params& p);
  void check_point(std::string_view who, std::span<const float> x) const;
  static void check_weight(std::string_view who, float weight);
  void check_id(std::string_view who, id_t id) const;
  // x as it is kept, in `to` where it differs.
  [[nodiscard]] std::span<const float> kept(std::span<const float> x, std::span<float> to) const;

  [[nodiscard]] std::size_t wanted_clusters(std::size_t n) const noexcept;
  [[nodiscard]] double wanted_size() const noexcept;
  [[nodiscard]] std::uint32_t nearest_cluster(const float* x, float& square) const noexcept;
  [[nodiscard]] double square_to_centroid(const cluster& c, const float* x) const noexcept;

  template <class Row, class Executor>
  void arrange(std::size_t n, Row&& row, std::span<const float> weights, std::span<const id_t> ids,
               Executor& run);
  // Adding clusters and groups, and taking them out.
  std::uint32_t add_cluster(cluster&& c, std::span<const float> centroid, std::uint32_t group);
  void remove_cluster(std::uint32_t c) noexcept;
  std::uint32_t add_group(std::span<const float> mean);
  void remove_group(std::uint32_t g) noexcept;
  void split_group(std::uint32_t g);
  bool split_cluster(std::uint32_t c);
  bool wants_split(const cluster& c, double grown_spread) const noexcept;
  void dissolve(std::uint32_t c);
  void refresh_median();
  template <class Profile>
  [[nodiscard]] density_estimate estimate(const Profile& profile, const float* q,
                                          const density_target& target, random_engine& g,
                                          workspace& ws) const;
  template <class Profile>
  [[nodiscard]] double whole(const Profile& profile, const cluster& c,
                             const float* q) const noexcept;
  // Bookkeeping of a cluster's points.
  void put_point(std::uint32_t c, std::span<const float> x, float weight, id_t id, double square);
  void take_point(std::uint32_t c, std::size_t index) noexcept;
  void weigh(std::uint32_t c) noexcept;
  void renumber(std::uint32_t c) noexcept;
  void sum_weights() noexcept;

  params params_;
  seed seed_;
  random_engine order_;  // of points within clusters, and of splits
  std::vector<cluster> clusters_;
  std::vector<std::uint32_t> free_clusters_;
  std::vector<group> groups_;
  detail::block_list means_;   // of the groups
  std::vector<place> places_;  // of each id
  std::vector<id_t> free_;     // the last is used next
  std::vector<float> scratch_;
  double total_ = 0, counted_ = 0;  // weight of all, now and when last summed up
  double median_ = 0;               // of the clusters' radii
  std::uint64_t until_median_ = 0;  // changes until it is taken again
};

}  // namespace skim::inline v0

#include "skim/kde/detail/cluster_density_impl.hpp"
