"""Counts over a store, made by SQL: a page that is refreshed every few seconds must not read a million rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vl_explorer.store.records import Records
from vl_explorer.store.rows import QueryState


@dataclass(frozen=True)
class QueryCounts:
    """Counts of the queries of an iteration."""

    open: int = 0
    """Not yet searched."""
    searched: int = 0
    """With results."""
    dropped: int = 0
    """Dropped after their first images."""
    failed: int = 0
    """Without an answer."""
    requests: int = 0
    """Requests to engines."""
    cost: float = 0.0
    """Of these requests, in US dollars."""

    @property
    def total(self) -> int:
        """All queries."""
        return self.open + self.searched + self.dropped + self.failed


@dataclass(frozen=True)
class ResultCounts:
    """Counts of the results of an iteration."""

    results: int
    """Results of its queries; one URL counts as often as it was found."""
    images: int
    """Results whose image is in the store."""
    failed: int
    """Results whose URL gave no image."""


@dataclass(frozen=True)
class AskedQuery:
    """A query and its concept, without its progress."""

    id: int
    """In this store."""
    iteration: int
    """Number of the iteration."""
    place: int
    """Among the queries of the iteration, from 0."""
    concept: str
    """Key of the concept."""
    text: str
    """As the engine is asked."""


class Counts(Records):
    """The part of a store that counts."""

    def count_queries(self, run_id: int) -> dict[int, QueryCounts]:
        """Counts of a run's queries by the number of the iteration; one without queries is left out."""
        rows = self.database.rows(
            "SELECT iteration, state, count(*), sum(requests), sum(cost) FROM queries WHERE run_id = ? "
            "GROUP BY iteration, state ORDER BY iteration",
            (run_id,),
        )
        found: dict[int, dict[str, float]] = {}
        for iteration, state, count, requests, cost in rows:
            own = found.setdefault(int(iteration), {"requests": 0, "cost": 0.0})
            own[QueryState(state).value] = count
            own["requests"], own["cost"] = own["requests"] + requests, own["cost"] + cost
        return {iteration: QueryCounts(**own) for iteration, own in found.items()}  # type: ignore[arg-type]

    def count_results(self, run_id: int, iteration: int) -> ResultCounts:
        """Counts of the results of one iteration."""
        ((results, images, failed),) = self.database.rows(
            "SELECT count(*), count(sources.url), count(failures.url) FROM queries "
            "JOIN results ON query_id = queries.id LEFT JOIN sources ON sources.url = results.url "
            "LEFT JOIN failures ON failures.url = results.url WHERE run_id = ? AND iteration = ?",
            (run_id, iteration),
        )
        return ResultCounts(int(results), int(images), int(failed))

    def count_failures(self) -> dict[str, int]:
        """Number of URLs that gave no image, of all runs, by reason: the most frequent first."""
        rows = self.database.rows(
            "SELECT reason, count(*) FROM failures GROUP BY reason ORDER BY count(*) DESC, reason"
        )
        return {str(reason): int(count) for reason, count in rows}

    def count_images(self) -> int:
        """Number of images whose content is known, of all runs, evicted ones among them."""
        ((count,),) = self.database.rows("SELECT count(*) FROM images")
        return int(count)

    def last_image_at(self) -> float | None:
        """Time at which the last image came, in seconds since 1970; None without images."""
        row = self.database.row("SELECT added_at FROM images ORDER BY number DESC LIMIT 1")
        return None if row is None else float(row[0])

    def asked(self, run_id: int) -> list[AskedQuery]:
        """Queries of a run and their concepts, in their order."""
        rows = self.database.rows(
            "SELECT id, iteration, place, concept, text FROM queries WHERE run_id = ? ORDER BY iteration, place",
            (run_id,),
        )
        return [AskedQuery(*row) for row in rows]

    def count_images_of(self, query_ids: Sequence[int]) -> int:
        """Number of images that some queries brought, each counted once."""
        marks = ", ".join("?" * len(query_ids))
        ((count,),) = self.database.rows(
            f"SELECT count(DISTINCT image) FROM results JOIN sources USING (url) WHERE query_id IN ({marks})",
            tuple(query_ids),
        )
        return int(count)
