// SPDX-License-Identifier: Apache-2.0
//
// Draws from a fixed discrete distribution in constant time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0 {

/// Draws indices from a fixed discrete distribution in constant time.
///
/// The weights are first rounded to whole quanta of 2^-32 / n, n 2^32 of them in all. These are then
/// split, in exact integer arithmetic, over n columns of 2^32 quanta with at most two residents each. A draw
/// picks a column, then one of its two residents; both come out of one multiplication.
///
/// Shape:   weights (n), finite, non-negative, not all zero, 0 < n < 2^31; draws are ids in [0, n).
/// Memory:  8 n bytes; 16 n more while building.
/// Cost:    build O(n); draw O(1): one 64-bit random word and one cache line.
/// Error:   the quanta differ from the weights by less than one each, except that the largest weight
///          takes up what is left. A zero weight is never drawn, a positive one has at
///          least one quantum, so that 1 / probability is always a valid importance weight.
///          Draws follow the quanta to within 2^-63.
/// Threads: const members may run at once; give each thread its own generator.
/// Seeds:   equal weights and generator states give equal draws on every platform.
/// Ref:     Walker 1977, ACM Trans. Math. Softw. 3(3); Vose 1991, IEEE Trans. Softw. Eng. 17(9);
///          Huebschle-Schneider and Sanders 2019, ESA (construction by two sweeps).
class alias_sampler {
 public:
  /// Throws invalid_params if there are no weights or too many, one is negative or not finite, or
  /// all are zero.
  explicit alias_sampler(std::span<const float> weights);
  explicit alias_sampler(std::span<const double> weights);

  /// One id.
  template <random_source G>
  [[nodiscard]] id_t draw(G& g) const noexcept {
    const auto [column, fraction] = detail::multiply_wide(g(), cells_.size());
    return resident(static_cast<std::size_t>(column), fraction);
  }

  /// Independent ids, the same as out.size() single draws give, with their cache misses overlapped.
  template <random_source G>
  void draw(G& g, std::span<id_t> out) const noexcept;

  /// Probability with which id i is drawn: its quanta over all quanta, so exact, not the weight's
  /// quotient. Throws invalid_input unless i < size(). Cost: O(n); see probabilities().
  [[nodiscard]] double probability(std::size_t i) const;

  /// probability() of every id. Throws invalid_input unless out.size() == size(). Cost: O(n).
  void probabilities(std::span<double> out) const;

  [[nodiscard]] std::size_t size() const noexcept { return cells_.size(); }

  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static alias_sampler load(reader& in);

 private:
  struct cell {
    std::uint32_t threshold = 0;  // quanta of the column that belong to its own id
    id_t alias = 0;               // owner of the rest
  };

  alias_sampler() = default;

  template <class T>
  void build(std::span<const T> weights);

  [[nodiscard]] id_t resident(std::size_t column, std::uint64_t fraction) const noexcept {
    const cell c = cells_[column];
    return (fraction >> 32) < c.threshold ? static_cast<id_t>(column) : c.alias;
  }

  aligned_vector<cell> cells_;
};

}  // namespace skim::inline v0

#include "skim/sample/detail/alias_impl.hpp"
