// SPDX-License-Identifier: Apache-2.0
//
// Products of a batch with a fixed matrix whose results are used up in registers: signs,
// thresholds.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

/// Outputs that lie side by side in a panel. The same for every instruction set, so that what an
/// object holds does not depend on compiler flags.
inline constexpr std::size_t panel_width = 16;

/// Partial sums of an inner product that is to be the same here and in striped_dots().
inline constexpr std::size_t striped_lanes = 8;

/// Where coordinate k of `dim` stands in a panel_matrix for a striped product: in the order of its
/// chains, so that a panel is read from front to back.
[[nodiscard]] constexpr std::size_t striped_position(std::size_t k, std::size_t dim) noexcept {
  const std::size_t lane = k % striped_lanes;
  return lane * (dim / striped_lanes) + std::min(lane, dim % striped_lanes) + k / striped_lanes;
}

/// A matrix of `outputs` weight vectors of length `dim`, laid out for project().
///
/// Panel p holds outputs [16 p, 16 p + 16), coordinate by coordinate: the 16 weights of coordinate
/// k are one cache line. Outputs that fill up the last panel have zero weights.
///
/// Shape:   (outputs, dim); weight (o, k) at panel(o / 16)[16 k + o % 16].
/// Memory:  4 dim outputs bytes, outputs rounded up to a multiple of 16.
/// Cost:    O(1) for every member but the constructor.
/// Threads: as a value.
class panel_matrix {
 public:
  panel_matrix() = default;
  /// All weights zero.
  panel_matrix(std::size_t outputs, std::size_t dim)
      : outputs_(outputs), dim_(dim), weights_(panels() * dim * panel_width) {}

  /// Another shape in the same memory, which grows where it must: weights are unspecified after it.
  void reshape(std::size_t outputs, std::size_t dim) {
    outputs_ = outputs;
    dim_ = dim;
    if (const std::size_t size = panels() * dim * panel_width; size > weights_.size())
      weights_.resize(size);
  }

  [[nodiscard]] std::size_t outputs() const noexcept { return outputs_; }
  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  [[nodiscard]] std::size_t panels() const noexcept {
    return (outputs_ + panel_width - 1) / panel_width;
  }
  [[nodiscard]] const float* panel(std::size_t p) const noexcept {
    return weights_.data() + p * dim_ * panel_width;
  }
  [[nodiscard]] float* panel(std::size_t p) noexcept {
    return weights_.data() + p * dim_ * panel_width;
  }
  /// Weight of coordinate k in output o. Pre: both in range.
  [[nodiscard]] float& operator()(std::size_t o, std::size_t k) noexcept {
    SKIM_EXPECTS(o < outputs_ && k < dim_);
    return weights_[(o / panel_width * dim_ + k) * panel_width + o % panel_width];
  }
  [[nodiscard]] float operator()(std::size_t o, std::size_t k) const noexcept {
    SKIM_EXPECTS(o < outputs_ && k < dim_);
    return weights_[(o / panel_width * dim_ + k) * panel_width + o % panel_width];
  }

 private:
  std::size_t outputs_ = 0, dim_ = 0;
  aligned_vector<float> weights_;
};

/// The 16 results of one row and one panel, in registers.
template <class Arch>
using panel_result = std::array<simd::floats<Arch>, panel_width / simd::floats<Arch>::size>;

/// Epilogue of project(): bit j of word (row, panel) tells whether output 16 panel + j is positive.
struct sign_epilogue {
  std::uint16_t* words;
  std::size_t stride;  ///< words from one row to the next, at least the panels

  template <class Arch>
  SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                     const panel_result<Arch>& r) const noexcept {
    using pack = simd::floats<Arch>;
    std::uint32_t bits = 0;
    for (std::size_t v = 0; v < r.size(); ++v)
      bits |= simd::greater_bits(r[v], pack::broadcast(0.0f)) << (v * pack::size);
    words[row * stride + panel] = static_cast<std::uint16_t>(bits);
  }
};

