# SPDX-License-Identifier: Apache-2.0
#
# What the example programs need beyond skim: arguments, JSON and gzip.
skim_find_or_fetch(CLI11
  TARGET CLI11::CLI11
  APT libcli11-dev
  URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz
  SHA256 f2d893a65c3b1324c50d4e682c0cdc021dd0477ae2c048544f39eed6654b699a
  HEADERS include PROBE CLI/CLI.hpp)

skim_find_or_fetch(nlohmann_json
  TARGET nlohmann_json::nlohmann_json
  APT nlohmann-json3-dev
  URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
  SHA256 d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d
  HEADERS include PROBE nlohmann/json.hpp)

# zlib's own CMakeLists.txt renames a file of its sources and installs itself: a list of its .c files
# is all that it takes.
skim_find_or_fetch(ZLIB MODULE
  TARGET ZLIB::ZLIB
  APT zlib1g-dev
  URL https://github.com/madler/zlib/releases/download/v1.3.1/zlib-1.3.1.tar.gz
  SHA256 9a93b2b7dfdac77ceba5a558a580e74667dd6fede4585b91eefb60f03b72df23
  HEADERS "." PROBE zlib.h)
if(TARGET skim_dep_zlib AND NOT TARGET skim_zlib)
  enable_language(C)
  FetchContent_GetProperties(ZLIB SOURCE_DIR _zlib)
  file(GLOB _zlib_sources "${_zlib}/*.c")
  add_library(skim_zlib STATIC ${_zlib_sources})
  target_include_directories(skim_zlib PRIVATE "${_zlib}")
  if(UNIX)
    target_compile_definitions(skim_zlib PRIVATE Z_HAVE_UNISTD_H _LARGEFILE64_SOURCE=1)
  endif()
  target_link_libraries(skim_dep_zlib INTERFACE skim_zlib)
endif()
