#pragma once
#include <random>

#include <Eigen/Core>

#include "skim/hash/family.hpp"
#include "value.hpp"
