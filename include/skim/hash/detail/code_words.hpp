// SPDX-License-Identifier: Apache-2.0
//
// From sign bits, 16 to a word, to codes of `bits` bits each.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "skim/core/config.hpp"

namespace skim::inline v0::detail {

inline constexpr std::size_t word_bits = 16;
inline constexpr std::size_t word_padding = 3;  // words a code may be read beyond its own

// Words of one row of sign bits, padding included.
[[nodiscard]] constexpr std::size_t words_for(std::size_t outputs) noexcept {
  return (outputs + word_bits - 1) / word_bits + word_padding;
}

// 16 / Bits codes from each word; the loop of known length becomes shifts of a vector.
template <unsigned Bits>
inline void unpack_even(const std::uint16_t* words, std::span<code_t> codes) noexcept {
  constexpr std::size_t per_word = word_bits / Bits;
  constexpr std::uint32_t mask = (1u << Bits) - 1;
  std::size_t i = 0;
  for (; i + per_word <= codes.size(); i += per_word) {
    const std::uint32_t w = words[i / per_word];
    for (std::size_t j = 0; j < per_word; ++j) codes[i + j] = (w >> (Bits * j)) & mask;
  }
  for (; i < codes.size(); ++i)
    codes[i] = (std::uint32_t{words[i / per_word]} >> (Bits * (i % per_word))) & mask;
}

// Code i is bits [i * bits, (i + 1) * bits) of the row, lowest first. Pre: 1 <= bits <= 32, padded words.
inline void unpack_codes(const std::uint16_t* words, unsigned bits,
                         std::span<code_t> codes) noexcept {
  switch (bits) {
    case 1:
      return unpack_even<1>(words, codes);
    case 2:
      return unpack_even<2>(words, codes);
    case 4:
      return unpack_even<4>(words, codes);
    case 8:
      return unpack_even<8>(words, codes);
    case 16:
      return unpack_even<16>(words, codes);
    default:
      break;
  }
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  std::size_t position = 0;
  for (code_t& code : codes) {
    const std::uint16_t* at = words + position / word_bits;
    std::uint64_t window = 0;
    if constexpr (std::endian::native == std::endian::little) {
      std::memcpy(&window, at, sizeof window);
    } else {
      for (std::size_t j = 0; j < 4; ++j) window |= std::uint64_t{at[j]} << (word_bits * j);
    }
    code = static_cast<code_t>((window >> (position % word_bits)) & mask);
    position += bits;
  }
}

}  // namespace skim::inline v0::detail
