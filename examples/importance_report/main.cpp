// SPDX-License-Identifier: Apache-2.0
//
// From reports of train_importance on several data sets to tables and figures.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>
#include <vector>

#include "common/arguments.hpp"
#include "common/json.hpp"
#include "importance_report/figures.hpp"
#include "importance_report/outcome.hpp"
#include "importance_report/tables.hpp"

namespace skim_examples {
namespace {

void draw(const std::vector<outcome>& outcomes, const std::string& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw output_error(folder + ": cannot be made: " + failed.message());
  for (const outcome& o : outcomes) write_svg(folder + "/" + o.name + ".svg", curves_of(o));
  std::vector<std::string> drawn;
  for (const outcome& o : outcomes) {
    for (const std::string& name : o.references) {
      if (std::find(drawn.begin(), drawn.end(), name) != drawn.end()) continue;
      drawn.push_back(name);
      write_svg(folder + "/speeds-against-" + name + ".svg", speeds_of(outcomes, name));
    }
  }
}

json speeds(const std::vector<outcome>& outcomes) {
  json rows = json::array();
  for (const outcome& o : outcomes) {
    for (const outcome_cell& c : o.cells) {
      for (std::size_t m = 0; m < o.measures.size(); ++m) {
        for (const against& a : c.measures[m].comparisons) {
          if (!a.time) continue;
          rows.push_back({{"set", o.name},
                          {"network", o.network},
                          {"sampler", c.sampler},
                          {"budget", c.budget},
                          {"measure", o.measures[m]},
                          {"reference", a.reference},
                          {"time_ratio", a.time->value},
                          {"bound", std::string(1, a.bound)}});
          if (a.time->likely)
            rows.back()["interval"] = {a.time->likely->first, a.time->likely->second};
        }
      }
    }
  }
  return {{"speeds", rows}};
}

int run(int argc, char** argv) {
  std::string from, figures;
  command_line line("importance_report",
                    "Turns what train_importance --json wrote for several data sets into tables "
                    "(Markdown, on standard output)\nand figures.",
                    plotting::absent);
  line.add_text("--from", from, "folder of the .json files, one a data set", "DIR");
  line.add_text("--figures", figures, "folder to draw to: a chart a data set and one of all",
                "DIR");
  return line.run(argc, argv, [&] {
    if (from.empty()) throw argument_error("--from: not given, wanted a folder of .json files");
    if (!figures.empty()) require_gnuplot();
    const auto outcomes = read_outcomes(from);
    std::cout << markdown_of(outcomes) << std::flush;
    if (!line.common().json.empty()) write_json(line.common().json, speeds(outcomes));
    if (!figures.empty()) draw(outcomes, figures);
  });
}

}  // namespace
}  // namespace skim_examples

int main(int argc, char** argv) {
  return skim_examples::run(argc, argv);
}
