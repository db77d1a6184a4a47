// SPDX-License-Identifier: Apache-2.0
//
// What train_extreme makes of a package index, and how it counts.
#include <cmath>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "data/error.hpp"
#include "support/catch.hpp"
#include "train_extreme/debian_index.hpp"
#include "train_extreme/training.hpp"

using skim_examples::debian_label;
using skim_examples::label_kind;

namespace {

// Packages by the dozen, so that labels are neither rare nor common.
std::string stanzas() {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    const std::string k = std::to_string(i % 30);
    text += "Package: tool-" + std::to_string(i) + "\nVersion: 1\nSection: net\nDepends: lib" + k +
            " (>= 1.2~a) | alt" + k + ":any, common\nSuggests: lib" + k + "\nTag: role::r" + k +
            ",\n use::all\nDescription: Subject" + k + " tool\n\n";
  }
  return text + "Package: tool-0\nDepends: twice\n";
}

}  // namespace

TEST_CASE("words are lower case and long enough", "[unit]") {
  CHECK(skim_examples::words_of("A fast HTTP/2 server, x86", "d_") ==
        std::vector<std::string>{"d_fast", "d_http", "d_server", "d_x86"});
  CHECK(skim_examples::words_of("").empty());
}

TEST_CASE("a package index becomes rows and labels", "[unit]") {
  std::istringstream in(stanzas());
  const auto p = skim_examples::parse_debian_index(in, "test", debian_label::depends);
  const auto& train = p.sets.train;
  // lib and alt names of 30 kinds; "common" is on every package, "twice" on none that is first.
  CHECK(train.classes == 60);
  CHECK(train.class_names.front() == "alt0");
  CHECK(train.rows + p.sets.test.rows == 300);
  CHECK(p.sets.test.rows > 30);
  CHECK(train.kind == label_kind::multi);
  for (std::size_t i = 0; i < train.rows; ++i) {
    CHECK(train.label_set(i).size() == 2);
    const auto row = train.sparse_view().row(i);
    double square = 0;
    for (const float v : row.values) square += static_cast<double>(v) * static_cast<double>(v);
    CHECK(std::abs(square - 1) < 1e-5);
  }
  train.sparse_view().validate();
  const auto asked = skim_examples::row_of_sentence(p.words, "a subject7 unheard of");
  CHECK(asked.size() == 1);

  std::istringstream again(stanzas());
  const auto tags = skim_examples::parse_debian_index(again, "test", debian_label::tags);
  CHECK(tags.sets.train.classes == 31);
  std::istringstream nothing("Package: a\n");
  CHECK_THROWS_AS(skim_examples::parse_debian_index(nothing, "x", debian_label::depends),
                  skim_examples::data_error);
}

TEST_CASE("precision counts hits among the first", "[unit]") {
  skim_examples::dataset data;
  data.kind = label_kind::multi;
  data.rows = 2;
  data.multi_ids = {1, 4, 2};
  data.multi_offsets = {0, 2, 3};
  const std::vector<skim::label_score> best{{4, 9}, {3, 8}, {1, 7}, {5, 6}, {6, 5},
                                            {0, 9}, {1, 8}, {3, 7}, {2, 6}, {4, 5}};
  const auto at = skim_examples::precision_of(data, {best.data(), 2, 5});
  CHECK(at[0] == 0.5);
  CHECK(std::abs(at[1] - 1.0 / 3) < 1e-12);
  CHECK(std::abs(at[2] - 0.3) < 1e-12);
}

TEST_CASE("a part of the rows is held out whole", "[unit]") {
  std::istringstream in(stanzas());
  auto all = skim_examples::parse_debian_index(in, "test", debian_label::depends).sets.train;
  const std::size_t rows = all.rows, nonzeros = all.indices.size();
  const auto both = skim_examples::hold_out(std::move(all), 0.25, 1);
  CHECK(both.train.rows + both.test.rows == rows);
  CHECK(both.train.indices.size() + both.test.indices.size() == nonzeros);
  CHECK(both.test.rows > rows / 8);
  both.train.sparse_view().validate();
  both.test.sparse_view().validate();
}
