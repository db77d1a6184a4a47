// SPDX-License-Identifier: Apache-2.0
//
// Hash families for the angle: signs of random projections, dense, sparse and structured.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numbers>
#include <span>
#include <string_view>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/bits.hpp"
#include "skim/hash/detail/code_words.hpp"
#include "skim/hash/detail/gaussian_signs.hpp"
#include "skim/hash/detail/hadamard_signs.hpp"
#include "skim/hash/detail/sparse_signs.hpp"
#include "skim/hash/family.hpp"

namespace skim::inline v0 {

/// Sizes of a dense_sign_projection.
struct sign_projection_params {
  std::size_t dim = 1;     ///< d, coordinates of an input
  std::size_t bits = 8;    ///< K, signs to one code, 1 to 32
  std::size_t hashes = 1;  ///< L, codes of an input
};

/// Sizes of a sparse_sign_projection.
struct sparse_sign_projection_params {
  std::size_t dim = 1;     ///< d, coordinates of an input
  std::size_t bits = 8;    ///< K, signs to one code, 1 to 32
  std::size_t hashes = 1;  ///< L, codes of an input
  double density =
      1.0 / 3.0;  ///< share of the coordinates in one sum, in (0, 1]; rounded up to a whole number
};

/// Sizes of a hadamard_sign_projection.
struct hadamard_sign_projection_params {
  std::size_t dim = 1;     ///< d, coordinates of an input
  std::size_t bits = 8;    ///< K, signs to one code, 1 to 32
  std::size_t hashes = 1;  ///< L, codes of an input
  std::size_t rounds = 3;  ///< random signs and a Hadamard transform, 1 to 3 times
};

namespace detail {

/// Angle of x and y in radians; exact to a few ulp also near 0 and pi, where acos is not.
[[nodiscard]] inline double angle_between(std::span<const float> x, std::span<const float> y) {
  // Kahan: 2 atan2(| x/|x| - y/|y| |, | x/|x| + y/|y| |). Norms are taken of scaled values, in double.
  double xx = 0, yy = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    xx += static_cast<double>(x[k]) * static_cast<double>(x[k]);
    yy += static_cast<double>(y[k]) * static_cast<double>(y[k]);
  }
  const double nx = std::sqrt(xx), ny = std::sqrt(yy);
  double minus = 0, plus = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    const double a = static_cast<double>(x[k]) / nx, b = static_cast<double>(y[k]) / ny;
    minus += (a - b) * (a - b);
    plus += (a + b) * (a + b);
  }
  return 2 * std::atan2(std::sqrt(minus), std::sqrt(plus));
}

/// Probability that two points agree in `bits` independent signs of Gaussian projections. The sign of a
/// zero vector is "not positive", which any other point has with probability 1/2.
[[nodiscard]] inline double sign_collision(std::span<const float> x, std::span<const float> y,
                                           std::size_t bits) {
  const auto is_zero = [](std::span<const float> v) {
    return std::all_of(v.begin(), v.end(), [](float c) { return c == 0.0f; });
  };
  const bool zero_x = is_zero(x), zero_y = is_zero(y);
  const double one = zero_x && zero_y   ? 1.0
                     : zero_x || zero_y ? 0.5
                                        : 1.0 - angle_between(x, y) / std::numbers::pi;
  return std::pow(std::max(0.0, one), static_cast<double>(bits));
}

// What tells the three projections apart: names, parameters, and the signs themselves.

struct dense_projection {
  using params = sign_projection_params;
  using signs = gaussian_signs;
  static constexpr std::string_view name = "sign_projection";
  static constexpr bool exact_kernel = true;

  static std::uint64_t numbers_per_output(const params& p) noexcept { return p.dim; }
  static void check(const params&) {}
  static std::uint64_t extra(const params&) noexcept { return 0; }
  static void set_extra(params&, std::uint64_t) noexcept {}
  static signs draw(const params& p, const random_engine& g) {
    return {p.dim, p.bits * p.hashes, g};
  }
};

struct sparse_projection {
  using params = sparse_sign_projection_params;
  using signs = sparse_signs;
  static constexpr std::string_view name = "sparse_sign_projection";
  static constexpr bool exact_kernel = false;

  static std::size_t terms(const params& p) noexcept {
    const double wanted = std::ceil(p.density * static_cast<double>(p.dim));
    return std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1, p.dim);
  }
  static std::uint64_t numbers_per_output(const params& p) noexcept { return 2 * terms(p); }
  static void check(const params& p) {
    if (!(p.density > 0.0 && p.density <= 1.0))
      SKIM_THROW(invalid_params, concat(name, ": got a density of ", p.density, ", wanted (0, 1]"));
  }
  static std::uint64_t extra(const params& p) noexcept {
    return std::bit_cast<std::uint64_t>(p.density);
  }
  static void set_extra(params& p, std::uint64_t bits) noexcept {
    p.density = std::bit_cast<double>(bits);
  }
  static signs draw(const params& p, const random_engine& g) {
    return {p.dim, p.bits * p.hashes, terms(p), g};
  }
};

