// SPDX-License-Identifier: Apache-2.0
//
// The parts of train_importance: measures of quality, time ratios, streams, and whole small runs.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "common/json.hpp"
#include "data/load.hpp"
#include "files.hpp"
#include "skim/core/random.hpp"
#include "support/catch.hpp"
#include "support/stat_test.hpp"
#include "train_importance/budget_curve.hpp"
#include "train_importance/experiment.hpp"
#include "train_importance/load.hpp"
#include "train_importance/metrics.hpp"
#include "train_importance/report.hpp"

using namespace skim_examples;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

// By the definition: pairs of a positive and a negative in the right order; ties count half.
double slow_area(const std::vector<float>& scores, const std::vector<skim::label_t>& labels) {
  double right = 0, pairs = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] != 1 || labels[j] != 0) continue;
      pairs += 1;
      right += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  return pairs > 0 ? right / pairs : 0.5;
}

// Three blobs in the plane, or numbers that depend on them.
std::string table(std::size_t rows, std::uint64_t seed, bool numbers = false) {
  skim::random_engine g(skim::seed{seed});
  std::string out = "x,y,label\n";
  for (std::size_t i = 0; i < rows; ++i) {
    const auto c = static_cast<double>(skim::uniform_below(g, 3));
    const double x = c + 0.4 * skim::normal(g), y = (c == 1 ? 1 : 0) + 0.4 * skim::normal(g);
    out += std::to_string(x) + "," + std::to_string(y) + "," +
           (numbers ? std::to_string(x * y) : std::to_string(static_cast<int>(c))) + "\n";
  }
  return out;
}

// The same rows as LIBSVM text, in which the columns are sparse.
std::string libsvm_text(const dataset& d) {
  std::string out;
  for (std::size_t i = 0; i < d.rows; ++i) {
    out += std::to_string(d.labels[i]);
    const auto row = d.dense_view().row(i);
    for (std::size_t j = 0; j < d.cols; ++j)
      out += " " + std::to_string(j) + ":" + std::to_string(row[j]);
    out += "\n";
  }
  return out;
}

class small_data {
 public:
  explicit small_data(bool numbers = false) {
    folder_.write("train.csv", table(600, 1, numbers));
    folder_.write("test.csv", table(200, 2, numbers));
  }
  [[nodiscard]] importance_settings settings() const {
    importance_settings s;
    s.train = folder_.path("train.csv");
    s.test = folder_.path("test.csv");
    s.samplers = {"uniform", "nadaraya-watson"};
    s.epochs = 2;
    s.seeds = 2;
    s.batch = 16;
    s.hidden = {8};
    s.ladder = {0.5, 1};
    s.evaluations = 3;
    return s;
  }
  [[nodiscard]] const skim_test::temporary_folder& folder() const { return folder_; }

 private:
  skim_test::temporary_folder folder_;
};

run_result made_up(std::string sampler, std::uint64_t seed, double scale, double seconds,
                   double loss) {
  run_result r;
  r.plan = {std::move(sampler), seed, scale, 0.002};
  quality q;
  q.loss = loss;
  q.accuracy = 1 - loss;
  r.curve = {{seconds / 2, 50, {}}, {seconds, 100, q}};
  r.seconds = seconds;
  r.sampling_seconds = seconds / 10;
  r.steps = 10;
  return r;
}

const measure loss_measure{"test_loss", "test loss", &quality::loss, true, 4, 1};
const measure accuracy_measure{"test_accuracy", "accuracy %", &quality::accuracy, false, 2, 100};

// Everything in a report that does not depend on the clock.
json timeless(json value) {
  if (value.is_object()) {
    for (const char* key :
         {"seconds", "construction_seconds", "sampling_seconds", "sampling_overhead_fraction",
          "time_to_target_ratio", "time_ratio", "at_equal_time", "accuracy_at_equal_time",
          "rmse_at_equal_time", "peak_memory_bytes", "threads"})
      value.erase(key);
  }
  if (value.is_structured())
    for (auto& part : value) part = timeless(part);
  return value;
}

}  // namespace

