// SPDX-License-Identifier: Apache-2.0
//
// How dense are the points around here? Kernel densities to a promised error, what they cost, and a map.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/arguments.hpp"
#include "common/json.hpp"
#include "common/plot.hpp"
#include "common/progress.hpp"
#include "common/table.hpp"
#include "density/estimators.hpp"
#include "density/map.hpp"
#include "density/measure.hpp"
#include "density/points.hpp"
#include "density/settings.hpp"

namespace skim_examples {
namespace {

std::string times(double ratio) {
  return significant(ratio, 3) + " times";
}

void print(const density_settings& s, const density_outcome& r) {
  std::vector<double> values, errors;
  std::size_t below = 0;
  for (const auto& a : r.answers) {
    values.push_back(a.value);
    below += a.below;
    if (!a.below && a.value > 0) errors.push_back(a.standard_error / a.value);
  }
  const quantiles density(values), error(errors);
  text_table table({"estimator", r.structure});
  table.add({"built in", duration(1e-3 * r.build_ms)});
  table.add({"memory", byte_size(static_cast<double>(r.bytes))});
  table.add({"density, median", significant(density.at(0.5), 3)});
  table.add({"  5 to 95 %",
             significant(density.at(0.05), 3) + " to " + significant(density.at(0.95), 3)});
  table.add({"time a query", duration(1e-6 * r.us_per_query)});
  table.add({"kernels a query", grouped(static_cast<std::size_t>(r.evaluations() + 0.5)) + " of " +
                                    grouped(r.points)});
  table.add({"standard error, median", percent(error.at(0.5))});
  if (below > 0)
    table.add({"below " + significant(s.smallest_density, 3), grouped(below) + " queries"});
  if (r.us_per_update) table.add({"time an update", duration(1e-6 * *r.us_per_update)});
  std::cout << table;
  if (!r.reason.empty()) std::cout << "\n" << r.reason << "\n";
  if (!r.check) return;
  const density_check& c = *r.check;
  const quantiles off(c.relative_error);
  std::cout << "\nchecked " << grouped(c.exact.size() + c.below) << " queries with exact sums ("
            << duration(1e-6 * c.exact_us) << " a query, " << times(c.exact_us / r.us_per_query)
            << " the time)\n";
  if (c.below > 0)
    std::cout << grouped(c.below) << " lie below " << significant(s.smallest_density, 3)
              << ", where no error is promised\n";
  if (!c.exact.empty())
    std::cout << "relative error: median " << percent(off.at(0.5)) << ", 90 % within "
              << percent(off.at(0.9)) << ", most " << percent(off.at(1)) << "\nbeyond "
              << percent(s.relative_error) << ": "
              << percent(static_cast<double>(c.too_far) / static_cast<double>(c.exact.size()))
              << " of the queries (asked for: at most " << percent(s.failure) << ")\n";
  if (c.said_wrongly > 0)
    std::cout << grouped(c.said_wrongly) << " were called below and are not\n";
}

json to_json(const density_settings& s, const skim::density_kernel& k, const density_outcome& r,
             const point_set& points, std::size_t queries) {
  json answers = json::array();
  for (const auto& a : r.answers)
    answers.push_back({{"density", a.value},
                       {"standard_error", a.standard_error},
                       {"kernel_evaluations", a.evaluations},
                       {"below", a.below}});
  json error = nullptr;
  if (r.check) {
    const quantiles off(r.check->relative_error);
    error = {{"median", off.at(0.5)},
             {"p90", off.at(0.9)},
             {"max", off.at(1)},
             {"checked", r.check->exact.size()},
             {"beyond", r.check->too_far},
             {"exact_below", r.check->below},
             {"said_below_wrongly", r.check->said_wrongly},
             {"exact_us_per_query", r.check->exact_us}};
  }
  return {{"program", "density"},
          {"settings",
           {{"points", s.points.empty() ? "generated" : s.points},
            {"queries", s.queries},
            {"kernel", skim::name_of(k.kind)},
            {"bandwidth", k.bandwidth},
            {"estimator", s.estimator},
            {"relative_error", s.relative_error},
            {"failure", s.failure},
            {"smallest_density", s.smallest_density},
            {"threads", s.threads},
            {"seed", s.seed}}},
          {"time_unit", s.threads == 1 ? "processor time of the thread" : "time that passed"},
          {"rows", points.rows},
          {"columns", points.cols},
          {"query_count", queries},
          {"chosen", r.structure},
          {"reason", r.reason},
          {"build_ms", r.build_ms},
          {"us_per_query", r.us_per_query},
          {"us_per_update", r.us_per_update ? json(*r.us_per_update) : json(nullptr)},
          {"bytes", r.bytes},
          {"kernel_evaluations", r.evaluations()},
          {"relative_error", error},
          {"answers", answers}};
}

// Densities in order with their error bars, and estimates beside exact values where they were checked.
plot_figure curves(const density_settings& s, const density_outcome& r, const std::string& title) {
  std::vector<skim::density_estimate> sorted(r.answers);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.value < b.value; });
  plot_series line{r.structure, {}, {}, {}, {}};
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    line.x.push_back(100 * (static_cast<double>(i) + 0.5) / static_cast<double>(sorted.size()));
    line.y.push_back(sorted[i].value);
    line.lo.push_back(
        std::max(1e-3 * sorted[i].value, sorted[i].value - 2 * sorted[i].standard_error));
    line.hi.push_back(sorted[i].value + 2 * sorted[i].standard_error);
  }
  std::vector<plot_panel> panels{{"density of the queries, with 2 standard errors",
                                  {"queries, %"},
                                  {"density", axis_scale::logarithmic},
                                  {line}}};
  if (r.check) {
    std::vector<std::size_t> order(r.check->exact.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return r.check->exact[a] < r.check->exact[b]; });
    plot_series ratio{r.structure, {}, {}}, allowed{"asked for", {}, {}};
    for (const std::size_t i : order) {
      ratio.x.push_back(r.check->exact[i]);
      ratio.y.push_back(r.check->estimated[i] / r.check->exact[i]);
    }
    panels.push_back({"estimate over exact value",
                      {"exact density", axis_scale::logarithmic},
                      {"ratio"},
                      {ratio}});
    if (!order.empty()) {
      for (const double edge : {1 - s.relative_error, 1 + s.relative_error})
        panels.back().series.push_back(
            {"asked for: " + percent(s.relative_error),
             {r.check->exact[order.front()], r.check->exact[order.back()]},
             {edge, edge}});
    }
  }
  return {title, panels};
}

