# SPDX-License-Identifier: Apache-2.0
#
# Checks what keeps the modules apart and their documentation honest:
#   cmake [-DROOT=<repository>] -P cmake/check_layers.cmake
# Prints file:line and what was wanted for each finding, and fails if there is one.
cmake_minimum_required(VERSION 3.24)

# Rank of each module. A header includes lower ranks and its own module only.
set(ranks
  core 0
  linalg 1  io 1
  hash 2
  table 3  firing 3
  sketch 4  index 4
  kde 5
  sample 6
  nn 7  solve 7  match 7  graph 7
  adapters 8)

# Headers that only one module may include, or none: "<regex of the path>|<module>|<why>".
set(reserved
  "(unsupported/|eigen3/)?Eigen/.+|linalg|only linalg/ names Eigen"
  "xsimd/.+|linalg|only linalg/ names xsimd"
  "(mpi|omp)\\.h|adapters|only adapters/ name MPI and OpenMP"
  "(torch|ATen|c10)/.+|adapters|only adapters/ name libtorch"
  "random||the engines and distributions of the standard differ between libraries: use core/random.hpp"
  "ranges||views do not compile with clang 14 and libstdc++ 12"
  "source_location||missing in clang 14"
  "format||missing in gcc 12"
  "execution||needs -ltbb with libstdc++"
  "iostream||the library prints nothing, and <iostream> has global state")

if(NOT DEFINED ROOT)
  get_filename_component(ROOT "${CMAKE_CURRENT_LIST_DIR}" DIRECTORY)
endif()
get_filename_component(include_dir "${ROOT}/include" ABSOLUTE)

while(ranks)
  list(POP_FRONT ranks _module _rank)
  set(rank_${_module} ${_rank})
endwhile()

set_property(GLOBAL PROPERTY findings 0)
function(report file line wanted)
  message(NOTICE "include/${file}:${line}: ${wanted}")
  get_property(findings GLOBAL PROPERTY findings)
  math(EXPR findings "${findings} + 1")
  set_property(GLOBAL PROPERTY findings ${findings})
endfunction()

# Splits a file at its newlines. CMake's lists choke on brackets, semicolons and backslashes, which
# none of the rules looks at inside a line: they become other characters first.
function(read_lines path out)
  file(READ "${path}" text)
  string(REPLACE "[" "(" text "${text}")
  string(REPLACE "]" ")" text "${text}")
  string(REPLACE "\\" "/" text "${text}")
  string(REPLACE ";" "@" text "${text}")
  string(REPLACE "\n" ";" text "${text}")
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# An include of `path` in line `line` of `file`, which belongs to `module` (empty for skim.hpp).
function(check_include file module line quote path)
  if(NOT path MATCHES "^skim/")
    if(quote STREQUAL "\"")
      report("${file}" ${line}
        "got #include \"${path}\", wanted a path from the root: \"skim/<module>/<header>\"")
      return()
    endif()
    foreach(rule IN LISTS reserved)
      string(REGEX MATCH "^(.+)[|]([a-z ]*)[|](.+)$" _ "${rule}")
      set(regex "${CMAKE_MATCH_1}")
      set(why "${CMAKE_MATCH_3}")
      if(NOT module STREQUAL CMAKE_MATCH_2 AND path MATCHES "^(${regex})$")
        report("${file}" ${line} "got #include <${path}>: ${why}")
      endif()
    endforeach()
    return()
  endif()

  if(quote STREQUAL "<")
    report("${file}" ${line} "got #include <${path}>, wanted quotes: \"${path}\"")
  endif()
  if(NOT EXISTS "${include_dir}/${path}")
    report("${file}" ${line} "got #include \"${path}\", which does not exist")
  endif()
  if(NOT path MATCHES "^skim/([^/]+)/(detail/)?")
    return() # version.hpp
  endif()
  set(to "${CMAKE_MATCH_1}")
  set(to_detail "${CMAKE_MATCH_2}")
  if(module STREQUAL "")
    if(to STREQUAL "adapters" OR to_detail)
      report("${file}" ${line} "got \"${path}\", wanted neither adapters nor detail in skim.hpp")
    endif()
  elseif(NOT to STREQUAL module)
    if(DEFINED rank_${to} AND DEFINED rank_${module} AND NOT rank_${to} LESS rank_${module})
      report("${file}" ${line} "${module}/ (rank ${rank_${module}}) includes ${to}/ (rank \
${rank_${to}}), wanted lower ranks only")
    endif()
    if(to_detail)
      report("${file}" ${line} "got \"${path}\", wanted detail/ of the own module only")
    endif()
  endif()
endfunction()

