// SPDX-License-Identifier: Apache-2.0
//
// Bodies of race_sketch.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/moments.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/sketch/race.hpp"

namespace skim::inline v0 {

namespace detail {

template <class Arch, class Source, class Address>
void insert_counts(float* SKIM_RESTRICT cells, std::size_t rows, Address address,
                   const Source& source, const float* SKIM_RESTRICT weights,
                   double inverse_scale) noexcept {
  const std::size_t n = source.size();
  for (std::size_t i = 0; i < n; ++i) {
    const double w = weights == nullptr ? 1.0 : static_cast<double>(weights[i]);
    const auto add = static_cast<float>(w * inverse_scale);
    const auto* SKIM_RESTRICT codes = source.codes(i);
    const auto base = address.base(0);
    for (std::size_t r = 0; r < rows; ++r) cells[address(r, codes[r], base)] += add;
  }
}

}  // namespace detail

template <hash_family Family>
race_sketch<Family>::race_sketch(Family family, params p)
    : family_(std::move(family)),
      params_(p),
      columns_(family_.num_hashes(), p.width, family_.range(), 1,
               seed{fingerprint_of(family_.fingerprint(), std::uint64_t{0x72616365})}),
      cells_(family_.num_hashes(), p.width) {
  if (p.groups == 0 || p.groups > rows())
    SKIM_THROW(invalid_params, detail::concat("race_sketch: got ", p.groups,
                                              " groups, wanted 1 to the ", rows(), " rows"));
}

template <hash_family Family>
template <code_integer Code>
void race_sketch<Family>::insert_codes(const cached_codes<Code>& of,
                                       std::span<const float> weights) {
  constexpr std::string_view who = "race_sketch::insert";
  const detail::code_source<Code, false> source{of, {}};
  if (!weights.empty()) {
    detail::check_count(who, "weights", weights.size(), source.size());
    if (!all_finite(weights))
      SKIM_THROW(invalid_input,
                 detail::concat(who, ": got weight ", weights[first_non_finite(weights)],
                                ", wanted a finite number"));
    detail::check_weights(who, weights);
  }
  detail::check_codes(who, source, columns_, std::numeric_limits<std::uint64_t>::max());
  columns_.with_addresses([&](auto address) {
    detail::insert_counts<simd::default_arch>(cells_.cells().data(), rows(), address, source,
                                              weights.empty() ? nullptr : weights.data(),
                                              scale_.inverse());
  });
  for (std::size_t i = 0; i < source.size(); ++i)
    total_ += (weights.empty() ? 1.0 : static_cast<double>(weights[i])) * scale_.inverse();
}

template <hash_family Family>
void race_sketch<Family>::insert_points(const auto& x, std::size_t n,
                                        std::span<const float> weights, workspace& ws) {
  auto frame = ws.frame();
  const std::span<code_t> codes = frame.template take<code_t>(n * rows());
  family_.hash(x, codes, ws);
  insert_codes(cached_codes<code_t>(matrix_view<const code_t>(codes.data(), n, rows())), weights);
}

template <hash_family Family>
void race_sketch<Family>::insert(std::span<const float> x, workspace& ws, float weight) {
  insert_points(x, 1, {&weight, 1}, ws);
}

template <hash_family Family>
void race_sketch<Family>::insert(sparse_row x, workspace& ws,
                                 float weight) requires sparse_hash_family<Family> {
  insert_points(x, 1, {&weight, 1}, ws);
}

template <hash_family Family>
void race_sketch<Family>::insert(matrix_view<const float> x, std::span<const float> weights,
                                 workspace& ws) {
  insert_points(x, x.rows(), weights, ws);
}

template <hash_family Family>
void race_sketch<Family>::insert(sparse_view x, std::span<const float> weights,
                                 workspace& ws) requires sparse_hash_family<Family> {
  insert_points(x, x.rows(), weights, ws);
}

template <hash_family Family>
template <code_integer Code>
void race_sketch<Family>::query_codes(const cached_codes<Code>& of, std::span<race_estimate> out,
                                      race_form form) const {
  constexpr std::string_view who = "race_sketch::query";
  if (form != race_form::mean && form != race_form::median_of_means)
    SKIM_THROW(invalid_params, detail::concat(who, ": got form ", static_cast<int>(form),
                                              ", wanted mean or median_of_means"));
  const detail::code_source<Code, false> source{of, {}};
  detail::check_count(who, "places for estimates", out.size(), source.size());
  detail::check_codes(who, source, columns_, std::numeric_limits<std::uint64_t>::max());
  const std::size_t n = rows();
  constexpr std::size_t few = 64;
  std::array<std::uint32_t, few> few_cells;
  std::array<double, few> few_values;
  std::vector<std::uint32_t> many_cells(n > few ? n : 0);
  std::vector<double> many_values(n > few ? n : 0);
  const std::span<std::uint32_t> at =
      n > few ? std::span(many_cells) : std::span<std::uint32_t>(few_cells).first(n);
  const std::span<double> values =
      n > few ? std::span(many_values) : std::span<double>(few_values).first(n);
  const float* const cells = cells_.cells().data();
  const auto count = static_cast<double>(n), w = static_cast<double>(width());
  const bool exact = columns_.exact();
  const bool medians = form == race_form::median_of_means && params_.groups > 1;
  for (std::size_t i = 0; i < source.size(); ++i) {
    columns_.locate(source.codes(i), 0, at);
    race_estimate e;
    double sum = 0, spread = 0;
    for (std::size_t r = 0; r < n; ++r) {
      const double c = std::max(0.0, static_cast<double>(cells[at[r]]));
      e.rows_hit += c > 0;
      values[r] = exact ? c : (c - total_ / w) / (1 - 1 / w);
      sum += values[r];
    }
    const double mean = sum / count;
    for (const double v : values) spread += (v - mean) * (v - mean);
    const double scale = scale_.value();
    constexpr double median_factor = 1.2533141373155003;  // sqrt(pi / 2), for Gaussian means
    e.value = scale * (medians ? median_of_means(values, params_.groups) : mean);
    e.standard_error =
        n > 1 ? scale * std::sqrt(spread / (count * (count - 1))) * (medians ? median_factor : 1.0)
              : std::numeric_limits<double>::infinity();
    out[i] = e;
  }
}

template <hash_family Family>
void race_sketch<Family>::query_points(const auto& x, std::size_t n, std::span<race_estimate> out,
                                       workspace& ws, race_form form) const {
  auto frame = ws.frame();
  const std::span<code_t> codes = frame.template take<code_t>(n * rows());
  family_.hash(x, codes, ws);
  query_codes(cached_codes<code_t>(matrix_view<const code_t>(codes.data(), n, rows())), out, form);
}

template <hash_family Family>
race_estimate race_sketch<Family>::query(std::span<const float> x, workspace& ws,
                                         race_form form) const {
  race_estimate e;
  query_points(x, 1, {&e, 1}, ws, form);
  return e;
}

template <hash_family Family>
race_estimate race_sketch<Family>::query(sparse_row x, workspace& ws,
                                         race_form form) const requires sparse_hash_family<Family> {
  race_estimate e;
  query_points(x, 1, {&e, 1}, ws, form);
  return e;
}

template <hash_family Family>
void race_sketch<Family>::query(matrix_view<const float> x, std::span<race_estimate> out,
                                workspace& ws, race_form form) const {
  query_points(x, x.rows(), out, ws, form);
}

template <hash_family Family>
void race_sketch<Family>::decay(double factor) {
  detail::check_decay("race_sketch::decay", factor);
  if (factor == 0) return clear();
  if (!scale_.multiply(factor)) return;
  for (float& c : cells_.cells())
    c = detail::without_denormals(static_cast<float>(static_cast<double>(c) * scale_.value()));
  total_ *= scale_.value();
  scale_.set(1);
}

template <hash_family Family>
void race_sketch<Family>::clear() noexcept {
  std::fill(cells_.cells().begin(), cells_.cells().end(), 0.0f);
  total_ = 0;
  scale_.set(1);
}

template <hash_family Family>
void race_sketch<Family>::combine(const race_sketch& other, double sign, std::string_view verb) {
  if (!compatible(other))
    SKIM_THROW(merge_error,
               detail::concat("race_sketch::", verb, ": got a sketch with fingerprint ",
                              other.fingerprint(), ", wanted ", fingerprint(),
                              ": same family, seed and width"));
  if (sign < 0 && other.total_weight() > total_weight() * (1 + 1e-6))
    SKIM_THROW(merge_error,
               detail::concat("race_sketch::", verb, ": got total weight ", other.total_weight(),
                              ", wanted at most the ", total_weight(), " it is to be taken from"));
  const double f = sign * (other.scale_.value() * scale_.inverse());
  const std::span<const float> theirs = other.cells_.cells();
  const std::span<float> ours = cells_.cells();
  const auto joined = [&](std::size_t i) {
    return static_cast<float>(static_cast<double>(ours[i]) + f * static_cast<double>(theirs[i]));
  };
  for (std::size_t i = 0; i < ours.size(); ++i)
    if (!detail::sound_cell(joined(i)))
      SKIM_THROW(merge_error,
                 detail::concat("race_sketch::", verb, ": cell ", i, " would overflow"));
  for (std::size_t i = 0; i < ours.size(); ++i) ours[i] = joined(i);
  total_ += f * other.total_;
}

template <hash_family Family>
void race_sketch<Family>::save(writer& out) const {
  out.begin_frame("race_sketch");
  out.put(static_cast<std::uint64_t>(params_.width));
  out.put(static_cast<std::uint64_t>(params_.groups));
  family_.save(out);
  out.put(scale_.value());
  out.put(total_);
  detail::put_cells(out, std::as_const(cells_).cells());
  out.end_frame();
}

template <hash_family Family>
race_sketch<Family> race_sketch<Family>::load(reader& in) {
  in.begin_frame("race_sketch");
  params p;
  p.width = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.groups = static_cast<std::size_t>(in.get<std::uint64_t>());
  Family family = Family::load(in);
  detail::check_saved_size(in, family.num_hashes(), p.width, sizeof(float));
  race_sketch s =
      detail::built_or_format_error(in, [&] { return race_sketch(std::move(family), p); });
  detail::get_scale(in, s.scale_);
  s.total_ = in.get<double>();
  if (!std::isfinite(s.total_)) in.fail("the total weight of a race_sketch is ", s.total_);
  detail::get_cells(in, s.cells_.cells());
  in.end_frame();
  return s;
}

}  // namespace skim::inline v0
