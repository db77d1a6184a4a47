// SPDX-License-Identifier: Apache-2.0
//
// A hash family that is the concept's and no more, and that no forged image makes large.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "skim/core/archive.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/family.hpp"

namespace skim_test {

/// Codes are scrambled numbers of cells of a coordinate: their bits mean nothing.
class cell_family {
 public:
  explicit cell_family(std::size_t dim, std::size_t hashes = 4, std::uint64_t range = 1000)
      : dim_(dim), hashes_(hashes), range_(range) {}
  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  [[nodiscard]] std::size_t num_hashes() const noexcept { return hashes_; }
  [[nodiscard]] std::uint64_t range() const noexcept { return range_; }
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return dim_ ^ hashes_ ^ range_; }
  void hash(std::span<const float> x, std::span<skim::code_t> codes, skim::workspace&) const {
    for (std::size_t h = 0; h < hashes_; ++h) {
      const double cell = std::floor(static_cast<double>(x[h % dim_]) * 3 + static_cast<double>(h));
      codes[h] = static_cast<skim::code_t>(
          skim::mix64(static_cast<std::uint64_t>(static_cast<std::int64_t>(cell))) % range_);
    }
  }
  void hash(skim::matrix_view<const float> x, std::span<skim::code_t> codes,
            skim::workspace& ws) const {
    for (std::size_t i = 0; i < x.rows(); ++i)
      hash(x.row(i), codes.subspan(i * hashes_, hashes_), ws);
  }
  void save(skim::writer& out) const {
    out.begin_frame("cells");
    for (const std::uint64_t v : {std::uint64_t{dim_}, std::uint64_t{hashes_}, range_}) out.put(v);
    out.end_frame();
  }
  static cell_family load(skim::reader& in) {
    in.begin_frame("cells");
    const auto dim = in.get<std::uint64_t>(), hashes = in.get<std::uint64_t>(),
               range = in.get<std::uint64_t>();
    if (dim == 0 || hashes == 0 || range == 0 || dim > 100 || hashes > 100 ||
        range > std::uint64_t{1} << 32)
      in.fail("sizes");
    in.end_frame();
    return cell_family(dim, hashes, range);
  }

 private:
  std::size_t dim_, hashes_;
  std::uint64_t range_;
};

}  // namespace skim_test

static_assert(skim::hash_family<skim_test::cell_family>);
