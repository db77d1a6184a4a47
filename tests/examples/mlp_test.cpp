// SPDX-License-Identifier: Apache-2.0
//
// The trainer of the examples: gradients, losses, optimisers, and that a step allocates nothing.
#include "common/mlp.hpp"

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "common/schedule.hpp"
#include "common/stopwatch.hpp"
#include "support/catch.hpp"

// Every allocation of this program passes here, Eigen's included, where the C library lets us in.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SKIM_COUNTS_ALLOCATIONS 1
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#undef SKIM_COUNTS_ALLOCATIONS
#define SKIM_COUNTS_ALLOCATIONS 0
#endif
#endif
#else
#define SKIM_COUNTS_ALLOCATIONS 0
#endif

#if SKIM_COUNTS_ALLOCATIONS
static std::atomic<std::size_t> allocation_count{0};
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t bytes) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, bytes);
}
}
#endif

namespace {

using namespace skim_examples;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

// Takes the place of an optimiser: keeps the gradient, changes nothing.
template <class Scalar>
struct gradient_recorder {
  std::vector<Scalar> gradient;
  std::vector<int> seen;

  void begin_step(std::size_t count, double) {
    gradient.assign(count, Scalar(0));
    seen.assign(count, 0);
  }
  void update(std::size_t first, std::span<Scalar> values, std::span<const Scalar> g,
              parameter_kind) {
    REQUIRE(values.size() == g.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
      gradient[first + i] = g[i];
      ++seen[first + i];
    }
  }
};

template <class Scalar>
std::vector<Scalar> random_values(std::size_t n, std::uint64_t seed) {
  skim::random_engine g(skim::seed{seed});
  std::vector<Scalar> v(n);
  for (Scalar& x : v) x = static_cast<Scalar>(skim::normal(g));
  return v;
}

std::vector<skim::label_t> random_labels(std::size_t n, std::uint64_t classes, std::uint64_t seed) {
  skim::random_engine g(skim::seed{seed});
  std::vector<skim::label_t> v(n);
  for (auto& y : v) y = static_cast<skim::label_t>(skim::uniform_below(g, classes));
  return v;
}

template <class Scalar>
skim::matrix_view<const Scalar> view(const std::vector<Scalar>& v, std::size_t rows) {
  return {v.data(), rows, v.size() / rows};
}

template <class Scalar>
std::vector<Scalar> all_parameters(const basic_mlp<Scalar>& net) {
  std::vector<Scalar> all;
  for (std::size_t l = 0; l < net.layers(); ++l) {
    for (std::size_t i = 0; i < net.weights(l).rows(); ++i)
      all.insert(all.end(), net.weights(l).row(i).begin(), net.weights(l).row(i).end());
    all.insert(all.end(), net.biases(l).begin(), net.biases(l).end());
  }
  return all;
}

// Random sparse rows with ascending indices, and the same as a dense matrix.
struct sparse_data {
  std::vector<std::size_t> offsets{0};
  std::vector<skim::id_t> indices;
  std::vector<float> values;
  std::size_t cols;

  sparse_data(std::size_t rows, std::size_t cols_wanted, double density, std::uint64_t seed)
      : cols(cols_wanted) {
    skim::random_engine g(skim::seed{seed});
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < cols; ++j)
        if (skim::uniform(g) < density) {
          indices.push_back(static_cast<skim::id_t>(j));
          values.push_back(static_cast<float>(skim::normal(g)));
        }
      offsets.push_back(indices.size());
    }
  }
  skim::sparse_view view() const { return {offsets, indices, values, cols}; }
  template <class Scalar>
  std::vector<Scalar> dense() const {
    std::vector<Scalar> d((offsets.size() - 1) * cols, Scalar(0));
    for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
      for (std::size_t k = offsets[i]; k < offsets[i + 1]; ++k)
        d[i * cols + indices[k]] = static_cast<Scalar>(values[k]);
    return d;
  }
};

// Two-sided differences in double: the error is the third derivative's h^2 and rounding's 1e-16 / h.
void check_gradient(const mlp_params& p, const batch_rows<double>& rows,
                    const batch_targets<double>& targets, const std::vector<float>& weights) {
  basic_mlp<double> net(p, skim::seed{11});
  skim::random_engine g(skim::seed{12});
  for (std::size_t l = 0; l < net.layers(); ++l)
    for (double& b : net.biases(l)) b = 0.1 * skim::normal(g);
  gradient_recorder<double> recorder, ignored;
  net.step(rows, targets, weights, recorder, 0.1);
  for (const int times : recorder.seen) REQUIRE(times == 1);

  const double h = 1e-5;
  const auto slope = [&](double& parameter) {
    const double before = parameter;
    parameter = before + h;
    const double above = net.step(rows, targets, weights, ignored, 0.1).weighted_loss;
    parameter = before - h;
    const double below = net.step(rows, targets, weights, ignored, 0.1).weighted_loss;
    parameter = before;
    return (above - below) / (2 * h);
  };
  double largest = 0;
  for (std::size_t l = 0; l < net.layers(); ++l) {
    for (std::size_t i = 0; i < net.weights(l).rows(); ++i)
      for (std::size_t j = 0; j < net.weights(l).cols(); ++j) {
        const double exact =
            recorder.gradient[net.weights_offset(l) + i * net.weights(l).stride() + j];
        largest = std::max(largest, std::abs(slope(net.weights(l).row(i)[j]) - exact));
      }
    for (std::size_t j = 0; j < net.biases(l).size(); ++j)
      largest = std::max(
          largest, std::abs(slope(net.biases(l)[j]) - recorder.gradient[net.biases_offset(l) + j]));
  }
  CHECK(largest < 1e-8);
}

}  // namespace

