// SPDX-License-Identifier: Apache-2.0
//
// Buckets of fixed capacity: of the ids that came, a uniform sample, or the latest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0 {

/// What a full bucket does with one more id.
enum class replacement : std::uint8_t {
  reservoir,  ///< keeps a uniform sample of all that are in
  fifo        ///< keeps the latest
};

/// Sizes of a reservoir_buckets.
struct reservoir_buckets_params {
  std::uint64_t range = 256;   ///< number of codes, at most 2^31
  std::size_t capacity = 128;  ///< ids kept for a code
  replacement full = replacement::reservoir;
};

/// For each code at most `capacity` of the ids that were inserted under it.
///
/// A reservoir is a uniform sample without replacement of the ids in the bucket, whatever was inserted
/// and erased before: an erased id leaves a debt that later insertions pay off by chance (random
/// pairing).
///
/// Shape:   codes below range; ids as inserted, each in a bucket once.
/// Memory:  (4 capacity + 20) range bytes from the beginning, however many ids come.
/// Cost:    insert O(1) and a random word; erase a pass over the bucket.
/// Error:   none: every id of a reservoir bucket that holds n is kept with probability
///          min(1, capacity / n); after erasures on average the same, from a smaller sample.
/// Threads: const members may run at once; writers need exclusive access.
/// Seeds:   equal seeds and equal histories of a bucket give equal buckets on every platform, in
///          whatever order the buckets take turns.
/// Ref:     Vitter 1985, ACM TOMS 11(1), algorithm R; Gemulla, Lehner, Haas 2006, VLDB (random
///          pairing).
class reservoir_buckets {
 public:
  using params = reservoir_buckets_params;

  /// Throws invalid_params for a range or capacity of 0, a range above 2^31 or 2^32 places in all.
  explicit reservoir_buckets(params p, seed s = {}) : params_(checked(p)), engine_(s) {
    buckets_.resize(static_cast<std::size_t>(p.range));
    ids_.resize(static_cast<std::size_t>(p.range) * p.capacity);
  }

  /// The ids kept for a code, in no particular order; none for a code at or above range.
  [[nodiscard]] std::span<const id_t> bucket(code_t code) const noexcept {
    if (code >= params_.range) return {};
    return {ids_.data() + code * params_.capacity, buckets_[code].size};
  }
  /// Ids inserted under a code and not erased, kept or not.
  [[nodiscard]] std::size_t population(code_t code) const noexcept {
    return code < params_.range ? buckets_[code].population : 0;
  }

  /// Throws invalid_input, and changes nothing, for a code at or above range.
  void insert(code_t code, id_t id) {
    check(code);
    state& b = buckets_[code];
    id_t* const ids = ids_.data() + code * params_.capacity;
    const std::uint32_t arrived = b.arrived++;
    ++b.population;
    if (params_.full == replacement::fifo) {
      if (b.size < params_.capacity) {
        ids[b.size++] = id;
      } else {
        ids[b.kept_gone] = id;  // the oldest: ids lie in a ring
        b.kept_gone = b.kept_gone + 1 == params_.capacity ? 0 : b.kept_gone + 1;
      }
      return;
    }
    const std::uint32_t debt = b.kept_gone + b.other_gone;
    if (debt > 0) {
      if (draw(code, arrived, debt) < b.kept_gone) {
        --b.kept_gone;
        ids[b.size++] = id;
      } else {
        --b.other_gone;
      }
    } else if (b.size < params_.capacity) {
      ids[b.size++] = id;
    } else if (const std::uint64_t at = draw(code, arrived, b.population); at < b.size) {
      ids[at] = id;
    }
  }

  /// Takes back an id that was inserted under this code. Returns whether it was kept. Throws
  /// invalid_input for a code at or above range or an empty bucket. Pre: id was inserted here and not
  /// erased since; the structure cannot know. A fifo bucket forgets only what it keeps, and its ring
  /// begins anew with the order it has.
  bool erase(code_t code, id_t id) {
    check(code);
    state& b = buckets_[code];
    if (b.population == 0)
      SKIM_THROW(invalid_input,
                 detail::concat("reservoir_buckets: got id ", id, " to erase under code ", code,
                                ", whose bucket is empty"));
    id_t* const ids = ids_.data() + code * params_.capacity;
    id_t* const at = std::find(ids, ids + b.size, id);
    const bool kept = at != ids + b.size;
    --b.population;
    if (params_.full == replacement::fifo) {
      if (kept) {
        std::rotate(ids, ids + b.kept_gone, ids + b.size);  // oldest first
        id_t* const now = std::find(ids, ids + b.size, id);
        std::copy(now + 1, ids + b.size, now);
        --b.size;
        b.kept_gone = 0;
      }
      return kept;
    }
    if (kept) {
      *at = ids[--b.size];
      ++b.kept_gone;
    } else {
      ++b.other_gone;
    }
    // Nothing is left to be a sample of: no debt either.
    if (b.population == 0) b.kept_gone = b.other_gone = 0;
    return kept;
  }

