// SPDX-License-Identifier: Apache-2.0
//
// Random numbers that are equal for equal seeds on every compiler, standard library and thread
// count.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/mix.hpp"

namespace skim::inline v0 {

/// What a random structure is seeded with; a type of its own, so that it is not mistaken for a
/// size.
struct seed {
  std::uint64_t value = 0;
};

/// A source of random 64-bit words.
template <class G>
concept random_source = requires(G& g) {
  { g() } -> std::same_as<std::uint64_t>;
};

/// Counter-based random engine that can be split by index.
///
/// Word i is a bijective scrambling of i under a 128-bit key; child(j) is an engine under a key
/// derived from this one's and j. A loop that gives iteration j the engine child(j) draws the same
/// numbers in any order and on any number of threads.
///
/// Memory:  24 bytes, a value.
/// Cost:    about 2 ns a word; any position in O(1).
/// Error:   no cryptographic strength. The scrambling is SplitMix's finaliser and a further round;
///          the tests check uniformity, serial and cross-stream correlation.
/// Threads: as any value: give each thread its own (a child).
/// Seeds:   equal seeds give equal words on every platform.
/// Ref:     Steele, Lea, Flood 2014, OOPSLA (SplitMix);
///          Salmon et al. 2011, SC (counter-based engines).
class random_engine {
 public:
  using result_type = std::uint64_t;

  constexpr random_engine() noexcept : random_engine(seed{}) {}
  explicit constexpr random_engine(seed s) noexcept
      : key_(mix64(s.value + 0x9e3779b97f4a7c15u)),
        whitener_(mix64(s.value ^ 0xd1b54a32d192ed03u)) {}

  constexpr std::uint64_t operator()() noexcept { return at(counter_++); }

  /// Word i of this engine, without moving it.
  [[nodiscard]] constexpr std::uint64_t at(std::uint64_t i) const noexcept {
    std::uint64_t x = mix64(i * 0x9e3779b97f4a7c15u + key_) ^ whitener_;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
  }

  /// Independent engine number i; does not depend on how many words were drawn.
  [[nodiscard]] constexpr random_engine child(std::uint64_t i) const noexcept {
    random_engine c;
    c.key_ = mix_combine(key_, mix64(i));
    c.whitener_ = mix_combine(whitener_ ^ 0x2545f4914f6cdd1du, i);
    return c;
  }

  [[nodiscard]] static constexpr result_type min() noexcept { return 0; }
  [[nodiscard]] static constexpr result_type max() noexcept {
    return std::numeric_limits<std::uint64_t>::max();
  }

  friend constexpr bool operator==(const random_engine&, const random_engine&) noexcept = default;

  void save(writer& out) const {
    out.begin_frame("random_engine");
    out.put(key_);
    out.put(whitener_);
    out.put(counter_);
    out.end_frame();
  }
  [[nodiscard]] static random_engine load(reader& in) {
    in.begin_frame("random_engine");
    random_engine e;
    e.key_ = in.get<std::uint64_t>();
    e.whitener_ = in.get<std::uint64_t>();
    e.counter_ = in.get<std::uint64_t>();
    in.end_frame();
    return e;
  }

