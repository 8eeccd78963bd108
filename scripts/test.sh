#!/usr/bin/env bash
# Sets up and passes all checks: formatting, lints and every test, on the real models. Where the folder
# of real data ($CODERAG_DATA, default ../shared/data) is absent, the tests say which checks they skip.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

say "formatting"
cargo fmt --all --check

say "building"
cargo build --release --locked --workspace --all-targets

say "pulling the models that the tests use"
"$coderag" models pull all-MiniLM-L6-v2 qwen2.5-coder-0.5b-instruct smollm2-135m-instruct

say "testing (but for the comparison with a real Qwen2: scripts/reference_qwen2.py makes what it needs)"
CODERAG_REQUIRE_MODELS=1 cargo test --release --locked --workspace --no-fail-fast

# Last, because clippy checks every dependency once more.
say "linting"
cargo clippy --release --locked --workspace --all-targets -- -D warnings
# What is for cards alone compiles; only a machine with one can run it (scripts/gpu_check.sh).
cargo clippy --release --locked --workspace --all-targets --features coderag/cuda,coderag-train/cuda -- -D warnings
