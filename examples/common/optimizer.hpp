// SPDX-License-Identifier: Apache-2.0
//
// SGD with momentum and Adam, applied to a piece of the parameters at a time so that the trainer
// can update weights while their gradient is still in cache.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include <Eigen/Core>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/error.hpp"

namespace skim_examples {

/// Weight decay acts on weights only.
enum class parameter_kind : std::uint8_t { weight, bias };

/// Something that changes parameters by their gradients.
///
/// A step is begin_step once, then update on pieces that together cover all parameters once, in any
/// order. Pieces are `first` elements into the parameters, multiples of parameter_block long.
template <class O, class Scalar>
concept optimizer_for = requires(O& o, std::size_t count, std::size_t first,
                                 std::span<Scalar> values, std::span<const Scalar> gradient,
                                 parameter_kind kind, double learning_rate) {
  o.begin_step(count, learning_rate);
  o.update(first, values, gradient, kind);
};

/// Pieces of parameters are whole blocks of so many elements, one cache line of floats.
inline constexpr std::size_t parameter_block = 16;

namespace detail {

template <class Scalar>
using block_array = Eigen::Array<Scalar, static_cast<int>(parameter_block), 1>;
template <class Scalar>
using block_map = Eigen::Map<block_array<Scalar>, Eigen::Aligned64>;
template <class Scalar>
using const_block_map = Eigen::Map<const block_array<Scalar>, Eigen::Aligned64>;

inline void check_rate(const char* who, double rate) {
  if (!(std::isfinite(rate) && rate >= 0))
    SKIM_THROW(skim::invalid_input, skim::detail::concat(who, ": got a learning rate of ", rate,
                                                         ", wanted a finite number of at least 0"));
}

// State for `count` parameters: made by the first step, checked by the others.
template <class Scalar>
void size_state(const char* who, skim::aligned_vector<Scalar>& state, std::size_t count) {
  if (state.empty()) state.assign(count, Scalar(0));
  if (state.size() != count)
    SKIM_THROW(skim::invalid_input,
               skim::detail::concat(who, ": got ", count, " parameters, wanted the ", state.size(),
                                    " it began with"));
}

}  // namespace detail

struct sgd_params {
  double momentum = 0.9;    ///< [0, 1); 0 keeps no state
  double weight_decay = 0;  ///< decoupled: weights shrink by learning_rate * weight_decay a step
};

/// Stochastic gradient descent with momentum: u = momentum u + g, w -= rate u.
///
/// Shape:   the first step fixes the number of parameters.
/// Memory:  one value a parameter.
/// Cost:    one pass over parameters, state and gradient; bound by memory.
/// Threads: none.
/// Ref:     Polyak 1964 (heavy ball); Loshchilov and Hutter 2019, ICLR (decoupled decay).
template <class Scalar = float>
class basic_sgd {
 public:
  using params = sgd_params;

  /// Throws skim::invalid_params unless momentum is in [0, 1) and weight_decay at least 0.
  explicit basic_sgd(params p = {}) : params_(p) {
    if (!(p.momentum >= 0 && p.momentum < 1 && p.weight_decay >= 0 &&
          std::isfinite(p.weight_decay)))
      SKIM_THROW(skim::invalid_params,
                 skim::detail::concat("sgd: got momentum ", p.momentum, " and weight decay ",
                                      p.weight_decay,
                                      ", wanted [0, 1) and a finite number of at least 0"));
  }

  void begin_step(std::size_t count, double learning_rate) {
    detail::check_rate("sgd", learning_rate);
    detail::size_state("sgd", velocity_, count);
    rate_ = static_cast<Scalar>(learning_rate);
    keep_ = static_cast<Scalar>(1 - learning_rate * params_.weight_decay);
  }

  void update(std::size_t first, std::span<Scalar> values, std::span<const Scalar> gradient,
              parameter_kind kind) noexcept {
    SKIM_EXPECTS(values.size() == gradient.size() && values.size() % parameter_block == 0);
    SKIM_EXPECTS(first + values.size() <= velocity_.size());
    const auto momentum = static_cast<Scalar>(params_.momentum);
    const Scalar keep = kind == parameter_kind::weight ? keep_ : Scalar(1);
    for (std::size_t i = 0; i < values.size(); i += parameter_block) {
      detail::block_map<Scalar> w(values.data() + i), u(velocity_.data() + first + i);
      const detail::block_array<Scalar> next =
          momentum * u + detail::const_block_map<Scalar>(gradient.data() + i);
      u = next;
      w = keep * w - rate_ * next;
    }
  }

  void save(skim::writer& out) const {
    out.begin_frame("example_sgd");
    out.put(params_.momentum);
    out.put(params_.weight_decay);
    out.put(std::span<const Scalar>(velocity_));
    out.end_frame();
  }
  [[nodiscard]] static basic_sgd load(skim::reader& in) {
    in.begin_frame("example_sgd");
    params p;
    p.momentum = in.get<double>();
    p.weight_decay = in.get<double>();
    basic_sgd loaded(p);
    const auto velocity = in.get_vector<Scalar>();
    loaded.velocity_.assign(velocity.begin(), velocity.end());
    in.end_frame();
    return loaded;
  }

