// SPDX-License-Identifier: Apache-2.0
//
// Gauss-Newton steps of a two-layer network of shifted rectifiers, from the sets of firing neurons.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
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
  /// Whose the lists are, ascending; or empty: those of neurons 0, 1, ...
  std::span<const id_t> neurons = {};
};

/// How a Gauss-Newton step is computed.
struct gauss_newton_params {
  double damping = 1e-6;            ///< of the mean diagonal of the Gram matrix, added to it
  std::size_t exact_points = 4096;  ///< up to so many points the matrix is formed and factored
  double tolerance = 1e-4;          ///< of the norm of what is left of the residual
  std::size_t iterations = 200;     ///< at most, where the matrix is not formed
  std::size_t landmarks = 512;      ///< of the preconditioner
};

/// What a solve did.
struct gauss_newton_report {
  bool solved = false;         ///< to the tolerance
  std::size_t iterations = 0;  ///< of conjugate gradients
  bool factored = false;       ///< the matrix anew; else an earlier factor, or landmarks, served
  double relative_residual = 0;
  double shift = 0;  ///< what was added to the diagonal
};

/// Damping by trial: lowered while steps lower the loss, raised when one does not, which is then to be
/// taken back and tried again.
///
/// Cost:    O(1).
/// Threads: as a value.
/// Ref:     Levenberg 1944, Quarterly of Applied Mathematics 2(2); Marquardt 1963, J. SIAM 11(2).
class levenberg_damping {
 public:
  /// least: where it begins and what it does not fall below. Throws invalid_params unless positive and
  /// finite.
  explicit levenberg_damping(double least = 1e-6) : least_(least), value_(least) {
    if (!(least > 0 && std::isfinite(least)))
      SKIM_THROW(invalid_params, detail::concat("levenberg_damping: got ", least,
                                                ", wanted a positive, finite number"));
  }

  /// Takes the loss after a step, or before the first one; returns whether the step is to be kept.
  [[nodiscard]] bool accept(double loss) noexcept {
    const bool keep = first_ ? true : loss < loss_;
    if (keep) {
      if (!first_) value_ = std::max(value_ / 8, least_);
      loss_ = loss;
      first_ = false;
    } else {
      value_ = std::clamp(value_ * 8, 1e-4, 1e12);
    }
    return keep;
  }
  /// For the next step, as gauss_newton_solver::damp() takes it.
  [[nodiscard]] double value() const noexcept { return value_; }
  /// Of the last step that was kept.
  [[nodiscard]] double loss() const noexcept { return loss_; }

 private:
  double least_, value_, loss_ = 0;
  bool first_ = true;
};

