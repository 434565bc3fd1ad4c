"""`vl-explorer retry`: addresses that gave no image, by reason, and another try."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from vl_core.cli import note_on_interruption
from vl_core.progress import progress_bar
from vl_core.tables import printable, text_table

from vl_explorer.commands._recorded import open_engines, open_guard, recorded
from vl_explorer.commands._warnings import plain_warnings
from vl_explorer.commands.settings.retry import Retry
from vl_explorer.exploring.fetching import Fetcher, Fetching, LocalFetcher
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.store.claims import Claim
from vl_explorer.store.likeness.duplicates import NearDuplicates
from vl_explorer.store.likeness.filters import ImageFilter
from vl_explorer.store.rows import Failure, Result
from vl_explorer.store.store import Store
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.reasons import Reason

_LOCAL = "local:"
_LEAK = "leak"


@plain_warnings()
def run(settings: Retry) -> None:
    """List the reasons, or try their addresses again.

    Raises:
        OSError: If the store cannot be written to.
        ValueError: If a reason is unknown, there is no contact for addresses of the web, no data set for local ones, or
            no test images where the runs had some.
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
        _check_contact(urls, settings)
        runs = recorded(store, settings.store)
        engines = _open_engines(urls, settings, runs)
        guard = open_guard(runs, settings.test_images)
        if _LEAK in settings.reasons and not len(guard):
            raise ValueError(
                "--test-images must be given with --reason leak, since the store does not name those of its runs"
            )
        if any(run.get("strict") for run in runs):
            settings = replace(settings, strict=True)
        # All that is needed is open, since an address that is tried loses its reason.
        store.allow_retry(settings.reasons)
        with note_on_interruption("rerun to go on with the addresses that are left"):
            outcomes = asyncio.run(_fetch_all(store, urls, settings, engines, guard))
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


def _check_contact(urls: Sequence[str], settings: Retry) -> None:
    web = sum(not _engine_name(url) for url in urls)
    if web and not settings.contact:
        raise ValueError(
            f"--contact must be a page or a mail address at which sites reach you, got none for {web:,} addresses of "
            "the web"
        )


def _engine_name(url: str) -> str:
    """Name of the engine in a local address; empty for addresses of the web."""
    return url.removeprefix(_LOCAL).partition("/")[0] if url.startswith(_LOCAL) else ""


def _open_engines(urls: Sequence[str], settings: Retry, runs: Sequence[Mapping[str, Any]]) -> dict[str, CaptionEngine]:
    """The engines whose images local addresses name, by the names in these; no address is without one."""
    wanted = {name for name in map(_engine_name, urls) if name}
    found: dict[str, CaptionEngine] = {}
    if wanted and settings.engine_source is not None:
        engine = CaptionEngine.open(settings.engine_source)
        found[engine.name] = engine
    found |= open_engines(runs, wanted - found.keys())
    missing = wanted - found.keys()
    if missing or found.keys() - wanted:
        names = ", ".join(f"{_LOCAL}{name}/" for name in sorted(missing or wanted))
        count = sum(_engine_name(url) in (missing or wanted) for url in urls)
        given = "none"
        if settings.engine_source is not None:
            given = f"{settings.engine_source}, whose addresses begin with {_LOCAL}{engine.name}/"
        raise ValueError(
            f"--engine-source must be the data set of {count:,} local addresses that begin with {names}, got {given}"
        )
    return found


async def _fetch_all(
    store: Store,
    urls: Sequence[str],
    settings: Retry,
    engines: Mapping[str, CaptionEngine],
    guard: NearDuplicates,
) -> list[str]:
    """Outcome of each address, so many at a time."""
    filters: list[ImageFilter] = []
    if len(guard):
        filters.append(lambda image: None if guard.find_image(image) is None else _LEAK)
    fetchers: dict[str, Fetcher] = {name: LocalFetcher(engine) for name, engine in engines.items()}
    if settings.contact:
        fetchers[""] = Downloader(settings.policy)
    fetching = {name: Fetching(store, each, settings.policy, filters=filters) for name, each in fetchers.items()}
    places = asyncio.Semaphore(settings.connections)
    with progress_bar(total=len(urls), desc="retry", unit="addresses") as bar:

        async def fetch(url: str) -> str:
            async with places:
                outcome = await fetch_again(store, url, fetching[_engine_name(url)])
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
