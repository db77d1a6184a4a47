// SPDX-License-Identifier: Apache-2.0
//
// Batches drawn by a score that a sketch learns while the network trains: also for examples never seen.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/family.hpp"
#include "skim/hash/fern.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/detail/importance.hpp"
#include "skim/sample/detail/strata.hpp"
#include "skim/sample/detail/tilt_monitor.hpp"
#include "skim/sample/gate.hpp"
#include "skim/sample/systematic.hpp"
#include "skim/sketch/nadaraya_watson.hpp"

namespace skim::inline v0 {

/// Settings of the Nadaraya-Watson samplers; the defaults served the data sets that were tried.
struct nadaraya_watson_sampler_params {
  std::size_t hashes = 4;  ///< R, rows of the sketch; for the built-in ferns
  std::size_t bits = 8;    ///< K, features a hash; for the built-in ferns, at most 16
  std::size_t run =
      1;  ///< features drawn from 16 neighbouring coordinates at a time: fewer lines read
  std::size_t fit_rows = 500;  ///< examples the ferns' thresholds are taken from
  std::size_t width = 2048;    ///< W, cells a row of the sketch; a power of two, at most 65536
  std::size_t pool = 8;        ///< candidates scored for each example drawn
  double uniform_share = 0.2;  ///< lambda: part of each batch drawn uniformly, in (0, 1]
  double exponent = 1;         ///< gamma: probability ~ score^gamma
  /// Weights are (1 / (n p))^beta: 1 is unbiased, less leans to the hard examples. Empty: 0.5 while that
  /// does no harm, else 1, see rare_errors, least_noise_scale and exact_from.
  std::optional<double> beta = {};
  double rare_errors =
      0.7;  ///< share of the score mass in its top tenth from which errors are rare
  double least_noise_scale = 60;  ///< rows at which a pull of the predictions may show, at least
  double exact_from = 0.7;        ///< part of the training, see progress(), after which beta is 1
  /// t: a class of n_c examples has a share ~ n_c^t of the pool. Empty: 0.5 if some class is then drawn at
  /// least twice as often as uniform draws would, else 1.
  std::optional<double> class_exponent = {};
  double shrinkage = 1;        ///< k, weight of the mean score in each cell
  double half_life = 50000;    ///< examples after which an observation counts half
  std::size_t warm_up = 3000;  ///< examples observed uniformly before any are sampled
  std::size_t refresh = 16;    ///< batches between full refreshes of the cached scores
  std::size_t rehash = 1000;   ///< sampled batches between rehashes, see rehash_due(); 0: never
  /// What p is proportional to. The root mean square is optimal where the sketch is exact; the mean
  /// measured as well or better, and its ranking is what the gate's bounds were found with.
  regression_value value = regression_value::mean;
  gate_params gate = {};
};

/// The candidates that a batch is chosen among.
struct candidate_pool {
  std::span<const id_t> ids;
  std::span<const float>
      weights;                 ///< how much of the population each stands for; empty: all the same
  std::span<const id_t> even;  ///< positions in ids that are drawn whatever their scores
};

namespace detail {

/// Leaves predicted scores as they are.
struct as_predicted {
  void operator()(const candidate_pool&, std::span<float>) const noexcept {}
};

[[nodiscard]] inline bool is_possible(const nadaraya_watson_sampler_params& p) noexcept {
  return p.pool > 0 && p.refresh > 0 && p.fit_rows > 0 && p.half_life > 0 && p.bits <= 16 &&
         p.width <= 65536 && p.run > 0 && p.bits % p.run == 0 && p.uniform_share > 0 &&
         p.uniform_share <= 1 && (!p.beta || (*p.beta >= 0 && *p.beta <= 1)) && p.exponent >= 0 &&
         std::isfinite(p.exponent) && p.rare_errors >= 0 && p.least_noise_scale >= 0 &&
         p.exact_from >= 0 &&
         (!p.class_exponent || (*p.class_exponent >= 0 && *p.class_exponent <= 1)) &&
         p.value <= regression_value::root_mean_square;
}

inline void check_params(const nadaraya_watson_sampler_params& p) {
  check_importance("nadaraya_watson_sampler_params", p.uniform_share, p.beta.value_or(1),
                   p.exponent);
  if (!is_possible(p))
    SKIM_THROW(invalid_params,
               concat("nadaraya_watson_sampler_params: got pool ", p.pool, ", refresh ", p.refresh,
                      ", fit_rows ", p.fit_rows, ", half_life ", p.half_life, ", bits ", p.bits,
                      ", width ", p.width, ", run ", p.run, ", rare_errors ", p.rare_errors,
                      ", least_noise_scale ", p.least_noise_scale, ", exact_from ", p.exact_from,
                      " and class_exponent ", p.class_exponent.value_or(0.5),
                      ", wanted the first seven positive, at most 16 bits, a width of at most "
                      "65536 and a run "
                      "that divides the bits, the others at least 0 and class_exponent at most 1"));
}

inline void put_params(writer& out, const nadaraya_watson_sampler_params& p) {
  for (const std::size_t v :
       {p.hashes, p.bits, p.run, p.fit_rows, p.width, p.pool, p.warm_up, p.refresh, p.rehash})
    out.put(static_cast<std::uint64_t>(v));
  for (const double v : {p.uniform_share, p.exponent, p.shrinkage, p.half_life, p.rare_errors,
                         p.least_noise_scale, p.exact_from})
    out.put(v);
  for (const std::optional<double>& v : {p.beta, p.class_exponent}) {
    out.put(v.has_value());
    out.put(v.value_or(1));
  }
  out.put(p.value);
  put_params(out, p.gate);
}

[[nodiscard]] inline nadaraya_watson_sampler_params get_sampler_params(reader& in) {
  nadaraya_watson_sampler_params p;
  for (std::size_t* v : {&p.hashes, &p.bits, &p.run, &p.fit_rows, &p.width, &p.pool, &p.warm_up,
                         &p.refresh, &p.rehash})
    *v = static_cast<std::size_t>(in.get<std::uint64_t>());
  for (double* v : {&p.uniform_share, &p.exponent, &p.shrinkage, &p.half_life, &p.rare_errors,
                    &p.least_noise_scale, &p.exact_from})
    *v = in.get<double>();
  for (std::optional<double>* v : {&p.beta, &p.class_exponent}) {
    const bool has = in.get<bool>();
    const auto value = in.get<double>();
    if (has) *v = value;
  }
  p.value = static_cast<regression_value>(in.get<std::uint8_t>());
  p.gate = get_gate_params(in);
  if (!is_possible(p)) in.fail("holds parameters that no sampler can have");
  return p;
}

/// What the catalogue and the stream sampler share: the sketch, the gate, and the selection of a batch
/// from a pool of scored candidates.
template <hash_family Family>
class sketch_selector {
 public:
  using sketch_type = nadaraya_watson_sketch<Family, 2>;
  enum class phase : std::uint8_t {
    closed,   ///< the gate is closed: uniform draws, nothing observed
    warming,  ///< uniform draws that the sketch learns from
    sampling  ///< draws by score
  };

