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
  r.plan = {std::move(sampler), seed, scale};
  quality q;
  q.loss = loss;
  q.accuracy = 1 - loss;
  r.curve = {{seconds / 2, 50, {}}, {seconds, 100, q}};
  r.seconds = seconds;
  r.sampling_seconds = seconds / 10;
  return r;
}

const measure loss_measure{"test_loss", "test loss", &quality::loss, true, 4, 1};
const measure accuracy_measure{"test_accuracy", "accuracy %", &quality::accuracy, false, 2, 100};

// Everything in a report that does not depend on the clock.
json timeless(json value) {
  if (value.is_object()) {
    for (const char* key :
         {"seconds", "sampling_seconds", "sampling_overhead_fraction", "time_to_target_ratio",
          "time_ratio", "at_equal_time", "accuracy_at_equal_time", "rmse_at_equal_time",
          "peak_memory_bytes", "threads"})
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
  CHECK_THAT(balanced_accuracy(view, labels), WithinAbs((2.0 / 3 + 1) / 2, 1e-12));
  CHECK(balanced_accuracy({std::span<const float>(), 0, 3}, {}) == 0);
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
  CHECK_THAT(value_at(curve, 1.5, &quality::loss), WithinRel(2.5, 1e-12));
  CHECK(value_at(curve, 9, &quality::loss) == 1);
}

TEST_CASE("A spread has an error from two seeds on", "[unit]") {
  CHECK(spread_of({2}).mean == 2);
  CHECK_FALSE(spread_of({2}).standard_error);
  CHECK(spread_of({1, 3}).mean == 2);
  CHECK_THAT(spread_of({1, 3}).standard_error.value(), WithinRel(1.0, 1e-12));
}

TEST_CASE("Plans are the samplers at full budget and uniform on the ladder", "[unit]") {
  importance_settings s;
  s.samplers = {"uniform", "loss-table"};
  s.seeds = 2;
  s.seed = 7;
  s.ladder = {0.5, 1, 2};
  const auto plans = plan_runs(s);
  CHECK(plans.size() == 8);
  CHECK(std::is_sorted(plans.begin(), plans.end(),
                       [](const auto& a, const auto& b) { return a.scale > b.scale; }));
  std::set<std::string> seen;
  for (const run_plan& p : plans)
    seen.insert(p.sampler + " " + std::to_string(p.seed) + " " + std::to_string(p.scale));
  CHECK(seen.size() == 8);
  CHECK(seen.count("uniform 8 0.500000") == 1);
  CHECK(seen.count("loss-table 7 1.000000") == 1);
  CHECK(seen.count("loss-table 7 2.000000") == 0);
  s.samplers = {"uniform"};  // nothing to compare it with
  CHECK(plan_runs(s).size() == 2);
}

TEST_CASE("Time ratios are read off the uniform runs", "[unit]") {
  importance_settings s;
  s.samplers = {"uniform", "fast", "slow", "far"};
  s.ladder = {1, 2};
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
  const auto summaries = summarize(s, {loss_measure, accuracy_measure}, results);
  REQUIRE(summaries.size() == 4);
  for (std::size_t m = 0; m < 2; ++m) {  // accuracy is 1 - loss: the same ratios
    const time_ratio uniform = summaries[0].measures[m].time.value();
    CHECK_THAT(uniform.value, WithinRel(1.0, 1e-9));
    const time_ratio fast = summaries[1].measures[m].time.value();
    CHECK_THAT(fast.value, WithinRel(std::sqrt(2.0), 1e-9));
    // uniform's standard error of 0.01 either way
    CHECK_THAT(fast.least, WithinRel(std::pow(2.0, 0.45), 1e-9));
    CHECK_THAT(fast.most, WithinRel(std::pow(2.0, 0.55), 1e-9));
    CHECK(fast.is == time_ratio::kind::exact);
    const time_ratio slow = summaries[2].measures[m].time.value();
    CHECK_THAT(slow.value, WithinRel(0.5, 1e-9));
    CHECK(std::isinf(slow.most));  // one error better is beyond the last rung
    CHECK(uniform.least == 0);     // and one error worse before the first
    const time_ratio far = summaries[3].measures[m].time.value();
    CHECK(far.is == time_ratio::kind::at_least);
    CHECK(std::isinf(far.most));
    CHECK_THAT(far.value, WithinRel(2.0, 1e-9));
  }
  CHECK_THAT(summaries[3].measures[0].final_value.mean, WithinRel(0.15, 1e-9));
  CHECK_THAT(summaries[3].measures[0].final_value.standard_error.value(), WithinRel(0.05, 1e-9));
  CHECK_THAT(summaries[0].overhead.mean, WithinRel(0.1, 1e-9));
  CHECK(summaries[0].examples.mean == 100);
  // the fastest took 10 seconds, a quarter of the slow one's: its curve had not begun
  CHECK(summaries[2].measures[0].at_equal_time.mean == 0);
  CHECK_FALSE(summaries[0].gate_open);
  CHECK(summaries[3].gate_open.has_value());

  SECTION("without uniform runs there are none") {
    s.samplers = {"fast", "slow"};
    for (const auto& summary : summarize(s, {loss_measure}, results))
      CHECK(summary.measures[0].time.has_value());  // the runs are there all the same
    std::erase_if(results, [](const run_result& r) { return r.plan.sampler == "uniform"; });
    for (const auto& summary : summarize(s, {loss_measure}, results))
      CHECK_FALSE(summary.measures[0].time);
  }
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
      const problem p = load_problem(s);
      CHECK(p.is_regression() == numbers);
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
        write_figures(file, p, s, measures, results, summarize(s, measures, results));
        const json report = json::parse(data.folder().read("report.json"));
        for (const json& run : report["runs"]) {
          for (const char* key :
               {"sampler", "seed", "curve", "final", "sampling_overhead_fraction"})
            CHECK(run.contains(key));
          CHECK(run["curve"].size() == 4);
          for (const json& point : run["curve"])
            for (const char* key :
                 {"seconds", "examples", "test_loss", numbers ? "test_rmse" : "test_accuracy"})
              CHECK(point.contains(key));
          CHECK(run["curve"].back()["test_loss"] == run["final"]["test_loss"]);
        }
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
  s.learning_rate = 0.01;
  s.ladder = {1};
  s.seeds = 1;
  const problem p = load_problem(s);
  for (const run_result& r : run_all(p, s, plan_runs(s), [](double) {})) {
    CAPTURE(r.plan.sampler);
    CHECK(r.final_quality().accuracy > 0.8);
    CHECK(r.final_quality().loss < 0.5);
    CHECK(r.steps == 750);  // 20 * 600 / 16
    CHECK(r.overhead() > 0);
    CHECK(r.overhead() < 1);
  }
}

TEST_CASE("A loss that is not finite ends the comparison", "[unit]") {
  const small_data data;
  auto s = data.settings();
  s.learning_rate = 1e30;
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
