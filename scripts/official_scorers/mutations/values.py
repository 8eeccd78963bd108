"""Changes of numbers and strings."""

from mutations.formatting import case_changed
from mutations.question import mutation
from sql_text import Edit, edited


@mutation("values")
def number_changed(q):
    i = q.choice(q.sentence.values("number"))
    if i is None:
        return None
    value = q.tokens[i].text
    changes = (
        str(int(float(value)) + 1),
        value + ".0",
        value + ".50",
        "-" + value,
        "0",
        value + "0",
        "00" + value,
        "+" + value,
    )
    return q.replaced(i, q.random.choice(changes))


@mutation("values")
def number_odd(q):
    """Ways to write a number that Python's float and SQLite do not read alike."""
    i = q.choice(q.sentence.values("number"))
    odd = (
        "1e3",
        "1E-2",
        ".5",
        "5.",
        "0x1F",
        "1_000",
        "nan",
        "inf",
        "infinity",
        "-inf",
        "٣",
        "１２",
        "1,000",
        "1e999",
        "5.0.1",
        "0.30000000000000004",
        "9223372036854775808",
    )
    return q.replaced(i, q.random.choice(odd)) if i is not None else None


@mutation("values")
def number_as_string(q):
    i = q.choice(q.sentence.values("number"))
    quote = q.random.choice("'\"")
    return q.replaced(i, quote + q.tokens[i].text + quote) if i is not None else None


@mutation("values")
def string_changed(q):
    i = q.choice(q.sentence.values("string"))
    if i is None:
        return None
    columns = q.everywhere()
    if columns and q.random.random() < 0.6:
        _, _, column, table = q.random.choice(columns)
        return q.replaced(i, q.literal(table, column))
    return q.replaced(
        i, q.random.choice(("'Lisbon'", "''", '""', "' '", "'%'", "'1'", "'2014.0'", '"a b  c"', "'NULL'"))
    )


@mutation("values")
def string_case(q):
    i = q.choice(q.sentence.values("string"))
    return q.replaced(i, case_changed(q.tokens[i].text, q.random)) if i is not None else None


@mutation("values")
def string_in_other_quotes(q):
    strings = q.sentence.values("string")
    if not strings:
        return None
    edits = []
    for i in strings:
        text = q.tokens[i].text
        other = '"' if text[0] == "'" else "'"
        edits.append(Edit(q.tokens[i].start, q.tokens[i].end, other + text[1:-1] + other))
    return edited(q.sql, edits)


@mutation("values")
def string_unquoted(q):
    i = q.choice(q.sentence.values("string"))
    return q.replaced(i, q.tokens[i].text[1:-1]) if i is not None else None


@mutation("values")
def string_with_quote_inside(q):
    i = q.choice(q.sentence.values("string"))
    inside = (
        "'O''Brien'",
        '"O\'Brien"',
        '"say ""x"""',
        "'it''s'",
        "'a\"b'",
        "'a;b'",
        "'-- x'",
        "'(a'",
        "'/* b'",
        "'select'",
    )
    return q.replaced(i, q.random.choice(inside)) if i is not None else None


@mutation("values")
def string_with_odd_spaces(q):
    i = q.choice(q.sentence.values("string"))
    if i is None:
        return None
    text = q.tokens[i].text
    inside = text[1:-1]
    return q.replaced(
        i,
        text[0]
        + q.random.choice((" " + inside, inside + " ", inside.replace(" ", "  "), inside + "\u00a0", inside + "."))
        + text[-1],
    )


@mutation("values")
def string_as_number(q):
    i = q.choice(q.sentence.values("string"))
    return q.replaced(i, q.random.choice(("1", "0", "3.5"))) if i is not None else None


@mutation("values")
def placeholder(q):
    """The words that models trained without values write in their place."""
    i = q.choice(q.sentence.values("string", "number"))
    words = (
        "value",
        "'value'",
        '"value"',
        "terminal",
        "'terminal'",
        '"terminal"',
        "VALUE",
        "values",
        "?",
        ":x",
        "NULL",
    )
    return q.replaced(i, q.random.choice(words)) if i is not None else None


@mutation("values")
def placeholders_everywhere(q):
    places = q.sentence.values("string", "number")
    word = q.random.choice(("value", "'terminal'", '"value"'))
    return edited(q.sql, [Edit(q.tokens[i].start, q.tokens[i].end, word) for i in places]) if places else None


@mutation("values")
def column_named_value(q):
    columns = q.everywhere()
    if not columns:
        return None
    index, prefix, column, _ = q.random.choice(columns)
    return q.replaced(index, q.prefixed(prefix, q.random.choice(("value", column + "_value", "value_" + column))))


@mutation("values")
def string_unicode(q):
    i = q.choice(q.sentence.values("string"))
    texts = (
        "'Zürich'",
        "'東京'",
        "'\u0130'",
        "'\u212a'",
        "'straße'",
        "'e\u0301'",
        "'🚢'",
        "\u2018Lisbon\u2019",
        "\u201cLisbon\u201d",
        "'\u200b'",
    )
    return q.replaced(i, q.random.choice(texts)) if i is not None else None
