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
        outputs_(outputs),
        rounds_(rounds),
        signs_((outputs + width_ - 1) / width_ * rounds * width_) {
    for (std::size_t r = 0; r < signs_.size() / width_; ++r) {
      random_engine g = engine.child(r);
      for (std::size_t k = 0; k < width_; k += 64) {
        const std::uint64_t bits = g();
        for (std::size_t j = 0; j < 64; ++j)
          signs_[r * width_ + k + j] = (bits >> j & 1) != 0 ? -1.0f : 1.0f;
      }
    }
  }

  void signs(matrix_view<const float> x, std::uint16_t* words, std::size_t stride,
             workspace& ws) const {
    auto frame = ws.frame();
    const std::span<float> rotated = frame.take<float>(side_by_side() * width_);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      const std::span<const float> row = x.row(i);
      rotations<simd::default_arch>(words + i * stride, rotated, [&](std::span<float> to) {
        std::copy(row.begin(), row.end(), to.begin());
        std::fill(to.begin() + static_cast<std::ptrdiff_t>(row.size()), to.end(), 0.0f);
      });
    }
  }

  void signs(sparse_row x, std::uint16_t* words, workspace& ws) const {
    auto frame = ws.frame();
    const std::span<float> rotated = frame.take<float>(side_by_side() * width_);
    rotations<simd::default_arch>(words, rotated, [&](std::span<float> to) {
      std::fill(to.begin(), to.end(), 0.0f);
      for (std::size_t i = 0; i < x.nonzeros(); ++i) to[x.indices[i]] = x.values[i];
    });
  }

 private:
  // A transform waits for the one before it, round by round; short ones of several rotations in turn
  // fill each other's latency.
  [[nodiscard]] std::size_t side_by_side() const noexcept { return width_ <= 1024 ? 4 : 1; }

  template <class Arch, class Fill>
  void rotations(std::uint16_t* words, std::span<float> rotated, Fill fill) const noexcept {
    const std::size_t count = (outputs_ + width_ - 1) / width_;
    for (std::size_t first = 0; first < count; first += side_by_side()) {
      const std::size_t group = std::min(side_by_side(), count - first);
      for (std::size_t j = 0; j < group; ++j) fill(rotated.subspan(j * width_, width_));
      for (std::size_t r = 0; r < rounds_; ++r)
        for (std::size_t j = 0; j < group; ++j)
          hadamard_transform<Arch>(rotated.subspan(j * width_, width_),
                                   {signs_.data() + ((first + j) * rounds_ + r) * width_, width_});
      for (std::size_t j = 0; j < group; ++j) {
        const std::size_t output = (first + j) * width_;
        pack_signs<Arch>(
            rotated.subspan(j * width_, std::min(width_, words_bits(outputs_ - output))),
            words + output / word_bits);
      }
    }
  }

  // Outputs rounded up to whole words: the surplus bits are read by nobody.
  [[nodiscard]] static constexpr std::size_t words_bits(std::size_t outputs) noexcept {
    return (outputs + word_bits - 1) / word_bits * word_bits;
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

  std::size_t width_, outputs_, rounds_;
  aligned_vector<float> signs_;  // (rotations, rounds, width)
};

}  // namespace skim::inline v0::detail
