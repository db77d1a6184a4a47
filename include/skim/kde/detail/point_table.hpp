// SPDX-License-Identifier: Apache-2.0
//
// Weighted points under their ids in one list of blocks: what the density structures without an index of
// their own are made of. Also the checks that all density structures share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0::detail {

// Throws invalid_input unless x may be a point or a query: of dimension dim, finite, of a squared norm of
// at most 1e37 (sums of two do not overflow), and no zero vector where points go to the sphere.
inline void check_density_point(std::string_view who, std::span<const float> x, std::size_t dim,
                                const density_kernel& kernel) {
  if (x.size() != dim)
    SKIM_THROW(invalid_input,
               concat(who, ": got a point of dimension ", x.size(), ", wanted ", dim));
  if (!all_finite(x)) {
    const std::size_t at = first_non_finite(x);
    SKIM_THROW(invalid_input,
               concat(who, ": got ", x[at], " at coordinate ", at, ", wanted finite coordinates"));
  }
  const float square = dot(x, x);
  if (!(square <= 1e37f))
    SKIM_THROW(invalid_input,
               concat(who, ": got a squared norm of ", square, ", wanted at most 1e37"));
  if (kernel.on_sphere() && std::all_of(x.begin(), x.end(), [](float v) { return v == 0; }))
    SKIM_THROW(invalid_input, concat(who, ": got a zero vector, which has no angle"));
}

inline void check_density_weight(std::string_view who, float weight) {
  if (!(weight >= 1e-15f && weight <= 1e15f))
    SKIM_THROW(invalid_input, concat(who, ": got a weight of ", weight, ", wanted 1e-15 to 1e15"));
}

inline void check_density_batch(std::string_view who, std::size_t rows, std::size_t out) {
  if (rows != out)
    SKIM_THROW(invalid_input, concat(who, ": got room for ", out, " answers, wanted ", rows));
}

// Sets a kernel of a structure that holds points: those of the angular one lie on the sphere.
inline void change_kernel(std::string_view who, density_kernel& from, const density_kernel& to) {
  to.check(who);
  if (from.on_sphere() != to.on_sphere())
    SKIM_THROW(invalid_params,
               concat(who, ": got the kernel ", name_of(to.kind), " after ", name_of(from.kind),
                      ", wanted both or neither on the sphere"));
  from = to;
}

// x as it is kept and compared: itself, or in `to` (dim floats) put on the sphere. Pre: x was checked.
[[nodiscard]] inline std::span<const float> kept_point(std::span<const float> x,
                                                       std::span<float> to,
                                                       const density_kernel& kernel) noexcept {
  if (!kernel.on_sphere()) return x;
  double largest = 0, square = 0;
  for (const float v : x) largest = std::max(largest, std::abs(static_cast<double>(v)));
  for (const float v : x)
    square += (static_cast<double>(v) / largest) * (static_cast<double>(v) / largest);
  const double length = largest * std::sqrt(square);
  for (std::size_t j = 0; j < x.size(); ++j)
    to[j] = static_cast<float>(static_cast<double>(x[j]) / length);
  return to.first(x.size());
}

class point_table {
 public:
  point_table(std::string_view who, std::size_t dim, const density_kernel& kernel)
      : kernel_(kernel), points_(dim), scratch_(dim) {
    if (dim == 0 || dim > std::size_t{1} << 24)
      SKIM_THROW(invalid_params, concat(who, ": got ", dim, " dimensions, wanted 1 to 2^24"));
    kernel.check(who);
  }

  [[nodiscard]] const density_kernel& kernel() const noexcept { return kernel_; }
  void set_kernel(std::string_view who, const density_kernel& k) { change_kernel(who, kernel_, k); }
  [[nodiscard]] std::size_t dim() const noexcept { return points_.dim(); }
  [[nodiscard]] std::size_t size() const noexcept { return points_.size(); }
  [[nodiscard]] double total_weight() const noexcept { return total_; }
  [[nodiscard]] const block_list& points() const noexcept { return points_; }
  [[nodiscard]] bool contains(id_t id) const noexcept {
    return id < places_.size() && places_[id] != nowhere;
  }
  [[nodiscard]] std::size_t place(id_t id) const noexcept { return places_[id]; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return points_.bytes() + places_.capacity() * sizeof(std::uint32_t) +
           free_.capacity() * sizeof(id_t);
  }

  void check_id(std::string_view who, id_t id) const {
    if (!contains(id))
      SKIM_THROW(invalid_input, concat(who, ": got id ", id, ", wanted that of a point it holds"));
  }

  void reserve(std::size_t points) {
    points_.reserve(points);
    places_.reserve(std::max(points, places_.size()));
  }

  // All rows anew, with the ids 0, 1, ...
  void build(std::string_view who, matrix_view<const float> x, std::span<const float> weights) {
    if (!weights.empty() && weights.size() != x.rows())
      SKIM_THROW(invalid_input,
                 concat(who, ": got ", weights.size(), " weights, wanted none or ", x.rows()));
    point_table fresh(who, dim(), kernel_);
    fresh.reserve(x.rows());
    for (std::size_t i = 0; i < x.rows(); ++i)
      fresh.insert(who, x.row(i), weights.empty() ? 1.0f : weights[i]);
    *this = std::move(fresh);
  }

