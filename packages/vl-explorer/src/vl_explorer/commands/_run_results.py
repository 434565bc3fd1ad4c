"""Results of `vl-explorer run` in its folder: the page, two figures, and the numbers."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from vl_core.runs import atomic_write

from vl_explorer.charts.progress import draw_progress
from vl_explorer.charts.wall import draw_wall
from vl_explorer.commands._run_inputs import Inputs
from vl_explorer.commands.settings.run import Run
from vl_explorer.exploring.stages import stored_images
from vl_explorer.exploring.summary import IterationSummary
from vl_explorer.page.report import write_report
from vl_explorer.store.store import Store

_WALL = 48


def relevant_shares(store: Store, run_id: int, relevant: Collection[str]) -> list[float]:
    """Share of relevant addresses among those that gave an image, for each iteration; empty if none is known.

    Args:
        store: Of the run.
        run_id: Of the run.
        relevant: Addresses.
    """
    if not relevant:
        return []
    shares = []
    for iteration in store.iterations(run_id):
        queries = store.queries(run_id, iteration.number)
        found = {each.url for query in queries for each in store.results(query.id) if each.image is not None}
        shares.append(len(found.intersection(relevant)) / max(1, len(found)))
    return shares


def write_results(
    settings: Run,
    inputs: Inputs,
    summaries: Sequence[IterationSummary],
    hits: Sequence[float],
    store: Store,
    run_id: int,
) -> None:
    """Write ``report.html``, ``progress.png``, ``wall.png`` and ``result.json``.

    Args:
        settings: Of the command.
        inputs: That were explored.
        summaries: Of all finished iterations.
        hits: Shares of relevant images; empty if nobody knows them.
        store: Of the run.
        run_id: Of the run.

    Raises:
        OSError: If a file cannot be written.
    """
    rewards = store.rewards(run_id)
    result = {
        "run": settings.run_name,
        "settings": settings.explored(),
        "iterations": [summary.to_json() for summary in summaries],
        "relevant": list(hits),
        "images": len(rewards),
    }
    with atomic_write(settings.out / "result.json") as file:
        json.dump(result, file, indent=1)
    write_report(settings.out / "report.html", store, settings.run_name)
    if not summaries:
        return
    title = f"{settings.target_name or inputs.target_name}, {inputs.engine.name}"
    draw_progress(
        settings.out / "progress.png",
        summaries,
        hits=hits or None,
        chance=inputs.chance if hits else None,
        title=title,
    )
    images = stored_images(store, store.best_images(run_id, _WALL))
    if images:
        # An image may be forgotten this very moment.
        queries = {digest: next((source.query for source in store.sources(digest)), "") for digest in images}
        captions = [f"{rewards.get(digest, 0.0):.2f}  {query}" for digest, query in queries.items()]
        draw_wall(settings.out / "wall.png", list(images.values()), captions, title=title)
