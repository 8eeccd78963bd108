#!/usr/bin/env python3
"""Makes BIRD-shaped databases, gold questions and mutated predictions of our own.

    bird_databases.py OUTPUT [--seed 1] [--per-question 10]

Written to OUTPUT, in the formats of bird-bench/mini_dev:

    dev_databases/<db>/<db>.sqlite   three databases: NULLs, floats and integers that are equal, infinity,
                                     duplicates, dates, odd characters, invalid UTF-8 in one column, blobs
    questions.jsonl                  the gold questions: db_id, query, difficulty
    gold.sql                         `SQL<tab>db`, one line a prediction
    predictions.json                 {"0": "SQL<tab>----- bird -----<tab>db", ...}, some entries null, a number,
                                     a list, without separator, or with two
    predictions_missing.json         the same with keys left out, which shifts the pairs of the official script
    mini_dev_sqlite.jsonl            one line a prediction, with `difficulty`
    mutations.jsonl                  what was done to each prediction
    timings.jsonl                    made-up seconds for R-VES, around its thresholds and with outliers
"""

import argparse
import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

from mutate import mutated, selected_kinds

SEPARATOR = "\t----- bird -----\t"

HARBOUR = """
CREATE TABLE ship (ship_id INTEGER PRIMARY KEY, name TEXT, flag TEXT, built INTEGER, length_m REAL, draught_m REAL);
CREATE TABLE berth (berth_id INTEGER PRIMARY KEY, quay TEXT, depth_m REAL, crane TEXT);
CREATE TABLE port_call (call_id INTEGER PRIMARY KEY, ship_id INTEGER REFERENCES ship(ship_id),
    berth_id INTEGER REFERENCES berth(berth_id), arrived TEXT, departed TEXT, fee REAL);
CREATE TABLE cargo (call_id INTEGER REFERENCES port_call(call_id), goods TEXT, tonnes, hazardous INTEGER);
"""

ORCHARD = """
CREATE TABLE tree (tree_id INTEGER PRIMARY KEY, variety TEXT, planted DATE, row_no INTEGER, height REAL);
CREATE TABLE picker (picker_id INTEGER PRIMARY KEY, full_name TEXT, hired TEXT, hourly_wage REAL);
CREATE TABLE harvest (harvest_id INTEGER PRIMARY KEY, tree_id INTEGER REFERENCES tree(tree_id),
    picker_id INTEGER REFERENCES picker(picker_id), day TEXT, kilograms REAL, grade TEXT);
CREATE TABLE reading (day TEXT, celsius, rain_mm REAL, note TEXT);
"""

ARCHIVE = """
CREATE TABLE person (person_id INTEGER PRIMARY KEY, "full name" TEXT, born INTEGER, town TEXT);
CREATE TABLE letter (letter_id INTEGER PRIMARY KEY, sender INTEGER REFERENCES person(person_id),
    receiver INTEGER REFERENCES person(person_id), sent TEXT, language TEXT, pages INTEGER, body TEXT);
CREATE TABLE scan (scan_id INTEGER PRIMARY KEY, letter_id INTEGER REFERENCES letter(letter_id),
    image BLOB, caption TEXT, dpi INTEGER, checksum);
"""

