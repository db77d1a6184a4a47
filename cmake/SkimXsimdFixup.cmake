# SPDX-License-Identifier: Apache-2.0
#
# Also installed: skimConfig.cmake runs it for the consumer.
#
# The target of Debian's libxsimd-dev 8.1.0 links to xtl, which its package neither finds nor depends
# on, so every program would fail to link with "cannot find -lxtl". xsimd uses xtl only under
# XSIMD_ENABLE_XTL_COMPLEX, which skim does not set.
if(TARGET xsimd AND NOT TARGET xtl)
  get_target_property(_skim_imported xsimd IMPORTED)
  get_target_property(_skim_links xsimd INTERFACE_LINK_LIBRARIES)
  if(_skim_imported AND _skim_links)
    list(REMOVE_ITEM _skim_links xtl)
    set_property(TARGET xsimd PROPERTY INTERFACE_LINK_LIBRARIES "${_skim_links}")
  endif()
  unset(_skim_imported)
  unset(_skim_links)
endif()

if(TARGET xsimd AND NOT TARGET xsimd::xsimd)
  get_target_property(_skim_aliased xsimd ALIASED_TARGET)
  if(_skim_aliased) # an alias of an alias is not allowed
    add_library(xsimd::xsimd ALIAS ${_skim_aliased})
  else()
    add_library(xsimd::xsimd ALIAS xsimd)
  endif()
  unset(_skim_aliased)
endif()
