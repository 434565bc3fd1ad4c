"""Flickr: photos of its members, searched through its REST API."""

from __future__ import annotations

from datetime import date
from typing import Any, Unpack

from vl_core.tables import printable

from vl_explorer.search.engine import Limits, SearchResult
from vl_explorer.search.http import fields
from vl_explorer.search.http.answers import BadAnswerError, Call
from vl_explorer.search.http.keys import Key
from vl_explorer.search.http.pages import Place, ResultList, entries
from vl_explorer.search.http_engine import Fault, HttpEngine, HttpOptions

ADDRESS = "https://www.flickr.com/services/rest/"

_LIMITS = Limits(
    results_per_page=500,
    depth=4_000,
    requests_per_second=1.0,
    needs_key=True,
    notes="3,600 requests an hour; new keys need a Pro account",
    checked=date(2026, 11, 28),
)
_CREATIVE_COMMONS = "https://creativecommons.org"
LICENSES = {
    "0": ("All rights reserved", ""),
    "1": ("CC BY-NC-SA 2.0", f"{_CREATIVE_COMMONS}/licenses/by-nc-sa/2.0/"),
    "2": ("CC BY-NC 2.0", f"{_CREATIVE_COMMONS}/licenses/by-nc/2.0/"),
    "3": ("CC BY-NC-ND 2.0", f"{_CREATIVE_COMMONS}/licenses/by-nc-nd/2.0/"),
    "4": ("CC BY 2.0", f"{_CREATIVE_COMMONS}/licenses/by/2.0/"),
    "5": ("CC BY-SA 2.0", f"{_CREATIVE_COMMONS}/licenses/by-sa/2.0/"),
    "6": ("CC BY-ND 2.0", f"{_CREATIVE_COMMONS}/licenses/by-nd/2.0/"),
    "7": ("No known copyright restrictions", "https://www.flickr.com/commons/usage/"),
    "8": ("United States Government Work", "https://www.usa.gov/government-works"),
    "9": ("CC0 1.0", f"{_CREATIVE_COMMONS}/publicdomain/zero/1.0/"),
    "10": ("Public Domain Mark 1.0", f"{_CREATIVE_COMMONS}/publicdomain/mark/1.0/"),
    "11": ("CC BY 4.0", f"{_CREATIVE_COMMONS}/licenses/by/4.0/"),
    "12": ("CC BY-SA 4.0", f"{_CREATIVE_COMMONS}/licenses/by-sa/4.0/"),
    "13": ("CC BY-ND 4.0", f"{_CREATIVE_COMMONS}/licenses/by-nd/4.0/"),
    "14": ("CC BY-NC 4.0", f"{_CREATIVE_COMMONS}/licenses/by-nc/4.0/"),
    "15": ("CC BY-NC-SA 4.0", f"{_CREATIVE_COMMONS}/licenses/by-nc-sa/4.0/"),
    "16": ("CC BY-NC-ND 4.0", f"{_CREATIVE_COMMONS}/licenses/by-nc-nd/4.0/"),
}
"""Name and address of each license by Flickr's number; an unknown number has neither."""

_INVALID_KEY = 100
_UNAVAILABLE = (0, 10, 105)
# Large, medium, and at last the square of 150 pixels, which every photo has.
_SIZES = ("l", "c", "q")


class FlickrEngine(HttpEngine):
    """Photos of `Flickr <https://www.flickr.com/services/api/flickr.photos.search.html>`_ by relevance, with license.

    The key is taken from ``FLICKR_API_KEY``. Only photos that their owners marked as safe are asked for. The image is
    the largest of 1,024, 800 and 150 pixels that the photo has.

    Args:
        page_size: Results of one request.
        address: Of the service.
        options: See `HttpEngine`.

    Raises:
        SearchError: If ``FLICKR_API_KEY`` holds no key.
        ValueError: If an argument cannot be used.
    """

    def __init__(self, *, page_size: int = 100, address: str = ADDRESS, **options: Unpack[HttpOptions]) -> None:
        self._api_key = Key("FLICKR_API_KEY", "flickr")
        super().__init__("flickr", _LIMITS, address, page_size=page_size, key=self._api_key, **options)

    def _call(self, query: str, place: Place) -> Call:
        return Call(
            {
                "method": "flickr.photos.search",
                "api_key": self._api_key.reveal(),
                "format": "json",
                "nojsoncallback": "1",
                "text": query,
                "sort": "relevance",
                "safe_search": "1",
                "media": "photos",
                "extras": "license,owner_name,url_c,url_l,url_q",
                "per_page": str(self.page_size),
                "page": str(place.page + 1),
            }
        )

    def _fault(self, status: int, content: dict[str, Any]) -> Fault | None:
        if status != 200 or content.get("stat") == "ok":
            return super()._fault(status, content)
        code = content.get("code")
        words = printable(f"stat {content.get('stat')!r}, code {code}, {content.get('message')}")[:200]
        if content.get("stat") != "fail":
            return Fault("malformed", words)
        if code == _INVALID_KEY:
            return Fault("unauthorized", f"{words}; FLICKR_API_KEY is not accepted")
        return Fault("unreachable" if code in _UNAVAILABLE else "refused", words)

    def _read(self, content: dict[str, Any], place: Place) -> ResultList:
        photos = content.get("photos")
        pages = photos.get("pages") if isinstance(photos, dict) else None
        if not isinstance(photos, dict) or isinstance(pages, bool) or not isinstance(pages, int):
            raise BadAnswerError("photos must be an object with a number of pages")
        return ResultList([_result(entry) for entry in entries(photos, "photo")], place.page + 1 < pages)


def _result(photo: dict[str, Any]) -> SearchResult:
    size = next((size for size in _SIZES if fields.address(photo.get(f"url_{size}"))), "q")
    owner, identifier = fields.text(photo.get("owner")), fields.text(photo.get("id"))
    name, license_url = LICENSES.get(fields.text(photo.get("license")), ("", ""))
    return SearchResult(
        url=fields.address(photo.get(f"url_{size}")),
        page_url=f"https://www.flickr.com/photos/{owner}/{identifier}" if owner and identifier else "",
        thumbnail_url=fields.address(photo.get("url_q")),
        title=fields.text(photo.get("title")),
        author=fields.text(photo.get("ownername")),
        license=name,
        license_url=license_url,
        width=fields.number(photo.get(f"width_{size}")),
        height=fields.number(photo.get(f"height_{size}")),
        identifier=identifier,
    )
