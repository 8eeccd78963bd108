#!/usr/bin/env python3
"""Measures coderag's embedding on the processor beside ONNX Runtime and sentence-transformers.

    benchmark.py --output RESULTS.json [--rounds 5] [--every N] [--only PART ...]

See README.md in this folder. Writes RESULTS.json and, beside it, RESULTS.md; both are written again after
every round, so an interrupted run leaves what it has. Exits with 1 when a process failed.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from environment import HERE, Environment, say
from machine import describe
from measurements import (
    Settings,
    measure_cold_starts,
    measure_quality,
    measure_queries,
    measure_rounds,
    measure_whole_processes,
)
from report import markdown

PROJECT = HERE.parent.parent
PARTS = {
    "rounds": measure_rounds,
    "queries": measure_queries,
    "cold": measure_cold_starts,
    "whole": measure_whole_processes,
    "quality": measure_quality,
}
# Not the quality of retrieval, which is the same whenever and wherever it is measured.
USUAL_PARTS = [part for part in PARTS if part != "quality"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("CODERAG_DATA", PROJECT.parent / "shared/data"))
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "coderag"
    target = Path(os.environ.get("CARGO_TARGET_DIR", cache / "build")) / "release"
    add = parser.add_argument
    add("--output", type=Path, required=True, help="the results (JSON); Markdown goes beside them")
    add("--model", type=Path, help="a sentence-transformers directory (default: all-MiniLM-L6-v2)")
    add("--texts", type=Path, default=data / "bench/embed_2000.jsonl", help="JSON lines with `text`")
    add("--work", type=Path, default=cache / "benchmark_embedding", help="for Python and ONNX files")
    add("--coderag", type=Path, default=target / "coderag", help="the binary")
    add("--examples", type=Path, default=target / "examples", help="the folder of built examples")
    add("--threads", type=int, default=2)
    add("--every", type=int, default=1, help="take every Nth text alone, for a quick look")
    add("--rounds", type=int, default=5)
    add("--query-rounds", type=int, default=10)
    add("--query-calls", type=int, default=40, help="timed calls of each worker in a round of queries")
    add("--cold-runs", type=int, default=11)
    add("--cosqa", type=Path, default=data / "cosqa", help="for the part `quality`")
    add("--only", nargs="+", choices=list(PARTS), default=USUAL_PARTS, help="parts to measure")
    return parser.parse_args()


def write(path, text):
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def model_directory(given, coderag):
    if given:
        return given
    command = [coderag, "models", "path", "all-MiniLM-L6-v2"]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def commit():
    command = ["git", "-C", PROJECT, "describe", "--always", "--dirty"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    given = arguments()
    engine_worker = given.examples.resolve() / "embedding_worker"
    arithmetic_peak = given.examples.resolve() / "arithmetic_peak"
    for path in [given.coderag, engine_worker, arithmetic_peak, given.texts]:
        if not path.is_file():
            sys.exit(f"{path} is missing; README.md in {HERE} says what to build and to fetch")
    model = model_directory(given.model, given.coderag)
    environment = Environment(given.work, model, given.threads)
    (environment.work / "logs").mkdir(parents=True, exist_ok=True)
    environment.prepare()

    settings = Settings(
        environment=environment,
        engine_worker=engine_worker,
        arithmetic_peak=arithmetic_peak,
        coderag=given.coderag.resolve(),
        texts=given.texts.resolve(),
        every=given.every,
        rounds=given.rounds,
        query_rounds=given.query_rounds,
        query_calls=given.query_calls,
        cold_runs=given.cold_runs,
        cosqa=given.cosqa.resolve(),
    )
    results = {
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit(),
        "machine": describe(),
        "threads": given.threads,
        "every": given.every,
        "model": json.loads((model / "config.json").read_text()),
        "packages": [
            line for line in (HERE / "requirements.txt").read_text().split() if "==" in line
        ],
        "failures": [],
    }
    for part in given.only:
        say(part)
        for _ in PARTS[part](settings, results):
            write(given.output, json.dumps(results, indent=1))
            write(given.output.with_suffix(".md"), markdown(results))
    say(markdown(results))
    sys.exit(1 if results["failures"] else 0)


if __name__ == "__main__":
    main()
