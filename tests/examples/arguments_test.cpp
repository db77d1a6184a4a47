// SPDX-License-Identifier: Apache-2.0
//
// Command lines: exit codes, and the one line that says what is wrong.
#include "common/arguments.hpp"

#include <cstdio>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include "files.hpp"
#include "support/catch.hpp"

using namespace skim_examples;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

// Collects what is written to a stream of the C library.
class capture {
 public:
  explicit capture(std::FILE* stream) : stream_(stream), to_(std::tmpfile()) {
    std::fflush(stream_);
    saved_ = ::dup(::fileno(stream_));
    ::dup2(::fileno(to_), ::fileno(stream_));
  }
  ~capture() { std::fclose(to_); }
  capture(const capture&) = delete;
  capture& operator=(const capture&) = delete;

  std::string stop() {
    std::fflush(stream_);
    ::dup2(saved_, ::fileno(stream_));
    ::close(saved_);
    std::string text;
    std::rewind(to_);
    char block[4096];
    while (const std::size_t got = std::fread(block, 1, sizeof block, to_)) text.append(block, got);
    return text;
  }

 private:
  std::FILE* stream_;
  std::FILE* to_;
  int saved_ = -1;
};

struct outcome {
  int code = -1;
  bool ran = false;
  std::string out, err;
  std::size_t batch = 0, threads = 0;
  std::uint64_t seed = 0;
  double rate = 0;
  std::string task;
  std::vector<std::string> samplers;
  std::vector<std::size_t> hidden;
  bool stream = false;
};

template <class Body>
outcome run(std::vector<const char*> arguments, Body body) {
  outcome o;
  o.batch = 128;
  o.rate = 0.5;
  o.task = "auto";
  o.samplers = {"uniform"};
  o.hidden = {256, 256};
  command_line line("demo", "Shows.");
  line.add_count("--batch", o.batch, "examples a step", {1, 100});
  line.add_real("--rate", o.rate, "rate", {.least = 0, .most = 1, .below = bound::open});
  line.add_choice("--task", o.task, "task", {"auto", "regression"});
  line.add_choices("--sampler", o.samplers, "samplers", {"uniform", "nadaraya-watson"});
  line.add_counts("--hidden", o.hidden, "widths", {.least = 1});
  line.add_switch("--stream", o.stream, "one pass");
  arguments.insert(arguments.begin(), "demo");
  capture out(stdout), err(stderr);
  o.code = line.run(static_cast<int>(arguments.size()), arguments.data(), [&] {
    o.ran = true;
    body();
  });
  o.err = err.stop();
  o.out = out.stop();
  o.seed = line.common().seed;
  o.threads = line.common().threads;
  return o;
}

outcome run(std::vector<const char*> arguments) {
  return run(std::move(arguments), [] {});
}

// Code 2, the body not run, one line on stderr and nothing on stdout.
std::string refusal(std::vector<const char*> arguments) {
  const auto o = run(std::move(arguments));
  CHECK(o.code == 2);
  CHECK_FALSE(o.ran);
  CHECK(o.out.empty());
  CHECK(std::count(o.err.begin(), o.err.end(), '\n') == 1);
  CHECK_THAT(o.err, StartsWith("demo: "));
  return o.err;
}

}  // namespace

TEST_CASE("Good arguments arrive", "[unit]") {
  const auto d = run({});
  CHECK(d.code == 0);
  CHECK(d.ran);
  CHECK(d.seed == 1);
  const auto o = run({"--batch", "64", "--rate=1e-3", "--task", "regression", "--sampler",
                      "nadaraya-watson,uniform", "--hidden", "8,16,4", "--stream", "--seed",
                      "18446744073709551615", "--threads", "0"});
  CHECK(o.code == 0);
  CHECK(o.batch == 64);
  CHECK(o.rate == 1e-3);
  CHECK(o.task == "regression");
  CHECK(o.samplers == std::vector<std::string>{"nadaraya-watson", "uniform"});
  CHECK(o.hidden == std::vector<std::size_t>{8, 16, 4});
  CHECK(o.stream);
  CHECK(o.seed == 18446744073709551615U);
  CHECK(o.threads >= 1);
}

