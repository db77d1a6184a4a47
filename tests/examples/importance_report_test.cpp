// SPDX-License-Identifier: Apache-2.0
//
// From what train_importance writes to the tables and charts of importance_report.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "files.hpp"
#include "importance_report/figures.hpp"
#include "importance_report/outcome.hpp"
#include "importance_report/tables.hpp"
#include "support/catch.hpp"
#include "train_importance/experiment.hpp"
#include "train_importance/report.hpp"

using namespace skim_examples;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;

namespace {

run_result made_up(std::string sampler, std::uint64_t seed, double scale, double loss) {
  run_result r;
  r.plan = {std::move(sampler), seed, scale, 0.002};
  quality q;
  q.loss = loss + (seed == 1 ? 0.01 : -0.01);
  q.accuracy = 1 - q.loss / 2;
  r.seconds = 10 * scale;
  r.steps = 10;
  r.curve = {{r.seconds, 100, q}};
  return r;
}

// Reports as train_importance writes them: "few" has uniform alone, "many" a rival that is faster and
// one that is better than uniform ever was.
std::vector<outcome> outcomes(const skim_test::temporary_folder& folder) {
  problem p;
  p.train.cols = 5;
  p.train.kind = label_kind::classes;
  p.train.classes = 3;
  importance_settings s;
  s.seeds = 2;
  s.steps = 10;
  s.hidden = {8, 8};
  s.ladder = {2};
  const auto measures = measures_of(p);
  const auto write = [&](const std::string& name, const std::vector<run_result>& runs) {
    const auto summaries = summarize(s, measures, pick_rates(s, measures, runs));
    write_figures(folder.path(name), p, s, measures, runs, summaries);
  };
  std::vector<run_result> runs;
  for (const std::uint64_t seed : {1U, 2U}) runs.push_back(made_up("uniform", seed, 1, 0.5));
  s.samplers = {"uniform"};
  write("few.json", runs);
  for (const std::uint64_t seed : {1U, 2U}) {
    runs.push_back(made_up("uniform", seed, 2, 0.3));
    runs.push_back(made_up("fast", seed, 1, 0.4));
    runs.push_back(made_up("best", seed, 1, 0.1));
  }
  s.samplers = {"uniform", "fast", "best"};
  write("many.json", runs);
  return read_outcomes(folder.path(""));
}

}  // namespace

TEST_CASE("Reports are read as they were written", "[unit]") {
  const skim_test::temporary_folder folder;
  const auto all = outcomes(folder);
  REQUIRE(all.size() == 2);
  CHECK(all[0].name == "few");
  const outcome& o = all[1];
  CHECK(o.network == "5-8-8-3");
  CHECK(o.title_of_budget(0.5) == "5 steps");
  CHECK(o.measures.front() == "test_loss");
  REQUIRE(o.error);
  CHECK(o.measures[*o.error] == "test_accuracy");
  CHECK(o.cell("fast", 2) == nullptr);
  CHECK_FALSE(o.cell("uniform", 2)->of_all);
  const outcome_cell& fast = *o.cell("fast", 1);
  CHECK_THAT(fast.seconds, WithinRel(10.0, 1e-9));
  CHECK_THAT(fast.measures[0].mean, WithinRel(0.4, 1e-9));
  const against* const a = fast.measures[0].with("uniform");
  REQUIRE(a != nullptr);
  CHECK_THAT(a->time->value, WithinRel(std::sqrt(2.0), 1e-9));  // paired seeds: no doubt at all
  CHECK_THAT(a->time->likely->first, WithinRel(std::sqrt(2.0), 1e-9));
  CHECK_THAT(a->cost->value, WithinRel(0.8, 1e-9));
  const against* const best = o.cell("best", 1)->measures[0].with("uniform");
  CHECK(best->bound == '>');
  CHECK(std::isinf(best->time->likely->second));  // null in the file
  CHECK(fast.measures[0].with("fast") == nullptr);
}

TEST_CASE("Tables have a row a report and a column a sampler", "[unit]") {
  const skim_test::temporary_folder folder;
  const auto all = outcomes(folder);
  CHECK(sampler_names(all) == std::vector<std::string>{"uniform", "fast", "best"});
  const std::string text = markdown_of(all);
  CHECK_THAT(text, ContainsSubstring("| many | 5-8-8-3 | 10 steps | **1.41** (1.41-1.41) | "
                                     "**>2.00** (from 2.00) |"));
  CHECK_THAT(text, ContainsSubstring("| many | **1.41** / **1.41** | **>2.00** / **>2.00** |"));
  CHECK_THAT(text, ContainsSubstring("| fast | 1 | 1.41 | 1.41 (many) | 1 | 0 |"));
  CHECK_THAT(text, !ContainsSubstring("| few |  |"));
  CHECK_THAT(text, !ContainsSubstring("| few | 5-8-8-3 | 10 steps |  |"));
}

TEST_CASE("Charts show errors in percent and intervals inside their limits", "[unit]") {
  const skim_test::temporary_folder folder;
  const auto all = outcomes(folder);
  const plot_figure curves = curves_of(all[1]);
  REQUIRE(curves.panels.size() == 2);
  REQUIRE(curves.panels[1].series.size() == 3);
  const plot_series& uniform = curves.panels[1].series[0];
  REQUIRE(uniform.y.size() == 2);
  CHECK_THAT(uniform.y[0], WithinRel(25.0, 1e-9));
  CHECK_THAT(uniform.y[1], WithinRel(15.0, 1e-9));
  CHECK(uniform.lo[0] < 25);
  const plot_figure speeds = speeds_of(all, "uniform");
  CHECK(speeds.panels[0].y.names == std::vector<std::string>{"few", "many"});
  for (const plot_panel& panel : speeds.panels) {
    REQUIRE(panel.series.size() == 2);
    for (const plot_series& s : panel.series) {
      REQUIRE(s.x.size() == 1);  // nothing to compare in the other set
      CHECK(s.lo[0] <= s.x[0]);
      CHECK(s.x[0] <= s.hi[0]);
      CHECK(s.hi[0] <= *panel.x.most);
    }
  }
}
