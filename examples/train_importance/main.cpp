// SPDX-License-Identifier: Apache-2.0
//
// Trains a network with several samplers at equal processor time, and says which of them paid.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "common/arguments.hpp"
#include "common/progress.hpp"
#include "data/text.hpp"
#include "train_importance/experiment.hpp"
#include "train_importance/load.hpp"
#include "train_importance/report.hpp"

namespace skim_examples {
namespace {

template <class List>
std::string listed(const List& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

template <class Value, class List>
bool contains(const List& list, const Value& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

template <class List>
bool has_twins(const List& list) {
  return std::any_of(list.begin(), list.end(),
                     [&](const auto& x) { return std::count(list.begin(), list.end(), x) > 1; });
}

// Which of the options that have defaults were given.
struct given_options {
  bool seconds = false, validation = false, reference = false, rare_fraction = false, among = false;
};

// "holdout:0.15" as a test set.
void settle_test_set(importance_settings& s) {
  constexpr std::string_view prefix = "holdout:";
  if (!s.test.starts_with(prefix)) return;
  const auto part = whole_double(std::string_view(s.test).substr(prefix.size()));
  if (part.status != number_status::ok || !(part.value > 0 && part.value < 1))
    throw argument_error("--test: got " + s.test +
                         ", wanted a fraction between 0 and 1 after holdout:");
  if (s.rare)
    throw argument_error("--test: got it with --rare, whose stream has test images of its own");
  s.holdout = part.value;
  if (s.train.empty()) s.test.clear();  // of the training part of --dataset
}

void settle_data(importance_settings& s, const given_options& given) {
  settle_test_set(s);
  if (s.train.empty() != s.test.empty())
    throw argument_error("--train and --test: got one of them, wanted both or none");
  if (!s.train.empty() && !s.dataset.empty())
    throw argument_error("--dataset: got " + s.dataset + " besides --train, wanted one of them");
  if (s.train.empty() && s.dataset.empty()) s.dataset = "fashion-mnist";
  if (!s.rare) {
    if (given.rare_fraction || given.among)
      throw argument_error(std::string(given.among ? "--among" : "--rare-fraction") +
                           ": got it without --rare, wanted the class that is rare");
    return;
  }
  if (s.dataset != "fashion-mnist")
    throw argument_error("--rare: got the data set " + (s.dataset.empty() ? s.train : s.dataset) +
                         ", wanted fashion-mnist: the stream is made of its images");
  if (s.wanted == task::regression)
    throw argument_error("--task: got regression with --rare, wanted classification");
  if (contains(s.among, *s.rare) || has_twins(s.among))
    throw argument_error("--among: got a class twice, wanted each once and the rare one not");
  s.stream = true;
}

void check_twins(const std::vector<double>& list, const std::string& flag) {
  if (has_twins(list)) throw argument_error(flag + ": got a number twice, wanted each once");
}

void settle_budget(importance_settings& s, const given_options& given) {
  if ((s.epochs ? 1 : 0) + (s.steps ? 1 : 0) + (given.seconds ? 1 : 0) > 1)
    throw argument_error("--seconds, --epochs and --steps: got several, wanted one of them");
  if (s.epochs && s.rare)
    throw argument_error("--epochs: got it for an endless stream, wanted --steps or --seconds");
  check_twins(s.ladder, "--ladder");
  check_twins(s.budgets, "--budgets");
  std::sort(s.ladder.begin(), s.ladder.end());
  std::sort(s.budgets.begin(), s.budgets.end());
  if (!s.stream || s.rare) return;
  if (!s.epochs && !s.steps && !given.seconds) s.epochs = 1;
  if (!s.epochs) return;
  if (*s.epochs * s.budgets.back() > 1)
    throw argument_error("--epochs: got " + significant(*s.epochs * s.budgets.back(), 6) +
                         " with --stream, wanted at most 1: examples do not come back");
  std::erase_if(s.ladder, [&](double rung) { return rung * *s.epochs > 1; });
}

void settle_rates(importance_settings& s, const given_options& given) {
  check_twins(s.learning_rates, "--learning-rate");
  if (s.learning_rates.size() == 1) return;
  if (!given.validation) s.validation = 0.15;
  if (s.validation == 0)
    throw argument_error(
        "--validation: got 0 with several learning rates, wanted rows to pick one by");
}

// Wanted are the names in `fitting`; "for ..." is said by `what`.
template <class List>
void check_samplers(const importance_settings& s, const List& fitting, const std::string& what) {
  for (const std::string& name : s.samplers)
    if (!contains(fitting, name))
      throw argument_error("--sampler: got " + name + " for " + what + ", wanted among " +
                           listed(fitting));
}

void settle_samplers(importance_settings& s, const given_options& given, const problem& p) {
  std::vector<std::string> fitting(catalogue_samplers.begin(), catalogue_samplers.end());
  if (s.stream) fitting.assign(stream_samplers.begin(), stream_samplers.end());
  if (p.is_regression()) std::erase_if(fitting, needs_classes);
  if (s.samplers.empty()) s.samplers = fitting;
  check_samplers(s, fitting, p.is_regression() ? "numbers as labels" : "classes");
  std::erase_if(s.references, [&](const std::string& name) {
    if (contains(s.samplers, name)) return false;
    if (!given.reference) return true;  // the default
    throw argument_error("--reference: got " + name + ", wanted among the samplers " +
                         listed(s.samplers));
  });
}

void check_size(const importance_settings& s, const problem& p) {
  constexpr std::size_t most = std::size_t{1} << 28;  // 3 GB with the optimiser's moments
  std::size_t weights = 0, below = p.inputs();
  std::vector<std::size_t> widths = s.hidden;
  widths.push_back(p.outputs());
  for (const std::size_t width : widths) {
    if (width > most / (below + 1)) weights = most;
    weights = std::min(most, weights + (below + 1) * width);
    below = width;
  }
  if (weights == most)
    throw argument_error("--hidden: got a network of " + grouped(most) +
                         " weights or more, wanted fewer");
}

std::string budget_of(const importance_settings& s) {
  if (s.steps) return grouped(*s.steps) + " steps";
  if (!s.epochs) return significant(s.seconds, 4) + " processor seconds";
  if (s.stream && *s.epochs == 1) return "one pass over the stream";
  return significant(*s.epochs, 4) + (s.stream ? " of the stream" : " epochs");
}

std::vector<run_result> train(const problem& p, const importance_settings& s) {
  const std::vector<run_plan> plans = plan_runs(s);
  progress_line progress;
  using clock = std::chrono::steady_clock;
  const auto began = clock::now();
  return run_all(p, s, plans, [&](double done) {
    if (!progress.due()) return;
    std::string line = "training " + std::to_string(plans.size()) +
                       (plans.size() == 1 ? " network: " : " networks: ") + fixed(100 * done, 0) +
                       " %";
    if (done > 0.05) {
      const std::chrono::duration<double> spent = clock::now() - began;
      line += ", " + duration(spent.count() * (1 - done) / done) + " left";
    }
    progress.show(line);
  });
}

// "0.001", "the best of 0.001, 0.002".
std::string rates_of(const importance_settings& s) {
  std::vector<std::string> rates;
  for (const double rate : s.learning_rates) rates.push_back(significant(rate, 6));
  return (rates.size() > 1 ? "the best of " : "") + listed(rates);
}

void compare(importance_settings& s, const given_options& given) {
  progress_line reading;
  reading.show("reading " + (s.train.empty() ? s.dataset : s.train));
  const problem p = load_problem(s);
  reading.clear();
  settle_samplers(s, given, p);
  check_size(s, p);
  const std::vector<measure> measures = measures_of(p);
  std::cout << p.title << "\nnetwork " << p.inputs();
  for (const std::size_t width : s.hidden) std::cout << "-" << width;
  std::cout << "-" << p.outputs() << ", Adam " << rates_of(s) << ", batch " << s.batch << ", "
            << budget_of(s) << " a run, " << s.seeds << (s.seeds == 1 ? " seed\n" : " seeds\n")
            << std::flush;
  std::vector<run_result> results;
  std::vector<cell> cells;
  try {
    results = train(p, s);
    cells = pick_rates(s, measures, results);
  } catch (const training_diverged& e) {
    throw argument_error("--learning-rate: got " + significant(s.learning_rates.front(), 6) +
                         ", wanted a lower one: " + e.what());
  }
  const auto summaries = summarize(s, measures, cells);
  std::cout << "\n"
            << table_of(s, measures, summaries) << "\n"
            << reading_of(p, s, measures, summaries);
  if (!s.json.empty()) {
    write_figures(s.json, p, s, measures, results, summaries);
    std::cout << "\nfigures: " << s.json << "\n";
  }
  if (!s.plot.empty()) {
    draw_curves(s.plot, p.title, s, measures, cells);
    std::cout << "curves: " << s.plot << "\n";
  }
}

int run(int argc, char** argv) {
  importance_settings s;
  command_line line(
      "train_importance",
      "Trains a network with several samplers of training examples on the same budget of seconds, "
      "steps or epochs,\nand shows what each of them is worth: the time uniform sampling would "
      "have "
      "taken for the same quality.");
  std::string task_name = "auto", gate = "auto";
  line.add_text("--train", s.train,
                "training set: X.npy,y.npy, .csv, or XC or LIBSVM .txt; .gz too", "FILE");
  line.add_text("--test", s.test,
                "test set of the same kind, or holdout:X for that part of the training rows",
                "FILE");
  line.add_text("--dataset", s.dataset,
                "fashion-mnist (the default), or a folder with a training and a test set", "NAME");
  line.add_choice("--task", task_name, "what the labels mean",
                  {"auto", "classification", "regression"});
  line.add_choices("--sampler", s.samplers, "what to compare; default all that fit, of",
                   {catalogue_samplers.begin(), catalogue_samplers.end()});
  auto* const seconds = line.add_real("--seconds", s.seconds, "processor seconds of a run",
                                      {.least = 0, .below = bound::open});
  line.add_real("--epochs", s.epochs,
                "passes over the data, instead of seconds; with --stream 1 is the default",
                {.least = 0, .below = bound::open});
  line.add_count("--steps", s.steps, "batches of a run, instead of seconds", {1, 1u << 30});
  line.add_reals("--budgets", s.budgets, "budgets of every sampler's runs, in units of a run",
                 {.least = 0, .most = 64, .below = bound::open});
  line.add_count("--seeds", s.seeds, "runs of each sampler", {1, 1000});
  line.add_count("--batch", s.batch, "examples a step", {1, 1u << 20});
  line.add_counts("--hidden", s.hidden, "widths of the hidden layers", {1, 1u << 20});
  line.add_reals(
      "--learning-rate", s.learning_rates,
      "of Adam, falling linearly to 0 over a run; of several each sampler picks the best",
      {.least = 0, .below = bound::open});
  auto* const validation =
      line.add_real("--validation", s.validation,
                    "part of the training rows to pick by; default 0.15 with several rates",
                    {0, 1, bound::closed, bound::open});
  auto* const reference =
      line.add_choices("--reference", s.references, "whose speed the others are compared with, of",
                       {catalogue_samplers.begin(), catalogue_samplers.end()});
  line.add_reals("--ladder", s.ladder,
                 "further budgets of the references' runs, which speeds are read off",
                 {.least = 0, .most = 64, .below = bound::open});
  line.add_count("--evaluations", s.evaluations, "points of a curve, besides its end", {0, 10000});
  line.add_real("--beta", s.beta,
                "exponent of the importance weights: 1 unbiased, 0 none; default 1, and "
                "nadaraya-watson's own choice",
                {0, 1});
  line.add_count("--rehash", s.rehash,
                 "sampled batches after which nadaraya-watson again hashes what the last hidden "
                 "layer makes of "
                 "all examples; 0 never, default 1000",
                 {0, 1u << 30});
  line.add_count("--pool", s.pool,
                 "candidates looked at for each example drawn, by sketch or class; the rest have "
                 "defaults of their own",
                 {1, 1024});
  line.add_choice("--gate", gate,
                  "whether nadaraya-watson and hybrid may fall back to class-stratified draws",
                  {"auto", "open"});
  line.add_switch("--stream", s.stream, "one pass: examples do not come back");
  line.add_count("--rare", s.rare,
                 "endless stream of images instead, in which this class is rare, 0 to 9", {0, 9});
  auto* const rare_fraction =
      line.add_real("--rare-fraction", s.rare_fraction, "share of the rare class",
                    {0, 1, bound::open, bound::open});
  auto* const among = line.add_counts(
      "--among", s.among, "classes it is rare among; default its look-alikes of 0,2,3,4,6", {0, 9});
  line.epilogue(
      "Examples:\n"
      "  train_importance --seconds 4 --plot curves.svg\n"
      "  train_importance --rare 6 --rare-fraction 0.02 --seeds 5\n"
      "  train_importance --train X_train.npy,y_train.npy --test X_test.npy,y_test.npy --epochs "
      "10\n"
      "  train_importance --dataset DIR --steps 1000 --budgets 0.5,1 --learning-rate "
      "0.002,0.004,0.008 --seeds 8\n"
      "\nTime is processor time of the run's thread; evaluation and the making of stream examples "
      "are left out,\nhashing and every other cost of sampling are in. What is compared is the "
      "steps times the median time of a step\nover all runs of a sampler and budget, so that a "
      "busy "
      "machine matters little; with --steps or --epochs all else\nrepeats exactly, on any number "
      "of "
      "threads. Learning rates are picked per sampler and budget by the loss\n(numbers: RMSE) on "
      "the "
      "validation rows, never by the test set. Exit code 2: bad arguments or files.");
  return line.run(argc, argv, [&] {
    const common_options& common = line.common();
    s.wanted = task_name == "regression"       ? task::regression
               : task_name == "classification" ? task::classification
                                               : task::automatic;
    s.gate = gate == "open" ? skim::gate_mode::open : skim::gate_mode::automatic;
    s.seed = common.seed;
    s.threads = common.threads;
    s.json = common.json;
    s.plot = common.plot;
    const given_options given{.seconds = seconds->count() > 0,
                              .validation = validation->count() > 0,
                              .reference = reference->count() > 0,
                              .rare_fraction = rare_fraction->count() > 0,
                              .among = among->count() > 0};
    settle_data(s, given);
    settle_budget(s, given);
    settle_rates(s, given);
    if (s.stream) check_samplers(s, stream_samplers, "a stream");  // before the data are read
    compare(s, given);
  });
}

}  // namespace
}  // namespace skim_examples

int main(int argc, char** argv) {
  return skim_examples::run(argc, argv);
}
