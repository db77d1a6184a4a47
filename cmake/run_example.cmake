# SPDX-License-Identifier: Apache-2.0
#
# cmake -DWANTED_RESULT=<exit code> -DWANTED_OUTPUT=<regex> -P run_example.cmake -- <program> <arguments...>
include("${CMAKE_CURRENT_LIST_DIR}/script_arguments.cmake")

execute_process(COMMAND ${arguments}
  OUTPUT_VARIABLE output ERROR_VARIABLE complaint RESULT_VARIABLE result)
string(APPEND output "${complaint}")
message(NOTICE "${output}")
if(NOT result STREQUAL WANTED_RESULT)
  message(FATAL_ERROR "wanted exit code ${WANTED_RESULT}, got ${result}")
endif()
if(WANTED_OUTPUT AND NOT output MATCHES "${WANTED_OUTPUT}")
  message(FATAL_ERROR "wanted output that matches ${WANTED_OUTPUT}")
endif()
# One line says what is wrong: a wall of usage would hide it.
if(WANTED_RESULT EQUAL 2)
  string(STRIP "${complaint}" complaint)
  if(complaint STREQUAL "" OR complaint MATCHES "\n.*\n")
    message(FATAL_ERROR "wanted one or two lines on stderr about what is wrong")
  endif()
endif()
