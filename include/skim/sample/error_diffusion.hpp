// SPDX-License-Identifier: Apache-2.0
//
// The credit draw: over the visits of a catalogue, every item comes as often as it should, to within
// one.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0 {

/// Draws from a catalogue that is visited again and again, carrying what is left over from visit to
/// visit.
///
/// Each item has a credit in [0, 1). A visit adds the expected number of draws r, takes the whole part of the
/// credit as the number of draws and keeps the rest. The first credit is uniform, and adding to a
/// uniform fraction leaves it uniform: every visit draws the item floor(r) or ceil(r) times, r on average,
/// while the total over any run of visits is within one of its expectation.
///
/// Shape:   items (n); rates finite, in [0, 2^20].
/// Memory:  4 n bytes.
/// Cost:    visit O(1), no random numbers; the batch form streams through memory.
/// Error:   unbiased to 2^-32 a visit. Credits are 32-bit fractions: they do not drift.
/// Threads: const members may run at once. A visit changes the item it visits only.
/// Seeds:   equal seeds and rates give equal draws on every platform, also for items added later.
/// Ref:     Floyd and Steinberg 1976, Proc. SID 17(2) (diffusion of the error); Sarndal, Swensson
///          and Wretman 1992, Model Assisted Survey Sampling, 3.4.1 (the random start).
class error_diffusion_sampler {
 public:
  static constexpr float max_rate = 0x1p20f;

  /// n items with independent uniform credits.
  error_diffusion_sampler(std::size_t n, seed s) : starts_(s) { resize(n); }

  /// Visits item i and returns how often it is drawn: floor or ceil of `rate`. Throws
  /// invalid_input, changing nothing, if i >= size() or the rate is out of range.
  std::uint32_t visit(id_t i, float rate) {
    if (i >= size())
      SKIM_THROW(invalid_input, detail::concat("error_diffusion_sampler::visit: got item ", i,
                                               ", wanted less than ", size()));
    check(rate);
    return step(i, rate);
  }

  /// Visits items first, first + 1, .. and writes those drawn, as often as they are, in rising order. Returns
  /// how many were written. Throws invalid_input, changing nothing, if an item or a rate is out of
  /// range or out has less room than draws().
  std::size_t visit(id_t first, std::span<const float> rates, std::span<id_t> out) {
    const std::size_t wanted = draws(first, rates);
    if (out.size() < wanted)
      SKIM_THROW(invalid_input, detail::concat("error_diffusion_sampler::visit: got room for ",
                                               out.size(), ", wanted ", wanted));
    std::size_t taken = 0;
    for (std::size_t k = 0; k < rates.size(); ++k) {
      const auto i = static_cast<id_t>(first + k);
      for (std::uint32_t times = step(i, rates[k]); times > 0; --times) out[taken++] = i;
    }
    return taken;
  }

  /// How many draws that visit would give. Throws as it does.
  [[nodiscard]] std::size_t draws(id_t first, std::span<const float> rates) const {
    if (first > size() || rates.size() > size() - first)
      SKIM_THROW(invalid_input,
                 detail::concat("error_diffusion_sampler::visit: got items ", first, " to ",
                                first + rates.size(), ", wanted up to ", size()));
    unsigned bad = 0;
    for (const float r : rates) bad |= r >= 0 && r <= max_rate ? 0u : 1u;
    if (bad != 0)
      for (const float r : rates) check(r);
    std::size_t sum = 0;
    for (std::size_t k = 0; k < rates.size(); ++k)
      sum += static_cast<std::size_t>((credits_[first + k] + quanta(rates[k])) >> 32);
    return sum;
  }

  /// Adds items, or drops the last ones. The credit a new item starts with depends on seed and
  /// position only.
  void resize(std::size_t n) {
    std::size_t i = size();
    credits_.resize(n);
    for (; i < n; ++i) credits_[i] = static_cast<std::uint32_t>(starts_.at(i) >> 32);
  }

  /// Fraction of a draw that item i has in store, in [0, 1). Throws invalid_input unless i < size().
  [[nodiscard]] double credit(id_t i) const {
    if (i >= size())
      SKIM_THROW(invalid_input, detail::concat("error_diffusion_sampler::credit: got item ", i,
                                               ", wanted less than ", size()));
    return static_cast<double>(credits_[i]) * 0x1p-32;
  }

  [[nodiscard]] std::size_t size() const noexcept { return credits_.size(); }

  void save(writer& out) const {
    out.begin_frame("error_diffusion_sampler");
    starts_.save(out);
    out.put(std::span<const std::uint32_t>(credits_));
    out.end_frame();
  }
  /// Throws format_error on anything save() did not write.
  [[nodiscard]] static error_diffusion_sampler load(reader& in) {
    in.begin_frame("error_diffusion_sampler");
    error_diffusion_sampler result(0, seed{});
    result.starts_ = random_engine::load(in);
    result.credits_ = in.get_vector<std::uint32_t>();
    in.end_frame();
    return result;
  }

 private:
  static void check(float rate) {
    if (!(rate >= 0 && rate <= max_rate))
      SKIM_THROW(invalid_input, detail::concat("error_diffusion_sampler::visit: got rate ", rate,
                                               ", wanted 0 to ", max_rate));
  }

  /// A rate in units of 2^-32; exact but for rates below 2^-8, which are rounded.
  [[nodiscard]] static std::uint64_t quanta(float rate) noexcept {
    return static_cast<std::uint64_t>(
        static_cast<std::int64_t>(static_cast<double>(rate) * 0x1p32 + 0.5));
  }

  std::uint32_t step(id_t i, float rate) noexcept {
    const std::uint64_t credit = credits_[i] + quanta(rate);
    credits_[i] = static_cast<std::uint32_t>(credit);
    return static_cast<std::uint32_t>(credit >> 32);
  }

  random_engine starts_;
  std::vector<std::uint32_t> credits_;  // in units of 2^-32
};

}  // namespace skim::inline v0