/// Solves (K + damping) z = residual for K = J J^T, J being the Jacobian of the outputs by the weights.
///
/// With outputs m^(-1/2) sum a_r max(<w_r, x_i> - b_r, 0), a_r = +-1, an entry of K is <x_i, x_j> / m
/// times the number of neurons that fire for both points: counts times the points' Gram matrix, and
/// no Jacobian is formed. The weight step is w_r -= a_r m^(-1/2) sum over the points of r of z_i x_i.
///
/// Up to `exact_points` K is formed: counts come from the lists, pair by pair, or where lists are long
/// from bit sets, 64 neurons at a time, and afterwards from what changed in them. The system is solved
/// by conjugate gradients, preconditioned by a factor of an earlier K in float as long as that converges
/// quickly, and by one of this K otherwise; if even that does not do, K is factored in double. Beyond
/// `exact_points` K is only multiplied with, list by list, and the preconditioner is K's Nystrom
/// approximation on evenly spaced landmarks: columns of K, which is a sketch of K by sampling.
///
/// Memory:  16 n^2 bytes up to exact_points (K, its factor, counts, products of the points), and the
///          lists once more; beyond, 12 n * landmarks.
/// Cost:    counts, sum of the lists' lengths squared or n^2 m / 64 words, later the lengths of lists
///          that changed for each change; n^3 / 3 to factor; n^2 for each of some ten iterations.
///          Beyond, an iteration takes 2 FMAs for each firing pair and coordinate.
/// Error:   the residual of the damped system falls to `tolerance`, for K's entries as floats.
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
    return x_->size() <= params_.exact_points ? formed(sets, residual, z)
                                              : iterated(sets, residual, z);
  }

  /// Sets the damping of the steps to come. Throws invalid_params unless positive and finite.
  void damp(double damping) {
    if (!(damping > 0 && std::isfinite(damping)))
      SKIM_THROW(invalid_params, detail::concat("gauss_newton_solver: got a damping of ", damping,
                                                ", wanted a positive, finite number"));
    params_.damping = damping;
  }

  /// K itself, row by row; out holds n * n. For tests and for the largest eigenvalue.
  void gram(firing_sets sets, std::span<double> out) {
    const std::size_t n = x_->size();
    if (out.size() != n * n)
      SKIM_THROW(invalid_input, detail::concat("gauss_newton_solver: got room for ", out.size(),
                                               " elements, wanted ", n * n));
    count_common(sets);
    make_products();
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
    const auto ids = sets.neurons;
    if (!ids.empty() &&
        (ids.size() + 1 != sets.offsets.size() || ids.back() >= neurons_ ||
         std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) != ids.end()))
      SKIM_THROW(invalid_input,
                 detail::concat("gauss_newton_solver: got ids of ", ids.size(), " neurons for ",
                                sets.offsets.size() - 1,
                                " lists, wanted one each, ascending, below ", neurons_));
    for (std::size_t r = 0; r + 1 < sets.offsets.size(); ++r) {
      const auto list = list_of(sets, r);
      for (std::size_t j = 0; j < list.size(); ++j)
        if (list[j] >= n || (j > 0 && list[j] <= list[j - 1]))
          SKIM_THROW(invalid_input,
                     detail::concat("gauss_newton_solver: got point ", list[j], " in list ", r,
                                    ", wanted ascending points below ", n));
    }
  }

  void make_products() {
    const std::size_t n = x_->size();
    if (!products_.empty()) return;
    products_.resize(n * n);
    multiply_transposed(x_->view(), x_->view(), {products_.data(), n, n});
  }

  // For i <= j the number of lists that hold both, from scratch or from what changed.
  void count_common(firing_sets sets) {
    if (common_.empty() || !count_changes(sets)) count_all(sets);
    counted_.neurons.assign(sets.neurons.begin(), sets.neurons.end());
    counted_.offsets.assign(sets.offsets.begin(), sets.offsets.end());
    counted_.points.assign(sets.points.begin(), sets.points.end());
  }

  void count_all(firing_sets sets) {
    const std::size_t n = x_->size(), lists = sets.offsets.size() - 1;
    common_.assign(n * n, 0);
    // Either way counts half a matrix; a word of 64 neurons takes about as long as one increment.
    const std::size_t words = (lists + 63) / 64;
    if (squares_of(sets) <= static_cast<double>(n * n) * static_cast<double>(words)) {
      for (std::size_t r = 0; r < lists; ++r) count_list(list_of(sets, r), 1);
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

  // Counts, or with by = -1 in unsigned arithmetic discounts, the pairs of a list.
  void count_list(std::span<const id_t> list, std::uint32_t by) noexcept {
    for (std::size_t a = 0; a < list.size(); ++a) {
      std::uint32_t* const row = common_.data() + list[a] * x_->size();
      for (std::size_t b = a; b < list.size(); ++b) row[list[b]] += by;
    }
  }
  // The same for the pairs that point i makes with a list and with itself.
  void count_point(id_t i, std::span<const id_t> list, std::uint32_t by) noexcept {
    const std::size_t n = x_->size();
    for (const id_t j : list) common_[std::min(i, j) * n + std::max(i, j)] += by;
    common_[i * n + i] += by;
  }

  [[nodiscard]] static double squares_of(firing_sets sets) noexcept {
    double squares = 0;
    for (std::size_t r = 0; r + 1 < sets.offsets.size(); ++r) {
      const auto length = static_cast<double>(sets.offsets[r + 1] - sets.offsets[r]);
      squares += length * length;
    }
    return squares;
  }

  // Brings the counts from the lists counted last to these; false, and nothing is done, if counting
  // anew is no slower. A change in a list of length l takes l increments, which are spread wider than
  // those of a whole list.
  bool count_changes(firing_sets sets) {
    const firing_sets old{counted_.offsets, counted_.points, counted_.neurons};
    const std::size_t lists = sets.offsets.size() - 1, old_lists = old.offsets.size() - 1;
    const auto neuron = [](firing_sets of, std::size_t r) {
      return of.neurons.empty() ? r : std::size_t{of.neurons[r]};
    };
    changes_.clear();
    double cost = 0;
    for (std::size_t a = 0, b = 0; a < old_lists || b < lists;) {
      const std::size_t from = a < old_lists ? neuron(old, a) : neurons_;
      const std::size_t to = b < lists ? neuron(sets, b) : neurons_;
      change c;
      c.before = from <= to ? list_of(old, a++) : std::span<const id_t>();
      c.after = to <= from ? list_of(sets, b++) : std::span<const id_t>();
      if (std::equal(c.before.begin(), c.before.end(), c.after.begin(), c.after.end())) continue;
      std::size_t same = 0;
      for (std::size_t i = 0, j = 0; i < c.before.size() && j < c.after.size();) {
        const id_t p = c.before[i], q = c.after[j];
        same += p == q ? 1u : 0u;
        i += p <= q ? 1u : 0u;
        j += q <= p ? 1u : 0u;
      }
      const auto lost = static_cast<double>(c.before.size() - same);
      const auto won = static_cast<double>(c.after.size() - same);
      const auto before = static_cast<double>(c.before.size());
      const auto after = static_cast<double>(c.after.size());
      const double whole = (before * before + after * after) / 2;
      const double single = 2 * (lost * before + won * after);
      c.whole = whole <= single;
      cost += std::min(whole, single);
      changes_.push_back(c);
    }
    if (cost >= 0.7 * (squares_of(sets) / 2)) return false;
    for (const change& c : changes_) {
      if (c.whole) {
        count_list(c.before, ~std::uint32_t{0});
        count_list(c.after, 1);
        continue;
      }
      // What goes is taken from the whole list one by one, then what comes is added to it.
      kept_.assign(c.before.begin(), c.before.end());
      for (const id_t i : c.before) {
        if (std::binary_search(c.after.begin(), c.after.end(), i)) continue;
        kept_.erase(std::lower_bound(kept_.begin(), kept_.end(), i));
        count_point(i, kept_, ~std::uint32_t{0});
      }
      for (const id_t i : c.after) {
        const auto at = std::lower_bound(kept_.begin(), kept_.end(), i);
        if (at != kept_.end() && *at == i) continue;
        count_point(i, kept_, 1);
        kept_.insert(at, i);
      }
    }
    return true;
  }

  // What is added to the diagonal, given the sum of it.
  [[nodiscard]] double shift_of(double trace) const noexcept {
    const double mean = trace / static_cast<double>(x_->size());
    return params_.damping * (mean > 0 ? mean : 1);
  }

  gauss_newton_report formed(firing_sets sets, std::span<const double> residual,
                             std::span<double> z) {
    const std::size_t n = x_->size();
    count_common(sets);
    make_products();
    matrix_.resize(n * n);
    const float unit = 1 / static_cast<float>(neurons_);
    double trace = 0;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = i; j < n; ++j)
        matrix_[i * n + j] = unit * static_cast<float>(common_[i * n + j]) * products_[i * n + j];
      trace += static_cast<double>(matrix_[i * n + i]);
    }
    const matrix_view<const float> upper(matrix_.data(), n, n);
    const double shift = shift_of(trace);
    std::vector<float> from(n), to(n);
    const auto multiply = [&](const std::vector<double>& v, std::vector<double>& out) {
      std::transform(v.begin(), v.end(), from.begin(),
                     [](double e) { return static_cast<float>(e); });
      multiply_symmetric(upper, from, to);
      for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<double>(to[i]) + shift * v[i];
    };
    const auto precondition = [&](const std::vector<double>& v, std::vector<double>& out) {
      std::transform(v.begin(), v.end(), to.begin(),
                     [](double e) { return static_cast<float>(e); });
      rough_->solve(to);
      out.assign(to.begin(), to.end());
    };
    // An iteration costs about a tenth of a factor of 1000 points.
    constexpr std::size_t patience = 12;
    gauss_newton_report report;
    std::fill(z.begin(), z.end(), 0.0);
    if (rough_ && rough_shift_ <= 16 * shift && 16 * rough_shift_ >= shift) {
      report = conjugate_gradients(residual, z, patience, multiply, precondition);
      if (report.solved) {
        report.shift = shift;
        return report;
      }
    }
    // What float cannot tell from zero is of the size of its rounding of the largest eigenvalue.
    const std::size_t before = report.iterations;
    const double mean = trace > 0 ? trace / static_cast<double>(n) : 1;
    rough_shift_ = std::max(shift, 2e-5 * mean);
    for (int attempt = 0; attempt < 4; ++attempt, rough_shift_ *= 16) {
      rough_.emplace(upper, static_cast<float>(rough_shift_));
      if (rough_->ok()) break;
    }
    if (rough_->ok()) {
      std::fill(z.begin(), z.end(), 0.0);
      report = conjugate_gradients(residual, z, 5 * patience, multiply, precondition);
    }
    report.iterations += before;
    report.factored = true;
    report.shift = shift;
    if (report.solved) return report;
    rough_.reset();
    return factored(sets, residual, z, report);
  }

  gauss_newton_report factored(firing_sets sets, std::span<const double> residual,
                               std::span<double> z, gauss_newton_report report) {
    const std::size_t n = x_->size();
    std::vector<double> matrix(n * n);
    gram(sets, matrix);
    double shift = report.shift;
    // K is positive semidefinite up to the rounding of its float products: more damping mends that.
    for (double added = 0;; shift *= 100) {
      for (std::size_t i = 0; i < n; ++i) matrix[i * n + i] += shift - added;
      added = shift;
      const cholesky factor(matrix_view<const double>(matrix.data(), n, n));
      if (!factor.ok()) continue;
      std::copy(residual.begin(), residual.end(), z.begin());
      factor.solve(z);
      report.solved = true;
      report.relative_residual = 0;
      report.shift = shift;
      return report;
    }
  }

  gauss_newton_report iterated(firing_sets sets, std::span<const double> residual,
                               std::span<double> z) {
    double trace = 0;
    for (const id_t i : sets.points) trace += square_norm(i);
    const double shift = shift_of(trace / static_cast<double>(neurons_));
    make_preconditioner(sets, shift);
    std::fill(z.begin(), z.end(), 0.0);
    gauss_newton_report report = conjugate_gradients(
        residual, z, params_.iterations,
        [&](const std::vector<double>& v, std::vector<double>& out) {
          multiply_gram(sets, v, out);
          for (std::size_t i = 0; i < v.size(); ++i) out[i] += shift * v[i];
        },
        [&](const std::vector<double>& v, std::vector<double>& out) {
          precondition_by_columns(v, out, shift);
        });
    report.shift = shift;
    return report;
  }

  // From z = 0.
  template <class Multiply, class Precondition>
  gauss_newton_report conjugate_gradients(std::span<const double> residual, std::span<double> z,
                                          std::size_t most, Multiply&& multiply,
                                          Precondition&& precondition) const {
    const std::size_t n = residual.size();
    std::vector<double> left(residual.begin(), residual.end()), scaled(n), direction(n), image(n);
    const auto product = [n](const std::vector<double>& a, const std::vector<double>& b) {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
      return sum;
    };
    const double whole = std::sqrt(product(left, left));
    gauss_newton_report report;
    report.relative_residual = whole > 0 ? 1 : 0;
    precondition(left, scaled);
    direction = scaled;
    double rho = product(left, scaled);
    while (report.relative_residual > params_.tolerance && report.iterations < most) {
      multiply(direction, image);
      const double step = rho / product(direction, image);
      if (!(step > 0 && std::isfinite(step))) break;
      for (std::size_t i = 0; i < n; ++i) {
        z[i] += step * direction[i];
        left[i] -= step * image[i];
      }
      ++report.iterations;
      report.relative_residual = std::sqrt(product(left, left)) / whole;
      if (report.relative_residual <= params_.tolerance) break;
      precondition(left, scaled);
      const double next = product(left, scaled);
      for (std::size_t i = 0; i < n; ++i) direction[i] = scaled[i] + next / rho * direction[i];
      rho = next;
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

  void precondition_by_columns(const std::vector<double>& v, std::vector<double>& out,
                               double shift) const {
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
  // The lists that common_ counts.
  struct {
    std::vector<id_t> neurons, points;
    std::vector<std::size_t> offsets;
  } counted_;
  struct change {
    std::span<const id_t> before, after;
    bool whole = false;  // to be counted anew
  };
  std::vector<change> changes_;
  std::vector<id_t> kept_;
  std::vector<float> matrix_;  // K, its upper triangle
  std::optional<rough_cholesky> rough_;
  double rough_shift_ = 0;
  std::vector<double> columns_, inner_;
  std::optional<cholesky> factor_;
};

}  // namespace skim::inline v0
