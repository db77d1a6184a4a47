// SPDX-License-Identifier: Apache-2.0
//
// Endless random order of n ids: every epoch holds each of them once, and is shuffled as it is taken, so
// that no call pays for a whole epoch.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/random.hpp"

namespace skim::inline v0::detail {

class epoch_order {
 public:
  epoch_order() = default;
  /// Ids 0..n-1. Pre: n fits an id_t.
  epoch_order(std::size_t n, random_engine engine) : order_(n), engine_(engine) {
    for (std::size_t i = 0; i < n; ++i) order_[i] = static_cast<id_t>(i);
    next_ = n;  // the first epoch begins when ids are first taken
  }
  /// Just these ids.
  epoch_order(std::vector<id_t> ids, random_engine engine)
      : order_(std::move(ids)), engine_(engine), next_(order_.size()) {}

  [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }
  /// Epochs begun so far.
  [[nodiscard]] std::size_t epochs() const noexcept { return epochs_; }
  /// Ids of the current epoch that were not yet taken.
  [[nodiscard]] std::size_t left() const noexcept { return order_.size() - next_; }

  /// Whether each id was taken at least once.
  [[nodiscard]] bool every_id_taken() const noexcept {
    return epochs_ > 1 || (epochs_ == 1 && left() == 0);
  }

  /// The next out.size() ids; a new epoch begins wherever one ends. Pre: size() > 0 or out is
  /// empty.
  void take(std::span<id_t> out) noexcept {
    SKIM_EXPECTS(!order_.empty() || out.empty());
    for (std::size_t filled = 0; filled < out.size();) {
      if (next_ == order_.size()) {
        next_ = 0;
        ++epochs_;
      }
      const std::size_t count = std::min(out.size() - filled, order_.size() - next_);
      take_of_epoch(out.subspan(filled, count));
      filled += count;
    }
  }

  void save(writer& out) const {
    out.begin_frame("epoch_order");
    engine_.save(out);
    out.put(static_cast<std::uint64_t>(next_));
    out.put(static_cast<std::uint64_t>(epochs_));
    out.put(std::span(order_));
    out.end_frame();
  }
  [[nodiscard]] static epoch_order load(reader& in) {
    in.begin_frame("epoch_order");
    epoch_order o;
    o.engine_ = random_engine::load(in);
    o.next_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    o.epochs_ = static_cast<std::size_t>(in.get<std::uint64_t>());
    o.order_ = in.get_vector<id_t>();
    if (o.next_ > o.order_.size())
      in.fail("position ", o.next_, " in an order of ", o.order_.size());
    in.end_frame();
    return o;
  }
  /// Throws format_error unless every id is below n.
  void require_below(std::size_t n, const reader& in) const {
    for (const id_t id : order_)
      if (id >= n) in.fail("id ", id, " in a data set of ", n, " examples");
  }

 private:
  // Fisher and Yates forwards: each id changes places with one of those that are left. The places are
  // drawn some way ahead, as all but the smallest orders lie outside the first cache.
  void take_of_epoch(std::span<id_t> out) noexcept {
    constexpr std::size_t ahead = 32;
    std::array<std::size_t, ahead> place;
    random_engine engine = engine_;  // locals stay in registers
    id_t* SKIM_RESTRICT order = order_.data();
    const std::size_t n = order_.size();
    std::size_t at = next_;
    for (std::size_t first = 0; first < out.size(); first += ahead) {
      const std::size_t count = std::min(ahead, out.size() - first);
      for (std::size_t i = 0; i < count; ++i) {
        place[i] = at + i + static_cast<std::size_t>(uniform_below(engine, n - at - i));
        SKIM_PREFETCH(order + place[i]);
      }
      for (std::size_t i = 0; i < count; ++i, ++at) {
        const id_t taken = order[place[i]];
        order[place[i]] = order[at];
        out[first + i] = order[at] = taken;
      }
    }
    next_ = at;
    engine_ = engine;
  }

  std::vector<id_t> order_;
  random_engine engine_;
  std::size_t next_ = 0, epochs_ = 0;
};

}  // namespace skim::inline v0::detail
