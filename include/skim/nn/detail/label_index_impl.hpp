// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/gathered.hpp"
#include "skim/linalg/projection.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/nn/label_index.hpp"

namespace skim::inline v0 {

namespace detail {

// Best outputs of each row of h by exact scores, blocks of outputs at a time.
template <executor Executor>
void best_outputs(const sparse_linear& layer, matrix_view<const float> h,
                  matrix_view<label_score> best, Executor& executor) {
  constexpr std::size_t some = 256;  // rows that share a pass over the outputs
  executor.parallel_for(h.rows(), some, [&](std::size_t first, std::size_t last) {
    const std::size_t n = last - first;
    aligned_vector<float> scores(n * gathered_block);
    gathered_scratch scratch;
    std::vector<id_t> ids(gathered_block);
    for (std::size_t b = 0; b < n; ++b) top_labels(best.row(first + b)).clear();
    for (std::size_t at = 0; at < layer.outputs(); at += gathered_block) {
      const std::size_t count = std::min(gathered_block, layer.outputs() - at);
      for (std::size_t j = 0; j < count; ++j) ids[j] = static_cast<id_t>(at + j);
      const matrix_view<float> z(scores.data(), n, count, gathered_block);
      multiply_gathered(h.rows(first, n), layer.weights(), layer.biases(),
                        std::span<const id_t>(ids).first(count), z, scratch);
      for (std::size_t b = 0; b < n; ++b)
        top_labels(best.row(first + b)).offer_all(z.row(b), static_cast<label_t>(at));
    }
  });
}

// Points of unit length in groups of like direction.
struct direction_clusters {
  aligned_vector<float> centers;       // unit vectors
  std::vector<std::uint32_t> members;  // of each point
};

// Lloyd's iterations on the sphere from random points. Sums are taken in the order of the points.
inline direction_clusters cluster_directions(matrix_view<const float> x,
                                             std::span<const id_t> points, std::size_t k,
                                             random_engine g) {
  const std::size_t dim = x.cols(), n = points.size();
  direction_clusters c;
  c.centers.resize(k * dim);
  c.members.assign(n, 0);
  std::vector<id_t> order(points.begin(), points.end());
  shuffle(std::span(order), g);
  for (std::size_t i = 0; i < k; ++i)
    std::copy_n(x.row(order[i]).begin(), dim, c.centers.data() + i * dim);
  if (k == 1 && n == 0) return c;

  constexpr std::size_t block = 256;
  constexpr int rounds = 8;
  std::vector<id_t> all(k);
  std::iota(all.begin(), all.end(), id_t{0});
  aligned_vector<float> rows(block * dim), scores(block * k);
  gathered_scratch scratch;
  std::vector<double> sums(k * dim);
  for (int round = 0; round <= rounds; ++round) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::size_t first = 0; first < n; first += block) {
      const std::size_t count = std::min(block, n - first);
      for (std::size_t i = 0; i < count; ++i)
        std::copy_n(x.row(points[first + i]).begin(), dim, rows.data() + i * dim);
      multiply_gathered({rows.data(), count, dim}, {c.centers.data(), k, dim}, {}, all,
                        {scores.data(), count, k}, scratch);
      for (std::size_t i = 0; i < count; ++i) {
        const float* s = scores.data() + i * k;
        const auto nearest = static_cast<std::uint32_t>(std::max_element(s, s + k) - s);
        c.members[first + i] = nearest;
        for (std::size_t d = 0; d < dim; ++d)
          sums[nearest * dim + d] += static_cast<double>(rows[i * dim + d]);
      }
    }
    if (round == rounds) break;
    for (std::size_t i = 0; i < k; ++i) {
      double square = 0;
      for (std::size_t d = 0; d < dim; ++d) square += sums[i * dim + d] * sums[i * dim + d];
      if (square > 0)  // an empty cluster keeps its centre
        for (std::size_t d = 0; d < dim; ++d)
          c.centers[i * dim + d] = static_cast<float>(sums[i * dim + d] / std::sqrt(square));
    }
  }
  return c;
}

