# SPDX-License-Identifier: Apache-2.0
#
# cmake -DSOURCE= -DBINARY= -DGENERATOR= -DREFUSED= -P run.cmake -- <cmake arguments...>
include("${CMAKE_CURRENT_LIST_DIR}/../../cmake/script_arguments.cmake")

function(run)
  execute_process(COMMAND ${ARGN}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  set(output "${output}" PARENT_SCOPE)
  set(result "${result}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${BINARY}")
run("${CMAKE_COMMAND}" -G "${GENERATOR}" -S "${SOURCE}" -B "${BINARY}" ${arguments})
if(REFUSED)
  string(REGEX REPLACE "[ \n]+" " " flat "${output}") # messages are wrapped
  if(result EQUAL 0 OR NOT flat MATCHES "${REFUSED}")
    message(FATAL_ERROR "wanted configuring to fail with \"${REFUSED}\", got ${result} and\n${output}")
  endif()
  return()
endif()
foreach(step IN ITEMS configure build test)
  if(step STREQUAL "build")
    run("${CMAKE_COMMAND}" --build "${BINARY}" --config Release)
  elseif(step STREQUAL "test")
    run("${CMAKE_CTEST_COMMAND}" --test-dir "${BINARY}" -C Release --output-on-failure --no-tests=error)
  endif()
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${step} failed:\n${output}")
  endif()
endforeach()
