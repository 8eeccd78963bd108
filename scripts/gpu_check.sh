#!/bin/bash
# One call on a machine with a card: is it as exact as the processor, is it as fast as PyTorch, where does the
# time go. Prints tables, for eval/gpu.md.
#
#   cargo build --release -p coderag-train --features cuda --example gpu_check
#   scripts/gpu_check.sh $CARGO_TARGET_DIR/release/examples/gpu_check FOLDER [compare|train|embed|profile ...]
#
# The machine needs no Rust: carry the binary there (70 MB stripped, 11 MB with xz). It needs NVIDIA's driver, libnvrtc
# and the headers of CUDA's runtime, and a python3 with torch, sentence-transformers and peft. FOLDER takes the
# models, made there with random weights, and the measurements; what is there already is not made again.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
exec python3 "$(dirname "$0")/gpu_check/run.py" "$@"
