// SPDX-License-Identifier: Apache-2.0
//
// Line charts with error bands, and maps of a grid of values, as SVG, drawn by gnuplot.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/output_file.hpp"
#include "common/table.hpp"

extern char** environ;

namespace skim_examples {

/// One line of a chart. lo and hi, if given, are the edges of a band around it; in a panel of intervals
/// the ends of a bar through each point, along x. Points that are not finite, or not positive on a
/// logarithmic axis, are left out.
struct plot_series {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> lo = {}, hi = {};
};

enum class axis_scale { linear, logarithmic };

struct plot_axis {
  std::string label;
  axis_scale scale = axis_scale::linear;
  std::optional<double> least = {}, most = {};  ///< limits; by the data where left out
  std::vector<std::string> names = {};  ///< y only: of the places 0, 1, ... from the top down
  std::optional<double> mark = {};      ///< x only: a thin line across the panel
};

enum class panel_kind { lines, intervals, map };

/// The values of a map: a grid over a rectangle, row by row from the least y up, each the value at the
/// middle of its cell. Values that are not finite, or not positive on a logarithmic scale, stay white.
struct plot_grid {
  std::size_t columns = 0, rows = 0;
  double x_least = 0, x_most = 1, y_least = 0, y_most = 1;
  std::vector<double> values;
  plot_axis colour;  ///< label, scale and limits of the colours
};

struct plot_panel {
  std::string title;
  plot_axis x, y;
  std::vector<plot_series> series;
  panel_kind kind = panel_kind::lines;
  plot_grid grid = {};  ///< of a map
};

/// Panels side by side under one title and above one legend. Series of one name have one colour in
/// all panels.
struct plot_figure {
  std::string title;
  std::vector<plot_panel> panels;
  std::size_t columns = 3;         ///< panels in a row, at most
  std::size_t panel_width = 400;   ///< pixels, with its axis labels
  std::size_t panel_height = 310;  ///< pixels, with its axis labels
};

/// Throws output_error, saying how to install it, unless gnuplot can be run.
inline void require_gnuplot() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = (folder.empty() ? "." : folder) + "/gnuplot";
    if (::access(program.c_str(), X_OK) == 0) return;
  }
  throw output_error(
      "gnuplot is not installed, wanted for --plot (Debian, Ubuntu: apt-get install gnuplot-nox)");
}

/// Throws output_error unless a plot can be drawn to path: for use before the long work starts.
inline void check_plot(const std::string& path) {
  if (!path.ends_with(".svg")) {
    throw output_error(path + ": wanted a file name that ends in .svg for the plot");
  }
  check_output(path);
  require_gnuplot();
}

namespace detail {

/// A text as gnuplot's single-quoted string.
[[nodiscard]] inline std::string gnuplot_string(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? ' ' : c;
    if (c == '\'') out += c;
  }
  return out + "'";
}

[[nodiscard]] inline std::string xml_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

class gnuplot_script {
 public:
  gnuplot_script(const plot_figure& figure, const std::string& svg) : figure_(figure) {
    for (const auto& panel : figure.panels) {
      for (const auto& s : panel.series) {
        if (std::find(names_.begin(), names_.end(), s.name) == names_.end())
          names_.push_back(s.name);
      }
    }
    lay_out();
    out_.precision(9);
    out_ << "set terminal svg size " << width_ << "," << height_
         << " fixed font 'skim-font,12' background '#ffffff' noenhanced\n"
         << "set output " << gnuplot_string(svg) << "\nset encoding utf8\n";
    for (std::size_t p = 0; p < figure.panels.size(); ++p) data(p);
    out_ << "set multiplot\n"
            "set border 3 lc rgb '#666666' lw 0.8\n"
            "set tics nomirror textcolor rgb '#333333' font 'skim-font,11'\n"
            "set tics scale 0.5\n"
            "set grid xtics ytics lt 1 lc rgb '#e4e4e4' lw 0.8\n"
            "set grid back\nunset key\n";
    for (std::size_t p = 0; p < figure.panels.size(); ++p) panel(p);
    out_ << "unset multiplot\nset output\n";
  }

  [[nodiscard]] std::string text() const { return out_.str(); }

 private:
  // Okabe and Ito's palette: told apart under every common colour blindness; yellow is left out, as
  // it is lost on white
  static constexpr const char* palette[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                            "#e69f00", "#56b4e9", "#4d4d4d"};
  static constexpr std::size_t colours = std::size(palette);
  static constexpr double left = 74, right = 18, top = 34, bottom = 50, legend_line = 22;
  static constexpr double colours_width = 110;        // of a map's scale
  static constexpr double em = 6.2, legend_gap = 20;  // mean width of a character of 12 pixels