// Inner products of h with n rows, those of the next few on their way from memory. Eight rows at a
// time are eight chains of FMAs, whose lanes are added up together.
template <class Row, class Arch = simd::default_arch>
inline void inner_products(std::span<const float> h, std::size_t n, Row row, float* to) noexcept {
  using pack = simd::floats<Arch>;
  const auto ask_for = [&](std::size_t i) SKIM_INLINE_LAMBDA {
    const float* next = row(i);
    for (std::size_t k = 0; k < h.size(); k += line_floats) SKIM_PREFETCH(next + k);
  };
  std::size_t i = 0;
  if constexpr (pack::size == 8) {
    const std::size_t whole = h.size() / pack::size * pack::size;
    for (; i < n; i += 8) {
      // The last eight are filled up with repeats: a row's product does not depend on its place.
      const std::size_t here = std::min<std::size_t>(8, n - i);
      for (std::size_t r = i + 8; r < std::min(i + 16, n); ++r) ask_for(r);
      std::array<const float*, 8> rows;
      std::array<pack, 8> sums;
      for (std::size_t r = 0; r < 8; ++r) {
        rows[r] = row(i + std::min(r, here - 1));
        sums[r] = pack::broadcast(0.0f);
      }
      for (std::size_t k = 0; k < whole; k += pack::size) {
        const pack x = pack::load(h.data() + k);
        unrolled<8>([&](auto r) SKIM_INLINE_LAMBDA {
          sums[r] = simd::fma(x, pack::load(rows[r] + k), sums[r]);
        });
      }
      alignas(cache_line) std::array<float, 64> lanes, turned;
      std::array<const float*, 8> lanes_of_row;
      for (std::size_t r = 0; r < 8; ++r) {
        sums[r].store(lanes.data() + 8 * r);
        lanes_of_row[r] = lanes.data() + 8 * r;
      }
      simd::transpose_8x8<Arch>(lanes_of_row, turned.data());
      const auto lane = [&](std::size_t l)
                            SKIM_INLINE_LAMBDA { return pack::load(turned.data() + 8 * l); };
      std::array<float, 8> products;
      (((lane(0) + lane(4)) + (lane(2) + lane(6))) + ((lane(1) + lane(5)) + (lane(3) + lane(7))))
          .store(products.data());
      for (std::size_t k = whole; k < h.size(); ++k)
        for (std::size_t r = 0; r < here; ++r) products[r] += h[k] * rows[r][k];
      std::copy_n(products.begin(), here, to + i);
    }
    return;
  }
  constexpr std::size_t ahead = 8;
  for (; i < n; ++i) {
    if (i + ahead < n) ask_for(i + ahead);
    to[i] = dot<Arch>(h, std::span<const float>(row(i), h.size()));
  }
}

}  // namespace detail

inline bool label_index::usable(const params& p) noexcept {
  constexpr std::size_t most = std::size_t{1} << 24;
  return p.cell_points > 0 && p.list > 0 && p.list < most && p.depth > 0 && p.depth < most &&
         p.groups_probed > 0 && p.cells_probed > 0;
}

inline label_index::label_index(params p, const sparse_linear& layer,
                                matrix_view<const float> hidden, const label_sets& labels, seed s)
    : label_index([&] {
        serial_executor serial;
        return label_index(p, layer, hidden, labels, s, serial);
      }()) {}

