// SPDX-License-Identifier: Apache-2.0
//
// The points of an index under their ids, and the search among all or some of them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/large_pages.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/detail/nearest.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/striped_dot.hpp"

namespace skim::inline v0::detail {

// Rows are searched by inner products p: whatever the metric, the nearest have the largest p - b_i, with
// b_i = |x_i|^2 / 2 for Euclidean distances and 0 else. Products are rounded in another order here and
// there, so they only say which rows are worth an exact look: b_i and the limit of a query are moved by
// more than rounding can be wrong. The distances of the answer all come from exact().
class point_store {
 public:
  // Squared norms beyond this are refused: sums of two would overflow.
  static constexpr float largest_square = 1e37f;

  point_store(std::string_view who, std::size_t dim, skim::metric m)
      : dim_(dim), stride_(dim <= 4 ? dim : (dim + 7) / 8 * 8), metric_(m) {
    if (dim == 0 || dim > std::size_t{1} << 30)
      SKIM_THROW(invalid_params, concat(who, ": got ", dim, " dimensions, wanted 1 to 2^30"));
    if (m > skim::metric::inner_product)
      SKIM_THROW(invalid_params,
                 concat(who, ": got metric ", static_cast<unsigned>(m), ", wanted 0 to 2"));
  }

  [[nodiscard]] std::size_t dim() const noexcept { return dim_; }
  [[nodiscard]] skim::metric metric() const noexcept { return metric_; }
  [[nodiscard]] std::size_t size() const noexcept { return slots() - free_.size(); }
  // Ids in use are below this.
  [[nodiscard]] std::size_t slots() const noexcept { return bias_.size(); }
  [[nodiscard]] bool contains(id_t id) const noexcept {
    return id < slots() && bias_[id] != std::numeric_limits<float>::infinity();
  }
  [[nodiscard]] std::span<const float> row(id_t id) const noexcept {
    return {rows_.data() + id * stride_, dim_};
  }
  [[nodiscard]] matrix_view<const float> rows() const noexcept {
    return {rows_.data(), slots(), dim_, stride_};
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return (rows_.capacity() + bias_.capacity()) * sizeof(float) + free_.capacity() * sizeof(id_t);
  }

  // Throws invalid_input unless x could be a row. Returns its squared norm.
  float check(std::string_view who, std::span<const float> x) const {
    if (x.size() != dim_)
      SKIM_THROW(invalid_input,
                 concat(who, ": got a point of dimension ", x.size(), ", wanted ", dim_));
    if (!all_finite(x)) {
      const std::size_t at = first_non_finite(x);
      SKIM_THROW(invalid_input, concat(who, ": got ", x[at], " at coordinate ", at,
                                       ", wanted finite coordinates"));
    }
    const float square = dot(x, x);
    if (!(square <= largest_square))
      SKIM_THROW(invalid_input, concat(who, ": got a squared norm of ", square, ", wanted at most ",
                                       largest_square));
    return square;
  }
  void check(std::string_view who, matrix_view<const float> x) const {
    if (x.cols() != dim_)
      SKIM_THROW(invalid_input,
                 concat(who, ": got points of dimension ", x.cols(), ", wanted ", dim_));
    for (std::size_t i = 0; i < x.rows(); ++i) static_cast<void>(check(who, x.row(i)));
  }
  void check(std::string_view who, id_t id) const {
    if (!contains(id))
      SKIM_THROW(invalid_input,
                 concat(who, ": got id ", id, ", wanted that of a point in the index"));
  }

  // Room for so many more; geometric, so that calls for one at a time cost little.
  void reserve(std::size_t more) {
    if (more <= free_.size()) return;
    std::size_t wanted = slots() + more - free_.size();
    if (wanted * stride_ <= rows_.capacity() && wanted <= bias_.capacity()) return;
    wanted = std::max(wanted, slots() + slots() / 2);
    if (wanted > rows_.capacity() / stride_) rows_.reserve(wanted * stride_);
    if (wanted > bias_.capacity()) bias_.reserve(wanted);
  }

  // The id that the next insert() will give.
  [[nodiscard]] id_t next_id() const noexcept {
    return free_.empty() ? static_cast<id_t>(slots()) : free_.back();
  }

  // Pre: x was checked, fewer than 2^32 - 1 points.
  id_t insert(std::string_view who, std::span<const float> x) {
    const id_t id = next_id();
    if (free_.empty()) {
      if (slots() >= std::numeric_limits<id_t>::max() - 1)
        SKIM_THROW(invalid_input, concat(who, ": wanted fewer than 2^32 - 1 points"));
      // Both grow before either is longer: an exception leaves all as it was.
      if (bias_.size() == bias_.capacity()) bias_.reserve(std::max<std::size_t>(16, 2 * slots()));
      rows_.resize(rows_.size() + stride_);
      bias_.push_back(0);
    } else {
      free_.pop_back();
    }
    put(id, x);
    return id;
  }

