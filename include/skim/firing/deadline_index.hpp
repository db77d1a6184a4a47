// SPDX-License-Identifier: Apache-2.0
//
// Firing neurons by deadlines: a byte for each pair says how far the neuron may go before it can
// fire, and nothing is computed for the pair until then.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/firing/detail/deadlines.hpp"
#include "skim/firing/detail/hits.hpp"
#include "skim/firing/detector.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/bytes.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/striped_dot.hpp"

namespace skim::inline v0 {

namespace detail {

/// Room behind a list that append_bits() appends to.
inline constexpr std::size_t bits_slack = 4;

/// Appends first + i for each bit i of a word to out[found...]; returns the new length. Most words
/// have few bits, and how many cannot be predicted: four are written in any case.
[[nodiscard]] SKIM_ALWAYS_INLINE std::size_t append_bits(std::uint64_t bits, std::size_t first,
                                                         id_t* out, std::size_t found) noexcept {
  const std::size_t end = found + static_cast<std::size_t>(std::popcount(bits));
  const auto write = [&](std::size_t j) SKIM_INLINE_LAMBDA {
    out[found + j] = static_cast<id_t>(first + static_cast<std::size_t>(std::countr_zero(bits)));
    bits &= bits - 1;
  };
  do {
    for (std::size_t j = 0; j < bits_slack; ++j) write(j);
    found += bits_slack;
  } while (found < end);
  return end;
}

/// What examine() found among pairs that were due.
struct sorted_pairs {
  std::size_t hits;     ///< pairs that fire, now in front
  std::size_t changes;  ///< pairs that need another deadline
};
/// A pair that needs another deadline: the other side of it, and threshold minus value.
struct changed_pair {
  id_t id;
  float gap;
};

/// Moves the pairs that fire to the front of ids and values, in order, and lists those that need
/// another deadline: all but the ones that fire and have had a deadline of 0. Apart, and without a
/// branch on the data: most pairs fire, but which do not cannot be predicted.
template <class Threshold>
[[nodiscard]] SKIM_NEVER_INLINE sorted_pairs sort_pairs(
    std::span<id_t> ids, float* SKIM_RESTRICT values, const std::uint8_t* SKIM_RESTRICT deadlines,
    Threshold threshold, changed_pair* SKIM_RESTRICT changes) noexcept {
  id_t* const id = ids.data();
  std::size_t hits = 0, changed = 0;
  for (std::size_t j = 0; j < ids.size(); ++j) {
    const id_t i = id[j];
    const float value = values[j], limit = threshold(i);
    const bool fires = value > limit;
    changes[changed] = {i, limit - value};
    changed += static_cast<std::size_t>(!fires | (deadlines[i] != 0));
    id[hits] = i;
    values[hits] = value;
    hits += static_cast<std::size_t>(fires);
  }
  return {hits, changed};
}

}  // namespace detail

/// Sizes of a deadline index.
struct deadline_index_params {
  double tick = 0;  ///< way of a neuron that counts as one; 0: a 128th of the mean way to firing
};

/// Deadlines neuron by neuron, for batches that hold all points.
///
/// The points of a neuron lie side by side, with the least deadline of each 64 and of the whole row
/// above them: where firing is rare most neurons are passed over by looking at one byte. A pair that
/// is due has its product computed, is reported if it fires and gets a new deadline if not. Rows
/// with many pairs due are computed as a product of whole matrices, and where most of a tile of 64
/// neurons is due the tile sleeps, at the cost of fused_scan.
///
/// Shape:   (neurons, points); neurons ascend, and the points of a neuron.
/// Memory:  a byte a pair (points rounded up to 64) and a 64th; the points once more, packed.
/// Cost:    first call: one product of whole matrices. Then a byte a pair at most, a product for each
///          pair that is due. A neuron that moved costs O(1), and O(points) every 128 ticks.
/// Error:   exact: pairs and values are those of striped_dot(), since deadlines allow for its rounding
///          and for that of the way.
/// Threads: none: a detector for each thread.
/// Ref:     ours, in place of the trees of arXiv:2211.14227, which compute every product that a
///          moved neuron is part of.
class neuron_deadline_index {
 public:
  using params = deadline_index_params;

