"""Rules of a site's robots.txt (RFC 9309), and its preferences for the use of content (draft-ietf-aipref-attach)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import httpx2
from protego import Protego

from vl_explorer.web.caching import Cache
from vl_explorer.web.pacing import Clock
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Reason, Refusal
from vl_explorer.web.sites.files import Get, read_site_file
from vl_explorer.web.sites.opt_outs import Consent, content_usage
from vl_explorer.web.urls import origin_of

MAX_BYTES = 512 * 1024
"""Bytes of a robots.txt that are read; RFC 9309 asks for at least 500 KiB."""

# A parser that hands each rule to each agent of a group takes the product of both in time and memory.
_MAX_PAIRS = 200_000

# Faults of the host itself, which the URL that is wanted has as well: they keep their own reasons.
_OF_THE_HOST = frozenset({Reason.dns, Reason.forbidden_address, Reason.connect, Reason.tls, Reason.blocked})

_AGENT_LINE = re.compile(r"\s*user.?agent\b", re.IGNORECASE)
_USAGE_LINE = re.compile(r"\s*content-usage\s*:\s*((?P<path>/\S*)\s+)?(?P<preferences>[^#]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Rules:
    """The rules of one robots.txt for one agent."""

    access: Protego
    """Rules of access, by agent and path."""
    usage: Protego
    """The same file with the preferences for training in place of the rules."""
    usage_default: Protego
    """The same, with everything disallowed that no preference allows."""
    agent: str
    """The agent that asks."""

    def allows(self, url: str) -> bool:
        """Return True if the agent may fetch the URL."""
        return bool(self.access.can_fetch(url, self.agent))

    def delay(self) -> float:
        """Seconds that the site wants between two requests, 0 if it does not say."""
        rate = self.access.request_rate(self.agent)
        seconds = rate.seconds / rate.requests if rate and rate.requests else 0.0
        return max(float(self.access.crawl_delay(self.agent) or 0.0), seconds)

    def consent(self, url: str) -> Consent:
        """Consent by a Content-Usage rule to training on the URL's content."""
        if not self.usage.can_fetch(url, self.agent):
            return Consent(False, "Content-Usage in robots.txt")
        return Consent(True if self.usage_default.can_fetch(url, self.agent) else None, "robots.txt")


def parse_robots(text: str, agent: str) -> Rules:
    r"""Read a robots.txt.

    Raises:
        Refusal: With reason ``robots_unavailable`` if its agents times its rules are more than 200,000.

    Example:
        >>> parse_robots("User-agent: *\nDisallow: /private", "vl-explorer").allows("http://a.example/private/x.png")
        False
    """
    lines = text.splitlines()
    agents = sum(1 for line in lines if _AGENT_LINE.match(line))
    if agents * (len(lines) - agents) > _MAX_PAIRS:
        raise Refusal(Reason.robots_unavailable, f"robots.txt has {agents:,} agents for {len(lines) - agents:,} lines")
    preferences = [_as_rule(line) for line in lines]
    # A line that says nothing of training becomes the weakest rule against it, so that each group has one.
    closed = ["Disallow: /" if line is None else line for line in preferences]
    return Rules(
        Protego.parse(text),
        Protego.parse("\n".join(line or "" for line in preferences)),
        Protego.parse("\n".join([*closed, "Disallow: /", "User-agent: *", "Disallow: /"])),
        agent,
    )


def _as_rule(line: str) -> str | None:
    """A Content-Usage line as a rule of access, an agent's line as it is, None for any other."""
    if _AGENT_LINE.match(line):
        return line
    found = _USAGE_LINE.match(line)
    allowed = content_usage(found["preferences"]) if found else None
    if found is None or allowed is None:
        return None
    return f"{'Allow' if allowed else 'Disallow'}: {found['path'] or '/'}"


class Robots:
    """The robots.txt of each site, remembered for as long as the policy says.

    Args:
        policy: The agent, and how long to remember.
        get: Asks for one URL.
        clock: Tells the time.
    """

    def __init__(self, policy: Policy, get: Get, clock: Clock) -> None:
        self._policy, self._get, self._clock = policy, get, clock
        self._cache: Cache[httpx2.URL, Rules] = Cache(self._load, clock)

    async def rules(self, url: httpx2.URL) -> Rules:
        """Return the rules of the site of a URL.

        A missing file (404 and others below 500) allows everything. One that could not be read, for 5xx, a time-out or
        a malformed answer, disallows everything until it is asked for again.

        Raises:
            Refusal: With reason ``robots_unavailable``, ``throttled`` for 429, or what is wrong with the host itself.
        """
        return await self._cache.get(origin_of(url))

    async def check(self, url: httpx2.URL) -> Rules:
        """Return the rules of the site, if they allow the URL.

        Raises:
            Refusal: With reason ``robots`` if they do not, or want longer waits than the policy has; else as `rules`.
        """
        rules = await self.rules(url)
        if not rules.allows(str(url)):
            raise Refusal(Reason.robots, f"robots.txt disallows {url} for {rules.agent}")
        if rules.delay() > self._policy.max_wait:
            raise Refusal(
                Reason.robots,
                f"robots.txt asks for {rules.delay():g} s between requests, over max_wait = {self._policy.max_wait:g}",
            )
        return rules

    async def _load(self, origin: httpx2.URL) -> tuple[Rules | Refusal, float]:
        url = origin.copy_with(raw_path=b"/robots.txt")
        try:
            body = await read_site_file(
                self._get, url, max_bytes=MAX_BYTES, ports=self._policy.ports, date=self._clock.date()
            )
            text = _whole_lines(body or b"")
            rules = await asyncio.to_thread(parse_robots, text, self._policy.agent)
        except Refusal as refusal:
            lifetime = max(self._policy.site_retry, refusal.retry_after)
            if refusal.reason in _OF_THE_HOST or refusal.reason is Reason.throttled:
                return refusal, lifetime
            return Refusal(Reason.robots_unavailable, f"no robots.txt: {refusal}"), lifetime
        return rules, self._policy.site_lifetime


def _whole_lines(body: bytes) -> str:
    """Text of a file, without the line at which it was cut."""
    if len(body) >= MAX_BYTES:
        body = body[: body.rfind(b"\n") + 1]
    return body.decode("utf-8-sig", "replace")
