# SPDX-License-Identifier: Apache-2.0
# about: training with and without importance sampling, on Fashion-MNIST
# programs: train_importance
# needs: dataset-fashion-mnist /usr/share/datasets/fashion-mnist
# needs: gnuplot-nox gnuplot

train_importance --dataset fashion-mnist --json importance.json --plot importance.svg