  /// Throws invalid_params or invalid_input on neurons that do not fit the points or are not finite,
  /// and on a tick below 0. The points must outlive the index.
  neuron_deadline_index(const firing_points& x, neuron_view w, params p = {})
      : x_(detail::check_new_neurons("neuron_deadline_index", x, w)),
        neurons_(w.weights.rows()),
        blocks_((x.size() + byte_block - 1) / byte_block),
        stride_(blocks_ * byte_block),
        clocks_(x, neurons_, p.tick),
        panels_(detail::pack_points(x)),
        deadlines_(neurons_ * stride_, far),
        block_least_(neurons_ * blocks_ + byte_block, far),
        least_((neurons_ + detail::neuron_tile - 1) / detail::neuron_tile * detail::neuron_tile,
               far),
        tiles_(least_.size() / detail::neuron_tile, detail::sleep_cycle(16)),
        costs_(x.dim(), 640),
        row_limit_(static_cast<std::size_t>(static_cast<double>(x.size()) / costs_.due)) {
    due_.resize(detail::neuron_tile * (row_limit_ + byte_block + striped_rows) +
                detail::bits_slack);
    values_.resize(row_limit_ + striped_rows);
    changes_.resize(row_limit_ + 1);
  }
  neuron_deadline_index(const firing_points&& x, neuron_view w, params p = {}) = delete;

  /// Throws invalid_input, before the sink is called, if the shapes changed.
  template <class Sink>
  void for_each_neuron(neuron_view w, Sink&& sink) {
    detail::check_neurons("neuron_deadline_index", *x_, w, neurons_);
    if (!clocks_.has_tick()) clocks_.choose_tick(w);
    statistics_.pairs += neurons_ * x_->size();
    for (std::size_t t = 0; t < tiles_.size(); ++t) {
      const std::size_t first = t * detail::neuron_tile;
      const std::size_t count = std::min(detail::neuron_tile, neurons_ - first);
      if (tiles_[t].asleep()) {
        scan(w, first, count);
        tiles_[t].pass(hits_.total() > count * row_limit_);
        report_all(first, count, sink);
      } else if (tiles_[t].stale()) {
        renew_all(w, tiles_[t], first, count);
        report_all(first, count, sink);
      } else {
        look(w, tiles_[t], first, count, sink);
      }
    }
  }

  /// Throws invalid_input on a neuron that is not there and on a way that is no finite number.
  void moved(neuron_view w, id_t r, movement by) {
    detail::check_movement("neuron_deadline_index", neurons_, r, by);
    if (tiles_[r / detail::neuron_tile].stale()) return;
    const std::uint8_t back = clocks_.advance(w, r, by);
    if (back == 0) return;
    subtract_saturated(row(r), back, x_->size());
    subtract_saturated(block_least_.data() + r * blocks_, back, blocks_);
    subtract_saturated(&least_[r], back, 1);
  }

  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return deadlines_.size() + block_least_.size() + least_.size() + clocks_.bytes() +
           hits_.bytes() + panels_.panels() * panel_width * panels_.dim() * sizeof(float);
  }
  /// The way of one tick; 0 before it was chosen.
  [[nodiscard]] double tick() const noexcept { return clocks_.tick_length(); }

 private:
  static constexpr std::uint8_t far = 255;

  std::uint8_t* row(std::size_t r) noexcept { return deadlines_.data() + r * stride_; }

  void scan(neuron_view w, std::size_t first, std::size_t count) {
    hits_.reset(count);
    detail::scan_rows(
        detail::neurons_of(w, first, count), panels_,
        [&](std::size_t q, std::size_t i, float value) {
          hits_.push(q, static_cast<id_t>(i), value);
        },
        detail::no_values{});
    statistics_.dense += count * x_->size();
  }

