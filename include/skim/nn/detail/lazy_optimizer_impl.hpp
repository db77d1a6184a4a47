// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "skim/core/error.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/nn/lazy_optimizer.hpp"

namespace skim::inline v0 {

namespace detail {

inline constexpr std::size_t line_floats = cache_line / sizeof(float);

[[nodiscard]] inline std::size_t whole_lines(std::size_t floats) noexcept {
  return (floats + line_floats - 1) / line_floats * line_floats;
}

// Calls f(position, count) for packs over n elements; the last one may hold fewer.
template <class Pack, class F>
SKIM_ALWAYS_INLINE void over_packs(std::size_t n, F f) noexcept {
  std::size_t i = 0;
  for (; i + Pack::size <= n; i += Pack::size) f(i, Pack::size);
  if (i < n) f(i, n - i);
}

template <class Arch>
[[nodiscard]] SKIM_ALWAYS_INLINE simd::floats<Arch> load_some(const float* p,
                                                              std::size_t count) noexcept {
  using pack = simd::floats<Arch>;
  return count == pack::size ? pack::load(p) : simd::load_part<Arch>(p, count);
}

template <class Arch>
SKIM_ALWAYS_INLINE void put_some(simd::floats<Arch> x, float* to, std::size_t count) noexcept {
  if (count == simd::floats<Arch>::size) {
    x.store(to);
  } else {
    const auto lanes = simd::detail::lanes_of(x);
    std::copy_n(lanes.begin(), count, to);
  }
}

// What the moments keep and take in, and how the row moves by them.
struct adam_step {
  float keep1, take1, keep2, take2, rate, epsilon;
};

template <class Arch = simd::default_arch>
inline void adam_row(float* SKIM_RESTRICT w, float* SKIM_RESTRICT m, float* SKIM_RESTRICT v,
                     const float* SKIM_RESTRICT g, std::size_t n, adam_step s) noexcept {
  using pack = simd::floats<Arch>;
  const pack k1 = pack::broadcast(s.keep1), t1 = pack::broadcast(s.take1);
  const pack k2 = pack::broadcast(s.keep2), t2 = pack::broadcast(s.take2);
  const pack rate = pack::broadcast(s.rate), epsilon = pack::broadcast(s.epsilon);
  over_packs<pack>(n, [&](std::size_t i, std::size_t count) SKIM_INLINE_LAMBDA {
    const pack gradient = load_some<Arch>(g + i, count);
    const pack mean = simd::fma(k1, load_some<Arch>(m + i, count), t1 * gradient);
    const pack square = simd::fma(k2, load_some<Arch>(v + i, count), t2 * (gradient * gradient));
    put_some(mean, m + i, count);
    put_some(square, v + i, count);
    put_some(load_some<Arch>(w + i, count) - rate * mean / (simd::sqrt(square) + epsilon), w + i,
             count);
  });
}

template <class Arch = simd::default_arch>
inline void adam_drift(float* SKIM_RESTRICT w, const float* SKIM_RESTRICT m,
                       const float* SKIM_RESTRICT v, std::size_t n, float by,
                       float epsilon) noexcept {
  using pack = simd::floats<Arch>;
  const pack f = pack::broadcast(by), e = pack::broadcast(epsilon);
  over_packs<pack>(n, [&](std::size_t i, std::size_t count) SKIM_INLINE_LAMBDA {
    const pack mean = load_some<Arch>(m + i, count), square = load_some<Arch>(v + i, count);
    put_some(load_some<Arch>(w + i, count) - f * mean / (simd::sqrt(square) + e), w + i, count);
  });
}

template <class Arch = simd::default_arch>
inline void momentum_row(float* SKIM_RESTRICT w, float* SKIM_RESTRICT m,
                         const float* SKIM_RESTRICT g, std::size_t n, float keep,
                         float rate) noexcept {
  using pack = simd::floats<Arch>;
  const pack k = pack::broadcast(keep), down = pack::broadcast(-rate);
  over_packs<pack>(n, [&](std::size_t i, std::size_t count) SKIM_INLINE_LAMBDA {
    const pack mean = simd::fma(k, load_some<Arch>(m + i, count), load_some<Arch>(g + i, count));
    put_some(mean, m + i, count);
    put_some(simd::fma(down, mean, load_some<Arch>(w + i, count)), w + i, count);
  });
}

}  // namespace detail

inline const char* lazy_optimizer::problem(const params& p) noexcept {
  if (p.rule != update_rule::adam && p.rule != update_rule::momentum)
    return "wanted the update rule adam or momentum";
  if (p.skipped != skipped_steps::exact && p.skipped != skipped_steps::frozen)
    return "wanted skipped steps to be exact or frozen";
  if (!(p.beta1 >= 0 && p.beta1 < 1 && p.beta2 > p.beta1 * p.beta1 && p.beta2 < 1))
    return "wanted beta1 in [0, 1) and beta2 in (beta1^2, 1)";
  if (!(p.epsilon > 0 && std::isfinite(p.epsilon))) return "wanted a positive epsilon";
  if (!(p.momentum >= 0 && p.momentum < 1)) return "wanted a momentum in [0, 1)";
  return nullptr;
}

inline lazy_optimizer::lazy_optimizer(params p, std::size_t rows, std::size_t dim)
    : params_(p), dim_(dim), stride_(detail::whole_lines(dim)) {
  if (const char* wrong = problem(p))
    SKIM_THROW(invalid_params,
               detail::concat("lazy_optimizer: got betas ", p.beta1, " and ", p.beta2, ", epsilon ",
                              p.epsilon, ", momentum ", p.momentum, ", ", wrong));
  states_.resize(rows);
  moments_.resize(rows * row_floats());
  prepare();
  drift_.resize(2 * window_ + 2);
}

inline void lazy_optimizer::prepare() {
  const double decay = is_adam() ? params_.beta1 : params_.momentum;
  const double ratio = is_adam() ? params_.beta1 / std::sqrt(params_.beta2) : params_.momentum;
  constexpr double spent = 1e-7;
  constexpr std::size_t longest = 1 << 16;  // momentum beyond 0.9997: rests a little early
  window_ = 1;
  if (ratio > 0)
    window_ = static_cast<std::size_t>(
        std::clamp(std::log(spent) / std::log(ratio), 1.0, static_cast<double>(longest)));
  const std::size_t powers = 2 * window_ + 2;
  ratio_powers_.resize(powers);
  first_powers_.resize(powers);
  second_powers_.resize(powers);
  for (std::size_t k = 0; k < powers; ++k) {
    const auto n = static_cast<double>(k);
    ratio_powers_[k] = std::pow(ratio, n);
    first_powers_[k] = static_cast<float>(std::pow(decay, n));
    second_powers_[k] = static_cast<float>(std::pow(params_.beta2, n));
  }
}

// The moments stay as of the last touch: how they decayed since is a factor that the next touch, or the
// next drift, works in. Only the row is written.
inline void lazy_optimizer::catch_up(id_t id, std::span<float> row, float& bias) noexcept {
  SKIM_EXPECTS(id < states_.size() && row.size() == dim_);
  row_state& state = states_[id];
  if (state.caught == 0 || state.caught == step_ || params_.skipped == skipped_steps::frozen)
    return;
  SKIM_EXPECTS(step_ - state.last < ratio_powers_.size());  // older rows are at rest
  const auto by = static_cast<float>(drift_[state.caught % drift_.size()] *
                                     ratio_powers_[state.caught - state.last]);
  state.caught = step_;
  if (is_adam()) {
    detail::adam_drift(row.data(), first(id), second(id), dim_, by, epsilon_);
    bias -= by * state.first / (std::sqrt(state.second) + epsilon_);
  } else {
    axpy(-by, std::span<const float>(first(id), dim_), row);
    bias -= by * state.first;
  }
}

inline void lazy_optimizer::begin_step(double rate) {
  if (!(std::isfinite(rate) && rate >= 0))
    SKIM_THROW(invalid_input, detail::concat("lazy_optimizer: got a learning rate of ", rate,
                                             ", wanted a finite number of at least 0"));
  if (step_ >= std::numeric_limits<std::uint32_t>::max() - 1)
    SKIM_THROW(invalid_input, "lazy_optimizer: got one step more than 2^32 - 2");
  raw_rate_ = rate;
  if (is_adam()) {
    // The corrections for the moments' start are folded into the rate and epsilon.
    const double t = static_cast<double>(step_) + 1;
    const double root = std::sqrt(1 - std::pow(params_.beta2, t));
    raw_rate_ = rate * root / (1 - std::pow(params_.beta1, t));
    epsilon_ = static_cast<float>(params_.epsilon * root);
  }
  rate_ = static_cast<float>(raw_rate_);
}

inline void lazy_optimizer::update(id_t id, std::span<float> row, std::span<const float> gradient,
                                   float& bias, float bias_gradient) noexcept {
  SKIM_EXPECTS(id < states_.size() && row.size() == dim_ && gradient.size() == dim_);
  row_state& state = states_[id];
  SKIM_EXPECTS(state.last <= step_);
  SKIM_EXPECTS(state.caught == 0 || state.caught == step_ ||
               params_.skipped == skipped_steps::frozen);
  float keep_first = 1, keep_second = 1;
  if (params_.skipped == skipped_steps::exact) {
    const std::size_t gap = step_ - state.last;
    const bool near = gap < first_powers_.size();
    keep_first = near ? first_powers_[gap] : 0.0f;
    keep_second = near ? second_powers_[gap]
                       : static_cast<float>(std::pow(params_.beta2, static_cast<double>(gap)));
  }
  state.last = state.caught = step_ + 1;
  if (is_adam()) {
    const auto b1 = static_cast<float>(params_.beta1), b2 = static_cast<float>(params_.beta2);
    const detail::adam_step step{b1 * keep_first, 1 - b1, b2 * keep_second,
                                 1 - b2,          rate_,  epsilon_};
    detail::adam_row(row.data(), first(id), second(id), gradient.data(), dim_, step);
    state.first = step.keep1 * state.first + step.take1 * bias_gradient;
    state.second = step.keep2 * state.second + step.take2 * bias_gradient * bias_gradient;
    bias -= rate_ * state.first / (std::sqrt(state.second) + epsilon_);
  } else {
    const float keep = static_cast<float>(params_.momentum) * keep_first;
    detail::momentum_row(row.data(), first(id), gradient.data(), dim_, keep, rate_);
    state.first = keep * state.first + bias_gradient;
    bias -= rate_ * state.first;
  }
}

inline void lazy_optimizer::end_step(matrix_view<float> rows, std::span<float> biases) noexcept {
  SKIM_EXPECTS(rows.rows() == states_.size());
  SKIM_EXPECTS(biases.empty() || biases.size() == states_.size());
  ++step_;
  if (params_.skipped == skipped_steps::frozen) return;
  const std::size_t size = drift_.size();
  for (std::size_t gap = 1; gap <= std::min<std::size_t>(step_ - 1, window_); ++gap)
    drift_[(step_ - gap) % size] += raw_rate_ * ratio_powers_[gap];
  drift_[step_ % size] = 0;
  if (step_ % window_ != 0) return;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].caught == 0 || step_ - states_[i].last <= window_) continue;
    const auto id = static_cast<id_t>(i);
    float none = 0;
    catch_up(id, rows.row(i), biases.empty() ? none : biases[i]);
    std::fill_n(first(id), dim_, 0.0f);
    states_[i].first = 0;
    states_[i].caught = 0;
  }
}

