"""Changes of letters and spaces that leave the meaning alone."""

import re

from mutations.question import mutation
from sql_text import AGGREGATES, KEYWORDS, Edit, edited


def case_changed(text, random):
    way = random.randrange(4)
    if way == 0:
        return text.upper()
    if way == 1:
        return text.lower()
    if way == 2:
        return text.swapcase()
    return "".join(random.choice((c.lower(), c.upper())) for c in text)


@mutation("formatting")
def unchanged(q):
    return q.sql


@mutation("formatting")
def keyword_case(q):
    edits = [
        Edit(t.start, t.end, case_changed(t.text, q.random))
        for t in q.tokens
        if t.kind == "word" and (t.lower in KEYWORDS or t.lower in AGGREGATES)
    ]
    return edited(q.sql, edits)


@mutation("formatting")
def identifier_case(q):
    edits = [
        Edit(t.start, t.end, case_changed(t.text, q.random))
        for t in q.tokens
        if t.kind == "word" and t.lower not in KEYWORDS
    ]
    return edited(q.sql, edits)


@mutation("formatting")
def all_upper_case(q):
    return q.sql.upper()


@mutation("formatting")
def all_lower_case(q):
    return q.sql.lower()


@mutation("formatting")
def whitespace_collapsed(q):
    return " ".join(t.text for t in q.tokens)


@mutation("formatting")
def whitespace_widened(q):
    return "".join(t.text + " " * q.random.randint(1, 4) for t in q.tokens).strip()


@mutation("formatting")
def whitespace_removed(q):
    """No space beside punctuation and operators."""
    text = q.sql
    out, last = "", 0
    for t in q.tokens:
        gap = text[last : t.start]
        beside = t.kind in ("punctuation", "operator") or (out and out[-1] in "(),;=<>+-*/%")
        out += ("" if beside else gap) + t.text
        last = t.end
    return out


@mutation("formatting")
def dots_spaced(q):
    dotted = [t for t in q.tokens if t.kind == "word" and "." in t.text]
    form = q.random.choice((" . ", ". ", " ."))
    return edited(q.sql, [Edit(t.start, t.end, t.text.replace(".", form)) for t in dotted]) if dotted else None


@mutation("formatting")
def odd_whitespace(q):
    """Characters which Python, SQLite and other languages do not agree to call whitespace."""
    odd = q.random.choice(
        ("\u00a0", "\u3000", "\u2003", "\u200b", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\u2028", "\ufeff")
    )
    place = q.random.randrange(3)
    if place == 0:
        return q.sql + odd
    if place == 1:
        return odd + q.sql
    spaces = [m.start() for m in re.finditer(" ", q.sql)]
    i = q.choice(spaces)
    return q.sql[:i] + odd + q.sql[i + 1 :] if i is not None else None


@mutation("formatting")
def parentheses_around_all(q):
    return "(" + q.sql.rstrip("; ") + ")"
