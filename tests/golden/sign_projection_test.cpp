// SPDX-License-Identifier: Apache-2.0
//
// Pinned codes: no other test can see a hash that has changed. A failure here means that stored codes and
// sketches lose their meaning: that is a decision, and a new archive version.
#include "skim/hash/sign_projection.hpp"

#include <span>
#include <vector>

#include "skim/core/mix.hpp"
#include "support/catch.hpp"

namespace {

template <class Family>
std::vector<skim::code_t> codes_of(const Family& family) {
  // Small integers: sums of them are exact, products with Gaussian weights far from zero beside their
  // rounding, so that codes are the same with and without FMA.
  const std::vector<float> x{3, -1, 4, -1, 5, -9, 2, -6};
  std::vector<skim::code_t> codes(family.num_hashes());
  skim::workspace ws;
  family.hash(std::span<const float>(x), codes, ws);
  return codes;
}

using code_list = std::vector<skim::code_t>;

}  // namespace

TEST_CASE("codes of sign projections are pinned", "[golden]") {
  const skim::seed s{42};
  CHECK(codes_of(skim::dense_sign_projection({.dim = 8, .bits = 8, .hashes = 6}, s)) ==
        code_list{201, 99, 194, 5, 47, 161});
  CHECK(codes_of(skim::sparse_sign_projection({.dim = 8, .bits = 8, .hashes = 6}, s)) ==
        code_list{199, 51, 17, 41, 99, 212});
  CHECK(codes_of(skim::hadamard_sign_projection({.dim = 8, .bits = 8, .hashes = 6}, s)) ==
        code_list{125, 16, 11, 35, 107, 165});
}

TEST_CASE("codes of many rotations of a batch are pinned", "[golden]") {
  // 10 rotations: 8 go side by side, the others take 8 inputs side by side, and one by one.
  constexpr std::size_t n = 9, d = 50, hashes = 80;
  std::vector<float> x(n * d);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * i % 31) - 15.0f;
  const skim::hadamard_sign_projection family({.dim = d, .bits = 8, .hashes = hashes},
                                              skim::seed{42});
  std::vector<skim::code_t> codes(n * hashes);
  skim::workspace ws;
  family.hash(skim::matrix_view<const float>(x.data(), n, d), codes, ws);
  std::uint64_t all = 0;
  for (const skim::code_t c : codes) all = skim::mix_combine(all, c);
  CHECK(all == 5006794057761813344u);
}

TEST_CASE("fingerprints of sign projections are pinned", "[golden]") {
  CHECK(skim::dense_sign_projection({.dim = 8, .bits = 8, .hashes = 6}, skim::seed{42})
            .fingerprint() == 17075932998680850131u);
}
