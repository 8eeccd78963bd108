"""Changes of aliases, prefixes, quotes around identifiers, tables and columns."""

from mutations.question import mutation
from sql_text import Edit, edited


def aliases(q):
    found = {}
    for block in q.sentence.blocks:
        for reference in q.tables(block):
            if reference.alias is not None:
                found.setdefault(q.tokens[reference.alias].lower, reference.table)
    return found


def with_prefixes(q, change, drop_aliases=False):
    """The sentence with every prefix, and every alias in FROM, passed through `change`."""
    edits = []
    for block in q.sentence.blocks:
        for reference in q.tables(block):
            if reference.alias is None:
                continue
            alias = q.tokens[reference.alias]
            if drop_aliases:
                edits.append(Edit(q.tokens[reference.first].end, alias.end, ""))
            else:
                edits.append(Edit(alias.start, alias.end, change(alias.text)))
    for t in q.tokens:
        prefix, dot, column = t.text.partition(".")
        if t.kind == "word" and dot and prefix.lower() in aliases(q):
            edits.append(Edit(t.start, t.end, change(prefix) + "." + column))
    return edited(q.sql, {(e.start, e.end): e for e in edits}.values())


@mutation("names")
def alias_renamed(q):
    known = list(aliases(q))
    if not known:
        return None
    fresh = q.random.choice(("a{}", "x{}", "tbl_{}", "t{}0", "T{}", "the_{}"))
    new = {alias: fresh.format(len(known) - i) for i, alias in enumerate(known)}
    return with_prefixes(q, lambda name: new[name.lower()])


@mutation("names")
def alias_named_as_a_table(q):
    """An alias with the name of a table: the official parser asserts that there is none."""
    known = list(aliases(q))
    if not known:
        return None
    chosen, table = q.random.choice(known), q.random.choice(q.schema.tables())
    return with_prefixes(q, lambda name: table if name.lower() == chosen else name)


@mutation("names")
def alias_removed(q):
    known = aliases(q)
    return with_prefixes(q, lambda name: known[name.lower()], drop_aliases=True) if known else None


@mutation("names")
def alias_without_as(q):
    edits = [Edit(t.start, t.end, "") for t in q.tokens if t.lower == "as"]
    return edited(q.sql, edits) if edits else None


@mutation("names")
def alias_exchanged(q):
    known = list(aliases(q))
    if len(known) < 2:
        return None
    a, b = q.random.sample(known, 2)
    swapped = {a: b, b: a}
    edits = []
    for t in q.tokens:
        prefix, dot, column = t.text.partition(".")
        if t.kind == "word" and dot and prefix.lower() in swapped:
            edits.append(Edit(t.start, t.end, swapped[prefix.lower()] + "." + column))
    return edited(q.sql, edits) if edits else None


@mutation("names")
def alias_added(q):
    block = q.block(lambda b: len(q.tables(b)) == 1 and q.tables(b)[0].alias is None)
    if block is None:
        return None
    alias = q.random.choice(("T1", "t1", "x", "T4"))
    edits = [q.sentence.after(q.tables(block)[0].last, f" AS {alias}")]
    for index, prefix, column, _ in q.columns(block):
        if prefix is None:
            edits.append(Edit(q.tokens[index].start, q.tokens[index].end, f"{alias}.{column}"))
    return edited(q.sql, edits)


@mutation("names")
def columns_qualified_by_table(q):
    edits = []
    for index, prefix, column, table in q.everywhere():
        if prefix is None:
            edits.append(Edit(q.tokens[index].start, q.tokens[index].end, f"{table}.{column}"))
    return edited(q.sql, edits) if edits else None


@mutation("names")
def prefixes_dropped(q):
    columns = [c for c in q.everywhere() if c[1]]
    if not columns:
        return None
    if q.random.random() < 0.5:
        columns = [q.random.choice(columns)]
    return edited(q.sql, [Edit(q.tokens[i].start, q.tokens[i].end, column) for i, _, column, _ in columns])


@mutation("names")
def identifier_in_backticks(q):
    return quoted_identifiers(q, "`", "`")


@mutation("names")
def identifier_in_brackets(q):
    return quoted_identifiers(q, "[", "]")


@mutation("names")
def identifier_in_double_quotes(q):
    return quoted_identifiers(q, '"', '"')


def quoted_identifiers(q, left, right):
    columns = q.everywhere()
    if not columns:
        return None
    if q.random.random() < 0.5:
        columns = [q.random.choice(columns)]
    edits = [
        Edit(q.tokens[i].start, q.tokens[i].end, q.prefixed(prefix, left + column + right))
        for i, prefix, column, _ in columns
    ]
    return edited(q.sql, edits)


@mutation("names")
def foreign_key_exchanged(q):
    """A column replaced by the one a foreign key says is equal, where both tables are in the block."""
    options = []
    for block in q.sentence.blocks:
        here = {r.table: r for r in q.tables(block)}
        for index, _, column, table in q.columns(block):
            for a, ac, b, bc in q.schema.foreign_keys:
                for (t1, c1), (t2, c2) in (((a, ac), (b, bc)), ((b, bc), (a, ac))):
                    if table == t1 and column.lower() == c1.lower() and t2 in here:
                        options.append((index, q.prefixed(q.name_in(block, here[t2]), c2)))
    chosen = q.choice(options)
    return q.replaced(*chosen) if chosen else None


@mutation("names")
def table_wrong(q):
    references = [r for block in q.sentence.blocks for r in q.tables(block)]
    if not references:
        return None
    reference = q.random.choice(references)
    other = q.choice([t for t in q.schema.tables() if t != reference.table])
    return q.replaced(reference.first, other) if other else None


@mutation("names")
def table_unknown(q):
    references = [r for block in q.sentence.blocks for r in q.tables(block)]
    name = q.random.choice(("nowhere", "the table", "sqlite_master", "main.sqlite_master", "x", "T1"))
    return q.replaced(q.random.choice(references).first, name) if references else None


@mutation("names")
def column_other(q):
    """Another column of the same table, anywhere in the sentence."""
    columns = q.everywhere()
    if not columns:
        return None
    index, prefix, column, table = q.random.choice(columns)
    other = q.any_column(table, besides=column)
    return q.replaced(index, q.prefixed(prefix, other)) if other else None


@mutation("names")
def column_of_another_table(q):
    columns = q.everywhere()
    if not columns:
        return None
    index, prefix, _, table = q.random.choice(columns)
    other = q.choice([t for t in q.schema.tables() if t != table])
    return q.replaced(index, q.prefixed(prefix, q.any_column(other))) if other else None


@mutation("names")
def column_unknown(q):
    columns = q.everywhere()
    if not columns:
        return None
    index, prefix, column, _ = q.random.choice(columns)
    return q.replaced(
        index,
        q.prefixed(prefix, q.random.choice((column + "_x", "nothing", "rowid", "a.b", "T9." + column, column + "é"))),
    )
