// SPDX-License-Identifier: Apache-2.0
//
// Scratch memory and aligned vectors: alignment, nesting, no allocation once warm; and that the
// pool and the archive's reader allocate no more than they should.
#include "skim/core/workspace.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <numeric>
#include <span>
#include <vector>

#include "skim/core/aligned.hpp"
#include "skim/core/archive.hpp"
#include "skim/core/executor.hpp"
#include "skim/core/random.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"

namespace {

template <class T>
bool on_cache_line(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % skim::cache_line == 0;
}

}  // namespace

TEST_CASE("taken memory is aligned, apart and writable", "[workspace][unit]") {
  skim::workspace ws;
  skim::random_engine g(skim::seed{1});
  for (int round = 0; round < 5; ++round) {
    const auto frame_guard = [&] {
      auto frame = ws.frame();
      std::vector<std::span<std::uint32_t>> spans;
      for (std::uint32_t k = 0; k < 50; ++k) {
        const auto s = frame.take<std::uint32_t>(skim::uniform_below(g, 3000));
        CHECK(on_cache_line(s.data()));
        std::fill(s.begin(), s.end(), k);
        spans.push_back(s);
      }
      for (std::uint32_t k = 0; k < 50; ++k)
        CHECK(
            std::all_of(spans[k].begin(), spans[k].end(), [&](std::uint32_t x) { return x == k; }));
    };
    frame_guard();
  }
}

TEST_CASE("a warm workspace does not allocate", "[workspace][unit]") {
  skim::workspace ws;
  const auto work = [&](std::size_t n) {
    auto outer = ws.frame();
    const auto a = outer.take<float>(n);
    for (int i = 0; i < 10; ++i) {
      auto inner = ws.frame();
      const auto b = inner.take<double>(n);
      const auto c = inner.take<char>(3);
      b[0] = 1;
      c[0] = 'c';
    }
    a[0] = 1;
    const auto d = outer.take<float>(2 * n);
    d[0] = 2;
  };
  CHECK(skim_test::allocations_of([&] { work(5000); }) > 0);
  CHECK(skim_test::allocations_of([&] {
          for (int i = 0; i < 100; ++i) work(5000);
        }) == 0);
  CHECK(skim_test::allocations_of([&] { work(4000); }) == 0);
  static_cast<void>(skim_test::allocations_of([&] { work(50'000); }));
  CHECK(skim_test::allocations_of([&] { work(50'000); }) == 0);
}

TEST_CASE("a workspace holds at most four times what was taken", "[workspace][unit]") {
  skim::random_engine g(skim::seed{2});
  for (int trial = 0; trial < 200; ++trial) {
    skim::workspace ws;
    std::size_t most = 0;
    for (int round = 0; round < 4; ++round) {
      auto frame = ws.frame();
      std::size_t total = 0;
      const std::size_t takes = skim::uniform_below(g, 12);
      for (std::size_t k = 0; k < takes; ++k) {
        const std::size_t n = std::size_t{1} << (10 + skim::uniform_below(g, 10));
        static_cast<void>(frame.take<char>(n));
        total += n;
        most = std::max(most, total);
        CHECK(ws.capacity() <= std::max<std::size_t>(4 * most, 4096));
      }
    }
    CHECK(ws.capacity() <= std::max<std::size_t>(4 * most, 4096));
  }
}

TEST_CASE("frames nest as scopes do", "[workspace][unit]") {
  skim::workspace ws;
  auto outer = ws.frame();
  const auto a = outer.take<int>(100);
  std::iota(a.begin(), a.end(), 0);
  const int* first_inner = nullptr;
  for (int round = 0; round < 3; ++round) {
    auto inner = ws.frame();
    const auto b = inner.take<int>(100);
    if (first_inner == nullptr) first_inner = b.data();
    CHECK(b.data() == first_inner);  // the same memory again
    const auto big = inner.take<int>(1'000'000);
    std::fill(b.begin(), b.end(), -1);
    std::fill(big.begin(), big.end(), -1);
  }
  for (int i = 0; i < 100; ++i) CHECK(a[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("sizes that cannot be are refused and harm nothing", "[workspace][unit]") {
  skim::workspace ws;
  auto frame = ws.frame();
  const auto a = frame.take<double>(10);
  std::fill(a.begin(), a.end(), 3.0);
  constexpr std::size_t max = std::numeric_limits<std::size_t>::max();
  for (const std::size_t n : {max, max / 8, max / 8 + 1, max / 16, max / 32, max / 64})
    CHECK_THROWS_AS(static_cast<void>(frame.take<double>(n)), std::bad_alloc);
  CHECK(std::all_of(a.begin(), a.end(), [](double x) { return x == 3.0; }));
  const auto b = frame.take<double>(10);
  CHECK(b.data() != a.data());
  CHECK(frame.take<int>(0).empty());
}

TEST_CASE("a workspace can be moved", "[workspace][unit]") {
  skim::workspace a;
  { static_cast<void>(a.frame().take<int>(1000)); }
  const std::size_t held = a.capacity();
  skim::workspace b = std::move(a);
  CHECK(b.capacity() == held);
  CHECK(skim_test::allocations_of([&] { static_cast<void>(b.frame().take<int>(1000)); }) == 0);
  a = skim::workspace();  // usable anew
  CHECK(a.frame().take<int>(10).size() == 10);
}

TEST_CASE("aligned vectors begin on a cache line", "[aligned][unit]") {
  for (std::size_t n = 1; n < 200; ++n) {
    const skim::aligned_vector<float> v(n);
    const skim::aligned_vector<char> c(n);
    CHECK(on_cache_line(v.data()));
    CHECK(on_cache_line(c.data()));
  }
  skim::aligned_vector<double> v{1, 2, 3};
  const skim::aligned_vector<double> copy = v;
  CHECK(copy == v);
  const double* data = v.data();
  const skim::aligned_vector<double> moved = std::move(v);
  CHECK(moved.data() == data);
  skim::aligned_allocator<double> allocator;
  CHECK(allocator == skim::aligned_allocator<int>());
  CHECK_THROWS_AS(static_cast<void>(allocator.allocate(std::numeric_limits<std::size_t>::max())),
                  std::bad_array_new_length);
}

TEST_CASE("the pool does not allocate per call", "[executor][unit]") {
  skim::thread_executor pool(3);
  std::vector<double> x(1000);
  const auto work = [&] {
    pool.parallel_for(x.size(), 10, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) x[i] += 1;
    });
  };
  work();
  CHECK(skim_test::allocations_of([&] {
          for (int i = 0; i < 50; ++i) work();
        }) == 0);
  CHECK(x[999] == 51);
}

TEST_CASE("a hostile length allocates next to nothing", "[archive][unit]") {
  for (unsigned shift = 3; shift < 64; ++shift) {
    skim::writer out;
    out.begin_frame("list");
    out.put(std::uint64_t{1} << shift);
    out.put(1.0f);
    out.end_frame();
    const auto bytes = skim_test::bytes_allocated_by([&] {
      skim::reader in(out.bytes());
      in.begin_frame("list");
      CHECK_THROWS_AS(static_cast<void>(in.get_vector<float>()), skim::format_error);
    });
    CHECK(bytes < 20'000);  // messages
  }
}
