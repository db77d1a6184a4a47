// SPDX-License-Identifier: Apache-2.0
//
// From what a person types to a data set: file pairs, files, folders and Fashion-MNIST by name.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "data/array.hpp"
#include "data/bytes.hpp"
#include "data/csv.hpp"
#include "data/dataset.hpp"
#include "data/error.hpp"
#include "data/labels.hpp"
#include "data/sparse_text.hpp"

namespace skim_examples {

enum class part { train, test };

struct load_options {
  task wanted = task::automatic;
  csv_options csv;
  /// Folder of the Fashion-MNIST files; empty for $SKIM_FASHION_MNIST, then Debian's.
  std::string fashion_mnist;
};

namespace detail {

enum class file_kind { array, csv, sparse_text };

[[nodiscard]] inline std::string extension(const std::string& file) {
  std::filesystem::path path(file);
  if (path.extension() == ".gz") path = path.stem();
  std::string ext = path.extension().string();
  std::transform(ext.begin(), ext.end(), ext.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return ext;
}

[[nodiscard]] inline file_kind kind_of(const std::string& file) {
  const std::string ext = extension(file);
  if (ext == ".csv" || ext == ".tsv") return file_kind::csv;
  for (const char* known : {".txt", ".svm", ".libsvm", ".svmlight", ".xc"}) {
    if (ext == known) return file_kind::sparse_text;
  }
  if (ext == ".npy" || ext == ".idx" || file.find("ubyte") != file.npos) return file_kind::array;
  throw data_error::in_file(
      file,
      "cannot tell its format by its name, wanted .npy, IDX (-ubyte), .csv, .tsv, .txt (XC or "
      "LIBSVM), .svm or .libsvm, each with or without .gz");
}

/// Splits "X.npy,y.npy" unless a file of that whole name exists.
[[nodiscard]] inline std::pair<std::string, std::string> split_spec(const std::string& spec) {
  std::error_code ignored;
  const auto comma = spec.find(',');
  if (comma == spec.npos || std::filesystem::exists(spec, ignored)) return {spec, {}};
  return {spec.substr(0, comma), spec.substr(comma + 1)};
}

/// A file before its labels are given a meaning, which for a test set is up to the training set.
struct raw_set {
  dataset data;
  std::optional<label_column> labels;
  skim::id_t smallest_id = 0;
  bool libsvm = false;
};

[[nodiscard]] inline raw_set load_raw(const std::string& spec, const load_options& options) {
  if (spec.empty()) throw data_error("no file given, wanted X.npy,y.npy, a CSV, XC or LIBSVM file");
  const auto [file, label_file] = split_spec(spec);
  raw_set raw;
  if (!label_file.empty()) {
    raw.data = load_array(file);
    raw.labels = load_label_array(label_file);
    return raw;
  }
  switch (kind_of(file)) {
    case file_kind::array:
      raw.data = load_array(file);
      break;
    case file_kind::csv: {
      auto table = load_csv(file, options.csv);
      raw.data = std::move(table.data);
      raw.labels = std::move(table.labels);
      break;
    }
    case file_kind::sparse_text: {
      auto text = load_sparse_text(file);
      raw.libsvm = text.is_libsvm();
      raw.smallest_id = text.smallest_id;
      raw.data = std::move(text.data);
      raw.labels = std::move(text.labels);
      if (!raw.libsvm && options.wanted == task::regression) {
        throw data_error::in_file(file, "XC text holds class ids, wanted numbers for regression");
      }
      break;
    }
  }
  return raw;
}

inline void rebase(raw_set& raw, skim::id_t base) {
  sparse_text text{std::move(raw.data), {}, raw.smallest_id};
  text.base_at(base);
  raw.data = std::move(text.data);
}

[[nodiscard]] inline std::string first_existing(const std::string& folder,
                                                std::initializer_list<const char*> names) {
  std::error_code ignored;
  for (const char* name : names) {
    for (const char* gz : {".gz", ""}) {
      const std::string path = (std::filesystem::path(folder) / (std::string(name) + gz)).string();
      if (std::filesystem::is_regular_file(path, ignored)) return path;
    }
  }
  return {};
}

[[nodiscard]] inline std::pair<std::string, std::string> mnist_files(const std::string& folder,
                                                                     part p) {
  return p == part::train
             ? std::pair(
                   first_existing(folder, {"train-images-idx3-ubyte", "train-images.idx3-ubyte"}),
                   first_existing(folder, {"train-labels-idx1-ubyte", "train-labels.idx1-ubyte"}))
             : std::pair(
                   first_existing(folder, {"t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"}),
                   first_existing(folder, {"t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"}));
}

inline void read_class_names(const std::string& folder, dataset& data) {
  const std::string file = first_existing(folder, {"classes.txt"});
  if (file.empty() || !data.class_names.empty()) return;
  line_reader in(file);
  std::vector<std::string> names;
  while (const auto line = in.next()) names.emplace_back(trimmed(*line));
  if (names.size() == data.classes) data.class_names = std::move(names);
}

}  // namespace detail

/// Names of Fashion-MNIST's classes 0 to 9.
[[nodiscard]] inline std::vector<std::string> fashion_mnist_classes() {
  return {"T-shirt", "trouser", "pullover", "dress", "coat",
          "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};
}

/// The images of Fashion-MNIST, from options.fashion_mnist, $SKIM_FASHION_MNIST or the folder of
/// Debian's package. Throws data_error that tells how to get them if they are missing.
[[nodiscard]] inline image_set load_fashion_mnist(part p, const load_options& options = {}) {
  const char* const variable = std::getenv("SKIM_FASHION_MNIST");
  const std::string folder = !options.fashion_mnist.empty() ? options.fashion_mnist
                             : variable != nullptr && *variable != '\0'
                                 ? std::string(variable)
                                 : "/usr/share/datasets/fashion-mnist";
  const auto [images, labels] = detail::mnist_files(folder, p);
  if (images.empty() || labels.empty()) {
    throw data_error::in_file(folder,
                              "no Fashion-MNIST files here, wanted them by `apt-get install "
                              "dataset-fashion-mnist`, or in a folder named by SKIM_FASHION_MNIST");
  }
  image_set set = load_images(images, labels);
  set.class_names = fashion_mnist_classes();
  if (set.classes > set.class_names.size()) {
    throw data_error::in_file(labels, "label " + std::to_string(set.classes - 1) +
                                          " is outside the range, wanted Fashion-MNIST's 0 to 9");
  }
  set.classes = set.class_names.size();
  return set;
}

/// Images as a dense data set with pixels in [0, 1].
[[nodiscard]] inline dataset to_dataset(const image_set& images, std::string name) {
  dataset data;
  data.name = std::move(name);
  data.rows = images.count;
  data.cols = images.height * images.width;
  data.image_height = images.height;
  data.image_width = images.width;
  data.dense.reserve(images.pixels.size());
  constexpr std::size_t chunk = std::size_t{1} << 16;  // filled while it is in cache
  for (std::size_t first = 0; first < images.pixels.size(); first += chunk) {
    const std::size_t count = std::min(chunk, images.pixels.size() - first);
    data.dense.resize(first + count);
    const std::uint8_t* const from = images.pixels.data() + first;
    float* const to = data.dense.data() + first;
    for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]) * (1.0F / 255);
  }
  data.labels = images.labels;
  data.kind = label_kind::classes;
  data.classes = images.classes;
  data.class_names = images.class_names;
  return data;
}

/// Loads one data set.
///
/// @param spec  "X.npy,y.npy" (NPY or IDX), "X.npy" (no labels), "file.csv", "file.txt" (XC or
///              LIBSVM), each with or without .gz; or "fashion-mnist" (its training part) and
///              "fashion-mnist:test"
///
/// Throws data_error: one line that names the file, the place, what was found and what was wanted.
[[nodiscard]] inline dataset load_dataset(const std::string& spec,
                                          const load_options& options = {}) {
  if (spec == "fashion-mnist" || spec == "fashion-mnist:train" || spec == "fashion-mnist:test") {
    const part p = spec == "fashion-mnist:test" ? part::test : part::train;
    return to_dataset(load_fashion_mnist(p, options), spec);
  }
  auto raw = detail::load_raw(spec, options);
  if (raw.libsvm) detail::rebase(raw, raw.smallest_id == 0 ? 0 : 1);
  if (raw.labels) set_labels(raw.data, *raw.labels, options.wanted);
  return std::move(raw.data);
}

/// Loads a training and a test set that belong together: same columns, same classes, same task, and
/// for LIBSVM the same base of feature ids.
///
/// Throws data_error if they do not, besides what load_dataset throws.
[[nodiscard]] inline train_test load_train_test(const std::string& train_spec,
                                                const std::string& test_spec,
                                                const load_options& options = {}) {
  const auto named = [](const std::string& spec) { return spec.starts_with("fashion-mnist"); };
  train_test both;
  if (named(train_spec) || named(test_spec)) {
    both.train = load_dataset(train_spec, options);
    both.test = load_dataset(test_spec, options);
  } else {
    auto train = detail::load_raw(train_spec, options);
    auto test = detail::load_raw(test_spec, options);
    if (train.libsvm && test.libsvm) {
      const skim::id_t base = std::min(train.smallest_id, test.smallest_id) == 0 ? 0 : 1;
      detail::rebase(train, base);
      detail::rebase(test, base);
      train.data.cols = test.data.cols = std::max(train.data.cols, test.data.cols);
    }
    if (train.labels.has_value() != test.labels.has_value()) {
      throw data_error::in_file(test_spec, "one of " + train_spec + " and " + test_spec +
                                               " has a label column, wanted both or none");
    }
    if (train.labels) {
      set_labels(train.data, *train.labels, options.wanted);
      set_labels(test.data, *test.labels, options.wanted, &train.data);
    }
    both.train = std::move(train.data);
    both.test = std::move(test.data);
  }
  if (both.train.kind != both.test.kind) {  // by chance one part has one label in every row
    to_multi_label(both.train);
    to_multi_label(both.test);
  }
  const auto sizes = [](const dataset& d) {
    return std::to_string(d.cols) + (d.is_sparse() ? " sparse" : "") + " features and " +
           std::to_string(d.classes) + " classes";
  };
  if (both.train.cols != both.test.cols || both.train.is_sparse() != both.test.is_sparse() ||
      both.train.classes != both.test.classes || both.train.kind != both.test.kind) {
    throw data_error::in_file(test_spec, "has " + sizes(both.test) + ", wanted " +
                                             sizes(both.train) + " as in " + train_spec);
  }
  return both;
}

/// Loads both parts of a named set ("fashion-mnist") or of a folder that holds the four MNIST
/// files, X_train.npy, y_train.npy, X_test.npy and y_test.npy, or train and test as .csv or .txt,
/// with or without .gz. Class names are read from classes.txt beside them.
[[nodiscard]] inline train_test load_both_parts(const std::string& name,
                                                const load_options& options = {}) {
  if (name == "fashion-mnist") {
    return load_train_test("fashion-mnist:train", "fashion-mnist:test", options);
  }
  std::error_code ignored;
  if (!std::filesystem::is_directory(name, ignored)) {
    throw data_error::in_file(name, "no such data set, wanted fashion-mnist or a folder");
  }
  if (!detail::mnist_files(name, part::train).first.empty()) {
    const auto load_part = [&](part p) {
      const auto [images, labels] = detail::mnist_files(name, p);
      if (images.empty() || labels.empty()) {
        throw data_error::in_file(name, "has only some of the four MNIST files");
      }
      return to_dataset(load_images(images, labels), images);
    };
    train_test both{load_part(part::train), load_part(part::test)};
    if (both.test.classes > both.train.classes) {
      throw data_error::in_file(both.test.name, "label " + std::to_string(both.test.classes - 1) +
                                                    " is outside the range, wanted ids below " +
                                                    std::to_string(both.train.classes) +
                                                    " as in training");
    }
    if (both.test.cols != both.train.cols) {
      throw data_error::in_file(both.test.name,
                                "images of " + std::to_string(both.test.cols) + " pixels, wanted " +
                                    std::to_string(both.train.cols) + " as in training");
    }
    both.test.classes = both.train.classes;
    detail::read_class_names(name, both.train);
    both.test.class_names = both.train.class_names;
    return both;
  }
  const auto existing = [&](const char* file) { return detail::first_existing(name, {file}); };
  train_test both;
  if (const auto x = existing("X_train.npy"); !x.empty()) {
    both = load_train_test(x + "," + existing("y_train.npy"),
                           existing("X_test.npy") + "," + existing("y_test.npy"), options);
  } else if (const auto text = existing("train.txt"); !text.empty()) {
    both = load_train_test(text, existing("test.txt"), options);
  } else if (const auto csv = existing("train.csv"); !csv.empty()) {
    both = load_train_test(csv, existing("test.csv"), options);
  } else {
    throw data_error::in_file(name,
                              "no data set in this folder, wanted the four MNIST files, "
                              "X_train.npy, y_train.npy, X_test.npy and y_test.npy, or train "
                              "and test as .csv or .txt, with or without .gz");
  }
  detail::read_class_names(name, both.train);
  if (both.test.class_names.empty()) both.test.class_names = both.train.class_names;
  return both;
}

}  // namespace skim_examples
