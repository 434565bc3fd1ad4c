"""The downloader's own ways: pinning, TLS, HTTP/2, pace, what it asks with, and settings that it refuses."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl

import h2.config
import h2.connection
import h2.events
import pytest
from explorer_hostile_web import (
    HOSTS,
    LOCAL,
    FakeClock,
    FakeResolver,
    HostileWeb,
    RecordingNetwork,
    answer,
    encoded,
    hostile_web,
    to,
)
from vl_explorer.web.caching import Cache
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.network.resolver import SystemResolver
from vl_explorer.web.pacing import Pacer, SystemClock, seconds_asked
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Fetched, Reason, Refusal

PNG = encoded()
URL = "http://site.example/x"

# A certificate of site.example that nobody trusts, and its key, which opens nothing.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgT3thQzLlDUdOvMAN
rh+bHbjhrCV/kUQpkaya63PWf7ehRANCAASL/pPUPkEGfUqSFdRTuaNa22k6S0xe
WWAz9Chg/hMZWPhid2yMbkd2dglPdApTF5x6LRM6+hVUAiwaeXi63BiC
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBnjCCAUSgAwIBAgIUGxd3qiwUqU50ts9zF1qiK5a0TMIwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMc2l0ZS5leGFtcGxlMCAXDTI2MTEzMDAyNTUzOFoYDzIxMjYx
MTA2MDI1NTM4WjAXMRUwEwYDVQQDDAxzaXRlLmV4YW1wbGUwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAASL/pPUPkEGfUqSFdRTuaNa22k6S0xeWWAz9Chg/hMZWPhi
d2yMbkd2dglPdApTF5x6LRM6+hVUAiwaeXi63BiCo2wwajAdBgNVHQ4EFgQUfwoQ
VM0eeVFHxKg0qmFW9sFgS0MwHwYDVR0jBBgwFoAUfwoQVM0eeVFHxKg0qmFW9sFg
S0MwDwYDVR0TAQH/BAUwAwEB/zAXBgNVHREEEDAOggxzaXRlLmV4YW1wbGUwCgYI
KoZIzj0EAwIDSAAwRQIgGmcR8F8xCG+uVxeSnQ57Kbtaz1B2gJs09alT8ZSDUs4C
IQCv8xfWw7wzMiq1yaYG/t7G2t+DeWPcTo19XZSjuzrXMQ==
-----END CERTIFICATE-----
"""


def test_a_name_that_changes_its_address_is_connected_to_at_the_one_that_was_checked():
    pages = {"rebind.example/x": answer(PNG), "rebind.example/robots.txt": answer()}

    async def run():
        async with hostile_web(pages) as downloader:
            found = [await downloader.fetch("http://rebind.example/x")]
            downloader.clock.time += 301  # the look-up is forgotten
            found.append(await downloader.fetch("http://rebind.example/x"))
            return found, downloader.network.connects, downloader.resolver.asked

    (first, second), connects, asked = asyncio.run(run())
    assert isinstance(first, Fetched)
    assert second.reason is Reason.forbidden_address
    assert connects == [("93.184.216.39", 80)] * 3  # robots.txt, tdmrep.json and the image
    assert asked == ["rebind.example"] * 2


