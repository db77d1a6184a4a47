// SPDX-License-Identifier: Apache-2.0
//
// Matrix and sparse views: what they are made from, what they refuse, and that nothing is copied.
#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/sparse_view.hpp"
#include "support/catch.hpp"
#include "support/points.hpp"

using Catch::Matchers::ContainsSubstring;

namespace {

using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using view = skim::matrix_view<const float>;
using writable = skim::matrix_view<float>;

static_assert(std::is_trivially_copyable_v<view> && std::is_trivially_copyable_v<writable>);
static_assert(std::is_convertible_v<writable, view> && !std::is_convertible_v<view, writable>);
static_assert(std::is_convertible_v<const row_major&, view>);
static_assert(!std::is_constructible_v<writable, const row_major&>, "constness is kept");
static_assert(!std::is_convertible_v<Eigen::Matrix<double, 2, 2, Eigen::RowMajor>&, view>);
static_assert(!std::is_convertible_v<std::vector<float>&, view>, "a shape is needed");

row_major numbered(Eigen::Index rows, Eigen::Index cols) {
  row_major m(rows, cols);
  for (Eigen::Index i = 0; i < rows; ++i)
    for (Eigen::Index j = 0; j < cols; ++j) m(i, j) = static_cast<float>(100 * i + j);
  return m;
}

// Takes a view as the library's functions do, so that conversions are the implicit ones.
float element(view v, std::size_t i, std::size_t j) {
  return v.row(i)[j];
}

}  // namespace

TEST_CASE("a matrix view refers to Eigen's memory", "[matrix_view][unit]") {
  row_major m = numbered(5, 7);
  const view v = m;
  CHECK(v.data() == m.data());
  CHECK(v.rows() == 5);
  CHECK(v.cols() == 7);
  CHECK(v.stride() == 7);
  CHECK(element(m, 3, 4) == 304);

  const writable w = m;
  w.row(2)[1] = -1;
  CHECK(m(2, 1) == -1);
  const view constant = w;
  CHECK(constant.data() == m.data());

  const auto block = m.block(1, 2, 3, 4);
  const view b = block;
  CHECK(b.rows() == 3);
  CHECK(b.cols() == 4);
  CHECK(b.stride() == 7);
  CHECK(b.row(2)[3] == 305);
  CHECK(element(m.middleRows(3, 2), 1, 0) == 400);
  CHECK(element(m.row(4), 0, 6) == 406);
  CHECK(view(m.middleCols(1, 2)).row(4)[1] == 402);

  std::vector<float> raw(30, 2.0f);
  const Eigen::Map<row_major, 0, Eigen::OuterStride<>> map(raw.data(), 3, 5,
                                                           Eigen::OuterStride<>(10));
  const view mapped = map;
  CHECK(mapped.stride() == 10);
  CHECK(mapped.row(2).data() == raw.data() + 20);
  CHECK(element(Eigen::Map<const row_major>(raw.data(), 6, 5), 5, 4) == 2);

  const Eigen::Ref<const row_major> reference = m;
  CHECK(view(reference).data() == m.data());
  const Eigen::RowVectorXf vector = Eigen::RowVectorXf::Constant(4, 3.0f);
  CHECK(view(vector).rows() == 1);
  CHECK(view(vector).cols() == 4);
  const Eigen::Matrix<float, 2, 3, Eigen::RowMajor> fixed = numbered(2, 3);
  CHECK(element(fixed, 1, 2) == 102);
  const row_major none(0, 3);
  CHECK(view(none).empty());
}

TEST_CASE("a matrix view of raw memory", "[matrix_view][unit]") {
  std::array<float, 12> data{};
  for (std::size_t i = 0; i < 12; ++i) data[i] = static_cast<float>(i);
  const view v(std::span<const float>(data), 3, 4);
  CHECK(v.row(2)[3] == 11);
  CHECK(view(data.data(), 3, 4).row(1)[0] == 4);
  CHECK(view(data.data(), 2, 4, 6).row(1)[3] == 9);
  std::vector<float> owner(6, 1.0f);
  CHECK(writable(owner, 2, 3).row(1).data() == owner.data() + 3);

  const view part = v.rows(1, 2);
  CHECK(part.rows() == 2);
  CHECK(part.row(0)[0] == 4);
  CHECK(v.rows(3, 0).empty());
  CHECK(view().empty());
  CHECK(view().cols() == 0);
  CHECK(view(std::span<const float>(), 0, 5).cols() == 5);

  writable w(owner, 2, 3);
  const writable copy = w;
  w = writable(owner, 3, 2);
  CHECK(copy.cols() == 3);
  CHECK(w.cols() == 2);
  constexpr view at_compile_time;
  static_assert(at_compile_time.rows() == 0);
}

