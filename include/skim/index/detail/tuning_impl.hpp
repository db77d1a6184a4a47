// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"
#include "skim/index/detail/answers.hpp"
#include "skim/index/flat_index.hpp"
#include "skim/index/lsh_index.hpp"
#include "skim/index/neighbor.hpp"
#include "skim/index/partition_index.hpp"
#include "skim/index/tuning.hpp"

namespace skim::inline v0 {

inline double recall_of(std::span<const neighbor> exact, std::span<const std::size_t> exact_found,
                        std::span<const neighbor> answers, std::span<const std::size_t> found,
                        std::size_t k) {
  detail::check_answers("recall_of", found.size(), k, exact.size(), exact_found.size());
  detail::check_answers("recall_of", found.size(), k, answers.size(), found.size());
  std::size_t hits = 0, wanted = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    wanted += exact_found[i];
    // Distances are exact, so one that is not beyond the k-th is that of one of the k, or a tie.
    if (exact_found[i] == 0) continue;
    const float last = exact[i * k + exact_found[i] - 1].distance;
    for (std::size_t j = 0; j < std::min(found[i], exact_found[i]); ++j)
      hits += answers[i * k + j].distance <= last;
  }
  return wanted == 0 ? 1 : static_cast<double>(hits) / static_cast<double>(wanted);
}

namespace detail {

// The queries with their exact answers, and the measuring of others.
class tuning_bench {
 public:
  tuning_bench(std::string_view who, matrix_view<const float> x, matrix_view<const float> queries,
               const tuning_target& target)
      : queries_(queries),
        target_(target),
        exact_(queries.rows() * target.neighbors),
        answers_(exact_.size()),
        exact_found_(queries.rows()),
        found_(queries.rows()) {
    if (!(target.recall > 0 && target.recall <= 1) || target.neighbors == 0 ||
        target.most_tables == 0 || target.rounds == 0)
      SKIM_THROW(invalid_params,
                 concat(who, ": got a recall of ", target.recall, ", ", target.neighbors,
                        " neighbours, ", target.most_tables, " tables and ", target.rounds,
                        " rounds, wanted a recall in (0, 1] and at least 1 of each"));
    if (x.rows() == 0 || queries.rows() == 0)
      SKIM_THROW(invalid_input, concat(who, ": got ", x.rows(), " points and ", queries.rows(),
                                       " queries, wanted some of both"));
    flat_index flat({.dim = x.cols(), .distance = target.distance});
    flat.insert(x);
    exact_seconds_ =
        fastest([&] { flat.search(queries_, target_.neighbors, exact_, exact_found_); });
  }

  // Fills in what was measured of search(queries, k, out, found).
  template <class Result, class Search>
  Result measure(Result sizes, std::uint64_t bytes, Search&& search) {
    sizes.seconds = fastest([&] { search(queries_, target_.neighbors, answers_, found_); });
    sizes.recall = recall_of(exact_, exact_found_, answers_, found_, target_.neighbors);
    sizes.reached = sizes.recall >= target_.recall;
    sizes.exact_seconds = exact_seconds_;
    sizes.bytes = bytes;
    ++settings_;
    return sizes;
  }

  [[nodiscard]] std::size_t settings() const noexcept { return settings_; }

 private:
  template <class Work>
  double fastest(Work&& work) const {
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t r = 0; r < target_.rounds; ++r) {
      const auto start = std::chrono::steady_clock::now();
      work();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      best = std::min(best, took.count() / static_cast<double>(queries_.rows()));
    }
    return best;
  }

  matrix_view<const float> queries_;
  tuning_target target_;
  std::vector<neighbor> exact_, answers_;
  std::vector<std::size_t> exact_found_, found_;
  double exact_seconds_ = 0;
  std::size_t settings_ = 0;
};

// Reaching the recall comes first, then time, or recall where none reaches it.
[[nodiscard]] inline bool better(const tuning_result& a, const tuning_result& b) noexcept {
  if (a.reached != b.reached) return a.reached;
  return a.reached ? a.seconds < b.seconds : a.recall > b.recall;
}

[[nodiscard]] inline std::string measured_text(const tuning_result& r) {
  return concat(": recall ", std::round(1000 * r.recall) / 1000, r.reached ? "" : " (not reached)",
                ", ", std::round(1e8 * r.seconds) / 100, " us a query, ",
                std::round(100 * r.exact_seconds / r.seconds) / 100,
                " times as fast as an exact scan, ", r.bytes / 1000000, " MB; of ", r.settings,
                " settings");
}

}  // namespace detail

