// SPDX-License-Identifier: Apache-2.0
//
// Firing pairs as they come out of a product of whole matrices.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/firing/detector.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/striped_dot.hpp"

namespace skim::inline v0::detail {

/// Neurons that are worked on together: a cache line of bytes, a word of bits.
inline constexpr std::size_t neuron_tile = 64;

/// Lists of ids and values, which keep their memory.
class hit_lists {
 public:
  /// So many empty lists.
  void reset(std::size_t lists) {
    if (lists_.size() < lists) lists_.resize(lists);
    used_ = lists;
    for (std::size_t k = 0; k < lists; ++k) lists_[k].count = 0;
  }
  SKIM_ALWAYS_INLINE void push(std::size_t k, id_t id, float value) {
    hit_list& list = lists_[k];
    if (list.count == list.ids.size()) list.grow();
    list.ids[list.count] = id;
    list.values[list.count++] = value;
  }
  [[nodiscard]] std::span<const id_t> ids(std::size_t k) const noexcept {
    return std::span(lists_[k].ids).first(lists_[k].count);
  }
  [[nodiscard]] std::span<const float> values(std::size_t k) const noexcept {
    return std::span(lists_[k].values).first(lists_[k].count);
  }
  [[nodiscard]] std::size_t total() const noexcept {
    std::size_t sum = 0;
    for (std::size_t k = 0; k < used_; ++k) sum += lists_[k].count;
    return sum;
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = 0;
    for (const hit_list& list : lists_) sum += list.ids.size() * (sizeof(id_t) + sizeof(float));
    return sum;
  }

 private:
  struct hit_list {
    std::vector<id_t> ids;
    std::vector<float> values;
    std::size_t count = 0;

    void grow() {
      const std::size_t more = ids.size() + ids.size() / 2 + 32;
      ids.resize(more);
      values.resize(more);
    }
  };

  std::vector<hit_list> lists_;
  std::size_t used_ = 0;
};

using panel_values = std::array<float, panel_width>;

/// Where nobody wants the values of pairs that do not fire.
struct no_values {};

/// Epilogue of project(): rows are neurons, outputs points. Calls hit(row, point, value) for each
/// pair that fires, in order within a row and within a panel, and all(row, panel, values) for each
/// panel unless All is no_values.
///
/// Whether a panel has a hit at all cannot be predicted: its values are kept in any case, and
/// overwritten by the next ones if there was none.
template <class Hit, class All>
class firing_scan {
 public:
  firing_scan(neuron_view w, std::size_t points, Hit& hit, All& all) noexcept
      : thresholds_(w.thresholds.data()), points_(points), hit_(hit), all_(all) {}

  struct epilogue {
    static constexpr bool striped = true;
    firing_scan* scan;

    template <class Arch>
    SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                       const panel_result<Arch>& r) const noexcept {
      scan->template take<Arch>(row, panel, r);
    }
  };

  /// Reports what is kept. Apart from the kernel, whose registers it would take.
  SKIM_NEVER_INLINE void flush() noexcept {
    for (std::size_t k = 0; k < used_; ++k) {
      const kept_panel& p = kept_[k];
      const std::size_t first = std::size_t{p.panel} * panel_width;
      for (std::uint32_t bits = p.bits; bits != 0; bits &= bits - 1) {
        const auto j = static_cast<std::size_t>(std::countr_zero(bits));
        hit_(std::size_t{p.row}, first + j, p.values[j]);
      }
    }
    used_ = 0;
  }

 private:
  struct alignas(cache_line) kept_panel {
    panel_values values;
    std::uint32_t bits, row, panel;
  };

