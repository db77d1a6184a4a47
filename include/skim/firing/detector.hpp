// SPDX-License-Identifier: Apache-2.0
//
// What the detectors of firing neurons have in common: neuron r fires for point i when
// <w_r, x_i> > threshold_r, decided by striped_dot() whoever asks.
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/firing/points.hpp"
#include "skim/linalg/dot.hpp"

namespace skim::inline v0 {

/// The neurons of a layer as their owner holds them: a weight vector and a threshold each.
struct neuron_view {
  matrix_view<const float> weights;   ///< (neurons, dim)
  std::span<const float> thresholds;  ///< one a neuron
};

/// How far a neuron went in one step.
struct movement {
  float distance = 0;  ///< at least the norm of the change of its weights, as they are stored
  float lowered = 0;   ///< how much its threshold fell; 0 if it rose
};

/// What a detector has done so far, in (neuron, point) pairs.
struct firing_statistics {
  std::uint64_t pairs = 0;     ///< asked about
  std::uint64_t fired = 0;     ///< reported
  std::uint64_t examined = 0;  ///< whose product was computed by itself
  std::uint64_t dense = 0;     ///< whose product came from a product of whole matrices
};

namespace detail {

struct firing_sink {
  void operator()(std::size_t, std::span<const id_t>, std::span<const float>) const noexcept {}
};

}  // namespace detail

/// A structure that finds the neurons that fire for fixed points while the weights change.
///
/// After a step the owner calls moved(neurons, r, movement) for each neuron that changed, once, with
/// the new weights in place; then the detector reports exactly the pairs that fire, and
/// striped_dot()'s value for each.
template <class D>
concept firing_detector = requires(D& d, const D& c, neuron_view w, id_t r, movement by) {
  d.moved(w, r, by);
  { c.statistics() } -> std::same_as<firing_statistics>;
  { c.bytes() } -> std::same_as<std::size_t>;
};

/// Reports neuron by neuron over all points: sink(neuron, points, values) for each neuron that
/// fires, both ascending. For full batches.
template <class D>
concept neuron_order_detector = firing_detector<D> &&
    requires(D& d, neuron_view w, detail::firing_sink sink) {
  d.for_each_neuron(w, sink);
};

/// Reports point by point over a batch: sink(position in the batch, neurons, values) for each point,
/// neurons ascending. For batches drawn anew each step.
template <class D>
concept point_order_detector = firing_detector<D> &&
    requires(D& d, neuron_view w, std::span<const id_t> batch, detail::firing_sink sink) {
  d.for_each_point(w, batch, sink);
};

namespace detail {

inline void check_neurons(const char* who, const firing_points& x, neuron_view w,
                          std::size_t neurons) {
  if (w.weights.rows() != neurons || w.weights.cols() != x.dim() || w.thresholds.size() != neurons)
    SKIM_THROW(invalid_input,
               concat(who, ": got weights of ", w.weights.rows(), " x ", w.weights.cols(), " and ",
                      w.thresholds.size(), " thresholds, wanted ", neurons, " x ", x.dim(), " and ",
                      neurons));
}

/// For constructors: shapes, and that nothing is a NaN or an infinity. (Thresholds may be infinite:
/// such a neuron never fires, or always.) Returns the points.
inline const firing_points* check_new_neurons(const char* who, const firing_points& x,
                                              neuron_view w) {
  if (w.weights.rows() == 0)
    SKIM_THROW(invalid_params, concat(who, ": got no neurons, wanted at least one"));
  check_neurons(who, x, w, w.weights.rows());
  for (std::size_t r = 0; r < w.weights.rows(); ++r)
    if (!all_finite(w.weights.row(r)) || std::isnan(w.thresholds[r]))
      SKIM_THROW(invalid_input, concat(who,
                                       ": got a NaN or an infinity in the weights or the "
                                       "threshold of neuron ",
                                       r, ", wanted finite weights"));
  return &x;
}

inline void check_movement(const char* who, std::size_t neurons, id_t r, movement by) {
  if (r >= neurons)
    SKIM_THROW(invalid_input, concat(who, ": got neuron ", r, ", wanted one below ", neurons));
  if (!(by.distance >= 0 && by.lowered >= 0 && std::isfinite(by.distance + by.lowered)))
    SKIM_THROW(invalid_input, concat(who, ": got a move of neuron ", r, " by ", by.distance,
                                     " and its threshold by ", by.lowered,
                                     ", wanted finite numbers of at least 0"));
}

inline void check_batch(const char* who, const firing_points& x, std::span<const id_t> batch) {
  for (const id_t i : batch)
    if (i >= x.size())
      SKIM_THROW(invalid_input, concat(who, ": got point ", i, ", wanted one below ", x.size()));
}

}  // namespace detail
}  // namespace skim::inline v0