  sketch_selector() = default;
  sketch_selector(Family family, std::size_t classes, const nadaraya_watson_sampler_params& p,
                  random_engine engine)
      : params_(p),
        engine_(engine),
        gate_(p.gate),
        sketch_(
            std::in_place, std::move(family),
            nadaraya_watson_params{.width = p.width, .classes = classes, .shrinkage = p.shrinkage}),
        scores_(std::in_place, *sketch_, p.value) {}

  /// What the next draw will be.
  [[nodiscard]] phase next() const noexcept {
    if (!gate_.is_open()) return phase::closed;
    return observed_ < params_.warm_up ? phase::warming : phase::sampling;
  }

  /// Begins a draw that is not sampled, with the weights it has.
  void begin_uniform(std::span<const float> weights) {
    exact_.assign(weights.begin(), weights.end());
    current_ = next();
    if (current_ != phase::closed) return;
    gate_.step_closed();
    if (gate_.is_open()) {  // a new trial learns from scratch: the scores of long ago are no guide
      sketch_->clear();
      observed_ = 0;
      leaning_ = false;
    }
  }

  /// Chooses a batch among candidates, `of` them listed in rows: positions in [0, rows.size()). Each
  /// stands for pool_weights of the population, or all for the same if they are empty.
  ///
  /// Some rows are taken evenly, the others are included with probability pi ~ pool weight *
  /// score^gamma, capped at 1. All weigh by the mixture of both (balance heuristic). The pool comes
  /// class by class, so that systematic draws are stratified by class. Scores are those that `adjust`
  /// leaves of the sketch's.
  template <class Adjust>
  void select(const cached_columns& of, std::span<const id_t> rows,
              std::span<const float> pool_weights, batch_buffer& drawn, std::size_t batch,
              Adjust adjust) {
    current_ = phase::sampling;
    const std::size_t candidates = rows.size();
    const std::size_t even = uniform_rows(batch, params_.uniform_share);
    predicted_.resize(candidates);
    inclusion_.resize(candidates);
    drawn.resize(batch);
    const double spacing = static_cast<double>(candidates) / static_cast<double>(even);
    const double start = uniform(engine_);
    for (std::size_t i = 0; i < even; ++i)
      drawn.ids[i] = static_cast<id_t>((static_cast<double>(i) + start) * spacing);
    scores_->query_columns(of, rows, std::span<float>(predicted_));
    adjust(candidate_pool{rows, pool_weights, std::span(drawn.ids).first(even)},
           std::span<float>(predicted_));
    std::span<const float> rates = predicted_;
    if (params_.exponent != 1 || !pool_weights.empty()) {
      rates_.assign(predicted_.begin(), predicted_.end());
      if (params_.exponent != 1)
        for (float& r : rates_) r = std::pow(r, static_cast<float>(params_.exponent));
      for (std::size_t i = 0; i < pool_weights.size(); ++i) rates_[i] *= pool_weights[i];
      rates = rates_;
    }
    const std::size_t sampled = batch - even;
    if (sampled > 0) {
      // The floor only keeps probabilities positive where a sketch predicts zeros.
      inclusion_probabilities(rates, {.budget = static_cast<double>(sampled), .floor = 1e-3},
                              std::span<float>(inclusion_));
      draw_exactly(inclusion_, engine_, scratch_, std::span(drawn.ids).subspan(even));
    } else {
      std::fill(inclusion_.begin(), inclusion_.end(), 0.0f);
    }
    const auto stands_for = [&](std::size_t i) {
      return pool_weights.empty() ? 1.0f : pool_weights[i];
    };
    even_predicted_.resize(even);
    even_weights_.resize(even);
    for (std::size_t i = 0; i < even; ++i) {
      even_predicted_[i] = predicted_[drawn.ids[i]];
      even_weights_[i] = stands_for(drawn.ids[i]);
    }
    exact_.resize(batch);
    const auto evenly = static_cast<float>(even), pool = static_cast<float>(candidates);
    for (std::size_t i = 0; i < batch; ++i)
      exact_[i] = stands_for(drawn.ids[i]) * static_cast<float>(batch) /
                  (evenly + pool * inclusion_[drawn.ids[i]]);
    drawn.weights = exact_;
    temper(drawn.weights, beta());
  }

  /// Throws invalid_input unless residuals are empty or one finite row for each of the batch's. Only
  /// those that learn() will read are looked at.
  void check_residuals(std::string_view who, matrix_view<const float> residuals,
                       std::size_t batch) const {
    if (residuals.empty()) return;
    if (residuals.rows() != batch)
      SKIM_THROW(invalid_input,
                 concat(who, ": got ", residuals.rows(), " rows of residuals, wanted ", batch,
                        ", one for each example drawn"));
    if (current_ != phase::sampling) return;
    for (std::size_t i = 0; i < even_weights_.size(); ++i)
      for (const float r : residuals.row(i))
        if (!std::isfinite(r))
          SKIM_THROW(invalid_input, concat(who, ": got the residual ", r, " in row ", i,
                                           ", wanted finite numbers"));
  }

