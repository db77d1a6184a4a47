// SPDX-License-Identifier: Apache-2.0
//
// Signs of sums of a few coordinates, each with a random sign.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/detail/code_words.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0::detail {

class sparse_signs {
 public:
  static constexpr std::size_t lanes = 16;  // inputs handled side by side

  sparse_signs(std::size_t dim, std::size_t outputs, std::size_t nonzeros,
               const random_engine& engine)
      : dim_(dim), outputs_(outputs), nonzeros_(nonzeros), terms_(outputs * nonzeros) {
    std::vector<bool> taken(dim);
    for (std::size_t o = 0; o < outputs; ++o) {
      random_engine g = engine.child(o);
      const std::span<std::uint32_t> terms(terms_.data() + o * nonzeros, nonzeros);
      // Floyd's subset: for the j-th of the last `nonzeros` coordinates take a random one up to it, or
      // itself if that is taken.
      for (std::size_t j = 0; j < nonzeros; ++j) {
        const std::size_t top = dim - nonzeros + j;
        std::size_t k = uniform_below(g, top + 1);
        if (taken[k]) k = top;
        taken[k] = true;
        terms[j] = static_cast<std::uint32_t>(2 * k + (g() >> 63));
      }
      for (const std::uint32_t t : terms) taken[t / 2] = false;
      std::sort(terms.begin(), terms.end());
    }
    // The same terms by coordinate, for sparse inputs.
    starts_.assign(dim + 1, 0);
    for (const std::uint32_t t : terms_) ++starts_[t / 2 + 1];
    for (std::size_t k = 0; k < dim; ++k) starts_[k + 1] += starts_[k];
    targets_.resize(terms_.size());
    std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
    for (std::size_t o = 0; o < outputs; ++o)
      for (std::size_t j = 0; j < nonzeros; ++j) {
        const std::uint32_t t = terms_[o * nonzeros + j];
        targets_[next[t / 2]++] = static_cast<std::uint32_t>(2 * o + t % 2);
      }
  }

  // Each output adds its terms one by one, coordinates ascending, from zero: every path below gives
  // the same sums, and additions alone give the same on every platform.

  void signs(matrix_view<const float> x, std::uint16_t* words, std::size_t stride,
             workspace& ws) const {
    auto frame = ws.frame();
    if (x.rows() <= 2) {  // a tile of 16 costs about as much as three single inputs
      const std::span<float> table = frame.take<float>(2 * dim_);
      for (std::size_t i = 0; i < x.rows(); ++i) single(x.row(i), words + i * stride, table);
      return;
    }
    const std::span<float> table = frame.take<float>(2 * dim_ * lanes);
    for (std::size_t i = 0; i < x.rows(); i += lanes)
      tile<simd::default_arch>(x.rows(i, std::min(lanes, x.rows() - i)), words + i * stride, stride,
                               table);
  }

  void signs(sparse_row x, std::uint16_t* words, workspace& ws) const {
    auto frame = ws.frame();
    const std::span<float> sums = frame.take<float>(outputs_);
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (std::size_t i = 0; i < x.nonzeros(); ++i) {
      const std::array<float, 2> value{x.values[i], -x.values[i]};
      for (std::size_t t = starts_[x.indices[i]]; t < starts_[x.indices[i] + 1]; ++t)
        sums[targets_[t] / 2] += value[targets_[t] % 2];
    }
    std::fill_n(words, words_for(outputs_) - word_padding, std::uint16_t{0});
    for (std::size_t o = 0; o < outputs_; ++o) set(words, o, sums[o] > 0.0f);
  }

 private:
  static void set(std::uint16_t* words, std::size_t o, bool bit) noexcept {
    words[o / word_bits] =
        static_cast<std::uint16_t>(words[o / word_bits] | (unsigned{bit} << (o % word_bits)));
  }

  void single(std::span<const float> x, std::uint16_t* words,
              std::span<float> table) const noexcept {
    for (std::size_t k = 0; k < dim_; ++k) {
      table[2 * k] = x[k];
      table[2 * k + 1] = -x[k];
    }
    std::fill_n(words, words_for(outputs_) - word_padding, std::uint16_t{0});
    constexpr std::size_t chains = 8;
    std::size_t o = 0;
    for (; o + chains <= outputs_; o += chains) {
      std::array<float, chains> sum{};
      const std::uint32_t* t = terms_.data() + o * nonzeros_;
      for (std::size_t j = 0; j < nonzeros_; ++j)
        for (std::size_t c = 0; c < chains; ++c) sum[c] += table[t[c * nonzeros_ + j]];
      for (std::size_t c = 0; c < chains; ++c) set(words, o + c, sum[c] > 0.0f);
    }
    for (; o < outputs_; ++o) {
      float sum = 0;
      for (std::size_t j = 0; j < nonzeros_; ++j) sum += table[terms_[o * nonzeros_ + j]];
      set(words, o, sum > 0.0f);
    }
  }