inline void lazy_optimizer::settle(matrix_view<float> rows, std::span<float> biases) noexcept {
  SKIM_EXPECTS(rows.rows() == states_.size());
  SKIM_EXPECTS(biases.empty() || biases.size() == states_.size());
  for (std::size_t i = 0; i < states_.size(); ++i) {
    float none = 0;
    catch_up(static_cast<id_t>(i), rows.row(i), biases.empty() ? none : biases[i]);
  }
}

inline std::size_t lazy_optimizer::bytes() const noexcept {
  return sizeof(float) * (moments_.size() + first_powers_.size() + second_powers_.size()) +
         sizeof(row_state) * states_.size() +
         sizeof(double) * (drift_.size() + ratio_powers_.size());
}

inline void lazy_optimizer::save(writer& out) const {
  out.begin_frame("lazy_optimizer");
  out.put(params_.rule);
  out.put(params_.skipped);
  for (const double x : {params_.beta1, params_.beta2, params_.epsilon, params_.momentum})
    out.put(x);
  out.put(static_cast<std::uint64_t>(dim_));
  out.put(step_);
  out.put(epsilon_);
  out.put(static_cast<std::uint64_t>(states_.size()));
  for (const row_state& s : states_) {
    out.put(s.last);
    out.put(s.caught);
    out.put(s.first);
    out.put(s.second);
  }
  out.put(std::span<const double>(drift_));
  out.put(std::span<const float>(moments_));
  out.end_frame();
}

