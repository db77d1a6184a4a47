// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "skim/core/upward.hpp"
#include "skim/core/value.hpp"
#include "skim/hash/family.hpp"
#include "skim/index/flat.hpp"
#include "skim/io/file.hpp"
#include "skim/linalg/simd.hpp"
#include "skim/sketch/detail/sums_impl.hpp"
