// SPDX-License-Identifier: Apache-2.0
#include "train_extreme/debian_index.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <istream>
#include <memory>
#include <sstream>
#include <unordered_set>

#include "data/error.hpp"
#include "skim/core/mix.hpp"

namespace skim_examples {
namespace {

struct package {
  std::string name;
  std::vector<std::string> words, labels;
};

// Names in "a (>= 1), b | c:any, d".
void add_names(std::string_view field, std::vector<std::string>& to) {
  std::size_t at = 0;
  while (at < field.size()) {
    const std::size_t end = std::min(field.find_first_of(",|", at), field.size());
    std::string_view part = field.substr(at, end - at);
    part.remove_prefix(std::min(part.find_first_not_of(" \t"), part.size()));
    part = part.substr(0, part.find_first_of(" \t(:"));
    if (!part.empty()) to.emplace_back(part);
    at = end + 1;
  }
}

// Names of debtags: "role::program, use::gameplaying".
void add_tags(std::string_view field, std::vector<std::string>& to) {
  std::size_t at = 0;
  while (at < field.size()) {
    const std::size_t end = std::min(field.find(',', at), field.size());
    std::string_view part = field.substr(at, end - at);
    part.remove_prefix(std::min(part.find_first_not_of(" \t"), part.size()));
    part = part.substr(0, part.find_first_of(" \t"));
    if (!part.empty()) to.emplace_back(part);
    at = end + 1;
  }
}

void take_field(package& p, std::string_view key, std::string_view value, debian_label label) {
  const auto words = [&](std::string_view prefix) {
    for (auto& w : words_of(value, prefix)) p.words.push_back(std::move(w));
  };
  if (key == "Package") {
    p.name = value;
    words("n_");
  } else if (key == "Section") {
    words("s_");
  } else if (key == "Description") {
    words("");
  } else if (label == debian_label::tags) {
    if (key == "Tag") add_tags(value, p.labels);
  } else {
    for (const char* relation : {"Depends", "Pre-Depends", "Recommends", "Suggests", "Enhances"})
      if (key == relation) add_names(value, p.labels);
  }
}

std::vector<package> read_packages(std::istream& in, debian_label label) {
  std::vector<package> all;
  std::unordered_set<std::string> names;
  package now;
  std::string line, key, value;
  const auto end_field = [&] {
    if (!key.empty()) take_field(now, key, value, label);
    key.clear();
    value.clear();
  };
  const auto end_package = [&] {
    end_field();
    std::sort(now.labels.begin(), now.labels.end());
    now.labels.erase(std::unique(now.labels.begin(), now.labels.end()), now.labels.end());
    if (!now.name.empty() && names.insert(now.name).second) all.push_back(std::move(now));
    now = {};
  };
  while (std::getline(in, line)) {
    if (line.empty()) {
      end_package();
    } else if (line[0] == ' ' || line[0] == '\t') {
      value += line;
    } else {
      end_field();
      const std::size_t colon = line.find(':');
      if (colon == line.npos) continue;
      key = line.substr(0, colon);
      value = line.substr(std::min(colon + 1, line.size()));
      value.erase(0, std::min(value.find_first_not_of(' '), value.size()));
      if (key == "Description-en") key = "Description";
    }
  }
  end_package();
  return all;
}

bool for_test(const std::string& name) {
  std::uint64_t h = 0;
  for (const char c : name) h = skim::mix64(h + static_cast<unsigned char>(c));
  return h % 5 == 0;
}

}  // namespace

skim::id_t vocabulary::add(std::string_view word) {
  const auto [at, is_new] =
      columns_.try_emplace(std::string(word), static_cast<skim::id_t>(words_.size()));
  if (is_new) words_.emplace_back(word);
  return at->second;
}

std::vector<skim::id_t> vocabulary::settle(const std::vector<std::size_t>& document_counts,
                                           std::size_t documents) {
  std::vector<skim::id_t> moved(words_.size());
  std::vector<std::string> kept;
  rarity_.clear();
  columns_.clear();
  for (std::size_t w = 0; w < words_.size(); ++w) {
    moved[w] = static_cast<skim::id_t>(words_.size());
    if (document_counts[w] < 2) continue;
    moved[w] = static_cast<skim::id_t>(kept.size());
    columns_.emplace(words_[w], moved[w]);
    rarity_.push_back(
        std::log(static_cast<double>(documents) / static_cast<double>(document_counts[w])));
    kept.push_back(std::move(words_[w]));
  }
  words_ = std::move(kept);
  return moved;
}

std::vector<std::pair<skim::id_t, float>> vocabulary::row(
    const std::vector<std::string>& words) const {
  std::vector<skim::id_t> ids;
  for (const auto& w : words)
    if (const auto at = columns_.find(w); at != columns_.end()) ids.push_back(at->second);
  std::sort(ids.begin(), ids.end());
  std::vector<std::pair<skim::id_t, float>> row;
  double square = 0;
  for (std::size_t i = 0; i < ids.size();) {
    std::size_t end = i;
    while (end < ids.size() && ids[end] == ids[i]) ++end;
    const double weight = (1 + std::log(static_cast<double>(end - i))) * rarity_[ids[i]];
    if (weight > 0) {
      row.emplace_back(ids[i], static_cast<float>(weight));
      square += weight * weight;
    }
    i = end;
  }
  for (auto& [id, weight] : row)
    weight = static_cast<float>(static_cast<double>(weight) / std::sqrt(square));
  return row;
}

std::vector<std::string> words_of(std::string_view text, std::string_view prefix) {
  std::vector<std::string> words;
  std::string word;
  const auto end = [&] {
    if (word.size() > 1) words.push_back(std::string(prefix) + word);
    word.clear();
  };
  for (const char c : text) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
      word += upper ? static_cast<char>(c + 32) : c;
    else
      end();
  }
  end();
  return words;
}

