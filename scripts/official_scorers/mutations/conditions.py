"""Changes of WHERE and HAVING conditions."""

from mutations.clauses import appended, one_condition, removed_clause
from mutations.question import mutation
from sql_text import COMPARISONS, edited


def condition_changed(q, form):
    chosen = one_condition(q)
    if chosen is None:
        return None
    _, _, first, last = chosen
    return edited(q.sql, [q.sentence.replace(first, last, form.format(q.sentence.text(first, last)))])


@mutation("conditions")
def conditions_swapped(q):
    block = q.block(lambda b: len(q.sentence.conditions(b)[0]) >= 2)
    if block is None:
        return None
    (a, b), (c, d) = q.random.sample(q.sentence.conditions(block)[0], 2)
    return edited(
        q.sql, [q.sentence.replace(a, b, q.sentence.text(c, d)), q.sentence.replace(c, d, q.sentence.text(a, b))]
    )


@mutation("conditions")
def connective_changed(q):
    places = [
        i for b in q.sentence.blocks for clause in ("where", "having") for i in q.sentence.conditions(b, clause)[1]
    ]
    i = q.choice(places)
    return q.replaced(i, "OR" if q.tokens[i].lower == "and" else "AND") if i is not None else None


@mutation("conditions")
def condition_dropped(q):
    block = q.block(lambda b: len(q.sentence.conditions(b)[0]) >= 2)
    if block is None:
        return None
    ranges, connectives = q.sentence.conditions(block)
    k = q.random.randrange(len(ranges))
    if k == 0:
        return edited(q.sql, [q.sentence.replace(ranges[0][0], connectives[0] + 1, "")])
    return edited(q.sql, [q.sentence.replace(connectives[k - 1], ranges[k][1], "")])


@mutation("conditions")
def where_dropped(q):
    return removed_clause(q, "where")


@mutation("conditions")
def condition_added(q):
    block = q.block(lambda b: len(q.tables(b)) >= 1)
    column = q.column_of(block) if block else None
    if column is None:
        return None
    name, table = column
    value = q.literal(table, name.rpartition(".")[2])
    forms = (
        "{0} = {1}",
        "{0} > {1}",
        "{0} LIKE '%a%'",
        '{0} LIKE "%A"',
        "{0} NOT LIKE '%a%'",
        "{0} IS NOT NULL",
        "{0} IS NULL",
        "{0} != {1}",
        "{0} IN ({1})",
        "{0} NOT IN ({1}, {1})",
        "{0} BETWEEN {1} AND {1}",
        "{0} NOT BETWEEN 1 AND 2",
        "{0} = {0}",
        "{0} + {0} > 2",
        "NOT {0} = {1}",
        "{0} < {0} + 1",
        "{0} = ({1})",
        "1 = 1",
        "{1} = {0}",
        "{0} >= -1",
        "{0} GLOB 'A*'",
    )
    condition = q.random.choice(forms).format(name, value)
    if block.has("where"):
        return edited(
            q.sql,
            [q.sentence.after(block.clauses["where"][1] - 1, f" {q.random.choice(('AND', 'OR', 'and'))} {condition} ")],
        )
    return appended(q, block, "WHERE " + condition, before=("group", "having", "order", "limit"))


@mutation("conditions")
def condition_repeated(q):
    return condition_changed(q, q.random.choice(("{0} AND {0}", "{0} OR {0}", "{0} AND 1 = 1")))


@mutation("conditions")
def operator_changed(q):
    return operator_as(q, lambda text: q.random.choice([o for o in ("=", ">", "<", ">=", "<=", "!=") if o != text]))


@mutation("conditions")
def operator_spelled(q):
    return operator_as(q, lambda text: q.random.choice(("<>", "==", "IS", "IS NOT", "LIKE", "=>", "=!", "EQUALS")))


@mutation("conditions")
def operator_spaced(q):
    return operator_as(q, lambda text: q.random.choice(("> =", "< =", "! =", ">  =", "!\u00a0=", "< >")))


def operator_as(q, change):
    places = [i for i, t in enumerate(q.tokens) if t.text in COMPARISONS]
    i = q.choice(places)
    return q.replaced(i, change(q.tokens[i].text)) if i is not None else None


@mutation("conditions")
def value_as_list(q):
    """`a = x` as `a IN (x)`, `a IN (x, y)` or `a NOT IN (x)`."""
    places = [
        i for i, t in enumerate(q.tokens[:-1]) if t.text in COMPARISONS and q.tokens[i + 1].kind in ("string", "number")
    ]
    i = q.choice(places)
    if i is None:
        return None
    value = q.tokens[i + 1].text
    forms = ("IN ({0})", "NOT IN ({0})", "IN ({0}, {0})", "IN ({0},1)", "in({0})", "= ANY ({0})")
    return edited(q.sql, [q.sentence.replace(i, i + 2, q.random.choice(forms).format(value))])


