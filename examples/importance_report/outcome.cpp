// SPDX-License-Identifier: Apache-2.0
#include "importance_report/outcome.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "common/json.hpp"
#include "common/table.hpp"
#include "data/error.hpp"

namespace skim_examples {
namespace {

// Ends that are null have no bound.
std::optional<estimated> read_estimate(const json& from) {
  if (from.is_null()) return std::nullopt;
  const json& value = from.at("value");
  constexpr double infinity = std::numeric_limits<double>::infinity();
  estimated e{value.is_null() ? infinity : value.get<double>(), {}};
  const json& ends = from.at("interval");
  if (ends.is_array())
    e.likely.emplace(ends.at(0).is_null() ? 0 : ends.at(0).get<double>(),
                     ends.at(1).is_null() ? infinity : ends.at(1).get<double>());
  return e;
}

against read_comparison(const std::string& reference, const json& from) {
  against a;
  a.reference = reference;
  const json &cost = from.at("cost_ratio"), &time = from.at("time_ratio");
  a.cost = read_estimate(cost);
  if (cost.is_object() && cost.at("standard_error").is_number())
    a.cost_error = cost.at("standard_error").get<double>();
  a.time = read_estimate(time);
  if (time.is_object()) {
    const auto kind = time.at("is").get<std::string>();
    a.bound = kind == "at_least" ? '>' : kind == "at_most" ? '<' : ' ';
  }
  return a;
}

outcome_cell read_cell(const json& row, const std::vector<std::string>& measures, bool of_all) {
  outcome_cell c;
  c.sampler = row.at("sampler").get<std::string>();
  c.budget = row.at("budget").get<double>();
  c.learning_rate = row.at("learning_rate").get<double>();
  c.seconds = row.at("seconds").get<double>();
  c.steps = row.at("steps").get<double>();
  c.overhead = row.at("sampling_overhead_fraction").at("mean").get<double>();
  if (row.contains("gate_open_fraction"))
    c.gate_open = row.at("gate_open_fraction").at("mean").get<double>();
  c.of_all = of_all;
  for (const std::string& key : measures) {
    measured m;
    const json& value = row.at("final").at(key);
    m.mean = value.at("mean").get<double>();
    if (value.at("standard_error").is_number())
      m.standard_error = value.at("standard_error").get<double>();
    if (row.contains("against"))
      for (const auto& [reference, by_measure] : row.at("against").items())
        m.comparisons.push_back(read_comparison(reference, by_measure.at(key)));
    c.measures.push_back(std::move(m));
  }
  return c;
}

outcome read_outcome(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw data_error::in_file(file.string(), "cannot be opened");
  outcome o;
  o.name = file.stem().string();
  try {
    const json report = json::parse(in);
    const json& settings = report.at("settings");
    o.network = std::to_string(settings.at("inputs").get<std::size_t>());
    for (const json& width : settings.at("hidden"))
      o.network += "-" + std::to_string(width.get<std::size_t>());
    o.network += "-" + std::to_string(settings.at("outputs").get<std::size_t>());
    o.seeds = settings.at("seeds").get<std::size_t>();
    o.samplers = settings.at("samplers").get<std::vector<std::string>>();
    o.references = settings.at("references").get<std::vector<std::string>>();
    o.budgets = settings.at("budgets").get<std::vector<double>>();
    const auto unit = settings.at("budget").items().begin();
    o.unit = unit.value().get<double>();
    o.unit_name = unit.key() == "epochs" ? "epochs" : unit.key() == "steps" ? "steps" : "seconds";
    const json& summary = report.at("summary");
    for (const auto& [key, value] : summary.at(0).at("final").items()) o.measures.push_back(key);
    for (const char* key : {"test_auc", "test_accuracy"}) {
      const auto at = std::find(o.measures.begin(), o.measures.end(), key);
      if (o.error || at == o.measures.end()) continue;
      o.error = static_cast<std::size_t>(at - o.measures.begin());
    }
    for (const json& row : summary) o.cells.push_back(read_cell(row, o.measures, true));
    for (const json& row : report.at("ladder"))
      o.cells.push_back(read_cell(row, o.measures, false));
  } catch (const json::exception& e) {
    throw data_error::in_file(file.string(),
                              std::string("is no report of train_importance: ") + e.what());
  }
  if (o.measures.empty() || o.budgets.empty())
    throw data_error::in_file(file.string(), "has no measures or no budgets, wanted both");
  return o;
}

}  // namespace

std::string outcome::title_of_budget(double budget) const {
  return significant(budget * unit, 6) + " " + unit_name;
}

std::string outcome::title_of(std::size_t m) const {
  const std::string& key = measures[m];
  if (key == "test_loss") return "test loss";
  if (key == "test_rmse") return "test RMSE";
  if (key == "test_auc") return "1 - AUC";
  if (key == "test_accuracy") return "error";
  return key == "test_balanced_accuracy" ? "balanced error" : "rare class missed";
}

std::vector<outcome> read_outcomes(const std::string& folder) {
  std::error_code failed;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  if (failed) throw data_error::in_file(folder, "cannot be read: " + failed.message());
  if (files.empty())
    throw data_error::in_file(folder, "no .json file here, wanted reports of train_importance");
  std::sort(files.begin(), files.end());
  std::vector<outcome> all;
  for (const auto& file : files) all.push_back(read_outcome(file));
  return all;
}

}  // namespace skim_examples
