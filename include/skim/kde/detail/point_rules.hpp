// SPDX-License-Identifier: Apache-2.0
//
// What every density structure asks of points, weights and queries.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0::detail {

// Squared norms beyond this are refused: squared distances would overflow.
inline constexpr float largest_point_square = 1e37f;
// Sums of eight weights are taken in float, and all weights fit into a weight_sum.
inline constexpr float least_weight = 1e-15f, largest_weight = 1e15f;
// Places and ids leave the highest bit to those who keep them.
inline constexpr std::size_t most_points = (std::size_t{1} << 31) - 1;

inline void check_dim(std::string_view who, std::size_t dim) {
  if (dim == 0 || dim > std::size_t{1} << 24)
    SKIM_THROW(invalid_params, concat(who, ": got ", dim, " dimensions, wanted 1 to 2^24"));
}

// Throws invalid_input unless x could be a point, or a query.
inline void check_point(std::string_view who, std::span<const float> x, std::size_t dim,
                        const density_kernel& k) {
  if (x.size() != dim)
    SKIM_THROW(invalid_input,
               concat(who, ": got a point of dimension ", x.size(), ", wanted ", dim));
  if (!all_finite(x)) {
    const std::size_t at = first_non_finite(x);
    SKIM_THROW(invalid_input,
               concat(who, ": got ", x[at], " at coordinate ", at, ", wanted finite coordinates"));
  }
  const float square = dot(x, x);
  if (!(square <= largest_point_square))
    SKIM_THROW(invalid_input, concat(who, ": got a squared norm of ", square, ", wanted at most ",
                                     largest_point_square));
  if (k.on_sphere() && std::all_of(x.begin(), x.end(), [](float v) { return v == 0; }))
    SKIM_THROW(invalid_input, concat(who, ": got the zero vector, which has no angle"));
}
inline void check_points(std::string_view who, matrix_view<const float> x, std::size_t dim,
                         const density_kernel& k) {
  if (x.cols() != dim)
    SKIM_THROW(invalid_input,
               concat(who, ": got points of dimension ", x.cols(), ", wanted ", dim));
  for (std::size_t i = 0; i < x.rows(); ++i) check_point(who, x.row(i), dim, k);
}

inline void check_weight(std::string_view who, float w) {
  if (!(w >= least_weight && w <= largest_weight))
    SKIM_THROW(invalid_input, concat(who, ": got a weight of ", w, ", wanted 1e-15 to 1e15"));
}
// Of the rows of a batch; none: they all weigh 1.
inline void check_weights(std::string_view who, std::span<const float> weights, std::size_t rows) {
  if (!weights.empty() && weights.size() != rows)
    SKIM_THROW(invalid_input,
               concat(who, ": got ", weights.size(), " weights for ", rows, " rows"));
  for (const float w : weights) check_weight(who, w);
}
inline void check_ids_room(std::string_view who, std::size_t ids, std::size_t rows) {
  if (ids != 0 && ids != rows)
    SKIM_THROW(invalid_input, concat(who, ": got room for ", ids, " ids, wanted ", rows));
}
inline void check_estimates_room(std::string_view who, std::size_t room, std::size_t queries) {
  if (room != queries)
    SKIM_THROW(invalid_input, concat(who, ": got room for ", room, " estimates, wanted ", queries));
}
// What is said of no points.
inline constexpr density_estimate no_points{0, 0, 0, true};

// Of another kernel for points that are stored under one.
inline void check_kernel_change(std::string_view who, const density_kernel& from,
                                const density_kernel& to) {
  to.check(who);
  if (from.on_sphere() != to.on_sphere())
    SKIM_THROW(invalid_params,
               concat(who, ": got the ", name_of(to.kind), " kernel after the ", name_of(from.kind),
                      " one, wanted both angular or neither: points are stored on the sphere"));
}

// To length 1, in two steps, since the square of a small vector may underflow. Pre: not zero.
inline void put_on_sphere(std::span<float> x) noexcept {
  float most = 0;
  for (const float v : x) most = std::max(most, std::abs(v));
  const double scale = 1.0 / static_cast<double>(most);
  double square = 0;
  for (const float v : x) {
    const double t = static_cast<double>(v) * scale;
    square += t * t;
  }
  const double factor = scale / std::sqrt(square);
  for (float& v : x) v = static_cast<float>(static_cast<double>(v) * factor);
}

// x as it is compared: itself, or a copy on the sphere. Pre: x was checked; room for it, if on_sphere().
[[nodiscard]] inline std::span<const float> as_compared(std::span<const float> x,
                                                        const density_kernel& k,
                                                        std::span<float> room) noexcept {
  if (!k.on_sphere()) return x;
  const std::span<float> copy = room.first(x.size());
  std::copy(x.begin(), x.end(), copy.begin());
  put_on_sphere(copy);
  return copy;
}
[[nodiscard]] inline std::span<const float> as_compared(std::span<const float> x,
                                                        const density_kernel& k,
                                                        workspace::frame_type& frame) {
  return as_compared(x, k, k.on_sphere() ? frame.take<float>(x.size()) : std::span<float>());
}

// Runs f(i, engine of query i, workspace) -> estimate for all queries: the answers do not depend on
// the executor.
template <class Executor, class F>
void each_query(std::string_view who, std::size_t queries, std::span<density_estimate> out,
                std::size_t grain, seed s, Executor& run, const F& f) {
  check_estimates_room(who, out.size(), queries);
  const random_engine root(s);
  run.parallel_for(queries, grain, [&](std::size_t first, std::size_t last) {
    workspace ws;
    for (std::size_t i = first; i < last; ++i) {
      random_engine g = root.child(i);
      out[i] = f(i, g, ws);
    }
  });
}

// The exact sum of fewer than 2^31 weights: what was added and taken away again leaves nothing behind,
// whatever the sizes. A natural number of 256 bits in units of 2^-123, the last bit of the least weight.
class weight_sum {
 public:
  void add(float w) noexcept { change(w, false); }
  // Pre: was added.
  void subtract(float w) noexcept { change(w, true); }

  // Correctly rounded but for the last bit.
  [[nodiscard]] double value() const noexcept {
    double sum = 0;
    for (std::size_t i = words_.size(); i-- > 0;)
      sum += std::ldexp(static_cast<double>(words_[i]), static_cast<int>(64 * i) - unit);
    return sum;
  }
  friend bool operator==(const weight_sum&, const weight_sum&) = default;

 private:
  static constexpr int unit = 123;

  void change(float w, bool less) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(w);
    const std::uint64_t digits = (bits & 0x7fffffu) | 0x800000u;
    const auto shift = static_cast<unsigned>(static_cast<int>(bits >> 23) - 127 - 23 + unit);
    std::array<std::uint64_t, 4> term{};
    const unsigned word = shift / 64, bit = shift % 64;
    term[word] = digits << bit;
    if (bit > 40) term[word + 1] = digits >> (64 - bit);  // word is 3 only where bit is below 40
    std::uint64_t carry = less ? 1 : 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint64_t t = less ? ~term[i] : term[i], sum = words_[i] + t, all = sum + carry;
      carry = (sum < t ? 1u : 0u) + (all < sum ? 1u : 0u);
      words_[i] = all;
    }
  }

  std::array<std::uint64_t, 4> words_{};
};

}  // namespace skim::inline v0::detail