  /// Learns from the batch last drawn, whose rows of `of` are listed.
  void observe(const cached_columns& of, std::span<const id_t> rows, std::span<const float> scores,
               matrix_view<const float> residuals) {
    if (current_ == phase::closed) return;
    sketch_->decay(std::exp2(-static_cast<double>(rows.size()) / params_.half_life));
    sketch_->insert_columns(of, rows, scores, std::span<const float>(exact_));
    if (current_ == phase::warming) {
      observed_ += rows.size();
      if (observed_ >= params_.warm_up) scores_->refresh(*sketch_);
      since_refresh_ = 0;
      return;
    }
    ++since_rehash_;
    if (++since_refresh_ >= params_.refresh) {
      scores_->refresh(*sketch_);
      since_refresh_ = 0;
    } else {
      scores_->refresh(*sketch_, of, rows);
    }
    const std::size_t checks = gate_.checks(), even = even_weights_.size();
    gate_.step_open(even_predicted_, scores.first(even), even_weights_);
    if (leaning_ && !residuals.empty()) watch_tilt(residuals.rows(0, even));
    if (gate_.checks() > checks) {
      const bool rare = *gate_.last_concentration() >= params_.rare_errors;
      if (rare && !leaning_) tilt_.reset();
      leaning_ = rare;
    }
  }

  /// Exponent of the next batch's weights.
  [[nodiscard]] double beta() const noexcept {
    return params_.beta.value_or(leaning_ && !exact_only_ ? 0.5 : 1.0);
  }
  void progress(double done) noexcept {
    if (done >= params_.exact_from) exact_only_ = true;
  }

  /// Whether it is time to hash all examples by other features: the gate has passed a check, errors are
  /// rare, and the interval is over.
  [[nodiscard]] bool rehash_due() const noexcept {
    return params_.rehash > 0 && next() == phase::sampling && gate_.is_proven() && leaning_ &&
           (!rehashed_ || since_rehash_ >= params_.rehash);
  }
  /// An empty sketch like the present one, of another family.
  [[nodiscard]] sketch_type fresh(Family family) const {
    return sketch_type(std::move(family), sketch_->parameters());
  }
  /// Goes on with a fresh sketch, taught the scores of all examples. Together they count as some 10,000
  /// observations, so that those to come soon outweigh them.
  void rehash(sketch_type fresh, const cached_columns& of, std::span<const float> scores) {
    constexpr float observations = 10000;
    const float each = std::min(1.0f, observations / static_cast<float>(scores.size()));
    fresh.insert_columns(of, scores, std::vector<float>(scores.size(), each));
    sketch_.emplace(std::move(fresh));
    scores_.emplace(*sketch_, params_.value);
    scores_->refresh(*sketch_);
    since_refresh_ = since_rehash_ = 0;
    rehashed_ = true;
  }

  [[nodiscard]] const nadaraya_watson_sampler_params& params() const noexcept { return params_; }
  [[nodiscard]] const sampling_gate& gate() const noexcept { return gate_; }
  [[nodiscard]] const sketch_type& sketch() const noexcept { return *sketch_; }

  void save(writer& out) const {
    out.begin_frame("sketch_selector");
    put_params(out, params_);
    for (const std::size_t v : {observed_, since_refresh_, since_rehash_})
      out.put(static_cast<std::uint64_t>(v));
    out.put(current_);
    for (const bool v : {rehashed_, leaning_, exact_only_}) out.put(v);
    tilt_.save(out);
    engine_.save(out);
    gate_.save(out);
    sketch_->save(out);
    scores_->save(out);
    out.put(std::span(even_predicted_));
    out.put(std::span(even_weights_));
    out.put(std::span(exact_));
    out.end_frame();
  }

  [[nodiscard]] static sketch_selector load(reader& in) {
    in.begin_frame("sketch_selector");
    sketch_selector s;
    s.params_ = get_sampler_params(in);
    for (std::size_t* v : {&s.observed_, &s.since_refresh_, &s.since_rehash_})
      *v = static_cast<std::size_t>(in.get<std::uint64_t>());
    const auto current = in.get<std::uint8_t>();
    if (current > static_cast<std::uint8_t>(phase::sampling)) in.fail("holds the phase ", current);
    s.current_ = static_cast<phase>(current);
    for (bool* v : {&s.rehashed_, &s.leaning_, &s.exact_only_}) *v = in.get<bool>();
    s.tilt_ = tilt_monitor::load(in);
    s.engine_ = random_engine::load(in);
    s.gate_ = sampling_gate::load(in);
    s.sketch_ = sketch_type::load(in);
    if (s.sketch_->width() > 65536) in.fail("holds a sketch of width ", s.sketch_->width());
    s.scores_ = nadaraya_watson_scores<Family, 2>::load(in, *s.sketch_);
    s.even_predicted_ = in.get_vector<float>();
    s.even_weights_ = in.get_vector<float>();
    s.exact_ = in.get_vector<float>();
    for (const auto* values : {&s.even_predicted_, &s.even_weights_, &s.exact_})
      for (const float v : *values)
        if (!(v >= 0 && std::isfinite(v))) in.fail("holds the weight or score ", v);
    const std::size_t even = s.even_weights_.size();
    if (s.even_predicted_.size() != even ||
        (s.current_ == phase::sampling && (even == 0 || even > s.exact_.size())))
      in.fail("holds a batch that contradicts itself");
    in.end_frame();
    return s;
  }
  /// Whether a loaded selector can have drawn a batch of so many.
  [[nodiscard]] bool fits(std::size_t batch) const noexcept {
    return current_ == phase::closed || exact_.size() == batch;
  }
  /// Throws format_error unless such columns and labels can belong to the sketch.
  void require_possible(const cached_columns& of, std::span<const label_t> labels,
                        const reader& in) const {
    if (of.largest() >= sketch_->width()) in.fail("holds the column ", of.largest());
    for (const label_t label : labels)
      if (label >= sketch_->parameters().classes) in.fail("holds the label ", label);
  }
  /// Whether the batch last drawn will be learned from.
  [[nodiscard]] bool learns() const noexcept { return current_ != phase::closed; }

