// SPDX-License-Identifier: Apache-2.0
#include "skim/graph/graph.hpp"

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "graph/reference.hpp"
#include "support/catch.hpp"

using skim::graph;
using skim::graph_edge;

TEST_CASE("graph: neighbours ascend at both ends", "[unit]") {
  const graph_edge edges[] = {{3, 1}, {0, 3}, {3, 2}};
  const graph g(5, edges);
  CHECK(g.nodes() == 5);
  CHECK(g.edges() == 3);
  const auto beside = g.neighbors(3);
  CHECK(std::vector<skim::id_t>(beside.begin(), beside.end()) == std::vector<skim::id_t>{0, 1, 2});
  CHECK(g.degree(4) == 0);
  CHECK(g.neighbors(0)[0] == 3);
  CHECK(g.tags().size() == 5);
  CHECK(g.feature_dim() == 0);
  CHECK(graph().nodes() == 0);
}

TEST_CASE("graph: bad edges, tags and features are refused", "[unit]") {
  const graph_edge outside[] = {{0, 2}}, loop[] = {{1, 1}}, twice[] = {{0, 1}, {1, 0}};
  CHECK_THROWS_AS(graph(2, outside), skim::invalid_input);
  CHECK_THROWS_AS(graph(2, loop), skim::invalid_input);
  CHECK_THROWS_AS(graph(2, twice), skim::invalid_input);
  const skim::id_t tags[] = {1};
  CHECK_THROWS_AS(graph(2, {}, tags), skim::invalid_input);
  std::vector<float> x = {1, 2, 3, 4};
  CHECK_THROWS_AS(graph(3, {}, skim::matrix_view<const float>(x.data(), 2, 2)),
                  skim::invalid_input);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(graph(2, {}, skim::matrix_view<const float>(x.data(), 2, 2)),
                  skim::invalid_input);
}

TEST_CASE("graph: saved and loaded", "[unit]") {
  for (const std::size_t dim : {0u, 3u}) {
    const graph g = graph_test::random_graph(17, 0.3, 4, dim, skim::random_engine(skim::seed{dim}));
    skim::writer out;
    g.save(out);
    skim::reader in(out.bytes());
    CHECK(graph::load(in) == g);
    const auto bytes = out.bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      skim::reader cut(bytes.first(i));
      CHECK_THROWS_AS(graph::load(cut), skim::format_error);
      std::vector<std::byte> flipped(bytes.begin(), bytes.end());
      flipped[i] ^= std::byte{4};
      skim::reader bad(flipped);
      CHECK_THROWS_AS(graph::load(bad), skim::format_error);
    }
  }
}

TEST_CASE("graph: an image with a sound checksum and bad values is refused", "[unit]") {
  const auto load = [](std::vector<skim::id_t> tags, std::vector<std::uint32_t> degrees,
                       std::vector<skim::id_t> neighbors, std::uint64_t dim,
                       std::vector<float> features) {
    skim::writer out;
    out.begin_frame("graph");
    out.put(std::span(tags));
    out.put(std::span(degrees));
    out.put(std::span(neighbors));
    out.put(dim);
    out.put(std::span(features));
    out.end_frame();
    skim::reader in(out.bytes());
    return graph::load(in);
  };
  CHECK(load({0, 0}, {1, 1}, {1, 0}, 1, {1, 2}).edges() == 1);
  CHECK_THROWS_AS(load({0, 0}, {1}, {1}, 0, {}), skim::format_error);
  CHECK_THROWS_AS(load({0, 0}, {1, 1}, {1, 1}, 0, {}), skim::format_error);  // a loop
  CHECK_THROWS_AS(load({0, 0}, {1, 0}, {1}, 0, {}), skim::format_error);     // one end only
  CHECK_THROWS_AS(load({0, 0}, {1, 1}, {7, 0}, 0, {}), skim::format_error);  // no such node
  CHECK_THROWS_AS(load({0, 0}, {2, 1}, {1, 0}, 0, {}), skim::format_error);  // degrees add up to 3
  CHECK_THROWS_AS(load({0, 0}, {1, 1}, {1, 0}, 2, {1, 2}), skim::format_error);  // features missing
  CHECK_THROWS_AS(load({0, 0}, {0, 0}, {}, 1, {1, std::numeric_limits<float>::infinity()}),
                  skim::format_error);
}