/// Epilogue of project(): as sign_epilogue, but output o is compared with thresholds[o].
struct threshold_epilogue {
  std::uint16_t* words;
  std::size_t stride;
  const float* thresholds;  ///< one per output, filled up to a multiple of 16

  template <class Arch>
  SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                     const panel_result<Arch>& r) const noexcept {
    using pack = simd::floats<Arch>;
    std::uint32_t bits = 0;
    for (std::size_t v = 0; v < r.size(); ++v) {
      const pack t = pack::load(thresholds + panel * panel_width + v * pack::size);
      bits |= simd::greater_bits(r[v], t) << (v * pack::size);
    }
    words[row * stride + panel] = static_cast<std::uint16_t>(bits);
  }
};

/// Epilogue of project(): adds an offset to each output, and writes the greatest integer that is not above
/// it, row-major. Sums beyond +-2^30 count as that; one that is not a number, as -2^30.
struct floor_epilogue {
  std::int32_t* out;
  std::size_t stride;  ///< integers from one row to the next, at least the outputs filled up to 16
  const float* offsets;  ///< one per output, filled up to a multiple of 16

  template <class Arch>
  SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                     const panel_result<Arch>& r) const noexcept {
    using pack = simd::floats<Arch>;
    const pack bound = pack::broadcast(0x1p30f), other = pack::broadcast(-0x1p30f);
    for (std::size_t v = 0; v < r.size(); ++v) {
      const std::size_t first = panel * panel_width + v * pack::size;
      const pack sum = simd::max(r[v] + pack::load(offsets + first), other);
      simd::store_floors(simd::min(sum, bound), out + row * stride + first);
    }
  }
};

/// Epilogue of project(): writes the results out, row-major.
struct store_epilogue {
  float* out;
  std::size_t stride;   ///< floats from one row to the next, at least the outputs
  std::size_t outputs;  ///< results beyond these belong to the padding and are dropped

  template <class Arch>
  SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                     const panel_result<Arch>& r) const noexcept {
    using pack = simd::floats<Arch>;
    const std::size_t first = panel * panel_width;
    float* to = out + row * stride + first;
    if (outputs - first >= panel_width) {
      for (std::size_t v = 0; v < r.size(); ++v) r[v].store(to + v * pack::size);
    } else {
      std::array<float, panel_width> whole;
      for (std::size_t v = 0; v < r.size(); ++v) r[v].store(whole.data() + v * pack::size);
      std::copy_n(whole.begin(), outputs - first, to);
    }
  }
};

namespace detail {

// Register tiles: Rows inputs x Panels panels, each output its own accumulator lane. The numbers
// keep accumulators, one line of weights and a broadcast in the register file, and enough chains in
// flight to hide the latency of the FMA.
template <class Arch>
struct tile_limits {
  static constexpr std::size_t packs = panel_width / simd::floats<Arch>::size;  // per panel
  static constexpr std::size_t accumulators = packs == 1 ? 16 : packs == 2 ? 12 : 8;
  static constexpr std::size_t rows = packs == 1 ? 8 : packs == 2 ? 6 : 2;

