// SPDX-License-Identifier: Apache-2.0
//
// Sparse rows from text: the extreme-classification (XC) format and LIBSVM's.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
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

/// Rows of a sparse text file. Of a LIBSVM file the feature ids are as written until base_at() has
/// been called, and the labels are still to be given a meaning.
struct sparse_text {
  dataset data;
  std::optional<label_column> labels;  ///< LIBSVM only; XC labels are in data
  skim::id_t smallest_id = std::numeric_limits<skim::id_t>::max();

  [[nodiscard]] bool is_libsvm() const noexcept { return labels.has_value(); }

  /// Makes LIBSVM ids count from 0, given the base (0 or 1) that they count from.
  void base_at(skim::id_t base) {
    for (auto& id : data.indices) id -= base;
    data.cols -= std::min<std::size_t>(base, data.cols);
  }
};

namespace detail {

/// "rows features labels" and nothing else, which no LIBSVM line can be.
[[nodiscard]] inline std::optional<std::array<std::uint64_t, 3>> xc_header(std::string_view line) {
  std::array<std::uint64_t, 3> sizes{};
  for (auto& size : sizes) {
    line = trimmed(line);
    const auto n = parse_count(line.data(), line.data() + line.size());
    if (n.status != number_status::ok) return std::nullopt;
    size = n.value;
    line.remove_prefix(static_cast<std::size_t>(n.next - line.data()));
    if (!line.empty() && line.front() != ' ' && line.front() != '\t') return std::nullopt;
  }
  if (!trimmed(line).empty()) return std::nullopt;
  return sizes;
}

class sparse_parser {
 public:
  sparse_parser(const line_reader& in, dataset& data, std::uint64_t most_features)
      : in_(in), data_(data), most_features_(most_features) {}

  /// Appends the "id:value" pairs of text as one row, in ascending order of their ids.
  void features(const char* p, const char* end) {
    const std::size_t begin = data_.indices.size();
    bool ascending = true;
    for (;;) {
      while (p != end && (*p == ' ' || *p == '\t')) ++p;
      if (p == end) break;
      const auto id = parse_count(p, end);
      if (id.status != number_status::ok || id.next == end || *id.next != ':') {
        throw in_.error("got " + shown(token(p, end)) + ", wanted id:value");
      }
      if (id.value >= most_features_) {
        throw in_.error("feature " + std::to_string(id.value) + ", wanted ids below " +
                        std::to_string(most_features_));
      }
      const auto value = parse_float(id.next + 1, end);
      if (value.status != number_status::ok ||
          (value.next != end && *value.next != ' ' && *value.next != '\t')) {
        const auto status =
            value.status == number_status::ok ? number_status::not_a_number : value.status;
        throw in_.error("got " + shown(token(p, end)) + ", " + describe(status) + " after the ':'");
      }
      const auto id32 = static_cast<skim::id_t>(id.value);
      ascending = ascending && (data_.indices.size() == begin || data_.indices.back() < id32);
      data_.indices.push_back(id32);
      data_.values.push_back(value.value);
      p = value.next;
    }
    if (!ascending) sort_row(begin);
    data_.offsets.push_back(data_.indices.size());
    ++data_.rows;
  }

 private:
  [[nodiscard]] static std::string_view token(const char* p, const char* end) {
    return {p, static_cast<std::size_t>(std::find(p, end, ' ') - p)};
  }

  void sort_row(std::size_t begin) {
    order_.clear();
    for (std::size_t k = begin; k < data_.indices.size(); ++k) {
      order_.emplace_back(data_.indices[k], data_.values[k]);
    }
    std::sort(order_.begin(), order_.end());
    for (std::size_t k = 0; k < order_.size(); ++k) {
      if (k > 0 && order_[k].first == order_[k - 1].first) {
        throw in_.error("feature " + std::to_string(order_[k].first) + " twice, wanted it once");
      }
      data_.indices[begin + k] = order_[k].first;
      data_.values[begin + k] = order_[k].second;
    }
  }

