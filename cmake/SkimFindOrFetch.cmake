# SPDX-License-Identifier: Apache-2.0
#
# An installed package first, a pinned and hash-checked download only where there is none.
#   FETCHCONTENT_TRY_FIND_PACKAGE_MODE=NEVER   never look for installed packages
#   FETCHCONTENT_SOURCE_DIR_<NAME>=<dir>       use this source tree
#   FETCHCONTENT_FULLY_DISCONNECTED=ON         never download
include_guard(GLOBAL)
include(FetchContent)

# skim_find_or_fetch(<name> TARGET <target> APT <package> URL <url> SHA256 <hash>
#                    [HEADERS <directory> PROBE <header>] [MODULE])
#
# HEADERS populates the sources without running their CMakeLists.txt, so that none of their options,
# tests and install rules leak into the build, and makes <target> a SYSTEM interface to <directory>.
# No version is asked for: the packages' version files refuse a newer major version, while skim
# supports several; the headers check the lower bounds.
function(skim_find_or_fetch name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "MODULE" "TARGET;APT;URL;SHA256;HEADERS;PROBE" "")
  if(TARGET ${arg_TARGET}) # the consumer has brought it
    return()
  endif()
  string(TOUPPER "${name}" upper)
  string(TOLOWER "${name}" lower)
  set(find_args GLOBAL CONFIG)
  if(arg_MODULE)
    set(find_args GLOBAL MODULE)
  endif()
  set(subdir "")
  if(DEFINED arg_HEADERS)
    set(subdir SOURCE_SUBDIR skim-does-not-run-its-cmake)
  endif()

  FetchContent_Declare(${name}
    URL "${arg_URL}"
    URL_HASH "SHA256=${arg_SHA256}"
    DOWNLOAD_EXTRACT_TIMESTAMP OFF
    ${subdir}
    FIND_PACKAGE_ARGS ${find_args})

  # Only to say, before a download that may fail, what would make it needless.
  if(NOT FETCHCONTENT_SOURCE_DIR_${upper}
      AND NOT FETCHCONTENT_TRY_FIND_PACKAGE_MODE STREQUAL "NEVER")
    find_package(${name} ${find_args} QUIET)
    if(NOT ${name}_FOUND AND NOT FETCHCONTENT_FULLY_DISCONNECTED)
      message(STATUS "skim: ${name} is not installed (Debian: ${arg_APT}), fetching ${arg_URL}")
    endif()
  endif()

  FetchContent_MakeAvailable(${name})
  set(${name}_VERSION "${${name}_VERSION}" PARENT_SCOPE) # of the installed package, if it is one
  if(TARGET ${arg_TARGET})
    return()
  endif()

  FetchContent_GetProperties(${name} SOURCE_DIR source)
  if(NOT DEFINED arg_HEADERS OR NOT EXISTS "${source}/${arg_HEADERS}/${arg_PROBE}")
    # A disconnected FetchContent populates nothing and says nothing.
    message(FATAL_ERROR "skim: ${name} is neither installed nor fetched. Install it (Debian: apt-get "
      "install ${arg_APT}; elsewhere let CMAKE_PREFIX_PATH lead to it), set "
      "FETCHCONTENT_SOURCE_DIR_${upper} to its sources, or allow the download of ${arg_URL}.")
  endif()
  add_library(skim_dep_${lower} INTERFACE)
  add_library(${arg_TARGET} ALIAS skim_dep_${lower})
  target_include_directories(skim_dep_${lower} SYSTEM INTERFACE "${source}/${arg_HEADERS}")
endfunction()
