// SPDX-License-Identifier: Apache-2.0
#include "train_importance/training.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "common/flush_denormals.hpp"
#include "common/mlp.hpp"
#include "common/optimizer.hpp"
#include "common/schedule.hpp"
#include "common/stopwatch.hpp"
#include "skim/core/error.hpp"
#include "train_importance/samplers.hpp"

namespace skim_examples {
namespace {

/// The state of one run.
class training_run {
 public:
  training_run(const problem& p, const importance_settings& settings, run_plan plan)
      : problem_(p),
        settings_(settings),
        root_(skim::seed{plan.seed}),
        network_(network_params(p, settings), skim::seed{root_.child(0).at(0)}) {
    result_.plan = std::move(plan);
    residuals_.resize(settings.batch);
  }

  /// Runs to the end of the budget, or of the stream. `report` is told the part done, now and then.
  run_result run(const std::function<void(double)>& report) {
    const flush_denormals fast;
    {
      const thread_stopwatch::scope counted(sampling_), also(total_);
      const skim::seed s{root_.child(1).at(0)};
      const std::string& name = result_.plan.sampler;
      sampler_ = problem_.stream ? make_stream_sampler(name, problem_.classes(), settings_, s)
                                 : make_catalogue_sampler(name, problem_.train, settings_, s);
    }
    result_.construction_seconds = total_.seconds();
    if (problem_.stream) source_.emplace(problem_, skim::seed{root_.child(2).at(0)});
    const linear_decay rate({.rate = result_.plan.learning_rate, .budget = 1});
    constexpr double annealed_from = 0.875;  // where InfoBatch goes back to all data
    std::size_t evaluated = 0;
    for (;;) {
      const double done = progress();
      if (done >= annealed_from) sampler_->anneal();
      while (evaluated < settings_.evaluations &&
             done >= static_cast<double>(evaluated + 1) /
                         static_cast<double>(settings_.evaluations + 1)) {
        ++evaluated;
        evaluate();
        report(done);
      }
      if (done >= 1 || !step(rate(done))) break;
    }
    evaluate();
    if (problem_.validation.rows > 0)
      result_.validation = judge(problem_.validation, problem_.validation_scaled);
    report(1);
    finish();
    return std::move(result_);
  }

 private:
  static mlp_params network_params(const problem& p, const importance_settings& settings) {
    return {.inputs = p.inputs(),
            .hidden = settings.hidden,
            .outputs = p.outputs(),
            .loss = p.is_regression() ? loss_kind::squared : loss_kind::softmax,
            .batch = settings.batch};
  }

  // Part of the budget that is spent. A stream that ends ends a run of seconds or steps too.
  [[nodiscard]] double progress() const {
    const double scale = result_.plan.scale;
    const auto steps = static_cast<double>(result_.steps);
    if (settings_.epochs) {
      const double passes = source_ ? source_->passed()
                                    : steps * static_cast<double>(settings_.batch) /
                                          static_cast<double>(problem_.train.rows);
      return passes / (scale * *settings_.epochs);
    }
    const double spent =
        settings_.steps
            ? steps / std::max(1.0, std::round(scale * static_cast<double>(*settings_.steps)))
            : total_.seconds() / (scale * settings_.seconds);
    return source_ ? std::max(spent, source_->passed()) : spent;
  }

  // False at the end of the stream.
  bool step(double learning_rate) {
    skim::stream_block offered;
    if (source_) {
      if (!source_->next(sampler_->candidates(settings_.batch), block_)) return false;
      offered = block_.view();
      result_.examples_seen += block_.rows;
    } else {
      result_.examples_seen += settings_.batch;
    }
    const thread_stopwatch::scope counted(total_);
    sampling_.resume();
    score(sampler_->propose(offered, settings_.batch));
    const skim::drawn_batch batch = sampler_->draw(offered, settings_.batch, proposed_scores_);
    sampling_.pause();
    train(batch, learning_rate);
    sampling_.resume();
    sampler_->observe(batch.ids, residuals_);
    sampling_.pause();
    ++result_.steps;
    return true;
  }

  // A forward pass for a sampler that wants to know scores before it draws.
  void score(std::span<const skim::id_t> ids) {
    proposed_scores_.resize(ids.size());
    if (ids.empty()) return;
    example_scores scores;
    scores.residual = proposed_scores_;
    (void)finite([&] { return network_.evaluate(rows(ids), targets_of(ids), scores); });
    result_.examples_seen += source_ ? 0 : ids.size();  // a stream's were counted when offered
  }

  void train(const skim::drawn_batch& batch, double learning_rate) {
    const batch_targets<float> targets = targets_of(batch.ids);
    example_scores scores;
    scores.residual = residuals_;
    (void)finite([&] {
      return network_.step(rows(batch.ids), targets, batch.weights, optimizer_, learning_rate,
                           scores);
    });
  }