  const line_reader& in_;
  dataset& data_;
  std::uint64_t most_features_;
  std::vector<std::pair<skim::id_t, float>> order_;
};

inline void load_xc(line_reader& in, const std::array<std::uint64_t, 3>& sizes, dataset& data) {
  const auto [rows, features, classes] = sizes;
  constexpr std::uint64_t most = std::numeric_limits<skim::id_t>::max();
  if (rows == 0 || features == 0 || features > most || classes > most) {
    throw in.error("header " + std::to_string(rows) + " " + std::to_string(features) + " " +
                   std::to_string(classes) +
                   ", wanted rows, features and labels of at least 1, 1 "
                   "and 0 and below 2^32");
  }
  data.cols = static_cast<std::size_t>(features);
  data.classes = static_cast<std::size_t>(classes);
  sparse_parser parser(in, data, features);
  bool one_label_each = true;
  while (auto line = in.next()) {
    if (data.rows == rows) {
      if (trimmed(*line).empty()) continue;
      throw in.error("a row more than the " + std::to_string(rows) + " that the header promises");
    }
    const char* p = line->data();
    const char* const end = p + line->size();
    const std::size_t begin = data.multi_ids.size();
    // labels end at the first blank; a first word with a ':' is already a feature
    const char* const stop = std::find_if(p, end, [](char c) { return c == ' ' || c == '\t'; });
    if (p != stop && std::find(p, stop, ':') == stop) {
      for (;;) {
        const auto id = parse_count(p, stop);
        if (id.status != number_status::ok || (id.next != stop && *id.next != ',')) {
          throw in.error("labels " +
                         shown({line->data(), static_cast<std::size_t>(stop - line->data())}) +
                         ", wanted whole numbers with commas between them");
        }
        if (id.value >= classes) {
          throw in.error("label " + std::to_string(id.value) +
                         " is outside the range, wanted ids below " + std::to_string(classes));
        }
        data.multi_ids.push_back(static_cast<skim::label_t>(id.value));
        if (id.next == stop) break;
        p = id.next + 1;
      }
      p = stop;
      const auto first = data.multi_ids.begin() + static_cast<std::ptrdiff_t>(begin);
      if (!std::is_sorted(first, data.multi_ids.end())) std::sort(first, data.multi_ids.end());
      data.multi_ids.erase(std::unique(first, data.multi_ids.end()), data.multi_ids.end());
    }
    one_label_each = one_label_each && data.multi_ids.size() == begin + 1;
    data.multi_offsets.push_back(data.multi_ids.size());
    parser.features(p, end);
  }
  if (data.rows != rows) {
    throw in.error("the file ends after " + std::to_string(data.rows) + " rows, wanted the " +
                   std::to_string(rows) + " that the header promises");
  }
  data.kind = label_kind::multi;
  if (classes == 0) data.kind = label_kind::none;
  if (one_label_each && classes > 0) {
    data.labels = std::move(data.multi_ids);
    data.multi_ids.clear();
    data.multi_offsets.assign(1, 0);
    data.kind = label_kind::classes;
  }
}

inline void load_libsvm(line_reader& in, std::string_view line, sparse_text& out) {
  dataset& data = out.data;
  label_column& labels = out.labels.emplace();
  labels.file = in.file();
  labels.first_line = 1;
  constexpr std::uint64_t most = std::numeric_limits<skim::id_t>::max();
  sparse_parser parser(in, data, most);
  for (;;) {
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) {
      const std::size_t at = in.line();
      while (const auto next = in.next()) {
        if (!trimmed(*next).empty()) {
          throw data_error::at_line(in.file(), at, "empty line, wanted label id:value ...");
        }
      }
      break;
    }
    const char* const end = line.data() + line.size();
    const char* const stop =
        std::find_if(line.data(), end, [](char c) { return c == ' ' || c == '\t'; });
    const std::string_view text(line.data(), static_cast<std::size_t>(stop - line.data()));
    const auto label = whole_double(text);
    if (label.status != number_status::ok) {
      throw in.error(
          "got " + shown(text) + ", " + describe(label.status) +
          " as the label of a LIBSVM row (or 'rows features labels' as the first line of "
          "an XC file)");
    }
    if (std::abs(label.value) > static_cast<double>(std::numeric_limits<float>::max())) {
      throw in.error("label " + shown(text) + ", " + describe(number_status::out_of_range));
    }
    labels.numbers.push_back(label.value);
    const std::size_t begin = data.indices.size();
    parser.features(stop, end);
    if (data.indices.size() > begin) {
      out.smallest_id = std::min(out.smallest_id, data.indices[begin]);
      data.cols = std::max<std::size_t>(data.cols, std::size_t{data.indices.back()} + 1);
    }
    const auto next = in.next();
    if (!next) break;
    line = *next;
  }
  if (data.cols == 0) throw data_error::in_file(in.file(), "no features, wanted id:value pairs");
}

}  // namespace detail

/// Reads XC text ("rows features labels", then "l,l id:value ...", ids from 0) or, where the first
/// line is no such header, LIBSVM text ("label id:value ...").
///
/// Ids may come in any order. Throws data_error naming the line.
///
/// Cost:    O(bytes); about 40 ns a pair.
[[nodiscard]] inline sparse_text load_sparse_text(const std::string& file) {
  line_reader in(file);
  const auto line = in.next();
  if (!line) throw data_error::in_file(file, "empty file, wanted XC or LIBSVM text");
  sparse_text out;
  out.data.name = file;
  out.data.features = storage::sparse;
  if (const auto sizes = detail::xc_header(*line)) {
    detail::load_xc(in, *sizes, out.data);
  } else {
    detail::load_libsvm(in, *line, out);
  }
  return out;
}

}  // namespace skim_examples
