#!/usr/bin/env python3
"""Runs BIRD mini-dev's official scorers question by question and writes what they say of each.

    run_bird.py --checkout DIRECTORY --gold gold.sql --pred predictions.json --db DIRECTORY
                --difficulty mini_dev_sqlite.jsonl --output official.jsonl
                [--metrics ex,f1,ves] [--timings F.jsonl] [--iterations 100] [--time-limit 30]

--checkout holds bird-bench/mini_dev; its `evaluation/evaluation_ex.py`, `evaluation_f1.py` and
`evaluation_ves.py` are imported, and `execute_model` of each is called for every question, paired as
`package_sqls` pairs them. psycopg2 and pymysql, which SQLite does not need, are empty modules here.

The first line of the output names the versions, each further line is one question:

    {"index", "db_id", "ex": 0|1, "soft_f1": number, "reward_measured": number, "reward": number, "seconds"}

and the last one, `{"summary": ...}`, what the official scripts would print: the figures by difficulty and
over all in the order simple, moderate, challenging, total, with their counts, or the error with which they
would end.

R-VES depends on the clock. `reward_measured` is the official reward with real times. `reward` is the official
reward for given times: --timings has lines {"index", "gold_seconds": [...], "predicted_seconds": [...]}, which
take the place of the clock in the official `iterated_execute_sql`; the results are still compared by running
both queries. A question without given times has no `reward`.
"""

import argparse
import hashlib
import importlib
import json
import platform
import sqlite3
import sys
import time
import types
from importlib import metadata
from pathlib import Path

METRICS = {"ex": "evaluation_ex", "f1": "evaluation_f1", "ves": "evaluation_ves"}
DIALECT = "SQLite"


def official_modules(checkout, metrics):
    folder = checkout / "evaluation"
    sys.path.insert(0, str(folder.resolve()))
    for absent in ("psycopg2", "pymysql"):
        sys.modules[absent] = types.ModuleType(absent)
    modules = {metric: importlib.import_module(METRICS[metric]) for metric in metrics}
    return modules, importlib.import_module("evaluation_utils")


class GivenTimes:
    """Stands in for the official `execute_sql` of R-VES: real results, given times."""

    def __init__(self, module):
        self.module = module
        self.real = module.execute_sql

    def reward(self, predicted, gold, database, index, times, limit):
        # The official loop times the prediction first and the gold query second, in turn.
        pairs = zip(times["predicted_seconds"], times["gold_seconds"], strict=True)
        given = iter([seconds for pair in pairs for seconds in pair])

        def execute_sql(sql, path, dialect, return_time=False):
            return next(given) if return_time else self.real(sql, path, dialect)

        self.module.execute_sql = execute_sql
        try:
            count = len(times["gold_seconds"])
            return self.module.execute_model(predicted, gold, database, index, count, limit, DIALECT)["reward"]
        finally:
            self.module.execute_sql = self.real


def summarised(modules, records, difficulty):
    """The official figures, or the error with which the official script would end."""
    computed = {}
    for metric, key, name, function in (
        ("ex", "ex", "res", "compute_acc_by_diff"),
        ("f1", "soft_f1", "res", "compute_f1_by_diff"),
        ("ves", "reward", "reward", "compute_ves_by_diff"),
        ("ves", "reward_measured", "reward", "compute_ves_by_diff"),
    ):
        if metric not in modules or not all(key in record for record in records):
            continue
        results = [{"sql_idx": record["index"], name: record[key]} for record in records]
        try:
            *figures, counts = getattr(modules[metric], function)(results, str(difficulty))
            computed[key] = {"figures": figures, "counts": counts}
        except Exception as error:
            computed[key] = {"crash": f"{type(error).__name__}: {error}"}
    return computed


def versions(checkout, metrics):
    folder = checkout / "evaluation"
    return {
        "metrics": metrics,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "numpy": metadata.version("numpy"),
        "func_timeout": metadata.version("func_timeout"),
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.py"))},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--gold", type=Path, required=True)
    parser.add_argument("--pred", type=Path, required=True)
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--difficulty", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--metrics", default="ex,f1,ves")
    parser.add_argument("--timings", type=Path)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--time-limit", type=float, default=30.0)
    options = parser.parse_args()

    metrics = options.metrics.split(",")
    modules, packaging = official_modules(options.checkout, metrics)
    root = str(options.db) + "/"
    predictions, _ = packaging.package_sqls(str(options.pred), root, mode="pred")
    golds, databases = packaging.package_sqls(str(options.gold), root, mode="gt")
    timings = {}
    if options.timings:
        with open(options.timings, encoding="utf-8") as lines:
            timings = {line["index"]: line for line in map(json.loads, filter(str.strip, lines))}
    given = GivenTimes(modules["ves"]) if "ves" in modules else None

    options.output.parent.mkdir(parents=True, exist_ok=True)
    records = []
    with open(options.output, "w", encoding="utf-8") as output:
        output.write(json.dumps({"official": versions(options.checkout, metrics)}) + "\n")
        for index, (predicted, gold) in enumerate(zip(predictions, golds)):
            database, start = databases[index], time.perf_counter()
            record = {"index": index, "db_id": Path(database).stem}
            if "ex" in modules:
                result = modules["ex"].execute_model(predicted, gold, database, index, options.time_limit, DIALECT)
                record["ex"] = result["res"]
            if "f1" in modules:
                result = modules["f1"].execute_model(predicted, gold, database, index, options.time_limit, DIALECT)
                record["soft_f1"] = result["res"]
            if "ves" in modules:
                result = modules["ves"].execute_model(
                    predicted, gold, database, index, options.iterations, options.time_limit, DIALECT
                )
                record["reward_measured"] = result["reward"]
                if index in timings:
                    record["reward"] = given.reward(
                        predicted, gold, database, index, timings[index], options.time_limit
                    )
            record["seconds"] = round(time.perf_counter() - start, 6)
            records.append(record)
            output.write(json.dumps(record) + "\n")
            if (index + 1) % 200 == 0:
                print(f"{index + 1}/{len(golds)}", file=sys.stderr)
        summary = summarised(modules, records, options.difficulty)
        output.write(json.dumps({"summary": summary}) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