  // The products of the given neurons, their deadlines made anew; row q of part is neuron ids[q].
  void renew(neuron_view w, neuron_view part, std::span<const id_t> ids) {
    hits_.reset(ids.size());
    for (const id_t r : ids) clocks_.restart(w, r);
    detail::scan_rows(
        part, panels_,
        [&](std::size_t q, std::size_t i, float value) {
          hits_.push(q, static_cast<id_t>(i), value);
        },
        [&](std::size_t q, std::size_t panel, const detail::panel_values& values) {
          const std::size_t i = panel * panel_width;
          clocks_.deadlines(ids[q], part.thresholds[q], values, clocks_.per_gap() + i,
                            row(ids[q]) + i);
        });
    for (const id_t r : ids) {
      std::fill(row(r) + x_->size(), row(r) + stride_, far);
      for (std::size_t b = 0; b < blocks_; ++b)
        block_least_[r * blocks_ + b] = least_byte(row(r) + b * byte_block, byte_block);
      least_[r] = least_byte(block_least_.data() + r * blocks_, blocks_);
    }
    statistics_.dense += ids.size() * x_->size();
  }

  void renew_all(neuron_view w, detail::sleep_cycle& tile, std::size_t first, std::size_t count) {
    std::array<id_t, detail::neuron_tile> ids;
    for (std::size_t q = 0; q < count; ++q) ids[q] = static_cast<id_t>(first + q);
    renew(w, detail::neurons_of(w, first, count), std::span(ids).first(count));
    if (hits_.total() > count * row_limit_)
      tile.sleep();
    else
      tile.renewed();
  }

  template <class Sink>
  void report(std::size_t neuron, std::span<const id_t> ids, std::span<const float> values,
              Sink& sink) {
    if (ids.empty()) return;
    statistics_.fired += ids.size();
    sink(neuron, ids, values);
  }
  template <class Sink>
  void report_all(std::size_t first, std::size_t count, Sink& sink) {
    for (std::size_t q = 0; q < count; ++q) report(first + q, hits_.ids(q), hits_.values(q), sink);
  }

  // Writes the points of neuron r that are due to `out`; stops, with more than the limit, once
  // there are too many.
  std::size_t collect_due(std::size_t r, id_t* out) noexcept {
    const std::uint8_t tick = clocks_.tick(r);
    const std::uint8_t* const deadlines = row(r);
    const std::uint8_t* const least = block_least_.data() + r * blocks_;
    std::size_t found = 0;
    for (std::size_t b0 = 0; b0 < blocks_ && found <= row_limit_; b0 += byte_block) {
      std::uint64_t blocks = at_most(least + b0, tick);
      if (blocks_ - b0 < byte_block) blocks &= (std::uint64_t{1} << (blocks_ - b0)) - 1;
      for (; blocks != 0 && found <= row_limit_; blocks &= blocks - 1) {
        const std::size_t first =
            (b0 + static_cast<std::size_t>(std::countr_zero(blocks))) * byte_block;
        found = detail::append_bits(at_most(deadlines + first, tick), first, out, found);
      }
    }
    return found;
  }