QUESTIONS = {
    "harbour": [
        ("simple", "SELECT COUNT(ship_id) FROM ship WHERE flag = 'Malta'"),
        ("simple", "SELECT name FROM ship WHERE built > 1999 ORDER BY length_m DESC LIMIT 1"),
        ("simple", "SELECT DISTINCT flag FROM ship"),
        ("simple", "SELECT flag, built FROM ship"),
        ("simple", "SELECT quay, depth_m FROM berth WHERE crane IS NULL"),
        ("simple", "SELECT AVG(fee) FROM port_call"),
        ("simple", "SELECT goods, tonnes FROM cargo WHERE hazardous = 1"),
        ("simple", "SELECT goods FROM cargo WHERE tonnes BETWEEN 100 AND 250"),
        (
            "moderate",
            "SELECT T1.name FROM ship AS T1 INNER JOIN port_call AS T2 ON T1.ship_id = T2.ship_id WHERE T2.fee > 3000",
        ),
        (
            "moderate",
            "SELECT T1.flag, COUNT(T2.call_id) FROM ship AS T1 LEFT JOIN port_call AS T2 ON T1.ship_id = T2.ship_id GROUP BY T1.flag",
        ),
        ("moderate", "SELECT STRFTIME('%Y', arrived), SUM(fee) FROM port_call GROUP BY STRFTIME('%Y', arrived)"),
        (
            "moderate",
            "SELECT T2.quay FROM port_call AS T1 INNER JOIN berth AS T2 ON T1.berth_id = T2.berth_id GROUP BY T2.quay ORDER BY COUNT(*) DESC LIMIT 2",
        ),
        ("moderate", "SELECT name, length_m / draught_m FROM ship WHERE draught_m IS NOT NULL"),
        (
            "moderate",
            "SELECT SUBSTR(arrived, 1, 7), COUNT(*) FROM port_call WHERE departed IS NULL GROUP BY SUBSTR(arrived, 1, 7)",
        ),
        ("moderate", "SELECT goods, COUNT(*), SUM(tonnes) FROM cargo GROUP BY goods HAVING COUNT(*) > 2"),
        (
            "moderate",
            "SELECT name FROM ship WHERE ship_id NOT IN (SELECT ship_id FROM port_call WHERE ship_id IS NOT NULL)",
        ),
        ("moderate", "SELECT IIF(hazardous = 1, 'dangerous', 'plain'), tonnes FROM cargo WHERE goods LIKE '%oil%'"),
        (
            "challenging",
            "SELECT CAST(SUM(CASE WHEN T2.hazardous = 1 THEN 1 ELSE 0 END) AS REAL) * 100 / COUNT(*) FROM port_call AS T1 INNER JOIN cargo AS T2 ON T1.call_id = T2.call_id WHERE T1.fee > 1000",
        ),
        (
            "challenging",
            "SELECT T1.name, T3.quay FROM ship AS T1 INNER JOIN port_call AS T2 ON T1.ship_id = T2.ship_id INNER JOIN berth AS T3 ON T3.berth_id = T2.berth_id WHERE T1.draught_m > T3.depth_m",
        ),
        (
            "challenging",
            "SELECT name FROM ship WHERE length_m > (SELECT AVG(length_m) FROM ship) EXCEPT SELECT T1.name FROM ship AS T1 INNER JOIN port_call AS T2 ON T1.ship_id = T2.ship_id WHERE T2.fee < 500",
        ),
        (
            "challenging",
            "SELECT T1.flag, MAX(JULIANDAY(T2.departed) - JULIANDAY(T2.arrived)) FROM ship AS T1 INNER JOIN port_call AS T2 ON T1.ship_id = T2.ship_id GROUP BY T1.flag",
        ),
        (
            "challenging",
            "SELECT fee - (SELECT AVG(fee) FROM port_call), call_id FROM port_call WHERE berth_id = 3 ORDER BY fee",
        ),
    ],
    "orchard": [
        ("simple", "SELECT variety FROM tree"),
        ("simple", "SELECT COUNT(*) FROM tree WHERE variety = 'Boskoop'"),
        ("simple", "SELECT full_name, hourly_wage FROM picker ORDER BY hourly_wage DESC"),
        ("simple", "SELECT day, celsius FROM reading"),
        ("simple", "SELECT MAX(kilograms), MIN(kilograms) FROM harvest"),
        ("simple", "SELECT note FROM reading WHERE note IS NOT NULL"),
        ("simple", "SELECT tree_id, height FROM tree WHERE height >= 4 AND row_no < 5"),
        ("simple", "SELECT rain_mm FROM reading WHERE rain_mm > 1000000"),
        (
            "moderate",
            "SELECT T1.variety, AVG(T2.kilograms) FROM tree AS T1 INNER JOIN harvest AS T2 ON T1.tree_id = T2.tree_id GROUP BY T1.variety",
        ),
        (
            "moderate",
            "SELECT T1.full_name FROM picker AS T1 INNER JOIN harvest AS T2 ON T1.picker_id = T2.picker_id WHERE T2.grade = 'A' GROUP BY T1.full_name ORDER BY SUM(T2.kilograms) DESC LIMIT 3",
        ),
        ("moderate", "SELECT STRFTIME('%m', day), ROUND(SUM(kilograms), 1) FROM harvest GROUP BY STRFTIME('%m', day)"),
        ("moderate", "SELECT grade, COUNT(DISTINCT picker_id) FROM harvest GROUP BY grade"),
        ("moderate", "SELECT variety, planted FROM tree WHERE planted BETWEEN '2001-01-01' AND '2006-12-31'"),
        ("moderate", "SELECT celsius * 1.8 + 32, day FROM reading WHERE celsius < 5"),
        ("moderate", "SELECT row_no, COUNT(*) FROM tree GROUP BY row_no HAVING COUNT(*) >= 6 ORDER BY row_no"),
        (
            "moderate",
            "SELECT T1.day FROM harvest AS T1 INNER JOIN reading AS T2 ON T1.day = T2.day WHERE T2.rain_mm = 0 OR T2.rain_mm IS NULL",
        ),
        (
            "moderate",
            "SELECT full_name FROM picker WHERE hired LIKE '2019%' UNION SELECT full_name FROM picker WHERE hourly_wage > 14.5",
        ),
        (
            "challenging",
            "SELECT T1.variety, SUM(CASE WHEN T2.grade = 'A' THEN T2.kilograms ELSE 0 END) / SUM(T2.kilograms) FROM tree AS T1 INNER JOIN harvest AS T2 ON T1.tree_id = T2.tree_id GROUP BY T1.variety",
        ),
        (
            "challenging",
            "SELECT full_name, hourly_wage FROM picker WHERE hourly_wage = (SELECT MAX(hourly_wage) FROM picker)",
        ),
        (
            "challenging",
            "SELECT T1.full_name, T3.variety, T2.kilograms FROM picker AS T1 INNER JOIN harvest AS T2 ON T1.picker_id = T2.picker_id INNER JOIN tree AS T3 ON T3.tree_id = T2.tree_id WHERE T2.kilograms > 40 ORDER BY T2.kilograms DESC",
        ),
        (
            "challenging",
            "SELECT day, kilograms, RANK() OVER (PARTITION BY grade ORDER BY kilograms DESC) FROM harvest WHERE picker_id = 2",
        ),
        (
            "challenging",
            "SELECT celsius FROM reading WHERE day IN (SELECT day FROM harvest GROUP BY day HAVING SUM(kilograms) > 60)",
        ),
    ],
    "archive": [
        ("simple", "SELECT \"full name\" FROM person WHERE town = 'Gdańsk'"),
        ("simple", "SELECT letter_id, pages FROM letter WHERE language = 'Latin'"),
        ("simple", "SELECT image FROM scan WHERE dpi = 300"),
        ("simple", "SELECT caption FROM scan"),
        ("simple", "SELECT body FROM letter WHERE pages > 3"),
        ("simple", "SELECT COUNT(*) FROM letter WHERE sent IS NULL"),
        ("simple", "SELECT checksum FROM scan WHERE dpi > 400"),
        ("simple", "SELECT DISTINCT language, pages FROM letter"),
        (
            "moderate",
            'SELECT T1."full name", COUNT(*) FROM person AS T1 INNER JOIN letter AS T2 ON T1.person_id = T2.sender GROUP BY T1.person_id',
        ),
        (
            "moderate",
            "SELECT T2.language, AVG(T1.dpi) FROM scan AS T1 INNER JOIN letter AS T2 ON T1.letter_id = T2.letter_id GROUP BY T2.language",
        ),
        (
            "moderate",
            "SELECT SUBSTR(sent, 1, 4), COUNT(*) FROM letter WHERE sent IS NOT NULL GROUP BY SUBSTR(sent, 1, 4)",
        ),
        ("moderate", "SELECT LENGTH(body), letter_id FROM letter WHERE body LIKE '%''%'"),
        ("moderate", "SELECT town FROM person GROUP BY town HAVING COUNT(*) > 1"),
        ("moderate", "SELECT letter_id, LENGTH(image) FROM scan WHERE image IS NOT NULL"),
        (
            "moderate",
            "SELECT body, language FROM letter WHERE letter_id NOT IN (SELECT letter_id FROM scan WHERE letter_id IS NOT NULL)",
        ),
        ("moderate", "SELECT UPPER(town), born FROM person WHERE born < 1850 ORDER BY born"),
        ("moderate", "SELECT CAST(born AS TEXT) || ' ' || town FROM person"),
        (
            "challenging",
            'SELECT T2."full name", T3."full name" FROM letter AS T1 INNER JOIN person AS T2 ON T1.sender = T2.person_id INNER JOIN person AS T3 ON T1.receiver = T3.person_id WHERE T2.town = T3.town',
        ),
        (
            "challenging",
            "SELECT caption, checksum FROM scan WHERE letter_id IN (SELECT letter_id FROM letter WHERE pages = (SELECT MAX(pages) FROM letter))",
        ),
        (
            "challenging",
            "SELECT language, CAST(COUNT(*) AS REAL) * 100 / (SELECT COUNT(*) FROM letter) FROM letter GROUP BY language",
        ),
        (
            "challenging",
            'WITH busy AS (SELECT sender, COUNT(*) AS n FROM letter GROUP BY sender) SELECT T1."full name", T2.n FROM person AS T1 INNER JOIN busy AS T2 ON T1.person_id = T2.sender WHERE T2.n >= 3',
        ),
        ("challenging", "SELECT sender FROM letter INTERSECT SELECT receiver FROM letter"),
    ],
}