struct hadamard_projection {
  using params = hadamard_sign_projection_params;
  using signs = hadamard_signs;
  static constexpr std::string_view name = "hadamard_sign_projection";
  static constexpr bool exact_kernel = false;

  // One rotation serves as many outputs as it has coordinates; the last may serve fewer.
  static std::uint64_t numbers_per_output(const params& p) noexcept {
    const std::uint64_t width = hadamard_signs::padded(p.dim);
    return p.rounds * (1 + width / (p.bits * p.hashes));
  }
  static void check(const params& p) {
    if (p.rounds < 1 || p.rounds > 3)
      SKIM_THROW(invalid_params, concat(name, ": got ", p.rounds, " rounds, wanted 1 to 3"));
  }
  static std::uint64_t extra(const params& p) noexcept { return p.rounds; }
  static void set_extra(params& p, std::uint64_t rounds) noexcept {
    p.rounds = static_cast<std::size_t>(rounds);
  }
  static signs draw(const params& p, const random_engine& g) {
    return {p.dim, p.bits * p.hashes, p.rounds, g};
  }
};

/// What the three families share: checks, batches, codes, saving. Use the aliases below.
///
/// Copies share the drawn numbers, which never change.
template <class Projection>
class basic_sign_projection {
 public:
  using params = typename Projection::params;

  /// Drawn numbers a family may hold (4 GB); more is taken for a mistake.
  static constexpr std::uint64_t max_numbers = std::uint64_t{1} << 30;

  /// Throws invalid_params for a size out of range.
  explicit basic_sign_projection(params p, seed s = {})
      : params_(checked(p)),
        seed_(s),
        signs_(std::make_shared<const typename Projection::signs>(
            Projection::draw(p, random_engine(s)))) {}

