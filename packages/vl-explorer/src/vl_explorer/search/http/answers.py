"""One request to a service, and its answer under limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from vl_explorer.search.http.keys import Key


class NoAnswerError(Exception):
    """No answer came; the message says why."""


class BadAnswerError(Exception):
    """An answer came that is not read; the message says why."""


@dataclass(frozen=True)
class Call:
    """Parameters and headers of one request."""

    params: Mapping[str, str]
    """Parameters of the address."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers beyond those of every request."""


@dataclass(frozen=True)
class Answer:
    """Answer to a request, as text without the key."""

    status: int
    """HTTP status."""
    retry_after: str | None
    """The header of that name."""
    body: str
    """The body, with asterisks where the service repeats the key."""


async def ask(
    client: httpx2.AsyncClient,
    address: str,
    call: Call,
    *,
    key: Key | None,
    max_bytes: int,
    max_seconds: float,
) -> Answer:
    """Send a request and read its answer, neither following redirects nor using the client's credentials.

    Raises:
        BadAnswerError: If the body is larger than ``max_bytes``, compressed against the request, or no UTF-8.
        NoAnswerError: If the connection fails or ``max_seconds`` pass before the answer is complete.
    """
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **call.headers}
    request = client.build_request("GET", address, params=dict(call.params), headers=headers, timeout=max_seconds)
    try:
        async with asyncio.timeout(max_seconds):
            response = await client.send(request, stream=True, follow_redirects=False, auth=None)
            try:
                body = await _read(response, max_bytes)
            finally:
                await response.aclose()
    except TimeoutError:
        raise NoAnswerError(f"no complete answer within {max_seconds:g} seconds") from None
    # Without its cause, which holds the request and with it the key.
    except httpx2.RequestError as error:
        raise NoAnswerError(_said(type(error).__name__, str(error), key)) from None
    try:
        decoded = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadAnswerError("the answer must be UTF-8") from None
    return Answer(
        status=response.status_code,
        retry_after=response.headers.get("retry-after"),
        body=decoded if key is None else key.redact(decoded),
    )


async def _read(response: httpx2.Response, max_bytes: int) -> bytes:
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        # Its size is not known before it is unpacked.
        raise BadAnswerError(f"the answer must not be compressed, got {coding[:40]!r}")
    declared = response.headers.get("content-length", "")
    parts, size = [], int(declared) if declared.isdigit() and len(declared) < 20 else 0
    if size <= max_bytes:
        size = 0
        async for part in response.aiter_raw():
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                break
    if size > max_bytes:
        raise BadAnswerError(f"the answer must have at most {max_bytes:,} bytes, got more")
    return b"".join(parts)


def _said(kind: str, message: str, key: Key | None) -> str:
    words = f"{kind}: {message}" if message else kind
    return words if key is None else key.redact(words)