  // Up to 16 inputs side by side: line 2 k + s of the table holds (-1)^s times coordinate k of each, so
  // a term is one line whatever its sign.
  template <class Arch>
  void tile(matrix_view<const float> x, std::uint16_t* words, std::size_t stride,
            std::span<float> table) const noexcept {
    using pack = simd::floats<Arch>;
    constexpr std::size_t packs = lanes / pack::size;
    constexpr std::size_t chains = packs >= 4 ? 2 : packs == 2 ? 4 : 8;
    if (x.rows() < lanes) std::fill(table.begin(), table.end(), 0.0f);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      const std::span<const float> row = x.row(i);
      for (std::size_t k = 0; k < dim_; ++k) {
        table[2 * k * lanes + i] = row[k];
        table[(2 * k + 1) * lanes + i] = -row[k];
      }
    }
    const pack zero = pack::broadcast(0.0f);
    for (std::size_t first = 0; first < outputs_; first += word_bits) {
      std::array<std::uint16_t, word_bits>
          columns{};  // bit i of column j: input i, output first + j
      const std::size_t count = std::min(word_bits, outputs_ - first);
      const auto run = [&]<std::size_t Chains>(std::integral_constant<std::size_t, Chains>,
                                               std::size_t at) SKIM_INLINE_LAMBDA {
        std::array<std::array<pack, packs>, Chains> sum;
        for (auto& chain : sum) chain.fill(zero);
        const std::uint32_t* t = terms_.data() + (first + at) * nonzeros_;
        for (std::size_t j = 0; j < nonzeros_; ++j) {
          [&]<std::size_t... C>(std::index_sequence<C...>) SKIM_INLINE_LAMBDA {
            const auto add = [&](std::size_t c) SKIM_INLINE_LAMBDA {
              const float* line = table.data() + std::size_t{t[c * nonzeros_ + j]} * lanes;
              [&]<std::size_t... V>(std::index_sequence<V...>) SKIM_INLINE_LAMBDA {
                ((sum[c][V] = sum[c][V] + pack::load_aligned(line + V * pack::size)), ...);
              }
              (std::make_index_sequence<packs>{});
            };
            (add(C), ...);
          }
          (std::make_index_sequence<Chains>{});
        }
        for (std::size_t c = 0; c < Chains; ++c) {
          std::uint32_t bits = 0;
          for (std::size_t v = 0; v < packs; ++v)
            bits |= simd::greater_bits(sum[c][v], zero) << (v * pack::size);
          columns[at + c] = static_cast<std::uint16_t>(bits);
        }
      };
      std::size_t at = 0;
      for (; at + chains <= count; at += chains)
        run(std::integral_constant<std::size_t, chains>{}, at);
      for (; at < count; ++at) run(std::integral_constant<std::size_t, 1>{}, at);
      transpose(columns);
      for (std::size_t i = 0; i < x.rows(); ++i) words[i * stride + first / word_bits] = columns[i];
    }
  }

  // Bit i of word j becomes bit j of word i: exchanges of off-diagonal squares of side 8, 4, 2, 1.
  static void transpose(std::array<std::uint16_t, word_bits>& w) noexcept {
    constexpr std::array<std::uint16_t, 4> masks{0x00ff, 0x0f0f, 0x3333, 0x5555};
    for (std::size_t step = 0; step < 4; ++step) {
      const std::size_t side = std::size_t{8} >> step;
      for (std::size_t j = 0; j < word_bits; ++j) {
        if ((j & side) != 0) continue;
        const unsigned swap = ((unsigned{w[j]} >> side) ^ w[j + side]) & masks[step];
        w[j] = static_cast<std::uint16_t>(w[j] ^ (swap << side));
        w[j + side] = static_cast<std::uint16_t>(w[j + side] ^ swap);
      }
    }
  }

  std::size_t dim_, outputs_, nonzeros_;
  std::vector<std::uint32_t> terms_;    // (outputs, nonzeros): 2 coordinate + (sign is negative)
  std::vector<std::size_t> starts_;     // (dim + 1): where a coordinate's targets begin
  std::vector<std::uint32_t> targets_;  // 2 output + (sign is negative)
};

}  // namespace skim::inline v0::detail
