#!/usr/bin/env python3
"""Makes empty SQLite databases from a tables.json, for exact match where the real databases are not at hand.

    stub_databases.py tables.json OUTPUT

OUTPUT/<db_id>/<db_id>.sqlite has the tables and columns of tables.json under their original names and no
rows. The official exact match reads nothing but these names from a database. A column named twice in a
table, which SQLite does not allow, is made once.
"""

import argparse
import json
import sqlite3
from contextlib import closing
from pathlib import Path

TYPES = {"number": "NUMERIC", "boolean": "BOOLEAN", "time": "DATETIME"}


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def made(entry, output):
    name = entry["db_id"]
    path = output / name / f"{name}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    columns = {table: {} for table in range(len(entry["table_names_original"]))}
    for (table, column), kind in zip(entry["column_names_original"], entry["column_types"]):
        if table >= 0:
            columns[table].setdefault(column.lower(), f"{quoted(column)} {TYPES.get(kind, 'TEXT')}")
    with closing(sqlite3.connect(path)) as connection:
        for table, title in enumerate(entry["table_names_original"]):
            # sqlite_sequence is SQLite's own: it comes with the first AUTOINCREMENT, and cannot be made.
            if title.lower() == "sqlite_sequence":
                connection.execute("CREATE TABLE stub_sequence (id INTEGER PRIMARY KEY AUTOINCREMENT)")
                connection.execute("DROP TABLE stub_sequence")
            else:
                connection.execute(f"CREATE TABLE {quoted(title)} ({', '.join(columns[table].values())})")
        connection.commit()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    entries = json.loads(options.tables.read_text(encoding="utf-8"))
    for entry in entries:
        made(entry, options.output)
    print(f"{len(entries)} databases")


if __name__ == "__main__":
    main()