SCHEMAS = {"harbour": HARBOUR, "orchard": ORCHARD, "archive": ARCHIVE}


def day(chance, first=2015, last=2023):
    return f"{chance.randint(first, last)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def harbour_rows(chance):
    names = ("Aurora", "Brisa", "Castor", "Dori's Hope", "Élan", "Fjord 2", "Aurora", "Gale", "Hirondelle", "N/A", "")
    flags = ("Malta", "Norway", "Panama", None, "malta", "Norway")
    yield (
        "ship",
        [
            (
                i,
                chance.choice(names),
                chance.choice(flags),
                chance.choice((1988, 1999, 2000, 2004, None, 2018)),
                chance.choice((90.0, 120.5, 200, 333.3, None)),
                chance.choice((4.0, 7.25, 11, None)),
            )
            for i in range(1, 31)
        ],
    )
    yield (
        "berth",
        [
            (
                i,
                chance.choice(("East", "West", "Old Quay")),
                chance.choice((6, 8.5, 12.0)),
                chance.choice(("gantry", None, "mobile")),
            )
            for i in range(1, 9)
        ],
    )
    calls = []
    for i in range(1, 121):
        arrived = day(chance)
        departed = (
            None if chance.random() < 0.2 else arrived[:8] + f"{min(28, int(arrived[8:]) + chance.randint(0, 3)):02}"
        )
        calls.append(
            (
                i,
                chance.choice((None, *range(1, 25))),
                chance.randint(1, 8),
                arrived,
                departed,
                chance.choice((None, 250, 499.99, 1000.0, 1000, 3200.5, 0.1 + 0.2, 4000)),
            )
        )
    yield "port_call", calls
    goods = ("crude oil", "Olive oil", "grain", "cars", "grain ", "timber", "wine\tcasks", "tea\nchests", None)
    yield (
        "cargo",
        [
            (
                chance.randint(1, 125),
                chance.choice(goods),
                chance.choice((10, 10.0, 120, 120.5, "250", None, -1, 2**53, 2.0**53)),
                chance.choice((0, 1, None)),
            )
            for _ in range(200)
        ],
    )


