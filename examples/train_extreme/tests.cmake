# SPDX-License-Identifier: Apache-2.0
#
# The command line of train_extreme on tiny data made here: what works, and one line for what does not.
if(NOT SKIM_BUILD_TESTS)
  return()
endif()

set(_d "${CMAKE_CURRENT_BINARY_DIR}/train_extreme-data")
file(MAKE_DIRECTORY "${_d}")
set(_rows "400 140 40\n")
set(_packages "")
foreach(_i RANGE 399)
  math(EXPR _a "${_i} % 40")
  math(EXPR _b "100 + ${_i} % 27")
  string(APPEND _rows "${_a} ${_a}:0.8 ${_b}:0.6\n")
  string(APPEND _packages "Package: tool${_i}\nSection: topic${_a}\nDepends: lib${_a} (>= 1.${_i}), "
    "zlib${_b} | other${_b}:any\nTag: role::r${_a}, use::u${_b}\nDescription: word${_a} for\n word${_b}\n\n")
endforeach()
file(WRITE "${_d}/train.txt" "${_rows}")
file(WRITE "${_d}/packages" "${_packages}")
file(WRITE "${_d}/empty" "\n")
file(WRITE "${_d}/targets.csv" "x,target\n1,0.5\n2,0.25\n")
file(WRITE "${_d}/unlabelled.txt" "2 3 2\n 0:1\n 1:1\n")

set(_small --hidden 8 --epochs 3 --batch 16)
set(_files --train "${_d}/train.txt" --test "${_d}/train.txt")
function(_extreme name)
  skim_example_test(train_extreme "${name}" ${ARGN})
endfunction()

foreach(_layer IN ITEMS sampled dense)
  foreach(_loss IN ITEMS sigmoid softmax)
    _extreme("${_layer} ${_loss}" MATCHES "index finds"
      ARGS ${_files} ${_small} --layer ${_layer} --loss ${_loss} --json "${_d}/${_layer}-${_loss}.json")
  endforeach()
endforeach()
foreach(_optimizer IN ITEMS sparse-adam momentum)
  _extreme("${_optimizer}" MATCHES "40 labels" ARGS ${_files} ${_small} --optimizer ${_optimizer})
endforeach()
_extreme("two threads" MATCHES "3 +[0-9.]+" ARGS ${_files} ${_small} --threads 2)
_extreme("a part held out" MATCHES "to test on"
  ARGS --train "${_d}/train.txt" --test holdout:0.3 ${_small})
_extreme("a package index" MATCHES "answered in.*lib3"
  ARGS --dataset "debian-index:${_d}/packages" --hidden 8 --batch 16 --epochs 20 --learning-rate 0.1
    --ask "a word3 tool")
_extreme("its tags" MATCHES "role::r3"
  ARGS --dataset "debian-index:${_d}/packages" --label tags --hidden 8 --batch 16 --epochs 20 --learning-rate 0.1
    --ask "a word3 tool")
_extreme("unknown words" MATCHES "no word of it is known"
  ARGS --dataset "debian-index:${_d}/packages" ${_small} --ask "xyzzy")
find_program(SKIM_GNUPLOT gnuplot)
if(SKIM_GNUPLOT)
  _extreme("a chart" MATCHES "curves: " ARGS ${_files} ${_small} --plot "${_d}/curves.svg")
endif()

foreach(_bad IN ITEMS "--hidden 0" "--epochs 0" "--batch 0" "--layer wide" "--loss hinge"
    "--optimizer sgd" "--label names" "--learning-rate 0" "--negatives -1" "--dataset mnist")
  separate_arguments(_pair UNIX_COMMAND "${_bad}")
  list(GET _pair 0 _flag)
  list(GET _pair 1 _value)
  _extreme("${_bad}" RESULT 2 MATCHES "${_flag}: got '?${_value}'?, *wanted " ARGS ${_flag} "${_value}")
endforeach()
_extreme("half of the files" RESULT 2 MATCHES "--train and --test: got one"
  ARGS --train "${_d}/train.txt")
_extreme("files and an index" RESULT 2 MATCHES "--dataset: got it besides --train"
  ARGS ${_files} --dataset debian-index)
_extreme("a bad part" RESULT 2 MATCHES "--test: got 'holdout:2'"
  ARGS --train "${_d}/train.txt" --test holdout:2)
_extreme("a sentence without names" RESULT 2 MATCHES "--ask: got a sentence with --train"
  ARGS ${_files} --ask "a game")
_extreme("no such file" RESULT 2 MATCHES "nothing.txt"
  ARGS --train "${_d}/nothing.txt" --test "${_d}/train.txt")
_extreme("no such index" RESULT 2 MATCHES "cannot be opened"
  ARGS --dataset "debian-index:${_d}/nothing")
_extreme("an empty index" RESULT 2 MATCHES "too few to learn from"
  ARGS --dataset "debian-index:${_d}/empty")
_extreme("dense rows" RESULT 2 MATCHES "no sparse rows with labels"
  ARGS --train "${_d}/targets.csv" --test "${_d}/targets.csv")