@mutation("conditions")
def value_as_range(q):
    places = [
        i for i, t in enumerate(q.tokens[:-1]) if t.text in COMPARISONS and q.tokens[i + 1].kind in ("string", "number")
    ]
    i = q.choice(places)
    if i is None:
        return None
    value = q.tokens[i + 1].text
    forms = (
        "BETWEEN {0} AND {0}",
        "BETWEEN 0 AND {0}",
        "NOT BETWEEN {0} AND {0}",
        "between {0} and 99999",
        "BETWEEN {0}",
        "BETWEEN {0} AND",
        "BETWEEN ({0}) AND ({0})",
    )
    return edited(q.sql, [q.sentence.replace(i, i + 2, q.random.choice(forms).format(value))])


@mutation("conditions")
def value_as_column(q):
    places = [
        i for i, t in enumerate(q.tokens[:-1]) if t.text in COMPARISONS and q.tokens[i + 1].kind in ("string", "number")
    ]
    columns = q.everywhere()
    i = q.choice(places)
    return q.replaced(i + 1, q.tokens[q.random.choice(columns)[0]].text) if i is not None and columns else None


@mutation("conditions")
def like_changed(q):
    places = [i for i, t in enumerate(q.tokens) if t.lower in ("like", "between", "in", "is", "not")]
    i = q.choice(places)
    return (
        q.replaced(i, q.random.choice(("LIKE", "NOT LIKE", "=", "NOT IN", "IN", "NOT", "IS", "", "BETWEEN")))
        if i is not None
        else None
    )


@mutation("conditions")
def not_dropped(q):
    places = [i for i, t in enumerate(q.tokens) if t.lower == "not"]
    i = q.choice(places)
    return q.replaced(i, "") if i is not None else None


@mutation("conditions")
def null_test(q):
    chosen = one_condition(q)
    if chosen is None:
        return None
    _, _, first, last = chosen
    form = q.random.choice(
        ("{} IS NULL", "{} IS NOT NULL", "{} is null", "{} = NULL", "{} NOT NULL", "{} ISNULL", "{} IS 'null'", "{}")
    )
    return edited(q.sql, [q.sentence.replace(first, last, form.format(q.tokens[first].text))])


@mutation("conditions")
def condition_in_parentheses(q):
    return condition_changed(q, q.random.choice(("({})", "( {} )", "(({}))", "NOT ({})", "NOT {}", "({}) AND (1 = 1)")))


@mutation("conditions")
def conditions_grouped(q):
    block = q.block(lambda b: b.has("where"))
    if block is None:
        return None
    first, last = block.clauses["where"]
    return (
        edited(q.sql, [q.sentence.replace(first + 1, last, "(" + q.sentence.text(first + 1, last) + ")")])
        if last > first + 1
        else None
    )


@mutation("conditions")
def condition_reversed(q):
    """`a > 5` as `5 < a`."""
    chosen = one_condition(q)
    if chosen is None or chosen[3] - chosen[2] != 3:
        return None
    _, _, first, last = chosen
    mirrored = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
    left, operator, right = (t.text for t in q.tokens[first:last])
    return edited(q.sql, [q.sentence.replace(first, last, f"{right} {mirrored.get(operator, operator)} {left}")])


@mutation("conditions")
def exists_condition(q):
    block = q.block(lambda b: len(q.tables(b)) >= 1)
    if block is None:
        return None
    table = q.random.choice(q.tables(block)).table
    condition = f"{q.random.choice(('EXISTS', 'NOT EXISTS'))} (SELECT {q.random.choice(('*', '1'))} FROM {table})"
    if block.has("where"):
        return edited(q.sql, [q.sentence.after(block.clauses["where"][1] - 1, f" AND {condition} ")])
    return appended(q, block, "WHERE " + condition, before=("group", "having", "order", "limit"))


@mutation("conditions")
def nested_condition(q):
    """`column operator (SELECT ...)` added to WHERE, of the same table or with the gold inside."""
    block = q.block(lambda b: len(q.tables(b)) >= 1)
    column = q.column_of(block) if block else None
    if column is None:
        return None
    name, table = column
    bare = name.rpartition(".")[2]
    forms = (
        "{0} > (SELECT avg({1}) FROM {2})",
        "{0} IN (SELECT {1} FROM {2})",
        "{0} NOT IN (SELECT {1} FROM {2} WHERE {1} > 1)",
        "{0} = (SELECT max({1}) FROM {2})",
        "{0} IN (SELECT {1} FROM {2} UNION SELECT {1} FROM {2})",
        "{0} BETWEEN (SELECT min({1}) FROM {2}) AND (SELECT max({1}) FROM {2})",
        "{0} >= ALL (SELECT {1} FROM {2})",
        "{0} NOT IN SELECT {1} FROM {2}",
    )
    condition = q.random.choice(forms).format(name, bare, table)
    if block.has("where"):
        return edited(
            q.sql, [q.sentence.after(block.clauses["where"][1] - 1, f" {q.random.choice(('AND', 'OR'))} {condition} ")]
        )
    return appended(q, block, "WHERE " + condition, before=("group", "having", "order", "limit"))