template <executor Executor>
label_index::label_index(params p, const sparse_linear& layer, matrix_view<const float> hidden,
                         const label_sets& labels, seed s, Executor& executor)
    : params_(p), dim_(layer.inputs()), outputs_(layer.outputs()) {
  if (!usable(p))
    SKIM_THROW(invalid_params,
               "label_index: got a parameter of zero, or a list or depth of 2^24 or "
               "more, wanted positive ones");
  const std::size_t m = hidden.rows();
  if (hidden.cols() != dim_ || m == 0 || m > std::numeric_limits<std::uint32_t>::max())
    SKIM_THROW(invalid_input, detail::concat("label_index: got a sample of ", m, " x ",
                                             hidden.cols(), ", wanted at least one row of ", dim_));
  if (labels.size() != 0 && labels.size() != m)
    SKIM_THROW(invalid_input, detail::concat("label_index: got ", labels.size(),
                                             " label sets, wanted none or ", m));
  labels.validate(outputs_);
  for (std::size_t i = 0; i < m; ++i)
    if (!all_finite(hidden.row(i)))
      SKIM_THROW(invalid_input, detail::concat("label_index: row ", i,
                                               " of the sample is not "
                                               "finite"));
  const random_engine root(s);
  aligned_vector<float> unit(m * dim_);
  for (std::size_t i = 0; i < m; ++i) {
    const float length = norm(hidden.row(i));
    for (std::size_t k = 0; k < dim_ && length > 0; ++k)
      unit[i * dim_ + k] = hidden.row(i)[k] / length;
  }
  const matrix_view<const float> x(unit.data(), m, dim_);

  // Points whose best outputs are computed: the first of a random order.
  std::vector<id_t> order(m);
  std::iota(order.begin(), order.end(), id_t{0});
  random_engine mixing = root.child(0);
  shuffle(std::span(order), mixing);
  const std::size_t exact = p.exact_points == 0 ? m : std::min(p.exact_points, m);
  const std::size_t depth = std::min(p.depth, outputs_);
  aligned_vector<float> chosen(exact * dim_);
  std::vector<std::uint32_t> rank_of(m, std::numeric_limits<std::uint32_t>::max());
  for (std::size_t i = 0; i < exact; ++i) {
    std::copy_n(hidden.row(order[i]).begin(), dim_, chosen.data() + i * dim_);
    rank_of[order[i]] = static_cast<std::uint32_t>(i);
  }
  std::vector<label_score> best(exact * depth);
  detail::best_outputs(layer, {chosen.data(), exact, dim_}, {best.data(), exact, depth}, executor);

  // Groups, then cells in each of them.
  std::iota(order.begin(), order.end(), id_t{0});
  const std::size_t wanted = std::max<std::size_t>(1, m / p.cell_points);
  const auto group_count =
      static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(wanted))));
  const auto groups = detail::cluster_directions(x, order, group_count, root.child(1));
  group_centers_ = groups.centers;
  std::vector<std::vector<id_t>> of_group(group_count);
  for (std::size_t i = 0; i < m; ++i) of_group[groups.members[i]].push_back(static_cast<id_t>(i));
  std::vector<detail::direction_clusters> inner(group_count);
  executor.parallel_for(group_count, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t g = first; g < last; ++g) {
      const std::size_t n = of_group[g].size();
      if (n == 0) continue;
      const std::size_t k = std::max<std::size_t>(1, n / p.cell_points);
      inner[g] = detail::cluster_directions(x, of_group[g], k, root.child(2 + g));
    }
  });

  group_offsets_.push_back(0);
  list_offsets_.push_back(0);
  std::vector<float> weight(outputs_);
  std::vector<label_score> ranked;
  for (std::size_t g = 0; g < group_count; ++g) {
    const std::size_t k = inner[g].centers.size() / dim_;
    cell_centers_.insert(cell_centers_.end(), inner[g].centers.begin(), inner[g].centers.end());
    group_offsets_.push_back(group_offsets_.back() + static_cast<std::uint32_t>(k));
    std::vector<std::vector<id_t>> of_cell(k);
    for (std::size_t i = 0; i < of_group[g].size(); ++i)
      of_cell[inner[g].members[i]].push_back(of_group[g][i]);
    for (const auto& points : of_cell) {
      ranked.clear();
      const auto add = [&](label_t l, float w) {
        if (weight[l] == 0) ranked.push_back({l, 0});
        weight[l] += w;
      };
      // Weights were tried on held-out recall: any decay by rank does, own labels count little
      // beside ranks but list what no exact point showed.
      for (const id_t i : points) {
        if (labels.size() != 0)
          for (const label_t l : labels[i]) add(l, 0.1f);
        if (rank_of[i] < exact)
          for (std::size_t r = 0; r < depth; ++r)
            add(best[rank_of[i] * depth + r].label, 1 / static_cast<float>(r + 4));
      }
      for (label_score& l : ranked) l.score = std::exchange(weight[l.label], 0.0f);
      std::sort(ranked.begin(), ranked.end());
      if (ranked.size() > p.list) ranked.resize(p.list);
      for (const label_score& l : ranked) lists_.push_back(l.label);
      list_offsets_.push_back(static_cast<std::uint32_t>(lists_.size()));
    }
  }
}

inline std::size_t label_index::search(const sparse_linear& layer, std::span<const float> h,
                                       std::span<label_score> best, workspace& scratch) const {
  SKIM_EXPECTS(layer.inputs() == dim_ && layer.outputs() == outputs_ && h.size() == dim_);
  auto frame = scratch.frame();
  const std::size_t groups_probed = std::min(params_.groups_probed, groups());
  const std::span<label_score> near_groups = frame.take<label_score>(groups_probed);
  const std::span<label_score> near_cells = frame.take<label_score>(params_.cells_probed);
  const std::span<float> scores = frame.take<float>(std::max(groups(), params_.list));
  std::size_t rows = groups();
  top_labels groups_found(near_groups), cells_found(near_cells), found(best);
  groups_found.clear();
  cells_found.clear();
  found.clear();

  const auto from = [&](const aligned_vector<float>& centers, std::size_t at) {
    return [&centers, at, this](std::size_t i) { return centers.data() + (at + i) * dim_; };
  };
  detail::inner_products(h, groups(), from(group_centers_, 0), scores.data());
  groups_found.offer_all(scores.first(groups()), 0);
  for (const label_score& g : near_groups) {
    const std::size_t first = group_offsets_[g.label], last = group_offsets_[g.label + 1];
    for (std::size_t at = first; at < last; at += scores.size()) {
      const std::size_t count = std::min(scores.size(), last - at);
      detail::inner_products(h, count, from(cell_centers_, at), scores.data());
      cells_found.offer_all(scores.first(count), static_cast<label_t>(at));
    }
    rows += last - first;
  }
  const auto w = layer.weights();
  const auto biases = layer.biases();
  for (const label_score& c : near_cells) {
    if (c.score == label_score{}.score) break;  // fewer cells than probes
    const std::span<const id_t> ids = std::span(lists_).subspan(
        list_offsets_[c.label], list_offsets_[c.label + 1] - list_offsets_[c.label]);
    detail::inner_products(
        h, ids.size(), [&](std::size_t i) { return w.data() + ids[i] * w.stride(); },
        scores.data());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const label_score candidate{ids[i], scores[i] + biases[ids[i]]};
      if (best.empty() || !(candidate < best.back())) continue;
      // An output on two lists has the same score on both.
      if (std::find(best.begin(), best.end(), candidate) == best.end()) found.offer(candidate);
    }
    rows += ids.size();
  }
  return rows;
}