TEST_CASE("The area under the curve is the share of pairs in order", "[unit]") {
  skim::random_engine g(skim::seed{1});
  for (std::size_t n : {1U, 2U, 7U, 60U, 200U}) {
    for (std::uint64_t levels : {1U, 3U, 1000U}) {  // few levels: many ties
      std::vector<float> scores(n);
      std::vector<skim::label_t> labels(n);
      for (std::size_t i = 0; i < n; ++i) {
        scores[i] = static_cast<float>(skim::uniform_below(g, levels));
        labels[i] = static_cast<skim::label_t>(skim::uniform_below(g, 2));
      }
      CHECK_THAT(area_under_curve(scores, labels), WithinAbs(slow_area(scores, labels), 1e-12));
    }
  }
  CHECK(area_under_curve(std::vector<float>{1, 2, 3}, std::vector<skim::label_t>{0, 0, 1}) == 1);
  CHECK(area_under_curve(std::vector<float>{3, 1, 2}, std::vector<skim::label_t>{0, 1, 1}) == 0);
  CHECK(area_under_curve(std::vector<float>{3, 1}, std::vector<skim::label_t>{1, 1}) == 0.5);
  CHECK(area_under_curve({}, {}) == 0.5);
}

TEST_CASE("Balanced accuracy gives every class that occurs the same say", "[unit]") {
  // class 0: 2 of 3 right, class 1: 1 of 1, class 2 does not occur
  const std::vector<float> logits{2, 1, 0, 5, 1, 0, 0, 1, 0, 0, 3, 1};
  const std::vector<skim::label_t> labels{0, 0, 0, 1};
  const skim::matrix_view<const float> view(std::span<const float>(logits), 4, 3);
  const auto recalls = class_recalls(view, labels);
  REQUIRE(recalls.size() == 3);
  CHECK_THAT(recalls[0], WithinAbs(2.0 / 3, 1e-12));
  CHECK(recalls[1] == 1);
  CHECK(std::isnan(recalls[2]));
  CHECK_THAT(balanced_accuracy(recalls), WithinAbs((2.0 / 3 + 1) / 2, 1e-12));
  CHECK(balanced_accuracy(class_recalls({std::span<const float>(), 0, 3}, {})) == 0);
}

TEST_CASE("The rarest class is one that occurs", "[unit]") {
  const auto rarest = [](std::vector<skim::label_t> labels) { return rarest_class(labels, 4); };
  CHECK(rarest({0, 0, 3, 0, 3, 2}) == 2);
  CHECK(rarest({3, 3, 2, 2}) == 2);  // the first of several
  CHECK(rarest({1}) == 1);
}

TEST_CASE("Budgets are interpolated in their logarithm", "[unit]") {
  const budget_curve curve({{4, 0.2}, {1, 1.0}, {2, 0.6}});  // in any order
  CHECK(curve.budget_for(1.0) == 1);
  CHECK_THAT(curve.budget_for(0.8), WithinRel(std::sqrt(2.0), 1e-12));
  CHECK_THAT(curve.budget_for(0.6), WithinRel(2.0, 1e-12));
  CHECK_THAT(curve.budget_for(0.5), WithinRel(2 * std::pow(2.0, 0.25), 1e-12));
  CHECK_THAT(curve.budget_for(0.2), WithinRel(4.0, 1e-12));

  SECTION("outside the known budgets the answer is a bound") {
    CHECK(curve.budget_for(2.0) == 1);
    CHECK(curve.is_before(2.0));
    CHECK_FALSE(curve.is_before(1.0));
    CHECK(curve.budget_for(0.1) == 4);
    CHECK(curve.is_beyond(0.1));
    CHECK_FALSE(curve.is_beyond(0.2));
  }
  SECTION("a larger budget that did worse is not needed") {
    const budget_curve bumpy({{1, 1.0}, {2, 0.5}, {4, 0.7}, {8, 0.5}});
    CHECK(bumpy.budget_for(0.5) == 2);
    CHECK(bumpy.budget_for(0.4) == 8);
    CHECK(bumpy.is_beyond(0.4));
  }
  SECTION("one budget, equal budgets, none") {
    CHECK(budget_curve({{3, 1.0}}).budget_for(1.0) == 3);
    CHECK(budget_curve({{3, 1.0}}).is_beyond(0.9));
    CHECK(budget_curve({{3, 1.0}, {3, 0.5}}).budget_for(0.7) == 3);
    CHECK_THROWS_AS(budget_curve({}), std::invalid_argument);
  }
  SECTION("it falls as the value rises") {
    double last = std::numeric_limits<double>::infinity();
    for (double v = 0; v < 1.5; v += 0.01) {
      CHECK(curve.budget_for(v) <= last);
      last = curve.budget_for(v);
    }
  }
}