TEST_CASE("Help and version are successes", "[unit]") {
  const auto help = run({"--help"});
  CHECK(help.code == 0);
  CHECK_FALSE(help.ran);
  CHECK(help.err.empty());
  for (const char* flag :
       {"--help", "--version", "--seed", "--threads", "--json", "--plot", "--batch", "128"}) {
    CHECK_THAT(help.out, ContainsSubstring(flag));
  }
  const auto version = run({"--version"});
  CHECK(version.code == 0);
  CHECK(version.out == "demo of skim " + command_line::version() + "\n");
}

TEST_CASE("Bad values: what was given and what was wanted", "[unit]") {
  CHECK_THAT(refusal({"--batch", "0"}),
             ContainsSubstring("--batch: got '0', wanted a whole number from 1 to 100"));
  CHECK_THAT(refusal({"--batch", "101"}), ContainsSubstring("from 1 to 100"));
  CHECK_THAT(refusal({"--batch", "12x"}), ContainsSubstring("got '12x'"));
  CHECK_THAT(refusal({"--batch", "-5"}), ContainsSubstring("got '-5'"));
  CHECK_THAT(refusal({"--batch", "1.5"}), ContainsSubstring("got '1.5'"));
  CHECK_THAT(refusal({"--batch="}), ContainsSubstring("--batch"));
  CHECK_THAT(refusal({"--batch"}), ContainsSubstring("--batch: got no value, wanted one"));
  CHECK_THAT(refusal({"--batch", "1", "--batch", "2"}), ContainsSubstring("given more than once"));
  CHECK_THAT(refusal({"--seed", "-1"}),
             ContainsSubstring("wanted a whole number from 0 to 2^64 - 1"));
  CHECK_THAT(refusal({"--seed", "18446744073709551616"}), ContainsSubstring("2^64 - 1"));
  CHECK_THAT(refusal({"--threads", "9999"}), ContainsSubstring("from 0 to 1024"));
  CHECK_THAT(refusal({"--rate", "0"}),
             ContainsSubstring("wanted a number above 0 and of at most 1"));
  CHECK_THAT(refusal({"--rate", "nan"}), ContainsSubstring("got 'nan'"));
  CHECK_THAT(refusal({"--rate", "inf"}), ContainsSubstring("got 'inf'"));
  CHECK_THAT(refusal({"--rate", "0.1.2"}), ContainsSubstring("got '0.1.2'"));
  CHECK_THAT(refusal({"--task", "regresion"}),
             ContainsSubstring("wanted one of auto, regression (did you mean regression?)"));
  CHECK_THAT(refusal({"--sampler", "uniform,"}), ContainsSubstring("got ''"));
  CHECK_THAT(refusal({"--sampler", "uniform,uniform"}), ContainsSubstring("each of them once"));
  CHECK_THAT(refusal({"--hidden", "8,0"}),
             ContainsSubstring("got '0', wanted a whole number of at least 1"));
  CHECK_THAT(refusal({"--stream=maybe"}),
             ContainsSubstring("--stream: is a switch, wanted no value"));
}

TEST_CASE("Unknown options and stray words", "[unit]") {
  CHECK_THAT(refusal({"--no-such-flag"}), ContainsSubstring("unknown option '--no-such-flag'"));
  CHECK_THAT(refusal({"--no-such-flag", "3"}),
             ContainsSubstring("unknown option '--no-such-flag'"));
  CHECK_THAT(refusal({"--bacth", "3"}), ContainsSubstring("did you mean --batch?"));
  CHECK_THAT(refusal({"--bacth=3"}),
             ContainsSubstring("unknown option '--bacth', did you mean --batch?"));
  CHECK_THAT(refusal({"-x"}), ContainsSubstring("unknown option '-x'"));
  CHECK_THAT(refusal({"data.csv"}), ContainsSubstring("unexpected argument 'data.csv'"));
}

