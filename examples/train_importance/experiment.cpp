// SPDX-License-Identifier: Apache-2.0
#include "train_importance/experiment.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include "skim/core/executor.hpp"
#include "skim/core/moments.hpp"
#include "train_importance/budget_curve.hpp"

namespace skim_examples {

std::vector<measure> measures_of(const problem& p) {
  const measure loss{"test_loss", "test loss", &quality::loss, true, 4, 1};
  if (p.is_regression()) return {{"test_rmse", "test RMSE", &quality::rmse, true, 4, 1}, loss};
  const measure accuracy{"test_accuracy", "accuracy %", &quality::accuracy, false, 2, 100};
  const measure balanced{
      "test_balanced_accuracy", "balanced %", &quality::balanced_accuracy, false, 2, 100};
  const measure rare{"test_rare_recall", "rare recall %", &quality::rare_recall, false, 1, 100};
  if (p.classes() > 2) return {loss, accuracy, balanced, rare};
  return {loss, {"test_auc", "AUC", &quality::auc, false, 4, 1}, accuracy, balanced, rare};
}

spread spread_of(const std::vector<double>& values) {
  skim::running_moments m;
  for (const double v : values) m.insert(v);
  spread s{m.mean(), {}};
  if (values.size() > 1) s.standard_error = m.standard_error();
  return s;
}

namespace {

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::set<double> budgets_of(const importance_settings& s, const std::string& sampler) {
  std::set<double> budgets(s.budgets.begin(), s.budgets.end());
  if (s.samplers.size() > 1 && contains(s.references, sampler))
    budgets.insert(s.ladder.begin(), s.ladder.end());
  return budgets;
}

}  // namespace

std::vector<run_plan> plan_runs(const importance_settings& settings) {
  std::vector<run_plan> plans;
  for (std::size_t k = 0; k < settings.seeds; ++k)
    for (const double rate : settings.learning_rates)
      for (const std::string& sampler : settings.samplers)
        for (const double scale : budgets_of(settings, sampler))
          plans.push_back({sampler, settings.seed + k, scale, rate});
  std::stable_sort(plans.begin(), plans.end(),
                   [](const run_plan& a, const run_plan& b) { return a.scale > b.scale; });
  return plans;
}

std::vector<run_result> run_all(const problem& p, const importance_settings& settings,
                                const std::vector<run_plan>& plans,
                                const std::function<void(double)>& report) {
  std::vector<run_result> results(plans.size());
  std::vector<double> done(plans.size());
  double total = 0;
  for (const run_plan& plan : plans) total += plan.scale;
  std::mutex reporting;
  bool failed = false;  // guarded by reporting
  const auto note = [&](std::size_t i, double part) {
    const std::lock_guard lock(reporting);
    if (failed) throw std::runtime_error("another run failed");  // that one's error is passed on
    done[i] = std::min(part, 1.0) * plans[i].scale;
    report(std::accumulate(done.begin(), done.end(), 0.0) / total);
  };
  const auto run = [&](std::size_t i) {
    try {
      return run_training(p, settings, plans[i], [&](double part) { note(i, part); });
    } catch (const training_diverged&) {
      if (settings.learning_rates.size() == 1) throw;
    }
    note(i, 1);
    run_result r;
    r.plan = plans[i];
    r.diverged = true;
    return r;
  };
  skim::thread_executor pool(std::min(settings.threads, plans.size()));
  pool.parallel_for(plans.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      try {
        results[i] = run(i);
      } catch (...) {
        const std::lock_guard lock(reporting);
        failed = true;
        throw;
      }
    }
  });
  return results;
}

std::optional<double> value_at(const std::vector<curve_point>& curve, double seconds,
                               double quality::*value) {
  const auto after = std::find_if(curve.begin(), curve.end(),
                                  [&](const curve_point& p) { return p.seconds >= seconds; });
  if (after == curve.end()) return curve.back().test.*value;
  if (curve.size() == 1 && after->seconds > seconds) return std::nullopt;
  if (after == curve.begin()) return after->test.*value;
  const auto before = after - 1;
  const double part = (seconds - before->seconds) / (after->seconds - before->seconds);
  return std::lerp(before->test.*value, after->test.*value, part);
}

