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
std::string shown(const std::optional<time_ratio>& r) {
  if (!r) return "-";
  if (r->is == time_ratio::kind::at_least) return ">" + significant(r->value, 3) + "x";
  if (r->is == time_ratio::kind::at_most) return "<" + significant(r->value, 3) + "x";
  const std::string value = fixed(r->value, 2) + "x";
  if (!r->likely) return value;
  const bool above = r->likely->least > 0, below = std::isfinite(r->likely->most);
  if (!above && !below) return value + " (unsure)";
  if (!above) return value + " (to " + fixed(r->likely->most, 2) + ")";
  if (!below) return value + " (from " + fixed(r->likely->least, 2) + ")";
  return value + " (" + fixed(r->likely->least, 2) + "-" + fixed(r->likely->most, 2) + ")";
}

std::string shown(const spread& s, int decimals, double unit = 1) {
  const auto number = [&](double x) {
    x *= unit;
    return std::abs(x) < 1e6 ? fixed(x, decimals) : significant(x, 3);
  };
  return number(s.mean) + (s.standard_error ? " ± " + number(*s.standard_error) : "");
}

json to_json(const quality& q, const std::vector<measure>& measures) {
  json out;
  for (const measure& m : measures) out[std::string(m.key)] = q.*m.value;
  return out;
}

json to_json(const spread& s) {
  return {{"mean", s.mean},
          {"standard_error", s.standard_error ? json(*s.standard_error) : json()}};
}

// Infinity becomes null when written: no bound.
json to_json(const std::optional<interval>& i) {
  return i ? json{i->least, i->most} : json();
}

json to_json(const cost_ratio& r) {
  return {{"value", r.value},
          {"standard_error", r.standard_error ? json(*r.standard_error) : json()},
          {"interval", to_json(r.likely)}};
}

json to_json(const time_ratio& r) {
  constexpr const char* kinds[] = {"exact", "at_least", "at_most"};
  return {{"value", r.value},
          {"interval", to_json(r.likely)},
          {"is", kinds[static_cast<std::size_t>(r.is)]}};
}

template <class T>
json to_json(const std::optional<T>& x) {
  return x ? to_json(*x) : json();
}

json to_json(const run_result& r, const std::vector<measure>& measures) {
  json out;
  out["sampler"] = r.plan.sampler;
  out["seed"] = r.plan.seed;
  out["budget"] = r.plan.scale;
  out["learning_rate"] = r.plan.learning_rate;
  out["curve"] = json::array();
  for (const curve_point& point : r.curve) {
    json at = {{"seconds", point.seconds}, {"examples", point.examples}};
    at.update(to_json(point.test, measures));
    out["curve"].push_back(std::move(at));
  }
  out["final"] = to_json(r.final_quality(), measures);
  out["seconds"] = r.seconds;
  out["construction_seconds"] = r.construction_seconds;
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
  out["validation_examples"] = p.validation.rows;
  out["test_examples"] = p.test.rows;
  out["samplers"] = s.samplers;
  out["budget"] = s.steps    ? json{{"steps", *s.steps}}
                  : s.epochs ? json{{"epochs", *s.epochs}}
                             : json{{"cpu_seconds", s.seconds}};
  out["budgets"] = s.budgets;
  out["references"] = s.references;
  out["ladder"] = s.ladder;
  out["seeds"] = s.seeds;
  out["seed"] = s.seed;
  out["batch"] = s.batch;
  out["hidden"] = s.hidden;
  out["optimizer"] = "adam";
  out["learning_rates"] = s.learning_rates;
  out["schedule"] = "linear decay to zero over the budget";
  out["beta"] = s.beta ? json(*s.beta) : json("auto");
  out["rehash"] = s.rehash ? json(*s.rehash) : json("auto");
  out["pool"] = s.pool;
  out["gate"] = s.gate == skim::gate_mode::open ? "open" : "automatic";
  out["threads"] = s.threads;
  return out;
}

