// SPDX-License-Identifier: Apache-2.0
//
// Samples of a stream whose length nobody knows, kept in one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0 {

/// Uniform sample without replacement of the stream seen so far.
///
/// After each accepted item the number of items to pass over is drawn at once, so that most inserts
/// only count down.
///
/// Shape:   k = capacity items; after n inserts every set of min(k, n) of them is equally likely.
/// Memory:  k items and 64 bytes.
/// Cost:    insert O(1), a decrement but for the O(k log(n / k)) accepted items; a span of n items O(k log(n/k)).
/// Error:   exact, up to the rounding of double in the skips. The order of items is not random.
/// Linear:  merge gives what one sampler over both streams could have given.
/// Threads: const members may run at once; writers need exclusive access. Sample shards apart, merge.
/// Seeds:   equal seeds and streams give equal samples; logarithms may differ in the last bit
///          between C libraries and then change a skip once in about 1e15 draws.
/// Ref:     Li 1994, ACM Trans. Math. Softw. 20(4), algorithm L.
///
/// @tparam T  what is kept; copyable. save() and load() want a number or an enumeration.
template <class T = id_t>
class reservoir_sampler {
 public:
  /// Throws invalid_params if capacity is 0.
  reservoir_sampler(std::size_t capacity, seed s);

  void insert(const T& item) {
    if (skip_ == 0) return accept(item);
    --skip_;
    ++count_;
  }
  /// The same as inserting one by one.
  void insert(std::span<const T> stream);

  /// Makes this a sample of both streams. Throws merge_error unless capacities are equal.
  void merge(const reservoir_sampler& other);

  [[nodiscard]] std::span<const T> sample() const noexcept { return items_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  /// Items inserted so far; capacity() / count() is the inclusion probability once that is below 1.
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static reservoir_sampler load(reader& in);

 private:
  void accept(const T& item);
  void draw_skip() noexcept;

  std::size_t capacity_ = 0;
  std::uint64_t count_ = 0, skip_ = 0;
  double log_threshold_ = 0;  // log of the largest of the k smallest of `count` uniform keys
  random_engine engine_;
  std::vector<T> items_;
};

/// An item of a weighted sample.
template <class T>
struct weighted_item {
  T item{};
  double weight = 0;
  double key = 0;  ///< exponential / weight
};

/// Weighted sample without replacement of the stream seen so far.
///
/// Item i gets the key e_i / w_i with e_i exponential; the k smallest keys are the sample. The same
/// as k successive draws, each proportional to weight among what is left. Between acceptances the
/// weight to pass over is drawn at once, so most inserts only subtract.
///
/// Shape:   k = capacity items; weights finite and non-negative; an item of weight 0 is never kept.
/// Memory:  k (item, weight, key) and 100 bytes.
/// Cost:    insert O(1), a subtraction but for the O(k log(n / k)) accepted items at O(log k).
/// Error:   exact up to the rounding of double. With tau the largest key kept, the sum over the
///          other kept items of f / (1 - exp(-w tau)) is unbiased for the sum of f over the stream
///          (k >= 2); factors() gives these, and its sum's relative deviation for f = w is at most
///          1 / sqrt(k - 2).
/// Linear:  merge gives what one sampler over both streams could have given.
/// Threads: const members may run at once; writers need exclusive access. Sample shards apart with
///          different seeds, merge.
/// Seeds:   as reservoir_sampler.
/// Ref:     Efraimidis and Spirakis 2006, Inf. Process. Lett. 97(5), A-ExpJ; Cohen and Kaplan 2007,
///          PODC (the estimator, rank conditioning).
///
/// @tparam T  what is kept; copyable. save() and load() want a number or an enumeration.
template <class T = id_t>
class weighted_reservoir_sampler {
 public:
  /// Throws invalid_params if capacity is 0.
  weighted_reservoir_sampler(std::size_t capacity, seed s);

  /// Throws invalid_input, changing nothing, if the weight is negative or not finite.
  void insert(const T& item, double weight) {
    if (!(weight >= 0 && weight < infinity)) refuse(weight);
    if (left_ <= weight && weight > 0) return accept(item, weight);
    left_ -= weight;
    pass(weight);
  }
  /// The same as inserting one by one; all or none.
  void insert(std::span<const T> stream, std::span<const double> weights);

  /// Makes this a sample of both streams. Throws merge_error unless capacities are equal.
  void merge(const weighted_reservoir_sampler& other);

  /// The items kept. The first is the one with the largest key.
  [[nodiscard]] std::span<const weighted_item<T>> sample() const noexcept { return items_; }

  /// Writes for each item of sample() the factor that makes sums over the sample unbiased for sums
  /// over the stream: 1 while nothing of positive weight was dropped, then 0 for the first item and
  /// 1 / (1 - exp(-w tau)) for the others. Throws invalid_input unless out.size() == sample().size().
  void factors(std::span<double> out) const;

  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// Sum of all weights inserted, added up in their order.
  [[nodiscard]] double total_weight() const noexcept { return total_; }

  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static weighted_reservoir_sampler load(reader& in);

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  [[noreturn]] static void refuse(double weight);
  void accept(const T& item, double weight);
  void keep(const weighted_item<T>& entry);
  void pass(double weight) noexcept {
    ++count_;
    positive_ += weight > 0 ? 1u : 0u;
    total_ += weight;
  }

  std::size_t capacity_ = 0;
  std::uint64_t count_ = 0, positive_ = 0;  // of them with positive weight
  double total_ = 0;
  double left_ = 0;  // weight to pass over; 0 while there is room
  random_engine engine_;
  std::vector<weighted_item<T>> items_;  // heap, the largest key first
};

}  // namespace skim::inline v0

#include "skim/sample/detail/reservoir_impl.hpp"
