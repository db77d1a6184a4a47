# SPDX-License-Identifier: Apache-2.0
#
# The command line of importance_report on a report written here.
if(NOT SKIM_BUILD_TESTS)
  return()
endif()

set(_d "${CMAKE_CURRENT_BINARY_DIR}/importance_report-data")
foreach(_folder IN ITEMS empty broken other good)
  file(MAKE_DIRECTORY "${_d}/${_folder}")
endforeach()
set(_row [=["sampler": "uniform", "learning_rate": 0.01, "steps": 9, "examples": {"mean": 9, "standard_error": null},
  "sampling_overhead_fraction": {"mean": 0.1, "standard_error": null},
  "final": {"test_loss": {"mean": 0.5, "standard_error": null}, "test_accuracy": {"mean": 0.75, "standard_error": 0.01}}]=])
# A rare class that the reference missed always: ratios to it are no numbers, null in the file.
set(_ratio [=[{"cost_ratio": {"value": null, "interval": [null, null], "standard_error": null}, "time_ratio": null}]=])
file(WRITE "${_d}/good/tiny.json" "{\"settings\": {\"inputs\": 2, \"hidden\": [8], \"outputs\": 3, \"seeds\": 2,
  \"samplers\": [\"uniform\"], \"references\": [], \"budgets\": [1], \"budget\": {\"steps\": 9}},
  \"summary\": [{${_row}, \"budget\": 1, \"seconds\": 2,
    \"against\": {\"other\": {\"test_loss\": ${_ratio}, \"test_accuracy\": ${_ratio}}}}], \"ladder\": [{${_row}, \"budget\": 2, \"seconds\": 4}]}")
file(WRITE "${_d}/broken/cut.json" "{\"settings\": ")
file(WRITE "${_d}/other/speeds.json" "{\"speeds\": []}")

skim_example_test(importance_report "a report" MATCHES "1 settings, 2 seeds.*tiny.*uniform.*0.25.*75.00 ± 1.00"
  ARGS --from "${_d}/good" --json "${_d}/speeds.json")
find_program(SKIM_GNUPLOT gnuplot)
if(SKIM_GNUPLOT)
  skim_example_test(importance_report "figures" ARGS --from "${_d}/good" --figures "${_d}/figures")
endif()
skim_example_test(importance_report "no folder" RESULT 2 MATCHES "--from: not given, wanted a folder")
skim_example_test(importance_report "a folder there is not" RESULT 2 MATCHES "absent: cannot be read"
  ARGS --from "${_d}/absent")
skim_example_test(importance_report "an empty folder" RESULT 2 MATCHES "no .json file here, wanted reports"
  ARGS --from "${_d}/empty")
skim_example_test(importance_report "a file cut short" RESULT 2 MATCHES "cut.json: is no report of train_importance"
  ARGS --from "${_d}/broken")
skim_example_test(importance_report "another program's file" RESULT 2
  MATCHES "speeds.json: is no report of train_importance" ARGS --from "${_d}/other")

# The command that runs it on many sets: what it says before it builds anything.
function(_experiments name result matches)
  add_test(NAME "importance_report/experiments, ${name}"
    COMMAND "${CMAKE_COMMAND}" "-DWANTED_RESULT=${result}" "-DWANTED_OUTPUT=${matches}"
      -P "${PROJECT_SOURCE_DIR}/cmake/run_example.cmake" -- "${PROJECT_SOURCE_DIR}/bench/experiments/run" ${ARGN})
  set_tests_properties("importance_report/experiments, ${name}" PROPERTIES TIMEOUT 300 LABELS examples)
endfunction()
_experiments("the list" 0 "shuttle-128.*kdd99-1024" --list)
_experiments("no data" 2 "usage: ")
_experiments("a folder there is not" 2 "wanted a folder of data sets" "${_d}/absent")
_experiments("a set there is not" 2 "got the set letter-7, wanted one of --list" "${_d}" letter letter-7)
