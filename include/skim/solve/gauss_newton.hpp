// SPDX-License-Identifier: Apache-2.0
//
// Gauss-Newton steps of a two-layer network of shifted rectifiers, from the sets of firing neurons.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/cholesky.hpp"
#include "skim/linalg/dot.hpp"
#include "skim/linalg/gemm.hpp"

namespace skim::inline v0 {

/// Which points each neuron fires for, over a fixed set of points: lists in one array.
struct firing_sets {
  std::span<const std::size_t> offsets;  ///< one more than there are lists, ascending
  std::span<const id_t> points;          ///< ascending within a list
};

/// How a Gauss-Newton step is computed.
struct gauss_newton_params {
  double damping = 1e-6;            ///< of the mean diagonal of the Gram matrix, added to it
  std::size_t exact_points = 4096;  ///< up to so many points the matrix is factored
  double tolerance = 1e-4;          ///< of the residual's norm, where it is solved by iteration
  std::size_t iterations = 200;     ///< at most, where it is
  std::size_t landmarks = 512;      ///< of the preconditioner
};

/// What a solve did.
struct gauss_newton_report {
  bool solved = false;         ///< to the tolerance, or exactly
  std::size_t iterations = 0;  ///< of conjugate gradients; 0 if the matrix was factored
  double relative_residual = 0;
};

/// Solves (K + damping) z = residual for K = J J^T, J being the Jacobian of the outputs by the weights.
///
/// With outputs m^(-1/2) sum a_r max(<w_r, x_i> - b_r, 0), a_r = +-1, an entry of K is <x_i, x_j> / m
/// times the number of neurons that fire for both points: counts times the points' Gram matrix, and
/// no Jacobian is formed. The weight step is w_r -= a_r m^(-1/2) sum over the points of r of z_i x_i.
///
/// Counts come from the lists, pair by pair, or where lists are long from bit sets, 64 neurons at a
/// time. Beyond `exact_points` K is only multiplied with, list by list, by conjugate gradients that are
/// preconditioned by K's Nystrom approximation on evenly spaced landmarks: columns of K, which is a
/// sketch of K by sampling.
///
/// Memory:  24 n^2 bytes up to exact_points (K, its factor, counts, products of the points); beyond,
///          12 n * landmarks.
/// Cost:    counts, sum of the lists' lengths squared or n^2 m / 64 words; n^3 / 3 to factor. Beyond,
///          an iteration takes 2 FMAs for each firing pair and coordinate.
/// Error:   the factored solve is exact to the rounding of double; the other to `tolerance`.
/// Threads: none: a solver for each thread.
/// Ref:     Deng, Hu, Song, Weinstein, Zhuo 2022, arXiv:2208.04508 (the step, with a sketch for the
///          Gram matrix that is not needed here); Frangella, Tropp, Udell 2021, arXiv:2110.02820
///          (Nystrom preconditioning; ours takes columns in place of random combinations).
class gauss_newton_solver {
 public:
  using params = gauss_newton_params;

  /// Throws invalid_params on a damping or tolerance that is not positive and finite, or no
  /// landmarks. The points must outlive the solver.
  gauss_newton_solver(const firing_points& x, std::size_t neurons, params p = {})
      : x_(&x), neurons_(neurons), params_(p) {
    const auto positive = [](double v) { return v > 0 && std::isfinite(v); };
    if (neurons == 0 || !positive(p.damping) || !positive(p.tolerance) || p.landmarks == 0)
      SKIM_THROW(invalid_params,
                 detail::concat("gauss_newton_solver: got ", neurons, " neurons, damping ",
                                p.damping, ", tolerance ", p.tolerance, " and ", p.landmarks,
                                " landmarks, wanted all of them positive and finite"));
    params_.landmarks = std::min(p.landmarks, x.size());
  }
  gauss_newton_solver(const firing_points&& x, std::size_t neurons, params p = {}) = delete;

