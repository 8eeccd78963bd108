"""Changes of FROM and its joins."""

from mutations.question import mutation
from sql_text import JOIN_WORDS, Edit, edited


def joins(q):
    """(block, index of JOIN) of every join."""
    return [
        (b, i)
        for b in q.sentence.blocks
        if b.has("from")
        for i in range(*b.clauses["from"])
        if q.sentence.depths[i] == b.depth and q.tokens[i].lower == "join"
    ]


def on_ranges(q):
    """(block, index of ON, first, last) of every join condition."""
    found = []
    for block in q.sentence.blocks:
        if not block.has("from"):
            continue
        first, last = block.clauses["from"]
        for i in range(first, last):
            if q.tokens[i].lower == "on" and q.sentence.depths[i] == block.depth:
                end = next(
                    (
                        j
                        for j in range(i + 1, last)
                        if q.sentence.depths[j] == block.depth
                        and (q.tokens[j].lower in JOIN_WORDS or q.tokens[j].text == ",")
                    ),
                    last,
                )
                found.append((block, i, i + 1, end))
    return found


def join_replaced(q, text):
    chosen = q.choice(joins(q))
    return q.replaced(chosen[1], text) if chosen else None


@mutation("joins")
def join_left(q):
    return join_replaced(q, q.random.choice(("LEFT JOIN", "LEFT OUTER JOIN", "left join")))


@mutation("joins")
def join_inner(q):
    return join_replaced(q, "INNER JOIN")


@mutation("joins")
def join_cross_or_natural(q):
    return join_replaced(
        q, q.random.choice(("CROSS JOIN", "NATURAL JOIN", "RIGHT JOIN", "FULL OUTER JOIN", "JOIN JOIN"))
    )


@mutation("joins")
def join_comma(q):
    """Commas for JOIN, the conditions kept behind ON, moved to WHERE, or dropped."""
    found = joins(q)
    if not found:
        return None
    block = found[0][0]
    edits = [Edit(q.tokens[i].start, q.tokens[i].end, ",") for b, i in found if b is block]
    ranges = [r for r in on_ranges(q) if r[0] is block]
    way = q.random.randrange(3)
    if way > 0:
        for _, on, _, last in ranges:
            edits.append(q.sentence.replace(on, last, ""))
    if way == 1 and ranges:
        conditions = " AND ".join(q.sentence.text(first, last) for _, _, first, last in ranges)
        if block.has("where"):
            edits.append(q.sentence.after(block.clauses["where"][0], " " + conditions + " AND"))
        else:
            # The place right behind FROM may be inside a removed ON, so the text goes in with its removal.
            last_on = edits.pop()
            edits.append(Edit(last_on.start, last_on.end, " WHERE " + conditions + " "))
    return edited(q.sql, edits)


@mutation("joins")
def on_dropped(q):
    chosen = q.choice(on_ranges(q))
    return edited(q.sql, [q.sentence.replace(chosen[1], chosen[3], "")]) if chosen else None


@mutation("joins")
def on_flipped(q):
    ranges = [r for r in on_ranges(q) if r[3] - r[2] == 3]
    chosen = q.choice(ranges)
    if chosen is None:
        return None
    _, _, first, last = chosen
    return edited(q.sql, [q.sentence.replace(first, last, " ".join(t.text for t in reversed(q.tokens[first:last])))])


@mutation("joins")
def on_changed(q):
    ranges = [r for r in on_ranges(q) if r[3] - r[2] == 3]
    chosen = q.choice(ranges)
    if chosen is None:
        return None
    block, _, first, last = chosen
    left, right = q.tokens[first].text, q.tokens[last - 1].text
    column = q.column_of(block)
    other = column[0] if column else left
    bare = left.rpartition(".")[2]
    forms = (
        f"{left} > {right}",
        f"{left} != {right}",
        f"{other} = {right}",
        f"{left} = {other}",
        f"({left} = {right})",
        f"{left} = {right} AND {left} = {right}",
        f"{left} = {right} OR {left} = {other}",
        f"{left} = {right} AND {other} > 0",
        f"{left} = 1",
        f"{left}={right}",
    )
    if q.random.random() < 0.15:
        return edited(q.sql, [q.sentence.replace(first - 1, last, f"USING ({bare})")])
    return edited(q.sql, [q.sentence.replace(first, last, q.random.choice(forms))])


@mutation("joins")
def on_moved_to_where(q):
    ranges = on_ranges(q)
    chosen = q.choice(ranges)
    if chosen is None:
        return None
    block, on, first, last = chosen
    condition = q.sentence.text(first, last)
    edits = [q.sentence.replace(on, last, "")]
    if block.has("where"):
        edits.append(q.sentence.after(block.clauses["where"][0], " " + condition + " AND"))
    elif last == block.clauses["from"][1]:
        edits = [q.sentence.replace(on, last, "WHERE " + condition)]
    else:
        return None
    return edited(q.sql, edits)


@mutation("joins")
def join_order_swapped(q):
    block = q.block(lambda b: len(q.tables(b)) >= 2)
    if block is None:
        return None
    a, b = q.random.sample(q.tables(block), 2)
    return edited(
        q.sql,
        [
            q.sentence.replace(a.first, a.last + 1, q.sentence.text(b.first, b.last + 1)),
            q.sentence.replace(b.first, b.last + 1, q.sentence.text(a.first, a.last + 1)),
        ],
    )


@mutation("joins")
def join_added(q):
    """A further table, on a foreign key where there is one."""
    block = q.block(lambda b: len(q.tables(b)) >= 1)
    if block is None:
        return None
    references = q.tables(block)
    reference = q.random.choice(references)
    name = q.name_in(block, reference)
    for a, ac, b, bc in q.random.sample(q.schema.foreign_keys, len(q.schema.foreign_keys)):
        for (t1, c1), (t2, c2) in (((a, ac), (b, bc)), ((b, bc), (a, ac))):
            if t1 == reference.table:
                return edited(
                    q.sql,
                    [q.sentence.after(block.clauses["from"][1] - 1, f" JOIN {t2} AS T8 ON {name}.{c1} = T8.{c2} ")],
                )
    other = q.random.choice(q.schema.tables())
    return edited(q.sql, [q.sentence.after(block.clauses["from"][1] - 1, f" JOIN {other} AS T8 ")])


@mutation("joins")
def join_removed(q):
    found = on_ranges(q)
    chosen = q.choice([r for r in found if any(i < r[1] for b, i in joins(q) if b is r[0])])
    if chosen is None:
        return None
    start = max(i for b, i in joins(q) if b is chosen[0] and i < chosen[1])
    return edited(q.sql, [q.sentence.replace(start, chosen[3], "")])


@mutation("joins")
def table_repeated(q):
    block = q.block(lambda b: len(q.tables(b)) >= 1)
    if block is None:
        return None
    reference = q.random.choice(q.tables(block))
    return edited(
        q.sql,
        [
            q.sentence.after(
                reference.last,
                q.random.choice(
                    (f" JOIN {reference.table} ", f", {reference.table} ", f" JOIN {reference.table} AS T7 ")
                ),
            )
        ],
    )
