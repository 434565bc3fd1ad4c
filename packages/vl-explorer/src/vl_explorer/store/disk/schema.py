"""Tables of a store, and the steps that bring a database of any earlier version to the present one.

`PRAGMA user_version` counts the steps that a database has taken. A step is never changed once it was released: what
comes later is a new one. Times are seconds since 1970, and a listing for comparison leaves them out.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x766C6578
"""Marks a database as a store (``vlex``)."""

_TABLES = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, started_at REAL NOT NULL)""",
    """CREATE TABLE iterations (
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        summary TEXT, started_at REAL NOT NULL, finished_at REAL, PRIMARY KEY (run_id, number))""",
    """CREATE TABLE queries (
        id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL, iteration INTEGER NOT NULL, place INTEGER NOT NULL,
        text TEXT NOT NULL, concept TEXT NOT NULL, engine TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'open',
        requests INTEGER NOT NULL DEFAULT 0, cost REAL NOT NULL DEFAULT 0, exhausted INTEGER NOT NULL DEFAULT 0,
        asked_at REAL NOT NULL, UNIQUE (run_id, iteration, place),
        FOREIGN KEY (run_id, iteration) REFERENCES iterations (run_id, number) ON DELETE CASCADE)""",
    """CREATE TABLE results (
        query_id INTEGER NOT NULL REFERENCES queries (id) ON DELETE CASCADE, rank INTEGER NOT NULL, url TEXT NOT NULL,
        page_url TEXT NOT NULL, thumbnail_url TEXT NOT NULL, title TEXT NOT NULL, author TEXT NOT NULL,
        license TEXT NOT NULL, license_url TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
        identifier TEXT NOT NULL, PRIMARY KEY (query_id, rank))""",
    "CREATE INDEX results_by_url ON results (url)",
    "CREATE INDEX results_by_page ON results (page_url)",
    # AUTOINCREMENT: `number` is the order in which images came, and none is given out again.
    """CREATE TABLE images (
        number INTEGER PRIMARY KEY AUTOINCREMENT, sha256 TEXT NOT NULL UNIQUE, extension TEXT NOT NULL,
        size INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, hash TEXT NOT NULL,
        quality INTEGER NOT NULL, stored INTEGER NOT NULL DEFAULT 1, added_at REAL NOT NULL)""",
    """CREATE TABLE sources (
        url TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (sha256) ON DELETE CASCADE, page_url TEXT NOT NULL,
        title TEXT NOT NULL, author TEXT NOT NULL, license TEXT NOT NULL, license_url TEXT NOT NULL,
        engine TEXT NOT NULL, query TEXT NOT NULL, fetched_at REAL NOT NULL)""",
    "CREATE INDEX sources_by_image ON sources (image)",
    "CREATE INDEX sources_by_page ON sources (page_url)",
    """CREATE TABLE rewards (
        run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        image TEXT NOT NULL REFERENCES images (sha256) ON DELETE CASCADE, iteration INTEGER NOT NULL,
        value REAL NOT NULL, scored_at REAL NOT NULL, PRIMARY KEY (run_id, image))""",
    "CREATE INDEX rewards_by_image ON rewards (image)",
    "CREATE INDEX rewards_by_value ON rewards (run_id, value)",
    """CREATE TABLE failures (
        url TEXT PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL, tries INTEGER NOT NULL,
        retry INTEGER NOT NULL DEFAULT 0, failed_at REAL NOT NULL)""",
    "CREATE INDEX failures_by_reason ON failures (reason)",
    "CREATE TABLE claims (url TEXT PRIMARY KEY, owner TEXT NOT NULL, expires_at REAL NOT NULL)",
    """CREATE TABLE blocked (
        number INTEGER PRIMARY KEY, kind TEXT NOT NULL, value TEXT NOT NULL, blocked_at REAL NOT NULL,
        UNIQUE (kind, value))""",
    # Bytes of all stored files, kept up by the triggers below so that no image costs a pass over the table.
    "CREATE TABLE disk (id INTEGER PRIMARY KEY CHECK (id = 1), bytes INTEGER NOT NULL)",
    "INSERT INTO disk VALUES (1, 0)",
    """CREATE TRIGGER image_came AFTER INSERT ON images WHEN NEW.stored
        BEGIN UPDATE disk SET bytes = bytes + NEW.size; END""",
    """CREATE TRIGGER image_went AFTER DELETE ON images WHEN OLD.stored
        BEGIN UPDATE disk SET bytes = bytes - OLD.size; END""",
    """CREATE TRIGGER image_was_evicted AFTER UPDATE OF stored ON images WHEN OLD.stored AND NOT NEW.stored
        BEGIN UPDATE disk SET bytes = bytes - OLD.size; END""",
)

_RUNS = (
    # The folder that holds the run's learner, by a number of its own; empty where none was told.
    "ALTER TABLE runs ADD COLUMN folder TEXT NOT NULL DEFAULT ''",
    # Of a run, told before each request is sent; a query knows its own when it is over.
    "ALTER TABLE runs ADD COLUMN sent_requests INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN sent_cost REAL NOT NULL DEFAULT 0",
    """UPDATE runs SET (sent_requests, sent_cost) =
        (SELECT coalesce(sum(requests), 0), coalesce(sum(cost), 0) FROM queries WHERE run_id = runs.id)""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_TABLES, _RUNS)
"""Statements of each step; the first makes a database of nothing."""


def migrate(connection: sqlite3.Connection, name: str) -> None:
    """Bring a database to the present version; to be called inside a write transaction.

    Args:
        connection: In a transaction that holds the write lock, so that of several processes one migrates.
        name: Of the database, for messages.

    Raises:
        ValueError: If it is of a later version, or is no store.
    """
    version = _version(connection, name, empty=True)
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")


def check_version(connection: sqlite3.Connection, name: str) -> None:
    """Refuse a database that is no store of the present version.

    Raises:
        ValueError: If it is of another version, or is no store.
    """
    if _version(connection, name, empty=False) < len(MIGRATIONS):
        raise ValueError(f"{name} is of an earlier version; open the store once for writing, which upgrades it")


def _version(connection: sqlite3.Connection, name: str, *, empty: bool) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application != APPLICATION_ID and (version or application or tables or not empty):
        raise ValueError(f"{name} must be a store of vl-explorer, got the database of another program; choose a folder")
    if version > len(MIGRATIONS):
        raise ValueError(
            f"{name} has version {version}, later than {len(MIGRATIONS)}, the last known here; upgrade vl-explorer"
        )
    return version
