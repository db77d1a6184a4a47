// SPDX-License-Identifier: Apache-2.0
#include "classify_graphs/experiment.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "classify_graphs/ridge.hpp"
#include "classify_graphs/svm.hpp"
#include "common/arguments.hpp"
#include "skim/core/executor.hpp"
#include "skim/graph/kronecker_sketch.hpp"
#include "skim/graph/neural_tangent_kernel.hpp"

namespace skim_examples {
namespace {

using clock_type = std::chrono::steady_clock;
using gram_matrix = std::vector<double>;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

skim::graph_kernel_params params_of(const graph_settings& s, const graph_architecture& a) {
  skim::graph_kernel_params p;
  p.layers = a.layers;
  p.mlp_depth = a.mlp;
  p.jumping_knowledge = a.jumping_knowledge;
  p.scaling = a.by_degree ? skim::neighborhood_scaling::degree : skim::neighborhood_scaling::none;
  p.input = s.features == "tags"     ? skim::node_input::tags
            : s.features == "degree" ? skim::node_input::degrees
                                     : skim::node_input::vectors;
  return p;
}

bool same_recursion(const graph_architecture& a, const graph_architecture& b) {
  return a.mlp == b.mlp && a.by_degree == b.by_degree;
}

// Architectures in groups that one recursion serves.
std::vector<graph_architecture> combinations(const graph_settings& s) {
  std::vector<graph_architecture> out;
  for (const std::string& scaling : s.scaling)
    for (const std::size_t mlp : s.mlp)
      for (const std::size_t layers : s.layers)
        for (const std::string& jump : s.jumping_knowledge)
          out.push_back({layers, mlp, jump == "yes", scaling == "degree"});
  return out;
}

class kernel_search {
 public:
  kernel_search(const graph_settings& s, const graph_set& data,
                const std::function<void(const std::string&)>& progress)
      : s_(s),
        data_(data),
        progress_(progress),
        n_(data.graphs.size()),
        folds_(data.labels, data.classes(), s.folds, skim::seed{s.seed}),
        ex_(s.threads),
        all_(combinations(s)) {}

  graph_result run() {
    result_.kernels = all_.size();
    std::vector<std::size_t> everything(all_.size());
    std::iota(everything.begin(), everything.end(), std::size_t{0});
    ridge_.resize(all_.size() * s_.ridges.size());
    const bool svm = s_.classifier == "svm" || (s_.classifier == "auto" && has_svm());
    std::vector<gram_matrix> kept;
    std::vector<std::size_t> kept_ids;
    visit(everything, true, [&](std::size_t id, const gram_matrix& k) {
      const auto start = clock_type::now();
      ex_.parallel_for(s_.ridges.size(), 1, [&](std::size_t first, std::size_t last) {
        for (std::size_t r = first; r < last; ++r)
          ridge_[id * s_.ridges.size() + r] = cross_validate_ridge(
              {k.data(), n_, n_}, data_.labels, data_.classes(), folds_, s_.ridges[r]);
      });
      result_.classifier_seconds += seconds_since(start);
      if (svm && all_.size() == 1) kept.push_back(k);
    });
    result_.ridge = summarize_ridge();
    if (svm) result_.svm = run_svm(kept);
    return result_;
  }

 private:
  // Calls f(id, normalised kernel) for these architectures, a recursion for each group of them.
  template <class F>
  void visit(const std::vector<std::size_t>& ids, bool timed, F f) {
    // Kernels of one recursion that are held at once.
    const std::size_t most = std::max<std::size_t>(1, (std::size_t{1} << 27) / (n_ * n_ + 1));
    for (std::size_t first = 0; first < ids.size();) {
      std::size_t last = first + 1;
      while (last < ids.size() && last - first < most &&
             same_recursion(all_[ids[first]], all_[ids[last]]))
        ++last;
      std::vector<gram_matrix> grams(last - first, gram_matrix(n_ * n_));
      progress_("kernel " + std::to_string(first + 1) + " of " + std::to_string(ids.size()));
      const auto start = clock_type::now();
      compute(std::span(ids).subspan(first, last - first), grams);
      if (timed) result_.kernel_seconds += seconds_since(start);
      for (std::size_t i = first; i < last; ++i) {
        gram_matrix& k = grams[i - first];
        if (s_.normalization == "cosine")
          skim::normalize_gram({k.data(), n_, n_});
        else
          scale_to_unit_mean(k);
        progress_("kernel " + std::to_string(i + 1) + " of " + std::to_string(ids.size()) +
                  ": cross-validation");
        f(ids[i], k);
      }
      first = last;
    }
  }

