// SPDX-License-Identifier: Apache-2.0
//
// Batches drawn by remembered scores where they are fresh, and by a sketch's predictions elsewhere.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/hash/family.hpp"
#include "skim/hash/fern.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/detail/importance.hpp"
#include "skim/sample/detail/weights.hpp"
#include "skim/sample/gate.hpp"
#include "skim/sample/nadaraya_watson.hpp"

namespace skim::inline v0 {

/// Settings of the hybrid sampler.
struct hybrid_params {
  std::optional<std::size_t> horizon =
      {};  ///< age in examples drawn below which a remembered score
           ///< is trusted; empty: as the evidence says
  nadaraya_watson_sampler_params sketch = {};
};

namespace detail {

/// Finds up to which age remembered scores are better to draw by than a sketch's.
///
/// Draws with p ~ q of examples with scores s have a second moment of (sum s^2 / q) (sum q) / n^2, whose
/// root is at most the mean of (s^2 / q + q) / 2; an s^2 / q + q exceeds its least value, at q = s, by (s
/// - q)^2 / q: an error that counts most where a score was thought small. The q are mixed with a uniform
/// share, as draws are. For each number of bits of an age the excess that the table has saved is summed
/// up, and halves every 10,000 rows; the horizon is the age below which the table has saved most.
class age_evidence {
 public:
  static constexpr std::size_t ages = 33;  // bits of an age: 0 to 32

  age_evidence() = default;
  /// Pre: 0 < uniform_share <= 1.
  explicit age_evidence(double uniform_share) : share_(uniform_share) {}

  [[nodiscard]] static std::size_t bits_of(std::uint32_t age) noexcept {
    return static_cast<std::size_t>(std::bit_width(age));
  }

  /// A score of so many bits of age, how much of the population it stands for, what both predicted and
  /// what came true, all in units of the mean prediction.
  void insert(std::size_t bits, double weight, double remembered, double predicted,
              double truth) noexcept {
    const double saved = weight * (excess(predicted, truth) - excess(remembered, truth));
    // A decay of all that is due would touch every age at each row; growing the unit does the same.
    unit_ *= growth;
    saved_[bits] += std::clamp(saved, -most, most) * unit_;
    rows_ = std::min(rows_ + 1, enough);
    if (unit_ < 1e100) return;
    for (double& s : saved_) s /= unit_;
    unit_ = 1;
  }

  /// Ages below this are trusted.
  [[nodiscard]] std::uint64_t horizon() const noexcept {
    if (rows_ < enough) return 0;
    std::size_t best = 0;
    double sum = 0, largest = 0;
    for (std::size_t b = 0; b < ages; ++b) {
      sum += saved_[b];
      if (sum > largest) {
        largest = sum;
        best = b + 1;
      }
    }
    return (std::uint64_t{1} << best) / 2;
  }

  void save(writer& out) const {
    out.put(share_);
    out.put(static_cast<std::uint64_t>(rows_));
    out.put(unit_);
    out.put(std::span(saved_));
  }
  [[nodiscard]] static age_evidence load(reader& in) {
    age_evidence e(in.get<double>());
    e.rows_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    e.unit_ = in.get<double>();
    in.get_into(std::span(e.saved_));
    const bool finite =
        std::all_of(e.saved_.begin(), e.saved_.end(), [](double s) { return std::isfinite(s); });
    if (!(e.share_ > 0 && e.share_ <= 1) || e.rows_ > enough ||
        !(e.unit_ >= 1 && e.unit_ < 1e100) || !finite)
      in.fail("holds evidence that contradicts itself");
    return e;
  }

 private:
  static constexpr std::size_t enough = 1000;
  static constexpr double most = 1e30;                 // keeps sums finite, whatever the scores
  static constexpr double growth = 1.000069317120633;  // 2^(1 / 10,000)

  [[nodiscard]] double excess(double score, double truth) const noexcept {
    const double q = share_ + (1 - share_) * score;
    return (truth - q) * (truth - q) / q;
  }

  double share_ = 1;
  std::size_t rows_ = 0;
  double unit_ = 1;
  std::array<double, ages> saved_{};  // excess of the sketch minus that of the table
};

}  // namespace detail

/// Batches from a catalogue drawn by an example's own last score where that is fresh, and by a
/// Nadaraya-Watson sketch of the scores elsewhere.
///
/// All is as in nadaraya_watson_sampler: pool, mixture with even draws, weights, gate. Only the score
/// of a candidate that was trained on within the horizon is the one it had then. The horizon is found
/// while training, on the evenly drawn rows of each batch: the age below which draws by remembered scores
/// would have had less variance than draws by the sketch; 0 until that is known. Where scores are noisy
/// or change fast it stays there.
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
      : hybrid_sampler(p, nadaraya_watson_sampler<Family>(features, labels, p.sketch, s)) {}

  /// A family of the caller's choice, with codes below 2^16.
  template <class Features>
  hybrid_sampler(Family family, const Features& features, std::span<const label_t> labels, params p,
                 seed s)
      : hybrid_sampler(
            p, nadaraya_watson_sampler<Family>(std::move(family), features, labels, p.sketch, s)) {}