def orchard_rows(chance):
    yield (
        "tree",
        [
            (
                i,
                chance.choice(("Boskoop", "Gravenstein", "Reine-Claude", "Williams", "boskoop", None)),
                chance.choice((day(chance, 1998, 2010), None)),
                chance.randint(1, 9),
                chance.choice((3.5, 4, 4.0, 5.25, None)),
            )
            for i in range(1, 61)
        ],
    )
    people = (
        "Ana Ruiz",
        "Bo Lindqvist",
        "Çelik Demir",
        "D. O'Hara",
        "Eva Ruiz",
        "Ana Ruiz",
        "平野 海",
        'F. "Flip" Ott',
    )
    yield (
        "picker",
        [
            (i, name, day(chance, 2018, 2020), wage)
            for i, (name, wage) in enumerate(zip(people, (12.5, 14.5, 15, 15.0, None, 13, 14.75, 12.5)), 1)
        ],
    )
    yield (
        "harvest",
        [
            (
                i,
                chance.randint(1, 60),
                chance.choice((None, *range(1, 9))),
                day(chance, 2021, 2022),
                round(chance.uniform(0, 50), chance.choice((0, 1, 3, 15))),
                chance.choice(("A", "A", "B", "C", None)),
            )
            for i in range(1, 181)
        ],
    )
    odd = (
        float("inf"),
        float("-inf"),
        -0.0,
        0,
        0.0,
        1e-320,
        2**63 - 1,
        -(2**63),
        9007199254740993,
        9007199254740992.0,
        1e308,
        "n/a",
        None,
        b"\x00\x01",
    )
    days = [row for row in (day(chance, 2021, 2022) for _ in range(90))]
    yield (
        "reading",
        [
            (
                d,
                chance.choice(odd + (3, 3.0, 4.5, 18.25, 21)),
                chance.choice((0, 0.0, 12.5, None, 1e9, float("inf"))),
                chance.choice((None, "", " ", "fog", "FOG", "ﬁne", "e\u0301", "é", "NULL")),
            )
            for d in days
        ],
    )