inline void label_index::set_probes(std::size_t groups_probed, std::size_t cells_probed) {
  params p = params_;
  p.groups_probed = groups_probed;
  p.cells_probed = cells_probed;
  if (!usable(p))
    SKIM_THROW(invalid_params, "label_index: got no cells to probe, wanted at least one");
  params_ = p;
}

inline std::size_t label_index::bytes() const noexcept {
  return sizeof(float) * (group_centers_.size() + cell_centers_.size()) +
         sizeof(std::uint32_t) * (group_offsets_.size() + list_offsets_.size()) +
         sizeof(id_t) * lists_.size();
}

inline void label_index::save(writer& out) const {
  out.begin_frame("label_index");
  for (const std::size_t v :
       {params_.cell_points, params_.list, params_.exact_points, params_.depth,
        params_.groups_probed, params_.cells_probed, dim_, outputs_})
    out.put(static_cast<std::uint64_t>(v));
  out.put(std::span<const float>(group_centers_));
  out.put(std::span<const float>(cell_centers_));
  out.put(std::span<const std::uint32_t>(group_offsets_));
  out.put(std::span<const std::uint32_t>(list_offsets_));
  out.put(std::span<const id_t>(lists_));
  out.end_frame();
}

inline label_index label_index::load(reader& in) {
  in.begin_frame("label_index");
  label_index x;
  for (std::size_t* v :
       {&x.params_.cell_points, &x.params_.list, &x.params_.exact_points, &x.params_.depth,
        &x.params_.groups_probed, &x.params_.cells_probed, &x.dim_, &x.outputs_})
    *v = static_cast<std::size_t>(in.get<std::uint64_t>());
  const auto groups = in.get_vector<float>(), cells = in.get_vector<float>();
  x.group_offsets_ = in.get_vector<std::uint32_t>();
  x.list_offsets_ = in.get_vector<std::uint32_t>();
  x.lists_ = in.get_vector<id_t>();
  const auto ascend = [](const std::vector<std::uint32_t>& v, std::size_t last) {
    return !v.empty() && v.front() == 0 && v.back() == last && std::is_sorted(v.begin(), v.end());
  };
  if (!usable(x.params_) || x.dim_ == 0 || groups.empty() || groups.size() % x.dim_ != 0 ||
      cells.size() % x.dim_ != 0 || x.group_offsets_.size() != groups.size() / x.dim_ + 1 ||
      !ascend(x.group_offsets_, cells.size() / x.dim_) ||
      x.list_offsets_.size() != cells.size() / x.dim_ + 1 ||
      !ascend(x.list_offsets_, x.lists_.size()))
    in.fail("label_index: parts that do not fit together");
  if (!all_finite(groups) || !all_finite(cells)) in.fail("label_index: a centre is no number");
  for (const id_t id : x.lists_)
    if (id >= x.outputs_) in.fail("label_index: output ", id, " of ", x.outputs_);
  for (std::size_t c = 0; c + 1 < x.list_offsets_.size(); ++c)
    if (x.list_offsets_[c + 1] - x.list_offsets_[c] > x.params_.list)
      in.fail("label_index: a list is longer than ", x.params_.list);
  if (x.params_.cells_probed > (std::size_t{1} << 24) ||
      x.params_.groups_probed > (std::size_t{1} << 24))
    in.fail("label_index: more cells to probe than 2^24");
  x.group_centers_.assign(groups.begin(), groups.end());
  x.cell_centers_.assign(cells.begin(), cells.end());
  in.end_frame();
  return x;
}

}  // namespace skim::inline v0
