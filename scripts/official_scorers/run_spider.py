#!/usr/bin/env python3
"""Runs Spider's official scorer question by question and writes what it says of each.

    run_spider.py --checkout DIRECTORY --variant spider|test-suite --gold F --pred F --db DIRECTORY --tables F
                  --output official.jsonl [--etype all|match|exec] [--plug-value] [--keep-distinct]
                  [--scratch DIRECTORY] [--time-limit SECONDS] [--kept DIRECTORY]

--checkout holds `evaluation.py` and `process_sql.py` of taoyds/spider (`--variant spider`) or of
taoyds/test-suite-sql-eval (`--variant test-suite`). Their functions are imported and called in the order of
their `evaluate()`; nothing is reimplemented but the loop. NLTK finds punkt_tab through NLTK_DATA.

The first line of the output names the versions. Each further line is one question:

    {"index", "db_id", "hardness", "gold_parses", "prediction_parses", "exact_match": 0|1,
     "partial": {"select": {"acc", "rec", "f1", "label_total", "pred_total"}, ...}, "execution": 0|1,
     "crash": null | "gold|exec|match|process: Error: message", "timeout": bool, "seconds"}

`crash` says that the official script would have ended its whole run here with this error. After a crash in
execution the exact match of the question is still computed; what is not known is absent.

A question runs in a child process, which is killed after --time-limit seconds: SQLite does not return to
Python while a query runs, so neither an alarm signal nor the official timeout can end it. A question over
the limit has `"timeout": true` and no execution result; its exact match is computed apart.

With --scratch each database folder is copied there before its first use and the scorer runs on the copy:
the official scripts open databases for writing, and a prediction can change them for all later questions.

--kept writes gold.txt and pred.txt with the lines that neither crashed nor ran over the limit: the ones on
which the original main script runs to its end.
"""

import argparse
import gc
import hashlib
import importlib
import json
import multiprocessing
import os
import platform
import shutil
import sqlite3
import sys
import time
from importlib import metadata
from pathlib import Path

SOURCES = ("evaluation.py", "process_sql.py", "exec_eval.py", "parse.py")


def pairs_of(gold, pred, variant):
    """(prediction's fields, gold's fields) as the official script pairs the lines of its files."""

    def lines(path):
        with open(path) as file:
            return [line.strip() for line in file.readlines()]

    def dialogues(path):
        found, one = [], []
        for line in lines(path):
            if line:
                one.append(line.split("\t"))
            else:
                found.append(one)
                one = []
        return found + [one] if one else found

    if variant == "spider":
        flat = [[line.split("\t") for line in lines(path) if line] for path in (pred, gold)]
        return list(zip(*flat))
    predicted, golds = dialogues(pred), dialogues(gold)
    if len(predicted) != len(golds):
        raise SystemExit(f"{len(golds)} dialogues in {gold}, {len(predicted)} in {pred}")
    return [pair for p, g in zip(predicted, golds) for pair in zip(p, g)]


def empty_sql():
    """The tree with which the official script goes on when a prediction does not parse."""
    sql = dict.fromkeys(("except", "intersect", "union", "limit"))
    sql.update({clause: [] for clause in ("where", "groupBy", "having", "orderBy")})
    sql["from"] = {"conds": [], "table_units": []}
    sql["select"] = [False, []]
    return sql


def described(stage, error):
    return f"{stage}: {type(error).__name__}: {error}"[:500]


class Scorer:
    """The imported official modules with one set of options."""

    def __init__(self, options):
        sys.path.insert(0, str(options.checkout.resolve()))
        self.official = importlib.import_module("evaluation")
        self.parser = importlib.import_module("process_sql")
        self.options = options
        self.test_suite = options.variant == "test-suite"
        self.maps = self.official.build_foreign_key_map_from_json(str(options.tables))
        self.evaluator = self.official.Evaluator()

    def judge(self, prediction, gold, folder, etype):
        """The record of one question, the official steps in the official order."""
        record = {"gold_parses": False, "crash": None, "timeout": False}
        start = time.perf_counter()
        try:
            self.steps(record, prediction, gold, folder, etype)
        finally:
            record["seconds"] = round(time.perf_counter() - start, 6)
        return record

    def steps(self, record, prediction, gold, folder, etype):
        try:
            predicted = prediction[0]
            if self.test_suite:
                predicted = predicted.replace("value", "1")
            gold_sql, name = gold
            record["db_id"] = name
            database = os.path.join(folder, name, name + ".sqlite")
            schema = self.parser.Schema(self.parser.get_schema(database))
            gold_tree = self.parser.get_sql(schema, gold_sql)
            record["gold_parses"] = True
            record["hardness"] = self.evaluator.eval_hardness(gold_tree)
        except Exception as error:
            record["crash"] = described("gold", error)
            return
        try:
            tree = self.parser.get_sql(schema, predicted)
            record["prediction_parses"] = True
        except Exception:
            tree = empty_sql()
            record["prediction_parses"] = False
        if self.test_suite:
            if etype in ("all", "exec"):
                self.execution(record, database, predicted, gold_sql)
            if etype in ("all", "match"):
                trees = self.rebuilt(record, name, schema, tree, gold_tree)
                self.match(record, trees)
        else:
            trees = self.rebuilt(record, name, schema, tree, gold_tree)
            if etype in ("all", "exec") and trees:
                self.execution(record, database, predicted, gold_sql, *trees)
            if etype in ("all", "match"):
                self.match(record, trees)

    def rebuilt(self, record, name, schema, tree, gold_tree):
        """Both trees without values and DISTINCT, foreign keys merged; None after a crash."""
        try:
            keys = self.maps[name]
            trees = []
            for one in (gold_tree, tree):
                columns = self.official.build_valid_col_units(one["from"]["table_units"], schema)
                one = self.official.rebuild_sql_val(one)
                trees.append(self.official.rebuild_sql_col(columns, one, keys))
            return trees[1], trees[0]
        except Exception as error:
            record["crash"] = record["crash"] or described("match", error)
            return None

    def execution(self, record, database, predicted, gold_sql, *trees):
        try:
            if self.test_suite:
                result = self.official.eval_exec_match(
                    db=database,
                    p_str=predicted,
                    g_str=gold_sql,
                    plug_value=self.options.plug_value,
                    keep_distinct=self.options.keep_distinct,
                    progress_bar_for_each_datapoint=False,
                )
            else:
                result = self.official.eval_exec_match(database, predicted, gold_sql, *trees)
            record["execution"] = int(bool(result))
        except Exception as error:
            record["crash"] = record["crash"] or described("exec", error)

    def match(self, record, trees):
        if trees is None:
            return
        self.evaluator.partial_scores = None
        try:
            record["exact_match"] = int(self.evaluator.eval_exact_match(*trees))
        except Exception as error:
            record["crash"] = record["crash"] or described("match", error)
        else:
            record["partial"] = self.evaluator.partial_scores


