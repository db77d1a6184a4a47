// SPDX-License-Identifier: Apache-2.0
//
// The samplers that train_importance compares, by name.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/dataset.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/class_stratified.hpp"
#include "skim/sample/gate.hpp"
#include "skim/sample/gradient_norm.hpp"
#include "skim/sample/hybrid.hpp"
#include "skim/sample/infobatch.hpp"
#include "skim/sample/nadaraya_watson.hpp"
#include "skim/sample/rank.hpp"
#include "skim/sample/score_table.hpp"
#include "skim/sample/selective_backprop.hpp"
#include "skim/sample/uniform.hpp"
#include "train_importance/settings.hpp"

namespace skim_examples {

/// What a network makes of the listed examples.
using embedding = std::function<skim::embedded_examples(std::span<const skim::id_t>)>;

/// A sampler of either kind behind one interface, so that one loop trains with all of them.
class any_sampler {
 public:
  virtual ~any_sampler() = default;
  /// Examples of the stream to offer for the next batch; 0 for a catalogue.
  [[nodiscard]] virtual std::size_t candidates(std::size_t batch) const = 0;
  /// Examples, or rows of the block, whose scores the next draw wants to know; mostly none.
  virtual std::span<const skim::id_t> propose(const skim::stream_block& block,
                                              std::size_t batch) = 0;
  virtual skim::drawn_batch draw(const skim::stream_block& block, std::size_t batch,
                                 std::span<const float> scores) = 0;
  /// Scores and derivatives of the losses by the outputs, a row for each id.
  virtual void observe(std::span<const skim::id_t> ids, std::span<const float> scores,
                       skim::matrix_view<const float> derivatives) = 0;
  /// Told the part of the run that is done.
  virtual void progress(double done) = 0;
  /// Whether the sampler wants to hash what the network makes of the examples now.
  [[nodiscard]] virtual bool rehash_due() const = 0;
  virtual void rehash(const embedding& embed, std::size_t chunk) = 0;
  [[nodiscard]] virtual const skim::sampling_gate* gate() const = 0;
};

template <class S>
concept any_stream_sampler = skim::stream_sampler<S> || skim::scoring_stream_sampler<S>;

template <class S>
class sampler_model final : public any_sampler {
 public:
  explicit sampler_model(S sampler) : sampler_(std::move(sampler)) {}

  [[nodiscard]] std::size_t candidates([[maybe_unused]] std::size_t batch) const override {
    if constexpr (any_stream_sampler<S>)
      return sampler_.candidates(batch);
    else
      return 0;
  }
  std::span<const skim::id_t> propose([[maybe_unused]] const skim::stream_block& block,
                                      [[maybe_unused]] std::size_t batch) override {
    if constexpr (skim::scoring_batch_sampler<S>) {
      return sampler_.propose(batch);
    } else if constexpr (skim::scoring_stream_sampler<S>) {
      if (!sampler_.wants_scores()) return {};
      while (rows_.size() < block.rows()) rows_.push_back(static_cast<skim::id_t>(rows_.size()));
      return std::span(rows_).first(block.rows());
    } else {
      return {};
    }
  }
  skim::drawn_batch draw([[maybe_unused]] const skim::stream_block& block, std::size_t batch,
                         [[maybe_unused]] std::span<const float> scores) override {
    if constexpr (skim::scoring_batch_sampler<S>)
      return sampler_.draw(batch, scores);
    else if constexpr (skim::scoring_stream_sampler<S>)
      return sampler_.select(block, batch, scores);
    else if constexpr (skim::stream_sampler<S>)
      return sampler_.select(block, batch);
    else
      return sampler_.draw(batch);
  }
  void observe(std::span<const skim::id_t> ids, std::span<const float> scores,
               skim::matrix_view<const float> derivatives) override {
    if constexpr (requires { sampler_.observe(ids, scores, derivatives); })
      sampler_.observe(ids, scores, derivatives);
    else
      sampler_.observe(ids, scores);
  }
  void progress(double done) override {
    if constexpr (requires { sampler_.progress(done); }) sampler_.progress(done);
  }
  [[nodiscard]] bool rehash_due() const override {
    if constexpr (requires { sampler_.rehash_due(); })
      return sampler_.rehash_due();
    else
      return false;
  }
  void rehash(const embedding& embed, std::size_t chunk) override {
    if constexpr (requires { sampler_.rehash(embed, chunk); }) sampler_.rehash(embed, chunk);
  }
  [[nodiscard]] const skim::sampling_gate* gate() const override {
    if constexpr (requires { sampler_.gate(); })
      return &sampler_.gate();
    else
      return nullptr;
  }

