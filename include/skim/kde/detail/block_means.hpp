// SPDX-License-Identifier: Apache-2.0
//
// k-means over points in blocks: few centroids at a time, so that the nearest is found by looking at
// all of them, eight at once.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/random.hpp"
#include "skim/kde/detail/block_list.hpp"
#include "skim/linalg/point_block.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0::detail {

struct nearest_place {
  std::size_t place = 0;
  float square = std::numeric_limits<float>::infinity();
};

// The point nearest to x, of weight above 0; the first of equals.
[[nodiscard]] inline nearest_place nearest_in(const block_list& list, const float* x) noexcept {
  using pack = block_floats<>::pack;
  nearest_place best;
  std::array<float, block_points> squares;
  for (std::size_t b = 0; b < list.blocks(); ++b) {
    const block_floats<> d = block_squared_distances(list.block(b), x, list.dim());
    std::uint32_t nearer = 0;
    const pack limit = pack::broadcast(best.square);
    for (std::size_t v = 0; v < d.packs; ++v)
      nearer |= simd::greater_bits(limit, d.v[v]) << (v * pack::size);
    if (nearer == 0) continue;
    d.store(squares.data());
    const std::size_t n = std::min(block_points, list.size() - b * block_points);
    for (std::size_t i = 0; i < n; ++i)
      if (squares[i] < best.square) best = {b * block_points + i, squares[i]};
  }
  return best;
}

// To length 1; leaves a zero vector.
inline void scale_to_sphere(std::span<float> x) noexcept {
  float most = 0;
  for (const float v : x) most = std::max(most, std::abs(v));
  if (most == 0) return;
  // In two steps, since the square of a small vector may underflow.
  const double scale = 1.0 / static_cast<double>(most);
  double square = 0;
  for (const float v : x) {
    const double t = static_cast<double>(v) * scale;
    square += t * t;
  }
  const double factor = scale / std::sqrt(square);
  for (float& v : x) v = static_cast<float>(static_cast<double>(v) * factor);
}

// k-means of n points row(i), i < n, in `rounds` rounds from k different ones at random: the centroids
// (weights 1). On the sphere where `sphere`. A centroid that loses its points begins anew at one of
// them. Pre: 1 <= k <= n.
template <class Row>
[[nodiscard]] block_list k_means(std::size_t dim, std::size_t n, Row&& row, std::size_t k,
                                 std::size_t rounds, bool sphere, random_engine g) {
  block_list centroids(dim);
  centroids.reserve(k);
  std::vector<std::uint32_t> order(n);
  for (std::size_t i = 0; i < n; ++i) order[i] = static_cast<std::uint32_t>(i);
  for (std::size_t c = 0; c < k; ++c) {
    std::swap(order[c], order[c + static_cast<std::size_t>(uniform_below(g, n - c))]);
    centroids.push(row(order[c]), 1.0f, static_cast<id_t>(c));
  }
  std::vector<double> sums;
  std::vector<std::size_t> counts;
  std::vector<float> mean(dim);
  for (std::size_t r = 0; r < rounds && k > 1; ++r) {
    sums.assign(k * dim, 0.0);
    counts.assign(k, 0);
    for (std::size_t i = 0; i < n; ++i) {
      const std::span<const float> x = row(i);
      const std::size_t c = nearest_in(centroids, x.data()).place;
      ++counts[c];
      for (std::size_t j = 0; j < dim; ++j) sums[c * dim + j] += static_cast<double>(x[j]);
    }
    for (std::size_t c = 0; c < k; ++c) {
      if (counts[c] == 0) {
        centroids.put(c, row(static_cast<std::size_t>(uniform_below(g, n))), 1.0f);
        continue;
      }
      for (std::size_t j = 0; j < dim; ++j)
        mean[j] = static_cast<float>(sums[c * dim + j] / static_cast<double>(counts[c]));
      if (sphere) scale_to_sphere(mean);
      centroids.put(c, mean, 1.0f);
    }
  }
  return centroids;
}

// Two parts of a list: which points are in the second, and the two means.
struct halves {
  std::vector<bool> second;
  std::size_t seconds = 0;
  std::vector<float> means[2];
};

// 2-means from two of the points, the other one the farthest of a few from the first.
[[nodiscard]] inline halves two_means(const block_list& list, std::size_t rounds, bool sphere,
                                      random_engine& g) {
  using pack = block_floats<>::pack;
  const std::size_t dim = list.dim(), n = list.size();
  halves h;
  h.second.assign(n, false);
  for (auto& m : h.means) m.resize(dim);
  list.copy_point(static_cast<std::size_t>(uniform_below(g, n)), h.means[0]);
  std::vector<float> candidate(dim);
  double farthest = -1;
  for (std::size_t i = 0; i < 8; ++i) {
    list.copy_point(static_cast<std::size_t>(uniform_below(g, n)), candidate);
    double square = 0;
    for (std::size_t j = 0; j < dim; ++j) {
      const double t = static_cast<double>(candidate[j]) - static_cast<double>(h.means[0][j]);
      square += t * t;
    }
    if (square > farthest) {
      farthest = square;
      h.means[1] = candidate;
    }
  }
  if (farthest <= 0) return h;
  aligned_vector<float> all(dim * block_points), part(dim * block_points);
  const pack one = pack::broadcast(1.0f), zero = pack::broadcast(0.0f);
  std::array<float, block_points> member;
  for (std::size_t r = 0; r < rounds; ++r) {
    std::fill(part.begin(), part.end(), 0.0f);
    if (r == 0) std::fill(all.begin(), all.end(), 0.0f);
    h.seconds = 0;
    for (std::size_t b = 0; b < list.blocks(); ++b) {
      const float* block = list.block(b);
      const block_floats<> d0 = block_squared_distances(block, h.means[0].data(), dim),
                           d1 = block_squared_distances(block, h.means[1].data(), dim);
      for (std::size_t v = 0; v < d0.packs; ++v) {
        const pack in = simd::where_greater(d0.v[v], d1.v[v], one, zero);
        in.store(member.data() + v * pack::size);
        // Places without a point have coordinates 0.
        for (std::size_t j = 0; j < dim; ++j) {
          const std::size_t at = j * block_points + v * pack::size;
          const pack x = pack::load_aligned(block + at);
          simd::fma(in, x, pack::load_aligned(part.data() + at)).store(part.data() + at);
          if (r == 0) (x + pack::load_aligned(all.data() + at)).store(all.data() + at);
        }
      }
      for (std::size_t i = b * block_points; i < std::min(n, (b + 1) * block_points); ++i) {
        h.second[i] = member[i - b * block_points] > 0;
        h.seconds += h.second[i] ? 1u : 0u;
      }
    }
    if (h.seconds == 0 || h.seconds == n) break;
    for (std::size_t j = 0; j < dim; ++j) {
      double sum = 0, second = 0;
      for (std::size_t i = 0; i < block_points; ++i) {
        sum += static_cast<double>(all[j * block_points + i]);
        second += static_cast<double>(part[j * block_points + i]);
      }
      h.means[1][j] = static_cast<float>(second / static_cast<double>(h.seconds));
      h.means[0][j] = static_cast<float>((sum - second) / static_cast<double>(n - h.seconds));
    }
    if (sphere)
      for (auto& m : h.means) scale_to_sphere(m);
  }
  return h;
}

}  // namespace skim::inline v0::detail
