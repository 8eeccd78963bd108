#!/usr/bin/env python3
"""Makes the reference values that coderag-eval's tests of SQL text before its execution compare with.

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install sqlparse==0.6.1 tqdm
    /tmp/reference/bin/python scripts/reference_sqlparse.py CHECKOUT

CHECKOUT is a checkout of https://github.com/taoyds/test-suite-sql-eval: its parse.py and exec_eval.py are
run (the latter imports tqdm). Written to crates/coderag-eval/tests/fixture/sqlparse.json. The SQL texts are
made here, by a seeded generator of queries and of garbage.

`--keywords` prints the words of sqlparse's keyword tables by their type instead, for
crates/coderag-eval/src/execution/sqlparse/keywords.rs.
"""

import argparse
import itertools
import json
import os
import platform
import random
import sys
import unicodedata
import warnings
from pathlib import Path

import sqlparse
from sqlparse.engine import grouping
from sqlparse.lexer import Lexer

FIXTURE = Path(__file__).resolve().parent.parent / "crates/coderag-eval/tests/fixture/sqlparse.json"

# A set of values grows a query's alternatives fast; longer lists are only counted.
MOST_ALTERNATIVES = 12

COLUMNS = 'id name age City T1.id t2.name t1.* T3.* distinct Distinct [order] `from` "a b" year a1 x_1'.split(
    " "
)
TABLES = [
    "singer", "Concert", "[song list]", "`stadium`", "main.singer", "s AS T1", "s as t2 ", "\"t\"",
]
NUMBERS = [
    "0", "1", "42", "-7", "+3", "1.5", "-.5", "7.", ".25", "1e5", "2.5E-3", "0xFF", "-0x1g", "12a", "1.5b",
    "3.x", "1..2", "1.2.3", "12_", "-12a", "\u0663\u0664", "5\xe9", "T1", "t22", "99999999999999999999",
]
STRINGS = [
    "'a'", "''", "'it''s'", "'\\'", "'a\\'b'", "'\\\\'", "'%s'", "' and '", "'x", "x'", "'''", "'a''",
    "'\n'", "'distinct'", "'-- a'", "'/* b'", "'\u017f'", "\"\"", "\"a\"\"b\"", "\"distinct\"", "\"\\\"\"",
    "\"x", "\"1\"", "`a``b`", "`x", "\xb4x\xb4", "\xb4", "$$a$$", "$tag$ b $tag$", "$tag$ c", "$1",
    "$x$$x$", "'5'", "'2.5'",
]
COMMENTS = [
    "-- note\n", "--+ hint\r\n", "--\r", "-- end", "# hash\n", "#no", "/* a */", "/*+ b */", "/* c", "*/",
    "/**/", "/*/", "+/* d */", "--", "/* ; */", "-- ;\n", "#+ x\n", "# + y\n",
]
OPERATORS = [
    "=", "!=", "<>", "<=", ">=", "> =", "! =", "< =", "||", "+", "-", "*", "/", "%", "->", "->>", "#>",
    "#>>", "@>", "<@", "?|", "?&", "#-", "::", ":=", "&", "|", "^", "~", "!", "==", "<<@", "+-", "@", "#",
    "%s", "%(x)s", "%(x)", ":name", "?", "\\copy", "$", "{", "}", "@var", "##temp", "#tmp", "###tmp", "x:y",
    "a?b",
]
PUNCTUATION = [
    "(", ")", "[", "]", ",", ".", ";", ":", "()", "[1]", "a[1]", "[a b]", "([x])", ")[x]", " . ", ". ",
]
WORDS = (
    "SELECT select FROM from WHERE where AND OR NOT IN in AS as BETWEEN LIKE ilike rlike regexp BINARY "
    "JOIN LEFT right FULL INNER outer STRAIGHT CROSS NATURAL ON USING VALUES GROUP BY ORDER HAVING LIMIT "
    "UNION ALL EXCEPT INTERSECT ASC desc NULLS FIRST LAST NULL IS EXISTS CASE WHEN THEN ELSE END IF LOOP "
    "WHILE FOR FOREACH DO BEGIN begin DECLARE CREATE create OR REPLACE TABLE TRANSACTION WORK IMMEDIATE "
    "EXCLUSIVE DEFERRED GO go GOTO PRIMARY KEY HANDLER DOUBLE PRECISION LATERAL VIEW EXPLODE "
    "PARSE_URL_TUPLE AT TIME ZONE WITH WITH' DISTINCT distinct DiStInCt DISTINCTROW COUNT count max OVER "
    "ROLE INT TIMESTAMP DATE INTERVAL DAY YEAR INSERT INTO UPDATE GRANT DIV SYSDATE CURRENT_DATE "
    "returning curdate yeAr T1 t1 T2. foo _bar caf\u00e9 \u00fcber \u03bb \u4e00 a$b a#b 2x valuerare VALUERARE"
).split(" ")
PHRASES = [
    "GROUP BY", "order by", "LEFT OUTER JOIN", "NATURAL JOIN", "natural left join", "END IF", "END LOOP",
    "END WHILE", "END CASE", "END FOR", "IF NOT EXISTS", "NOT NULL", "DESC NULLS LAST", "UNION ALL",
    "CREATE OR REPLACE", "DOUBLE PRECISION", "GO 2", "GO 2x", "LATERAL VIEW EXPLODE", "AT TIME ZONE 'Utc'",
    "WITH' TIME ZONE 'Utc'", "NOT LIKE", "NOT REGEXP BINARY", "count ( distinct", "COUNT(DISTINCT",
    "YEAR ( CURDATE ( ) ) ", "BEGIN TRANSACTION;", "HANDLER FOR", "PRIMARY KEY", "T1 . name", "T12. name",
    "x distinct.y", "y.distinct", "ASC NULLS", "x asc desc asc",
]
# What may follow BEGIN where it opens no block.
TRANSACTIONS = ["TRANSACTION", "work", "/* c */;", ";", "-- d\n;", "EXCLUSIVE", "--+ h\n;"]
SPACES = [
    " ", "  ", "\t", "\n", "\r\n", "\r", "\x0b", "\f", "\x1c", "\x1f", "\x85", "\xa0", "\u2003", "\u2028",
    "\u3000",
]
# Letters and what is equal to them without case, or in upper case.
LOOKALIKES = [
    ("s", "\u017f"), ("i", "\u0131\u0130"), ("k", "\u212a"), ("fi", "\ufb01"), ("st", "\ufb06"), ("ss", "\u00df"),
]
CHARACTERS = list(
    "'\"`\u00b4[](){}.,;:$%@#?!*/\\+-<>=~^&|_ \n\r\tabTtEeXxSsKkIi0195"
    "\u017f\u0131\u0130\u212a\u212b\u00df\ufb01\ufb06"
    "\u00d7\u00f7\u00e9\u00c9\u00ff\u03bb\u03a3\u03c2\u00b2\u00bd\u0663\u096b\u2167\u4e00\u3007\u0301\u093e"
    "\u24b6\u200d"
    "\u00a0\x1c\u2028\u201c\u2019\U0001f600\U0001d7d8\U0001d400\u00aa\u01f0\u0149\x00\x7f\ufeff"
)
PIECES = [WORDS, WORDS, PHRASES, STRINGS, NUMBERS, COMMENTS, OPERATORS, PUNCTUATION, COLUMNS, CHARACTERS]
CHANGES = [CHARACTERS, SPACES, STRINGS, COMMENTS, OPERATORS, PUNCTUATION, ["", " ", ";", "'"]]
# Beginnings and ends that nest, with what may lie between them.
TOWERS = [
    ("(", "1", ")"), ("CASE WHEN ", "a", " END"), ("BEGIN ", "x", " END"), ("f(", "a.b", ")"), ("", "1", " + 1"),
    ("", "x", " asc"), ("a.f(", "b", ")"), ("x AS ", "y", " z"), ("[", "1", "]"), ("a := ", "1", ";"),
    ("(select a from b where ", "c = 1", ")"), ("b, ", "c", " -- d\n"),
]
DISTURBANCES = [
    " ", " a.b ", "(", ") ", " := 1 ", " + ", ", ", " END ", "/* c */", "[x]", "::int", " as x ",
]


