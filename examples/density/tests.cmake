# SPDX-License-Identifier: Apache-2.0
#
# The command line of density on small generated points: what works, and one line for what does not.
if(NOT SKIM_BUILD_TESTS)
  return()
endif()

set(_d "${CMAKE_CURRENT_BINARY_DIR}/density-data")
file(MAKE_DIRECTORY "${_d}")
set(_plane "x,y\n")
foreach(_i RANGE 199)
  math(EXPR _a "(${_i} * 37) % 97")
  math(EXPR _b "(${_i} * 53) % 89 + (${_i} % 3) * 200")
  string(APPEND _plane "${_a},${_b}\n")
endforeach()
file(WRITE "${_d}/plane.csv" "${_plane}")

set(_small --rows 3000 --dim 4 --most-queries 100)
function(_density name)
  skim_example_test(density "${name}" ${ARGN})
endfunction()

foreach(_estimator IN ITEMS auto exact uniform clusters)
  _density("${_estimator}" MATCHES "relative error: median"
    ARGS ${_small} --estimator ${_estimator} --check 50 --updates 100 --json "${_d}/figures.json")
endforeach()
foreach(_kernel IN ITEMS exponential laplacian student)
  _density("${_kernel}" MATCHES "${_kernel} kernel" ARGS ${_small} --kernel ${_kernel} --check 20)
endforeach()
_density("angular" MATCHES "angular kernel" ARGS ${_small} --kernel angular --bandwidth 0.1)
_density("threads" MATCHES "kernels a query" ARGS ${_small} --threads 2)
find_program(SKIM_GNUPLOT gnuplot)
if(SKIM_GNUPLOT)
  _density("a chart" MATCHES "curves: " ARGS ${_small} --check 50 --plot "${_d}/curves.svg")
  _density("a map" MATCHES "map: "
    ARGS --rows 3000 --dim 2 --map "${_d}/map.svg" --map-columns 40)
  _density("a map of too many columns" RESULT 2 MATCHES "--map: got 4 columns, wanted "
    ARGS ${_small} --map "${_d}/map.svg")
endif()

foreach(_bad IN ITEMS "--rows 0" "--dim 0" "--kernel box" "--bandwidth x" "--bandwidth 0"
    "--bandwidth medium" "--estimator tree" "--relative-error 1" "--failure 0"
    "--smallest-density -1")
  separate_arguments(_pair UNIX_COMMAND "${_bad}")
  list(GET _pair 0 _flag)
  list(GET _pair 1 _value)
  _density("${_bad}" RESULT 2 MATCHES "${_flag}: got '?${_value}'?, *wanted " ARGS ${_flag} "${_value}")
endforeach()
_density("a median of angles" RESULT 2 MATCHES "--bandwidth: got .* angular"
  ARGS ${_small} --kernel angular)
_density("queries alone" RESULT 2 MATCHES "--queries: got it without --points"
  ARGS --queries "${_d}/plane.csv")
_density("no such file" RESULT 2 MATCHES "nothing.csv" ARGS --points "${_d}/nothing.csv")