  static constexpr std::size_t panels(std::size_t rows_in_tile) noexcept {
    return std::max<std::size_t>(1, std::bit_floor(accumulators / (rows_in_tile * packs)));
  }
};

template <std::size_t N, class F>
SKIM_ALWAYS_INLINE void unrolled(F&& f) {
  [&]<std::size_t... I>(std::index_sequence<I...>) SKIM_INLINE_LAMBDA {
    (f(std::integral_constant<std::size_t, I>{}), ...);
  }
  (std::make_index_sequence<N>{});
}

// Coordinates [first, last) of a tile's products.
struct coordinate_range {
  std::size_t first, last;
};

// An epilogue with such a member wants the sums of striped_dots() (striped_dot.hpp).
template <class Epilogue>
concept striped_epilogue = Epilogue::striped;

// Every output is one chain of FMAs over k = 0, 1, ... from zero, in every tile: this is what makes
// the results independent of the batch and of the tile an input falls into. Striped outputs are
// eight chains over k = j, j + 8, ... each, added in pairs.
template <class Arch, std::size_t Rows, std::size_t Panels, class Epilogue>
inline void project_tile(const float* SKIM_RESTRICT inputs, std::size_t stride,
                         const float* SKIM_RESTRICT weights, std::size_t dim,
                         coordinate_range range, std::size_t row, std::size_t panel,
                         const float* start, float* rest, const Epilogue& epilogue) noexcept {
  using pack = simd::floats<Arch>;
  constexpr std::size_t packs = tile_limits<Arch>::packs;
  const std::size_t panel_stride = dim * panel_width;
  std::array<std::array<panel_result<Arch>, Panels>, Rows> sum;
  const auto each_sum = [&](auto* at, auto f) SKIM_INLINE_LAMBDA {
    unrolled<Rows>([&](auto r) SKIM_INLINE_LAMBDA {
      unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
        unrolled<packs>([&](auto v) SKIM_INLINE_LAMBDA {
          f(sum[r][p][v], at + (r * Panels + p) * panel_width + v * pack::size);
        });
      });
    });
  };
  const auto step = [&](std::size_t k, std::size_t at) SKIM_INLINE_LAMBDA {
    std::array<panel_result<Arch>, Panels> weight;
    unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
      unrolled<packs>([&](auto v) SKIM_INLINE_LAMBDA {
        weight[p][v] =
            pack::load_aligned(weights + p * panel_stride + at * panel_width + v * pack::size);
      });
    });
    unrolled<Rows>([&](auto r) SKIM_INLINE_LAMBDA {
      const pack xk = pack::broadcast(inputs[r * stride + k]);
      unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
        unrolled<packs>([&](auto v) SKIM_INLINE_LAMBDA {
          sum[r][p][v] = simd::fma(xk, weight[p][v], sum[r][p][v]);
        });
      });
    });
  };

  if constexpr (striped_epilogue<Epilogue>) {
    // The tree of sums, depth first: what waits for its right-hand neighbour is held in memory.
    constexpr std::size_t tile = Rows * Panels * panel_width;
    alignas(cache_line) std::array<float, 3 * tile> held;
    float* top = held.data();
    std::size_t position = 0;
    for (std::size_t j = 0; j < striped_lanes; ++j) {
      each_sum(top, [](pack& s, float*) SKIM_INLINE_LAMBDA { s = pack::broadcast(0.0f); });
      for (std::size_t k = j; k < dim; k += striped_lanes) step(k, position++);
      for (int merges = std::countr_one(j); merges > 0; --merges) {
        top -= tile;
        each_sum(top, [](pack& s, const float* at)
                          SKIM_INLINE_LAMBDA { s = pack::load_aligned(at) + s; });
      }
      if (j + 1 == striped_lanes) break;
      // Zero plus the first sum: no negative zero is left, of which padding would make a positive one.
      if (j == 0)
        each_sum(top, [](pack& s, float*) SKIM_INLINE_LAMBDA { s = s + pack::broadcast(0.0f); });
      each_sum(top, [](const pack& s, float* at) SKIM_INLINE_LAMBDA { s.store(at); });
      top += tile;
    }
    unrolled<Rows>([&](auto r) SKIM_INLINE_LAMBDA {
      unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
        epilogue.template operator()<Arch>(row + r, panel + p, sum[r][p]);
      });
    });
    return;
  }

  each_sum(start, [](pack& s, const float* at) SKIM_INLINE_LAMBDA { s = pack::load(at); });
  std::size_t k = range.first;
  // Large tiles take two steps a round: with more, gcc moves loads ahead until accumulators spill.
  constexpr std::size_t round = Rows == 1 ? 4 : 2;
  for (; k + round <= range.last; k += round)
    unrolled<round>([&](auto u) SKIM_INLINE_LAMBDA { step(k + u, k + u); });
  for (; k < range.last; ++k) step(k, k);
  if (range.last == dim) {
    unrolled<Rows>([&](auto r) SKIM_INLINE_LAMBDA {
      unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
        epilogue.template operator()<Arch>(row + r, panel + p, sum[r][p]);
      });
    });
  } else {
    each_sum(rest, [](const pack& s, float* at) SKIM_INLINE_LAMBDA { s.store(at); });
  }
}

