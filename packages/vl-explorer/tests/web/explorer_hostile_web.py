"""A web of hosts that mean harm, all of them one local server, and a network that records who is connected to."""

from __future__ import annotations

import asyncio
import io
import ssl
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import httpcore2
from PIL import Image
from vl_explorer.web.downloader import Downloader
from vl_explorer.web.policy import Policy

HOSTS = {
    "site.example": "93.184.216.34",
    "good.example": "93.184.216.35",
    "other.example": "93.184.216.36",
    "down.example": "93.184.216.37",
    "six.example": "2606:2800:220:1::1",
    "xn--bcher-kva.example": "93.184.216.38",
    "inside.example": "10.0.0.1",
    "carrier.example": "100.64.0.1",
    "nat64.example": "64:ff9b::a00:1",
    "mapped.example": "::ffff:10.0.0.1",
    "teredo.example": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "sixtofour.example": "2002:7f00:1::1",
    "mixed.example": ("93.184.216.34", "192.168.0.1"),
}
"""The addresses of each name; every other name has none."""

LOCAL = "127.0.0.1"

_TLS = b"\x16"  # of a handshake
_TRUSTED = ssl.create_default_context()  # once: it takes longer than a case

Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]
Response = bytes | Handler


def answer(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    """An HTTP answer that closes its connection; underscores in names of headers become hyphens."""
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def to(location: str | bytes, status: int = 302) -> bytes:
    """A redirect, whose Location may be any bytes."""
    raw = location if isinstance(location, bytes) else location.encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\nLocation: ".encode() + raw + b"\r\n\r\n"


def encoded(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (4, 3), **options) -> bytes:
    """An image in a format and mode."""
    buffer = io.BytesIO()
    image = Image.new(mode, size, options.pop("color", 0))
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of few bytes that declares many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    blank = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", blank) + chunk(b"IEND", b"")


def drip(first: bytes, more: bytes) -> Handler:
    """Send something at once, and then a little every now and then, for ever."""

    async def handle(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0.02)

    return handle


class FakeClock:
    """Time that passes only by waiting for it."""

    def __init__(self) -> None:
        self.time, self.waits = 1000.0, []

    def now(self) -> float:
        return self.time

    def date(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.waits.append(seconds)
        await asyncio.sleep(0)


class FakeResolver:
    """The table of hosts; ``rebind.example`` is public when it is first asked for, and this machine ever after."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        if host == "rebind.example":
            return ("93.184.216.39",) if self.asked.count(host) == 1 else (LOCAL,)
        if host == "slowdns.example":
            await asyncio.sleep(60)
        found = HOSTS.get(host, ())
        return (found,) if isinstance(found, str) else found


class RecordingNetwork(httpcore2.AnyIOBackend):
    """Leads every connection to the local server, and records which address it was meant for."""

    def __init__(self, port: int) -> None:
        self.port, self.connects = port, []

    async def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.connects.append((host, port))
        if host == HOSTS["down.example"]:
            raise httpcore2.ConnectError("refused")
        return await super().connect_tcp(LOCAL, self.port, timeout, local_address, socket_options)


class HostileWeb:
    """A server that answers by host and path; a list is gone through from request to request."""

    def __init__(self, pages: Mapping[str, Response | list[Response]]) -> None:
        self.pages = {url: list(page) if isinstance(page, list) else page for url, page in pages.items()}
        self.requests: list[tuple[str, bytes]] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readexactly(1)
            if head == _TLS:
                return
            head += await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            path = lines[0].split(" ")[1]
            host = next(line[6:] for line in lines if line.lower().startswith("host: "))
            self.requests.append((f"{host}{path}", head))
            page = self.pages.get(f"{host}{path}", answer(status=404))
            if isinstance(page, list):
                page = page.pop(0) if len(page) > 1 else page[0]
            if callable(page):
                await page(writer)
            else:
                writer.write(page)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def hostile_web(pages: Mapping[str, Response | list[Response]], **settings):
    """A web and a downloader that looks at it; the limits are small, and waiting costs no time.

    Yields:
        The downloader, which has the web, its network, clock and resolver as attributes.
    """
    web = HostileWeb(pages)
    server = await asyncio.start_server(web.handle, LOCAL, 0, limit=2**20)
    web.port = server.sockets[0].getsockname()[1]
    options = {"ssl_context": _TRUSTED}
    options |= {name: settings.pop(name) for name in ("blocked", "ssl_context") if name in settings}
    limits = {"max_bytes": 100_000, "max_seconds": 20.0, "max_pixels": 1_000_000, "contact": "me@here.example"}
    policy = Policy(**{**limits, **settings})
    network, clock, resolver = RecordingNetwork(web.port), FakeClock(), FakeResolver()
    async with Downloader(policy, resolver=resolver, clock=clock, network=network, **options) as downloader:
        downloader.web, downloader.network, downloader.clock, downloader.resolver = web, network, clock, resolver
        try:
            yield downloader
        finally:
            server.close()