 private:
  // Back to exact weights for good where leaning to the hard examples pulls the predictions to a side.
  void watch_tilt(matrix_view<const float> residuals) {
    constexpr std::size_t least_rows = 1024, window = 2048;
    tilt_.insert(residuals, even_weights_);
    if (tilt_.rows() >= least_rows && tilt_.noise_scale() < params_.least_noise_scale)
      exact_only_ = true;
    if (tilt_.rows() >= window) tilt_.reset();
  }

  nadaraya_watson_sampler_params params_;
  random_engine engine_;
  sampling_gate gate_;
  tilt_monitor tilt_;
  std::optional<sketch_type> sketch_;
  std::optional<nadaraya_watson_scores<Family, 2>> scores_;
  std::size_t observed_ = 0, since_refresh_ = 0, since_rehash_ = 0;
  bool rehashed_ = false;
  bool leaning_ = false;     // errors are rare: weights need not be exact
  bool exact_only_ = false;  // but shall be
  // The draw under way; the first of its rows were drawn evenly.
  phase current_ = phase::closed;
  std::vector<float> even_predicted_, even_weights_;
  std::vector<float> predicted_, rates_, inclusion_, exact_;
  std::vector<id_t> scratch_;
};

/// Columns of n examples with the view of them that the sketch takes.
class column_store {
 public:
  column_store() = default;
  /// Pre: `hashes` columns for each example.
  column_store(std::vector<std::uint16_t> columns, std::size_t hashes)
      : hashes_(hashes), columns_(std::move(columns)) {
    look();
  }
  // The view points into the vector: a copy looks at its own, a move takes it along.
  column_store(const column_store& other) : column_store(other.columns_, other.hashes_) {}
  column_store(column_store&&) noexcept = default;
  column_store& operator=(const column_store& other) { return *this = column_store(other); }
  column_store& operator=(column_store&&) noexcept = default;
  ~column_store() = default;

  [[nodiscard]] const cached_columns& view() const noexcept { return *view_; }
  [[nodiscard]] std::span<const std::uint16_t> columns() const noexcept { return columns_; }
  [[nodiscard]] std::size_t rows() const noexcept { return columns_.size() / hashes_; }

  /// Puts other columns in, with the memory of the old ones left in the argument.
  void swap(std::vector<std::uint16_t>& columns) {
    columns_.swap(columns);
    look();
  }

 private:
  void look() { view_.emplace(matrix_view<const std::uint16_t>(columns_.data(), rows(), hashes_)); }