def test_requests_say_who_asks_and_nothing_of_whom(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", "/nowhere")
    pages = {"site.example/x": to("http://other.example/y"), "other.example/y": answer(PNG, ETag='"1"', Server="no")}

    async def run():
        async with hostile_web(pages) as downloader:
            return await downloader.fetch(f"{URL}#part"), [head.decode() for _, head in downloader.web.requests]

    found, heads = asyncio.run(run())
    assert (found.url, found.final_url) == (f"{URL}#part", "http://other.example/y")
    assert found.content_type == "image/png"
    assert found.headers == {"etag": '"1"'}
    for head in heads:
        names = {line.partition(":")[0] for line in head.split("\r\n")[1:] if line}
        assert names == {"Host", "User-Agent", "Accept", "Accept-Encoding"}
        assert "User-Agent: vl-explorer/" in head
        assert "(+me@here.example)" in head
        assert "Accept-Encoding: identity\r\n" in head


def tls_context(*protocols):
    """A server's side of TLS, which keeps the names that it was asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(list(protocols))
    context.names = []
    context.sni_callback = lambda connection, name, _: context.names.append(name)
    return context


async def serve_http2(reader, writer, heads):
    """Answer each request of one HTTP/2 connection with an image, and one for robots.txt with nothing."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                fields = dict(event.headers)
                heads.append(fields)
                found = fields[":path"] == "/x"
                connection.send_headers(event.stream_id, [(":status", "200" if found else "404")])
                connection.send_data(event.stream_id, PNG if found else b"", end_stream=True)
        writer.write(connection.data_to_send())
    writer.close()


def test_https_uses_the_name_and_http2(tmp_path):
    (tmp_path / "site.pem").write_text(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "site.pem"))
    heads = []

    async def run(trusted, host="site.example"):
        async with hostile_web({}, ssl_context=trusted) as downloader:
            context = tls_context("h2")
            context.load_cert_chain(tmp_path / "site.pem")
            server = await asyncio.start_server(lambda *both: serve_http2(*both, heads), LOCAL, 0, ssl=context)
            downloader.network.port = server.sockets[0].getsockname()[1]
            found = await downloader.fetch(f"https://{host}/x")
            server.close()
            return found, downloader.network.connects, context.names

    found, connects, names = asyncio.run(run(trusting))
    assert isinstance(found, Fetched)
    assert connects == [(HOSTS["site.example"], 443)]  # one connection for three requests
    assert names == ["site.example"]
    assert [fields[":authority"] for fields in heads] == ["site.example"] * 3
    for trusted, host in ((ssl.create_default_context(), "site.example"), (trusting, "other.example")):
        refused, _, names = asyncio.run(run(trusted, host))
        assert (refused.reason, names) == ("tls", [host])
        assert "certificate" in refused.detail.lower()
    assert len(heads) == 3


def test_loopback_is_allowed_by_a_switch_and_only_at_its_port():
    async def run(**settings):
        async with hostile_web({}) as other:
            port = other.web.port
            other.web.pages = {f"{LOCAL}:{port}/x": answer(PNG), f"{LOCAL}:{port}/y": to("http://127.0.0.1/")}
            policy = Policy(contact="me@here.example", ports=(port,), per_host_interval=1e-3, **settings)
            async with Downloader(policy) as downloader:
                return [await downloader.fetch(f"http://{LOCAL}:{port}/{name}") for name in "xy"]

    image, elsewhere = asyncio.run(run(allow_loopback=True))
    assert isinstance(image, Fetched)
    assert elsewhere.reason is Reason.url
    assert [found.reason for found in asyncio.run(run())] == ["forbidden_address"] * 2


@pytest.mark.parametrize(("limits", "expected"), [((9, 3), 3), ((2, 9), 4), ((1, 9), 2)])
def test_many_fetches_keep_to_the_places_of_each_host_and_of_all(limits, expected):
    current, most = 0, 0

    async def slow(writer):
        nonlocal current, most
        current += 1
        most = max(most, current)
        await asyncio.sleep(0.01)
        writer.write(answer(PNG))
        current -= 1

    pages = {f"{host}/{number}": slow for host in ("site.example", "other.example") for number in range(6)}

    async def run():
        async with hostile_web(pages, per_host_connections=limits[0], connections=limits[1]) as downloader:
            found = await asyncio.gather(*[downloader.fetch(f"http://{page}") for page in pages])
            return found, [request for request, _ in downloader.web.requests]

    found, requests = asyncio.run(run())
    assert all(isinstance(image, Fetched) for image in found)
    assert 1 < most <= expected
    assert sum(request.endswith("robots.txt") for request in requests) == 2