TEST_CASE("add_product equals the plain triple loop at every remainder", "[unit]") {
  product_buffers<double> buffers;
  for (const std::size_t m : {1u, 7u, 16u, 50u})
    for (const std::size_t n : {1u, 5u, 16u, 33u})
      for (const std::size_t k : {1u, 3u, 64u, 301u}) {
        const auto a = random_values<double>(m * k, m + n), b = random_values<double>(k * n, k);
        std::vector<double> at(m * k), bt(k * n), want(m * n, 1.0);
        for (std::size_t i = 0; i < m; ++i)
          for (std::size_t e = 0; e < k; ++e) at[e * m + i] = a[i * k + e];
        for (std::size_t j = 0; j < n; ++j)
          for (std::size_t e = 0; e < k; ++e) bt[j * k + e] = b[e * n + j];
        for (std::size_t i = 0; i < m; ++i)
          for (std::size_t j = 0; j < n; ++j)
            for (std::size_t e = 0; e < k; ++e) want[i * n + j] += a[i * k + e] * b[e * n + j];
        const auto check = [&](auto multiply) {
          std::vector<double> c(m * n, 1.0);
          multiply(skim::matrix_view<double>(c.data(), m, n));
          double worst = 0;
          for (std::size_t i = 0; i < c.size(); ++i)
            worst = std::max(worst, std::abs(c[i] - want[i]));
          CHECK(worst < 1e-12 * static_cast<double>(k + 1));
        };
        check([&](auto c) {
          add_product<transposed::none, double>(view(a, m), view(b, k), c, buffers);
        });
        check([&](auto c) {
          add_product<transposed::left, double>(view(at, k), view(b, k), c, buffers);
        });
        check([&](auto c) {
          add_product<transposed::right, double>(view(a, m), view(bt, n), c, buffers);
        });
      }
}

TEST_CASE("mlp gradients agree with finite differences", "[unit]") {
  const std::size_t n = 6, d = 5;
  const auto x = random_values<double>(n * d, 1);
  const auto weights = GENERATE(std::vector<float>{}, std::vector<float>{1, 0, 2.5f, .25f, 3, 1});
  const auto hidden = GENERATE(std::vector<std::size_t>{}, std::vector<std::size_t>{7},
                               std::vector<std::size_t>{18, 4});

  SECTION("softmax") {
    const auto y = random_labels(n, 3, 2);
    check_gradient({.inputs = d, .hidden = hidden, .outputs = 3, .batch = n}, view(x, n), y,
                   weights);
  }
  SECTION("logistic, one output") {
    const auto y = random_labels(n, 2, 2);
    check_gradient(
        {.inputs = d, .hidden = hidden, .outputs = 1, .loss = loss_kind::logistic, .batch = n},
        view(x, n), y, weights);
  }
  SECTION("logistic, one against the rest") {
    const auto y = random_labels(n, 4, 2);
    check_gradient(
        {.inputs = d, .hidden = hidden, .outputs = 4, .loss = loss_kind::logistic, .batch = n},
        view(x, n), y, weights);
  }
  SECTION("logistic, values") {
    std::vector<double> y(n * 2);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<double>(i) / 12.0;
    check_gradient(
        {.inputs = d, .hidden = hidden, .outputs = 2, .loss = loss_kind::logistic, .batch = n},
        view(x, n), view(y, n), weights);
  }
  SECTION("squared") {
    const auto y = random_values<double>(n * 2, 3);
    check_gradient(
        {.inputs = d, .hidden = hidden, .outputs = 2, .loss = loss_kind::squared, .batch = n},
        view(x, n), view(y, n), weights);
  }
  SECTION("chosen rows") {
    const std::vector<skim::id_t> ids{5, 0, 0, 3, 2, 5};
    const auto y = random_labels(n, 3, 2);
    check_gradient({.inputs = d, .hidden = hidden, .outputs = 3, .batch = n},
                   {view(x, n), std::span<const skim::id_t>(ids)}, y, weights);
  }
  SECTION("sparse rows") {
    const sparse_data sparse(9, 12, 0.2, 4);
    const std::vector<skim::id_t> ids{8, 0, 0, 3, 2, 5};
    const auto y = random_labels(n, 3, 2);
    check_gradient({.inputs = 12, .hidden = hidden, .outputs = 3, .batch = n, .sparse_below = 1},
                   {sparse.view(), std::span<const skim::id_t>(ids)}, y, weights);
  }
}

