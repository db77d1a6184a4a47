// SPDX-License-Identifier: Apache-2.0
//
// Uniform batches: the baseline, and what every gate falls back to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/batch_sampler.hpp"
#include "skim/sample/detail/epoch_order.hpp"

namespace skim::inline v0 {

/// Uniform batches from a catalogue without replacement: each epoch visits every example once.
///
/// Shape:   n examples; a batch may be larger than n and may straddle epochs.
/// Memory:  4 n bytes.
/// Cost:    amortised one random word an example.
/// Error:   unbiased with all weights 1.
/// Threads: none.
/// Seeds:   equal seeds give equal batches on every platform.
/// Ref:     the usual random reshuffling.
class uniform_sampler {
 public:
  /// Throws invalid_params unless 1 <= examples < 2^32.
  uniform_sampler(std::size_t examples, seed s) {
    detail::check_examples("uniform_sampler", examples);
    order_ = detail::epoch_order(examples, random_engine(s));
  }

  [[nodiscard]] drawn_batch draw(std::size_t batch) {
    detail::check_batch_size("uniform_sampler::draw", batch, std::numeric_limits<id_t>::max());
    drawn_.resize(batch);
    order_.take(drawn_.ids);
    std::fill(drawn_.weights.begin(), drawn_.weights.end(), 1.0f);
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) const {
    drawn_.check_observation("uniform_sampler::observe", ids, scores);
  }

  [[nodiscard]] std::size_t examples() const noexcept { return order_.size(); }

  void save(writer& out) const {
    out.begin_frame("uniform_sampler");
    order_.save(out);
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static uniform_sampler load(reader& in) {
    in.begin_frame("uniform_sampler");
    uniform_sampler s;
    s.order_ = detail::epoch_order::load(in);
    s.order_.require_below(s.order_.size(), in);
    if (s.order_.size() == 0) in.fail("holds a sampler of no examples");
    s.drawn_.load(in);
    in.end_frame();
    return s;
  }

 private:
  uniform_sampler() = default;

  detail::epoch_order order_;
  detail::batch_buffer drawn_;
};

/// Takes a stream as it comes: every example that is offered is trained on, with weight 1.
///
/// Shape:   candidates(n) == n.
/// Memory:  8 bytes an example of a batch.
/// Cost:    O(batch).
/// Error:   unbiased for the stream.
/// Threads: none.
/// Ref:     the usual single pass.
class uniform_stream_sampler {
 public:
  [[nodiscard]] std::size_t candidates(std::size_t batch) const noexcept { return batch; }

  [[nodiscard]] drawn_batch select(const stream_block& block, std::size_t batch) {
    detail::check_batch_size("uniform_stream_sampler::select", batch,
                             std::numeric_limits<id_t>::max());
    detail::check_block("uniform_stream_sampler::select", block, candidates(batch));
    drawn_.resize(batch);
    for (std::size_t i = 0; i < batch; ++i) {
      drawn_.ids[i] = static_cast<id_t>(i);
      drawn_.weights[i] = 1;
    }
    return drawn_.view();
  }

  void observe(std::span<const id_t> ids, std::span<const float> scores) const {
    drawn_.check_observation("uniform_stream_sampler::observe", ids, scores);
  }

  void save(writer& out) const {
    out.begin_frame("uniform_stream_sampler");
    drawn_.save(out);
    out.end_frame();
  }
  [[nodiscard]] static uniform_stream_sampler load(reader& in) {
    in.begin_frame("uniform_stream_sampler");
    uniform_stream_sampler s;
    s.drawn_.load(in);
    in.end_frame();
    return s;
  }

 private:
  detail::batch_buffer drawn_;
};

static_assert(batch_sampler<uniform_sampler> && stream_sampler<uniform_stream_sampler>);

}  // namespace skim::inline v0