namespace {

template <class Get>
std::vector<double> by_seed(const cell& c, Get get) {
  std::vector<double> values;
  for (const run_result* r : c.runs) values.push_back(get(*r));
  return values;
}

template <class Get>
spread over_seeds(const cell& c, Get get) {
  return spread_of(by_seed(c, get));
}

// Pre: there are values.
double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace

double steady_seconds(const cell& c, std::span<const std::size_t> seeds) {
  std::vector<double> making, step;
  double steps = 0;
  for (const std::size_t seed : seeds) {
    steps += static_cast<double>(c.runs[seed]->steps) / static_cast<double>(seeds.size());
    for (const run_result* r : c.timed[seed]) {
      making.push_back(r->construction_seconds);
      step.push_back(r->step_seconds());
    }
  }
  return median(std::move(making)) + steps * median(std::move(step));
}

std::vector<cell> pick_rates(const importance_settings& settings,
                             const std::vector<measure>& measures,
                             const std::vector<run_result>& results) {
  std::vector<cell> cells;
  for (const std::string& sampler : settings.samplers) {
    for (const double scale : budgets_of(settings, sampler)) {
      std::vector<const run_result*> all;
      for (const run_result& r : results)
        if (r.plan.sampler == sampler && r.plan.scale == scale) all.push_back(&r);
      std::stable_sort(all.begin(), all.end(), [](const run_result* a, const run_result* b) {
        return a->plan.seed < b->plan.seed;
      });
      std::optional<cell> best;
      double least = std::numeric_limits<double>::infinity();
      for (const double rate : settings.learning_rates) {
        cell c{sampler, scale, rate, {}, {}, 0};
        for (const run_result* r : all)
          if (r->plan.learning_rate == rate) c.runs.push_back(r);
        if (std::any_of(c.runs.begin(), c.runs.end(), [](auto* r) { return r->diverged; }))
          continue;
        const double cost =
            settings.learning_rates.size() == 1 ? 0 : over_seeds(c, [&](const run_result& r) {
                                                        return r.validation.*measures.front().value;
                                                      }).mean;
        if (best && cost >= least) continue;
        least = cost;
        best = std::move(c);
      }
      if (!best)
        throw training_diverged(sampler + ": the loss is not finite with any of the rates");
      for (const run_result* chosen : best->runs) {
        best->timed.emplace_back();
        for (const run_result* r : all)
          if (r->plan.seed == chosen->plan.seed && !r->diverged) best->timed.back().push_back(r);
      }
      std::vector<std::size_t> every(best->runs.size());
      std::iota(every.begin(), every.end(), std::size_t{0});
      best->seconds = steady_seconds(*best, every);
      cells.push_back(std::move(*best));
    }
  }
  return cells;
}

namespace {

// Times of each cell, one a draw of seeds.
using drawn_times = std::vector<std::vector<double>>;

// What a reference's runs of all budgets say about one measure; others are compared with it.
class reference_curve {
 public:
  reference_curve(std::string sampler, const measure& m, const std::vector<cell>& cells,
                  const seed_bootstrap& seeds, const drawn_times& times)
      : sampler_(std::move(sampler)), measure_(m), cells_(cells), seeds_(seeds), times_(times) {
    for (const cell& c : cells) costs_.push_back(costs(c));
    for (std::size_t i = 0; i < cells.size(); ++i)
      if (cells[i].sampler == sampler_) points_.push_back(i);
  }

  [[nodiscard]] comparison compare(std::size_t i) const {
    comparison out{sampler_, {}, {}};
    for (const std::size_t p : points_)
      if (cells_[p].scale == cells_[i].scale) out.cost = ratio_of_costs(costs_[i], costs_[p]);
    if (points_.size() > 1) out.time = ratio_of_times(i);
    return out;
  }

 private:
  [[nodiscard]] std::vector<double> costs(const cell& c) const {
    return by_seed(
        c, [&](const run_result& r) { return measure_.cost(r.final_quality().*measure_.value); });
  }

  [[nodiscard]] cost_ratio ratio_of_costs(const std::vector<double>& own,
                                          const std::vector<double>& other) const {
    const auto ratio = [](double a, double b) {
      if (b > 0) return a / b;
      return a > 0 ? std::numeric_limits<double>::infinity() : 1.0;
    };
    cost_ratio out;
    out.value = ratio(spread_of(own).mean, spread_of(other).mean);
    if (own.size() == 1) return out;
    const std::vector<double> values =
        seeds_.resample([&](std::size_t, std::span<const std::size_t> chosen) {
          return ratio(mean_of(own, chosen), mean_of(other, chosen));
        });
    out.likely = middle_of(values);
    skim::running_moments m;
    for (const double v : values) {
      if (!std::isfinite(v)) return out;
      m.insert(v);
    }
    out.standard_error = std::sqrt(m.variance());
    return out;
  }

  // The curve of means and times that the functions make of each cell's.
  template <class Time, class Mean>
  [[nodiscard]] budget_curve curve_of(Time time, Mean mean) const {
    std::vector<budget_curve::point> points;
    for (const std::size_t p : points_) points.push_back({time(p), mean(costs_[p])});
    return budget_curve(std::move(points));
  }

