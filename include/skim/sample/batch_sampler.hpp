// SPDX-License-Identifier: Apache-2.0
//
// What a training loop asks of a sampler: the next batch and its importance weights.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"

namespace skim::inline v0 {

/// A drawn batch; both spans belong to the sampler and last until its next call.
struct drawn_batch {
  /// Which examples to train on: positions in the data set, or in the block that was offered.
  std::span<const id_t> ids;
  /// Factor of each example's loss. With unbiased weights the mean over the batch of weight *
  /// gradient estimates the mean gradient over all examples, each counted once.
  std::span<const float> weights;
};

/// Draws batches from a fixed data set (a catalogue) whose examples keep their ids.
///
/// The loop is `b = draw(n)`, train on b, `observe(b.ids, scores)`: one score for each drawn
/// example, as the forward pass of that step gave it: the norm of softmax - onehot, the loss, or
/// |residual|. A sampler that needs no scores accepts and ignores them.
///
/// Models: uniform_sampler, class_stratified_sampler, score_table_sampler, nadaraya_watson_sampler,
/// infobatch_sampler, rank_sampler.
template <class S>
concept batch_sampler = requires(S& s, const S& constant, std::size_t n, std::span<const id_t> ids,
                                 std::span<const float> scores, writer& out, reader& in) {
  { s.draw(n) } -> std::same_as<drawn_batch>;
  s.observe(ids, scores);
  constant.save(out);
  { S::load(in) } -> std::same_as<S>;
};

/// A block of a stream, as offered to a stream sampler: examples pass by once.
struct stream_block {
  matrix_view<const float> features = {};  ///< (rows, d), or
  sparse_view sparse_features = {};        ///< (rows, d) in CSR form; the other stays empty
  std::span<const label_t> labels = {};    ///< (rows), or empty where there are no classes

  [[nodiscard]] std::size_t rows() const noexcept {
    return features.empty() ? sparse_features.rows() : features.rows();
  }
};

/// Selects batches from a stream of examples that pass by once.
///
/// The loop is: offer candidates(n) examples, `b = select(block, n)`, train on b, observe.
///
/// Models: uniform_stream_sampler, class_stratified_stream_sampler, nadaraya_watson_stream_sampler.
template <class S>
concept stream_sampler = requires(S& s, const S& constant, std::size_t n, const stream_block& block,
                                  std::span<const id_t> ids, std::span<const float> scores,
                                  writer& out, reader& in) {
  { constant.candidates(n) } -> std::same_as<std::size_t>;
  { s.select(block, n) } -> std::same_as<drawn_batch>;
  s.observe(ids, scores);
  constant.save(out);
  { S::load(in) } -> std::same_as<S>;
};

/// Draws batches from a catalogue by scores of a forward pass made before the choice.
///
/// The loop is `ids = propose(n)`, a forward pass over them (none if they are empty), `b = draw(n,
/// scores)` with one score for each proposed id, train on b, observe. A proposal stands until a batch
/// is drawn from it.
///
/// Models: gradient_norm_sampler, selective_backprop_sampler.
template <class S>
concept scoring_batch_sampler = requires(S& s, const S& constant, std::size_t n,
                                         std::span<const id_t> ids, std::span<const float> scores,
                                         writer& out, reader& in) {
  { s.propose(n) } -> std::same_as<std::span<const id_t>>;
  { s.draw(n, scores) } -> std::same_as<drawn_batch>;
  s.observe(ids, scores);
  constant.save(out);
  { S::load(in) } -> std::same_as<S>;
};

/// Selects batches from a stream by scores of a forward pass over all that is offered.
///
/// The loop is: offer candidates(n) examples, a forward pass over them if wants_scores(), `b =
/// select(block, n, scores)` with one score for each row, or none if none are wanted, train, observe.
///
/// Models: gradient_norm_stream_sampler, selective_backprop_stream_sampler, rank_stream_sampler.
template <class S>
concept scoring_stream_sampler = requires(S& s, const S& constant, std::size_t n,
                                          const stream_block& block, std::span<const id_t> ids,
                                          std::span<const float> scores, writer& out, reader& in) {
  { constant.wants_scores() } -> std::same_as<bool>;
  { constant.candidates(n) } -> std::same_as<std::size_t>;
  { s.select(block, n, scores) } -> std::same_as<drawn_batch>;
  s.observe(ids, scores);
  constant.save(out);
  { S::load(in) } -> std::same_as<S>;
};

namespace detail {

/// Throws invalid_params unless 1 <= examples < 2^32.
inline void check_examples(std::string_view who, std::size_t examples) {
  if (examples == 0 || examples > std::numeric_limits<id_t>::max())
    SKIM_THROW(invalid_params, concat(who, ": got ", examples, " examples, wanted 1 to 2^32 - 1"));
}

/// Throws invalid_input unless there are as many scores as wanted, finite and >= 0.
inline void check_scores(std::string_view who, std::span<const float> scores, std::size_t wanted) {
  if (scores.size() != wanted)
    SKIM_THROW(invalid_input, concat(who, ": got ", scores.size(), " scores, wanted ", wanted,
                                     ", one for each candidate"));
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (!std::isfinite(scores[i]) || scores[i] < 0)
      SKIM_THROW(invalid_input, concat(who, ": got the score ", scores[i], " at position ", i,
                                       ", wanted a finite number >= 0"));
}

/// The ids and weights of the last draw, and the checks every sampler makes on what it is handed.
class batch_buffer {
 public:
  std::vector<id_t> ids;
  std::vector<float> weights;