TEST_CASE("mlp of several gradient strips has the gradient of one", "[unit]") {
  // 1200 x 80 weights are three strips of 128 KB; the bare definition is the reference.
  const std::size_t n = 9, d = 1200, width = 80;
  const auto x = random_values<float>(n * d, 1);
  const auto y = random_values<float>(n * width, 2);
  basic_mlp<float> net(
      {.inputs = d, .hidden = {}, .outputs = width, .loss = loss_kind::squared, .batch = n},
      skim::seed{3});
  gradient_recorder<float> recorder;
  net.step(view(x, n), view(y, n), {}, recorder, 0.1);
  double worst = 0;
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = 0; j < width; ++j) {
      double want = 0;
      for (std::size_t e = 0; e < n; ++e)
        want += static_cast<double>(x[e * d + i]) *
                static_cast<double>(net.outputs().row(e)[j] - y[e * width + j]) / n;
      const double got = recorder.gradient[net.weights_offset(0) + i * net.weights(0).stride() + j];
      worst = std::max(worst, std::abs(got - want));
    }
  CHECK(worst < 1e-5);
}

TEST_CASE("mlp takes importance weights exactly", "[unit]") {
  const std::size_t n = 8, d = 20;
  const auto x = random_values<float>(n * d, 1);
  const auto y = random_labels(n, 3, 2);
  basic_mlp<float> net({.inputs = d, .hidden = {32}, .outputs = 3, .batch = n}, skim::seed{5});
  gradient_recorder<float> once, scaled, without, part;

  SECTION("a power of two multiplies the gradient bit for bit") {
    const auto plain = net.step(view(x, n), y, std::vector<float>(n, 1.f), once, 0.1);
    const auto four = net.step(view(x, n), y, std::vector<float>(n, 4.f), scaled, 0.1);
    for (std::size_t i = 0; i < once.gradient.size(); ++i)
      REQUIRE(scaled.gradient[i] == 4 * once.gradient[i]);
    CHECK(four.weighted_loss == 4 * plain.weighted_loss);
    CHECK(four.loss == plain.loss);
    net.step(view(x, n), y, {}, without, 0.1);
    CHECK(without.gradient == once.gradient);
  }
  SECTION("an example of weight zero is not there") {
    std::vector<float> weights(n, 1.f);
    weights[n - 1] = 0;
    net.step(view(x, n), y, weights, once, 0.1);
    net.step(view(x, n).rows(0, n - 1), std::span(y).first(n - 1), {}, part, 0.1);
    for (std::size_t i = 0; i < once.gradient.size(); ++i)
      REQUIRE_THAT(once.gradient[i], WithinAbs(part.gradient[i] * 7 / 8, 1e-6));
  }
}

