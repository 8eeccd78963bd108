#!/usr/bin/env python3
"""Makes the reference results that coderag-eval's defog tests compare with.

    git clone https://github.com/defog-ai/sql-eval /tmp/sql-eval
    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install pandas==3.1.1 func_timeout==4.3.5
    /tmp/reference/bin/python scripts/reference_defog.py /tmp/sql-eval

Tables, questions and queries come from a seeded generator. They are written to a SQLite database in
a temporary folder, and the checkout's own `compare_query_results` and `get_all_minimal_queries`
judge them. Written to crates/coderag-eval/tests/fixture/defog.json; `--cases N --seed S --output F`
makes a larger set of the same kind elsewhere.

A real number is written as {"real": "1.5"}, so that no JSON parser rounds it; a blob as
{"blob": "00ff"}. An outcome is [exact, correct], or the name of the exception that the official
script lets through.
"""

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import types
import warnings
from pathlib import Path

import numpy
import pandas

FIXTURE = Path(__file__).resolve().parent.parent / "crates/coderag-eval/tests/fixture/defog.json"

NAMES = ["a", "b", "c", "id", "Name", "name", "total", "B", "x1", "été", "a_0", "a_1", "a_2", "_n"]
WORDS = ["red", "Red", "blue", "green", "", "1", "2", "10", "1.0", "-99999", "null", "été", "𝄞", "a\0b"]
CATEGORIES = ["order_by", "group_by", "table_join", "ratio", ""]
QUESTIONS = [
    "Which bicycles are there?",
    "List the stations and their totals.",
    "What is the border of each region?",
    "Show sorted totals per city.",
    "Sort the cities by total.",
    "Give the riders in order of distance.",
    "Arrange the names from last to first.",
    "ORDER: every trip.",
    "Use sort_key for the riders.",
    "Give all rides, re-arrange them.",
    "İorder of all",
    "ſort the bicycles",
]


def load(checkout):
    """Imports the official eval.py, with what it needs only for other databases left out."""
    sys.path.insert(0, str(checkout))
    credentials = types.ModuleType("utils.creds")
    credentials.db_creds_all = {}
    sys.modules["utils.creds"] = credentials
    sqlalchemy = types.ModuleType("sqlalchemy")
    sqlalchemy.create_engine = sqlalchemy.text = None
    sys.modules["sqlalchemy"] = sqlalchemy
    from eval import eval as official

    return official


def small_integer(rng):
    return rng.choice([0, 1, 2, 3, 5, 10, -1, -99999])


def large_integer(rng):
    return rng.choice([2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1, -(2**63), 100_000, 100_001, 1])


def real(rng):
    return rng.choice([0.0, 0.5, 1.0, 1.5, 2.25, 100_000.0, 1e-9, -1.0, 3.3333333333333335, -99999.0])


def odd_real(rng):
    return rng.choice([float("inf"), float("-inf"), 9007199254740992.0, 9223372036854775808.0, -0.0, 1e300, 1.0])


def text(rng):
    return rng.choice(WORDS)


def blob(rng):
    return rng.choice([b"", b"ab", b"red", b"\x00\xff"])


KINDS = [
    ([small_integer], 10),
    ([real], 8),
    ([text], 10),
    ([small_integer, real], 3),
    ([small_integer, text], 3),
    ([real, text], 2),
    ([large_integer], 3),
    ([large_integer, odd_real], 2),
    ([odd_real], 2),
    ([blob], 2),
    ([blob, text], 1),
    ([blob, small_integer], 1),
    ([blob, text, small_integer], 1),
    ([lambda rng: None], 1),
    ([lambda rng: rng.choice(["red", 1])], 1),
]


def column(rng, rows):
    kinds = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    if rng.random() < 0.15:
        constant = rng.choice(kinds)(rng)
        values = [constant] * rows
    elif rng.random() < 0.3 and kinds[0] in (small_integer, text, real):
        values = [[number, f"w{number:02}", number / 4][(small_integer, text, real).index(kinds[0])] for number in range(rows)]
        rng.shuffle(values)
    else:
        values = [rng.choice(kinds)(rng) for _ in range(rows)]
    if rng.random() < 0.2:
        values = [None if rng.random() < 0.3 else value for value in values]
    return values


def row_count(rng):
    return rng.choices([0, 1, 2, 3, 4, 5, 6, 18, 40], [4, 12, 14, 16, 16, 14, 10, 4, 2])[0]


def names(rng, count):
    if rng.random() < 0.06:
        return [rng.choice(NAMES[:3] + NAMES[10:13]) for _ in range(count)]
    return rng.sample(NAMES, count)


def noisy(rng, value):
    if not isinstance(value, float):
        return value
    size = rng.choice([1e-9, 1e-3, 0.99e-5, 1e-5, 1.01e-5, 1e-12])
    return value + size if rng.random() < 0.3 else value * (1 + size)