  void lay_out() {
    const std::size_t count = std::max<std::size_t>(1, figure_.panels.size());
    columns_ = std::clamp<std::size_t>(figure_.columns, 1, count);
    rows_ = (count + columns_ - 1) / columns_;
    width_ = columns_ * figure_.panel_width;
    title_height_ = figure_.title.empty() ? 8 : 38;
    // the legend: names one after another, centred, in as many lines as they need
    const double limit = static_cast<double>(width_) - 24;
    double at = 0;
    for (const auto& name : names_) {
      const double size = 34 + em * static_cast<double>(display_width(name)) + 22;
      if (legend_.empty() || at + size > limit) {
        legend_.push_back({});
        at = 0;
      }
      legend_.back().push_back({name, at});
      at += size;
      legend_.back().back().end = at - 22;
    }
    height_ = static_cast<std::size_t>(title_height_) + rows_ * figure_.panel_height +
              static_cast<std::size_t>(legend_line) * legend_.size() +
              static_cast<std::size_t>(legend_gap);
  }

  [[nodiscard]] double screen_x(double pixel) const { return pixel / static_cast<double>(width_); }
  [[nodiscard]] double screen_y(double pixel) const {
    return 1 - pixel / static_cast<double>(height_);
  }

  [[nodiscard]] std::size_t style_of(const std::string& name) const {
    return static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
  }
  [[nodiscard]] static std::string pen(std::size_t style) {
    static constexpr const char* dashes[] = {"solid", "'-'", "'.'"};
    return std::string("lc rgb '") + palette[style % colours] + "' lw 2 dt " +
           dashes[style / colours % std::size(dashes)];
  }
  // Of points: as many signs as there are dashes for each colour.
  [[nodiscard]] static std::string sign(std::size_t style) {
    static constexpr int signs[] = {7, 4, 9};
    return " pt " + std::to_string(signs[style / colours % std::size(signs)]) + " ";
  }
  [[nodiscard]] static bool drawable(double value, const plot_axis& axis) {
    return std::isfinite(value) && (axis.scale == axis_scale::linear || value > 0);
  }

  void data(std::size_t p) {
    const auto& panel = figure_.panels[p];
    if (panel.kind == panel_kind::map) {
      const plot_grid& grid = panel.grid;
      out_ << "$grid_" << p << " << EOD\n";
      for (std::size_t i = 0; i < grid.rows; ++i) {
        for (std::size_t j = 0; j < grid.columns; ++j) {
          const double v = grid.values[i * grid.columns + j];
          out_ << (drawable(v, grid.colour) ? significant(v, 4) : "NaN") << " ";
        }
        out_ << "\n";
      }
      out_ << "EOD\n";
    }
    extent& across = x_extent_.emplace_back();
    extent& up = y_extent_.emplace_back();
    for (std::size_t s = 0; s < panel.series.size(); ++s) {
      const auto& line = panel.series[s];
      const std::size_t count = std::min(line.x.size(), line.y.size());
      points_.push_back(0);
      out_ << "$line_" << p << "_" << s << " << EOD\n";
      for (std::size_t i = 0; i < count; ++i) {
        if (!drawable(line.x[i], panel.x) || !drawable(line.y[i], panel.y)) continue;
        out_ << line.x[i] << " " << line.y[i] << "\n";
        across.include(line.x[i]);
        up.include(line.y[i]);
        ++points_.back();
      }
      out_ << "EOD\n";
      bands_.push_back(0);
      out_ << "$band_" << p << "_" << s << " << EOD\n";
      const bool bars = panel.kind == panel_kind::intervals;
      const plot_axis& along = bars ? panel.x : panel.y;
      for (std::size_t i = 0; i < std::min({count, line.lo.size(), line.hi.size()}); ++i) {
        if (!drawable(line.x[i], panel.x) || !drawable(line.lo[i], along) ||
            !drawable(line.hi[i], along)) {
          continue;
        }
        out_ << line.x[i] << " ";
        if (bars) out_ << line.y[i] << " ";
        out_ << line.lo[i] << " " << line.hi[i] << "\n";
        for (const double end : {line.lo[i], line.hi[i]}) (bars ? across : up).include(end);
        ++bands_.back();
      }
      out_ << "EOD\n";
    }
  }