  template <class Sink>
  void look(neuron_view w, detail::sleep_cycle& tile, std::size_t first, std::size_t count,
            Sink& sink) {
    std::uint64_t rows = at_most(least_.data() + first, clocks_.ticks() + first);
    std::array<std::size_t, detail::neuron_tile> begin, found;
    std::array<id_t, detail::neuron_tile> crowded;
    std::size_t used = 0, due = 0, crowds = 0;
    for (std::uint64_t left = rows; left != 0; left &= left - 1) {
      const auto q = static_cast<std::size_t>(std::countr_zero(left));
      begin[q] = used;
      found[q] = collect_due(first + q, due_.data() + used);
      if (found[q] > row_limit_) {
        crowded[crowds++] = static_cast<id_t>(first + q);
        continue;
      }
      // Products are computed in fours: the last one fills up.
      for (std::size_t j = 0; found[q] > 0 && j < striped_rows; ++j)
        due_[used + found[q] + j] = due_[used + found[q] - 1];
      used += found[q] + striped_rows;
      due += found[q];
    }
    if (2 * crowds > count) {
      tile.sleep();
      scan(w, first, count);
      report_all(first, count, sink);
      return;
    }
    const auto points = static_cast<double>(x_->size());
    const double cost = costs_.glance * points * std::popcount(rows) +
                        costs_.due * static_cast<double>(due) +
                        costs_.renewal * points * static_cast<double>(crowds);
    tile.book(cost / (points * static_cast<double>(count)) - 1, 0.5);
    if (crowds > 0) renew_crowded(w, std::span(crowded).first(crowds));
    std::size_t crowd = 0;
    for (; rows != 0; rows &= rows - 1) {
      const auto q = static_cast<std::size_t>(std::countr_zero(rows));
      if (found[q] > row_limit_) {
        report(first + q, hits_.ids(crowd), hits_.values(crowd), sink);
        ++crowd;
      } else if (found[q] > 0) {
        examine(w, first + q, std::span(due_).subspan(begin[q], found[q]), sink);
      }
    }
  }

  void renew_crowded(neuron_view w, std::span<const id_t> ids) {
    gathered_.resize(ids.size() * x_->dim());
    gathered_thresholds_.resize(ids.size());
    for (std::size_t q = 0; q < ids.size(); ++q) {
      const auto weights = w.weights.row(ids[q]);
      std::copy(weights.begin(), weights.end(),
                gathered_.begin() + static_cast<std::ptrdiff_t>(q * x_->dim()));
      gathered_thresholds_[q] = w.thresholds[ids[q]];
    }
    renew(w, {{gathered_.data(), ids.size(), x_->dim()}, gathered_thresholds_}, ids);
  }

  // Products of neuron r with points that are due (readable to the next multiple of four). Those
  // that do not fire get new deadlines, the others are moved to the front and reported.
  template <class Sink>
  void examine(neuron_view w, std::size_t r, std::span<id_t> due, Sink& sink) {
    const float threshold = w.thresholds[r];
    const float* const weights = w.weights.row(r).data();
    id_t* const ids = due.data();
    float* const values = values_.data();
    for (std::size_t j = 0; j < due.size(); j += striped_rows)
      striped_dots(weights,
                   {x_->row(ids[j]), x_->row(ids[j + 1]), x_->row(ids[j + 2]), x_->row(ids[j + 3])},
                   x_->dim(), values + j);
    std::uint8_t* const deadlines = row(r);
    const detail::sorted_pairs sorted = detail::sort_pairs(
        due, values, deadlines, [threshold](id_t) { return threshold; }, changes_.data());
    renew_deadlines(r, std::span<const detail::changed_pair>(changes_).first(sorted.changes));
    statistics_.examined += due.size();
    report(r, due.first(sorted.hits), std::span(values_).first(sorted.hits), sink);
  }

  // New deadlines of pairs of neuron r, and the levels above them.
  SKIM_NEVER_INLINE void renew_deadlines(std::size_t r,
                                         std::span<const detail::changed_pair> changes) noexcept {
    if (changes.empty()) return;
    std::uint8_t* const deadlines = row(r);
    std::uint8_t* const block_least = block_least_.data() + r * blocks_;
    std::size_t block = changes[0].id / byte_block;
    const auto close = [&] {
      block_least[block] = least_byte(deadlines + block * byte_block, byte_block);
    };
    for (const detail::changed_pair& c : changes) {
      if (c.id / byte_block != block) {
        close();
        block = c.id / byte_block;
      }
      deadlines[c.id] = clocks_.deadline(r, c.gap, clocks_.per_gap()[c.id]);
    }
    close();
    least_[r] = least_byte(block_least, blocks_);
  }