def converted(rng, value):
    if isinstance(value, int):
        return rng.choice([float, str])(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**62:
        return int(value)
    if isinstance(value, str):
        return value.encode() if rng.random() < 0.5 else (int(value) if value.isascii() and value.isdigit() else value)
    return value


def mutated(rng, header, columns):
    """A table near the given one: what a model's query might return instead."""
    header, columns = list(header), [list(values) for values in columns]
    for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3])):
        rows = len(columns[0])
        change = rng.randrange(16)
        if change == 0:
            order = list(range(rows))
            rng.shuffle(order)
            columns = [[values[row] for row in order] for values in columns]
        elif change == 1:
            order = list(range(len(columns)))
            rng.shuffle(order)
            header, columns = [header[at] for at in order], [columns[at] for at in order]
        elif change in (2, 3):
            header = names(rng, len(header)) if rng.random() < 0.5 else header
            at = rng.randrange(len(header))
            header[at] = rng.choice(NAMES)
        elif change == 4:
            at = rng.randrange(len(columns))
            columns[at] = [noisy(rng, value) for value in columns[at]]
        elif change == 5 and rows:
            at = rng.randrange(len(columns))
            row = rng.randrange(rows)
            columns[at][row] = noisy(rng, columns[at][row])
        elif change == 6:
            at = rng.randrange(len(columns))
            columns[at] = [converted(rng, value) for value in columns[at]]
        elif change == 7 and rows:
            row = rng.randrange(rows)
            columns = [values + [values[row]] for values in columns]
        elif change == 8 and rows:
            row = rng.randrange(rows)
            columns = [values[:row] + values[row + 1 :] for values in columns]
        elif change in (9, 10) and len(columns) < 6:
            at = rng.randrange(len(columns) + 1)
            header.insert(at, rng.choice(NAMES))
            columns.insert(at, list(rng.choice(columns)) if rng.random() < 0.3 else column(rng, rows))
        elif change == 11 and len(columns) > 1:
            at = rng.randrange(len(columns))
            del header[at], columns[at]
        elif change == 12 and rows:
            at, row = rng.randrange(len(columns)), rng.randrange(rows)
            columns[at][row] = column(rng, 1)[0]
        elif change == 13 and rows:
            at, row = rng.randrange(len(columns)), rng.randrange(rows)
            columns[at][row] = None
        elif change == 14:
            at = rng.randrange(len(columns))
            columns[at] = [-99999 if value is None else value for value in columns[at]]
        elif change == 15:
            keep = rng.choice([0, 1, 1])
            columns = [values[:keep] for values in columns]
            if keep and rng.random() < 0.5:
                header, columns = header[:1], columns[:1]
    return header, columns


def order_clause(rng, header):
    first, second = rng.choice(header), rng.choice(header)
    quoted = f'"{first}"'
    bare = first if first.isascii() else quoted
    return rng.choice(
        [
            "",
            f" ORDER BY {bare}",
            f" ORDER BY {bare} DESC",
            f" order by {bare} asc",
            f" ORDER BY {quoted} ASC",
            f" ORDER BY {bare} DESC NULLS LAST",
            f' ORDER BY {bare}, "{second}"',
            f" ORDER BY {bare} ASC LIMIT 3",
            f" ORDER BY ({bare}) DESC",
            f" ORDER BY\n{bare} DESC",
            f"\nORDER BY {bare} DESC\n",
            f" ORDER  BY {bare}",
            f' ORDER BY CASE WHEN {bare} > 1 THEN {bare} ELSE "{second}" END ASC',
            f" ORDER BY {bare} || 'x'",
            " ORDER BY 1 DESC",
        ]
    )


def query(rng, table, header):
    if rng.random() < 0.06:
        header_text = ", ".join(f'c{at} AS "{name}"' for at, name in enumerate(header))
        return f"SELECT * FROM (SELECT {header_text} FROM {table}{order_clause(rng, header)}) ORDER BY 1"
    header_text = ", ".join(f'c{at} AS "{name}"' for at, name in enumerate(header))
    tail = order_clause(rng, header) if rng.random() < 0.5 else ""
    prefix = f"{table}." if rng.random() < 0.1 else ""
    # Duplicate names make a bare ORDER BY ambiguous only where SQLite says so.
    return f"SELECT {header_text} FROM {table}{tail.replace('BY ', 'BY ' + prefix, 1) if prefix and 'BY c' in tail else tail}"


def gold_query(rng, header):
    kind = rng.random()
    if kind < 0.7:
        return query(rng, "gold", header)
    if kind < 0.8:
        other = rng.sample(header, rng.randint(1, len(header)))
        chosen = ", ".join(f'c{header.index(name)} AS "{name}"' for name in other)
        return f"{query(rng, 'gold', header)}; SELECT {chosen} FROM gold;"
    options = [f'c{at} AS "{name}"' for at, name in enumerate(header)]
    braced = rng.randint(1, len(options))
    rest = "".join(f", {option}" for option in options[braced:])
    separator = rng.choice([",", ", "])
    if kind < 0.93:
        return f"SELECT {{{separator.join(options[:braced])}}}{rest} FROM gold"
    columns = separator.join(f"gold.c{at}" for at in range(braced))
    return f"SELECT {{{columns}}}, COUNT(*) AS n FROM gold GROUP BY {{}}"