def archive_rows(chance):
    towns = ("Gdańsk", "Göteborg", "Ålesund", "Trieste", "Trieste", None, "İzmir", "Saint-Malo")
    yield (
        "person",
        [
            (
                i,
                f"{chance.choice(('Ada', 'Bruno', 'Clara', 'Dmitri', 'Élise'))} {chance.choice(('Holm', 'Novák', 'de Vries', 'O’Neill'))}",
                chance.choice((1790, 1812, 1849, 1850, None)),
                chance.choice(towns),
            )
            for i in range(1, 26)
        ],
    )
    bodies = (
        "Dear friend",
        "Don't forget the seeds.",
        "Ünïcödé ✉",
        "tab\there",
        "line\nbreak",
        "",
        None,
        "nul\x00inside",
        'say "yes"',
        "🚢" * 3,
        "Dear friend ",
    )
    yield (
        "letter",
        [
            (
                i,
                chance.randint(1, 25),
                chance.choice((None, *range(1, 26))),
                chance.choice((None, day(chance, 1830, 1860))),
                chance.choice(("Latin", "French", "German", None)),
                chance.choice((1, 2, 3, 4, 5, None)),
                chance.choice(bodies),
            )
            for i in range(1, 91)
        ],
    )
    yield (
        "scan",
        [
            (
                i,
                chance.choice((None, *range(1, 80))),
                chance.choice((None, b"\x89PNG\x00\xff", b"", b"GIF89a", b"\x89PNG\x00\xff")),
                chance.choice(("front", "back", "Ränder", None)),
                chance.choice((300, 300.0, 400, 600)),
                chance.choice(("1", 1, 1.0, "1.0", None, b"1")),
            )
            for i in range(1, 71)
        ],
    )


ROWS = {"harbour": harbour_rows, "orchard": orchard_rows, "archive": archive_rows}


