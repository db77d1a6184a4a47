// SPDX-License-Identifier: Apache-2.0
#include "importance_report/tables.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "common/table.hpp"

namespace skim_examples {
namespace {

class markdown_table {
 public:
  explicit markdown_table(const std::vector<std::string>& header) {
    add(header);
    text_ += "|";
    for (std::size_t i = 0; i < header.size(); ++i) text_ += i < 2 ? "---|" : "---:|";
    text_ += "\n";
  }
  void add(const std::vector<std::string>& cells) {
    text_ += "|";
    for (const std::string& cell : cells) text_ += " " + cell + " |";
    text_ += "\n";
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// "**2.1**": bold where all of the interval is above 1, in italics where it is below.
std::string marked_speed(const against& a) {
  if (!a.time) return "-";
  std::string value = fixed(a.time->value, 2);
  if (a.bound != ' ') value = a.bound + value;
  if (!a.time->likely) return value;
  if (a.time->likely->first > 1) value = "**" + value + "**";
  if (a.time->likely->second < 1) value = "*" + value + "*";
  return value;
}

// "**2.1** (1.6-2.9)"
std::string shown_speed(const against& a) {
  std::string value = marked_speed(a);
  if (!a.time || !a.time->likely) return value;
  const auto [least, most] = *a.time->likely;
  if (least > 0 && std::isfinite(most))
    return value + " (" + fixed(least, 2) + "-" + fixed(most, 2) + ")";
  if (least > 0) return value + " (from " + fixed(least, 2) + ")";
  return std::isfinite(most) ? value + " (to " + fixed(most, 2) + ")" : value + " (unsure)";
}

std::string shown_cost(const against& a) {
  if (!a.cost) return "-";
  std::string value = fixed(a.cost->value, 3);
  if (a.cost->likely && a.cost->likely->second < 1) value = "**" + value + "**";
  if (a.cost->likely && a.cost->likely->first > 1) value = "*" + value + "*";
  return std::isfinite(a.cost_error) ? value + " ± " + fixed(a.cost_error, 3) : value;
}

std::string shown_value(const outcome& o, const outcome_cell& c, std::size_t m) {
  const measured& value = c.measures[m];
  const bool share = o.is_share(m) && o.measures[m] != "test_auc";
  const double unit = share ? 100 : 1;
  const auto number = [&](double x) {
    return share ? fixed(x * unit, 2) : significant(x, x < 0.1 ? 3 : 4);
  };
  return number(value.mean) + (value.standard_error
                                   ? " ± " + (share ? fixed(*value.standard_error * unit, 2)
                                                    : significant(*value.standard_error, 2))
                                   : "");
}

using cell_text = std::function<std::string(const outcome&, const outcome_cell&)>;

// A row for each report and budget, a column for each sampler.
std::string by_sampler(const std::vector<outcome>& outcomes, const std::vector<std::string>& names,
                       const cell_text& text) {
  std::vector<std::string> header{"set", "network", "budget"};
  header.insert(header.end(), names.begin(), names.end());
  markdown_table table(header);
  for (const outcome& o : outcomes) {
    for (const double budget : o.budgets) {
      std::vector<std::string> row{o.name, o.network, o.title_of_budget(budget)};
      for (const std::string& name : names) {
        const outcome_cell* const c = o.cell(name, budget);
        row.push_back(c == nullptr ? "" : text(o, *c));
      }
      const bool empty =
          std::all_of(row.begin() + 3, row.end(), [](const auto& cell) { return cell.empty(); });
      if (!empty) table.add(row);
    }
  }
  return table.text();
}

std::vector<std::string> without(std::vector<std::string> names, const std::string& one) {
  std::erase(names, one);
  return names;
}

// A row for each report: speeds to equal loss and to equal error with its largest budget.
std::string in_short(const std::vector<outcome>& outcomes, const std::vector<std::string>& names,
                     const std::string& reference) {
  std::vector<std::string> header{"set"};
  header.insert(header.end(), names.begin(), names.end());
  markdown_table table(header);
  for (const outcome& o : outcomes) {
    std::vector<std::string> row{o.name};
    for (const std::string& name : names) {
      const outcome_cell* const c = o.cell(name, o.budgets.back());
      const against* const loss = c == nullptr ? nullptr : c->measures.front().with(reference);
      const against* const error =
          c == nullptr || !o.error ? nullptr : c->measures[*o.error].with(reference);
      row.push_back(loss == nullptr ? ""
                                    : marked_speed(*loss) +
                                          (error == nullptr ? "" : " / " + marked_speed(*error)));
    }
    if (std::all_of(row.begin() + 1, row.end(), [](const auto& cell) { return cell.empty(); }))
      continue;
    table.add(row);
  }
  return table.text();
}

// How a sampler fared over all sets with their largest budget.
std::string overall(const std::vector<outcome>& outcomes, const std::vector<std::string>& names,
                    const std::string& reference) {
  markdown_table table(
      {"sampler", "sets", "geometric mean", "worst", "faster than 1", "slower than 1"});
  for (const std::string& name : names) {
    double logs = 0, worst = std::numeric_limits<double>::infinity();
    std::size_t count = 0, faster = 0, slower = 0;
    std::string worst_set;
    for (const outcome& o : outcomes) {
      const outcome_cell* const c = o.cell(name, o.budgets.back());
      const against* const a = c == nullptr ? nullptr : c->measures.front().with(reference);
      if (a == nullptr || !a->time) continue;
      ++count;
      logs += std::log(a->time->value);
      if (a->time->value < worst) worst_set = o.name;
      worst = std::min(worst, a->time->value);
      if (!a->time->likely) continue;
      faster += a->time->likely->first > 1 ? 1U : 0U;
      slower += a->time->likely->second < 1 ? 1U : 0U;
    }
    if (count == 0) continue;
    table.add({name, std::to_string(count), fixed(std::exp(logs / static_cast<double>(count)), 2),
               fixed(worst, 2) + " (" + worst_set + ")", std::to_string(faster),
               std::to_string(slower)});
  }
  return table.text();
}

std::string final_values(const std::vector<outcome>& outcomes) {
  markdown_table table({"set", "sampler", "rate", "loss or RMSE", "1 - AUC or error", "accuracy %",
                        "balanced %", "rare recall %", "seconds", "sampling %", "gate open %"});
  for (const outcome& o : outcomes) {
    const auto value = [&](const outcome_cell& c, const std::string& key) -> std::string {
      const auto at = std::find(o.measures.begin(), o.measures.end(), key);
      if (at == o.measures.end()) return "";
      return shown_value(o, c, static_cast<std::size_t>(at - o.measures.begin()));
    };
    for (const std::string& name : o.samplers) {
      const outcome_cell* const c = o.cell(name, o.budgets.back());
      if (c == nullptr) continue;
      table.add({o.name, name, significant(c->learning_rate, 3), shown_value(o, *c, 0),
                 o.error ? significant(1 - c->measures[*o.error].mean, 3) : "",
                 value(*c, "test_accuracy"), value(*c, "test_balanced_accuracy"),
                 value(*c, "test_rare_recall"), significant(c->seconds, 3),
                 fixed(c->overhead * 100, 1), c->gate_open ? fixed(*c->gate_open * 100, 0) : ""});
    }
  }
  return table.text();
}

std::string section(const std::string& title, const std::string& text, const std::string& table) {
  return "\n## " + title + "\n\n" + text + "\n\n" + table;
}

}  // namespace

std::vector<std::string> sampler_names(const std::vector<outcome>& outcomes) {
  const auto all = std::max_element(
      outcomes.begin(), outcomes.end(),
      [](const outcome& a, const outcome& b) { return a.samplers.size() < b.samplers.size(); });
  std::vector<std::string> names = all->samplers;
  for (const outcome& o : outcomes)
    for (const std::string& name : o.samplers)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  return names;
}

std::string markdown_of(const std::vector<outcome>& outcomes) {
  const std::vector<std::string> names = sampler_names(outcomes);
  std::vector<std::string> references;
  for (const outcome& o : outcomes)
    for (const std::string& name : o.references)
      if (std::find(references.begin(), references.end(), name) == references.end())
        references.push_back(name);
  std::size_t fewest = outcomes.front().seeds, most = fewest;
  for (const outcome& o : outcomes) {
    fewest = std::min(fewest, o.seeds);
    most = std::max(most, o.seeds);
  }
  std::string out = "# Samplers of training examples compared\n\n";
  out += std::to_string(outcomes.size()) + " settings, " + std::to_string(fewest) +
         (most > fewest ? " to " + std::to_string(most) : "") +
         " seeds each. Every budget has runs of its own, with a learning rate that falls to\n"
         "zero at its end; where there are several rates, every sampler picked its own on "
         "validation rows. Time is\nprocessor time of one thread: steps times the median time of a "
         "step, all costs of sampling included. In\nbrackets: 95 %, by bootstrap over the seeds; "
         "bold is better and italics are worse than 1 by all of it. `>` and\n`<` are bounds: the "
         "quality lies outside what the reference reached with any of its budgets.\n";
  const auto speed = [](const std::string& reference, bool of_error) {
    return [=](const outcome& o, const outcome_cell& c) -> std::string {
      if (of_error && !o.error) return "";
      const against* const a = c.measures[of_error ? *o.error : 0].with(reference);
      return a == nullptr ? "" : shown_speed(*a);
    };
  };
  for (const std::string& reference : references) {
    const auto others = without(names, reference);
    if (others.empty()) continue;
    if (reference == references.front())
      out += section(
          "In short",
          "Speed to equal loss / to equal error with the largest budget, " + reference + " = 1.",
          in_short(outcomes, others, reference));
    out += section("Speed to equal loss, " + reference + " = 1",
                   "Time in which " + reference +
                       " reaches the sampler's final test loss (regression: RMSE), over the "
                       "sampler's own.",
                   by_sampler(outcomes, others, speed(reference, false)));
    out += section("Over all sets with the largest budget, " + reference + " = 1",
                   "Bounds count as their value.", overall(outcomes, others, reference));
    if (reference != references.front()) continue;
    out += section("Speed to equal error, " + reference + " = 1",
                   "Of 1 - AUC with two classes, else of 1 - accuracy.",
                   by_sampler(outcomes, others, speed(reference, true)));
    out += section("Loss with equal budgets, over that of " + reference,
                   "With the standard error of the ratio, by bootstrap over the seeds.",
                   by_sampler(outcomes, others, [&](const outcome&, const outcome_cell& c) {
                     const against* const a = c.measures.front().with(reference);
                     return a == nullptr ? std::string() : shown_cost(*a);
                   }));
  }
  const std::string first = names.front();
  out += section("Time of a step, over that of " + first, "Making the sampler included.",
                 by_sampler(outcomes, without(names, first),
                            [&](const outcome& o, const outcome_cell& c) -> std::string {
                              const outcome_cell* const other = o.cell(first, c.budget);
                              if (other == nullptr || c.steps == 0 || other->seconds == 0)
                                return "";
                              return fixed(c.seconds / c.steps * other->steps / other->seconds, 3);
                            }));
  out += section("What was reached with the largest budget", "Means and standard errors.",
                 final_values(outcomes));
  return out;
}

}  // namespace skim_examples