  // A mean diagonal of 1, so that the range of C suits any kernel.
  void scale_to_unit_mean(gram_matrix& k) const {
    double mean = 0;
    for (std::size_t i = 0; i < n_; ++i) mean += k[i * n_ + i] / static_cast<double>(n_);
    if (mean > 0)
      for (double& v : k) v /= mean;
  }

  void compute(std::span<const std::size_t> ids, std::vector<gram_matrix>& grams) {
    if (s_.method == "sketch") {
      gram_matrix errors(n_ * n_);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const skim::sketched_graph_kernel kernel(params_of(s_, all_[ids[i]]),
                                                 {.aggregation = {s_.sketch_width, s_.sketch_rank}},
                                                 skim::seed{s_.seed});
        kernel.gram(data_.graphs, {grams[i].data(), n_, n_}, {errors.data(), n_, n_}, ex_);
        double sum = 0;
        for (std::size_t e = 0; e < errors.size(); ++e)
          if (grams[i][e] != 0) sum += errors[e] / std::abs(grams[i][e]);
        result_.sketch_error =
            std::max(result_.sketch_error.value_or(0), sum / static_cast<double>(errors.size()));
      }
      return;
    }
    graph_architecture deepest = all_[ids.front()];
    std::vector<skim::graph_kernel_readout> readouts;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto& a = all_[ids[i]];
      deepest.layers = std::max(deepest.layers, a.layers);
      readouts.push_back({a.layers, a.jumping_knowledge, {grams[i].data(), n_, n_}});
    }
    skim::graph_neural_tangent_kernel(params_of(s_, deepest)).gram(data_.graphs, readouts, ex_);
  }

  [[nodiscard]] const ridge_outcome& outcome(std::size_t id, std::size_t r) const {
    return ridge_[id * s_.ridges.size() + r];
  }

  // The kernel and ridge that leave-one-out within the other folds prefers; ties to the larger ridge.
  [[nodiscard]] std::pair<std::size_t, std::size_t> choose(std::size_t fold) const {
    std::pair<std::size_t, std::size_t> best{0, 0};
    double most = -1;
    for (std::size_t id = 0; id < all_.size(); ++id) {
      for (std::size_t r = 0; r < s_.ridges.size(); ++r) {
        const double a = outcome(id, r).leave_one_out[fold];
        if (a >= most) {
          best = {id, r};
          most = a;
        }
      }
    }
    return best;
  }

  [[nodiscard]] graph_accuracy summarize_ridge() const {
    graph_accuracy out;
    for (std::size_t f = 0; f < folds_.size(); ++f) {
      const auto [id, r] = choose(f);
      out.nested_folds.push_back(outcome(id, r).accuracy[f]);
    }
    out.nested = fold_summary(out.nested_folds);
    out.published.mean = -1;
    for (std::size_t id = 0; id < all_.size(); ++id) {
      for (std::size_t r = 0; r < s_.ridges.size(); ++r) {
        const fold_summary s(outcome(id, r).accuracy);
        if (s.mean > out.published.mean) {
          out.published = s;
          out.best = all_[id];
          out.best_parameter = s_.ridges[r];
        }
      }
    }
    return out;
  }

  [[nodiscard]] std::vector<double> penalties() const {
    std::vector<double> c;
    for (std::size_t i = 0; i < s_.c_values; ++i)
      c.push_back(s_.c_values == 1
                      ? 1.0
                      : std::pow(10.0, -2.0 + 6.0 * static_cast<double>(i) /
                                                  static_cast<double>(s_.c_values - 1)));
    return c;
  }