  // Pre: x was checked, id < slots().
  void put(id_t id, std::span<const float> x) noexcept {
    float* to = rows_.data() + id * stride_;
    std::copy(x.begin(), x.end(), to);
    const std::span<float> row(to, dim_);
    if (metric_ == skim::metric::cosine) normalise(row);
    set_bias(id, dot(std::span<const float>(row), std::span<const float>(row)));
  }

  // Pre: contains(id).
  void erase(id_t id) {
    free_.push_back(id);
    std::fill_n(rows_.begin() + static_cast<std::ptrdiff_t>(id * stride_), dim_, 0.0f);
    bias_[id] = std::numeric_limits<float>::infinity();
  }

  // A query as the searches want it: its values, normalised for cosines, and its part in the limits.
  struct query {
    const float* values;
    float square;  // |q|^2
    float slack;   // to add to a limit
  };

  // Pre: x was checked; values has room for dim() floats.
  [[nodiscard]] query prepare(std::span<const float> x, std::span<float> values) const noexcept {
    std::copy(x.begin(), x.end(), values.begin());
    if (metric_ == skim::metric::cosine) normalise(values);
    return prepared(values);
  }
  // Pre: values are as prepare() left them.
  [[nodiscard]] query prepared(std::span<const float> values) const noexcept {
    const float square = dot(values, values);
    const float most = metric_ == skim::metric::euclidean
                           ? square
                           : std::sqrt(square) * std::sqrt(std::max(largest_, 0x1p-100f));
    return {values.data(), square, slack() * most + 1e-37f};
  }

  // Rows with p + limit_of() <= bias need no look.
  [[nodiscard]] float limit_of(const query& q, float distance) const noexcept {
    switch (metric_) {
      case skim::metric::euclidean:
        return 0.5f * (distance - q.square) + slack() * std::abs(distance) + q.slack;
      case skim::metric::cosine:
        return distance - 1.0f + q.slack;
      default:
        return distance + q.slack;
    }
  }
  // The b_i of all places.
  [[nodiscard]] const float* biases() const noexcept { return bias_.data(); }

  [[nodiscard]] float exact(const query& q, id_t id) const noexcept {
    const std::span<const float> x = row(id), y(q.values, dim_);
    switch (metric_) {
      case skim::metric::euclidean:
        return squared_distance(x, y);
      case skim::metric::cosine:
        return 1.0f - dot(x, y);
      default:
        return -dot(x, y);
    }
  }

  // Offers all points, or those with the given ids (of points in the store, each once). k > 0.
  void scan(const query& q, nearest& best) const noexcept {
    float limit = limit_of(q, best.limit());
    std::size_t i = 0;
    const float* row = rows_.data();
    for (; i + striped_rows <= slots(); i += striped_rows, row += striped_rows * stride_) {
      const std::array<const float*, striped_rows> four{row, row + stride_, row + 2 * stride_,
                                                        row + 3 * stride_};
      std::array<float, striped_rows> products;
      striped_dots(q.values, four, dim_, products.data());
      for (std::size_t r = 0; r < striped_rows; ++r)
        if (products[r] + limit > bias_[i + r]) limit = look(q, static_cast<id_t>(i + r), best);
    }
    for (; i < slots(); ++i)
      if (contains(static_cast<id_t>(i))) look(q, static_cast<id_t>(i), best);
  }
  void scan(const query& q, std::span<const id_t> ids, nearest& best) const noexcept {
    // Rows far enough ahead that memory answers in time, few enough that the first cache holds them.
    const std::size_t row_bytes = stride_ * sizeof(float);
    const std::size_t lines =
        std::min<std::size_t>(16, row_bytes / cache_line + (row_bytes % cache_line != 0));
    const std::size_t ahead = std::clamp<std::size_t>(160 / lines, 4, 32);
    const auto fetch = [&](std::size_t i) {
      if (i >= ids.size()) return;
      const float* at = rows_.data() + ids[i] * stride_;
      for (std::size_t l = 0; l < lines; ++l) SKIM_PREFETCH(at + l * (cache_line / sizeof(float)));
      SKIM_PREFETCH(bias_.data() + ids[i]);
    };
    for (std::size_t i = 0; i < ahead; ++i) fetch(i);
    float limit = limit_of(q, best.limit());
    std::size_t i = 0;
    for (; i + striped_rows <= ids.size(); i += striped_rows) {
      std::array<const float*, striped_rows> four;
      for (std::size_t r = 0; r < striped_rows; ++r) {
        fetch(i + ahead + r);
        four[r] = rows_.data() + ids[i + r] * stride_;
      }
      std::array<float, striped_rows> products;
      striped_dots(q.values, four, dim_, products.data());
      for (std::size_t r = 0; r < striped_rows; ++r)
        if (products[r] + limit > bias_[ids[i + r]]) limit = look(q, ids[i + r], best);
    }
    for (; i < ids.size(); ++i) look(q, ids[i], best);
  }

