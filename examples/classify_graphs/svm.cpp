// SPDX-License-Identifier: Apache-2.0
#include "classify_graphs/svm.hpp"

#include "common/arguments.hpp"

#if __has_include(<libsvm/svm.h>)
#include <libsvm/svm.h>
#define SKIM_EXAMPLES_SVM_HEADER 1
#elif __has_include(<svm.h>)
#include <svm.h>
#define SKIM_EXAMPLES_SVM_HEADER 1
#endif

namespace skim_examples {

// CMake defines SKIM_EXAMPLES_LIBSVM where it found the library too.
#if defined(SKIM_EXAMPLES_LIBSVM) && defined(SKIM_EXAMPLES_SVM_HEADER)

struct kernel_svm::rows {
  std::size_t stride = 0;
  std::vector<svm_node> nodes;  // of graph i: its number, then its kernel with all, numbered from 1
  std::vector<double> labels;

  [[nodiscard]] svm_node* row(std::size_t i) noexcept { return nodes.data() + i * stride; }
};

bool has_svm() noexcept {
  return true;
}

kernel_svm::kernel_svm(skim::matrix_view<const double> kernel, std::span<const std::size_t> labels)
    : rows_(std::make_unique<rows>()) {
  const std::size_t n = labels.size();
  rows_->stride = n + 2;
  rows_->nodes.resize(n * rows_->stride);
  for (std::size_t i = 0; i < n; ++i) {
    svm_node* const to = rows_->row(i);
    to[0] = {0, static_cast<double>(i + 1)};
    for (std::size_t j = 0; j < n; ++j) to[j + 1] = {static_cast<int>(j + 1), kernel.row(i)[j]};
    to[n + 1] = {-1, 0.0};
    rows_->labels.push_back(static_cast<double>(labels[i]));
  }
}

kernel_svm::~kernel_svm() = default;

double kernel_svm::accuracy(std::span<const std::size_t> train, std::span<const std::size_t> test,
                            double c) const {
  svm_set_print_string_function([](const char*) {});
  std::vector<svm_node*> x;
  std::vector<double> y;
  for (const std::size_t i : train) {
    x.push_back(rows_->row(i));
    y.push_back(rows_->labels[i]);
  }
  svm_problem problem{};
  problem.l = static_cast<int>(train.size());
  problem.x = x.data();
  problem.y = y.data();
  svm_parameter how{};
  how.svm_type = C_SVC;
  how.kernel_type = PRECOMPUTED;
  how.C = c;
  how.eps = 1e-3;
  how.cache_size = 200;
  how.shrinking = 1;
  svm_model* model = svm_train(&problem, &how);
  std::size_t right = 0;
  for (const std::size_t i : test)
    right += svm_predict(model, rows_->row(i)) == rows_->labels[i] ? 1u : 0u;
  svm_free_and_destroy_model(&model);
  return static_cast<double>(right) / static_cast<double>(test.size());
}

#else

struct kernel_svm::rows {};

bool has_svm() noexcept {
  return false;
}

kernel_svm::kernel_svm(skim::matrix_view<const double>, std::span<const std::size_t>) {
  throw argument_error("--classifier: got svm in a build without LIBSVM, wanted ridge");
}
kernel_svm::~kernel_svm() = default;
double kernel_svm::accuracy(std::span<const std::size_t>, std::span<const std::size_t>,
                            double) const {
  return 0;
}

#endif

}  // namespace skim_examples