TEST_CASE("compute_loss agrees with a scalar reference", "[unit]") {
  const std::size_t n = 40;
  const std::vector<float> none;
  for (const std::size_t outputs : {1u, 2u, 10u, 16u, 19u}) {
    const std::size_t stride = (outputs + 15) / 16 * 16;
    skim::aligned_vector<double> z(n * stride, 0.0), delta(n * stride, 7.0);
    const auto noise = random_values<double>(n * outputs, outputs);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < outputs; ++j)  // up to logits of about 1000
        z[i * stride + j] =
            noise[i * outputs + j] * std::pow(10.0, static_cast<double>(i % 4) - .5);
    const skim::matrix_view<const double> zs(z.data(), n, outputs, stride);
    const skim::matrix_view<double> deltas(delta.data(), n, outputs, stride);
    std::vector<float> loss(n), residual(n);
    std::vector<std::uint8_t> correct(n);

    if (outputs > 1) {
      const auto y = random_labels(n, outputs, 3);
      const loss_sums sums = compute_loss<16, double>(loss_kind::softmax, zs, y, none, 0.5, deltas,
                                                      {loss, residual, correct});
      double total = 0;
      std::size_t right = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const auto row = zs.row(i);
        double top = row[0], sum = 0, square = 0;
        for (const double v : row) top = std::max(top, v);
        for (const double v : row) sum += std::exp(v - top);
        const double want = top + std::log(sum) - row[y[i]];
        for (std::size_t j = 0; j < outputs; ++j) {
          const double r = std::exp(row[j] - top) / sum - (j == y[i] ? 1 : 0);
          square += r * r;
          CHECK_THAT(deltas.row(i)[j], WithinAbs(0.5 * r, 1e-9));
        }
        for (std::size_t j = outputs; j < stride; ++j) CHECK(delta[i * stride + j] == 0);
        CHECK_THAT(loss[i], WithinRel(static_cast<float>(want), 1e-5f) ||
                                WithinAbs(static_cast<float>(want), 1e-9f));
        CHECK_THAT(residual[i], WithinAbs(static_cast<float>(std::sqrt(square)), 1e-6f));
        CHECK(correct[i] == (row[y[i]] == top));
        total += want;
        right += row[y[i]] == top;
      }
      CHECK_THAT(sums.loss, WithinRel(total, 1e-9));
      CHECK(sums.correct == right);
    }
    {
      const auto y = random_labels(n, outputs == 1 ? 2 : outputs, 3);
      compute_loss<16, double>(loss_kind::logistic, zs, y, none, 1, deltas, {loss, residual, {}});
      for (std::size_t i = 0; i < n; ++i) {
        double want = 0;
        for (std::size_t j = 0; j < outputs; ++j) {
          const double v = zs.row(i)[j];
          const double target = outputs == 1 ? y[i] : (y[i] == j ? 1 : 0);
          want += (v > 30 ? v : std::log1p(std::exp(v))) - target * v;
          CHECK_THAT(deltas.row(i)[j], WithinAbs(1 / (1 + std::exp(-v)) - target, 1e-9));
        }
        CHECK_THAT(loss[i], WithinRel(static_cast<float>(want), 1e-5f) ||
                                WithinAbs(static_cast<float>(want), 1e-9f));
      }
    }
    {
      const auto y = random_values<double>(n * outputs, 8);
      const loss_sums sums = compute_loss<16, double>(loss_kind::squared, zs, view(y, n),
                                                      std::vector<float>(n, 2.f), 1, deltas, {});
      double total = 0;
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < outputs; ++j) {
          const double r = zs.row(i)[j] - y[i * outputs + j];
          total += r * r / 2;
          CHECK_THAT(deltas.row(i)[j], WithinRel(2 * r, 1e-12));
        }
      CHECK_THAT(sums.loss, WithinRel(total, 1e-9));
      CHECK_THAT(sums.weighted_loss, WithinRel(2 * total, 1e-9));
      CHECK_THAT(sums.squared_residual, WithinRel(2 * total, 1e-9));
    }
  }
}

TEST_CASE("optimisers follow their formulas", "[unit]") {
  const std::size_t n = 32;
  const auto first = random_values<double>(n, 1);
  skim::aligned_vector<double> w(first.begin(), first.end()), g(n);
  std::vector<double> want = first, m(n), v(n);
  const auto kind = GENERATE(parameter_kind::weight, parameter_kind::bias);
  const double rate = 0.01, decay = kind == parameter_kind::weight ? 0.1 : 0;

  SECTION("adam") {
    basic_adam<double> adam({.beta1 = .8, .beta2 = .99, .epsilon = 1e-6, .weight_decay = .1});
    for (int t = 1; t <= 20; ++t) {
      const auto noise = random_values<double>(n, 100 + static_cast<std::uint64_t>(t));
      std::copy(noise.begin(), noise.end(), g.begin());
      adam.begin_step(n, rate);
      adam.update(16, std::span(w).subspan(16), std::span<const double>(g).subspan(16), kind);
      adam.update(0, std::span(w).first(16), std::span<const double>(g).first(16), kind);
      for (std::size_t i = 0; i < n; ++i) {
        m[i] = .8 * m[i] + .2 * g[i];
        v[i] = .99 * v[i] + .01 * g[i] * g[i];
        want[i] -= rate * decay * want[i];
        want[i] -= rate * (m[i] / (1 - std::pow(.8, t))) /
                   (std::sqrt(v[i] / (1 - std::pow(.99, t))) + 1e-6);
      }
    }
    CHECK(adam.steps() == 20);
  }
  SECTION("sgd") {
    basic_sgd<double> sgd({.momentum = .7, .weight_decay = .1});
    for (int t = 1; t <= 20; ++t) {
      const auto noise = random_values<double>(n, 100 + static_cast<std::uint64_t>(t));
      std::copy(noise.begin(), noise.end(), g.begin());
      sgd.begin_step(n, rate);
      sgd.update(0, w, g, kind);
      for (std::size_t i = 0; i < n; ++i) {
        m[i] = .7 * m[i] + g[i];
        want[i] -= rate * decay * want[i] + rate * m[i];
      }
    }
  }
  for (std::size_t i = 0; i < n; ++i) CHECK_THAT(w[i], WithinRel(want[i], 1e-12));
}

