// SPDX-License-Identifier: Apache-2.0
//
// Trains a classifier of sparse rows into very many labels, and says what finding the best of them costs.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/arguments.hpp"
#include "common/json.hpp"
#include "common/plot.hpp"
#include "common/progress.hpp"
#include "common/report.hpp"
#include "common/table.hpp"
#include "data/load.hpp"
#include "train_extreme/debian_index.hpp"
#include "train_extreme/training.hpp"

namespace skim_examples {
namespace {

struct program_settings {
  std::string train, test, dataset = "debian-index", label = "depends", ask;
  extreme_settings run;
};

constexpr std::string_view holdout_prefix = "holdout:";
constexpr std::string_view debian_name = "debian-index";

// Rows with one label each are sets of one.
void as_sets(dataset& data) {
  if (data.kind == label_kind::classes) {
    data.multi_ids = std::move(data.labels);
    data.multi_offsets.resize(data.rows + 1);
    for (std::size_t i = 0; i <= data.rows; ++i) data.multi_offsets[i] = i;
    data.kind = label_kind::multi;
  }
  if (data.kind != label_kind::multi || !data.is_sparse() || data.classes == 0)
    throw data_error::in_file(data.name, "no sparse rows with labels, wanted XC text");
  if (data.rows == 0) throw data_error::in_file(data.name, "no rows, wanted some");
}

double holdout_part(const std::string& spec) {
  const std::string text = spec.substr(holdout_prefix.size());
  const auto part = whole_double(text);
  if (part.status != number_status::ok || !(part.value > 0 && part.value < 1))
    throw argument_error("--test: got " + shown(spec) +
                         ", wanted a fraction between 0 and 1 after holdout:");
  return part.value;
}

struct problem {
  train_test sets;
  vocabulary words;
  bool named = false;  ///< words and labels have names
};

problem load(const program_settings& s) {
  problem p;
  if (!s.train.empty()) {
    if (s.test.starts_with(holdout_prefix)) {
      const double part = holdout_part(s.test);
      dataset all = load_dataset(s.train);
      as_sets(all);
      p.sets = hold_out(std::move(all), part, s.run.seed);
    } else {
      p.sets = load_train_test(s.train, s.test);
    }
  } else {
    const std::string_view rest = std::string_view(s.dataset).substr(debian_name.size());
    debian_problem debian =
        load_debian_index(std::string(rest.substr(rest.empty() ? 0 : 1)),
                          s.label == "tags" ? debian_label::tags : debian_label::depends);
    p = {std::move(debian.sets), std::move(debian.words), true};
  }
  as_sets(p.sets.train);
  as_sets(p.sets.test);
  return p;
}

void settle(const program_settings& s, bool dataset_given) {
  if (s.train.empty() != s.test.empty())
    throw argument_error("--train and --test: got one of them, wanted both or neither");
  if (!s.train.empty() && dataset_given)
    throw argument_error("--dataset: got it besides --train, wanted one of them");
  const bool debian =
      s.dataset == debian_name || s.dataset.starts_with(std::string(debian_name) + ":");
  if (!debian)
    throw argument_error("--dataset: got " + shown(s.dataset) +
                         ", wanted debian-index or debian-index:FILE");
  if (!s.ask.empty() && !s.train.empty())
    throw argument_error(
        "--ask: got a sentence with --train, wanted it with --dataset: the words of "
        "XC text have no names");
  if (s.test.starts_with(holdout_prefix)) static_cast<void>(holdout_part(s.test));
}

json to_json(precisions p) {
  return {{"p_at_1", p[0]}, {"p_at_3", p[1]}, {"p_at_5", p[2]}};
}

json to_json(const program_settings& s, const problem& p, const extreme_result& r) {
  json epochs = json::array();
  for (const auto& e : r.epochs) {
    json one = {{"seconds", e.seconds}, {"wall_seconds", e.wall_seconds}};
    one.update(to_json(e.at));
    one.update({{"loss", e.loss}, {"active_outputs", e.active}});
    epochs.push_back(one);
  }
  const extreme_inference& i = r.inference;
  const auto outputs = static_cast<double>(p.sets.train.classes);
  return {
      {"program", "train_extreme"},
      {"settings",
       {{"train", p.sets.train.name},
        {"layer", s.run.layer},
        {"hidden", s.run.hidden},
        {"epochs", s.run.epochs},
        {"batch", s.run.batch},
        {"optimizer", s.run.optimizer},
        {"threads", s.run.threads},
        {"seed", s.run.seed}}},
      {"data",
       {{"rows", p.sets.train.rows},
        {"test_rows", p.sets.test.rows},
        {"features", p.sets.train.cols},
        {"labels", p.sets.train.classes}}},
      {"time_unit", "processor seconds of all threads; inference: microseconds of one thread"},
      {"epochs", epochs},
      {"inference_us_per_example",
       {{"dense", i.dense_batch_us}, {"dense_single", i.dense_single_us}, {"sparse", i.sparse_us}}},
      {"inference",
       {{"recall_at_5", i.recall_at_5},
        {"visited_fraction", i.visited},
        {"dense", to_json(i.dense)},
        {"sparse", to_json(i.sparse)},
        {"index_build_seconds", i.build_seconds},
        {"index_cells", i.cells},
        {"index_bytes", i.bytes}}},
      {"active_fraction", r.epochs.empty() ? 0 : r.epochs.back().active / outputs},
      {"tuned",
       {{"loss", r.tuned.loss == skim::sampled_loss::sigmoid ? "sigmoid" : "softmax"},
        {"negatives", r.tuned.negatives},
        {"learning_rate", r.tuned.learning_rate},
        {"expected_active", r.tuned.expected_active}}},
      {"network_bytes", r.bytes},
      {"peak_memory_bytes", peak_memory_bytes()}};
}

void print(const extreme_result& r, const dataset& train) {
  text_table table({"epoch", "seconds", "loss", "P@1", "P@3", "P@5"});
  for (std::size_t e = 0; e < r.epochs.size(); ++e) {
    const extreme_epoch& x = r.epochs[e];
    table.add({std::to_string(e + 1), significant(x.seconds, 3), significant(x.loss, 4),
               fixed(x.at[0], 4), fixed(x.at[1], 4), fixed(x.at[2], 4)});
  }
  const extreme_inference& i = r.inference;
  std::cout << table << "\nchosen: "
            << (r.tuned.loss == skim::sampled_loss::sigmoid ? "one-vs-rest" : "softmax")
            << " loss, learning rate " << significant(r.tuned.learning_rate, 3) << " falling to 0, "
            << significant(r.tuned.negatives, 3) << " uniform draws a step: about "
            << grouped(static_cast<std::size_t>(r.tuned.expected_active)) << " of "
            << grouped(train.classes) << " outputs active\n\n";
  text_table searches({"search", "us an example", "rows read", "P@1", "P@3", "P@5"});
  searches.add({"exact, batches", significant(i.dense_batch_us, 3), "100 %", fixed(i.dense[0], 4),
                fixed(i.dense[1], 4), fixed(i.dense[2], 4)});
  searches.add({"exact, one by one", significant(i.dense_single_us, 3), "100 %",
                fixed(i.dense[0], 4), fixed(i.dense[1], 4), fixed(i.dense[2], 4)});
  searches.add({"index, one by one", significant(i.sparse_us, 3), percent(i.visited, 3),
                fixed(i.sparse[0], 4), fixed(i.sparse[1], 4), fixed(i.sparse[2], 4)});
  std::cout << searches << "\nthe index finds " << percent(i.recall_at_5, 3)
            << " of the exact best five; made in " << duration(i.build_seconds) << ", "
            << grouped(i.cells) << " cells, " << byte_size(static_cast<double>(i.bytes))
            << "; the network takes " << byte_size(static_cast<double>(r.bytes)) << "\n";
}

void answer(const extreme_model& model, const problem& p, const std::string& sentence) {
  const auto row = row_of_sentence(p.words, sentence);
  std::cout << "\n\"" << sentence << "\"";
  if (row.empty()) {
    std::cout << ": no word of it is known\n";
    return;
  }
  const auto [best, us] = model.suggest(row, 10);
  std::cout << ", answered in " << significant(us, 3) << " us:\n";
  for (const auto& b : best) {
    const double score = static_cast<double>(b.score);
    std::cout << "  " << p.sets.train.class_name(b.label);
    if (model.result().tuned.loss == skim::sampled_loss::sigmoid)
      std::cout << "  (" << percent(1 / (1 + std::exp(-score)), 2) << ")";
    std::cout << "\n";
  }
}

void train(const program_settings& s, const common_options& common) {
  progress_line progress;
  progress.show("reading");
  const problem p = load(s);
  progress.clear();
  const dataset& train = p.sets.train;
  std::cout << train.name << ": " << grouped(train.rows) << " rows to train on and "
            << grouped(p.sets.test.rows) << " to test on, " << grouped(train.cols) << " features, "
            << grouped(train.classes) << " labels; " << s.run.layer << " layer of "
            << grouped(s.run.hidden) << "\n\n"
            << std::flush;
  const extreme_model model(s.run, train, p.sets.test, [&](std::size_t epoch, double part) {
    if (progress.due())
      progress.show("epoch " + std::to_string(epoch + 1) + " of " + std::to_string(s.run.epochs) +
                    ", " + percent(part, 2));
  });
  progress.clear();
  print(model.result(), train);
  if (!s.ask.empty()) answer(model, p, s.ask);
  if (!common.json.empty()) {
    write_json(common.json, to_json(s, p, model.result()));
    std::cout << "\nfigures: " << common.json << "\n";
  }
  if (!common.plot.empty()) {
    plot_series first{"P@1", {}, {}}, fifth{"P@5", {}, {}};
    double seconds = 0;
    for (const auto& e : model.result().epochs) {
      seconds += e.seconds;
      first.x.push_back(seconds);
      first.y.push_back(e.at[0]);
      fifth.x.push_back(seconds);
      fifth.y.push_back(e.at[2]);
    }
    write_svg(common.plot, {train.name + ", " + s.run.layer + " layer",
                            {{"precision", {"processor seconds"}, {"precision"}, {first, fifth}}}});
    std::cout << "curves: " << common.plot << "\n";
  }
}

int run(int argc, char** argv) {
  program_settings s;
  command_line line(
      "train_extreme",
      "Trains a network of one hidden layer over sparse rows with very many labels, computing a "
      "few of "
      "them a step,\nand finds the best labels of a row without looking at the others.");
  line.add_text("--train", s.train, "training set: XC text, with or without .gz", "FILE");
  line.add_text("--test", s.test,
                "test set of the same kind, or holdout:X for that part of --train", "FILE");
  auto* const named = line.add_text("--dataset", s.dataset,
                                    "debian-index: this machine's package index; "
                                    "debian-index:FILE: one that apt-cache dumpavail wrote",
                                    "NAME");
  line.add_choice("--label", s.label, "what to predict of a package", {"depends", "tags"});
  line.add_choice("--layer", s.run.layer, "outputs a training step computes", {"dense", "sampled"});
  line.add_choice("--loss", s.run.loss, "auto: sigmoid (one-vs-rest) if sampled, softmax if dense",
                  {"auto", "sigmoid", "softmax"});
  line.add_choice("--optimizer", s.run.optimizer, "adam: equal to a dense one between touches",
                  {"adam", "sparse-adam", "momentum"});
  line.add_count("--hidden", s.run.hidden, "width of the hidden layer", {1, 1u << 16});
  line.add_count("--epochs", s.run.epochs, "passes over the training set", {1, 1u << 16});
  line.add_count("--batch", s.run.batch, "rows a step", {1, 1u << 16});
  line.add_real("--learning-rate", s.run.learning_rate, "at the beginning; default by the loss",
                {.least = 0, .below = bound::open});
  line.add_real("--negatives", s.run.negatives,
                "uniform draws a step beside the batch's labels; default by their number",
                {.least = 0});
  line.add_text("--ask", s.ask,
                "a sentence that says what a package should be: what might it need?", "SENTENCE");
  line.epilogue(
      "Examples:\n"
      "  train_extreme --ask \"fast http server in rust\"\n"
      "  train_extreme --label tags --ask \"a game about chess for the terminal\"\n"
      "  train_extreme --train train.txt.gz --test test.txt.gz --json sampled.json\n"
      "  train_extreme --train train.txt.gz --test test.txt.gz --layer dense     (the layer to "
      "beat)\n"
      "\nSeconds are processor time, evaluation apart. Exit code 2: bad arguments or files.");
  return line.run(argc, argv, [&] {
    s.run.seed = line.common().seed;
    s.run.threads = line.common().threads;
    settle(s, named->count() > 0);
    train(s, line.common());
  });
}

}  // namespace
}  // namespace skim_examples

int main(int argc, char** argv) {
  return skim_examples::run(argc, argv);
}
