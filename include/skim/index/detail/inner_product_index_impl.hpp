// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/workspace.hpp"
#include "skim/index/detail/answers.hpp"
#include "skim/index/inner_product_index.hpp"
#include "skim/index/lsh_index.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0 {

namespace detail {

inline constexpr lsh_index_params inner_product_tables{.distance = metric::inner_product,
                                                       .centre = centring::none};
// Squared lengths beyond it are refused: twice the length must still be one that a store takes.
inline constexpr float largest_item_square = 1e36f;

template <hash_family Family>
Family checked_augmented(Family family) {
  if (family.dim() < 3)
    SKIM_THROW(invalid_params, concat("inner_product_index: got a family of dimension ",
                                      family.dim(), ", wanted 2 more than an item has"));
  return family;
}

[[nodiscard]] inline bool sound(const inner_product_index_params& p) noexcept {
  return p.largest_norm >= 0 && p.largest_norm <= 2e18f && p.offset_unit > 0 &&
         p.offset_unit <= 1e17f;
}

}  // namespace detail

template <hash_family Family>
inner_product_index<Family>::inner_product_index(Family family, params p)
    : index_(detail::checked_augmented(std::move(family)), detail::inner_product_tables),
      params_(p) {
  if (!detail::sound(p))
    SKIM_THROW(invalid_params, detail::concat("inner_product_index: got a largest norm of ",
                                              p.largest_norm, " and a unit of ", p.offset_unit,
                                              ", wanted [0, 2e18] and (0, 1e17]"));
}

template <hash_family Family>
float inner_product_index<Family>::check_item(std::string_view who, std::span<const float> x,
                                              float offset) const {
  detail::check_point(who, x, dim());
  const float scaled = offset / params_.offset_unit;
  const float square = dot(x, x) + scaled * scaled;
  if (!(square <= detail::largest_item_square))
    SKIM_THROW(
        invalid_input,
        detail::concat(who, ": got an item with offset ", offset, " and squared length ", square,
                       ", wanted finite ones of at most ", detail::largest_item_square));
  return square;
}

// A little more than the root, or rounding could leave a negative rest.
template <hash_family Family>
float inner_product_index<Family>::least_norm(float square) noexcept {
  return std::sqrt(square) * 1.000001f;
}

template <hash_family Family>
void inner_product_index<Family>::augment(std::span<const float> x, float offset,
                                          std::span<float> row) const noexcept {
  const std::size_t d = x.size();
  std::copy(x.begin(), x.end(), row.begin());
  row[d] = offset / params_.offset_unit;
  const float square =
      dot(std::span<const float>(row.first(d + 1)), std::span<const float>(row.first(d + 1)));
  row[d + 1] = std::sqrt(std::max(0.0f, params_.largest_norm * params_.largest_norm - square));
}

template <hash_family Family>
void inner_product_index<Family>::make_room(float square, workspace& ws) {
  if (least_norm(square) <= params_.largest_norm) return;
  params_.largest_norm = 2 * least_norm(square);
  auto frame = ws.frame();
  const auto row = frame.template take<float>(dim() + 2);
  std::size_t left = size();
  for (id_t id = 0; left > 0; ++id) {
    if (!contains(id)) continue;
    augment(item(id), offset(id), row);
    index_.update(id, row, ws);
    --left;
  }
}

template <hash_family Family>
template <executor Executor>
void inner_product_index<Family>::build(matrix_view<const float> x, std::span<const float> offsets,
                                        Executor&& run) {
  constexpr std::string_view who = "inner_product_index::build";
  if (!offsets.empty() && offsets.size() != x.rows())
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got ", offsets.size(), " offsets for ", x.rows(), " items"));
  if (x.cols() != dim())
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got items of dimension ", x.cols(), ", wanted ", dim()));
  const auto offset_of = [&](std::size_t i) { return offsets.empty() ? 0.0f : offsets[i]; };
  float most = 0;
  for (std::size_t i = 0; i < x.rows(); ++i)
    most = std::max(most, check_item(who, x.row(i), offset_of(i)));
  inner_product_index fresh(family(), params_);
  fresh.params_.largest_norm = std::max(params_.largest_norm, least_norm(most));
  const std::size_t d = dim() + 2;
  std::vector<float> rows(x.rows() * d);
  for (std::size_t i = 0; i < x.rows(); ++i)
    fresh.augment(x.row(i), offset_of(i), std::span(rows).subspan(i * d, d));
  fresh.index_.build(matrix_view<const float>(rows.data(), x.rows(), d), run);
  *this = std::move(fresh);
}

template <hash_family Family>
id_t inner_product_index<Family>::insert(std::span<const float> x, float offset, workspace& ws) {
  make_room(check_item("inner_product_index::insert", x, offset), ws);
  auto frame = ws.frame();
  const auto row = frame.template take<float>(dim() + 2);
  augment(x, offset, row);
  return index_.insert(row, ws);
}