TEST_CASE("A curve is read between its points", "[unit]") {
  std::vector<curve_point> curve(2);
  curve[0].seconds = 1;
  curve[0].test.loss = 3;
  curve[1].seconds = 3;
  curve[1].test.loss = 1;
  CHECK(value_at(curve, 0.5, &quality::loss) == 3);
  CHECK(value_at(curve, 1, &quality::loss) == 3);
  CHECK_THAT(value_at(curve, 1.5, &quality::loss).value(), WithinRel(2.5, 1e-12));
  CHECK(value_at(curve, 9, &quality::loss) == 1);
  curve.erase(curve.begin());  // the end alone says nothing of what was before
  CHECK_FALSE(value_at(curve, 1.5, &quality::loss));
  CHECK(value_at(curve, 3, &quality::loss).value() == 1);
}

TEST_CASE("A spread has an error from two seeds on", "[unit]") {
  CHECK(spread_of({2}).mean == 2);
  CHECK_FALSE(spread_of({2}).standard_error);
  CHECK(spread_of({1, 3}).mean == 2);
  CHECK_THAT(spread_of({1, 3}).standard_error.value(), WithinRel(1.0, 1e-12));
}

TEST_CASE("Plans are all samplers at all budgets and references on the ladder", "[unit]") {
  importance_settings s;
  s.samplers = {"uniform", "loss-table"};
  s.seeds = 2;
  s.seed = 7;
  s.ladder = {0.5, 2};
  s.budgets = {0.75, 1};
  s.learning_rates = {0.001, 0.002};
  const auto plans = plan_runs(s);
  CHECK(plans.size() == 2 * 2 * (4 + 2));
  CHECK(std::is_sorted(plans.begin(), plans.end(),
                       [](const auto& a, const auto& b) { return a.scale > b.scale; }));
  const auto planned = [&](const run_plan& p) { return std::count(plans.begin(), plans.end(), p); };
  for (const run_plan& p : plans) CHECK(planned(p) == 1);
  CHECK(planned({"uniform", 8, 0.5, 0.001}) == 1);
  CHECK(planned({"loss-table", 7, 0.75, 0.002}) == 1);
  CHECK(planned({"loss-table", 7, 2, 0.002}) == 0);
  // the samplers of one budget lie next to each other
  for (std::size_t i = 0; i + 1 < plans.size(); ++i)
    if (plans[i].scale == 1 && i % 2 == 0 && plans[i + 1].scale == 1)
      CHECK(plans[i].sampler != plans[i + 1].sampler);
  s.references = {"loss-table"};
  CHECK(plan_runs(s).size() == plans.size());
  s.samplers = {"uniform"};  // nothing to compare it with
  s.references = {"uniform"};
  CHECK(plan_runs(s).size() == 2 * 2 * 2);
}