  graph_accuracy run_svm(std::vector<gram_matrix>& kept) {
    // Kernels by the mean that ridge reaches, and those that a fold's own choice asks for.
    std::vector<std::pair<double, std::size_t>> ranking;
    for (std::size_t id = 0; id < all_.size(); ++id) {
      double best = 0;
      for (std::size_t r = 0; r < s_.ridges.size(); ++r)
        best = std::max(best, fold_summary(outcome(id, r).accuracy).mean);
      ranking.emplace_back(-best, id);
    }
    std::sort(ranking.begin(), ranking.end());
    std::set<std::size_t> wanted;
    for (std::size_t i = 0; i < std::min(ranking.size(), s_.svm_kernels); ++i)
      wanted.insert(ranking[i].second);
    std::vector<std::size_t> choice;
    for (std::size_t f = 0; f < folds_.size(); ++f) choice.push_back(choose(f).first);
    wanted.insert(choice.begin(), choice.end());

    graph_accuracy out;
    out.published.mean = -1;
    out.nested_folds.assign(folds_.size(), 0.0);
    const auto c = penalties();
    const auto evaluate = [&](std::size_t id, const gram_matrix& k) {
      const auto start = clock_type::now();
      const kernel_svm machine({k.data(), n_, n_}, data_.labels);
      std::vector<double> accuracy(c.size() * folds_.size());
      ex_.parallel_for(accuracy.size(), 1, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) {
          const std::size_t f = i % folds_.size();
          accuracy[i] = machine.accuracy(folds_.others(f), folds_.members[f], c[i / folds_.size()]);
        }
      });
      for (std::size_t p = 0; p < c.size(); ++p) {
        const fold_summary s(
            std::span<const double>(accuracy).subspan(p * folds_.size(), folds_.size()));
        if (s.mean > out.published.mean) {
          out.published = s;
          out.best = all_[id];
          out.best_parameter = c[p];
        }
      }
      for (std::size_t f = 0; f < folds_.size(); ++f)
        if (choice[f] == id)
          out.nested_folds[f] = accuracy[choose_penalty(machine, f, c) * folds_.size() + f];
      result_.classifier_seconds += seconds_since(start);
    };
    if (!kept.empty())
      evaluate(0, kept.front());
    else
      visit({wanted.begin(), wanted.end()}, false, evaluate);
    out.nested = fold_summary(out.nested_folds);
    return out;
  }

  // By five folds within the others.
  std::size_t choose_penalty(const kernel_svm& machine, std::size_t fold,
                             const std::vector<double>& c) {
    const auto rest = folds_.others(fold);
    std::vector<std::size_t> labels;
    for (const std::size_t i : rest) labels.push_back(data_.labels[i]);
    const std::size_t inner_folds = std::min<std::size_t>(5, rest.size());
    const fold_plan inner(labels, data_.classes(), inner_folds, skim::seed{s_.seed + 1 + fold});
    std::vector<double> right(c.size() * inner_folds);
    ex_.parallel_for(right.size(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        const std::size_t f = i % inner_folds;
        std::vector<std::size_t> train, test;
        for (const std::size_t j : inner.others(f)) train.push_back(rest[j]);
        for (const std::size_t j : inner.members[f]) test.push_back(rest[j]);
        right[i] =
            machine.accuracy(train, test, c[i / inner_folds]) * static_cast<double>(test.size());
      }
    });
    std::size_t best = 0;
    double most = -1;
    for (std::size_t p = 0; p < c.size(); ++p) {
      double sum = 0;
      for (std::size_t f = 0; f < inner_folds; ++f) sum += right[p * inner_folds + f];
      if (sum > most) {
        most = sum;
        best = p;
      }
    }
    return best;
  }

  const graph_settings& s_;
  const graph_set& data_;
  const std::function<void(const std::string&)>& progress_;
  std::size_t n_;
  fold_plan folds_;
  skim::thread_executor ex_;
  std::vector<graph_architecture> all_;
  std::vector<ridge_outcome> ridge_;  // (kernels, ridges)
  graph_result result_;
};

}  // namespace

std::string usual_features(const graph_set& data) {
  std::set<skim::id_t> tags;
  for (const auto& g : data.graphs) tags.insert(g.tags().begin(), g.tags().end());
  return tags.size() > 1 ? "tags" : "degree";
}

graph_result classify_graphs(const graph_settings& settings, const graph_set& data,
                             const std::function<void(const std::string&)>& progress) {
  if (data.classes() < 2)
    throw data_error::in_file(data.name, "graphs of one class, wanted at least two");
  if (settings.features == "vectors")
    for (const auto& g : data.graphs)
      if (g.feature_dim() == 0)
        throw data_error::in_file(data.name,
                                  "graphs without features, wanted --features tags or degree");
  graph_settings s = settings;
  if (s.features == "auto") s.features = usual_features(data);
  return kernel_search(s, data, progress).run();
}

}  // namespace skim_examples