# The doc comment of a public class (a `class` outside detail that is no exception) says what an
# operation costs, what threads may do and, above linalg, where the method comes from.
function(check_class file module line class_line doc)
  if(class_line MATCHES "^[^{]*@$") # a forward declaration
    return()
  endif()
  if(class_line MATCHES ": *public +(error|std::[a-z_]*(error|exception))( |$)")
    return()
  endif()
  string(REGEX REPLACE "^class +|SKIM_[A-Z_]+ +|\\(\\([^)]*\\)\\) +" "" name "${class_line}")
  string(REGEX REPLACE "[ :{<].*" "" name "${name}")
  set(fields Cost Threads)
  if(NOT module MATCHES "^(core|io|linalg)$")
    list(APPEND fields Ref)
  endif()
  foreach(field IN LISTS fields)
    if(NOT doc MATCHES "/// ${field}:")
      report("${file}" ${line} "class ${name} has no \"/// ${field}:\" in its doc comment")
    endif()
  endforeach()
endfunction()

file(GLOB_RECURSE headers RELATIVE "${include_dir}" "${include_dir}/skim/*")
if(NOT headers)
  message(FATAL_ERROR "check_layers: no headers in ${include_dir}/skim")
endif()
set(public_headers "")
foreach(header IN LISTS headers)
  set(module "")
  set(in_detail FALSE)
  if(header MATCHES "^skim/([^/]+)/(.+)$")
    set(module "${CMAKE_MATCH_1}")
    set(_name "${CMAKE_MATCH_2}")
    if(NOT DEFINED rank_${module})
      report("${header}" 1 "module ${module}/ has no rank: wanted one in cmake/check_layers.cmake")
    endif()
    if(_name MATCHES "^detail/")
      set(in_detail TRUE)
    elseif(NOT module STREQUAL "adapters")
      list(APPEND public_headers "${header}")
    endif()
  endif()
  if(NOT header MATCHES "\\.hpp$")
    report("${header}" 1 "wanted only .hpp files below include/")
  endif()

  read_lines("${include_dir}/${header}" lines)
  list(GET lines 0 _first)
  if(NOT _first STREQUAL "// SPDX-License-Identifier: Apache-2.0")
    report("${header}" 1 "wanted \"// SPDX-License-Identifier: Apache-2.0\" in the first line")
  endif()
  if(NOT "#pragma once" IN_LIST lines)
    report("${header}" 1 "wanted #pragma once")
  endif()

  set(number 0)
  set(doc "")               # the doc comment that the next declaration will have
  set(head FALSE)           # between `template` and what it declares
  set(detail "${in_detail}")
  foreach(line IN LISTS lines)
    math(EXPR number "${number} + 1")
    if(line MATCHES "^///")
      string(APPEND doc "${line}\n")
    elseif(line MATCHES "^[ ]*#[ ]*include +([\"<])([^\">]+)")
      check_include("${header}" "${module}" ${number} "${CMAKE_MATCH_1}" "${CMAKE_MATCH_2}")
      set(doc "")
    elseif(line MATCHES "^(template|requires|//)" OR (head AND line MATCHES "^[ ]"))
      if(NOT line MATCHES "^//")
        set(head TRUE)
      endif()
    else()
      if(line MATCHES "^class " AND NOT detail)
        check_class("${header}" "${module}" ${number} "${line}" "${doc}")
      elseif(line MATCHES "^namespace .*detail *{" AND NOT line MATCHES "}")
        set(detail TRUE)
      elseif(line MATCHES "^} +// namespace .*detail")
        set(detail "${in_detail}")
      elseif(line MATCHES "^namespace skim" AND NOT line MATCHES "^namespace skim::inline v0( |::)")
        report("${header}" ${number} "wanted namespace skim::inline v0")
      elseif(line MATCHES "^using namespace ")
        report("${header}" ${number} "wanted no using namespace")
      endif()
      set(doc "")
      set(head FALSE)
    endif()
  endforeach()
endforeach()

# skim.hpp is everything but the adapters: a header cannot be forgotten there.
if(EXISTS "${include_dir}/skim/skim.hpp")
  file(READ "${include_dir}/skim/skim.hpp" umbrella)
  foreach(header IN LISTS public_headers)
    string(FIND "${umbrella}" "#include \"${header}\"" _at)
    if(_at EQUAL -1)
      report("skim/skim.hpp" 1 "wanted #include \"${header}\"")
    endif()
  endforeach()
endif()

get_property(findings GLOBAL PROPERTY findings)
if(findings)
  message(FATAL_ERROR "check_layers: ${findings} findings")
endif()
list(LENGTH headers _count)
message(NOTICE "check_layers: ${_count} headers are in order")
