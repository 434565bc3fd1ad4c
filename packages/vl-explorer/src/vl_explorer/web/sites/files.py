"""Small text files at fixed places of a site, such as robots.txt: fetched over bounded redirects, cut at a limit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx2

from vl_explorer.web.network.transfers import Answer
from vl_explorer.web.pacing import seconds_asked
from vl_explorer.web.reasons import Reason, Refusal
from vl_explorer.web.urls import join

REDIRECTS = (301, 302, 303, 307, 308)

Get = Callable[[httpx2.URL], AbstractAsyncContextManager[Answer]]
"""Asks for one URL, checked and in turn, and follows nothing."""

_REDIRECTS_FOLLOWED = 5


async def read_site_file(
    get: Get, url: httpx2.URL, *, max_bytes: int, ports: tuple[int, ...], date: float
) -> bytes | None:
    """Return the bytes of a site's file, cut at ``max_bytes``, or None if the site has none.

    Args:
        get: Asks for one URL.
        url: The file's.
        max_bytes: The most that is read.
        ports: The ports to which a redirect may lead.
        date: Seconds since 1970 now, by which a Retry-After may count.

    Returns:
        None for the statuses 400 to 499, of which RFC 9309 says that there is no such file, apart from 429.

    Raises:
        Refusal: With reason ``throttled`` for 429, ``status`` for 5xx and others, ``redirects`` for more than five of
            them, or whatever ``get`` and the body raise.
    """
    for _ in range(_REDIRECTS_FOLLOWED + 1):
        async with get(url) as answer:
            if answer.status in REDIRECTS:
                url = join(url, answer.raw("location"), ports=ports)
                continue
            if answer.status == 429:
                asked = seconds_asked(answer.header("retry-after"), date)
                raise Refusal(Reason.throttled, f"{url} answers 429", asked)
            if 400 <= answer.status < 500:
                return None
            if not 200 <= answer.status < 300:
                raise Refusal(Reason.status, f"{url} answers {answer.status}")
            return await answer.read(max_bytes, cut=True)
    raise Refusal(Reason.redirects, f"more than {_REDIRECTS_FOLLOWED} redirects to {url}")
