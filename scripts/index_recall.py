#!/usr/bin/env python3
"""Recall@k of an index's graph against its exact scan.

    scripts/index_recall.py CODERAG INDEX QUERIES.jsonl[.gz] --field sql_prompt [--sample 1000] [-k 10]

Draws a seeded sample of the queries, searches for each in both ways, and prints which share of the exact
results the graph finds. A result of the same score counts as the same: documents with equal vectors are
interchangeable.
"""

import argparse
import gzip
import json
import random
import subprocess
import tempfile
from pathlib import Path


def search(arguments, queries, *extra):
    command = [arguments.coderag, "index", "search", "--index", arguments.index, "-k", str(arguments.k)]
    command += ["--queries", queries, "--field", "query", *extra]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [json.loads(line)["hits"] for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coderag")
    parser.add_argument("index")
    parser.add_argument("queries", type=Path)
    parser.add_argument("--field", required=True)
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()

    opened = gzip.open if arguments.queries.suffix == ".gz" else open
    with opened(arguments.queries, "rt", encoding="utf-8") as lines:
        queries = [json.loads(line)[arguments.field] for line in lines]
    queries = random.Random(arguments.seed).sample(queries, min(arguments.sample, len(queries)))

    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for query in queries:
            file.write(json.dumps({"query": query}) + "\n")
        file.flush()
        graph = search(arguments, file.name)
        exact = search(arguments, file.name, "--exact")

    found = total = 0
    for approximate, reference in zip(graph, exact, strict=True):
        ids = {hit["id"] for hit in approximate}
        equal = sum(hit["score"] >= reference[-1]["score"] - 1e-6 for hit in approximate)
        same = sum(hit["id"] in ids for hit in reference)
        found += max(same, min(equal, len(reference)))
        total += len(reference)
    print(f"recall@{arguments.k} {found / total:.4f} over {len(queries)} queries")


if __name__ == "__main__":
    main()