TEST_CASE("Time ratios are read off a reference's runs", "[unit]") {
  importance_settings s;
  s.samplers = {"uniform", "fast", "slow", "far"};
  s.ladder = {1, 2};
  s.seeds = 2;
  s.learning_rates = {0.002};
  std::vector<run_result> results;
  for (std::uint64_t seed : {1U, 2U}) {
    const double off = seed == 1 ? 0.01 : -0.01;
    results.push_back(made_up("uniform", seed, 1, 10, 0.5 + off));
    results.push_back(made_up("uniform", seed, 2, 20, 0.3 + off));
    results.push_back(made_up("fast", seed, 1, 10, 0.4));
    results.push_back(made_up("slow", seed, 1, 40, 0.3));
    results.push_back(made_up("far", seed, 1, 10, seed == 1 ? 0.1 : 0.2));
  }
  results.back().has_gate = true;
  results.back().gate_open_fraction = 0.5;
  const std::vector<measure> measures{loss_measure, accuracy_measure};
  const auto summaries = summarize(s, measures, pick_rates(s, measures, results));
  REQUIRE(summaries.size() == 5);
  const cell_summary &at_one = summaries[0], &fast = summaries[2], &slow = summaries[3],
                     &far = summaries[4];
  CHECK(at_one.sampler == "uniform");
  CHECK(at_one.scale == 1);
  CHECK(summaries[1].scale == 2);
  for (std::size_t m = 0; m < 2; ++m) {  // accuracy is 1 - loss: the same costs and ratios
    CAPTURE(m);
    const auto ratio = [&](const cell_summary& of) {
      REQUIRE(of.measures[m].against.size() == 1);
      CHECK(of.measures[m].against[0].reference == "uniform");
      return of.measures[m].against[0];
    };
    CHECK_THAT(ratio(at_one).time->value, WithinRel(1.0, 1e-9));
    CHECK_THAT(ratio(at_one).cost->value, WithinRel(1.0, 1e-9));
    const comparison f = ratio(fast);
    CHECK_THAT(f.time->value, WithinRel(std::sqrt(2.0), 1e-9));
    CHECK(f.time->is == time_ratio::kind::exact);
    // a draw of one seed twice moves uniform's curve by 0.01 either way
    CHECK_THAT(f.time->likely->least, WithinRel(std::pow(2.0, 0.45), 1e-9));
    CHECK_THAT(f.time->likely->most, WithinRel(std::pow(2.0, 0.55), 1e-9));
    CHECK_THAT(f.cost->value, WithinRel(0.8, 1e-9));
    CHECK_THAT(f.cost->likely->least, WithinRel(0.4 / 0.51, 1e-9));
    CHECK_THAT(f.cost->likely->most, WithinRel(0.4 / 0.49, 1e-9));
    CHECK(f.cost->standard_error.value() > 0.005);  // about 0.8 * 0.01 / 0.5 / sqrt(2)
    CHECK(f.cost->standard_error.value() < 0.02);
    CHECK_THAT(ratio(slow).time->value, WithinRel(0.5, 1e-9));
    CHECK(std::isinf(ratio(slow).time->likely->most));  // one draw is beyond the last rung
    CHECK(ratio(far).time->is == time_ratio::kind::at_least);
    CHECK(std::isinf(ratio(far).time->likely->most));
    CHECK_THAT(ratio(far).time->value, WithinRel(2.0, 1e-9));
    CHECK_THAT(ratio(far).cost->value, WithinRel(0.3, 1e-9));
  }
  CHECK_THAT(far.measures[0].final_value.mean, WithinRel(0.15, 1e-9));
  CHECK_THAT(far.measures[0].final_value.standard_error.value(), WithinRel(0.05, 1e-9));
  CHECK_THAT(at_one.overhead.mean, WithinRel(0.1, 1e-9));
  CHECK(at_one.examples.mean == 100);
  // the fastest took 10 seconds, a quarter of the slow one's: its curve had not begun
  CHECK(slow.measures[0].at_equal_time->mean == 0);
  CHECK_FALSE(at_one.gate_open);
  CHECK(far.gate_open.has_value());

  SECTION("seeds that are paired cancel out") {
    for (run_result& r : results)
      if (r.plan.sampler == "fast")
        r.curve.back().test.loss = 0.8 * (r.plan.seed == 1 ? 0.51 : 0.49);
    const auto paired = summarize(s, {loss_measure}, pick_rates(s, measures, results));
    const cost_ratio c = paired[2].measures[0].against[0].cost.value();
    CHECK_THAT(c.likely->least, WithinRel(0.8, 1e-9));
    CHECK_THAT(c.likely->most, WithinRel(0.8, 1e-9));
  }
  SECTION("times are drawn with their seeds") {
    for (run_result& r : results)
      if (r.plan.sampler == "slow") r.seconds = r.plan.seed == 1 ? 20 : 60;
    const auto drawn = summarize(s, {loss_measure}, pick_rates(s, measures, results));
    const time_ratio t = drawn[3].measures[0].against[0].time.value();
    CHECK_THAT(t.value, WithinRel(0.5, 1e-9));
    // uniform takes 20 for 0.3, or at 0.31 and 0.29 a little off it
    CHECK_THAT(t.likely->least, WithinRel(20.0 / 60 * std::pow(2.0, -0.05), 1e-9));
    CHECK(std::isinf(t.likely->most));
  }
  SECTION("one seed has no interval") {
    s.seeds = 1;
    std::erase_if(results, [](const run_result& r) { return r.plan.seed == 2; });
    for (const cell_summary& c : summarize(s, measures, pick_rates(s, measures, results))) {
      CHECK_FALSE(c.measures[0].against[0].time->likely);
      if (c.scale == 1) CHECK_FALSE(c.measures[0].against[0].cost->likely);
    }
  }
  SECTION("without a reference there are none, and a single budget is no curve") {
    s.samplers = {"fast", "slow"};
    for (const auto& summary : summarize(s, measures, pick_rates(s, measures, results)))
      CHECK(summary.measures[0].against.empty());
    s.references = {"slow"};
    s.ladder.clear();
    for (const auto& summary : summarize(s, measures, pick_rates(s, measures, results))) {
      REQUIRE(summary.measures[0].against.size() == 1);
      CHECK_FALSE(summary.measures[0].against[0].time);
      CHECK(summary.measures[0].against[0].cost);
    }
  }
}

