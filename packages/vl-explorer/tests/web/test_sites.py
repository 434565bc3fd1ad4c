"""Statements of sites: robots.txt, reservations, preferences, and how long they are remembered."""

from __future__ import annotations

import asyncio
import codecs

import pytest
from explorer_hostile_web import answer, encoded, hostile_web
from vl_explorer.web.reasons import Fetched, Reason, Refusal, Refused
from vl_explorer.web.sites.opt_outs import content_usage, page_consent, robots_word, tdm_file_consent
from vl_explorer.web.sites.robots import parse_robots

PNG = encoded()
URL = "http://site.example/x"
AGENT = "vl-explorer"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["all"], None),
        (["nofollow, noarchive"], None),
        (["NOAI"], "noai"),
        (["googlebot: noindex"], None),
        (["googlebot: noindex, noai"], None),
        (["googlebot: noindex", "noml"], "noml"),
        (["vl-explorer: noimageindex"], "noimageindex"),
        (["*: noai"], "noai"),
        (["unavailable_after: 25 Jun 2027 15:00:00 PST, noai"], "noai"),
        (["unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai"], "noai"),
        (["otherbot: unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai"], None),
        (["noai, otherbot: all"], "noai"),
        (["max-image-preview: none"], None),
    ],
)
def test_words_of_robots_tags(values, expected):
    assert robots_word(values, AGENT) == expected


@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        ("", None),
        ("train-ai=n", False),
        ("train-ai=y", True),
        ("Train-AI = n", False),
        ("bots=n", False),
        ("bots=n, train-ai=y", True),
        ("train-ai=y, genai=n", False),
        ("train-ai=y;x=1, search=n", True),
        ("train-ai=maybe", None),
        ("train-ai", None),
    ],
)
def test_the_most_particular_preference_decides(preferences, expected):
    assert content_usage(preferences) is expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>noai</p>", None),
        ("<META NAME=Robots CONTENT='NoAI, nofollow'>", False),
        ("<meta name='vl-explorer' content='noml'/>", False),
        ("<meta name='otherbot' content='noai'>", None),
        ("<meta name='tdm-reservation' content='1'>", False),
        ("<meta name='tdm-reservation' content='0'>", True),
        ("<meta name='tdm-reservation' content='0, 1'>", False),
        ("<meta name='robots' content='unavailable_after: Wed, 25 Jun 2030 15:00:00 GMT, noai'>", False),
        ("<meta name='tdm-reservation' content='0'><meta name=robots content=noai>", False),
        ("<!-- <meta name='robots' content='noai'> -->", None),
        ("<meta name='robots' content", None),
        ("<![/x><meta name=robots content=noai>", False),
    ],
)
def test_words_of_pages(html, expected):
    assert page_consent(html, AGENT).given is expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ('[{"location": "/", "tdm-reservation": 1}]', False),
        ('[{"location": "*", "tdm-reservation": 1}]', False),
        ('[{"location": "/a/*.png$", "tdm-reservation": 1}]', False),
        ('[{"location": "/a/*.jpg", "tdm-reservation": 1}]', None),
        ('[{"location": "/a", "tdm-reservation": 0}]', True),
        ('[{"location": "/a/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": "1"}]', False),
        ('[{"location": "/a/b.png$", "tdm-reservation": 0}]', True),
        ('[{"location": "/a$", "tdm-reservation": 0}]', None),
        ('[{"location": "a", "tdm-reservation": 1}]', None),
        ('[{"location": "/", "tdm-reservation": 2}, 3, {}]', None),
        ('{"location": "/", "tdm-reservation": 1}', None),
        ("\ud83d no JSON", None),
    ],
)
def test_rules_of_tdm_files(rules, expected):
    assert tdm_file_consent(rules.encode("utf-8", "replace"), "/a/b.png").given is expected


def test_preferences_in_robots_follow_groups_and_paths():
    rules = parse_robots(
        "User-agent: *\nAllow: /\nContent-Usage: train-ai=n\nContent-Usage: /free/ train-ai=y # yes\n\n"
        "User-agent: otherbot\nContent-Usage: /free/ train-ai=n",
        AGENT,
    )
    assert rules.consent("http://a.example/x").given is False
    assert rules.consent("http://a.example/free/x").given is True
    for silent in ("", "User-agent: *\nDisallow: /y", "User-agent: otherbot\nContent-Usage: train-ai=y"):
        assert parse_robots(silent, AGENT).consent("http://a.example/x").given is None
    assert parse_robots("User-agent: vl-explorer\nContent-Usage: train-ai=y", AGENT).consent(URL).given is True


