// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/kernel_hash.hpp"
#include "skim/kde/detail/point_rows.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/detail/point_table.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/hashing_density.hpp"
#include "skim/kde/kernel.hpp"

namespace skim::inline v0 {

// Of what tables say.
struct hashing_density::moments {
  std::uint64_t count = 0, evaluations = 0;
  double sum = 0, squares = 0, largest = 0;

  void add(double z) noexcept {
    ++count;
    sum += z;
    squares += z * z;
    largest = std::max(largest, z);
  }
  [[nodiscard]] double mean() const noexcept { return sum / static_cast<double>(count); }
  [[nodiscard]] double variance() const noexcept {
    const double n = static_cast<double>(count);
    return n > 1 ? std::max(0.0, (squares - sum * sum / n) / (n - 1)) : 0;
  }
  // Of the mean, with one more of the largest.
  [[nodiscard]] double wary_error() const noexcept {
    const double n = static_cast<double>(count);
    return std::sqrt((variance() * (n - 1) + largest * largest) / (n + 1) / n);
  }
};

inline const hashing_density::params& hashing_density::checked(const params& p) {
  constexpr std::string_view who = "hashing_density";
  detail::check_dim(who, p.dim);
  p.kernel.check(who);
  if (p.tables < 1 || p.tables > std::size_t{1} << 12 || p.entries < 1 ||
      p.entries > std::size_t{1} << 20)
    SKIM_THROW(invalid_params, detail::concat(who, ": got ", p.tables, " tables of ", p.entries,
                                              " entries, wanted 1 to 2^12 of 1 to 2^20"));
  if (!(p.tuned_to >= 1e-12 && p.tuned_to <= 0.5))
    SKIM_THROW(invalid_params, detail::concat(who, ": got a density of ", p.tuned_to,
                                              " to be tuned to, wanted 1e-12 to 0.5"));
  if (p.exact_up_to > detail::most_points)
    SKIM_THROW(invalid_params, detail::concat(who, ": got exact answers up to ", p.exact_up_to,
                                              " points, wanted less than 2^31"));
  return p;
}

inline hashing_density::hashing_density(params p, seed s)
    : hashing_density(checked(p), random_engine(s), detail::point_rows(p.dim)) {}

inline hashing_density::hashing_density(const params& p, const random_engine& root,
                                        detail::point_rows rows)
    : params_(p),
      shape_(detail::root_hash(p.kernel, p.tuned_to)),
      root_(root),
      choice_(root.child(0)),
      rows_(std::move(rows)) {}

inline double hashing_density::share() const noexcept {
  return std::ldexp(1.0, scale_);
}

inline std::uint64_t hashing_density::copies(id_t id, std::size_t t) const noexcept {
  const double u =
      detail::fraction_of(choice_.at(std::uint64_t{id} * params_.tables + std::uint64_t{t}));
  return static_cast<std::uint64_t>(share() * static_cast<double>(rows_.weight(id)) + u);
}

// So that a table holds m entries; one of each point, where there are not as many.
inline int hashing_density::wanted_scale() const noexcept {
  const double entries = static_cast<double>(std::min(params_.entries, size()));
  return static_cast<int>(std::floor(std::log2(entries / total_weight())));
}

inline void hashing_density::enter(id_t id, workspace& ws) {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    std::uint64_t n = copies(id, t);
    if (n == 0) continue;
    table& to = tables_[t];
    for (const code_t code = to.hash(rows_.row(id), ws); n != 0; --n) to.buckets.insert(code, id);
  }
}

inline void hashing_density::leave(id_t id, workspace& ws) {
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    std::uint64_t n = copies(id, t);
    if (n == 0) continue;
    table& from = tables_[t];
    for (const code_t code = from.hash(rows_.row(id), ws); n != 0; --n)
      from.buckets.erase(code, id);
  }
}

inline void hashing_density::fill(workspace& ws) {
  if (tables_.empty()) {
    std::vector<table> tables;
    tables.reserve(params_.tables);
    const random_engine hashes = root_.child(1);
    for (std::size_t t = 0; t < params_.tables; ++t)
      tables.push_back({detail::kernel_hash(params_.kernel.kind, dim(), shape_, seed{hashes.at(t)}),
                        dynamic_buckets({.range = std::uint64_t{1} << 32})});
    tables_ = std::move(tables);
  }
  for (table& t : tables_) t.buckets = dynamic_buckets({.range = std::uint64_t{1} << 32});
  for (std::size_t i = 0; i < rows_.slots(); ++i)
    if (rows_.contains(static_cast<id_t>(i))) enter(static_cast<id_t>(i), ws);
}

