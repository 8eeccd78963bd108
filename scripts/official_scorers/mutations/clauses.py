"""Edits of whole clauses, which several groups of mutations use."""

from sql_text import edited


def select_items(q, at_least=1):
    block = q.block(lambda b: len(q.sentence.items(b, "select")) >= at_least)
    return (block, q.sentence.items(block, "select")) if block else (None, [])


def with_select(q, block, items):
    old = q.sentence.items(block, "select")
    return edited(q.sql, [q.sentence.replace(old[0][0], old[-1][1], ", ".join(items))])


def item_texts(q, items):
    return [q.sentence.text(first, last) for first, last in items]


def removed_clause(q, *clauses):
    options = [(b, c) for b in q.sentence.blocks for c in clauses if b.has(c)]
    if not options:
        return None
    block, clause = q.random.choice(options)
    return edited(q.sql, [q.sentence.replace(*block.clauses[clause], "")])


def appended(q, block, text, before=()):
    """The text as the last clause of the block, or before the first of the clauses it has."""
    ends = [block.clauses[c][0] for c in before if block.has(c)]
    last = min(ends) if ends else block.last
    return edited(q.sql, [q.sentence.after(last - 1, " " + text + " ")])


def one_condition(q):
    """(block, clause, first, last) of a random condition in WHERE or HAVING."""
    options = [
        (b, clause, first, last)
        for b in q.sentence.blocks
        for clause in ("where", "having")
        for first, last in q.sentence.conditions(b, clause)[0]
    ]
    return q.choice(options)
