"""State of a run as the page shows it, read from a store that an explorer may be writing to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vl_explorer.exploring.summary import IterationSummary
from vl_explorer.store.counts import QueryCounts, ResultCounts
from vl_explorer.store.rows import Iteration, Run, Source
from vl_explorer.store.store import Store

_SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)


@dataclass(frozen=True)
class IterationRow:
    """An iteration of a run."""

    number: int
    """From 0."""
    queries: QueryCounts
    """Counts of its queries."""
    summary: IterationSummary | None
    """Summary; None before the iteration is finished."""


@dataclass(frozen=True)
class BestConcept:
    """A concept with a large reward."""

    concept: str
    """Key of the concept."""
    text: str
    """Text of the query that it was last measured with."""
    reward: float
    """Reward by the latest measurement."""
    iteration: int
    """Number of the iteration that measured it."""
    images: int
    """Images that all its queries brought."""


@dataclass(frozen=True)
class WallImage:
    """An image with a large reward, and where it came from."""

    sha256: str
    """Of the file."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    reward: float
    """Reward by the latest measurement."""
    source: Source
    """The first of its sources, in the order of their URLs."""
    license_id: str
    """Identifier of the license, ``unknown`` where the store cannot tell."""
    sources: int
    """Number of its sources."""


@dataclass(frozen=True)
class RunState:
    """State of a run: all that a page shows."""

    name: str
    """Name of the run."""
    settings: Mapping[str, Any]
    """Settings of the run; values whose name speaks of a key or a password are left out, however deep they lie."""
    planned: int | None
    """Iterations that the run is to have; None where its settings do not say."""
    finished: int
    """Iterations that are finished."""
    current: IterationRow | None
    """The iteration at work: the first that is not finished."""
    current_results: ResultCounts | None
    """Counts of the results of that iteration."""
    images: int
    """Images that the run's finished iterations brought, each counted once."""
    refused: int
    """Results of the run's finished iterations that gave no image."""
    requests: int
    """Requests to engines."""
    cost: float
    """Of these requests, in US dollars."""
    stored_images: int
    """Images of the store, of all runs."""
    stored_bytes: int
    """Bytes of the store's image files, of all runs."""
    last_image_at: float | None
    """Time at which the last image came to the store, in seconds since 1970."""
    refusals: Mapping[str, int]
    """URLs of the store that gave no image, of all runs, by reason."""
    iterations: tuple[IterationRow, ...]
    """All iterations, in their order."""
    concepts: tuple[BestConcept, ...]
    """The best concepts, the largest reward first."""
    wall: tuple[WallImage, ...]
    """The best images, the largest reward first."""

    @property
    def complete(self) -> bool:
        """True once all planned iterations are finished."""
        return self.planned is not None and self.finished >= self.planned

    @property
    def summaries(self) -> dict[int, IterationSummary]:
        """Summaries of the finished iterations, by number."""
        return {row.number: row.summary for row in self.iterations if row.summary is not None}

    def to_json(self) -> dict[str, Any]:
        """The same as a mapping of JSON values."""
        return asdict(self) | {"complete": self.complete}


def find_run(store: Store, name: str | None = None) -> Run:
    """Run of a name; without one, the only run of the store.

    Raises:
        ValueError: If there is no such run, or if there are several to choose from; the message lists them.
    """
    runs = store.runs()
    if not runs:
        raise ValueError(f"store {store.folder} must hold a run, got none; start one with `vl-explorer run`")
    if name is None and len(runs) == 1:
        return runs[0]
    for run in runs:
        if run.name == name:
            return run
    names = ", ".join(repr(run.name) for run in runs[-20:])
    raise ValueError(f"run must be the name of a run of {store.folder} ({names}), got {name!r}; choose one of them")


