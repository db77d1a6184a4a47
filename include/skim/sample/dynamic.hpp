// SPDX-License-Identifier: Apache-2.0
//
// Draws from a discrete distribution whose weights change all the time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0 {

/// Draws ids with probability proportional to weights that may change between any two draws.
///
/// Sixteen consecutive weights, one cache line, form a block. Blocks are kept in groups of like
/// total, two groups an octave. A draw picks a group by its total, then uniform members of it until
/// one is accepted, which the first is with probability 2/3 or more, then an item by a search in
/// the block's prefix sums. A change adds up one block and sometimes moves it to another group:
/// nothing depends on n.
///
/// Totals cannot drift. A block is added up from its weights each time; its total is rounded up to
/// an integer mantissa of 31 bits, groups add up integers, and what was rounded up is refused when
/// the item is picked.
///
/// Shape:   float weights (n), finite, non-negative; ids in [0, n), n < 2^32.
/// Memory:  5 n bytes, up to 6 n with the slack of growing lists.
/// Cost:    update, insert and erase O(1) amortised; draw expected O(1): at most 3/2 tries, and a
///          walk over the groups in use. Their number G is at most 562 and about 5 for weights of
///          one kind; a group that empties or fills anew costs O(G).
/// Error:   each probability is exact to (G + 16) 2^-53 in absolute terms. A zero weight is never
///          drawn.
/// Threads: const members may run at once; give each thread its own generator.
/// Seeds:   equal histories and generator states give equal draws on every platform.
/// Ref:     Matias, Vitter and Ni 2003, Theory Comput. Syst. 36(4) (groups of equal exponent; one
///          level suffices, since floats have few exponents); Devroye 1986, Non-Uniform Random
///          Variate Generation, II.3 (rejection).
class dynamic_sampler {
 public:
  /// No items; insert() adds them.
  dynamic_sampler() = default;
  /// Throws invalid_params if a weight is negative or not finite. All zero is allowed.
  explicit dynamic_sampler(std::span<const float> weights);

  /// Sets the weight of id i. Throws invalid_input, changing nothing, if i >= size() or the weight
  /// is negative or not finite.
  void update(id_t i, float weight);
  /// Sets many weights, in this order, with their cache misses overlapped; all or none.
  void update(std::span<const id_t> ids, std::span<const float> weights);

  /// Adds an item and returns its id, the former size(). Throws as update().
  id_t insert(float weight);
  /// Takes an item out of the draw: update(i, 0). Ids of other items stay as they are.
  void erase(id_t i) { update(i, 0.0f); }

  /// One id, or nothing if all weights are zero.
  template <random_source G>
  [[nodiscard]] std::optional<id_t> draw(G& g) const noexcept;

  /// Independent ids, with their cache misses overlapped. Returns how many were drawn: out.size(),
  /// or 0 if all weights are zero. Uses the generator in another order than single draws do.
  template <random_source G>
  std::size_t draw(G& g, std::span<id_t> out) const noexcept;

  /// Draws an id and erases it: repeated, a sample without replacement by successive draws.
  template <random_source G>
  [[nodiscard]] std::optional<id_t> draw_and_erase(G& g);

  /// Throws invalid_input unless i < size().
  [[nodiscard]] float weight(id_t i) const;
  /// Sum of the weights, rounded up by at most one part in 2^30. Cost: O(G).
  [[nodiscard]] double total_weight() const noexcept;
  /// weight(i) / total_weight(), or 0 if all weights are zero. Throws invalid_input unless i < size().
  [[nodiscard]] double probability(id_t i) const;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// The image keeps the order of blocks, so that a loaded sampler draws on as this one would.
  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static dynamic_sampler load(reader& in);

 private:
  static constexpr std::size_t block_size = 16;
  // An octave has 2^split_bits groups, so that a try seldom fails. A total is at most mantissa *
  // unit_of(group), the mantissa in [2^30, 2^31]; group 0 holds the blocks of total 0, so that every
  // block is a member somewhere.
  static constexpr unsigned split_bits = 1;
  static constexpr std::size_t group_count = (281u << split_bits) + 1;
  // Totals a draw looks at without branching: three octaves hold nearly all blocks of most data.
  static constexpr std::size_t head = 6;

  struct decomposed {
    std::uint32_t mantissa = 0;
    std::uint32_t group = 0;
  };
  struct place {
    std::uint32_t group = 0, slot = 0;
  };
  struct member {
    std::uint32_t block = 0, mantissa = 0;
  };
  struct group {
    aligned_vector<member> room;  // the first `size` are members
    std::uint64_t mantissas = 0;  // their sum
    std::uint32_t size = 0;
    std::uint32_t rank = 0;  // place in active_ and totals_, if there are members
  };
  [[nodiscard]] static decomposed decompose(double total) noexcept;
  [[nodiscard]] static double unit_of(std::uint32_t index) noexcept;
  [[nodiscard]] static std::uint64_t limit_of(std::uint32_t index) noexcept;
  void check(id_t i, float weight) const;
  void make_groups();
  void resize_room(std::uint32_t index, std::size_t size);
  void set(id_t i, float weight);
  void add_block();
  void join(decomposed to, std::uint32_t block) noexcept;
  void renumber(std::size_t first_rank) noexcept;
  void refresh(std::uint32_t index) noexcept;

  template <random_source G>
  [[nodiscard]] std::uint32_t draw_group(G& g) const noexcept;
  [[nodiscard]] std::optional<id_t> pick(std::uint32_t index, std::uint32_t block,
                                         std::uint64_t point) const noexcept;

  std::size_t size_ = 0;
  aligned_vector<float> weights_;      // whole blocks, the last one filled up with zeros
  std::vector<place> places_;          // of each block
  std::vector<group> groups_;          // group_count of them once there is an item
  std::vector<std::uint32_t> active_;  // groups with members but group 0, largest totals first
  std::vector<double> totals_;         // theirs in the same order, then zeros; head + group_count
};

}  // namespace skim::inline v0

#include "skim/sample/detail/dynamic_impl.hpp"
