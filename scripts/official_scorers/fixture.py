#!/usr/bin/env python3
"""Makes the fixture with which the tests of coderag-eval stay equal to the official scorers without them.

    fixture.py SPIDER TEST_SUITE BIRD [--other-sqlite DIRECTORY]

SPIDER, TEST_SUITE and BIRD are checkouts of taoyds/spider, taoyds/test-suite-sql-eval and
bird-bench/mini_dev (README.md has the commits and what Python needs), run with NLTK_DATA set. Written to
crates/coderag-eval/tests/fixture/official.json; it takes a few minutes.

The database is the project's own, made from eval/demo/bicycle_rental.sql, and so are the gold queries: those
of eval/demo/questions.jsonl and those below. The predictions are mutations of them (mutate.py), without
statements that write and without the kind `nesting_deepest`, whose answer depends on sqlparse's limits. Run
are both scripts of Spider with `--etype all`, that of the test suites also with `--keep-distinct` and, on a
few predictions, with `--plug-value`; and BIRD's EX, Soft-F1 and the reward of R-VES for given times.

What a query returns can depend on the version of SQLite: the order of rows that nothing orders, the column
that stands for a bare one in a grouped query, what the parser allows. --other-sqlite is a folder that holds
another libsqlite3.so.0, such as the version that rusqlite bundles; everything is run with it, too, and a
prediction for which any answer differs is left out.

The fixture:

    official      versions, and the digests of the official files
    tables        the database's entry of Spider's tables.json
    gold          the gold queries
    predictions   [gold query's number, prediction, kinds of mutation], ...
    partials      the partial scores that occur: for the ten components in the official order the score
                  (accuracy, recall and F1 are always equal), and the totals of label and prediction
    runs          {"variant", "keep_distinct", "plug_value", "predictions": numbers, or null for all,
                  "answers": [[hardness, prediction parses, exact match, execution, number in partials,
                  crash], ...]}; null is what a crash left unknown
    bird          {"values": {number: the value in predictions.json where that is an odd one}, "difficulties",
                  "answers": [[ex, soft_f1], ...], "rewards": [{"gold_seconds", "predicted_seconds",
                  "reward"}, ...], "figures": the official summary}
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

from bird_databases import SEPARATOR, entry, timing, written
from mutate import mutated, selected_kinds

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
FIXTURE = PROJECT / "crates/coderag-eval/tests/fixture/official.json"
DATABASE = "bicycle_rental"
LEVELS = ("simple", "moderate", "challenging")
SEED = 1
PER_QUESTION = 11

GOLD = (
    "SELECT DISTINCT country FROM city",
    "SELECT count(DISTINCT model) FROM bicycle",
    "SELECT name, population FROM city WHERE population BETWEEN 250000 AND 400000 ORDER BY population",
    "SELECT first_name, last_name FROM member WHERE last_name LIKE '%er%'",
    "SELECT name FROM city WHERE city_id NOT IN (SELECT city_id FROM mechanic WHERE hired_on > '2021-12-31')",
    "SELECT T3.name, count(*) FROM repair AS T1 JOIN mechanic AS T2 ON T1.mechanic_id = T2.mechanic_id "
    "JOIN city AS T3 ON T2.city_id = T3.city_id GROUP BY T3.name",
    "SELECT country FROM city WHERE population > 300000 INTERSECT SELECT country FROM city WHERE population < 300000",
    "SELECT model FROM bicycle EXCEPT SELECT T1.model FROM bicycle AS T1 JOIN repair AS T2 "
    "ON T1.bicycle_id = T2.bicycle_id WHERE T2.part = 'battery' AND T2.cost_eur > 350",
    "SELECT first_name FROM mechanic UNION SELECT first_name FROM member WHERE birth_year < 1955",
    "SELECT name FROM station WHERE docks > (SELECT avg(docks) FROM station)",
    "SELECT max(price_eur), min(price_eur), avg(price_eur) FROM bicycle WHERE kind = 'city'",
    "SELECT kind, avg(price_eur) FROM bicycle WHERE status != 'retired' GROUP BY kind HAVING count(*) >= 40",
    "SELECT T1.first_name, T1.last_name FROM member AS T1 JOIN ride AS T2 ON T1.member_id = T2.member_id "
    "GROUP BY T1.member_id ORDER BY sum(T2.distance_km) DESC LIMIT 3",
    "SELECT count(*) FROM member WHERE plan = 'year' OR plan = 'month'",
    "SELECT T2.name FROM bicycle AS T1 JOIN station AS T2 ON T1.home_station_id = T2.station_id "
    "WHERE T1.kind = 'cargo' AND T2.docks < 12",
    "SELECT stars, count(*) FROM review GROUP BY stars ORDER BY count(*) DESC, stars ASC",
    "SELECT name FROM station WHERE station_id IN (SELECT start_station_id FROM ride WHERE minutes > 58) "
    "AND has_charger = 1",
    "SELECT part FROM repair WHERE cost_eur > 100 AND finished_on < '2024-01-01' GROUP BY part "
    "HAVING count(*) > 2 ORDER BY part LIMIT 4",
    "SELECT population - 100000 FROM city ORDER BY name",
    "SELECT T1.name FROM station AS T1 JOIN city AS T2 ON T1.city_id = T2.city_id WHERE T2.country = 'Portugal' "
    "EXCEPT SELECT T1.name FROM station AS T1 JOIN review AS T2 ON T1.station_id = T2.station_id WHERE T2.stars = 1",
    "SELECT DISTINCT T1.kind FROM bicycle AS T1 JOIN ride AS T2 ON T1.bicycle_id = T2.bicycle_id "
    "JOIN member AS T3 ON T2.member_id = T3.member_id WHERE T3.birth_year = 2001 ORDER BY T1.kind",
    "SELECT count(*) FROM (SELECT DISTINCT home_station_id FROM bicycle WHERE kind = 'electric')",
    "SELECT comment FROM review WHERE comment NOT LIKE '%free%' AND stars < 3 ORDER BY written_on DESC LIMIT 5",
)

# What is run, besides the script's own name.
RUNS = {
    "spider": {"variant": "spider"},
    "test-suite": {"variant": "test-suite"},
    "keep-distinct": {"variant": "test-suite", "keep_distinct": True},
    "plug-value": {"variant": "test-suite", "plug_value": True},
}
COMPONENTS = (
    "select",
    "select(no AGG)",
    "where",
    "where(no OP)",
    "group(no Having)",
    "group",
    "order",
    "and/or",
    "IUEN",
    "keywords",
)
# How many sentences --plug-value may try for a prediction.
MOST_CHOICES = 200
PLUGGED = 80
REWARDS = 36


def tables_entry(path):
    """The database in the shape of Spider's tables.json."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns, types, primary, numbers = [[-1, "*"]], ["text"], [], {}
        for number, table in enumerate(tables):
            for _, column, kind, _, _, is_key in connection.execute(f"PRAGMA table_info({table})"):
                if is_key:
                    primary.append(len(columns))
                numbers[table, column] = len(columns)
                columns.append([number, column])
                types.append("text" if kind == "TEXT" else "number")
        keys = [
            [numbers[table, column], numbers[other, target]]
            for table in tables
            for _, _, other, column, target, *_ in connection.execute(f"PRAGMA foreign_key_list({table})")
        ]
    return {
        "db_id": DATABASE,
        "table_names": [table.replace("_", " ") for table in tables],
        "table_names_original": tables,
        "column_names": [[table, column.replace("_", " ")] for table, column in columns],
        "column_names_original": columns,
        "column_types": types,
        "primary_keys": primary,
        "foreign_keys": sorted(keys),
    }


