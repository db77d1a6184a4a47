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
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Runs body(first, last) over consecutive ranges that cover [0, n), each at most `grain` long, in
/// any order and perhaps at once; returns when all are done. An exception of a body reaches the
/// caller, and ranges not yet begun are then dropped.
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
    for (std::size_t first = 0; first < n;) {
      const std::size_t last = first + std::min(grain, n - first);  // first + grain may overflow
      body(first, last);
      first = last;
    }
  }
  [[nodiscard]] std::size_t workers() const noexcept { return 1; }
};

/// Runs ranges on a pool of std::threads, the calling thread among them.
///
/// Ranges are handed out by an atomic counter, so unequal ones balance.
///
/// Cost:    some 10 us to wake the pool, no allocation; use ranges of 100 us and more.
/// Threads: any number of callers. While the pool is busy, a further call (from another thread, or
///          from inside a body) runs on its own thread alone.
class thread_executor {
 public:
  /// Throws invalid_params for 0 threads, std::system_error if the system gives no more.
  explicit thread_executor(std::size_t threads) {
    if (threads == 0)
      SKIM_THROW(invalid_params, "thread_executor: got 0 threads, wanted at least 1");
    pool_.reserve(threads - 1);
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    try {
      fill(threads - 1);
    } catch (...) {
      stop();
      throw;
    }
#else
    fill(threads - 1);
#endif
  }
  thread_executor(const thread_executor&) = delete;
  thread_executor& operator=(const thread_executor&) = delete;
  ~thread_executor() {
    stop();
  }

  template <std::invocable<std::size_t, std::size_t> Body>
  void parallel_for(std::size_t n, std::size_t grain, Body&& body) {
    grain = std::max<std::size_t>(grain, 1);
    if (pool_.empty() || n <= grain || !claim()) {
      serial_executor{}.parallel_for(n, grain, body);
      return;
    }
    job<std::remove_reference_t<Body>> work(body, n, grain);
    publish(work);
    work.run();
    retire();
    if (work.failure) std::rethrow_exception(work.failure);
  }

  [[nodiscard]] std::size_t workers() const noexcept {
    return pool_.size() + 1;
  }

 private:
  struct job_base {
    explicit job_base(void (*entry)(job_base&)) noexcept : enter(entry) {}
    void (*enter)(job_base&);
  };

  // One parallel_for. Lives on the caller's stack; retire() waits until no thread looks at it.
  template <class Body>
  struct job : job_base {
    job(Body& b, std::size_t size, std::size_t range) noexcept
        : job_base([](job_base& self) { static_cast<job&>(self).run(); }),
          body(b),
          n(size),
          grain(range),
          ranges(size / range + (size % range != 0)) {}

    void run() {
      for (;;) {
        const std::size_t range = next.fetch_add(1);
        if (range >= ranges) return;
        const std::size_t first = range * grain, last = first + std::min(grain, n - first);
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
        try {
          body(first, last);
        } catch (...) {
          if (!failed.exchange(true)) failure = std::current_exception();
          next.store(ranges);  // the ranges not yet begun are dropped
        }
#else
        body(first, last);
#endif
      }
    }

    Body& body;
    std::size_t n, grain, ranges;
    std::atomic<std::size_t> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;  // read only after retire()
  };

  void fill(std::size_t threads) {
    for (std::size_t t = 0; t < threads; ++t) pool_.emplace_back([this] { serve(); });
  }

  void stop() noexcept {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : pool_) t.join();
  }

  [[nodiscard]] bool claim() {
    const std::lock_guard lock(mutex_);
    return !std::exchange(claimed_, true);
  }

  void publish(job_base& work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = &work;
      busy_ = pool_.size();
      ++round_;
    }
    wake_.notify_all();
  }

  void retire() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
    work_ = nullptr;
    claimed_ = false;
  }

  void serve() {
    for (std::size_t seen = 0;;) {
      job_base* work = nullptr;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || round_ != seen; });
        if (stopping_) return;
        seen = round_;
        work = work_;
      }
      work->enter(*work);
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> pool_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  job_base* work_ = nullptr;
  std::size_t busy_ = 0, round_ = 0;
  bool claimed_ = false, stopping_ = false;
};

static_assert(executor<serial_executor> && executor<thread_executor>);

}  // namespace skim::inline v0
