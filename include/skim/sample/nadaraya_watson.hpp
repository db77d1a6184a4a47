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
#include "skim/sample/detail/epoch_order.hpp"
#include "skim/sample/detail/importance.hpp"
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
  std::size_t width = 2048;    ///< W, cells a row of the sketch; a power of two
  std::size_t pool = 8;        ///< candidates scored for each example drawn
  double uniform_share = 0.2;  ///< lambda: part of each batch drawn uniformly, in (0, 1]
  double exponent = 1;         ///< gamma: probability ~ score^gamma
  double beta = 1;             ///< weights are (1 / (n p))^beta; 1 is unbiased, 0 ignores them
  double shrinkage = 1;        ///< k, weight of the mean score in each cell
  double half_life = 50000;    ///< examples after which an observation counts half
  std::size_t warm_up = 3000;  ///< examples observed uniformly before any are sampled
  std::size_t refresh = 16;    ///< batches between full refreshes of the cached scores
  /// What p is proportional to. The root mean square is optimal where the sketch is exact; the mean
  /// measured as well or better, and its ranking is what the gate's bounds were found with.
  regression_value value = regression_value::mean;
  gate_params gate = {};
};

namespace detail {

/// Leaves predicted scores as they are.
struct as_predicted {
  void operator()(std::span<const id_t>, std::span<float>) const noexcept {}
};

[[nodiscard]] inline bool is_possible(const nadaraya_watson_sampler_params& p) noexcept {
  return p.pool > 0 && p.refresh > 0 && p.fit_rows > 0 && p.half_life > 0 && p.bits <= 16 &&
         p.run > 0 && p.bits % p.run == 0 && p.uniform_share > 0 && p.uniform_share <= 1 &&
         p.beta >= 0 && p.beta <= 1 && p.exponent >= 0 && std::isfinite(p.exponent) &&
         p.value <= regression_value::root_mean_square;
}

inline void check_params(const nadaraya_watson_sampler_params& p) {
  check_importance("nadaraya_watson_sampler_params", p.uniform_share, p.beta, p.exponent);
  if (!is_possible(p))
    SKIM_THROW(invalid_params,
               concat("nadaraya_watson_sampler_params: got pool ", p.pool, ", refresh ", p.refresh,
                      ", fit_rows ", p.fit_rows, ", half_life ", p.half_life, ", bits ", p.bits,
                      " and run ", p.run,
                      ", wanted all positive, at most 16 bits and a run that divides them"));
}

inline void put_params(writer& out, const nadaraya_watson_sampler_params& p) {
  for (const std::size_t v :
       {p.hashes, p.bits, p.run, p.fit_rows, p.width, p.pool, p.warm_up, p.refresh})
    out.put(static_cast<std::uint64_t>(v));
  for (const double v : {p.uniform_share, p.exponent, p.beta, p.shrinkage, p.half_life}) out.put(v);
  out.put(p.value);
  put_params(out, p.gate);
}

[[nodiscard]] inline nadaraya_watson_sampler_params get_sampler_params(reader& in) {
  nadaraya_watson_sampler_params p;
  for (std::size_t* v :
       {&p.hashes, &p.bits, &p.run, &p.fit_rows, &p.width, &p.pool, &p.warm_up, &p.refresh})
    *v = static_cast<std::size_t>(in.get<std::uint64_t>());
  for (double* v : {&p.uniform_share, &p.exponent, &p.beta, &p.shrinkage, &p.half_life})
    *v = in.get<double>();
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
  using codes_view = cached_codes<std::uint16_t>;

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

  /// Begins a draw that is not sampled.
  void begin_uniform() noexcept {
    current_ = next();
    if (current_ != phase::closed) return;
    gate_.step_closed();
    if (gate_.is_open()) {  // a new trial learns from scratch: the scores of long ago are no guide
      sketch_->clear();
      observed_ = 0;
    }
  }

  /// Chooses a batch among candidates, `of` them listed in rows: positions in [0, rows.size()).
  ///
  /// The first rows are the uniform part, as the pool is in random order; the others are included with
  /// probability pi ~ score^gamma, capped at 1. All weigh by the mixture of both (balance heuristic).
  /// Scores are those that `adjust` leaves of the sketch's.
  template <class Adjust>
  void select(const codes_view& of, std::span<const id_t> rows, batch_buffer& drawn,
              std::size_t batch, Adjust adjust) {
    current_ = phase::sampling;
    const std::size_t candidates = rows.size();
    uniform_ = uniform_rows(batch, params_.uniform_share);
    predicted_.resize(candidates);
    inclusion_.resize(candidates);
    scores_->query_codes(of, rows, std::span<float>(predicted_));
    adjust(rows, std::span<float>(predicted_));
    std::span<const float> rates = predicted_;
    if (params_.exponent != 1) {
      powers_.resize(candidates);
      for (std::size_t i = 0; i < candidates; ++i)
        powers_[i] = std::pow(predicted_[i], static_cast<float>(params_.exponent));
      rates = powers_;
    }
    drawn.resize(batch);
    for (std::size_t i = 0; i < uniform_; ++i) drawn.ids[i] = static_cast<id_t>(i);
    const std::size_t sampled = batch - uniform_;
    if (sampled > 0) {
      // The floor only keeps probabilities positive where a sketch predicts zeros.
      inclusion_probabilities(rates, {.budget = static_cast<double>(sampled), .floor = 1e-3},
                              std::span<float>(inclusion_));
      draw_exactly(inclusion_, engine_, scratch_, std::span(drawn.ids).subspan(uniform_));
    } else {
      std::fill(inclusion_.begin(), inclusion_.end(), 0.0f);
    }
    exact_.resize(batch);
    const auto uniform = static_cast<float>(uniform_), pool = static_cast<float>(candidates);
    for (std::size_t i = 0; i < batch; ++i)
      exact_[i] = static_cast<float>(batch) / (uniform + pool * inclusion_[drawn.ids[i]]);
    drawn.weights = exact_;
    temper(drawn.weights, params_.beta);
  }

  /// Learns from the batch last drawn, whose rows of `of` are listed.
  void observe(const codes_view& of, std::span<const id_t> rows, std::span<const float> scores) {
    if (current_ == phase::closed) return;
    sketch_->decay(std::exp2(-static_cast<double>(rows.size()) / params_.half_life));
    if (current_ == phase::warming) {
      sketch_->insert_codes(of, rows, scores);
      observed_ += rows.size();
      if (observed_ >= params_.warm_up) scores_->refresh(*sketch_);
      since_refresh_ = 0;
      return;
    }
    sketch_->insert_codes(of, rows, scores, std::span<const float>(exact_));
    if (++since_refresh_ >= params_.refresh) {
      scores_->refresh(*sketch_);
      since_refresh_ = 0;
    } else {
      scores_->refresh(*sketch_, of, rows);
    }
    gate_.step_open(std::span(std::as_const(predicted_)).first(uniform_), scores.first(uniform_));
  }

  [[nodiscard]] const nadaraya_watson_sampler_params& params() const noexcept { return params_; }
  [[nodiscard]] const sampling_gate& gate() const noexcept { return gate_; }
  [[nodiscard]] const sketch_type& sketch() const noexcept { return *sketch_; }

  void save(writer& out) const {
    out.begin_frame("sketch_selector");
    put_params(out, params_);
    for (const std::size_t v : {observed_, since_refresh_, uniform_})
      out.put(static_cast<std::uint64_t>(v));
    out.put(current_);
    engine_.save(out);
    gate_.save(out);
    sketch_->save(out);
    scores_->save(out);
    out.put(std::span(predicted_).first(std::min(uniform_, predicted_.size())));
    out.put(std::span(exact_));
    out.end_frame();
  }

  [[nodiscard]] static sketch_selector load(reader& in) {
    in.begin_frame("sketch_selector");
    sketch_selector s;
    s.params_ = get_sampler_params(in);
    for (std::size_t* v : {&s.observed_, &s.since_refresh_, &s.uniform_})
      *v = static_cast<std::size_t>(in.get<std::uint64_t>());
    const auto current = in.get<std::uint8_t>();
    if (current > static_cast<std::uint8_t>(phase::sampling)) in.fail("holds the phase ", current);
    s.current_ = static_cast<phase>(current);
    s.engine_ = random_engine::load(in);
    s.gate_ = sampling_gate::load(in);
    s.sketch_ = sketch_type::load(in);
    s.scores_ = nadaraya_watson_scores<Family, 2>::load(in, *s.sketch_);
    s.predicted_ = in.get_vector<float>();
    s.exact_ = in.get_vector<float>();
    for (const float w : s.exact_)
      if (!(w >= 0 && std::isfinite(w))) in.fail("holds the weight ", w);
    if (s.current_ == phase::sampling &&
        (s.uniform_ > s.exact_.size() || s.predicted_.size() != s.uniform_))
      in.fail("holds a batch that contradicts itself");
    in.end_frame();
    return s;
  }
  /// Whether a loaded selector can have drawn a batch of so many.
  [[nodiscard]] bool fits(std::size_t batch) const noexcept {
    return current_ != phase::sampling || exact_.size() == batch;
  }
  /// Throws format_error unless the family can have given such codes and the labels are classes.
  void require_possible(const codes_view& of, const reader& in) const {
    if (of.largest_code() >= sketch_->family().range())
      in.fail("holds the code ", of.largest_code());
    if (of.largest_label() >= sketch_->parameters().classes)
      in.fail("holds the label ", of.largest_label());
  }
  /// Whether the batch last drawn will be learned from.
  [[nodiscard]] bool learns() const noexcept { return current_ != phase::closed; }

 private:
  nadaraya_watson_sampler_params params_;
  random_engine engine_;
  sampling_gate gate_;
  std::optional<sketch_type> sketch_;
  std::optional<nadaraya_watson_scores<Family, 2>> scores_;
  std::size_t observed_ = 0, since_refresh_ = 0;
  // The draw under way.
  phase current_ = phase::closed;
  std::size_t uniform_ = 0;
  std::vector<float> predicted_, powers_, inclusion_, exact_;
  std::vector<id_t> scratch_;
};

/// Codes and labels of n examples with the view of them that the sketch takes.
class code_store {
 public:
  code_store() = default;
  /// Pre: labels are empty or one for each row of `hashes` codes.
  code_store(std::vector<std::uint16_t> codes, std::size_t hashes, std::vector<label_t> labels)
      : hashes_(hashes), codes_(std::move(codes)), labels_(std::move(labels)) {
    look();
  }
  // The view points into the vectors: a copy looks at its own, a move takes them along.
  code_store(const code_store& other) : code_store(other.codes_, other.hashes_, other.labels_) {}
  code_store(code_store&&) noexcept = default;
  code_store& operator=(const code_store& other) { return *this = code_store(other); }
  code_store& operator=(code_store&&) noexcept = default;
  ~code_store() = default;

