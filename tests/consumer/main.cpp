// SPDX-License-Identifier: Apache-2.0
//
// What a consumer compiles: everything, through Eigen and xsimd as skim::skim brings them.
#include <skim/skim.hpp>
#include <skim/version.hpp>

int main() {
  skim::random_engine g{skim::seed{1}};
  const double u = skim::uniform(g);
  return u >= 0 && u < 1 ? 0 : 1;
}