TEST_CASE("Files that cannot be written are refused before the body runs", "[unit]") {
  const skim_test::temporary_folder tmp;
  const auto nowhere = tmp.path("no/out.json"), folder = tmp.path(), png = tmp.path("a.png"),
             svg = tmp.path("no/a.svg");
  CHECK_THAT(refusal({"--json", nowhere.c_str()}), ContainsSubstring("there is no folder"));
  CHECK_THAT(refusal({"--json", folder.c_str()}), ContainsSubstring("is a folder"));
  CHECK_THAT(refusal({"--plot", png.c_str()}), ContainsSubstring("ends in .svg"));
  CHECK_THAT(refusal({"--plot", svg.c_str()}), ContainsSubstring("there is no folder"));
}

TEST_CASE("What the body throws becomes one line and a code", "[unit]") {
  const auto bad_file = run({}, [] { throw data_error::at_line("a.csv", 3, "bad"); });
  CHECK(bad_file.code == 2);
  CHECK(bad_file.err == "demo: a.csv:3: bad\n");
  const auto bad_pair = run({}, [] { throw argument_error("--a and --b: one of them"); });
  CHECK(bad_pair.code == 2);
  CHECK(bad_pair.err == "demo: --a and --b: one of them (see --help)\n");
  CHECK(run({}, [] { throw skim::invalid_params("x: got 1\nwanted 2"); }).err ==
        "demo: x: got 1 wanted 2\n");
  CHECK(run({}, [] { throw skim::invalid_input("x"); }).code == 2);
  CHECK(run({}, [] { throw output_error("x"); }).code == 2);
  CHECK(run({}, [] { throw std::bad_alloc(); }).err == "demo: out of memory\n");
  CHECK(run({}, [] { throw std::logic_error("bug"); }).code == 1);
}

TEST_CASE("A program without plots does not know --plot", "[unit]") {
  command_line line("demo", "Shows.", plotting::absent);
  const char* arguments[] = {"demo", "--plot", "a.svg"};
  capture err(stderr);
  const int code = line.run(3, arguments, [] {});
  CHECK_THAT(err.stop(), ContainsSubstring("unknown option '--plot'"));
  CHECK(code == 2);
}

TEST_CASE("Options may stay unset, and lists hold numbers", "[unit]") {
  command_line line("demo", "Demo.");
  std::optional<std::size_t> rare, common;
  std::optional<double> epochs, seconds;
  std::vector<double> ladder{0.5, 1};
  line.add_count("--rare", rare, "a class", {0, 9});
  line.add_count("--common", common, "a class", {0, 9});
  line.add_real("--epochs", epochs, "passes", {.least = 0, .below = bound::open});
  line.add_real("--seconds", seconds, "time");
  line.add_reals("--ladder", ladder, "budgets", {.least = 0, .below = bound::open});
  const char* const argv[] = {"demo", "--rare", "0", "--epochs", "1.5", "--ladder", "0.25, 2"};
  CHECK(line.run(7, argv, [] {}) == 0);
  CHECK(rare == std::size_t{0});
  CHECK_FALSE(common);
  CHECK(epochs == 1.5);
  CHECK_FALSE(seconds);
  CHECK(ladder == std::vector<double>{0.25, 2});
  const real_range share{.least = 0, .most = 1, .below = bound::open};
  CHECK(skim_examples::detail::to_real("--share", "1", share) == 1);
  for (const char* bad : {"0", "1.5", "nan", "inf", "", "1x", "-1"})
    CHECK_THROWS_AS(skim_examples::detail::to_real("--share", bad, share), argument_error);
}
