// SPDX-License-Identifier: Apache-2.0
//
// The package index of a Debian machine as an extreme multi-label problem: from what a package is said to
// be to what it depends on.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/dataset.hpp"

namespace skim_examples {

/// Words as columns: what turns a text into a row.
class vocabulary {
 public:
  /// Column of a word that may be new.
  skim::id_t add(std::string_view word);
  /// Weights by rarity, (1 + log tf) log(documents / df), from the rows counted so far: keeps words of
  /// two documents or more and returns each old column's new one, or nothing as the size().
  [[nodiscard]] std::vector<skim::id_t> settle(const std::vector<std::size_t>& document_counts,
                                               std::size_t documents);
  /// Unit row of the words that are known: ascending columns and weights.
  [[nodiscard]] std::vector<std::pair<skim::id_t, float>> row(
      const std::vector<std::string>& words) const;
  [[nodiscard]] std::size_t size() const noexcept { return words_.size(); }

 private:
  std::unordered_map<std::string, skim::id_t> columns_;
  std::vector<std::string> words_;
  std::vector<double> rarity_;
};

/// Lower-case words of letters and digits, of two characters or more.
[[nodiscard]] std::vector<std::string> words_of(std::string_view text,
                                                std::string_view prefix = "");

struct debian_problem {
  train_test sets;  ///< class_names are what is to be predicted
  vocabulary words;
};

enum class debian_label { depends, tags };

/// Reads stanzas as apt-cache dumpavail prints them. Of the packages, chosen by name, a fifth is the test
/// set. Labels of one package alone, or of more than a twentieth of all, are left out. Throws data_error
/// naming the source if it holds nothing to learn.
[[nodiscard]] debian_problem parse_debian_index(std::istream& in, const std::string& source,
                                                debian_label label);

/// The same of a file, or of this machine's index if there is none. Throws data_error that tells how
/// to get one if the machine has no apt-cache.
[[nodiscard]] debian_problem load_debian_index(const std::string& file, debian_label label);

/// The row of a sentence that a person typed.
[[nodiscard]] std::vector<std::pair<skim::id_t, float>> row_of_sentence(const vocabulary& words,
                                                                        std::string_view sentence);

}  // namespace skim_examples