 private:
  std::uint64_t key_ = 0, whitener_ = 0, counter_ = 0;
};

namespace detail {

// The upper 53 bits as a fraction. Through a signed integer: that is one instruction everywhere,
// an unsigned one is a branch or two where there is no AVX-512.
[[nodiscard]] constexpr double fraction_of(std::uint64_t word) noexcept {
  return static_cast<double>(static_cast<std::int64_t>(word >> 11)) * 0x1p-53;
}

}  // namespace detail

/// Uniform in [0, 1), a multiple of 2^-53.
template <random_source G>
[[nodiscard]] double uniform(G& g) noexcept {
  return detail::fraction_of(g());
}

/// Uniform in [0, 1), a multiple of 2^-24.
template <random_source G>
[[nodiscard]] float uniform_float(G& g) noexcept {
  return static_cast<float>(static_cast<std::int32_t>(g() >> 40)) * 0x1p-24f;
}

namespace detail {

/// high * 2^64 + low.
struct wide_product {
  std::uint64_t high = 0, low = 0;
};

/// The full product of two words: turns a random one into an index and a fraction.
[[nodiscard]] constexpr wide_product multiply_wide(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
  __extension__ using wide = unsigned __int128;
  const wide product = static_cast<wide>(a) * b;
  return {static_cast<std::uint64_t>(product >> 64), static_cast<std::uint64_t>(product)};
#else
  constexpr std::uint64_t half = 0xffffffffu;
  const std::uint64_t a0 = a & half, a1 = a >> 32, b0 = b & half, b1 = b >> 32;
  const std::uint64_t low = a0 * b0, mid = a1 * b0 + (low >> 32), cross = a0 * b1 + (mid & half);
  return {a1 * b1 + (mid >> 32) + (cross >> 32), a * b};
#endif
}

}  // namespace detail

/// Uniform integer in [0, n), exactly. Pre: n > 0.
///
/// Cost:    one word, one multiplication; a second word with probability below n / 2^32 (n / 2^64
///          for n of 2^32 and more).
/// Ref:     Lemire 2019, ACM TOMACS 29(1).
template <random_source G>
[[nodiscard]] std::uint64_t uniform_below(G& g, std::uint64_t n) noexcept {
  SKIM_EXPECTS(n > 0);
  if (n <= std::numeric_limits<std::uint32_t>::max()) {
    const auto range = static_cast<std::uint32_t>(n);
    std::uint64_t product = (g() >> 32) * range;
    if (static_cast<std::uint32_t>(product) < range) {
      const std::uint32_t threshold = (0u - range) % range;
      while (static_cast<std::uint32_t>(product) < threshold) product = (g() >> 32) * range;
    }
    return product >> 32;
  }
  detail::wide_product product = detail::multiply_wide(g(), n);
  if (product.low < n) {
    const std::uint64_t threshold = (0u - n) % n;
    while (product.low < threshold) product = detail::multiply_wide(g(), n);
  }
  return product.high;
}

namespace detail {

// The tables are built at compile time from +, -, * and / alone, so that no library's exp or log
// and no contraction to fused multiply-adds can make them differ between compilers.
constexpr double exp_at_compile_time(double x) {
  int halvings = 0;
  for (; x > 0.125 || x < -0.125; x /= 2) ++halvings;
  double term = 1, sum = 1;
  for (int i = 1; i < 16; ++i) {
    term *= x / i;
    sum += term;
  }
  for (; halvings > 0; --halvings) sum *= sum;
  return sum;
}

constexpr double log_at_compile_time(double x) {
  double twos = 0;
  for (; x < 0.7; x *= 2) twos -= 1;
  for (; x > 1.4; x /= 2) twos += 1;
  const double t = (x - 1) / (x + 1), t2 = t * t;
  double power = t, sum = 0;
  for (int i = 1; i < 40; i += 2) {
    sum += power / i;
    power *= t2;
  }
  return 2 * sum + twos * 0.693147180559945309;
}

constexpr double sqrt_at_compile_time(double x) {
  double r = x > 1 ? x : 1;
  for (int i = 0; i < 64; ++i) r = (r + x / r) / 2;
  return r;
}

/// 256 layers of equal area under a decreasing density; edge[0] is the base layer's width as if it
/// were a rectangle, edge[1] where its tail begins, edge[256] = 0.
struct ziggurat_layers {
  std::array<double, 257> edge{}, height{};
};

struct half_normal_density {
  static constexpr double tail = 3.654152885361009, area = 0.004928673233974658;
  static constexpr double at(double x) { return exp_at_compile_time(-x * x / 2); }
  static constexpr double inverse(double y) {
    return sqrt_at_compile_time(-2 * log_at_compile_time(y));
  }
};

struct exponential_density {
  static constexpr double tail = 7.697117470131049, area = 0.003949659822581559;
  static constexpr double at(double x) { return exp_at_compile_time(-x); }
  static constexpr double inverse(double y) { return -log_at_compile_time(y); }
};

template <class Density>
constexpr ziggurat_layers make_ziggurat() {
  ziggurat_layers z;
  z.edge[0] = Density::area / Density::at(Density::tail);
  z.edge[1] = Density::tail;
  z.height[0] = 0;
  z.height[1] = Density::at(Density::tail);
  for (std::size_t i = 2; i < 256; ++i) {
    z.height[i] = z.height[i - 1] + Density::area / z.edge[i - 1];
    z.edge[i] = Density::inverse(z.height[i]);
  }
  z.edge[256] = 0;
  z.height[256] = 1;
  return z;
}

template <class Density>
inline constexpr ziggurat_layers ziggurat = make_ziggurat<Density>();

// offset + x, where x is a product that has been rounded: a compiler may otherwise fuse the two,
// and the sum would depend on the instruction set. Rarely other than 0 + x.
inline double sum_of_rounded(double offset, double x) noexcept {
  if (offset == 0) return x;
  const volatile double rounded = x;
  return offset + rounded;
}

// Where the draw of a layer fell outside the rectangle that lies under the density. Apart from the
// fast path, so that this is small enough to be inlined.
template <random_source G>
double exponential_beyond(G& g, std::size_t layer, double x) noexcept {
  const auto& z = ziggurat<exponential_density>;
  for (double offset = 0;;) {
    if (layer == 0) {  // beyond the base: the tail of an exponential is an exponential
      offset += exponential_density::tail;
    } else {
      const double y = z.height[layer] + uniform(g) * (z.height[layer + 1] - z.height[layer]);
      if (y < std::exp(-x)) return sum_of_rounded(offset, x);
    }
    const std::uint64_t word = g();
    layer = word & 255u;
    x = fraction_of(word) * z.edge[layer];
    if (x < z.edge[layer + 1]) return sum_of_rounded(offset, x);
  }
}

}  // namespace detail

/// Exponential with mean 1.
///
/// Cost:    one word in 98.9 % of the draws.
/// Error:   exact up to the 53-bit grid of each layer. The values are products of table entries, so
///          equal seeds give equal values everywhere; the accept decision of the remaining 1.1 %
///          calls std::exp, whose last bit could change an outcome once in about 1e17 draws.
/// Ref:     Marsaglia and Tsang 2000, J. Stat. Softw. 5(8) (ziggurat).
template <random_source G>
[[nodiscard]] double exponential(G& g) noexcept {
  const auto& z = detail::ziggurat<detail::exponential_density>;
  const std::uint64_t word = g();
  const std::size_t layer = word & 255u;
  const double x = detail::fraction_of(word) * z.edge[layer];
  if (x < z.edge[layer + 1]) return x;
  return detail::exponential_beyond(g, layer, x);
}

namespace detail {

template <random_source G>
double half_normal_beyond(G& g, std::size_t layer, double x) noexcept {
  const auto& z = ziggurat<half_normal_density>;
  for (;;) {
    while (layer == 0) {
      const double beyond = exponential(g) / half_normal_density::tail;
      if (2 * exponential(g) > beyond * beyond) return half_normal_density::tail + beyond;
    }
    const double y = z.height[layer] + uniform(g) * (z.height[layer + 1] - z.height[layer]);
    if (y < std::exp(-x * x / 2)) return x;
    const std::uint64_t word = g();
    layer = word & 255u;
    x = fraction_of(word) * z.edge[layer];
    if (x < z.edge[layer + 1]) return x;
  }
}

}  // namespace detail

/// Normal with mean 0 and variance 1.
///
/// Cost:    one word in 98.8 % of the draws.
/// Error:   as exponential().
/// Ref:     Marsaglia and Tsang 2000, J. Stat. Softw. 5(8);
///          tail by Marsaglia 1964, Technometrics 6(1).
template <random_source G>
[[nodiscard]] double normal(G& g) noexcept {
  const auto& z = detail::ziggurat<detail::half_normal_density>;
  const std::uint64_t word = g();
  const std::size_t layer = word & 255u;
  double x = detail::fraction_of(word) * z.edge[layer];
  if (!(x < z.edge[layer + 1])) x = detail::half_normal_beyond(g, layer, x);
  // Bit 8 is the sign. Set by bits: as a comparison it would be a branch that no one can predict.
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) | (word & 256u) << 55);
}

/// Puts the elements in a uniformly random order.
///
/// Cost:    one word an element.
/// Ref:     Durstenfeld 1964, Commun. ACM 7(7), algorithm 235.
template <class T, random_source G>
void shuffle(std::span<T> values, G& g) noexcept {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[static_cast<std::size_t>(uniform_below(g, i))]);
}

}  // namespace skim::inline v0