// Inputs of one pass over the panels, and coordinates of one pass over these inputs: the inputs
// stay in the second-level cache, a panel's share of the coordinates in the first.
inline constexpr std::size_t input_block_bytes = std::size_t{128} << 10;
inline constexpr std::size_t coordinate_block = 1024;
inline constexpr std::size_t max_input_block = 256;

// Inputs [row0, row0 + rows) against panels [panel, panel + Panels): `tall` tiles of Rows inputs,
// the others of Rows - 1.
template <class Arch, std::size_t Rows, std::size_t Panels, class Epilogue>
inline void project_column(matrix_view<const float> x, const panel_matrix& w, std::size_t row0,
                           std::size_t rows, std::size_t tall, std::size_t panel,
                           const Epilogue& epilogue) noexcept {
  alignas(cache_line) std::array<float, max_input_block * Panels * panel_width> partial;
  static constexpr std::array<float, Rows * Panels * panel_width> zeros{};
  // Ranges of equal length, so that the last one is no shorter than the others.
  const std::size_t dim = w.dim(), end = row0 + rows;
  const std::size_t cuts =
      striped_epilogue<Epilogue>
          ? 1
          : std::max<std::size_t>(1, (dim + coordinate_block / 2) / coordinate_block);
  for (std::size_t c = 0; c < cuts; ++c) {
    const coordinate_range range{dim * c / cuts, dim * (c + 1) / cuts};
    std::size_t row = row0;
    const float* input = x.data() + row * x.stride();
    float* rest = partial.data();
    const auto tile = [&]<std::size_t Height>(std::integral_constant<std::size_t, Height>) {
      const float* start = c == 0 ? zeros.data() : rest;
      project_tile<Arch, Height, Panels>(input, x.stride(), w.panel(panel), dim, range, row, panel,
                                         start, rest, epilogue);
      row += Height;
      input += Height * x.stride();
      rest += Height * Panels * panel_width;
    };
    for (std::size_t t = 0; t < tall; ++t) tile(std::integral_constant<std::size_t, Rows>{});
    if constexpr (Rows > 1)
      while (row < end) tile(std::integral_constant<std::size_t, Rows - 1>{});
  }
}

template <class Arch, std::size_t Rows, std::size_t Panels, class Epilogue>
inline void project_panels(matrix_view<const float> x, const panel_matrix& w, std::size_t row0,
                           std::size_t rows, std::size_t tall, std::size_t panel,
                           const Epilogue& epilogue) noexcept {
  for (; panel + Panels <= w.panels(); panel += Panels)
    project_column<Arch, Rows, Panels>(x, w, row0, rows, tall, panel, epilogue);
  if constexpr (Panels > 1)
    project_panels<Arch, Rows, Panels / 2>(x, w, row0, rows, tall, panel, epilogue);
}

template <class Arch, std::size_t Rows, class Epilogue>
inline void project_block(matrix_view<const float> x, const panel_matrix& w, std::size_t row0,
                          std::size_t rows, const Epilogue& epilogue) noexcept {
  // As few tiles as can be, their heights differing by one at most: a last tile of one input would
  // run at the latency of its few chains.
  constexpr std::size_t tallest = tile_limits<Arch>::rows;
  const std::size_t tiles = (rows + tallest - 1) / tallest;
  if constexpr (Rows > 1)
    if ((rows + tiles - 1) / tiles < Rows)
      return project_block<Arch, Rows - 1>(x, w, row0, rows, epilogue);
  const std::size_t tall = rows - tiles * (Rows - 1);
  project_panels<Arch, Rows, tile_limits<Arch>::panels(Rows)>(x, w, row0, rows, tall, 0, epilogue);
}

}  // namespace detail

