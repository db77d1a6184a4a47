// SPDX-License-Identifier: Apache-2.0
//
// Acceptance, merging and images of the reservoir samplers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "skim/sample/reservoir.hpp"

namespace skim::inline v0 {

namespace detail {

/// Gamma of shape a >= 1. Ref: Marsaglia and Tsang 2000, ACM Trans. Math. Softw. 26(3).
template <random_source G>
[[nodiscard]] double gamma_of(double a, G& g) noexcept {
  const double d = a - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = normal(g), root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (-exponential(g) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace detail

template <class T>
reservoir_sampler<T>::reservoir_sampler(std::size_t capacity, seed s)
    : capacity_(capacity), engine_(s) {
  if (capacity == 0)
    SKIM_THROW(invalid_params, "reservoir_sampler: got capacity 0, wanted at least 1");
}

template <class T>
void reservoir_sampler<T>::accept(const T& item) {
  if (items_.size() < capacity_) {
    items_.push_back(item);
  } else {
    random_engine ahead = engine_;  // the stored one moves on only if the copy succeeds
    items_[static_cast<std::size_t>(uniform_below(ahead, capacity_))] = item;
    engine_ = ahead;
  }
  ++count_;
  if (items_.size() < capacity_) return;
  log_threshold_ -= exponential(engine_) / static_cast<double>(capacity_);
  draw_skip();
}

template <class T>
void reservoir_sampler<T>::draw_skip() noexcept {
  const double skip = std::floor(exponential(engine_) / -std::log1p(-std::exp(log_threshold_)));
  skip_ = skip < 0x1p63 ? static_cast<std::uint64_t>(skip) : std::uint64_t{1} << 63;
}

template <class T>
void reservoir_sampler<T>::insert(std::span<const T> stream) {
  for (std::size_t at = 0; at < stream.size();) {
    const auto passed =
        static_cast<std::size_t>(std::min(skip_, static_cast<std::uint64_t>(stream.size() - at)));
    skip_ -= passed;
    count_ += passed;
    at += passed;
    if (at < stream.size()) accept(stream[at++]);
  }
}

template <class T>
void reservoir_sampler<T>::merge(const reservoir_sampler& other) {
  if (other.capacity_ != capacity_)
    SKIM_THROW(merge_error, detail::concat("reservoir_sampler::merge: got capacities ", capacity_,
                                           " and ", other.capacity_, ", wanted equal ones"));
  reservoir_sampler merged = *this;
  std::vector<T> mine = items_, theirs = other.items_;
  std::uint64_t mine_left = count_, theirs_left = other.count_;
  merged.items_.clear();
  merged.count_ = count_ + other.count_;
  random_engine& g = merged.engine_;
  const auto size =
      static_cast<std::size_t>(std::min(merged.count_, static_cast<std::uint64_t>(capacity_)));
  // The sample of the union takes from each stream as a draw without replacement would.
  while (merged.items_.size() < size) {
    const bool from_mine = uniform_below(g, mine_left + theirs_left) < mine_left;
    std::vector<T>& pool = from_mine ? mine : theirs;
    std::swap(pool[static_cast<std::size_t>(uniform_below(g, pool.size()))], pool.back());
    merged.items_.push_back(std::move(pool.back()));
    pool.pop_back();
    --(from_mine ? mine_left : theirs_left);
  }
  if (size == capacity_) {
    // The k-th smallest of n uniform keys, whatever the items, is Beta(k, n - k + 1).
    const double below = detail::gamma_of(static_cast<double>(capacity_), g);
    const double above = detail::gamma_of(static_cast<double>(merged.count_ - capacity_) + 1, g);
    merged.log_threshold_ = std::log(below) - std::log(below + above);
    merged.draw_skip();
  }
  *this = std::move(merged);
}

template <class T>
void reservoir_sampler<T>::save(writer& out) const {
  out.begin_frame("reservoir_sampler");
  out.put(static_cast<std::uint64_t>(capacity_));
  out.put(count_);
  out.put(skip_);
  out.put(log_threshold_);
  engine_.save(out);
  out.put(std::span<const T>(items_));
  out.end_frame();
}

template <class T>
reservoir_sampler<T> reservoir_sampler<T>::load(reader& in) {
  in.begin_frame("reservoir_sampler");
  const auto capacity = in.get<std::uint64_t>();
  if (capacity == 0 || capacity > std::numeric_limits<std::size_t>::max())
    in.fail("reservoir_sampler: capacity ", capacity, ", wanted at least 1");
  reservoir_sampler result(static_cast<std::size_t>(capacity), seed{});
  result.count_ = in.get<std::uint64_t>();
  result.skip_ = in.get<std::uint64_t>();
  result.log_threshold_ = in.get<double>();
  result.engine_ = random_engine::load(in);
  result.items_ = in.get_vector<T>();
  in.end_frame();
  if (result.items_.size() != std::min(capacity, result.count_))
    in.fail("reservoir_sampler: ", result.items_.size(), " items of ", result.count_,
            " at capacity ", capacity);
  const bool filling = result.count_ < capacity;
  if (!(result.log_threshold_ <= 0) || !std::isfinite(result.log_threshold_) ||
      (filling && (result.skip_ != 0 || result.log_threshold_ != 0)))
    in.fail("reservoir_sampler: threshold ", result.log_threshold_, " and skip ", result.skip_,
            " do not fit");
  return result;
}

namespace detail {

inline constexpr auto smaller_key = [](const auto& a, const auto& b) { return a.key < b.key; };

}  // namespace detail

template <class T>
weighted_reservoir_sampler<T>::weighted_reservoir_sampler(std::size_t capacity, seed s)
    : capacity_(capacity), engine_(s) {
  if (capacity == 0)
    SKIM_THROW(invalid_params, "weighted_reservoir_sampler: got capacity 0, wanted at least 1");
}

template <class T>
void weighted_reservoir_sampler<T>::refuse(double weight) {
  SKIM_THROW(invalid_input, detail::concat("weighted_reservoir_sampler::insert: got weight ",
                                           weight, ", wanted finite and non-negative"));
}

/// Pre: the entry belongs into the sample.
template <class T>
void weighted_reservoir_sampler<T>::keep(const weighted_item<T>& entry) {
  if (items_.size() < capacity_) {
    items_.push_back(entry);
  } else {
    weighted_item<T> copy = entry;
    std::pop_heap(items_.begin(), items_.end(), detail::smaller_key);
    items_.back() = std::move(copy);
  }
  std::push_heap(items_.begin(), items_.end(), detail::smaller_key);
}

template <class T>
void weighted_reservoir_sampler<T>::accept(const T& item, double weight) {
  random_engine ahead = engine_;  // the stored one moves on only if the copies succeed
  double key = 0;
  if (items_.size() < capacity_)
    key = exponential(ahead) / weight;
  else  // it is known to be below the threshold: an exponential cut off there
    key = -std::log1p(uniform(ahead) * std::expm1(-weight * items_.front().key)) / weight;
  keep({item, weight, key});
  if (items_.size() == capacity_) left_ = exponential(ahead) / items_.front().key;
  engine_ = ahead;
  pass(weight);
}

template <class T>
void weighted_reservoir_sampler<T>::insert(std::span<const T> stream,
                                           std::span<const double> weights) {
  if (stream.size() != weights.size())
    SKIM_THROW(invalid_input,
               detail::concat("weighted_reservoir_sampler::insert: got ", stream.size(),
                              " items and ", weights.size(), " weights"));
  for (const double w : weights)
    if (!(w >= 0 && w < infinity)) refuse(w);
  for (std::size_t i = 0; i < stream.size(); ++i) insert(stream[i], weights[i]);
}

template <class T>
void weighted_reservoir_sampler<T>::merge(const weighted_reservoir_sampler& other) {
  if (other.capacity_ != capacity_)
    SKIM_THROW(merge_error,
               detail::concat("weighted_reservoir_sampler::merge: got capacities ", capacity_,
                              " and ", other.capacity_, ", wanted equal ones"));
  weighted_reservoir_sampler merged = *this;
  for (const weighted_item<T>& entry : other.items_)
    if (merged.items_.size() < capacity_ || entry.key < merged.items_.front().key)
      merged.keep(entry);
  merged.count_ += other.count_;
  merged.positive_ += other.positive_;
  merged.total_ += other.total_;
  // The weight passed over so far says nothing about what is to come: a new draw will do.
  if (merged.items_.size() == capacity_)
    merged.left_ = exponential(merged.engine_) / merged.items_.front().key;
  *this = std::move(merged);
}

template <class T>
void weighted_reservoir_sampler<T>::factors(std::span<double> out) const {
  if (out.size() != items_.size())
    SKIM_THROW(invalid_input, detail::concat("weighted_reservoir_sampler::factors: got room for ",
                                             out.size(), ", wanted ", items_.size()));
  const bool complete = positive_ == items_.size();
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = complete ? 1 : i == 0 ? 0 : -1 / std::expm1(-items_[i].weight * items_.front().key);
}

template <class T>
void weighted_reservoir_sampler<T>::save(writer& out) const {
  out.begin_frame("weighted_reservoir_sampler");
  out.put(static_cast<std::uint64_t>(capacity_));
  out.put(count_);
  out.put(positive_);
  out.put(total_);
  out.put(left_);
  engine_.save(out);
  out.put(static_cast<std::uint64_t>(items_.size()));
  for (const weighted_item<T>& entry : items_) {
    out.put(entry.item);
    out.put(entry.weight);
    out.put(entry.key);
  }
  out.end_frame();
}

template <class T>
weighted_reservoir_sampler<T> weighted_reservoir_sampler<T>::load(reader& in) {
  in.begin_frame("weighted_reservoir_sampler");
  const auto capacity = in.get<std::uint64_t>();
  if (capacity == 0 || capacity > std::numeric_limits<std::size_t>::max())
    in.fail("weighted_reservoir_sampler: capacity ", capacity, ", wanted at least 1");
  weighted_reservoir_sampler result(static_cast<std::size_t>(capacity), seed{});
  result.count_ = in.get<std::uint64_t>();
  result.positive_ = in.get<std::uint64_t>();
  result.total_ = in.get<double>();
  result.left_ = in.get<double>();
  result.engine_ = random_engine::load(in);
  const auto size = in.get<std::uint64_t>();
  if (size != std::min(capacity, result.positive_) || result.positive_ > result.count_)
    in.fail("weighted_reservoir_sampler: ", size, " items of ", result.positive_, " of ",
            result.count_, " at capacity ", capacity);
  if (size > in.remaining() / (sizeof(T) + 2 * sizeof(double)))
    in.fail("weighted_reservoir_sampler: ", size, " items are announced, ", in.remaining(),
            " bytes remain");
  for (std::uint64_t i = 0; i < size; ++i) {
    weighted_item<T> entry;
    entry.item = in.get<T>();
    entry.weight = in.get<double>();
    entry.key = in.get<double>();
    if (!(entry.weight > 0 && entry.weight < infinity && entry.key >= 0))
      in.fail("weighted_reservoir_sampler: weight ", entry.weight, " and key ", entry.key);
    result.items_.push_back(entry);
  }
  in.end_frame();
  if (!std::is_heap(result.items_.begin(), result.items_.end(), detail::smaller_key) ||
      !(result.left_ >= 0) || !(result.total_ >= 0) || (size < capacity && result.left_ != 0))
    in.fail("weighted_reservoir_sampler: keys out of order, or weight ", result.total_, " and ",
            result.left_, " left do not fit");
  return result;
}

}  // namespace skim::inline v0
