// SPDX-License-Identifier: Apache-2.0
//
// Tables, JSON, progress and plots.
#include "common/report.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "common/plot.hpp"
#include "files.hpp"
#include "support/catch.hpp"

using namespace skim_examples;
using Catch::Matchers::ContainsSubstring;

namespace {

template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const output_error& e) {
    const std::string message = e.what();
    CHECK(message.find('\n') == message.npos);
    return message;
  }
  return "(no error)";
}

// Sets PATH for a while.
class path_guard {
 public:
  explicit path_guard(const std::string& value) : old_(std::getenv("PATH")) {
    ::setenv("PATH", value.c_str(), 1);
  }
  ~path_guard() { ::setenv("PATH", old_.c_str(), 1); }
  path_guard(const path_guard&) = delete;
  path_guard& operator=(const path_guard&) = delete;

 private:
  std::string old_;
};

bool have_gnuplot() {
  try {
    require_gnuplot();
    return true;
  } catch (const output_error&) {
    return false;
  }
}

plot_figure figure() {
  plot_figure f;
  f.title = "It's <a> & b_c; system('touch bad')";
  plot_panel p;
  p.title = "loss";
  p.x = {.label = "seconds"};
  p.y = {.label = "log loss", .scale = axis_scale::logarithmic};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  p.series.push_back({.name = "it's \n one",
                      .x = {1, 2, 3, 4},
                      .y = {1, .5, nan, 0},
                      .lo = {.9, .4, 1, 1},
                      .hi = {1.1, .6, 1, 1}});
  p.series.push_back({.name = "two", .x = {1, 2, 3}, .y = {2, 1, .5}});
  f.panels.push_back(p);
  plot_panel empty;
  empty.title = "nothing";
  empty.y.scale = axis_scale::logarithmic;
  empty.series.push_back({.name = "two", .x = {}, .y = {}});
  f.panels.push_back(empty);
  return f;
}

}  // namespace

TEST_CASE("Tables are aligned: words to the left, numbers to the right", "[unit]") {
  text_table t({"sampler", "time", "gain"});
  t.add({"uniform", "9.5 s", "1.00x"});
  t.add({"größte", "10.25 s", "-"});
  std::ostringstream out;
  out << t;
  CHECK(out.str() ==
        "sampler     time   gain\n"
        "-------  -------  -----\n"
        "uniform    9.5 s  1.00x\n"
        "größte   10.25 s      -\n");
  CHECK_THROWS_AS(t.add({"one"}), std::invalid_argument);
  CHECK(t.rows() == 2);
}

TEST_CASE("No control byte reaches the terminal", "[unit]") {
  text_table t({"a"});
  t.add({"x\x1b[31m\n"});
  std::ostringstream out;
  out << t;
  CHECK(out.str().find('\x1b') == std::string::npos);
}

TEST_CASE("Numbers as a person reads them", "[unit]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(fixed(1.005, 1) == "1.0");
  CHECK(fixed(nan, 1) == "-");
  CHECK(percent(0.1234) == "12.3 %");
  CHECK(duration(0) == "0 s");
  CHECK(duration(3.5e-8) == "35 ns");
  CHECK(duration(1.5e-3) == "1.5 ms");
  CHECK(duration(59.94) == "59.9 s");
  CHECK(duration(125) == "2 min 05 s");
  CHECK(byte_size(512) == "512 B");
  CHECK(byte_size(1.5 * 1024 * 1024) == "1.5 MB");
  CHECK(grouped(60000) == "60,000");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1234567) == "1,234,567");
  CHECK(peak_memory_bytes() > 1024 * 1024);
}

TEST_CASE("JSON replaces a file as a whole, or says why not", "[unit]") {
  const skim_test::temporary_folder tmp;
  json value;
  value["zeta"] = 1;
  value["alpha"] = std::numeric_limits<double>::infinity();
  value["text"] = std::string("bad \xff byte");
  write_json(tmp.path("a.json"), value);
  const auto back = json::parse(tmp.read("a.json"));
  CHECK(back.begin().key() == "zeta");
  CHECK(back["alpha"].is_null());
  write_json(tmp.path("a.json"), {{"n", 2}});
  CHECK(tmp.read("a.json") == "{\n  \"n\": 2\n}\n");
  CHECK(tmp.files() == 1);  // nothing temporary is left

  CHECK_THAT(refusal([&] { write_json(tmp.path("no/b.json"), value); }),
             ContainsSubstring("there is no folder"));
  CHECK_THAT(refusal([&] { write_json(tmp.path(), value); }), ContainsSubstring("is a folder"));
  CHECK_THAT(refusal([&] { write_json("", value); }), ContainsSubstring("empty file name"));
  write_json("/dev/null", value);  // written to, not replaced
  CHECK(std::filesystem::is_character_file("/dev/null"));

  std::filesystem::create_symlink(tmp.path("a.json"), tmp.path("link.json"));
  write_json(tmp.path("link.json"), {{"n", 3}});
  CHECK(std::filesystem::is_symlink(tmp.path("link.json")));
  CHECK(tmp.read("a.json") == "{\n  \"n\": 3\n}\n");
}