  // Adds a point in the last place. Throws as check_density_point() and check_density_weight() do.
  id_t insert(std::string_view who, std::span<const float> x, float weight) {
    check_density_point(who, x, dim(), kernel_);
    check_density_weight(who, weight);
    if (free_.empty() && places_.size() >= unknown)
      SKIM_THROW(invalid_input, concat(who, ": wanted fewer than 2^32 - 1 points"));
    points_.reserve_one();
    if (free_.empty()) places_.push_back(nowhere);
    const id_t id = free_.empty() ? static_cast<id_t>(places_.size() - 1) : free_.back();
    if (!free_.empty()) free_.pop_back();
    places_[id] =
        static_cast<std::uint32_t>(points_.push(kept_point(x, scratch_, kernel_), weight, id));
    total_ += static_cast<double>(weight);
    most_ = std::max(most_, total_);
    return id;
  }
  void erase(std::string_view who, id_t id) {
    check_id(who, id);
    free_.push_back(id);  // first, as it may throw
    const std::uint32_t place = places_[id];
    total_ -= static_cast<double>(points_.weight(place));
    points_.remove(place);
    if (place < points_.size()) places_[points_.id(place)] = place;
    places_[id] = nowhere;
    // What heavy points have rounded away is counted anew when most of the weight has gone.
    if (total_ < most_ / 2) count();
  }
  void replace(std::string_view who, id_t id, std::span<const float> x) {
    check_id(who, id);
    check_density_point(who, x, dim(), kernel_);
    points_.put(places_[id], kept_point(x, scratch_, kernel_), points_.weight(places_[id]));
  }
  void swap(std::size_t a, std::size_t b) noexcept {
    points_.swap(a, b);
    places_[points_.id(a)] = static_cast<std::uint32_t>(a);
    places_[points_.id(b)] = static_cast<std::uint32_t>(b);
  }
  void clear() noexcept {
    points_.clear();
    places_.clear();
    free_.clear();
    total_ = most_ = 0;
  }

  void save(writer& out) const {
    out.begin_frame("point_table");
    out.put(std::uint64_t{dim()});
    out.put(kernel_.kind);
    out.put(kernel_.bandwidth);
    out.put(std::uint64_t{places_.size()});
    out.put(std::span<const id_t>(free_));
    out.put(points_.ids());
    std::vector<float> row(dim() + 1);
    for (std::size_t i = 0; i < size(); ++i) {
      points_.copy_point(i, std::span(row).first(dim()));
      row[dim()] = points_.weight(i);
      out.put(std::span<const float>(row));
    }
    out.end_frame();
  }
  [[nodiscard]] static point_table load(std::string_view who, reader& in) {
    in.begin_frame("point_table");
    const auto dim = in.get<std::uint64_t>();
    density_kernel kernel;
    kernel.kind = in.get<kernel_kind>();
    kernel.bandwidth = in.get<double>();
    const auto slots = in.get<std::uint64_t>();
    if (dim == 0 || dim > std::uint64_t{1} << 24 || kernel.kind > kernel_kind::angular ||
        !(kernel.bandwidth >= 1e-15 && kernel.bandwidth <= 1e15))
      in.fail("points of ", dim, " dimensions under the kernel ",
              static_cast<unsigned>(kernel.kind), " of bandwidth ", kernel.bandwidth);
    point_table t(who, static_cast<std::size_t>(dim), kernel);
    t.free_ = in.get_vector<id_t>();
    const auto ids = in.get_vector<id_t>();
    if (slots != t.free_.size() + ids.size() || slots > unknown)
      in.fail(slots, " ids are announced, ", ids.size(), " are in use and ", t.free_.size(),
              " free");
    if (ids.size() > in.remaining() / sizeof(float) / (dim + 1))
      in.fail(ids.size(), " points of ", dim, " dimensions are announced, ", in.remaining(),
              " bytes remain");
    t.places_.assign(static_cast<std::size_t>(slots), unknown);
    const auto take = [&](id_t id, std::uint32_t place) {
      if (id >= slots || t.places_[id] != unknown) in.fail("id ", id, " twice or out of range");
      t.places_[id] = place;
    };
    for (const id_t id : t.free_) take(id, nowhere);
    t.points_.reserve(ids.size());
    std::vector<float> row(t.dim() + 1);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      take(ids[i], static_cast<std::uint32_t>(i));
      in.get_into(std::span(row));
      const std::span<const float> x(row.data(), t.dim());
      const float weight = row.back();
      const float square = all_finite(x) ? dot(x, x) : std::numeric_limits<float>::infinity();
      const bool placed = kernel.on_sphere() ? std::abs(square - 1) < 1e-3f : square <= 1e37f;
      if (!placed || !(weight >= 1e-15f && weight <= 1e15f))
        in.fail("point ", i, " has the squared norm ", square, " and the weight ", weight);
      t.points_.push(x, weight, ids[i]);
    }
    in.end_frame();
    t.count();
    return t;
  }

 private:
  static constexpr std::uint32_t nowhere = 0xffffffffu, unknown = 0xfffffffeu;

  void count() noexcept {
    total_ = 0;
    for (std::size_t i = 0; i < size(); ++i) total_ += static_cast<double>(points_.weight(i));
    most_ = total_;
  }

  density_kernel kernel_;
  block_list points_;
  std::vector<std::uint32_t> places_;  // of each id
  std::vector<id_t> free_;             // the last is used next
  std::vector<float> scratch_;         // one point
  double total_ = 0, most_ = 0;        // weight of all points; the most since it was counted
};

}  // namespace skim::inline v0::detail