  struct extent {
    double least = std::numeric_limits<double>::infinity();
    double most = -std::numeric_limits<double>::infinity();
    void include(double value) {
      least = std::min(least, value);
      most = std::max(most, value);
    }
  };

  // gnuplot would widen a logarithmic axis to whole decades and label these alone: curves that span
  // half a decade would be squeezed. The limits hug the data, with labels at 1, 2 and 5 if few.
  void logarithmic_axis(char name, const plot_axis& a, extent data) {
    const double margin = std::pow(data.most / data.least, 0.04) * 1.001;
    const double least = a.least && *a.least > 0 ? *a.least : data.least / margin;
    const double most = a.most && *a.most > 0 ? *a.most : data.most * margin;
    const auto labels = [&](std::initializer_list<int> digits) {
      std::vector<double> at;
      const int last = static_cast<int>(std::ceil(std::log10(most)));
      for (int decade = static_cast<int>(std::floor(std::log10(least))); decade <= last; ++decade) {
        for (const int digit : digits) {
          const double value = digit * std::pow(10.0, decade);
          if (value >= least && value <= most) at.push_back(value);
        }
      }
      return at;
    };
    auto at = labels({1});
    if (at.size() < 4) at = labels({1, 2, 5});
    if (at.size() < 3) at = labels({1, 2, 3, 4, 5, 6, 7, 8, 9});
    if (at.size() < 3) at = round_numbers(least, most);
    out_ << "set logscale " << name << " 10\nset " << name << "range [" << least << ":" << most
         << "]\nset m" << name << "tics default\nset " << name << "tics ";
    if (at.size() >= 2) {
      for (std::size_t i = 0; i < at.size(); ++i) out_ << (i == 0 ? "(" : ", ") << at[i];
      out_ << ")\n";
    } else {
      out_ << "autofreq\n";
    }
  }

  /// Three to seven multiples of 1, 2 or 5 times a power of ten within a range. Pre: least < most.
  [[nodiscard]] static std::vector<double> round_numbers(double least, double most) {
    double step = std::pow(10.0, std::floor(std::log10((most - least) / 3)));
    for (const double factor : {2.0, 2.5}) {  // to 2, then to 5 times the power
      if ((most - least) / step > 6) step *= factor;
    }
    std::vector<double> at;
    for (double k = std::ceil(least / step); k * step <= most; ++k) at.push_back(k * step);
    return at;
  }

  void axis(char name, const plot_axis& a, bool any, extent data) {
    out_ << "unset logscale " << name << "\nset format " << name << " '%g'\n";
    if (!a.names.empty()) {
      out_ << "set " << name << "range [" << static_cast<double>(a.names.size()) - 0.5
           << ":-0.5]\nset m" << name << "tics 1\nset " << name << "tics (";
      for (std::size_t i = 0; i < a.names.size(); ++i)
        out_ << (i == 0 ? "" : ", ") << gnuplot_string(a.names[i]) << " " << i;
      out_ << ")\n";
      return;
    }
    if (any && a.scale == axis_scale::logarithmic) return logarithmic_axis(name, a, data);
    out_ << "set " << name << "tics autofreq\nset " << name << "range [";
    if (any) {
      // "*" undoes the limits of the panel before
      out_ << (a.least && std::isfinite(*a.least) ? significant(*a.least, 9) : "*") << ":"
           << (a.most && std::isfinite(*a.most) ? significant(*a.most, 9) : "*");
    } else {
      out_ << "0:1";
    }
    out_ << "]\n";
  }

  void decorations() {
    const double middle = static_cast<double>(width_) / 2;
    if (!figure_.title.empty()) {
      out_ << "set label " << gnuplot_string(figure_.title) << " at screen 0.5, screen "
           << screen_y(24) << " center font 'skim-font,15' textcolor rgb '#111111'\n";
    }
    double y = title_height_ + static_cast<double>(rows_ * figure_.panel_height) + legend_gap - 2;
    for (const auto& line : legend_) {
      const double begin = middle - line.back().end / 2;
      for (const auto& entry : line) {
        const double x = begin + entry.at;
        out_ << "set arrow from screen " << screen_x(x) << ", screen " << screen_y(y)
             << " to screen " << screen_x(x + 26) << ", screen " << screen_y(y) << " nohead "
             << pen(style_of(entry.name)) << "\n"
             << "set label " << gnuplot_string(entry.name) << " at screen " << screen_x(x + 34)
             << ", screen " << screen_y(y) << " left textcolor rgb '#333333'\n";
      }
      y += legend_line;
    }
  }

