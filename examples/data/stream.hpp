// SPDX-License-Identifier: Apache-2.0
//
// Examples that pass by once: an endless rare-event stream made of images, and one pass over a set.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/array.hpp"
#include "data/dataset.hpp"
#include "data/error.hpp"
#include "skim/core/aligned.hpp"
#include "skim/core/matrix_view.hpp"
#include "skim/core/random.hpp"

namespace skim_examples {

enum class mirroring { never, half };
enum class stream_labels { rare_or_not, original };

/// Sizes of a rare_event_stream.
struct rare_event_params {
  skim::label_t rare = 6;                            ///< class to be found
  std::vector<skim::label_t> others = {0, 2, 3, 4};  ///< classes it hides among
  double rare_fraction = 0.02;                       ///< share of rare examples
  std::size_t max_shift = 2;                         ///< pixels, either way, in each direction
  mirroring mirror = mirroring::half;                ///< left and right exchanged
  stream_labels labels = stream_labels::rare_or_not;
};

/// Endless stream of images in which one class is rare among its look-alikes.
///
/// Example i is rare with probability rare_fraction; its image is drawn uniformly from its class
/// (others: from all their images), shifted by up to max_shift pixels with zeros moving in, and
/// mirrored half of the time. The defaults make shirts rare among the other upper garments of
/// Fashion-MNIST. Pixels are scaled to [0, 1].
///
/// Shape:   features (rows, height * width); labels 1 for rare and 0 for others, or the original.
/// Memory:  the bytes of the images used, twice when mirrored.
/// Cost:    about one write of the block.
/// Threads: fill() is const; next() needs exclusive access.
/// Seeds:   example i depends on the seed and i alone, on every platform and for every block size.
class rare_event_stream {
 public:
  /// Throws data_error unless every class exists and the fraction is in [0, 1].
  rare_event_stream(const image_set& images, rare_event_params p, skim::seed seed)
      : params_(std::move(p)), height_(images.height), width_(images.width), base_(seed) {
    if (!(params_.rare_fraction >= 0 && params_.rare_fraction <= 1)) {
      throw data_error("rare fraction " + std::to_string(params_.rare_fraction) +
                       ", wanted a number from 0 to 1");
    }
    if (params_.max_shift >= std::min(height_, width_)) {
      throw data_error("shift by " + std::to_string(params_.max_shift) +
                       " pixels, wanted less than the image's " +
                       std::to_string(std::min(height_, width_)));
    }
    if (params_.others.empty()) throw data_error("no classes to hide among, wanted at least one");
    classes_ = params_.labels == stream_labels::rare_or_not ? 2 : images.classes;
    gather(images, {params_.rare});
    rare_count_ = labels_.size();
    for (const auto c : params_.others) {
      if (c == params_.rare) {
        throw data_error("class " + std::to_string(c) + " is rare and common, wanted one of them");
      }
    }
    gather(images, params_.others);
  }

  [[nodiscard]] std::size_t dim() const noexcept { return height_ * width_; }
  [[nodiscard]] std::size_t classes() const noexcept { return classes_; }
  [[nodiscard]] std::size_t position() const noexcept { return position_; }
  [[nodiscard]] const rare_event_params& params() const noexcept { return params_; }

  /// Writes examples first, first + 1, ... to the rows of x and to y.
  /// Throws data_error unless x has dim() columns and y one element a row.
  void fill(std::size_t first, skim::matrix_view<float> x, std::span<skim::label_t> y) const {
    if (x.cols() != dim() || y.size() != x.rows()) {
      throw data_error("rare_event_stream: got a block of " + std::to_string(x.rows()) + " x " +
                       std::to_string(x.cols()) + " with " + std::to_string(y.size()) +
                       " labels, wanted " + std::to_string(dim()) + " columns and a label a row");
    }
    // one image ahead of the one being written, as the images lie at random
    choice now = x.rows() > 0 ? choose(first) : choice{};
    for (std::size_t i = 0; i < x.rows(); ++i) {
      const choice next = i + 1 < x.rows() ? choose(first + i + 1) : now;
      y[i] = now.label;
      write(now, x.row(i).data());
      now = next;
    }
  }