def run_state(store: Store, run: str | None = None, *, concepts: int = 20, images: int = 60) -> RunState:
    """Read the state of a run from a store that may be written to meanwhile.

    The cost grows with the number of queries and iterations, not with that of images: counts are made by the
    database, and of images only those of the wall are read.

    Args:
        store: Store with the run; it may be read only.
        run: Name of the run; may be left out where the store holds one.
        concepts: Most concepts to give.
        images: Most images to give.

    Returns:
        The state.

    Raises:
        ValueError: If there is no such run, if a number is below 0, or if a summary is of another version.

    Example:
        >>> with Store("found") as store:
        ...     _ = store.add_run("birds", {"iterations": 10})
        ...     state = run_state(store, "birds")
        >>> state.finished, state.planned
        (0, 10)
    """
    if min(concepts, images) < 0:
        raise ValueError(f"concepts and images must be at least 0, got {concepts} and {images}")
    found = find_run(store, run)
    counts = store.count_queries(found.id)
    rows = tuple(
        IterationRow(iteration.number, counts.get(iteration.number, QueryCounts()), _summary(iteration))
        for iteration in store.iterations(found.id)
    )
    summaries = {row.number: row.summary for row in rows if row.summary is not None}
    current = next((row for row in rows if row.summary is None), None)
    return RunState(
        name=found.name,
        settings=_shown(found.settings),
        planned=_planned(found.settings),
        finished=len(summaries),
        current=current,
        current_results=None if current is None else store.count_results(found.id, current.number),
        images=sum(summary.new for summary in summaries.values()),
        refused=sum(summary.refused for summary in summaries.values()),
        requests=sum(row.queries.requests for row in rows),
        cost=sum(row.queries.cost for row in rows),
        stored_images=store.count_images(),
        stored_bytes=store.bytes_on_disk(),
        last_image_at=store.last_image_at(),
        refusals=store.count_failures(),
        iterations=rows,
        concepts=_best_concepts(store, found.id, summaries, concepts),
        wall=_wall(store, found.id, images),
    )


def _summary(iteration: Iteration) -> IterationSummary | None:
    if iteration.summary is None:
        return None
    try:
        return IterationSummary.from_json(iteration.summary)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the summary of iteration {iteration.number} must have the fields of IterationSummary ({error}); "
            "the run is of another version of vl-explorer, read it with that"
        ) from error


def _shown(settings: Any) -> Any:
    """Settings without secrets, in lists and mappings within them too."""
    if isinstance(settings, Mapping):
        return {key: _shown(value) for key, value in settings.items() if not _SECRET.search(str(key))}
    if isinstance(settings, str) and Path(settings).is_absolute():  # A page may be passed on; folders are one's own.
        return Path(settings).name
    return [_shown(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _planned(settings: Mapping[str, Any]) -> int | None:
    planned = settings.get("iterations")
    return planned if isinstance(planned, int) and planned > 0 else None


def _best_concepts(
    store: Store, run_id: int, summaries: Mapping[int, IterationSummary], count: int
) -> tuple[BestConcept, ...]:
    asked = store.asked(run_id)
    latest: dict[str, tuple[float, int, str]] = {}
    queries: dict[str, list[int]] = {}
    for query in asked:
        key = query.concept or query.text
        queries.setdefault(key, []).append(query.id)
        summary = summaries.get(query.iteration)
        rewards = () if summary is None else summary.concept_rewards
        reward = rewards[query.place] if query.place < len(rewards) else None
        if reward is not None:
            latest[key] = (reward, query.iteration, query.text)
    best = sorted(latest.items(), key=lambda item: (-item[1][0], item[0]))[:count]
    return tuple(
        BestConcept(key, text, reward, iteration, store.count_images_of(queries[key]))
        for key, (reward, iteration, text) in best
    )


def _wall(store: Store, run_id: int, count: int) -> tuple[WallImage, ...]:
    found = []
    for digest, reward in store.best_rewards(run_id, count).items():
        sources = store.sources(digest)
        try:
            image = store.image(digest)
        except KeyError:  # forgotten since
            continue
        if sources:
            first = sources[0]
            found.append(WallImage(digest, image.width, image.height, reward, first, first.license_id, len(sources)))
    return tuple(found)
