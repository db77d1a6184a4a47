# SPDX-License-Identifier: Apache-2.0
# about: training with and without importance sampling, on Fashion-MNIST
# programs: train_importance
# needs: dataset-fashion-mnist /usr/share/datasets/fashion-mnist
# needs: gnuplot-nox gnuplot

echo "The ten classes: about as hard everywhere, so there is little to skip."
echo
train_importance --dataset fashion-mnist --seconds 3 --seeds 3 --threads 0 \
  --sampler uniform,class-stratified,loss-table,nadaraya-watson \
  --json importance-plain.json --plot importance-plain.svg
echo
echo "The case the method is for: a stream in which 2 % are ankle boots among sandals and sneakers."
echo "Each image is shifted and mirrored at random and passes by once."
echo
train_importance --dataset fashion-mnist --rare 9 --among 5,7 --rare-fraction 0.02 --seconds 1.5 \
  --seeds 4 --threads 0 --sampler uniform,class-stratified,nadaraya-watson \
  --json importance-rare.json --plot importance-rare.svg
