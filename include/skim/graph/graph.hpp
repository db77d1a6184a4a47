// SPDX-License-Identifier: Apache-2.0
//
// Small undirected graphs whose nodes have tags or feature vectors.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/archive.hpp"
#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0 {

/// An edge between two nodes, in either order.
struct graph_edge {
  id_t from = 0, to = 0;

  friend constexpr bool operator==(graph_edge, graph_edge) noexcept = default;
};

/// An undirected graph without loops or parallel edges, with a tag a node and perhaps a vector.
///
/// Shape:   nodes 0 .. nodes() - 1; neighbours ascend; features (nodes, d), d = 0 for none.
/// Memory:  8 bytes for each edge, 12 and 4 d for each node.
/// Cost:    construction O(edges log(edges)); every accessor O(1).
/// Threads: const members may run concurrently.
/// Ref:     compressed sparse rows; the tags are those of Weisfeiler and Leman 1968, NTI 2(9).
class graph {
 public:
  graph() = default;

  /// Tags are all 0 if none are given. Throws invalid_input if there are neither none nor a tag for
  /// each node, if an edge leaves the graph, is a loop or comes twice (in either order).
  explicit graph(std::size_t nodes, std::span<const graph_edge> edges = {},
                 std::span<const id_t> tags = {}) {
    if (nodes >= std::numeric_limits<id_t>::max())
      SKIM_THROW(invalid_input,
                 detail::concat("graph: got ", nodes, " nodes, wanted fewer than 2^32 - 1"));
    if (!tags.empty() && tags.size() != nodes)
      SKIM_THROW(invalid_input, detail::concat("graph: got ", tags.size(), " tags for ", nodes,
                                               " nodes, wanted one each or none"));
    for (const graph_edge e : edges)
      if (e.from >= nodes || e.to >= nodes || e.from == e.to)
        SKIM_THROW(invalid_input, detail::concat("graph: got an edge from ", e.from, " to ", e.to,
                                                 ", wanted two different nodes below ", nodes));
    offsets_.assign(nodes + 1, 0);
    for (const graph_edge e : edges) {
      ++offsets_[e.from + std::size_t{1}];
      ++offsets_[e.to + std::size_t{1}];
    }
    for (std::size_t u = 0; u < nodes; ++u) offsets_[u + 1] += offsets_[u];
    neighbors_.resize(offsets_.back());
    std::vector<std::size_t> next(offsets_.begin(), offsets_.end() - 1);
    for (const graph_edge e : edges) {
      neighbors_[next[e.from]++] = e.to;
      neighbors_[next[e.to]++] = e.from;
    }
    for (std::size_t u = 0; u < nodes; ++u) {
      const auto row = std::span(neighbors_).subspan(offsets_[u], offsets_[u + 1] - offsets_[u]);
      std::sort(row.begin(), row.end());
      const auto twin = std::adjacent_find(row.begin(), row.end());
      if (twin != row.end())
        SKIM_THROW(invalid_input, detail::concat("graph: got the edge between ", u, " and ", *twin,
                                                 " twice, wanted it once"));
    }
    tags_.assign(tags.begin(), tags.end());
    if (tags.empty()) tags_.assign(nodes, 0);
  }

  /// With a vector for each node. Throws invalid_input also if there is not a row of features for
  /// each node or an element is not finite.
  graph(std::size_t nodes, std::span<const graph_edge> edges, matrix_view<const float> features,
        std::span<const id_t> tags = {})
      : graph(nodes, edges, tags) {
    if (features.rows() != nodes)
      SKIM_THROW(invalid_input, detail::concat("graph: got features of ", features.rows(),
                                               " nodes, wanted those of ", nodes));
    feature_dim_ = features.cols();
    features_.reserve(nodes * feature_dim_);
    for (std::size_t u = 0; u < nodes; ++u) {
      const auto row = features.row(u);
      if (!all_finite(row)) {
        const std::size_t at = first_non_finite(row);
        SKIM_THROW(invalid_input, detail::concat("graph: feature ", at, " of node ", u, " is ",
                                                 row[at], ", wanted finite ones"));
      }
      features_.insert(features_.end(), row.begin(), row.end());
    }
  }

  [[nodiscard]] std::size_t nodes() const noexcept { return tags_.size(); }
  [[nodiscard]] std::size_t edges() const noexcept { return neighbors_.size() / 2; }

