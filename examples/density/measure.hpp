// SPDX-License-Identifier: Apache-2.0
//
// Runs one density structure: building, queries, updates, and how far its answers are from exact ones.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/stopwatch.hpp"
#include "density/settings.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/core/workspace.hpp"
#include "skim/kde/estimate.hpp"
#include "skim/kde/exact_density.hpp"

namespace skim_examples {

/// Seconds of a call: processor time of the thread, of several threads the time that passes.
template <class Work>
[[nodiscard]] double seconds_of(std::size_t threads, Work&& work) {
  const auto now = [threads] {
    return threads == 1
               ? thread_seconds()
               : std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
                     .count();
  };
  const double start = now();
  work();
  return now() - start;
}

/// Sorted values and where to find a part of them.
struct quantiles {
  std::vector<double> sorted;

  explicit quantiles(std::vector<double> values) : sorted(std::move(values)) {
    std::sort(sorted.begin(), sorted.end());
  }
  [[nodiscard]] double at(double part) const noexcept {
    if (sorted.empty()) return 0;
    const double place = part * static_cast<double>(sorted.size() - 1);
    return sorted[static_cast<std::size_t>(place + 0.5)];
  }
};

struct density_check {
  std::vector<double> exact, estimated, relative_error;  // of queries at or above the floor
  std::size_t below = 0;         // queries whose exact density lies below the floor
  std::size_t said_wrongly = 0;  // of the others, those that the structure called below
  std::size_t too_far = 0;       // beyond the relative error asked for
  double exact_us = 0;           // a query, in a batch
};

struct density_outcome {
  std::string structure, reason;  // what was used, and why where it was chosen
  double build_ms = 0, us_per_query = 0;
  std::optional<double> us_per_update;
  std::size_t points = 0, bytes = 0;
  std::vector<skim::density_estimate> answers;
  std::optional<density_check> check;

  [[nodiscard]] double evaluations() const noexcept {
    double sum = 0;
    for (const auto& a : answers) sum += static_cast<double>(a.evaluations);
    return answers.empty() ? 0 : sum / static_cast<double>(answers.size());
  }
};

/// Queries, and if asked for updates (each takes a random point out and puts it in again) and a check of
/// the first answers.
template <class Structure, class Executor>
void measure(const density_settings& s, Structure& structure, skim::matrix_view<const float> points,
             std::span<const skim::id_t> ids, skim::matrix_view<const float> queries, Executor& run,
             density_outcome& out) {
  const skim::density_target target{s.relative_error, s.failure, s.smallest_density};
  out.answers.resize(queries.rows());
  const double seconds = seconds_of(s.threads, [&] {
    structure.density(queries, target, skim::seed{s.seed + 3}, out.answers, run);
  });
  out.us_per_query = 1e6 * seconds / static_cast<double>(queries.rows());
  out.bytes = structure.bytes();
  out.points = structure.size();
  if (s.check > 0) {
    density_check check;
    const auto asked = queries.rows(0, std::min(s.check, queries.rows()));
    skim::exact_density oracle({.dim = points.cols(), .kernel = structure.kernel()});
    oracle.insert(points);
    std::vector<skim::density_estimate> exact(asked.rows());
    const double spent =
        seconds_of(s.threads, [&] { oracle.density(asked, target, skim::seed{}, exact, run); });
    check.exact_us = 1e6 * spent / static_cast<double>(asked.rows());
    for (std::size_t i = 0; i < exact.size(); ++i) {
      if (exact[i].value < s.smallest_density || exact[i].value == 0) {
        ++check.below;
        continue;
      }
      const double off = std::abs(out.answers[i].value - exact[i].value) / exact[i].value;
      check.exact.push_back(exact[i].value);
      check.estimated.push_back(out.answers[i].value);
      check.relative_error.push_back(off);
      check.said_wrongly += out.answers[i].below;
      check.too_far += off > s.relative_error;
    }
    out.check = std::move(check);
  }
  if (s.updates > 0) {
    skim::random_engine g(skim::seed{s.seed + 4});
    skim::workspace ws;
    std::vector<skim::id_t> of_row(ids.begin(), ids.end());
    std::vector<std::size_t> rows(s.updates);
    for (std::size_t& r : rows) r = static_cast<std::size_t>(skim::uniform_below(g, points.rows()));
    const double spent = seconds_of(1, [&] {
      for (const std::size_t r : rows) {
        structure.erase(of_row[r]);
        of_row[r] = structure.insert(points.row(r), 1.0f, ws);
      }
    });
    out.us_per_update = 1e6 * spent / static_cast<double>(s.updates);
  }
}

}  // namespace skim_examples
