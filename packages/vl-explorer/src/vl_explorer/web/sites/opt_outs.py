"""Statements of a site on the use of its content: headers, words of meta tags, reservations.

Three answers are possible, yes, no and silence, and the strict policy takes only the first. Sources: X-Robots-Tag and
``<meta name="robots">`` with noai, noimageai, noindex, noimageindex, noml and none; the TDM reservation protocol
(header, meta tag, ``/.well-known/tdmrep.json``); Content-Usage of the IETF's AI preferences.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html.parser import HTMLParser

from vl_explorer.web.network.transfers import Answer

WORDS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "noml", "none"})
"""Words of robots tags that are taken for a no."""

# From the general to the particular; the most particular one that is named decides.
_USES = (("bots", "all"), ("tdm",), ("ai",), ("train-ai",), ("train-genai", "genai"))

# What else stands before a colon, such as the hours of a date, names no agent.
_AGENT = re.compile(r"[a-z][a-z0-9_-]*")

# Directives that have a colon of their own, and are no names of agents.
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


@dataclass(frozen=True)
class Consent:
    """Consent to training on content, or its refusal, and the source that says so."""

    given: bool | None
    """None if nothing is said."""
    source: str = ""
    """The header, tag or file that says it."""


def combined(consents: Iterable[Consent]) -> Consent:
    """Return the first no, else the first yes, else silence."""
    known = [consent for consent in consents if consent.given is not None]
    return next((consent for consent in known if not consent.given), known[0] if known else Consent(None))


def header_consent(answer: Answer, agent: str) -> Consent:
    """Consent by the headers of an answer: X-Robots-Tag, TDM-Reservation, Content-Usage."""
    word = robots_word(answer.values("x-robots-tag"), agent)
    return combined(
        [
            Consent(False if word else None, f"X-Robots-Tag: {word}"),
            Consent(_reserved(answer.header("tdm-reservation")), "the header TDM-Reservation"),
            Consent(content_usage(answer.header("content-usage")), "the header Content-Usage"),
        ]
    )


def robots_word(values: Iterable[str], agent: str) -> str | None:
    """Return the first word of X-Robots-Tag headers that is a no, for everyone or for an agent; else None.

    Example:
        >>> robots_word(["otherbot: noindex", "max-snippet: 5, NoAI"], "vl-explorer")
        'noai'
    """
    for value in values:
        meant = True
        for part in value.lower().split(","):
            name, colon, rest = part.strip().partition(":")
            word, ours = name.strip(), ("*", "robots", agent.lower())
            if colon and word not in _VALUED and (word in ours or _AGENT.fullmatch(word)):
                meant, word = word in ours, rest.strip()
            if meant and word in WORDS:
                return word
    return None


def content_usage(preferences: str) -> bool | None:
    """Consent to training by a Content-Usage dictionary: True for ``y``, False for ``n``, None if nothing.

    The most particular use decides, of bots (or all), tdm, ai, train-ai, train-genai (or genai).

    Example:
        >>> content_usage("bots=y, train-ai=n"), content_usage("search=y")
        (False, None)
    """
    said = {}
    for part in preferences.lower().split(","):
        name, _, value = part.partition(";")[0].partition("=")
        if value.strip() in ("y", "n"):
            said[name.strip()] = value.strip() == "y"
    decided = None
    for names in _USES:
        values = [said[name] for name in names if name in said]
        decided = all(values) if values else decided
    return decided


def _reserved(value: str) -> bool | None:
    """Consent by a TDM reservation, or several with commas between: any 1 is a no, nothing but 0 a yes."""
    values = {part.strip() for part in value.split(",")}
    return False if "1" in values else True if values == {"0"} else None


# The longer ones first, since that of UTF-32 begins with that of UTF-16.
_MARKS = (
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)


def page_text(body: bytes) -> str:
    """Text of a page, of which no more is needed than tags in ASCII: UTF-16 and UTF-32 by their marks, else UTF-8.

    Example:
        >>> page_text("<html>".encode("utf-16")), page_text("<html>".encode("utf-16-le"))
        ('<html>', '<html>')
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    # Without a mark, ASCII in UTF-16 and UTF-32 has zeros between its letters.
    return body.decode("utf-8", "replace").replace("\0", "")


class _Meta(HTMLParser):
    """Collects the contents of meta tags by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta":
            values = {name: value or "" for name, value in attrs}
            self.found.append((values.get("name", "").strip().lower(), values.get("content", "")))

    def parse_html_declaration(self, i: int) -> int:
        # Python before 3.13 gives up at a malformed section; a browser skips it like a comment.
        try:
            return super().parse_html_declaration(i)
        except AssertionError:
            return self.parse_bogus_comment(i)


def page_consent(html: str, agent: str) -> Consent:
    """Consent by the meta tags of a page: robots (or the agent's name) and tdm-reservation.

    Example:
        >>> page_consent("<meta name='robots' content='noimageai'>", "vl-explorer").given
        False
    """
    parser = _Meta()
    parser.feed(html)
    found = []
    for name, content in parser.found:
        if name in ("robots", agent.lower()):
            word = robots_word([content], agent)
            found.append(Consent(False if word else None, f"meta robots: {word}"))
        elif name == "tdm-reservation":
            found.append(Consent(_reserved(content), "meta tdm-reservation"))
    return combined(found)


def tdm_file_consent(body: bytes, path: str) -> Consent:
    """Consent by a ``tdmrep.json`` for a path.

    Args:
        body: The file, a list of objects with ``location`` (a pattern as in robots.txt) and ``tdm-reservation``.
        path: Path and query of a URL.

    Returns:
        A no if any rule that fits reserves, a yes if those that fit do not, else silence; also for a malformed file.
    """
    try:
        rules = json.loads(body)
    # Bytes that are no text, and lists in lists in lists.
    except (ValueError, RecursionError):
        return Consent(None)
    found = []
    for rule in rules if isinstance(rules, list) else []:
        if isinstance(rule, dict) and _fits(str(rule.get("location", "")), path):
            found.append(Consent(_reserved(str(rule.get("tdm-reservation", ""))), "tdmrep.json"))
    return combined(found)


def _fits(pattern: str, path: str) -> bool:
    """True if a path begins with a pattern, of which * is anything and a last $ the end."""
    ends = pattern.endswith("$")
    first, *parts = re.sub(r"\*+", "*", pattern.removesuffix("$")).split("*")
    if not first.startswith("/") and (first or not parts):
        return False
    if not path.startswith(first):
        return False
    if not parts:
        return not ends or path == first
    place = len(first)
    for part in parts[:-1]:
        place = path.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return path[place:].endswith(parts[-1]) if ends else parts[-1] in path[place:]
