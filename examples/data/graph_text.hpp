// SPDX-License-Identifier: Apache-2.0
//
// Reader of graphs with labels, in the text format of "powerful-gnns".
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/bytes.hpp"
#include "data/error.hpp"
#include "data/text.hpp"
#include "skim/graph/graph.hpp"

namespace skim_examples {

/// Graphs with one class each.
struct graph_set {
  std::string name;
  std::vector<skim::graph> graphs;
  std::vector<std::size_t> labels;       ///< below classes()
  std::vector<std::string> class_names;  ///< as written, in ascending order of their numbers

  [[nodiscard]] std::size_t classes() const noexcept { return class_names.size(); }
};

namespace detail {

class graph_parser {
 public:
  explicit graph_parser(const std::string& file) : in_(file) {}

  graph_set parse() {
    graph_set set;
    set.name = in_.file();
    const std::size_t count = header("the number of graphs");
    std::vector<std::uint64_t> labels;
    for (std::size_t i = 0; i < count; ++i) {
      const auto line = next("graph " + std::to_string(i) + " of " + std::to_string(count));
      std::array<std::uint64_t, 2> sizes{};
      take(line, sizes, "nodes label");
      if (!rest_.empty()) throw in_.error("got " + shown(rest_) + " after nodes and label");
      labels.push_back(sizes[1]);
      set.graphs.push_back(nodes(static_cast<std::size_t>(sizes[0]), i));
    }
    while (const auto line = in_.next())
      if (!trimmed(*line).empty())
        throw in_.error("a line more than the " + std::to_string(count) +
                        " graphs that the header promises");
    std::vector<std::uint64_t> names = labels;
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (const auto n : names) set.class_names.push_back(std::to_string(n));
    for (const auto l : labels)
      set.labels.push_back(static_cast<std::size_t>(
          std::lower_bound(names.begin(), names.end(), l) - names.begin()));
    return set;
  }

 private:
  std::string_view next(const std::string& wanted) {
    const auto line = in_.next();
    if (!line) throw in_.error("the file ends here, wanted " + wanted);
    return *line;
  }

  std::size_t header(const char* wanted) {
    std::array<std::uint64_t, 1> count{};
    take(next(wanted), count, wanted);
    if (!rest_.empty()) throw in_.error("got " + shown(rest_) + ", wanted " + wanted + " alone");
    if (count[0] == 0) throw in_.error("no graphs, wanted at least one");
    const auto most = in_.source().capacity();
    if (most && count[0] > *most)
      throw in_.error("the header promises " + std::to_string(count[0]) +
                      " graphs, more than the file has bytes");
    return static_cast<std::size_t>(count[0]);
  }

  // Whole numbers from the front of the line; what follows them stays in rest_.
  template <std::size_t N>
  void take(std::string_view line, std::array<std::uint64_t, N>& numbers, const char* wanted) {
    rest_ = trimmed(line);
    for (auto& n : numbers) n = number(wanted);
  }
  std::uint64_t number(const std::string& wanted) {
    const auto n = parse_count(rest_.data(), rest_.data() + rest_.size());
    const bool ended = n.status == number_status::ok &&
                       (n.next == rest_.data() + rest_.size() || *n.next == ' ' || *n.next == '\t');
    if (!ended) throw in_.error("got " + shown(rest_) + ", wanted " + wanted);
    rest_ = trimmed(rest_.substr(static_cast<std::size_t>(n.next - rest_.data())));
    return n.value;
  }

  skim::graph nodes(std::size_t count, std::size_t which) {
    constexpr std::uint64_t most = std::numeric_limits<skim::id_t>::max();
    const auto bytes = in_.source().capacity();
    if (count >= most || (bytes && count > *bytes))
      throw in_.error("a graph of " + std::to_string(count) + " nodes, more than can follow");
    std::vector<skim::graph_edge> edges, backward;
    std::vector<skim::id_t> tags;
    std::vector<float> features;
    std::optional<std::size_t> dim;
    for (std::size_t u = 0; u < count; ++u) {
      const auto line = next("node " + std::to_string(u) + " of graph " + std::to_string(which));
      std::array<std::uint64_t, 2> start{};
      take(line, start, "tag degree neighbours");
      if (start[0] >= most) throw in_.error("tag " + std::to_string(start[0]) + ", wanted less");
      tags.push_back(static_cast<skim::id_t>(start[0]));
      for (std::uint64_t k = 0; k < start[1]; ++k) {
        const auto v = number(std::to_string(start[1]) + " neighbours");
        if (v >= count || v == u)
          throw in_.error("neighbour " + std::to_string(v) + " of node " + std::to_string(u) +
                          ", wanted another node below " + std::to_string(count));
        const auto a = static_cast<skim::id_t>(u), b = static_cast<skim::id_t>(v);
        if (a < b)
          edges.push_back({a, b});
        else
          backward.push_back({b, a});
      }
      std::size_t found = 0;
      for (; !rest_.empty(); ++found) {
        const auto x = parse_float(rest_.data(), rest_.data() + rest_.size());
        const bool ended =
            x.status == number_status::ok &&
            (x.next == rest_.data() + rest_.size() || *x.next == ' ' || *x.next == '\t');
        if (!ended)
          throw in_.error("got " + shown(rest_) + ", " + describe(x.status) +
                          " as a feature of the node");
        features.push_back(x.value);
        rest_ = trimmed(rest_.substr(static_cast<std::size_t>(x.next - rest_.data())));
      }
      if (dim && *dim != found)
        throw in_.error(std::to_string(found) + " features, wanted " + std::to_string(*dim) +
                        " as of the nodes before");
      dim = found;
    }
    const auto ascending = [](const skim::graph_edge& a, const skim::graph_edge& b) {
      return std::pair(a.from, a.to) < std::pair(b.from, b.to);
    };
    std::sort(edges.begin(), edges.end(), ascending);
    std::sort(backward.begin(), backward.end(), ascending);
    if (edges != backward)
      throw in_.error("graph " + std::to_string(which) +
                      " ends here, wanted every edge at both of its ends");
    try {
      if (dim.value_or(0) == 0) return skim::graph(count, edges, tags);
      return skim::graph(count, edges, skim::matrix_view<const float>(features.data(), count, *dim),
                         tags);
    } catch (const skim::invalid_input& e) {
      throw in_.error(e.what());
    }
  }

  line_reader in_;
  std::string_view rest_;
};

}  // namespace detail

/// Reads graphs: the number of graphs; for each a line "nodes label" and for each node a line "tag
/// degree neighbour ..." (ids from 0, every edge at both ends), after which features may follow.
///
/// Throws data_error naming the line.
///
/// Cost:    O(bytes), and a sort of each graph's edges.
[[nodiscard]] inline graph_set load_graphs(const std::string& file) {
  return detail::graph_parser(file).parse();
}

}  // namespace skim_examples