inline lazy_optimizer lazy_optimizer::load(reader& in) {
  in.begin_frame("lazy_optimizer");
  params p;
  p.rule = in.get<update_rule>();
  p.skipped = in.get<skipped_steps>();
  for (double* x : {&p.beta1, &p.beta2, &p.epsilon, &p.momentum}) *x = in.get<double>();
  if (const char* wrong = problem(p)) in.fail("lazy_optimizer: ", wrong);
  const auto dim = in.get<std::uint64_t>();
  const auto step = in.get<std::uint32_t>();
  const auto epsilon = in.get<float>();
  const auto rows = in.get<std::uint64_t>();
  // Sizes are checked against what remains before memory is taken.
  const std::uint64_t most = in.remaining() / sizeof(float);
  if (dim == 0 || dim >= most || rows > most / detail::whole_lines(static_cast<std::size_t>(dim)))
    in.fail("lazy_optimizer: ", rows, " rows of ", dim, " are announced, ", in.remaining(),
            " bytes remain");
  if (!(epsilon >= 0 && std::isfinite(epsilon))) in.fail("lazy_optimizer: epsilon is no number");
  lazy_optimizer loaded(p, static_cast<std::size_t>(rows), static_cast<std::size_t>(dim));
  for (row_state& s : loaded.states_) {
    s.last = in.get<std::uint32_t>();
    s.caught = in.get<std::uint32_t>();
    s.first = in.get<float>();
    s.second = in.get<float>();
    const bool waits = s.caught != 0;
    if (s.last > step || s.caught > step || (waits && s.caught < s.last) ||
        (waits && s.last == 0) ||
        (waits && p.skipped == skipped_steps::exact &&
         step - s.last >= loaded.ratio_powers_.size()) ||
        !std::isfinite(s.first) || !(s.second >= 0 && std::isfinite(s.second)))
      in.fail("lazy_optimizer: a row of the steps ", s.last, " and ", s.caught, " with moments ",
              s.first, " and ", s.second, ", wanted steps of at most ", step,
              " and finite moments");
  }
  const auto drift = in.get_vector<double>();
  for (const double d : drift)
    if (!std::isfinite(d)) in.fail("lazy_optimizer: a drift is no number");
  if (drift.size() != loaded.drift_.size())
    in.fail("lazy_optimizer: ", drift.size(), " drifts, wanted ", loaded.drift_.size());
  in.get_into(std::span<float>(loaded.moments_));
  const std::size_t whole = loaded.row_floats(), half = loaded.stride_;
  for (std::size_t i = 0; i < loaded.moments_.size(); ++i) {
    const float x = loaded.moments_[i];
    if (!std::isfinite(x) || (x < 0 && i % whole >= half))
      in.fail("lazy_optimizer: a moment of ", x, ", wanted finite ones, squares of at least 0");
  }
  loaded.step_ = step;
  loaded.epsilon_ = epsilon;
  std::copy(drift.begin(), drift.end(), loaded.drift_.begin());
  in.end_frame();
  return loaded;
}

}  // namespace skim::inline v0
