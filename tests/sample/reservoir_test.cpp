// SPDX-License-Identifier: Apache-2.0
#include "skim/sample/reservoir.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "support/catch.hpp"
#include "support/stat_test.hpp"

namespace {

using skim::id_t;
using uniform_reservoir = skim::reservoir_sampler<id_t>;
using weighted_reservoir = skim::weighted_reservoir_sampler<id_t>;

std::vector<id_t> ids_up_to(id_t n) {
  std::vector<id_t> ids(n);
  std::iota(ids.begin(), ids.end(), id_t{0});
  return ids;
}

template <class Sampler>
std::vector<std::byte> image(const Sampler& s) {
  skim::writer out;
  s.save(out);
  return {out.bytes().begin(), out.bytes().end()};
}

template <class Sampler>
void check_truncations(const Sampler& s) {
  const auto bytes = image(s);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    skim::reader part{std::span(bytes).first(cut)};
    CHECK_THROWS_AS(Sampler::load(part), skim::format_error);
  }
}

/// The set of kept ids as bits.
std::size_t set_of(std::span<const id_t> ids) {
  std::size_t bits = 0;
  for (const id_t i : ids) bits |= std::size_t{1} << i;
  return bits;
}
std::size_t set_of(std::span<const skim::weighted_item<id_t>> items) {
  std::size_t bits = 0;
  for (const auto& entry : items) bits |= std::size_t{1} << entry.item;
  return bits;
}

/// Probability of each set of k ids under successive draws proportional to weight.
std::vector<double> successive_law(std::span<const double> weights, std::size_t k) {
  std::vector<double> now(std::size_t{1} << weights.size());
  now[0] = 1;
  for (std::size_t draw = 0; draw < k; ++draw) {
    std::vector<double> next(now.size());
    for (std::size_t set = 0; set < now.size(); ++set) {
      double left = 0;
      for (std::size_t i = 0; i < weights.size(); ++i)
        if ((set >> i & 1) == 0) left += weights[i];
      for (std::size_t i = 0; i < weights.size() && now[set] > 0; ++i)
        if ((set >> i & 1) == 0) next[set | std::size_t{1} << i] += now[set] * weights[i] / left;
    }
    now = next;
  }
  return now;
}

TEST_CASE("every set of the stream is equally likely in a reservoir", "[stat]") {
  constexpr std::size_t k = 3;
  const std::vector<id_t> stream = ids_up_to(8);
  std::vector<std::uint64_t> seen(256);
  std::vector<double> expected(256);
  for (std::size_t set = 0; set < 256; ++set)
    expected[set] = std::popcount(set) == int{k} ? 1.0 : 0.0;
  for (std::uint64_t trial = 0; trial < 40000; ++trial) {
    uniform_reservoir s(k, skim::seed{trial});
    s.insert(stream);
    ++seen[set_of(s.sample())];
  }
  skim_test::check_chi_square(seen, expected);
}

TEST_CASE("long streams are sampled evenly along their length", "[stat]") {
  const std::vector<id_t> stream = ids_up_to(20000);
  std::vector<std::uint64_t> seen(20);
  for (std::uint64_t trial = 0; trial < 400; ++trial) {
    uniform_reservoir s(50, skim::seed{trial});
    s.insert(stream);
    for (const id_t i : s.sample()) ++seen[i / 1000];
  }
  skim_test::check_chi_square(seen, std::vector<double>(20, 1.0));
}

TEST_CASE("a span inserts what single inserts do, in both reservoirs", "[unit]") {
  const std::vector<id_t> stream = ids_up_to(5000);
  uniform_reservoir one(10, skim::seed{1}), many(10, skim::seed{1});
  for (const id_t i : stream) one.insert(i);
  many.insert(std::span<const id_t>(stream).first(7));
  many.insert(std::span<const id_t>(stream).first(1234).subspan(7));
  many.insert(std::span<const id_t>(stream).subspan(1234));
  CHECK(image(one) == image(many));
  CHECK(one.count() == 5000);

  std::vector<double> weights(stream.size());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<double>(i % 10);
  weighted_reservoir single(10, skim::seed{2}), batch(10, skim::seed{2});
  for (const id_t i : stream) single.insert(i, weights[i]);
  batch.insert(stream, weights);
  CHECK(image(single) == image(batch));
  CHECK(batch.total_weight() == 22500);
}

TEST_CASE("merged reservoirs have the law of one over both streams", "[stat]") {
  // Streams of different lengths, and a tail inserted after the merge.
  const auto split = GENERATE(std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{6});
  constexpr std::size_t k = 3;
  const std::vector<id_t> stream = ids_up_to(9);
  const std::span<const id_t> all(stream);
  std::vector<std::uint64_t> seen(512);
  std::vector<double> expected(512);
  for (std::size_t set = 0; set < 512; ++set)
    expected[set] = std::popcount(set) == int{k} ? 1.0 : 0.0;
  for (std::uint64_t trial = 0; trial < 30000; ++trial) {
    uniform_reservoir a(k, skim::seed{2 * trial}), b(k, skim::seed{2 * trial + 1});
    a.insert(all.first(split));
    b.insert(all.subspan(split, 7 - split));
    a.merge(b);
    a.insert(all.subspan(7));
    CHECK(a.count() == 9);
    ++seen[set_of(a.sample())];
  }
  skim_test::check_chi_square(seen, expected);
}

