// SPDX-License-Identifier: Apache-2.0
//
// Weighted points row by row under their ids, for the structures that read them one at a time.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/large_pages.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0::detail {

// What a kernel's profile takes: the squared distance, or the sum of absolute differences.
template <class Profile>
[[nodiscard]] SKIM_ALWAYS_INLINE float profile_distance(const float* x, const float* y,
                                                        std::size_t dim) noexcept {
  return sum_over<simd::default_arch>(x, y, dim, [](auto a, auto b, auto s) {
    const auto t = a - b;
    if constexpr (Profile::manhattan)
      return simd::abs(t) + s;
    else
      return simd::fma(t, t, s);
  });
}

// An id is the number of a row; the id given back last is given first. What it is given was checked.
class point_rows {
 public:
  explicit point_rows(std::size_t dim) : dim_(dim) {}

  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  [[nodiscard]] std::size_t size() const noexcept { return slots() - free_.size(); }
  // Ids in use are below this.
  [[nodiscard]] std::size_t slots() const noexcept { return weights_.size(); }
  [[nodiscard]] double total_weight() const noexcept { return total_; }
  [[nodiscard]] bool contains(id_t id) const noexcept { return id < slots() && weights_[id] > 0; }
  // Pre: contains(id).
  [[nodiscard]] std::span<const float> row(id_t id) const noexcept {
    return {rows_.data() + id * dim_, dim_};
  }
  [[nodiscard]] const float* data(id_t id) const noexcept { return rows_.data() + id * dim_; }
  // 0 where there is no point.
  [[nodiscard]] float weight(id_t id) const noexcept { return weights_[id]; }
  void prefetch(id_t id) const noexcept {
    const float* const at = rows_.data() + id * dim_;
    constexpr std::size_t line = cache_line / sizeof(float);
    for (std::size_t l = 0; l < std::min<std::size_t>(dim_, 16 * line); l += line)
      SKIM_PREFETCH(at + l);
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return (rows_.capacity() + weights_.capacity()) * sizeof(float) +
           free_.capacity() * sizeof(id_t);
  }

  void check(std::string_view who, id_t id) const {
    if (!contains(id))
      SKIM_THROW(invalid_input, concat(who, ": got id ", id, ", wanted that of a point it holds"));
  }

  // Room for so many more, by an eighth at least. Throws invalid_input beyond 2^31 - 2 points. An exception
  // changes nothing.
  void reserve(std::string_view who, std::size_t more) {
    if (more > most_points - 1 - size())
      SKIM_THROW(invalid_input, concat(who, ": got ", size(), " points and ", more,
                                       " more, wanted fewer than 2^31 - 1"));
    if (more <= free_.size()) return;
    const std::size_t wanted = slots() + more - free_.size(), grown = slots() + slots() / 8 + 16;
    if (wanted > weights_.capacity()) weights_.reserve(std::max(wanted, grown));
    if (wanted * dim_ > rows_.capacity()) rows_.reserve(std::max(wanted, grown) * dim_);
  }
  // Pre: there is room.
  id_t insert(std::span<const float> x, float w) {
    id_t id = static_cast<id_t>(slots());
    if (free_.empty()) {
      weights_.push_back(w);
      rows_.insert(rows_.end(), x.begin(), x.end());
    } else {
      id = free_.back();
      free_.pop_back();
      put(id, x);
      weights_[id] = w;
    }
    sum_.add(w);
    total_ = sum_.value();
    return id;
  }
  // Pre: contains(id).
  void erase(id_t id) {
    free_.push_back(id);
    sum_.subtract(weights_[id]);
    total_ = sum_.value();
    weights_[id] = 0;
    const auto at = rows_.begin() + static_cast<std::ptrdiff_t>(id * dim_);
    std::fill(at, at + static_cast<std::ptrdiff_t>(dim_), 0.0f);
  }
  // Keeps the weight. Pre: contains(id).
  void put(id_t id, std::span<const float> x) noexcept {
    std::copy(x.begin(), x.end(), rows_.begin() + static_cast<std::ptrdiff_t>(id * dim_));
  }
  void clear() noexcept {
    rows_.clear();
    weights_.clear();
    free_.clear();
    sum_ = {};
    total_ = 0;
  }

