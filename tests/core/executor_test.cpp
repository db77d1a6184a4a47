// SPDX-License-Identifier: Apache-2.0
//
// Executors: every element once, equal results on any number of threads, exceptions, nested and
// concurrent calls.
#include "skim/core/executor.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "skim/core/error.hpp"
#include "skim/core/random.hpp"
#include "support/catch.hpp"

namespace {

constexpr std::size_t max = std::numeric_limits<std::size_t>::max();

template <class Executor>
void check_covers(Executor& e) {
  for (const std::size_t n : {0u, 1u, 2u, 7u, 64u, 1000u})
    for (const std::size_t grain : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{64},
                                    std::size_t{5000}, max}) {
      std::vector<std::atomic<int>> touched(n);
      std::atomic<bool> ranges_fit{true};
      e.parallel_for(n, grain, [&](std::size_t first, std::size_t last) {
        if (first >= last || last > n || last - first > std::max<std::size_t>(grain, 1))
          ranges_fit = false;
        for (std::size_t i = first; i < last; ++i) touched[i].fetch_add(1);
      });
      CHECK(ranges_fit);
      CHECK(std::all_of(touched.begin(), touched.end(),
                        [](const std::atomic<int>& t) { return t.load() == 1; }));
    }
}

template <class Executor>
std::vector<double> noisy(Executor& e) {
  std::vector<double> x(5000);
  const skim::random_engine g(skim::seed{1});
  e.parallel_for(x.size(), 17, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      auto own = g.child(i);
      x[i] = skim::normal(own);
    }
  });
  return x;
}

}  // namespace

TEST_CASE("every element is visited once", "[executor][unit]") {
  skim::serial_executor serial;
  CHECK(serial.workers() == 1);
  check_covers(serial);
  for (const std::size_t threads : {1u, 2u, 3u, 7u}) {
    skim::thread_executor pool(threads);
    CHECK(pool.workers() == threads);
    check_covers(pool);
  }
  CHECK_THROWS_AS(skim::thread_executor(0), skim::invalid_params);
}

TEST_CASE("huge counts do not overflow", "[executor][unit]") {
  // Two ranges whose ends lie at the top of the integers.
  const auto check = [](auto& e) {
    std::atomic<std::size_t> covered{0}, calls{0};
    e.parallel_for(max - 1, max / 2 + 5, [&](std::size_t first, std::size_t last) {
      covered += last - first;
      ++calls;
    });
    CHECK(covered == max - 1);
    CHECK(calls == 2);
  };
  skim::serial_executor serial;
  skim::thread_executor pool(3);
  check(serial);
  check(pool);
}

TEST_CASE("results do not depend on the number of threads", "[executor][law]") {
  skim::serial_executor serial;
  const std::vector<double> expected = noisy(serial);
  for (const std::size_t threads : {1u, 2u, 3u, 7u}) {
    skim::thread_executor pool(threads);
    for (int round = 0; round < 5; ++round) CHECK(noisy(pool) == expected);
  }
}

TEST_CASE("an exception reaches the caller and the pool survives it", "[executor][unit]") {
  for (const std::size_t threads : {1u, 2u, 7u}) {
    skim::thread_executor pool(threads);
    for (int round = 0; round < 20; ++round) {
      std::atomic<int> calls{0};
      CHECK_THROWS_WITH(pool.parallel_for(1000, 1,
                                          [&](std::size_t first, std::size_t) {
                                            ++calls;
                                            if (first % 3 == 1) throw std::runtime_error("one");
                                          }),
                        Catch::Matchers::Equals("one"));
      CHECK(calls < 1000);  // ranges not yet begun are dropped
      std::atomic<std::size_t> sum{0};
      pool.parallel_for(100, 7, [&](std::size_t first, std::size_t last) { sum += last - first; });
      CHECK(sum == 100);
    }
  }
  skim::serial_executor serial;
  CHECK_THROWS_AS(
      serial.parallel_for(3, 1, [](std::size_t, std::size_t) { throw std::logic_error("two"); }),
      std::logic_error);
}

TEST_CASE("nested and concurrent calls run, on the caller's thread", "[executor][unit]") {
  skim::thread_executor pool(3);
  std::atomic<std::size_t> sum{0};
  pool.parallel_for(20, 1, [&](std::size_t, std::size_t) {
    pool.parallel_for(50, 5, [&](std::size_t first, std::size_t last) { sum += last - first; });
  });
  CHECK(sum == 1000);

  sum = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i)
        pool.parallel_for(100, 9,
                          [&](std::size_t first, std::size_t last) { sum += last - first; });
    });
  for (std::thread& c : callers) c.join();
  CHECK(sum == 4 * 50 * 100);
}

TEST_CASE("bodies may be any callable", "[executor][unit]") {
  skim::thread_executor pool(2);
  std::atomic<std::size_t> sum{0};
  const std::function<void(std::size_t, std::size_t)> function =
      [&](std::size_t first, std::size_t last) { sum += last - first; };
  pool.parallel_for(10, 1, function);
  auto stateful = [&sum, calls = std::size_t{0}](std::size_t, std::size_t) mutable {
    sum += ++calls;
  };
  skim::serial_executor serial;
  serial.parallel_for(10, 1, stateful);
  CHECK(sum == 10 + 55);
}

TEST_CASE("many short calls do not lose one another", "[executor][unit]") {
  skim::thread_executor pool(4);
  std::size_t total = 0;
  for (std::size_t i = 0; i < 3000; ++i) {
    std::atomic<std::size_t> sum{0};
    pool.parallel_for(8, 1, [&](std::size_t first, std::size_t) { sum += first + 1; });
    total += sum;
  }
  CHECK(total == 3000 * 36);
}
