"""One request: no cookies, no proxies, no redirects, no decompression, and an end in time and in bytes.

httpx2's client would bring all of these; the layer below it, httpcore2, brings connections, HTTP/1.1 and HTTP/2 alone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpcore2
import httpx2

from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Reason, Refusal, Transient

_IDLE_SECONDS = 15.0


class Answer:
    """Status and headers of an answer, and its body if it is asked for.

    Attributes:
        url: The URL that answers.
        status: Its status.
    """

    def __init__(self, url: httpx2.URL, response: httpcore2.Response) -> None:
        self.url, self.status = url, response.status
        self._headers = [(name.decode("latin-1").lower(), value) for name, value in response.headers]
        self._response = response

    def raw(self, name: str) -> bytes:
        """The first header of a name, as it was sent; empty if there is none."""
        return next((value for known, value in self._headers if known == name), b"")

    def values(self, name: str) -> list[str]:
        """All headers of a name."""
        return [value.decode("latin-1") for known, value in self._headers if known == name]

    def header(self, name: str) -> str:
        """All headers of a name in one line; empty if there is none."""
        return ", ".join(self.values(name)).strip()

    async def read(self, max_bytes: int, *, cut: bool = False) -> bytes:
        """Read the body.

        Args:
            max_bytes: The most that is read.
            cut: Return the first ``max_bytes`` of a longer one.

        Raises:
            Refusal: With reason ``encoding``, ``too_large``, ``content_length``, ``connect`` or ``broken``.
        """
        coding = self.header("content-encoding").lower()
        if coding not in ("", "identity"):
            raise Refusal(Reason.encoding, f"the body is compressed by {coding!r}, and was asked for as it is")
        length = self.header("content-length")
        declared = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
        if declared is not None and declared > max_bytes and not cut:
            raise Refusal(Reason.too_large, f"the body has {declared:,} bytes, over the limit of {max_bytes:,}")
        body = bytearray()
        try:
            with _refusing():
                async for chunk in self._chunks():
                    body += chunk
                    if len(body) > max_bytes:
                        break
        except Refusal as refusal:
            if refusal.reason is Reason.broken and declared is not None and len(body) < declared:
                raise Refusal(
                    Reason.content_length, f"the body ended after {len(body):,} of {declared:,} bytes"
                ) from refusal
            raise
        if len(body) > max_bytes and not cut:
            raise Refusal(Reason.too_large, f"the body has more bytes than the limit of {max_bytes:,}")
        return bytes(body[:max_bytes])

    def _chunks(self) -> AsyncIterable[bytes]:
        stream = self._response.stream
        if not isinstance(stream, AsyncIterable):
            raise TypeError(f"the body of {self.url} must be an asynchronous stream, got {type(stream).__name__}")
        return stream


class Transfers:
    """Requests over one pool of connections.

    Args:
        policy: ``max_seconds``, ``connections`` and the identity that each request carries.
        backend: Opens the connections.
        ssl_context: Certificates that are trusted, by default the system's; variables of the environment are ignored.

    Raises:
        ValueError: If the policy has no contact.
    """

    def __init__(
        self, policy: Policy, backend: httpcore2.AsyncNetworkBackend, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._policy, self._identity = policy, policy.identity
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or httpx2.create_ssl_context(trust_env=False),
            # The pacer counts requests; a limit here would make one of them wait within its own time.
            max_connections=None,
            max_keepalive_connections=policy.connections,
            keepalive_expiry=_IDLE_SECONDS,
            http2=True,
            network_backend=backend,
        )

    @asynccontextmanager
    async def get(self, url: httpx2.URL, accept: str = "*/*") -> AsyncIterator[Answer]:
        """Ask for a URL; the whole block, with all that it reads, must be done within ``max_seconds``.

        Raises:
            Refusal: With reason ``dns``, ``forbidden_address``, ``connect``, ``tls``, ``timeout`` or ``broken``.
        """
        request = httpcore2.Request(
            "GET",
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=[
                ("Host", url.netloc.decode()),
                ("User-Agent", self._identity),
                ("Accept", accept),
                ("Accept-Encoding", "identity"),
            ],
        )
        try:
            async with asyncio.timeout(self._policy.max_seconds):
                with _refusing():
                    response = await self._pool.handle_async_request(request)
                try:
                    yield Answer(url, response)
                finally:
                    with _refusing():
                        await response.aclose()
        except TimeoutError:
            raise Refusal(Reason.timeout, f"not done within {self._policy.max_seconds:g} s") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what a connection or a parser of strangers' bytes raises into a refusal."""
    try:
        yield
    except (Refusal, TimeoutError):
        raise
    except httpcore2.TimeoutException as error:
        raise Refusal(Reason.timeout, f"no answer in time: {error}") from error
    except (httpcore2.NetworkError, OSError) as error:
        raise Transient(Reason.connect, f"the connection was lost: {_told(error)}") from error
    except Exception as error:  # a parser may raise anything at bytes that nobody foresaw
        raise Refusal(Reason.broken, f"the answer is malformed: {_told(error)}") from error


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