  [[nodiscard]] drawn_batch draw(std::size_t batch) {
    const std::uint64_t fresh = horizon();
    bool sampled = false;
    const drawn_batch drawn =
        sampler_.draw(batch, [&](const candidate_pool& pool, std::span<float> predicted) {
          sampled = true;
          told_.clear();
          mean_ = mean_of(predicted);
          for (const id_t at : pool.even) {
            const entry& last = memory_[pool.ids[at]];
            told_.push_back({last.score, predicted[at], pool.weights[at], clock_ - last.when});
          }
          for (std::size_t i = 0; i < pool.ids.size(); ++i) {
            if (i + ahead < pool.ids.size()) SKIM_PREFETCH(&memory_[pool.ids[i + ahead]]);
            const entry& last = memory_[pool.ids[i]];
            if (last.score >= 0 && clock_ - last.when < fresh) predicted[i] = last.score;
          }
        });
    if (!sampled) told_.clear();
    clock_ += static_cast<std::uint32_t>(batch);
    return drawn;
  }

  /// Remembers the scores of the batch last drawn, and teaches the sketch while the gate is open.
  /// Residuals as in nadaraya_watson_sampler::observe().
  void observe(std::span<const id_t> ids, std::span<const float> scores,
               matrix_view<const float> residuals = {}) {
    sampler_.observe(ids, scores, residuals);
    const std::size_t told = std::min(told_.size(), scores.size());
    for (std::size_t i = 0; i < told; ++i)
      if (told_[i].remembered >= 0 && mean_ > 0)
        evidence_.insert(evidence_.bits_of(told_[i].age), static_cast<double>(told_[i].weight),
                         static_cast<double>(told_[i].remembered) / mean_,
                         static_cast<double>(told_[i].predicted) / mean_,
                         static_cast<double>(scores[i]) / mean_);
    told_.clear();
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
  /// Age in examples drawn below which remembered scores are trusted now.
  [[nodiscard]] std::uint64_t horizon() const noexcept {
    return horizon_ ? *horizon_ : evidence_.horizon();
  }

  void save(writer& out) const {
    out.begin_frame("hybrid_sampler");
    sampler_.save(out);
    out.put(horizon_.has_value());
    out.put(static_cast<std::uint64_t>(horizon_.value_or(0)));
    out.put(clock_);
    evidence_.save(out);
    out.put(mean_);
    out.put(static_cast<std::uint64_t>(told_.size()));
    for (const claim& c : told_) {
      out.put(c.remembered);
      out.put(c.predicted);
      out.put(c.weight);
      out.put(c.age);
    }
    for (const entry& e : memory_) {
      out.put(e.score);
      out.put(e.when);
    }
    out.end_frame();
  }
  [[nodiscard]] static hybrid_sampler load(reader& in) {
    in.begin_frame("hybrid_sampler");
    auto sampler = nadaraya_watson_sampler<Family>::load(in);
    const bool given = in.get<bool>();
    const auto horizon = static_cast<std::size_t>(in.get<std::uint64_t>());
    hybrid_sampler s({.horizon = given ? std::optional(horizon) : std::nullopt},
                     std::move(sampler));
    s.clock_ = in.get<std::uint32_t>();
    s.evidence_ = detail::age_evidence::load(in);
    s.mean_ = in.get<double>();
    if (!detail::is_weight(s.mean_)) in.fail("holds the mean prediction ", s.mean_);
    const auto told = in.get<std::uint64_t>();
    const auto score = [&] {
      const auto x = in.get<float>();
      if (x != unknown && !detail::is_weight(x)) in.fail("holds the score ", x);
      return x;
    };
    for (std::uint64_t i = 0; i < told; ++i) {
      claim c;
      c.remembered = score();
      c.predicted = score();
      c.weight = score();
      c.age = in.get<std::uint32_t>();
      s.told_.push_back(c);
    }
    for (entry& e : s.memory_) {
      e.score = score();
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
  struct claim {  // about an evenly drawn row, before its score is known
    float remembered = unknown, predicted = 0, weight = 1;
    std::uint32_t age = 0;
  };

  hybrid_sampler(const params& p, nadaraya_watson_sampler<Family> sampler)
      : sampler_(std::move(sampler)),
        memory_(sampler_.examples()),
        horizon_(p.horizon),
        evidence_(sampler_.parameters().uniform_share) {}

  static double mean_of(std::span<const float> scores) noexcept {
    return detail::lane_sum(scores, [](float s) { return static_cast<double>(s); }) /
           static_cast<double>(scores.size());
  }

  nadaraya_watson_sampler<Family> sampler_;
  std::vector<entry> memory_;
  std::optional<std::size_t> horizon_;
  std::uint32_t clock_ = 0;  // examples drawn, modulo 2^32
  detail::age_evidence evidence_;
  std::vector<claim> told_;  // of the draw under way
  double mean_ = 0;          // of the sketch's predictions in it
};

hybrid_sampler(matrix_view<const float>, std::span<const label_t>, hybrid_params, seed)
    ->hybrid_sampler<fern_family>;
hybrid_sampler(sparse_view, std::span<const label_t>, hybrid_params, seed)
    ->hybrid_sampler<fern_family>;

static_assert(batch_sampler<hybrid_sampler<fern_family>>);

}  // namespace skim::inline v0
