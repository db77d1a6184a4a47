# SPDX-License-Identifier: Apache-2.0
#
# The command line of train_importance on tiny data made here: what works, and one line for what does not.
if(NOT SKIM_BUILD_TESTS)
  return()
endif()

set(_d "${CMAKE_CURRENT_BINARY_DIR}/train_importance-data")
file(MAKE_DIRECTORY "${_d}/empty")
set(_rows "x,y,label\n")
set(_numbers "x,y,target\n")
set(_sparse "")
foreach(_i RANGE 599)
  math(EXPR _class "${_i} % 3")
  math(EXPR _a "(${_i} * 37 + ${_class} * 60) % 200")
  math(EXPR _b "(${_i} * 53) % 100 + ${_class} * 40")
  string(APPEND _rows "${_a},${_b},${_class}\n")
  string(APPEND _numbers "${_a},${_b},${_a}.${_b}\n")
  string(APPEND _sparse "${_class} 1:${_a} 3:${_b}\n")
endforeach()
file(WRITE "${_d}/classes.csv" "${_rows}")
file(WRITE "${_d}/numbers.csv" "${_numbers}")
file(WRITE "${_d}/sparse.svm" "${_sparse}")
file(WRITE "${_d}/few.csv" "1,2,0\n2,1,1\n3,4,0\n5,4,1\n")
file(WRITE "${_d}/one-class.csv" "1,2,7\n2,1,7\n3,4,7\n5,4,7\n")
file(WRITE "${_d}/nan.csv" "1,2,0\nnan,1,1\n")
file(WRITE "${_d}/nothing.csv" "")
file(WRITE "${_d}/unknown-class.csv" "x,y,label\n1,2,9\n")
file(WRITE "${_d}/wide.csv" "x,y,z,label\n1,2,3,0\n")
file(WRITE "${_d}/unlabelled.txt" "2 3 2\n 0:1\n 1:1\n")
file(WRITE "${_d}/several.txt" "2 3 2\n0,1 0:1\n1 1:1\n")
file(WRITE "${_d}/magic.npy" "this is no array")
string(ASCII 31 139 8 8 1 1 1 1 2 3 97 98 99 _gzip) # ends inside its header
file(WRITE "${_d}/cut.csv.gz" "${_gzip}")

set(_quick --seconds 0.01 --seeds 1 --batch 8 --hidden 8 --pool 2)
set(_files --train "${_d}/classes.csv" --test "${_d}/classes.csv")
set(_classes ${_files} ${_quick})
function(_importance name)
  skim_example_test(train_importance "${name}" ${ARGN})
endfunction()

_importance("classes" MATCHES "nadaraya-watson" ARGS ${_classes})
_importance("two seeds" MATCHES "by bootstrap over the seeds" ARGS ${_files} --seconds 0.01 --seeds 2 --batch 8)
_importance("numbers" MATCHES "regression.*test RMSE"
  ARGS --train "${_d}/numbers.csv" --test "${_d}/numbers.csv" --task regression ${_quick})
_importance("sparse" MATCHES "3 sparse, 3 classes"
  ARGS --train "${_d}/sparse.svm" --test "${_d}/sparse.svm" ${_quick})
_importance("a stream" MATCHES "as a stream.*one pass over the stream"
  ARGS ${_files} --stream --seeds 1 --batch 8 --hidden 8 --pool 2)
_importance("epochs and figures" MATCHES "figures: "
  ARGS ${_files} --epochs 2 --seeds 1 --batch 8 --json "${_d}/figures.json")
_importance("steps, budgets and rates" MATCHES "the best of 0.001, 0.01.*70 steps.*budget +rate"
  ARGS ${_files} --steps 70 --budgets 0.5,1 --learning-rate 0.001,0.01 --seeds 2 --batch 8 --hidden 8
    --reference uniform,class-stratified --sampler uniform,class-stratified,loss-table --evaluations 0)
_importance("rows held out" MATCHES "450 x 2"
  ARGS --train "${_d}/classes.csv" --test holdout:0.25 ${_quick})
find_program(SKIM_GNUPLOT gnuplot)
if(SKIM_GNUPLOT)
  _importance("a chart" MATCHES "curves: " ARGS ${_classes} --plot "${_d}/curves.svg")
endif()

_importance("a flag mistyped" RESULT 2 MATCHES "did you mean --sampler" ARGS --samplers uniform)
_importance("a sampler there is not" RESULT 2
  MATCHES "got 'entropy', wanted one of uniform, class-stratified, loss-table, nadaraya-watson"
  ARGS --sampler entropy)
foreach(_memory IN ITEMS loss-table infobatch)
  _importance("${_memory} for a stream" RESULT 2
    MATCHES "got ${_memory} for a stream, wanted among uniform, class-stratified, nadaraya-watson"
    ARGS ${_classes} --stream --sampler uniform,${_memory})
endforeach()
_importance("classes of numbers" RESULT 2
  MATCHES "got class-stratified for numbers as labels, wanted among uniform, loss-table"
  ARGS --train "${_d}/numbers.csv" --test "${_d}/numbers.csv" --task regression ${_quick}
    --sampler class-stratified)
_importance("class-balanced draws of numbers" RESULT 2 MATCHES "got class-balanced for numbers as labels"
  ARGS --train "${_d}/numbers.csv" --test "${_d}/numbers.csv" --task regression ${_quick}
    --sampler class-balanced)
foreach(_rival IN ITEMS gradient-norm infobatch selective-backprop rank class-balanced)
  _importance("${_rival}" MATCHES "${_rival}"
    ARGS ${_files} --epochs 3 --seeds 1 --batch 8 --hidden 8 --sampler uniform,${_rival})