TEST_CASE("shapes that do not fit are refused", "[matrix_view][unit]") {
  std::array<float, 12> data{};
  const std::span<const float> s = data;
  CHECK_THROWS_WITH(view(data.data(), 3, 4, 3),
                    ContainsSubstring("stride of 3 for 4 columns, wanted at least as many"));
  CHECK_THROWS_WITH(view(s, 3, 5), ContainsSubstring("got 12 elements for 3 x 5"));
  CHECK_THROWS_AS(view(s, 2, 4), skim::invalid_input);
  CHECK_THROWS_AS(view(s, 3, 0), skim::invalid_input);
  CHECK_THROWS_AS(view(s.first(0), 1, 4), skim::invalid_input);
  // 2^62 x 4 elements wrap to 0, (2^62 + 3) x 4 to 12: a product would be believed.
  const std::size_t huge = std::size_t{1} << (std::numeric_limits<std::size_t>::digits - 2);
  CHECK_THROWS_AS(view(s.first(0), huge, 4), skim::invalid_input);
  CHECK_THROWS_AS(view(s, huge + 3, 4), skim::invalid_input);
}

TEST_CASE("a sparse view gives its rows", "[sparse_view][unit]") {
  skim_test::sparse_points p;
  p.cols = 10;
  p.push_back({{7, 3.0f}, {1, 2.0f}});
  p.push_back({});
  p.push_back({{9, 1.0f}});
  const skim::sparse_view v = p.view();
  CHECK_NOTHROW(v.validate());
  CHECK(v.rows() == 3);
  CHECK(v.cols() == 10);
  CHECK(v.nonzeros() == 3);
  CHECK(v.row(0).nonzeros() == 2);
  CHECK(v.row(0).indices[1] == 7);
  CHECK(v.row(0).values[1] == 3);
  CHECK(v.row(1).nonzeros() == 0);
  CHECK(v.row(2).indices[0] == 9);
  CHECK(v.row(2).indices.data() == p.indices.data() + 2);

  CHECK(skim::sparse_view().rows() == 0);
  CHECK(skim::sparse_view().nonzeros() == 0);
  CHECK_NOTHROW(skim::sparse_view().validate());

  // Offsets that begin within the arrays: a slice of a larger matrix.
  const std::span<const std::size_t> offsets = p.offsets;
  const skim::sparse_view slice(offsets.subspan(1), p.indices, p.values, 10);
  CHECK(slice.rows() == 2);
  CHECK(slice.nonzeros() == 1);
  CHECK(slice.row(1).indices[0] == 9);
  CHECK_NOTHROW(slice.validate());
}

TEST_CASE("a sparse view refuses what does not fit", "[sparse_view][unit]") {
  using offsets = std::vector<std::size_t>;
  using ids = std::vector<skim::id_t>;
  using floats = std::vector<float>;
  const auto make = [](const offsets& o, const ids& i, const floats& v, std::size_t cols) {
    skim::sparse_view(o, i, v, cols).validate();
  };
  CHECK_NOTHROW(make({0, 2}, {0, 3}, {1, 2}, 4));
  CHECK_THROWS_AS(make({}, {}, {}, 4), skim::invalid_input);
  CHECK_THROWS_AS(make({0, 2}, {0, 3}, {1}, 4), skim::invalid_input);
  CHECK_THROWS_AS(make({0, 3}, {0, 3}, {1, 2}, 4), skim::invalid_input);
  CHECK_THROWS_AS(make({2, 1}, {0, 3}, {1, 2}, 4), skim::invalid_input);
  CHECK_THROWS_WITH(make({0, 2, 1, 2}, {0, 3}, {1, 2}, 4), ContainsSubstring("offsets of row 1"));
  CHECK_THROWS_WITH(make({0, 9, 2}, {0, 3}, {1, 2}, 4), ContainsSubstring("offsets of row 0"));
  CHECK_THROWS_WITH(make({0, 2}, {0, 4}, {1, 2}, 4), ContainsSubstring("index 4"));
  CHECK_THROWS_WITH(make({0, 2}, {3, 3}, {1, 2}, 4), ContainsSubstring("ascending"));
  CHECK_THROWS_AS(make({0, 2}, {3, 1}, {1, 2}, 4), skim::invalid_input);
  CHECK_NOTHROW(make({0, 1, 2}, {3, 1}, {1, 2}, 4));  // ascending within a row only
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    CHECK_THROWS_WITH(make({0, 2}, {0, 3}, {1, bad}, 4),
                      ContainsSubstring("row 0") && ContainsSubstring("wanted finite"));
}