TEST_CASE("optimisers refuse what they cannot use", "[unit]") {
  CHECK_THROWS_AS(adam({.beta1 = 1}), skim::invalid_params);
  CHECK_THROWS_AS(adam({.epsilon = 0}), skim::invalid_params);
  CHECK_THROWS_AS(adam({.weight_decay = -1}), skim::invalid_params);
  CHECK_THROWS_AS(sgd({.momentum = 1}), skim::invalid_params);
  adam optimizer;
  CHECK_THROWS_AS(optimizer.begin_step(32, std::nan("")), skim::invalid_input);
  optimizer.begin_step(32, 0.1);
  CHECK_THROWS_WITH(optimizer.begin_step(48, 0.1), ContainsSubstring("got 48 parameters"));
  CHECK(optimizer.steps() == 1);
}

TEMPLATE_TEST_CASE("mlp learns what can be learned", "[unit]", adam, sgd) {
  skim::random_engine g(skim::seed{7});
  TestType optimizer;
  const std::size_t n = 512;
  std::vector<float> x(n * 2);
  std::vector<skim::label_t> y(n);
  // Exclusive or of two signs, with a gap of 0.2 around the axes: no linear model does better than
  // chance, one hidden layer separates it.
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < 2; ++j) {
      const double v = skim::uniform(g) * 2 - 1;
      x[2 * i + j] = static_cast<float>(v < 0 ? v - .1 : v + .1);
    }
    y[i] = (x[2 * i] > 0) != (x[2 * i + 1] > 0);
  }
  const bool logistic = GENERATE(false, true);
  mlp net({.inputs = 2,
           .hidden = {32},
           .outputs = logistic ? std::size_t{1} : std::size_t{2},
           .loss = logistic ? loss_kind::logistic : loss_kind::softmax,
           .batch = 64},
          skim::seed{3});
  const linear_decay rate({.rate = 0.03, .budget = 600});
  std::vector<skim::id_t> ids(64);
  std::vector<skim::label_t> labels(64);
  for (int t = 0; t < 600; ++t) {
    for (auto& id : ids) id = static_cast<skim::id_t>(skim::uniform_below(g, n));
    gather<const skim::label_t>(y, ids, labels);
    net.step({view(x, n), std::span<const skim::id_t>(ids)}, labels, {}, optimizer, rate(t));
  }
  const mlp_result result = net.evaluate(view(x, n), y);
  CHECK(result.accuracy >= 0.99);
  CHECK(result.loss < 0.1);
}

TEST_CASE("mlp regresses several outputs", "[unit]") {
  const std::size_t n = 256, d = 6;
  const auto x = random_values<float>(n * d, 1);
  std::vector<float> y(n * 2);
  for (std::size_t i = 0; i < n; ++i) {
    y[2 * i] = 2 * x[i * d] - x[i * d + 3] + 1;
    y[2 * i + 1] = x[i * d + 1] + 0.5f * x[i * d + 5] - 2;
  }
  mlp net({.inputs = d, .hidden = {}, .outputs = 2, .loss = loss_kind::squared, .batch = 64},
          skim::seed{3});
  adam optimizer;
  const linear_decay rate({.rate = 0.1, .budget = 400});
  for (std::size_t t = 0; t < 400; ++t)
    net.step(view(x, n).rows(t % 4 * 64, 64), view(y, n).rows(t % 4 * 64, 64), {}, optimizer,
             rate(static_cast<double>(t)));
  CHECK(net.evaluate(view(x, n), view(y, n)).rmse < 1e-3);
}

TEST_CASE("mlp gives equal weights for equal seeds", "[unit]") {
  const auto x = random_values<float>(32 * 30, 1);
  const auto y = random_labels(32, 4, 2);
  const auto train = [&](std::uint64_t seed) {
    mlp net({.inputs = 30, .hidden = {40, 20}, .outputs = 4, .batch = 32}, skim::seed{seed});
    adam optimizer;
    for (int t = 0; t < 20; ++t) net.step(view(x, 32), y, {}, optimizer, 1e-2);
    return all_parameters(net);
  };
  CHECK(train(1) == train(1));
  CHECK(train(1) != train(2));
}

TEST_CASE("mlp initialises after He", "[unit]") {
  const mlp net({.inputs = 400, .hidden = {300}, .outputs = 200}, skim::seed{4});
  for (const std::size_t l : {0u, 1u}) {
    double square = 0;
    for (std::size_t i = 0; i < net.weights(l).rows(); ++i)
      for (const float w : net.weights(l).row(i)) square += static_cast<double>(w * w);
    const auto count = static_cast<double>(net.weights(l).rows() * net.weights(l).cols());
    const double want = (l == 0 ? 2.0 : 1.0) / static_cast<double>(net.weights(l).rows());
    // The sample variance of count normals has the relative deviation sqrt(2 / count); 5 of them
    // are exceeded with probability 6e-7.
    CHECK_THAT(square / count, WithinRel(want, 5 * std::sqrt(2 / count)));
    for (const float b : net.biases(l)) CHECK(b == 0);
  }
}

