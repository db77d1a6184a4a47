// SPDX-License-Identifier: Apache-2.0
//
// Signs of the coordinates of randomly rotated inputs.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "skim/core/aligned.hpp"
#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/detail/code_words.hpp"
#include "skim/linalg/hadamard.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0::detail {

class hadamard_signs {
 public:
  // Padded at least to 64: sums of fewer terms would often be exactly zero.
  [[nodiscard]] static constexpr std::size_t padded(std::size_t dim) noexcept {
    return std::max<std::size_t>(64, std::bit_ceil(dim));
  }

  hadamard_signs(std::size_t dim, std::size_t outputs, std::size_t rounds,
                 const random_engine& engine)
      : width_(padded(dim)),
        rounds_(rounds),
        words_((outputs + word_bits - 1) / word_bits),
        rotations_((outputs + width_ - 1) / width_),
        signs_(rotations_ * rounds * width_) {
    for (std::size_t rotation = 0; rotation < rotations_; ++rotation) {
      const std::size_t step = rotation < grouped() ? lanes : 1;
      for (std::size_t round = 0; round < rounds; ++round) {
        float* to = signs_.data() + first_sign(rotation, round);
        random_engine g = engine.child(rotation * rounds + round);
        for (std::size_t k = 0; k < width_; k += 64) {
          const std::uint64_t bits = g();
          for (std::size_t j = 0; j < 64; ++j)
            to[(k + j) * step] = (bits >> j & 1) != 0 ? -1.0f : 1.0f;
        }
      }
    }
  }

