// SPDX-License-Identifier: Apache-2.0
//
// Support vector machines on kernel matrices, by LIBSVM where it is installed.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "skim/core/matrix_view.hpp"

namespace skim_examples {

/// Whether this program was built with LIBSVM.
[[nodiscard]] bool has_svm() noexcept;

/// C-SVMs on parts of one kernel matrix.
///
/// Memory:  16 n^2 bytes.
/// Threads: const members may run concurrently.
/// Ref:     Chang and Lin 2011, ACM TIST 2(3) (LIBSVM).
class kernel_svm {
 public:
  /// Throws argument_error where there is no LIBSVM.
  kernel_svm(skim::matrix_view<const double> kernel, std::span<const std::size_t> labels);
  ~kernel_svm();
  kernel_svm(const kernel_svm&) = delete;
  kernel_svm& operator=(const kernel_svm&) = delete;

  /// Part of the test graphs that a machine trained on the others gets right.
  [[nodiscard]] double accuracy(std::span<const std::size_t> train,
                                std::span<const std::size_t> test, double c) const;

 private:
  struct rows;
  std::unique_ptr<rows> rows_;
};

}  // namespace skim_examples
