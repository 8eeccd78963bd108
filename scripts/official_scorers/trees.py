#!/usr/bin/env python3
"""Writes Spider's stored parse trees in one canonical form, and compares parsers with them.

    trees.py --questions dev.json --tables tables.json --output trees.jsonl
             [--checkout DIRECTORY] [--against OURS.jsonl]

dev.json stores the tree of each question in `sql`, with numbers for columns and tables. The canonical form
of a line is

    {"index", "db_id", "sql": {...}}

where `sql` is as stored, except that

- a column number (an index into `column_names_original` of tables.json) is "__table.column__" in lower
  case with the original names, and column 0 is "__all__";
- a table number (an index into `table_names_original`) is "__table__" in lower case;
- tuples are arrays, `true` and `false` are JSON's, numbers are JSON numbers (5.0 and 5 are equal), a string
  value keeps its double quotes, an absent clause is null or [] as stored.

So a column unit is [aggregate, "__table.column__", distinct], a value unit [operator, column unit, column
unit or null], a condition [not, operator, value unit, value, value], with "and" and "or" between
conditions, `select` is [distinct, [[aggregate, value unit], ...]], `orderBy` [] or ["asc"|"desc", [value
unit, ...]], and `from` {"table_units": [["table_unit", "__table__"] | ["sql", {...}], ...], "conds": [...]}.
Aggregates and operators are numbers, as stored.

--checkout parses the questions with the official `process_sql.py` found there (the schema made from
tables.json) and says how many stored trees it reproduces. --against compares a file of the same form,
made by other means, line by line. The exit status is 1 where anything differs.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path


class Names:
    """The names behind the numbers of one database of tables.json."""

    def __init__(self, entry):
        tables = [table.lower() for table in entry["table_names_original"]]
        self.tables = [f"__{table}__" for table in tables]
        self.columns = [
            "__all__" if table < 0 else f"__{tables[table]}.{column.lower()}__"
            for table, column in entry["column_names_original"]
        ]

    def column_unit(self, unit):
        return unit and [unit[0], self.columns[unit[1]], unit[2]]

    def value_unit(self, unit):
        return unit and [unit[0], self.column_unit(unit[1]), self.column_unit(unit[2])]

    def value(self, value):
        """A number, a string, null, a query, or a column unit."""
        if isinstance(value, dict):
            return self.sql(value)
        return self.column_unit(value) if isinstance(value, list) else value

    def conditions(self, conditions):
        return [
            one
            if isinstance(one, str)
            else [one[0], one[1], self.value_unit(one[2]), self.value(one[3]), self.value(one[4])]
            for one in conditions
        ]

    def table_unit(self, unit):
        return [unit[0], self.sql(unit[1]) if unit[0] == "sql" else self.tables[unit[1]]]

    def sql(self, sql):
        if sql is None:
            return None
        order = sql["orderBy"]
        return {
            "select": [sql["select"][0], [[unit[0], self.value_unit(unit[1])] for unit in sql["select"][1]]],
            "from": {
                "table_units": [self.table_unit(unit) for unit in sql["from"]["table_units"]],
                "conds": self.conditions(sql["from"]["conds"]),
            },
            "where": self.conditions(sql["where"]),
            "groupBy": [self.column_unit(unit) for unit in sql["groupBy"]],
            "having": self.conditions(sql["having"]),
            "orderBy": [order[0], [self.value_unit(unit) for unit in order[1]]] if order else [],
            "limit": sql["limit"],
            **{operator: self.sql(sql[operator]) for operator in ("intersect", "union", "except")},
        }


def line_of(index, name, sql):
    return {"index": index, "db_id": name, "sql": sql}


def written(line):
    return json.dumps(line, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def first_difference(left, right, path="sql"):
    """Where two trees differ, in words."""
    if type(left) is dict and type(right) is dict and left.keys() == right.keys():
        pairs = [(left[key], right[key], f"{path}.{key}") for key in left]
    elif type(left) is list and type(right) is list and len(left) == len(right):
        pairs = [(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(left, right))]
    else:
        return None if left == right else f"{path}: stored {json.dumps(left)[:80]}, other {json.dumps(right)[:80]}"
    return next((found for found in (first_difference(*pair) for pair in pairs) if found), None)


def reported(name, stored, others, questions):
    """Prints how many trees agree, and the ones that do not; the number of those."""
    wrong = 0
    for line in stored:
        other = others.get(line["index"])
        found = other if isinstance(other, str) else first_difference(line["sql"], other["sql"]) if other else "no line"
        if found:
            wrong += 1
            print(f"{name} {line['index']} ({line['db_id']}): {found} | {questions[line['index']]['query']}")
    print(f"{name}: {len(stored) - wrong} of {len(stored)} stored trees reproduced")
    return wrong


def officially_parsed(checkout, questions, entries):
    """The canonical lines of the official parser, or its error in words."""
    sys.path.insert(0, str(checkout.resolve()))
    parser = importlib.import_module("process_sql")
    schemas = {}
    for name, entry in entries.items():
        columns = {table.lower(): [] for table in entry["table_names_original"]}
        for table, column in entry["column_names_original"]:
            if table >= 0:
                columns[entry["table_names_original"][table].lower()].append(column.lower())
        schemas[name] = parser.Schema(columns)
    lines = {}
    for index, question in enumerate(questions):
        try:
            sql = parser.get_sql(schemas[question["db_id"]], question["query"])
            lines[index] = json.loads(json.dumps(line_of(index, question["db_id"], sql)))
        except Exception as error:
            lines[index] = f"{type(error).__name__}: {error}"
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--checkout", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()

    questions = json.loads(options.questions.read_text(encoding="utf-8"))
    entries = {entry["db_id"]: entry for entry in json.loads(options.tables.read_text(encoding="utf-8"))}
    names = {name: Names(entry) for name, entry in entries.items()}
    stored = [line_of(i, q["db_id"], names[q["db_id"]].sql(q["sql"])) for i, q in enumerate(questions)]
    with open(options.output, "w", encoding="utf-8", newline="\n") as output:
        output.writelines(written(line) + "\n" for line in stored)

    wrong = 0
    if options.checkout:
        wrong += reported("official", stored, officially_parsed(options.checkout, questions, entries), questions)
    if options.against:
        with open(options.against, encoding="utf-8") as lines:
            others = {line["index"]: line for line in map(json.loads, filter(str.strip, lines))}
        wrong += reported("against", stored, others, questions)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
