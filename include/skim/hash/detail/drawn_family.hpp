// SPDX-License-Identifier: Apache-2.0
//
// What hash families that are drawn from a seed share: checks, batches, saving.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/random.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/hash/family.hpp"

namespace skim::inline v0::detail {

/// A family of a Kind, which has
///   name                       for messages and archives
///   params                     with std::size_t dim and hashes, and what each(p, f) hands to f
///   check(p)                   throws invalid_params; dim and hashes are 1 to 2^30 by then
///   numbers(p)                 random numbers it draws, at most 2^60
///   range(p)                   of a code
///   collision(p, x, y)         the kernel, if exact_kernel
///   functions(p, engine)       what is drawn, with hash(X, codes, ws) for finite rows of the right
///                              shape, and hash(sparse_row, codes, ws) if it reads those
///
/// Copies share what was drawn, which never changes.
template <class Kind>
class drawn_family {
  using functions = typename Kind::functions;
  static constexpr bool reads_sparse =
      requires(const functions& f, sparse_row x, std::span<code_t> codes, workspace& ws) {
    f.hash(x, codes, ws);
  };

 public:
  using params = typename Kind::params;

  /// Drawn numbers a family may hold; more is taken for a mistake.
  static constexpr std::uint64_t max_numbers = std::uint64_t{1} << 30;

  /// Throws invalid_params for a size out of range.
  explicit drawn_family(params p, seed s = {})
      : params_(checked(p)),
        seed_(s),
        functions_(std::make_shared<const functions>(p, random_engine(s))) {}

  [[nodiscard]] std::size_t dim() const noexcept { return params_.dim; }
  [[nodiscard]] std::size_t num_hashes() const noexcept { return params_.hashes; }
  [[nodiscard]] std::uint64_t range() const noexcept { return Kind::range(params_); }
  [[nodiscard]] std::uint64_t fingerprint() const noexcept {
    std::uint64_t print = fingerprint_of(params_.dim, params_.hashes, seed_.value);
    for (const char c : Kind::name) print = mix_combine(print, static_cast<std::uint64_t>(c));
    Kind::each(params_, [&](auto v) { print = mix_combine(print, bits_of(v)); });
    return print;
  }
  [[nodiscard]] const params& parameters() const noexcept { return params_; }

  /// Codes of one point, or of each row of a batch. Throws invalid_input for a wrong shape or a NaN or
  /// infinite coordinate, before anything is written.
  void hash(std::span<const float> x, std::span<code_t> codes, workspace& ws) const {
    check_point(Kind::name, x, dim());
    check_codes(Kind::name, codes, 1, num_hashes());
    functions_->hash(matrix_view<const float>(x.data(), 1, dim()), codes, ws);
  }
  void hash(matrix_view<const float> x, std::span<code_t> codes, workspace& ws) const {
    check_points(Kind::name, x, dim());
    check_codes(Kind::name, codes, x.rows(), num_hashes());
    functions_->hash(x, codes, ws);
  }

  /// The same for sparse points.
  void hash(sparse_row x, std::span<code_t> codes, workspace& ws) const requires(reads_sparse) {
    check_sparse_point(Kind::name, x, dim());
    check_codes(Kind::name, codes, 1, num_hashes());
    functions_->hash(x, codes, ws);
  }
  void hash(sparse_view x, std::span<code_t> codes, workspace& ws) const requires(reads_sparse) {
    if (x.cols() != dim())
      SKIM_THROW(invalid_input,
                 concat(Kind::name, ": got points of dimension ", x.cols(), ", wanted ", dim()));
    x.validate();
    check_codes(Kind::name, codes, x.rows(), num_hashes());
    for (std::size_t i = 0; i < x.rows(); ++i)
      functions_->hash(x.row(i), codes.subspan(i * num_hashes(), num_hashes()), ws);
  }

  /// Probability, over the draw, that one hash gives x and y the same code. Throws invalid_input as
  /// hash() does.
  [[nodiscard]] double kernel(std::span<const float> x, std::span<const float> y) const
      requires(Kind::exact_kernel) {
    check_point(Kind::name, x, dim());
    check_point(Kind::name, y, dim());
    return Kind::collision(params_, x, y);
  }