TEST_CASE("A slow run moves no time, and rates are picked by the validation rows", "[unit]") {
  importance_settings s;
  s.samplers = {"uniform"};
  s.seeds = 2;
  s.learning_rates = {0.002, 0.004, 0.008};
  std::vector<run_result> results;
  for (const double rate : s.learning_rates) {
    for (std::uint64_t seed : {1U, 2U}) {
      run_result r = made_up("uniform", seed, 1, 11, rate == 0.002 ? 0.1 : 0.5);
      r.plan.learning_rate = rate;
      r.construction_seconds = 1;
      r.validation.loss = rate == 0.004 ? 0.3 : 0.4;  // the test rows would say 0.002
      results.push_back(r);
    }
  }
  results[2].seconds = 101;  // of the rate that wins
  results[4].diverged = true;
  results[4].validation.loss = 0;
  const auto cells = pick_rates(s, {loss_measure}, results);
  REQUIRE(cells.size() == 1);
  CHECK(cells[0].learning_rate == 0.004);
  CHECK_THAT(cells[0].seconds, WithinRel(11.0, 1e-9));
  for (run_result& r : results) r.diverged = true;
  CHECK_THROWS_AS(pick_rates(s, {loss_measure}, results), training_diverged);
}

TEST_CASE("Intervals by bootstrap cover as often as they say", "[stat]") {
  constexpr std::size_t n = 30, turns = 1000;
  skim::random_engine g(skim::seed{11});
  const seed_bootstrap seeds(n);
  std::uint64_t covered = 0;
  for (std::size_t t = 0; t < turns; ++t) {
    std::vector<double> values(n);
    for (double& v : values) v = skim::normal(g);
    const auto means =
        seeds.resample([&](std::size_t, auto chosen) { return mean_of(values, chosen); });
    const interval i = middle_of(means);
    covered += i.least <= 0 && 0 <= i.most ? 1 : 0;
  }
  // The bootstrap takes the deviation with denominator n for the true one and 1.96 for Student's
  // quantile; 2000 draws move the ends by 0.0035 of probability, which is allowed for.
  const double wanted = 1 - skim_test::student_tails(1.96 * std::sqrt((n - 1.0) / n), n - 1.0);
  skim_test::check_proportion_at_least(covered, turns, wanted - 0.01);
  skim_test::check_proportion_at_most(covered, turns, wanted + 0.01);
}

TEST_CASE("A stream hands out every row once", "[unit]") {
  const small_data data;
  auto s = data.settings();
  s.stream = true;
  s.pool = 2;
  const problem p = load_problem(s);
  stream_source source(p, skim::seed{3});
  block_buffer block;
  std::multiset<std::pair<float, float>> seen, wanted;
  std::size_t blocks = 0;
  CHECK(source.passed() == 0);
  while (source.next(70, block)) {
    ++blocks;
    REQUIRE(block.rows == 70);
    REQUIRE(block.labels.size() == 70);
    CHECK(block.view().rows() == 70);
    for (std::size_t i = 0; i < 70; ++i)
      seen.insert({block.dense_view().row(i)[0], block.dense_view().row(i)[1]});
  }
  CHECK(blocks == 8);  // the 40 rows left make no block
  CHECK_THAT(source.passed(), WithinRel(560.0 / 600, 1e-12));
  REQUIRE(source.next(40, block));
  CHECK(source.passed() == 1);
  for (std::size_t i = 0; i < 40; ++i)
    seen.insert({block.dense_view().row(i)[0], block.dense_view().row(i)[1]});
  for (std::size_t i = 0; i < p.train.rows; ++i)
    wanted.insert({p.train.dense_view().row(i)[0], p.train.dense_view().row(i)[1]});
  CHECK(seen == wanted);
  CHECK_FALSE(source.next(1, block));
}

