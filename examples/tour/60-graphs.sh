# SPDX-License-Identifier: Apache-2.0
# about: graphs classified by the kernel of infinitely wide graph neural networks
# programs: classify_graphs

echo "Small worlds against random graphs with as many nodes and edges: 84 architectures, of which"
echo "each fold's are chosen without it."
echo
classify_graphs --count 200 --search --classifier ridge --threads 0 --json graphs.json
echo
echo "The same kernel from sketches, on few layers:"
echo
classify_graphs --count 60 --layers 3 --mlp 1 --method sketch --classifier ridge --threads 0
