#!/usr/bin/env bash
# From a fresh clone to an answered question: installs what is missing, builds CodeRAG, pulls an
# embedding model and a language model, indexes the demo database and asks it a question.
#
#   ./scripts/quickstart.sh ["another question"]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

question=${1:-Which city has the most stations?}

say "building (the first time takes about 15 minutes on two cores)"
cargo build --release --locked -p coderag

say "pulling the models"
"$coderag" models pull all-MiniLM-L6-v2 qwen2.5-coder-0.5b-instruct

say "building the demo database and its index"
python3 scripts/demo_database.py indexes/bicycle_rental.sqlite
"$coderag" index build --model all-MiniLM-L6-v2 --corpus indexes/bicycle_rental.sqlite --output indexes/bicycle_rental

say "asking: $question"
"$coderag" sql "$question" --db indexes/bicycle_rental.sqlite --index indexes/bicycle_rental \
    --model qwen2.5-coder-0.5b-instruct --execute
