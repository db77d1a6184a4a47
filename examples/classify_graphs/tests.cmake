# SPDX-License-Identifier: Apache-2.0
#
# The command line of classify_graphs on tiny graphs made here: what works, and one line for what does
# not.
if(NOT SKIM_BUILD_TESTS)
  return()
endif()

set(_d "${CMAKE_CURRENT_BINARY_DIR}/classify_graphs-data")
file(MAKE_DIRECTORY "${_d}")
# Triangles and paths of three nodes; the middle of the path has another tag.
set(_text "24\n")
set(_vectors "24\n")
foreach(_i RANGE 11)
  string(APPEND _text "3 0\n0 2 1 2\n0 2 0 2\n0 2 0 1\n3 5\n0 1 1\n1 2 0 2\n0 1 1\n")
  string(APPEND _vectors "3 0\n0 2 1 2 1 0\n0 2 0 2 1 0\n0 2 0 1 1 0\n")
  string(APPEND _vectors "3 5\n0 1 1 0 1\n0 2 0 2 0.5 ${_i}\n0 1 1 1 0\n")
endforeach()
file(WRITE "${_d}/graphs.txt" "${_text}")
file(WRITE "${_d}/vectors.txt" "${_vectors}")
file(WRITE "${_d}/one_end.txt" "1\n2 0\n0 1 1\n0 0\n")
file(WRITE "${_d}/short.txt" "2\n1 0\n0 0\n")
file(WRITE "${_d}/outside.txt" "1\n2 0\n0 1 7\n0 1 0\n")
file(WRITE "${_d}/word.txt" "1\n2 0\n0 1 x\n0 1 0\n")
file(WRITE "${_d}/long.txt" "1\n1 0\n0 0\n1 0\n")
file(WRITE "${_d}/one_class.txt" "2\n1 0\n0 0\n1 0\n0 0\n")

set(_small --count 24 --layers 3 --folds 4)
function(_graphs name)
  skim_example_test(classify_graphs "${name}" ${ARGN})
endfunction()

_graphs("generated" MATCHES "24 graphs of 2 classes.*degree, exact kernel.*ridge.*1 kernel in"
  ARGS ${_small} --json "${_d}/figures.json")
_graphs("a file" MATCHES "24 graphs of 2 classes.*tags, exact kernel.*ridge +100.0 %"
  ARGS --graphs "${_d}/graphs.txt" --folds 4)
_graphs("vectors" MATCHES "vectors, exact kernel"
  ARGS --graphs "${_d}/vectors.txt" --features vectors --folds 4)
_graphs("degrees" MATCHES "ridge +100.0 %"
  ARGS --graphs "${_d}/graphs.txt" --features degree --folds 3 --threads 2)
_graphs("a search" MATCHES "84 kernels in"
  ARGS --graphs "${_d}/graphs.txt" --search --classifier ridge --folds 4)
_graphs("lists" MATCHES "8 kernels in" ARGS --count 24 --layers 1,3 --mlp 1,2 --scaling none,degree
  --folds 4 --classifier ridge)
_graphs("a sketch" MATCHES "sketch: mean standard error" ARGS ${_small} --method sketch)
_graphs("without normalization" MATCHES "1 kernel in" ARGS ${_small} --normalization none)

foreach(_bad IN ITEMS "--layers 0" "--layers x" "--mlp 0" "--scaling sum" "--jumping-knowledge maybe"
    "--features none" "--method fast" "--folds 1" "--classifier tree" "--ridges 0" "--c-values 0"
    "--sketch-width 0" "--count 1")
  separate_arguments(_pair UNIX_COMMAND "${_bad}")
  list(GET _pair 0 _flag)
  list(GET _pair 1 _value)
  _graphs("${_bad}" RESULT 2 MATCHES "${_flag}: got '?${_value}'?, *wanted " ARGS ${_flag} "${_value}")
endforeach()
_graphs("a search and a grid" RESULT 2 MATCHES "--search: got it besides" ARGS --search --layers 2)
_graphs("a count of a file" RESULT 2 MATCHES "--count: got it besides --graphs"
  ARGS --graphs "${_d}/graphs.txt" --count 8)
_graphs("no such file" RESULT 2 MATCHES "nothing.txt" ARGS --graphs "${_d}/nothing.txt")
_graphs("an edge with one end" RESULT 2 MATCHES "one_end.txt:4: .*wanted every edge at both"
  ARGS --graphs "${_d}/one_end.txt")
_graphs("a file that ends early" RESULT 2 MATCHES "the file ends here, wanted graph 1 of 2"
  ARGS --graphs "${_d}/short.txt")
_graphs("a neighbour outside" RESULT 2 MATCHES "outside.txt:3: neighbour 7 of node 0, wanted"
  ARGS --graphs "${_d}/outside.txt")
_graphs("a word for a neighbour" RESULT 2 MATCHES "word.txt:3: got 'x', wanted 1 neighbours"
  ARGS --graphs "${_d}/word.txt")
_graphs("a graph too many" RESULT 2 MATCHES "long.txt:4: a line more than the 1 graphs"
  ARGS --graphs "${_d}/long.txt")
_graphs("one class" RESULT 2 MATCHES "graphs of one class, wanted at least two"
  ARGS --graphs "${_d}/one_class.txt" --folds 2)
_graphs("more folds than graphs" RESULT 2 MATCHES "24 graphs in 30 folds"
  ARGS --graphs "${_d}/graphs.txt" --folds 30)
_graphs("no vectors" RESULT 2 MATCHES "graphs without features, wanted --features"
  ARGS --graphs "${_d}/graphs.txt" --features vectors)
