"""Target and sender of requests: the address of a service, and the contact in ``User-Agent``."""

from __future__ import annotations

import ipaddress
import re

import httpx2

from vl_explorer.__about__ import __version__

_CONTACT = re.compile(r"[^\s@<>()]+@[^\s@<>()]+\.[^\s@<>()]+|https?://[^\s<>()]+")


def checked_address(address: str, engine: str) -> str:
    """The address of a service, to which a key may be sent.

    Raises:
        ValueError: If it is none, carries a user, a query or a fragment, or is neither ``https`` nor on this machine.
    """
    try:
        url = httpx2.URL(address)
    except (httpx2.InvalidURL, TypeError):
        raise ValueError(f"address of {engine} must be an address of the web, got {address!r}") from None
    if url.userinfo or url.query or url.fragment:
        # Not shown, because these parts may hold a key.
        raise ValueError(f"address of {engine} must have no user, query or fragment; give keys by the environment")
    if not url.host or (url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url.host))):
        raise ValueError(
            f"address of {engine} must begin with https:// (http:// on this machine alone), got {address!r}"
        )
    return address


def checked_contact(contact: str) -> str:
    """A mail address or a web page, or nothing.

    Raises:
        ValueError: If it is something else.
    """
    if contact and not (contact.isascii() and contact.isprintable() and _CONTACT.fullmatch(contact)):
        raise ValueError(f"contact must be a mail address or a web page, got {contact!r}")
    return contact


def user_agent(contact: str) -> str:
    """The header ``User-Agent``: this package with its version, and the contact where there is one."""
    return f"vl-explorer/{__version__}" + (f" ({contact})" if contact else "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
