// SPDX-License-Identifier: Apache-2.0
//
// The command line that all programs share: checked options, one clear line on bad ones.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/output_file.hpp"
#include "common/plot.hpp"
#include "data/error.hpp"
#include "data/text.hpp"
#include "skim/core/error.hpp"
#include "skim/version.hpp"

namespace skim_examples {

/// Arguments that do not make sense, alone or together. what() is one line: given and wanted.
class argument_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What every program takes.
struct common_options {
  std::uint64_t seed = 1;
  std::size_t threads = 1;
  std::string json;  ///< file to write, or empty
  std::string plot;  ///< file to write, or empty
};

struct count_range {
  std::size_t least = 0, most = std::numeric_limits<std::size_t>::max();
};

enum class bound { closed, open };
struct real_range {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bound below = bound::closed;  ///< open: least itself is not allowed
  bound above = bound::closed;
};

enum class plotting { offered, absent };

namespace detail {

[[nodiscard]] inline std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

[[nodiscard]] inline std::string describe(count_range r) {
  if (r.most == std::numeric_limits<std::size_t>::max()) {
    return r.least == 0 ? "a whole number from 0 to 2^64 - 1"
                        : "a whole number of at least " + std::to_string(r.least);
  }
  return "a whole number from " + std::to_string(r.least) + " to " + std::to_string(r.most);
}

[[nodiscard]] inline std::string describe(real_range r) {
  std::string out = "a number";
  if (std::isfinite(r.least)) {
    out += (r.below == bound::open ? " above " : " of at least ") + significant(r.least, 6);
  }
  if (std::isfinite(r.most)) {
    out += std::string(std::isfinite(r.least) ? " and" : "") +
           (r.above == bound::open ? " below " : " of at most ") + significant(r.most, 6);
  }
  return out;
}

[[nodiscard]] inline argument_error bad_value(const std::string& flag, std::string_view given,
                                              const std::string& wanted) {
  return argument_error(flag + ": got " + shown(given) + ", wanted " + wanted);
}

[[nodiscard]] inline std::uint64_t to_count(const std::string& flag, std::string_view text,
                                            count_range range) {
  const auto n = parse_count(text.data(), text.data() + text.size());
  const bool whole =
      n.status == number_status::ok && n.next == text.data() + text.size() && !text.empty();
  if (!whole || n.value < range.least || n.value > range.most) {
    throw bad_value(flag, text, describe(range));
  }
  return n.value;
}

[[nodiscard]] inline double to_real(const std::string& flag, std::string_view text,
                                    real_range range) {
  const auto x = whole_double(text);
  const bool inside =
      x.status == number_status::ok &&
      (range.below == bound::open ? x.value > range.least : x.value >= range.least) &&
      (range.above == bound::open ? x.value < range.most : x.value <= range.most);
  if (!inside) throw bad_value(flag, text, describe(range));
  return x.value;
}

/// Numbers of single-character edits between two words.
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

/// The candidate that a mistyped word most likely means, or nothing.
[[nodiscard]] inline std::string closest(std::string_view word,
                                         const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : candidates) {
    const bool begins = word.size() >= 4 && candidate.starts_with(word);
    const std::size_t distance = begins ? 1 : edit_distance(word, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

[[nodiscard]] inline std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const auto comma = text.find(',');
    parts.emplace_back(trimmed(text.substr(0, comma)));
    if (comma == text.npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

[[nodiscard]] inline std::string to_choice(const std::string& flag, const std::string& text,
                                           const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return text;
  const std::string meant = closest(text, choices);
  throw bad_value(flag, text,
                  (choices.size() > 1 ? "one of " : "") + joined(choices) +
                      (meant.empty() ? "" : " (did you mean " + meant + "?)"));
}

}  // namespace detail

/// A program's options and its way to an exit code.
///
///   command_line line("train", "Trains a network.");
///   std::size_t batch = 128;
///   line.add_count("--batch", batch, "examples a step", {.least = 1});
///   return line.run(argc, argv, [&] { train(batch, line.common()); });
///
/// Every program has --help, --version, --seed, --threads and --json, and --plot if it offers it.
/// run() returns 0 on success and 2, after one line on stderr, on bad arguments, bad files and
/// files that cannot be written; these are checked before the body runs. What the body throws
/// otherwise ends in 1.
///
/// Threads: one at a time. The variables that options write to must outlive run().
class command_line {
 public:
  command_line(std::string name, const std::string& summary, plotting plots = plotting::offered)
      : name_(std::move(name)), app_(summary, name_) {
    app_.set_version_flag("--version", name_ + " of skim " + version(),
                          "Print the version and exit");
    app_.set_help_flag("-h,--help", "Print this help and exit");
    app_.get_formatter()->column_width(34);
    app_.option_defaults()->always_capture_default();
    const auto group = [](CLI::Option* option) { option->group("Common options"); };
    group(add_seed());
    group(add_count("--threads", common_.threads, "threads to use; 0: as many as the machine has",
                    {0, 1024}));
    group(add_text("--json", common_.json, "write every figure to this file", "FILE"));
    if (plots == plotting::offered) {
      group(add_text("--plot", common_.plot, "draw the curves to this file", "FILE.svg"));
    }
  }

  /// The text that --help ends with, such as examples of use.
  void epilogue(const std::string& text) { app_.footer(text); }

  CLI::Option* add_count(const std::string& flag, std::size_t& value, const std::string& help,
                         count_range range = {}) {
    return add(flag, help, "N", std::to_string(value), [&value, flag, range](const std::string& s) {
      value = static_cast<std::size_t>(detail::to_count(flag, s, range));
    });
  }
  /// A count that stays unset unless it is given.
  CLI::Option* add_count(const std::string& flag, std::optional<std::size_t>& value,
                         const std::string& help, count_range range = {}) {
    return add(flag, help, "N", "", [&value, flag, range](const std::string& s) {
      value = static_cast<std::size_t>(detail::to_count(flag, s, range));
    });
  }
  CLI::Option* add_real(const std::string& flag, double& value, const std::string& help,
                        real_range range = {}) {
    return add(flag, help, "X", significant(value, 6), [&value, flag, range](const std::string& s) {
      value = detail::to_real(flag, s, range);
    });
  }
  /// A number that stays unset unless it is given.
  CLI::Option* add_real(const std::string& flag, std::optional<double>& value,
                        const std::string& help, real_range range = {}) {
    return add(flag, help, "X", "", [&value, flag, range](const std::string& s) {
      value = detail::to_real(flag, s, range);
    });
  }
  /// Numbers with commas between them.
  CLI::Option* add_reals(const std::string& flag, std::vector<double>& values,
                         const std::string& help, real_range range = {}) {
    std::vector<std::string> defaults;
    for (const auto x : values) defaults.push_back(significant(x, 6));
    return add(flag, help, "X,X,...", listed(defaults),
               [&values, flag, range](const std::string& s) {
                 std::vector<double> numbers;
                 for (const auto& word : detail::split_list(s)) {
                   numbers.push_back(detail::to_real(flag, word, range));
                 }
                 values = std::move(numbers);
               });
  }
  /// A word, one of several.
  CLI::Option* add_choice(const std::string& flag, std::string& value, const std::string& help,
                          const std::vector<std::string>& choices) {
    return add(flag, help + ": " + detail::joined(choices), "WORD", value,
               [&value, flag, choices](const std::string& s) {
                 value = detail::to_choice(flag, s, choices);
               });
  }
  /// Words with commas between them, each once and one of several.
  CLI::Option* add_choices(const std::string& flag, std::vector<std::string>& values,
                           const std::string& help, const std::vector<std::string>& choices) {
    return add(flag, help + ": " + detail::joined(choices), "LIST", listed(values),
               [&values, flag, choices](const std::string& s) {
                 std::vector<std::string> chosen;
                 for (const auto& word : detail::split_list(s)) {
                   chosen.push_back(detail::to_choice(flag, word, choices));
                   if (std::count(chosen.begin(), chosen.end(), word) > 1) {
                     throw detail::bad_value(flag, s, "each of them once");
                   }
                 }
                 values = std::move(chosen);
               });
  }
  /// Whole numbers with commas between them.
  CLI::Option* add_counts(const std::string& flag, std::vector<std::size_t>& values,
                          const std::string& help, count_range range = {}) {
    std::vector<std::string> defaults;
    for (const auto n : values) defaults.push_back(std::to_string(n));
    return add(flag, help, "N,N,...", listed(defaults),
               [&values, flag, range](const std::string& s) {
                 std::vector<std::size_t> numbers;
                 for (const auto& word : detail::split_list(s)) {
                   numbers.push_back(static_cast<std::size_t>(detail::to_count(flag, word, range)));
                 }
                 values = std::move(numbers);
               });
  }
  /// Any text that is not empty, such as a file name; readers check files when they open them.
  CLI::Option* add_text(const std::string& flag, std::string& value, const std::string& help,
                        const std::string& kind = "TEXT") {
    return add(flag, help, kind, value, [&value, flag, kind](const std::string& s) {
      if (s.empty()) throw detail::bad_value(flag, s, kind);
      value = s;
    });
  }
  CLI::Option* add_switch(const std::string& flag, bool& value, const std::string& help) {
    flags_.push_back(flag);
    return app_.add_flag(flag, value, help);
  }

  /// The parser itself, for what the members above do not cover.
  [[nodiscard]] CLI::App& app() noexcept { return app_; }
  [[nodiscard]] const common_options& common() const noexcept { return common_; }

  /// Parses the arguments and, if they are good, runs the body. Returns the exit code.
  [[nodiscard]] int run(int argc, const char* const* argv, const std::function<void()>& body) {
    try {
      if (!parse(argc, argv)) return 0;
      if (!common_.json.empty()) check_output(common_.json);
      if (!common_.plot.empty()) check_plot(common_.plot);
      if (!common_.json.empty() && same_file(common_.json, common_.plot)) {
        throw argument_error("--json and --plot: got " + shown(common_.plot) +
                             " for both, wanted two files");
      }
      body();
      if (std::fflush(stdout) != 0) throw output_error("standard output cannot be written");
      return 0;
    } catch (const argument_error& e) {
      return fail(e.what() + std::string(" (see --help)"), 2);
    } catch (const data_error& e) {
      return fail(e.what(), 2);
    } catch (const output_error& e) {
      return fail(e.what(), 2);
    } catch (const skim::error& e) {
      return fail(e.what(), 2);
    } catch (const std::bad_alloc&) {
      return fail("out of memory", 1);
    } catch (const std::exception& e) {
      return fail(e.what(), 1);
    }
  }

  [[nodiscard]] static std::string version() {
    return std::to_string(SKIM_VERSION_MAJOR) + "." + std::to_string(SKIM_VERSION_MINOR) + "." +
           std::to_string(SKIM_VERSION_PATCH);
  }

 private:
  CLI::Option* add_seed() {
    return add("--seed", "seed of all random choices", "N", std::to_string(common_.seed),
               [this](const std::string& s) { common_.seed = detail::to_count("--seed", s, {}); });
  }

  CLI::Option* add(const std::string& flag, const std::string& help, const std::string& kind,
                   const std::string& shown_default,
                   const std::function<void(const std::string&)>& use) {
    flags_.push_back(flag);
    auto* const option = app_.add_option_function<std::string>(flag, use, help);
    option->type_name(kind);
    option->default_str(shown_default);
    return option;
  }

  [[nodiscard]] static std::string listed(const std::vector<std::string>& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : ",") + word;
    return out;
  }

  [[nodiscard]] static bool same_file(const std::string& a, const std::string& b) {
    return std::filesystem::path(a).lexically_normal() ==
           std::filesystem::path(b).lexically_normal();
  }

  /// Returns false where the arguments asked for a text and got it.
  bool parse(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
      std::fputs(app_.help().c_str(), stdout);
      return false;
    } catch (const CLI::CallForVersion& e) {
      std::printf("%s\n", e.what());
      return false;
    } catch (const CLI::ExtrasError&) {
      throw unexpected();
    } catch (const CLI::ArgumentMismatch& e) {
      // "--batch: 1 required N missing" or "--batch: At Most 1 required but received 2"
      const std::string text = e.what(), flag = text.substr(0, text.find(':'));
      const bool twice = text.find("received") != text.npos;
      throw argument_error(
          flag + (twice ? ": given more than once, wanted it once" : ": got no value, wanted one"));
    } catch (const CLI::ConversionError& e) {  // of switches; the others are converted here
      const std::string text = e.what();
      const auto flag = text.find("--");
      throw argument_error(flag == text.npos ? text
                                             : text.substr(flag, text.find(' ', flag) - flag) +
                                                   ": is a switch, wanted no value");
    } catch (const CLI::ParseError& e) {
      std::string text = e.what();
      std::replace(text.begin(), text.end(), '\n', ' ');
      throw argument_error(text);
    }
    if (common_.threads == 0) {
      common_.threads = std::max<std::size_t>(1, std::thread::hardware_concurrency());
    }
    return true;
  }

  [[nodiscard]] argument_error unexpected() const {
    // of "--no-such-flag 3" the flag is the one to name
    const auto rest = app_.remaining();
    const auto at = std::find_if(rest.begin(), rest.end(),
                                 [](const std::string& s) { return s.starts_with("-"); });
    if (at == rest.end()) {
      return argument_error("unexpected argument " + shown(rest.empty() ? "" : rest.front()) +
                            ", wanted options that begin with --");
    }
    const std::string flag = at->substr(0, at->find('='));
    const std::string meant = detail::closest(flag, flags_);
    return argument_error("unknown option " + shown(flag) +
                          (meant.empty() ? "" : ", did you mean " + meant + "?"));
  }

  int fail(std::string text, int code) const {
    std::replace(text.begin(), text.end(), '\n', ' ');
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", name_.c_str(), text.c_str());
    return code;
  }

  std::string name_;
  CLI::App app_;
  common_options common_;
  std::vector<std::string> flags_;
};

}  // namespace skim_examples
