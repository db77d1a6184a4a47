# SPDX-License-Identifier: Apache-2.0
#
# What skim::skim needs: Eigen and xsimd. The rest of the pins are where they are used.
include(SkimFindOrFetch)

skim_find_or_fetch(Eigen3
  TARGET Eigen3::Eigen
  APT libeigen3-dev
  URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
  SHA256 8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72
  HEADERS "." PROBE Eigen/Core)

# xsimd's own target has no namespace, and a name without one that is missing would silently become
# -lxsimd: everything links to the alias xsimd::xsimd.
if(NOT TARGET xsimd::xsimd)
  skim_find_or_fetch(xsimd
    TARGET xsimd
    APT libxsimd-dev
    URL https://github.com/xtensor-stack/xsimd/archive/refs/tags/13.2.0.tar.gz
    SHA256 edd8cd3d548c185adc70321c53c36df41abe64c1fe2c67bc6d93c3ecda82447a
    HEADERS include PROBE xsimd/xsimd.hpp)
  include(SkimXsimdFixup)
endif()
