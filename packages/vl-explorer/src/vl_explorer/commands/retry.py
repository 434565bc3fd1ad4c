"""`vl-explorer retry`: addresses that gave no image, by reason, and another try."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from PIL import Image
from vl_core.cli import note_on_interruption
from vl_core.data import ImageDataset, open_dataset
from vl_core.progress import progress_bar
from vl_core.tables import printable, text_table

from vl_explorer.commands.settings.retry import Retry
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.store.claims import Claim
from vl_explorer.store.duplicates import NearDuplicates, fingerprint
from vl_explorer.store.filters import ImageFilter, first_reason
from vl_explorer.store.rows import Failure
from vl_explorer.store.store import Store
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.images import decode
from vl_explorer.web.reasons import Reason, Refused

_LOCAL = "local:"
_STORED = "stored"


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
        images = _check_sources(urls, settings)
        filters = _filters(store, settings)
        store.allow_retry(settings.reasons)
        with note_on_interruption("rerun to go on with the addresses that are left"):
            outcomes = asyncio.run(_fetch_all(store, urls, filters, images, settings))
    found = Counter(outcomes)
    print(f"tried {len(urls):,} addresses again: {found.pop(_STORED, 0):,} images came")
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
    if settings.engine_source is None:
        raise ValueError(f"--engine-source must be the data set of {local:,} local addresses, got none")
    return CaptionEngine.open(settings.engine_source)


def _filters(store: Store, settings: Retry) -> list[ImageFilter]:
    """The guard of the test images: by hash alone, which keeps out too many rather than too few."""
    given = [settings.test_images, *(run.settings.get("test_images") for run in store.runs())]
    guard = NearDuplicates()
    for spec in sorted({str(spec) for spec in given if spec}):
        dataset: ImageDataset = open_dataset(spec)
        for place in range(len(dataset)):
            guard.add((spec, place), fingerprint(dataset[place][0]))
    return [lambda image: None if guard.find_image(image) is None else "leak"] if len(guard) else []


async def _fetch_all(
    store: Store, urls: Iterable[str], filters: Sequence[ImageFilter], images: CaptionEngine | None, settings: Retry
) -> list[str]:
    """Outcome of each address, so many at a time."""
    turns = _by_turns(urls)
    places = asyncio.Semaphore(settings.connections)
    with progress_bar(total=len(turns), desc="retry", unit="addresses") as bar:
        downloader = Downloader(settings.policy) if settings.contact else None

        async def fetch(url: str) -> str:
            async with places:
                outcome = await _fetch(store, url, filters, images, downloader)
            bar.update()
            return outcome

        try:
            async with asyncio.TaskGroup() as tasks:
                started = [tasks.create_task(fetch(url)) for url in turns]
        finally:
            if downloader is not None:
                await downloader.close()
    return [task.result() for task in started]


def _by_turns(urls: Iterable[str]) -> list[str]:
    """The addresses in an order in which hosts take turns, since one host is asked slowly."""
    places = Counter[str]()
    keyed = []
    for url in urls:
        host = urlsplit(url).netloc
        places[host] += 1
        keyed.append((places[host], url))
    return [url for _, url in sorted(keyed)]


async def _fetch(
    store: Store,
    url: str,
    filters: Sequence[ImageFilter],
    images: CaptionEngine | None,
    downloader: Downloader | None,
) -> str:
    """Claim, fetch and decode one address; the store keeps the image or the reason for which there is none."""
    claim = store.claim(url)
    if claim is not Claim.GRANTED:
        return str(claim)
    try:
        return await _fetch_claimed(store, url, filters, images, downloader)
    except BaseException:
        store.release(url)  # so that a rerun need not wait for the lease to end
        raise


async def _fetch_claimed(
    store: Store,
    url: str,
    filters: Sequence[ImageFilter],
    images: CaptionEngine | None,
    downloader: Downloader | None,
) -> str:
    if url.startswith(_LOCAL) or downloader is None:
        found = _read_local(url, images)
    else:
        fetched = await downloader.fetch(url)
        if isinstance(fetched, Refused):
            found = fetched
        else:
            image = await asyncio.to_thread(decode, fetched, downloader.policy)
            found = image if isinstance(image, Refused) else (fetched.body, image)
    if isinstance(found, Refused):
        store.add_failure(url, found.reason, found.detail)
        return str(found.reason)
    content, image = found
    if reason := first_reason(image, filters):
        store.add_failure(url, reason)
        return reason
    outcome = store.add_image(store.source_of(url), content, image).outcome
    return _STORED if outcome != Claim.BLOCKED else str(outcome)


def _read_local(url: str, images: CaptionEngine | None) -> tuple[bytes, Image.Image] | Refused:
    try:
        if images is None:
            raise ValueError("no data set of local addresses")
        image = images.image(url)
    except (OSError, ValueError) as error:
        return Refused(url, Reason.broken, str(error))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue(), image
