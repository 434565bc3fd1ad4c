"""Addresses that may be connected to, and the one form of a URL."""

from __future__ import annotations

import httpx2
import pytest
from vl_explorer.web.network.addresses import is_ipv4, why_forbidden
from vl_explorer.web.reasons import Refusal
from vl_explorer.web.urls import join, normalize

FORBIDDEN = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.255.255.255": "private",
    "100.64.0.0": "carrier",
    "100.100.100.200": "carrier",
    "100.127.255.255": "carrier",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "metadata",
    "169.254.169.254": "metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "protocols",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.19.255.255": "benchmarks",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::ffff:8.8.8.8": "mapped",
    "::ffff:10.0.0.1": "mapped",
    "::8.8.8.8": "not on the public internet",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1:2::1": "NAT64",
    "100::1": "discarded",
    "2001:2::1": "protocols",
    "2001:20::1": "protocols",
    "2001:db8::1": "documentation",
    "3fff:fff::1": "documentation",
    "2002:a00:1::1": "a tunnel to 10.0.0.1, private",
    "2001:0:808:808:8000:63bf:3fff:fdd2": "a tunnel to 192.0.2.45, documentation",
    "2001:0:a00:1:8000:63bf:f7f7:f7f7": "a tunnel to 10.0.0.1, private",
    "4000::1": "not on the public internet",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fe80::1%eth0": "bound to an interface",
    "ff02::1": "multicast",
}
ALLOWED = (
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.32.0.1",
    "192.0.1.1",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:800::200e",
    "2002:808:808::1",
    "2001:4860:4860::8888",
)


@pytest.mark.parametrize(("address", "why"), FORBIDDEN.items())
def test_addresses_that_are_not_public_are_forbidden(address, why):
    assert why in why_forbidden(address)
    assert (why_forbidden(address, allow_loopback=True) is None) == ("loopback" in why)


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_allowed(address):
    assert why_forbidden(address) is None


def test_only_one_form_of_an_ipv4_address_is_one():
    assert is_ipv4("8.8.8.8")
    assert not is_ipv4("8.8.8.8.example")
    for other in (
        "0177.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "1.2.3.4.5",
        "256.1.1.1",
        "a.1",
        "0x",
    ):
        with pytest.raises(ValueError, match=r".+"):
            is_ipv4(other)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Site.Example", "http://site.example/"),
        (" http://site.example/a ", "http://site.example/a"),
        ("http://site.example:80/", "http://site.example/"),
        ("https://site.example:443/?q=a b", "https://site.example/?q=a%20b"),
        ("http://site.example./a", "http://site.example/a"),
        ("http://site.example/a/./b/../c#part", "http://site.example/a/c"),
        ("http://site.example/../../etc", "http://site.example/etc"),
        ("http://site.example/é%20%zz", "http://site.example/%C3%A9%20%zz"),
        ("http://Bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[2606:4700:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://site.example/\udcff", "http://site.example/%FF"),
    ],
)
def test_urls_come_into_one_form(url, expected):
    assert str(normalize(url)) == expected
    assert str(normalize(expected)) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "url: a URL begins with http"),
        ("//site.example/", "url: a URL begins with http"),
        ("http:site.example", "url: a URL begins with http"),
        ("ftp://site.example/", "scheme: .* got ftp"),
        ("view-source:http://site.example/", "scheme"),
        ("http://", "url: "),
        ("http://:80/", "url: "),
        ("http://a:b@site.example/", "url: .*credentials"),
        ("http://:@site.example/", "url: .*credentials"),
        ("http://site.example:0/", "url: port 0"),
        ("http://site.example:99999/", "url: port 99999"),
        ("http://site.example:8080/", "url: port 8080 is not among 80, 443"),
        ("http://site.example:x/", "url: malformed"),
        ("http://site.example/\x7f", "url: .*control"),
        ("http://site.example\t/", "url: .*control"),
        ("http://site.example\\.other.example/", "url: .*backslash"),
        ("http://-site.example/", "url: .*no host name"),
        ("http://site%2eexample/", "url: .*no host name"),
        ("http://" + "a." * 130 + "example/", "url: "),
        ("http://" + "a" * 64 + ".example/", "url: "),
        ("http://[::1/", "url: malformed"),
        ("http://[v1.a]/", "url: malformed"),
        ("http://xn--\u00e9.example/", "url: malformed"),
        ("http://site.example/" + "a" * 9000, "url: .*at most 8,192"),
    ],
)
def test_malformed_urls_are_refused(url, words):
    with pytest.raises(Refusal, match=words):
        normalize(url)


def test_locations_are_relative_to_where_they_were_sent_from():
    base = httpx2.URL("https://site.example/a/b?c")
    assert str(join(base, b"../d")) == "https://site.example/d"
    assert str(join(base, b"?e")) == "https://site.example/a/b?e"
    assert str(join(base, b"//other.example/f")) == "https://other.example/f"
    assert str(join(base, "/é".encode())) == "https://site.example/%C3%A9"
    assert str(join(base, b"/\xe9")) == "https://site.example/%E9"
    assert str(join(base, b"http://site.example:8000/", ports=(8000,))) == "http://site.example:8000/"
    for location in (b"http://[", b"mailto:a@b.example", b"/\r\nX: y"):
        with pytest.raises(Refusal):
            join(base, location)