template <hash_family Family>
void inner_product_index<Family>::update(id_t id, std::span<const float> x, float offset,
                                         workspace& ws) {
  constexpr std::string_view who = "inner_product_index::update";
  const float square = check_item(who, x, offset);
  if (!contains(id))
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got id ", id, ", wanted that of an item in the index"));
  make_room(square, ws);
  auto frame = ws.frame();
  const auto row = frame.template take<float>(dim() + 2);
  augment(x, offset, row);
  index_.update(id, row, ws);
}

template <hash_family Family>
void inner_product_index<Family>::set_offset(id_t id, float offset, workspace& ws) {
  if (!contains(id))
    SKIM_THROW(invalid_input, detail::concat("inner_product_index::set_offset: got id ", id,
                                             ", wanted that of an item in the index"));
  // A copy: the item's own row is written over.
  auto frame = ws.frame();
  const auto x = frame.template take<float>(dim());
  std::copy_n(item(id).begin(), dim(), x.begin());
  update(id, x, offset, ws);
}

template <hash_family Family>
void inner_product_index<Family>::search_rows(matrix_view<const float> q, std::size_t k,
                                              std::span<scored_item> out,
                                              std::span<std::size_t> found, lsh_effort effort,
                                              workspace& ws) const {
  const std::size_t d = dim() + 2;
  auto frame = ws.frame();
  const auto row = frame.template take<float>(d);
  const auto near = frame.template take<neighbor>(k);
  for (std::size_t i = 0; i < q.rows(); ++i) {
    std::copy_n(q.row(i).begin(), dim(), row.begin());
    row[dim()] = params_.offset_unit;
    row[dim() + 1] = 0;
    found[i] = index_.search(row, near, ws, effort);
    for (std::size_t j = 0; j < found[i]; ++j) out[i * k + j] = {near[j].id, -near[j].distance};
  }
}

template <hash_family Family>
std::size_t inner_product_index<Family>::search(std::span<const float> q,
                                                std::span<scored_item> out, workspace& ws,
                                                lsh_effort effort) const {
  static_cast<void>(check_item("inner_product_index::search", q, 0));
  std::array<std::size_t, 1> found{};
  search_rows({q.data(), 1, q.size()}, out.size(), out, found, effort, ws);
  return found[0];
}

template <hash_family Family>
template <executor Executor>
void inner_product_index<Family>::search(matrix_view<const float> q, std::size_t k,
                                         std::span<scored_item> out, std::span<std::size_t> found,
                                         lsh_effort effort, Executor&& run) const {
  constexpr std::string_view who = "inner_product_index::search";
  if (q.cols() != dim())
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got queries of dimension ", q.cols(), ", wanted ", dim()));
  for (std::size_t i = 0; i < q.rows(); ++i) static_cast<void>(check_item(who, q.row(i), 0));
  detail::check_answers(who, q.rows(), k, out.size(), found.size());
  std::fill(found.begin(), found.end(), std::size_t{0});
  run.parallel_for(q.rows(), 8 * detail::search_block, [&](std::size_t first, std::size_t last) {
    workspace ws;
    search_rows(q.rows(first, last - first), k, out.subspan(first * k, (last - first) * k),
                found.subspan(first, last - first), effort, ws);
  });
}

template <hash_family Family>
double inner_product_index<Family>::inclusion_probability(
    std::span<const float> q, id_t id, workspace& ws) const requires kernel_family<Family> {
  static_cast<void>(check_item("inner_product_index::inclusion_probability", q, 0));
  auto frame = ws.frame();
  const auto row = frame.template take<float>(dim() + 2);
  std::copy(q.begin(), q.end(), row.begin());
  row[dim()] = params_.offset_unit;
  row[dim() + 1] = 0;
  return index_.inclusion_probability(row, id, ws);
}

template <hash_family Family>
void inner_product_index<Family>::save(writer& out) const {
  out.begin_frame("inner_product_index");
  out.put(params_.largest_norm);
  out.put(params_.offset_unit);
  index_.save(out);
  out.end_frame();
}

template <hash_family Family>
inner_product_index<Family> inner_product_index<Family>::load(reader& in) {
  in.begin_frame("inner_product_index");
  params p;
  p.largest_norm = in.get<float>();
  p.offset_unit = in.get<float>();
  if (!detail::sound(p))
    in.fail("a largest norm of ", p.largest_norm, " and a unit of ", p.offset_unit);
  auto index = lsh_index<Family>::load(in);
  if (index.dim() < 3 || index.parameters().distance != metric::inner_product ||
      index.parameters().centre != centring::none)
    in.fail("tables that are not those of inner products");
  // All rows have the length M, up to the rounding of a sum of squares.
  std::size_t left = index.size();
  for (id_t id = 0; left > 0; ++id) {
    if (!index.contains(id)) continue;
    const float square = dot(index.point(id), index.point(id));
    if (!(std::abs(square - p.largest_norm * p.largest_norm) <=
          0.01f * p.largest_norm * p.largest_norm + 1e-30f))
      in.fail("item ", id, " has the squared length ", square, ", wanted that of ", p.largest_norm);
    --left;
  }
  in.end_frame();
  return inner_product_index(std::move(index), p);
}

}  // namespace skim::inline v0