json to_json(const cell_summary& s, const std::vector<measure>& measures) {
  json row;
  row["sampler"] = s.sampler;
  row["budget"] = s.scale;
  row["learning_rate"] = s.learning_rate;
  if (s.validation) row["validation"] = to_json(*s.validation);
  row["target"] = measures.front().key;
  const auto& against = s.measures.front().against;
  const bool timed = !against.empty() && against.front().time;
  row["time_to_target_ratio"] = timed ? json(against.front().time->value) : json();
  for (std::size_t m = 0; m < measures.size(); ++m) {
    const std::string key(measures[m].key);
    const measure_summary& value = s.measures[m];
    if (key == "test_accuracy" || key == "test_rmse")
      row[key.substr(5) + "_at_equal_time"] =
          value.at_equal_time ? json(value.at_equal_time->mean) : json();
    row["final"][key] = to_json(value.final_value);
    row["at_equal_time"][key] = to_json(value.at_equal_time);
    for (const comparison& c : value.against)
      row["against"][c.reference][key] = {{"cost_ratio", to_json(c.cost)},
                                          {"time_ratio", to_json(c.time)}};
  }
  row["seconds"] = s.seconds;
  row["steps"] = s.steps.mean;
  row["sampling_overhead_fraction"] = to_json(s.overhead);
  row["examples"] = to_json(s.examples);
  if (s.gate_open) row["gate_open_fraction"] = to_json(*s.gate_open);
  return row;
}

bool of_all_samplers(const cell_summary& s, const importance_settings& settings) {
  return std::find(settings.budgets.begin(), settings.budgets.end(), s.scale) !=
         settings.budgets.end();
}

json to_json(const problem& p, const importance_settings& settings,
             const std::vector<measure>& measures, const std::vector<run_result>& runs,
             const std::vector<cell_summary>& summaries) {
  json out;
  out["settings"] = to_json(settings, p);
  out["units"] = {
      {"seconds",
       "processor seconds of one thread, without evaluation; in the summary steps times the median "
       "time of a step over all runs of the sampler and budget, plus that of making the sampler"},
      {"time_to_target_ratio",
       "processor time the first reference takes for the sampler's final quality, over the "
       "sampler's own"},
      {"cost_ratio",
       "value over that of the reference with the same budget; of what is better when higher, of 1 "
       "minus it"},
      {"interval", "95 %, by bootstrap over the seeds; null: no bound"},
      {"at_equal_time", "after the processor time of the fastest sampler with the same budget"}};
  out["runs"] = json::array();
  for (const run_result& r : runs) {
    if (r.diverged)
      out["runs"].push_back({{"sampler", r.plan.sampler},
                             {"seed", r.plan.seed},
                             {"budget", r.plan.scale},
                             {"learning_rate", r.plan.learning_rate},
                             {"diverged", true}});
    else
      out["runs"].push_back(to_json(r, measures));
    if (p.validation.rows > 0 && !r.diverged)
      out["runs"].back()["validation"] = to_json(r.validation, measures);
  }
  out["summary"] = json::array();
  out["ladder"] = json::array();
  for (const cell_summary& s : summaries)
    out[of_all_samplers(s, settings) ? "summary" : "ladder"].push_back(to_json(s, measures));
  out["peak_memory_bytes"] = peak_memory_bytes();
  return out;
}