inline std::string lsh_tuning::summary() const {
  return detail::concat(tables, " tables of ", bits, " bits, ", effort.probes, " probes, ",
                        effort.looks == 0 ? std::string("all") : detail::concat(effort.looks),
                        " looks", detail::measured_text(*this));
}

inline std::string partition_tuning::summary() const {
  return detail::concat(lists, " lists, of which ", visits, " are visited",
                        detail::measured_text(*this));
}

template <class Make>
lsh_tuning tune_lsh(Make make, matrix_view<const float> x, matrix_view<const float> queries,
                    tuning_target target) {
  detail::tuning_bench bench("tune_lsh", x, queries, target);
  std::optional<lsh_tuning> best;
  std::size_t last_bits = 0;
  for (const double bucket : {256.0, 64.0, 16.0, 4.0}) {
    const double wanted = std::log2(static_cast<double>(x.rows()) / bucket);
    const auto bits = static_cast<std::size_t>(std::clamp(std::round(wanted), 1.0, 20.0));
    if (bits == last_bits) continue;
    last_bits = bits;
    for (std::size_t tables = std::min<std::size_t>(8, target.most_tables);
         tables <= target.most_tables; tables *= 2) {
      lsh_index index(make(bits, tables), {.distance = target.distance});
      index.build(x);
      if (index.bytes() > target.most_bytes) break;  // more tables take more still
      const auto measure = [&](lsh_effort effort) {
        lsh_tuning sizes;
        sizes.bits = bits;
        sizes.tables = tables;
        sizes.effort = effort;
        return bench.measure(
            sizes, index.bytes(), [&](auto q, std::size_t k, auto& out, auto& found) {
              index.search(q, k, std::span<neighbor>(out), std::span<std::size_t>(found), effort);
            });
      };
      const auto consider = [&](const lsh_tuning& found) {
        if (!best || detail::better(found, *best)) best = found;
      };
      lsh_tuning now = measure({});
      consider(now);
      for (std::size_t probes = tables; !now.reached && probes <= 32 * tables; probes *= 2) {
        now = measure({.probes = probes});
        consider(now);
        // Slower than the best without being as good: more probes make it slower still.
        if (best->reached && now.seconds > 2 * best->seconds) break;
      }
      if (!now.reached) continue;
      for (const std::size_t few : {4u, 16u, 64u})
        consider(measure({.probes = now.effort.probes, .looks = few * target.neighbors}));
    }
  }
  if (!best)
    SKIM_THROW(invalid_params, detail::concat("tune_lsh: got ", target.most_bytes,
                                              " bytes, wanted what the smallest index takes"));
  best->settings = bench.settings();
  return *best;
}

inline partition_tuning tune_partition(matrix_view<const float> x, matrix_view<const float> queries,
                                       tuning_target target, seed s) {
  detail::tuning_bench bench("tune_partition", x, queries, target);
  const double root = std::sqrt(static_cast<double>(x.rows()));
  std::optional<partition_tuning> best;
  for (const double share : {0.5, 1.0, 2.0}) {
    const auto lists = static_cast<std::size_t>(std::clamp(share * root, 1.0, 65536.0));
    partition_index index({.dim = x.cols(), .distance = target.distance, .lists = lists}, s);
    index.build(x);
    if (index.bytes() > target.most_bytes) continue;
    for (std::size_t visits = 1;;) {
      partition_tuning sizes;
      sizes.lists = index.lists();
      sizes.visits = visits;
      const partition_tuning now =
          bench.measure(sizes, index.bytes(), [&](auto q, std::size_t k, auto& out, auto& found) {
            index.search(q, k, std::span<neighbor>(out), std::span<std::size_t>(found), visits);
          });
      if (!best || detail::better(now, *best)) best = now;
      if (now.reached || visits >= index.lists()) break;
      // By a quarter: the recall is reached without much to spare.
      visits = std::min(visits + std::max<std::size_t>(1, visits / 4), index.lists());
    }
  }
  if (!best)
    SKIM_THROW(invalid_params, detail::concat("tune_partition: got ", target.most_bytes,
                                              " bytes, wanted what the smallest index takes"));
  best->settings = bench.settings();
  return *best;
}

}  // namespace skim::inline v0
