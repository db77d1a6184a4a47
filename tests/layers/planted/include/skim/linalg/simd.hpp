// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <xsimd/xsimd.hpp>

#include "skim/io/file.hpp"