TEST_CASE("mlp treats sparse rows as the same dense ones", "[unit]") {
  const std::size_t n = 48, d = 300;
  const double density = GENERATE(0.0, 0.03, 0.5);
  const sparse_data sparse(n, d, density, 1);
  const auto x = sparse.dense<float>();
  const auto y = random_labels(n, 5, 2);
  const mlp_params p{.inputs = d, .hidden = {70, 33}, .outputs = 5, .batch = 48};
  mlp a(p, skim::seed{1}), b(p, skim::seed{1});
  gradient_recorder<float> ga, gb;
  const mlp_result ra = a.step(sparse.view(), y, {}, ga, 0.1);
  const mlp_result rb = b.step(view(x, n), y, {}, gb, 0.1);
  CHECK_THAT(ra.loss, WithinRel(rb.loss, 1e-5));
  for (std::size_t i = 0; i < ga.gradient.size(); ++i)
    REQUIRE_THAT(ga.gradient[i], WithinAbs(gb.gradient[i], 1e-5));
  CHECK_THAT(a.evaluate(sparse.view(), y).loss, WithinRel(b.evaluate(view(x, n), y).loss, 1e-5));
}

TEST_CASE("mlp evaluates any number of rows with their scores and outputs", "[unit]") {
  const std::size_t n = 70, d = 9;
  const auto x = random_values<float>(n * d, 1);
  const auto y = random_labels(n, 3, 2);
  mlp small({.inputs = d, .hidden = {12}, .outputs = 3, .batch = 16}, skim::seed{1});
  mlp large({.inputs = d, .hidden = {12}, .outputs = 3, .batch = 128}, skim::seed{1});
  std::vector<float> loss(n), residual(n), logits(n * 3), predicted(n * 3);
  std::vector<std::uint8_t> correct(n);
  const mlp_result r = small.evaluate(view(x, n), y, {loss, residual, correct},
                                      skim::matrix_view<float>(logits.data(), n, 3));
  small.predict(view(x, n), skim::matrix_view<float>(predicted.data(), n, 3));
  CHECK(predicted == logits);
  const auto all = large.forward(view(x, n));
  double mean = 0, right = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < 3; ++j)
      REQUIRE_THAT(logits[3 * i + j], WithinAbs(all.row(i)[j], 1e-5));
    mean += static_cast<double>(loss[i]) / n;
    right += static_cast<double>(correct[i]) / n;
    CHECK(residual[i] > 0);
    CHECK(residual[i] < 1.4143f);
  }
  CHECK_THAT(r.loss, WithinRel(mean, 1e-5));
  CHECK_THAT(r.accuracy, WithinRel(right, 1e-9));

  const auto hidden = large.last_hidden();
  REQUIRE(hidden.rows() == n);
  REQUIRE(hidden.cols() == 12);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < 3; ++j) {
      double z = static_cast<double>(large.biases(1)[j]);
      for (std::size_t k = 0; k < 12; ++k) {
        REQUIRE(hidden.row(i)[k] >= 0);
        z += static_cast<double>(hidden.row(i)[k] * large.weights(1).row(k)[j]);
      }
      REQUIRE_THAT(z, WithinAbs(static_cast<double>(all.row(i)[j]), 1e-5));
    }
  const skim::matrix_view<const float> empty(x.data(), 0, d);
  CHECK(large.evaluate(empty, std::span<const skim::label_t>()).loss == 0);
  CHECK(large.forward(empty).rows() == 0);
}

TEST_CASE("mlp steps allocate nothing once warm", "[unit]") {
#if SKIM_COUNTS_ALLOCATIONS && SKIM_EXAMPLES_OWN_PACKING
  const std::size_t n = 96, d = 784;  // large enough for Eigen to allocate by itself
  const auto x = random_values<float>(200 * d, 1);
  const sparse_data sparse(200, d, 0.05, 2);
  const auto y = random_labels(n, 10, 2);
  const std::vector<float> weights(n, 1.f);
  std::vector<float> loss(n), residual(n);
  std::vector<std::uint8_t> correct(n);
  std::vector<skim::id_t> ids(n);
  for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<skim::id_t>((7 * i) % 200);
  mlp net({.inputs = d, .hidden = {500, 300}, .outputs = 10, .batch = n}, skim::seed{1});
  adam a;
  sgd s;
  const example_scores scores{loss, residual, correct};
  const auto every_kind = [&] {
    net.step(view(x, 200).rows(0, n), y, weights, a, 1e-3, scores);
    net.step({view(x, 200), std::span<const skim::id_t>(ids)}, y, weights, s, 1e-3, scores);
    net.step({sparse.view(), std::span<const skim::id_t>(ids)}, y, weights, a, 1e-3, scores);
    net.evaluate(view(x, 200).rows(0, n), y, scores);
    net.forward({view(x, 200), std::span<const skim::id_t>(ids)});
  };
  every_kind();
  const std::size_t before = allocation_count;
  for (int t = 0; t < 3; ++t) every_kind();
  const std::size_t after = allocation_count;
  int* volatile one = new int(1);  // volatile: compilers may leave out a pair of new and delete
  delete one;
  const std::size_t with_one = allocation_count;
  CHECK(after == before);
  CHECK(with_one == after + 1);  // the counter does count
#else
  SKIP("allocations cannot be counted in this build");
#endif
}

