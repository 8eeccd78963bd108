"""The register of kinds, and the question that a kind is given."""

import re
from dataclasses import dataclass

from sql_text import Edit, Sentence, edited

KINDS = {}
GROUPS = {}


def mutation(group):
    """Registers a kind under its function's name."""

    def register(function):
        KINDS[function.__name__] = function
        GROUPS.setdefault(group, []).append(function.__name__)
        return function

    return register


@dataclass
class Question:
    """A sentence to change, the schema it runs on, and other sentences of the same database."""

    sentence: Sentence
    schema: object
    random: object
    siblings: list

    @property
    def sql(self):
        return self.sentence.sql

    @property
    def tokens(self):
        return self.sentence.tokens

    def block(self, accepts=lambda block: True):
        """A random SELECT block that the condition accepts."""
        return self.choice([block for block in self.sentence.blocks if accepts(block)])

    def choice(self, things):
        return self.random.choice(things) if things else None

    def columns(self, block):
        return self.sentence.columns(block, self.schema)

    def tables(self, block):
        return self.sentence.tables(block, self.schema)

    def everywhere(self):
        """The columns of every block, each token once."""
        found = {}
        for block in self.sentence.blocks:
            for column in self.columns(block):
                found.setdefault(column[0], column)
        return [found[i] for i in sorted(found)]

    def replaced(self, index, text):
        token = self.tokens[index]
        return edited(self.sql, [Edit(token.start, token.end, text)])

    def any_column(self, table, besides=""):
        return self.choice([c for c in self.schema.columns(table) if c.lower() != besides.lower()])

    def prefixed(self, prefix, column):
        return f"{prefix}.{column}" if prefix else column

    def literal(self, table, column):
        """A value of the column, or another one of our own, as SQL."""
        values = self.schema.values(table, column)
        value = self.random.choice(values + ["Lisbon", 7]) if values else self.random.choice(["Lisbon", 7])
        if isinstance(value, (int, float)):
            return str(value)
        if isinstance(value, bytes):
            return "x'" + value.hex() + "'"
        text = re.sub(r"[\x00-\x1f]", " ", str(value))
        if self.random.random() < 0.5 and '"' not in text:
            return f'"{text}"'
        return "'" + text.replace("'", "''") + "'"

    def name_in(self, block, reference):
        """What the block calls the table: its alias, or its name."""
        if reference.alias is not None:
            return self.tokens[reference.alias].text
        return reference.table

    def column_of(self, block):
        """(column as the block would write it, table) for a random column of one of the block's tables."""
        reference = self.choice(self.tables(block))
        if reference is None:
            return None
        column = self.any_column(reference.table)
        if column is None or not re.fullmatch(r"\w+", column):
            return None
        many = len(self.tables(block)) > 1 or reference.alias is not None
        return self.prefixed(self.name_in(block, reference) if many else None, column), reference.table
