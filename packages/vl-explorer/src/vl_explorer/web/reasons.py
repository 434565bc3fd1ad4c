"""Outcome of a URL: its bytes, or the reason for which there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Reason(StrEnum):
    """Codes of refusals, as the store keeps them and ``vl-explorer retry --reason`` takes them."""

    dns = "dns"
    """The host has no address, or its look-up failed."""
    timeout = "timeout"
    """The request was not done in time."""
    connect = "connect"
    """The connection was refused or lost."""
    tls = "tls"
    """The certificate or the handshake was not accepted."""
    forbidden_address = "forbidden_address"
    """The host is, or has among its addresses, one that is not on the public internet."""
    redirects = "redirects"
    """The redirects are too many or go in a circle."""
    robots = "robots"
    """The site's robots.txt disallows it."""
    robots_unavailable = "robots_unavailable"
    """The site's robots.txt could not be read, which disallows everything for a while."""
    opt_out = "opt_out"
    """The site or the page reserves its content, or does not say that it may be used where that is asked for."""
    status = "status"
    """The answer's status is no success."""
    throttled = "throttled"
    """The site asks for fewer requests."""
    too_large = "too_large"
    """The body is longer than the limit."""
    content_length = "content_length"
    """The body ended before its declared length."""
    encoding = "encoding"
    """The body is compressed, though it was asked for as it is."""
    not_image = "not_image"
    """The body is no image of a known format, or is something else at the same time."""
    pixels = "pixels"
    """The image has more pixels than the limit."""
    broken = "broken"
    """The answer or the image is damaged, cut short or empty."""
    scheme = "scheme"
    """The URL is neither http nor https."""
    url = "url"
    """The URL is malformed, has credentials, or a port that is not allowed."""
    quota = "quota"
    """The store is full."""
    blocked = "blocked"
    """A block list or a filter holds it."""


class Refusal(Exception):
    """Raised inside the room; `Downloader` turns it into `Refused`.

    Attributes:
        reason: The code.
        detail: One line for a person.
        retry_after: Seconds after which another try makes sense, 0 if unknown.
    """

    def __init__(self, reason: Reason, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(reason, detail, retry_after)
        self.reason, self.retry_after = reason, retry_after
        # What a stranger's server said may hold anything, and may be long.
        self.detail = "".join(letter if letter.isprintable() else "?" for letter in detail)[:300]

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Transient(Refusal):
    """One that another try may turn into an answer."""


@dataclass(frozen=True)
class Refused:
    """A URL that was not fetched."""

    url: str
    """The URL as it was asked for."""
    reason: Reason
    """The code of the reason."""
    detail: str
    """One line for a person."""
    retry_after: float = 0.0
    """Seconds after which another try makes sense, 0 if unknown."""


@dataclass(frozen=True)
class Fetched:
    """A URL that was fetched."""

    url: str
    """The URL as it was asked for."""
    final_url: str
    """The normalized URL that answered, after redirects."""
    body: bytes = field(repr=False)
    """The bytes, as they were sent."""
    content_type: str
    """Type that the bytes have, whatever was declared, such as ``image/png``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that say where the image comes from and how it may be used; names are in lower case."""
