# SPDX-License-Identifier: Apache-2.0
#
# The command line of train_wide on tiny data made here: what works, and one line for what does not.
if(NOT SKIM_BUILD_TESTS)
  return()
endif()

set(_d "${CMAKE_CURRENT_BINARY_DIR}/train_wide-data")
file(MAKE_DIRECTORY "${_d}")
set(_rows "x,y,z,label\n")
set(_numbers "x,y,target\n")
foreach(_i RANGE 99)
  math(EXPR _class "${_i} % 3")
  math(EXPR _a "(${_i} * 37 + ${_class} * 60) % 200")
  math(EXPR _b "(${_i} * 53) % 100 + ${_class} * 40")
  string(APPEND _rows "${_a},${_b},1,${_class}\n")
  string(APPEND _numbers "${_a},${_b},${_a}.${_b}\n")
endforeach()
file(WRITE "${_d}/classes.csv" "${_rows}")
file(WRITE "${_d}/numbers.csv" "${_numbers}")
file(WRITE "${_d}/unlabelled.txt" "2 3 2\n 0:1\n 1:1\n")

set(_small --rows 60 --width 200 --iterations 4)
function(_wide name)
  skim_example_test(train_wide "${name}" ${ARGN})
endfunction()

foreach(_detector IN ITEMS dense max-tree correlation-tree deadline)
  _wide("${_detector}" MATCHES "firing hash [0-9a-f]+" ARGS ${_small} --detector ${_detector})
endforeach()
_wide("classes" MATCHES "100 x 3, 200 neurons"
  ARGS --train "${_d}/classes.csv" --width 200 --iterations 2 --json "${_d}/figures.json")
_wide("numbers" MATCHES "sgd, batches of 5"
  ARGS --train "${_d}/numbers.csv" ${_small} --optimizer sgd --batch 5)
_wide("gauss-newton" MATCHES "gauss-newton, all points"
  ARGS ${_small} --optimizer gauss-newton --target-loss 1e-6)
_wide("a fraction" MATCHES "threshold 2.326" ARGS ${_small} --threshold fraction:0.01)
find_program(SKIM_GNUPLOT gnuplot)
if(SKIM_GNUPLOT)
  _wide("a chart" MATCHES "curves: " ARGS ${_small} --plot "${_d}/curves.svg")
endif()

foreach(_bad IN ITEMS "--width 0" "--rows 0" "--dim 0" "--threshold x" "--threshold fraction:2"
    "--detector tree" "--optimizer newton" "--learning-rate 0" "--iterations 0" "--momentum 1"
    "--batch x" "--target-loss -1")
  separate_arguments(_pair UNIX_COMMAND "${_bad}")
  list(GET _pair 0 _flag)
  list(GET _pair 1 _value)
  _wide("${_bad}" RESULT 2 MATCHES "${_flag}: got '?${_value}'?, *wanted " ARGS ${_flag} "${_value}")
endforeach()
_wide("threads" MATCHES "firing hash" ARGS ${_small} --threads 2)
_wide("a test set" MATCHES "100 test rows: loss .*accuracy"
  ARGS --train "${_d}/classes.csv" --test "${_d}/classes.csv" --width 200 --iterations 4)
_wide("a test set of numbers" MATCHES "100 test rows: loss [^,]*mean square\\)\n"
  ARGS --train "${_d}/numbers.csv" --test "${_d}/numbers.csv" --width 200 --iterations 4)
_wide("a test set of another kind" RESULT 2 MATCHES "wanted .* as in the training set"
  ARGS --train "${_d}/numbers.csv" --test "${_d}/classes.csv" --width 200)
_wide("a test set alone" RESULT 2 MATCHES "--test: got it without --train"
  ARGS --test "${_d}/classes.csv")
_wide("batches without a size" RESULT 2 MATCHES "--batch: got 0 with sgd" ARGS --optimizer sgd)
_wide("batches of gauss-newton" RESULT 2 MATCHES "--batch: got one with gauss-newton"
  ARGS --optimizer gauss-newton --batch 4)
_wide("a rate of gauss-newton" RESULT 2 MATCHES "--optimizer: got gauss-newton with"
  ARGS --optimizer gauss-newton --learning-rate 1)
_wide("columns of a file" RESULT 2 MATCHES "--dim: got it besides --train"
  ARGS --train "${_d}/classes.csv" --dim 3)
_wide("no such file" RESULT 2 MATCHES "nothing.csv" ARGS --train "${_d}/nothing.csv")
_wide("no labels" RESULT 2 MATCHES "no label or several" ARGS --train "${_d}/unlabelled.txt")
_wide("a rate beyond all" RESULT 2 MATCHES "--learning-rate: .*wanted a lower one"
  ARGS ${_small} --learning-rate 1e30)
