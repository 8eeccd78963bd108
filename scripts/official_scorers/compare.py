#!/usr/bin/env python3
"""Compares the official answers with ours, question by question.

    compare.py OFFICIAL.jsonl OURS.jsonl [--gold F --pred F] [--show 10] [--tolerance 1e-9]

OFFICIAL is written by run_spider.py or run_bird.py, OURS by `coderag eval sql --details`. Lines are matched
by `index`. Compared is every field that the official line has: for Spider `hardness`, `gold_parses`,
`prediction_parses`, `exact_match`, `execution` and the five numbers of each partial score; for BIRD `ex`,
`soft_f1` and `reward` (`reward_measured` is a matter of luck and is not compared). Scores of BIRD may differ
by the tolerance, which covers the order of additions.

Where the official script crashed, ours must say `"official_crash": true`, and nowhere else; these questions
are counted apart, and of their other fields only those that the official run still knew are compared.
Questions over the official time limit are counted and not compared in `execution`.

With --gold and --pred the sentences of the shown differences are printed. The exit status is 1 where
anything differs.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

SPIDER = ("hardness", "gold_parses", "prediction_parses", "exact_match", "execution")
NUMBERS = ("acc", "rec", "f1", "label_total", "pred_total")
BIRD = ("ex", "soft_f1", "reward")


def lines_of(path):
    """The questions of a file by index; the line with versions, or a summary, has none."""
    with open(path, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    return {record["index"]: record for record in records if "index" in record}


def same(official, ours, tolerance):
    if ours is None or official is None:
        return ours is official
    if isinstance(official, str) or isinstance(ours, str):
        return official == ours
    return abs(float(official) - float(ours)) <= tolerance


def differences(official, ours, tolerance):
    """(field, official value, our value) for each field that differs, and the fields compared."""
    found, compared = [], []
    for field in SPIDER + BIRD:
        if field in official and official[field] is not None:
            compared.append(field)
            allowed = tolerance if field in BIRD else 0.0
            if not same(official[field], ours.get(field), allowed):
                found.append((field, official[field], ours.get(field)))
    for name, score in (official.get("partial") or {}).items():
        mine = (ours.get("partial") or {}).get(name) or {}
        compared.append(f"partial {name}")
        for number in NUMBERS:
            if not same(score[number], mine.get(number), 0.0):
                found.append((f"partial {name}", score, mine))
                break
    crashed, said = bool(official.get("crash")), bool(ours.get("official_crash"))
    if crashed != said:
        found.append(("official_crash", official.get("crash"), ours.get("official_crash")))
    return found, compared


def sentences(path):
    """The non-blank lines of an official file, as the official script counts them."""
    if path is None:
        return None
    with open(path, encoding="utf-8") as lines:
        return [line.strip() for line in lines if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("official", type=Path)
    parser.add_argument("ours", type=Path)
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--pred", type=Path)
    parser.add_argument("--show", type=int, default=10)
    parser.add_argument("--tolerance", type=float, default=1e-9)
    options = parser.parse_args()

    official, ours = lines_of(options.official), lines_of(options.ours)
    gold, pred = sentences(options.gold), sentences(options.pred)
    compared, wrong, shown = Counter(), Counter(), 0
    missing = sorted(official.keys() - ours.keys())
    extra = sorted(ours.keys() - official.keys())
    crashes = timeouts = crash_differences = questions = 0
    for index in sorted(official.keys() & ours.keys()):
        crashes += bool(official[index].get("crash"))
        timeouts += bool(official[index].get("timeout"))
        found, fields = differences(official[index], ours[index], options.tolerance)
        compared.update(fields)
        wrong.update(field for field, _, _ in found)
        questions += bool(found)
        crash_differences += any(field == "official_crash" for field, _, _ in found)
        if found and shown < options.show:
            shown += 1
            print(f"question {index} ({official[index].get('db_id', '')}):")
            if gold and index < len(gold):
                print(f"  gold  {gold[index]}")
            if pred and index < len(pred):
                print(f"  pred  {pred[index]!r}")
            for field, theirs, mine in found:
                print(f"  {field}: official {json.dumps(theirs)}, ours {json.dumps(mine)}")

    print(f"{len(official)} official questions, {len(ours)} ours, {len(missing)} missing, {len(extra)} extra")
    for field in compared:
        print(f"  {field:26} {compared[field]:7} compared {wrong[field]:6} different")
    print(f"  official crashes {crashes}, over the time limit {timeouts}, crashes told differently {crash_differences}")
    print(f"{questions} questions differ")
    raise SystemExit(1 if questions or missing or extra else 0)


if __name__ == "__main__":
    main()
