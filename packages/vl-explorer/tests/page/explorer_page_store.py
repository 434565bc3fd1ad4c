"""A run in a store by closed form: iteration t has QUERIES queries with RESULTS results each.

The reward of the image with number n is (n + 1) / 100, and number n came with query n // RESULTS of all; every result
of rank 2 gave no image. Of each iteration the concept at place 0 is the same one, `again`.
"""

from __future__ import annotations

import io

from PIL import Image
from vl_explorer.exploring.summary import IterationSummary
from vl_explorer.store.rows import QueryState, Result, Source

QUERIES, RESULTS = 3, 3
PLANNED = 4
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
BAD_URL = "javascript:alert(document.domain)"


def url_of(number):
    return f"https://images.example/{number}.png"


def encoded(number, size=(48, 32), **options):
    file = io.BytesIO()
    Image.new("RGB", size, (37 * number % 256, 91 * number % 256, 53 * number % 256)).save(file, "PNG", **options)
    return file.getvalue()


def keep(store, number, **said):
    """Add the image of a number; returns its digest."""
    content = encoded(number)
    texts = {
        "page_url": f"https://pages.example/{number}", "title": f"Heron {number}", "author": "Ada",
        "license": "CC BY 4.0", "engine": "made up", "query": f"query {number // RESULTS}",
    }  # fmt: skip
    return store.add_image(Source(url_of(number), **(texts | said)), content, Image.open(io.BytesIO(content))).sha256


def search(store, run_id, iteration, queries=QUERIES):
    """Search and download for some queries of an iteration; the others stay open. Returns rewards by digest."""
    store.add_iteration(run_id, iteration)
    rewards = {}
    for place in range(QUERIES):
        concept = "again" if place == 0 else f"concept {iteration} {place}"
        query = store.add_query(run_id, iteration, place, f"{concept} {iteration}", concept=concept, engine="made up")
        if place >= queries:
            continue
        first = (iteration * QUERIES + place) * RESULTS
        store.add_results(query.id, [Result(r, url_of(first + r)) for r in range(RESULTS)], requests=2, cost=0.5)
        if iteration == 0 and place == 2:
            store.set_query_state(query.id, QueryState.DROPPED)
        for number in (first, first + 1):
            rewards[keep(store, number)] = (number + 1) / 100
        store.add_failure(url_of(first + 2), "robots" if place else "dns")
    return rewards


def concept_reward(iteration, place):
    """Closed form: `again` falls from iteration to iteration, and the others rise; nothing was measured at place 2."""
    return (0.9 - iteration / 10, 0.1 + iteration / 10, None)[place]


def finish(store, run_id, iteration, rewards):
    summary = IterationSummary(
        concept_rewards=tuple(concept_reward(iteration, place) for place in range(QUERIES)),
        image_reward=0.2 + iteration / 10, best_reward=0.5 + iteration / 10, found=6, new=6, refused=3,
        dropped=int(iteration == 0), requests=6, cost=1.5, trained=10 * iteration, accuracy=0.4 + iteration / 10,
    )  # fmt: skip
    with store.transaction():
        store.set_rewards(run_id, iteration, rewards)
        store.finish_iteration(run_id, iteration, summary.to_json())


def advance(store, run_id, iteration):
    """A whole iteration."""
    finish(store, run_id, iteration, search(store, run_id, iteration))


def fill(store, name="birds", finished=2):
    """A run with finished iterations, and one more at work whose first query was searched."""
    settings = {"iterations": PLANNED, "seed": 0, "api_key": "hush", "target": HOSTILE}
    run = store.add_run(name, settings)
    for iteration in range(finished):
        advance(store, run.id, iteration)
    search(store, run.id, finished, queries=1)
    return run