  /// Parameters and seed; load() draws the numbers again. Throws format_error.
  void save(writer& out) const {
    out.begin_frame(Kind::name);
    out.put(std::uint64_t{params_.dim});
    out.put(std::uint64_t{params_.hashes});
    Kind::each(params_, [&](auto v) { out.put(bits_of(v)); });
    out.put(seed_.value);
    out.end_frame();
  }
  [[nodiscard]] static drawn_family load(reader& in) {
    in.begin_frame(Kind::name);
    params p;
    p.dim = static_cast<std::size_t>(in.get<std::uint64_t>());
    p.hashes = static_cast<std::size_t>(in.get<std::uint64_t>());
    Kind::each(p, [&](auto& v) { set_bits(v, in.get<std::uint64_t>()); });
    const seed s{in.get<std::uint64_t>()};
    in.end_frame();
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    try {
      return drawn_family(p, s);
    } catch (const invalid_params& e) {
      SKIM_THROW(format_error, e.what());
    }
#else
    return drawn_family(p, s);
#endif
  }

 private:
  static std::uint64_t bits_of(std::size_t v) noexcept {
    return v;
  }
  static std::uint64_t bits_of(double v) noexcept {
    return std::bit_cast<std::uint64_t>(v);
  }
  static void set_bits(std::size_t& v, std::uint64_t bits) noexcept {
    v = static_cast<std::size_t>(bits);
  }
  static void set_bits(double& v, std::uint64_t bits) noexcept {
    v = std::bit_cast<double>(bits);
  }

  static params checked(const params& p) {
    for (const std::size_t size : {p.dim, p.hashes})
      if (size < 1 || size > max_numbers)
        SKIM_THROW(invalid_params, concat(Kind::name, ": got ", p.dim, " dimensions and ", p.hashes,
                                          " hashes, wanted 1 to 2^30 of each"));
    Kind::check(p);
    if (Kind::numbers(p) > max_numbers)
      SKIM_THROW(invalid_params, concat(Kind::name, ": got ", p.dim, " dimensions and ", p.hashes,
                                        " hashes, which take ", Kind::numbers(p),
                                        " random numbers, wanted at most 2^30"));
    return p;
  }

  params params_;
  seed seed_;
  std::shared_ptr<const functions> functions_;
};

/// Maps tuples of 32-bit integers to codes of `bits` bits, by a function of its own for each hash: two
/// different tuples meet with probability 2^-bits, exactly, over the draw of the coefficients.
///
/// Ref: Dietzfelbinger 1996, STACS (multiply-shift, strongly universal); Lemire and Kaser 2014, The
///      Computer Journal 57 (multilinear form for tuples).
class tuple_hashes {
 public:
  tuple_hashes(std::size_t hashes, std::size_t size, std::size_t bits, random_engine engine)
      : size_(size), shift_(64 - static_cast<unsigned>(bits)), numbers_(hashes * (size + 1)) {
    for (std::uint64_t& n : numbers_) n = engine();
  }

  [[nodiscard]] code_t operator()(std::size_t h, const std::int32_t* tuple) const noexcept {
    const std::uint64_t* const of = numbers_.data() + h * (size_ + 1);
    std::uint64_t sum = of[size_];
    for (std::size_t i = 0; i < size_; ++i) sum += of[i] * static_cast<std::uint32_t>(tuple[i]);
    return static_cast<code_t>(sum >> shift_);
  }

 private:
  std::size_t size_;
  unsigned shift_;
  std::vector<std::uint64_t> numbers_;  // (hashes, size + 1)
};

/// The kernel of codes of so many bits where that of what they stand for is p.
[[nodiscard]] inline double with_chance_collisions(double p, std::size_t bits) noexcept {
  return p + (1 - p) * std::ldexp(1.0, -static_cast<int>(bits));
}

/// Throws invalid_params unless 1 <= bits <= 32.
inline void check_code_bits(std::string_view who, std::size_t bits) {
  if (bits < 1 || bits > 32)
    SKIM_THROW(invalid_params, concat(who, ": got ", bits, " bits to a code, wanted 1 to 32"));
}

}  // namespace skim::inline v0::detail