TEST_CASE("Streams of sparse and dense rows are the same", "[unit]") {
  const small_data data;
  auto s = data.settings();
  s.stream = true;
  problem dense = load_problem(s);
  problem sparse = dense;
  const dataset loaded =
      load_dataset(data.folder().write("same.svm", libsvm_text(dense.train)), load_options{});
  sparse.train = loaded;
  REQUIRE(sparse.train.is_sparse());
  stream_source a(dense, skim::seed{5}), b(sparse, skim::seed{5});
  block_buffer x, y;
  while (a.next(100, x)) {
    REQUIRE(b.next(100, y));
    REQUIRE(y.is_sparse);
    CHECK(x.labels == y.labels);
    for (std::size_t i = 0; i < 100; ++i) {
      std::vector<float> row(2);
      const auto from = y.sparse_view().row(i);
      for (std::size_t k = 0; k < from.indices.size(); ++k) row[from.indices[k]] = from.values[k];
      CHECK_THAT(row[0], WithinAbs(x.dense_view().row(i)[0], 1e-5));
      CHECK_THAT(row[1], WithinAbs(x.dense_view().row(i)[1], 1e-5));
    }
  }
  CHECK_FALSE(b.next(100, y));
}

TEST_CASE("Equal seeds give equal figures on any number of threads", "[unit]") {
  for (const bool numbers : {false, true}) {
    const small_data data(numbers);
    for (const bool stream : {false, true}) {
      auto s = data.settings();
      s.stream = stream;
      if (stream) s.epochs = 1;
      if (stream) s.pool = 2;
      if (stream) s.budgets = {0.5, 1};
      s.learning_rates = {0.002, 0.01};
      s.validation = 0.15;
      const problem p = load_problem(s);
      CHECK(p.is_regression() == numbers);
      CHECK(p.validation.rows > 80);
      CHECK(p.validation.rows + p.train.rows == 600);
      const auto measures = measures_of(p);
      std::vector<json> reports;
      for (const std::size_t threads : {1U, 3U}) {
        s.threads = threads;
        double last = 0;
        const auto results = run_all(p, s, plan_runs(s), [&](double done) {
          CHECK(done >= last);
          last = done;
        });
        CHECK_THAT(last, WithinRel(1.0, 1e-9));
        const std::string file = data.folder().path("report.json");
        const auto cells = pick_rates(s, measures, results);
        write_figures(file, p, s, measures, results, summarize(s, measures, cells));
        const json report = json::parse(data.folder().read("report.json"));
        for (const json& run : report["runs"]) {
          for (const char* key :
               {"sampler", "seed", "curve", "final", "validation", "sampling_overhead_fraction"})
            CHECK(run.contains(key));
          CHECK(run["curve"].size() == 4);
          for (const json& point : run["curve"])
            for (const char* key :
                 {"seconds", "examples", "test_loss", numbers ? "test_rmse" : "test_accuracy"})
              CHECK(point.contains(key));
          CHECK(run["curve"].back()["test_loss"] == run["final"]["test_loss"]);
        }
        CHECK(report["summary"].size() == 2 * s.budgets.size());
        CHECK(report["ladder"].size() == (stream ? 0 : 1));
        for (const json& row : report["summary"])
          for (const char* key : {"sampler", "time_to_target_ratio",
                                  numbers ? "rmse_at_equal_time" : "accuracy_at_equal_time"})
            CHECK(row.contains(key));
        reports.push_back(timeless(report));
      }
      CHECK(reports[0] == reports[1]);
    }
  }
}

TEST_CASE("Training learns", "[unit]") {
  const small_data data;
  auto s = data.settings();
  s.samplers.assign(catalogue_samplers.begin(), catalogue_samplers.end());
  s.epochs = 20;
  s.learning_rates = {0.01};
  s.ladder = {1};
  s.seeds = 1;
  const problem p = load_problem(s);
  for (const run_result& r : run_all(p, s, plan_runs(s), [](double) {})) {
    CAPTURE(r.plan.sampler);
    CHECK(r.final_quality().accuracy > 0.8);
    CHECK(r.final_quality().loss < 0.5);
    CHECK(r.steps == 750);  // 20 * 600 / 16
    CHECK(r.construction_seconds > 0);
    CHECK(r.construction_seconds < r.sampling_seconds);
    CHECK(r.overhead() > 0);
    CHECK(r.overhead() < 1);
  }
}

