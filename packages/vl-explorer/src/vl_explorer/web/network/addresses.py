"""Addresses that may be connected to.

The tables are those of IANA's special-purpose registries, written out: what the standard library calls private or
global differs between versions of Python. Of IPv6, only the part given out for the public internet is allowed, which
leaves out mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique local, link-local and multicast ones.
"""

from __future__ import annotations

import ipaddress
import re

_V4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "metadata of a cloud",
    "169.254.0.0/16": "link-local, or metadata of a cloud",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved for protocols",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "a relay of 6to4",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "255.255.255.255/32": "broadcast",
    "240.0.0.0/4": "reserved",
}
_V6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::ffff:0:0/96": "mapped from IPv4",
    "64:ff9b::/96": "translated by NAT64",
    "64:ff9b:1::/48": "translated by NAT64",
    "100::/64": "discarded",
    "2001:db8::/32": "documentation",
    "3fff::/20": "documentation",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "ff00::/8": "multicast",
}
_FORBIDDEN_V4 = tuple((ipaddress.IPv4Network(network), why) for network, why in _V4.items())
_FORBIDDEN_V6 = tuple((ipaddress.IPv6Network(network), why) for network, why in _V6.items())
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_PROTOCOLS_V6 = ipaddress.IPv6Network("2001::/23")

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


def why_forbidden(address: str, *, allow_loopback: bool = False) -> str | None:
    """Say why an address must not be connected to, or return None if it may be.

    Args:
        address: An IPv4 or IPv6 address in its usual form.
        allow_loopback: Allow 127.0.0.0/8 and ::1.

    Raises:
        ValueError: If it is no address.

    Example:
        >>> why_forbidden("169.254.169.254")
        'link-local, or metadata of a cloud'
        >>> why_forbidden("2606:4700::1111") is None
        True
    """
    parsed = ipaddress.ip_address(address)
    if allow_loopback and parsed.is_loopback and getattr(parsed, "ipv4_mapped", None) is None:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return next((why for network, why in _FORBIDDEN_V4 if parsed in network), None)
    return _forbidden_v6(parsed)


def _forbidden_v6(address: ipaddress.IPv6Address) -> str | None:
    if address.scope_id is not None:
        return "bound to an interface"
    for network, why in _FORBIDDEN_V6:
        if address in network:
            return why
    if address not in _PUBLIC_V6:
        return "not on the public internet"
    inner = [address.sixtofour] if address.sixtofour else list(address.teredo or ())
    for carried in inner:
        why_inner = why_forbidden(str(carried))
        if why_inner:
            return f"a tunnel to {carried}, {why_inner}"
    if address in _PROTOCOLS_V6 and not inner:
        return "reserved for protocols"
    return None


def is_ipv4(host: str) -> bool:
    """Return True for an IPv4 address in its usual form, False for a name.

    Raises:
        ValueError: If the last part is a number and the whole is no such address. Octal, hexadecimal, decimal and short
            forms (``0177.0.0.1``, ``0x7f.1``, ``2130706433``, ``127.1``) mean an address to some programs and another,
            or a name, to others, and nobody but an attacker writes them.

    Example:
        >>> is_ipv4("93.184.216.34"), is_ipv4("example.org")
        (True, False)
    """
    last = host.removesuffix(".").rpartition(".")[2]
    if not _NUMBER.fullmatch(last):
        return False
    ipaddress.IPv4Address(host)
    return True
