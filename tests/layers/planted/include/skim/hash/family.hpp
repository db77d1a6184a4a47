// SPDX-License-Identifier: Apache-2.0

#include <skim/core/value.hpp>

#include "skim/table/detail/row.hpp"

using namespace std;
