# SPDX-License-Identifier: Apache-2.0
#
# Install rules, relocatable and free of anything that depends on the architecture.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# A dependency that is built or fetched here is no package that a consumer could find.
foreach(_target IN ITEMS Eigen3::Eigen xsimd::xsimd)
  get_target_property(_imported ${_target} IMPORTED)
  if(NOT _imported)
    message(STATUS "skim: no install rules, since ${_target} is not an installed package")
    set(SKIM_INSTALL OFF) # hides the cache entry for this run: the tests ask for it
    return()
  endif()
endforeach()

set(_skim_cmake_dir "${CMAKE_INSTALL_DATADIR}/cmake/skim")
install(TARGETS skim EXPORT skimTargets FILE_SET HEADERS COMPONENT skim)
install(EXPORT skimTargets NAMESPACE skim:: DESTINATION "${_skim_cmake_dir}" COMPONENT skim)
configure_package_config_file(cmake/skimConfig.cmake.in
  "${CMAKE_CURRENT_BINARY_DIR}/skimConfig.cmake"
  INSTALL_DESTINATION "${_skim_cmake_dir}"
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break its users.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/skimConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
    "${CMAKE_CURRENT_BINARY_DIR}/skimConfig.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/skimConfigVersion.cmake"
    cmake/SkimXsimdFixup.cmake
  DESTINATION "${_skim_cmake_dir}"
  COMPONENT skim)