  const firing_points* x_;
  std::size_t neurons_, blocks_, stride_;
  detail::neuron_clocks clocks_;
  panel_matrix panels_;
  aligned_vector<std::uint8_t> deadlines_, block_least_, least_;
  std::vector<detail::sleep_cycle> tiles_;
  detail::look_costs costs_;
  std::size_t row_limit_;
  std::vector<id_t> due_;
  std::vector<float> values_, gathered_, gathered_thresholds_;
  std::vector<detail::changed_pair> changes_;
  detail::hit_lists hits_;
  firing_statistics statistics_;
};

static_assert(neuron_order_detector<neuron_deadline_index>);

/// Deadlines point by point, for batches that are drawn anew each step.
///
/// The neurons of a point lie side by side, beside one clock for each neuron. A point's row is made
/// when the point is first drawn. Points with many neurons due are computed as a product of the batch
/// with all neurons; where most are, the index sleeps at the cost of fused_scan.
///
/// Shape:   (points, neurons); points in the order of the batch, the neurons of each ascend.
/// Memory:  a byte a pair (neurons rounded up to 64).
/// Cost:    a point's first draw: as fused_scan. Then a byte a neuron, a product for each pair that is
///          due. A neuron that moved costs O(1), and O(points) every 128 ticks.
/// Error:   exact, as neuron_deadline_index.
/// Threads: none: a detector for each thread.
/// Ref:     as neuron_deadline_index.
class point_deadline_index {
 public:
  using params = deadline_index_params;

  /// Throws as neuron_deadline_index. The points must outlive the index.
  point_deadline_index(const firing_points& x, neuron_view w, params p = {})
      : x_(detail::check_new_neurons("point_deadline_index", x, w)),
        neurons_(w.weights.rows()),
        stride_((neurons_ + byte_block - 1) / byte_block * byte_block),
        clocks_(x, neurons_, p.tick),
        deadlines_(x.size() * stride_, far),
        known_(x.size(), false),
        turning_(neurons_, false),
        costs_(x.dim(), 1000),
        limit_(static_cast<std::size_t>(static_cast<double>(neurons_) / costs_.due)) {
    values_.resize(limit_ + striped_rows);
    changes_.resize(limit_ + 1);
  }
  point_deadline_index(const firing_points&& x, neuron_view w, params p = {}) = delete;

  /// Throws invalid_input, before the sink is called, if the shapes changed or a point is not there.
  template <class Sink>
  void for_each_point(neuron_view w, std::span<const id_t> batch, Sink&& sink) {
    detail::check_neurons("point_deadline_index", *x_, w, neurons_);
    detail::check_batch("point_deadline_index", *x_, batch);
    if (!clocks_.has_tick()) clocks_.choose_tick(w);
    if (batch.empty()) return;
    statistics_.pairs += batch.size() * neurons_;
    // A sleep that ends makes every row anew: it is counted in passes over the points.
    if (cycle_.asleep()) {
      scan_.run(*x_, batch, w, hits_, detail::no_values{});
      sleep_points(batch.size(), hits_.total() > limit_ * batch.size());
      statistics_.dense += batch.size() * neurons_;
      for (std::size_t b = 0; b < batch.size(); ++b) report(b, hits_.ids(b), hits_.values(b), sink);
      return;
    }
    if (cycle_.stale()) {
      for (std::size_t r = 0; r < neurons_; ++r) clocks_.restart(w, r);
      std::fill(known_.begin(), known_.end(), false);
      turning_ids_.clear();
      std::fill(turning_.begin(), turning_.end(), false);
      cycle_.renewed();
    }
    turn_back(w);
    look(w, batch, sink);
  }