TEST_CASE("mlp refuses what does not fit, and stays as it was", "[unit]") {
  const std::size_t n = 4, d = 3;
  auto x = random_values<float>(n * d, 1);
  const std::vector<skim::label_t> y{0, 1, 2, 1}, high{0, 3, 2, 1}, few{0, 1};
  mlp net({.inputs = d, .hidden = {8}, .outputs = 3, .batch = n}, skim::seed{1});
  mlp squares({.inputs = d, .outputs = 2, .loss = loss_kind::squared, .batch = n}, skim::seed{1});
  mlp binary({.inputs = d, .outputs = 1, .loss = loss_kind::logistic, .batch = n}, skim::seed{1});
  adam optimizer;
  const auto before = all_parameters(net);
  const auto wide = random_values<float>(n * 4, 1);
  const auto long_batch = random_values<float>(5 * d, 1);
  const auto rejected = [&](auto call, const std::string& message) {
    CHECK_THROWS_AS(call(), skim::invalid_input);
    CHECK_THROWS_WITH(call(), ContainsSubstring(message));
    CHECK(all_parameters(net) == before);
    CHECK(optimizer.steps() == 0);
  };
  const auto step = [&](const auto& rows, const auto& targets, std::vector<float> weights = {}) {
    return [&net, &optimizer, rows, targets, weights] {
      net.step(rows, targets, weights, optimizer, 0.1);
    };
  };
  rejected(step(view(x, n), high), "got label 3 for example 1, wanted one below 3");
  rejected(step(view(x, n), few), "got 2 for 4 examples");
  rejected(step(view(wide, n), y), "got rows of 4 inputs, wanted 3");
  rejected(step(view(long_batch, 5), y), "got 5 examples, wanted at most the batch of 4");
  rejected(step(view(x, n).rows(0, 0), few), "got no examples");
  rejected(step(view(x, n), y, {1, 1}), "got 2 weights for 4 examples");
  rejected(step(view(x, n), y, {1, -1, 1, 1}), "got weight -1 for example 1");
  rejected(step(view(x, n), y, {1, 1, 1, std::numeric_limits<float>::infinity()}),
           "got weight inf");
  rejected([&] { net.step(view(x, n), view(x, n), {}, optimizer, 0.1); }, "got values for softmax");
  rejected([&] { squares.step(view(x, n), y, {}, optimizer, 0.1); }, "got labels for squared");
  rejected([&] { squares.step(view(x, n), view(x, n), {}, optimizer, 0.1); },
           "got 3 values a row for 2 outputs");
  rejected([&] { binary.step(view(x, n), y, {}, optimizer, 0.1); }, "got label 2 for example 2");
  rejected(
      [&] {
        binary.step(view(x, n), view(std::vector<float>{0, 1, 2, 0}, n), {}, optimizer, 0.1);
      },
      "wanted one in [0, 1]");
  rejected([&] { net.step(view(x, n), y, {}, optimizer, std::nan("")); }, "learning rate of");
  std::vector<float> room(3);
  std::vector<std::uint8_t> right(n);
  rejected(
      [&] {
        net.step(view(x, n), y, {}, optimizer, 0.1, {room, {}, {}});
      },
      "got room for 3 examples");
  rejected(
      [&] {
        squares.step(view(x, n), view(std::vector<float>(n * 2), n), {}, optimizer, 0.1,
                     {{}, {}, right});
      },
      "under squared loss no prediction");
  const std::vector<skim::id_t> ids{0, 4};
  rejected(
      [&] {
        net.forward({view(x, n), std::span<const skim::id_t>(ids)});
      },
      "got id 4 at position 1, wanted one below 4");
  rejected([&] { net.predict(view(x, n), skim::matrix_view<float>(room.data(), 1, 3)); },
           "wanted 4 x 3");
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto poisoned = x;
    poisoned[2 * d + 1] = bad;
    rejected([&] { net.step(view(poisoned, n), y, {}, optimizer, 0.1); },
             "the loss is not finite (outputs of example 2)");
  }
  net.step(view(x, n), y, {}, optimizer, 0.1);
  CHECK(all_parameters(net) != before);
}

