#!/usr/bin/env python3
"""Writes mutated predictions for gold questions, to run official scorers and ours on the same files.

    mutate.py --gold QUESTIONS.jsonl[.gz] --databases DIRECTORY --output DIRECTORY
              [--per-question 12] [--seed 1] [--without writes] [--only KIND] [--limit N]

Each line of QUESTIONS has `query` and `db_id`; the database is DIRECTORY/<db_id>/<db_id>.sqlite, opened
read-only. Written:

    gold.txt         `SQL<tab>db_id`, one line a prediction
    pred.txt         the prediction
    mutations.jsonl  {"index", "question", "db_id", "kinds"}: which question, and what was done to it

The same arguments give the same files. The kinds used least so far are tried first, so that each kind which
applies to few questions is still seen; one prediction in five is changed twice. A prediction that needs
more than `--steps` thousand steps of SQLite's machine, or more than `--rows` rows, is left out, because the
official scorers have no time limit that works.
"""

import argparse
import gzip
import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from mutations import GROUPS, KINDS, Question
from sql_text import Schema, Sentence

TWICE = 0.2


def questions_of(path):
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as lines:
        return [json.loads(line) for line in lines if line.strip()]


def one_line(sql):
    """The sentence as a line of the official files: no tab, no line break."""
    return " ".join(part for part in sql.replace("\t", " ").replace("\r", " ").split("\n")).strip(" ")


def usable(text):
    """Whether a text can be a line of the official files and is not blank to Python."""
    return text is not None and bool(text.strip()) and not any(c in text for c in "\t\r\n")


def is_cheap(schema, sql, steps, rows):
    """False for a query which runs long or returns much; an error is cheap."""
    count = 0

    def counted():
        nonlocal count
        count += 1
        return count > steps

    with closing(schema.connection()) as connection:
        connection.set_progress_handler(counted, 1000)
        try:
            cursor = connection.execute(sql)
            return len(cursor.fetchmany(rows + 1)) <= rows
        except Exception:
            return count <= steps


def selected_kinds(without, only):
    for name in without + only:
        if name not in KINDS and name not in GROUPS:
            raise SystemExit(f"no kind or group is called {name}: {', '.join(list(GROUPS) + list(KINDS))}")

    def named(names):
        return {kind for name in names for kind in GROUPS.get(name, [name])}

    kept = named(only) if only else set(KINDS)
    return [kind for kind in KINDS if kind in kept - named(without)]


class Mutator:
    """Makes predictions, and keeps count of the kinds used."""

    def __init__(self, kinds, steps, rows):
        self.kinds = kinds
        self.steps = steps
        self.rows = rows
        self.used = Counter()

    def applied(self, kind, sql, schema, chance, siblings):
        try:
            result = KINDS[kind](Question(Sentence(sql), schema, chance, siblings))
        except sqlite3.Error:
            return None
        if kind == "unchanged":
            return result
        return result if usable(result) and result != sql else None

    def predictions(self, sql, schema, chance, siblings, count):
        """Up to `count` distinct (kinds, prediction)."""
        made, seen = [], set()
        order = sorted(self.kinds, key=lambda kind: (self.used[kind], chance.random()))
        for kind in order:
            if len(made) == count:
                break
            result = self.applied(kind, sql, schema, chance, siblings)
            if result is None:
                continue
            kinds = [kind]
            if chance.random() < TWICE and kind != "unchanged":
                second = chance.choice(self.kinds)
                twice = self.applied(second, result, schema, chance, siblings) if Sentence(result).tokens else None
                if twice is not None and second != "unchanged":
                    result, kinds = twice, [kind, second]
            if result in seen or not is_cheap(schema, result, self.steps, self.rows):
                continue
            seen.add(result)
            self.used.update(kinds)
            made.append((kinds, result))
        return made


def mutated(questions, databases, kinds, seed, per_question, steps=20_000, rows=50_000):
    """(question's index, db_id, gold, kinds, prediction) for every question."""
    schemas, mutator = {}, Mutator(kinds, steps, rows)
    golds = {}
    for question in questions:
        golds.setdefault(question["db_id"], []).append(one_line(question["query"]))
    for index, question in enumerate(questions):
        database = question["db_id"]
        if database not in schemas:
            schemas[database] = Schema(databases / database / f"{database}.sqlite")
        sql = one_line(question["query"])
        siblings = sorted({gold for gold in golds[database] if gold != sql})
        chance = random.Random(f"{seed}:{index}:{sql}")
        for kinds_used, prediction in mutator.predictions(sql, schemas[database], chance, siblings, per_question):
            yield index, database, sql, kinds_used, prediction


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gold", type=Path, required=True)
    parser.add_argument("--databases", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--per-question", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="only the first N questions")
    parser.add_argument("--without", action="append", default=[], help="a kind or group to leave out")
    parser.add_argument("--only", action="append", default=[], help="a kind or group to use alone")
    parser.add_argument("--steps", type=int, default=20_000, help="thousands of SQLite steps")
    parser.add_argument("--rows", type=int, default=50_000)
    return parser.parse_args()


def main():
    options = arguments()
    questions = questions_of(options.gold)[: options.limit]
    kinds = selected_kinds(options.without, options.only)
    options.output.mkdir(parents=True, exist_ok=True)
    used, count = Counter(), 0
    with (
        open(options.output / "gold.txt", "w", encoding="utf-8", newline="\n") as gold,
        open(options.output / "pred.txt", "w", encoding="utf-8", newline="\n") as pred,
        open(options.output / "mutations.jsonl", "w", encoding="utf-8", newline="\n") as names,
    ):
        for index, database, sql, kinds_used, prediction in mutated(
            questions, options.databases, kinds, options.seed, options.per_question, options.steps, options.rows
        ):
            gold.write(f"{sql}\t{database}\n")
            pred.write(prediction + "\n")
            names.write(json.dumps({"index": count, "question": index, "db_id": database, "kinds": kinds_used}) + "\n")
            used.update(kinds_used)
            count += 1
    unused = [kind for kind in kinds if not used[kind]]
    print(f"{count} predictions for {len(questions)} questions, {len(used)} kinds")
    if unused:
        print("not applicable to any question:", ", ".join(unused))


if __name__ == "__main__":
    main()
