// SPDX-License-Identifier: Apache-2.0
//
// A bound on the largest of weights that come and go.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "skim/core/config.hpp"
#include "skim/kde/detail/point_rules.hpp"

namespace skim::inline v0::detail {

// How many weights there are between powers of two.
class weight_classes {
 public:
  void add(float w) noexcept { ++counts_[index(w)]; }
  // Pre: was added.
  void subtract(float w) noexcept { --counts_[index(w)]; }

  // The least power of two that is not below any of them; 0 if there are none.
  [[nodiscard]] double bound() const noexcept {
    for (std::size_t i = counts_.size(); i-- > 0;)
      if (counts_[i] != 0)
        return static_cast<double>(
            std::bit_cast<float>(static_cast<std::uint32_t>(i + first) << 23));
    return 0;
  }

 private:
  static constexpr std::size_t first = std::bit_cast<std::uint32_t>(least_weight) >> 23,
                               last = (std::bit_cast<std::uint32_t>(largest_weight) >> 23) + 1;

  // The exponent rounded up, as biased.
  [[nodiscard]] static std::size_t index(float w) noexcept {
    return ((std::bit_cast<std::uint32_t>(w) + 0x7fffffu) >> 23) - first;
  }

  std::array<std::uint32_t, last - first + 1> counts_{};
};

}  // namespace skim::inline v0::detail