  [[nodiscard]] std::size_t dim() const noexcept { return params_.dim; }
  [[nodiscard]] std::size_t num_hashes() const noexcept { return params_.hashes; }
  /// K, signs to one code.
  [[nodiscard]] std::size_t bits() const noexcept { return params_.bits; }
  [[nodiscard]] std::uint64_t range() const noexcept { return std::uint64_t{1} << params_.bits; }
  [[nodiscard]] std::uint64_t fingerprint() const noexcept {
    std::uint64_t kind = 0;
    for (const char c : Projection::name) kind = mix_combine(kind, static_cast<std::uint64_t>(c));
    return fingerprint_of(kind, params_.dim, params_.bits, params_.hashes,
                          Projection::extra(params_), seed_.value);
  }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }

  /// Codes of one point, or of each row of a batch. Throws invalid_input for a wrong shape or a NaN or
  /// infinite coordinate, before anything is written.
  void hash(std::span<const float> x, std::span<code_t> codes, workspace& ws) const {
    check_point(where, x, dim());
    check_codes(where, codes, 1, num_hashes());
    hash_rows(matrix_view<const float>(x.data(), 1, dim()), codes, ws);
  }
  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    check_points(where, x, dim());
    check_codes(where, codes, x.rows(), num_hashes());
    hash_rows(x, codes, ws);
  }

  /// The same for sparse points.
  void hash(sparse_row x, std::span<code_t> codes, workspace& ws) const {
    check_sparse_point(where, x, dim());
    check_codes(where, codes, 1, num_hashes());
    hash_row(x, codes, ws);
  }
  void hash(sparse_view x, std::span<code_t> codes, workspace& ws) const {
    if (x.cols() != dim())
      SKIM_THROW(invalid_input,
                 concat(where, ": got points of dimension ", x.cols(), ", wanted ", dim()));
    x.validate();
    check_codes(where, codes, x.rows(), num_hashes());
    for (std::size_t i = 0; i < x.rows(); ++i)
      hash_row(x.row(i), codes.subspan(i * num_hashes(), num_hashes()), ws);
  }

  /// Codes of the rows and the projections whose signs they are, row-major (n, num_hashes() * bits()):
  /// bit b of code h is whether number h * bits() + b is positive. Throws as the above.
  void hash(matrix_view<const float> x, std::span<code_t> codes, std::span<float> margins,
            workspace& ws) const requires(Projection::exact_kernel) {
    check_points(where, x, dim());
    check_codes(where, codes, x.rows(), num_hashes());
    const std::size_t outputs = bits() * num_hashes();
    if (margins.size() != x.rows() * outputs)
      SKIM_THROW(invalid_input, concat(where, ": got room for ", margins.size(),
                                       " margins, wanted ", x.rows() * outputs));
    hash_rows(x, codes, ws,
              [&](std::size_t first, std::size_t count, std::uint16_t* words, std::size_t stride) {
                signs_->signs(x.rows(first, count), words, stride,
                              margins.data() + first * outputs);
              });
  }

  /// Probability that one hash gives x and y the same code: (1 - angle / pi)^bits. A zero vector, which
  /// has no angle, agrees with any other in half the signs.
  [[nodiscard]] double kernel(std::span<const float> x, std::span<const float> y) const
      requires(Projection::exact_kernel) {
    return collision(x, y);
  }

  /// What the collision probability of one hash tends to, see Error: (1 - angle / pi)^bits.
  [[nodiscard]] double limit_kernel(std::span<const float> x, std::span<const float> y) const
      requires(!Projection::exact_kernel) {
    return collision(x, y);
  }

  /// Parameters and seed; load() draws the numbers again. Throws format_error.
  void save(writer& out) const {
    out.begin_frame(Projection::name);
    out.put(std::uint64_t{params_.dim});
    out.put(std::uint64_t{params_.bits});
    out.put(std::uint64_t{params_.hashes});
    out.put(Projection::extra(params_));
    out.put(seed_.value);
    out.end_frame();
  }
  [[nodiscard]] static basic_sign_projection load(reader& in) {
    in.begin_frame(Projection::name);
    params p;
    p.dim = static_cast<std::size_t>(in.get<std::uint64_t>());
    p.bits = static_cast<std::size_t>(in.get<std::uint64_t>());
    p.hashes = static_cast<std::size_t>(in.get<std::uint64_t>());
    const auto extra = in.get<std::uint64_t>();
    Projection::set_extra(p, extra);
    const seed s{in.get<std::uint64_t>()};
    in.end_frame();
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    try {
      return basic_sign_projection(p, s);
    } catch (const invalid_params& e) {
      SKIM_THROW(format_error, e.what());
    }
#else
    return basic_sign_projection(p, s);
#endif
  }

 private:
  static constexpr std::string_view where = Projection::name;

  static params checked(const params& p) {
    if (p.dim < 1 || p.dim > max_numbers)
      SKIM_THROW(invalid_params, concat(where, ": got ", p.dim, " dimensions, wanted 1 to 2^30"));
    if (p.bits < 1 || p.bits > 32)
      SKIM_THROW(invalid_params,
                 concat(where, ": got ", p.bits, " bits to a code, wanted 1 to 32"));
    if (p.hashes < 1 || p.hashes > max_numbers / 32)
      SKIM_THROW(invalid_params, concat(where, ": got ", p.hashes, " hashes, wanted 1 to 2^25"));
    Projection::check(p);
    // Neither product can overflow: each factor is at most 2^31.
    if (Projection::numbers_per_output(p) > max_numbers / (p.bits * p.hashes))
      SKIM_THROW(invalid_params,
                 concat(where, ": got ", p.dim, " dimensions, ", p.bits, " bits and ", p.hashes,
                        " hashes, wanted at most 2^30 random numbers in all"));
    return p;
  }

  void hash_rows(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    hash_rows(x, codes, ws,
              [&](std::size_t first, std::size_t count, std::uint16_t* words, std::size_t stride) {
                signs_->signs(x.rows(first, count), words, stride, ws);
              });
  }

  // signs(first, count, words, stride) makes the words of a block of inputs.
  template <class Signs>
  void hash_rows(matrix_view<const float> x, std::span<code_t> codes, workspace& ws,
                 Signs&& signs) const {
    // Blocks of inputs whose sign bits stay in the cache until they are unpacked.
    constexpr std::size_t block = 256;
    auto frame = ws.frame();
    const std::size_t stride = words_for(bits() * num_hashes());
    const std::span<std::uint16_t> words =
        frame.take<std::uint16_t>(std::min(block, x.rows()) * stride);
    std::fill(words.begin(), words.end(), std::uint16_t{0});
    for (std::size_t first = 0; first < x.rows(); first += block) {
      const std::size_t count = std::min(block, x.rows() - first);
      signs(first, count, words.data(), stride);
      for (std::size_t i = 0; i < count; ++i)
        unpack_codes(words.data() + i * stride, static_cast<unsigned>(bits()),
                     codes.subspan((first + i) * num_hashes(), num_hashes()));
    }
  }

  void hash_row(sparse_row x, std::span<code_t> codes, workspace& ws) const {
    auto frame = ws.frame();
    const std::span<std::uint16_t> words =
        frame.take<std::uint16_t>(words_for(bits() * num_hashes()));
    std::fill(words.begin(), words.end(), std::uint16_t{0});
    signs_->signs(x, words.data(), ws);
    unpack_codes(words.data(), static_cast<unsigned>(bits()), codes);
  }

  [[nodiscard]] double collision(std::span<const float> x, std::span<const float> y) const {
    check_point(where, x, dim());
    check_point(where, y, dim());
    return sign_collision(x, y, bits());
  }

  params params_;
  seed seed_;
  std::shared_ptr<const typename Projection::signs> signs_;
};

}  // namespace detail

