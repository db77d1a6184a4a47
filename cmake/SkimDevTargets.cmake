# SPDX-License-Identifier: Apache-2.0
#
# skim_dev: flags of skim's own tests, benchmarks and examples. Never linked to skim::skim.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceRuns)

if(PROJECT_IS_TOP_LEVEL)
  get_property(_multi GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT CMAKE_BUILD_TYPE AND NOT _multi)
    set_property(CACHE CMAKE_BUILD_TYPE PROPERTY VALUE Release)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  set_target_properties(skim PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endif()

find_package(Threads REQUIRED)

add_library(skim_dev INTERFACE)
target_link_libraries(skim_dev INTERFACE Threads::Threads)
target_compile_options(skim_dev INTERFACE
  $<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;-Wsign-conversion;-Wold-style-cast;-Wnon-virtual-dtor>
  $<$<CXX_COMPILER_ID:MSVC>:/W4;/permissive-;/utf-8>)
if(SKIM_WERROR)
  target_compile_options(skim_dev INTERFACE $<IF:$<CXX_COMPILER_ID:MSVC>,/WX,-Werror>)
endif()
if(SKIM_CHECKED)
  target_compile_definitions(skim_dev INTERFACE SKIM_CHECKED=1)
endif()
if(SKIM_SANITIZE)
  target_compile_options(skim_dev INTERFACE
    -fsanitize=${SKIM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  target_link_options(skim_dev INTERFACE -fsanitize=${SKIM_SANITIZE})
endif()

# auto is x86-64-v3 and not native: results and timings then compare between machines, and the
# figures in the documentation are stated for it.
set(_march "${SKIM_MARCH}")
if(_march STREQUAL "auto")
  set(_march "")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND NOT CMAKE_CROSSCOMPILING)
    set(CMAKE_REQUIRED_FLAGS -march=x86-64-v3)
    check_cxx_source_runs("
      int main() {
        return __builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\") &&
               __builtin_cpu_supports(\"bmi2\") ? 0 : 1;
      }" SKIM_RUNS_X86_64_V3)
    unset(CMAKE_REQUIRED_FLAGS)
    if(SKIM_RUNS_X86_64_V3)
      set(_march x86-64-v3)
    endif()
  endif()
endif()
if(_march)
  string(MAKE_C_IDENTIFIER "SKIM_HAS_MARCH_${_march}" _has_march)
  check_cxx_compiler_flag("-march=${_march}" ${_has_march})
  if(NOT ${_has_march})
    message(FATAL_ERROR "skim: the compiler rejects -march=${_march} (SKIM_MARCH=${SKIM_MARCH})")
  endif()
  target_compile_options(skim_dev INTERFACE -march=${_march})
endif()