  template <class Arch>
  SKIM_ALWAYS_INLINE void take(std::size_t row, std::size_t panel,
                               const panel_result<Arch>& r) noexcept {
    using pack = simd::floats<Arch>;
    const pack t = pack::broadcast(thresholds_[row]);
    kept_panel& keep = kept_[used_];
    std::uint32_t bits = 0;
    for (std::size_t v = 0; v < r.size(); ++v) {
      bits |= simd::greater_bits(r[v], t) << (v * pack::size);
      r[v].store(keep.values.data() + v * pack::size);
    }
    const std::size_t left = points_ - panel * panel_width;
    if (left < panel_width) bits &= (1u << left) - 1;  // the rest is padding
    keep.bits = bits;
    keep.row = static_cast<std::uint32_t>(row);
    keep.panel = static_cast<std::uint32_t>(panel);
    if constexpr (!std::is_same_v<All, no_values>) all_(row, panel, keep.values);
    used_ += bits != 0 ? 1 : 0;
    if (used_ == kept_.size()) flush();
  }

  const float* thresholds_;  // of the rows
  std::size_t points_;
  Hit& hit_;
  All& all_;
  std::size_t used_ = 0;
  std::array<kept_panel, 64> kept_;
};

/// Products of neurons with all points of the panels.
template <class Hit, class All>
inline void scan_rows(neuron_view w, const panel_matrix& panels, Hit&& hit, All&& all) {
  using scan = firing_scan<std::remove_reference_t<Hit>, std::remove_reference_t<All>>;
  scan s(w, panels.outputs(), hit, all);
  project(w.weights, panels, typename scan::epilogue{&s});
  s.flush();
}

[[nodiscard]] inline neuron_view neurons_of(neuron_view w, std::size_t first, std::size_t count) {
  return {w.weights.rows(first, count), w.thresholds.subspan(first, count)};
}

/// Parts in which `pieces` are worked on: a few for each worker, or one if there is one.
template <class Executor>
[[nodiscard]] inline std::size_t parts_of(const Executor& e, std::size_t pieces) noexcept {
  const std::size_t workers = e.workers();
  return workers <= 1 ? 1 : std::clamp<std::size_t>(pieces, 1, 4 * workers);
}
/// body(part, first piece, last piece) for each part.
template <class Executor, class Body>
inline void for_parts(Executor& e, std::size_t parts, std::size_t pieces, Body&& body) {
  e.parallel_for(parts, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t p = first; p < last; ++p)
      body(p, pieces * p / parts, pieces * (p + 1) / parts);
  });
}

/// Reports of one part, kept until those before it have been made.
class kept_reports {
 public:
  void clear() noexcept {
    heads_.clear();
    ids_.clear();
    values_.clear();
  }
  void operator()(std::size_t major, std::span<const id_t> ids, std::span<const float> values) {
    heads_.push_back({major, ids.size()});
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    values_.insert(values_.end(), values.begin(), values.end());
  }
  template <class Sink>
  void replay(Sink& sink) const {
    std::size_t at = 0;
    for (const head& h : heads_) {
      sink(h.major, std::span(ids_).subspan(at, h.size), std::span(values_).subspan(at, h.size));
      at += h.size;
    }
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return heads_.capacity() * sizeof(head) + ids_.capacity() * (sizeof(id_t) + sizeof(float));
  }

 private:
  struct head {
    std::size_t major, size;
  };
  std::vector<head> heads_;
  std::vector<id_t> ids_;
  std::vector<float> values_;
};

/// Products of all neurons with a batch of points, and who fires for the b-th of them.
class batch_scan {
 public:
  /// Points of a batch that fill panels well enough; the others are computed one by one, which costs
  /// less than a panel that is half empty.
  [[nodiscard]] static std::size_t in_panels(std::size_t batch) noexcept {
    const std::size_t left = batch % panel_width;
    return left < panel_width / 2 ? batch - left : batch;
  }

