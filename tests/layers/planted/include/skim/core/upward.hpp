#pragma once
#include <Eigen/Core>
#include <random>

#include "skim/hash/family.hpp"
#include "value.hpp"
