# SPDX-License-Identifier: Apache-2.0
#
# Included by scripts (cmake -P): sets `arguments` to what follows -- on the command line.
set(arguments "")
set(seen FALSE)
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE ${last})
  if(seen)
    list(APPEND arguments "${CMAKE_ARGV${i}}")
  elseif(CMAKE_ARGV${i} STREQUAL "--")
    set(seen TRUE)
  endif()
endforeach()
