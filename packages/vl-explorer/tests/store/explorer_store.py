"""Images that are made up, and a run of a made-up explorer, for tests of the store.

As a script, `python explorer_store.py FOLDER OWNER` runs the explorer in a process of its own, which may be killed.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from random import Random

from PIL import Image
from vl_explorer.store import images
from vl_explorer.store.claims import Claim
from vl_explorer.store.disk.database import Database
from vl_explorer.store.disk.files import ImageFiles
from vl_explorer.store.rights import forget as forget_module
from vl_explorer.store.rights.forget import forget
from vl_explorer.store.rows import Result, Source
from vl_explorer.store.store import Store

BY = {"license": "CC BY 4.0", "author": "Ada", "title": "Heron", "engine": "made up", "query": "heron"}


def drawn(number, size=48):
    """An image of 256 random fields, another one for every number."""
    fields = Image.frombytes("RGB", (16, 16), Random(number).randbytes(3 * 16 * 16))
    return fields.resize((size, size), Image.Resampling.BICUBIC)


def encoded(image, kind="PNG", **options):
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def url_of(number):
    return f"https://images.example/{number}.png"


def offer(store, number, image=None, **source):
    """Add the image of a number from the URL of that number, or another image from there."""
    image = drawn(number) if image is None else image
    return store.add_image(Source(url_of(number), **(BY | source)), encoded(image), image)


ITERATIONS, QUERIES, RESULTS = 6, 3, 10


def explore(folder, owner="explorer", quota=60_000):
    """A run with failures, equal contents, evictions, rewards and a takedown; it takes up one that was killed."""
    with Store(folder, owner=owner, quota=quota) as store:
        run = store.add_run("run", {"seed": 0})
        for number in range(ITERATIONS):
            if not store.add_iteration(run.id, number).finished:
                _iterate(store, run.id, number)


def _iterate(store, run_id, iteration):
    rewards = {}
    for place in range(QUERIES):
        query = store.add_query(run_id, iteration, place, f"query {iteration} {place}", engine="made up")
        # Every result is found by the next query again.
        first = (iteration * QUERIES + place) * RESULTS // 2
        store.add_results(query.id, [Result(rank, url_of(first + rank)) for rank in range(RESULTS)], requests=1)
        for rank in range(RESULTS):
            _download(store, first + rank)
        found = [result.image for result in store.results(query.id) if result.image]
        rewards |= {image: int(image[:4], 16) / 65536 for image in found}
    if iteration == 3:
        forget(store, url_of(2))
    with store.transaction():
        store.set_rewards(run_id, iteration, rewards)
        store.finish_iteration(run_id, iteration, {"rewards": len(rewards)})


def _download(store, number):
    if store.claim(url_of(number)) is not Claim.GRANTED:
        return
    if number % 7 == 6:
        store.add_failure(url_of(number), "status", "404")
    else:
        offer(store, number, drawn(number - 1 if number % 7 == 5 else number))


def die(where, name, count, *, before=False):
    """Kill this process at the call of a method with a number, before it or after it."""
    method, calls = getattr(where, name), iter(range(1, count + 1))

    def called(*arguments, **options):
        last = next(calls) == count
        if last and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*arguments, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(where, name, called)


MOMENTS = {
    "prepared": lambda: die(ImageFiles, "prepare", 5),
    "placed": lambda: die(ImageFiles, "place", 5),
    "evicting": lambda: die(images, "evict", 25),
    "evicted": lambda: die(Store, "remove_unstored", 35, before=True),
    "forgetting": lambda: die(forget_module, "_delete", 1),
    "forgotten": lambda: die(Database, "truncate_log", 1, before=True),
    "rewarded": lambda: die(Store, "set_rewards", 2),
}
"""Moments at which a process dies, to be set up in it."""


if __name__ == "__main__":
    if len(sys.argv) > 3:
        MOMENTS[sys.argv[3]]()
    print("started", flush=True)  # the imports took their time
    explore(sys.argv[1], sys.argv[2])
