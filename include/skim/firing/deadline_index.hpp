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
#include <utility>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/executor.hpp"
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
/// Threads: an executor shares out the work; what is reported, in which order, and what is remembered
///          do not depend on it. Otherwise a detector for each thread.
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
        least_((neurons_ + detail::neuron_tile - 1) / detail::neuron_tile * detail::neuron_tile,
               far),
        costs_(x.dim()),
        tiles_(least_.size() / detail::neuron_tile,
               detail::look_budget(costs_.renewal / costs_.scan + 0.1)),
        row_limit_(limit_of(costs_.scan + costs_.renewal)),
        sleep_limit_(limit_of(costs_.scan)) {
    block_least_.resize(tiles_.size() * (detail::neuron_tile * blocks_ + byte_block), far);
  }
  neuron_deadline_index(const firing_points&& x, neuron_view w, params p = {}) = delete;

  /// Throws invalid_input, before the sink is called, if the shapes changed.
  template <class Sink, executor Executor>
  void for_each_neuron(neuron_view w, Sink&& sink, Executor& e) {
    detail::check_neurons("neuron_deadline_index", *x_, w, neurons_);
    if (!clocks_.has_tick()) clocks_.choose_tick(w);
    const std::size_t parts = detail::parts_of(e, tiles_.size());
    while (lanes_.size() < parts) lanes_.emplace_back(row_limit_);
    if (parts == 1) {
      for (std::size_t t = 0; t < tiles_.size(); ++t) visit(w, lanes_[0], t, sink);
    } else {
      detail::for_parts(e, parts, tiles_.size(),
                        [&](std::size_t p, std::size_t first, std::size_t last) {
                          lanes_[p].reports.clear();
                          for (std::size_t t = first; t < last; ++t)
                            visit(w, lanes_[p], t, lanes_[p].reports);
                        });
      for (std::size_t p = 0; p < parts; ++p) lanes_[p].reports.replay(sink);
    }
    statistics_.pairs += neurons_ * x_->size();
    for (lane& l : lanes_) {
      const firing_statistics did = std::exchange(l.did, {});
      statistics_.fired += did.fired;
      statistics_.examined += did.examined;
      statistics_.dense += did.dense;
    }
  }
  template <class Sink>
  void for_each_neuron(neuron_view w, Sink&& sink) {
    serial_executor serial;
    for_each_neuron(w, sink, serial);
  }

  /// Throws invalid_input on a neuron that is not there and on a way that is no finite number.
  void moved(neuron_view w, id_t r, movement by) {
    detail::check_movement("neuron_deadline_index", neurons_, r, by);
    detail::look_budget& tile = tiles_[r / detail::neuron_tile];
    if (tile.stale()) return;
    const std::uint8_t back = clocks_.advance(w, r, by);
    if (back == 0) return;
    subtract_saturated(row(r), back, x_->size());
    subtract_saturated(block_least(r), back, blocks_);
    subtract_saturated(&least_[r], back, 1);
    const auto points = static_cast<double>(x_->size());
    tile.book(0, (costs_.margin + costs_.glance * points) /
                     (costs_.scan * points * static_cast<double>(detail::neuron_tile)));
  }

  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = deadlines_.size() + block_least_.size() + least_.size() + clocks_.bytes() +
                      panels_.panels() * panel_width * panels_.dim() * sizeof(float);
    for (const lane& l : lanes_) sum += l.hits.bytes() + l.reports.bytes();
    return sum;
  }
  /// The way of one tick; 0 before it was chosen.
  [[nodiscard]] double tick() const noexcept { return clocks_.tick_length(); }

 private:
  static constexpr std::uint8_t far = 255;

  // What one part of a look works with.
  struct lane {
    explicit lane(std::size_t row_limit)
        : due(detail::neuron_tile * (row_limit + byte_block + striped_rows) + detail::bits_slack),
          values(row_limit + striped_rows),
          changes(row_limit + 1) {}

    std::vector<id_t> due;
    std::vector<float> values, gathered, gathered_thresholds;
    std::vector<detail::changed_pair> changes;
    detail::hit_lists hits;
    detail::kept_reports reports;
    firing_statistics did;
  };

  // Pairs of a neuron that cost as much one by one as all points at `each`.
  [[nodiscard]] std::size_t limit_of(double each) const noexcept {
    return std::min(x_->size(),
                    static_cast<std::size_t>(static_cast<double>(x_->size()) * each / costs_.due));
  }

  std::uint8_t* row(std::size_t r) noexcept { return deadlines_.data() + r * stride_; }
  // A tile's blocks are followed by a line that may be read, and belongs to no other tile.
  std::uint8_t* block_least(std::size_t r) noexcept {
    return block_least_.data() + r * blocks_ + r / detail::neuron_tile * byte_block;
  }

  template <class Sink>
  void visit(neuron_view w, lane& l, std::size_t t, Sink& sink) {
    const std::size_t first = t * detail::neuron_tile;
    const std::size_t count = std::min(detail::neuron_tile, neurons_ - first);
    if (tiles_[t].asleep()) {
      scan(w, l, first, count);
      tiles_[t].pass(1, l.hits.total() > count * sleep_limit_);
      report_all(l, first, count, sink);
    } else if (tiles_[t].stale()) {
      renew_all(w, l, t, first, count);
      report_all(l, first, count, sink);
    } else {
      look(w, l, t, first, count, sink);
    }
  }

  void scan(neuron_view w, lane& l, std::size_t first, std::size_t count) {
    l.hits.reset(count);
    detail::scan_rows(
        detail::neurons_of(w, first, count), panels_,
        [&](std::size_t q, std::size_t i, float value) {
          l.hits.push(q, static_cast<id_t>(i), value);
        },
        detail::no_values{});
    l.did.dense += count * x_->size();
  }

  // The products of the given neurons, their deadlines made anew; row q of part is neuron ids[q].
  void renew(neuron_view w, lane& l, neuron_view part, std::span<const id_t> ids) {
    l.hits.reset(ids.size());
    for (const id_t r : ids) clocks_.restart(w, r);
    detail::scan_rows(
        part, panels_,
        [&](std::size_t q, std::size_t i, float value) {
          l.hits.push(q, static_cast<id_t>(i), value);
        },
        [&](std::size_t q, std::size_t panel, const detail::panel_values& values) {
          const std::size_t i = panel * panel_width;
          clocks_.deadlines(ids[q], part.thresholds[q], values.data(), clocks_.per_gap() + i,
                            row(ids[q]) + i);
        });
    for (const id_t r : ids) {
      std::fill(row(r) + x_->size(), row(r) + stride_, far);
      for (std::size_t b = 0; b < blocks_; ++b)
        block_least(r)[b] = least_byte(row(r) + b * byte_block, byte_block);
      least_[r] = least_byte(block_least(r), blocks_);
    }
    l.did.dense += ids.size() * x_->size();
  }

  void renew_all(neuron_view w, lane& l, std::size_t t, std::size_t first, std::size_t count) {
    std::array<id_t, detail::neuron_tile> ids;
    for (std::size_t q = 0; q < count; ++q) ids[q] = static_cast<id_t>(first + q);
    renew(w, l, detail::neurons_of(w, first, count), std::span(ids).first(count));
    tiles_[t].renewed();
    tiles_[t].book(1, costs_.renewal / costs_.scan);
    if (l.hits.total() > count * sleep_limit_) tiles_[t].sleep();
  }

  template <class Sink>
  void report(lane& l, std::size_t neuron, std::span<const id_t> ids, std::span<const float> values,
              Sink& sink) {
    if (ids.empty()) return;
    l.did.fired += ids.size();
    sink(neuron, ids, values);
  }
  template <class Sink>
  void report_all(lane& l, std::size_t first, std::size_t count, Sink& sink) {
    for (std::size_t q = 0; q < count; ++q)
      report(l, first + q, l.hits.ids(q), l.hits.values(q), sink);
  }

  // Writes the points of neuron r that are due to `out`; stops, with more than the limit, once
  // there are too many.
  std::size_t collect_due(std::size_t r, id_t* out) noexcept {
    const std::uint8_t tick = clocks_.tick(r);
    const std::uint8_t* const deadlines = row(r);
    const std::uint8_t* const least = block_least(r);
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
  void look(neuron_view w, lane& l, std::size_t t, std::size_t first, std::size_t count,
            Sink& sink) {
    std::uint64_t rows = at_most(least_.data() + first, clocks_.ticks() + first);
    std::array<std::size_t, detail::neuron_tile> begin, found;
    std::array<id_t, detail::neuron_tile> crowded;
    std::size_t used = 0, due = 0, crowds = 0;
    for (std::uint64_t left = rows; left != 0; left &= left - 1) {
      const auto q = static_cast<std::size_t>(std::countr_zero(left));
      begin[q] = used;
      found[q] = collect_due(first + q, l.due.data() + used);
      if (found[q] > row_limit_) {
        crowded[crowds++] = static_cast<id_t>(first + q);
        continue;
      }
      // Products are computed in fours: the last one fills up.
      for (std::size_t j = 0; found[q] > 0 && j < striped_rows; ++j)
        l.due[used + found[q] + j] = l.due[used + found[q] - 1];
      used += found[q] + striped_rows;
      due += found[q];
    }
    if (2 * crowds > count) {
      tiles_[t].sleep();
      scan(w, l, first, count);
      report_all(l, first, count, sink);
      return;
    }
    const auto points = static_cast<double>(x_->size());
    const double cost = costs_.glance * points * std::popcount(rows) +
                        costs_.due * static_cast<double>(due) +
                        (costs_.scan + costs_.renewal) * points * static_cast<double>(crowds) +
                        costs_.moved * static_cast<double>(count);
    if (crowds > 0) renew_crowded(w, l, std::span(crowded).first(crowds));
    std::size_t crowd = 0;
    for (; rows != 0; rows &= rows - 1) {
      const auto q = static_cast<std::size_t>(std::countr_zero(rows));
      if (found[q] > row_limit_) {
        report(l, first + q, l.hits.ids(crowd), l.hits.values(crowd), sink);
        ++crowd;
      } else if (found[q] > 0) {
        examine(w, l, first + q, std::span(l.due).subspan(begin[q], found[q]), sink);
      }
    }
    tiles_[t].book(1, cost / (costs_.scan * points * static_cast<double>(count)) - 1);
  }

  void renew_crowded(neuron_view w, lane& l, std::span<const id_t> ids) {
    l.gathered.resize(ids.size() * x_->dim());
    l.gathered_thresholds.resize(ids.size());
    for (std::size_t q = 0; q < ids.size(); ++q) {
      const auto weights = w.weights.row(ids[q]);
      std::copy(weights.begin(), weights.end(),
                l.gathered.begin() + static_cast<std::ptrdiff_t>(q * x_->dim()));
      l.gathered_thresholds[q] = w.thresholds[ids[q]];
    }
    renew(w, l, {{l.gathered.data(), ids.size(), x_->dim()}, l.gathered_thresholds}, ids);
  }

  // Products of neuron r with points that are due (readable to the next multiple of four). Those
  // that do not fire get new deadlines, the others are moved to the front and reported.
  template <class Sink>
  void examine(neuron_view w, lane& l, std::size_t r, std::span<id_t> due, Sink& sink) {
    const float threshold = w.thresholds[r];
    const float* const weights = w.weights.row(r).data();
    id_t* const ids = due.data();
    float* const values = l.values.data();
    for (std::size_t j = 0; j < due.size(); j += striped_rows)
      striped_dots(weights,
                   {x_->row(ids[j]), x_->row(ids[j + 1]), x_->row(ids[j + 2]), x_->row(ids[j + 3])},
                   x_->dim(), values + j);
    const detail::sorted_pairs sorted = detail::sort_pairs(
        due, values, row(r), [threshold](id_t) { return threshold; }, l.changes.data());
    renew_deadlines(r, std::span<const detail::changed_pair>(l.changes).first(sorted.changes));
    l.did.examined += due.size();
    report(l, r, due.first(sorted.hits), std::span<const float>(l.values).first(sorted.hits), sink);
  }

  // New deadlines of pairs of neuron r, and the levels above them.
  SKIM_NEVER_INLINE void renew_deadlines(std::size_t r,
                                         std::span<const detail::changed_pair> changes) noexcept {
    if (changes.empty()) return;
    std::uint8_t* const deadlines = row(r);
    std::uint8_t* const least = block_least(r);
    std::size_t block = changes[0].id / byte_block;
    const auto close = [&] {
      least[block] = least_byte(deadlines + block * byte_block, byte_block);
    };
    for (const detail::changed_pair& c : changes) {
      if (c.id / byte_block != block) {
        close();
        block = c.id / byte_block;
      }
      deadlines[c.id] = clocks_.deadline(r, c.gap, clocks_.per_gap()[c.id]);
    }
    close();
    least_[r] = least_byte(least, blocks_);
  }

  const firing_points* x_;
  std::size_t neurons_, blocks_, stride_;
  detail::neuron_clocks clocks_;
  panel_matrix panels_;
  aligned_vector<std::uint8_t> deadlines_, block_least_, least_;
  detail::look_costs costs_;
  std::vector<detail::look_budget> tiles_;
  std::size_t row_limit_, sleep_limit_;
  std::vector<lane> lanes_;
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
/// Threads: an executor shares out the work; what is reported, in which order, and what is remembered
///          do not depend on it. Otherwise a detector for each thread.
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
        costs_(detail::look_costs::by_point(x.dim())),
        budget_(costs_.renewal / costs_.scan + 0.1) {}
  point_deadline_index(const firing_points&& x, neuron_view w, params p = {}) = delete;

  /// Throws invalid_input, before the sink is called, if the shapes changed or a point is not there.
  template <class Sink, executor Executor>
  void for_each_point(neuron_view w, std::span<const id_t> batch, Sink&& sink, Executor& e) {
    detail::check_neurons("point_deadline_index", *x_, w, neurons_);
    detail::check_batch("point_deadline_index", *x_, batch);
    if (!clocks_.has_tick()) clocks_.choose_tick(w);
    if (batch.empty()) return;
    statistics_.pairs += batch.size() * neurons_;
    const std::size_t alone = batch.size() - detail::batch_scan::in_panels(batch.size());
    const std::size_t panels = (batch.size() - alone + panel_width - 1) / panel_width;
    // Of the batch, and of all points, for each neuron.
    const double dense = costs_.scan_batch(panels, alone);
    const double each = dense / static_cast<double>(batch.size());
    const double part = static_cast<double>(batch.size()) / static_cast<double>(x_->size());
    if (budget_.asleep()) {
      scan_.run(*x_, batch, w, detail::no_values{}, e);
      statistics_.dense += batch.size() * neurons_;
      budget_.pass(part, scan_.total() > limit_of(each) * batch.size());
      for (std::size_t b = 0; b < batch.size(); ++b) statistics_.fired += scan_.report(b, b, sink);
      return;
    }
    if (budget_.stale()) {
      for (std::size_t r = 0; r < neurons_; ++r) clocks_.restart(w, r);
      std::fill(known_.begin(), known_.end(), false);
      turning_ids_.clear();
      std::fill(turning_.begin(), turning_.end(), false);
      moved_ = 0;
      budget_.renewed();
    }
    const double upkeep =
        costs_.moved * static_cast<double>(std::exchange(moved_, 0)) + turn_back(w);
    const double cost = look(w, batch, each, sink, e);
    const auto all = static_cast<double>(neurons_);
    budget_.book(part, part * ((cost + upkeep / all) / dense - 1));
  }
  template <class Sink>
  void for_each_point(neuron_view w, std::span<const id_t> batch, Sink&& sink) {
    serial_executor serial;
    for_each_point(w, batch, sink, serial);
  }

  /// Throws invalid_input on a neuron that is not there and on a way that is no finite number.
  void moved(neuron_view, id_t r, movement by) {
    detail::check_movement("point_deadline_index", neurons_, r, by);
    if (budget_.stale()) return;
    ++moved_;
    if (!clocks_.advance(r, by) || turning_[r]) return;
    turning_[r] = true;
    turning_ids_.push_back(r);
  }

  [[nodiscard]] firing_statistics statistics() const noexcept { return statistics_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = deadlines_.size() + known_.size() + turning_.size() + clocks_.bytes() +
                      scan_.bytes() + renewal_.bytes();
    for (const lane& l : lanes_) sum += l.due.size() * (sizeof(id_t) + sizeof(float));
    return sum;
  }
  /// The way of one tick; 0 before it was chosen.
  [[nodiscard]] double tick() const noexcept { return clocks_.tick_length(); }

 private:
  static constexpr std::uint8_t far = 255;

  // What one part of a batch works with.
  struct lane {
    std::vector<id_t> due;
    std::vector<float> values;
    std::size_t used = 0;
  };
  // Where the neurons due for a point of the batch stand, or that it is computed whole.
  struct entry {
    std::size_t lane, begin, found;
    bool whole;
  };

  std::uint8_t* row(std::size_t i) noexcept { return deadlines_.data() + i * stride_; }

  // Pairs of a point that cost as much one by one as all neurons at `each`.
  [[nodiscard]] std::size_t limit_of(double each) const noexcept {
    return std::min(neurons_,
                    static_cast<std::size_t>(static_cast<double>(neurons_) * each / costs_.due));
  }

  // Clocks of many neurons at once row by row, of a few column by column. Returns what it cost.
  double turn_back(neuron_view w) {
    if (turning_ids_.empty()) return 0;
    const auto points = static_cast<double>(x_->size());
    const auto turned = static_cast<double>(turning_ids_.size());
    double cost = costs_.margin * turned;
    if (turning_ids_.size() > neurons_ / 256) {
      back_.assign(neurons_, 0);
      for (const id_t r : turning_ids_) back_[r] = clocks_.turn_back(r);
      for (std::size_t i = 0; i < x_->size(); ++i)
        if (known_[i]) subtract_saturated(row(i), back_.data(), neurons_);
      cost += costs_.glance * points * static_cast<double>(neurons_);
    } else {
      for (const id_t r : turning_ids_) {
        const std::uint8_t back = clocks_.turn_back(r);
        for (std::size_t i = 0; i < x_->size(); ++i) subtract_saturated(row(i) + r, back, 1);
      }
      cost += 5 * points * turned;
    }
    for (const id_t r : turning_ids_) {
      clocks_.set_margin(w, r);
      turning_[r] = false;
    }
    turning_ids_.clear();
    return cost;
  }

  template <class Sink>
  void report(std::size_t b, std::span<const id_t> ids, std::span<const float> values, Sink& sink) {
    statistics_.fired += ids.size();
    sink(b, ids, values);
  }

  // Writes the neurons due for point i to `out`; stops, with more than the limit, once there are too
  // many.
  std::size_t collect_due(std::size_t i, std::size_t limit, id_t* out) noexcept {
    const std::uint8_t* const deadlines = row(i);
    const std::uint8_t* const ticks = clocks_.ticks();
    std::size_t found = 0;
    for (std::size_t r = 0; r < neurons_ && found <= limit; r += byte_block)
      found = detail::append_bits(at_most(deadlines + r, ticks + r), r, out, found);
    return found;
  }

  // Returns what it cost, for each neuron.
  template <class Sink, class Executor>
  double look(neuron_view w, std::span<const id_t> batch, double each, Sink& sink, Executor& e) {
    const std::size_t limit = limit_of(each + costs_.renewal);
    entries_.resize(batch.size());
    const std::size_t parts = detail::parts_of(e, batch.size());
    if (lanes_.size() < parts) lanes_.resize(parts);
    // A point may stand in a batch twice: deadlines are read here and written below, in order.
    detail::for_parts(e, parts, batch.size(),
                      [&](std::size_t p, std::size_t first, std::size_t last) {
                        lanes_[p].used = 0;
                        for (std::size_t b = first; b < last; ++b)
                          entries_[b] = compute_due(w, lanes_[p], p, batch[b], limit);
                      });
    crowded_.clear();
    std::size_t crowds = 0, examined = 0;
    for (std::size_t b = 0; b < batch.size(); ++b) {
      examined += entries_[b].found;
      if (!entries_[b].whole) continue;
      crowds += static_cast<std::size_t>(known_[batch[b]] != 0);
      crowded_.push_back(batch[b]);
    }
    // What is computed whole comes in one product.
    if (!crowded_.empty()) renew(w, e);
    std::size_t next = 0;
    for (std::size_t b = 0; b < batch.size(); ++b) {
      const entry& at = entries_[b];
      if (at.whole) {
        statistics_.fired += renewal_.report(next++, b, sink);
      } else {
        examine(w, batch[b], b, std::span(lanes_[at.lane].due).subspan(at.begin, at.found),
                lanes_[at.lane].values.data() + at.begin, sink);
      }
    }
    const auto all = static_cast<double>(neurons_);
    const auto looks = static_cast<double>(batch.size() - crowded_.size() + crowds);
    const std::size_t alone = crowded_.size() - detail::batch_scan::in_panels(crowded_.size());
    const std::size_t panels = (crowded_.size() - alone + panel_width - 1) / panel_width;
    return costs_.glance * looks + costs_.due * static_cast<double>(examined) / all +
           costs_.scan_batch(panels, alone) +
           costs_.renewal * static_cast<double>(crowded_.size() + alone);
  }

  // Products of point i with the neurons that are due, unless they are too many.
  entry compute_due(neuron_view w, lane& l, std::size_t p, id_t i, std::size_t limit) {
    if (!known_[i]) return {p, 0, 0, true};
    const std::size_t begin = l.used;
    const std::size_t room =
        begin + std::min(limit, neurons_) + byte_block + striped_rows + detail::bits_slack;
    if (l.due.size() < room) {
      l.due.resize(room + room / 2);
      l.values.resize(room + room / 2);
    }
    id_t* const ids = l.due.data() + begin;
    const std::size_t found = collect_due(i, limit, ids);
    if (found > limit) return {p, 0, 0, true};
    if (found == 0) return {p, begin, 0, false};
    // Products are computed in fours: the last one fills up.
    for (std::size_t j = 0; j < striped_rows; ++j) ids[found + j] = ids[found - 1];
    const float* const point = x_->row(i);
    float* const values = l.values.data() + begin;
    const auto weights = [&](std::size_t j) { return w.weights.row(ids[j]).data(); };
    // Rows lie apart and mostly in memory: those of the groups to come are asked for early.
    const auto fetch = [&](std::size_t j) {
      for (std::size_t q = j; q < std::min(j + striped_rows, found); ++q)
        for (std::size_t k = 0; k < std::min<std::size_t>(x_->dim(), 256);
             k += cache_line / sizeof(float))
          SKIM_PREFETCH(weights(q) + k);
    };
    constexpr std::size_t ahead = 3 * striped_rows;
    for (std::size_t j = 0; j < ahead; j += striped_rows) fetch(j);
    for (std::size_t j = 0; j < found; j += striped_rows) {
      fetch(j + ahead);
      striped_dots(point, {weights(j), weights(j + 1), weights(j + 2), weights(j + 3)}, x_->dim(),
                   values + j);
    }
    l.used += found + striped_rows;
    return {p, begin, found, false};
  }

  // Deadlines of the points in crowded_ as a part of the product sees them: 16 neurons of a panel are
  // kept, for rows of bytes to be written.
  class writer {
   public:
    writer(point_deadline_index& index, neuron_view w) noexcept : index_(&index), w_(w) {}
    writer(const writer&) = delete;
    writer& operator=(const writer&) = delete;
    ~writer() { flush(); }

    void panel(std::size_t r, std::size_t first, const float* values) noexcept {
      if (kept_ == 16 || r != neuron_ + kept_ || first != first_) {
        flush();
        neuron_ = r;
        first_ = first;
      }
      index_->clocks_.deadlines(r, w_.thresholds[r], values, index_->crowded_gaps_.data() + first,
                                bytes_.data() + panel_width * kept_++);
    }
    void one(std::size_t r, std::size_t b, float value) noexcept {
      index_->row(index_->crowded_[b])[r] =
          index_->clocks_.deadline(r, w_.thresholds[r] - value, index_->crowded_gaps_[b]);
    }

   private:
    void flush() noexcept {
      const std::size_t points = std::min(panel_width, index_->crowded_.size() - first_);
      const auto to = [&](std::size_t j) {
        return index_->row(index_->crowded_[first_ + j]) + neuron_;
      };
      if (kept_ == 16 && points == panel_width) {
        std::array<std::uint8_t*, panel_width> rows;
        for (std::size_t j = 0; j < panel_width; ++j) rows[j] = to(j);
        transpose_bytes(bytes_.data(), rows);
      } else {
        for (std::size_t j = 0; j < points; ++j)
          for (std::size_t q = 0; q < kept_; ++q) to(j)[q] = bytes_[panel_width * q + j];
      }
      kept_ = 0;
    }

    point_deadline_index* index_;
    neuron_view w_;
    std::size_t neuron_ = 0, first_ = 0, kept_ = 0;
    std::array<std::uint8_t, 16 * panel_width> bytes_;
  };

  // The products of the points in crowded_, their deadlines made anew.
  template <class Executor>
  void renew(neuron_view w, Executor& e) {
    crowded_gaps_.assign((crowded_.size() + panel_width - 1) / panel_width * panel_width, 0.0f);
    for (std::size_t j = 0; j < crowded_.size(); ++j)
      crowded_gaps_[j] = clocks_.per_gap()[crowded_[j]];
    renewal_.run(
        *x_, crowded_, w, [&](std::size_t) { return writer(*this, w); }, e);
    for (const id_t i : crowded_) known_[i] = true;
    statistics_.dense += crowded_.size() * neurons_;
  }

  // Neurons that were due for point i, with their products; as neuron_deadline_index has it.
  template <class Sink>
  void examine(neuron_view w, id_t i, std::size_t b, std::span<id_t> due, float* values,
               Sink& sink) {
    const float per_gap = clocks_.per_gap()[i];
    std::uint8_t* const deadlines = row(i);
    const float* const thresholds = w.thresholds.data();
    if (changes_.size() < due.size() + 1) changes_.resize(due.size() + due.size() / 2 + 1);
    const detail::sorted_pairs sorted = detail::sort_pairs(
        due, values, deadlines, [thresholds](id_t r) { return thresholds[r]; }, changes_.data());
    for (std::size_t c = 0; c < sorted.changes; ++c) {
      const detail::changed_pair& pair = changes_[c];
      deadlines[pair.id] = clocks_.deadline(pair.id, pair.gap, per_gap);
    }
    statistics_.examined += due.size();
    report(b, due.first(sorted.hits), std::span<const float>(values, sorted.hits), sink);
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
  detail::look_budget budget_;
  std::size_t moved_ = 0;  // since the last look
  std::vector<lane> lanes_;
  std::vector<entry> entries_;
  std::vector<id_t> crowded_;
  std::vector<float> crowded_gaps_;
  std::vector<detail::changed_pair> changes_;
  detail::batch_scan scan_, renewal_;
  firing_statistics statistics_;
};

static_assert(point_order_detector<point_deadline_index>);

}  // namespace skim::inline v0
