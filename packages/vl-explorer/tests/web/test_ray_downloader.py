"""Workers of Ray fetch what one downloader does, and each host is asked by one of them."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from explorer_hostile_web import HostileWeb, answer, encoded, hostile_web, png_bomb, to
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.policy import Policy
from vl_explorer.web.ray_downloader import RayDownloader
from vl_explorer.web.reasons import Fetched

HOSTS = [f"127.0.0.{number}" for number in range(1, 6)]
PNG = encoded()


def test_a_hop_ends_at_a_redirect_and_all_hops_together_are_a_fetch():
    pages = {"site.example/x": to("http://other.example/y"), "other.example/y": answer(PNG)}

    async def run():
        async with hostile_web(pages) as downloader:
            hops = ["http://site.example/x"]
            while isinstance(hops[-1], str):
                hops.append(await downloader.fetch_hop(hops[-1]))
            return hops, await downloader.fetch(hops[0]), await downloader.fetch_hop("ftp://site.example/")

    (_, second, last), whole, refused = asyncio.run(run())
    assert second == "http://other.example/y"
    assert (last.final_url, last.body) == (whole.final_url, whole.body)
    assert (last.url, whole.url) == ("http://other.example/y", "http://site.example/x")
    assert refused.reason == "scheme"


class Actor:
    """Stands for Ray's handle of a worker, in this process."""

    def __init__(self, worker):
        self.worker = worker

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.worker, name))


def test_a_page_that_objects_is_heard_by_workers_too(monkeypatch):
    pages = {
        "site.example/page": to("http://other.example/page"),
        "other.example/page": answer(b'<meta name="robots" content="noai">', content_type="text/html"),
        "site.example/free": answer(b"<p>", content_type="text/html"),
    }

    async def run():
        async with hostile_web(pages) as downloader:
            kind = SimpleNamespace(remote=lambda *_: Actor(downloader))
            monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(remote=lambda **_: lambda _: kind, kill=bool))
            many = RayDownloader(downloader.policy, 2)
            urls = [f"http://site.example/{name}" for name in ("page", "free")] + ["ftp://site.example/"]
            await many.close()
            return [(await many.check_page(url), await downloader.check_page(url)) for url in urls]

    found = asyncio.run(run())
    assert [many and many.reason for many, _ in found] == ["opt_out", None, "scheme"]
    assert all(many == alone for many, alone in found)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"ray is not installed; .*'vl-explorer\[ray\]'"):
        RayDownloader(Policy(contact="me@here.example"), 2)


@pytest.mark.parametrize(
    ("policy", "workers", "message"),
    [(Policy(), 2, "contact must be"), (Policy(contact="me@here.example"), 0, "workers must be at least 1, got 0")],
)
def test_what_cannot_work_is_refused_before_ray_starts(policy, workers, message):
    with pytest.raises(ValueError, match=message):
        RayDownloader(policy, workers)


def pages_at(port):
    """Pages of five hosts of this machine, at a port; a redirect from each leads to an image of the next."""
    pages = {}
    for host, after in zip(HOSTS, [*HOSTS[1:], HOSTS[0]], strict=True):
        at = f"{host}:{port}"
        pages |= {f"{at}/{number}.png": answer(encoded(color=number)) for number in range(3)}
        pages |= {
            f"{at}/robots.txt": answer(b"User-agent: *\nDisallow: /private\n"),
            f"{at}/private/x.png": answer(PNG),
            f"{at}/moved": to(f"http://{after}:{port}/0.png"),
            f"{at}/circle": to(f"http://{at}/circle"),
            f"{at}/bomb.png": answer(png_bomb()),
            f"{at}/text.png": answer(b"<html>"),
        }
    return pages


@pytest.mark.ray
# Ray sets a deprecated option of its own, and leaves files to the garbage collector.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_workers_fetch_what_one_downloader_does_and_one_of_them_asks_each_host(monkeypatch):
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
        monkeypatch.setenv(name, "0")
    import ray

    async def run():
        web = HostileWeb({})
        server = await asyncio.start_server(web.handle, "0.0.0.0", 0)
        port = server.sockets[0].getsockname()[1]
        web.pages = pages_at(port)
        urls = [f"http://{url}" for url in web.pages if "robots" not in url] + [
            "nonsense",
            "http://10.0.0.1/x",
            "http://127.0.0.1:1/x",
        ]
        policy = Policy(
            contact="me@here.example", allow_loopback=True, ports=(port,), per_host_interval=0.001, max_bytes=10**5
        )
        found, asked = [], []
        try:
            for build in (Downloader, lambda given: RayDownloader(given, 3)):
                web.requests.clear()
                async with build(policy) as downloader:
                    found.append(await asyncio.gather(*map(downloader.fetch, urls)))
                asked.append(Counter(url for url, _ in web.requests))
        finally:
            server.close()
        return found, asked

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    try:
        (alone, together), (once, twice) = asyncio.run(run())
    finally:
        ray.shutdown()
    assert together == alone
    assert sum(isinstance(each, Fetched) for each in alone) == 5 * 5
    # A host that two workers asked would have been asked for its robots.txt twice.
    assert twice == once
    assert {count for url, count in twice.items() if url.endswith("/robots.txt")} == {1}