class Generator:
    """Texts that look more or less like SQL."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    def case(self, word):
        """A word in another case, now and then with a letter that only a match without case takes for it."""
        word = self.pick([word, word, word.lower(), word.upper(), word.swapcase(), word.title()])
        if self.chance(0.03):
            letters, others = self.pick(LOOKALIKES)
            word = word.lower().replace(letters, self.pick(others))
        return word

    def space(self):
        if self.chance(0.75):
            return " "
        return "".join(self.pick(SPACES) for _ in range(self.random.randint(1, 3)))

    def value(self):
        return self.pick(self.pick([NUMBERS, STRINGS, STRINGS[:9], ["1", "'a'", '"b"', "2.5", "30"]]))

    def expression(self, depth):
        kind = self.random.randint(0, 11)
        if depth <= 0 or kind < 3:
            return self.pick(COLUMNS)
        if kind < 5:
            return self.value()
        if kind == 5:
            function = self.pick(["count", "MAX", "foo", "distinct"]) + self.pick(["", " "])
            return f"{function}({self.pick(['', 'distinct ', 'DISTINCT ', '* '])}{self.expression(depth - 1)})"
        if kind == 6:
            condition, value = self.expression(depth - 1), self.expression(depth - 1)
            return f"CASE WHEN {condition} THEN {value} ELSE {self.value()} END"
        if kind == 7:
            return f"({self.query(depth - 1)})"
        if kind == 8:
            between = self.pick(["BETWEEN", "not between"])
            return f"{self.expression(depth - 1)} {between} {self.value()} and {self.value()}"
        operator = self.pick(OPERATORS[:14] + ["like", "NOT LIKE", "in", "is not"])
        space = self.pick(["", " ", " ", " "])
        return f"{self.expression(depth - 1)}{space}{operator}{space}{self.expression(depth - 1)}"

    def query(self, depth):
        pieces = ["SELECT"]
        if self.chance(0.3):
            pieces.append(self.pick(["DISTINCT", "distinct", "Distinct"]))
        columns = [self.expression(depth - 1) for _ in range(self.random.randint(1, 3))]
        pieces.append(self.pick([", ", ",", " , "]).join(columns))
        pieces += ["FROM", self.pick(TABLES)]
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            pieces += [self.pick(["JOIN", "LEFT JOIN", "left  outer join", ","]), self.pick(TABLES)]
            pieces += ["ON", self.expression(0), "=", self.expression(0)]
        if self.chance(0.5):
            pieces += ["WHERE", self.expression(depth)]
            while self.chance(0.3):
                pieces += [self.pick(["AND", "or"]), self.expression(depth - 1)]
        if self.chance(0.2):
            pieces += ["GROUP BY", self.expression(0)]
            if self.chance(0.4):
                pieces += ["HAVING", self.expression(1)]
        if self.chance(0.2):
            pieces += ["ORDER BY", self.expression(1), self.pick(["", "ASC", "DESC", "desc nulls first"])]
        if self.chance(0.2):
            pieces += ["LIMIT", self.pick(NUMBERS)]
        if depth > 0 and self.chance(0.15):
            pieces += [self.pick(["UNION", "EXCEPT", "INTERSECT", "union all"]), self.query(depth - 1)]
        if self.chance(0.05):
            pieces.insert(self.random.randint(0, len(pieces)), self.pick(COMMENTS))
        return self.space().join(self.case(piece) if piece in WORDS else piece for piece in pieces if piece)

    def block(self, depth):
        """Procedures, in which a semicolon does not always end the statement."""

        def inner():
            if depth > 0 and self.chance(0.7):
                return self.block(depth - 1)
            return self.pick(["x := 1", "select 1", "", "GO", "y"])

        end = self.pick([";", "; ", ";", " ", ";\n", "; -- c\n"])
        text = self.pick(
            [
                lambda: f"BEGIN {inner()}{end}{inner()}{end}END",
                lambda: f"CREATE FUNCTION f() AS DECLARE x int; {inner()}{end}END",
                lambda: f"CREATE OR REPLACE FUNCTION f() AS {inner()}{end}END",
                lambda: f"IF a THEN {inner()}{end}{self.pick(['END IF', 'END  IF', 'END'])}",
                lambda: f"{self.pick(['FOR', 'WHILE', 'FOREACH'])} i IN x {self.pick(['LOOP', 'DO', ';'])} "
                f"{inner()}{end}{self.pick(['END LOOP', 'END WHILE', 'END FOR', 'END'])}",
                lambda: f"CASE WHEN a THEN {inner()}{end}{self.pick(['END CASE', 'END'])}",
                lambda: f"BEGIN {self.pick(TRANSACTIONS)};{inner()}",
                lambda: f"({inner()}{end}{inner()})",
                lambda: f"DECLARE {inner()}{end}BEGIN {inner()}{end}END",
                lambda: f"{inner()}{end}{inner()}",
                lambda: f"LOOP {inner()}{end}END LOOP",
            ]
        )()
        return " ".join(self.case(word) if self.chance(0.1) else word for word in text.split(" "))

    def soup(self):
        """Pieces in any order."""
        pieces = []
        glue = self.pick([0.0, 0.3, 0.6, 0.9])
        for _ in range(self.random.randint(1, 25)):
            piece = self.pick(self.pick(PIECES))
            if piece in WORDS or piece in PHRASES:
                piece = " ".join(map(self.case, piece.split(" "))).replace(" ", self.space())
            pieces.append(piece)
            if not self.chance(glue):
                pieces.append(self.space())
        return "".join(pieces)

    def characters(self):
        count = self.random.choice([2, 4, 8, 12, len(CHARACTERS)])
        letters = self.random.sample(CHARACTERS, count)
        return "".join(self.pick(letters) for _ in range(self.random.randint(0, 30)))

    def nested(self):
        """Chains and towers."""
        size = self.random.randint(1, 14)
        opened, inner, closed = self.pick(TOWERS)
        text = opened * size + inner + closed * self.random.choice([size, size, size - 1, size + 1])
        for _ in range(self.random.choice([0, 0, 1, 2])):
            at = self.random.randint(0, len(text))
            text = text[:at] + self.pick(DISTURBANCES) + text[at:]
        return text

    def changed(self, text):
        """A text with a few small changes."""
        for _ in range(self.random.choice([0, 1, 1, 2, 3])):
            at = self.random.randint(0, len(text))
            to = min(len(text), at + self.random.choice([0, 0, 1, 2, 5]))
            text = text[:at] + self.pick(self.pick(CHANGES)) + text[to:]
        return text

    def text(self):
        kind = self.random.randint(0, 19)
        if kind < 7:
            text = self.query(self.random.randint(0, 3))
        elif kind < 10:
            text = self.changed(self.query(self.random.randint(0, 2)))
        elif kind < 12:
            text = self.block(self.random.randint(1, 4))
        elif kind < 17:
            text = self.soup()
        elif kind < 18:
            text = self.nested()
        else:
            text = self.characters()
        return text + self.pick(["", "", "", "", ";", " ;", "; select 2", "\n", ";\n-- c\n x"])


def statement(sql):
    """The first statement of a text as (type, value) pairs, or nothing where sqlparse raises."""
    try:
        return [(str(token.ttype), token.value) for token in sqlparse.parse(sql)[0].flatten()]
    except (IndexError, sqlparse.exceptions.SQLParseError):
        return None


def with_limits(depth, tokens, sql):
    """`statement` with other limits of grouping."""
    before = grouping.MAX_GROUPING_DEPTH, grouping.MAX_GROUPING_TOKENS
    grouping.MAX_GROUPING_DEPTH, grouping.MAX_GROUPING_TOKENS = depth, tokens
    try:
        return statement(sql)
    finally:
        grouping.MAX_GROUPING_DEPTH, grouping.MAX_GROUPING_TOKENS = before


def least_limits(sql):
    """The smallest depth and the smallest count of tokens with which sqlparse groups a text."""
    depth = next(depth for depth in itertools.count() if with_limits(depth, 10**6, sql) is not None)
    tokens = next(tokens for tokens in itertools.count() if with_limits(10**6, tokens, sql) is not None)
    return {"depth": depth, "tokens": tokens}


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except (IndexError, sqlparse.exceptions.SQLParseError):
        return None


def plugged(official, gold, prediction):
    """The predicted query with the gold query's values, as far as they are few."""
    result = attempt(official.get_all_preds_for_execution, gold, prediction)
    if result is None:
        return {"count": None, "queries": None}
    count, queries = result
    return {
        "count": min(count, 2**64 - 1),
        "queries": sorted(queries) if count <= MOST_ALTERNATIVES else None,
    }


