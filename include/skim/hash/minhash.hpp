// SPDX-License-Identifier: Apache-2.0
//
// The hash family of the Jaccard similarity of sets.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "skim/core/config.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/detail/densify.hpp"
#include "skim/hash/detail/drawn_family.hpp"

namespace skim::inline v0 {

/// Sizes of a minhash family.
struct minhash_params {
  std::size_t dim = 1;     ///< d, things that can be in a set
  std::size_t bits = 32;   ///< of a code, 1 to 32; different things meet with probability 2^-bits
  std::size_t hashes = 1;  ///< L, codes of a set
};

namespace detail {

/// One permutation of the things, dealt to `hashes` bins; the first of a set in each bin.
class dealt_permutation {
 public:
  dealt_permutation(const minhash_params& p, const random_engine& engine)
      : dim_(p.dim),
        bits_(static_cast<unsigned>(p.bits)),
        hashes_(p.hashes),
        key_(engine.child(0)()),
        lenders_(engine.child(1)()),
        code_(engine.child(2)() | 1u) {}

  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    auto frame = ws.frame();
    const auto first = frame.template take<std::uint64_t>(hashes_);
    for (std::size_t i = 0; i < x.rows(); ++i) {
      std::fill(first.begin(), first.end(), nothing);
      const float* const row = x.row(i).data();
      for (std::size_t k = 0; k < dim_; ++k)
        if (row[k] != 0) deal(k, first);
      to_codes(first, codes.subspan(i * hashes_, hashes_));
    }
  }
  void hash(sparse_row x, std::span<code_t> codes, workspace& ws) const {
    auto frame = ws.frame();
    const auto first = frame.template take<std::uint64_t>(hashes_);
    std::fill(first.begin(), first.end(), nothing);
    for (std::size_t i = 0; i < x.nonzeros(); ++i)
      if (x.values[i] != 0) deal(x.indices[i], first);
    to_codes(first, codes);
  }

 private:
  static constexpr std::uint64_t nothing = ~std::uint64_t{0};

  // The high word of place * hashes is a bin, the low one the place in it.
  void deal(std::size_t thing, std::span<std::uint64_t> first) const noexcept {
    const auto place = multiply_wide(mix_combine(key_, thing), hashes_);
    std::uint64_t& held = first[static_cast<std::size_t>(place.high)];
    held = std::min(held, place.low);
  }

  void to_codes(std::span<const std::uint64_t> first, std::span<code_t> codes) const noexcept {
    const auto is_empty = [&](std::size_t b) { return first[b] == nothing; };
    for (std::size_t b = 0; b < hashes_; ++b) {
      const std::size_t from = is_empty(b) ? lender(b, hashes_, lenders_, is_empty) : b;
      // Places of the first are small: their bits are spread before some are taken.
      const std::uint64_t spread = from < hashes_ ? mix64(first[from] ^ code_) : 0;
      codes[b] = static_cast<code_t>(spread >> (64 - bits_));
    }
  }

  std::size_t dim_;
  unsigned bits_;
  std::size_t hashes_;
  std::uint64_t key_, lenders_, code_;
};

struct minhash_kind {
  using params = minhash_params;
  using functions = dealt_permutation;
  static constexpr std::string_view name = "minhash";
  static constexpr bool exact_kernel = true;

  template <class P, class F>
  static void each(P& p, F f) {
    f(p.bits);
  }
  static void check(const params& p) { check_code_bits(name, p.bits); }
  static std::uint64_t numbers(const params&) noexcept { return 3; }
  static std::uint64_t range(const params& p) noexcept { return std::uint64_t{1} << p.bits; }
  static double collision(const params& p, std::span<const float> x, std::span<const float> y) {
    std::size_t both = 0, any = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      both += x[k] != 0 && y[k] != 0 ? 1u : 0u;
      any += x[k] != 0 || y[k] != 0 ? 1u : 0u;
    }
    const double jaccard = any == 0 ? 1.0 : static_cast<double>(both) / static_cast<double>(any);
    return with_chance_collisions(jaccard, p.bits);
  }
};

}  // namespace detail

/// The first thing of a set in a random order, in each of L parts of all things: the hash family of the
/// Jaccard similarity.
///
/// A point is the set of its coordinates that are not zero. One permutation deals the things to L bins;
/// code b tells which of the set's things comes first in bin b. Bins without any borrow from another.
/// Two sets have equal codes with probability |A and B| / |A or B| (two empty ones always), else with
/// probability 2^-bits.
///
/// Shape:   x (dim) or X (n, dim), dense or CSR; codes (hashes) or (n, hashes), below 2^bits.
/// Memory:  none.
/// Cost:    a 64-bit hash a nonzero, whatever L, and L + L / (bins with things) steps.
/// Error:   the kernel is that of a random permutation, which a 64-bit hash stands for.
/// Threads: const; one workspace a thread.
/// Seeds:   equal seeds give equal codes on every platform.
/// Ref:     Broder 1997, SEQUENCES (minhash); Li, Owen and Zhang 2012, NIPS (one permutation);
///          Shrivastava 2017, ICML (optimal densification).
using minhash = detail::drawn_family<detail::minhash_kind>;

}  // namespace skim::inline v0