def test_delays_and_reach_of_robots():
    assert parse_robots("User-agent: *\nCrawl-delay: 3\nRequest-rate: 1/10", AGENT).delay() == 10
    assert parse_robots("", AGENT).delay() == 0
    with pytest.raises(Refusal, match="1,000 agents for 1,000 lines"):
        parse_robots("User-agent: a\n" * 1000 + "Disallow: /\n" * 1000, AGENT)


def fetch(pages, *urls, wait=0.0, **settings):
    """Outcomes of some URLs, one after another, and what was asked for."""

    async def run():
        async with hostile_web(pages, **settings) as downloader:
            found = []
            for url in urls:
                found.append(await downloader.fetch(url))
                downloader.clock.time += wait
            return found, [request for request, _ in downloader.web.requests], downloader.clock.waits

    return asyncio.run(run())


def test_a_site_is_asked_for_its_rules_once():
    pages = {"site.example/x": answer(PNG), "site.example/y": answer(PNG)}
    _, requests, waits = fetch(pages, URL, "http://site.example/y", URL)
    names = [request.partition("/")[2] for request in requests]
    assert names == ["robots.txt", ".well-known/tdmrep.json", "x", "y", "x"]
    assert sum(waits) == pytest.approx(4)  # one second between any two of five


def test_rules_are_asked_for_again_after_their_lifetime_and_sooner_after_a_failure():
    pages = {"site.example/robots.txt": [answer(status=503), answer(b"")], "site.example/x": answer(PNG)}
    (first, second, third), _, _ = fetch(pages, URL, URL, URL, wait=301, site_retry=600)
    assert first.reason == second.reason == "robots_unavailable"
    assert 298 < second.retry_after < 300 < first.retry_after <= 600
    assert isinstance(third, Fetched)
    pages = {
        "site.example/robots.txt": [answer(), answer(b"User-agent: *\nDisallow: /")],
        "site.example/x": answer(PNG),
    }
    (first, second), _, _ = fetch(pages, URL, URL, wait=6 * 3600)
    assert isinstance(first, Fetched)
    assert second.reason is Reason.robots


def test_a_crawl_delay_is_kept():
    pages = {"site.example/robots.txt": answer(b"User-agent: *\nCrawl-delay: 20"), "site.example/x": answer(PNG)}
    _, _, waits = fetch(pages, URL, URL, URL, reservations=False)
    assert waits == pytest.approx([1, 20, 20])


CONSENT = {
    "silence": ({}, {}, False),
    "header": ({}, {"TDM_Reservation": "0"}, True),
    "preference": ({}, {"Content_Usage": "train-ai=y"}, True),
    "yes and no": ({}, {"Content_Usage": "train-ai=y", "X_Robots_Tag": "noai"}, False),
    "robots": ({"site.example/robots.txt": answer(b"User-agent: *\nContent-Usage: train-ai=y")}, {}, True),
    "file": (
        {"site.example/.well-known/tdmrep.json": answer(b'[{"location": "/", "tdm-reservation": 0}]')},
        {},
        True,
    ),
    "file that is unavailable": ({"site.example/.well-known/tdmrep.json": answer(status=500)}, {}, False),
}


@pytest.mark.parametrize(("site", "headers", "expected"), CONSENT.values(), ids=CONSENT)
def test_silence_is_no_consent_under_the_strict_policy(site, headers, expected):
    pages = {**site, "site.example/x": answer(PNG, **headers)}
    (found,), _, _ = fetch(pages, URL, strict=True)
    assert isinstance(found, Fetched) == expected
    assert expected or found.reason is Reason.opt_out


@pytest.mark.parametrize(
    ("page", "strict", "expected"),
    [
        (answer(b"<html>"), False, None),
        (answer(b"<html>"), True, "opt_out"),
        (answer(b"<meta name=robots content=noai>"), False, "opt_out"),
        (answer(b"<meta name=tdm-reservation content=0>"), True, None),
        *(
            (answer("<p>\u00e9</p><meta name=robots content=noai>".encode(encoding)), False, "opt_out")
            for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be")
        ),
        (answer(codecs.BOM_UTF16_BE + "<meta name=robots content=noai>".encode("utf-16-be")), False, "opt_out"),
        (answer(b"<html>", X_Robots_Tag="noai"), False, "opt_out"),
        (answer(b"<html>", TDM_Reservation="1, 1"), False, "opt_out"),
        (answer(b"<html>", TDM_Reservation="0, 0"), True, None),
        (answer(b"<html>", TDM_Reservation="0, 1"), False, "opt_out"),
        (answer(b"<html>" + b"x" * 600_000), False, None),
        (answer(status=404), False, "status"),
    ],
)
def test_pages_are_asked_for_their_meta_tags(page, strict, expected):
    async def run():
        async with hostile_web({"site.example/page": page}, strict=strict) as downloader:
            return await downloader.check_page("http://site.example/page")

    found = asyncio.run(run())
    assert (found.reason if isinstance(found, Refused) else found) == expected