  /// all(part) is asked for an object whose panel(neuron, first position, 16 values) and
  /// one(neuron, position, value) see every value of a part, neurons of a panel in order; or no_values.
  template <class All, class Executor>
  void run(const firing_points& x, std::span<const id_t> batch, neuron_view w, All&& all,
           Executor& e) {
    const std::size_t whole = in_panels(batch.size());
    if (whole > 0) pack_points(x, batch.first(whole), panels_);
    const std::size_t tiles = (w.weights.rows() + neuron_tile - 1) / neuron_tile;
    used_ = parts_of(e, tiles);
    if (hits_.size() < used_) hits_.resize(used_);
    for_parts(e, used_, tiles, [&](std::size_t part, std::size_t first, std::size_t last) {
      const std::size_t end = std::min(last * neuron_tile, w.weights.rows());
      if constexpr (std::is_same_v<std::remove_cvref_t<All>, no_values>) {
        run_part(x, batch, w, hits_[part], all, first * neuron_tile, end);
      } else {
        auto sees = all(part);
        run_part(x, batch, w, hits_[part], sees, first * neuron_tile, end);
      }
    });
  }

  [[nodiscard]] std::size_t total() const noexcept {
    std::size_t sum = 0;
    for (std::size_t p = 0; p < used_; ++p) sum += hits_[p].total();
    return sum;
  }
  /// sink(as, neurons, values) for position b; returns how many fire.
  template <class Sink>
  std::size_t report(std::size_t b, std::size_t as, Sink& sink) {
    if (used_ == 1) {
      sink(as, hits_[0].ids(b), hits_[0].values(b));
      return hits_[0].ids(b).size();
    }
    ids_.clear();
    values_.clear();
    for (std::size_t p = 0; p < used_; ++p) {
      const auto ids = hits_[p].ids(b);
      const auto values = hits_[p].values(b);
      ids_.insert(ids_.end(), ids.begin(), ids.end());
      values_.insert(values_.end(), values.begin(), values.end());
    }
    sink(as, std::span<const id_t>(ids_), std::span<const float>(values_));
    return ids_.size();
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    std::size_t sum = panels_.panels() * panel_width * panels_.dim() * sizeof(float);
    for (const hit_lists& h : hits_) sum += h.bytes();
    return sum;
  }

 private:
  template <class All>
  void run_part(const firing_points& x, std::span<const id_t> batch, neuron_view w, hit_lists& hits,
                All& all, std::size_t begin, std::size_t end) {
    constexpr bool every = !std::is_same_v<All, no_values>;
    const std::size_t whole = in_panels(batch.size());
    hits.reset(batch.size());
    if (whole > 0) {
      const auto hit = [&](std::size_t row, std::size_t b, float value) {
        hits.push(b, static_cast<id_t>(begin + row), value);
      };
      const neuron_view part = neurons_of(w, begin, end - begin);
      if constexpr (every)
        scan_rows(part, panels_, hit,
                  [&](std::size_t row, std::size_t panel, const panel_values& values) {
                    all.panel(begin + row, panel * panel_width, values.data());
                  });
      else
        scan_rows(part, panels_, hit, no_values{});
    }
    for (std::size_t r = begin; r < end && whole < batch.size(); r += striped_rows) {
      const std::size_t count = std::min(striped_rows, end - r);
      std::array<const float*, striped_rows> rows;
      for (std::size_t q = 0; q < striped_rows; ++q)
        rows[q] = w.weights.row(r + std::min(q, count - 1)).data();
      for (std::size_t b = whole; b < batch.size(); ++b) {
        std::array<float, striped_rows> values;
        striped_dots(x.row(batch[b]), rows, x.dim(), values.data());
        for (std::size_t q = 0; q < count; ++q) {
          if (values[q] > w.thresholds[r + q]) hits.push(b, static_cast<id_t>(r + q), values[q]);
          if constexpr (every) all.one(r + q, b, values[q]);
        }
      }
    }
  }

  panel_matrix panels_;
  std::vector<hit_lists> hits_;
  std::size_t used_ = 0;
  std::vector<id_t> ids_;
  std::vector<float> values_;
};

}  // namespace skim::inline v0::detail
