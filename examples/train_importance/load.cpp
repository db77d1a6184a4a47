// SPDX-License-Identifier: Apache-2.0
#include "train_importance/load.hpp"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "common/table.hpp"
#include "data/load.hpp"
#include "data/prepare.hpp"
#include "data/stream.hpp"
#include "skim/sample/nadaraya_watson.hpp"

namespace skim_examples {
namespace {

// "letter" of "/data/letter/".
std::string last_part(const std::string& path) {
  const std::filesystem::path p(path);
  return (p.has_filename() ? p : p.parent_path()).filename().string();
}

// What is held out is the same for all samplers and runs, whatever their seeds.
constexpr skim::seed validation_split{0x76616c};
constexpr skim::seed test_split{0x746573};

image_set take_images(const image_set& from, const std::vector<std::size_t>& chosen) {
  image_set out;
  out.count = chosen.size();
  out.height = from.height;
  out.width = from.width;
  out.classes = from.classes;
  out.class_names = from.class_names;
  const std::size_t size = from.height * from.width;
  for (const std::size_t i : chosen) {
    const auto* const image = from.pixels.data() + i * size;
    out.pixels.insert(out.pixels.end(), image, image + size);
    out.labels.push_back(from.labels[i]);
  }
  return out;
}

// An endless stream of images in which one class is rare; tested on its like made of test images, and
// validated on its like made of training images that it does not show.
problem load_rare_events(const importance_settings& s) {
  rare_event_params params{.rare = static_cast<skim::label_t>(*s.rare),
                           .rare_fraction = s.rare_fraction};
  if (s.among.empty())
    params.others = {0, 2, 3, 4, 6};  // what is worn above the waist
  else
    params.others.assign(s.among.begin(), s.among.end());
  if (s.among.empty()) std::erase(params.others, params.rare);
  problem p;
  p.stream = true;
  image_set images = load_fashion_mnist(part::train);
  if (s.validation > 0) {
    const row_split parts =
        split_row_numbers(images.count, images.labels, s.validation, validation_split);
    p.validation = rare_event_stream(take_images(images, parts.held), params, validation_split)
                       .take(0, s.test_examples, "rare-event stream of validation images");
    images = take_images(images, parts.kept);
  }
  p.endless.emplace(images, params, skim::seed{s.seed});
  const rare_event_stream held_out(load_fashion_mnist(part::test), params, skim::seed{s.seed + 1});
  const auto names = fashion_mnist_classes();
  p.title = "Fashion-MNIST as a stream, " + significant(100 * s.rare_fraction, 3) + " % " +
            names.at(params.rare) + " among";
  for (const auto c : params.others)
    p.title += (c == params.others.front() ? " " : ", ") + names.at(c);
  p.test = held_out.take(0, s.test_examples, "rare-event stream of test images");
  return p;
}

void check(const problem& p, const importance_settings& s) {
  const dataset& train = p.train;
  if (train.kind != label_kind::classes && train.kind != label_kind::targets)
    throw data_error::in_file(
        train.name, std::string("rows have ") +
                        (train.kind == label_kind::none ? "no label" : "several labels or none") +
                        ", wanted one label or number each");
  if (train.kind == label_kind::classes && train.classes < 2)
    throw data_error::in_file(train.name, "labels of one class only, wanted two or more");
  // Samplers of a stream choose among pool x batch examples at a time, and the sketch's hashes are fitted
  // to the first ones.
  const std::size_t least =
      s.stream ? std::max(s.pool * s.batch, skim::nadaraya_watson_sampler_params{}.fit_rows)
               : s.batch;
  if (train.rows < least)
    throw data_error::in_file(
        train.name, std::to_string(train.rows) + " rows, wanted at least " + std::to_string(least) +
                        (s.stream ? " for a first choice in a stream" : ", a --batch of them"));
  if (p.test.rows == 0) throw data_error::in_file(p.test.name, "no rows, wanted some to test on");
}

train_test load_parts(const importance_settings& s) {
  load_options options;
  options.wanted = s.wanted;
  if (!s.holdout)
    return s.train.empty() ? load_both_parts(s.dataset, options)
                           : load_train_test(s.train, s.test, options);
  return split_rows(
      s.train.empty() ? load_both_parts(s.dataset, options).train : load_dataset(s.train, options),
      *s.holdout, test_split);
}

problem load_files(const importance_settings& s) {
  train_test both = load_parts(s);
  problem p;
  p.stream = s.stream;
  p.train = std::move(both.train);
  p.test = std::move(both.test);
  if (s.validation > 0) {
    train_test parts = split_rows(p.train, s.validation, validation_split);
    p.train = std::move(parts.train);
    p.validation = std::move(parts.test);
  }
  check(p, s);
  p.title = last_part(s.train.empty() ? s.dataset : p.train.name) + ", " + grouped(p.train.rows) +
            " x " + grouped(p.train.cols) + (p.train.is_sparse() ? " sparse, " : ", ") +
            (p.is_regression() ? "regression" : std::to_string(p.classes()) + " classes") +
            (p.stream ? ", as a stream" : "");
  const feature_scaler scaler = feature_scaler::fit(p.train, usual_scaling(p.train));
  scaler.apply(p.train);
  scaler.apply(p.test);
  if (p.validation.rows > 0) scaler.apply(p.validation);
  if (p.is_regression()) {
    p.scale = target_scale::fit(p.train.targets);
    for (const float y : p.train.targets) p.train_scaled.push_back(p.scale.scaled(y));
    for (const float y : p.validation.targets) p.validation_scaled.push_back(p.scale.scaled(y));
    for (const float y : p.test.targets) p.test_scaled.push_back(p.scale.scaled(y));
  }
  return p;
}

}  // namespace

problem load_problem(const importance_settings& settings) {
  return settings.rare ? load_rare_events(settings) : load_files(settings);
}

}  // namespace skim_examples