  void clear() noexcept { std::fill(buckets_.begin(), buckets_.end(), state{}); }

  [[nodiscard]] const params& parameters() const noexcept { return params_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return ids_.capacity() * sizeof(id_t) + buckets_.capacity() * sizeof(state);
  }

  /// Portable little-endian image; load() throws format_error on anything save() did not write.
  void save(writer& out) const {
    out.begin_frame("reservoir_buckets");
    out.put(params_.range);
    out.put(std::uint64_t{params_.capacity});
    out.put(params_.full);
    engine_.save(out);
    std::vector<id_t> kept(ids_.size());  // what lies behind the ids of a bucket is nobody's
    for (std::size_t c = 0; c < buckets_.size(); ++c) {
      const auto ids = bucket(static_cast<code_t>(c));
      std::copy(ids.begin(), ids.end(), kept.begin() + offset(c));
    }
    out.put(std::span<const id_t>(kept));
    for (const state& b : buckets_)
      for (const std::uint32_t n : {b.size, b.population, b.arrived, b.kept_gone, b.other_gone})
        out.put(n);
    out.end_frame();
  }
  [[nodiscard]] static reservoir_buckets load(reader& in) {
    in.begin_frame("reservoir_buckets");
    params p;
    p.range = in.get<std::uint64_t>();
    const auto capacity = in.get<std::uint64_t>();
    p.full = in.get<replacement>();
    const random_engine engine = random_engine::load(in);
    const std::uint64_t places = in.remaining() / sizeof(id_t);
    if (p.range == 0 || capacity == 0 || p.range > std::uint64_t{1} << 31 ||
        capacity > places / p.range || p.full > replacement::fifo)
      in.fail("sizes that no reservoir_buckets has here: ", p.range, " codes of ", capacity,
              " ids");
    p.capacity = static_cast<std::size_t>(capacity);
    reservoir_buckets r(p);
    r.engine_ = engine;
    in.get_into(std::span<id_t>(r.ids_));
    for (state& b : r.buckets_) {
      for (std::uint32_t* n : {&b.size, &b.population, &b.arrived, &b.kept_gone, &b.other_gone})
        *n = in.get<std::uint32_t>();
      const std::uint64_t gone = std::uint64_t{b.kept_gone} + b.other_gone;
      const bool sound =
          p.full == replacement::fifo
              ? b.kept_gone == 0 || (b.size == p.capacity && b.kept_gone < p.capacity)
              : gone <= b.arrived - b.population && std::uint64_t{b.size} + b.kept_gone <= capacity;
      if (b.size > capacity || b.size > b.population || b.population > b.arrived || !sound)
        in.fail("a bucket of ", b.size, " ids of ", b.population);
    }
    in.end_frame();
    return r;
  }

 private:
  struct state {
    std::uint32_t size = 0;
    std::uint32_t population = 0;
    std::uint32_t arrived = 0;
    std::uint32_t kept_gone = 0;   // erased from the sample and not made good; fifo: the oldest
    std::uint32_t other_gone = 0;  // erased outside of it and not made good
  };

  static params checked(const params& p) {
    if (p.range == 0 || p.range > std::uint64_t{1} << 31 || p.capacity == 0 ||
        p.capacity > (std::uint64_t{1} << 32) / p.range)
      SKIM_THROW(invalid_params,
                 detail::concat("reservoir_buckets: got ", p.range, " codes of ", p.capacity,
                                " ids, wanted 1 to 2^31 codes and 2^32 ids in all at most"));
    return p;
  }
  [[nodiscard]] std::ptrdiff_t offset(std::size_t code) const noexcept {
    return static_cast<std::ptrdiff_t>(code * params_.capacity);
  }
  void check(code_t code) const {
    if (code >= params_.range)
      SKIM_THROW(invalid_input, detail::concat("reservoir_buckets: got code ", code,
                                               ", wanted one below ", params_.range));
  }
  // The arrival's own random number below n: depends on nothing but bucket and arrival.
  [[nodiscard]] std::uint64_t draw(code_t code, std::uint32_t arrived, std::uint64_t n) const {
    random_engine g = engine_.child((std::uint64_t{code} << 32) | arrived);
    return uniform_below(g, n);
  }

  params params_;
  random_engine engine_;
  std::vector<state> buckets_;
  std::vector<id_t> ids_;  // (range, capacity)
};

}  // namespace skim::inline v0
