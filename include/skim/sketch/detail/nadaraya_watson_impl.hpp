// SPDX-License-Identifier: Apache-2.0
//
// Bodies of nadaraya_watson_sketch and nadaraya_watson_scores.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include "skim/core/error.hpp"
#include "skim/core/mix.hpp"
#include "skim/core/moments.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/sketch/nadaraya_watson.hpp"

namespace skim::inline v0 {

namespace detail {

// Example by example, so that neighbours in time are different cells: an addition need not wait for
// the one before it.
template <class Arch, std::size_t Moments, class Source, class Address>
void insert_regression(regression_cell<Moments>* SKIM_RESTRICT cells, std::size_t rows,
                       Address address, const Source& source, const float* SKIM_RESTRICT scores,
                       const float* SKIM_RESTRICT weights, double inverse_scale,
                       regression_totals& totals) noexcept {
  regression_totals total = totals;
  const std::size_t n = source.size();
  cell_block at;
  for (std::size_t first = 0; first < n; first += lanes) {
    const std::size_t count = std::min(lanes, n - first);
    source.prefetch(first + codes_ahead);
    for (std::size_t r = 0; r < rows; r += row_chunk) {
      const std::size_t some = std::min(row_chunk, rows - r);
      at.locate(source, first, count, r, some, address);
      for (std::size_t e = 0; e < count; ++e) {
        const std::size_t i = first + e;
        const double w = weights == nullptr ? 1.0 : static_cast<double>(weights[i]);
        const double y = scores[i], stored = w * inverse_scale;
        if (r == 0) total.insert(stored, y);
        regression_cell<Moments> add;
        add.weight = static_cast<float>(stored);
        add.sum = static_cast<float>(stored * y);
        if constexpr (Moments == 2) {
          add.square = static_cast<float>(stored * y * y);
          add.weight_square = static_cast<float>(stored * stored);
        }
        const std::uint32_t* SKIM_RESTRICT place = at.of(e);
        for (std::size_t k = 0; k < some; ++k) {
          regression_cell<Moments>& c = cells[place[k]];
          c.weight += add.weight;
          c.sum += add.sum;
          if constexpr (Moments == 2) {
            c.square += add.square;
            c.weight_square += add.weight_square;
          }
        }
      }
    }
  }
  totals = total;
}

// Shrunk ratios of `lanes` examples side by side: cells are copied to (row, example), then each row
// is one vector of divisions. Rows are added in order, so the result does not depend on the batch.
template <class Arch, std::size_t Moments, class Source, class Address, class Pull>
void query_regression(const regression_cell<Moments>* SKIM_RESTRICT cells, std::size_t rows,
                      Address address, const Source& source, Pull pull_of, bool second,
                      float* SKIM_RESTRICT out) noexcept {
  struct sum_and_weight {
    float weight, sum;
  };
  const std::size_t n = source.size();
  const float share = 1.0f / static_cast<float>(rows);
  cell_block at;
  alignas(cache_line) std::array<std::array<sum_and_weight, lanes>, row_chunk> near{};
  alignas(cache_line) std::array<float, lanes> strength, mean;
  strength.fill(1);
  mean.fill(0);
  for (std::size_t first = 0; first < n; first += lanes) {
    const std::size_t count = std::min(lanes, n - first);
    source.prefetch(first + codes_ahead);
    for (std::size_t e = 0; e < count; ++e) {
      const auto pull = pull_of(source, first + e);
      strength[e] = pull.strength;
      mean[e] = pull.mean;
    }
    alignas(cache_line) std::array<float, lanes> total{};
    for (std::size_t r = 0; r < rows; r += row_chunk) {
      const std::size_t some = std::min(row_chunk, rows - r);
      at.locate(source, first, count, r, some, address);
      for (std::size_t e = 0; e < count; ++e) {
        const std::uint32_t* SKIM_RESTRICT place = at.of(e);
        for (std::size_t k = 0; k < some; ++k) {
          const regression_cell<Moments>& c = cells[place[k]];
          if constexpr (Moments == 1) {
            std::memcpy(&near[k][e], &c, sizeof c);
          } else {
            near[k][e] = {c.weight, second ? c.square : c.sum};
          }
        }
      }
      for (std::size_t k = 0; k < some; ++k) {
        for (std::size_t e = 0; e < lanes; ++e) {
          const float w = near[k][e].weight;
          total[e] += (near[k][e].sum + mean[e]) / ((w > 0 ? w : 0.0f) + strength[e]);
        }
      }
    }
    for (std::size_t e = 0; e < lanes; ++e) total[e] *= share;
    std::copy_n(total.begin(), count, out + first);
  }
}

// Four rows are the usual number: the loads of an example are independent, and so many run at once.
template <class Arch, bool Listed>
void query_four_values(const float* SKIM_RESTRICT values, std::size_t width,
                       const column_source<Listed>& source, float* SKIM_RESTRICT out) noexcept {
  const std::size_t n = source.size();
  const float *const v0 = values, *const v1 = v0 + width, *const v2 = v1 + width,
                     *const v3 = v2 + width;
  for (std::size_t first = 0; first < n; first += lanes) {
    const std::size_t last = std::min(n, first + lanes);
    source.prefetch(first + codes_ahead);
    for (std::size_t i = first; i < last; ++i) {
      const std::uint16_t* const c = source.codes(i);
      out[i] = (((v0[c[0]] + v1[c[1]]) + v2[c[2]]) + v3[c[3]]) * 0.25f;
    }
  }
}

template <class Arch, class Source, class Address>
void query_values(const float* SKIM_RESTRICT values, std::size_t rows, Address address,
                  const Source& source, float* SKIM_RESTRICT out) noexcept {
  const std::size_t n = source.size();
  const float share = 1.0f / static_cast<float>(rows);
  cell_block at;
  for (std::size_t first = 0; first < n; first += lanes) {
    const std::size_t count = std::min(lanes, n - first);
    source.prefetch(first + codes_ahead);
    alignas(cache_line) std::array<float, lanes> total{};
    for (std::size_t r = 0; r < rows; r += row_chunk) {
      const std::size_t some = std::min(row_chunk, rows - r);
      at.locate(source, first, count, r, some, address);
      for (std::size_t e = 0; e < count; ++e) {
        const std::uint32_t* SKIM_RESTRICT place = at.of(e);
        float sum = total[e];
        for (std::size_t k = 0; k < some; ++k) sum += values[place[k]];
        total[e] = sum;
      }
    }
    for (std::size_t e = 0; e < lanes; ++e) total[e] *= share;
    std::copy_n(total.begin(), count, out + first);
  }
}

}  // namespace detail

template <hash_family Family, std::size_t Moments>
nadaraya_watson_sketch<Family, Moments>::nadaraya_watson_sketch(Family family, params p)
    : family_(std::move(family)),
      params_(p),
      columns_(family_.num_hashes(), p.width, family_.range(), p.classes,
               seed{fingerprint_of(family_.fingerprint(), std::uint64_t{0x6e7773})}),
      cells_(family_.num_hashes(), p.width) {
  if (p.groups == 0 || p.groups > rows())
    SKIM_THROW(invalid_params, detail::concat("nadaraya_watson_sketch: got ", p.groups,
                                              " groups, wanted 1 to the ", rows(), " rows"));
  if (!(p.shrinkage >= 0x1p-20 && p.shrinkage <= 0x1p30))
    SKIM_THROW(invalid_params, detail::concat("nadaraya_watson_sketch: got shrinkage ", p.shrinkage,
                                              ", wanted one in [2^-20, 2^30]"));
  if (p.prior != regression_prior::global && p.prior != regression_prior::per_class)
    SKIM_THROW(invalid_params,
               detail::concat("nadaraya_watson_sketch: got prior ", static_cast<int>(p.prior),
                              ", wanted global or per_class"));
  if (p.prior == regression_prior::per_class) class_totals_.resize(p.classes);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::check_scores(std::string_view who, std::size_t n,
                                                           std::span<const float> scores,
                                                           std::span<const float> weights) const {
  detail::check_count(who, "scores", scores.size(), n);
  if (!weights.empty()) {
    detail::check_count(who, "weights", weights.size(), n);
    if (!all_finite(weights))
      SKIM_THROW(invalid_input,
                 detail::concat(who, ": got weight ", weights[first_non_finite(weights)],
                                ", wanted a finite number"));
    detail::check_weights(who, weights);
  }
  if (!all_finite(scores))
    SKIM_THROW(invalid_input, detail::concat(who, ": got score ", scores[first_non_finite(scores)],
                                             ", wanted a finite number"));
  constexpr std::size_t n_lanes = detail::lanes;
  const auto magnitude = [&](std::size_t i) {  // infinite if it overflows: too large as well
    const float w = weights.empty() ? 1.0f : weights[i], y = std::abs(scores[i]);
    return Moments == 2 ? w * y * std::max(y, 1.0f) : w * y;
  };
  std::array<float, n_lanes> largest{};
  std::size_t i = 0;
  for (; i + n_lanes <= n; i += n_lanes)
    for (std::size_t k = 0; k < n_lanes; ++k) largest[k] = std::max(largest[k], magnitude(i + k));
  for (; i < n; ++i) largest[0] = std::max(largest[0], magnitude(i));
  const double worst = *std::max_element(largest.begin(), largest.end());
  if (worst > detail::largest_term)
    SKIM_THROW(invalid_input,
               detail::concat(who, ": got a score times its weight of ", worst,
                              ", wanted at most 2^60", Moments == 2 ? " (squared too)" : ""));
}

template <hash_family Family, std::size_t Moments>
template <class Source>
void nadaraya_watson_sketch<Family, Moments>::insert_from(const Source& source,
                                                          std::span<const float> scores,
                                                          std::span<const float> weights) {
  constexpr std::string_view who = "nadaraya_watson_sketch::insert";
  check_scores(who, source.size(), scores, weights);
  detail::check_codes(who, source, columns_, params_.classes);
  const double inverse = scale_.inverse();
  source.with_addresses(columns_, [&](auto address) {
    detail::insert_regression<simd::default_arch>(
        cells_.cells().data(), rows(), address, source, scores.data(),
        weights.empty() ? nullptr : weights.data(), inverse, totals_);
  });
  if (class_totals_.empty()) return;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double w = weights.empty() ? 1.0 : static_cast<double>(weights[i]);
    class_totals_[source.label(i)].insert(w * inverse, scores[i]);
  }
}

template <hash_family Family, std::size_t Moments>
template <class Points>
void nadaraya_watson_sketch<Family, Moments>::insert_points(const Points& x, std::size_t n,
                                                            const observations& y, workspace& ws) {
  auto frame = ws.frame();
  const std::span<code_t> codes = frame.template take<code_t>(n * rows());
  family_.hash(x, codes, ws);
  insert_from(
      detail::code_source<code_t, false>{
          cached_codes<code_t>(matrix_view<const code_t>(codes.data(), n, rows()), y.labels), {}},
      y.scores, y.weights);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::insert(std::span<const float> x, float score,
                                                     workspace& ws) {
  insert(x, observation{score}, ws);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::insert(std::span<const float> x, observation y,
                                                     workspace& ws) {
  insert_points(x, 1, {{&y.score, 1}, {&y.weight, 1}, {&y.label, 1}}, ws);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::insert(matrix_view<const float> x, observations y,
                                                     workspace& ws) {
  insert_points(x, x.rows(), y, ws);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::insert(
    sparse_row x, observation y, workspace& ws) requires sparse_hash_family<Family> {
  insert_points(x, 1, {{&y.score, 1}, {&y.weight, 1}, {&y.label, 1}}, ws);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::insert(
    sparse_view x, observations y, workspace& ws) requires sparse_hash_family<Family> {
  insert_points(x, x.rows(), y, ws);
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_sketch<Family, Moments>::insert_codes(const cached_codes<Code>& of,
                                                           std::span<const float> scores,
                                                           std::span<const float> weights) {
  insert_from(detail::code_source<Code, false>{of, {}}, scores, weights);
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_sketch<Family, Moments>::insert_codes(const cached_codes<Code>& of,
                                                           std::span<const id_t> listed,
                                                           std::span<const float> scores,
                                                           std::span<const float> weights) {
  insert_from(detail::code_source<Code, true>{of, listed}, scores, weights);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::insert_columns(const cached_columns& of,
                                                             std::span<const float> scores,
                                                             std::span<const float> weights) {
  insert_from(detail::column_source<false>{of, {}}, scores, weights);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::insert_columns(const cached_columns& of,
                                                             std::span<const id_t> listed,
                                                             std::span<const float> scores,
                                                             std::span<const float> weights) {
  insert_from(detail::column_source<true>{of, listed}, scores, weights);
}

template <hash_family Family, std::size_t Moments>
double nadaraya_watson_sketch<Family, Moments>::mean() const noexcept {
  return totals_.weight > 0 ? totals_.sum / totals_.weight : 0;
}

template <hash_family Family, std::size_t Moments>
double nadaraya_watson_sketch<Family, Moments>::second_moment() const noexcept {
  return totals_.weight > 0 ? std::max(0.0, totals_.square / totals_.weight) : 0;
}

template <hash_family Family, std::size_t Moments>
detail::regression_totals nadaraya_watson_sketch<Family, Moments>::prior_totals(
    label_t label) const noexcept {
  if (!class_totals_.empty() && class_totals_[label].weight > 0) return class_totals_[label];
  return totals_;
}

template <hash_family Family, std::size_t Moments>
typename nadaraya_watson_sketch<Family, Moments>::pull
nadaraya_watson_sketch<Family, Moments>::pull_for(label_t label,
                                                  regression_value value) const noexcept {
  const detail::regression_totals t = prior_totals(label);
  const double sum = value == regression_value::mean ? t.sum : std::max(0.0, t.square);
  const double m = t.weight > 0 ? sum / t.weight : 0, k = params_.shrinkage * scale_.inverse();
  return {static_cast<float>(k), static_cast<float>(k * m)};
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::check_value(regression_value value) const {
  if (value == regression_value::root_mean_square && Moments < 2)
    SKIM_THROW(invalid_params,
               "nadaraya_watson_sketch: got root_mean_square of a sketch with one moment, wanted "
               "one with Moments = 2");
}

template <hash_family Family, std::size_t Moments>
template <class Source>
void nadaraya_watson_sketch<Family, Moments>::query_from(const Source& source, std::span<float> out,
                                                         regression_value value) const {
  constexpr std::string_view who = "nadaraya_watson_sketch::query";
  check_value(value);
  detail::check_count(who, "places for estimates", out.size(), source.size());
  detail::check_codes(who, source, columns_, params_.classes);
  const bool second = value == regression_value::root_mean_square;
  columns_.with_addresses([&](auto address) {
    const auto run = [&](auto pull_of) {
      detail::query_regression<simd::default_arch>(cells_.cells().data(), rows(), address, source,
                                                   pull_of, second, out.data());
    };
    if (class_totals_.empty()) {
      run([all = pull_for(0, value)](const auto&, std::size_t) { return all; });
    } else {
      run([&](const auto& from, std::size_t i) { return pull_for(from.label(i), value); });
    }
  });
  if (second)
    for (float& v : out) v = std::sqrt(std::max(0.0f, v));
}

template <hash_family Family, std::size_t Moments>
template <class Source>
void nadaraya_watson_sketch<Family, Moments>::query_from(const Source& source,
                                                         std::span<regression_estimate> out,
                                                         regression_form form) const {
  constexpr std::string_view who = "nadaraya_watson_sketch::query";
  if (form != regression_form::shrunk_ratios && form != regression_form::ratio_of_means &&
      form != regression_form::median_of_means)
    SKIM_THROW(invalid_params, detail::concat(who, ": got form ", static_cast<int>(form),
                                              ", wanted a regression_form"));
  detail::check_count(who, "places for estimates", out.size(), source.size());
  detail::check_codes(who, source, columns_, params_.classes);
  constexpr std::size_t few = 64;
  std::array<std::uint32_t, few> few_cells;
  std::array<double, 4 * few> few_values;
  std::vector<std::uint32_t> many_cells(rows() > few ? rows() : 0);
  std::vector<double> many_values(rows() > few ? 4 * rows() : 0);
  const std::span<std::uint32_t> at =
      rows() > few ? std::span(many_cells) : std::span<std::uint32_t>(few_cells).first(rows());
  const std::span<double> scratch =
      rows() > few ? std::span(many_values) : std::span<double>(few_values).first(4 * rows());
  for (std::size_t i = 0; i < source.size(); ++i) {
    columns_.locate(source.codes(i), source.label(i), at);
    out[i] = estimate(at, source.label(i), form, scratch);
  }
}

// Everything in double precision and stored units; scale_ comes in at the end.
template <hash_family Family, std::size_t Moments>
regression_estimate nadaraya_watson_sketch<Family, Moments>::estimate(
    std::span<const std::uint32_t> at, label_t label, regression_form form,
    std::span<double> scratch) const {
  const std::size_t n = at.size();
  const auto count = static_cast<double>(n);
  const std::span<double> weights = scratch.first(n), sums = scratch.subspan(n, n),
                          squares = scratch.subspan(2 * n, n), values = scratch.subspan(3 * n, n);
  const bool exact = columns_.exact();
  const auto width_ = static_cast<double>(width());
  const auto debias = [&](double x, double total) {
    return exact ? x : (x - total / width_) / (1 - 1 / width_);
  };
  const auto mean_of = [&](std::span<const double> x) {
    double total = 0;
    for (const double v : x) total += v;
    return total / count;
  };

  regression_estimate e;
  double weight_square = 0, weight_raw = 0;
  const std::span<const cell> cells = cells_.cells();
  for (std::size_t r = 0; r < n; ++r) {
    const cell& c = cells[at[r]];
    weights[r] = std::max(0.0, static_cast<double>(c.weight));
    sums[r] = c.sum;
    squares[r] = 0;
    if constexpr (Moments == 2) {
      squares[r] = c.square;
      weight_square += c.weight_square;
    }
    weight_raw += weights[r];
    e.rows_hit += weights[r] > 0;
  }

  const detail::regression_totals t = prior_totals(label);
  const double m = t.weight > 0 ? t.sum / t.weight : 0;
  const double s = t.weight > 0 ? std::max(0.0, t.square / t.weight) : 0;
  const bool medians = form == regression_form::median_of_means;
  const auto center = [&](std::span<const double> x, double total) {
    return debias(medians ? median_of_means(x, params_.groups) : mean_of(x), total);
  };
  const double weight = center(weights, totals_.weight), sum = center(sums, totals_.sum);
  const double square = Moments == 2 ? center(squares, totals_.square) : 0;

  const double unknown = std::numeric_limits<double>::infinity();
  if (form == regression_form::shrunk_ratios) {
    const double k = params_.shrinkage * scale_.inverse();
    double second = 0;
    for (std::size_t r = 0; r < n; ++r) {
      values[r] = (sums[r] + k * m) / (weights[r] + k);
      second += (squares[r] + k * s) / (weights[r] + k);
    }
    e.mean = mean_of(values);
    e.second_moment = Moments == 2 ? second / count : 0;
    double spread = 0;
    for (const double v : values) spread += (v - e.mean) * (v - e.mean);
    e.standard_error = n > 1 ? std::sqrt(spread / (count * (count - 1))) : unknown;
  } else if (weight > 0) {
    e.mean = sum / weight;
    e.second_moment = Moments == 2 ? std::max(0.0, square / weight) : 0;
    // Linearised: the ratio errs by the mean residual over the weight. The median of Gaussian means
    // has pi/2 times their variance.
    double spread = 0;
    for (std::size_t r = 0; r < n; ++r) {
      const double residual =
          debias(sums[r], totals_.sum) - e.mean * debias(weights[r], totals_.weight);
      spread += residual * residual;
    }
    constexpr double median_factor = 1.2533141373155003;  // sqrt(pi / 2)
    e.standard_error = n > 1 ? std::sqrt(spread / (count * (count - 1))) / weight *
                                   (medians && params_.groups > 1 ? median_factor : 1.0)
                             : unknown;
  } else {
    e.mean = m;
    e.second_moment = Moments == 2 ? s : 0;
    e.standard_error = unknown;
  }

  e.weighted_sum = sum * scale_.value();
  e.weight = weight * scale_.value();
  // Kish's effective size: of the cells where they keep squared weights, else as in the whole stream.
  if constexpr (Moments == 2) {
    e.effective_count = weight_square > 0 ? weight_raw * weight_raw / (count * weight_square) : 0;
  } else {
    e.effective_count = totals_.weight_square > 0
                            ? weight_raw / count * (totals_.weight / totals_.weight_square)
                            : 0;
  }
  return e;
}

template <hash_family Family, std::size_t Moments>
template <class Points, class Out, class How>
void nadaraya_watson_sketch<Family, Moments>::query_points(const Points& x, std::size_t n,
                                                           std::span<const label_t> labels,
                                                           std::span<Out> out, workspace& ws,
                                                           How how) const {
  auto frame = ws.frame();
  const std::span<code_t> codes = frame.template take<code_t>(n * rows());
  family_.hash(x, codes, ws);
  query_from(
      detail::code_source<code_t, false>{
          cached_codes<code_t>(matrix_view<const code_t>(codes.data(), n, rows()), labels), {}},
      out, how);
}

template <hash_family Family, std::size_t Moments>
regression_estimate nadaraya_watson_sketch<Family, Moments>::query(std::span<const float> x,
                                                                   workspace& ws, label_t label,
                                                                   regression_form form) const {
  regression_estimate e;
  query_points(x, 1, {&label, 1}, std::span<regression_estimate>(&e, 1), ws, form);
  return e;
}

template <hash_family Family, std::size_t Moments>
regression_estimate nadaraya_watson_sketch<Family, Moments>::query(
    sparse_row x, workspace& ws, label_t label,
    regression_form form) const requires sparse_hash_family<Family> {
  regression_estimate e;
  query_points(x, 1, {&label, 1}, std::span<regression_estimate>(&e, 1), ws, form);
  return e;
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::query(matrix_view<const float> x,
                                                    std::span<const label_t> labels,
                                                    std::span<regression_estimate> out,
                                                    workspace& ws, regression_form form) const {
  query_points(x, x.rows(), labels, out, ws, form);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::query(matrix_view<const float> x,
                                                    std::span<const label_t> labels,
                                                    std::span<float> out, workspace& ws,
                                                    regression_value value) const {
  query_points(x, x.rows(), labels, out, ws, value);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::query(
    sparse_view x, std::span<const label_t> labels, std::span<float> out, workspace& ws,
    regression_value value) const requires sparse_hash_family<Family> {
  query_points(x, x.rows(), labels, out, ws, value);
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_sketch<Family, Moments>::query_codes(const cached_codes<Code>& of,
                                                          std::span<regression_estimate> out,
                                                          regression_form form) const {
  query_from(detail::code_source<Code, false>{of, {}}, out, form);
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_sketch<Family, Moments>::query_codes(const cached_codes<Code>& of,
                                                          std::span<float> out,
                                                          regression_value value) const {
  query_from(detail::code_source<Code, false>{of, {}}, out, value);
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_sketch<Family, Moments>::query_codes(const cached_codes<Code>& of,
                                                          std::span<const id_t> listed,
                                                          std::span<float> out,
                                                          regression_value value) const {
  query_from(detail::code_source<Code, true>{of, listed}, out, value);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::decay(double factor) {
  detail::check_decay("nadaraya_watson_sketch::decay", factor);
  if (factor == 0) return clear();
  if (scale_.multiply(factor)) rescale();
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::clear() noexcept {
  std::fill(cells_.cells().begin(), cells_.cells().end(), cell{});
  std::fill(class_totals_.begin(), class_totals_.end(), detail::regression_totals{});
  totals_ = {};
  scale_.set(1);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::rescale() noexcept {
  const double f = scale_.value();
  const auto shrink = [](float x, double by) {
    return detail::without_denormals(static_cast<float>(static_cast<double>(x) * by));
  };
  for (cell& c : cells_.cells()) {
    c.weight = shrink(c.weight, f);
    c.sum = shrink(c.sum, f);
    if constexpr (Moments == 2) {
      c.square = shrink(c.square, f);
      c.weight_square = shrink(c.weight_square, f * f);
    }
  }
  const auto shrink_totals = [f](detail::regression_totals& t) {
    t = {t.weight * f, t.sum * f, t.square * f, t.weight_square * (f * f)};
  };
  shrink_totals(totals_);
  for (auto& t : class_totals_) shrink_totals(t);
  scale_.set(1);
}

template <hash_family Family, std::size_t Moments>
std::uint64_t nadaraya_watson_sketch<Family, Moments>::fingerprint() const noexcept {
  return fingerprint_of(std::uint64_t{0x6e7773}, family_.fingerprint(), params_.width,
                        params_.classes, Moments, static_cast<std::uint64_t>(params_.prior));
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::combine(const nadaraya_watson_sketch& other,
                                                      double sign, std::string_view verb) {
  if (!compatible(other))
    SKIM_THROW(merge_error,
               detail::concat("nadaraya_watson_sketch::", verb, ": got a sketch with fingerprint ",
                              other.fingerprint(), ", wanted ", fingerprint(),
                              ": same family, seed, width, classes, moments and prior"));
  if (sign < 0 && other.total_weight() > total_weight() * (1 + 1e-6))
    SKIM_THROW(merge_error, detail::concat("nadaraya_watson_sketch::", verb, ": got total weight ",
                                           other.total_weight(), ", wanted at most the ",
                                           total_weight(), " it is to be taken from"));
  const double f = sign * (other.scale_.value() * scale_.inverse()), ff = sign * f * f;
  const std::span<const cell> theirs = other.cells_.cells();
  const std::span<cell> ours = cells_.cells();
  const auto joined = [&](std::size_t i) {
    const cell &a = ours[i], &b = theirs[i];
    const auto sum = [](float x, float y, double by) {
      return static_cast<float>(static_cast<double>(x) + by * static_cast<double>(y));
    };
    cell c;
    c.weight = sum(a.weight, b.weight, f);
    c.sum = sum(a.sum, b.sum, f);
    if constexpr (Moments == 2) {
      c.square = sum(a.square, b.square, f);
      c.weight_square = sum(a.weight_square, b.weight_square, ff);
    }
    return c;
  };
  for (std::size_t i = 0; i < ours.size(); ++i)
    if (!detail::sound_cell(joined(i)))
      SKIM_THROW(merge_error,
                 detail::concat("nadaraya_watson_sketch::", verb, ": cell ", i, " would overflow"));
  for (std::size_t i = 0; i < ours.size(); ++i) ours[i] = joined(i);
  const auto join_totals = [&](detail::regression_totals& a, const detail::regression_totals& b) {
    a = {a.weight + f * b.weight, a.sum + f * b.sum, a.square + f * b.square,
         a.weight_square + ff * b.weight_square};
  };
  join_totals(totals_, other.totals_);
  for (std::size_t c = 0; c < class_totals_.size(); ++c)
    join_totals(class_totals_[c], other.class_totals_[c]);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_sketch<Family, Moments>::save(writer& out) const {
  out.begin_frame("nadaraya_watson_sketch");
  out.put(static_cast<std::uint64_t>(Moments));
  out.put(static_cast<std::uint64_t>(params_.width));
  out.put(static_cast<std::uint64_t>(params_.classes));
  out.put(static_cast<std::uint64_t>(params_.groups));
  out.put(params_.shrinkage);
  out.put(params_.prior);
  family_.save(out);
  out.put(scale_.value());
  const auto put_totals = [&out](const detail::regression_totals& t) {
    out.put(t.weight);
    out.put(t.sum);
    out.put(t.square);
    out.put(t.weight_square);
  };
  put_totals(totals_);
  for (const auto& t : class_totals_) put_totals(t);
  detail::put_cells(out, std::as_const(cells_).cells());
  out.end_frame();
}

template <hash_family Family, std::size_t Moments>
nadaraya_watson_sketch<Family, Moments> nadaraya_watson_sketch<Family, Moments>::load(reader& in) {
  in.begin_frame("nadaraya_watson_sketch");
  if (const auto moments = in.get<std::uint64_t>(); moments != Moments)
    in.fail("a nadaraya_watson_sketch of ", moments, " moments, wanted ", Moments);
  params p;
  p.width = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.classes = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.groups = static_cast<std::size_t>(in.get<std::uint64_t>());
  p.shrinkage = in.get<double>();
  p.prior = in.get<regression_prior>();
  Family family = Family::load(in);
  detail::check_saved_size(in, family.num_hashes(), p.width, sizeof(cell));
  if (p.prior == regression_prior::per_class &&
      p.classes > in.remaining() / sizeof(detail::regression_totals))
    in.fail("totals of ", p.classes, " classes are announced, ", in.remaining(), " bytes remain");
  nadaraya_watson_sketch s = detail::built_or_format_error(
      in, [&] { return nadaraya_watson_sketch(std::move(family), p); });
  detail::get_scale(in, s.scale_);
  const auto get_totals = [&in](detail::regression_totals& t) {
    t.weight = in.get<double>();
    t.sum = in.get<double>();
    t.square = in.get<double>();
    t.weight_square = in.get<double>();
    if (!std::isfinite(t.weight) || !std::isfinite(t.sum) || !std::isfinite(t.square) ||
        !std::isfinite(t.weight_square))
      in.fail("the totals of a nadaraya_watson_sketch are not finite");
  };
  get_totals(s.totals_);
  for (auto& t : s.class_totals_) get_totals(t);
  detail::get_cells(in, s.cells_.cells());
  in.end_frame();
  return s;
}

template <hash_family Family, std::size_t Moments>
nadaraya_watson_scores<Family, Moments>::nadaraya_watson_scores(const sketch_type& of,
                                                                regression_value value)
    : columns_(of.columns_),
      fingerprint_(of.fingerprint()),
      value_(value),
      values_(of.rows() * of.width()) {
  of.check_value(value);
  if (of.parameters().prior != regression_prior::global)
    SKIM_THROW(invalid_params,
               "nadaraya_watson_scores: got a sketch with per-class priors, wanted a global one: "
               "the score of a cell must not depend on the label");
  refresh(of);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_scores<Family, Moments>::require_compatible(const sketch_type& of) const {
  if (of.fingerprint() != fingerprint_)
    SKIM_THROW(merge_error,
               detail::concat("nadaraya_watson_scores::refresh: got a sketch with fingerprint ",
                              of.fingerprint(), ", wanted ", fingerprint_));
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_scores<Family, Moments>::refresh(const sketch_type& of) {
  require_compatible(of);
  const auto pull = of.pull_for(0, value_);
  const std::span<const typename sketch_type::cell> cells = of.cells_.cells();
  float* SKIM_RESTRICT values = values_.data();
  for (std::size_t i = 0; i < cells.size(); ++i)
    values[i] =
        detail::shrunk(cells[i], value_ == regression_value::mean, pull.strength, pull.mean);
}

template <hash_family Family, std::size_t Moments>
template <class Source>
void nadaraya_watson_scores<Family, Moments>::refresh_from(const sketch_type& of,
                                                           const Source& source) {
  require_compatible(of);
  detail::check_codes("nadaraya_watson_scores::refresh", source, columns_, columns_.labels());
  const auto pull = of.pull_for(0, value_);
  const std::span<const typename sketch_type::cell> cells = of.cells_.cells();
  source.with_addresses(columns_, [&](auto address) {
    for (std::size_t i = 0; i < source.size(); ++i) {
      const auto* const c = source.codes(i);
      const auto base = address.base(source.label(i));
      for (std::size_t r = 0; r < columns_.rows(); ++r) {
        const std::uint32_t at = address(r, c[r], base);
        values_[at] =
            detail::shrunk(cells[at], value_ == regression_value::mean, pull.strength, pull.mean);
      }
    }
  });
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_scores<Family, Moments>::refresh(const sketch_type& of,
                                                      const cached_codes<Code>& codes,
                                                      std::span<const id_t> listed) {
  refresh_from(of, detail::code_source<Code, true>{codes, listed});
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_scores<Family, Moments>::refresh(const sketch_type& of,
                                                      const cached_columns& columns,
                                                      std::span<const id_t> listed) {
  refresh_from(of, detail::column_source<true>{columns, listed});
}

template <hash_family Family, std::size_t Moments>
template <class Source>
void nadaraya_watson_scores<Family, Moments>::query_from(const Source& source,
                                                         std::span<float> out) const {
  constexpr std::string_view who = "nadaraya_watson_scores::query";
  detail::check_count(who, "places for estimates", out.size(), source.size());
  detail::check_codes(who, source, columns_, columns_.labels());
  bool done = false;
  if constexpr (std::is_same_v<Source, detail::column_source<true>>) {
    done = columns_.rows() == 4;
    if (done)
      detail::query_four_values<simd::default_arch>(values_.data(), columns_.width(), source,
                                                    out.data());
  }
  if (!done)
    source.with_addresses(columns_, [&](auto address) {
      detail::query_values<simd::default_arch>(values_.data(), columns_.rows(), address, source,
                                               out.data());
    });
  if (value_ == regression_value::root_mean_square)
    for (float& v : out) v = std::sqrt(std::max(0.0f, v));
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_scores<Family, Moments>::query_codes(const cached_codes<Code>& of,
                                                          std::span<float> out) const {
  query_from(detail::code_source<Code, false>{of, {}}, out);
}

template <hash_family Family, std::size_t Moments>
template <code_integer Code>
void nadaraya_watson_scores<Family, Moments>::query_codes(const cached_codes<Code>& of,
                                                          std::span<const id_t> listed,
                                                          std::span<float> out) const {
  query_from(detail::code_source<Code, true>{of, listed}, out);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_scores<Family, Moments>::query_columns(const cached_columns& of,
                                                            std::span<const id_t> listed,
                                                            std::span<float> out) const {
  query_from(detail::column_source<true>{of, listed}, out);
}

template <hash_family Family, std::size_t Moments>
void nadaraya_watson_scores<Family, Moments>::save(writer& out) const {
  out.begin_frame("nadaraya_watson_scores");
  out.put(fingerprint_);
  out.put(value_);
  out.put(std::span(values_));
  out.end_frame();
}

template <hash_family Family, std::size_t Moments>
nadaraya_watson_scores<Family, Moments> nadaraya_watson_scores<Family, Moments>::load(
    reader& in, const sketch_type& of) {
  in.begin_frame("nadaraya_watson_scores");
  const auto fingerprint = in.get<std::uint64_t>();
  const auto value = in.get<std::uint8_t>();
  if (fingerprint != of.fingerprint())
    in.fail("belongs to a sketch with fingerprint ", fingerprint, ", wanted ", of.fingerprint());
  if (value > static_cast<std::uint8_t>(regression_value::root_mean_square) ||
      (Moments == 1 && value != 0) || of.parameters().prior != regression_prior::global)
    in.fail("holds scores of kind ", value, " for a sketch that has none such");
  nadaraya_watson_scores s(of, static_cast<regression_value>(value));
  in.get_into(std::span(s.values_));
  for (const float v : s.values_)
    if (!(v >= 0 && std::isfinite(v)) && value != 0) in.fail("holds the cell value ", v);
  in.end_frame();
  return s;
}

}  // namespace skim::inline v0