TEST_CASE("The progress line is for terminals and leaves nothing behind", "[unit]") {
  const auto written = [](progress_mode mode) {
    std::FILE* const file = std::tmpfile();
    {
      progress_line line(mode, file);
      line.show("epoch 1");
      CHECK_FALSE(line.due());
      line.show("too soon");
    }
    std::rewind(file);
    char text[400];
    const std::size_t got = std::fread(text, 1, sizeof text, file);
    std::fclose(file);
    return std::string(text, got);
  };
  CHECK(written(progress_mode::automatic).empty());  // a file is no terminal
  CHECK(written(progress_mode::off).empty());
  CHECK(written(progress_mode::on) == "\r\x1b[2Kepoch 1\r\x1b[2K");
}

TEST_CASE("A plot is a whole SVG with all its names, whatever they hold", "[unit]") {
  if (!have_gnuplot()) SKIP("gnuplot is not installed");
  const skim_test::temporary_folder tmp;
  const auto file = tmp.path("it's a \"plot\".svg");
  write_svg(file, figure());
  const auto svg = tmp.read("it's a \"plot\".svg");
  CHECK_THAT(svg, ContainsSubstring("<svg") && ContainsSubstring("</svg>") &&
                      ContainsSubstring("two") && ContainsSubstring("no data") &&
                      ContainsSubstring("<title>It's &lt;a&gt; &amp; b_c"));
  CHECK(svg.find("skim-font") == svg.npos);
  CHECK(tmp.files() == 1);
  plot_figure none;
  none.panels.push_back({});
  write_svg(file, none);
  CHECK(tmp.read("it's a \"plot\".svg") != svg);
}

TEST_CASE("Plots that cannot be drawn are refused before the work", "[unit]") {
  const skim_test::temporary_folder tmp;
  CHECK_THAT(refusal([&] { check_plot(tmp.path("a.png")); }), ContainsSubstring("ends in .svg"));
  CHECK_THAT(refusal([&] { check_plot(tmp.path("no/a.svg")); }),
             ContainsSubstring("there is no folder"));
  const path_guard no_tools(tmp.path());
  CHECK_THAT(refusal([&] { check_plot(tmp.path("a.svg")); }),
             ContainsSubstring("gnuplot is not installed") && ContainsSubstring("apt-get install"));
}

TEST_CASE("A gnuplot that fails is quoted, and the old plot stays", "[unit]") {
  const skim_test::temporary_folder tools, tmp;
  const auto program = tools.write("gnuplot", "#!/bin/sh\necho 'no such terminal' >&2\nexit 1\n");
  ::chmod(program.c_str(), 0700);
  tmp.write("a.svg", "old");
  const path_guard path(tools.path() + ":/usr/bin:/bin");
  CHECK_THAT(refusal([&] { write_svg(tmp.path("a.svg"), figure()); }),
             ContainsSubstring("gnuplot failed: no such terminal"));
  CHECK(tmp.read("a.svg") == "old");
  CHECK(tmp.files() == 1);
}

TEST_CASE("A logarithmic axis has numbers however little it spans", "[unit]") {
  if (!have_gnuplot()) SKIP("no gnuplot");
  const skim_test::temporary_folder tmp;
  plot_figure f;
  f.panels.push_back({.title = "",
                      .x = {.label = "seconds"},
                      .y = {.label = "loss", .scale = axis_scale::logarithmic},
                      .series = {{.name = "one", .x = {1, 2}, .y = {0.61, 0.56}}}});
  write_svg(tmp.path("a.svg"), f);
  const std::string svg = tmp.read("a.svg");
  for (const char* number : {">0.56<", ">0.58<", ">0.6<"})
    CHECK_THAT(svg, ContainsSubstring(number));
}
