"""Changes of ORDER BY and LIMIT."""

from mutations.clauses import appended, item_texts, removed_clause
from mutations.question import mutation
from sql_text import edited


@mutation("order")
def order_removed(q):
    return removed_clause(q, "order")


@mutation("order")
def order_flipped(q):
    block = q.block(lambda b: b.has("order"))
    if block is None:
        return None
    first, last = block.clauses["order"]
    for i in range(first, last):
        if q.tokens[i].lower in ("asc", "desc"):
            return q.replaced(i, "ASC" if q.tokens[i].lower == "desc" else "DESC")
    return edited(q.sql, [q.sentence.after(last - 1, " DESC")])


@mutation("order")
def order_direction_written(q):
    """ASC written out or left out."""
    block = q.block(lambda b: b.has("order"))
    if block is None:
        return None
    first, last = block.clauses["order"]
    places = [i for i in range(first, last) if q.tokens[i].lower == "asc"]
    return (
        q.replaced(places[0], "")
        if places
        else edited(
            q.sql, [q.sentence.after(last - 1, q.random.choice((" ASC", " asc", " NULLS LAST", " COLLATE NOCASE")))]
        )
    )


@mutation("order")
def order_added(q):
    block = q.block(lambda b: b.has("from") and not b.has("order"))
    column = q.column_of(block) if block else None
    return (
        appended(q, block, f"ORDER BY {column[0]} {q.random.choice(('', 'DESC', 'ASC'))}", before=("limit",))
        if column
        else None
    )


@mutation("order")
def order_other(q):
    block = q.block(lambda b: b.has("order"))
    column = q.column_of(block) if block else None
    if column is None:
        return None
    items = q.sentence.items(block, "order")
    texts = item_texts(q, items)
    form = q.random.choice(
        (
            "{0}",
            "{0}, {1}",
            "{1}, {0}",
            "{0} DESC, {1} ASC",
            "1",
            "count(*)",
            "{0} + {1}",
            "2 DESC",
            "avg({0})",
            "abs({0})",
        )
    )
    return edited(q.sql, [q.sentence.replace(items[0][0], items[-1][1], form.format(column[0], texts[0]))])


@mutation("order")
def limit_removed(q):
    return removed_clause(q, "limit")


@mutation("order")
def limit_changed(q):
    block = q.block(lambda b: b.has("limit") and b.clauses["limit"][1] - b.clauses["limit"][0] > 1)
    if block is None:
        return None
    forms = (
        "2",
        "3",
        "100",
        "0",
        "-1",
        "1 OFFSET 1",
        "1, 2",
        "'1'",
        "1.0",
        "all",
        "(1)",
        "1 + 1",
        "NULL",
        "value",
        "x",
    )
    return q.replaced(block.clauses["limit"][0] + 1, q.random.choice(forms))


@mutation("order")
def limit_added(q):
    block = q.block(lambda b: b.has("from") and not b.has("limit"))
    return appended(q, block, f"LIMIT {q.random.choice((1, 2, 3, 1000))}") if block else None


@mutation("order")
def limit_without_number(q):
    block = q.block(lambda b: b.has("limit"))
    return edited(q.sql, [q.sentence.replace(*block.clauses["limit"], "LIMIT")]) if block else None


@mutation("order")
def limit_in_nested(q):
    """A LIMIT inside a subquery, where the two official scripts differ."""
    block = q.block(lambda b: b.depth > 0 and not b.has("limit"))
    if block is not None:
        return appended(q, block, f"LIMIT {q.random.randint(1, 3)}")
    block = q.block(lambda b: b.has("from") and len(q.tables(b)) >= 1 and not b.has("where"))
    column = q.column_of(block) if block else None
    if column is None:
        return None
    name, table = column
    bare = name.rpartition(".")[2]
    condition = f"WHERE {name} {q.random.choice(('=', 'IN', '>=', '!='))} (SELECT {bare} FROM {table} ORDER BY {bare} DESC LIMIT {q.random.randint(1, 3)})"
    return appended(q, block, condition, before=("group", "having", "order", "limit"))


@mutation("order")
def clauses_exchanged(q):
    """LIMIT before ORDER BY, ORDER BY before WHERE, and the like."""
    block = q.block(lambda b: len([c for c in b.clauses if c not in ("select", "from")]) >= 2)
    if block is None:
        return None
    names = q.random.sample([c for c in block.clauses if c not in ("select", "from")], 2)
    (a, b), (c, d) = (block.clauses[name] for name in names)
    return edited(
        q.sql, [q.sentence.replace(a, b, q.sentence.text(c, d)), q.sentence.replace(c, d, q.sentence.text(a, b))]
    )
