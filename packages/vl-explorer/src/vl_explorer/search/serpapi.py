"""SerpApi: the results of Google Images, against payment."""

from __future__ import annotations

from datetime import date
from typing import Any, Unpack

from vl_core.tables import printable

from vl_explorer.search.engine import Limits, SearchResult
from vl_explorer.search.http import fields
from vl_explorer.search.http.answers import Call
from vl_explorer.search.http.keys import Key
from vl_explorer.search.http.pages import Place, ResultList, entries
from vl_explorer.search.http_engine import Fault, HttpEngine, HttpOptions

ADDRESS = "https://serpapi.com/search.json"

_LIMITS = Limits(
    results_per_page=100,
    depth=1_000,
    requests_per_second=1.0,
    cost_per_request=0.015,
    needs_key=True,
    notes="price of the plan of 5,000 searches for $75 a month; licenses unknown",
    checked=date(2026, 11, 28),
)
# The service says so with an error of its own.
_NOTHING_FOUND = "hasn't returned any results"


class SerpApiEngine(HttpEngine):
    """Results of Google Images through `SerpApi <https://serpapi.com/google-images-api>`_.

    The key is taken from ``SERPAPI_API_KEY``. The service fixes the size of a page, about 100. Licenses and authors
    are not given. Google's filter of explicit content is on.

    Args:
        address: Of the service.
        options: See `HttpEngine`.

    Raises:
        SearchError: If ``SERPAPI_API_KEY`` holds no key.
        ValueError: If an argument cannot be used.
    """

    def __init__(self, *, address: str = ADDRESS, **options: Unpack[HttpOptions]) -> None:
        self._api_key = Key("SERPAPI_API_KEY", "serpapi")
        super().__init__("serpapi", _LIMITS, address, page_size=100, key=self._api_key, **options)

    def _call(self, query: str, place: Place) -> Call:
        return Call(
            {
                "engine": "google_images",
                "q": query,
                "ijn": str(place.page),
                "safe": "active",
                "api_key": self._api_key.reveal(),
            }
        )

    def _fault(self, status: int, content: dict[str, Any]) -> Fault | None:
        error = content.get("error")
        if not isinstance(error, str):
            return super()._fault(status, content)
        if status == 200 and _NOTHING_FOUND in error:
            return None
        words = printable(error)[:200]
        if "run out of searches" in error:
            return Fault("spent", words)
        return Fault("refused", words) if status == 200 else super()._fault(status, content)

    def _read(self, content: dict[str, Any], place: Place) -> ResultList:
        if "error" in content:
            return ResultList([], more=False)
        # A page that is not full is not always the last one, so the end is where nothing comes.
        return ResultList([_result(entry) for entry in entries(content, "images_results")], more=True)


def _result(entry: dict[str, Any]) -> SearchResult:
    return SearchResult(
        url=fields.address(entry.get("original")),
        page_url=fields.address(entry.get("link")),
        thumbnail_url=fields.address(entry.get("thumbnail")),
        title=fields.text(entry.get("title")),
        width=fields.number(entry.get("original_width")),
        height=fields.number(entry.get("original_height")),
    )
