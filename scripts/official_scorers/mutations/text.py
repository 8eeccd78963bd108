"""Text that is not a query, or not only one."""

from mutations.clauses import item_texts, one_condition, select_items, with_select
from mutations.question import mutation
from sql_text import Edit, edited


@mutation("text")
def prose_before(q):
    words = (
        "SQL: ",
        "The query is: ",
        "Here is a query that answers the question: ",
        "Answer: ",
        "sql ",
        "Q1. ",
        'A: "',
        "1. ",
        "> ",
        "It's this: ",
    )
    return q.random.choice(words) + q.sql


@mutation("text")
def prose_after(q):
    words = (
        " -- counts all of them",
        " ; This lists every row.",
        ". I hope it helps!",
        " (sorted)",
        " where the rows are unique",
        " <|endoftext|>",
        "</s>",
        " [END]",
    )
    return q.sql + q.random.choice(words)


@mutation("text")
def code_fence(q):
    return q.random.choice(
        ("```sql {} ```", "```{}```", "`{}`", "``` sql {}", "{} ```", '"{}"', "'{}'", '{{"sql": "{}"}}')
    ).format(q.sql)


@mutation("text")
def not_a_query(q):
    return q.random.choice(
        (
            "None",
            "SELECT",
            ";",
            "null",
            "select *",
            "SELECT FROM",
            "*",
            "()",
            "(",
            ")",
            "''",
            '"',
            "N/A",
            "0",
            "-",
            "SELECT 1",
            "select select",
            "from",
            "SELECT * FROM",
            "unknown",
            "EXPLAIN " + q.sql,
            "VALUES (1)",
            "SELECT NULL",
            "as",
            "SELECT x AS",
            ".",
        )
    )


@mutation("text")
def table_only(q):
    table = q.random.choice(q.schema.tables())
    return q.random.choice(
        (
            f"SELECT * FROM {table}",
            f"SELECT count(*) FROM {table}",
            f"select * from {table} where",
            f"from {table}",
            f"SELECT * FROM {table} LIMIT 0",
            f"SELECT FROM {table}",
            f"SELECT , FROM {table}",
            table,
        )
    )


@mutation("text")
def unicode_text(q):
    t = q.random.choice(q.tokens)
    odd = q.random.choice(
        (
            "é",
            "ß",
            "\u0130",
            "\u212a",
            "中",
            "🚢",
            "\u0301",
            "（",
            "）",
            "，",
            "；",
            "\ud7ff",
            "Ω",
            "ﬁ",
            "ŉ",
            "\u2019",
            "«",
            "»",
            "„",
            "\u00ad",
            "﹍",
            "२",
        )
    )
    way = q.random.randrange(3)
    if way == 0:
        return edited(q.sql, [Edit(t.end, t.end, odd)])
    if way == 1:
        return edited(q.sql, [Edit(t.end, t.end, " " + odd + " ")])
    return edited(q.sql, [Edit(t.start, t.end, t.text + odd if len(t.text) < 2 else t.text[0] + odd + t.text[1:])])


@mutation("text")
def full_width(q):
    """Letters and signs that look like ASCII."""
    wide = str.maketrans({"(": "（", ")": "）", ",": "，", "=": "＝", "S": "Ｓ", "*": "＊"})
    t = q.random.choice(q.tokens)
    return edited(q.sql, [Edit(t.start, t.end, t.text.translate(wide))]) if t.text.translate(wide) != t.text else None


@mutation("text")
def control_characters(q):
    t = q.random.choice(q.tokens)
    return edited(q.sql, [Edit(t.end, t.end, q.random.choice(("\x00", "\x01", "\x7f", "\x1b[0m", "\x08", "\x1a")))])


@mutation("text")
def parentheses_deep(q):
    depth = q.random.choice((1, 2, 3, q.random.randint(4, 60)))
    places = q.sentence.values("number", "string")
    way = q.random.randrange(4)
    if way == 0 and places:
        t = q.tokens[q.random.choice(places)]
        return edited(q.sql, [Edit(t.start, t.end, "(" * depth + t.text + ")" * depth)])
    if way == 1:
        chosen = one_condition(q)
        if chosen:
            _, _, first, last = chosen
            return edited(
                q.sql, [q.sentence.replace(first, last, "(" * depth + q.sentence.text(first, last) + ")" * depth)]
            )
    if way == 2:
        return "(" * depth + q.sql + ")" * depth
    block, items = select_items(q)
    if block is None:
        return None
    texts = item_texts(q, items)
    texts[0] = "(" * depth + texts[0] + ")" * depth
    return with_select(q, block, texts)


@mutation("text")
def nesting_deep(q):
    return nested_queries(q, q.random.randint(2, 16))


@mutation("text")
def nesting_deepest(q):
    """So many levels that sqlparse, which the test-suite script uses, can refuse to group the tokens."""
    return nested_queries(q, q.random.randint(17, 60))


def nested_queries(q, depth):
    table = q.random.choice(q.schema.tables())
    column = q.any_column(table)
    if q.random.random() < 0.5:
        return "SELECT * FROM (" * depth + q.sql.rstrip("; ") + ")" * depth
    return f"SELECT {column} FROM {table} WHERE {column} IN (" * depth + f"SELECT {column} FROM {table}" + ")" * depth


@mutation("text")
def long_list(q):
    """A long conjunction or union: deep recursion without parentheses."""
    count = q.random.randint(5, 60)
    body = q.sql.rstrip("; ")
    block = q.block(lambda b: b.has("where") and len(q.tables(b)) >= 1)
    column = q.column_of(block) if block else None
    if column and q.random.random() < 0.6:
        conditions = "".join(f" OR {column[0]} = {k}" for k in range(count))
        return edited(q.sql, [q.sentence.after(block.clauses["where"][1] - 1, conditions + " ")])
    return f" {q.random.choice(('UNION', 'EXCEPT', 'INTERSECT'))} ".join([body] * min(count, 20))