  void signs(matrix_view<const float> x, std::uint16_t* words, std::size_t stride,
             workspace& ws) const {
    // What is left of the rotations takes inputs side by side, as long as there are enough of them.
    const std::size_t tiled = grouped() < rotations_ ? x.rows() / lanes * lanes : std::size_t{0};
    for (std::size_t i = 0; i < tiled; i += lanes)
      rest_of_tile<simd::default_arch>(x.rows(i, lanes), words + i * stride, stride, ws);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      const std::span<const float> row = x.row(i);
      const auto fill = [&](std::span<float> to) {
        std::copy(row.begin(), row.end(), to.begin());
        std::fill(to.begin() + static_cast<std::ptrdiff_t>(row.size()), to.end(), 0.0f);
      };
      groups<simd::default_arch>(words + i * stride, fill, ws);
      if (i >= tiled) rest<simd::default_arch>(words + i * stride, fill, ws);
    }
  }

  void signs(sparse_row x, std::uint16_t* words, workspace& ws) const {
    const auto fill = [&](std::span<float> to) {
      std::fill(to.begin(), to.end(), 0.0f);
      for (std::size_t i = 0; i < x.nonzeros(); ++i) to[x.indices[i]] = x.values[i];
    };
    groups<simd::default_arch>(words, fill, ws);
    rest<simd::default_arch>(words, fill, ws);
  }

 private:
  static constexpr std::size_t lanes = hadamard_columns_count;

  // Rotations whose signs are interleaved, 8 by 8, so that one input goes through 8 of them at once.
  [[nodiscard]] std::size_t grouped() const noexcept { return rotations_ / lanes * lanes; }

  [[nodiscard]] std::size_t first_sign(std::size_t rotation, std::size_t round) const noexcept {
    const std::size_t lane = rotation < grouped() ? rotation % lanes : 0;
    const std::size_t first = rotation - lane;  // of those interleaved
    const std::size_t width = rotation < grouped() ? lanes * width_ : width_;
    return first * rounds_ * width_ + round * width + lane;
  }

  // All rounds of 8 columns: input(k, lane) is the pack at row k of the array (width, 8), signs(round) a
  // function that gives its signs likewise; put(lane, word, bits) takes 16 signs of the result.
  template <class Arch, class Input, class Signs, class Put>
  void columns(Input input, Signs signs, Put put, float* x, std::uint8_t* bits) const noexcept {
    using pack = simd::floats<Arch>;
    const auto to_x = [x](std::size_t k, std::size_t lane, pack v)
                          SKIM_INLINE_LAMBDA { v.store(x + k * lanes + lane); };
    const auto to_bits = [bits](std::size_t k, std::size_t lane, pack v) SKIM_INLINE_LAMBDA {
      const std::uint32_t positive = simd::greater_bits(v, pack::broadcast(0.0f));
      if (lane > 0)
        bits[k] = static_cast<std::uint8_t>(bits[k] | positive << lane);
      else
        for (std::size_t row = 0; row < std::max<std::size_t>(1, pack::size / lanes); ++row)
          bits[k + row] = static_cast<std::uint8_t>(positive >> (lanes * row));
    };
    for (std::size_t round = 0; round < rounds_; ++round) {
      const auto sign = signs(round);
      const auto from_input = [=](std::size_t k, std::size_t lane)
                                  SKIM_INLINE_LAMBDA { return input(k, lane) * sign(k, lane); };
      const auto from_x = [=](std::size_t k, std::size_t lane) SKIM_INLINE_LAMBDA {
        return pack::load(x + k * lanes + lane) * sign(k, lane);
      };
      if (round == 0 && rounds_ == 1)
        hadamard_columns<Arch>(x, width_, from_input, to_bits);
      else if (round == 0)
        hadamard_columns<Arch>(x, width_, from_input, to_x);
      else if (round + 1 < rounds_)
        hadamard_columns<Arch>(x, width_, from_x, to_x);
      else
        hadamard_columns<Arch>(x, width_, from_x, to_bits);
    }
    for (std::size_t k = 0; k < width_; k += word_bits) {
      const auto transposed = simd::transpose_bits(bits + k);
      for (std::size_t lane = 0; lane < lanes; ++lane) put(lane, k / word_bits, transposed[lane]);
    }
  }

  // One input under 8 rotations at a time.
  template <class Arch, class Fill>
  void groups(std::uint16_t* words, Fill fill, workspace& ws) const {
    if (grouped() == 0) return;
    auto frame = ws.frame();
    const std::span<float> input = frame.take<float>(width_), x = frame.take<float>(lanes * width_);
    const std::span<std::uint8_t> bits = frame.take<std::uint8_t>(width_);
    fill(input);
    for (std::size_t first = 0; first < grouped(); first += lanes)
      columns<Arch>(
          [input = input.data()](std::size_t k, std::size_t)
              SKIM_INLINE_LAMBDA { return simd::repeat<lanes, Arch>(input + k); },
          [signs = signs_.data() + first_sign(first, 0), this](std::size_t round) {
            return
                [at = signs + round * lanes * width_](std::size_t k, std::size_t lane)
                    SKIM_INLINE_LAMBDA { return simd::floats<Arch>::load(at + k * lanes + lane); };
          },
          [&](std::size_t lane, std::size_t word, std::uint16_t sixteen) SKIM_INLINE_LAMBDA {
            const std::size_t at = (first + lane) * width_ / word_bits + word;
            if (at < words_) words[at] = sixteen;
          },
          x.data(), bits.data());
  }

  // The other rotations of 8 inputs at once.
  template <class Arch>
  void rest_of_tile(matrix_view<const float> rows, std::uint16_t* words, std::size_t stride,
                    workspace& ws) const {
    auto frame = ws.frame();
    const std::span<float> input = frame.take<float>(lanes * width_);
    const std::span<std::uint8_t> bits = frame.take<std::uint8_t>(width_);
    // The last rotation may have the input's memory.
    const std::span<float> x =
        rotations_ - grouped() > 1 ? frame.take<float>(lanes * width_) : input;
    std::array<const float*, lanes> at;
    for (std::size_t i = 0; i < lanes; ++i) at[i] = rows.row(i).data();
    const std::size_t dim = rows.cols();
    std::size_t done = 0;
    for (; done + lanes <= dim; done += lanes) {
      simd::transpose_8x8<Arch>(at, input.data() + lanes * done);
      for (const float*& p : at) p += lanes;
    }
    for (; done < dim; ++done)
      for (std::size_t i = 0; i < lanes; ++i) input[lanes * done + i] = rows.row(i)[done];
    std::fill(input.begin() + static_cast<std::ptrdiff_t>(lanes * dim), input.end(), 0.0f);
    for (std::size_t rotation = grouped(); rotation < rotations_; ++rotation)
      columns<Arch>(
          [input = input.data()](std::size_t k, std::size_t lane)
              SKIM_INLINE_LAMBDA { return simd::floats<Arch>::load(input + k * lanes + lane); },
          [signs = signs_.data() + first_sign(rotation, 0), this](std::size_t round) {
            return [at = signs + round * width_](std::size_t k, std::size_t)
                       SKIM_INLINE_LAMBDA { return simd::repeat<lanes, Arch>(at + k); };
          },
          [&](std::size_t lane, std::size_t word, std::uint16_t sixteen) SKIM_INLINE_LAMBDA {
            const std::size_t to = rotation * width_ / word_bits + word;
            if (to < words_) words[lane * stride + to] = sixteen;
          },
          rotation + 1 < rotations_ ? x.data() : input.data(), bits.data());
  }

  // The other rotations of one input. A transform waits for the one before it, round by round; short
  // ones of several rotations in turn fill each other's latency.
  template <class Arch, class Fill>
  void rest(std::uint16_t* words, Fill fill, workspace& ws) const {
    const std::size_t side_by_side = width_ <= 1024 ? 4 : 1;
    auto frame = ws.frame();
    const std::span<float> rotated = frame.take<float>(side_by_side * width_);
    for (std::size_t first = grouped(); first < rotations_; first += side_by_side) {
      const std::size_t group = std::min(side_by_side, rotations_ - first);
      for (std::size_t j = 0; j < group; ++j) fill(rotated.subspan(j * width_, width_));
      for (std::size_t r = 0; r < rounds_; ++r)
        for (std::size_t j = 0; j < group; ++j)
          hadamard_transform<Arch>(rotated.subspan(j * width_, width_),
                                   {signs_.data() + first_sign(first + j, r), width_});
      for (std::size_t j = 0; j < group; ++j) {
        const std::size_t word = (first + j) * width_ / word_bits;
        pack_signs<Arch>(rotated.subspan(j * width_, std::min(width_, (words_ - word) * word_bits)),
                         words + word);
      }
    }
  }

  template <class Arch>
  static void pack_signs(std::span<const float> x, std::uint16_t* words) noexcept {
    using pack = simd::floats<Arch>;
    for (std::size_t i = 0; i < x.size(); i += word_bits) {
      std::uint32_t bits = 0;
      for (std::size_t v = 0; v < word_bits / pack::size; ++v)
        bits |= simd::greater_bits(pack::load(x.data() + i + v * pack::size), pack::broadcast(0.0f))
                << (v * pack::size);
      words[i / word_bits] = static_cast<std::uint16_t>(bits);
    }
  }

  std::size_t width_, rounds_;
  std::size_t words_;  // of a row of signs, the surplus bits of the last read by nobody
  std::size_t rotations_;
  aligned_vector<float>
      signs_;  // (groups, rounds, width, 8), then (other rotations, rounds, width)
};

}  // namespace skim::inline v0::detail
