// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "skim/core/error.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/nn/sparse_linear.hpp"

namespace skim::inline v0 {

inline const char* sparse_linear::problem(const params& p) noexcept {
  constexpr std::size_t most = std::size_t{1} << 31;
  if (p.inputs == 0 || p.outputs == 0) return "wanted at least one input and one output";
  if (p.outputs > most) return "wanted at most 2^31 outputs";
  if (p.inputs > (std::size_t{1} << 40) / p.outputs) return "wanted at most 2^40 weights";
  return nullptr;
}

inline sparse_linear::sparse_linear(params p)
    : params_(p),
      stride_(detail::whole_lines(p.inputs)),
      weights_(p.outputs * stride_),
      biases_(p.outputs),
      optimizer_(p.optimizer, p.outputs, p.inputs),
      seen_(p.outputs) {}

inline sparse_linear::sparse_linear(params p, seed s)
    : sparse_linear([&] {
        if (const char* wrong = problem(p))
          SKIM_THROW(invalid_params, detail::concat("sparse_linear: got ", p.inputs, " inputs and ",
                                                    p.outputs, " outputs, ", wrong));
        return p;
      }()) {
  const random_engine root(s);
  const auto bound = static_cast<float>(1 / std::sqrt(static_cast<double>(p.inputs)));
  for (std::size_t o = 0; o < p.outputs; ++o) {
    random_engine g = root.child(o);
    for (float& w : weights().row(o)) w = bound * (2 * uniform_float(g) - 1);
  }
}

inline void sparse_linear::set_log_odds(std::span<const std::uint32_t> counts,
                                        std::size_t examples) {
  if (counts.size() != params_.outputs)
    SKIM_THROW(invalid_input,
               detail::concat("sparse_linear: got ", counts.size(),
                              " counts, wanted one for each of the ", params_.outputs, " outputs"));
  for (const std::uint32_t c : counts)
    if (c > examples)
      SKIM_THROW(invalid_input, detail::concat("sparse_linear: got a count of ", c, " among ",
                                               examples, " examples, wanted at most as many"));
  for (std::size_t o = 0; o < counts.size(); ++o) {
    const double yes = counts[o] + 0.5, no = static_cast<double>(examples - counts[o]) + 0.5;
    biases_[o] = static_cast<float>(std::log(yes / no));
  }
}

inline void sparse_linear::check_shapes(const char* who, matrix_view<const float> x,
                                        std::span<const id_t> active,
                                        matrix_view<const float> logits) const {
  if (x.cols() != params_.inputs)
    SKIM_THROW(invalid_input, detail::concat("sparse_linear::", who, ": got ", x.cols(),
                                             " inputs, wanted ", params_.inputs));
  if (logits.rows() != x.rows() || logits.cols() != active.size())
    SKIM_THROW(invalid_input,
               detail::concat("sparse_linear::", who, ": got ", logits.rows(), " x ", logits.cols(),
                              " logits, wanted ", x.rows(), " x ", active.size()));
}

// Marks the ids; throws where one is out of range or comes twice.
inline void sparse_linear::check_active(const char* who, std::span<const id_t> active) {
  if (round_ == std::numeric_limits<std::uint32_t>::max()) {
    std::fill(seen_.begin(), seen_.end(), 0u);
    round_ = 0;
  }
  ++round_;
  active_ = 0;
  for (const id_t id : active) {
    if (id >= params_.outputs)
      SKIM_THROW(invalid_input, detail::concat("sparse_linear::", who, ": got the id ", id,
                                               ", wanted one below ", params_.outputs));
    if (seen_[id] == round_)
      SKIM_THROW(invalid_input, detail::concat("sparse_linear::", who, ": got the id ", id,
                                               " twice, wanted distinct ones"));
    seen_[id] = round_;
  }
  active_ = active.size();
}

// Blocks of active rows, shared out in as many tasks as there are workers: a task has scratch of its
// own, and what it writes is its blocks' alone.
template <executor Executor, class Body>
void sparse_linear::over_blocks(std::size_t active, Executor& executor, Body body) {
  const std::size_t blocks = (active + gathered_block - 1) / gathered_block;
  const std::size_t tasks = std::min<std::size_t>(std::max<std::size_t>(executor.workers(), 1),
                                                  std::max<std::size_t>(blocks, 1));
  if (workers_.size() < tasks) workers_.resize(tasks);
  executor.parallel_for(tasks, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t t = first; t < last; ++t)
      for (std::size_t b = blocks * t / tasks; b < blocks * (t + 1) / tasks; ++b) {
        const std::size_t at = b * gathered_block;
        body(at, std::min(gathered_block, active - at), workers_[t]);
      }
  });
}

template <executor Executor>
void sparse_linear::forward(matrix_view<const float> x, std::span<const id_t> active,
                            matrix_view<float> logits, Executor& executor) {
  check_shapes("forward", x, active, logits);
  check_active("forward", active);
  const matrix_view<float> w = weights();
  over_blocks(active.size(), executor, [&](std::size_t at, std::size_t count, worker& own) {
    const auto ids = active.subspan(at, count);
    constexpr std::size_t ahead = 4;
    for (std::size_t j = 0; j < count; ++j) {
      if (j + ahead < count) optimizer_.prefetch(ids[j + ahead]);
      optimizer_.catch_up(ids[j], w.row(ids[j]), biases_[ids[j]]);
    }
    multiply_gathered(x, w, biases_, ids, {logits.data() + at, x.rows(), count, logits.stride()},
                      own.products);
  });
}