  [[nodiscard]] time_ratio ratio_of_times(std::size_t i) const {
    const auto mean = [](const std::vector<double>& costs) { return spread_of(costs).mean; };
    const auto time = [&](std::size_t p) { return cells_[p].seconds; };
    const budget_curve curve = curve_of(time, mean);
    const double reached = mean(costs_[i]);
    time_ratio out;
    out.value = curve.budget_for(reached) / time(i);
    if (curve.is_beyond(reached)) out.is = time_ratio::kind::at_least;
    if (curve.is_before(reached)) out.is = time_ratio::kind::at_most;
    if (costs_[i].size() == 1) return out;
    // Of a draw whose quality the reference does not reach, the ends know a bound each.
    std::vector<double> least(seed_bootstrap::resamples);
    std::vector<double> most =
        seeds_.resample([&](std::size_t draw, std::span<const std::size_t> chosen) {
          const auto of = [&](const std::vector<double>& costs) { return mean_of(costs, chosen); };
          const auto at = [&](std::size_t p) { return times_[p][draw]; };
          const budget_curve drawn = curve_of(at, of);
          const double cost = of(costs_[i]);
          const double ratio = drawn.budget_for(cost) / at(i);
          least[draw] = drawn.is_before(cost) ? 0 : ratio;
          return drawn.is_beyond(cost) ? std::numeric_limits<double>::infinity() : ratio;
        });
    out.likely = interval{middle_of(std::move(least)).least, middle_of(std::move(most)).most};
    return out;
  }

  std::string sampler_;
  const measure& measure_;
  const std::vector<cell>& cells_;
  const seed_bootstrap& seeds_;
  const drawn_times& times_;
  std::vector<std::vector<double>> costs_;  // of each cell, by seed
  std::vector<std::size_t> points_;         // cells of the reference
};

measure_summary summarize_measure(const cell& c, const measure& m, double equal_time) {
  measure_summary out;
  out.final_value = over_seeds(c, [&](const run_result& r) { return r.final_quality().*m.value; });
  std::vector<double> then;
  for (const run_result* r : c.runs)
    if (const auto v = value_at(r->curve, equal_time, m.value)) then.push_back(*v);
  if (then.size() == c.runs.size()) out.at_equal_time = spread_of(then);
  return out;
}

}  // namespace

std::vector<cell_summary> summarize(const importance_settings& settings,
                                    const std::vector<measure>& measures,
                                    const std::vector<cell>& cells) {
  std::vector<std::string> references;
  for (const std::string& name : settings.samplers)
    if (contains(settings.references, name) || name == "class-stratified")
      references.push_back(name);
  if (!settings.references.empty())
    std::stable_partition(references.begin(), references.end(), [&](const std::string& name) {
      return name == settings.references.front();
    });
  const seed_bootstrap seeds(settings.seeds);
  const auto fastest = [&](double scale) {
    double least = std::numeric_limits<double>::infinity();
    for (const cell& c : cells)
      if (c.scale == scale) least = std::min(least, c.seconds);
    return least;
  };
  std::vector<cell_summary> summaries;
  for (const cell& c : cells) {
    const auto mean = [&](auto get) { return over_seeds(c, get); };
    cell_summary s;
    s.sampler = c.sampler;
    s.scale = c.scale;
    s.learning_rate = c.learning_rate;
    if (settings.validation > 0)
      s.validation =
          mean([&](const run_result& r) { return r.validation.*measures.front().value; });
    s.seconds = c.seconds;
    s.overhead = mean([](const run_result& r) { return r.overhead(); });
    s.examples =
        mean([](const run_result& r) { return static_cast<double>(r.curve.back().examples); });
    s.steps = mean([](const run_result& r) { return static_cast<double>(r.steps); });
    if (std::any_of(c.runs.begin(), c.runs.end(), [](auto* r) { return r->has_gate; }))
      s.gate_open = mean([](const run_result& r) { return r.gate_open_fraction; });
    for (const measure& m : measures)
      s.measures.push_back(summarize_measure(c, m, fastest(c.scale)));
    summaries.push_back(std::move(s));
  }
  drawn_times times;
  for (const cell& c : cells)
    times.push_back(seeds.resample([&](std::size_t, std::span<const std::size_t> chosen) {
      return steady_seconds(c, chosen);
    }));
  for (std::size_t m = 0; m < measures.size(); ++m) {
    for (const std::string& reference : references) {
      const reference_curve curve(reference, measures[m], cells, seeds, times);
      for (std::size_t i = 0; i < cells.size(); ++i)
        summaries[i].measures[m].against.push_back(curve.compare(i));
    }
  }
  return summaries;
}

}  // namespace skim_examples