  // Gathered: valid until the next call.
  batch_targets<float> targets_of(std::span<const skim::id_t> ids) {
    if (problem_.is_regression()) {
      targets_.resize(ids.size());
      gather(source_ ? std::span<const float>(block_.targets) : problem_.train_scaled, ids,
             std::span<float>(targets_));
      return skim::matrix_view<const float>(std::span<const float>(targets_), targets_.size(), 1);
    }
    labels_.resize(ids.size());
    gather(source_ ? std::span<const skim::label_t>(block_.labels) : problem_.train.labels, ids,
           std::span<skim::label_t>(labels_));
    return std::span<const skim::label_t>(labels_);
  }

  [[nodiscard]] batch_rows<float> rows(std::span<const skim::id_t> ids) const {
    if (source_)
      return block_.is_sparse ? batch_rows<float>(block_.sparse_view(), ids)
                              : batch_rows<float>(block_.dense_view(), ids);
    return problem_.train.is_sparse() ? batch_rows<float>(problem_.train.sparse_view(), ids)
                                      : batch_rows<float>(problem_.train.dense_view(), ids);
  }

  void evaluate() {
    result_.curve.push_back({total_.seconds(), result_.steps * settings_.batch,
                             judge(problem_.test, problem_.test_scaled)});
  }

  quality judge(const dataset& data, std::span<const float> scaled_targets) {
    const batch_rows<float> all = data.is_sparse() ? batch_rows<float>(data.sparse_view())
                                                   : batch_rows<float>(data.dense_view());
    logits_.resize(data.rows * problem_.outputs());
    const skim::matrix_view<float> logits(std::span<float>(logits_), data.rows, problem_.outputs());
    quality q;
    if (problem_.is_regression()) {
      const skim::matrix_view<const float> wanted(scaled_targets, data.rows, 1);
      const mlp_result r = finite([&] { return network_.evaluate(all, wanted, {}, logits); });
      q.loss = r.loss;
      q.rmse = r.rmse * problem_.scale.deviation;
      return q;
    }
    const mlp_result r = finite([&] { return network_.evaluate(all, data.labels, {}, logits); });
    q.loss = r.loss;
    q.accuracy = r.accuracy;
    const std::vector<double> recalls = class_recalls(logits, data.labels);
    q.balanced_accuracy = balanced_accuracy(recalls);
    q.rare_recall = recalls[rarest_class(data.labels, problem_.classes())];
    if (problem_.classes() == 2) {
      margins_.resize(data.rows);
      for (std::size_t i = 0; i < data.rows; ++i) margins_[i] = logits.row(i)[1] - logits.row(i)[0];
      q.auc = area_under_curve(margins_, data.labels);
    }
    return q;
  }

  // What the network says of a batch; it refuses to go on with a loss that is not finite.
  template <class Use>
  mlp_result finite(Use use) const {
    try {
      const mlp_result r = use();
      if (std::isfinite(r.loss)) return r;
    } catch (const skim::invalid_input&) {
    }
    throw training_diverged(result_.plan.sampler + ", seed " + std::to_string(result_.plan.seed) +
                            ": the loss is not finite after " + std::to_string(result_.steps) +
                            (result_.steps == 1 ? " step" : " steps"));
  }

  void finish() {
    result_.seconds = total_.seconds();
    result_.sampling_seconds = sampling_.seconds();
    if (const skim::sampling_gate* gate = sampler_->gate()) {
      result_.has_gate = true;
      result_.gate_open_fraction = static_cast<double>(gate->steps_open()) /
                                   static_cast<double>(std::max<std::size_t>(1, result_.steps));
      result_.gate_checks = gate->checks();
      result_.last_lift = gate->last_lift().value_or(0);
    }
  }

  const problem& problem_;
  const importance_settings& settings_;
  skim::random_engine root_;
  basic_mlp<float> network_;
  basic_adam<float> optimizer_;
  std::unique_ptr<any_sampler> sampler_;
  std::optional<stream_source> source_;
  block_buffer block_;
  thread_stopwatch total_{thread_stopwatch::state::paused};
  thread_stopwatch sampling_{thread_stopwatch::state::paused};
  std::vector<float> residuals_, proposed_scores_, targets_, logits_, margins_;
  std::vector<skim::label_t> labels_;
  run_result result_;
};

}  // namespace

run_result run_training(const problem& p, const importance_settings& settings, run_plan plan,
                        const std::function<void(double)>& report) {
  training_run run(p, settings, std::move(plan));
  return run.run(report);
}

}  // namespace skim_examples