  void panel(std::size_t p) {
    const auto& panel = figure_.panels[p];
    const std::size_t column = p % columns_, row = p / columns_;
    const double x = static_cast<double>(column * figure_.panel_width);
    const double y = title_height_ + static_cast<double>(row * figure_.panel_height);
    double margin = left;
    for (const std::string& name : panel.y.names)
      margin = std::max(margin, 36 + em * static_cast<double>(display_width(name)));
    const double beside = panel.kind == panel_kind::map ? colours_width : right;
    out_ << "set lmargin at screen " << screen_x(x + margin) << "\nset rmargin at screen "
         << screen_x(x + static_cast<double>(figure_.panel_width) - beside)
         << "\nset tmargin at screen " << screen_y(y + top) << "\nset bmargin at screen "
         << screen_y(y + static_cast<double>(figure_.panel_height) - bottom) << "\n";
    out_ << "set title " << gnuplot_string(panel.title)
         << " font 'skim-font,13' textcolor rgb '#111111' offset 0,-0.4\n";
    std::size_t first = 0;
    for (std::size_t q = 0; q < p; ++q) first += figure_.panels[q].series.size();
    std::string plots;
    const auto add = [&](const std::string& plot) { plots += (plots.empty() ? "" : ", ") + plot; };
    const auto block = [&](const char* kind, std::size_t s) {
      return std::string("$") + kind + "_" + std::to_string(p) + "_" + std::to_string(s);
    };
    // many bands on top of each other turn to mud unless each is faint
    const double shade = std::clamp(0.5 / static_cast<double>(panel.series.size()), 0.09, 0.18);
    const std::string opacity = significant(shade, 3);
    const bool bars = panel.kind == panel_kind::intervals;
    for (std::size_t s = 0; s < panel.series.size(); ++s) {  // bands and bars below all lines
      const std::size_t style = style_of(panel.series[s].name);
      if (bars && bands_[first + s] > 0)
        add(block("band", s) + " using 1:2:3:4 with xerrorbars pt -1 ps 0 " + pen(style));
      if (bars || bands_[first + s] < 2) continue;
      add(block("band", s) + " using 1:2:3 with filledcurves fc rgb '" + palette[style % colours] +
          "' fs transparent solid " + opacity + " noborder");
    }
    for (std::size_t s = 0; s < panel.series.size(); ++s) {
      if (points_[first + s] == 0) continue;
      const std::size_t style = style_of(panel.series[s].name);
      if (bars) {
        add(block("line", s) + " using 1:2 with points ps 0.6" + sign(style) + pen(style));
        continue;
      }
      // few points are shown as such, so that a reader sees what was measured
      const bool few = points_[first + s] <= 15;
      add(block("line", s) + " using 1:2 with " +
          (few ? "linespoints ps 0.5" + sign(style) : "lines ") + pen(style));
    }
    if (panel.kind == panel_kind::map) add(map(p));
    const bool any = !plots.empty();
    out_ << "set xlabel " << gnuplot_string(panel.x.label)
         << " textcolor rgb '#333333' font 'skim-font,12'\n";
    // gnuplot would put it left of the numbers, and off the picture where these are long
    out_ << "set label " << gnuplot_string(panel.y.label) << " at screen " << screen_x(x + 18)
         << ", screen "
         << screen_y(y + (top + static_cast<double>(figure_.panel_height) - bottom) / 2)
         << " center rotate by 90 textcolor rgb '#333333' font 'skim-font,12'\n";
    axis('x', panel.x, any, x_extent_[p]);
    axis('y', panel.y, any, y_extent_[p]);
    if (p == 0) decorations();
    if (panel.x.mark)
      out_ << "set arrow from first " << *panel.x.mark << ", graph 0 to first " << *panel.x.mark
           << ", graph 1 nohead lc rgb '#888888' lw 1 dt solid\n";
    if (!any) {
      out_ << "set label 'no data' at graph 0.5, graph 0.5 center textcolor rgb '#888888'\n";
      add("NaN");
    }
    out_ << "plot " << plots << "\nunset label\nunset arrow\n";
  }