  void resize(std::size_t n) {
    ids.resize(n);
    weights.resize(n);
  }
  [[nodiscard]] drawn_batch view() const noexcept { return {ids, weights}; }

  /// Throws invalid_input unless `observed` are the ids of the last draw and scores are finite and
  /// >= 0.
  void check_observation(std::string_view who, std::span<const id_t> observed,
                         std::span<const float> scores) const {
    if (observed.size() != ids.size() || scores.size() != ids.size())
      SKIM_THROW(invalid_input, concat(who, ": got ", observed.size(), " ids and ", scores.size(),
                                       " scores, wanted one of each for the ", ids.size(),
                                       " examples last drawn"));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (observed[i] != ids[i])
        SKIM_THROW(invalid_input, concat(who, ": got id ", observed[i], " at position ", i,
                                         ", wanted ", ids[i], " as it was drawn"));
      if (!std::isfinite(scores[i]) || scores[i] < 0)
        SKIM_THROW(invalid_input, concat(who, ": got the score ", scores[i], " for example ",
                                         ids[i], ", wanted a finite number >= 0"));
    }
  }

  void save(writer& out) const {
    out.put(std::span(ids));
    out.put(std::span(weights));
  }
  void load(reader& in) {
    ids = in.get_vector<id_t>();
    weights = in.get_vector<float>();
    if (ids.size() != weights.size()) in.fail(ids.size(), " ids with ", weights.size(), " weights");
  }
  /// Throws format_error unless every id is below n.
  void require_below(std::size_t n, const reader& in) const {
    for (const id_t id : ids)
      if (id >= n) in.fail("drew id ", id, " of ", n);
  }
};

/// Throws invalid_input unless 1 <= batch <= available.
inline void check_batch_size(std::string_view who, std::size_t batch, std::size_t available) {
  if (batch == 0 || batch > available)
    SKIM_THROW(invalid_input, concat(who, ": got a batch of ", batch, ", wanted 1 to ", available));
}

/// What a scoring sampler waits for between propose() and draw(): scores of these ids.
class score_proposal {
 public:
  std::vector<id_t> ids;  ///< empty if the draw needs none

  /// Whether a proposal for such a batch stands already. Throws invalid_input if one of another size
  /// does.
  [[nodiscard]] bool stands(std::string_view who, std::size_t batch) const {
    if (batch_ != 0 && batch_ != batch)
      SKIM_THROW(invalid_input, concat(who, ": got a batch of ", batch, ", wanted ", batch_,
                                       ": that proposal was not drawn from yet"));
    return batch_ != 0;
  }
  void open(std::size_t batch) noexcept { batch_ = batch; }
  /// 0 if no proposal stands.
  [[nodiscard]] std::size_t batch() const noexcept { return batch_; }
  /// Throws invalid_input unless there is a proposal for such a batch and each of its ids has a good
  /// score.
  void check(std::string_view who, std::size_t batch, std::span<const float> scores) const {
    if (batch_ == 0 || batch != batch_)
      SKIM_THROW(invalid_input, concat(who, ": got a batch of ", batch, ", wanted ", batch_,
                                       " as proposed (0: propose first)"));
    check_scores(who, scores, ids.size());
  }
  void close() noexcept {
    batch_ = 0;
    ids.clear();
  }

  void save(writer& out) const {
    out.put(static_cast<std::uint64_t>(batch_));
    out.put(std::span(ids));
  }
  void load(reader& in, std::size_t examples) {
    batch_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    ids = in.get_vector<id_t>();
    if (batch_ == 0 && !ids.empty()) in.fail("proposes ids for no batch");
    for (const id_t id : ids)
      if (id >= examples) in.fail("proposes id ", id, " of ", examples);
  }

 private:
  std::size_t batch_ = 0;  // 0: no proposal stands
};

/// Throws invalid_input unless the block holds as many rows as wanted, and labels for all or none.
inline void check_block(std::string_view who, const stream_block& block, std::size_t wanted) {
  const std::size_t rows = block.rows();
  if (!block.features.empty() && block.sparse_features.rows() > 0)
    SKIM_THROW(invalid_input,
               concat(who, ": got a block with dense and sparse features, wanted one kind"));
  if (rows != wanted)
    SKIM_THROW(invalid_input,
               concat(who, ": got a block of ", rows,
                      " examples, wanted the number that candidates() asks for, ", wanted));
  if (!block.labels.empty() && block.labels.size() != rows)
    SKIM_THROW(invalid_input, concat(who, ": got ", block.labels.size(), " labels for ", rows,
                                     " examples, wanted one each or none"));
}

}  // namespace detail
}  // namespace skim::inline v0