endforeach()
foreach(_rival IN ITEMS gradient-norm selective-backprop rank class-balanced)
  _importance("${_rival} of a stream" MATCHES "${_rival}"
    ARGS ${_files} --stream --seeds 1 --batch 8 --hidden 8 --sampler uniform,${_rival})
endforeach()
foreach(_bad IN ITEMS "--seeds 0" "--hidden 0" "--hidden 8,,8" "--batch 0" "--batch x" "--seconds 0"
    "--seconds -1" "--seconds inf" "--epochs 0" "--learning-rate nan" "--beta 2" "--pool 0"
    "--gate shut" "--task both" "--rare 10" "--rare -1" "--ladder 0" "--ladder 1,x" "--ladder 65"
    "--steps 0" "--budgets 0" "--validation 1" "--validation -1" "--evaluations x" "--reference x"
    "--threads -1" "--seed 1.5")
  separate_arguments(_pair UNIX_COMMAND "${_bad}")
  list(GET _pair 0 _flag)
  list(GET _pair 1 _value)
  _importance("${_bad}" RESULT 2 MATCHES "${_flag}: got '.*wanted " ARGS ${_flag} "${_value}")
endforeach()
_importance("a rung twice" RESULT 2 MATCHES "--ladder: got a number twice" ARGS --ladder 1,2,1)
_importance("a budget twice" RESULT 2 MATCHES "--budgets: got a number twice" ARGS --budgets 1,1)
_importance("a rate twice" RESULT 2 MATCHES "--learning-rate: got a number twice"
  ARGS --learning-rate 0.1,0.1)
_importance("rates without rows to pick by" RESULT 2 MATCHES "--validation: got 0 with several"
  ARGS --learning-rate 0.1,0.2 --validation 0)
_importance("a reference that is not compared" RESULT 2 MATCHES "--reference: got loss-table, wanted among"
  ARGS ${_classes} --sampler uniform,class-stratified --reference loss-table)
_importance("all rows held out" RESULT 2 MATCHES "--test: got holdout:1, wanted a fraction"
  ARGS --train "${_d}/classes.csv" --test holdout:1)
_importance("rows held out of an endless stream" RESULT 2 MATCHES "--test: got it with --rare"
  ARGS --rare 6 --test holdout:0.5)
_importance("seconds and epochs" RESULT 2 MATCHES "--seconds, --epochs and --steps: got several"
  ARGS --seconds 1 --epochs 1)
_importance("two passes of a stream" RESULT 2 MATCHES "--epochs: got 2 with --stream, wanted at most 1"
  ARGS --stream --epochs 2)
_importance("epochs without an end" RESULT 2 MATCHES "--epochs: got it for an endless stream"
  ARGS --rare 6 --epochs 1)
_importance("a share without a class" RESULT 2 MATCHES "--rare-fraction: got it without --rare"
  ARGS --rare-fraction 0.1)
_importance("rare among itself" RESULT 2 MATCHES "--among: got a class twice"
  ARGS --rare 6 --among 6,2)
_importance("rare in other data" RESULT 2 MATCHES "--rare: got the data set .*wanted fashion-mnist"
  ARGS --rare 6 --dataset "${_d}")
_importance("a training set alone" RESULT 2 MATCHES "--train and --test: got one of them"
  ARGS --train "${_d}/classes.csv")
_importance("two data sets" RESULT 2 MATCHES "--dataset: got .* besides --train"
  ARGS ${_classes} --dataset fashion-mnist)
_importance("too many weights" RESULT 2 MATCHES "--hidden: got a network of 268,435,456 weights"
  ARGS ${_files} --hidden 100000,100000)
_importance("a rate too high" RESULT 2
  MATCHES "--learning-rate: got 1e.30, wanted a lower one: .*the loss is not finite after"
  ARGS ${_classes} --learning-rate 1e30)

foreach(_file IN ITEMS missing.csv nothing.csv nan.csv cut.csv.gz magic.npy unlabelled.txt several.txt
    few.csv one-class.csv)
  _importance("${_file}" RESULT 2 MATCHES "${_file}.*(wanted|cannot|ends|truncated)"
    ARGS --train "${_d}/${_file}" --test "${_d}/${_file}" ${_quick})
endforeach()
foreach(_file IN ITEMS missing.csv unknown-class.csv wide.csv)
  _importance("tested on ${_file}" RESULT 2 MATCHES "${_file}.*(wanted|cannot)"
    ARGS --train "${_d}/classes.csv" --test "${_d}/${_file}" ${_quick})
endforeach()
_importance("an empty folder" RESULT 2 MATCHES "no data set in this folder"
  ARGS --dataset "${_d}/empty" ${_quick})
_importance("a short stream" RESULT 2 MATCHES "600 rows, wanted at least 800 for a first choice"
  ARGS ${_files} --stream --batch 8 --pool 100)

_importance("a folder there is not" RESULT 2 MATCHES "there is no folder"
  ARGS ${_classes} --json "${_d}/absent/figures.json")
_importance("a chart that is no SVG" RESULT 2 MATCHES "ends in .svg"
  ARGS ${_classes} --plot "${_d}/curves.png")
_importance("without gnuplot" RESULT 2 MATCHES "gnuplot is not installed"
  ARGS ${_classes} --plot "${_d}/none.svg")
set_tests_properties("train_importance/without gnuplot" PROPERTIES ENVIRONMENT "PATH=${_d}/empty")
