"""Bring URLs that strangers wrote into one form, or refuse them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urljoin

import httpx2

from vl_explorer.web.network.addresses import is_ipv4
from vl_explorer.web.reasons import Reason, Refusal

_LONGEST = 8192
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def normalize(url: str, *, ports: tuple[int, ...] = (80, 443)) -> httpx2.URL:
    """Return the one form of a URL: IDNA host, dots resolved, percent-encoded, no fragment.

    Args:
        url: Any string.
        ports: The ports that may be named.

    Raises:
        Refusal: With reason ``scheme`` if it is neither http nor https, else ``url``: control characters, credentials,
            a malformed host, a port that is not allowed, more than 8192 characters.

    Example:
        >>> str(normalize("HTTP://Bücher.example:80/a/../b c#d"))
        'http://xn--bcher-kva.example/b%20c'
    """
    url = _escaped(url.strip(" "))
    scheme = _SCHEME.match(url)
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise Refusal(Reason.scheme, f"the scheme must be http or https, got {scheme[1]}")
    if not scheme or not url[scheme.end() :].startswith("//"):
        raise Refusal(Reason.url, f"a URL begins with http:// or https://, got {url[:40]!r}")
    try:
        parsed = httpx2.URL(url)
        if parsed.userinfo:
            raise Refusal(Reason.url, "a URL with credentials is not fetched")
        host = _host(parsed.raw_host.decode())
        parsed = parsed.copy_with(host=host, raw_path=parsed.raw_path, fragment=None)
    # idna raises errors of its own, all of them ValueErrors.
    except (httpx2.InvalidURL, ValueError) as error:
        raise Refusal(Reason.url, f"malformed URL: {error}") from None
    if port_of(parsed) not in ports:
        raise Refusal(Reason.url, f"port {port_of(parsed)} is not among {', '.join(map(str, ports))}")
    return parsed


def join(base: httpx2.URL, location: bytes, *, ports: tuple[int, ...] = (80, 443)) -> httpx2.URL:
    """Return the normalized URL to which a Location header leads.

    Bytes that are not UTF-8 are percent-encoded as they are, like a browser does; in a host they are refused.

    Raises:
        Refusal: As `normalize`.
    """
    text = _escaped(location.decode("utf-8", "surrogateescape").strip(" "))
    try:
        absolute = urljoin(str(base), text)
    except ValueError as error:
        raise Refusal(Reason.url, f"malformed Location: {error}") from None
    return normalize(absolute, ports=ports)


def port_of(url: httpx2.URL) -> int:
    """Return the port that a URL names or its scheme stands for."""
    default = 443 if url.scheme == "https" else 80
    return default if url.port is None else url.port


def host_of(url: httpx2.URL) -> str:
    """Return the host in ASCII, an IPv6 address without brackets."""
    return url.raw_host.decode()


def origin_of(url: httpx2.URL) -> httpx2.URL:
    """Return scheme, host and port of a URL, with the path ``/``."""
    return url.copy_with(raw_path=b"/")


def _escaped(text: str) -> str:
    if len(text) > _LONGEST:
        raise Refusal(Reason.url, f"a URL has at most {_LONGEST:,} characters, got {len(text):,}")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text) or "\\" in text:
        raise Refusal(Reason.url, "a URL holds no control characters and no backslash")
    # Lone surrogates stand for bytes that were no UTF-8.
    return re.sub("[\udc80-\udcff]", lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)


def _host(host: str) -> str:
    if ":" in host:
        if "%" in host:
            raise ValueError("an address bound to an interface is refused")
        return str(ipaddress.IPv6Address(host))
    if is_ipv4(host):
        return host
    name = host.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(f"{host[:60]!r} is no host name")
    return name