 private:
  S sampler_;
  std::vector<skim::id_t> rows_;  // 0, 1, 2, ...: all of a block
};

template <class S>
[[nodiscard]] std::unique_ptr<any_sampler> erase_type(S sampler) {
  return std::make_unique<sampler_model<S>>(std::move(sampler));
}

[[nodiscard]] inline skim::nadaraya_watson_sampler_params sketch_params(
    const importance_settings& settings) {
  skim::nadaraya_watson_sampler_params p;
  p.pool = settings.pool;
  p.beta = settings.beta;
  p.rehash = settings.rehash.value_or(p.rehash);
  p.gate.mode = settings.gate;
  return p;
}

/// A sampler over a data set. Pre: the name is one of catalogue_samplers, and fits the labels.
[[nodiscard]] inline std::unique_ptr<any_sampler> make_catalogue_sampler(
    std::string_view name, const dataset& data, const importance_settings& settings, skim::seed s) {
  if (name == "class-stratified")
    return erase_type(skim::class_stratified_sampler(data.labels, {}, s));
  if (name == "class-balanced")
    return erase_type(skim::class_stratified_sampler(data.labels, skim::class_balanced, s));
  if (name == "gradient-norm")
    return erase_type(
        skim::gradient_norm_sampler(data.rows, {.beta = settings.beta.value_or(1)}, s));
  if (name == "selective-backprop")
    return erase_type(skim::selective_backprop_sampler(data.rows, {}, s));
  if (name == "infobatch") return erase_type(skim::infobatch_sampler(data.rows, {}, s));
  if (name == "rank") return erase_type(skim::rank_sampler(data.rows, {}, s));
  if (name == "loss-table")
    return erase_type(skim::score_table_sampler(data.rows, {.beta = settings.beta.value_or(1)}, s));
  if (name == "nadaraya-watson") {
    const auto p = sketch_params(settings);
    return data.is_sparse()
               ? erase_type(skim::nadaraya_watson_sampler(data.sparse_view(), data.labels, p, s))
               : erase_type(skim::nadaraya_watson_sampler(data.dense_view(), data.labels, p, s));
  }
  if (name == "hybrid") {
    const skim::hybrid_params p{.sketch = sketch_params(settings)};
    return data.is_sparse()
               ? erase_type(skim::hybrid_sampler(data.sparse_view(), data.labels, p, s))
               : erase_type(skim::hybrid_sampler(data.dense_view(), data.labels, p, s));
  }
  return erase_type(skim::uniform_sampler(data.rows, s));
}

/// A sampler over a stream; classes is 0 for regression. Pre: the name is one of stream_samplers, and
/// fits the labels.
[[nodiscard]] inline std::unique_ptr<any_sampler> make_stream_sampler(
    std::string_view name, std::size_t classes, const importance_settings& settings, skim::seed s) {
  if (name == "class-stratified")
    return erase_type(skim::class_stratified_stream_sampler(classes, {.pool = settings.pool}, s));
  if (name == "class-balanced") {
    auto p = skim::class_balanced;
    p.pool = settings.pool;
    return erase_type(skim::class_stratified_stream_sampler(classes, p, s));
  }
  if (name == "gradient-norm")
    return erase_type(skim::gradient_norm_stream_sampler({.beta = settings.beta.value_or(1)}, s));
  if (name == "selective-backprop")
    return erase_type(skim::selective_backprop_stream_sampler({}, s));
  if (name == "rank") return erase_type(skim::rank_stream_sampler({}, s));
  if (name == "nadaraya-watson") {
    auto p = sketch_params(settings);
    p.run =
        4;  // a stream's rows are hashed once: fewer of their cache lines, for all but the narrowest
    return erase_type(skim::nadaraya_watson_stream_sampler(classes, p, s));
  }
  return erase_type(skim::uniform_stream_sampler());
}

}  // namespace skim_examples
