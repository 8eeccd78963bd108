"""Statements that change the database, or ask about it."""

from mutations.question import mutation


@mutation("writes")
def delete(q):
    return f"DELETE FROM {q.random.choice(q.schema.tables())}"


@mutation("writes")
def update(q):
    table = q.random.choice(q.schema.tables())
    return f"UPDATE {table} SET {q.any_column(table)} = 0"


@mutation("writes")
def insert(q):
    table = q.random.choice(q.schema.tables())
    return f"INSERT INTO {table} SELECT * FROM {table}"


@mutation("writes")
def drop_table(q):
    return f"DROP TABLE {q.random.choice(q.schema.tables())}"


@mutation("writes")
def create_table(q):
    name = q.random.choice(("mutated", "mutated_too", q.random.choice(q.schema.tables())))
    return f"CREATE TABLE {name} (a INTEGER, b TEXT)"


@mutation("writes")
def alter_table(q):
    return f"ALTER TABLE {q.random.choice(q.schema.tables())} ADD COLUMN mutated INTEGER"


@mutation("writes")
def create_view(q):
    return f"CREATE VIEW mutated_view AS {q.sql}"


@mutation("writes")
def create_index(q):
    table = q.random.choice(q.schema.tables())
    return f"CREATE INDEX mutated_index ON {table} ({q.any_column(table)})"


@mutation("writes")
def transaction(q):
    return q.random.choice(("BEGIN", "COMMIT", "ROLLBACK", "VACUUM", "ANALYZE", "REINDEX"))


@mutation("writes")
def query_then_drop(q):
    return f"{q.sql.rstrip('; ')}; DROP TABLE {q.random.choice(q.schema.tables())}"


@mutation("writes")
def pragma(q):
    table = q.random.choice(q.schema.tables())
    return q.random.choice(
        (
            f"PRAGMA table_info({table})",
            "PRAGMA foreign_keys = ON",
            "PRAGMA user_version = 7",
            "PRAGMA user_version",
            "PRAGMA database_list",
            "PRAGMA case_sensitive_like = 1",
            "PRAGMA query_only = 1",
            "PRAGMA journal_mode",
        )
    )
