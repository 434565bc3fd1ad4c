"""A listing of all that a store holds, by which two stores are compared.

Rows are named by what they say rather than by numbers of this store, times and claims are left out, and each table is
sorted: so two runs of the same function give the same listing, however often one of them was killed.
"""

from __future__ import annotations

from typing import Any

from vl_explorer.store.disk.database import Database

_TABLES = {
    "runs": "SELECT name, settings FROM runs",
    "iterations": "SELECT name, number, summary FROM iterations JOIN runs ON run_id = runs.id",
    "queries": """SELECT name, iteration, place, text, concept, engine, state, requests, cost, exhausted
        FROM queries JOIN runs ON run_id = runs.id""",
    "results": """SELECT name, iteration, place, rank, url, page_url, thumbnail_url, title, author, license,
        license_url, width, height, identifier
        FROM results JOIN queries ON query_id = queries.id JOIN runs ON run_id = runs.id""",
    "images": "SELECT sha256, extension, size, width, height, hash, quality, stored FROM images",
    "sources": "SELECT url, image, page_url, title, author, license, license_url, engine, query FROM sources",
    "rewards": "SELECT name, image, iteration, value FROM rewards JOIN runs ON run_id = runs.id",
    "failures": "SELECT url, reason, detail, tries, retry FROM failures",
    "blocked": "SELECT kind, value FROM blocked",
}


def list_content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of each table, sorted, without times and numbers of this store."""
    return {name: sorted(database.rows(sql), key=_order) for name, sql in _TABLES.items()}


def _order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((value is not None, value) for value in row)