  std::size_t hashes_ = 1;
  std::vector<std::uint16_t> columns_;  // (n, hashes)
  std::optional<cached_columns> view_{cached_columns(matrix_view<const std::uint16_t>())};
};

/// The first of the coordinates that a family reads in each block of 16: for dense rows about one
/// address a cache line. Empty for families that read every coordinate.
template <class Family>
[[nodiscard]] std::vector<id_t> coordinates_to_fetch(const Family& family) {
  std::vector<id_t> first;
  if constexpr (requires { family.used(); })
    for (const id_t j : family.used())
      if (first.empty() || first.back() / 16 != j / 16) first.push_back(j);
  return first;
}

/// Hashes rows [0, n) of dense points to 16-bit codes. Rows are taken a few at a time, as they are
/// checked before they are hashed and should not leave the first cache in between. Of wide rows a family
/// may read few cache lines far apart, which no hardware prefetcher finds: `fetch` lists them.
template <hash_family Family>
void hash_to_16_bits(const Family& family, matrix_view<const float> points,
                     std::span<std::uint16_t> codes, std::span<const id_t> fetch, workspace& ws) {
  constexpr std::size_t chunk = 32;
  const std::size_t hashes = family.num_hashes(), n = points.rows();
  auto frame = ws.frame();
  const auto wide = frame.template take<code_t>(chunk * hashes);
  const bool far = points.cols() > 64;
  for (std::size_t first = 0; first < n; first += chunk) {
    const std::size_t count = std::min(chunk, n - first);
    const std::size_t next = first + chunk, ahead = far && next < n ? std::min(chunk, n - next) : 0;
    for (std::size_t i = 0; i < ahead; ++i) {
      const float* const row = points.row(next + i).data();
      for (const id_t j : fetch) SKIM_PREFETCH(row + j);
    }
    const auto some = wide.first(count * hashes);
    family.hash(points.rows(first, count), some, ws);
    std::transform(some.begin(), some.end(),
                   codes.begin() + static_cast<std::ptrdiff_t>(first * hashes),
                   [](code_t c) { return static_cast<std::uint16_t>(c); });
  }
}
template <hash_family Family>
void hash_to_16_bits(const Family& family, matrix_view<const float> points,
                     std::span<std::uint16_t> codes, workspace& ws) {
  hash_to_16_bits(family, points, codes, coordinates_to_fetch(family), ws);
}
template <sparse_hash_family Family>
void hash_to_16_bits(const Family& family, sparse_view points, std::span<std::uint16_t> codes,
                     workspace& ws) {
  constexpr std::size_t chunk = 256;
  const std::size_t hashes = family.num_hashes(), n = points.rows();
  auto frame = ws.frame();
  const auto wide = frame.template take<code_t>(chunk * hashes);
  for (std::size_t first = 0; first < n; first += chunk) {
    const std::size_t count = std::min(chunk, n - first);
    const auto some = wide.first(count * hashes);
    family.hash(points.rows(first, count), some, ws);
    std::transform(some.begin(), some.end(),
                   codes.begin() + static_cast<std::ptrdiff_t>(first * hashes),
                   [](code_t c) { return static_cast<std::uint16_t>(c); });
  }
}

[[nodiscard]] inline fern_params fern_params_of(const nadaraya_watson_sampler_params& p) noexcept {
  return {.hashes = p.hashes, .bits = p.bits, .run = p.run};
}

/// Ferns whose thresholds follow a few hundred rows chosen at random.
[[nodiscard]] inline fern_family fit_ferns(matrix_view<const float> points,
                                           const nadaraya_watson_sampler_params& p,
                                           random_engine engine) {
  const std::size_t rows = std::min(p.fit_rows, points.rows());
  std::vector<float> sample(rows * points.cols());
  for (std::size_t i = 0; i < rows; ++i) {
    const auto from = points.row(static_cast<std::size_t>(uniform_below(engine, points.rows())));
    std::copy(from.begin(), from.end(),
              sample.begin() + static_cast<std::ptrdiff_t>(i * points.cols()));
  }
  return fern_family::fit({std::span<const float>(sample), rows, points.cols()}, fern_params_of(p),
                          seed{engine()});
}
[[nodiscard]] inline fern_family fit_ferns(sparse_view points,
                                           const nadaraya_watson_sampler_params& p,
                                           random_engine engine) {
  const std::size_t rows = std::min(p.fit_rows, points.rows());
  std::vector<std::size_t> offsets{0};
  std::vector<id_t> indices;
  std::vector<float> values;
  for (std::size_t i = 0; i < rows; ++i) {
    const auto from = points.row(static_cast<std::size_t>(uniform_below(engine, points.rows())));
    indices.insert(indices.end(), from.indices.begin(), from.indices.end());
    values.insert(values.end(), from.values.begin(), from.values.end());
    offsets.push_back(indices.size());
  }
  fern_params ferns = fern_params_of(p);
  ferns.weighting =
      fern_weighting::variation;  // most coordinates of sparse rows are nearly always 0
  return fern_family::fit(sparse_view(offsets, indices, values, points.cols()), ferns,
                          seed{engine()});
}

/// Number of classes that the labels name; 1 for none, so that nothing is conditioned on them.
[[nodiscard]] inline std::size_t classes_of(std::span<const label_t> labels) noexcept {
  return labels.empty()
             ? 1
             : static_cast<std::size_t>(*std::max_element(labels.begin(), labels.end())) + 1;
}

}  // namespace detail

/// Features and present scores of some examples, as nadaraya_watson_sampler::rehash() asks for them.
struct embedded_examples {
  matrix_view<const float> features;  ///< (rows, d), any d
  std::span<const float> scores;      ///< (rows), finite and >= 0
};

/// Batches from a catalogue drawn by a Nadaraya-Watson sketch of the scores.
///
/// The sketch estimates the score of an example from those of its neighbours that were trained on
/// lately: examples with equal hash codes and the same label share cells. Every batch is chosen among
/// pool * batch candidates, drawn class by class with shares ~ n_c^t: a part evenly, the rest with
/// probability ~ score^gamma, with weights that keep the gradient unbiased (beta = 1). The cells of an
/// example are found once, so that scoring a candidate reads 2 R bytes and R cached cells.
///
/// A gate falls back to class-stratified draws (see class_stratified_sampler), which cost next to
/// nothing, where scores cannot be predicted well enough; see sampling_gate. They are uniform draws where
/// no class is rare (class_exponent). Both kinds of draws have permutations of their own: a trial does
/// not take examples away from the epochs.
///
/// Weights below their exact values, beta < 1, train more on the hard examples than an unbiased
/// gradient would: quicker where errors are rare and can be learned, ruinous for predicted
/// probabilities where labels are noisy. An automatic beta starts at 1, goes to 0.5 while the scores
/// of the evenly drawn rows are concentrated, and returns to 1 when their residuals show that
/// predictions are pulled to a side, and for the last part of the training.
///
/// Shape:   features (n, d) dense or CSR, labels (n) or empty (regression, or not conditioned on them).
/// Memory:  (2 R + 4 + 8) n bytes, 20 n for R = 4, and 20 R W for the sketch (160 KB); features are
///          not kept.
/// Cost:    construction hashes all rows. A sampled draw pool * batch scores of R cells and a word a
///          class; observe R cells an example. Nothing grows with n.
/// Error:   unbiased for beta = 1, whatever the sketch has learned: probabilities are known exactly.
///          How much variance it saves depends on the data: rare, local, learnable errors gain most.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches on every platform.
/// Ref:     Daghaghi et al. 2023, arXiv:2311.13583 (sketch of the loss); pool, strata, mixture
///          weights, second moment, gate and automatic beta are this library's.
template <hash_family Family = fern_family>
class nadaraya_watson_sampler {
 public:
  using params = nadaraya_watson_sampler_params;

  /// Ferns fitted to the data. Throws invalid_params for no examples or parameters out of range,
  /// invalid_input for labels of another count and features that are not finite.
  template <class Features>
  requires(std::is_same_v<Family, fern_family> &&
           (std::is_convertible_v<const Features&, matrix_view<const float>> ||
            std::is_same_v<Features, sparse_view>))
      nadaraya_watson_sampler(const Features& features, std::span<const label_t> labels, params p,
                              seed s)
      : nadaraya_watson_sampler(as_view(features), labels, p, random_engine(s)) {}

  /// A family of the caller's choice, with codes below 2^16.
  template <class Features>
  nadaraya_watson_sampler(Family family, const Features& features, std::span<const label_t> labels,
                          params p, seed s)
      : nadaraya_watson_sampler(std::move(family), as_view(features), labels, p, random_engine(s)) {
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch) { return draw(batch, detail::as_predicted{}); }

