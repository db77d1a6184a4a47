# SPDX-License-Identifier: Apache-2.0
# about: how dense points lie around a place, to a promised error, from a few hundred of them
# programs: density
# needs: gnuplot-nox gnuplot

density --check 300 --updates 10000 --plot density.svg --json density.json
echo
echo "A picture of points in the plane:"
echo
density --rows 200000 --dim 2 --bandwidth median:0.05 --map density-map.svg
