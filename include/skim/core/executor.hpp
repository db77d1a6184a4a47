// SPDX-License-Identifier: Apache-2.0
//
// Who runs the ranges of a batch operation: the caller's thread, or a pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Runs body(first, last) over consecutive ranges that cover [0, n), each at most `grain` long, in
/// any order and perhaps at once; returns when all are done. An exception of a body reaches the
/// caller.
///
/// Batch operations write to disjoint places per range, so their results do not depend on the
/// executor. Models: serial_executor, thread_executor.
template <class E>
concept executor = requires(E& e, std::size_t n, void (*body)(std::size_t, std::size_t)) {
  e.parallel_for(n, n, body);
  { e.workers() } -> std::convertible_to<std::size_t>;
};

/// Runs everything on the calling thread.
///
/// Cost:    no more than the loop.
/// Threads: as the bodies.
class serial_executor {
 public:
  template <std::invocable<std::size_t, std::size_t> Body>
  void parallel_for(std::size_t n, std::size_t grain, Body&& body) {
    grain = std::max<std::size_t>(grain, 1);
    for (std::size_t first = 0; first < n; first += grain) body(first, std::min(n, first + grain));
  }
  [[nodiscard]] std::size_t workers() const noexcept { return 1; }
};

/// Runs ranges on a pool of std::threads, the calling thread among them.
///
/// Ranges are handed out by an atomic counter, so unequal ones balance.
///
/// Cost:    some 10 us to wake the pool; use ranges of 100 us and more.
/// Threads: one parallel_for at a time. A call from inside a body deadlocks: give nested work a
///          serial_executor.
class thread_executor {
 public:
  /// Throws invalid_params for 0 threads.
  explicit thread_executor(std::size_t threads) {
    if (threads == 0)
      SKIM_THROW(invalid_params, "thread_executor: got 0 threads, wanted at least 1");
    pool_.reserve(threads - 1);
    for (std::size_t t = 1; t < threads; ++t) pool_.emplace_back([this] { serve(); });
  }
  thread_executor(const thread_executor&) = delete;
  thread_executor& operator=(const thread_executor&) = delete;
  ~thread_executor() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : pool_) t.join();
  }

  template <std::invocable<std::size_t, std::size_t> Body>
  void parallel_for(std::size_t n, std::size_t grain, Body&& body) {
    grain = std::max<std::size_t>(grain, 1);
    std::atomic<std::size_t> next{0};
    std::exception_ptr failure;
    const std::function<void()> work = [&] {
      for (;;) {
        const std::size_t first = next.fetch_add(grain);
        if (first >= n) return;
        run(body, first, std::min(n, first + grain), next, n, failure);
      }
    };
    if (pool_.empty() || n <= grain) {
      work();
    } else {
      {
        const std::lock_guard lock(mutex_);
        work_ = &work;
        busy_ = pool_.size();
        ++round_;
      }
      wake_.notify_all();
      work();
      std::unique_lock lock(mutex_);
      done_.wait(lock, [this] { return busy_ == 0; });
      work_ = nullptr;
    }
    if (failure) std::rethrow_exception(failure);
  }

  [[nodiscard]] std::size_t workers() const noexcept { return pool_.size() + 1; }

 private:
  template <class Body>
  void run(Body& body, std::size_t first, std::size_t last, std::atomic<std::size_t>& next,
           std::size_t n, std::exception_ptr& failure) {
#if defined(__cpp_exceptions)
    try {
      body(first, last);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure) failure = std::current_exception();
      next.store(n);  // the ranges not yet begun are dropped
    }
#else
    body(first, last);
    static_cast<void>(next), static_cast<void>(n), static_cast<void>(failure);
#endif
  }

  void serve() {
    for (std::size_t seen = 0;;) {
      const std::function<void()>* work = nullptr;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
        if (stopping_) return;
        seen = round_;
        work = work_;
      }
      (*work)();
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> pool_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void()>* work_ = nullptr;
  std::size_t busy_ = 0, round_ = 0;
  bool stopping_ = false;
};

static_assert(executor<serial_executor> && executor<thread_executor>);

}  // namespace skim::inline v0
