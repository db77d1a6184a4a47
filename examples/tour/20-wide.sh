# SPDX-License-Identifier: Apache-2.0
# about: wide layers whose neurons seldom fire: the same training steps, most of the work left out
# programs: train_wide
# needs: dataset-fashion-mnist /usr/share/datasets/fashion-mnist
# needs: gnuplot-nox gnuplot

for detector in dense deadline; do
  train_wide --train fashion-mnist --rows 1000 --width 16384 --iterations 12 \
    --detector $detector --json wide-$detector.json
  echo
done
echo "Equal hashes: both took the same steps. The published trees do too, in their own time:"
echo
train_wide --train fashion-mnist --rows 100 --width 2048 --iterations 3 --detector correlation-tree
echo
echo "Where next to nothing fires:"
echo
train_wide --width 65536 --rows 500 --threshold fraction:0.0001 --iterations 20
echo
echo "And second-order steps, which the firing sets make cheap:"
echo
train_wide --width 16384 --optimizer gauss-newton --target-loss 1e-6 --plot wide-gauss-newton.svg
