"""Changes of set operations and nesting, and other questions' sentences."""

from mutations.question import mutation
from sql_text import SET_OPERATORS, Edit, edited


@mutation("sets")
def set_operation_swapped(q):
    places = [i for i, t in enumerate(q.tokens) if t.lower in SET_OPERATORS]
    i = q.choice(places)
    return (
        q.replaced(i, q.random.choice([o.upper() for o in SET_OPERATORS if o != q.tokens[i].lower]))
        if i is not None
        else None
    )


@mutation("sets")
def set_operation_all(q):
    places = [i for i, t in enumerate(q.tokens) if t.lower in SET_OPERATORS]
    i = q.choice(places)
    return q.replaced(i, q.random.choice(("UNION ALL", "MINUS", "INTERSECT ALL"))) if i is not None else None


def set_place(q):
    return next((i for i, t in enumerate(q.tokens) if t.lower in SET_OPERATORS and q.sentence.depths[i] == 0), None)


@mutation("sets")
def set_branch_removed(q):
    i = set_place(q)
    if i is None or i == 0 or i + 1 >= len(q.tokens):
        return None
    return q.random.choice((q.sql[: q.tokens[i].start], q.sql[q.tokens[i].end :]))


@mutation("sets")
def set_branches_exchanged(q):
    i = set_place(q)
    if i is None or i == 0 or i + 1 >= len(q.tokens):
        return None
    return f"{q.sql[q.tokens[i].end :].rstrip('; ')} {q.tokens[i].text} {q.sql[: q.tokens[i].start]}"


@mutation("sets")
def set_branch_in_parentheses(q):
    i = set_place(q)
    if i is None or i == 0 or i + 1 >= len(q.tokens):
        return None
    left, right = q.sql[: q.tokens[i].start], q.sql[q.tokens[i].end :].rstrip("; ")
    return q.random.choice((f"({left}) {q.tokens[i].text} {right}", f"{left} {q.tokens[i].text} ({right})"))


@mutation("sets")
def set_operation_added(q):
    other = q.random.choice(q.siblings + [q.sql])
    operator = q.random.choice(("UNION", "INTERSECT", "EXCEPT", "union"))
    return f"{q.sql.rstrip('; ')} {operator} {other}"


@mutation("sets")
def three_branches(q):
    body = q.sql.rstrip("; ")
    other = q.random.choice(q.siblings + [body]).rstrip("; ")
    operators = q.random.choices(("UNION", "INTERSECT", "EXCEPT"), k=2)
    return f"{body} {operators[0]} {body} {operators[1]} {other}"


@mutation("sets")
def from_nested(q):
    """A table replaced by a query of it."""
    block = q.block(lambda b: len(q.tables(b)) >= 1)
    if block is None:
        return None
    reference = q.random.choice(q.tables(block))
    end = q.random.choice(("", " WHERE 1 = 1", " LIMIT 5"))
    nested = f"(SELECT * FROM {reference.table}{end})"
    if reference.alias is None and q.random.random() < 0.5:
        nested += f" AS {q.random.choice((reference.table, 'T1', 'x'))}"
    return edited(q.sql, [q.sentence.replace(reference.first, reference.first + 1, nested)])


@mutation("sets")
def whole_nested(q):
    body = q.sql.rstrip("; ")
    return q.random.choice(
        (
            f"SELECT * FROM ({body})",
            f"SELECT * FROM ({body}) AS T1",
            f"SELECT count(*) FROM ({body})",
            f"select distinct * from ({body}) x",
            f"WITH x AS ({body}) SELECT * FROM x",
        )
    )


@mutation("sets")
def two_nested(q):
    """Two queries in FROM, on which the official comparison of tables fails."""
    body = q.sql.rstrip("; ")
    other = q.random.choice(q.siblings + [body]).rstrip("; ")
    return q.random.choice(
        (
            f"SELECT * FROM ({body}) JOIN ({other})",
            f"SELECT * FROM ({body}) AS a, ({other}) AS b",
            f"SELECT count(*) FROM ({body}) JOIN ({other})",
        )
    )


def before_tables(q, nested):
    """The sentence with queries put before the tables of its outermost FROM."""
    block = q.block(lambda b: len(q.tables(b)) >= 1 and b.depth == 0)
    if block is None:
        return None
    return edited(q.sql, [q.sentence.after(block.clauses["from"][0], f" {nested} JOIN")])


@mutation("sets")
def one_nested_before_tables(q):
    return before_tables(q, f"(SELECT * FROM {q.random.choice(q.schema.tables())})")


@mutation("sets")
def two_nested_before_tables(q):
    """Two queries side by side, as the official grammar reads them, with full partial scores: the official
    comparison of tables then orders two dictionaries, which is an error that ends its run."""
    names = [q.random.choice(q.schema.tables()) for _ in range(2)]
    return before_tables(q, f"(SELECT * FROM {names[0]}) (SELECT * FROM {names[1]})")


@mutation("sets")
def nested_unwrapped(q):
    """A subquery replaced by a value."""
    places = [
        (i, q.sentence.closing(i))
        for i, t in enumerate(q.tokens[:-1])
        if t.text == "(" and q.tokens[i + 1].lower == "select"
    ]
    places = [p for p in places if p[1] is not None]
    chosen = q.choice(places)
    return (
        edited(q.sql, [q.sentence.replace(chosen[0], chosen[1] + 1, q.random.choice(("1", "(1)", "'x'")))])
        if chosen
        else None
    )


@mutation("sets")
def nested_parentheses(q):
    places = [(i, q.sentence.closing(i)) for i, t in enumerate(q.tokens) if t.text == "("]
    places = [p for p in places if p[1] is not None]
    chosen = q.choice(places)
    if chosen is None:
        return None
    left, right = q.tokens[chosen[0]], q.tokens[chosen[1]]
    if q.random.random() < 0.5:
        return edited(q.sql, [Edit(left.start, left.end, "(("), Edit(right.start, right.end, "))")])
    return edited(q.sql, [Edit(left.start, left.end, ""), Edit(right.start, right.end, "")])


@mutation("sets")
def another_question(q):
    return q.choice(q.siblings)