  void save(writer& out) const {
    out.begin_frame("point_store");
    out.put(std::uint64_t{dim_});
    out.put(metric_);
    out.put(std::uint64_t{slots()});
    for (std::size_t i = 0; i < slots(); ++i) out.put(row(static_cast<id_t>(i)));
    out.put(std::span<const id_t>(free_));
    out.put(largest_);
    out.end_frame();
  }
  [[nodiscard]] static point_store load(reader& in) {
    in.begin_frame("point_store");
    const auto dim = in.get<std::uint64_t>();
    const auto m = in.get<skim::metric>();
    const auto slots = in.get<std::uint64_t>();
    if (dim == 0 || dim > std::uint64_t{1} << 30 || m > skim::metric::inner_product)
      in.fail("points of ", dim, " dimensions under metric ", static_cast<unsigned>(m));
    if (slots > in.remaining() / sizeof(float) / dim)
      in.fail(slots, " points of ", dim, " dimensions are announced, ", in.remaining(),
              " bytes remain");
    point_store s("point_store", static_cast<std::size_t>(dim), m);
    s.rows_.resize(static_cast<std::size_t>(slots) * s.stride_);
    s.bias_.resize(static_cast<std::size_t>(slots));
    for (std::size_t i = 0; i < s.slots(); ++i) {
      const std::span<float> row(s.rows_.data() + i * s.stride_, s.dim_);
      in.get_into(row);
      const float square = all_finite(row) ? dot(std::span<const float>(row), row) : -1.0f;
      if (!(square >= 0 && square <= largest_square))
        in.fail("point ", i, " has a coordinate that is not finite, or too large a norm");
      s.set_bias(static_cast<id_t>(i), square);
    }
    s.free_ = in.get_vector<id_t>();
    for (const id_t id : s.free_) {
      if (!s.contains(id)) in.fail("a free place ", id, " of ", slots, ", or one named twice");
      for (const float v : s.row(id))
        if (std::bit_cast<std::uint32_t>(v) != 0) in.fail("a free place ", id, " that is not zero");
      s.bias_[id] = std::numeric_limits<float>::infinity();
    }
    const auto largest = in.get<float>();
    if (!(largest >= s.largest_ && largest <= 2 * largest_square))
      in.fail("a largest squared norm of ", largest);
    s.largest_ = largest;
    in.end_frame();
    return s;
  }

 private:
  // Relative to norms: products of dim terms are within dim 2^-24 |x| |q| of the exact ones, squares
  // and distances likewise; a few times that.
  [[nodiscard]] float slack() const noexcept {
    return std::min(0.25f, static_cast<float>(dim_ + 16) * 0x1p-22f);
  }

  // To length 1, in two steps, since the square of a small vector may underflow; 0 stays 0.
  static void normalise(std::span<float> x) noexcept {
    float most = 0;
    for (const float v : x) most = std::max(most, std::abs(v));
    if (most == 0) return;
    const double scale = 1.0 / static_cast<double>(most);
    double square = 0;
    for (const float v : x) {
      const double t = static_cast<double>(v) * scale;
      square += t * t;
    }
    const double factor = scale / std::sqrt(square);
    for (float& v : x) v = static_cast<float>(static_cast<double>(v) * factor);
  }

  void set_bias(id_t id, float square) noexcept {
    largest_ = std::max(largest_, square);
    bias_[id] = metric_ == skim::metric::euclidean ? square * (0.5f - slack()) : 0.0f;
  }

  // Offers one row; returns the limit that holds then.
  SKIM_NEVER_INLINE float look(const query& q, id_t id, nearest& best) const noexcept {
    best.offer({id, exact(q, id)});
    return limit_of(q, best.limit());
  }

  std::size_t dim_, stride_;
  skim::metric metric_;
  large_vector<float> rows_;  // (slots, stride): zeros behind dim and in free places
  large_vector<float> bias_;  // infinite in free places
  std::vector<id_t> free_;    // the last is used next
  float largest_ = 0;         // squared norm of any row there was
};

// Epilogue of a product of rows with 16 queries: looks at rows that may be near.
struct nearest_epilogue {
  const point_store* store;
  const float* bias;  // of the first row of the product
  id_t first;
  const point_store::query* queries;
  nearest* best;
  float* limits;  // of each query; -infinite where there is none

  template <class Arch>
  SKIM_ALWAYS_INLINE void operator()(std::size_t row, std::size_t panel,
                                     const panel_result<Arch>& r) const noexcept {
    using pack = simd::floats<Arch>;
    const pack b = pack::broadcast(bias[row]);
    std::uint32_t bits = 0;
    for (std::size_t v = 0; v < r.size(); ++v) {
      const pack l = pack::load(limits + panel * panel_width + v * pack::size);
      bits |= simd::greater_bits(r[v] + l, b) << (v * pack::size);
    }
    if (bits != 0) look(static_cast<id_t>(first + row), panel, bits);
  }

  SKIM_NEVER_INLINE void look(id_t id, std::size_t panel, std::uint32_t bits) const noexcept {
    for (; bits != 0; bits &= bits - 1) {
      const auto q = panel * panel_width + static_cast<std::size_t>(std::countr_zero(bits));
      best[q].offer({id, store->exact(queries[q], id)});
      limits[q] = store->limit_of(queries[q], best[q].limit());
    }
  }
};

}  // namespace skim::inline v0::detail