  /// Throws invalid_input on a neuron that is not there and on a way that is no finite number.
  void moved(neuron_view, id_t r, movement by) {
    detail::check_movement("point_deadline_index", neurons_, r, by);
    if (cycle_.stale() || !clocks_.advance(r, by) || turning_[r]) return;
    turning_[r] = true;
    turning_ids_.push_back(r);
  }

  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return deadlines_.size() + known_.size() + turning_.size() + clocks_.bytes() + hits_.bytes() +
           scan_.bytes();
  }
  /// The way of one tick; 0 before it was chosen.
  [[nodiscard]] double tick() const noexcept { return clocks_.tick_length(); }

 private:
  static constexpr std::uint8_t far = 255;
  static constexpr std::size_t whole = static_cast<std::size_t>(-1);

  std::uint8_t* row(std::size_t i) noexcept { return deadlines_.data() + i * stride_; }

  void sleep_points(std::size_t batch, bool crowded) noexcept {
    slept_ += batch;
    for (; slept_ >= x_->size() && cycle_.asleep(); slept_ -= x_->size()) cycle_.pass(crowded);
  }

  // Clocks of many neurons at once row by row, of a few column by column.
  void turn_back(neuron_view w) {
    if (turning_ids_.empty()) return;
    if (turning_ids_.size() > neurons_ / 256) {
      back_.assign(neurons_, 0);
      for (const id_t r : turning_ids_) back_[r] = clocks_.turn_back(r);
      for (std::size_t i = 0; i < x_->size(); ++i)
        if (known_[i]) subtract_saturated(row(i), back_.data(), neurons_);
    } else {
      for (const id_t r : turning_ids_) {
        const std::uint8_t back = clocks_.turn_back(r);
        for (std::size_t i = 0; i < x_->size(); ++i) subtract_saturated(row(i) + r, back, 1);
      }
    }
    for (const id_t r : turning_ids_) {
      clocks_.set_margin(w, r);
      turning_[r] = false;
    }
    turning_ids_.clear();
  }

  template <class Sink>
  void report(std::size_t b, std::span<const id_t> ids, std::span<const float> values, Sink& sink) {
    statistics_.fired += ids.size();
    sink(b, ids, values);
  }

  // Writes the neurons due for point i to `out`; stops, with more than the limit, once there are too
  // many.
  std::size_t collect_due(std::size_t i, id_t* out) noexcept {
    const std::uint8_t* const deadlines = row(i);
    const std::uint8_t* const ticks = clocks_.ticks();
    std::size_t found = 0;
    for (std::size_t r = 0; r < neurons_ && found <= limit_; r += byte_block)
      found = detail::append_bits(at_most(deadlines + r, ticks + r), r, out, found);
    return found;
  }

  template <class Sink>
  void look(neuron_view w, std::span<const id_t> batch, Sink& sink) {
    crowded_.clear();
    found_.assign(batch.size(), 0);
    std::size_t used = 0, crowds = 0, examined = 0;
    for (std::size_t b = 0; b < batch.size(); ++b) {
      if (known_[batch[b]]) {
        const std::size_t room = used + limit_ + byte_block + striped_rows + detail::bits_slack;
        if (due_.size() < room) due_.resize(room);
        found_[b] = collect_due(batch[b], due_.data() + used);
        if (found_[b] <= limit_) {
          // Products are computed in fours: the last one fills up.
          for (std::size_t j = 0; found_[b] > 0 && j < striped_rows; ++j)
            due_[used + found_[b] + j] = due_[used + found_[b] - 1];
          used += found_[b] + striped_rows;
          examined += found_[b];
          continue;
        }
        ++crowds;
      }
      found_[b] = whole;
      crowded_.push_back(batch[b]);
    }
    // What is computed whole comes first, in one product.
    if (!crowded_.empty()) renew(w);
    std::size_t next = 0;
    used = 0;
    for (std::size_t b = 0; b < batch.size(); ++b) {
      if (found_[b] == whole) {
        report(b, hits_.ids(next), hits_.values(next), sink);
        ++next;
      } else {
        examine(w, batch[b], b, std::span(due_).subspan(used, found_[b]), sink);
        used += found_[b] + striped_rows;
      }
    }
    const std::size_t fresh = crowded_.size() - crowds;
    if (!crowded_.empty() && hits_.total() > limit_ * crowded_.size()) {
      cycle_.sleep();
    } else if (fresh < batch.size()) {  // what a point's first draw costs is no loss
      const auto all = static_cast<double>(neurons_);
      const auto looks = static_cast<double>(batch.size() - fresh);
      const double cost = costs_.glance * all * looks + costs_.due * static_cast<double>(examined) +
                          costs_.renewal * all * static_cast<double>(crowds);
      cycle_.book(cost / all - looks, 0.05 * static_cast<double>(x_->size()));
    }
    if (cycle_.asleep()) slept_ = 0;
  }

  // The products of the points in crowded_, their deadlines made anew.
  void renew(neuron_view w) {
    std::array<std::uint8_t, panel_width> bytes;
    detail::panel_values padded{};
    std::array<float, panel_width> per_gap{};
    scan_.run(*x_, crowded_, w, hits_,
              [&](std::size_t r, std::size_t first, std::span<const float> values) {
                for (std::size_t j = 0; j < values.size(); ++j) {
                  padded[j] = values[j];
                  per_gap[j] = clocks_.per_gap()[crowded_[first + j]];
                }
                clocks_.deadlines(r, w.thresholds[r], padded, per_gap.data(), bytes.data());
                for (std::size_t j = 0; j < values.size(); ++j)
                  row(crowded_[first + j])[r] = bytes[j];
              });
    for (const id_t i : crowded_) known_[i] = true;
    statistics_.dense += crowded_.size() * neurons_;
  }

  // Products of point i with neurons that are due; as neuron_deadline_index has it.
  template <class Sink>
  void examine(neuron_view w, id_t i, std::size_t b, std::span<id_t> due, Sink& sink) {
    const float* const point = x_->row(i);
    id_t* const ids = due.data();
    float* const values = values_.data();
    const auto weights = [&](std::size_t j) { return w.weights.row(ids[j]).data(); };
    // Rows lie apart and mostly in memory: those of the groups to come are asked for early.
    const auto fetch = [&](std::size_t j) {
      for (std::size_t q = j; q < std::min(j + striped_rows, due.size()); ++q)
        for (std::size_t k = 0; k < std::min<std::size_t>(x_->dim(), 256);
             k += cache_line / sizeof(float))
          SKIM_PREFETCH(weights(q) + k);
    };
    constexpr std::size_t ahead = 3 * striped_rows;
    for (std::size_t j = 0; j < ahead; j += striped_rows) fetch(j);
    for (std::size_t j = 0; j < due.size(); j += striped_rows) {
      fetch(j + ahead);
      striped_dots(point, {weights(j), weights(j + 1), weights(j + 2), weights(j + 3)}, x_->dim(),
                   values + j);
    }
    const float per_gap = clocks_.per_gap()[i];
    std::uint8_t* const deadlines = row(i);
    const float* const thresholds = w.thresholds.data();
    const detail::sorted_pairs sorted = detail::sort_pairs(
        due, values, deadlines, [thresholds](id_t r) { return thresholds[r]; }, changes_.data());
    for (std::size_t c = 0; c < sorted.changes; ++c) {
      const detail::changed_pair& pair = changes_[c];
      deadlines[pair.id] = clocks_.deadline(pair.id, pair.gap, per_gap);
    }
    statistics_.examined += due.size();
    report(b, due.first(sorted.hits), std::span<const float>(values_).first(sorted.hits), sink);
  }

  const firing_points* x_;
  std::size_t neurons_, stride_;
  detail::neuron_clocks clocks_;
  aligned_vector<std::uint8_t> deadlines_;
  std::vector<std::uint8_t> known_;  // points whose row holds deadlines
  std::vector<std::uint8_t> turning_;
  std::vector<id_t> turning_ids_;
  std::vector<std::uint8_t> back_;
  detail::look_costs costs_;
  std::size_t limit_;
  detail::sleep_cycle cycle_{12};
  std::size_t slept_ = 0;
  std::vector<id_t> due_, crowded_;
  std::vector<float> values_;
  std::vector<detail::changed_pair> changes_;
  std::vector<std::size_t> found_;  // neurons due for each point of the batch, or `whole`
  detail::batch_scan scan_;
  detail::hit_lists hits_;
  firing_statistics statistics_;
};

static_assert(point_order_detector<point_deadline_index>);

}  // namespace skim::inline v0