  // Colours and ranges of a map, and its part of the plot command. The colours are equally far apart to
  // the eye, from pale to dark: an approximation of viridis, reversed.
  [[nodiscard]] std::string map(std::size_t p) {
    const plot_grid& grid = figure_.panels[p].grid;
    extent& across = x_extent_[p];
    extent& up = y_extent_[p];
    for (const double end : {grid.x_least, grid.x_most}) across.include(end);
    for (const double end : {grid.y_least, grid.y_most}) up.include(end);
    const plot_axis& colour = grid.colour;
    out_ << "set palette defined (0 '#fde725', 0.25 '#5ec962', 0.5 '#21918c', 0.75 '#3b528b', 1 "
            "'#440154')\n"
         << (colour.scale == axis_scale::logarithmic ? "set logscale cb 10\n"
                                                     : "unset logscale cb\n")
         << "set format cb '%g'\nset cblabel " << gnuplot_string(colour.label)
         << " textcolor rgb '#333333' font 'skim-font,12'\nset cbrange ["
         << (colour.least ? significant(*colour.least, 9) : "*") << ":"
         << (colour.most ? significant(*colour.most, 9) : "*") << "]\n";
    const auto place = [](const char* index, double least, double most, std::size_t cells) {
      const double step = (most - least) / static_cast<double>(cells);
      return "(" + significant(least + step / 2, 9) + "+" + index + "*" + significant(step, 9) +
             ")";
    };
    return "$grid_" + std::to_string(p) + " matrix using " +
           place("$1", grid.x_least, grid.x_most, grid.columns) + ":" +
           place("$2", grid.y_least, grid.y_most, grid.rows) + ":3 with image";
  }

  struct legend_entry {
    std::string name;
    double at = 0, end = 0;
  };

  const plot_figure& figure_;
  std::vector<std::string> names_;
  std::vector<std::vector<legend_entry>> legend_;
  std::size_t columns_ = 1, rows_ = 1, width_ = 0, height_ = 0;
  double title_height_ = 0;
  std::vector<extent> x_extent_, y_extent_;  // of what can be drawn, by panel
  std::vector<std::size_t> points_, bands_;  // that can be drawn, by series over all panels
  std::ostringstream out_;
};

/// Runs gnuplot on a script; no shell, so no text of the figure can be a command.
inline void run_gnuplot(const std::string& script) {
  struct closer {
    void operator()(std::FILE* f) const noexcept { std::fclose(f); }
  };
  const std::unique_ptr<std::FILE, closer> input(std::tmpfile()), messages(std::tmpfile());
  if (!input || !messages ||
      std::fwrite(script.data(), 1, script.size(), input.get()) != script.size() ||
      std::fflush(input.get()) != 0) {
    throw output_error(std::string("cannot write a temporary file: ") + std::strerror(errno));
  }
  std::rewind(input.get());
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ::fileno(input.get()), 0);
  posix_spawn_file_actions_adddup2(&files, ::fileno(messages.get()), 1);
  posix_spawn_file_actions_adddup2(&files, ::fileno(messages.get()), 2);
  char name[] = "gnuplot";
  char* const arguments[] = {name, nullptr};
  pid_t child = 0;
  const int failed = ::posix_spawnp(&child, name, &files, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) {
    require_gnuplot();
    throw output_error(std::string("cannot run gnuplot: ") + std::strerror(failed));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw output_error("lost track of gnuplot");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::rewind(messages.get());
    char text[512];
    const std::size_t got = std::fread(text, 1, sizeof text, messages.get());
    std::string said(text, got);
    std::replace(said.begin(), said.end(), '\n', ' ');
    throw output_error("gnuplot failed: " + said);
  }
}

}  // namespace detail

/// Draws the figure to an SVG file, replacing it as a whole. Throws output_error.
inline void write_svg(const std::string& path, const plot_figure& figure) {
  check_plot(path);
  const std::string drawing = temporary_name(path) + ".svg";
  struct remover {
    const std::string& file;
    ~remover() { std::remove(file.c_str()); }
  } const removes{drawing};
  detail::run_gnuplot(detail::gnuplot_script(figure, drawing).text());
  std::ifstream in(drawing, std::ios::binary);
  std::string svg((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto replace = [&svg](std::string_view what, std::string_view by) {
    for (auto at = svg.find(what); at != svg.npos; at = svg.find(what, at + by.size())) {
      svg.replace(at, what.size(), by);
    }
  };
  // gnuplot takes one font name; a list lets every machine find one it has
  replace("skim-font", "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif");
  replace("<title>Gnuplot</title>", "<title>" + detail::xml_text(figure.title) + "</title>");
  if (svg.find("</svg>") == svg.npos) throw output_error(path + ": gnuplot drew nothing");
  write_file(path, svg);
}

}  // namespace skim_examples
