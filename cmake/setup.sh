# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Shared by examples/run, tests/run and .ci/run, which source it: what a machine must have, and how
# to build. A thing counts as there when it can be used, wherever it comes from; apt is asked only for
# what is not.
#   SKIM_BUILD=<dir>          where to build (build/<name> in the repository)
#   SKIM_JOBS=<n>             parallel compilations (the cores, as far as the memory goes)
#   SKIM_CMAKE_ARGS=<args>    more arguments for cmake, for example -DEigen3_DIR=<dir>
#   SKIM_SKIP_INSTALL=1       take the machine as it is; CMake fetches the libraries it misses

skim_say() { printf '%s\n' "$*" >&2; }
skim_die() { skim_say "$*"; exit 2; }

skim_packages="" # Debian packages to install
skim_list=""     # the same for a person, a line each

skim_miss() { # PACKAGE WHAT
  case " $skim_packages " in *" $1 "*) return 0 ;; esac
  skim_packages="$skim_packages $1"
  skim_list="$skim_list
  $2 (Debian: $1)"
}

# Command NAME..., any of which will do.
skim_need_command() { # PACKAGE NAME...
  skim_package=$1
  shift
  for skim_name; do
    if command -v "$skim_name" >/dev/null 2>&1; then return 0; fi
  done
  skim_miss "$skim_package" "the command $1"
}

# A file or directory: an absolute path.
skim_need_file() { # PACKAGE PATH
  if [ -e "$2" ]; then return 0; fi
  skim_miss "$1" "$2"
}

# A header, where compilers and CMake look for it.
skim_need_header() { # PACKAGE HEADER
  skim_prefixes="/usr /usr/local /opt/local /opt/homebrew ${CONDA_PREFIX:-}
    $(printf '%s' "${CMAKE_PREFIX_PATH:-}" | tr ':;' '  ')"
  skim_dirs=$(printf '%s' "${CPATH:-}:${CPLUS_INCLUDE_PATH:-}" | tr ':' ' ')
  for skim_prefix in $skim_prefixes; do
    skim_dirs="$skim_dirs $skim_prefix/include $skim_prefix/include/eigen3"
  done
  for skim_dir in $skim_dirs; do
    if [ -e "$skim_dir/$2" ]; then return 0; fi
  done
  skim_miss "$1" "the header $2"
}

# What every build needs.
skim_need_build_tools() {
  skim_need_command cmake cmake
  skim_need_command ninja-build ninja
  skim_need_command g++ "${CXX:-c++}" g++ clang++
  skim_need_header libeigen3-dev Eigen/Core
  skim_need_header libxsimd-dev xsimd/xsimd.hpp
}

skim_need_example_libraries() {
  skim_need_header libcli11-dev CLI/CLI.hpp
  skim_need_header nlohmann-json3-dev nlohmann/json.hpp
  skim_need_header zlib1g-dev zlib.h
}

skim_need_test_libraries() {
  if [ -e /usr/include/catch2/catch.hpp ]; then return 0; fi
  skim_need_header catch2 catch2/catch_test_macros.hpp
}

# Installs what the skim_need_* calls have missed; without rights or apt it says what is missing.
skim_install() {
  if [ -z "$skim_packages" ] || [ "${SKIM_SKIP_INSTALL:-0}" = 1 ]; then return 0; fi
  skim_sudo=""
  if ! command -v apt-get >/dev/null 2>&1; then
    skim_die "skim needs what this machine does not have:$skim_list
Install it with the machine's package manager and try again; with SKIM_SKIP_INSTALL=1 CMake fetches the
libraries among them itself."
  fi
  if [ "$(id -u)" -ne 0 ]; then
    # Without a terminal nobody can type a password.
    if ! command -v sudo >/dev/null 2>&1 || ! { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      skim_die "skim needs what this machine does not have:$skim_list
As root: apt-get update && apt-get install --no-install-recommends$skim_packages"
    fi
    skim_sudo=sudo
  fi
  skim_say "installing:$skim_packages"
  # shellcheck disable=SC2086 # lists of words
  # A broken third-party repository makes the update fail and the packages may still be had.
  if ! {
    $skim_sudo apt-get -qq update || true
    $skim_sudo env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq -o=Dpkg::Use-Pty=0 install -y --no-install-recommends $skim_packages
  } >"${TMPDIR:-/tmp}/skim-apt.$$" 2>&1; then
    tail -n 20 "${TMPDIR:-/tmp}/skim-apt.$$" >&2
    rm -f "${TMPDIR:-/tmp}/skim-apt.$$"
    skim_die "apt-get could not install everything. skim needs:$skim_list"
  fi
  rm -f "${TMPDIR:-/tmp}/skim-apt.$$"
  skim_packages=""
  skim_list=""
}

# Parallel compilations: one a core, and a gigabyte and a half of memory for each.
skim_jobs() {
  skim_cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
  skim_room=$(awk '/^MemAvailable:/ { print int($2 / 1572864) }' /proc/meminfo 2>/dev/null)
  if [ -n "$skim_room" ] && [ "$skim_room" -lt "$skim_cores" ]; then skim_cores=$skim_room; fi
  if [ "$skim_cores" -lt 1 ]; then skim_cores=1; fi
  echo "${SKIM_JOBS:-$skim_cores}"
}

# Runs a command. On a terminal its output is shown, elsewhere only when it fails.
skim_run() { # LOG COMMAND...
  skim_log=$1
  shift
  if [ -t 1 ]; then
    "$@"
    return
  fi
  skim_status=0
  "$@" >"$skim_log" 2>&1 || skim_status=$?
  if [ "$skim_status" -eq 0 ]; then return 0; fi
  tail -n 60 "$skim_log" >&2
  skim_say "failed: $*"
  return "$skim_status"
}

skim_configure() { # ROOT BUILD CMAKE_ARGUMENTS...
  skim_root=$1
  skim_build=$2
  shift 2
  mkdir -p "$skim_build"
  # shellcheck disable=SC2086 # a list of words
  if ! cmake -G Ninja -S "$skim_root" -B "$skim_build" "$@" ${SKIM_CMAKE_ARGS:-} \
    >"$skim_build/configure.log" 2>&1; then
    tail -n 40 "$skim_build/configure.log" >&2
    skim_die "cmake could not configure $skim_build"
  fi
}

skim_compile() { # BUILD TARGET...
  skim_build=$1
  shift
  skim_say "building $* in $skim_build, $(skim_jobs) at a time"
  skim_run "$skim_build/build.log" cmake --build "$skim_build" --parallel "$(skim_jobs)" --target "$@"
}
