"""Brave: an index of its own, against payment."""

from __future__ import annotations

from datetime import date
from typing import Any, Unpack

from vl_explorer.search.engine import Limits, SearchResult
from vl_explorer.search.http import fields
from vl_explorer.search.http.answers import Call
from vl_explorer.search.http.keys import Key
from vl_explorer.search.http.pages import Place, ResultList, entries
from vl_explorer.search.http_engine import Fault, HttpEngine, HttpOptions

ADDRESS = "https://api.search.brave.com/res/v1/images/search"

_LIMITS = Limits(
    results_per_page=200,
    depth=200,
    requests_per_second=50.0,
    cost_per_request=0.005,
    needs_key=True,
    notes="no free tier; licenses unknown",
    checked=date(2026, 11, 28),
)


class BraveEngine(HttpEngine):
    """Results of `Brave's image search <https://api-dashboard.search.brave.com/app/documentation/image-search>`_.

    The key is taken from ``BRAVE_API_KEY``. The service has no pages: one request gives all that there is, 200 results
    at most. Licenses and authors are not given. Its filter of explicit content is strict.

    Args:
        address: Of the service.
        options: See `HttpEngine`.

    Raises:
        SearchError: If ``BRAVE_API_KEY`` holds no key.
        ValueError: If an argument cannot be used.
    """

    def __init__(self, *, address: str = ADDRESS, **options: Unpack[HttpOptions]) -> None:
        self._api_key = Key("BRAVE_API_KEY", "brave")
        super().__init__("brave", _LIMITS, address, page_size=200, key=self._api_key, **options)

    def _call(self, query: str, place: Place) -> Call:
        headers = {"X-Subscription-Token": self._api_key.reveal()}
        return Call({"q": query, "count": str(self.page_size), "safesearch": "strict"}, headers)

    def _fault(self, status: int, content: dict[str, Any]) -> Fault | None:
        fault = super()._fault(status, content)
        # A key that is not accepted is a mistake in the request, by its status.
        if fault is not None and fields.at(content, "error.code") == "SUBSCRIPTION_TOKEN_INVALID":
            return Fault("unauthorized", f"{fault.words}; BRAVE_API_KEY is not accepted")
        return fault

    def _read(self, content: dict[str, Any], place: Place) -> ResultList:
        return ResultList([_result(entry) for entry in entries(content, "results")], more=False)


def _result(entry: dict[str, Any]) -> SearchResult:
    return SearchResult(
        url=fields.address(fields.at(entry, "properties.url")),
        page_url=fields.address(entry.get("url")),
        thumbnail_url=fields.address(fields.at(entry, "thumbnail.src")),
        title=fields.text(entry.get("title")),
        width=fields.number(fields.at(entry, "properties.width")),
        height=fields.number(fields.at(entry, "properties.height")),
    )
