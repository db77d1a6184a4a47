// SPDX-License-Identifier: Apache-2.0
//
// Trains a wide two-layer network of shifted rectifiers, and says what finding the firing neurons cost.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/arguments.hpp"
#include "common/json.hpp"
#include "common/plot.hpp"
#include "common/progress.hpp"
#include "common/table.hpp"
#include "data/load.hpp"
#include "data/prepare.hpp"
#include "train_wide/blobs.hpp"
#include "train_wide/training.hpp"

namespace skim_examples {
namespace {

struct wide_problem {
  std::string title;
  std::size_t rows = 0, cols = 0;
  skim::aligned_vector<float> points;
  std::vector<float> targets;
  bool classes = true;
  target_scale scale;  // of targets that are numbers
};

// Up to `most` rows of unit length; classes become +1 (even) and -1 (odd), numbers are standardised, with
// the scale of `like` if there is one.
wide_problem take_rows(const dataset& data, std::size_t most, const wide_problem* like) {
  wide_problem p;
  if (data.kind != label_kind::classes && data.kind != label_kind::targets)
    throw data_error::in_file(data.name, "rows have no label or several, wanted one each");
  p.title = data.name;
  p.classes = data.kind == label_kind::classes;
  p.rows = std::min(most, data.rows);
  p.cols = data.cols;
  if (p.rows == 0 || p.cols == 0)
    throw data_error::in_file(data.name, "no rows or columns, wanted some to train on");
  if (like != nullptr && (p.cols > like->cols || p.classes != like->classes))
    throw data_error::in_file(
        data.name, std::to_string(p.cols) + " columns and " + (p.classes ? "classes" : "numbers") +
                       " to learn, wanted " + std::to_string(like->cols) + " and " +
                       (like->classes ? "classes" : "numbers") + " as in the training set");
  if (like != nullptr) p.cols = like->cols;  // sparse rows may end early
  p.points.assign(p.rows * p.cols, 0.0f);
  for (std::size_t i = 0; i < p.rows; ++i) {
    const std::span<float> x(p.points.data() + i * p.cols, p.cols);
    if (data.is_sparse()) {
      const auto row = data.sparse_view().row(i);
      for (std::size_t j = 0; j < row.nonzeros(); ++j) x[row.indices[j]] = row.values[j];
    } else {
      std::copy_n(data.dense.begin() + static_cast<std::ptrdiff_t>(i * data.cols), data.cols,
                  x.begin());
    }
    double square = 0;
    for (const float v : x) square += static_cast<double>(v) * static_cast<double>(v);
    if (square > 0)
      for (float& v : x) v = static_cast<float>(static_cast<double>(v) / std::sqrt(square));
  }
  if (p.classes) {
    for (std::size_t i = 0; i < p.rows; ++i)
      p.targets.push_back(data.labels[i] % 2 == 0 ? 1.0f : -1.0f);
  } else {
    p.scale =
        like != nullptr ? like->scale : target_scale::fit(std::span(data.targets).first(p.rows));
    for (std::size_t i = 0; i < p.rows; ++i) p.targets.push_back(p.scale.scaled(data.targets[i]));
  }
  return p;
}

wide_problem load(const wide_settings& s) {
  if (!s.train.empty()) return take_rows(load_dataset(s.train), s.rows, nullptr);
  labelled_blobs blobs(s.rows, s.dim, skim::seed{s.seed + 2});
  wide_problem p;
  p.title = "generated";
  p.rows = blobs.rows;
  p.cols = blobs.cols;
  p.points = std::move(blobs.points);
  p.targets = std::move(blobs.targets);
  return p;
}

void settle(const wide_settings& s, bool dim_given) {
  if (!s.test.empty() && s.train.empty())
    throw argument_error("--test: got it without --train, wanted both");
  if (!s.train.empty() && dim_given)
    throw argument_error("--dim: got it besides --train, wanted one of them");
  static_cast<void>(threshold_of(s.threshold, s.width));
  if (s.optimizer == "gauss-newton") {
    if (s.batch > 0)
      throw argument_error("--batch: got one with gauss-newton, wanted 0: all points");
    if (s.train_thresholds || s.weight_decay > 0 || s.learning_rate)
      throw argument_error(
          "--optimizer: got gauss-newton with a learning rate, weight decay or trained thresholds, "
          "wanted none of them");
  }
  if (s.optimizer == "sgd" && s.batch == 0)
    throw argument_error("--batch: got 0 with sgd, wanted the size of a batch");
}

text_table table_of(const wide_result& r) {
  text_table table({"iteration", "loss", "ms", "fired"});
  const std::size_t n = r.iterations.size();
  std::size_t next = 0;
  for (std::size_t t = 0; t < n; ++t) {
    if (t != next && t + 1 != n) continue;
    const wide_iteration& i = r.iterations[t];
    table.add({std::to_string(t), significant(i.loss, 5), significant(i.milliseconds, 3),
               grouped(i.fired)});
    next = std::max(t + 1, t + n / 10);
  }
  return table;
}

std::string hex(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

json to_json(const wide_settings& s, const wide_problem& p, const wide_result& r) {
  const auto maybe = [](const std::optional<double>& v) { return v ? json(*v) : json(nullptr); };
  json iterations = json::array();
  for (const auto& i : r.iterations)
    iterations.push_back({{"loss", i.loss}, {"milliseconds", i.milliseconds}, {"fired", i.fired}});
  return {{"program", "train_wide"},
          {"settings",
           {{"train", s.train.empty() ? "generated" : s.train},
            {"rows", p.rows},
            {"dim", p.cols},
            {"width", s.width},
            {"threshold", r.threshold},
            {"detector", s.detector},
            {"optimizer", s.optimizer},
            {"learning_rate", r.learning_rate},
            {"momentum", s.momentum},
            {"weight_decay", s.weight_decay},
            {"train_thresholds", s.train_thresholds},
            {"batch", s.batch},
            {"threads", s.threads},
            {"test", s.test},
            {"seed", s.seed}}},
          {"time_unit",
           s.threads == 1 ? "processor milliseconds of the thread" : "milliseconds that passed"},
          {"loss_unit", "half the sum of squared residuals over the batch"},
          {"iterations", iterations},
          {"median_ms", r.median_ms},
          {"build_ms", r.build_ms},
          {"bytes", r.bytes},
          {"firing_hash", hex(r.firing_hash)},
          {"taken_back", r.taken_back},
          {"test_loss", maybe(r.test_loss)},
          {"test_loss_unit", "half the mean of squared residuals"},
          {"test_accuracy", maybe(r.test_accuracy)},
          {"pairs", r.statistics.pairs},
          {"examined", r.statistics.examined},
          {"dense", r.statistics.dense},
          {"fired", r.statistics.fired}};
}

void train(const wide_settings& s, const common_options& common) {
  progress_line progress;
  progress.show("reading " + s.train);
  const wide_problem p = load(s);
  std::optional<wide_problem> held;
  std::optional<skim::firing_points> unseen;
  wide_test test;
  if (!s.test.empty()) {
    held = take_rows(load_dataset(s.test), static_cast<std::size_t>(-1), &p);
    unseen.emplace(skim::matrix_view<const float>(held->points.data(), held->rows, held->cols));
    test = {&*unseen, held->targets, held->classes};
  }
  progress.clear();
  const skim::firing_points x({p.points.data(), p.rows, p.cols});
  std::cout << p.title << ", " << grouped(p.rows) << " x " << grouped(p.cols) << ", "
            << grouped(s.width) << " neurons, " << s.optimizer << ", "
            << (s.batch == 0 ? "all points a step" : "batches of " + grouped(s.batch)) << ", "
            << s.detector << " detector\n\n"
            << std::flush;
  const wide_result r = train_wide(
      s, x, p.targets,
      [&](std::size_t done, std::size_t of) {
        if (progress.due())
          progress.show("iteration " + std::to_string(done) + " of " + std::to_string(of));
      },
      test);
  progress.clear();
  const auto part = [&](std::uint64_t pairs) {
    return percent(
        static_cast<double>(pairs) / std::max(1.0, static_cast<double>(r.statistics.pairs)), 3);
  };
  std::cout << table_of(r) << "\n"
            << "median iteration " << duration(1e-3 * r.median_ms) << ", detector made in "
            << duration(1e-3 * r.build_ms) << ", " << byte_size(static_cast<double>(r.bytes))
            << "\nthreshold " << significant(r.threshold, 4) << ", learning rate "
            << significant(r.learning_rate, 4) << "\nof all (neuron, point) pairs "
            << part(r.statistics.fired) << " fired, " << part(r.statistics.examined)
            << " were computed one by one and " << part(r.statistics.dense)
            << " as a product of matrices\nfiring hash " << hex(r.firing_hash)
            << ": equal for equal sets of firing pairs, whatever the detector\n";
  if (r.taken_back > 0)
    std::cout << grouped(r.taken_back) << " steps raised the loss, were taken back and damped\n";
  if (r.test_loss) {
    std::cout << grouped(held->rows) << " test rows: loss " << significant(*r.test_loss, 4)
              << " (half the mean square)";
    if (r.test_accuracy) std::cout << ", accuracy " << percent(*r.test_accuracy, 3);
    std::cout << "\n";
  }
  if (!common.json.empty()) {
    write_json(common.json, to_json(s, p, r));
    std::cout << "\nfigures: " << common.json << "\n";
  }
  if (!common.plot.empty()) {
    plot_series loss{s.optimizer, {}, {}}, time{s.detector, {}, {}};
    double seconds = 0;
    for (std::size_t t = 0; t < r.iterations.size(); ++t) {
      loss.x.push_back(seconds);
      loss.y.push_back(r.iterations[t].loss);
      seconds += 1e-3 * r.iterations[t].milliseconds;
      time.x.push_back(static_cast<double>(t));
      time.y.push_back(r.iterations[t].milliseconds);
    }
    write_svg(common.plot,
              {p.title + ", " + grouped(s.width) + " neurons",
               {{"loss", {"processor seconds"}, {"loss", axis_scale::logarithmic}, {loss}},
                {"time of an iteration", {"iteration"}, {"ms", axis_scale::logarithmic}, {time}}}});
    std::cout << "curves: " << common.plot << "\n";
  }
}

int run(int argc, char** argv) {
  wide_settings s;
  command_line line(
      "train_wide",
      "Trains a wide two-layer network whose neurons fire above a threshold: of all pairs "
      "of a neuron and a\npoint a few fire, and a detector finds them without computing "
      "the rest.");
  line.add_text(
      "--train", s.train,
      "training set: X.npy,y.npy, .csv, XC or LIBSVM .txt, fashion-mnist; default generated",
      "FILE");
  line.add_text("--test", s.test, "rows of the same kind to try the trained network on", "FILE");
  line.add_count("--rows", s.rows, "use the first rows, scaled to unit length", {1, 1u << 24});
  auto* const dim = line.add_count("--dim", s.dim, "columns of generated points", {1, 1u << 16});
  line.add_count("--width", s.width, "neurons", {1, 1u << 26});
  line.add_text("--threshold", s.threshold, "paper (sqrt(0.4 ln width)), a number, or fraction:P",
                "T");
  line.add_choice("--detector", s.detector, "how firing neurons are found",
                  {"dense", "max-tree", "correlation-tree", "deadline"});
  line.add_choice("--optimizer", s.optimizer, "how the weights move",
                  {"gd", "sgd", "momentum", "adam", "gauss-newton"});
  line.add_real("--learning-rate", s.learning_rate,
                "for half the sum of squares; default by the first step's curvature, adam 0.001",
                {.least = 0, .below = bound::open});
  line.add_real("--momentum", s.momentum, "of the optimizer momentum", {0, 0.999});
  line.add_real("--weight-decay", s.weight_decay, "decoupled; weights shrink by rate times this",
                {0, 1});
  line.add_switch("--train-thresholds", s.train_thresholds, "thresholds learn too");
  line.add_count("--batch", s.batch, "points a step; 0: all", {0, 1u << 20});
  line.add_count("--iterations", s.iterations, "steps", {1, 1u << 24});
  line.add_real("--target-loss", s.target_loss, "stop at this loss", {.least = 0});
  line.epilogue(
      "Examples:\n"
      "  train_wide --width 65536 --detector deadline --json deadline.json\n"
      "  train_wide --width 65536 --detector dense      (the same steps, the same hash)\n"
      "  train_wide --width 16384 --optimizer gauss-newton --target-loss 1e-6\n"
      "\nTime is processor time of the thread, with --threads the time that passes, the making of "
      "the "
      "detector\napart. Any number of threads takes the same steps. Exit code 2: bad arguments or "
      "files.");
  return line.run(argc, argv, [&] {
    s.seed = line.common().seed;
    s.threads = line.common().threads;
    settle(s, dim->count() > 0);
    train(s, line.common());
  });
}

}  // namespace
}  // namespace skim_examples

int main(int argc, char** argv) {
  return skim_examples::run(argc, argv);
}
