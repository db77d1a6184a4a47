# SPDX-License-Identifier: Apache-2.0
# about: tens of thousands of labels: what a package depends on, learned from this machine's package index
# programs: train_extreme
# needs: apt apt-cache

train_extreme --ask "fast http server in rust" --json extreme.json
echo
echo "The same network with all outputs computed in every step, one epoch:"
echo
train_extreme --layer dense --epochs 1
