#!/bin/bash
# One call on a machine with a card: is it as exact as the processor, is it as fast as PyTorch, where does the
# time go. Prints tables, for eval/gpu.md.
#
#   cargo build --release -p coderag-train --example gpu_check
#   scripts/gpu_check.sh $CARGO_TARGET_DIR/release/examples/gpu_check FOLDER [compare|train|embed|curve|profile ...]
#
# The machine needs no Rust: carry the binary there (strip it). It needs NVIDIA's driver, libnvrtc, libcublasLt (those
# of PyTorch's packages will do), and a python3 with torch, sentence-transformers and peft. FOLDER takes the models,
# made there with random weights, and the measurements; what is there already is not made again. For `curve` it may
# have the folder `all-MiniLM-L6-v2`, and what scripts/pydoc_sources.py makes as `sources`.
#
# With the part `rehearsal` everything is small, so that all of it can be tried without a card, with the libraries of
# crates/coderag-software-card in LD_LIBRARY_PATH.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }
exec python3 "$(dirname "$0")/gpu_check/run.py" "$@"
