"""Changes of aggregates, GROUP BY and HAVING."""

from mutations.clauses import (
    appended,
    item_texts,
    removed_clause,
    select_items,
    with_select,
)
from mutations.question import mutation
from sql_text import AGGREGATES, edited


@mutation("aggregates")
def aggregate_changed(q):
    chosen = q.choice(q.sentence.aggregates())
    if chosen is None:
        return None
    name = q.tokens[chosen[0]].lower
    return q.replaced(chosen[0], q.random.choice([a for a in AGGREGATES if a != name] + ["total", "group_concat"]))


@mutation("aggregates")
def count_argument(q):
    """COUNT(*) as COUNT(1), COUNT(column), COUNT(DISTINCT column), COUNT()."""
    counts = [a for a in q.sentence.aggregates() if q.tokens[a[0]].lower == "count"]
    chosen = q.choice(counts)
    if chosen is None:
        return None
    _, opening, closing = chosen
    columns = q.everywhere()
    block = q.block(lambda b: len(q.tables(b)) >= 1)
    column = q.column_of(block) if block else None
    name = column[0] if column else (q.tokens[columns[0][0]].text if columns else "1")
    forms = (
        "(1)",
        "( * )",
        "(*)",
        f"({name})",
        f"(DISTINCT {name})",
        f"(distinct({name}))",
        "()",
        f"( {name} )",
        "('x')",
        f" ({name})",
        "(T1.*)",
        f"(DISTINCT {name}, {name})",
    )
    return edited(q.sql, [q.sentence.replace(opening, closing + 1, q.random.choice(forms))])


@mutation("aggregates")
def aggregate_removed(q):
    chosen = q.choice(q.sentence.aggregates())
    if chosen is None:
        return None
    name, opening, closing = chosen
    return edited(q.sql, [q.sentence.replace(name, closing + 1, q.sentence.text(opening + 1, closing))])


@mutation("aggregates")
def aggregate_added(q):
    block, items = select_items(q)
    if block is None:
        return None
    texts = item_texts(q, items)
    i = q.random.randrange(len(texts))
    texts[i] = q.random.choice(
        ("max({})", "MIN({})", "avg ({})", "count({})", "sum( {} )", "COUNT(DISTINCT {})", "max(min({}))")
    ).format(texts[i])
    return with_select(q, block, texts)


@mutation("aggregates")
def aggregate_arithmetic(q):
    chosen = q.choice(q.sentence.aggregates())
    if chosen is None:
        return None
    name, opening, closing = chosen
    text, inside = q.sentence.text(name, closing + 1), q.sentence.text(opening + 1, closing)
    function = q.tokens[name].text
    forms = (
        f"{text} + 1",
        f"{text} - {text}",
        f"{function}({inside} * 2)",
        f"{text} / {text}",
        f"({text})",
        f"{text} * 1.0",
        f"{function}({inside} - {inside})",
    )
    return edited(q.sql, [q.sentence.replace(name, closing + 1, q.random.choice(forms))])


@mutation("aggregates")
def group_removed(q):
    return removed_clause(q, "group")


@mutation("aggregates")
def group_other(q):
    block = q.block(lambda b: b.has("group"))
    column = q.column_of(block) if block else None
    items = q.sentence.items(block, "group") if block else []
    if column is None or not items:
        return None
    texts = item_texts(q, items)
    form = q.random.choice(("{0}", "{1}, {0}", "{0}, {1}", "{1}, {1}", "1", "({1})", "{1} {0}", "upper({1})"))
    return edited(q.sql, [q.sentence.replace(items[0][0], items[-1][1], form.format(column[0], texts[0]))])


@mutation("aggregates")
def group_added(q):
    block = q.block(lambda b: len(q.tables(b)) >= 1 and not b.has("group"))
    column = q.column_of(block) if block else None
    return appended(q, block, f"GROUP BY {column[0]}", before=("having", "order", "limit")) if column else None


@mutation("aggregates")
def group_prefix_changed(q):
    """The grouped column under another table's prefix: the official group score looks only behind the dot."""
    block = q.block(lambda b: b.has("group") and len(q.tables(b)) >= 2)
    if block is None:
        return None
    first, last = block.clauses["group"]
    names = [q.name_in(block, r) for r in q.tables(block)]
    places = [i for i in range(first, last) if q.tokens[i].kind == "word" and "." in q.tokens[i].text]
    i = q.choice(places)
    if i is None:
        return None
    prefix, _, column = q.tokens[i].text.partition(".")
    other = q.choice([n for n in names if n.lower() != prefix.lower()])
    return q.replaced(i, f"{other}.{column}") if other else None


@mutation("aggregates")
def having_removed(q):
    return removed_clause(q, "having")


@mutation("aggregates")
def having_changed(q):
    block = q.block(lambda b: b.has("having"))
    if block is None:
        return None
    forms = (
        "count(*) > 1",
        "COUNT(*)  >=  3",
        "count(*) = 1 OR count(*) = 2",
        "avg(1) > 0",
        "sum(1) > 1 AND count(*) > 0",
    )
    return edited(q.sql, [q.sentence.replace(*block.clauses["having"], "HAVING " + q.random.choice(forms))])


@mutation("aggregates")
def having_added(q):
    block = q.block(lambda b: b.has("from") and not b.has("having"))
    return (
        appended(
            q,
            block,
            f"HAVING count(*) {q.random.choice(('>', '>=', '<'))} {q.random.randint(0, 2)}",
            before=("order", "limit"),
        )
        if block
        else None
    )