class Child:
    """A process that judges questions, replaced when it has to be killed."""

    def __init__(self, scorer, pairs, folder):
        self.context = multiprocessing.get_context("fork")
        self.arguments = (scorer, pairs, folder)
        self.start()

    def start(self):
        self.connection, theirs = self.context.Pipe()
        self.process = self.context.Process(target=self.serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def serve(self, connection):
        # The parent's end, inherited by the fork: while it is open here, the parent's death goes unnoticed.
        self.connection.close()
        scorer, pairs, folder = self.arguments
        gc.freeze()
        while True:
            try:
                index, etype = connection.recv()
            except EOFError:
                return
            connection.send(scorer.judge(*pairs[index], folder, etype))
            # The official script does not close its connections, and CPython's are in a reference cycle: until
            # the collector runs, an uncommitted change keeps the database locked. Collecting here makes what a
            # later question sees independent of chance.
            gc.collect()

    def restart(self):
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.start()

    def ask(self, index, etype, limit):
        """The record, a crash when the process died, or None after `limit` seconds."""
        self.connection.send((index, etype))
        outcome = None
        try:
            if self.connection.poll(limit):
                return self.connection.recv()
        except (EOFError, ConnectionResetError):
            outcome = {"crash": "process: died", "timeout": False}
        self.restart()
        return outcome


def judged(child, index, options):
    record = child.ask(index, options.etype, options.time_limit)
    if record is None:
        record = {"crash": None}
        if options.etype == "all":
            record = child.ask(index, "match", options.time_limit) or record
        record["timeout"] = True
        record["seconds"] = options.time_limit
    return record


def copied(source, scratch, name):
    """A fresh private copy of one database folder."""
    target = scratch / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in (source / name).iterdir():
        if file.is_file():
            shutil.copyfile(file, target / file.name)


def versions(options):
    found = {name: metadata.version(name) for name in ("nltk", "sqlparse")}
    digests = {}
    for name in SOURCES:
        path = options.checkout / name
        if path.is_file():
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "variant": options.variant,
        "etype": options.etype,
        "plug_value": options.plug_value,
        "keep_distinct": options.keep_distinct,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **found,
        "sha256": digests,
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--variant", choices=("spider", "test-suite"), required=True)
    parser.add_argument("--gold", type=Path, required=True)
    parser.add_argument("--pred", type=Path, required=True)
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--etype", choices=("all", "match", "exec"), default="all")
    parser.add_argument("--plug-value", action="store_true")
    parser.add_argument("--keep-distinct", action="store_true")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--kept", type=Path)
    return parser.parse_args()


def main():
    options = arguments()
    scorer = Scorer(options)
    pairs = pairs_of(options.gold, options.pred, options.variant)
    child = Child(scorer, pairs, str(options.scratch or options.db))
    counts = {"questions": len(pairs), "exact_match": 0, "execution": 0, "crash": 0, "timeout": 0}
    kept, copies = [], set()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with open(options.output, "w", encoding="utf-8") as output:
        output.write(json.dumps({"official": versions(options)}) + "\n")
        for index, (prediction, gold) in enumerate(pairs):
            name = gold[-1]
            if options.scratch and name not in copies and (options.db / name).is_dir():
                copied(options.db, options.scratch, name)
                copies.add(name)
            record = {"index": index, **judged(child, index, options)}
            output.write(json.dumps(record) + "\n")
            for key in ("exact_match", "execution", "crash", "timeout"):
                counts[key] += bool(record.get(key))
            if not record.get("crash") and not record.get("timeout"):
                kept.append((prediction, gold))
            if (index + 1) % 1000 == 0:
                print(f"{index + 1}/{len(pairs)}", file=sys.stderr)
    child.process.kill()
    if options.kept:
        options.kept.mkdir(parents=True, exist_ok=True)
        for file, which in (("pred.txt", 0), ("gold.txt", 1)):
            with open(options.kept / file, "w", encoding="utf-8", newline="\n") as lines:
                lines.writelines("\t".join(pair[which]) + "\n" for pair in kept)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