def database_made(path, name, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMAS[name])
        for table, rows in ROWS[name](random.Random(f"{seed}:{name}")):
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        if name == "archive":
            # Text that is not UTF-8: Python's sqlite3 refuses to return it, and the official scorers give 0.
            connection.execute("UPDATE scan SET caption = CAST(x'52FC636B73656974' AS TEXT) WHERE scan_id IN (7, 33)")
        connection.commit()


def entry(index, prediction, database):
    """What predictions.json holds: mostly the official form, now and then something else."""
    usual = f"{prediction}{SEPARATOR}{database}"
    odd = {
        53: 7,
        97: [usual],
        131: prediction,
        173: f"{usual}{SEPARATOR}{database}",
        211: "",
        257: f"  {prediction} \n",
        283: f"{prediction}{SEPARATOR}no_such_database",
        331: prediction.replace(" FROM ", "\nFROM ") + SEPARATOR + database,
        367: f"{prediction};\n{SEPARATOR}{database}",
        401: f"-- the answer\n{prediction}{SEPARATOR}{database}",
        443: {"sql": prediction},
    }
    return None if index % 61 == 11 else odd.get(index, usual)


def timing(index, chance):
    """Seconds for R-VES: around a threshold of the reward, sometimes exactly on it, sometimes with outliers."""
    count = chance.choice((1, 2, 5, 10, 20, 100, 100, 129))
    ratio = chance.choice((0.1, 0.25, 0.3, 0.5, 0.75, 1, 1.5, 2, 3)) * chance.choice((1, 1, 0.999, 1.001, 0.97, 1.05))
    spread = chance.choice((0, 0, 0.001, 0.2, 0.5))
    gold, predicted = [], []
    for _ in range(count):
        seconds = chance.choice((0.001, 0.0003, 0.2)) if spread else 0.1
        gold.append(seconds * ratio * (1 + chance.uniform(-spread, spread)))
        predicted.append(seconds)
    if count > 10 and chance.random() < 0.5:
        gold[chance.randrange(count)] *= chance.choice((50, 1000, 0.01))
    if chance.random() < 0.02:
        predicted[0] = 0.0
    return {"index": index, "gold_seconds": gold, "predicted_seconds": predicted}


def written(path, lines):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-question", type=int, default=10)
    options = parser.parse_args()
    databases = options.output / "dev_databases"
    for name in SCHEMAS:
        database_made(databases / name / f"{name}.sqlite", name, options.seed)
    questions = [
        {"db_id": name, "query": sql, "difficulty": difficulty}
        for name, entries in QUESTIONS.items()
        for difficulty, sql in entries
    ]
    written(options.output / "questions.jsonl", [json.dumps(question, ensure_ascii=False) for question in questions])

    kinds = selected_kinds(["writes"], [])
    made = list(mutated(questions, databases, kinds, options.seed, options.per_question))
    written(options.output / "gold.sql", [f"{gold}\t{database}" for _, database, gold, _, _ in made])
    predictions = {str(i): entry(i, prediction, database) for i, (_, database, _, _, prediction) in enumerate(made)}
    missing = {key: value for key, value in predictions.items() if int(key) % 149 != 60}
    for name, value in (("predictions.json", predictions), ("predictions_missing.json", missing)):
        (options.output / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    difficulties = [
        {"question_id": i, "db_id": database, "SQL": gold, "difficulty": questions[question]["difficulty"]}
        for i, (question, database, gold, _, _) in enumerate(made)
    ]
    written(options.output / "mini_dev_sqlite.jsonl", [json.dumps(line, ensure_ascii=False) for line in difficulties])
    written(
        options.output / "mutations.jsonl",
        [
            json.dumps({"index": i, "question": question, "db_id": database, "kinds": kinds})
            for i, (question, database, _, kinds, _) in enumerate(made)
        ],
    )
    chance = random.Random(f"{options.seed}:timings")
    written(options.output / "timings.jsonl", [json.dumps(timing(i, chance)) for i in range(len(made))])
    print(f"{len(SCHEMAS)} databases, {len(questions)} questions, {len(made)} predictions")


if __name__ == "__main__":
    main()
