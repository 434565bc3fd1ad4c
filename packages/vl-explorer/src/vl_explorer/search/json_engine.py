"""One engine for any service that answers a query with JSON, by a description of its requests and answers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

from vl_core.files import read_json

from vl_explorer.search.engine import SearchResult
from vl_explorer.search.http import fields
from vl_explorer.search.http.answers import Call
from vl_explorer.search.http.description import Description, checked_description
from vl_explorer.search.http.keys import Key
from vl_explorer.search.http.pages import Place, ResultList, checked_entries
from vl_explorer.search.http_engine import HttpEngine, HttpOptions

_PLACEHOLDER = re.compile(r"\{(query|page|offset|count)\}")
_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("url", "page_url", "thumbnail_url", "license_url"), fields.address),
    **dict.fromkeys(("title", "author", "license"), fields.plain_text),
    **dict.fromkeys(("width", "height"), fields.number),
    "identifier": fields.text,
}


class JsonEngine(HttpEngine):
    """An engine for a service that is described in JSON instead of Python.

    Args:
        description: The description, or a file with it::

                {
                  "name": "museum",
                  "address": "https://api.museum.example/search",
                  "parameters": {"q": "{query}", "page": "{page}", "size": "{count}"},
                  "key": {"header": "Authorization", "environment": "MUSEUM_KEY", "prefix": "Bearer "},
                  "results": "data.items",
                  "fields": {"url": "image.src", "title": "caption", "license": "rights.name"},
                  "paging": {"kind": "page", "first": 1},
                  "limits": {"results_per_page": 50, "depth": 1000, "requests_per_second": 1}
                }

            ``parameters`` hold ``{query}``, and as the kind of ``paging`` asks, ``{page}`` (``"page"``, counted from
            ``first``), ``{offset}`` (``"offset"``, counted from ``first``) or neither (``"none"``); ``{count}`` is the
            number of results to ask for. ``results`` is the path of the list, names and list positions with dots
            between, and ``fields`` are the paths inside a result; only ``url`` must be there.
            ``key`` names the header and the environment variable of a key; a key itself never stands in a description.
            ``limits`` take what `Limits` has, with dates such as ``"2027-01-31"``. Of ``paging``, ``limits`` and
            ``key`` all or parts may be left out: then there is one page of 20 results, a request a second, and no key.
        page_size: Results of one request; by default ``limits.results_per_page``.
        address: Of the service, in place of the one described.
        options: See `HttpEngine`.

    Raises:
        FileNotFoundError: If there is no such file.
        SearchError: If the environment variable holds no key.
        ValueError: If the description is not as above; the message names the entry.
    """

    def __init__(
        self,
        description: str | os.PathLike[str] | Mapping[str, Any],
        *,
        page_size: int | None = None,
        address: str | None = None,
        **options: Unpack[HttpOptions],
    ) -> None:
        content = description if isinstance(description, Mapping) else read_json(Path(description))
        self._description: Description = checked_description(content)
        described = self._description
        key = Key(described.key.environment, described.name) if described.key is not None else None
        super().__init__(
            described.name,
            described.limits,
            described.address if address is None else address,
            page_size=described.limits.results_per_page if page_size is None else page_size,
            key=key,
            **options,
        )

    def _call(self, query: str, place: Place) -> Call:
        described = self._description
        values = {
            "query": query,
            "page": str(described.first + place.page),
            "offset": str(described.first + place.start),
            "count": str(self.page_size),
        }
        # In one pass, so that a query with braces stays as it is.
        params = {
            name: _PLACEHOLDER.sub(lambda match: values[match[1]], value)
            for name, value in described.parameters.items()
        }
        if described.key is None or self._key is None:
            return Call(params)
        return Call(params, {described.key.header: f"{described.key.prefix}{self._key.reveal()}"})

    def _read(self, content: dict[str, Any], place: Place) -> ResultList:
        described = self._description
        found = checked_entries(fields.at(content, described.results), described.results)
        results = [
            SearchResult(**{name: _READERS[name](fields.at(entry, path)) for name, path in described.fields.items()})
            for entry in found
        ]
        # Without a total the end is where a page is not full.
        return ResultList(results, described.kind != "none" and len(found) >= self.page_size)
