// SPDX-License-Identifier: Apache-2.0
//
// Densities by uniform sampling that stops as soon as a rigorous bound allows: the plain estimator that
// every other has to beat, and the one whose promise rests on nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/point_table.hpp"
#include "skim/kde/detail/weight_classes.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

/// What a uniform_density holds.
struct uniform_density_params {
  std::size_t dim = 1;  ///< d, coordinates of a point
  density_kernel kernel{};
};

/// The density by blocks of eight points drawn uniformly, with replacement, afresh for every query.
///
/// Promise: the answer is within relative_error of the density, or below `smallest` where it says so, but
///          with the probability `failure` over the draws of the query: for any points, in any order, for
///          finite samples (an empirical Bernstein bound that holds at all times at once, no limit theorem),
///          and for queries chosen knowing all earlier answers and draws, and the structure itself. Points
///          lie in random order, but only the cost hangs on that.
///
/// Where a third as many blocks as there are would not settle it, the answer is exact. The value is the sample's
/// mean, moved into what the bound leaves; standard_error is that of the mean.
///
/// Shape:   points (d), batches (n, d); ids as those of exact_density.
/// Memory:  bytes(): 4 (d + 1) + 8 a point, an eighth more where it grew one by one.
/// Cost:    insert, erase and replace O(d). With c the largest weight (to the next power of two) over the
///          mean one, a query at density f takes about c (2/e^2 + 8/e) ln(2/delta) / f kernels for relative
///          error e if kernels are 0 or 1, less if they are between, and at most 4 n / 3; very unequal weights
///          make it exact.
/// Error:   as promised, and the rounding of exact_density.
/// Threads: const members may run at once, one workspace and engine each. Writers need exclusive access.
/// Seeds:   equal seeds and histories give equal structures; equal engines then equal answers, and row i of
///          a batch the answer of child(i) of the engine of its seed.
/// Ref:     Fan, Grama and Liu 2015, Electron. J. Probab. 20 (the exponential inequality); Waudby-Smith and
///          Ramdas 2024, J. R. Stat. Soc. B 86(1) (empirical Bernstein bounds at all times); Mnih, Szepesvari
///          and Audibert 2008, ICML (stopping at a relative error).
class uniform_density {
 public:
  using params = uniform_density_params;

  /// Throws invalid_params for 0 or more than 2^24 dimensions, or an impossible kernel.
  explicit uniform_density(params p, seed s = {})
      : kernel_(checked(p).kernel), order_(s), table_(p.dim) {}

  /// As exact_density::insert().
  id_t insert(std::span<const float> x, float weight, workspace& ws);
  void insert(matrix_view<const float> x, std::span<const float> weights = {},
              std::span<id_t> ids = {});

  /// As exact_density::build() and clear().
  void build(matrix_view<const float> x, std::span<const float> weights = {});
  void clear() noexcept {
    table_.clear();
    classes_ = {};
  }

  /// As exact_density::erase() and replace().
  void erase(id_t id);
  void replace(id_t id, std::span<const float> x, workspace& ws);

  /// The density at x, as promised. Throws invalid_input for an impossible point or target. Where there are
  /// no points, the value is 0 and `below` true.
  [[nodiscard]] density_estimate density(std::span<const float> x, density_target target,
                                         random_engine& g, workspace& ws) const;

  /// That of each row, to out (n).
  template <executor Executor = serial_executor>
  void density(matrix_view<const float> x, density_target target, seed s,
               std::span<density_estimate> out, Executor&& run = {}) const;

  /// The mean of as many kernels as given (to a multiple of eight), without a promise: unbiased, with its
  /// standard error. Throws invalid_input as density() does, and for 0 kernels.
  [[nodiscard]] density_estimate sample(std::span<const float> x, std::uint64_t evaluations,
                                        random_engine& g, workspace& ws) const;

  [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }
  [[nodiscard]] std::size_t dim() const noexcept { return table_.dim(); }
  [[nodiscard]] double total_weight() const noexcept { return table_.total_weight(); }
  [[nodiscard]] bool contains(id_t id) const noexcept { return table_.contains(id); }
  /// The weight of a point, and its coordinates as they are kept (on the sphere under the angular kernel).
  /// Pre: contains(id), out.size() == dim().
  [[nodiscard]] float weight(id_t id) const noexcept { return table_.weight(id); }
  void point(id_t id, std::span<float> out) const noexcept { table_.copy_point(id, out); }
  [[nodiscard]] const density_kernel& kernel() const noexcept { return kernel_; }
  void set_kernel(const density_kernel& k) {
    detail::check_kernel_change("uniform_density::set_kernel", kernel_, k);
    kernel_ = k;
  }
  void set_bandwidth(double h) { set_kernel({kernel_.kind, h}); }
  [[nodiscard]] std::size_t bytes() const noexcept { return table_.bytes(); }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const;
  [[nodiscard]] static uniform_density load(reader& in);

 private:
  struct moments;

  uniform_density(const density_kernel& k, const random_engine& order, detail::point_table table);

  static const params& checked(const params& p) {
    detail::check_dim("uniform_density", p.dim);
    p.kernel.check("uniform_density");
    return p;
  }
  id_t put(std::span<const float> x, float weight);
  void draw(const float* x, std::uint64_t blocks, random_engine& g, moments& m) const;
  [[nodiscard]] density_estimate exact(const float* x, const density_target& target) const;
  [[nodiscard]] density_estimate estimate(const float* x, const density_target& target,
                                          random_engine& g) const;

  density_kernel kernel_;
  random_engine order_;  // of the points
  detail::point_table table_;
  detail::weight_classes classes_;
};

}  // namespace skim::inline v0

#include "skim/kde/detail/uniform_density_impl.hpp"