template <executor Executor>
void sparse_linear::backward(matrix_view<const float> x, std::span<const id_t> active,
                             matrix_view<const float> gradient, double rate,
                             matrix_view<float> x_gradient, Executor& executor) {
  check_shapes("backward", x, active, gradient);
  const bool known =
      active_ == active.size() && std::all_of(active.begin(), active.end(), [&](id_t id) {
        return id < params_.outputs && seen_[id] == round_;
      });
  if (!known)
    SKIM_THROW(
        invalid_input,
        "sparse_linear::backward: got other ids than the last forward pass, wanted the same");
  if (!x_gradient.empty() && (x_gradient.rows() != x.rows() || x_gradient.cols() != x.cols()))
    SKIM_THROW(invalid_input,
               detail::concat("sparse_linear::backward: got room for ", x_gradient.rows(), " x ",
                              x_gradient.cols(), " gradients, wanted ", x.rows(), " x ", x.cols()));
  for (std::size_t b = 0; b < gradient.rows(); ++b)
    if (!all_finite(gradient.row(b)))
      SKIM_THROW(
          invalid_input,
          detail::concat("sparse_linear::backward: got a gradient that is not finite in row ", b,
                         ", wanted finite ones"));
  optimizer_.begin_step(rate);
  active_ = 0;  // the rows move: another forward pass comes before another step

  const matrix_view<float> w = weights();
  if (!x_gradient.empty()) {
    const std::size_t tasks =
        std::min<std::size_t>(std::max<std::size_t>(executor.workers(), 1), x.rows());
    if (workers_.size() < tasks) workers_.resize(tasks);
    executor.parallel_for(tasks, 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t t = first; t < last; ++t) {
        const std::size_t at = x.rows() * t / tasks, end = x.rows() * (t + 1) / tasks;
        multiply_back(gradient.rows(at, end - at), w, active, x_gradient.rows(at, end - at),
                      workers_[t].products);
      }
    });
  }
  pack_columns(x, packed_);
  over_blocks(active.size(), executor, [&](std::size_t at, std::size_t count, worker& own) {
    own.rows.resize(gathered_block * stride_);
    own.sums.resize(gathered_block);
    const matrix_view<float> rows(own.rows.data(), count, params_.inputs, stride_);
    multiply_turned({gradient.data() + at, x.rows(), count, gradient.stride()}, packed_, rows,
                    std::span<float>(own.sums).first(count), own.products);
    for (std::size_t j = 0; j < count; ++j) {
      const id_t id = active[at + j];
      optimizer_.update(id, w.row(id), rows.row(j), biases_[id], own.sums[j]);
    }
  });
  optimizer_.end_step(w, biases_);
}

inline std::size_t sparse_linear::bytes() const noexcept {
  return sizeof(float) * (weights_.size() + biases_.size() + seen_.size()) + optimizer_.bytes();
}

inline void sparse_linear::save(writer& out) const {
  out.begin_frame("sparse_linear");
  out.put(static_cast<std::uint64_t>(params_.inputs));
  out.put(static_cast<std::uint64_t>(params_.outputs));
  out.put(std::span<const float>(weights_));
  out.put(std::span<const float>(biases_));
  optimizer_.save(out);
  out.end_frame();
}

inline sparse_linear sparse_linear::load(reader& in) {
  in.begin_frame("sparse_linear");
  params p;
  p.inputs = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.outputs = static_cast<std::size_t>(in.get<std::uint64_t>());
  if (const char* wrong = problem(p)) in.fail("sparse_linear: ", wrong);
  if (p.outputs > in.remaining() / sizeof(float) / detail::whole_lines(p.inputs))
    in.fail("sparse_linear: ", p.outputs, " x ", p.inputs, " weights are announced, ",
            in.remaining(), " bytes remain");
  const auto weights = in.get_vector<float>();
  const auto biases = in.get_vector<float>();
  lazy_optimizer optimizer = lazy_optimizer::load(in);
  p.optimizer = optimizer.parameters();
  if (optimizer.rows() != p.outputs || optimizer.dim() != p.inputs)
    in.fail("sparse_linear: an optimiser of ", optimizer.rows(), " x ", optimizer.dim(),
            ", wanted ", p.outputs, " x ", p.inputs);
  sparse_linear loaded(p);
  if (weights.size() != loaded.weights_.size() || biases.size() != p.outputs)
    in.fail("sparse_linear: ", weights.size(), " weights and ", biases.size(), " biases, wanted ",
            loaded.weights_.size(), " and ", p.outputs);
  if (!all_finite(weights) || !all_finite(biases)) in.fail("sparse_linear: a weight is no number");
  std::copy(weights.begin(), weights.end(), loaded.weights_.begin());
  std::copy(biases.begin(), biases.end(), loaded.biases_.begin());
  loaded.optimizer_ = std::move(optimizer);
  in.end_frame();
  return loaded;
}

}  // namespace skim::inline v0