  /// z becomes the solution. Throws invalid_input, before anything changes, unless the lists are in
  /// order and the residuals finite and one a point.
  gauss_newton_report solve(firing_sets sets, std::span<const double> residual,
                            std::span<double> z) {
    check(sets, residual, z);
    return x_->size() <= params_.exact_points ? factored(sets, residual, z)
                                              : iterated(sets, residual, z);
  }

  /// K itself, row by row; out holds n * n. For tests and for the largest eigenvalue.
  void gram(firing_sets sets, std::span<double> out) {
    const std::size_t n = x_->size();
    if (out.size() != n * n)
      SKIM_THROW(invalid_input, detail::concat("gauss_newton_solver: got room for ", out.size(),
                                               " elements, wanted ", n * n));
    count_common(sets);
    if (products_.empty()) {
      products_.resize(n * n);
      multiply_transposed(x_->view(), x_->view(), {products_.data(), n, n});
    }
    const double unit = 1 / static_cast<double>(neurons_);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i; j < n; ++j)
        out[i * n + j] = out[j * n + i] = unit * static_cast<double>(common_[i * n + j]) *
                                          static_cast<double>(products_[i * n + j]);
  }

  /// out = K v, without K. Pre: sizes as solve() wants them.
  void multiply_gram(firing_sets sets, std::span<const double> v, std::span<double> out) {
    SKIM_EXPECTS(v.size() == x_->size() && out.size() == v.size());
    const std::size_t d = x_->dim();
    std::fill(out.begin(), out.end(), 0.0);
    sum_.resize(d);
    for (std::size_t r = 0; r + 1 < sets.offsets.size(); ++r) {
      const auto list = list_of(sets, r);
      if (list.empty()) continue;
      std::fill(sum_.begin(), sum_.end(), 0.0f);
      for (const id_t i : list)
        axpy(static_cast<float>(v[i]), std::span<const float>(x_->row(i), d), std::span(sum_));
      for (const id_t i : list)
        out[i] += static_cast<double>(
            dot(std::span<const float>(x_->row(i), d), std::span<const float>(sum_)));
    }
    const double unit = 1 / static_cast<double>(neurons_);
    for (double& o : out) o *= unit;
  }

 private:
  [[nodiscard]] static std::span<const id_t> list_of(firing_sets sets, std::size_t r) noexcept {
    return sets.points.subspan(sets.offsets[r], sets.offsets[r + 1] - sets.offsets[r]);
  }

  void check(firing_sets sets, std::span<const double> residual, std::span<double> z) const {
    const std::size_t n = x_->size();
    if (residual.size() != n || z.size() != n)
      SKIM_THROW(invalid_input,
                 detail::concat("gauss_newton_solver: got ", residual.size(),
                                " residuals and room for ", z.size(), ", wanted ", n));
    if (!std::all_of(residual.begin(), residual.end(), [](double v) { return std::isfinite(v); }))
      SKIM_THROW(invalid_input, "gauss_newton_solver: got a residual that is not finite");
    const bool ends = !sets.offsets.empty() && sets.offsets.front() == 0 &&
                      sets.offsets.back() == sets.points.size() &&
                      std::is_sorted(sets.offsets.begin(), sets.offsets.end());
    if (!ends || sets.offsets.size() > neurons_ + 1)
      SKIM_THROW(invalid_input,
                 "gauss_newton_solver: got lists out of order, wanted offsets that "
                 "ascend from 0 to the number of pairs, one a neuron at most");
    for (std::size_t r = 0; r + 1 < sets.offsets.size(); ++r) {
      const auto list = list_of(sets, r);
      for (std::size_t j = 0; j < list.size(); ++j)
        if (list[j] >= n || (j > 0 && list[j] <= list[j - 1]))
          SKIM_THROW(invalid_input,
                     detail::concat("gauss_newton_solver: got point ", list[j], " in list ", r,
                                    ", wanted ascending points below ", n));
    }
  }

