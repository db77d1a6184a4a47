// SPDX-License-Identifier: Apache-2.0
//
// Classifies graphs with the graph neural tangent kernel, and says what its matrix cost.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "classify_graphs/experiment.hpp"
#include "classify_graphs/generate.hpp"
#include "classify_graphs/svm.hpp"
#include "common/arguments.hpp"
#include "common/json.hpp"
#include "common/progress.hpp"
#include "common/table.hpp"
#include "data/graph_text.hpp"

namespace skim_examples {
namespace {

struct search_flag {
  bool on = false;
};

void settle(graph_settings& s, const search_flag& search, bool grid_given, bool count_given) {
  if (search.on) {
    if (grid_given)
      throw argument_error(
          "--search: got it besides --layers, --mlp, --jumping-knowledge or --scaling, wanted "
          "either the usual grid or lists of your own");
    s.layers = {2, 4, 6, 8, 10, 12, 14};
    s.mlp = {1, 2, 3};
    s.jumping_knowledge = {"yes", "no"};
    s.scaling = {"degree", "none"};
  }
  if (count_given && !s.graphs.empty())
    throw argument_error("--count: got it besides --graphs, wanted one of them");
  if (s.classifier == "svm" && !has_svm())
    throw argument_error("--classifier: got svm in a build without LIBSVM, wanted ridge");
}

std::string described(const graph_architecture& a) {
  return std::to_string(a.layers) + " layers of " + std::to_string(a.mlp) +
         (a.jumping_knowledge ? ", jumping knowledge" : ", last layer") +
         (a.by_degree ? ", means" : ", sums");
}

std::string shown_summary(const fold_summary& s) {
  return percent(s.mean) + " +- " + fixed(100 * s.sd, 1);
}

json to_json(const graph_accuracy& a, const char* parameter) {
  return {{"accuracy_mean", a.nested.mean},
          {"accuracy_sd", a.nested.sd},
          {"accuracy_folds", a.nested_folds},
          {"published_protocol",
           {{"accuracy_mean", a.published.mean},
            {"accuracy_sd", a.published.sd},
            {"layers", a.best.layers},
            {"mlp", a.best.mlp},
            {"jumping_knowledge", a.best.jumping_knowledge},
            {"scaling", a.best.by_degree ? "degree" : "none"},
            {parameter, a.best_parameter}}}};
}

json to_json(const graph_settings& s, const graph_set& data, const graph_result& r) {
  const graph_accuracy& headline = r.svm ? *r.svm : r.ridge;
  json out = {{"program", "classify_graphs"},
              {"settings",
               {{"graphs", data.name},
                {"count", data.graphs.size()},
                {"classes", data.classes()},
                {"layers", s.layers},
                {"mlp", s.mlp},
                {"jumping_knowledge", s.jumping_knowledge},
                {"scaling", s.scaling},
                {"features", s.features},
                {"method", s.method},
                {"normalization", s.normalization},
                {"folds", s.folds},
                {"ridges", s.ridges},
                {"c_values", s.c_values},
                {"threads", s.threads},
                {"seed", s.seed}}},
              {"time_unit", "seconds that passed"},
              {"kernels", r.kernels},
              {"kernel_seconds", r.kernel_seconds},
              {"classifier_seconds", r.classifier_seconds},
              {"classifier", r.svm ? "svm" : "ridge"},
              {"accuracy_mean", headline.nested.mean},
              {"accuracy_sd", headline.nested.sd},
              {"ridge", to_json(r.ridge, "ridge")},
              {"sketch_relative_error", r.sketch_error ? json(*r.sketch_error) : json(nullptr)}};
  out["svm"] = r.svm ? to_json(*r.svm, "c") : json(nullptr);
  return out;
}

void classify(graph_settings s, const common_options& common) {
  progress_line progress;
  progress.show("reading " + s.graphs);
  const graph_set data =
      s.graphs.empty() ? generate_graphs(s.count, skim::seed{s.seed}) : load_graphs(s.graphs);
  progress.clear();
  if (s.features == "auto") s.features = usual_features(data);
  std::size_t nodes = 0, edges = 0;
  for (const auto& g : data.graphs) {
    nodes += g.nodes();
    edges += g.edges();
  }
  const auto count = static_cast<double>(data.graphs.size());
  std::cout << data.name << ", " << grouped(data.graphs.size()) << " graphs of " << data.classes()
            << " classes, " << fixed(static_cast<double>(nodes) / count, 1) << " nodes and "
            << fixed(static_cast<double>(edges) / count, 1) << " edges on average, " << s.features
            << ", " << s.method << " kernel\n\n"
            << std::flush;
  const graph_result r = classify_graphs(s, data, [&](const std::string& text) {
    if (progress.due()) progress.show(text);
  });
  progress.clear();
  text_table table({"classifier", "accuracy, %", "selected on the folds, %", "by"});
  const auto add = [&](const char* name, const graph_accuracy& a, const char* parameter) {
    table.add({name, shown_summary(a.nested), shown_summary(a.published),
               described(a.best) + ", " + parameter + " " + significant(a.best_parameter, 3)});
  };
  add("ridge", r.ridge, "ridge");
  if (r.svm) add("svm", *r.svm, "C");
  std::cout << table << "\n"
            << r.kernels << (r.kernels == 1 ? " kernel" : " kernels") << " in "
            << duration(r.kernel_seconds) << ", classifiers in " << duration(r.classifier_seconds)
            << ", " << s.folds << " folds: mean +- standard deviation\n"
            << "accuracy: settings of each fold chosen within the other ones; selected on the "
               "folds: the best mean\nof all settings, as published figures have it, and "
               "optimistic\n";
  if (r.sketch_error)
    std::cout << "sketch: mean standard error " << percent(*r.sketch_error, 2)
              << " of a kernel value\n";
  if (!common.json.empty()) {
    write_json(common.json, to_json(s, data, r));
    std::cout << "\nfigures: " << common.json << "\n";
  }
}

int run(int argc, char** argv) {
  graph_settings s;
  search_flag search;
  command_line line(
      "classify_graphs",
      "Classifies graphs by the graph neural tangent kernel, the kernel of infinitely "
      "wide graph neural\nnetworks, with cross-validated ridge regression and support "
      "vector machines.",
      plotting::absent);
  line.add_text("--graphs", s.graphs,
                "graphs in the text format of GIN (.txt, .txt.gz); default generated", "FILE");
  auto* const count = line.add_count("--count", s.count, "generated graphs", {4, 100000});
  std::vector<CLI::Option*> grid;
  grid.push_back(line.add_counts("--layers", s.layers, "depths of the network", {1, 64}));
  grid.push_back(line.add_counts("--mlp", s.mlp, "layers of each perceptron", {1, 16}));
  grid.push_back(line.add_choices("--jumping-knowledge", s.jumping_knowledge,
                                  "whether the readout sees all layers", {"yes", "no"}));
  grid.push_back(line.add_choices("--scaling", s.scaling, "sums over neighbours are divided by",
                                  {"degree", "none"}));
  line.add_switch("--search", search.on,
                  "layers 2 to 14, perceptrons of 1 to 3, both readouts and scalings");
  line.add_choice("--features", s.features,
                  "what is known of a node; auto: tags, or degree where all are alike",
                  {"auto", "tags", "degree", "vectors"});
  line.add_choice("--method", s.method, "how the kernel is computed", {"exact", "sketch"});
  line.add_count("--sketch-width", s.sketch_width, "rows of a sketch", {1, 1u << 16});
  line.add_count("--sketch-rank", s.sketch_rank, "rank that is left out of it", {0, 1u << 12});
  line.add_choice("--normalization", s.normalization, "of the kernel", {"cosine", "none"});
  line.add_choice("--classifier", s.classifier, "auto: both where LIBSVM is there",
                  {"auto", "ridge", "svm"});
  line.add_reals("--ridges", s.ridges, "to choose from, times the mean diagonal",
                 {.least = 0, .below = bound::open});
  line.add_count("--c-values", s.c_values, "of C, from 0.01 to 10000, to choose from", {1, 1000});
  line.add_count("--svm-kernels", s.svm_kernels, "best kernels by ridge that svm is tried on",
                 {1, 1u << 20});
  line.add_count("--folds", s.folds, "of the cross-validation", {2, 1000});
  line.epilogue(
      "Examples:\n"
      "  classify_graphs                                      (small worlds against random "
      "graphs)\n"
      "  classify_graphs --graphs mutag.txt.gz --search --json mutag.json\n"
      "  classify_graphs --graphs imdb.txt.gz --features degree --layers 2,4,8 --mlp 1,2\n"
      "\nThe file: the number of graphs; for each \"nodes label\", then for each node \"tag degree "
      "neighbour ...\".\nAny number of threads gives the same figures. Exit code 2: bad arguments "
      "or "
      "files.");
  return line.run(argc, argv, [&] {
    s.seed = line.common().seed;
    s.threads = line.common().threads;
    bool grid_given = false;
    for (const auto* option : grid) grid_given = grid_given || option->count() > 0;
    settle(s, search, grid_given, count->count() > 0);
    classify(s, line.common());
  });
}

}  // namespace
}  // namespace skim_examples

int main(int argc, char** argv) {
  return skim_examples::run(argc, argv);
}