  /// Where the batch is sampled, adjust(pool, scores) may replace the scores predicted for the
  /// candidates of the pool by better ones, finite and >= 0. Weights are exact whatever it does.
  template <class Adjust>
  [[nodiscard]] drawn_batch draw(std::size_t batch, Adjust adjust) {
    detail::check_batch_size("nadaraya_watson_sampler::draw", batch, largest_batch());
    if (selector_.next() == selector_type::phase::sampling) {
      pool_.resize(batch * selector_.params().pool);
      pool_weights_.resize(pool_.size());
      pool_strata_.take(pool_, pool_weights_, engine_);
      selector_.select(store_.view(), pool_, pool_weights_, drawn_, batch, adjust);
      for (id_t& id : drawn_.ids) id = pool_[id];
    } else {
      drawn_.resize(batch);
      strata_.take(drawn_.ids, drawn_.weights, engine_);
      selector_.begin_uniform(drawn_.weights);
    }
    return drawn_.view();
  }

  /// Teaches the sketch the scores of the batch last drawn; does nothing while the gate is closed.
  ///
  /// Residuals (batch, outputs), the derivatives of each example's loss by the network's outputs, let
  /// an automatic beta notice that it must be 1; without them it rests on the scores alone.
  void observe(std::span<const id_t> ids, std::span<const float> scores,
               matrix_view<const float> residuals = {}) {
    drawn_.check_observation("nadaraya_watson_sampler::observe", ids, scores);
    selector_.check_residuals("nadaraya_watson_sampler::observe", residuals, ids.size());
    selector_.observe(store_.view(), ids, scores, residuals);
  }

  /// Tells how much of the training is done, in [0, 1]: the last part has exact weights (exact_from).
  void progress(double done) noexcept { selector_.progress(done); }

  /// Whether rehash() is due: the gate has found that sampling pays, errors are rare, and params::rehash
  /// batches have been sampled since the last time. Where every example has some error, codes of a
  /// hidden layer found no more than those of the features.
  [[nodiscard]] bool rehash_due() const noexcept { return selector_.rehash_due(); }

  /// Hashes all examples by other features, for example what the last hidden layer makes of them now,
  /// and starts a sketch of their scores.
  ///
  /// It costs a forward pass over all examples, a third of an epoch of training, which one early
  /// rehash won back on both sets of rare errors that were tried, and one every 300 batches did not.
  /// A loop that never calls it goes on with the codes it has.
  ///
  /// `embed(ids)` returns an embedded_examples for the listed examples, at most `chunk` at a time; its
  /// views last until the next call. Ferns are fitted to some of them first. Throws invalid_input for
  /// features or scores that are not finite or of another shape, and what embed throws; then the
  /// sampler is as it was.
  ///
  /// Cost:    n + fit_rows examples embedded and hashed.
  template <class Embed>
  requires(std::is_same_v<Family, fern_family>&& std::is_invocable_r_v<
           embedded_examples, Embed&, std::span<const id_t>>) void rehash(Embed&& embed,
                                                                          std::size_t chunk = 128) {
    constexpr std::string_view who = "nadaraya_watson_sampler::rehash";
    if (chunk == 0) SKIM_THROW(invalid_input, "nadaraya_watson_sampler::rehash: got a chunk of 0");
    const std::size_t n = examples(), hashes = selector_.params().hashes;
    std::vector<id_t> ids;
    std::vector<float> sample;
    std::size_t cols = 0;
    random_engine engine = engine_;
    const std::size_t rows = std::min(n, selector_.params().fit_rows);
    for (std::size_t first = 0; first < rows; first += chunk) {
      ids.resize(std::min(chunk, rows - first));
      for (id_t& id : ids) id = static_cast<id_t>(uniform_below(engine, n));
      const embedded_examples some = embed(ids);
      if (first == 0) cols = some.features.cols();
      check(who, some, ids.size(), cols);
      for (std::size_t i = 0; i < ids.size(); ++i)
        sample.insert(sample.end(), some.features.row(i).begin(), some.features.row(i).end());
    }
    Family family = Family::fit({std::span<const float>(sample), rows, cols},
                                detail::fern_params_of(selector_.params()), seed{engine()});
    auto fresh = selector_.fresh(std::move(family));
    std::vector<std::uint16_t> columns(n * hashes);
    std::vector<float> scores(n);
    workspace ws;
    for (std::size_t first = 0; first < n; first += chunk) {
      ids.resize(std::min(chunk, n - first));
      for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<id_t>(first + i);
      const embedded_examples some = embed(ids);
      check(who, some, ids.size(), cols);
      detail::hash_to_16_bits(fresh.family(), some.features,
                              std::span(columns).subspan(first * hashes, ids.size() * hashes), ws);
      std::copy(some.scores.begin(), some.scores.end(),
                scores.begin() + static_cast<std::ptrdiff_t>(first));
    }
    fresh.columns().to_columns(columns, labels_);
    detail::column_store store(std::move(columns), hashes);
    selector_.rehash(std::move(fresh), store.view(), scores);
    store_ = std::move(store);
    engine_ = engine;
  }

  [[nodiscard]] std::size_t examples() const noexcept { return strata_.examples(); }
  [[nodiscard]] const params& parameters() const noexcept { return selector_.params(); }
  /// Exponent of the next batch's weights.
  [[nodiscard]] double beta() const noexcept { return selector_.beta(); }
  [[nodiscard]] const sampling_gate& gate() const noexcept { return selector_.gate(); }
  [[nodiscard]] const nadaraya_watson_sketch<Family, 2>& sketch() const noexcept {
    return selector_.sketch();
  }