 private:
  params params_;
  Scalar rate_ = 0, keep_ = 1;
  skim::aligned_vector<Scalar> velocity_;
};

struct adam_params {
  double beta1 = 0.9;       ///< [0, 1)
  double beta2 = 0.999;     ///< [0, 1)
  double epsilon = 1e-8;    ///< > 0
  double weight_decay = 0;  ///< decoupled: weights shrink by learning_rate * weight_decay a step
};

/// Adam, with decoupled weight decay on request.
///
/// m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
/// w -= rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon).
///
/// Shape:   the first step fixes the number of parameters.
/// Memory:  two values a parameter.
/// Cost:    one pass over parameters, state and gradient: 28 bytes moved a parameter, 16 of them
///          from beyond the gradient's cache; a square root and a division each.
/// Threads: none.
/// Ref:     Kingma and Ba 2015, ICLR; Loshchilov and Hutter 2019, ICLR (decoupled decay).
template <class Scalar = float>
class basic_adam {
 public:
  using params = adam_params;

  /// Throws skim::invalid_params unless the betas are in [0, 1), epsilon is positive and
  /// weight_decay at least 0.
  explicit basic_adam(params p = {}) : params_(p) {
    if (!(p.beta1 >= 0 && p.beta1 < 1 && p.beta2 >= 0 && p.beta2 < 1))
      SKIM_THROW(skim::invalid_params, skim::detail::concat("adam: got betas of ", p.beta1, " and ",
                                                            p.beta2, ", wanted both in [0, 1)"));
    if (!(p.epsilon > 0 && std::isfinite(p.epsilon) && p.weight_decay >= 0 &&
          std::isfinite(p.weight_decay)))
      SKIM_THROW(
          skim::invalid_params,
          skim::detail::concat("adam: got epsilon ", p.epsilon, " and weight decay ",
                               p.weight_decay, ", wanted a positive number and one of at least 0"));
  }

  void begin_step(std::size_t count, double learning_rate) {
    detail::check_rate("adam", learning_rate);
    detail::size_state("adam", mean_, count);
    detail::size_state("adam", square_, count);
    ++steps_;
    // Both bias corrections are folded into the rate and epsilon: the loop sees neither.
    const auto t = static_cast<double>(steps_);
    const double root = std::sqrt(1 - std::pow(params_.beta2, t));
    rate_ = static_cast<Scalar>(learning_rate * root / (1 - std::pow(params_.beta1, t)));
    epsilon_ = static_cast<Scalar>(params_.epsilon * root);
    keep_ = static_cast<Scalar>(1 - learning_rate * params_.weight_decay);
  }

  void update(std::size_t first, std::span<Scalar> values, std::span<const Scalar> gradient,
              parameter_kind kind) noexcept {
    SKIM_EXPECTS(values.size() == gradient.size() && values.size() % parameter_block == 0);
    SKIM_EXPECTS(first + values.size() <= mean_.size());
    const auto b1 = static_cast<Scalar>(params_.beta1), b2 = static_cast<Scalar>(params_.beta2);
    const auto a1 = static_cast<Scalar>(1 - params_.beta1);
    const auto a2 = static_cast<Scalar>(1 - params_.beta2);
    const Scalar keep = kind == parameter_kind::weight ? keep_ : Scalar(1);
    const Scalar rate = rate_, epsilon = epsilon_;
    for (std::size_t i = 0; i < values.size(); i += parameter_block) {
      detail::block_map<Scalar> w(values.data() + i), m(mean_.data() + first + i),
          v(square_.data() + first + i);
      const detail::const_block_map<Scalar> g(gradient.data() + i);
      const detail::block_array<Scalar> mean = b1 * m + a1 * g;
      const detail::block_array<Scalar> square = b2 * v + a2 * g * g;
      m = mean;
      v = square;
      w = keep * w - rate * mean / (square.sqrt() + epsilon);
    }
  }

  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }

  void save(skim::writer& out) const {
    out.begin_frame("example_adam");
    for (const double x : {params_.beta1, params_.beta2, params_.epsilon, params_.weight_decay})
      out.put(x);
    out.put(steps_);
    out.put(std::span<const Scalar>(mean_));
    out.put(std::span<const Scalar>(square_));
    out.end_frame();
  }
  [[nodiscard]] static basic_adam load(skim::reader& in) {
    in.begin_frame("example_adam");
    params p;
    for (double* x : {&p.beta1, &p.beta2, &p.epsilon, &p.weight_decay}) *x = in.get<double>();
    basic_adam loaded(p);
    loaded.steps_ = in.get<std::uint64_t>();
    const auto mean = in.get_vector<Scalar>(), square = in.get_vector<Scalar>();
    if (mean.size() != square.size())
      in.fail("example_adam has ", mean.size(), " first and ", square.size(),
              " second moments, wanted as many");
    loaded.mean_.assign(mean.begin(), mean.end());
    loaded.square_.assign(square.begin(), square.end());
    in.end_frame();
    return loaded;
  }

 private:
  params params_;
  std::uint64_t steps_ = 0;
  Scalar rate_ = 0, epsilon_ = 0, keep_ = 1;
  skim::aligned_vector<Scalar> mean_, square_;
};

using sgd = basic_sgd<float>;
using adam = basic_adam<float>;

static_assert(optimizer_for<sgd, float> && optimizer_for<adam, float>);

}  // namespace skim_examples
