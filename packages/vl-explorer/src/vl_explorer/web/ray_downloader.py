"""The downloader of many machines, through Ray; requires the extra `ray`.

Each host belongs to one worker, by a hash of its name, which asks for everything that lies there: its robots.txt, its
images, and those to which a redirect of another host leads. So its pace is kept, and its robots.txt read, as if there
were one `Downloader`; more workers ask more hosts at the same time.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import replace
from typing import Any, Self

import httpx2

from vl_explorer.web.downloader import Downloader, follow, refused
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Fetched, Refusal, Refused
from vl_explorer.web.urls import host_of


class RayDownloader:
    """Fetches URLs by workers on the machines of a Ray cluster; `fetch`, `check_page` and `close` are those of
    `Downloader`.

    Without a cluster that is connected to (``ray.init("auto")``), Ray starts one on this machine.

    Args:
        policy: Limits of each worker: ``connections`` holds for one worker, all others for a host.
        workers: Number of workers, each a process with a CPU of its own, spread over the machines.
        options: Further arguments of each worker's `Downloader`, which must be picklable, such as ``blocked``.

    Raises:
        ModuleNotFoundError: If Ray is not installed; the message names the extra.
        ValueError: If the policy has no contact, or there is no worker.

    Example:
        >>> async def fetch(urls: list[str]) -> list[Fetched | Refused]:
        ...     async with RayDownloader(Policy(contact="you@example.org"), workers=64) as downloader:
        ...         return await asyncio.gather(*map(downloader.fetch, urls))
    """

    def __init__(self, policy: Policy, workers: int, **options: Any) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        _ = policy.identity  # a worker's own complaint would come late
        try:
            import ray
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise ModuleNotFoundError(
                "ray is not installed; it comes with `pip install 'vl-explorer[ray]'`", name="ray"
            ) from error
        self.policy = policy
        # A worker that was lost with its machine begins anew elsewhere.
        self._kind: Any = ray.remote(max_restarts=-1, max_task_retries=2, scheduling_strategy="SPREAD")(_Worker)
        self._count, self._options = workers, options
        self._workers = self._started()
        self._kill = ray.kill

    async def fetch(self, url: str) -> Fetched | Refused:
        """Fetch an image, and follow redirects to it; see `Downloader.fetch`.

        Args:
            url: Any string.
        """
        try:
            found: Fetched | Refused = await follow(url, self.policy, self._ask)
        except Refusal as refusal:
            return refused(url, refusal)
        return replace(found, url=url)

    async def check_page(self, url: str) -> Refused | None:
        """Return why images of a page must not be used, or None; see `Downloader.check_page`."""
        try:
            found: Refused | None = await follow(url, self.policy, self._ask_page)
        except Refusal as refusal:
            return refused(url, refusal)
        return None if found is None else replace(found, url=url)

    async def _ask(self, url: httpx2.URL) -> Fetched | Refused | httpx2.URL:
        found = await self._owner(url).fetch_hop.remote(str(url))
        return httpx2.URL(found) if isinstance(found, str) else found

    async def _ask_page(self, url: httpx2.URL) -> Refused | httpx2.URL | None:
        found = await self._owner(url).check_page_hop.remote(str(url))
        return httpx2.URL(found) if isinstance(found, str) else found

    def _started(self) -> list[Any]:
        return [self._kind.remote(self.policy, self._options) for _ in range(self._count)]

    def _owner(self, url: httpx2.URL) -> Any:
        self._workers = self._workers or self._started()
        return self._workers[zlib.crc32(host_of(url).encode()) % len(self._workers)]

    async def close(self) -> None:
        """Close all connections, and end the workers; later use starts others."""
        await asyncio.gather(*(worker.close.remote() for worker in self._workers))
        for worker in self._workers:
            self._kill(worker)
        self._workers = []

    async def __aenter__(self) -> Self:
        """Return the downloader, to be closed at the end of the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections, and end the workers."""
        await self.close()


class _Worker:
    """A downloader in a process of its own, in the event loop that Ray runs there."""

    def __init__(self, policy: Policy, options: dict[str, Any]) -> None:
        self._downloader = Downloader(policy, **options)

    async def fetch_hop(self, url: str) -> Fetched | Refused | str:
        return await self._downloader.fetch_hop(url)

    async def check_page_hop(self, url: str) -> Refused | str | None:
        return await self._downloader.check_page_hop(url)

    async def close(self) -> None:
        await self._downloader.close()