  void save(writer& out) const {
    out.begin_frame("nadaraya_watson_sampler");
    selector_.save(out);
    engine_.save(out);
    strata_.save(out);
    pool_strata_.save(out);
    out.put(store_.columns());
    out.put(std::span(labels_));
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static nadaraya_watson_sampler load(reader& in) {
    in.begin_frame("nadaraya_watson_sampler");
    nadaraya_watson_sampler s;
    s.selector_ = selector_type::load(in);
    s.engine_ = random_engine::load(in);
    s.strata_ = detail::strata::load(in);
    s.pool_strata_ = detail::strata::load(in);
    auto columns = in.get_vector<std::uint16_t>();
    s.labels_ = in.get_vector<label_t>();
    s.drawn_.load(in);
    const std::size_t n = s.examples(), hashes = s.sketch().family().num_hashes();
    if (s.pool_strata_.examples() != n || columns.size() / hashes != n ||
        columns.size() % hashes != 0 || (!s.labels_.empty() && s.labels_.size() != n) ||
        !s.selector_.fits(s.drawn_.ids.size()))
      in.fail("holds parts of different sizes");
    s.store_ = detail::column_store(std::move(columns), hashes);
    for (const id_t id : s.drawn_.ids)
      if (id >= n) in.fail("drew id ", id, " of ", n);
    s.selector_.require_possible(s.store_.view(), s.labels_, in);
    in.end_frame();
    return s;
  }

 private:
  using selector_type = detail::sketch_selector<Family>;

  nadaraya_watson_sampler() = default;

  template <class Features>
  nadaraya_watson_sampler(const Features& features, std::span<const label_t> labels,
                          const params& p, random_engine root)
      : nadaraya_watson_sampler(
            (check(features.rows(), labels, p), detail::fit_ferns(features, p, root.child(0))),
            features, labels, p, root) {}

  template <class Features>
  nadaraya_watson_sampler(Family family, const Features& features, std::span<const label_t> labels,
                          const params& p, random_engine root) {
    const std::size_t n = features.rows();
    check(n, labels, p);
    if (family.range() > 65536)
      SKIM_THROW(invalid_params, detail::concat("nadaraya_watson_sampler: got a family of ",
                                                family.range(), " codes, wanted at most 65536"));
    const std::size_t hashes = family.num_hashes();
    std::vector<std::uint16_t> columns(n * hashes);
    workspace ws;
    detail::hash_to_16_bits(family, features, columns, ws);
    selector_ = selector_type(std::move(family), detail::classes_of(labels), p, root.child(3));
    selector_.sketch().columns().to_columns(columns, labels);
    store_ = detail::column_store(std::move(columns), hashes);
    labels_.assign(labels.begin(), labels.end());
    strata_ = detail::strata(n, labels, p.class_exponent, root.child(1));
    pool_strata_ = detail::strata(n, labels, p.class_exponent, root.child(2));
    engine_ = root.child(4);
  }

  static matrix_view<const float> as_view(const matrix_view<const float>& v) { return v; }
  static sparse_view as_view(const sparse_view& v) { return v; }

  static void check(std::size_t n, std::span<const label_t> labels, const params& p) {
    if (n == 0 || n > std::numeric_limits<id_t>::max())
      SKIM_THROW(invalid_params, detail::concat("nadaraya_watson_sampler: got ", n,
                                                " examples, wanted 1 to 2^32 - 1"));
    if (!labels.empty() && labels.size() != n)
      SKIM_THROW(invalid_input,
                 detail::concat("nadaraya_watson_sampler: got ", labels.size(), " labels for ", n,
                                " examples, wanted one each or none"));
    detail::check_params(p);
  }

  [[nodiscard]] std::size_t largest_batch() const noexcept {
    return std::numeric_limits<id_t>::max() / selector_.params().pool;
  }

  // Of all rows of one call to embed.
  static void check(std::string_view who, const embedded_examples& e, std::size_t rows,
                    std::size_t cols) {
    if (e.features.rows() != rows || e.features.cols() != cols || cols == 0)
      SKIM_THROW(invalid_input,
                 detail::concat(who, ": got ", e.features.rows(), " x ", e.features.cols(),
                                " features, wanted ", rows, " rows and the columns of the first"));
    detail::check_scores(who, e.scores, rows);
  }

  selector_type selector_;
  detail::strata strata_, pool_strata_;
  random_engine engine_;
  detail::column_store store_;
  std::vector<label_t> labels_;  // for the columns that rehash() makes
  std::vector<id_t> pool_;
  std::vector<float> pool_weights_;
  detail::batch_buffer drawn_;
};

nadaraya_watson_sampler(matrix_view<const float>, std::span<const label_t>,
                        nadaraya_watson_sampler_params, seed)
    ->nadaraya_watson_sampler<fern_family>;
nadaraya_watson_sampler(sparse_view, std::span<const label_t>, nadaraya_watson_sampler_params, seed)
    ->nadaraya_watson_sampler<fern_family>;

/// Batches from a stream whose examples pass by once, drawn by a Nadaraya-Watson sketch of the scores.
///
/// As nadaraya_watson_sampler, with the pool offered by the caller: the next pool * batch examples of
/// the stream, of which the batch is kept and the rest passes by. candidates() says how many are
/// wanted; while the gate is closed or the sketch warms up, just a batch. The ferns are fitted to the
/// first block.
///
/// Shape:   blocks (candidates(batch), d) dense or CSR, labels below `classes`, or none if classes is 0.
/// Memory:  20 R W bytes for the sketch (160 KB) and about 40 a candidate for R = 4; nothing grows with the stream.
/// Cost:    one hash and R cached cells a candidate.
/// Error:   unbiased for each block with beta = 1. Training on fewer of the examples that pass by pays
///          only where the stream is longer than the time there is to train.
/// Threads: none.
/// Seeds:   equal seeds, blocks and scores give equal batches on every platform.
/// Ref:     Daghaghi et al. 2023, arXiv:2311.13583; see nadaraya_watson_sampler.
class nadaraya_watson_stream_sampler {
 public:
  using params = nadaraya_watson_sampler_params;

  /// Throws invalid_params for parameters out of range. @param classes  0 for regression
  nadaraya_watson_stream_sampler(std::size_t classes, params p, seed s)
      : params_(p), classes_(classes), root_(s) {
    detail::check_params(p);
  }

  /// The first block is fit_rows long at least: the ferns' thresholds are taken from it.
  [[nodiscard]] std::size_t candidates(std::size_t batch) const noexcept {
    if (!selector_) return std::max(batch, params_.fit_rows);
    return selector_->next() == selector_type::phase::sampling ? batch * params_.pool : batch;
  }

