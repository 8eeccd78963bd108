#!/usr/bin/env python3
"""Makes a small test suite: each database with copies of itself whose rows were thinned, shuffled or emptied.

    neighbour_databases.py --databases DIRECTORY --gold gold.txt --output DIRECTORY [--seed 1]

For every database that gold.txt names, OUTPUT/<db_id>/ holds <db_id>.sqlite as it is and three neighbours:
`_half` with half of the rows, `_mixed` with the values of each column exchanged among the rows, `_empty`
with none. The test-suite execution score asks for equal results on all of them.
"""

import argparse
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def half(rows, chance):
    return [row for row in rows if chance.random() < 0.5]


def mixed(rows, chance):
    columns = [list(column) for column in zip(*rows)]
    for column in columns:
        chance.shuffle(column)
    return list(zip(*columns))


def neighbour(path, change, chance):
    """Rewrites every table of the database with the changed rows; rows that break a constraint are left out."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        tables = [
            name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            if table.startswith("sqlite_"):
                continue
            rows = connection.execute(f"SELECT * FROM {quoted(table)}").fetchall()
            connection.execute(f"DELETE FROM {quoted(table)}")
            for row in change(rows, chance):
                # CAST keeps text as text: bound bytes would be stored as blobs.
                marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, bytes) else "?" for value in row)
                connection.execute(f"INSERT OR IGNORE INTO {quoted(table)} VALUES ({marks})", row)
        connection.commit()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", type=Path, required=True)
    parser.add_argument("--gold", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(options.gold, encoding="utf-8", newline="\n") as lines:
        names = sorted({line.rstrip("\n").split("\t")[1] for line in lines})
    changes = {"half": half, "mixed": mixed, "empty": lambda rows, chance: []}
    for name in names:
        folder = options.output / name
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ["", *(f"_{change}" for change in changes)]:
            shutil.copyfile(options.databases / name / f"{name}.sqlite", folder / f"{name}{suffix}.sqlite")
        for change, function in changes.items():
            neighbour(folder / f"{name}_{change}.sqlite", function, random.Random(f"{options.seed}:{name}:{change}"))
    print(f"{len(names)} databases, {len(changes)} neighbours each")


if __name__ == "__main__":
    main()