  // For i <= j the number of lists that hold both.
  void count_common(firing_sets sets) {
    const std::size_t n = x_->size(), lists = sets.offsets.size() - 1;
    common_.assign(n * n, 0);
    double squares = 0;
    for (std::size_t r = 0; r < lists; ++r) {
      const auto length = static_cast<double>(sets.offsets[r + 1] - sets.offsets[r]);
      squares += length * length;
    }
    // Either way counts half a matrix; a word of 64 neurons takes about as long as one increment.
    const std::size_t words = (lists + 63) / 64;
    if (squares <= static_cast<double>(n * n) * static_cast<double>(words)) {
      for (std::size_t r = 0; r < lists; ++r) {
        const auto list = list_of(sets, r);
        for (std::size_t a = 0; a < list.size(); ++a) {
          std::uint32_t* const row = common_.data() + list[a] * n;
          for (std::size_t b = a; b < list.size(); ++b) ++row[list[b]];
        }
      }
      return;
    }
    bits_.assign(n * words, 0);
    for (std::size_t r = 0; r < lists; ++r)
      for (const id_t i : list_of(sets, r)) bits_[i * words + r / 64] |= std::uint64_t{1} << r % 64;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i; j < n; ++j) {
        const std::uint64_t* const a = bits_.data() + i * words;
        const std::uint64_t* const b = bits_.data() + j * words;
        int count = 0;
        for (std::size_t w = 0; w < words; ++w) count += std::popcount(a[w] & b[w]);
        common_[i * n + j] = static_cast<std::uint32_t>(count);
      }
  }

  // What is added to the diagonal, given the sum of it.
  [[nodiscard]] double shift_of(double trace) const noexcept {
    const double mean = trace / static_cast<double>(x_->size());
    return params_.damping * (mean > 0 ? mean : 1);
  }

  gauss_newton_report factored(firing_sets sets, std::span<const double> residual,
                               std::span<double> z) {
    const std::size_t n = x_->size();
    matrix_.resize(n * n);
    gram(sets, matrix_);
    double trace = 0;
    for (std::size_t i = 0; i < n; ++i) trace += matrix_[i * n + i];
    double shift = shift_of(trace);
    // K is positive semidefinite up to the rounding of its float products: more damping mends that.
    for (double added = 0;; shift *= 100) {
      for (std::size_t i = 0; i < n; ++i) matrix_[i * n + i] += shift - added;
      added = shift;
      const cholesky factor(matrix_view<const double>(matrix_.data(), n, n));
      if (!factor.ok()) continue;
      std::copy(residual.begin(), residual.end(), z.begin());
      factor.solve(z);
      return {.solved = true};
    }
  }

  gauss_newton_report iterated(firing_sets sets, std::span<const double> residual,
                               std::span<double> z) {
    const std::size_t n = x_->size();
    double trace = 0;
    for (const id_t i : sets.points) trace += square_norm(i);
    const double shift = shift_of(trace / static_cast<double>(neurons_));
    make_preconditioner(sets, shift);
    std::vector<double> left(residual.begin(), residual.end()), scaled(n), direction(n), image(n);
    std::fill(z.begin(), z.end(), 0.0);
    const auto product = [n](const std::vector<double>& a, const std::vector<double>& b) {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
      return sum;
    };
    const double whole = std::sqrt(product(left, left));
    gauss_newton_report report;
    report.relative_residual = whole > 0 ? 1 : 0;
    precondition(left, scaled, shift);
    direction = scaled;
    double rho = product(left, scaled);
    while (report.relative_residual > params_.tolerance && report.iterations < params_.iterations) {
      multiply_gram(sets, direction, image);
      for (std::size_t i = 0; i < n; ++i) image[i] += shift * direction[i];
      const double step = rho / product(direction, image);
      if (!std::isfinite(step)) break;
      for (std::size_t i = 0; i < n; ++i) {
        z[i] += step * direction[i];
        left[i] -= step * image[i];
      }
      precondition(left, scaled, shift);
      const double next = product(left, scaled);
      for (std::size_t i = 0; i < n; ++i) direction[i] = scaled[i] + next / rho * direction[i];
      rho = next;
      ++report.iterations;
      report.relative_residual = std::sqrt(product(left, left)) / whole;
    }
    report.solved = report.relative_residual <= params_.tolerance;
    return report;
  }

  [[nodiscard]] double square_norm(std::size_t i) const noexcept {
    const std::span<const float> x(x_->row(i), x_->dim());
    return static_cast<double>(dot(x, x));
  }

  // With columns C of K at the landmarks and W = C's rows there: K is about C W^-1 C^T, and by the
  // Woodbury identity (C W^-1 C^T + s)^-1 v = (v - C (s W + C^T C)^-1 C^T v) / s.
  void make_preconditioner(firing_sets sets, double shift) {
    const std::size_t n = x_->size(), l = params_.landmarks;
    std::vector<id_t> place(n, static_cast<id_t>(l));
    std::vector<std::size_t> marks(l);
    for (std::size_t c = 0; c < l; ++c) {
      marks[c] = c * n / l;
      place[marks[c]] = static_cast<id_t>(c);
    }
    columns_.assign(n * l, 0.0);
    std::vector<id_t> held;
    for (std::size_t r = 0; r + 1 < sets.offsets.size(); ++r) {
      const auto list = list_of(sets, r);
      held.clear();
      for (const id_t i : list)
        if (place[i] < l) held.push_back(place[i]);
      if (held.empty()) continue;
      for (const id_t i : list)
        for (const id_t c : held) columns_[i * l + c] += 1;
    }
    std::vector<float> products(n * l), landmarks(l * x_->dim());
    for (std::size_t c = 0; c < l; ++c)
      std::copy_n(x_->row(marks[c]), x_->dim(),
                  landmarks.begin() + static_cast<std::ptrdiff_t>(c * x_->dim()));
    multiply_transposed(x_->view(), {landmarks.data(), l, x_->dim()}, {products.data(), n, l});
    const double unit = 1 / static_cast<double>(neurons_);
    for (std::size_t e = 0; e < n * l; ++e) columns_[e] *= unit * static_cast<double>(products[e]);
    inner_.resize(l * l);
    multiply_columns({columns_.data(), n, l}, {inner_.data(), l, l});
    double trace = 0;
    for (std::size_t c = 0; c < l; ++c) trace += inner_[c * l + c];
    for (std::size_t a = 0; a < l; ++a)
      for (std::size_t b = 0; b < l; ++b) inner_[a * l + b] += shift * columns_[marks[a] * l + b];
    // Landmarks alike, or that nothing fires for, need a little more to be told apart.
    for (double more = std::max(1e-14 * trace / static_cast<double>(l), 1e-30);; more *= 100) {
      for (std::size_t c = 0; c < l; ++c) inner_[c * l + c] += more;
      factor_.emplace(matrix_view<const double>(inner_.data(), l, l));
      if (factor_->ok()) return;
    }
  }

  void precondition(const std::vector<double>& v, std::vector<double>& out, double shift) const {
    const std::size_t n = v.size(), l = params_.landmarks;
    std::vector<double> small(l, 0.0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t c = 0; c < l; ++c) small[c] += columns_[i * l + c] * v[i];
    factor_->solve(small);
    for (std::size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (std::size_t c = 0; c < l; ++c) sum += columns_[i * l + c] * small[c];
      out[i] = (v[i] - sum) / shift;
    }
  }

  const firing_points* x_;
  std::size_t neurons_;
  params params_;
  std::vector<float> products_, sum_;  // products of the points
  std::vector<std::uint32_t> common_;
  std::vector<std::uint64_t> bits_;
  std::vector<double> matrix_, columns_, inner_;
  std::optional<cholesky> factor_;
};

}  // namespace skim::inline v0
