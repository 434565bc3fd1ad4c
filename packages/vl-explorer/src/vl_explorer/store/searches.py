"""Runs, iterations, queries and their results.

All of it may be said twice: whoever resumes after a kill says what it knows, and what is there already stays.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from vl_explorer.store.records import Records
from vl_explorer.store.rights.blocking import is_blocked_url
from vl_explorer.store.rows import Iteration, Query, QueryState, Result, ResultLike, Run, Source, clean

_QUERY = "SELECT id, run_id, iteration, place, text, concept, engine, state, requests, cost, exhausted FROM queries"
_RESULT = """SELECT rank, results.url, results.page_url, thumbnail_url, results.title, results.author, results.license,
    results.license_url, width, height, identifier, image FROM results LEFT JOIN sources USING (url)"""

_SOURCE = """SELECT url, page_url, title, author, license, license_url, engine, text
    FROM results JOIN queries ON queries.id = query_id"""


class Searches(Records):
    """The part of a store that says what was asked, and what was answered."""

    def add_run(
        self,
        name: str,
        settings: Mapping[str, Any] | None = None,
        *,
        free: Collection[str] = (),
        folder: str = "",
    ) -> Run:
        """Add a run, or find it again.

        Args:
            name: Of the run.
            settings: All that the run is a function of, to be written as JSON.
            free: Names of settings that may change when the run is found again, and are kept as they are now.
            folder: Number of the folder that the run works in, where there is one; the first that is told stays.

        Raises:
            ValueError: If the run is there with other settings, which the message names, or works in another folder.
        """
        text = _to_json(settings or {})
        given: dict[str, Any] = json.loads(text)
        with self.database.writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO runs (name, settings, started_at) VALUES (?, ?, ?)", (name, text, self.clock())
            )
            found = next(run for run in self.runs() if run.name == name)
            names = sorted((given.keys() | found.settings.keys()) - set(free))
            other = [each for each in names if given.get(each) != found.settings.get(each)]
            if other:
                differ = ", ".join(f"{each} {found.settings.get(each)!r} and not {given.get(each)!r}" for each in other)
                raise ValueError(
                    f"run {name!r} must have the settings that it began with, {differ[:400]}; choose another name"
                )
            works_in = connection.execute("SELECT folder FROM runs WHERE id = ?", (found.id,)).fetchone()[0]
            if folder and works_in and works_in != folder:
                raise ValueError(
                    f"run {name!r} of this store must go on in the folder that it began with; choose another name for "
                    "a run in this one"
                )
            connection.execute(
                "UPDATE runs SET settings = ?, folder = ? WHERE id = ?", (text, works_in or folder, found.id)
            )
        return replace(found, settings=given)

    def runs(self) -> list[Run]:
        """All runs, the earliest first."""
        rows = self.database.rows("SELECT id, name, settings, started_at FROM runs ORDER BY id")
        return [Run(number, name, json.loads(settings), started) for number, name, settings, started in rows]

    def add_spending(self, run_id: int, cost: float) -> None:
        """Count a request of a run, in US dollars, before it is sent: a kill afterwards loses it from no budget."""
        with self.database.writing() as connection:
            connection.execute(
                "UPDATE runs SET sent_requests = sent_requests + 1, sent_cost = sent_cost + ? WHERE id = ?",
                (cost, run_id),
            )

    def spending(self, run_id: int) -> tuple[int, float]:
        """Requests that `add_spending` counted for a run, and their cost in US dollars."""
        row = self.database.row("SELECT sent_requests, sent_cost FROM runs WHERE id = ?", (run_id,))
        return (0, 0.0) if row is None else (int(row[0]), float(row[1]))

    def add_iteration(self, run_id: int, number: int) -> Iteration:
        """Add an iteration of a run, or find it again."""
        with self.database.writing() as connection:
            connection.execute(
                "INSERT INTO iterations (run_id, number, started_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (run_id, number, self.clock()),
            )
            return next(found for found in self.iterations(run_id) if found.number == number)

    def finish_iteration(self, run_id: int, number: int, summary: Mapping[str, Any] | None = None) -> None:
        """Mark an iteration as finished, with a summary to be written as JSON.

        Raises:
            ValueError: If there is no such iteration.
        """
        with self.database.writing() as connection:
            done = connection.execute(
                "UPDATE iterations SET summary = ?, finished_at = ? WHERE run_id = ? AND number = ?",
                (_to_json(summary or {}), self.clock(), run_id, number),
            )
            if not done.rowcount:
                raise ValueError(f"iteration {number} of run {run_id} must be added before it is finished")

    def iterations(self, run_id: int) -> list[Iteration]:
        """Iterations of a run, in their order."""
        rows = self.database.rows(
            "SELECT run_id, number, summary FROM iterations WHERE run_id = ? ORDER BY number", (run_id,)
        )
        return [Iteration(run, number, None if text is None else json.loads(text)) for run, number, text in rows]

    def add_query(
        self, run_id: int, iteration: int, place: int, text: str, *, concept: str = "", engine: str = ""
    ) -> Query:
        """Add a query of an iteration, or find it again.

        Args:
            run_id: Of the run.
            iteration: Number of an iteration that was added.
            place: Among the queries of the iteration, from 0.
            text: As the engine is asked.
            concept: Key of the concept.
            engine: Name of the engine.

        Raises:
            ValueError: If another query has this place.
        """
        said = (clean(text), clean(concept), clean(engine))
        with self.database.writing() as connection:
            connection.execute(
                "INSERT INTO queries (run_id, iteration, place, text, concept, engine, asked_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (run_id, iteration, place, *said, self.clock()),
            )
            found = next(query for query in self.queries(run_id, iteration) if query.place == place)
        if (found.text, found.concept, found.engine) != said:
            raise ValueError(f"place {place} of iteration {iteration} must be free, got {said}, it holds {found}")
        return found

    def queries(self, run_id: int, iteration: int | None = None) -> list[Query]:
        """Queries of a run or of one of its iterations, in their order."""
        where = "WHERE run_id = ? AND (? IS NULL OR iteration = ?) ORDER BY iteration, place"
        rows = self.database.rows(f"{_QUERY} {where}", (run_id, iteration, iteration))
        return [_query(row) for row in rows]

    def set_query_state(self, query_id: int, state: QueryState) -> None:
        """Say how far a query has come."""
        with self.database.writing() as connection:
            connection.execute("UPDATE queries SET state = ? WHERE id = ?", (QueryState(state).value, query_id))

    def add_results(
        self,
        query_id: int,
        results: Iterable[ResultLike],
        *,
        requests: int = 0,
        cost: float = 0.0,
        exhausted: bool = False,
    ) -> int:
        """Keep the results of a query, all or none; those that are there already are replaced.

        Args:
            query_id: Of a query that was added, which becomes searched.
            results: In the order of the engine. A URL that was taken down is left out.
            requests: Sent to the engine.
            cost: Of these requests, in US dollars.
            exhausted: True if the engine has no more results.

        Returns:
            Number of results kept.
        """
        with self.database.writing() as connection:
            rows = [
                (query_id, rank, *_result_values(result))
                for rank, result in enumerate(results)
                if not is_blocked_url(connection, result.url, result.page_url)
            ]
            connection.execute("DELETE FROM results WHERE query_id = ?", (query_id,))
            connection.executemany("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute(
                "UPDATE queries SET state = 'searched', requests = ?, cost = ?, exhausted = ? WHERE id = ?",
                (requests, cost, exhausted, query_id),
            )
        return len(rows)

    def results(self, query_id: int) -> list[Result]:
        """Results of a query, in the order of the engine."""
        rows = self.database.rows(f"{_RESULT} WHERE query_id = ? ORDER BY rank", (query_id,))
        return [Result(*row) for row in rows]

    def source_of(self, url: str) -> Source:
        """Source of a URL as the first result that named it says, the URL alone where none did.

        Args:
            url: As the results have it.
        """
        row = self.database.row(f"{_SOURCE} WHERE url = ? ORDER BY query_id, rank LIMIT 1", (clean(url, None),))
        return Source(url) if row is None else Source(*row)


def _query(values: tuple[Any, ...]) -> Query:
    found = Query(*values)
    return replace(found, state=QueryState(found.state), exhausted=bool(found.exhausted))


def _result_values(result: ResultLike) -> tuple[str | int, ...]:
    urls = (clean(text, None) for text in (result.url, result.page_url, result.thumbnail_url))
    texts = (clean(text) for text in (result.title, result.author, result.license, result.license_url))
    return (*urls, *texts, int(result.width), int(result.height), clean(result.identifier))


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
