"""Text broken as a model or an editor breaks it."""

import re

from mutations.clauses import (
    removed_clause,
)
from mutations.question import mutation
from sql_text import KEYWORDS, Edit, edited


@mutation("syntax")
def parenthesis_missing(q):
    places = [i for i, t in enumerate(q.tokens) if t.text in "()" and t.kind == "punctuation"]
    i = q.choice(places)
    return q.replaced(i, "") if i is not None else None


@mutation("syntax")
def parenthesis_extra(q):
    t = q.random.choice(q.tokens)
    return edited(q.sql, [Edit(t.end, t.end, q.random.choice((" )", " (", ")", "()")))])


@mutation("syntax")
def from_missing(q):
    places = [i for i, t in enumerate(q.tokens) if t.lower == "from"]
    i = q.choice(places)
    return q.replaced(i, "") if i is not None else None


@mutation("syntax")
def from_clause_missing(q):
    return removed_clause(q, "from")


@mutation("syntax")
def keyword_misspelt(q):
    places = [i for i, t in enumerate(q.tokens) if t.lower in KEYWORDS and len(t.text) > 2]
    i = q.choice(places)
    if i is None:
        return None
    text = q.tokens[i].text
    k = q.random.randrange(len(text))
    return q.replaced(i, text[:k] + text[k + 1 :])


@mutation("syntax")
def truncated_at_token(q):
    if len(q.tokens) < 2:
        return None
    t = q.tokens[q.random.randrange(1, len(q.tokens))]
    return q.sql[: t.start].rstrip()


@mutation("syntax")
def truncated_at_character(q):
    return q.sql[: q.random.randrange(1, len(q.sql))] if len(q.sql) > 1 else None


@mutation("syntax")
def quote_unbalanced(q):
    strings = q.sentence.values("string")
    if strings and q.random.random() < 0.6:
        t = q.tokens[q.random.choice(strings)]
        return edited(q.sql, [Edit(t.start, t.end, q.random.choice((t.text[1:], t.text[:-1], t.text[0] + t.text)))])
    t = q.random.choice(q.tokens)
    return edited(q.sql, [Edit(t.end, t.end, q.random.choice("'\"`"))])


@mutation("syntax")
def token_added(q):
    t = q.random.choice(q.tokens)
    words = (
        "AND",
        "WHERE",
        "x",
        "1",
        ",",
        "*",
        "JOIN",
        "AS",
        "DISTINCT",
        "NOT",
        "LIMIT",
        "ORDER BY",
        ".",
        "=",
        "#",
        "@",
        "$",
        "&",
        "\\",
        "|",
        "...",
        "--",
        "''",
        "{",
        "}",
        "%",
        "~",
        "!",
        "as b",
        "``",
    )
    return edited(q.sql, [Edit(t.end, t.end, " " + q.random.choice(words) + " ")])


@mutation("syntax")
def token_dropped(q):
    t = q.random.choice(q.tokens)
    return edited(q.sql, [Edit(t.start, t.end, "")])


@mutation("syntax")
def token_repeated(q):
    t = q.random.choice(q.tokens)
    return edited(q.sql, [Edit(t.end, t.end, " " + t.text)])


@mutation("syntax")
def tokens_swapped(q):
    if len(q.tokens) < 2:
        return None
    i = q.random.randrange(len(q.tokens) - 1)
    a, b = q.tokens[i], q.tokens[i + 1]
    return edited(q.sql, [Edit(a.start, a.end, b.text), Edit(b.start, b.end, a.text)])


@mutation("syntax")
def spaces_lost(q):
    i = q.choice([m.start() for m in re.finditer(r"(?<=\w) +(?=\w)", q.sql)])
    return q.sql[:i] + q.sql[i:].lstrip(" ") if i is not None else None


@mutation("syntax")
def punctuation_joined(q):
    """Punctuation where the official tokeniser splits by rules made for English."""
    t = q.random.choice(q.tokens)
    return edited(
        q.sql,
        [
            Edit(
                t.end,
                t.end,
                q.random.choice(
                    (
                        ".",
                        "...",
                        ",",
                        ":",
                        "?",
                        "!",
                        "%",
                        "&",
                        "@x",
                        "--",
                        "'s",
                        "n't",
                        "''",
                        "``",
                        "#1",
                        "$5",
                        "…",
                        "—",
                    )
                ),
            )
        ],
    )


@mutation("syntax")
def semicolon(q):
    body = q.sql.rstrip("; ")
    return body if q.sql.rstrip().endswith(";") else q.sql + q.random.choice((";", " ;"))


@mutation("syntax")
def semicolons(q):
    return q.sql.rstrip("; ") + q.random.choice((";;", " ; ;", ";;;", "; ;"))


@mutation("syntax")
def semicolon_inside(q):
    t = q.random.choice(q.tokens)
    return edited(q.sql, [Edit(t.end, t.end, " ; ")])


@mutation("syntax")
def two_statements(q):
    return f"{q.sql.rstrip('; ')}; {q.random.choice(q.siblings + ['SELECT 1', q.sql])}"


@mutation("syntax")
def comment(q):
    t = q.random.choice(q.tokens)
    text = q.random.choice(
        (" -- x", "-- it's", " /* */ ", "/* x */", ' /* select "a */ ', " # x", " /* open", "/* ; */")
    )
    if q.random.random() < 0.5:
        return q.sql + text
    return edited(q.sql, [Edit(t.end, t.end, text)])


@mutation("syntax")
def comment_only(q):
    return q.random.choice(("-- " + q.sql, "/* " + q.sql + " */", "/**/ " + q.sql, "--x"))