def run(script, *arguments, environment):
    subprocess.run(
        [sys.executable, "-W", "ignore", script, *map(str, arguments)],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def records_of(path):
    with open(path, encoding="utf-8") as lines:
        first, *others = map(json.loads, lines)
    return first["official"], others


class Scorers:
    """The official scorers on one set of files, with one version of SQLite."""

    def __init__(self, options, folder, environment):
        self.options, self.folder, self.environment = options, folder, environment
        self.databases = folder / "databases"
        database = self.databases / DATABASE / f"{DATABASE}.sqlite"
        run(PROJECT / "scripts/demo_database.py", database, environment=environment)
        self.entry = tables_entry(database)
        (folder / "tables.json").write_text(json.dumps([self.entry]), encoding="utf-8")

    def spider(self, name, predictions):
        """The versions and the answers to (gold query, prediction) pairs."""
        gold, pred = self.folder / f"{name}.gold", self.folder / f"{name}.pred"
        written(gold, [f"{gold}\t{DATABASE}" for gold, _ in predictions])
        written(pred, [prediction for _, prediction in predictions])
        settings = RUNS[name]
        test_suite = settings["variant"] == "test-suite"
        flags = [f"--{flag.replace('_', '-')}" for flag in ("keep_distinct", "plug_value") if settings.get(flag)]
        output = self.folder / f"{name}.jsonl"
        run(
            HERE / "run_spider.py",
            *("--checkout", self.options.test_suite if test_suite else self.options.spider),
            *("--variant", settings["variant"], "--etype", "all", "--gold", gold, "--pred", pred),
            *("--db", self.databases, "--tables", self.folder / "tables.json"),
            *("--scratch", self.folder / "scratch", "--output", output),
            *flags,
            environment=self.environment,
        )
        versions, records = records_of(output)
        assert len(records) == len(predictions)
        return versions, [answer(record) for record in records]

    def bird(self, predictions, values):
        """The versions, the records and the summary."""
        written(self.folder / "gold.sql", [f"{gold}\t{DATABASE}" for gold, _ in predictions])
        (self.folder / "predictions.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
        written(
            self.folder / "difficulty.jsonl",
            [json.dumps({"difficulty": difficulty(index)}) for index in range(len(predictions))],
        )
        written(self.folder / "timings.jsonl", [json.dumps(times) for times in timings(len(predictions))])
        run(
            HERE / "run_bird.py",
            *("--checkout", self.options.bird, "--gold", self.folder / "gold.sql"),
            *("--pred", self.folder / "predictions.json", "--db", self.databases, "--iterations", 1),
            *("--difficulty", self.folder / "difficulty.jsonl", "--timings", self.folder / "timings.jsonl"),
            *("--output", self.folder / "bird.jsonl"),
            environment=self.environment,
        )
        versions, records = records_of(self.folder / "bird.jsonl")
        return versions, records[:-1], records[-1]["summary"]


def difficulty(index):
    return LEVELS[index % len(LEVELS)]


def timings(count):
    chance = random.Random(f"{SEED}:timings")
    return [timing(index, chance) for index in range(count)]


def answer(record):
    """One record of run_spider.py as a row of the fixture, but with the partial scores themselves."""
    # A crash while matching leaves those that were computed before it.
    partial = record.get("partial") if "exact_match" in record else None
    if partial is not None:
        scores = [partial[component] for component in COMPONENTS]
        assert all(score["acc"] == score["rec"] == score["f1"] for score in scores)
        partial = [int(score[key]) for score in scores for key in ("f1", "label_total", "pred_total")]
    assert not record["timeout"], record
    parses = record.get("prediction_parses")
    return [
        record.get("hardness"),
        None if parses is None else int(parses),
        record.get("exact_match"),
        record.get("execution"),
        partial,
        int(record["crash"] is not None),
    ]


def pluggable(checkout, predictions):
    """The predictions with something to plug in, and not too many ways to do it."""
    sys.path.insert(0, str(checkout.resolve()))
    official = importlib.import_module("parse")
    found = []
    for index, (gold, prediction) in enumerate(predictions):
        try:
            count, _ = official.get_all_preds_for_execution(gold, prediction)
        except Exception:
            # A crash of the official script is an answer, too.
            count = 2
        if 1 < count <= MOST_CHOICES:
            found.append(index)
    return found


def chosen_to_plug(candidates, answers):
    """As many as are wanted, first of all those which are wrong with their own values."""
    wrong = [index for index in candidates if answers[index][3] == 0 and answers[index][1]]
    others = [index for index in candidates if index not in wrong]
    chance = random.Random(f"{SEED}:plug")
    found = chance.sample(wrong, min(PLUGGED * 3 // 4, len(wrong)))
    return sorted(found + chance.sample(others, min(PLUGGED - len(found), len(others))))


def answers_of(scorers, predictions, values, plugged):
    """Everything that the official scorers say, by run."""
    versions, answers = {}, {}
    for name in RUNS:
        some = [predictions[index] for index in plugged] if name == "plug-value" else predictions
        versions[name], answers[name] = scorers.spider(name, some)
    versions["bird"], answers["bird"], _ = scorers.bird(predictions, values)
    return versions, answers


def differing(first, second, plugged):
    """The predictions of which any answer differs."""
    found = set()
    for name in RUNS:
        for position, pair in enumerate(zip(first[name], second[name], strict=True)):
            if pair[0] != pair[1]:
                found.add(plugged[position] if name == "plug-value" else position)
    for one, other in zip(first["bird"], second["bird"], strict=True):
        if any(one[key] != other[key] for key in ("ex", "soft_f1", "reward")):
            found.add(one["index"])
    return found


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spider", type=Path)
    parser.add_argument("test_suite", type=Path)
    parser.add_argument("bird", type=Path)
    parser.add_argument("--other-sqlite", type=Path)
    return parser.parse_args()


def without(values, numbers):
    return [value for index, value in enumerate(values) if index not in numbers]


def main():
    options = arguments()
    with open(PROJECT / "eval/demo/questions.jsonl", encoding="utf-8") as lines:
        gold = [json.loads(line)["sql"] for line in lines] + list(GOLD)
    with tempfile.TemporaryDirectory() as temporary:
        first = Path(temporary) / "first"
        first.mkdir()
        scorers = Scorers(options, first, dict(os.environ))
        kinds = selected_kinds(["writes", "nesting_deepest"], [])
        questions = [{"db_id": DATABASE, "query": sql} for sql in gold]
        made = list(mutated(questions, scorers.databases, kinds, SEED, PER_QUESTION, steps=1000, rows=5000))
        # Python's readers take the space around a line away.
        predictions = [(sql, prediction.strip()) for _, _, sql, _, prediction in made]
        values = {str(index): entry(index, pair[1], DATABASE) for index, pair in enumerate(predictions)}
        candidates = pluggable(options.test_suite, predictions)
        _, plain = scorers.spider("test-suite", predictions)
        plugged = chosen_to_plug(candidates, plain)
        versions, answers = answers_of(scorers, predictions, values, plugged)
        left_out = set()
        if options.other_sqlite:
            second = Path(temporary) / "second"
            second.mkdir()
            environment = {**os.environ, "LD_LIBRARY_PATH": str(options.other_sqlite)}
            others = Scorers(options, second, environment)
            other_versions, other_answers = answers_of(others, predictions, values, plugged)
            assert other_versions["bird"]["sqlite"] != versions["bird"]["sqlite"], "the same SQLite twice"
            versions["other_sqlite"] = other_versions["bird"]["sqlite"]
            left_out = differing(answers, other_answers, plugged)

        # The rest once more, numbered anew, for BIRD's summary.
        kept = without(range(len(made)), left_out)
        renumbered = {old: new for new, old in enumerate(kept)}
        made = without(made, left_out)
        predictions = without(predictions, left_out)
        values = {str(new): values[str(old)] for old, new in renumbered.items()}
        _, records, summary = scorers.bird(predictions, values)

    partials, runs = {}, []
    for name, settings in RUNS.items():
        rows, numbers = answers[name], None
        if name == "plug-value":
            rows = [row for row, index in zip(rows, plugged) if index in renumbered]
            numbers = [renumbered[index] for index in plugged if index in renumbered]
        else:
            rows = without(rows, left_out)
        for row in rows:
            if row[4] is not None:
                row[4] = partials.setdefault(tuple(row[4]), len(partials))
        runs.append(
            {
                "variant": settings["variant"],
                "keep_distinct": settings.get("keep_distinct", False),
                "plug_value": settings.get("plug_value", False),
                "predictions": numbers,
                "answers": rows,
            }
        )
    times = timings(len(predictions))
    right = [record["index"] for record in records if record["ex"]][:REWARDS]
    usual = {str(index): f"{pair[1]}{SEPARATOR}{DATABASE}" for index, pair in enumerate(predictions)}
    fixture = {
        "official": {
            "python": versions["bird"]["python"],
            "nltk": versions["spider"]["nltk"],
            "sqlparse": versions["spider"]["sqlparse"],
            "numpy": versions["bird"]["numpy"],
            "sqlite": versions["bird"]["sqlite"],
            "other_sqlite": versions.get("other_sqlite"),
            "sha256": {
                "spider": versions["spider"]["sha256"],
                "test-suite": versions["test-suite"]["sha256"],
                "bird": versions["bird"]["sha256"],
            },
        },
        "tables": scorers.entry,
        "gold": gold,
        "predictions": [[question, pair[1], kinds] for (question, _, _, kinds, _), pair in zip(made, predictions)],
        "partials": list(partials),
        "runs": runs,
        "bird": {
            "values": {index: value for index, value in values.items() if value != usual[index]},
            "difficulties": [difficulty(index) for index in range(len(predictions))],
            "answers": [[record["ex"], record["soft_f1"]] for record in records],
            "rewards": [
                {
                    "gold_seconds": times[index]["gold_seconds"],
                    "predicted_seconds": times[index]["predicted_seconds"],
                    "reward": records[index]["reward"],
                }
                for index in right
            ],
            "figures": {key: summary[key] for key in ("ex", "soft_f1")},
        },
    }
    text = json.dumps(fixture, separators=(",", ":")) + "\n"
    FIXTURE.write_text(text, encoding="utf-8")
    used = Counter(kind for _, _, _, kinds, _ in made for kind in kinds)
    print(f"{len(predictions)} predictions of {len(used)} kinds, {len(left_out)} left out, {len(text)} bytes")
    for one in runs:
        rows = one["answers"]
        counts = [sum(bool(row[position]) for row in rows) for position in (1, 2, 3, 5)]
        print(f"{len(rows)} answers: {counts[0]} parse, {counts[1]} exact, {counts[2]} execution, {counts[3]} crashes")
    print("hardness:", dict(Counter(row[0] for row in runs[0]["answers"])))
    rewards = dict(Counter(records[index]["reward"] for index in right))
    print(f"BIRD: {sum(record['ex'] for record in records)} right; rewards: {rewards}")


if __name__ == "__main__":
    main()
