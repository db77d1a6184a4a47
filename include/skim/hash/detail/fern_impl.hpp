// SPDX-License-Identifier: Apache-2.0
//
// Bodies of fern_family.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "skim/core/aligned.hpp"
#include "skim/core/error.hpp"
#include "skim/core/mix.hpp"
#include "skim/hash/detail/code_words.hpp"
#include "skim/hash/fern.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/simd.hpp"

namespace skim::inline v0 {

namespace detail {

// Points hashed side by side. More than 16, or compilers unroll the loops over them before they could
// make vectors of them.
inline constexpr std::size_t fern_lanes = 32;
inline constexpr std::size_t fern_block = 16;  // coordinates of a cache line
inline constexpr std::size_t fern_staged_codes = std::size_t{1} << 15;

inline void check_fern_params(const fern_params& p) {
  if (p.hashes == 0 || p.bits == 0 || p.bits > 32 || p.hashes > (std::size_t{1} << 22) / p.bits) {
    SKIM_THROW(invalid_params,
               concat("fern_family: got ", p.hashes, " hashes of ", p.bits,
                      " bits, wanted at least one of 1 to 32, and at most 2^22 bits in all"));
  }
  if (p.run == 0 || p.bits % p.run != 0) {
    SKIM_THROW(invalid_params, concat("fern_family: got runs of ", p.run,
                                      ", wanted a divisor of the ", p.bits, " bits"));
  }
  if (p.knots == 0 || p.knots > 1024) {
    SKIM_THROW(invalid_params, concat("fern_family: got ", p.knots, " knots, wanted 1 to 1024"));
  }
  if (p.weighting != fern_weighting::uniform && p.weighting != fern_weighting::variation) {
    SKIM_THROW(invalid_params, concat("fern_family: got weighting ", static_cast<int>(p.weighting),
                                      ", wanted uniform or variation"));
  }
}

// P(t < x) for thresholds drawn uniformly from the pieces between ascending knots, each with the same
// probability. A piece of length zero is an atom.
[[nodiscard]] inline double piecewise_below(std::span<const float> knots, float x) noexcept {
  if (knots.size() < 2) return 0;
  const auto next = std::lower_bound(knots.begin(), knots.end(), x);  // first knot >= x
  if (next == knots.begin()) return 0;
  if (next == knots.end()) return 1;
  const double lo = next[-1], hi = *next;
  return (static_cast<double>(next - knots.begin() - 1) + (x - lo) / (hi - lo)) /
         static_cast<double>(knots.size() - 1);
}

}  // namespace detail

inline fern_family::fern_family(params p, std::span<const fern_coordinate> coordinates, seed s)
    : fern_family(s, p, [&] {
        distribution d;
        d.first.reserve(coordinates.size() + 1);
        d.first.push_back(0);
        d.weights.reserve(coordinates.size());
        for (std::size_t j = 0; j < coordinates.size(); ++j) {
          const fern_coordinate& c = coordinates[j];
          if (!std::isfinite(c.lo) || !std::isfinite(c.hi) || c.lo > c.hi ||
              !std::isfinite(c.weight) || c.weight < 0) {
            SKIM_THROW(invalid_params,
                       detail::concat("fern_family: coordinate ", j, " has range ", c.lo, " to ",
                                      c.hi, " and weight ", c.weight,
                                      ", wanted finite ascending ends and a weight >= 0"));
          }
          const bool drawn = c.lo < c.hi && c.weight > 0;
          if (drawn) {
            d.knots.push_back(c.lo);
            d.knots.push_back(c.hi);
          }
          d.first.push_back(static_cast<std::uint32_t>(d.knots.size()));
          d.weights.push_back(drawn ? c.weight : 0);
        }
        return d;
      }()) {}

inline fern_family::fern_family(seed s, params p, distribution d)
    : params_(p), seed_(s), dim_(d.weights.size()), distribution_(std::move(d)) {
  detail::check_fern_params(p);
  double total = 0;
  for (const double w : distribution_.weights) total += w;
  if (!(total > 0) || !std::isfinite(total)) {
    SKIM_THROW(invalid_params,
               detail::concat("fern_family: none of ", dim_,
                              " coordinates can be drawn (all constant or of weight 0)"));
  }
  fingerprint_ = fingerprint_of(std::uint64_t{0x6665726e}, dim_, p.hashes, p.bits, p.run, s.value);
  for (const float q : distribution_.knots)
    fingerprint_ = mix_combine(fingerprint_, std::bit_cast<std::uint32_t>(q));
  for (const double w : distribution_.weights)
    fingerprint_ = mix_combine(fingerprint_, std::bit_cast<std::uint64_t>(w));
  for (const std::uint32_t f : distribution_.first) fingerprint_ = mix_combine(fingerprint_, f);
  draw();
  index_sparse();
}

// Draws coordinates and thresholds; used_ becomes the ascending list of the coordinates drawn.
inline void fern_family::draw() {
  std::vector<double> cumulative(dim_);
  double total = 0;
  for (std::size_t j = 0; j < dim_; ++j) cumulative[j] = total += distribution_.weights[j];
  // Coordinate in [first, last) whose share of their total weight holds u.
  const auto pick = [&](std::size_t first, std::size_t last, double u) {
    const double base = first == 0 ? 0 : cumulative[first - 1];
    const double target = base + u * (cumulative[last - 1] - base);
    const auto begin = cumulative.begin();
    std::size_t j = static_cast<std::size_t>(
        std::upper_bound(begin + static_cast<std::ptrdiff_t>(first),
                         begin + static_cast<std::ptrdiff_t>(last), target) -
        begin);
    // Rounding may carry the target to the end: fall back to the last that can be drawn.
    if (j == last) --j;
    while (distribution_.weights[j] == 0 && j > first) --j;
    while (distribution_.weights[j] == 0) ++j;
    return j;
  };

  coordinates_.resize(params_.hashes * params_.bits);
  slots_.resize(coordinates_.size());
  thresholds_.assign(
      (slots_.size() + detail::word_bits - 1) / detail::word_bits * detail::word_bits,
      std::numeric_limits<float>::max());
  for (std::size_t r = 0; r < params_.hashes; ++r) {
    random_engine g = random_engine(seed_).child(r);
    std::size_t first = 0, last = dim_;
    for (std::size_t k = 0; k < params_.bits; ++k) {
      if (params_.run > 1 && k % params_.run == 0) {
        first = pick(0, dim_, uniform(g)) / detail::fern_block * detail::fern_block;
        last = std::min(dim_, first + detail::fern_block);
      }
      const std::size_t j = pick(first, last, uniform(g)), f = (r + 1) * params_.bits - 1 - k;
      const float* q = distribution_.knots.data() + distribution_.first[j];
      const std::size_t pieces = distribution_.first[j + 1] - distribution_.first[j] - 1;
      const auto piece = static_cast<std::size_t>(uniform_below(g, pieces));
      // std::fma, lest one compiler fuses what another does not. The largest float below the upper
      // knot bounds t, so that rounding cannot put it where it separates nothing.
      const double lo = q[piece], hi = q[piece + 1];
      auto t = static_cast<float>(std::fma(uniform(g), hi - lo, lo));
      if (lo < hi && t >= q[piece + 1]) t = std::nextafter(q[piece + 1], q[piece]);
      coordinates_[f] = static_cast<id_t>(j);
      thresholds_[f] = t;
    }
  }
  used_ = coordinates_;
  std::sort(used_.begin(), used_.end());
  used_.erase(std::unique(used_.begin(), used_.end()), used_.end());
  for (std::size_t f = 0; f < slots_.size(); ++f) {
    const auto at = std::lower_bound(used_.begin(), used_.end(), coordinates_[f]);
    slots_[f] = static_cast<std::uint32_t>(at - used_.begin());
  }
}

// A bitmap with running counts finds a coordinate's slot in one or two cache lines that stay near;
// behind the slot are the bits that the entry may flip in the codes of the zero vector.
inline void fern_family::index_sparse() {
  present_.assign(dim_ / 64 + 1, 0);
  for (const id_t j : used_) present_[j / 64] |= std::uint64_t{1} << (j % 64);
  present_before_.resize(present_.size());
  std::uint32_t before = 0;
  for (std::size_t w = 0; w < present_.size(); ++w) {
    present_before_[w] = before;
    before += static_cast<std::uint32_t>(std::popcount(present_[w]));
  }
  flips_first_.assign(used_.size() + 1, 0);
  for (const std::uint32_t slot : slots_) ++flips_first_[slot + 1];
  for (std::size_t u = 0; u < used_.size(); ++u) flips_first_[u + 1] += flips_first_[u];
  std::vector<std::uint32_t> next(flips_first_.begin(), flips_first_.end() - 1);
  flips_.resize(slots_.size());
  zero_codes_.assign(params_.hashes, 0);
  for (std::size_t f = 0; f < slots_.size(); ++f) {
    const std::size_t r = f / params_.bits;
    const code_t bit = code_t{1} << (f % params_.bits);
    flips_[next[slots_[f]]++] = {static_cast<std::uint32_t>(r), bit, thresholds_[f]};
    if (0 > thresholds_[f]) zero_codes_[r] |= bit;
  }
}

inline double fern_family::below(std::size_t j, float x) const noexcept {
  const std::size_t first = distribution_.first[j], last = distribution_.first[j + 1];
  return detail::piecewise_below(std::span(distribution_.knots).subspan(first, last - first), x);
}

inline double fern_family::separation(std::size_t j, float x, float y) const noexcept {
  return x == y ? 0 : std::abs(below(j, x) - below(j, y));
}

inline double fern_family::kernel(std::span<const float> x, std::span<const float> y) const {
  detail::check_point("fern_family::kernel", x, dim_);
  detail::check_point("fern_family::kernel", y, dim_);
  const auto& w = distribution_.weights;
  double total = 0;
  for (const double v : w) total += v;
  const std::size_t block = params_.run == 1 ? dim_ : detail::fern_block;
  double agree = 0;  // probability that the features of one run all agree
  for (std::size_t first = 0; first < dim_; first += block) {
    const std::size_t last = std::min(dim_, first + block);
    double weight = 0, differ = 0;
    for (std::size_t j = first; j < last; ++j) {
      if (w[j] == 0) continue;
      weight += w[j];
      differ += w[j] * separation(j, x[j], y[j]);
    }
    if (weight > 0)
      agree += weight / total *
               std::pow(std::max(0.0, 1 - differ / weight), static_cast<double>(params_.run));
  }
  const std::size_t runs = params_.bits / params_.run;  // exact: run divides bits
  return std::pow(std::min(agree, 1.0), static_cast<double>(runs));
}

inline void fern_family::check_used(std::span<const float> x, std::size_t row) const {
  std::array<std::uint32_t, 4> seen{};
  std::size_t u = 0;
  const auto word = [&](std::size_t at) {
    return (std::bit_cast<std::uint32_t>(x[used_[at]]) & 0x7f800000u) + 0x00800000u;
  };
  for (; u + 4 <= used_.size(); u += 4)
    for (std::size_t k = 0; k < 4; ++k) seen[k] |= word(u + k);
  for (; u < used_.size(); ++u) seen[0] |= word(u);
  if (((seen[0] | seen[1] | seen[2] | seen[3]) >> 31) == 0) return;
  for (const id_t j : used_)
    if (!std::isfinite(x[j]))
      SKIM_THROW(invalid_input, detail::concat("fern_family::hash: got ", x[j], " at row ", row,
                                               ", coordinate ", j, ", wanted finite coordinates"));
}

// The coordinates that features compare are gathered one by one; comparing them, a word of features at a
// time, is the smaller part. Returns whether all are finite.
template <class Arch>
bool fern_family::hash_one(const float* x, float* SKIM_RESTRICT compared,
                           std::uint16_t* SKIM_RESTRICT words) const noexcept {
  using pack = simd::floats<Arch>;
  for (std::size_t f = 0; f < slots_.size(); ++f) compared[f] = x[coordinates_[f]];
  std::fill(compared + slots_.size(), compared + thresholds_.size(), 0.0f);
  for (std::size_t f = 0; f < thresholds_.size(); f += detail::word_bits) {
    std::uint32_t bits = 0;
    for (std::size_t v = 0; v < detail::word_bits; v += pack::size)
      bits |= simd::greater_bits(pack::load(compared + f + v),
                                 pack::load_aligned(thresholds_.data() + f + v))
              << v;
    words[f / detail::word_bits] = static_cast<std::uint16_t>(bits);
  }
  return all_finite({compared, slots_.size()});
}

inline void fern_family::hash(std::span<const float> x, std::span<code_t> codes,
                              workspace& ws) const {
  if (x.size() != dim_)
    SKIM_THROW(invalid_input, detail::concat("fern_family::hash: got a point of dimension ",
                                             x.size(), ", wanted ", dim_));
  detail::check_codes("fern_family::hash", codes, 1, params_.hashes);
  auto frame = ws.frame();
  const std::span<float> compared = frame.take<float>(thresholds_.size());
  const std::span<std::uint16_t> words =
      frame.take<std::uint16_t>(detail::words_for(slots_.size()));
  if (!hash_one<simd::default_arch>(x.data(), compared.data(), words.data())) check_used(x, 0);
  std::fill(words.end() - detail::word_padding, words.end(), std::uint16_t{0});
  detail::unpack_codes(words.data(), static_cast<unsigned>(params_.bits), codes);
}

// Codes of up to fern_lanes points from lanes (slot, point): each feature is one broadcast, one comparison
// and one shifted addition for all points.
template <class Arch>
void fern_family::compare_lanes(const float* SKIM_RESTRICT lanes, std::size_t count,
                                code_t* SKIM_RESTRICT codes) const noexcept {
  constexpr std::size_t n = detail::fern_lanes;
  const std::size_t hashes = params_.hashes, bits = params_.bits;
  for (std::size_t r = 0; r < hashes; ++r) {
    alignas(cache_line) std::array<code_t, n> code;
    for (std::size_t i = 0; i < n; ++i) code[i] = 0;
    const std::uint32_t* SKIM_RESTRICT slot = slots_.data() + (r + 1) * bits - 1;
    const float* SKIM_RESTRICT t = thresholds_.data() + (r + 1) * bits - 1;
    std::size_t k = 0;
    for (; k + 4 <= bits; k += 4, slot -= 4, t -= 4) {  // codes pass through memory less often
      const float* SKIM_RESTRICT x0 = lanes + slot[0] * n;
      const float* SKIM_RESTRICT x1 = lanes + slot[-1] * n;
      const float* SKIM_RESTRICT x2 = lanes + slot[-2] * n;
      const float* SKIM_RESTRICT x3 = lanes + slot[-3] * n;
      const float t0 = t[0], t1 = t[-1], t2 = t[-2], t3 = t[-3];
      for (std::size_t i = 0; i < n; ++i)
        code[i] = 16 * code[i] + (x0[i] > t0 ? 8u : 0u) + (x1[i] > t1 ? 4u : 0u) +
                  (x2[i] > t2 ? 2u : 0u) + (x3[i] > t3 ? 1u : 0u);
    }
    for (; k < bits; ++k, --slot, --t) {
      const float* SKIM_RESTRICT x = lanes + *slot * n;
      const float t0 = *t;
      for (std::size_t i = 0; i < n; ++i) code[i] = 2 * code[i] + (x[i] > t0 ? 1u : 0u);
    }
    for (std::size_t i = 0; i < count; ++i) codes[i * hashes + r] = code[i];
  }
}

// Up to fern_lanes points side by side, the coordinates in use transposed to lanes. Returns whether all
// that was read is finite.
template <class Arch>
bool fern_family::hash_block(const float* const* rows, std::size_t count,
                             float* SKIM_RESTRICT lanes,
                             code_t* SKIM_RESTRICT codes) const noexcept {
  constexpr std::size_t n = detail::fern_lanes;
  const id_t* SKIM_RESTRICT used = used_.data();
  const std::size_t n_used = used_.size();
  for (std::size_t i = 0; i < n; i += 4) {  // four rows' addresses stay in registers
    const auto from = [&](std::size_t k) { return rows[i + k < count ? i + k : 0]; };
    const float *x0 = from(0), *x1 = from(1), *x2 = from(2), *x3 = from(3);
    float* SKIM_RESTRICT to = lanes + i;
    for (std::size_t u = 0; u < n_used; ++u) {
      const std::size_t j = used[u];
      to[u * n] = x0[j];
      to[u * n + 1] = x1[j];
      to[u * n + 2] = x2[j];
      to[u * n + 3] = x3[j];
    }
  }
  // An exponent of all ones carries into the sign when one is added to it.
  std::uint32_t any = 0;
  for (std::size_t v = 0; v < n_used * n; ++v)
    any |= (std::bit_cast<std::uint32_t>(lanes[v]) & 0x7f800000u) + 0x00800000u;
  compare_lanes<Arch>(lanes, count, codes);
  return (any >> 31) == 0;
}

inline void fern_family::hash(matrix_view<const float> x, std::span<code_t> codes,
                              workspace& ws) const {
  if (x.cols() != dim_)
    SKIM_THROW(invalid_input, detail::concat("fern_family::hash: got points of dimension ",
                                             x.cols(), ", wanted ", dim_));
  detail::check_codes("fern_family::hash", codes, x.rows(), params_.hashes);
  // Nothing may be written before everything is known to be finite: small batches go through scratch
  // memory, large ones are looked through first.
  const bool staged = codes.size() <= detail::fern_staged_codes;
  for (std::size_t i = 0; i < x.rows() && !staged; ++i) check_used(x.row(i), i);
  auto frame = ws.frame();
  const std::span<float> lanes = frame.take<float>(used_.size() * detail::fern_lanes);
  const std::span<code_t> out = staged ? frame.take<code_t>(codes.size()) : codes;
  bool finite = true;
  for (std::size_t i = 0; i < x.rows(); i += detail::fern_lanes) {
    const std::size_t count = std::min(detail::fern_lanes, x.rows() - i);
    std::array<const float*, detail::fern_lanes> rows;
    for (std::size_t k = 0; k < count; ++k) rows[k] = x.row(i + k).data();
    finite &= hash_block<simd::default_arch>(rows.data(), count, lanes.data(),
                                             out.data() + i * params_.hashes);
  }
  if (!staged) return;
  for (std::size_t i = 0; i < x.rows() && !finite; ++i) check_used(x.row(i), i);
  std::copy(out.begin(), out.end(), codes.begin());
}

inline void fern_family::hash_sparse(sparse_row x, code_t* codes) const noexcept {
  std::copy(zero_codes_.begin(), zero_codes_.end(), codes);
  for (std::size_t e = 0; e < x.nonzeros(); ++e) {
    const id_t j = x.indices[e];
    const std::uint64_t word = present_[j / 64], bit = std::uint64_t{1} << (j % 64);
    if ((word & bit) == 0) continue;
    const std::size_t slot =
        present_before_[j / 64] + static_cast<std::size_t>(std::popcount(word & (bit - 1)));
    const float value = x.values[e];
    for (std::size_t k = flips_first_[slot]; k < flips_first_[slot + 1]; ++k) {
      const flip& f = flips_[k];
      if ((value > f.threshold) != (0 > f.threshold)) codes[f.hash] ^= f.bit;
    }
  }
}

// The same for sparse rows: their entries are scattered to lanes, those that no feature compares to a slot
// behind the others. No branch depends on the data.
template <class Arch>
void fern_family::hash_block(sparse_view x, std::size_t first, std::size_t count,
                             float* SKIM_RESTRICT lanes,
                             code_t* SKIM_RESTRICT codes) const noexcept {
  constexpr std::size_t n = detail::fern_lanes;
  const std::size_t nowhere = used_.size();
  std::fill_n(lanes, nowhere * n, 0.0f);
  const std::uint64_t* const present = present_.data();
  const std::uint32_t* const before = present_before_.data();
  for (std::size_t i = 0; i < count; ++i) {
    const sparse_row row = x.row(first + i);
    for (std::size_t e = 0; e < row.indices.size(); ++e) {
      const id_t j = row.indices[e];
      const std::uint64_t word = present[j / 64] << (63 - j % 64);  // j's bit on top
      const std::size_t slot = before[j / 64] + static_cast<std::size_t>(std::popcount(word)) - 1;
      // By a mask, lest a compiler makes a branch of it.
      const std::size_t used = std::size_t{0} - static_cast<std::size_t>(word >> 63);
      lanes[((slot & used) | (nowhere & ~used)) * n + i] = row.values[e];
    }
  }
  compare_lanes<Arch>(lanes, count, codes);
}

inline void fern_family::hash(sparse_row x, std::span<code_t> codes, workspace&) const {
  detail::check_sparse_point("fern_family::hash", x, dim_);
  detail::check_codes("fern_family::hash", codes, 1, params_.hashes);
  hash_sparse(x, codes.data());
}

inline void fern_family::hash(sparse_view x, std::span<code_t> codes, workspace& ws) const {
  detail::check_codes("fern_family::hash", codes, x.rows(), params_.hashes);
  if (x.cols() > dim_)
    SKIM_THROW(invalid_input, detail::concat("fern_family::hash: got points of dimension ",
                                             x.cols(), ", wanted ", dim_));
  if (x.rows() == 0) return;
  for (std::size_t i = 0; i < x.rows(); ++i)
    detail::check_sparse_indices("fern_family::hash", x.row(i), dim_);
  // The values of all rows follow each other.
  const bool finite = all_finite({x.row(0).values.data(), x.nonzeros()});
  for (std::size_t i = 0; i < x.rows() && !finite; ++i)
    detail::check_sparse_point("fern_family::hash", x.row(i), dim_);
  // Rows with few entries for many features flip the bits of the zero vector's codes.
  if (slots_.size() > 16 * (x.nonzeros() / x.rows())) {
    for (std::size_t i = 0; i < x.rows(); ++i)
      hash_sparse(x.row(i), codes.data() + i * params_.hashes);
    return;
  }
  auto frame = ws.frame();
  const std::span<float> lanes = frame.take<float>((used_.size() + 1) * detail::fern_lanes);
  for (std::size_t i = 0; i < x.rows(); i += detail::fern_lanes)
    hash_block<simd::default_arch>(x, i, std::min(detail::fern_lanes, x.rows() - i), lanes.data(),
                                   codes.data() + i * params_.hashes);
}

// Knots are order statistics, so values that many points share are kept as atoms. column(j) gives the
// nonzero values of column j, ascending; the other `rows` - size are zeros.
template <class Column>
fern_family::distribution fern_family::fit_columns(std::size_t rows, std::size_t cols,
                                                   const params& p, Column&& column) {
  detail::check_fern_params(p);
  distribution d;
  d.first.push_back(0);
  std::vector<float> knots(p.knots + 1);
  for (std::size_t j = 0; j < cols; ++j) {
    const std::span<const float> values = column(j);
    const std::size_t zeros = rows - values.size();
    const auto negative = static_cast<std::size_t>(
        std::lower_bound(values.begin(), values.end(), 0.0f) - values.begin());
    const auto ordered = [&](std::size_t at) {
      return at < negative ? values[at] : at < negative + zeros ? 0.0f : values[at - zeros];
    };
    for (std::size_t i = 0; i <= p.knots; ++i)
      knots[i] = ordered((i * (rows - 1) + p.knots / 2) / p.knots);
    // Pieces that begin at the maximum separate nothing.
    const auto end = std::lower_bound(knots.begin(), knots.end(), knots.back());
    const auto pieces = static_cast<std::size_t>(end - knots.begin());
    double weight = 0;
    if (pieces > 0) {
      const std::span<const float> kept(knots.data(), pieces + 1);
      d.knots.insert(d.knots.end(), kept.begin(), kept.end());
      if (p.weighting == fern_weighting::uniform) {
        weight = 1;
      } else {
        // Mean |G(x) - G(y)| over pairs of the sample, by order: sum_i (2 i - n + 1) G(x_(i)).
        const auto n = static_cast<double>(rows);
        const auto at = [&](std::size_t i) { return 2 * static_cast<double>(i) - n + 1; };
        for (std::size_t i = 0; i < values.size(); ++i)
          weight += at(i < negative ? i : i + zeros) * detail::piecewise_below(kept, values[i]);
        const auto a = static_cast<double>(negative), z = static_cast<double>(zeros);
        weight += detail::piecewise_below(kept, 0) * z * (2 * a + z - n);
        weight = std::max(0.0, 2 * weight / (n * n));
      }
    }
    if (weight == 0) d.knots.resize(d.first.back());
    d.first.push_back(static_cast<std::uint32_t>(d.knots.size()));
    d.weights.push_back(weight);
  }
  return d;
}

inline fern_family fern_family::fit(matrix_view<const float> sample, params p, seed s) {
  if (sample.rows() == 0 || sample.cols() == 0)
    SKIM_THROW(invalid_input, detail::concat("fern_family::fit: got a sample of ", sample.rows(),
                                             " x ", sample.cols(), ", wanted at least one value"));
  detail::check_points("fern_family::fit", sample, sample.cols());
  std::vector<float> values(sample.rows());
  return {
      s, p,
      fit_columns(sample.rows(), sample.cols(), p, [&](std::size_t j) -> std::span<const float> {
        for (std::size_t i = 0; i < sample.rows(); ++i) values[i] = sample.row(i)[j];
        std::sort(values.begin(), values.end());
        return values;
      })};
}

inline fern_family fern_family::fit(sparse_view sample, params p, seed s) {
  if (sample.rows() == 0 || sample.cols() == 0)
    SKIM_THROW(invalid_input, detail::concat("fern_family::fit: got a sample of ", sample.rows(),
                                             " x ", sample.cols(), ", wanted at least one value"));
  sample.validate();
  std::vector<std::size_t> first(sample.cols() + 1, 0);
  for (std::size_t i = 0; i < sample.rows(); ++i)
    for (const id_t j : sample.row(i).indices) ++first[j + 1];
  for (std::size_t j = 0; j < sample.cols(); ++j) first[j + 1] += first[j];
  std::vector<float> by_column(sample.nonzeros());
  std::vector<std::size_t> next(first.begin(), first.end() - 1);
  for (std::size_t i = 0; i < sample.rows(); ++i) {
    const sparse_row row = sample.row(i);
    for (std::size_t e = 0; e < row.nonzeros(); ++e)
      by_column[next[row.indices[e]]++] = row.values[e];
  }
  return {
      s, p,
      fit_columns(sample.rows(), sample.cols(), p, [&](std::size_t j) -> std::span<const float> {
        const std::span<float> values =
            std::span(by_column).subspan(first[j], first[j + 1] - first[j]);
        std::sort(values.begin(), values.end());
        return values;
      })};
}

inline void fern_family::save(writer& out) const {
  out.begin_frame("fern_family");
  out.put(static_cast<std::uint64_t>(params_.hashes));
  out.put(static_cast<std::uint64_t>(params_.bits));
  out.put(static_cast<std::uint64_t>(params_.run));
  out.put(static_cast<std::uint64_t>(params_.knots));
  out.put(params_.weighting);
  out.put(seed_.value);
  out.put(std::span(distribution_.first));
  out.put(std::span(distribution_.knots));
  out.put(std::span(distribution_.weights));
  out.end_frame();
}

inline fern_family fern_family::load(reader& in) {
  in.begin_frame("fern_family");
  params p;
  p.hashes = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.bits = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.run = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.knots = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.weighting = in.get<fern_weighting>();
  const seed s{in.get<std::uint64_t>()};
  distribution d;
  d.first = in.get_vector<std::uint32_t>();
  d.knots = in.get_vector<float>();
  d.weights = in.get_vector<double>();
  if (d.first.size() != d.weights.size() + 1 || d.first.front() != 0 ||
      d.first.back() != d.knots.size())
    in.fail("fern_family has ", d.weights.size(), " weights, ", d.first.size(), " offsets and ",
            d.knots.size(), " knots, which do not fit together");
  for (std::size_t j = 0; j < d.weights.size(); ++j) {
    const std::size_t first = d.first[j], last = d.first[j + 1];
    bool sound = first <= last && last <= d.knots.size() && std::isfinite(d.weights[j]) &&
                 (d.weights[j] > 0 ? last - first >= 2 : d.weights[j] == 0 && last == first);
    for (std::size_t k = first; sound && k < last; ++k)
      sound = std::isfinite(d.knots[k]) && (k == first || d.knots[k - 1] <= d.knots[k]);
    if (sound && last > first) sound = d.knots[last - 2] < d.knots[last - 1];
    if (!sound) in.fail("coordinate ", j, " of a fern_family has impossible knots or weight");
  }
  in.end_frame();
#if defined(__cpp_exceptions)
  try {
    return {s, p, std::move(d)};
  } catch (const invalid_params& e) {
    in.fail(e.what());
  }
#else
  return {s, p, std::move(d)};
#endif
}

}  // namespace skim::inline v0
