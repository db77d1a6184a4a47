// SPDX-License-Identifier: Apache-2.0
//
// What a run trains on: a data set whose rows come back, or a stream whose examples pass by once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.hpp"
#include "data/prepare.hpp"
#include "data/stream.hpp"
#include "skim/core/aligned.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/batch_sampler.hpp"

namespace skim_examples {

/// Training, validation and test data, and what the network has to say about them.
///
/// Exactly one of `endless` and `train` is used; `stream` then says whether rows of `train` come back.
struct problem {
  std::string title;  ///< what a person would call it
  dataset train, test;
  dataset validation;  ///< no rows unless some are held out
  std::optional<rare_event_stream> endless;
  bool stream = false;
  target_scale scale;  ///< of regression targets
  /// Regression targets as the network sees them.
  std::vector<float> train_scaled, validation_scaled, test_scaled;

  [[nodiscard]] bool is_regression() const noexcept {
    return !endless && train.kind == label_kind::targets;
  }
  [[nodiscard]] std::size_t classes() const noexcept {
    return is_regression() ? 0 : endless ? endless->classes() : train.classes;
  }
  [[nodiscard]] std::size_t inputs() const noexcept {
    return endless ? endless->dim() : train.cols;
  }
  [[nodiscard]] std::size_t outputs() const noexcept { return is_regression() ? 1 : classes(); }
};

/// The examples of one block of a stream, owned.
class block_buffer {
 public:
  skim::aligned_vector<float> dense;
  std::vector<std::size_t> offsets;
  std::vector<skim::id_t> indices;
  std::vector<float> values;
  std::vector<skim::label_t> labels;
  std::vector<float> targets;
  std::size_t rows = 0, cols = 0;
  bool is_sparse = false;

  [[nodiscard]] skim::matrix_view<const float> dense_view() const {
    return {std::span<const float>(dense).first(rows * cols), rows, cols};
  }
  [[nodiscard]] skim::sparse_view sparse_view() const { return {offsets, indices, values, cols}; }
  [[nodiscard]] skim::stream_block view() const {
    skim::stream_block block;
    if (is_sparse)
      block.sparse_features = sparse_view();
    else
      block.features = dense_view();
    block.labels = labels;
    return block;
  }
};

/// Hands out a problem's stream block by block; all samplers of one seed see the same stream.
class stream_source {
 public:
  stream_source(const problem& p, skim::seed s) : problem_(&p) {
    if (p.endless) {
      position_ = static_cast<std::size_t>(skim::random_engine(s).at(0) >> 24);
    } else {
      pass_.emplace(p.train, s);
    }
  }

  /// The next `count` examples; false if the stream has fewer left.
  [[nodiscard]] bool next(std::size_t count, block_buffer& out) {
    const problem& p = *problem_;
    out.rows = count;
    out.cols = p.inputs();
    out.labels.resize(p.is_regression() ? 0 : count);
    if (p.endless) {
      out.dense.resize(count * out.cols);
      p.endless->fill(position_, {std::span(out.dense), count, out.cols}, out.labels);
      position_ += count;
      return true;
    }
    if (pass_->remaining() < count) return false;
    const auto ids = pass_->next(count);
    out.is_sparse = p.train.is_sparse();
    if (out.is_sparse)
      copy_sparse(ids, out);
    else
      copy_dense(ids, out);
    if (!p.is_regression())
      for (std::size_t i = 0; i < count; ++i) out.labels[i] = p.train.labels[ids[i]];
    out.targets.resize(p.is_regression() ? count : 0);
    for (std::size_t i = 0; i < out.targets.size(); ++i) out.targets[i] = p.train_scaled[ids[i]];
    return true;
  }

  /// Part of the stream that has passed, in [0, 1]; 0 for an endless one.
  [[nodiscard]] double passed() const noexcept {
    if (!pass_) return 0;
    const auto done = static_cast<double>(pass_->position());
    return done / (done + static_cast<double>(pass_->remaining()));
  }

 private:
  void copy_dense(std::span<const skim::id_t> ids, block_buffer& out) const {
    out.dense.resize(ids.size() * out.cols);
    const auto view = problem_->train.dense_view();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto from = view.row(ids[i]);
      std::copy(from.begin(), from.end(),
                out.dense.begin() + static_cast<std::ptrdiff_t>(i * out.cols));
    }
  }
  void copy_sparse(std::span<const skim::id_t> ids, block_buffer& out) const {
    const auto view = problem_->train.sparse_view();
    out.offsets.assign(1, 0);
    out.indices.clear();
    out.values.clear();
    for (const skim::id_t id : ids) {
      const auto row = view.row(id);
      out.indices.insert(out.indices.end(), row.indices.begin(), row.indices.end());
      out.values.insert(out.values.end(), row.values.begin(), row.values.end());
      out.offsets.push_back(out.indices.size());
    }
  }

  const problem* problem_;
  std::optional<pass_stream> pass_;
  std::size_t position_ = 0;
};

}  // namespace skim_examples
