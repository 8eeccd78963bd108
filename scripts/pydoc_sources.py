#!/usr/bin/env python3
"""Splits pydoc's pairs by package, so that `same_source_per_batch` makes batches of one package each.

    python3 scripts/pydoc_sources.py OUTPUT [--validation scipy sklearn] [--least 256]

Reads `$CODERAG_DATA/pydoc/train.jsonl.gz` (`--data`), whose rows have `pkg`, and writes to the folder OUTPUT:

    PACKAGE.jsonl.gz       the rows of each package that has at least `--least` of them, in the file's order
    other.jsonl.gz         those of all other packages
    validation.jsonl.gz    those of the packages named by `--validation`, which then are in no other file
    sources.toml           all of them but the validation as `[[stage.source]]`, to be put into a configuration

A recipe is chosen by the scores on the validation, which is searched as the dev set is (the first 1,000 queries
among all functions), so that the dev set has no part in the choice. Made anew, the files have the same bytes.
"""

import argparse
import collections
import gzip
import json
import os
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VALIDATION, OTHER = "validation", "other"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("CODERAG_DATA", PROJECT.parent / "shared/data"))
    parser.add_argument("output", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--data", type=Path, default=data / "pydoc/train.jsonl.gz")
    parser.add_argument("--validation", nargs="+", default=[], metavar="PACKAGE")
    parser.add_argument("--least", type=int, default=256, help="rows of a package with a file of its own")
    return parser.parse_args()


def lines_by_source(path, validation, least):
    """The lines of each file that is written."""
    packages = collections.defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        # In the file's order, which is shuffled: `other` and `validation` are too.
        rows = [(json.loads(line)["pkg"], line) for line in lines]
    sizes = collections.Counter(package for package, _ in rows)
    missing = set(validation) - set(sizes)
    if missing:
        sys.exit(f"{path} has no package {', '.join(sorted(missing))}")
    for package, line in rows:
        source = package if sizes[package] >= least else OTHER
        packages[VALIDATION if package in validation else source].append(line)
    return dict(sorted(packages.items()))


def main():
    given = arguments()
    sources = lines_by_source(given.data, given.validation, given.least)
    if given.output.exists():
        sys.exit(f"{given.output} is there already; name a new folder")
    partial = given.output.with_name(f".{given.output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    described = []
    for source, lines in sources.items():
        name = f"{source}.jsonl.gz"
        text = "".join(lines).encode("utf-8")
        (partial / name).write_bytes(gzip.compress(text, mtime=0))
        print(f"{name}: {len(lines):,} rows")
        if source != VALIDATION:
            described.append(
                f"[[stage.source]]\nname = {json.dumps(source)}\n"
                f"files = [{json.dumps(str(given.output.absolute() / name))}]\n"
                'columns = { anchor = "query", positive = "doc" }\n'
            )
    (partial / "sources.toml").write_text("\n".join(described), encoding="utf-8")
    partial.rename(given.output)


if __name__ == "__main__":
    main()
