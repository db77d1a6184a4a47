// SPDX-License-Identifier: Apache-2.0
//
// Arrays from NPY and IDX files.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/bytes.hpp"
#include "data/dataset.hpp"
#include "data/error.hpp"
#include "data/labels.hpp"
#include "data/text.hpp"

namespace skim_examples {

namespace detail {

enum class element { u1, i1, i4, i8, f4, f8 };

[[nodiscard]] constexpr std::size_t size_of(element e) noexcept {
  switch (e) {
    case element::u1:
    case element::i1:
      return 1;
    case element::i4:
    case element::f4:
      return 4;
    default:
      return 8;
  }
}

/// Element type and extents of an array, read from the front of a file.
struct array_header {
  element type = element::u1;
  std::vector<std::size_t> shape;
  bool idx = false;

  [[nodiscard]] std::size_t rows() const noexcept { return shape.front(); }
  [[nodiscard]] std::size_t cols() const noexcept {  // checked not to overflow when it was read
    std::size_t n = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) n *= shape[i];
    return n;
  }
};

inline void require_payload(const byte_source& in, const array_header& h) {
  std::uint64_t bytes = size_of(h.type);
  std::string shape;
  for (const std::size_t n : h.shape) {
    shape += (shape.empty() ? "" : " x ") + std::to_string(n);
    if (n != 0 && bytes > (std::uint64_t{1} << 60) / n) {
      throw data_error::at_byte(in.file(), in.offset(),
                                "the header promises an impossible size " + shape);
    }
    bytes *= n;
  }
  in.require(bytes, shape + " values");
}

/// The value of `key` in NPY's header dict, up to the next comma outside parentheses.
[[nodiscard]] inline std::string_view dict_value(std::string_view dict, std::string_view key) {
  const auto at = dict.find("'" + std::string(key) + "'");
  if (at == dict.npos) return {};
  const auto colon = dict.find(':', at + key.size() + 2);
  if (colon == dict.npos) return {};
  std::size_t stop = colon + 1;
  for (int depth = 0; stop < dict.size(); ++stop) {
    if (dict[stop] == '(') ++depth;
    if (dict[stop] == ')') --depth;
    if ((dict[stop] == ',' && depth == 0) || dict[stop] == '}') break;
  }
  return trimmed(dict.substr(colon + 1, stop - colon - 1));
}

[[nodiscard]] inline array_header read_npy_header(byte_source& in) {
  std::array<std::byte, 4> version_and_length{};
  const auto truncated = [&] {
    return data_error::at_byte(in.file(), in.offset(),
                               "truncated NPY header, wanted more to follow");
  };
  std::array<std::byte, 2> version{};
  if (in.read(version) != version.size()) throw truncated();
  const auto major = std::to_integer<unsigned>(version[0]);
  if (major < 1 || major > 3) {
    throw data_error::at_byte(in.file(), 6,
                              "NPY version " + std::to_string(major) + ", wanted 1, 2 or 3");
  }
  const std::size_t width = major == 1 ? 2 : 4;
  if (in.read(std::span(version_and_length).first(width)) != width) throw truncated();
  std::size_t length = 0;
  for (std::size_t i = width; i-- > 0;) {
    length = length << 8 | std::to_integer<std::size_t>(version_and_length[i]);
  }
  constexpr std::size_t longest = std::size_t{1} << 16;
  if (length > longest) {
    throw data_error::at_byte(
        in.file(), 8, "NPY header of " + std::to_string(length) + " bytes, wanted at most 65536");
  }
  std::string dict(length, '\0');
  if (in.read(std::as_writable_bytes(std::span(dict))) != length) throw truncated();

  const auto bad = [&](const std::string& what) {
    return data_error::at_byte(in.file(), 10, what);
  };
  array_header h;
  const std::string_view descr = dict_value(dict, "descr");
  constexpr std::array<std::pair<std::string_view, element>, 7> known{{{"'<f4'", element::f4},
                                                                       {"'<f8'", element::f8},
                                                                       {"'|u1'", element::u1},
                                                                       {"'|i1'", element::i1},
                                                                       {"'<i4'", element::i4},
                                                                       {"'<i8'", element::i8},
                                                                       {"'|b1'", element::u1}}};
  const auto type = std::find_if(known.begin(), known.end(),
                                 [&](const auto& entry) { return entry.first == descr; });
  if (type == known.end()) {
    throw bad("NPY type " + std::string(descr.empty() ? "missing" : shown(descr)) +
              ", wanted '<f4', '<f8', '|u1', '|i1', '|b1', '<i4' or '<i8'");
  }
  h.type = type->second;
  const std::string_view order = dict_value(dict, "fortran_order");
  if (order != "False") {
    throw bad("fortran_order " + shown(order) +
              ", wanted False (C order: save it with "
              "numpy.ascontiguousarray)");
  }
  std::string_view shape = dict_value(dict, "shape");
  if (shape.size() < 2 || shape.front() != '(' || shape.back() != ')') {
    throw bad("shape " + shown(shape) + ", wanted a tuple such as (n, d)");
  }
  shape = shape.substr(1, shape.size() - 2);
  while (!trimmed(shape).empty()) {
    shape = trimmed(shape);
    const auto n = parse_count(shape.data(), shape.data() + shape.size());
    if (n.status != number_status::ok) {
      throw bad("shape with " + shown(shape) + ", wanted whole numbers");
    }
    h.shape.push_back(static_cast<std::size_t>(n.value));
    shape.remove_prefix(static_cast<std::size_t>(n.next - shape.data()));
    shape = trimmed(shape);
    if (!shape.empty() && shape.front() != ',') {
      throw bad("shape with " + shown(shape) + ", wanted a comma");
    }
    if (!shape.empty()) shape.remove_prefix(1);
  }
  if (h.shape.empty()) throw bad("a single number, wanted an array of shape (n) or (n, d)");
  return h;
}

[[nodiscard]] inline array_header read_idx_header(byte_source& in,
                                                  std::span<const std::byte, 4> magic) {
  const auto type = std::to_integer<unsigned>(magic[2]);
  const auto dims = std::to_integer<std::size_t>(magic[3]);
  if (type != 8) {
    throw data_error::at_byte(in.file(), 2,
                              "IDX type " + std::to_string(type) + ", wanted 8 (unsigned bytes)");
  }
  if (dims < 1 || dims > 4) {
    throw data_error::at_byte(
        in.file(), 3, "IDX array of " + std::to_string(dims) + " dimensions, wanted 1 to 4");
  }
  array_header h;
  h.idx = true;
  for (std::size_t i = 0; i < dims; ++i) {
    std::array<std::byte, 4> extent{};
    if (in.read(extent) != extent.size()) {
      throw data_error::at_byte(
          in.file(), in.offset(),
          "truncated IDX header, wanted " + std::to_string(dims) + " extents");
    }
    std::size_t n = 0;
    for (const std::byte b : extent) n = n << 8 | std::to_integer<std::size_t>(b);
    h.shape.push_back(n);
  }
  return h;
}

/// Reads the header of either kind and checks its sizes against the file.
[[nodiscard]] inline array_header read_array_header(byte_source& in) {
  std::array<std::byte, 4> magic{};
  const std::size_t got = in.read(magic);
  if (got == 0) throw data_error::in_file(in.file(), "empty file, wanted an NPY or IDX array");
  array_header h;
  constexpr std::string_view npy_tail = "PY";
  if (got == 4 && magic[0] == std::byte{0x93} && std::memcmp(&magic[1], "NUM", 3) == 0) {
    std::array<char, 2> rest{};
    if (in.read(std::as_writable_bytes(std::span(rest))) != 2 ||
        std::string_view(rest.data(), 2) != npy_tail) {
      throw data_error::at_byte(in.file(), 0, "wrong magic number, wanted \\x93NUMPY");
    }
    h = read_npy_header(in);
  } else if (got == 4 && magic[0] == std::byte{0} && magic[1] == std::byte{0}) {
    h = read_idx_header(in, magic);
  } else {
    std::string hex;
    for (std::size_t i = 0; i < got; ++i) {
      char digits[4];
      std::snprintf(digits, sizeof digits, "%02x ", std::to_integer<unsigned>(magic[i]));
      hex += digits;
    }
    throw data_error::at_byte(in.file(), 0,
                              "wrong magic number " + hex +
                                  "- wanted NPY (93 4e 55 4d 50 59) or IDX "
                                  "(00 00 08 and the number of dimensions)");
  }
  require_payload(in, h);
  return h;
}

template <class T>
[[nodiscard]] T little_endian(const std::byte* from) noexcept {
  static_assert(std::endian::native == std::endian::little, "NPY payloads are read as they lie");
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// Streams the payload through `use(bytes, first element, count)` and checks that it ends the file.
template <class Use>
void read_payload(byte_source& in, const array_header& h, Use use) {
  const std::size_t total = h.rows() * h.cols(), size = size_of(h.type);
  const std::uint64_t start = in.offset();
  std::vector<std::byte> buffer(std::min<std::size_t>(total * size + 1, std::size_t{1} << 18));
  for (std::size_t done = 0; done < total;) {
    const std::size_t count =
        std::min(total - done, std::max<std::size_t>(1, buffer.size() / size));
    if (buffer.size() < count * size) buffer.resize(count * size);
    if (in.read(std::span(buffer).first(count * size)) != count * size) {
      throw data_error::at_byte(in.file(), in.offset(),
                                "truncated: the header promises " + std::to_string(total) +
                                    " values, wanted " + std::to_string(total * size) +
                                    " bytes of them, got " + std::to_string(in.offset() - start));
    }
    use(buffer.data(), done, count);
    done += count;
  }
  std::byte extra{};
  if (in.read(std::span(&extra, 1)) != 0) {
    throw data_error::at_byte(
        in.file(), in.offset() - 1,
        "data go on after the " + std::to_string(total) + " values that the header promises");
  }
}

template <class Out>
void convert(const std::byte* from, element type, std::size_t count, Out* to) {
  const auto each = [&]<class T>(T) {
    for (std::size_t i = 0; i < count; ++i) {
      to[i] = static_cast<Out>(little_endian<T>(from + i * sizeof(T)));
    }
  };
  switch (type) {
    case element::u1:
      return each(std::uint8_t{});
    case element::i1:
      return each(std::int8_t{});
    case element::i4:
      return each(std::int32_t{});
    case element::i8:
      return each(std::int64_t{});
    case element::f4:
      return each(float{});
    case element::f8:
      return each(double{});
  }
}

/// Position of the first NaN or infinity, or count.
template <class T>
[[nodiscard]] std::size_t first_not_finite(const T* x, std::size_t count) noexcept {
  T sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += x[i] * 0;  // NaN or infinity times 0 is NaN
  if (sum == 0) return count;
  std::size_t i = 0;
  while (i < count && std::isfinite(x[i])) ++i;
  return i;
}

}  // namespace detail

/// Images as they are stored: one byte a pixel.
struct image_set {
  std::size_t count = 0, height = 0, width = 0;
  skim::aligned_vector<std::uint8_t> pixels;  ///< (count, height, width)
  std::vector<skim::label_t> labels;          ///< (count)
  std::size_t classes = 0;
  std::vector<std::string> class_names;
};

/// Reads an NPY or IDX array as a dense feature matrix; trailing dimensions are flattened.
///
/// Values are as stored. Throws data_error naming the file and the byte on anything but a whole,
/// finite array.
[[nodiscard]] inline dataset load_array(const std::string& file) {
  byte_source in(file);
  const auto h = detail::read_array_header(in);
  dataset data;
  data.name = file;
  data.rows = h.rows();
  data.cols = h.cols();
  if (data.rows == 0 || data.cols == 0) {
    throw data_error::in_file(file, "holds " + std::to_string(data.rows) + " rows of " +
                                        std::to_string(data.cols) + " values, wanted at least 1");
  }
  if (h.shape.size() == 3) {
    data.image_height = h.shape[1];
    data.image_width = h.shape[2];
  }
  const std::size_t total = data.rows * data.cols;
  // capacity only: pages are touched as data arrive, and the header was checked against the file
  if (in.capacity()) data.dense.reserve(total);
  detail::read_payload(in, h, [&](const std::byte* from, std::size_t first, std::size_t count) {
    data.dense.resize(first + count);
    float* const to = data.dense.data() + first;
    detail::convert(from, h.type, count, to);
    if (const auto bad = detail::first_not_finite(to, count); bad != count) {
      throw data_error::in_file(file, "value " + plain(static_cast<double>(to[bad])) + " in row " +
                                          std::to_string((first + bad) / data.cols) + ", column " +
                                          std::to_string((first + bad) % data.cols) +
                                          ", wanted finite numbers (of float)");
    }
  });
  return data;
}

/// Reads an NPY or IDX array of shape (n) or (n, 1) as one label a row.
[[nodiscard]] inline label_column load_label_array(const std::string& file) {
  byte_source in(file);
  const auto h = detail::read_array_header(in);
  if (h.cols() != 1) {
    throw data_error::in_file(file, "has " + std::to_string(h.cols()) +
                                        " values a row, wanted labels of shape (n) or (n, 1)");
  }
  label_column column;
  column.file = file;
  column.integer_type = h.type != detail::element::f4 && h.type != detail::element::f8;
  detail::read_payload(in, h, [&](const std::byte* from, std::size_t first, std::size_t count) {
    column.numbers.resize(first + count);
    double* const to = column.numbers.data() + first;
    detail::convert(from, h.type, count, to);
    for (std::size_t i = 0; i < count; ++i) {
      if (!(std::abs(to[i]) <= static_cast<double>(std::numeric_limits<float>::max()))) {
        throw column.error(first + i, "label " + plain(to[i]) + ", wanted a finite number");
      }
    }
  });
  return column;
}

/// Reads an IDX file of images (n, height, width) and one of labels (n).
[[nodiscard]] inline image_set load_images(const std::string& images, const std::string& labels) {
  byte_source in(images);
  const auto h = detail::read_array_header(in);
  if (h.shape.size() != 3 || h.type != detail::element::u1) {
    throw data_error::in_file(images, "has " + std::to_string(h.shape.size()) +
                                          " dimensions, wanted images (n, height, width) of bytes");
  }
  if (h.rows() == 0 || h.cols() == 0) throw data_error::in_file(images, "holds no pixels");
  image_set set;
  set.count = h.rows();
  set.height = h.shape[1];
  set.width = h.shape[2];
  if (in.capacity()) set.pixels.reserve(h.rows() * h.cols());
  detail::read_payload(in, h, [&](const std::byte* from, std::size_t first, std::size_t count) {
    set.pixels.resize(first + count);
    std::memcpy(set.pixels.data() + first, from, count);
  });
  const auto column = load_label_array(labels);
  if (column.size() != set.count) {
    throw data_error::in_file(labels, std::to_string(column.size()) + " labels, wanted " +
                                          std::to_string(set.count) + ", one for each image of " +
                                          images);
  }
  set.labels.reserve(set.count);
  for (std::size_t i = 0; i < set.count; ++i) {
    const double x = column.numbers[i];
    if (!(x >= 0 && x <= 255 && x == std::floor(x))) {
      throw column.error(i, "label " + plain(x) + ", wanted a class id from 0 to 255");
    }
    set.labels.push_back(static_cast<skim::label_t>(x));
    set.classes = std::max(set.classes, static_cast<std::size_t>(x) + 1);
  }
  return set;
}

}  // namespace skim_examples