debian_problem parse_debian_index(std::istream& in, const std::string& source, debian_label label) {
  const std::vector<package> packages = read_packages(in, label);
  std::unordered_map<std::string, std::size_t> uses;
  for (const auto& p : packages)
    for (const auto& l : p.labels) ++uses[l];
  const std::size_t most = packages.size() / 20;
  std::vector<std::string> names;
  for (const auto& [name, count] : uses)
    if (count > 1 && (count <= most || label == debian_label::tags)) names.push_back(name);
  std::sort(names.begin(), names.end());
  std::unordered_map<std::string, skim::label_t> ids;
  for (std::size_t i = 0; i < names.size(); ++i)
    ids.emplace(names[i], static_cast<skim::label_t>(i));

  debian_problem problem;
  std::vector<std::size_t> document_counts;
  std::size_t documents = 0;
  for (const auto& p : packages) {
    if (for_test(p.name)) continue;
    ++documents;
    std::unordered_set<skim::id_t> seen;
    for (const auto& w : p.words) {
      const skim::id_t column = problem.words.add(w);
      document_counts.resize(problem.words.size());
      if (seen.insert(column).second) ++document_counts[column];
    }
  }
  static_cast<void>(problem.words.settle(document_counts, documents));
  for (dataset* set : {&problem.sets.train, &problem.sets.test}) {
    set->name = source;
    set->features = storage::sparse;
    set->kind = label_kind::multi;
    set->classes = names.size();
    set->class_names = names;
    set->cols = problem.words.size();
  }
  for (const auto& p : packages) {
    dataset& set = for_test(p.name) ? problem.sets.test : problem.sets.train;
    const std::size_t before = set.multi_ids.size();
    for (const auto& l : p.labels)
      if (const auto at = ids.find(l); at != ids.end()) set.multi_ids.push_back(at->second);
    if (set.multi_ids.size() == before) continue;  // nothing to predict
    for (const auto& [column, weight] : problem.words.row(p.words)) {
      set.indices.push_back(column);
      set.values.push_back(weight);
    }
    set.offsets.push_back(set.indices.size());
    set.multi_offsets.push_back(set.multi_ids.size());
    ++set.rows;
  }
  if (problem.sets.train.rows == 0 || problem.sets.test.rows == 0 || problem.words.size() == 0)
    throw data_error::in_file(source, "holds " + std::to_string(packages.size()) +
                                          " packages, too few to learn from, wanted the stanzas of "
                                          "apt-cache dumpavail");
  return problem;
}

debian_problem load_debian_index(const std::string& file, debian_label label) {
  if (!file.empty()) {
    std::ifstream in(file);
    if (!in) throw data_error::in_file(file, "cannot be opened, wanted a list of packages");
    return parse_debian_index(in, file, label);
  }
  const std::string command = "apt-cache dumpavail";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(
      ::popen((command + " 2>/dev/null").c_str(), "r"), ::pclose);
  std::string text;
  if (pipe) {
    std::array<char, 1 << 16> part;
    while (const std::size_t n = std::fread(part.data(), 1, part.size(), pipe.get()))
      text.append(part.data(), n);
  }
  if (text.empty())
    throw data_error(
        "debian-index: `apt-cache dumpavail` printed nothing, wanted the package index "
        "of a Debian or Ubuntu machine (apt-get update fetches it)");
  std::istringstream in(std::move(text));
  return parse_debian_index(in, command, label);
}

std::vector<std::pair<skim::id_t, float>> row_of_sentence(const vocabulary& words,
                                                          std::string_view sentence) {
  std::vector<std::string> all = words_of(sentence);
  for (auto& w : words_of(sentence, "n_")) all.push_back(std::move(w));
  return words.row(all);
}

}  // namespace skim_examples