  /// Throws invalid_input, and changes nothing, for a block of another size, features that are not
  /// finite, or a label outside [0, classes).
  [[nodiscard]] drawn_batch select(const stream_block& block, std::size_t batch) {
    detail::check_batch_size("nadaraya_watson_stream_sampler::select", batch,
                             std::numeric_limits<id_t>::max() / params_.pool);
    detail::check_block("nadaraya_watson_stream_sampler::select", block, candidates(batch));
    check_labels(block);
    if (!selector_) fit(block);
    const auto next = selector_->next();
    if (next != selector_type::phase::closed) hash(block);
    if (next == selector_type::phase::sampling) {
      while (rows_.size() < block.rows()) rows_.push_back(static_cast<id_t>(rows_.size()));
      selector_->select(store_.view(), std::span(rows_).first(block.rows()), {}, drawn_, batch,
                        detail::as_predicted{});
    } else {
      drawn_.resize(batch);
      for (std::size_t i = 0; i < batch; ++i) drawn_.ids[i] = static_cast<id_t>(i);
      std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
      selector_->begin_uniform(drawn_.weights);
    }
    return drawn_.view();
  }

  /// Teaches the sketch the scores of the batch last selected; does nothing while the gate is closed.
  /// Residuals as in nadaraya_watson_sampler::observe().
  void observe(std::span<const id_t> ids, std::span<const float> scores,
               matrix_view<const float> residuals = {}) {
    drawn_.check_observation("nadaraya_watson_stream_sampler::observe", ids, scores);
    if (!selector_) return;
    selector_->check_residuals("nadaraya_watson_stream_sampler::observe", residuals, ids.size());
    selector_->observe(store_.view(), ids, scores, residuals);
  }

  /// Tells how much of the training is done, in [0, 1]: the last part has exact weights (exact_from).
  void progress(double done) noexcept {
    if (selector_) selector_->progress(done);
  }

  /// The gate. Throws invalid_input before the first block.
  [[nodiscard]] const sampling_gate& gate() const {
    if (!selector_)
      SKIM_THROW(invalid_input,
                 "nadaraya_watson_stream_sampler::gate: asked before the first block");
    return selector_->gate();
  }

  void save(writer& out) const {
    out.begin_frame("nadaraya_watson_stream_sampler");
    detail::put_params(out, params_);
    out.put(static_cast<std::uint64_t>(classes_));
    root_.save(out);
    out.put(selector_.has_value());
    if (selector_) selector_->save(out);
    out.put(store_.columns());
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static nadaraya_watson_stream_sampler load(reader& in) {
    in.begin_frame("nadaraya_watson_stream_sampler");
    const params p = detail::get_sampler_params(in);
    const auto classes = static_cast<std::size_t>(in.get<std::uint64_t>());
    nadaraya_watson_stream_sampler s(classes, p, seed{});
    s.root_ = random_engine::load(in);
    if (in.get<std::uint8_t>() != 0) s.selector_ = selector_type::load(in);
    auto columns = in.get_vector<std::uint16_t>();
    s.drawn_.load(in);
    const auto fail_if = [&](bool wrong) {
      if (wrong) in.fail("holds parts that contradict each other");
    };
    fail_if(!s.selector_ && (!columns.empty() || !s.drawn_.ids.empty()));
    if (s.selector_) {
      const auto& sketch = s.selector_->sketch();
      const std::size_t hashes = sketch.family().num_hashes(), rows = columns.size() / hashes;
      fail_if(columns.size() % hashes != 0 || !s.selector_->fits(s.drawn_.ids.size()) ||
              sketch.parameters().classes != std::max<std::size_t>(classes, 1));
      for (const id_t id : s.drawn_.ids) fail_if(s.selector_->learns() && id >= rows);
      s.store_ = detail::column_store(std::move(columns), hashes);
      s.selector_->require_possible(s.store_.view(), {}, in);
    }
    in.end_frame();
    return s;
  }

 private:
  using selector_type = detail::sketch_selector<fern_family>;

  void check_labels(const stream_block& block) const {
    if (classes_ > 0 && block.labels.empty())
      SKIM_THROW(invalid_input,
                 detail::concat("nadaraya_watson_stream_sampler::select: got no labels, "
                                "wanted one below ",
                                classes_, " for each example"));
    for (const label_t label : block.labels)
      if (classes_ > 0 && label >= classes_)
        SKIM_THROW(invalid_input,
                   detail::concat("nadaraya_watson_stream_sampler::select: got label ", label,
                                  ", wanted one below ", classes_));
  }

  void fit(const stream_block& block) {
    auto family = block.features.empty()
                      ? detail::fit_ferns(block.sparse_features, params_, root_.child(0))
                      : detail::fit_ferns(block.features, params_, root_.child(0));
    store_ = detail::column_store({}, family.num_hashes());
    selector_.emplace(std::move(family), std::max<std::size_t>(classes_, 1), params_,
                      root_.child(1));
  }

  void hash(const stream_block& block) {
    const fern_family& family = selector_->sketch().family();
    fresh_columns_.resize(block.rows() * family.num_hashes());
    if (block.features.empty())
      detail::hash_to_16_bits(family, block.sparse_features, fresh_columns_, ws_);
    else
      detail::hash_to_16_bits(family, block.features, fresh_columns_, ws_);
    selector_->sketch().columns().to_columns(
        fresh_columns_, classes_ > 0 ? block.labels : std::span<const label_t>());
    store_.swap(fresh_columns_);  // nothing has changed if hashing threw
  }

  params params_;
  std::size_t classes_ = 0;
  random_engine root_;
  std::optional<selector_type> selector_;
  detail::column_store store_;  // of the block under way
  std::vector<std::uint16_t> fresh_columns_;
  std::vector<id_t> rows_;
  workspace ws_;
  detail::batch_buffer drawn_;
};

static_assert(batch_sampler<nadaraya_watson_sampler<fern_family>> &&
              stream_sampler<nadaraya_watson_stream_sampler>);

}  // namespace skim::inline v0