  [[nodiscard]] const cached_codes<std::uint16_t>& view() const noexcept { return *view_; }
  [[nodiscard]] std::span<const std::uint16_t> codes() const noexcept { return codes_; }
  [[nodiscard]] std::span<const label_t> labels() const noexcept { return labels_; }
  [[nodiscard]] std::size_t rows() const noexcept { return codes_.size() / hashes_; }

  /// Puts other contents in, with the memory of the old ones left in the arguments.
  void swap(std::vector<std::uint16_t>& codes, std::vector<label_t>& labels) {
    codes_.swap(codes);
    labels_.swap(labels);
    look();
  }

 private:
  void look() {
    view_.emplace(matrix_view<const std::uint16_t>(codes_.data(), rows(), hashes_), labels_);
  }

  std::size_t hashes_ = 1;
  std::vector<std::uint16_t> codes_;  // (n, hashes)
  std::vector<label_t> labels_;
  std::optional<cached_codes<std::uint16_t>> view_{
      cached_codes<std::uint16_t>(matrix_view<const std::uint16_t>())};
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
  const std::size_t hashes = family.num_hashes();
  auto frame = ws.frame();
  const auto wide = frame.template take<code_t>(hashes);
  for (std::size_t i = 0; i < points.rows(); ++i) {
    family.hash(points.row(i), wide, ws);
    std::transform(wide.begin(), wide.end(),
                   codes.begin() + static_cast<std::ptrdiff_t>(i * hashes),
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

/// Batches from a catalogue drawn by a Nadaraya-Watson sketch of the scores.
///
/// The sketch estimates the score of an example from those of its neighbours that were trained on
/// lately: examples with equal hash codes and the same label share cells. Every batch is chosen among
/// pool * batch candidates: a part uniformly, the rest with probability ~ score^gamma, with weights
/// that keep the gradient unbiased (beta = 1). Codes are hashed once, so that scoring a candidate reads
/// 2 R bytes of codes and R cached cells.
///
/// A gate falls back to uniform draws, which then cost nothing, where sampling does not pay; see
/// sampling_gate. Pool and uniform draws have permutations of their own: a trial does not take
/// examples away from the uniform epochs.
///
/// Shape:   features (n, d) dense or CSR, labels (n) or empty (regression, or not conditioned on them).
/// Memory:  (2 R + 4 + 8) n bytes, 20 n for R = 4, and 20 R W for the sketch (160 KB); features are
///          not kept.
/// Cost:    construction hashes all rows. A sampled draw pool * batch scores of R cells; observe R
///          cells an example. Nothing grows with n.
/// Error:   unbiased for beta = 1, whatever the sketch has learned: probabilities are known exactly.
///          How much variance it saves depends on the data: rare, local, learnable errors gain most.
/// Threads: none.
/// Seeds:   equal seeds and scores give equal batches on every platform.
/// Ref:     Daghaghi et al. 2023, arXiv:2311.13583 (sketch of the loss); pool, mixture weights, second
///          moment and gate are this library's.
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

  /// Where the batch is sampled, adjust(ids, scores) may replace the scores predicted for the candidates
  /// by better ones, finite and >= 0. The first uniform_share of the candidates are the uniform rows of
  /// the batch. Weights are exact whatever it does.
  template <class Adjust>
  [[nodiscard]] drawn_batch draw(std::size_t batch, Adjust adjust) {
    detail::check_batch_size("nadaraya_watson_sampler::draw", batch, largest_batch());
    if (selector_.next() == selector_type::phase::sampling) {
      pool_.resize(batch * selector_.params().pool);
      pool_order_.take(pool_);
      selector_.select(store_.view(), pool_, drawn_, batch, adjust);
      for (id_t& id : drawn_.ids) id = pool_[id];
    } else {
      drawn_.resize(batch);
      order_.take(drawn_.ids);
      std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
      selector_.begin_uniform();
    }
    return drawn_.view();
  }

  /// Teaches the sketch the scores of the batch last drawn; does nothing while the gate is closed.
  void observe(std::span<const id_t> ids, std::span<const float> scores) {
    drawn_.check_observation("nadaraya_watson_sampler::observe", ids, scores);
    selector_.observe(store_.view(), ids, scores);
  }

  [[nodiscard]] std::size_t examples() const noexcept { return order_.size(); }
  [[nodiscard]] const params& parameters() const noexcept { return selector_.params(); }
  [[nodiscard]] const sampling_gate& gate() const noexcept { return selector_.gate(); }
  [[nodiscard]] const nadaraya_watson_sketch<Family, 2>& sketch() const noexcept {
    return selector_.sketch();
  }

  void save(writer& out) const {
    out.begin_frame("nadaraya_watson_sampler");
    selector_.save(out);
    order_.save(out);
    pool_order_.save(out);
    out.put(store_.codes());
    out.put(store_.labels());
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static nadaraya_watson_sampler load(reader& in) {
    in.begin_frame("nadaraya_watson_sampler");
    nadaraya_watson_sampler s;
    s.selector_ = selector_type::load(in);
    s.order_ = detail::epoch_order::load(in);
    s.pool_order_ = detail::epoch_order::load(in);
    auto codes = in.get_vector<std::uint16_t>();
    auto labels = in.get_vector<label_t>();
    s.drawn_.load(in);
    const std::size_t n = s.order_.size(), hashes = s.sketch().family().num_hashes();
    if (n == 0 || s.pool_order_.size() != n || codes.size() / hashes != n ||
        codes.size() % hashes != 0 || (!labels.empty() && labels.size() != n) ||
        !s.selector_.fits(s.drawn_.ids.size()))
      in.fail("holds parts of different sizes");
    s.store_ = detail::code_store(std::move(codes), hashes, std::move(labels));
    s.order_.require_below(n, in);
    s.pool_order_.require_below(n, in);
    for (const id_t id : s.drawn_.ids)
      if (id >= n) in.fail("drew id ", id, " of ", n);
    s.selector_.require_possible(s.store_.view(), in);
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
    std::vector<std::uint16_t> codes(n * family.num_hashes());
    workspace ws;
    detail::hash_to_16_bits(family, features, codes, ws);
    store_ = detail::code_store(std::move(codes), family.num_hashes(),
                                std::vector<label_t>(labels.begin(), labels.end()));
    order_ = detail::epoch_order(n, root.child(1));
    pool_order_ = detail::epoch_order(n, root.child(2));
    selector_ = selector_type(std::move(family), detail::classes_of(labels), p, root.child(3));
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

  selector_type selector_;
  detail::epoch_order order_, pool_order_;
  detail::code_store store_;
  std::vector<id_t> pool_;
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
      selector_->select(store_.view(), std::span(rows_).first(block.rows()), drawn_, batch,
                        detail::as_predicted{});
    } else {
      drawn_.resize(batch);
      for (std::size_t i = 0; i < batch; ++i) drawn_.ids[i] = static_cast<id_t>(i);
      std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
      selector_->begin_uniform();
    }
    return drawn_.view();
  }

  /// Teaches the sketch the scores of the batch last selected; does nothing while the gate is closed.
  void observe(std::span<const id_t> ids, std::span<const float> scores) {
    drawn_.check_observation("nadaraya_watson_stream_sampler::observe", ids, scores);
    if (selector_) selector_->observe(store_.view(), ids, scores);
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
    out.put(store_.codes());
    out.put(store_.labels());
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
    auto codes = in.get_vector<std::uint16_t>();
    auto labels = in.get_vector<label_t>();
    s.drawn_.load(in);
    const auto fail_if = [&](bool wrong) {
      if (wrong) in.fail("holds parts that contradict each other");
    };
    fail_if(!s.selector_ && (!codes.empty() || !s.drawn_.ids.empty()));
    if (s.selector_) {
      const auto& sketch = s.selector_->sketch();
      const std::size_t hashes = sketch.family().num_hashes(), rows = codes.size() / hashes;
      fail_if(codes.size() % hashes != 0 || (!labels.empty() && labels.size() != rows) ||
              !s.selector_->fits(s.drawn_.ids.size()) ||
              sketch.parameters().classes != std::max<std::size_t>(classes, 1));
      for (const id_t id : s.drawn_.ids) fail_if(s.selector_->learns() && id >= rows);
      s.store_ = detail::code_store(std::move(codes), hashes, std::move(labels));
      s.selector_->require_possible(s.store_.view(), in);
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
    store_ = detail::code_store({}, family.num_hashes(), {});
    selector_.emplace(std::move(family), std::max<std::size_t>(classes_, 1), params_,
                      root_.child(1));
  }

  void hash(const stream_block& block) {
    const fern_family& family = selector_->sketch().family();
    fresh_codes_.resize(block.rows() * family.num_hashes());
    if (block.features.empty())
      detail::hash_to_16_bits(family, block.sparse_features, fresh_codes_, ws_);
    else
      detail::hash_to_16_bits(family, block.features, fresh_codes_, ws_);
    fresh_labels_.clear();
    if (classes_ > 0) fresh_labels_.assign(block.labels.begin(), block.labels.end());
    store_.swap(fresh_codes_, fresh_labels_);  // nothing has changed if hashing threw
  }

  params params_;
  std::size_t classes_ = 0;
  random_engine root_;
  std::optional<selector_type> selector_;
  detail::code_store store_;  // of the block under way
  std::vector<std::uint16_t> fresh_codes_;
  std::vector<label_t> fresh_labels_;
  std::vector<id_t> rows_;
  workspace ws_;
  detail::batch_buffer drawn_;
};

static_assert(batch_sampler<nadaraya_watson_sampler<fern_family>> &&
              stream_sampler<nadaraya_watson_stream_sampler>);

}  // namespace skim::inline v0