  /// Writes the next x.rows() examples and moves on; always all of them.
  std::size_t next(skim::matrix_view<float> x, std::span<skim::label_t> y) {
    fill(position_, x, y);
    position_ += x.rows();
    return x.rows();
  }

  /// Examples [first, first + count) as a data set, as a test set of the stream's kind.
  [[nodiscard]] dataset take(std::size_t first, std::size_t count, std::string name) const {
    dataset data;
    data.name = std::move(name);
    data.rows = count;
    data.cols = dim();
    data.image_height = height_;
    data.image_width = width_;
    data.dense.resize(count * dim());
    data.labels.resize(count);
    data.classes = classes_;
    data.kind = label_kind::classes;
    fill(first, {std::span(data.dense), count, dim()}, data.labels);
    return data;
  }

 private:
  struct choice {
    const std::uint8_t* pixels = nullptr;
    std::ptrdiff_t down = 0, right = 0;
    skim::label_t label = 0;
  };

  void gather(const image_set& images, const std::vector<skim::label_t>& wanted) {
    const std::size_t size = dim();
    for (const auto c : wanted) {
      const std::size_t before = labels_.size();
      for (std::size_t i = 0; i < images.count; ++i) {
        if (images.labels[i] != c) continue;
        const auto* const image = images.pixels.data() + i * size;
        pixels_.insert(pixels_.end(), image, image + size);
        if (params_.mirror == mirroring::half) {
          for (std::size_t r = 0; r < height_; ++r) {
            for (std::size_t k = width_; k-- > 0;) pixels_.push_back(image[r * width_ + k]);
          }
        }
        labels_.push_back(c);
      }
      if (labels_.size() == before) {
        throw data_error("class " + std::to_string(c) + " has no images, wanted one of the " +
                         std::to_string(images.classes) + " classes");
      }
    }
  }

  [[nodiscard]] choice choose(std::size_t i) const noexcept {
    skim::random_engine g = base_.child(i);
    const bool rare = skim::uniform(g) < params_.rare_fraction;
    const std::size_t begin = rare ? 0 : rare_count_;
    const std::size_t count = rare ? rare_count_ : labels_.size() - rare_count_;
    const std::size_t image = begin + static_cast<std::size_t>(skim::uniform_below(g, count));
    const auto shift = [&] {
      const auto range = 2 * params_.max_shift + 1;
      return static_cast<std::ptrdiff_t>(skim::uniform_below(g, range)) -
             static_cast<std::ptrdiff_t>(params_.max_shift);
    };
    choice c;
    c.down = shift();
    c.right = shift();
    std::size_t copy = image;
    if (params_.mirror == mirroring::half) copy = 2 * image + static_cast<std::size_t>(g() >> 63);
    c.pixels = pixels_.data() + copy * dim();
    c.label = params_.labels == stream_labels::original ? labels_[image] : (rare ? 1U : 0U);
    for (std::size_t b = 0; b < dim(); b += skim::cache_line) SKIM_PREFETCH(c.pixels + b);
    return c;
  }