def extracted(official, sql):
    result = attempt(official.extract_query_values, sql)
    return None if result is None else [result[0], sorted(result[1])]


def keywords():
    """The words of all tables by their type; the first table that has a word decides."""
    types = {}
    for table in Lexer.get_default_instance()._keywords:
        for word, token_type in table.items():
            types.setdefault(word, str(token_type))
    return types


def official_modules(checkout):
    warnings.simplefilter("ignore")
    sys.path.insert(0, os.fspath(checkout))
    import exec_eval
    import parse

    return parse, exec_eval


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, nargs="?")
    parser.add_argument("--keywords", action="store_true")
    arguments = parser.parse_args()
    if arguments.keywords:
        by_type = {}
        for word, token_type in sorted(keywords().items()):
            by_type.setdefault(token_type, []).append(word)
        for token_type, words in by_type.items():
            print(token_type, *words)
        return
    if arguments.checkout is None:
        parser.error("the checkout of test-suite-sql-eval is missing")
    parse, exec_eval = official_modules(arguments.checkout)

    types = []

    def encoded(tokens):
        """Tokens as the number of a type and the count of characters, by turns."""
        if tokens is None:
            return None
        numbers = []
        for token_type, value in tokens:
            if token_type not in types:
                types.append(token_type)
            numbers += [types.index(token_type), len(value)]
        return numbers

    generator = Generator(7)
    # `GO` ends a statement, so it goes last.
    words = sorted(keywords(), key=lambda word: (word == "GO", word))
    texts = ["\n".join(words[at : at + 100]) for at in range(0, len(words), 100)]
    texts += ["", " ", "\n\t", ";", "; ;", "select 1; select (", " -- only\n"]
    texts += [generator.text() for _ in range(225)]
    # Long enough for sqlparse's own limits.
    chains = [
        [("1+", 100), ("1", 1)],
        [("1+", 101), ("1", 1)],
        [("(", 100), (")", 100)],
        [("(", 101), (")", 101)],
        [("x", 1), (" asc", 100)],
        [("x", 1), (" asc", 101)],
        [("begin ", 101), ("end ", 101)],
        [("a,", 5000)],
        [("a,", 5000), ("b", 1)],
        [("-- c\n", 10000), ("b", 1)],
        [("-- c\n", 10001), ("b", 1)],
    ]
    document = {
        "sqlparse": sqlparse.__version__,
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "types": types,
        "statements": [{"sql": sql, "tokens": encoded(statement(sql))} for sql in texts],
        "without_distinct": [],
        "chains": [
            {"parts": parts, "fails": statement("".join(part * times for part, times in parts)) is None}
            for parts in chains
        ],
        "limited": [],
        "values": [],
        "plugged": [],
        "replaced": [],
    }
    while len(document["without_distinct"]) < 70:
        sql = generator.text()
        if "distinct" in sql.lower():
            document["without_distinct"].append({"sql": sql, "result": attempt(parse.remove_distinct, sql)})
    while len(document["limited"]) < 150:
        sql = generator.pick([generator.nested, generator.nested, generator.text])()
        if statement(sql) is not None:
            document["limited"].append({"sql": sql} | least_limits(sql))
    for _ in range(70):
        sql = generator.text()
        document["values"].append({"sql": sql, "result": extracted(parse, sql)})
    for _ in range(60):
        gold, prediction = generator.query(2), generator.query(1)
        document["plugged"].append(
            {"gold": gold, "prediction": prediction} | plugged(parse, gold, prediction)
        )
    for _ in range(40):
        sql = generator.pick([generator.soup(), generator.soup() + "year(curdate())" + generator.soup()])
        replaced = {"postprocess": parse.postprocess(sql), "replace_cur_year": exec_eval.replace_cur_year(sql)}
        document["replaced"].append({"sql": sql} | replaced)
    FIXTURE.parent.mkdir(parents=True, exist_ok=True)
    FIXTURE.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