// After a change: tables that are not worth having go, those that should be come, and all are filled anew
// where their share is wrong by more than they bear.
inline void hashing_density::settle(workspace& ws) {
  if (size() <= params_.exact_up_to / 2 || size() == 0) {
    tables_.clear();
    tables_.shrink_to_fit();
    scale_ = 0;
    return;
  }
  const int wanted = wanted_scale();
  const bool come = tables_.empty() && size() > 2 * params_.exact_up_to;
  if (come || (!tables_.empty() && (scale_ > wanted + 1 || scale_ < wanted - 1))) {
    scale_ = wanted;
    fill(ws);
  }
}

inline id_t hashing_density::insert(std::span<const float> x, float weight, workspace& ws) {
  constexpr std::string_view who = "hashing_density::insert";
  detail::check_point(who, x, dim(), kernel());
  detail::check_weight(who, weight);
  auto frame = ws.frame();
  const auto kept = detail::as_compared(x, kernel(), frame);
  rows_.reserve(who, 1);
  const id_t id = rows_.insert(kept, weight);
  const int before = scale_;
  const bool had = !tables_.empty();
  settle(ws);
  if (had && scale_ == before) enter(id, ws);
  return id;
}

inline void hashing_density::insert(matrix_view<const float> x, std::span<const float> weights,
                                    std::span<id_t> ids) {
  constexpr std::string_view who = "hashing_density::insert";
  detail::check_points(who, x, dim(), kernel());
  detail::check_weights(who, weights, x.rows());
  detail::check_ids_room(who, ids.size(), x.rows());
  workspace ws;
  auto frame = ws.frame();
  const std::span<float> room = frame.take<float>(kernel().on_sphere() ? dim() : 0);
  std::vector<id_t> fresh(x.rows());
  rows_.reserve(who, x.rows());
  for (std::size_t i = 0; i < x.rows(); ++i)
    fresh[i] = rows_.insert(detail::as_compared(x.row(i), kernel(), room),
                            weights.empty() ? 1.0f : weights[i]);
  std::copy_n(fresh.begin(), ids.size(), ids.begin());
  const int before = scale_;
  const bool had = !tables_.empty();
  settle(ws);
  if (had && scale_ == before)
    for (const id_t id : fresh) enter(id, ws);
}

inline void hashing_density::build(matrix_view<const float> x, std::span<const float> weights) {
  hashing_density fresh(params_, root_, detail::point_rows(dim()));
  fresh.insert(x, weights);
  *this = std::move(fresh);
}

inline void hashing_density::clear() noexcept {
  rows_.clear();
  tables_.clear();
  scale_ = 0;
}

inline void hashing_density::erase(id_t id) {
  rows_.check("hashing_density::erase", id);
  workspace ws;
  leave(id, ws);
  rows_.erase(id);
  settle(ws);
}

inline void hashing_density::replace(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "hashing_density::replace";
  rows_.check(who, id);
  detail::check_point(who, x, dim(), kernel());
  auto frame = ws.frame();
  const auto kept = detail::as_compared(x, kernel(), frame);
  leave(id, ws);
  rows_.put(id, kept);
  enter(id, ws);
}

// Adds what `count` tables say, from one on and in a circle.
inline void hashing_density::read(std::span<const float> x, std::size_t first, std::size_t count,
                                  random_engine& g, workspace& ws, moments& m) const {
  constexpr std::size_t ahead = 16, most = 4;  // tables at a time; points of a bucket
  detail::with_profile(params_.kernel, [&](auto profile) {
    using profile_type = decltype(profile);
    std::array<code_t, ahead> codes;
    std::array<std::span<const id_t>, ahead> buckets;
    std::array<std::array<id_t, most>, ahead> points;
    for (std::size_t done = 0; done < count; done += ahead) {
      const std::size_t n = std::min(ahead, count - done);
      const auto at = [&](std::size_t i) -> const table& {
        return tables_[(first + done + i) % tables_.size()];
      };
      for (std::size_t i = 0; i < n; ++i) {
        codes[i] = at(i).hash(x, ws);
        at(i).buckets.prefetch(codes[i]);
      }
      for (std::size_t i = 0; i < n; ++i) {
        buckets[i] = at(i).buckets.bucket(codes[i]);
        if (!buckets[i].empty()) SKIM_PREFETCH(buckets[i].data());
      }
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t b = buckets[i].size();
        for (std::size_t k = 0; k < std::min(b, most); ++k) {
          points[i][k] = buckets[i][b <= most ? k : static_cast<std::size_t>(uniform_below(g, b))];
          rows_.prefetch(points[i][k]);
        }
      }
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t b = buckets[i].size(), taken = std::min(b, most);
        double z = 0;
        for (std::size_t k = 0; k < taken; ++k) {
          const double distance = static_cast<double>(
              detail::profile_distance<profile_type>(rows_.data(points[i][k]), x.data(), dim()));
          z += profile(distance) / shape_.collision(params_.kernel.kind, distance);
        }
        m.evaluations += taken;
        m.add(taken == 0 ? 0 : z * (static_cast<double>(b) / static_cast<double>(taken)));
      }
    }
  });
}

