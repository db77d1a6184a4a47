// SPDX-License-Identifier: Apache-2.0
//
// Nodes that no kernel of neighbourhood sums can tell apart, merged to one with a weight.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/mix.hpp"
#include "skim/graph/graph.hpp"

namespace skim::inline v0::detail {

enum class node_colors { tags, degrees, vectors };

/// A graph whose nodes are classes of nodes of another.
///
/// Row u says how many nodes of each class are beside a node of class u, itself counted in. Classes
/// are in an order that does not depend on the numbering of the nodes: equal members mean equal
/// kernel values.
struct node_classes {
  std::vector<float> sizes;          // nodes of each class
  std::vector<std::size_t> offsets;  // of the rows below
  std::vector<id_t> neighbors;
  std::vector<float> counts;
  std::vector<id_t> tags;       // what the first layer sees of a node: its tag or degree,
  std::vector<float> features;  // or its vector

  [[nodiscard]] std::size_t size() const noexcept { return sizes.size(); }

  /// How many nodes are beside one of class u, itself counted in.
  [[nodiscard]] double degree(std::size_t u) const noexcept {
    double sum = 0;
    for (std::size_t k = offsets[u]; k < offsets[u + 1]; ++k) sum += static_cast<double>(counts[k]);
    return sum;
  }

  [[nodiscard]] std::uint64_t hash() const noexcept {
    std::uint64_t h = mix64(sizes.size());
    const auto take = [&](const auto& values) {
      for (const auto v : values) {
        if constexpr (sizeof(v) == sizeof(std::uint32_t))
          h = mix_combine(h, std::bit_cast<std::uint32_t>(v));
        else
          h = mix_combine(h, static_cast<std::uint64_t>(v));
      }
    };
    take(sizes);
    take(offsets);
    take(neighbors);
    take(counts);
    take(tags);
    take(features);
    return h;
  }
  friend bool operator==(const node_classes&, const node_classes&) noexcept = default;
};

// Renumbers nodes by rank under `less`; nodes that compare equal share a rank. Returns how many
// there are.
template <class Less>
[[nodiscard]] std::size_t rank_by(Less less, std::span<id_t> order, std::span<id_t> ranks) {
  std::sort(order.begin(), order.end(), less);
  id_t rank = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && less(order[i - 1], order[i])) ++rank;
    ranks[order[i]] = rank;
  }
  return order.empty() ? 0 : rank + std::size_t{1};
}

/// Classes of nodes with equal neighbourhoods up to `rounds` steps away: after as many sums over
/// neighbours they have equal values.
///
/// Cost:    O(rounds edges log(nodes)), less where the classes settle before.
/// Ref:     colour refinement: Weisfeiler and Leman 1968, NTI 2(9).
class color_refinement {
 public:
  color_refinement(const graph& g, node_colors kind)
      : graph_(g), kind_(kind), order_(g.nodes()), colors_(g.nodes()), next_(g.nodes()) {
    std::iota(order_.begin(), order_.end(), id_t{0});
  }

  [[nodiscard]] node_classes merged(std::size_t rounds) {
    std::size_t classes = first_colors();
    beside_.reserve(2 * graph_.edges());
    for (std::size_t r = 0; r < rounds && classes < graph_.nodes(); ++r) {
      gather_colors();
      const std::size_t finer = rank_by(
          [this](id_t u, id_t v) {
            if (colors_[u] != colors_[v]) return colors_[u] < colors_[v];
            const auto a = colors_beside(u), b = colors_beside(v);
            return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
          },
          order_, next_);
      std::swap(colors_, next_);
      if (finer == classes) break;  // they only ever split
      classes = finer;
    }
    return quotient(classes);
  }

  /// Each node a class of its own.
  [[nodiscard]] node_classes unmerged() {
    std::iota(colors_.begin(), colors_.end(), id_t{0});
    return quotient(graph_.nodes());
  }

 private:
  std::size_t first_colors() {
    const graph& g = graph_;
    if (kind_ == node_colors::vectors) {
      const auto x = g.features();
      // By bits: a total order, under which -0 and 0 differ, which merges less and not wrongly.
      return rank_by(
          [&](id_t u, id_t v) {
            const auto a = x.row(u), b = x.row(v);
            return std::lexicographical_compare(
                a.begin(), a.end(), b.begin(), b.end(), [](float s, float t) {
                  return std::bit_cast<std::uint32_t>(s) < std::bit_cast<std::uint32_t>(t);
                });
          },
          order_, colors_);
    }
    return rank_by([this](id_t u, id_t v) { return first_color(u) < first_color(v); }, order_,
                   colors_);
  }

  [[nodiscard]] id_t first_color(id_t u) const noexcept {
    return kind_ == node_colors::degrees ? static_cast<id_t>(graph_.degree(u)) : graph_.tags()[u];
  }

  void gather_colors() {
    beside_.clear();
    begins_.assign(1, 0);
    for (std::size_t u = 0; u < graph_.nodes(); ++u) {
      for (const id_t v : graph_.neighbors(u)) beside_.push_back(colors_[v]);
      std::sort(beside_.begin() + static_cast<std::ptrdiff_t>(begins_.back()), beside_.end());
      begins_.push_back(beside_.size());
    }
  }
  [[nodiscard]] std::span<const id_t> colors_beside(id_t u) const noexcept {
    return std::span(beside_).subspan(begins_[u], begins_[u + 1] - begins_[u]);
  }

  // Row by row from one node of each class: the others have the same sums.
  [[nodiscard]] node_classes quotient(std::size_t classes) const {
    node_classes q;
    q.sizes.assign(classes, 0.0f);
    std::vector<id_t> member(classes);
    for (std::size_t u = graph_.nodes(); u-- > 0;) {
      q.sizes[colors_[u]] += 1.0f;
      member[colors_[u]] = static_cast<id_t>(u);
    }
    q.offsets.assign(1, 0);
    std::vector<id_t> row;
    for (const id_t u : member) {
      row.assign(1, colors_[u]);
      for (const id_t v : graph_.neighbors(u)) row.push_back(colors_[v]);
      std::sort(row.begin(), row.end());
      for (std::size_t k = 0; k < row.size(); ++k) {
        if (k == 0 || row[k] != row[k - 1]) {
          q.neighbors.push_back(row[k]);
          q.counts.push_back(0.0f);
        }
        q.counts.back() += 1.0f;
      }
      q.offsets.push_back(q.neighbors.size());
      if (kind_ == node_colors::vectors) {
        const auto x = graph_.features().row(u);
        q.features.insert(q.features.end(), x.begin(), x.end());
      } else {
        q.tags.push_back(first_color(u));
      }
    }
    return q;
  }

  const graph& graph_;
  node_colors kind_;
  std::vector<id_t> order_, colors_, next_, beside_;
  std::vector<std::size_t> begins_;
};

}  // namespace skim::inline v0::detail
