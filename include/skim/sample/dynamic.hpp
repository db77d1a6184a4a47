// SPDX-License-Identifier: Apache-2.0
//
// Draws from a discrete distribution whose weights change all the time.
#pragma once

#include <bit>
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
/// Items are members of groups of like weight, four groups an octave. A table of up to 4096 cells of
/// equal mass stands for the groups, each of which has cells enough to hold its members at the upper
/// end of its weights. One random word picks a cell, a place in the cell and so a member, and
/// whether to accept it, which is so with probability near 0.9. A change takes an item out of one list and
/// appends it to another: no walk, nothing that depends on n.
///
/// Nothing can drift: the cells follow from numbers of members, and the acceptance from the member's
/// own weight. Cells are added as a group outgrows its own, and dealt out anew when none is left or
/// a group that matters has halved.
///
/// Shape:   float weights (n), finite, non-negative; ids in [0, n), n < 2^32.
/// Memory:  17 n bytes, up to 24 n with the slack of growing lists; 100 kB besides.
/// Cost:    draw O(1) expected: one 64-bit word and one cache line a try, 1.1 tries, at most 6 after
///          the worst of histories. Update, insert and erase O(1) amortised when no single weight
///          matters much: three cache lines, two of them only written. A change that makes or
///          takes away much of the total deals out the cells anew, about 2 us.
/// Error:   each probability is exact to one part in 2^52 and 2^-60 in absolute terms. A zero
///          weight is never drawn.
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
  /// Sum of the weights, exact but for the rounding of one addition per group in use, of which there
  /// are at most 1109. Cost: these additions.
  [[nodiscard]] double total_weight() const noexcept;
  /// weight(i) / total_weight(), or 0 if all weights are zero. Throws invalid_input unless i < size().
  [[nodiscard]] double probability(id_t i) const;

  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

  /// The image keeps members and cells in order, so that a loaded sampler draws on as this one would.
  void save(writer& out) const;
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static dynamic_sampler load(reader& in);

 private:
  // An octave has four groups, with weights below 5/4, 6/4, 7/4 and 2 of its power of two, so that a
  // try seldom fails. Group 0 holds the weights of zero, so that every item is a member somewhere.
  static constexpr unsigned octave_bits = 2;
  static constexpr std::uint32_t group_count = (277u << octave_bits) + 1;
  static constexpr unsigned cell_bits = 12;
  static constexpr std::size_t cell_count = std::size_t{1} << cell_bits;
  static constexpr unsigned width_bits = 12;   // fraction of group::width, beyond those of a cell
  static constexpr double cell_units = 105.0;  // 5, 6 and 7 divide it but for powers of two

  struct item {
    float weight = 0;
    std::uint32_t slot = 0;  // in the group that the weight implies
  };
  /// Id and weight in one word: two stores of halves could not be forwarded to a load of the whole,
  /// and the last member of a group is often a recent one.
  struct member {
    std::uint64_t word = 0;

    member() = default;
    member(id_t i, float w) noexcept
        : word((std::uint64_t{std::bit_cast<std::uint32_t>(w)} << 32) | i) {}
    [[nodiscard]] id_t id() const noexcept { return static_cast<id_t>(word); }
    [[nodiscard]] float weight() const noexcept {
      return std::bit_cast<float>(static_cast<std::uint32_t>(word >> 32));
    }
  };
  /// What draws and changes need of a group: one cache line.
  struct alignas(cache_line) group {
    aligned_vector<member> room;  // the first `size` are members; not empty once there are cells
    std::uint64_t width = 0;      // slots of a cell, in units of 2^-(cell_bits + width_bits)
    double scale = 0;             // upper end of the weights, times 2^-53
    std::uint64_t mantissas = 0;  // sum over members; 24 bits each, so this is exact
    std::uint32_t size = 0;
    std::uint32_t most = 0, least = 0;  // bounds of size with the present cells
    std::uint16_t cells = 0;
    std::uint16_t faint = 0;  // a pick counts only if so many random bits are zero
  };
  /// What a random word points at.
  struct attempt {
    const group* in = nullptr;
    const member* at = nullptr;
    std::uint64_t fraction = 0;
    bool within = false;  // whether there is a member
  };
  struct decomposed {
    std::uint32_t group = 0;
    std::uint32_t mantissa = 0;  // in units of 2^-23 of the octave; of no meaning in group 0
  };
  [[nodiscard]] static decomposed decompose(float weight) noexcept;
  [[nodiscard]] static double octave_of(std::uint32_t index) noexcept;
  [[nodiscard]] static double limit_of(std::uint32_t index) noexcept;
  void check(id_t i, float weight) const;
  void make_groups();
  static void resize_room(group& in, std::size_t size);
  static void grow_room(group& in);
  void place(std::span<const float> weights, std::span<const id_t> order);
  void append(id_t i, float weight);
  void set(id_t i, float weight);
  void add_cell(std::uint32_t index) noexcept;
  [[nodiscard]] bool widen(std::uint32_t index) noexcept;
  void fit(std::uint32_t index) noexcept;
  void deal_with(std::uint32_t newcomer) noexcept;
  void deal() noexcept;
  void deal_for_bases() noexcept;

  [[nodiscard]] attempt point_at(std::uint64_t word) const noexcept;
  template <random_source G>
  [[nodiscard]] static bool accepts(const attempt& a, G& g) noexcept;

  std::vector<item> items_;
  aligned_vector<group> groups_;         // group_count of them once there is an item
  aligned_vector<std::uint32_t> cells_;  // group * cell_count + place among its cells
  std::vector<std::uint32_t> active_;    // groups with cells, in the order of their first
  std::vector<std::uint32_t> bases_;     // sizes of these when the cells were dealt; 0 if later
  std::size_t dealt_ = 0, used_ = 0;     // cells: then, now
  double unit_ = 0;                      // mass of a cell over cell_units
};

}  // namespace skim::inline v0

#include "skim/sample/detail/dynamic_impl.hpp"