inline density_estimate hashing_density::exact(const float* x, const density_target& target) const {
  const double value = std::min(1.0, rows_.kernel_total(params_.kernel, x) / rows_.total_weight());
  return {value, 0, size(), value < target.smallest};
}

inline density_estimate hashing_density::estimate(std::span<const float> x,
                                                  const density_target& target, random_engine& g,
                                                  workspace& ws) const {
  // A table costs what so many points of an exact sum do, at a guess.
  constexpr std::size_t cost = 12, pilot = 16;
  const double e = target.relative_error, doubt = std::log(1 / target.failure),
               spread = std::sqrt(2 * std::log(2 / target.failure));
  const double held = share() * total_weight(), scale = 1 / held;
  const std::size_t most = std::min(tables_.size(), size() / cost);
  // Tables after which points that carry a share e of the density f would have been met.
  const auto met = [&](double share, double f) {
    return f > 0 ? doubt * std::max(1 / std::sqrt(share * f), 1 / (share * f * held)) : 1e30;
  };
  moments m;
  const std::size_t first =
      most == 0 ? 0 : static_cast<std::size_t>(uniform_below(g, tables_.size()));
  for (std::size_t t = std::min(pilot, most); t != 0 && t <= most;) {
    read(x, (first + m.count) % tables_.size(), t - static_cast<std::size_t>(m.count), g, ws, m);
    const double n = static_cast<double>(m.count), f = m.mean() * scale,
                 error = m.wary_error() * scale;
    const double standard = std::sqrt(m.variance() / n) * scale;
    if (spread * error <= e * f && n >= met(e, f))
      return {std::min(1.0, f), standard, m.evaluations, f < target.smallest};
    // A lower one need only be seen to be lower.
    if (f + spread * error < target.smallest && n >= met(0.5, target.smallest))
      return {f, standard, m.evaluations, true};
    const double ratio = f > 0 ? spread * error / (e * f) : 1e15;
    double need = std::max(n * ratio * ratio, met(e, f));
    if (f < target.smallest) {
      const double gap = (target.smallest - f) / (spread * error + 1e-300);
      need = std::min(need, std::max(n / (gap * gap), met(0.5, target.smallest)));
    }
    if (t == most || (t >= 3 * pilot && need > 1.5 * static_cast<double>(most))) break;
    t = std::min(most, t + std::max(t / 2, pilot / 2));
  }
  density_estimate out = exact(x.data(), target);
  out.evaluations += m.evaluations;
  return out;
}

inline density_estimate hashing_density::density(std::span<const float> x, density_target target,
                                                 random_engine& g, workspace& ws) const {
  constexpr std::string_view who = "hashing_density::density";
  detail::check_point(who, x, dim(), kernel());
  target.check(who);
  if (size() == 0) return detail::no_points;
  auto frame = ws.frame();
  return estimate(detail::as_compared(x, kernel(), frame), target, g, ws);
}

template <executor Executor>
void hashing_density::density(matrix_view<const float> x, density_target target, seed s,
                              std::span<density_estimate> out, Executor&& run) const {
  constexpr std::string_view who = "hashing_density::density";
  detail::check_points(who, x, dim(), kernel());
  target.check(who);
  detail::check_estimates_room(who, out.size(), x.rows());
  if (size() == 0) {
    std::fill(out.begin(), out.end(), detail::no_points);
    return;
  }
  detail::each_query(
      who, x.rows(), out, 8, s, run, [&](std::size_t i, random_engine& g, workspace& ws) {
        auto frame = ws.frame();
        return estimate(detail::as_compared(x.row(i), kernel(), frame), target, g, ws);
      });
}

