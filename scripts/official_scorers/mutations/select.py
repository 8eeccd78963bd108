"""Changes of the SELECT list."""

from mutations.clauses import item_texts, select_items, with_select
from mutations.question import mutation
from sql_text import Edit, edited


@mutation("select")
def select_swapped(q):
    block, items = select_items(q, 2)
    if block is None:
        return None
    texts = item_texts(q, items)
    i, j = q.random.sample(range(len(texts)), 2)
    texts[i], texts[j] = texts[j], texts[i]
    return with_select(q, block, texts)


@mutation("select")
def select_removed(q):
    block, items = select_items(q, 2)
    if block is None:
        return None
    texts = item_texts(q, items)
    texts.pop(q.random.randrange(len(texts)))
    return with_select(q, block, texts)


@mutation("select")
def select_duplicated(q):
    block, items = select_items(q)
    if block is None or len(items) > 4:
        return None
    texts = item_texts(q, items)
    texts.insert(q.random.randrange(len(texts) + 1), q.random.choice(texts))
    return with_select(q, block, texts)


@mutation("select")
def select_added(q):
    block, items = select_items(q)
    column = q.column_of(block) if block else None
    if column is None:
        return None
    texts = item_texts(q, items)
    texts.insert(q.random.randrange(len(texts) + 1), column[0])
    return with_select(q, block, texts)


@mutation("select")
def select_replaced(q):
    block, items = select_items(q)
    column = q.column_of(block) if block else None
    if column is None:
        return None
    texts = item_texts(q, items)
    texts[q.random.randrange(len(texts))] = column[0]
    return with_select(q, block, texts)


@mutation("select")
def select_star(q):
    block, _ = select_items(q)
    if block is None:
        return None
    stars = ["*"] + [q.name_in(block, r) + ".*" for r in q.tables(block)]
    return with_select(q, block, [q.random.choice(stars)])


@mutation("select")
def select_arithmetic(q):
    block, items = select_items(q)
    column = q.column_of(block) if block else None
    if column is None:
        return None
    texts = item_texts(q, items)
    i, name = q.random.randrange(len(texts)), column[0]
    operator = q.random.choice("+-*/")
    forms = (
        f"{texts[i]} {operator} {name}",
        f"{name} {operator} {name}",
        f"({texts[i]} {operator} {name})",
        f"{texts[i]}{operator}2",
        f"{texts[i]} {operator} 1.0",
        f"-{texts[i]}",
        f"{texts[i]} || {name}",
        f"{texts[i]} {operator} {name} {operator} {name}",
    )
    texts[i] = q.random.choice(forms)
    return with_select(q, block, texts)


@mutation("select")
def select_literal(q):
    block, items = select_items(q)
    if block is None:
        return None
    texts = item_texts(q, items)
    texts[q.random.randrange(len(texts))] = q.random.choice(("1", "'x'", "NULL", "1.0", '"name"'))
    return with_select(q, block, texts)


@mutation("select")
def select_function(q):
    block, items = select_items(q)
    if block is None:
        return None
    texts = item_texts(q, items)
    i = q.random.randrange(len(texts))
    forms = (
        "upper({})",
        "CAST({} AS TEXT)",
        "CAST({} AS REAL)",
        "round({}, 2)",
        "coalesce({}, 0)",
        "length({})",
        "CASE WHEN {0} IS NULL THEN 0 ELSE {0} END",
        "iif({0} > 0, {0}, 0)",
        "({})",
    )
    texts[i] = q.random.choice(forms).format(texts[i])
    return with_select(q, block, texts)


@mutation("select")
def select_alias(q):
    """`COUNT(*) AS c`, which the official grammar does not know."""
    block, items = select_items(q)
    if block is None:
        return None
    texts = item_texts(q, items)
    i = q.random.randrange(len(texts))
    texts[i] += q.random.choice((" AS c", " as total", " c", ' AS "the name"', " AS count"))
    return with_select(q, block, texts)


@mutation("select")
def select_comma_dropped(q):
    block, items = select_items(q, 2)
    return (
        edited(q.sql, [q.sentence.replace(items[0][0], items[-1][1], " ".join(item_texts(q, items)))])
        if block
        else None
    )


@mutation("select")
def distinct_added(q):
    block = q.block(lambda b: q.tokens[b.first + 1 : b.first + 2] and q.tokens[b.first + 1].lower != "distinct")
    return edited(q.sql, [q.sentence.after(block.first, " DISTINCT")]) if block else None


@mutation("select")
def distinct_dropped(q):
    places = [t for t in q.tokens if t.lower == "distinct"]
    if not places:
        return None
    t = q.random.choice(places)
    return edited(q.sql, [Edit(t.start, t.end, q.random.choice(("", "", "ALL")))])


@mutation("select")
def distinct_in_parentheses(q):
    block, items = select_items(q)
    if block is None:
        return None
    texts = item_texts(q, items)
    texts[0] = q.random.choice(("DISTINCT({})", "DISTINCT ({})", "(DISTINCT {})")).format(texts[0])
    return with_select(q, block, texts)
