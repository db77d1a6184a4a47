// SPDX-License-Identifier: Apache-2.0
//
// Numeric tables from CSV files.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/bytes.hpp"
#include "data/dataset.hpp"
#include "data/error.hpp"
#include "data/labels.hpp"
#include "data/text.hpp"

namespace skim_examples {

enum class csv_header { automatic, present, absent };

struct csv_options {
  /// Which column holds the label: empty for the last, a number counted from 0 (negative: from the
  /// end), a name in the header, or "none".
  std::string label;
  csv_header header = csv_header::automatic;
};

/// Features and the label column of a CSV file, before it is decided what the labels mean.
struct csv_table {
  dataset data;
  std::optional<label_column> labels;
};

namespace detail {

/// Splits a line into trimmed fields. A field may stand in double quotes; a quote inside is
/// doubled, and only such fields are copied (to `unquoted`).
inline void split_fields(const line_reader& in, std::string_view line, char separator,
                         std::vector<std::string_view>& fields, std::string& unquoted) {
  fields.clear();
  unquoted.clear();
  unquoted.reserve(line.size());  // views into it must stay valid
  for (std::size_t at = 0;;) {
    while (at < line.size() && line[at] == ' ') ++at;
    if (at < line.size() && line[at] == '"') {
      const std::size_t begin = unquoted.size();
      bool closed = false;
      for (++at; at < line.size(); ++at) {
        if (line[at] != '"') {
          unquoted += line[at];
        } else if (at + 1 < line.size() && line[at + 1] == '"') {
          unquoted += '"';
          ++at;
        } else {
          closed = true;
          ++at;
          break;
        }
      }
      if (!closed) throw in.error("a quoted field is not closed on its line, wanted '\"'");
      while (at < line.size() && line[at] == ' ') ++at;
      if (at < line.size() && line[at] != separator) {
        throw in.error("text follows a quoted field, wanted a separator");
      }
      fields.push_back(trimmed(std::string_view(unquoted).substr(begin)));
    } else {
      const std::size_t stop = std::min(line.find(separator, at), line.size());
      fields.push_back(trimmed(line.substr(at, stop - at)));
      at = stop;
    }
    if (at >= line.size()) return;
    ++at;  // the separator; a line that ends in one ends in an empty field
    if (at == line.size()) {
      fields.emplace_back();
      return;
    }
  }
}

[[nodiscard]] inline char guess_separator(std::string_view line) {
  char best = ',';
  std::ptrdiff_t most = 0;
  for (const char c : {',', ';', '\t'}) {
    const auto count = std::count(line.begin(), line.end(), c);
    if (count > most) {
      most = count;
      best = c;
    }
  }
  return best;
}

[[nodiscard]] inline bool looks_like_header(const std::vector<std::string_view>& fields) {
  std::size_t names = 0;
  for (const auto field : fields) {
    if (field.empty()) continue;  // the corner above an index column
    const auto status = whole_double(field).status;
    if (status != number_status::not_a_number) return false;
    ++names;
  }
  return names > 0;
}

/// Resolves csv_options::label to a column, or nothing for "none".
[[nodiscard]] inline std::optional<std::size_t> label_position(
    const line_reader& in, const std::string& wanted, const std::vector<std::string>& names,
    std::size_t columns) {
  if (wanted.empty()) return columns - 1;
  if (wanted == "none") return std::nullopt;
  const auto found = std::find(names.begin(), names.end(), wanted);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const auto number = whole_double(wanted);
  const double limit = static_cast<double>(columns);
  if (number.status == number_status::ok && number.value == std::floor(number.value) &&
      number.value < limit && number.value >= -limit) {
    return static_cast<std::size_t>(number.value < 0 ? number.value + limit : number.value);
  }
  throw in.error("no label column " + shown(wanted) +
                 ", wanted a name in the header, a number from " + "0 to " +
                 std::to_string(columns - 1) + " (negative counts from the end), or none");
}

}  // namespace detail

/// Reads a CSV file: numbers with one label column, which may hold texts.
///
/// The separator (comma, semicolon or tab) and a header are recognised from the first line; it is a
/// header if none of its fields is a number. Throws data_error naming the line on a field that is
/// not a finite number, a line with more or fewer fields than the first, an empty file.
///
/// Cost:    O(bytes); about 50 ns a number.
[[nodiscard]] inline csv_table load_csv(const std::string& file, const csv_options& options = {}) {
  line_reader in(file);
  auto line = in.next();
  if (!line) throw data_error::in_file(file, "empty file, wanted a CSV table");
  if (line->starts_with("\xef\xbb\xbf")) line->remove_prefix(3);
  const char separator = detail::guess_separator(*line);

  csv_table table;
  std::vector<std::string_view> fields;
  std::string unquoted;
  detail::split_fields(in, *line, separator, fields, unquoted);
  const std::size_t columns = fields.size();
  std::vector<std::string> names;
  // a first line of texts alone may also be a single column of text labels; that is no table
  const bool header =
      options.header == csv_header::present ||
      (options.header == csv_header::automatic && detail::looks_like_header(fields));
  if (header) {
    names.assign(fields.begin(), fields.end());
    line = in.next();
    if (!line)
      throw in.error("only a header, wanted rows of " + std::to_string(columns) + " fields");
  }
  const auto label = detail::label_position(in, options.label, names, columns);
  dataset& data = table.data;
  data.name = file;
  data.cols = columns - (label ? 1 : 0);
  if (data.cols == 0) {
    throw in.error("one column, wanted at least one feature beside the label");
  }
  if (header) {
    data.feature_names = names;
    if (label)
      data.feature_names.erase(data.feature_names.begin() + static_cast<std::ptrdiff_t>(*label));
  }
  label_column labels;
  labels.file = file;
  labels.first_line = in.line();
  const auto field_error = [&](std::size_t column, std::string_view field, number_status status) {
    return in.error("column " + std::to_string(column) +
                    (column < names.size() ? " (" + names[column] + ")" : std::string()) + " is " +
                    (field.empty() ? "empty" : shown(field)) + ", " + describe(status));
  };
  for (bool first = true; line; line = in.next(), first = false) {
    if (trimmed(*line).empty()) {  // allowed at the end of the file only
      const std::size_t at = in.line();
      while ((line = in.next())) {
        if (!trimmed(*line).empty()) {
          throw data_error::at_line(file, at,
                                    "empty line, wanted " + std::to_string(columns) + " fields");
        }
      }
      break;
    }
    if (!(first && !header)) detail::split_fields(in, *line, separator, fields, unquoted);
    if (fields.size() != columns) {
      throw in.error(std::to_string(fields.size()) + " fields, wanted " + std::to_string(columns) +
                     " as in the first line");
    }
    for (std::size_t c = 0; c < columns; ++c) {
      if (label && c == *label) {
        const auto number = whole_double(fields[c]);
        if (number.status == number_status::ok && labels.texts.empty()) {
          if (std::abs(number.value) > static_cast<double>(std::numeric_limits<float>::max())) {
            throw field_error(c, fields[c], number_status::out_of_range);
          }
          labels.numbers.push_back(number.value);
        } else if (number.status == number_status::not_a_number && !fields[c].empty() &&
                   labels.numbers.empty()) {
          labels.texts.emplace_back(fields[c]);
        } else if (fields[c].empty() || !(number.status == number_status::ok ||
                                          number.status == number_status::not_a_number)) {
          throw field_error(c, fields[c], number.status);
        } else {
          throw in.error("label " + shown(fields[c]) + " in column " + std::to_string(c) +
                         ", wanted a " + (labels.texts.empty() ? "number" : "text") +
                         " as in the lines before");
        }
        continue;
      }
      const auto number = whole_float(fields[c]);
      if (number.status != number_status::ok) throw field_error(c, fields[c], number.status);
      data.dense.push_back(number.value);
    }
    ++data.rows;
  }
  if (data.rows == 0) throw data_error::in_file(file, "no rows, wanted at least one");
  if (label) table.labels = std::move(labels);
  return table;
}

}  // namespace skim_examples