def test_turns_of_a_host_are_an_interval_apart_and_a_held_host_waits():
    clock = FakeClock()
    pacer = Pacer(Policy(per_host_interval=2.0, max_wait=30.0), clock)
    begins = []

    async def turn(host, **options):
        async with pacer.turn(host, **options):
            begins.append((host, clock.now() - 1000))

    async def run():
        for _ in range(3):
            await turn("a")
        await turn("b", interval=5.0)
        await turn("b")
        pacer.hold("b", 20.0)
        pacer.hold("b", 10.0)
        await turn("b")
        pacer.hold("b", 31.0)
        with pytest.raises(Refusal, match="throttled: b asked for no request for another 31 s"):
            await turn("b")

    asyncio.run(run())
    assert begins == [("a", 0), ("a", 2), ("a", 4), ("b", 4), ("b", 9), ("b", 29)]


class LastLook(SystemClock):
    """The time of this machine, and what it last was."""

    last = 0.0

    def now(self):
        self.last = super().now()
        return self.last


def beginnings(turns, hold=None, **settings):
    """Moments at which turns of hosts begin that are asked for at once, each `(host, seconds that it takes)`."""
    clock, begins = LastLook(), {}
    pacer = Pacer(Policy(per_host_interval=0.05, **settings), clock)
    start = clock.now()

    async def turn(host, seconds):
        async with pacer.turn(host):
            begins.setdefault(host, []).append(clock.last - start)
            await asyncio.sleep(seconds)

    async def run():
        tasks = [asyncio.create_task(turn(*each)) for each in turns]
        await asyncio.sleep(0.02)
        if hold is not None:
            pacer.hold(*hold)
        await asyncio.gather(*tasks)

    asyncio.run(run())
    return begins


def shortest(moments):
    """Shortest time from a moment to the next."""
    return min(after - before for before, after in itertools.pairwise(moments))


def test_turns_stay_an_interval_apart_after_a_hold():
    begins = beginnings([("a", 0.0)] * 6, hold=("a", 0.15))
    assert begins["a"][1] >= 0.15
    assert shortest(begins["a"]) >= 0.0499


def test_turns_stay_an_interval_apart_behind_a_slow_host():
    begins = beginnings([("slow", 0.2), *[("a", 0.0)] * 3], connections=1)
    assert begins["a"][0] - begins["slow"][0] >= 0.199
    assert shortest(begins["a"]) >= 0.0499


def test_a_hold_counts_for_who_waits_for_a_place():
    begins = beginnings([("slow", 0.05), ("a", 0.0)], hold=("a", 0.2), connections=1)
    assert begins["a"][0] >= 0.2


def test_who_waits_for_a_host_leaves_the_places_to_others():
    begins = beginnings([("a", 0.0), ("a", 0.0), ("b", 0.1), ("c", 0.0)], hold=("a", 0.4), connections=1)
    assert begins["b"] < begins["c"] < begins["a"][1:]


def test_a_turn_that_is_given_up_leaves_the_host_to_the_next():
    clock = LastLook()
    pacer = Pacer(Policy(per_host_interval=0.05, connections=1, per_host_connections=1), clock)

    async def turn():
        async with pacer.turn("a"):
            return clock.last

    async def run():
        first = await turn()
        given_up, last = asyncio.create_task(turn()), asyncio.create_task(turn())
        await asyncio.sleep(0.01)
        given_up.cancel()
        return await asyncio.wait_for(last, 5) - first, given_up.cancelled()

    waited, cancelled = asyncio.run(run())
    assert cancelled
    assert waited >= 0.0499


def test_tries_are_bounded_and_their_waits_double():
    async def run(page, **settings):
        async with hostile_web({"site.example/x": page}, reservations=False, **settings) as downloader:
            found = await downloader.fetch(URL)
            asked = [request for request, _ in downloader.web.requests].count("site.example/x")
            return found, asked, downloader.clock.waits[1:]

    found, asked, waits = asyncio.run(run(answer(status=500), tries=4, backoff=2.0))
    assert (found.reason, asked, waits) == ("status", 4, [2, 4, 8])
    found, asked, waits = asyncio.run(run([answer(status=429, Retry_After="7"), answer(PNG)]))
    assert (isinstance(found, Fetched), asked, waits) == (True, 2, [7])
    found, asked, _ = asyncio.run(run(answer(status=429, Retry_After="3600")))
    assert (found.reason, asked) == ("throttled", 1)
    assert found.retry_after == pytest.approx(3600)