  // A shift of the picture is one of the flat array, after which the columns that wrapped round are
  // cleared: one memcpy and one vectorised conversion an image, whatever its width.
  void write(const choice& c, float* to) const noexcept {
    const std::size_t size = dim();
    const std::ptrdiff_t offset = c.down * static_cast<std::ptrdiff_t>(width_) + c.right;
    constexpr std::size_t on_stack = std::size_t{64} * 64;
    if (size > on_stack) return write_slowly(c, to);
    std::array<std::uint8_t, on_stack> picture;
    const auto moved = static_cast<std::size_t>(offset < 0 ? -offset : offset);
    if (offset >= 0) {
      std::memset(picture.data(), 0, moved);
      std::memcpy(picture.data() + moved, c.pixels, size - moved);
    } else {
      std::memcpy(picture.data(), c.pixels + moved, size - moved);
      std::memset(picture.data() + size - moved, 0, moved);
    }
    const std::size_t wrapped = static_cast<std::size_t>(c.right < 0 ? -c.right : c.right);
    const std::size_t column = c.right > 0 ? 0 : width_ - wrapped;
    for (std::size_t k = 0; k < wrapped; ++k) {
      for (std::size_t r = 0; r < height_; ++r) picture[r * width_ + column + k] = 0;
    }
    constexpr std::size_t lanes = 16;  // a fixed count, so that -O2 vectorises it too
    std::size_t k = 0;
    for (; k + lanes <= size; k += lanes) {
      for (std::size_t l = 0; l < lanes; ++l) {
        to[k + l] = static_cast<float>(picture[k + l]) * (1.0F / 255);
      }
    }
    for (; k < size; ++k) to[k] = static_cast<float>(picture[k]) * (1.0F / 255);
  }

  void write_slowly(const choice& c, float* to) const noexcept {
    const auto h = static_cast<std::ptrdiff_t>(height_), w = static_cast<std::ptrdiff_t>(width_);
    for (std::ptrdiff_t r = 0; r < h; ++r) {
      for (std::ptrdiff_t k = 0; k < w; ++k) {
        const std::ptrdiff_t from_r = r - c.down, from_k = k - c.right;
        const bool inside = from_r >= 0 && from_r < h && from_k >= 0 && from_k < w;
        to[r * w + k] =
            inside ? static_cast<float>(c.pixels[from_r * w + from_k]) * (1.0F / 255) : 0.0F;
      }
    }
  }

  rare_event_params params_;
  std::size_t height_, width_, classes_ = 2;
  skim::random_engine base_;
  skim::aligned_vector<std::uint8_t> pixels_;  // rare images first; each twice if mirrored
  std::vector<skim::label_t> labels_;          // original class of each image
  std::size_t rare_count_ = 0, position_ = 0;
};

/// One pass over a data set in a random order.
///
/// Memory:  8 n bytes.
/// Threads: next() needs exclusive access.
/// Seeds:   equal seeds give equal orders on every platform.
class pass_stream {
 public:
  /// The data must outlive the stream.
  pass_stream(const dataset& data, skim::seed seed) : data_(&data), order_(data.rows) {
    std::iota(order_.begin(), order_.end(), skim::id_t{0});
    skim::random_engine g(seed);
    skim::shuffle(std::span(order_), g);
  }

  [[nodiscard]] std::size_t remaining() const noexcept { return order_.size() - position_; }
  [[nodiscard]] std::size_t position() const noexcept { return position_; }

  /// Ids of the next rows, `count` of them or what is left; nothing at the end.
  [[nodiscard]] std::span<const skim::id_t> next(std::size_t count) noexcept {
    const auto ids =
        std::span<const skim::id_t>(order_).subspan(position_, std::min(count, remaining()));
    position_ += ids.size();
    return ids;
  }

  /// Copies the next rows of a dense set with classes; returns how many there were.
  /// Throws data_error unless the block fits the set.
  std::size_t next(skim::matrix_view<float> x, std::span<skim::label_t> y) {
    if (data_->is_sparse() || data_->kind != label_kind::classes || x.cols() != data_->cols ||
        y.size() != x.rows()) {
      throw data_error(data_->name + ": cannot fill a block of " + std::to_string(x.rows()) +
                       " x " + std::to_string(x.cols()) + " with " + std::to_string(y.size()) +
                       " labels, wanted " + std::to_string(data_->cols) +
                       " columns of a dense set with classes and a label a row");
    }
    const auto ids = next(x.rows());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto from = data_->dense_view().row(ids[i]);
      std::copy(from.begin(), from.end(), x.row(i).begin());
      y[i] = data_->labels[ids[i]];
    }
    return ids.size();
  }

 private:
  const dataset* data_;
  std::vector<skim::id_t> order_;
  std::size_t position_ = 0;
};

}  // namespace skim_examples
