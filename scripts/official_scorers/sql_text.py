"""Reads just enough of a SQL sentence to change it: tokens with their places, SELECT blocks, clauses.

Nothing here checks SQL. A sentence that is not understood yields fewer blocks, and the mutations that
would have needed them do not apply.
"""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field

KEYWORDS = frozenset(
    "select from where group by having order limit offset intersect union except all distinct as join on "
    "using left right full outer inner cross natural and or not in between like glob is null exists case "
    "when then else end asc desc with cast".split()
)
AGGREGATES = ("count", "max", "min", "sum", "avg")
SET_OPERATORS = ("intersect", "union", "except")
JOIN_WORDS = ("join", "left", "right", "full", "outer", "inner", "cross", "natural")
COMPARISONS = ("=", ">", "<", ">=", "<=", "!=", "<>", "==")
CLAUSES = ("from", "where", "group", "having", "order", "limit")

TOKEN = re.compile(
    r"""
    (?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")
  | (?P<quoted>`[^`]*`|\[[^\]]*\])
  | (?P<number>\d+\.\d+|\d+)
  | (?P<word>[^\W\d]\w*(?:\.(?:\w+|\*))?)
  | (?P<operator>>=|<=|!=|<>|==|\|\||[=<>+\-*/%])
  | (?P<punctuation>[(),;])
  | (?P<other>\S)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """One token and the characters of the sentence it covers."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def lower(self):
        return self.text.lower()


@dataclass(frozen=True)
class Edit:
    """Replaces the characters start..end by text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class TableReference:
    """A table in a FROM clause; `alias` is the token index of its alias, `last` the last token index."""

    table: str
    first: int
    last: int
    alias: int | None


@dataclass
class Block:
    """One SELECT with its clauses: token ranges [first, last), each clause with its keyword."""

    first: int
    last: int
    depth: int
    clauses: dict = field(default_factory=dict)

    def has(self, clause):
        return clause in self.clauses


def tokens_of(sql):
    return [Token(m.lastgroup, m.group(), m.start(), m.end()) for m in TOKEN.finditer(sql)]


def edited(sql, edits):
    """The sentence after the edits, which must not overlap."""
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end), reverse=True):
        sql = sql[: edit.start] + edit.text + sql[edit.end :]
    return sql


class Sentence:
    """A SQL sentence with its tokens, their depth in parentheses, and its SELECT blocks, outermost first."""

    def __init__(self, sql):
        self.sql = sql
        self.tokens = tokens_of(sql)
        self.depths = []
        depth = 0
        for token in self.tokens:
            if token.text == ")":
                depth -= 1
            self.depths.append(depth)
            if token.text == "(":
                depth += 1
        self.blocks = [self._block(i) for i, token in enumerate(self.tokens) if token.lower == "select"]

    def _block(self, first):
        depth = self.depths[first]
        last = len(self.tokens)
        for i in range(first + 1, len(self.tokens)):
            ends = self.tokens[i].lower in SET_OPERATORS or self.tokens[i].text == ";"
            if self.depths[i] < depth or (self.depths[i] == depth and ends):
                last = i
                break
        # `)` carries the depth outside, so a block in parentheses ends at it.
        block = Block(first, last, depth)
        starts = [("select", first)]
        for i in range(first + 1, last):
            if self.depths[i] == depth and self.tokens[i].lower in CLAUSES:
                starts.append((self.tokens[i].lower, i))
        for (name, start), (_, end) in zip(starts, starts[1:] + [("", last)]):
            block.clauses.setdefault(name, (start, end))
        return block

    def text(self, first, last):
        """The characters of the tokens first..last."""
        if first >= last:
            return ""
        return self.sql[self.tokens[first].start : self.tokens[last - 1].end]

    def replace(self, first, last, text):
        """An edit of the tokens first..last."""
        return Edit(self.tokens[first].start, self.tokens[last - 1].end, text)

    def after(self, index, text):
        """An insertion behind the token."""
        return Edit(self.tokens[index].end, self.tokens[index].end, text)

    def closing(self, index):
        """The index of the parenthesis that closes the one at `index`."""
        for i in range(index + 1, len(self.tokens)):
            if self.tokens[i].text == ")" and self.depths[i] == self.depths[index]:
                return i
        return None

    def split(self, first, last, depth, separators):
        """The token ranges between separators at the depth, and the separators' indexes."""
        ranges, found, start, between = [], [], first, False
        for i in range(first, last):
            word = self.tokens[i].lower
            if self.depths[i] != depth:
                continue
            if word == "between":
                between = True
            elif word in separators:
                if word == "and" and between:
                    between = False
                    continue
                ranges.append((start, i))
                found.append(i)
                start = i + 1
        ranges.append((start, last))
        return ranges, found

    def items(self, block, clause):
        """The comma-separated items of SELECT, GROUP BY or ORDER BY."""
        if not block.has(clause):
            return []
        first, last = block.clauses[clause]
        first += 1
        if first < last and self.tokens[first].lower in ("by", "distinct"):
            first += 1
        ranges, _ = self.split(first, last, block.depth, (",",))
        return [r for r in ranges if r[0] < r[1]]

    def conditions(self, block, clause="where"):
        """The conjuncts and disjuncts of WHERE or HAVING, and the indexes of AND and OR."""
        if not block.has(clause):
            return [], []
        first, last = block.clauses[clause]
        ranges, found = self.split(first + 1, last, block.depth, ("and", "or"))
        if any(start >= end for start, end in ranges):
            return [], []
        return ranges, found

    def tables(self, block, schema):
        """The tables which the FROM clause names."""
        if not block.has("from"):
            return []
        first, last = block.clauses["from"]
        references, i, expected = [], first + 1, True
        while i < last:
            token = self.tokens[i]
            if self.depths[i] != block.depth:
                i += 1
                continue
            if token.lower == "join" or token.text == ",":
                expected = True
            elif expected and token.kind == "word" and schema.table(token.text):
                alias, end = None, i
                if i + 2 < last and self.tokens[i + 1].lower == "as":
                    alias, end = i + 2, i + 2
                elif i + 1 < last and self.tokens[i + 1].kind == "word" and self.tokens[i + 1].lower not in KEYWORDS:
                    alias, end = i + 1, i + 1
                references.append(TableReference(token.lower, i, end, alias))
                expected = False
                i = end
            i += 1
        return references

    def columns(self, block, schema):
        """(token index, prefix or None, column, table) of the columns the block itself mentions."""
        references = self.tables(block, schema)
        taken = {i for r in references for i in (r.first, r.alias) if i is not None}
        found = []
        for i in range(block.first, block.last):
            token = self.tokens[i]
            if token.kind != "word" or i in taken or token.lower in KEYWORDS or self.depths[i] < block.depth:
                continue
            if i + 1 < len(self.tokens) and self.tokens[i + 1].text == "(":
                continue
            prefix, _, column = token.text.rpartition(".")
            for reference in references:
                names = [reference.table]
                if reference.alias is not None:
                    names.append(self.tokens[reference.alias].lower)
                if prefix and prefix.lower() not in names:
                    continue
                if schema.has_column(reference.table, column):
                    found.append((i, prefix or None, column, reference.table))
                    break
        return found

    def aggregates(self):
        """(index of the function's name, index of the opening, index of the closing parenthesis)."""
        found = []
        for i, token in enumerate(self.tokens[:-1]):
            if token.lower in AGGREGATES and self.tokens[i + 1].text == "(":
                closing = self.closing(i + 1)
                if closing is not None:
                    found.append((i, i + 1, closing))
        return found

    def values(self, *kinds):
        """The indexes of numbers or strings."""
        return [i for i, token in enumerate(self.tokens) if token.kind in kinds]


class Schema:
    """Tables, columns, foreign keys and a few values of one SQLite database, opened read-only."""

    def __init__(self, path):
        self.path = path
        self.names = {}
        self.foreign_keys = []
        self._values = {}
        with closing(self.connection()) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
            for (name,) in rows.fetchall():
                info = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
                self.names[name.lower()] = (name, [(row[1], (row[2] or "").lower()) for row in info])
            for table, (name, _) in self.names.items():
                for row in connection.execute(f'PRAGMA foreign_key_list("{name}")').fetchall():
                    if row[2] and row[3] and row[4]:
                        self.foreign_keys.append((table, row[3], row[2].lower(), row[4]))

    def connection(self):
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        connection.text_factory = lambda data: data.decode(errors="ignore")
        return connection

    def table(self, name):
        return self.names.get(name.lower())

    def tables(self):
        return [table for table in self.names if not table.startswith("sqlite_")]

    def columns(self, table):
        return [column for column, _ in self.names[table][1]]

    def has_column(self, table, column):
        return any(name.lower() == column.lower() for name in self.columns(table))

    def values(self, table, column):
        """Up to thirty values of the column."""
        key = (table, column.lower())
        if key not in self._values:
            name = self.names[table][0]
            with closing(self.connection()) as connection:
                rows = connection.execute(
                    f'SELECT DISTINCT "{column}" FROM "{name}" WHERE "{column}" IS NOT NULL LIMIT 30'
                )
                self._values[key] = [row[0] for row in rows.fetchall()]
        return self._values[key]
