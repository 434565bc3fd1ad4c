"""Everything that a server may do ends as bytes or as a reason; no forbidden address is ever connected to."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from explorer_hostile_web import HOSTS, answer, drip, encoded, hostile_web, png_bomb, to
from PIL import ExifTags, Image
from vl_explorer.web.images import decode
from vl_explorer.web.network.addresses import why_forbidden
from vl_explorer.web.reasons import Fetched, Refused

PNG = encoded()
ROBOTS = "site.example/robots.txt"
TDM = "site.example/.well-known/tdmrep.json"
IMAGE = "site.example/x"
GIF = encoded("GIF")
LONG = b"User-agent: *\nDisallow: /x\n" + b"# nothing\n" * 1_000_000
MANY_AGENTS = b"".join(b"User-agent: b%d\n" % i for i in range(15_000)) + b"Disallow: /y\n" * 20_000


def exif(orientation):
    found = Image.Exif()
    found[ExifTags.Base.Orientation] = orientation
    return found


def said(**headers):
    """An image whose answer says something."""
    return {IMAGE: answer(PNG, Content_Type="image/png", **headers)}


def led(location, **pages):
    """A redirect."""
    return {IMAGE: to(location), **pages}


def robots(text, status=200, **headers):
    body = text if isinstance(text, bytes) else text.encode()
    return {ROBOTS: answer(body, status, **headers), IMAGE: answer(PNG)}


CASES = {
    # Where a redirect may lead
    "to loopback": (led("http://127.0.0.1/a"), "forbidden_address"),
    "to a short form": (led("http://127.1/"), "url"),
    "to IPv6 loopback": (led("http://[::1]/a"), "forbidden_address"),
    "to metadata": (led("http://169.254.169.254/latest/meta-data"), "forbidden_address"),
    "to Azure's metadata": (led("http://168.63.129.16/"), "forbidden_address"),
    "to a carrier's net": (led("http://100.64.0.1/"), "forbidden_address"),
    "to a benchmark net": (led("//198.18.0.1/"), "forbidden_address"),
    "to a mapped address": (led("http://[::ffff:10.0.0.1]/"), "forbidden_address"),
    "to NAT64": (led("http://[64:ff9b::7f00:1]/"), "forbidden_address"),
    "to local NAT64": (led("http://[64:ff9b:1::1]/"), "forbidden_address"),
    "to unspecified": (led("http://0.0.0.0/"), "forbidden_address"),
    "to a decimal": (led("http://2130706433/"), "url"),
    "to an octal": (led("http://0177.0.0.01/"), "url"),
    "to a hexadecimal": (led("http://0x7f.1/"), "url"),
    "to a name inside": (led("http://inside.example/"), "forbidden_address"),
    "to a name in a carrier's net": (led("http://carrier.example/"), "forbidden_address"),
    "to a name behind NAT64": (led("http://nat64.example/"), "forbidden_address"),
    "to a mapped name": (led("http://mapped.example/"), "forbidden_address"),
    "to Teredo": (led("http://teredo.example/"), "forbidden_address"),
    "to 6to4": (led("http://sixtofour.example/"), "forbidden_address"),
    "to one private of two": (led("http://mixed.example/"), "forbidden_address"),
    "to a zone": (led("http://[fe80::1%25eth0]/"), "url"),
    "to full-width digits": (led("http://１２７.0.0.1/"), "url"),
    "to five numbers": (led("http://1.2.3.4.5/"), "url"),
    "to a file": (led("file:///etc/passwd"), "scheme"),
    "to data": (led("data:image/png;base64,iVBORw0KGgo="), "scheme"),
    "to ftp": (led("ftp://site.example/x"), "scheme"),
    "to gopher": (led("gopher://127.0.0.1:6379/_x"), "scheme"),
    "to a port": (led("http://site.example:6379/"), "url"),
    "to credentials": (led("http://me:secret@site.example/"), "url"),
    "to a backslash": (led("http://site.example\\@127.0.0.1/"), "url"),
    "to no UTF-8 in a host": (led(b"http://\xff\xfe.example/"), "url"),
    "to no UTF-8 in a path": (led(b"/\xff.png", **{"site.example/%FF.png": answer(PNG)}), "RGB"),
    "to a long URL": (led("/" + "a" * 9000), "url"),
    "to nowhere": ({IMAGE: answer(status=302)}, "status"),
    "to another host": (led("http://other.example/y", **{"other.example/y": answer(PNG)}), "RGB"),
    "to IPv6": (led("http://six.example/y", **{"six.example/y": answer(PNG)}), "RGB"),
    "to itself": (led("/x"), "redirects"),
    "in a circle": ({IMAGE: to("/y"), "site.example/y": to("http://site.example:80/a/../x#z")}, "redirects"),
    "for ever": ({f"site.example/{'x' * n}": to("/" + "x" * (n + 1)) for n in range(1, 20)}, "redirects"),
    "to what robots disallow": (
        led("http://other.example/y", **{"other.example/robots.txt": answer(b"User-agent: *\nDisallow: /")}),
        "robots",
    ),
    # Transfers
    "slow headers": ({IMAGE: drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")}, "timeout"),
    "slow body": ({IMAGE: drip(b"HTTP/1.1 200 OK\r\n\r\n" + PNG[:8], b"\0")}, "timeout"),
    "informed for ever": ({IMAGE: drip(b"", b"HTTP/1.1 103 X\r\n\r\n")}, "timeout"),
    "10 GB declared": ({IMAGE: answer(PNG, Content_Length=str(10 * 2**30))}, "too_large"),
    "200 kB sent": ({IMAGE: b"HTTP/1.1 200 OK\r\n\r\n" + PNG + bytes(200_000)}, "too_large"),
    "less than declared": ({IMAGE: answer(PNG, Content_Length="5000")}, "content_length"),
    "a negative length": ({IMAGE: answer(PNG, Content_Length="-1")}, "broken"),
    "gzip bomb": ({IMAGE: answer(gzip.compress(bytes(10**6)), Content_Encoding="gzip")}, "encoding"),
    "unknown coding": ({IMAGE: answer(PNG, Content_Encoding="identity, br")}, "encoding"),
    "wrong chunks": ({IMAGE: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"}, "broken"),
    "header flood": ({IMAGE: b"HTTP/1.1 200 OK\r\n" + b"X-A: bbbbbbbbbbbbb\r\n" * 20_000 + b"\r\n"}, "broken"),
    "no HTTP": ({IMAGE: b"SSH-2.0-OpenSSH_9.9\r\n\r\n"}, "broken"),
    "nothing at all": ({IMAGE: b""}, "broken"),
    "204": ({IMAGE: answer(status=204)}, "status"),
    "206": ({IMAGE: answer(PNG, 206)}, "status"),
    "404": ({}, "status"),
    "500 for ever": ({IMAGE: answer(status=500)}, "status"),
    "500, then 200": ({IMAGE: [answer(status=500), answer(PNG)]}, "RGB"),
    "429, then 200": ({IMAGE: [answer(status=429, Retry_After="7"), answer(PNG)]}, "RGB"),
    "429 for an hour": ({IMAGE: answer(status=429, Retry_After="3600")}, "throttled"),
    "503 until 2099": ({IMAGE: answer(status=503, Retry_After="Sat, 28 Feb 2099 00:00:00 GMT")}, "throttled"),
    "set-cookie": ({IMAGE: answer(PNG, Set_Cookie="track=you; Path=/")}, "RGB"),
    "empty body": ({IMAGE: answer()}, "broken"),
    # What the bytes are
    "HTML named .jpg": ({IMAGE: answer(b"<html><body>404", Content_Type="image/jpeg")}, "not_image"),
    "declared as HTML": ({IMAGE: answer(PNG, Content_Type="text/html; charset=utf-8")}, "not_image"),
    "declared as another": ({IMAGE: answer(PNG, Content_Type="image/jpeg")}, "RGB"),
    "SVG with a script": ({IMAGE: answer(b"<svg onload='alert(1)'/>", Content_Type="image/svg+xml")}, "not_image"),
    "SVG as PNG": ({IMAGE: answer(b"<?xml version='1.0'?><svg/>", Content_Type="image/png")}, "not_image"),
    "GIF and script": ({IMAGE: answer(b"GIF89a/*" + GIF[8:] + b"*/=1;alert(1)//")}, "not_image"),
    "GIF with a script after it": ({IMAGE: answer(GIF + b"<ScRiPt>alert(1)</script>")}, "not_image"),
    "JPEG and script": ({IMAGE: answer(b"\xff\xd8\xff\xe0/*" + encoded("JPEG")[6:])}, "not_image"),
    "JPEG and PHP": ({IMAGE: answer(encoded("JPEG", comment=b"<?php system($_GET[0]);"))}, "not_image"),
    "PNG and PDF": ({IMAGE: answer(PNG + b"%PDF-1.7")}, "not_image"),
    "PNG and ZIP": ({IMAGE: answer(PNG + b"PK\x05\x06" + bytes(18))}, "not_image"),
    "TIFF": ({IMAGE: answer(encoded("TIFF"))}, "not_image"),
    "PNG bomb": ({IMAGE: answer(png_bomb())}, "pixels"),
    "a smaller PNG bomb": ({IMAGE: answer(png_bomb(2000, 2000))}, "pixels"),
    "GIF bomb": ({IMAGE: answer(GIF[:6] + b"\xff\x1f\xff\x1f" + GIF[10:])}, "pixels"),
    "WebP bomb": ({IMAGE: answer(encoded("WEBP", size=(1001, 1000)))}, "pixels"),
    "JPEG bomb": ({IMAGE: answer(encoded("JPEG", size=(1001, 1000)))}, "pixels"),
    "JPEG of 200 scans": ({IMAGE: answer(encoded("JPEG") + b"\xff\xda" * 200)}, "broken"),
    "cut PNG": ({IMAGE: answer(encoded(size=(64, 64), color=(9, 8, 7))[:60])}, "broken"),
    "cut JPEG": ({IMAGE: answer(encoded("JPEG", size=(64, 64))[:-80])}, "broken"),
    "cut WebP": ({IMAGE: answer(encoded("WEBP", size=(64, 64))[:-20])}, "broken"),
    "cut AVIF": ({IMAGE: answer(encoded("AVIF", size=(64, 64))[:-20])}, "broken"),
    "magic alone": ({IMAGE: answer(PNG[:8])}, "broken"),
    "CMYK": ({IMAGE: answer(encoded("JPEG", "CMYK"))}, "RGB"),
    "16 bits": ({IMAGE: answer(encoded("PNG", "I;16", color=200))}, "L"),
    "EXIF on its side": ({IMAGE: answer(encoded("JPEG", size=(8, 4), exif=exif(6)))}, (4, 8)),
    "animated": ({IMAGE: answer(encoded("GIF", save_all=True, append_images=[Image.new("RGB", (4, 3), 255)]))}, "RGB"),
    "BMP": ({IMAGE: answer(encoded("BMP"))}, "RGB"),
    "AVIF": ({IMAGE: answer(encoded("AVIF"))}, "RGB"),
    # robots.txt
    "robots disallow": (robots("User-agent: *\nDisallow: /x"), "robots"),
    "robots disallow us": (robots("User-agent: *\nAllow: /\n\nUser-agent: VL-Explorer\nDisallow: /"), "robots"),
    "robots disallow others": (robots("User-agent: otherbot\nDisallow: /"), "RGB"),
    "robots 403": (robots("", 403), "RGB"),
    "robots 503": (robots("", 503), "robots_unavailable"),
    "robots 429": (robots("", 429, Retry_After="9"), "throttled"),
    "robots time-out": ({ROBOTS: drip(b"", b"H"), IMAGE: answer(PNG)}, "robots_unavailable"),
    "robots malformed": ({ROBOTS: b"no HTTP\r\n\r\n", IMAGE: answer(PNG)}, "robots_unavailable"),
    "robots compressed": (robots(gzip.compress(b""), Content_Encoding="gzip"), "robots_unavailable"),
    "robots of 10 MB": (robots(LONG), "robots"),
    "robots of 15,000 agents": (robots(MANY_AGENTS), "robots_unavailable"),
    "robots of no text": (robots(bytes(range(256)) * 10), "RGB"),
    "robots elsewhere": ({**robots(""), ROBOTS: to("http://other.example/robots.txt")}, "RGB"),
    "robots inside": ({**robots(""), ROBOTS: to("http://inside.example/robots.txt")}, "forbidden_address"),
    "robots in a circle": ({**robots(""), ROBOTS: to("/robots.txt")}, "robots_unavailable"),
    "a day between requests": (robots("User-agent: *\nCrawl-delay: 86400"), "robots"),
    # Opt-outs
    "noai": (said(X_Robots_Tag="noai"), "opt_out"),
    "noimageai": (said(X_Robots_Tag="max-snippet: 3, NoImageAI"), "opt_out"),
    "noindex": (said(X_Robots_Tag="noindex"), "opt_out"),
    "noimageindex": (said(X_Robots_Tag="noimageindex, nofollow"), "opt_out"),
    "noml": (said(X_Robots_Tag="noml"), "opt_out"),
    "none": (said(X_Robots_Tag="none"), "opt_out"),
    "noai for us": (said(X_Robots_Tag="vl-explorer: noai"), "opt_out"),
    "noai for others": (said(X_Robots_Tag="otherbot: noai"), "RGB"),
    "noai on the way": ({IMAGE: answer(status=302, Location="/y", X_Robots_Tag="noai")}, "opt_out"),
    "TDM header": (said(TDM_Reservation="1"), "opt_out"),
    "TDM header allows": (said(TDM_Reservation="0"), "RGB"),
    "Content-Usage": (said(Content_Usage="bots=y, train-ai=n"), "opt_out"),
    "Content-Usage of search": (said(Content_Usage="search=n"), "RGB"),
    "Content-Usage in robots": (robots("User-agent: *\nContent-Usage: /x train-ai=n\nAllow: /"), "opt_out"),
    "TDM file": (
        {**said(), TDM: answer(b'[{"location": "/x*", "tdm-reservation": 1, "tdm-policy": "https://a.example"}]')},
        "opt_out",
    ),
    "TDM file of another path": ({**said(), TDM: answer(b'[{"location": "/y", "tdm-reservation": 1}]')}, "RGB"),
    "TDM file malformed": ({**said(), TDM: answer(b"[" * 100_000)}, "RGB"),
}

STARTS = {
    "not a URL": ("x.png", "url"),
    "no host": ("http:///x", "url"),
    "control characters": ("http://site.example/x\r\nX-Injected: 1", "url"),
    "a lone surrogate": ("http://site.example/\ud800", "url"),
    "a null": ("http://site.example/\0", "url"),
    "javascript": ("javascript:alert(1)", "scheme"),
    "this machine": ("http://localhost/", "dns"),
    "no such host": ("http://nowhere.example/x", "dns"),
    "a host that is down": ("http://down.example/x", "connect"),
    "no TLS there": ("https://site.example/x", "tls"),
    "a dotted label": ("http://site..example/x", "url"),
    "path traversal": ("http://site.example/../../../etc/passwd", "status"),
    "encoded traversal": ("http://site.example/%2e%2e%2f%2e%2e%2fetc/x", "status"),
    "bytes that are no UTF-8": ("http://site.example/\udcff\udcfe.png", "status"),
    "a blocked host": ("http://site.example/blocked", "blocked"),
    "slow DNS": ("http://slowdns.example/", "robots_unavailable"),
}


async def outcome(pages, url="http://site.example/x", max_seconds=20.0):
    """Outcome of a fetch, and what it decodes to; then the loop goes on with another host."""
    pages = {**pages, "good.example/x": answer(PNG)}
    blocked = lambda found: "on a list" if found.endswith("/blocked") else None  # noqa: E731
    async with hostile_web(pages, blocked=blocked, max_seconds=max_seconds) as downloader:
        found = await downloader.fetch(url)
        after = await downloader.fetch("http://good.example/x")
        assert isinstance(after, Fetched)
        addresses = {address for address, _ in downloader.network.connects}
        assert addresses <= set(HOSTS.values())
        assert all(why_forbidden(address) is None for address in addresses)
        assert {port for _, port in downloader.network.connects} <= {80, 443}
        assert not any(b"\r\ncookie:" in head.lower() for _, head in downloader.web.requests)
        return found, decode(found, downloader.policy) if isinstance(found, Fetched) else found


def check(found, expected):
    """Compare an outcome with a reason, or with the mode or the size of an image."""
    result, decoded = found
    if isinstance(decoded, Refused):
        assert (decoded.reason, decoded.detail) == (expected, decoded.detail or "a detail")
        assert decoded.detail.isprintable()
    else:
        assert expected in (decoded.mode, decoded.size)
        assert not {"set-cookie", "content-disposition"} & set(result.headers)


@pytest.mark.parametrize(("pages", "expected"), CASES.values(), ids=CASES)
def test_every_answer_has_its_outcome(pages, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slow = any(callable(page) for page in pages.values())
    check(asyncio.run(outcome(pages, max_seconds=0.7 if slow else 20.0)), expected)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("url", "expected"), STARTS.values(), ids=STARTS)
def test_every_url_has_its_outcome(url, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(asyncio.run(outcome({}, url, 0.7 if "slow" in url else 20.0)), expected)
    assert not list(tmp_path.iterdir())
