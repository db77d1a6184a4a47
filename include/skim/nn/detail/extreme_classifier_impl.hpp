// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/nn/extreme_classifier.hpp"
#include "skim/nn/label_index.hpp"

namespace skim::inline v0 {

namespace detail {

// Rows of logits a whole number of lines apart, and an odd one: the lines of a column then fall into
// different sets of the cache.
[[nodiscard]] inline std::size_t odd_lines(std::size_t floats) noexcept {
  return (whole_lines(floats) / line_floats | 1) * line_floats;
}

}  // namespace detail

inline extreme_classifier::params extreme_classifier::checked(params p, const sparse_view& x,
                                                              const label_sets& labels) {
  if (p.inputs == 0) p.inputs = x.cols();
  if (x.rows() != labels.size() || x.cols() > p.inputs)
    SKIM_THROW(invalid_input, detail::concat("extreme_classifier: got ", x.rows(), " rows of ",
                                             x.cols(), " columns and ", labels.size(),
                                             " sets of labels, wanted as many "
                                             "sets as rows and at most ",
                                             p.inputs, " columns"));
  if (p.batch == 0 || p.outputs == 0 || p.hidden == 0 ||
      (p.negatives && !(*p.negatives >= 0 && std::isfinite(*p.negatives))) ||
      (p.learning_rate && !(*p.learning_rate > 0 && std::isfinite(*p.learning_rate))))
    SKIM_THROW(invalid_params,
               detail::concat("extreme_classifier: got ", p.outputs, " outputs, ", p.hidden,
                              " hidden units, a batch of ", p.batch, ", ", p.negatives.value_or(0),
                              " negatives and a learning rate of ", p.learning_rate.value_or(1),
                              ", wanted sizes of at least 1, negatives "
                              "of at least 0 and a positive rate"));
  return p;
}

inline extreme_classifier_tuning extreme_classifier::tune(const params& p,
                                                          std::span<const std::uint32_t> counts,
                                                          std::size_t examples) {
  const bool dense = p.selection == output_selection::dense;
  extreme_classifier_tuning t;
  t.loss = p.loss.value_or(dense ? sampled_loss::softmax : sampled_loss::sigmoid);
  const auto n = static_cast<double>(p.outputs), batch = static_cast<double>(p.batch);
  double of_batch = 0;  // labels a batch brings along
  for (const std::uint32_t c : counts)
    of_batch += 1 - std::pow(1 - static_cast<double>(c) /
                                     static_cast<double>(std::max<std::size_t>(examples, 1)),
                             batch);
  // The batch's own labels do most of the work; an eighth as many again is enough: validation shows no
  // difference from 100 draws to 500 beside 980 labels. Softmax, whose sum they estimate, wants more.
  const double wanted =
      t.loss == sampled_loss::sigmoid ? std::max(64.0, of_batch / 8) : std::max(256.0, of_batch);
  t.negatives = dense ? n : std::min(p.negatives.value_or(wanted), n);
  t.learning_rate = p.learning_rate.value_or(t.loss == sampled_loss::sigmoid ? 1.5e-2 : 1e-2);
  t.expected_active = dense ? n : of_batch + (n - of_batch) * t.negatives / n;
  return t;
}

inline extreme_classifier::extreme_classifier(params p, extreme_classifier_tuning t,
                                              std::vector<std::uint32_t> counts,
                                              std::size_t examples, sparse_embedding embedding,
                                              sparse_linear output, random_engine engine)
    : params_(p),
      tuning_(t),
      counts_(std::move(counts)),
      examples_(examples),
      embedding_(std::move(embedding)),
      output_(std::move(output)),
      sampler_(uniform_selector(params_.outputs, tuning_.negatives), counts_, examples,
               params_.batch),
      engine_(engine),
      set_(params_.outputs),
      hidden_(params_.batch * params_.hidden),
      back_(params_.batch * params_.hidden),
      losses_(params_.batch) {}

inline extreme_classifier::extreme_classifier(params p, const sparse_view& x,
                                              const label_sets& labels, seed s)
    : extreme_classifier([&] {
        const params q = checked(p, x, labels);
        labels.validate(q.outputs);
        auto counts = labels.counts(q.outputs);
        const auto t = tune(q, counts, x.rows());
        const random_engine root(s);
        sparse_embedding embedding({.inputs = q.inputs,
                                    .outputs = q.hidden,
                                    .deviation = q.deviation,
                                    .optimizer = q.optimizer},
                                   seed{root.at(0)});
        sparse_linear output({.inputs = q.hidden, .outputs = q.outputs, .optimizer = q.optimizer},
                             seed{root.at(1)});
        if (t.loss == sampled_loss::sigmoid) output.set_log_odds(counts, x.rows());
        return extreme_classifier(q, t, std::move(counts), x.rows(), std::move(embedding),
                                  std::move(output), root.child(2));
      }()) {}

template <executor Executor>
double extreme_classifier::step(const sparse_view& x, const label_sets& labels,
                                std::span<const id_t> rows, double rate, Executor& executor) {
  if (rows.empty() || rows.size() > params_.batch)
    SKIM_THROW(invalid_input, detail::concat("extreme_classifier::step: got ", rows.size(),
                                             " rows, wanted 1 to ", params_.batch));
  if (!(std::isfinite(rate) && rate >= 0))
    SKIM_THROW(invalid_input, detail::concat("extreme_classifier::step: got a learning rate of ",
                                             rate, ", wanted a finite number of at least 0"));
  if (params_.selection == output_selection::sampled) {
    sampler_.draw(labels, rows, engine_, set_);
  } else if (set_.size() != params_.outputs) {
    set_.clear();
    for (std::size_t o = 0; o < params_.outputs; ++o) set_.insert(static_cast<id_t>(o));
  }
  const std::size_t active = set_.size();
  shifts_.resize(active);
  sampler_.shifts(set_, shifts_);
  const std::size_t stride = detail::odd_lines(active);
  if (logits_.size() < rows.size() * stride) logits_.resize(rows.size() * stride);

  const matrix_view<float> h(hidden_.data(), rows.size(), params_.hidden);
  const matrix_view<float> dh(back_.data(), rows.size(), params_.hidden);
  const matrix_view<float> z(logits_.data(), rows.size(), active, stride);
  const std::span<float> losses = std::span(losses_).first(rows.size());
  embedding_.forward(x, rows, h, executor);
  activate(params_.between, h);
  output_.forward(h, set_.ids(), z, executor);
  const double loss =
      take_sampled_loss(tuning_.loss, z, set_, shifts_, labels, rows, losses, executor);
  output_.backward(h, set_.ids(), z, rate, dh, executor);
  activate_back(params_.between, h, dh);
  embedding_.backward(x, rows, dh, rate, executor);
  return loss;
}

inline void extreme_classifier::settle() noexcept {
  embedding_.settle();
  output_.settle();
}

inline void extreme_classifier::hidden(sparse_row x, std::span<float> out) const noexcept {
  embedding_.predict(x, out);
  activate(params_.between, {out.data(), 1, out.size()});
}

template <executor Executor>
void extreme_classifier::search(const sparse_view& x, std::span<const id_t> rows,
                                matrix_view<label_score> best, Executor& executor) const {
  if (best.rows() != rows.size())
    SKIM_THROW(invalid_input, detail::concat("extreme_classifier::search: got room for ",
                                             best.rows(), " rows, wanted ", rows.size()));
  if (x.cols() > params_.inputs)
    SKIM_THROW(invalid_input, detail::concat("extreme_classifier::search: got ", x.cols(),
                                             " columns, wanted at most ", params_.inputs));
  for (const id_t r : rows)
    if (r >= x.rows())
      SKIM_THROW(invalid_input, detail::concat("extreme_classifier::search: got the row ", r,
                                               ", wanted one below ", x.rows()));
  constexpr std::size_t some = 256;
  executor.parallel_for(rows.size(), some, [&](std::size_t first, std::size_t last) {
    const std::size_t n = last - first;
    aligned_vector<float> h(n * params_.hidden);
    for (std::size_t b = 0; b < n; ++b)
      hidden(x.row(rows[first + b]), std::span(h).subspan(b * params_.hidden, params_.hidden));
    serial_executor serial;
    detail::best_outputs(output_, {h.data(), n, params_.hidden}, best.rows(first, n), serial);
  });
}

inline std::size_t extreme_classifier::bytes() const noexcept {
  return embedding_.bytes() + output_.bytes() +
         sizeof(float) * (hidden_.size() + back_.size() + logits_.size() + losses_.size() +
                          shifts_.size() + counts_.size() + 3 * params_.outputs);
}

inline void extreme_classifier::save(writer& out) const {
  out.begin_frame("extreme_classifier");
  out.put(static_cast<std::uint64_t>(params_.batch));
  out.put(params_.between);
  out.put(params_.selection);
  out.put(tuning_.loss);
  out.put(tuning_.negatives);
  out.put(tuning_.learning_rate);
  out.put(tuning_.expected_active);
  out.put(static_cast<std::uint64_t>(examples_));
  out.put(std::span<const std::uint32_t>(counts_));
  embedding_.save(out);
  output_.save(out);
  engine_.save(out);
  out.end_frame();
}

inline extreme_classifier extreme_classifier::load(reader& in) {
  in.begin_frame("extreme_classifier");
  params p;
  p.batch = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.between = in.get<activation>();
  p.selection = in.get<output_selection>();
  extreme_classifier_tuning t;
  t.loss = in.get<sampled_loss>();
  t.negatives = in.get<double>();
  t.learning_rate = in.get<double>();
  t.expected_active = in.get<double>();
  const auto examples = in.get<std::uint64_t>();
  auto counts = in.get_vector<std::uint32_t>();
  for (const std::uint32_t c : counts)
    if (c > examples)
      in.fail("extreme_classifier: a count of ", c, " among ", examples, " examples");
  if (p.between > activation::tanh || p.selection > output_selection::dense ||
      t.loss > sampled_loss::softmax)
    in.fail("extreme_classifier: an activation, selection or loss that does not exist");
  constexpr std::uint64_t most_batch = 1 << 20;
  if (p.batch == 0 || p.batch > most_batch || counts.empty() ||
      !(t.negatives >= 0 && t.negatives <= static_cast<double>(counts.size())) ||
      !(t.learning_rate > 0 && std::isfinite(t.learning_rate)) || !std::isfinite(t.expected_active))
    in.fail("extreme_classifier: a batch of ", p.batch, ", ", t.negatives,
            " negatives and a learning rate of ", t.learning_rate, ", wanted them in range");
  sparse_embedding embedding = sparse_embedding::load(in);
  sparse_linear output = sparse_linear::load(in);
  const random_engine engine = random_engine::load(in);
  if (output.inputs() != embedding.outputs() || output.outputs() != counts.size())
    in.fail("extreme_classifier: layers of ", embedding.outputs(), " and ", output.inputs(), " x ",
            output.outputs(), " for ", counts.size(), " labels, wanted them to fit");
  p.inputs = embedding.inputs();
  p.hidden = output.inputs();
  p.outputs = output.outputs();
  p.optimizer = output.parameters().optimizer;
  p.loss = t.loss;
  p.negatives = t.negatives;
  p.learning_rate = t.learning_rate;
  if (p.batch > (std::size_t{1} << 40) / p.hidden)
    in.fail("extreme_classifier: a batch of ", p.batch, " is too large");
  extreme_classifier loaded(p, t, std::move(counts), static_cast<std::size_t>(examples),
                            std::move(embedding), std::move(output), engine);
  in.end_frame();
  return loaded;
}

}  // namespace skim::inline v0
