# SPDX-License-Identifier: Apache-2.0
#
# cmake -DBUILD= -DPREFIX= -DCONFIG= -P install.cmake: installs skim and moves it to PREFIX.
file(REMOVE_RECURSE "${PREFIX}" "${PREFIX}.before")
execute_process(
  COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${PREFIX}.before" --component skim
    --config "${CONFIG}"
  COMMAND_ERROR_IS_FATAL ANY)
file(RENAME "${PREFIX}.before" "${PREFIX}")

file(GLOB_RECURSE installed LIST_DIRECTORIES FALSE RELATIVE "${PREFIX}" "${PREFIX}/*")
foreach(file IN LISTS installed)
  if(NOT file MATCHES "^(include/skim/.+\\.hpp|share/cmake/skim/.+\\.cmake)$")
    message(FATAL_ERROR "wanted headers and CMake files only, got ${file}")
  endif()
endforeach()