void estimate(const density_settings& s, const common_options& common) {
  progress_line progress;
  progress.show("reading points");
  const points_and_queries both = load_both(s);
  const point_set& points = both.points;
  std::optional<density_grid> grid;
  if (!s.map.empty()) grid.emplace(points, s.map_columns);
  const skim::kernel_kind kind = kernel_named(s.kernel);
  const bandwidth h = bandwidth_of(s, kind, points.view());
  const skim::density_kernel kernel{kind, h.value};
  progress.clear();
  const std::string title = points.title + ", " + grouped(points.rows) + " x " +
                            grouped(points.cols) + ", " + s.kernel + " kernel, bandwidth " +
                            significant(h.value, 4);
  std::cout << title << " (" << h.origin << "), " << grouped(both.queries.rows) << " queries\n\n"
            << std::flush;
  progress.show("estimating");
  std::vector<skim::density_estimate> cells;
  const density_outcome r =
      run_estimator(s, kernel, points.view(), both.queries.view(),
                    grid ? grid->queries() : skim::matrix_view<const float>(), cells);
  progress.clear();
  print(s, r);
  if (!common.json.empty()) {
    write_json(common.json, to_json(s, kernel, r, points, both.queries.rows));
    std::cout << "\nfigures: " << common.json << "\n";
  }
  if (!common.plot.empty()) {
    write_svg(common.plot, curves(s, r, title));
    std::cout << "curves: " << common.plot << "\n";
  }
  if (grid) {
    write_svg(s.map, grid->figure(title, cells, s.smallest_density));
    std::cout << "map: " << s.map << "\n";
  }
}

int run(int argc, char** argv) {
  density_settings s;
  command_line line("density",
                    "Estimates how dense points lie around queries: the mean of a kernel over all "
                    "points, to a relative\nerror that is asked for, from a few hundred of them.");
  line.add_text("--points", s.points,
                "points: .npy, IDX, .csv, XC or LIBSVM .txt, fashion-mnist; default generated",
                "FILE");
  line.add_text("--queries", s.queries, "queries; default points taken out at random", "FILE");
  line.add_count("--most-queries", s.most_queries, "queries, at most", {1, 1u << 24});
  auto* const rows =
      line.add_count("--rows", s.generated, "generated points", {1, std::size_t{1} << 28});
  auto* const dim = line.add_count("--dim", s.dim, "columns of generated points", {1, 1u << 14});
  line.add_choice("--kernel", s.kernel, "how nearness counts",
                  {"gaussian", "exponential", "laplacian", "student", "angular"});
  line.add_text("--bandwidth", s.bandwidth,
                "of the kernel, in units of the coordinates; median: the median distance of two "
                "points, median:F: F times that",
                "H");
  line.add_choice("--estimator", s.estimator, "how densities are estimated", estimator_names());
  line.add_real("--relative-error", s.relative_error, "wanted of an estimate",
                {0, 1, bound::open, bound::open});
  line.add_real("--failure", s.failure, "part of the estimates that may be further off",
                {0, 1, bound::open, bound::open});
  line.add_real("--smallest-density", s.smallest_density, "of interest", {0, 1});
  line.add_count("--check", s.check, "queries to compare with exact sums", {0, 1u << 24});
  line.add_count("--updates", s.updates, "points to take out and put in again, timed",
                 {0, 1u << 28});
  line.add_text("--map", s.map,
                "draw the density of points in the plane, or on the unit sphere (3 columns)",
                "FILE.svg");
  line.add_count("--map-columns", s.map_columns, "of the map's grid", {8, 4096});
  line.epilogue(
      "Examples:\n"
      "  density --check 200 --updates 10000\n"
      "  density --points cities.npy --bandwidth 0.01 --map cities.svg\n"
      "  density --points X.npy --kernel laplacian --estimator exact --json exact.json\n"
      "\nA density is sum_i k(x_i, q) / n, from 0 to 1. Times are processor time of the thread, "
      "with "
      "--threads\nthe time that passes; answers do not depend on the number of threads. Exit code "
      "2: bad arguments or files.");
  return line.run(argc, argv, [&] {
    s.seed = line.common().seed;
    s.threads = line.common().threads;
    if (!s.points.empty() && (rows->count() > 0 || dim->count() > 0))
      throw argument_error("--rows and --dim: got one besides --points, wanted generated points");
    if (s.points.empty() && !s.queries.empty())
      throw argument_error("--queries: got it without --points, wanted both");
    if (!s.map.empty()) check_plot(s.map);
    estimate(s, line.common());
  });
}

}  // namespace
}  // namespace skim_examples

int main(int argc, char** argv) {
  return skim_examples::run(argc, argv);
}
