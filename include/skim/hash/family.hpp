// SPDX-License-Identifier: Apache-2.0
//
// What a locality-sensitive hash family is: concepts, and the input checks that every model shares.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0 {

/// A drawn set of num_hashes() functions from R^dim() to codes in [0, range()).
///
/// A model is an immutable value, determined by its parameters and its seed; save() writes those
/// and load() draws the family again, throwing format_error for bytes that save() could not have
/// written.
///
/// dim()          coordinates of an input, at least 1.
/// num_hashes()   codes per input, at least 1; the hashes are drawn alike.
/// range()        number of values one code can take, at most 2^32 (hence not a code_t).
/// fingerprint()  equal for families that give equal codes, different for others but for a
/// collision
///                of 64-bit hashes: what merge() of two sketches compares.
/// hash(x, codes, ws)  the codes of one point (dim()), written to codes (num_hashes()).
/// hash(X, codes, ws)  the codes of n points (n, dim()), written row-major to codes (n,
/// num_hashes());
///                equal to hashing the rows one at a time, whatever n, the stride and the order.
///
/// hash() throws invalid_input, and writes nothing, for a wrong shape or a NaN or infinite
/// coordinate that it would read. It is const and touches only its arguments: threads may share a
/// family, each with its own workspace. It allocates nothing once the workspace is warm.
template <class F>
concept hash_family = std::copy_constructible<F> &&
    requires(const F& f, std::span<const float> x, matrix_view<const float> batch,
             std::span<code_t> codes, workspace& ws, writer& out, reader& in) {
  { f.dim() }
  noexcept->std::same_as<std::size_t>;
  { f.num_hashes() }
  noexcept->std::same_as<std::size_t>;
  { f.range() }
  noexcept->std::same_as<std::uint64_t>;
  { f.fingerprint() }
  noexcept->std::same_as<std::uint64_t>;
  { f.hash(x, codes, ws) } -> std::same_as<void>;
  { f.hash(batch, codes, ws) } -> std::same_as<void>;
  { f.save(out) } -> std::same_as<void>;
  { F::load(in) } -> std::same_as<F>;
};

/// A hash_family with a closed-form kernel: kernel(x, y) is the exact probability, over the draw of
/// the family, that ONE of its hashes gives x and y the same code. Throws invalid_input as hash()
/// does.
///
/// A model whose kernel holds only in a limit offers limit_kernel(x, y) instead, says how far off
/// it is, and does not satisfy this concept, so that nothing downstream takes it for exact.
template <class F>
concept kernel_family = hash_family<F> && requires(const F& f, std::span<const float> x) {
  { f.kernel(x, x) } -> std::same_as<double>;
};

/// A hash_family that also reads sparse points: the codes equal those of the same point written out
/// densely; hash() does work in proportion to the nonzeros where the model's documentation says so.
template <class F>
concept sparse_hash_family = hash_family<F> &&
    requires(const F& f, sparse_row x, sparse_view batch, std::span<code_t> codes, workspace& ws) {
  { f.hash(x, codes, ws) } -> std::same_as<void>;
  { f.hash(batch, codes, ws) } -> std::same_as<void>;
};

namespace detail {

/// Throws invalid_input unless x has the family's dim() and only finite coordinates. `who` opens
/// the message: "sign_projection::hash".
inline void check_point(std::string_view who, std::span<const float> x, std::size_t dim) {
  if (x.size() != dim) {
    SKIM_THROW(invalid_input,
               concat(who, ": got a point of dimension ", x.size(), ", wanted ", dim));
  }
  if (!all_finite(x)) {
    const std::size_t at = first_non_finite(x);
    SKIM_THROW(invalid_input,
               concat(who, ": got ", x[at], " at coordinate ", at, ", wanted finite coordinates"));
  }
}

/// The same for each row of a batch.
inline void check_points(std::string_view who, matrix_view<const float> x, std::size_t dim) {
  if (x.cols() != dim) {
    SKIM_THROW(invalid_input,
               concat(who, ": got points of dimension ", x.cols(), ", wanted ", dim));
  }
  for (std::size_t i = 0; i < x.rows(); ++i) {
    if (!all_finite(x.row(i))) {
      const std::size_t at = first_non_finite(x.row(i));
      SKIM_THROW(invalid_input, concat(who, ": got ", x.row(i)[at], " at row ", i, ", coordinate ",
                                       at, ", wanted finite coordinates"));
    }
  }
}

/// Throws invalid_input unless there is room for exactly rows * num_hashes codes.
inline void check_codes(std::string_view who, std::span<const code_t> codes, std::size_t rows,
                        std::size_t num_hashes) {
  if (codes.size() != rows * num_hashes) {
    SKIM_THROW(invalid_input,
               concat(who, ": got room for ", codes.size(), " codes, wanted ", rows * num_hashes,
                      " (", rows, " points x ", num_hashes, " hashes)"));
  }
}

/// Throws invalid_input unless x has as many values as indices, and these ascend below dim.
inline void check_sparse_indices(std::string_view who, sparse_row x, std::size_t dim) {
  if (x.indices.size() != x.values.size()) {
    SKIM_THROW(invalid_input, concat(who, ": got ", x.indices.size(), " indices and ",
                                     x.values.size(), " values, wanted as many of each"));
  }
  // Indices that ascend stay below dim if the last one does: a pass that compilers make vectors of.
  unsigned falls = 0;
  for (std::size_t i = 1; i < x.indices.size(); ++i)
    falls |= x.indices[i] <= x.indices[i - 1] ? 1u : 0u;
  const bool ordered = falls == 0 && (x.indices.empty() || x.indices.back() < dim);
  for (std::size_t i = 0; i < x.indices.size() && !ordered; ++i) {
    if (x.indices[i] >= dim || (i > 0 && x.indices[i] <= x.indices[i - 1])) {
      SKIM_THROW(invalid_input, concat(who, ": got index ", x.indices[i], " at entry ", i,
                                       ", wanted increasing indices below ", dim));
    }
  }
}

/// Throws invalid_input unless x is a sorted sparse row of finite values inside dim.
inline void check_sparse_point(std::string_view who, sparse_row x, std::size_t dim) {
  check_sparse_indices(who, x, dim);
  if (!all_finite(x.values)) {
    const std::size_t at = first_non_finite(x.values);
    SKIM_THROW(invalid_input, concat(who, ": got ", x.values[at], " at coordinate ", x.indices[at],
                                     ", wanted finite coordinates"));
  }
}

}  // namespace detail

}  // namespace skim::inline v0