plot_figure figure_of(const std::string& title, const importance_settings& settings,
                      const std::vector<measure>& measures, const std::vector<cell>& cells) {
  plot_figure figure;
  figure.title = title;
  for (std::size_t m = 0; m < shown_measures; ++m) {
    plot_panel panel;
    panel.x.label = "processor seconds";
    panel.y.label = measures[m].title;
    if (measures[m].lower_is_better) panel.y.scale = axis_scale::logarithmic;
    for (const cell& c : cells) {
      if (c.scale != settings.budgets.back()) continue;
      std::map<std::size_t, std::pair<std::vector<double>, std::vector<double>>> at;
      for (const run_result* r : c.runs) {
        for (std::size_t i = 0; i < r->curve.size(); ++i) {
          at[i].first.push_back(r->curve[i].seconds);
          at[i].second.push_back(r->curve[i].test.*measures[m].value * measures[m].unit);
        }
      }
      plot_series series{c.sampler, {}, {}};
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
                    const std::vector<cell_summary>& summaries) {
  const bool several_budgets = settings.budgets.size() > 1;
  const bool several_rates = settings.learning_rates.size() > 1;
  std::vector<std::string> header{"sampler"};
  if (several_budgets) header.emplace_back("budget");
  if (several_rates) header.emplace_back("rate");
  for (std::size_t m = 0; m < shown_measures; ++m) {
    header.emplace_back(measures[m].title);
    header.emplace_back("speed to equal");
  }
  header.emplace_back("examples");
  if (settings.epochs || settings.steps) header.emplace_back("seconds");
  header.emplace_back("sampling %");
  text_table table(std::move(header));
  for (const cell_summary& s : summaries) {
    if (!of_all_samplers(s, settings)) continue;
    std::vector<std::string> row{s.sampler};
    if (several_budgets) row.push_back(significant(s.scale, 4));
    if (several_rates) row.push_back(significant(s.learning_rate, 4));
    for (std::size_t m = 0; m < shown_measures; ++m) {
      row.push_back(shown(s.measures[m].final_value, measures[m].decimals, measures[m].unit));
      const auto& against = s.measures[m].against;
      const bool itself = !against.empty() && against.front().reference == s.sampler;
      row.push_back(itself ? "1x" : against.empty() ? "-" : shown(against.front().time));
    }
    row.push_back(grouped(static_cast<std::size_t>(s.examples.mean)));
    if (settings.epochs || settings.steps) row.push_back(significant(s.seconds, 3));
    row.push_back(fixed(s.overhead.mean * 100, 1));
    table.add(std::move(row));
  }
  return table;
}

namespace {

// Whether the reference was better with clearly less than the full budget, as where it overfits.
bool gets_worse(const cell_summary& s) {
  const comparison& c = s.measures.front().against.front();
  return c.reference == s.sampler && c.time && c.time->value < 0.9;
}

// "Faster than uniform to the same test loss, by all of the interval: loss-table." and so on, of the
// largest budget, for each reference.
std::string verdicts(const importance_settings& settings, std::string_view measure,
                     const std::vector<cell_summary>& summaries) {
  std::string text;
  const auto& references = summaries.front().measures.front().against;
  for (std::size_t r = 0; r < references.size(); ++r) {
    std::string faster, slower, neither;
    for (const cell_summary& s : summaries) {
      const comparison& c = s.measures.front().against[r];
      if (s.scale != settings.budgets.back() || !c.time || c.reference == s.sampler) continue;
      const interval& likely = *c.time->likely;
      std::string& list = likely.least > 1 ? faster : likely.most < 1 ? slower : neither;
      list += (list.empty() ? "" : ", ") + s.sampler;
    }
    const std::string target =
        " than " + references[r].reference + " to the same " + std::string(measure);
    if (!faster.empty()) text += "Faster" + target + ", by all of the interval: " + faster + ".\n";
    if (!slower.empty()) text += "Slower" + target + ", by all of the interval: " + slower + ".\n";
    if (!neither.empty())
      text += "Not to be told apart from " + references[r].reference + ": " + neither + ".\n";
  }
  return text;
}

}  // namespace

std::string reading_of(const problem& p, const importance_settings& settings,
                       const std::vector<measure>& measures,
                       const std::vector<cell_summary>& summaries) {
  std::string text =
      "sampling %: part of the processor time that goes into choosing batches, hashing included";
  text += p.endless ? ", the making\n  of the stream's examples not.\n" : ".\n";
  if (p.stream && !p.endless)
    text +=
        "examples: trained on; all samplers see the same stream, those that choose pass most of it "
        "over.\n";
  const auto& against = summaries.front().measures.front().against;
  if (!against.empty() && against.front().time) {
    text += "speed to equal: processor time in which " + against.front().reference +
            " gets as good, over the sampler's own";
    text +=
        settings.seeds > 1 ? "\n  (in brackets: 95 %, by bootstrap over the seeds).\n\n" : ".\n\n";
    if (settings.seeds == 1) text += "One seed says nothing about differences: try --seeds 8.\n";
    if (std::any_of(summaries.begin(), summaries.end(), gets_worse))
      text += "More time made the " + std::string(measures.front().title) + " of " +
              against.front().reference + " worse: speeds to it say little here.\n";
    else if (settings.seeds > 1)
      text += verdicts(settings, measures.front().title, summaries);
  }
  for (const cell_summary& s : summaries) {
    if (!s.gate_open || settings.gate == skim::gate_mode::open) continue;
    if (s.scale != settings.budgets.back()) continue;
    text += "The gate of " + s.sampler + " let it choose in " + fixed(100 * s.gate_open->mean, 0) +
            " % of the steps" + (s.gate_open->mean < 0.5 ? ": it found little to gain.\n" : ".\n");
  }
  // What a constant guess of the mean, or of all classes alike, would have.
  const double guess = p.is_regression() ? 0.5 : std::log(static_cast<double>(p.classes()));
  std::string lost;
  for (const cell_summary& s : summaries) {
    if (s.scale != settings.budgets.back()) continue;
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
                   const std::vector<cell_summary>& summaries) {
  write_json(path, to_json(p, settings, measures, runs, summaries));
}

void draw_curves(const std::string& path, const std::string& title,
                 const importance_settings& settings, const std::vector<measure>& measures,
                 const std::vector<cell>& cells) {
  write_svg(path, figure_of(title, settings, measures, cells));
}

}  // namespace skim_examples
