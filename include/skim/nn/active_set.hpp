// SPDX-License-Identifier: Apache-2.0
//
// The outputs a batch computes, and the sets of labels of its examples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "skim/core/config.hpp"
#include "skim/core/error.hpp"

namespace skim::inline v0 {

/// Distinct ids below a bound, in the order they were inserted, that know their positions.
///
/// Memory:  4 bytes an id that could be, 4 an id that is.
/// Cost:    O(1) for every member, clear() among them.
/// Threads: const members may run at once.
/// Ref:     Briggs and Torczon 1993, ACM LOPLAS 2 (sparse sets).
class active_set {
 public:
  /// Ids will be below `bound`. Throws invalid_params for a bound of 0 or beyond 2^32.
  explicit active_set(std::size_t bound) {
    if (bound == 0 || bound > std::size_t{std::numeric_limits<id_t>::max()} + 1)
      SKIM_THROW(invalid_params, detail::concat("active_set: got a bound of ", bound,
                                                ", wanted one from 1 to 2^32"));
    positions_.resize(bound);
  }

  void clear() noexcept { ids_.clear(); }

  /// Whether the id is new. Pre: id < bound().
  bool insert(id_t id) {
    if (contains(id)) return false;
    positions_[id] = static_cast<std::uint32_t>(ids_.size());
    ids_.push_back(id);
    return true;
  }

  [[nodiscard]] bool contains(id_t id) const noexcept {
    SKIM_EXPECTS(id < positions_.size());
    const std::uint32_t at = positions_[id];
    return at < ids_.size() && ids_[at] == id;
  }

  /// Where the id stands in ids(). Pre: contains(id).
  [[nodiscard]] std::size_t position(id_t id) const noexcept {
    SKIM_EXPECTS(contains(id));
    return positions_[id];
  }

  [[nodiscard]] std::span<const id_t> ids() const noexcept { return ids_; }
  [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }
  [[nodiscard]] std::size_t bound() const noexcept { return positions_.size(); }

 private:
  std::vector<std::uint32_t> positions_;
  std::vector<id_t> ids_;
};

/// Non-owning sets of labels, one an example: any number of distinct labels each.
///
/// Shape:   offsets (examples + 1), labels of example i at offsets[i] .. offsets[i + 1].
/// Cost:    O(1) for every member but validate().
/// Threads: as a pointer: it neither owns nor locks what it points to.
/// Ref:     compressed rows, as sparse_view.
class label_sets {
 public:
  label_sets() noexcept = default;

  /// Throws invalid_input if the arrays do not fit together; O(1).
  label_sets(std::span<const std::size_t> offsets, std::span<const label_t> labels)
      : offsets_(offsets), labels_(labels) {
    if (offsets.empty() || offsets.front() > offsets.back() || offsets.back() > labels.size())
      SKIM_THROW(invalid_input,
                 detail::concat("label_sets: got ", offsets.size(), " offsets and ", labels.size(),
                                " labels, wanted examples + 1 offsets that end within the labels"));
  }

  [[nodiscard]] std::size_t size() const noexcept {
    return offsets_.empty() ? 0 : offsets_.size() - 1;
  }
  /// Labels of example i. Pre: i < size().
  [[nodiscard]] std::span<const label_t> operator[](std::size_t i) const noexcept {
    SKIM_EXPECTS(i < size() && offsets_[i] <= offsets_[i + 1] && offsets_[i + 1] <= labels_.size());
    return labels_.subspan(offsets_[i], offsets_[i + 1] - offsets_[i]);
  }

  /// Throws invalid_input unless offsets ascend and labels ascend strictly in each set, below
  /// `outputs`. Cost: O(labels).
  void validate(std::size_t outputs) const {
    for (std::size_t i = 0; i < size(); ++i) {
      if (offsets_[i] > offsets_[i + 1] || offsets_[i + 1] > labels_.size())
        SKIM_THROW(invalid_input,
                   detail::concat("label_sets: offsets of example ", i, " are ", offsets_[i],
                                  " and ", offsets_[i + 1], ", wanted ascending ones"));
      for (std::size_t k = offsets_[i]; k < offsets_[i + 1]; ++k)
        if (labels_[k] >= outputs || (k > offsets_[i] && labels_[k] <= labels_[k - 1]))
          SKIM_THROW(invalid_input,
                     detail::concat("label_sets: example ", i, " has the label ", labels_[k],
                                    ", wanted ascending labels below ", outputs));
    }
  }

  /// In how many examples each label occurs. Pre: validate(outputs) has passed.
  [[nodiscard]] std::vector<std::uint32_t> counts(std::size_t outputs) const {
    std::vector<std::uint32_t> n(outputs);
    for (std::size_t i = 0; i < size(); ++i)
      for (const label_t l : (*this)[i]) ++n[l];
    return n;
  }

 private:
  std::span<const std::size_t> offsets_;
  std::span<const label_t> labels_;
};

}  // namespace skim::inline v0
