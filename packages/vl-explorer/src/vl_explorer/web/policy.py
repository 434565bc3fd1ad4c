"""Every limit that a download is held to, with conservative defaults."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

from vl_explorer.__about__ import __version__

_CONTACT = re.compile(r"(https?://[^\s()@]+\.[^\s()@]+|(mailto:)?[^\s()@:/]+@[^\s()@]+\.[^\s()@]+)")
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z_-]*(/[A-Za-z0-9._+-]+)?")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Limits of downloads, and who asks.

    Raises:
        ValueError: If a number is out of range, or the product or the contact is malformed.

    Example:
        >>> Policy(contact="https://example.org/about-our-crawler", max_pixels=1_000_000).max_redirects
        5
    """

    max_bytes: int = 10 * 2**20
    """Bytes of the longest body that is read."""
    max_seconds: float = 30.0
    """Seconds that one request may take, from the look-up of its host to the last byte."""
    max_redirects: int = 5
    """Redirects that are followed, each checked like the first address."""
    max_pixels: int = 40_000_000
    """Width times height of the largest image that is decoded."""
    per_host_interval: float = 1.0
    """Seconds between the beginnings of two requests to one host; a longer Crawl-delay of its robots.txt wins."""
    per_host_connections: int = 2
    """Requests to one host at the same time."""
    connections: int = 32
    """Requests to all hosts at the same time."""
    user_agent: str = f"vl-explorer/{__version__}"
    """Product by which robots.txt files may name the program, and its version."""
    contact: str = ""
    """Page or mail address at which whoever runs a site reaches you; without one, no downloader starts."""
    strict: bool = False
    """Take only what its site says may be used for training; by default, silence is no objection."""
    reservations: bool = True
    """Read ``/.well-known/tdmrep.json`` of each site beside its robots.txt."""
    pages: bool = True
    """Read the page that shows an image, for what it says of its images, before the image is fetched."""
    allow_loopback: bool = False
    """Let names and addresses lead to this machine. For tests, together with ``ports``."""
    ports: tuple[int, ...] = (80, 443)
    """Ports that may be connected to."""
    tries: int = 3
    """Requests for one address, where it answers 408, 429 or 5xx or refuses the connection."""
    backoff: float = 1.0
    """Seconds before the second try; they double from try to try. A Retry-After of the answer counts if longer."""
    max_wait: float = 60.0
    """Seconds of the longest wait before another try, and of the longest Crawl-delay that is followed."""
    site_lifetime: float = 6 * 3600.0
    """Seconds for which a robots.txt and a tdmrep.json are remembered."""
    site_retry: float = 600.0
    """Seconds after which a site whose robots.txt was unavailable is asked again."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, and a product or a contact that no header can carry."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in ("int", "float") and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{field.name} must be a number above 0, got {value!r}")
            if field.type == "int" and not isinstance(value, int):
                raise ValueError(f"{field.name} must be a whole number, got {value!r}")
        if not self.ports or not all(0 < port < 65536 for port in self.ports):
            raise ValueError(f"ports must be numbers from 1 to 65535, got {self.ports!r}")
        if not _PRODUCT.fullmatch(self.user_agent):
            raise ValueError(f"user_agent must be a product and a version such as 'name/1.0', got {self.user_agent!r}")
        sendable = self.contact.isascii() and self.contact.isprintable()
        if self.contact and not (sendable and _CONTACT.fullmatch(self.contact)):
            raise ValueError(f"contact must be an http(s) page or a mail address, got {self.contact!r}")

    @property
    def agent(self) -> str:
        """The product alone, by which robots.txt files may name the program."""
        return self.user_agent.partition("/")[0]

    @property
    def identity(self) -> str:
        """The User-Agent header, with the contact.

        Raises:
            ValueError: If there is no contact.
        """
        if not self.contact:
            raise ValueError(
                "contact must be a page or a mail address at which sites reach you, got ''; "
                "pass Policy(contact='you@example.org')"
            )
        return f"{self.user_agent} (+{self.contact})"
