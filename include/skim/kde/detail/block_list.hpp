// SPDX-License-Identifier: Apache-2.0
//
// Weighted points in blocks of eight, as the density structures read them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/linalg/point_block.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0::detail {

// Points under their places 0 .. size() - 1. A block is dim rows of eight coordinates and a row of eight
// weights; places that hold no point have the weight 0 (and coordinates 0), so that sums need no mask.
class block_list {
 public:
  explicit block_list(std::size_t dim) : dim_(dim) {}

  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }
  [[nodiscard]] std::size_t blocks() const noexcept {
    return (size() + block_points - 1) / block_points;
  }
  // Floats from one block to the next.
  [[nodiscard]] std::size_t stride() const noexcept { return (dim_ + 1) * block_points; }
  [[nodiscard]] const float* block(std::size_t b) const noexcept {
    return values_.data() + b * stride();
  }
  [[nodiscard]] id_t id(std::size_t place) const noexcept { return ids_[place]; }
  [[nodiscard]] std::span<const id_t> ids() const noexcept { return ids_; }
  [[nodiscard]] float weight(std::size_t place) const noexcept { return *at(place, dim_); }
  void copy_point(std::size_t place, std::span<float> out) const noexcept {
    for (std::size_t j = 0; j < dim_; ++j) out[j] = *at(place, j);
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return values_.capacity() * sizeof(float) + ids_.capacity() * sizeof(id_t);
  }

  // Points that there is memory for.
  [[nodiscard]] std::size_t room() const noexcept {
    return std::min(values_.capacity() / stride() * block_points, ids_.capacity());
  }
  // Room for so many points in all, or for one more (by an eighth more than there are: memory is what
  // these structures compete on). An exception changes nothing.
  void reserve(std::size_t points) {
    values_.reserve((points + block_points - 1) / block_points * stride());
    ids_.reserve(points);
  }
  void reserve_one() {
    if (ids_.size() == ids_.capacity()) ids_.reserve(grown(ids_.size()));
    if (ids_.size() % block_points == 0 && values_.size() + stride() > values_.capacity())
      values_.reserve(grown(blocks()) * stride());
  }

  // Pre: x.size() == dim(), weight > 0. Does not throw after reserve_one(). Returns the place.
  std::size_t push(std::span<const float> x, float weight, id_t id) {
    if (ids_.size() % block_points == 0) values_.resize(values_.size() + stride());
    ids_.push_back(id);
    put(size() - 1, x, weight);
    return size() - 1;
  }
  // Puts another point in the place.
  void put(std::size_t place, std::span<const float> x, float weight) noexcept {
    for (std::size_t j = 0; j < dim_; ++j) *at(place, j) = x[j];
    *at(place, dim_) = weight;
  }
  void set_weight(std::size_t place, float weight) noexcept { *at(place, dim_) = weight; }
  // Exchanges two places.
  void swap(std::size_t a, std::size_t b) noexcept {
    if (a == b) return;
    for (std::size_t j = 0; j <= dim_; ++j) std::swap(*at(a, j), *at(b, j));
    std::swap(ids_[a], ids_[b]);
  }
  // Takes a point out; the last takes its place.
  void remove(std::size_t place) noexcept {
    const std::size_t last = size() - 1;
    if (place != last) {
      for (std::size_t j = 0; j <= dim_; ++j) *at(place, j) = *at(last, j);
      ids_[place] = ids_[last];
    }
    for (std::size_t j = 0; j <= dim_; ++j) *at(last, j) = 0;
    ids_.pop_back();
    values_.resize(blocks() * stride());
  }
  void clear() noexcept {
    values_.clear();
    ids_.clear();
  }

 private:
  [[nodiscard]] static std::size_t grown(std::size_t n) noexcept { return n + n / 8 + 4; }
  [[nodiscard]] float* at(std::size_t place, std::size_t j) noexcept {
    return values_.data() + place / block_points * stride() + j * block_points +
           place % block_points;
  }
  [[nodiscard]] const float* at(std::size_t place, std::size_t j) const noexcept {
    return const_cast<block_list*>(this)->at(place, j);
  }

  std::size_t dim_;
  aligned_vector<float> values_;
  std::vector<id_t> ids_;
};

// The kernel's values of a block times the weights, unsummed.
template <class Profile>
[[nodiscard]] SKIM_ALWAYS_INLINE block_floats<> weighted_kernels(const Profile& profile,
                                                                 const float* block,
                                                                 const float* query,
                                                                 std::size_t dim) noexcept {
  using pack = block_floats<>::pack;
  block_floats<> d = Profile::manhattan ? block_manhattan_distances(block, query, dim)
                                        : block_squared_distances(block, query, dim);
  for (std::size_t i = 0; i < d.packs; ++i)
    d.v[i] = profile(d.v[i]) * pack::load_aligned(block + dim * block_points + i * pack::size);
  return d;
}

// Their sum.
template <class Profile>
[[nodiscard]] SKIM_ALWAYS_INLINE float kernel_sum(const Profile& profile, const float* block,
                                                  const float* query, std::size_t dim) noexcept {
  const block_floats<> k = weighted_kernels(profile, block, query, dim);
  block_floats<>::pack sum = k.v[0];
  for (std::size_t i = 1; i < k.packs; ++i) sum = sum + k.v[i];
  return simd::reduce_add(sum);
}

}  // namespace skim::inline v0::detail