TEST_CASE("weighted reservoirs have the law of successive draws", "[stat]") {
  const std::vector<double> weights{1, 5, 0, 0.5, 2, 8, 1};
  const std::vector<id_t> stream = ids_up_to(7);
  for (const std::size_t k : {1u, 3u, 5u}) {
    const std::vector<double> expected = successive_law(weights, k);
    std::vector<std::uint64_t> seen(128), merged(128);
    for (std::uint64_t trial = 0; trial < 40000; ++trial) {
      weighted_reservoir s(k, skim::seed{trial});
      s.insert(stream, weights);
      ++seen[set_of(s.sample())];
      weighted_reservoir a(k, skim::seed{3 * trial + 1}), b(k, skim::seed{3 * trial + 2});
      for (const id_t i : stream) (i == 5 || i == 1 ? b : a).insert(i, i == 6 ? 0 : weights[i]);
      a.merge(b);
      a.insert(6, weights[6]);
      ++merged[set_of(a.sample())];
    }
    skim_test::check_chi_square(seen, expected);
    skim_test::check_chi_square(merged, expected);
  }
}

TEST_CASE("weighted reservoirs give unbiased sums", "[stat]") {
  constexpr std::size_t n = 300, k = 30;
  std::vector<double> weights(n), y(n);
  skim::random_engine g(skim::seed{3});
  double total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    weights[i] = skim::exponential(g);
    y[i] = weights[i] * (1 + skim::uniform(g));
    total += y[i];
  }
  std::vector<double> estimates;
  for (std::uint64_t trial = 0; trial < 4000; ++trial) {
    weighted_reservoir s(k, skim::seed{trial});
    s.insert(ids_up_to(n), weights);
    std::vector<double> factors(k);
    s.factors(factors);
    double sum = 0;
    for (std::size_t i = 0; i < k; ++i) sum += factors[i] * y[s.sample()[i].item];
    estimates.push_back(sum);
  }
  skim_test::check_mean(estimates, total);
}

TEST_CASE("reservoirs keep everything until they are full", "[unit]") {
  uniform_reservoir s(5, skim::seed{4});
  CHECK(s.sample().empty());
  s.insert(ids_up_to(4));
  CHECK(set_of(s.sample()) == 0xf);
  weighted_reservoir w(5, skim::seed{5});
  CHECK(w.sample().empty());
  w.insert(0, 1e-300);
  w.insert(1, 0);
  w.insert(2, 1e300);
  CHECK(set_of(w.sample()) == 5);
  std::vector<double> factors(2);
  w.factors(factors);
  CHECK(factors == std::vector<double>{1, 1});
  std::vector<double> wrong(3);
  CHECK_THROWS_AS(w.factors(wrong), skim::invalid_input);
}

TEST_CASE("reservoirs refuse what they cannot use, unchanged", "[unit]") {
  CHECK_THROWS_AS(uniform_reservoir(0, skim::seed{1}), skim::invalid_params);
  CHECK_THROWS_AS(weighted_reservoir(0, skim::seed{1}), skim::invalid_params);
  uniform_reservoir s(2, skim::seed{1});
  CHECK_THROWS_AS(s.merge(uniform_reservoir(3, skim::seed{1})), skim::merge_error);
  weighted_reservoir w(2, skim::seed{1});
  w.insert(1, 2);
  const auto before = image(w);
  CHECK_THROWS_AS(w.merge(weighted_reservoir(3, skim::seed{1})), skim::merge_error);
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (const double bad : {-1.0, inf, -inf, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(w.insert(0, bad), skim::invalid_input);
    CHECK_THROWS_AS(w.insert(ids_up_to(2), std::vector<double>{1, bad}), skim::invalid_input);
  }
  CHECK_THROWS_AS(w.insert(ids_up_to(2), std::vector<double>{1}), skim::invalid_input);
  CHECK(image(w) == before);
}

TEST_CASE("saved reservoirs go on as they would have", "[unit]") {
  for (const id_t n : {0u, 3u, 5u, 1000u}) {
    uniform_reservoir s(5, skim::seed{6});
    weighted_reservoir w(5, skim::seed{7});
    s.insert(ids_up_to(n));
    for (id_t i = 0; i < n; ++i) w.insert(i, 1 + i % 3);
    const auto uniform_bytes = image(s), weighted_bytes = image(w);
    skim::reader uniform_in(uniform_bytes), weighted_in(weighted_bytes);
    uniform_reservoir s2 = uniform_reservoir::load(uniform_in);
    weighted_reservoir w2 = weighted_reservoir::load(weighted_in);
    for (id_t i = 0; i < 2000; ++i) {
      s.insert(i);
      s2.insert(i);
      w.insert(i, 1 + i % 7);
      w2.insert(i, 1 + i % 7);
    }
    CHECK(image(s) == image(s2));
    CHECK(image(w) == image(w2));
    check_truncations(s);
    check_truncations(w);
  }
}

}  // namespace
