// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/detail/point_rules.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/kernel.hpp"
#include "skim/kde/robust_density.hpp"

namespace skim::inline v0 {

template <density_structure S>
id_t robust_density<S>::insert(std::span<const float> x, float weight, workspace& ws) {
  id_t id = 0;
  std::vector<id_t> given;
  given.reserve(copies_.size());
  const auto undo = [&] {
    for (std::size_t i = 0; i < given.size(); ++i) copies_[i].erase(given[i]);
  };
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
  try {
    for (S& c : copies_) given.push_back(c.insert(x, weight, ws));
  } catch (...) {
    undo();
    throw;
  }
#else
  for (S& c : copies_) given.push_back(c.insert(x, weight, ws));
#endif
  id = given.front();
  if (!std::all_of(given.begin(), given.end(), [&](id_t i) { return i == id; })) {
    undo();
    SKIM_THROW(invalid_input,
               "robust_density::insert: got copies with different histories, wanted "
               "one that gives equal ids");
  }
  return id;
}

template <density_structure S>
void robust_density<S>::erase(id_t id) {
  check_id("robust_density::erase", id);
  for (S& c : copies_) c.erase(id);
}

template <density_structure S>
void robust_density<S>::replace(id_t id, std::span<const float> x, workspace& ws) {
  constexpr std::string_view who = "robust_density::replace";
  check_id(who, id);
  detail::check_point(who, x, dim(), kernel());
  for (S& c : copies_) c.replace(id, x, ws);
}

template <density_structure S>
density_estimate robust_density<S>::estimate(std::span<const float> x, const density_target& target,
                                             random_engine& g, workspace& ws) const {
  auto frame = ws.frame();
  density_target each = target;
  each.failure = params_.copy_failure;
  if (params_.net_step > 0) {
    const std::span<float> rounded = frame.template take<float>(x.size());
    const auto at = detail::as_compared(x, kernel(), rounded);
    for (std::size_t j = 0; j < x.size(); ++j)
      rounded[j] = static_cast<float>(params_.net_step *
                                      std::round(static_cast<double>(at[j]) / params_.net_step));
    // A step too coarse for the sphere may round to nothing.
    if (!kernel().on_sphere() ||
        std::any_of(rounded.begin(), rounded.end(), [](float v) { return v != 0; }))
      x = rounded;
    each.relative_error = target.relative_error / 2;
    each.smallest = target.smallest * (1 - target.relative_error / 3);
  }
  const std::size_t votes = params_.votes;
  const auto values = frame.template take<double>(votes);
  density_estimate out;
  std::size_t below = 0;
  double error = 0;
  for (std::size_t v = 0; v < votes; ++v) {
    const S& c = copies_[static_cast<std::size_t>(uniform_below(g, copies_.size()))];
    const density_estimate e = c.density(x, each, g, ws);
    values[v] = e.value;
    below += e.below;
    error = e.standard_error;
    out.evaluations += e.evaluations;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(votes / 2);
  if (votes > 1) {
    double mean = 0, squares = 0;
    const double n = static_cast<double>(votes);
    for (const double v : values) mean += v / n;
    for (const double v : values) squares += (v - mean) * (v - mean);
    // A median of normal values varies as pi/2 of their mean would.
    error = std::sqrt(squares / (n - 1) / n * (std::numbers::pi / 2));
  }
  std::nth_element(values.begin(), middle, values.end());
  out.value = *middle;
  out.standard_error = error;
  out.below = below > votes / 2;
  return out;
}

template <density_structure S>
density_estimate robust_density<S>::density(std::span<const float> x, density_target target,
                                            random_engine& g, workspace& ws) const {
  constexpr std::string_view who = "robust_density::density";
  detail::check_point(who, x, dim(), kernel());
  target.check(who);
  if (size() == 0) return detail::no_points;
  return estimate(x, target, g, ws);
}

template <density_structure S>
template <executor Executor>
void robust_density<S>::density(matrix_view<const float> x, density_target target, seed s,
                                std::span<density_estimate> out, Executor&& run) const {
  constexpr std::string_view who = "robust_density::density";
  detail::check_points(who, x, dim(), kernel());
  target.check(who);
  detail::check_estimates_room(who, out.size(), x.rows());
  if (size() == 0) {
    std::fill(out.begin(), out.end(), detail::no_points);
    return;
  }
  detail::each_query(who, x.rows(), out, 4, s, run,
                     [&](std::size_t i, random_engine& g, workspace& ws) {
                       return estimate(x.row(i), target, g, ws);
                     });
}

template <density_structure S>
void robust_density<S>::save(writer& out) const {
  out.begin_frame("robust_density");
  out.put(std::uint64_t{params_.copies});
  out.put(std::uint64_t{params_.votes});
  out.put(params_.copy_failure);
  out.put(params_.net_step);
  for (const S& c : copies_) c.save(out);
  out.end_frame();
}

template <density_structure S>
robust_density<S> robust_density<S>::load(reader& in) {
  in.begin_frame("robust_density");
  const auto copies = in.get<std::uint64_t>(), votes = in.get<std::uint64_t>();
  params p;
  p.copy_failure = in.get<double>();
  p.net_step = in.get<double>();
  if (copies > in.remaining() || votes > 255)
    in.fail(copies, " copies and ", votes, " votes are announced, ", in.remaining(),
            " bytes remain");
  p.copies = static_cast<std::size_t>(copies);
  p.votes = static_cast<std::size_t>(votes);
  if (!possible(p))
    in.fail(copies, " copies, ", votes, " votes, a failure of ", p.copy_failure, " and a step of ",
            p.net_step);
  std::vector<S> loaded;
  for (std::size_t i = 0; i < p.copies; ++i) loaded.push_back(S::load(in));
  robust_density d(p, std::move(loaded));
  if (!d.alike()) in.fail("copies that hold different points");
  in.end_frame();
  return d;
}

}  // namespace skim::inline v0
