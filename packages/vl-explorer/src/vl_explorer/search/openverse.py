"""Openverse: images under open licenses, free and without a key."""

from __future__ import annotations

from datetime import date
from typing import Any, Unpack

from vl_explorer.search.engine import Limits, SearchResult
from vl_explorer.search.http import fields
from vl_explorer.search.http.answers import BadAnswerError, Call
from vl_explorer.search.http.keys import environment_key
from vl_explorer.search.http.pages import Place, ResultList, entries
from vl_explorer.search.http_engine import HttpEngine, HttpOptions

ADDRESS = "https://api.openverse.org/v1/images/"

_ANONYMOUS_PAGE = 20
_DEPTH = 240


class OpenverseEngine(HttpEngine):
    """Images of `Openverse <https://docs.openverse.org/api>`_, with license and author each.

    Without a token at most 20 results a request are given, and larger pages are refused by the service (401). The
    results of a query end at 240. Mature content is left out, as the service does by default.

    A token of the service (OAuth2, client credentials) is taken from ``OPENVERSE_TOKEN`` where that is set.

    Args:
        page_size: Results of one request; by default as many as are allowed.
        address: Of the service.
        options: See `HttpEngine`.

    Raises:
        SearchError: If ``OPENVERSE_TOKEN`` is set to something that is no token.
        ValueError: If an argument cannot be used.
    """

    def __init__(self, *, page_size: int | None = None, address: str = ADDRESS, **options: Unpack[HttpOptions]) -> None:
        token = environment_key("OPENVERSE_TOKEN", "openverse")
        limits = Limits(
            results_per_page=_ANONYMOUS_PAGE if token is None else _DEPTH,
            depth=_DEPTH,
            requests_per_second=1 / 3 if token is None else 1.0,
            notes="open licenses" + ("; without a token 200 requests a day are reported" if token is None else ""),
            checked=date(2026, 11, 28),
        )
        size = limits.results_per_page if page_size is None else page_size
        super().__init__("openverse", limits, address, page_size=size, key=token, **options)

    def _call(self, query: str, place: Place) -> Call:
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key.reveal()}"}
        return Call({"q": query, "page": str(place.page + 1), "page_size": str(self.page_size)}, headers)

    def _read(self, content: dict[str, Any], place: Place) -> ResultList:
        pages = content.get("page_count")
        if isinstance(pages, bool) or not isinstance(pages, int):
            raise BadAnswerError(f"page_count must be a whole number, got {type(pages).__name__}")
        return ResultList([_result(entry) for entry in entries(content, "results")], place.page + 1 < pages)


def _result(entry: dict[str, Any]) -> SearchResult:
    return SearchResult(
        url=fields.address(entry.get("url")),
        page_url=fields.address(entry.get("foreign_landing_url")),
        thumbnail_url=fields.address(entry.get("thumbnail")),
        title=fields.text(entry.get("title")),
        author=fields.text(entry.get("creator")),
        license=fields.text(f"{fields.text(entry.get('license'))} {fields.text(entry.get('license_version'))}"),
        license_url=fields.address(entry.get("license_url")),
        width=fields.number(entry.get("width")),
        height=fields.number(entry.get("height")),
        identifier=fields.text(entry.get("id")),
    )