/// Multiplies the rows of x with all outputs of w and hands the results, 16 at a time, to the
/// epilogue.
///
/// A register tile of inputs x outputs accumulates over the coordinates; nothing is written but
/// what the epilogue writes. A panel stays in the first-level cache while the inputs of a block,
/// which fit the second, pass by.
///
/// Shape:   x (n, w.dim()); epilogue(row, panel, 16 results) once for each row and panel.
/// Cost:    n * dim * outputs FMAs; no memory but 48 KB of stack.
/// Error:   each output is one chain of FMAs over the coordinates in order, from zero: equal for one
///          row and for any batch, on every machine with FMA. Without FMA products are rounded too.
///          An epilogue with `static constexpr bool striped = true` gets the sums of striped_dots(),
///          and wants coordinate k of w at striped_position(k, dim).
/// Threads: reads only; call it for disjoint rows from several threads.
template <class Epilogue, class Arch = simd::default_arch>
inline void project(matrix_view<const float> x, const panel_matrix& w,
                    const Epilogue& epilogue) noexcept {
  SKIM_EXPECTS(x.cols() == w.dim());
  constexpr std::size_t tallest = detail::tile_limits<Arch>::rows;
  const std::size_t row_bytes = std::max<std::size_t>(1, w.dim() * sizeof(float));
  // Eight tiles at least: a block pays for one pass over the weights, which may come from memory.
  const std::size_t tiles = std::clamp<std::size_t>(detail::input_block_bytes / row_bytes / tallest,
                                                    8, detail::max_input_block / tallest);
  // Blocks of about equal size, for the sake of the last one.
  const std::size_t blocks = (x.rows() + tiles * tallest - 1) / (tiles * tallest);
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t first = x.rows() * b / blocks, last = x.rows() * (b + 1) / blocks;
    detail::project_block<Arch, tallest>(x, w, first, last - first, epilogue);
  }
}

/// The same for one sparse row: the result equals that of the row written out densely.
///
/// Cost:    nonzeros * outputs FMAs. Pre: indices ascend, below w.dim().
template <class Epilogue, class Arch = simd::default_arch>
inline void project(sparse_row x, std::size_t row, const panel_matrix& w,
                    const Epilogue& epilogue) noexcept {
  // A zero coordinate would add fma(0, w, sum) = sum: leaving it out changes nothing.
  using pack = simd::floats<Arch>;
  constexpr std::size_t packs = detail::tile_limits<Arch>::packs;
  const auto run = [&]<std::size_t Panels>(std::integral_constant<std::size_t, Panels>,
                                           std::size_t panel) {
    std::array<panel_result<Arch>, Panels> sum;
    detail::unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
      detail::unrolled<packs>([&](auto v)
                                  SKIM_INLINE_LAMBDA { sum[p][v] = pack::broadcast(0.0f); });
    });
    const float* first = w.panel(panel);
    const std::size_t panel_stride = w.dim() * panel_width;
    for (std::size_t i = 0; i < x.nonzeros(); ++i) {
      const pack xk = pack::broadcast(x.values[i]);
      const float* line = first + std::size_t{x.indices[i]} * panel_width;
      detail::unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
        detail::unrolled<packs>([&](auto v) SKIM_INLINE_LAMBDA {
          sum[p][v] = simd::fma(xk, pack::load_aligned(line + p * panel_stride + v * pack::size),
                                sum[p][v]);
        });
      });
    }
    detail::unrolled<Panels>([&](auto p) SKIM_INLINE_LAMBDA {
      epilogue.template operator()<Arch>(row, panel + p, sum[p]);
    });
  };
  std::size_t panel = 0;
  for (; panel + 4 <= w.panels(); panel += 4) run(std::integral_constant<std::size_t, 4>{}, panel);
  for (; panel < w.panels(); ++panel) run(std::integral_constant<std::size_t, 1>{}, panel);
}

}  // namespace skim::inline v0
