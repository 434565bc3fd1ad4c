"""`vl-explorer retry`: addresses that gave no image, by reason, and another try."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vl_core.cli import note_on_interruption
from vl_core.data import open_dataset
from vl_core.files import read_json
from vl_core.progress import progress_bar
from vl_core.tables import printable, text_table

from vl_explorer.commands.settings.retry import Retry
from vl_explorer.exploring.fetching import Fetcher, Fetching, LocalFetcher
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.store.claims import Claim
from vl_explorer.store.likeness.duplicates import NearDuplicates, fingerprint
from vl_explorer.store.likeness.filters import ImageFilter
from vl_explorer.store.rows import Failure, Result
from vl_explorer.store.store import Store
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.reasons import Reason
from vl_explorer.worlds.opening import open_world

_LOCAL = "local:"


def run(settings: Retry) -> None:
    """List the reasons, or try their addresses again.

    Raises:
        OSError: If the store cannot be written to.
        ValueError: If a reason is unknown, there is no contact for addresses of the web, or no data set for local ones.
    """
    settings.check()
    quota = None if settings.quota is None else max(1, round(settings.quota * 10**6))
    with Store(settings.store, quota=quota, busy_seconds=settings.busy_seconds) as store:
        failures = store.failures()
        if not settings.reasons:
            print(_table(failures) if failures else f"no address of {settings.store} failed")
            return
        _check_reasons(settings.reasons, failures)
        urls = [failure.url for failure in failures if failure.reason in settings.reasons]
        engine = _check_sources(urls, settings)
        store.allow_retry(settings.reasons)
        with note_on_interruption("rerun to go on with the addresses that are left"):
            outcomes = asyncio.run(_fetch_all(store, urls, settings, engine))
    found = Counter(outcomes)
    print(f"tried {len(urls):,} addresses again: {found.pop(Claim.STORED.value, 0):,} images came")
    if found:
        print(text_table(["reason", "addresses"], [[printable(name), f"{n:,}"] for name, n in found.most_common()]))


def _table(failures: Sequence[Failure]) -> str:
    counts = Counter(failure.reason for failure in failures)
    tries = Counter[str]()
    for failure in failures:
        tries[failure.reason] = max(tries[failure.reason], failure.tries)
    rows = [[printable(name), f"{count:,}", f"{tries[name]:,}"] for name, count in counts.most_common()]
    return text_table(["reason", "addresses", "most tries"], rows)


def _check_reasons(reasons: Sequence[str], failures: Sequence[Failure]) -> None:
    known = {str(reason) for reason in Reason} | {failure.reason for failure in failures}
    for reason in reasons:
        if reason not in known:
            raise ValueError(f"--reason must be of {', '.join(sorted(known))}, got {reason!r}")


def _check_sources(urls: Sequence[str], settings: Retry) -> CaptionEngine | None:
    """The engine whose images local addresses name, None if there is none among them."""
    local = sum(url.startswith(_LOCAL) for url in urls)
    if local < len(urls) and not settings.contact:
        raise ValueError(
            f"--contact must be a page or a mail address at which sites reach you, got none for {len(urls) - local:,} "
            "addresses of the web"
        )
    if not local:
        return None
    if settings.engine_source is not None:
        return CaptionEngine.open(settings.engine_source)
    explored = _explored(settings.store)
    if explored.get("world") is None or explored.get("engine") is not None:
        raise ValueError(f"--engine-source must be the data set of {local:,} local addresses, got none")
    return open_world(explored["world"], target=explored.get("target")).engine


def _explored(folder: Path) -> Mapping[str, Any]:
    """Settings of the run whose folder has the store; none where the store has a folder of its own."""
    path = folder / "config.json"
    return read_json(path, dict) if path.is_file() else {}


def _filters(store: Store, settings: Retry) -> list[ImageFilter]:
    """The guard of the test images: by hash alone, which keeps out too many rather than too few."""
    guard = NearDuplicates()
    given = (settings.test_images, _explored(settings.store).get("test_images"))
    for spec in sorted({str(spec) for spec in given if spec}):
        dataset = open_dataset(spec, default_split="test")
        for place in range(len(dataset)):
            guard.add((spec, place), fingerprint(dataset[place][0]))
    return [lambda image: None if guard.find_image(image) is None else "leak"] if len(guard) else []


async def _fetch_all(store: Store, urls: Sequence[str], settings: Retry, engine: CaptionEngine | None) -> list[str]:
    """Outcome of each address, so many at a time."""
    filters = _filters(store, settings)
    fetchers: dict[bool, Fetcher] = {True: LocalFetcher(engine)} if engine is not None else {}
    if settings.contact:
        fetchers[False] = Downloader(settings.policy)
    fetching = {kind: Fetching(store, each, settings.policy, filters=filters) for kind, each in fetchers.items()}
    places = asyncio.Semaphore(settings.connections)
    with progress_bar(total=len(urls), desc="retry", unit="addresses") as bar:

        async def fetch(url: str) -> str:
            async with places:
                outcome = await fetch_again(store, url, fetching[url.startswith(_LOCAL)])
            bar.update()
            return outcome

        try:
            async with asyncio.TaskGroup() as tasks:
                started = [tasks.create_task(fetch(url)) for url in _by_turns(urls)]
        finally:
            for each in fetching.values():
                await each.stop()
            for fetcher in fetchers.values():
                await fetcher.close()
    return [task.result() for task in started]


async def fetch_again(store: Store, url: str, fetching: Fetching) -> str:
    """Outcome of one address: ``"stored"``, or the reason for which there is no image.

    Args:
        store: Keeps the image with the origin that the address was found with, or the reason.
        url: That may be tried again.
        fetching: Over the same store.
    """
    claim = store.claim(url)
    if claim is not Claim.GRANTED:
        return claim.value  # another process is at it, or was
    source = store.source_of(url)
    texts = (source.title, source.author, source.license, source.license_url)
    try:
        offer = await fetching.fetch(Result(0, url, source.page_url, "", *texts))
        entered = await asyncio.to_thread(fetching.enter, offer, engine=source.engine, query=source.query)
    except BaseException:
        store.release(url)  # so that a rerun need not wait for the lease to end
        raise
    fetching.forget([offer])
    return entered.reason or Claim.STORED.value


def _by_turns(urls: Iterable[str]) -> list[str]:
    """The addresses in an order in which hosts take turns, since one host is asked slowly."""
    places = Counter[str]()
    keyed = []
    for url in urls:
        host = urlsplit(url).netloc
        places[host] += 1
        keyed.append((places[host], url))
    return [url for _, url in sorted(keyed)]
