// SPDX-License-Identifier: Apache-2.0
#include "train_importance/experiment.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
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
  if (p.classes() == 2) return {loss, {"test_auc", "AUC", &quality::auc, false, 4, 1}, accuracy};
  return {loss, accuracy};
}

spread spread_of(const std::vector<double>& values) {
  skim::running_moments m;
  for (const double v : values) m.insert(v);
  spread s{m.mean(), {}};
  if (values.size() > 1) s.standard_error = m.standard_error();
  return s;
}

std::vector<run_plan> plan_runs(const importance_settings& settings) {
  std::vector<run_plan> plans;
  for (std::size_t k = 0; k < settings.seeds; ++k) {
    for (const std::string& sampler : settings.samplers) {
      const bool laddered = sampler == "uniform" && settings.samplers.size() > 1;
      const std::vector<double> rungs = laddered ? settings.ladder : std::vector<double>{1};
      for (const double scale : rungs) plans.push_back({sampler, settings.seed + k, scale});
    }
  }
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
  skim::thread_executor pool(std::min(settings.threads, plans.size()));
  pool.parallel_for(plans.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      try {
        results[i] = run_training(p, settings, plans[i], [&](double part) { note(i, part); });
      } catch (...) {
        const std::lock_guard lock(reporting);
        failed = true;
        throw;
      }
    }
  });
  return results;
}

double value_at(const std::vector<curve_point>& curve, double seconds, double quality::*value) {
  const auto after = std::find_if(curve.begin(), curve.end(),
                                  [&](const curve_point& p) { return p.seconds >= seconds; });
  if (after == curve.end()) return curve.back().test.*value;
  if (after == curve.begin()) return after->test.*value;
  const auto before = after - 1;
  const double part = (seconds - before->seconds) / (after->seconds - before->seconds);
  return std::lerp(before->test.*value, after->test.*value, part);
}

namespace {

// The mean over the seeds of what `get` reads off the runs of one plan; nothing without such runs.
template <class Get>
std::optional<spread> over_seeds(const std::vector<run_result>& results, std::string_view sampler,
                                 double scale, Get get) {
  std::vector<double> values;
  for (const run_result& r : results)
    if (r.plan.sampler == sampler && r.plan.scale == scale) values.push_back(get(r));
  if (values.empty()) return std::nullopt;
  return spread_of(values);
}

// What the uniform runs of all budgets say about one measure.
class uniform_reference {
 public:
  uniform_reference(const importance_settings& settings, const measure& m,
                    const std::vector<run_result>& results)
      : sign_(m.lower_is_better ? 1 : -1) {
    std::vector<budget_curve::point> points;
    for (const double scale : settings.ladder) {
      const auto value = over_seeds(results, "uniform", scale, [&](const run_result& r) {
        return r.final_quality().*m.value;
      });
      if (!value) continue;
      const auto seconds =
          over_seeds(results, "uniform", scale, [](const run_result& r) { return r.seconds; });
      points.push_back({seconds->mean, sign_ * value->mean});
      if (scale == 1) error_ = value->standard_error.value_or(0);
    }
    if (!points.empty()) curve_.emplace(std::move(points));
  }

  [[nodiscard]] std::optional<time_ratio> ratio(const spread& quality, double seconds) const {
    if (!curve_) return std::nullopt;
    const double value = sign_ * quality.mean;
    const double error = std::hypot(quality.standard_error.value_or(0), error_);
    time_ratio r;
    r.value = curve_->budget_for(value) / seconds;
    if (!curve_->is_before(value + error)) r.least = curve_->budget_for(value + error) / seconds;
    if (!curve_->is_beyond(value - error)) r.most = curve_->budget_for(value - error) / seconds;
    if (curve_->is_beyond(value)) r.is = time_ratio::kind::at_least;
    if (curve_->is_before(value)) r.is = time_ratio::kind::at_most;
    return r;
  }

 private:
  double sign_, error_ = 0;
  std::optional<budget_curve> curve_;
};

}  // namespace

std::vector<sampler_summary> summarize(const importance_settings& settings,
                                       const std::vector<measure>& measures,
                                       const std::vector<run_result>& results) {
  std::vector<sampler_summary> summaries;
  double fastest = std::numeric_limits<double>::infinity();
  for (const std::string& sampler : settings.samplers) {
    const auto mean = [&](auto get) { return over_seeds(results, sampler, 1, get).value(); };
    sampler_summary s;
    s.sampler = sampler;
    s.seconds = mean([](const run_result& r) { return r.seconds; });
    s.overhead = mean([](const run_result& r) { return r.overhead(); });
    s.examples =
        mean([](const run_result& r) { return static_cast<double>(r.curve.back().examples); });
    const bool gated = std::any_of(results.begin(), results.end(), [&](const run_result& r) {
      return r.plan.sampler == sampler && r.has_gate;
    });
    if (gated) s.gate_open = mean([](const run_result& r) { return r.gate_open_fraction; });
    fastest = std::min(fastest, s.seconds.mean);
    summaries.push_back(std::move(s));
  }
  for (const measure& m : measures) {
    const uniform_reference uniform(settings, m, results);
    for (sampler_summary& s : summaries) {
      const auto mean = [&](auto get) { return over_seeds(results, s.sampler, 1, get).value(); };
      measure_summary out;
      out.final_value = mean([&](const run_result& r) { return r.final_quality().*m.value; });
      out.at_equal_time =
          mean([&](const run_result& r) { return value_at(r.curve, fastest, m.value); });
      out.time = uniform.ratio(out.final_value, s.seconds.mean);
      s.measures.push_back(out);
    }
  }
  return summaries;
}

}  // namespace skim_examples