/// Signs of Gaussian projections: the hash family of the angle.
///
/// Sign j of x is that of <w_j, x>, w_j standard Gaussian; a code is `bits` signs. Two points agree in
/// one sign with probability 1 - angle / pi, in a code with that to the power of bits, exactly. The
/// products of a batch are one register-tiled product with the sign taken in its epilogue.
///
/// Shape:   x (d), a batch (n, d); codes (n, L), each below 2^K. Lengths of x and y do not matter.
/// Memory:  4 d K L bytes, shared by copies.
/// Cost:    d K L FMAs for a dense point, nonzeros * K L for a sparse one.
/// Error:   the kernel is exact but for rounding: a sign is only in doubt where |<w_j, x>| is below
///          d 2^-24 sum |w_jk x_k|. Coordinates beyond 1e35 may overflow; such a sign is 0.
/// Threads: const members may run at once, one workspace each.
/// Seeds:   equal seeds give equal weights on every platform, and equal codes wherever there is FMA; a
///          machine without FMA may differ in signs that are in doubt (see Error). The codes of a point
///          do not depend on the batch, its order or the number of threads.
/// Ref:     Goemans and Williamson 1995, JACM 42(6), lemma 3.2; Charikar 2002, STOC.
using dense_sign_projection = detail::basic_sign_projection<detail::dense_projection>;

/// The dense family is the one to begin with: the only one of the three whose kernel is exact.
using sign_projection = dense_sign_projection;

/// Signs of sums of a few coordinates with random signs: no multiplications, less memory.
///
/// Sign j of x is that of a sum of ceil(density d) distinct coordinates, each with a random sign.
///
/// Shape:   as dense_sign_projection.
/// Memory:  8 density d K L + 8 d bytes, shared by copies.
/// Cost:    density d K L additions for a dense point, density * nonzeros * K L for a sparse one.
/// Error:   limit_kernel is the limit for inputs whose norm is spread over many coordinates: by the
///          Berry-Esseen theorem a sign's law is within 0.56 max|x_k| / (sqrt(density) |x|) of its limit.
///          For Gaussian inputs (any whose direction is uniform) it is exact on average at bits = 1.
///          Inputs with few nonzeros are hashed badly: a sum that holds none of them has the sign 0.
/// Threads: const members may run at once, one workspace each.
/// Seeds:   equal seeds give equal codes on every platform: only additions in a fixed order are used.
/// Ref:     Achlioptas 2003, JCSS 66(4); Li, Hastie, Church 2006, KDD (very sparse projections).
using sparse_sign_projection = detail::basic_sign_projection<detail::sparse_projection>;

/// Signs of the coordinates of randomly rotated points: the cheapest signs of many.
///
/// A rotation is `rounds` times random signs and a Walsh-Hadamard transform of the point, padded with
/// zeros to D = max(64, the next power of two); each gives D signs.
///
/// Shape:   as dense_sign_projection.
/// Memory:  4 rounds K L bytes (rounded up to whole rotations), shared by copies.
/// Cost:    rounds * log2(D) additions for a sign, in vectors of 8 rotations of a point or 8 points
///          of a batch; a single point of less than 8 D signs takes somewhat longer.
/// Error:   limit_kernel is exact on average at bits = 1 for inputs whose direction is uniform, and a
///          limit for others. Signs of one rotation come from orthogonal vectors: for points of uniform
///          direction they are independent of each other in one point, and weakly dependent in a
///          pair. One round leaves structure in sparse points (a single nonzero gives all signs at
///          once); from two rounds on the tests find no correlation in sparse, clustered or
///          Gaussian inputs.
/// Threads: const members may run at once, one workspace each.
/// Seeds:   equal seeds give equal codes on every platform: only additions in a fixed order are used.
/// Ref:     Andoni, Indyk, Laarhoven, Razenshteyn, Schmidt 2015, NeurIPS, section 6 (three rounds);
///          Choromanski, Rowland, Weller 2017, NeurIPS (orthogonal signs).
using hadamard_sign_projection = detail::basic_sign_projection<detail::hadamard_projection>;

static_assert(kernel_family<dense_sign_projection> && sparse_hash_family<dense_sign_projection>);
static_assert(sparse_hash_family<sparse_sign_projection> && !kernel_family<sparse_sign_projection>);
static_assert(sparse_hash_family<hadamard_sign_projection>);
static_assert(!kernel_family<hadamard_sign_projection>);
static_assert(margin_hash_family<dense_sign_projection> && bit_hash_family<sparse_sign_projection>);
static_assert(bit_hash_family<hadamard_sign_projection>);

}  // namespace skim::inline v0
