"""Wikimedia Commons: freely usable media, searched through MediaWiki's API."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Unpack

from vl_core.tables import printable

from vl_explorer.search.engine import Limits, SearchResult
from vl_explorer.search.http import fields
from vl_explorer.search.http.answers import BadAnswerError, Call
from vl_explorer.search.http.pages import Place, ResultList, checked_entries
from vl_explorer.search.http_engine import Fault, HttpEngine, HttpOptions

ADDRESS = "https://commons.wikimedia.org/w/api.php"

_LIMITS = Limits(
    results_per_page=50,
    depth=10_000,
    requests_per_second=1.0,
    notes="free licenses; wants a contact",
    checked=date(2026, 11, 28),
)
# Servers that lag further behind than this many seconds ask to wait, so that readers come first.
_MAX_LAG = "5"
_THUMBNAIL_WIDTH = "330"
# What the search takes for operators; a word that begins with "-" would exclude what it names.
_OPERATORS = re.compile(r"""[":*?~\\!/|<>()\[\]{}^]|(?<!\S)-+""")


class CommonsEngine(HttpEngine):
    """Bitmap images of `Wikimedia Commons <https://commons.wikimedia.org>`_, with license and author each.

    Wikimedia asks for a ``User-Agent`` with a contact and answers 403 without one, so the engine does not start
    without. Addresses of thumbnails are those that the API gives; other widths are refused by the service (400).

    Args:
        page_size: Results of one request.
        address: Of the API.
        options: See `HttpEngine`; ``contact`` must be among them.

    Raises:
        ValueError: If there is no contact, or an argument cannot be used.
    """

    def __init__(self, *, page_size: int = 50, address: str = ADDRESS, **options: Unpack[HttpOptions]) -> None:
        if not options.get("contact"):
            raise ValueError(
                "contact must be a mail address or a web page for commons, got none; Wikimedia refuses requests "
                "that do not say whom to write to"
            )
        super().__init__("commons", _LIMITS, address, page_size=page_size, **options)

    def _call(self, query: str, place: Place) -> Call:
        asked = {
            "action": "query",
            "format": "json",
            "formatversion": "2",
            "maxlag": _MAX_LAG,
            "generator": "search",
            "gsrnamespace": "6",
            "gsrsearch": f"filetype:bitmap {_plain(query)}",
            "gsrlimit": str(self.page_size),
            "prop": "imageinfo",
            "iiprop": "url|size|mime|user|extmetadata",
            "iiurlwidth": _THUMBNAIL_WIDTH,
        }
        return Call({**asked, **(place.mark or {"gsroffset": "0"})})

    def _fault(self, status: int, content: dict[str, Any]) -> Fault | None:
        error = content.get("error")
        if status != 200 or not isinstance(error, dict):
            return super()._fault(status, content)
        words = printable(f"{error.get('code')}, {error.get('info')}")[:200]
        if error.get("code") == "maxlag":
            return Fault("throttled", words, float(_MAX_LAG))
        if error.get("code") in ("ratelimited", "cirrussearch-too-busy-error"):
            return Fault("throttled", words)
        return Fault("refused", words)

    def _read(self, content: dict[str, Any], place: Place) -> ResultList:
        # A query without results has no "query", but says that it is complete.
        found = content.get("query", {"pages": []} if "batchcomplete" in content else None)
        if not isinstance(found, dict):
            raise BadAnswerError(f"query must be an object, got {type(found).__name__}")
        pages = checked_entries(found.get("pages"), "query.pages")
        # The answer is in the order of page numbers; the place among the results stands beside each.
        pages = sorted(pages, key=lambda page: fields.number(page.get("index")))
        mark = _mark(content.get("continue"))
        return ResultList([_result(page) for page in pages], mark is not None, mark)


def _plain(query: str) -> str:
    """The words of a query without operators, or the query where nothing else is in it."""
    return " ".join(_OPERATORS.sub(" ", query).split()) or query


def _mark(value: Any) -> dict[str, str] | None:
    """The parameters that continue a query, which go into the next request as they are."""
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str | int) for item in value.values()):
        raise BadAnswerError("continue must be an object of parameters")
    return {str(name): str(item) for name, item in value.items()}


def _result(page: dict[str, Any]) -> SearchResult:
    listed = page.get("imageinfo")
    info = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}

    def metadata(name: str) -> str:
        return fields.plain_text(fields.at(info, f"extmetadata.{name}.value"))

    title = fields.text(page.get("title"))
    return SearchResult(
        url=fields.address(info.get("url")),
        page_url=fields.address(info.get("descriptionurl")),
        thumbnail_url=fields.address(info.get("thumburl")),
        title=metadata("ObjectName") or title.removeprefix("File:"),
        author=metadata("Artist") or fields.text(info.get("user")),
        license=metadata("LicenseShortName"),
        license_url=fields.address(metadata("LicenseUrl")),
        width=fields.number(info.get("width")),
        height=fields.number(info.get("height")),
        identifier=title,
    )
