"""The TDM reservation file of each site, ``/.well-known/tdmrep.json``."""

from __future__ import annotations

import httpx2

from vl_explorer.web.caching import Cache
from vl_explorer.web.pacing import Clock
from vl_explorer.web.policy import Policy
from vl_explorer.web.reasons import Refusal
from vl_explorer.web.sites.files import Get, read_site_file
from vl_explorer.web.sites.opt_outs import Consent, tdm_file_consent
from vl_explorer.web.sites.robots import Robots
from vl_explorer.web.urls import origin_of

_PATH = b"/.well-known/tdmrep.json"
_MAX_BYTES = 256 * 1024


class Reservations:
    """Reservations in the sites' files, remembered for as long as the policy says.

    Args:
        policy: How long to remember.
        get: Asks for one URL.
        robots: Says whether the file itself may be fetched.
        clock: Tells the time.
    """

    def __init__(self, policy: Policy, get: Get, robots: Robots, clock: Clock) -> None:
        self._policy, self._get, self._robots, self._clock = policy, get, robots, clock
        self._cache: Cache[httpx2.URL, bytes] = Cache(self._load, clock)

    async def consent(self, url: httpx2.URL) -> Consent:
        """Consent by the site's file for a URL; a file that is missing or cannot be read says nothing."""
        return tdm_file_consent(await self._cache.get(origin_of(url)), url.raw_path.decode())

    async def _load(self, origin: httpx2.URL) -> tuple[bytes, float]:
        url = origin.copy_with(raw_path=_PATH)
        try:
            await self._robots.check(url)
            body = await read_site_file(
                self._get, url, max_bytes=_MAX_BYTES, ports=self._policy.ports, date=self._clock.date()
            )
        except Refusal:
            return b"", self._policy.site_retry
        return body or b"", self._policy.site_lifetime