  /// The nodes beside u, ascending. Pre: u < nodes().
  [[nodiscard]] std::span<const id_t> neighbors(std::size_t u) const noexcept {
    SKIM_EXPECTS(u < nodes());
    return std::span(neighbors_).subspan(offsets_[u], offsets_[u + 1] - offsets_[u]);
  }
  [[nodiscard]] std::size_t degree(std::size_t u) const noexcept { return neighbors(u).size(); }

  [[nodiscard]] std::span<const id_t> tags() const noexcept { return tags_; }
  [[nodiscard]] std::size_t feature_dim() const noexcept { return feature_dim_; }
  [[nodiscard]] matrix_view<const float> features() const noexcept {
    return {features_.data(), feature_dim_ == 0 ? 0 : nodes(), feature_dim_};
  }

  friend bool operator==(const graph&, const graph&) noexcept = default;

  /// Portable little-endian image.
  void save(writer& out) const {
    out.begin_frame("graph");
    out.put(std::span(tags_));
    std::vector<std::uint32_t> degrees(nodes());
    for (std::size_t u = 0; u < nodes(); ++u) degrees[u] = static_cast<std::uint32_t>(degree(u));
    out.put(std::span<const std::uint32_t>(degrees));
    out.put(std::span(neighbors_));
    out.put(static_cast<std::uint64_t>(feature_dim_));
    out.put(std::span(features_));
    out.end_frame();
  }

  /// Throws format_error on anything that save() did not write.
  [[nodiscard]] static graph load(reader& in) {
    in.begin_frame("graph");
    graph g;
    g.tags_ = in.get_vector<id_t>();
    const auto degrees = in.get_vector<std::uint32_t>();
    g.neighbors_ = in.get_vector<id_t>();
    const auto dim = in.get<std::uint64_t>();
    g.features_ = in.get_vector<float>();
    in.end_frame();
    if (degrees.size() != g.nodes() || g.nodes() >= std::numeric_limits<id_t>::max())
      SKIM_THROW(format_error, detail::concat("graph: ", degrees.size(), " degrees for ", g.nodes(),
                                              " nodes, wanted one each"));
    const bool shaped =
        dim == 0 ? g.features_.empty()
                 : g.features_.size() % dim == 0 && g.features_.size() / dim == g.nodes();
    if (!shaped || !all_finite(g.features_))
      SKIM_THROW(format_error,
                 detail::concat("graph: ", g.features_.size(), " features of ", g.nodes(),
                                " nodes, wanted ", dim, " finite ones each"));
    g.feature_dim_ = static_cast<std::size_t>(dim);
    g.offsets_.assign(1, 0);
    g.offsets_.reserve(g.nodes() + 1);
    for (const std::uint32_t d : degrees) g.offsets_.push_back(g.offsets_.back() + d);
    if (g.offsets_.back() != g.neighbors_.size())
      SKIM_THROW(format_error,
                 detail::concat("graph: ", g.neighbors_.size(), " neighbours, wanted the ",
                                g.offsets_.back(), " that the degrees add up to"));
    g.check_loaded();
    return g;
  }

 private:
  // Rows ascend, and every edge is at both of its ends.
  void check_loaded() const {
    for (std::size_t u = 0; u < nodes(); ++u) {
      const auto row = neighbors(u);
      for (std::size_t k = 0; k < row.size(); ++k) {
        const id_t v = row[k];
        if (v >= nodes() || v == u || (k > 0 && row[k - 1] >= v))
          SKIM_THROW(format_error,
                     detail::concat("graph: node ", u, " has the neighbour ", v,
                                    ", wanted ascending other nodes below ", nodes()));
      }
    }
    for (std::size_t u = 0; u < nodes(); ++u)
      for (const id_t v : neighbors(u)) {
        const auto back = neighbors(v);
        if (!std::binary_search(back.begin(), back.end(), static_cast<id_t>(u)))
          SKIM_THROW(format_error, detail::concat("graph: node ", u, " has the neighbour ", v,
                                                  ", wanted the edge at both of its ends"));
      }
  }

  std::vector<std::size_t> offsets_ = {0};
  std::vector<id_t> neighbors_, tags_;
  std::vector<float> features_;  // (nodes, feature_dim_)
  std::size_t feature_dim_ = 0;
};

}  // namespace skim::inline v0