inline density_estimate hashing_density::sample(std::span<const float> x, std::size_t tables,
                                                random_engine& g, workspace& ws) const {
  constexpr std::string_view who = "hashing_density::sample";
  detail::check_point(who, x, dim(), kernel());
  if (tables == 0 || tables > tables_.size())
    SKIM_THROW(invalid_input, detail::concat(who, ": got ", tables, " tables to read, wanted 1 to ",
                                             tables_.size()));
  auto frame = ws.frame();
  const auto query = detail::as_compared(x, kernel(), frame);
  moments m;
  read(query, static_cast<std::size_t>(uniform_below(g, tables_.size())), tables, g, ws, m);
  const double scale = 1 / (share() * total_weight());
  return {m.mean() * scale, std::sqrt(m.variance() / static_cast<double>(m.count)) * scale,
          m.evaluations, false};
}

inline std::size_t hashing_density::entries() const noexcept {
  std::size_t n = 0;
  for (const table& t : tables_) n += t.buckets.size();
  return n;
}

inline double hashing_density::collision(std::span<const float> x, std::span<const float> y) const {
  constexpr std::string_view who = "hashing_density::collision";
  detail::check_point(who, x, dim(), kernel());
  detail::check_point(who, y, dim(), kernel());
  workspace ws;
  auto frame = ws.frame();
  const auto a = detail::as_compared(x, kernel(), frame),
             b = detail::as_compared(y, kernel(), frame);
  return detail::with_profile(params_.kernel, [&](auto profile) {
    return shape_.collision(params_.kernel.kind,
                            static_cast<double>(detail::profile_distance<decltype(profile)>(
                                a.data(), b.data(), dim())));
  });
}

inline std::size_t hashing_density::bytes() const noexcept {
  std::size_t sum = rows_.bytes() + tables_.capacity() * sizeof(table);
  for (const table& t : tables_) sum += t.buckets.bytes();
  return sum + tables_.size() * detail::kernel_hash::bytes(params_.kernel.kind, dim(), shape_);
}

inline void hashing_density::save(writer& out) const {
  out.begin_frame("hashing_density");
  detail::save_kernel(out, params_.kernel);
  for (const std::size_t v : {params_.tables, params_.entries, params_.exact_up_to})
    out.put(std::uint64_t{v});
  out.put(params_.tuned_to);
  root_.save(out);
  out.put(!tables_.empty());
  out.put(static_cast<std::int32_t>(scale_));
  rows_.save(out);
  out.end_frame();
}

inline hashing_density hashing_density::load(reader& in) {
  in.begin_frame("hashing_density");
  params p;
  p.kernel = detail::load_kernel(in);
  for (std::size_t* v : {&p.tables, &p.entries, &p.exact_up_to}) {
    const auto n = in.get<std::uint64_t>();
    if (n > std::uint64_t{1} << 31) in.fail("a size of ", n);
    *v = static_cast<std::size_t>(n);
  }
  p.tuned_to = in.get<double>();
  if (p.tables < 1 || p.tables > std::size_t{1} << 12 || p.entries < 1 ||
      p.entries > std::size_t{1} << 20 || p.exact_up_to > detail::most_points ||
      !(p.tuned_to >= 1e-12 && p.tuned_to <= 0.5))
    in.fail(p.tables, " tables of ", p.entries, " entries, tuned to ", p.tuned_to);
  const random_engine root = random_engine::load(in);
  const bool tables = in.get<bool>();
  const auto scale = in.get<std::int32_t>();
  hashing_density d(p, root, detail::point_rows::load(in, p.kernel));
  in.end_frame();
  d.params_.dim = d.dim();
  if (!tables) {
    if (scale != 0 || d.size() > 2 * p.exact_up_to) in.fail(d.size(), " points without tables");
    return d;
  }
  const int wanted = d.size() == 0 ? 0 : d.wanted_scale();
  if (d.size() == 0 || d.size() <= p.exact_up_to / 2 || scale > wanted + 1 || scale < wanted - 1)
    in.fail("tables of ", d.size(), " points with a share of 2^", scale);
  d.scale_ = scale;
  workspace ws;
  d.fill(ws);
  return d;
}

}  // namespace skim::inline v0
