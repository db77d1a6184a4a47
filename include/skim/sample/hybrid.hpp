// SPDX-License-Identifier: Apache-2.0
//
// Batches drawn by remembered scores where they are fresh, and by a sketch's predictions elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/random.hpp"
#include "skim/hash/family.hpp"
#include "skim/hash/fern.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/detail/weights.hpp"
#include "skim/sample/gate.hpp"
#include "skim/sample/nadaraya_watson.hpp"

namespace skim::inline v0 {

/// Settings of the hybrid sampler.
struct hybrid_params {
  /// Age, in examples drawn, below which a remembered score is trusted.
  std::uint32_t horizon = 50000;
  nadaraya_watson_sampler_params sketch = {};
};

/// Batches from a catalogue drawn by an example's own last score where that is fresh, and by a
/// Nadaraya-Watson sketch of the scores elsewhere.
///
/// All is as in nadaraya_watson_sampler: pool, mixture with even draws, weights, gate. Only the score
/// of a candidate that was trained on within the horizon is the one it had then: of an example's own
/// score the noise of its label is a part, of its neighbours' only their mean. On the two sets of rare
/// errors that were tried, horizons of 13,000 and 51,000 examples did better than the sketch alone.
///
/// Shape:   as nadaraya_watson_sampler.
/// Memory:  that of nadaraya_watson_sampler and 8 n bytes, 28 n in all for R = 4.
/// Cost:    as nadaraya_watson_sampler and one cache line a candidate and an observed example. Nothing
///          grows with n.
/// Error:   unbiased for beta = 1, whatever table and sketch have learned.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches on every platform.
/// Ref:     this library; the sketch from arXiv:2311.13583.
template <hash_family Family = fern_family>
class hybrid_sampler {
 public:
  using params = hybrid_params;

  /// Ferns fitted to the data. Throws as nadaraya_watson_sampler does.
  template <class Features>
  requires(std::is_same_v<Family, fern_family> &&
           (std::is_convertible_v<const Features&, matrix_view<const float>> ||
            std::is_same_v<Features, sparse_view>))
      hybrid_sampler(const Features& features, std::span<const label_t> labels, params p, seed s)
      : hybrid_sampler(p.horizon, nadaraya_watson_sampler<Family>(features, labels, p.sketch, s)) {}

  /// A family of the caller's choice, with codes below 2^16.
  template <class Features>
  hybrid_sampler(Family family, const Features& features, std::span<const label_t> labels, params p,
                 seed s)
      : hybrid_sampler(p.horizon, nadaraya_watson_sampler<Family>(std::move(family), features,
                                                                  labels, p.sketch, s)) {}

  [[nodiscard]] drawn_batch draw(std::size_t batch) {
    const drawn_batch drawn =
        sampler_.draw(batch, [&](const candidate_pool& pool, std::span<float> predicted) {
          for (std::size_t i = 0; i < pool.ids.size(); ++i) {
            if (i + ahead < pool.ids.size()) SKIM_PREFETCH(&memory_[pool.ids[i + ahead]]);
            const entry& last = memory_[pool.ids[i]];
            if (last.score >= 0 && clock_ - last.when < horizon_) predicted[i] = last.score;
          }
        });
    clock_ += static_cast<std::uint32_t>(batch);
    return drawn;
  }

  /// Remembers the scores of the batch last drawn, and teaches the sketch while the gate is open.
  /// Residuals as in nadaraya_watson_sampler::observe().
  void observe(std::span<const id_t> ids, std::span<const float> scores,
               matrix_view<const float> residuals = {}) {
    sampler_.observe(ids, scores, residuals);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i + ahead < ids.size()) SKIM_PREFETCH(&memory_[ids[i + ahead]]);
      memory_[ids[i]] = {scores[i], clock_};
    }
  }

  /// As nadaraya_watson_sampler's.
  void progress(double done) noexcept { sampler_.progress(done); }

  [[nodiscard]] std::size_t examples() const noexcept { return memory_.size(); }
  [[nodiscard]] const sampling_gate& gate() const noexcept { return sampler_.gate(); }
  [[nodiscard]] const nadaraya_watson_sketch<Family, 2>& sketch() const noexcept {
    return sampler_.sketch();
  }

  void save(writer& out) const {
    out.begin_frame("hybrid_sampler");
    sampler_.save(out);
    out.put(horizon_);
    out.put(clock_);
    for (const entry& e : memory_) {
      out.put(e.score);
      out.put(e.when);
    }
    out.end_frame();
  }
  [[nodiscard]] static hybrid_sampler load(reader& in) {
    in.begin_frame("hybrid_sampler");
    auto sampler = nadaraya_watson_sampler<Family>::load(in);
    hybrid_sampler s(in.get<std::uint32_t>(), std::move(sampler));
    s.clock_ = in.get<std::uint32_t>();
    for (entry& e : s.memory_) {
      e.score = in.get<float>();
      if (e.score != unknown && !detail::is_weight(e.score)) in.fail("holds the score ", e.score);
      e.when = in.get<std::uint32_t>();
    }
    in.end_frame();
    return s;
  }

 private:
  static constexpr float unknown = -1;  // stands for no score
  static constexpr std::size_t ahead = 16;

  struct entry {
    float score = unknown;
    std::uint32_t when = 0;  // examples drawn by then, modulo 2^32
  };

  hybrid_sampler(std::uint32_t horizon, nadaraya_watson_sampler<Family> sampler)
      : sampler_(std::move(sampler)), memory_(sampler_.examples()), horizon_(horizon) {}

  nadaraya_watson_sampler<Family> sampler_;
  std::vector<entry> memory_;
  std::uint32_t horizon_ = 0, clock_ = 0;  // examples drawn, modulo 2^32
};

hybrid_sampler(matrix_view<const float>, std::span<const label_t>, hybrid_params, seed)
    ->hybrid_sampler<fern_family>;
hybrid_sampler(sparse_view, std::span<const label_t>, hybrid_params, seed)
    ->hybrid_sampler<fern_family>;

static_assert(batch_sampler<hybrid_sampler<fern_family>>);

}  // namespace skim::inline v0
