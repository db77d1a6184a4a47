# SPDX-License-Identifier: Apache-2.0
#
# check_layers.cmake must find every fault planted below planted/, and nothing else.
execute_process(
  COMMAND "${CMAKE_COMMAND}" "-DROOT=${CMAKE_CURRENT_LIST_DIR}/planted"
    -P "${CMAKE_CURRENT_LIST_DIR}/../../cmake/check_layers.cmake"
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
if(result EQUAL 0)
  message(FATAL_ERROR "check_layers passed the planted tree:\n${output}")
endif()
file(READ "${CMAKE_CURRENT_LIST_DIR}/expected.txt" expected)
string(FIND "${output}" "${expected}CMake Error" at)
if(NOT at EQUAL 0)
  message(NOTICE "${output}")
  message(FATAL_ERROR "wanted the findings of expected.txt")
endif()