  // The sum of all weighted kernels at x.
  [[nodiscard]] double kernel_total(const density_kernel& k, const float* x) const noexcept {
    constexpr std::size_t group = 8;  // of rows, whose kernels are evaluated together
    using pack = simd::floats<simd::default_arch>;
    static_assert(group % pack::size == 0 || pack::size > group);
    return with_profile(k, [&](auto profile) {
      using profile_type = decltype(profile);
      constexpr std::size_t width = std::max(group, pack::size);
      double sum = 0;
      for (std::size_t first = 0; first < slots(); first += width) {
        std::array<float, width> distance{}, weight{};
        for (std::size_t i = 0; i < std::min(width, slots() - first); ++i) {
          distance[i] = profile_distance<profile_type>(rows_.data() + (first + i) * dim_, x, dim_);
          weight[i] = weights_[first + i];
        }
        pack part = pack::broadcast(0.0f);
        for (std::size_t i = 0; i < width; i += pack::size)
          part = simd::fma(profile(pack::load(distance.data() + i)), pack::load(weight.data() + i),
                           part);
        sum += static_cast<double>(simd::reduce_add(part));
      }
      return sum;
    });
  }

  void save(writer& out) const {
    out.begin_frame("point_rows");
    out.put(std::uint64_t{dim_});
    out.put(std::span<const float>(weights_));
    out.put(std::span<const float>(rows_));
    out.put(std::span<const id_t>(free_));
    out.end_frame();
  }
  // Points are checked as those of k.
  [[nodiscard]] static point_rows load(reader& in, const density_kernel& k) {
    in.begin_frame("point_rows");
    const auto dim = in.get<std::uint64_t>();
    if (dim == 0 || dim > std::uint64_t{1} << 24) in.fail("points of ", dim, " dimensions");
    point_rows t(static_cast<std::size_t>(dim));
    const std::vector<float> weights = in.get_vector<float>();
    if (weights.size() >= most_points)
      in.fail(weights.size(), " points, wanted fewer than 2^31 - 1");
    if (weights.size() > in.remaining() / sizeof(float) / t.dim_)
      in.fail(weights.size(), " points of ", dim, " dimensions are announced, ", in.remaining(),
              " bytes remain");
    t.weights_.assign(weights.begin(), weights.end());
    t.rows_.resize(weights.size() * t.dim_);
    in.get_into(std::span<float>(t.rows_));
    t.free_ = in.get_vector<id_t>();
    std::vector<bool> is_free(t.slots());
    for (const id_t id : t.free_) {
      if (id >= t.slots() || is_free[id])
        in.fail("free id ", id, " of ", t.slots(), ", or one named twice");
      is_free[id] = true;
    }
    for (std::size_t i = 0; i < t.slots(); ++i) {
      const std::span<const float> x = t.row(static_cast<id_t>(i));
      const float w = t.weights_[i], square = all_finite(x) ? dot(x, x) : -1.0f;
      if (is_free[i]) {
        if (!(w == 0) || !std::all_of(x.begin(), x.end(), [](float v) { return v == 0; }))
          in.fail("free id ", i, " with a weight or coordinates that are not 0");
        continue;
      }
      if (!(square >= 0 && square <= largest_point_square) ||
          !(w >= least_weight && w <= largest_weight) ||
          (k.on_sphere() && !(square > 0.999f && square < 1.001f)))
        in.fail("point ", i, " has an impossible coordinate, norm or weight");
      t.sum_.add(w);
    }
    t.total_ = t.sum_.value();
    in.end_frame();
    return t;
  }

 private:
  std::size_t dim_;
  large_vector<float> rows_;    // (slots, dim), zeros where there is no point
  std::vector<float> weights_;  // 0 where there is no point
  std::vector<id_t> free_;      // the last is given next
  weight_sum sum_;
  double total_ = 0;
};

}  // namespace skim::inline v0::detail
