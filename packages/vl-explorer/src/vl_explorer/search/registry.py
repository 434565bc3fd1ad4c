"""All engines by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

from vl_explorer.search.engine import SearchEngine

_ENGINES = {
    "captions": ("captions", "CaptionEngine.open"),
    "openverse": ("openverse", "OpenverseEngine"),
    "commons": ("commons", "CommonsEngine"),
    "flickr": ("flickr", "FlickrEngine"),
    "serpapi": ("serpapi", "SerpApiEngine"),
    "brave": ("brave", "BraveEngine"),
    "url-list": ("url_lists", "UrlListEngine"),
    "json": ("json_engine", "JsonEngine"),
}
_CLOSED = {
    "bing": "Bing's search API ended on 2025-08-11",
    "google": "Google's JSON API takes no new customers and ends on 2027-01-01",
}

ENGINE_NAMES = tuple(_ENGINES)
"""The names that `build_engine` knows."""


def build_engine(name: str, *arguments: Any, **options: Any) -> SearchEngine:
    """Make an engine by its name; its module, and what that needs, is imported now.

    Args:
        name: One of `ENGINE_NAMES`.
        arguments: What the engine is made from: a data set for ``"captions"`` (see `CaptionEngine.open`), Parquet files
            for ``"url-list"``, a description for ``"json"``; nothing for services.
        options: Keyword arguments of the engine.

    Raises:
        ValueError: If there is no such engine, because the service is closed or the name unknown; or what the engine
            itself raises.

    Example:
        >>> build_engine("openverse").describe().partition(";")[0]
        'openverse: free'
    """
    if name in _CLOSED:
        raise ValueError(f"there is no engine {name!r}: {_CLOSED[name]}; use one of {', '.join(ENGINE_NAMES)}")
    if name not in _ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINE_NAMES)}, got {name!r}")
    module, path = _ENGINES[name]
    maker: Any = importlib.import_module(f"vl_explorer.search.{module}")
    for part in path.split("."):
        maker = getattr(maker, part)
    return cast(Callable[..., SearchEngine], maker)(*arguments, **options)