TEST_CASE("A loss that is not finite ends the comparison", "[unit]") {
  const small_data data;
  auto s = data.settings();
  s.learning_rates = {1e30};
  const problem p = load_problem(s);
  for (const std::size_t threads : {1U, 2U}) {
    s.threads = threads;
    std::string message;
    try {
      (void)run_all(p, s, plan_runs(s), [](double) {});
    } catch (const training_diverged& e) {
      message = e.what();
    }
    CHECK_THAT(message, ContainsSubstring("the loss is not finite after"));
  }
  SECTION("unless there is another rate") {
    auto both = s;
    both.learning_rates = {1e30, 0.01};
    both.validation = 0.1;
    const problem held = load_problem(both);
    const auto results = run_all(held, both, plan_runs(both), [](double) {});
    for (const cell& c : pick_rates(both, measures_of(held), results))
      CHECK(c.learning_rate == 0.01);
    const std::string file = data.folder().path("diverged.json");
    const auto measures = measures_of(held);
    write_figures(file, held, both, measures, results,
                  summarize(both, measures, pick_rates(both, measures, results)));
    const json report = json::parse(data.folder().read("diverged.json"));
    const auto& runs = report["runs"];
    CHECK(std::count_if(runs.begin(), runs.end(),
                        [](const json& r) { return r.contains("diverged"); }) == 6);
  }
}

TEST_CASE("A budget of steps takes so many", "[unit]") {
  const small_data data;
  auto s = data.settings();
  s.samplers = {"uniform"};
  s.epochs.reset();
  s.steps = 7;
  s.budgets = {0.5, 1};
  s.seeds = 1;
  const problem p = load_problem(s);
  for (const run_result& r : run_all(p, s, plan_runs(s), [](double) {}))
    CHECK(r.steps == (r.plan.scale == 1 ? 7 : 4));
}

TEST_CASE("Rows are held out by class, the same for all seeds", "[unit]") {
  const small_data data;
  auto s = data.settings();
  s.test.clear();
  s.holdout = 0.25;
  s.validation = 0.2;
  const problem p = load_problem(s);
  CHECK_THAT(static_cast<double>(p.test.rows), WithinAbs(150, 2));  // rounded by class
  CHECK_THAT(static_cast<double>(p.validation.rows), WithinAbs(90, 2));
  CHECK(p.train.rows + p.validation.rows + p.test.rows == 600);
  const auto share = [](const dataset& d, skim::label_t c) {
    return static_cast<double>(std::count(d.labels.begin(), d.labels.end(), c)) /
           static_cast<double>(d.rows);
  };
  for (const skim::label_t c : {0U, 1U, 2U}) {
    CHECK_THAT(share(p.test, c), WithinAbs(share(p.train, c), 0.01));
    CHECK_THAT(share(p.validation, c), WithinAbs(share(p.train, c), 0.01));
  }
  s.seed = 77;
  CHECK(load_problem(s).validation.dense == p.validation.dense);
  CHECK(load_problem(s).test.dense == p.test.dense);
}

TEST_CASE("Data that cannot be trained on are refused", "[unit]") {
  const small_data data;
  const auto refusal = [](const importance_settings& s) -> std::string {
    try {
      (void)load_problem(s);
    } catch (const data_error& e) {
      return e.what();
    }
    return "(no error)";
  };
  auto s = data.settings();
  s.batch = 601;
  CHECK_THAT(refusal(s), ContainsSubstring("600 rows, wanted at least 601"));
  s = data.settings();
  s.stream = true;
  s.pool = 50;
  CHECK_THAT(refusal(s), ContainsSubstring("600 rows, wanted at least 800 for a first choice"));
  s = data.settings();
  s.train = data.folder().write("one.csv", "1,2,0\n2,3,0\n");
  s.test = s.train;
  s.batch = 1;
  CHECK_THAT(refusal(s), ContainsSubstring("one class only"));
}