def fill(connection, table, columns):
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    # Columns without a type keep every value as it was given.
    connection.execute(f"CREATE TABLE {table} ({', '.join(f'c{at}' for at in range(len(columns)))})")
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", zip(*columns))


def encoded(value):
    if isinstance(value, float):
        return {"real": repr(value)}
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    return value


def table(connection, sql):
    cursor = connection.execute(sql)
    rows = [[encoded(value) for value in row] for row in cursor.fetchall()]
    return {"columns": [description[0] for description in cursor.description], "rows": rows}


def case(rng, official, connection, folder):
    """One judged case, or None where SQLite refuses the generated SQL."""
    width = rng.choice([1, 1, 2, 2, 3, 4])
    header = names(rng, width)
    rows = row_count(rng)
    columns = [column(rng, rows) for _ in range(width)]
    predicted_header, predicted_columns = mutated(rng, header, columns)
    gold = gold_query(rng, header)
    predicted = query(rng, "predicted", predicted_header)
    if "COUNT(*)" in gold and rng.random() < 0.7:
        predicted = f"SELECT c0 AS {rng.choice('abn')}, COUNT(*) AS n FROM gold GROUP BY c0"
    fill(connection, "gold", columns)
    fill(connection, "predicted", predicted_columns)
    connection.commit()
    question, category = rng.choice(QUESTIONS), rng.choice(CATEGORIES)
    try:
        alternatives = [table(connection, sql) for sql in official.get_all_minimal_queries(gold)]
        predicted_table = table(connection, predicted)
    except sqlite3.Error:
        return None
    try:
        exact, correct = official.compare_query_results(
            gold, predicted, "case", "sqlite", {"path_to_folder": f"{folder}/"}, question, category
        )
        outcome = [bool(exact), bool(correct)]
    except Exception as error:
        outcome = type(error).__name__
    return {
        "question": question,
        "category": category,
        "gold_sql": gold,
        "predicted_sql": predicted,
        "gold": alternatives,
        "predicted": predicted_table,
        "outcome": outcome,
    }


SHAPES = [
    "SELECT id FROM ride",
    "  SELECT id FROM ride ;; SELECT name FROM rider;\n",
    "SELECT {id, name} FROM ride",
    "SELECT {ride.id,ride.name, ride.city}, COUNT(*) FROM ride GROUP BY {}",
    "SELECT {id,name} FROM ride GROUP BY {}, city ORDER BY {}; SELECT {x} FROM y",
    "SELECT {} FROM ride",
    "SELECT {a,} FROM ride GROUP BY {}",
    "SELECT } FROM {a, b} WHERE {c, d}",
    "SELECT {a, b FROM ride",
    "SELECT '{;}' FROM ride",
    "WITH t AS (SELECT {m.id,m.été} FROM m GROUP BY {}, m.kind) SELECT * FROM t",
    "",
    " ; \n;",
    "\x1cSELECT 1\x1f;\u00a0SELECT 2\u3000",
    "SELECT {a,b,c,d,e,f} FROM t group by {}",
    "SELECT {{a, b}} FROM t",
    "\u200bSELECT {coalesce(a,b),c} FROM t",
]


def minimal_queries(rng, official):
    generated = []
    for _ in range(30):
        pieces = rng.choices(["SELECT ", "{", "}", ",", ";", "GROUP BY {}", "é", " ", "a", "b.c", "\n"], k=rng.randint(1, 14))
        generated.append("".join(pieces))
    return [{"gold": gold, "queries": official.get_all_minimal_queries(gold)} for gold in SHAPES + generated]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("checkout", type=Path)
    arguments.add_argument("--cases", type=int, default=280)
    arguments.add_argument("--seed", type=int, default=20)
    arguments.add_argument("--output", type=Path, default=FIXTURE)
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    official = load(options.checkout)
    rng = random.Random(options.seed)
    reference = {
        "python": sys.version.split()[0],
        "pandas": pandas.__version__,
        "numpy": numpy.__version__,
        "sqlite": sqlite3.sqlite_version,
    }
    with tempfile.TemporaryDirectory() as folder, open(options.output, "w", encoding="utf-8") as output:
        connection = sqlite3.connect(f"{folder}/case.db")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        line = lambda value: json.dumps(value, ensure_ascii=True, separators=(",", ":"))
        output.write('{"reference":' + line(reference) + ',\n"minimal_queries":[\n')
        output.write(",\n".join(line(shape) for shape in minimal_queries(rng, official)))
        output.write('],\n"cases":[\n')
        written = 0
        while written < options.cases:
            made = case(rng, official, connection, folder)
            if made is None:
                continue
            output.write((",\n" if written else "") + line(made))
            written += 1
        output.write("]}\n")


if __name__ == "__main__":
    main()
