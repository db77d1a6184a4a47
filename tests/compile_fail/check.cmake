# SPDX-License-Identifier: Apache-2.0
#
# cmake -DSOURCE=<case.cpp> -P check.cmake -- <compiler> <flags...>
include("${CMAKE_CURRENT_LIST_DIR}/../../cmake/script_arguments.cmake")

file(STRINGS "${SOURCE}" expected REGEX "^// expect: ")
if(NOT expected)
  message(FATAL_ERROR "${SOURCE} has no line \"// expect: <text>\"")
endif()

# Without the control a missing header or a typing error would look like success.
execute_process(COMMAND ${arguments} "${SOURCE}"
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "does not compile even without the fault:\n${output}")
endif()

execute_process(COMMAND ${arguments} -DSKIM_MUST_NOT_COMPILE "${SOURCE}"
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
if(result EQUAL 0)
  message(FATAL_ERROR "compiles, and must not: ${SOURCE}")
endif()
foreach(line IN LISTS expected)
  string(REPLACE "// expect: " "" text "${line}")
  string(FIND "${output}" "${text}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "wanted the compiler to say \"${text}\", got\n${output}")
  endif()
endforeach()
