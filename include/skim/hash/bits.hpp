// SPDX-License-Identifier: Apache-2.0
//
// Families whose codes consist of bits that mean something one by one: what multi-probe searches and
// comparisons of codes by Hamming distance want.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/family.hpp"

namespace skim::inline v0 {

/// A hash_family whose codes are bits() bits, drawn alike, so that codes of near points differ in few
/// bits and range() is 2^bits(). Models: sign projections, ferns.
template <class F>
concept bit_hash_family = hash_family<F> && requires(const F& f) {
  { f.bits() }
  noexcept->std::same_as<std::size_t>;
};

/// A bit_hash_family that tells how sure each bit is: hash(x, codes, margins, ws) writes, for each row of
/// x (n, d), the codes as hash() does and a number for each bit, margins (n, num_hashes() * bits()). Bit
/// b of code h is whether number h * bits() + b is positive, and a number of small magnitude says that
/// a near point may well have the other bit.
template <class F>
concept margin_hash_family = bit_hash_family<F> &&
    requires(const F& f, matrix_view<const float> x, std::span<code_t> codes,
             std::span<float> margins, workspace& ws) {
  { f.hash(x, codes, margins, ws) } -> std::same_as<void>;
};

}  // namespace skim::inline v0
