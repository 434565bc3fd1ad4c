"""Every engine of the web beside a server that speaks its language, and time that passes at once."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import explorer_api_server as services
import httpx2
from vl_explorer.search.brave import BraveEngine
from vl_explorer.search.commons import CommonsEngine
from vl_explorer.search.flickr import FlickrEngine
from vl_explorer.search.http.pacing import Pacer
from vl_explorer.search.json_engine import JsonEngine
from vl_explorer.search.openverse import OpenverseEngine
from vl_explorer.search.serpapi import SerpApiEngine

OFFSETS = {
    **services.MUSEUM,
    "parameters": {"q": "{query}", "from": "{offset}", "size": "{count}"},
    "paging": {"kind": "offset", "first": 1},
}


@dataclass(frozen=True)
class Case:
    """An engine and its service."""

    make: object
    service: object
    sizes: tuple
    """Page sizes to compare; empty where the service fixes them."""
    depth: int
    """Results of one query at most."""
    options: dict
    """To be quick where many pages are read."""


CASES = {
    "openverse": Case(OpenverseEngine, services.openverse, (20, 12, 7, 1), 240, {}),
    "commons": Case(CommonsEngine, services.commons, (50, 20, 7, 1), 10_000, {}),
    "flickr": Case(FlickrEngine, services.flickr, (100, 20, 7, 1), 4_000, {"page_size": 500}),
    "serpapi": Case(SerpApiEngine, services.serpapi, (), 1_000, {}),
    "brave": Case(BraveEngine, services.brave, (), 200, {}),
    "museum": Case(lambda **options: JsonEngine(services.MUSEUM, **options), services.museum, (20, 12, 7, 1), 300, {}),
    "offsets": Case(lambda **options: JsonEngine(OFFSETS, **options), services.museum, (20, 12, 7, 1), 300, {}),
}


class Time:
    """A clock that jumps to the end of each sleep."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    async def sleep(self, seconds):
        """Be there at once."""
        self.slept.append(seconds)
        self.now += seconds

    def pacer(self, requests_per_second=float("inf")):
        """A pacer by this clock."""
        return Pacer(requests_per_second, clock=lambda: self.now, sleep=self.sleep)


@asynccontextmanager
async def running(name, total=57, first=(), service=None, **options):
    """An engine and the server that it asks."""
    case = CASES[name]
    # Without the certificates of the system, which take long to read.
    given = httpx2.AsyncClient(trust_env=False, verify=False)
    async with services.Server(service or case.service(total), first) as server, given as client:
        options = {"contact": "ann@example.org", "pacer": Time().pacer(), "client": client, **options}
        engine = case.make(address=server.address, **options)
        yield engine, server
        await engine.close()


def search(name, count, query="red fox", **options):
    """Results of an engine, and the requests that its server received."""

    async def searched():
        async with running(name, **options) as (engine, server):
            return await engine.search(query, count), server.requests

    return asyncio.run(searched())