TEST_CASE("mlp refuses impossible shapes", "[unit]") {
  const auto make = [](mlp_params p) { return mlp(std::move(p), skim::seed{1}); };
  CHECK_THROWS_AS(make({.inputs = 0, .outputs = 2}), skim::invalid_params);
  CHECK_THROWS_AS(make({.inputs = 2, .outputs = 0}), skim::invalid_params);
  CHECK_THROWS_AS(make({.inputs = 2, .hidden = {4, 0}, .outputs = 2}), skim::invalid_params);
  CHECK_THROWS_AS(make({.inputs = 2, .outputs = 2, .batch = 0}), skim::invalid_params);
  CHECK_THROWS_WITH(make({.inputs = 2, .outputs = 1}), ContainsSubstring("at least 2 outputs"));
  CHECK_THROWS_WITH(make({.inputs = 1u << 31, .hidden = {1u << 31}, .outputs = 2}),
                    ContainsSubstring("do not fit into memory"));
  CHECK_THROWS_AS(make({.inputs = 2, .outputs = 2, .sparse_below = 2}), skim::invalid_params);
}

TEMPLATE_TEST_CASE("mlp continues bit for bit from a saved image", "[unit]", adam, sgd) {
  const std::size_t n = 16, d = 10;
  const auto x = random_values<float>(n * d, 1);
  const auto y = random_labels(n, 3, 2);
  mlp net({.inputs = d, .hidden = {20, 17}, .outputs = 3, .batch = n}, skim::seed{1});
  TestType optimizer({.weight_decay = 0.01});
  const auto train = [&](mlp& m, TestType& o) {
    for (int t = 0; t < 5; ++t) m.step(view(x, n), y, {}, o, 1e-2);
  };
  train(net, optimizer);
  skim::writer out;
  net.save(out);
  optimizer.save(out);
  train(net, optimizer);

  skim::reader in(out.bytes());
  mlp copy = mlp::load(in);
  TestType copied = TestType::load(in);
  CHECK(in.remaining() == 0);
  train(copy, copied);
  CHECK(all_parameters(copy) == all_parameters(net));

  for (std::size_t length = 0; length < out.bytes().size(); length += 97) {
    skim::reader cut(out.bytes().first(length));
    CHECK_THROWS_AS((static_cast<void>(mlp::load(cut)), static_cast<void>(TestType::load(cut))),
                    skim::format_error);
  }
  std::vector<std::byte> bytes(out.bytes().begin(), out.bytes().end());
  for (std::size_t i = 0; i < bytes.size(); i += 61) {
    bytes[i] ^= std::byte{4};
    skim::reader flipped(bytes);
    CHECK_THROWS_AS(
        (static_cast<void>(mlp::load(flipped)), static_cast<void>(TestType::load(flipped))),
        skim::format_error);
    bytes[i] ^= std::byte{4};
  }
}

TEST_CASE("mlp leaves the thread's floating point mode as it was", "[unit]") {
  volatile float tiny = std::numeric_limits<float>::min();
  mlp net({.inputs = 2, .outputs = 2, .batch = 1}, skim::seed{1});
  const std::vector<float> x{1, 2};
  net.forward(view(x, 1));
  CHECK(tiny / 2 > 0);
#if SKIM_EXAMPLES_HAVE_MXCSR
  const flush_denormals flushed;
  CHECK_FALSE(tiny / 2 > 0);
#endif
}

TEST_CASE("learning rate schedules", "[unit]") {
  const constant_rate constant(0.5);
  CHECK(constant(0) == 0.5);
  CHECK(constant(1e9) == 0.5);
  const linear_decay decay({.rate = 2, .budget = 10});
  CHECK(decay(0) == 2);
  CHECK(decay(5) == 1);
  CHECK(decay(10) == 0);
  CHECK(decay(11) == 0);
  const linear_decay warm({.rate = 2, .budget = 10, .warm_up = 0.2});
  CHECK(warm(0) == 0);
  CHECK(warm(1) == 1);
  CHECK(warm(2) == 2);
  CHECK(warm(6) == 1);
  CHECK_THROWS_AS(constant_rate(0), skim::invalid_params);
  CHECK_THROWS_AS(linear_decay({.rate = 1, .budget = 0}), skim::invalid_params);
  CHECK_THROWS_AS(linear_decay({.rate = 1, .budget = 1, .warm_up = 1}), skim::invalid_params);
}

TEST_CASE("thread_stopwatch counts processor time while it runs", "[unit]") {
  const auto spend = [](double seconds) {
    const double until = thread_seconds() + seconds;
    while (thread_seconds() < until) {
    }
  };
  thread_stopwatch whole, part(thread_stopwatch::state::paused);
  CHECK(whole.running());
  CHECK(part.seconds() == 0);
  spend(0.002);
  {
    const thread_stopwatch::scope counted(part);
    spend(0.002);
  }
  {
    const thread_stopwatch::interruption left_out(whole);
    CHECK_FALSE(whole.running());
    spend(0.002);
  }
  CHECK(whole.running());
  whole.pause();
  const double at = whole.seconds();
  spend(0.001);
  CHECK(whole.seconds() == at);
  CHECK(at >= 0.004);
  CHECK(part.seconds() >= 0.002);
  CHECK(part.seconds() < at);
  whole.reset();
  CHECK(whole.seconds() == 0);
}
