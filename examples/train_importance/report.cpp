// SPDX-License-Identifier: Apache-2.0
#include "train_importance/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "common/json.hpp"
#include "common/plot.hpp"
#include "common/report.hpp"

namespace skim_examples {
namespace {

constexpr std::size_t shown_measures = 2;  // of measures_of, in tables and charts

/// "1.32x (1.10-1.60)", or a bound such as ">2x".
std::string shown(const std::optional<time_ratio>& r, const spread& quality) {
  if (!r) return "-";
  if (r->is == time_ratio::kind::at_least) return ">" + significant(r->value, 3) + "x";
  if (r->is == time_ratio::kind::at_most) return "<" + significant(r->value, 3) + "x";
  const std::string value = fixed(r->value, 2) + "x";
  if (!quality.standard_error) return value;
  const bool above = r->least > 0, below = std::isfinite(r->most);
  if (!above && !below) return value + " (unsure)";
  if (!above) return value + " (to " + fixed(r->most, 2) + ")";
  if (!below) return value + " (from " + fixed(r->least, 2) + ")";
  return value + " (" + fixed(r->least, 2) + "-" + fixed(r->most, 2) + ")";
}

std::string shown(const spread& s, int decimals, double unit = 1) {
  const auto number = [&](double x) {
    x *= unit;
    return std::abs(x) < 1e6 ? fixed(x, decimals) : significant(x, 3);
  };
  return number(s.mean) + (s.standard_error ? " ± " + number(*s.standard_error) : "");
}

json to_json(const quality& q, const problem& p) {
  json out;
  out["test_loss"] = q.loss;
  if (p.is_regression()) {
    out["test_rmse"] = q.rmse;
    return out;
  }
  out["test_accuracy"] = q.accuracy;
  out["test_balanced_accuracy"] = q.balanced_accuracy;
  if (p.classes() == 2) out["test_auc"] = q.auc;
  return out;
}

json to_json(const spread& s) {
  return {{"mean", s.mean},
          {"standard_error", s.standard_error ? json(*s.standard_error) : json()}};
}

json to_json(const std::optional<time_ratio>& r) {
  if (!r) return nullptr;
  constexpr const char* kinds[] = {"exact", "at_least", "at_most"};
  return {{"value", r->value},
          {"least", r->least},
          {"most", r->most},
          {"is", kinds[static_cast<std::size_t>(r->is)]}};
}

json to_json(const run_result& r, const problem& p) {
  json out;
  out["sampler"] = r.plan.sampler;
  out["seed"] = r.plan.seed;
  out["budget"] = r.plan.scale;
  out["curve"] = json::array();
  for (const curve_point& point : r.curve) {
    json at = {{"seconds", point.seconds}, {"examples", point.examples}};
    at.update(to_json(point.test, p));
    out["curve"].push_back(std::move(at));
  }
  out["final"] = to_json(r.final_quality(), p);
  out["seconds"] = r.seconds;
  out["steps"] = r.steps;
  out["examples_seen"] = r.examples_seen;
  out["sampling_seconds"] = r.sampling_seconds;
  out["sampling_overhead_fraction"] = r.overhead();
  if (r.has_gate)
    out["gate"] = {{"open_fraction", r.gate_open_fraction},
                   {"checks", r.gate_checks},
                   {"last_lift", r.last_lift}};
  return out;
}

json to_json(const importance_settings& s, const problem& p) {
  json out;
  out["data"] = p.endless ? "rare-event stream of " + s.dataset : p.train.name;
  out["task"] = p.is_regression() ? "regression" : "classification";
  out["stream"] = p.stream;
  if (p.endless)
    out["rare"] = {{"class", p.endless->params().rare},
                   {"among", p.endless->params().others},
                   {"fraction", p.endless->params().rare_fraction}};
  out["inputs"] = p.inputs();
  out["outputs"] = p.outputs();
  out["train_examples"] = p.endless ? json() : json(p.train.rows);
  out["test_examples"] = p.test.rows;
  out["samplers"] = s.samplers;
  out["budget"] = s.epochs ? json{{"epochs", *s.epochs}} : json{{"cpu_seconds", s.seconds}};
  out["ladder"] = s.ladder;
  out["seeds"] = s.seeds;
  out["seed"] = s.seed;
  out["batch"] = s.batch;
  out["hidden"] = s.hidden;
  out["optimizer"] = "adam";
  out["learning_rate"] = s.learning_rate;
  out["schedule"] = "linear decay to zero over the budget";
  out["beta"] = s.beta;
  out["pool"] = s.pool;
  out["gate"] = s.gate == skim::gate_mode::open ? "open" : "automatic";
  out["threads"] = s.threads;
  return out;
}

json to_json(const problem& p, const importance_settings& settings,
             const std::vector<measure>& measures, const std::vector<run_result>& runs,
             const std::vector<sampler_summary>& summaries) {
  json out;
  out["settings"] = to_json(settings, p);
  out["units"] = {
      {"seconds", "processor seconds of one thread, without evaluation"},
      {"time_to_target_ratio",
       "processor time uniform sampling takes for the sampler's final quality, over the sampler's "
       "own"},
      {"at_equal_time", "after the processor time of the fastest sampler's runs"}};
  out["runs"] = json::array();
  for (const run_result& r : runs) out["runs"].push_back(to_json(r, p));
  out["summary"] = json::array();
  for (const sampler_summary& s : summaries) {
    json row;
    row["sampler"] = s.sampler;
    const measure_summary& target = s.measures.front();
    row["target"] = measures.front().key;
    row["time_to_target_ratio"] = target.time ? json(target.time->value) : json();
    for (std::size_t m = 0; m < measures.size(); ++m) {
      const std::string key(measures[m].key);
      const measure_summary& value = s.measures[m];
      if (key == "test_accuracy" || key == "test_rmse")
        row[key.substr(5) + "_at_equal_time"] = value.at_equal_time.mean;
      row["final"][key] = to_json(value.final_value);
      row["at_equal_time"][key] = to_json(value.at_equal_time);
      row["time_ratio"][key] = to_json(value.time);
    }
    row["seconds"] = to_json(s.seconds);
    row["sampling_overhead_fraction"] = to_json(s.overhead);
    row["examples"] = to_json(s.examples);
    if (s.gate_open) row["gate_open_fraction"] = to_json(*s.gate_open);
    out["summary"].push_back(std::move(row));
  }
  out["peak_memory_bytes"] = peak_memory_bytes();
  return out;
}

plot_figure figure_of(const std::string& title, const importance_settings& settings,
                      const std::vector<measure>& measures, const std::vector<run_result>& runs) {
  plot_figure figure;
  figure.title = title;
  for (std::size_t m = 0; m < shown_measures; ++m) {
    plot_panel panel;
    panel.x.label = "processor seconds";
    panel.y.label = measures[m].title;
    if (measures[m].lower_is_better) panel.y.scale = axis_scale::logarithmic;
    for (const std::string& sampler : settings.samplers) {
      std::map<std::size_t, std::pair<std::vector<double>, std::vector<double>>> at;
      for (const run_result& r : runs) {
        if (r.plan.sampler != sampler || r.plan.scale != 1) continue;
        for (std::size_t i = 0; i < r.curve.size(); ++i) {
          at[i].first.push_back(r.curve[i].seconds);
          at[i].second.push_back(r.curve[i].test.*measures[m].value * measures[m].unit);
        }
      }
      plot_series series{sampler, {}, {}};
      for (const auto& [i, values] : at) {
        const spread y = spread_of(values.second);
        series.x.push_back(spread_of(values.first).mean);
        series.y.push_back(y.mean);
        if (!y.standard_error) continue;
        series.lo.push_back(y.mean - *y.standard_error);
        series.hi.push_back(y.mean + *y.standard_error);
      }
      panel.series.push_back(std::move(series));
    }
    figure.panels.push_back(std::move(panel));
  }
  return figure;
}

}  // namespace

text_table table_of(const importance_settings& settings, const std::vector<measure>& measures,
                    const std::vector<sampler_summary>& summaries) {
  std::vector<std::string> header{"sampler"};
  for (std::size_t m = 0; m < shown_measures; ++m) {
    header.emplace_back(measures[m].title);
    header.emplace_back("speed to equal");
  }
  header.emplace_back("examples");
  if (settings.epochs) header.emplace_back("seconds");
  header.emplace_back("sampling %");
  text_table table(std::move(header));
  for (const sampler_summary& s : summaries) {
    std::vector<std::string> row{s.sampler};
    for (std::size_t m = 0; m < shown_measures; ++m) {
      const spread& value = s.measures[m].final_value;
      row.push_back(shown(value, measures[m].decimals, measures[m].unit));
      row.push_back(s.sampler == "uniform" ? "1x" : shown(s.measures[m].time, value));
    }
    row.push_back(grouped(static_cast<std::size_t>(s.examples.mean)));
    if (settings.epochs) row.push_back(significant(s.seconds.mean, 3));
    row.push_back(fixed(s.overhead.mean * 100, 1));
    table.add(std::move(row));
  }
  return table;
}

namespace {

std::string verdict(const sampler_summary& s, std::string_view measure) {
  const time_ratio& r = *s.measures.front().time;
  const std::string target = " than uniform to the same " + std::string(measure);
  if (r.least > 1) return s.sampler + ": faster" + target + ", beyond one standard error.\n";
  if (r.most < 1) return s.sampler + ": slower" + target + ", beyond one standard error.\n";
  return s.sampler + ": neither faster nor slower" + target + ", within one standard error.\n";
}

// Whether uniform runs were better with clearly less than the full budget, as where they overfit.
bool gets_worse(const std::vector<sampler_summary>& summaries) {
  return std::any_of(summaries.begin(), summaries.end(), [](const sampler_summary& s) {
    return s.sampler == "uniform" && s.measures.front().time->value < 0.9;
  });
}

}  // namespace

std::string reading_of(const problem& p, const importance_settings& settings,
                       const std::vector<measure>& measures,
                       const std::vector<sampler_summary>& summaries) {
  std::string text =
      "sampling %: part of the processor time that goes into choosing batches, hashing included";
  text += p.endless ? ", the making\n  of the stream's examples not.\n" : ".\n";
  if (p.stream && !p.endless)
    text +=
        "examples: trained on; all samplers see the same stream, those that choose pass most of it "
        "over.\n";
  if (summaries.front().measures.front().time && summaries.size() > 1) {
    text +=
        "speed to equal: processor time in which uniform sampling gets as good, over the "
        "sampler's own";
    text += settings.seeds > 1 ? "\n  (in brackets: one standard error of the difference off).\n\n"
                               : ".\n\n";
    if (settings.seeds == 1) text += "One seed says nothing about differences: try --seeds 5.\n";
    if (gets_worse(summaries)) {
      text += "More time made uniform's " + std::string(measures.front().title) +
              " worse: speeds to it say little here.\n";
    } else if (settings.seeds > 1) {
      for (const sampler_summary& s : summaries)
        if (s.sampler != "uniform") text += verdict(s, measures.front().title);
    }
  }
  for (const sampler_summary& s : summaries) {
    if (!s.gate_open || settings.gate == skim::gate_mode::open) continue;
    text += "The gate of " + s.sampler + " let it choose in " + fixed(100 * s.gate_open->mean, 0) +
            " % of the steps" + (s.gate_open->mean < 0.5 ? ": it found little to gain.\n" : ".\n");
  }
  // What a constant guess of the mean, or of all classes alike, would have.
  const double guess = p.is_regression() ? 0.5 : std::log(static_cast<double>(p.classes()));
  std::string lost;
  for (const sampler_summary& s : summaries) {
    for (std::size_t m = 0; m < measures.size(); ++m) {
      if (measures[m].key == "test_loss" && s.measures[m].final_value.mean > guess)
        lost += (lost.empty() ? "" : ", ") + s.sampler;
    }
  }
  if (!lost.empty())
    text += "Worse than guessing: " + lost + ". Try another --learning-rate or a longer run.\n";
  return text;
}

void write_figures(const std::string& path, const problem& p, const importance_settings& settings,
                   const std::vector<measure>& measures, const std::vector<run_result>& runs,
                   const std::vector<sampler_summary>& summaries) {
  write_json(path, to_json(p, settings, measures, runs, summaries));
}

void draw_curves(const std::string& path, const std::string& title,
                 const importance_settings& settings, const std::vector<measure>& measures,
                 const std::vector<run_result>& runs) {
  write_svg(path, figure_of(title, settings, measures, runs));
}

}  // namespace skim_examples
