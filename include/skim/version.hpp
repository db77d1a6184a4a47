// SPDX-License-Identifier: Apache-2.0
//
// The version of skim; the build reads it from here.
#pragma once

#define SKIM_VERSION_MAJOR 0
#define SKIM_VERSION_MINOR 1
#define SKIM_VERSION_PATCH 0