def test_dates_and_seconds_of_retry_after():
    now = 1_800_000_000.0
    for text, expected in (("", 0), ("-5", 0), ("1.5", 0), ("٣", 0), ("Fri, 15 Jan 2027 08:01:00 GMT", 60), ("99", 99)):
        assert seconds_asked(text, now) == expected
    assert seconds_asked("Fri, 15 Jan 1999 08:01:00 GMT", now) == 0
    assert seconds_asked("9" * 400, now) < 1e13


def test_a_cache_forgets_and_asks_once_for_all_who_wait():
    clock, asked = FakeClock(), []

    async def load(key):
        asked.append(key)
        await asyncio.sleep(0)
        return (Refusal(Reason.dns, "gone") if key == "no" else key.upper()), 10.0

    async def run():
        cache = Cache(load, clock, size=2)
        assert await asyncio.gather(*[cache.get("a") for _ in range(5)]) == ["A"] * 5
        with pytest.raises(Refusal, match="dns: gone"):
            await cache.get("no")
        clock.time += 4
        with pytest.raises(Refusal) as refusal:
            await cache.get("no")
        assert refusal.value.retry_after == 6
        clock.time += 6
        await cache.get("a")
        await cache.get("b")
        return len(cache)

    assert asyncio.run(run()) == 2
    assert asked == ["a", "no", "a", "b"]


def test_the_system_resolver_names_each_address_once(monkeypatch):
    def look_up(host, port, type):
        return [(2, type, 6, "", (address, 0)) for address in ("93.184.216.34", "93.184.216.34", LOCAL)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = SystemResolver()
    assert asyncio.run(resolver.resolve("site.example")) == ("93.184.216.34", LOCAL)
    resolver.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Policy(max_bytes=0), "max_bytes must be a number above 0, got 0"),
        (lambda: Policy(max_bytes=1.5), "max_bytes must be a whole number"),
        (lambda: Policy(max_seconds=float("inf")), "max_seconds must be a number above 0"),
        (lambda: Policy(per_host_interval=-1.0), "per_host_interval must be"),
        (lambda: Policy(tries=0), "tries must be"),
        (lambda: Policy(ports=()), "ports must be numbers"),
        (lambda: Policy(ports=(0,)), "ports must be numbers"),
        (lambda: Policy(user_agent="Mozilla 5\r\nX: y"), "user_agent must be a product"),
        (lambda: Policy(contact="nobody"), "contact must be an http"),
        (lambda: Policy(contact="a@b.example\r\nX: y"), "contact must be an http"),
        (lambda: Downloader(Policy()), "contact must be a page or a mail address at which sites reach you"),
    ],
)
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_downloader_that_was_closed_goes_on_in_another_event_loop():
    """So that an explorer may run again; everything that waits is made for one loop."""
    web = HostileWeb({f"site.example/{number}": answer(encoded(color=number)) for number in range(8)})
    network, clock = RecordingNetwork(0), FakeClock()
    policy = Policy(contact="me@here.example", per_host_connections=1, connections=1)
    downloader = Downloader(policy, resolver=FakeResolver(), clock=clock, network=network)

    async def run(numbers):
        server = await asyncio.start_server(web.handle, LOCAL, 0)
        network.port = web.port = server.sockets[0].getsockname()[1]
        try:
            clock.time += 10**6
            urls = [f"http://site.example/{number}" for number in numbers]
            return [type(found) for found in await asyncio.gather(*map(downloader.fetch, urls))]
        finally:
            await downloader.close()
            server.close()

    assert [asyncio.run(run(numbers)) for numbers in (range(4), range(4, 8))] == [[Fetched] * 4] * 2


def test_the_look_up_of_the_system_begins_anew_when_it_was_closed():
    system = SystemResolver()
    for _ in range(2):
        assert asyncio.run(system.resolve("localhost"))
        system.close()
