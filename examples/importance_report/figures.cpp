// SPDX-License-Identifier: Apache-2.0
#include "importance_report/figures.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "importance_report/tables.hpp"

namespace skim_examples {
namespace {

// What is better when lower; errors in percent.
double cost_of(const outcome& o, std::size_t m, double value) {
  return o.is_share(m) ? 100 * (1 - value) : value;
}

plot_panel curves_panel(const outcome& o, std::size_t m) {
  plot_panel panel;
  panel.x = {.label = "processor seconds", .scale = axis_scale::logarithmic};
  panel.y = {.label = o.title_of(m) + (o.is_share(m) ? " (%)" : ""),
             .scale = axis_scale::logarithmic};
  for (const std::string& name : o.samplers) {
    std::vector<const outcome_cell*> cells;
    for (const outcome_cell& c : o.cells)
      if (c.sampler == name) cells.push_back(&c);
    std::sort(cells.begin(), cells.end(),
              [](const auto* a, const auto* b) { return a->seconds < b->seconds; });
    plot_series series{name, {}, {}};
    for (const outcome_cell* c : cells) {
      const measured& value = c->measures[m];
      series.x.push_back(c->seconds);
      series.y.push_back(cost_of(o, m, value.mean));
      if (!value.standard_error) continue;
      const double off = *value.standard_error * (o.is_share(m) ? 100 : 1);
      series.lo.push_back(series.y.back() - off);
      series.hi.push_back(series.y.back() + off);
    }
    panel.series.push_back(std::move(series));
  }
  return panel;
}

plot_panel speeds_panel(const std::vector<outcome>& outcomes, const std::string& reference,
                        bool of_error) {
  constexpr double least = 0.25, most = 8;  // what is drawn; beyond it is at the edge
  plot_panel panel;
  panel.kind = panel_kind::intervals;
  panel.title = of_error ? "to equal error" : "to equal loss";
  panel.x = {.label = "times faster than " + reference,
             .scale = axis_scale::logarithmic,
             .least = least,
             .most = most,
             .names = {},
             .mark = 1};
  for (const outcome& o : outcomes) panel.y.names.push_back(o.name);
  auto names = sampler_names(outcomes);
  std::erase(names, reference);
  for (std::size_t s = 0; s < names.size(); ++s) {
    plot_series series{names[s], {}, {}};
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      const outcome& o = outcomes[i];
      const outcome_cell* const c = o.cell(names[s], o.budgets.back());
      if (c == nullptr || (of_error && !o.error)) continue;
      const against* const a = c->measures[of_error ? *o.error : 0].with(reference);
      if (a == nullptr || !a->time) continue;
      const auto inside = [&](double x) { return std::clamp(x, least, most); };
      const double step = 0.8 / static_cast<double>(names.size());
      series.x.push_back(inside(a->time->value));
      series.y.push_back(
          static_cast<double>(i) +
          step * (static_cast<double>(s) - (static_cast<double>(names.size()) - 1) / 2));
      const auto ends = a->time->likely.value_or(std::pair(a->time->value, a->time->value));
      series.lo.push_back(inside(ends.first));
      series.hi.push_back(inside(ends.second));
    }
    panel.series.push_back(std::move(series));
  }
  return panel;
}

}  // namespace

plot_figure curves_of(const outcome& o) {
  plot_figure figure;
  figure.title = o.name + ", network " + o.network;
  figure.panels.push_back(curves_panel(o, 0));
  if (o.error) figure.panels.push_back(curves_panel(o, *o.error));
  figure.panel_width = 460;
  figure.panel_height = 360;
  return figure;
}

plot_figure speeds_of(const std::vector<outcome>& outcomes, const std::string& reference) {
  plot_figure figure;
  figure.title = "Processor time " + reference + " takes for the same quality, over the sampler's";
  figure.panels = {speeds_panel(outcomes, reference, false),
                   speeds_panel(outcomes, reference, true)};
  figure.panel_width = 520;
  const std::size_t lines =
      outcomes.size() * std::max<std::size_t>(3, sampler_names(outcomes).size());
  figure.panel_height = 90 + 9 * lines;
  return figure;
}

}  // namespace skim_examples
