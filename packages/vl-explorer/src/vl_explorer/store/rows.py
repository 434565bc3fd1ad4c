"""Typed rows that a store gives and takes: one frozen dataclass a table, and the texts from outside made safe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from vl_core.tables import utf8

from vl_explorer.store.likeness.hashing import PerceptualHash
from vl_explorer.store.rights.licenses import license_id

_LONGEST = 2000  # characters of a title or a name


class QueryState(StrEnum):
    """Progress of a query."""

    OPEN = "open"
    """To be searched."""
    SEARCHED = "searched"
    """Its results are in the store."""
    DROPPED = "dropped"
    """Its first thumbnails were hopeless, so the other results are not downloaded."""
    FAILED = "failed"
    """The engine gave no answer."""


class ResultLike(Protocol):
    """Statements of a search engine about an image, such as `vl_explorer.search.SearchResult`."""

    @property
    def url(self) -> str: ...
    @property
    def page_url(self) -> str: ...
    @property
    def thumbnail_url(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def license(self) -> str: ...
    @property
    def license_url(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def identifier(self) -> str: ...


@dataclass(frozen=True)
class Run:
    """A run of an explorer."""

    id: int
    """In this store."""
    name: str
    """Chosen by the user."""
    settings: Mapping[str, Any]
    """All that the run is a function of."""
    started_at: float = field(compare=False)
    """Seconds since 1970."""


@dataclass(frozen=True)
class Iteration:
    """An iteration of a run."""

    run_id: int
    """Of the run."""
    number: int
    """From 0."""
    summary: Mapping[str, Any] | None
    """Summary that was kept when it was finished; None before."""

    @property
    def finished(self) -> bool:
        """True once nothing more will come."""
        return self.summary is not None


@dataclass(frozen=True)
class Query:
    """A query of an iteration."""

    id: int
    """In this store."""
    run_id: int
    """Of the run."""
    iteration: int
    """Number of the iteration."""
    place: int
    """Among the queries of the iteration, from 0."""
    text: str
    """As the engine is asked."""
    concept: str
    """Key of the concept."""
    engine: str
    """Name of the engine."""
    state: QueryState
    """Progress of the query."""
    requests: int
    """Sent to the engine."""
    cost: float
    """Of these requests, in US dollars."""
    exhausted: bool
    """True if the engine has no more results."""


@dataclass(frozen=True)
class Result:
    """A result of a query, and the image that came of it."""

    rank: int
    """From 0, in the order of the engine."""
    url: str
    """Of the image."""
    page_url: str = ""
    """Of the page that shows it."""
    thumbnail_url: str = ""
    """Of a small version."""
    title: str = ""
    """Title or caption."""
    author: str = ""
    """Author of the image."""
    license: str = ""
    """As the engine names it."""
    license_url: str = ""
    """Of its text."""
    width: int = 0
    """In pixels as the engine says, 0 if it does not."""
    height: int = 0
    """The same."""
    identifier: str = ""
    """Of the engine."""
    image: str | None = None
    """SHA-256 of the image, None if it was not downloaded or was refused."""


@dataclass(frozen=True)
class Source:
    """Source of an image."""

    url: str
    """That was downloaded."""
    page_url: str = ""
    """Of the page that shows it."""
    title: str = ""
    """Title or caption."""
    author: str = ""
    """Author of the image."""
    license: str = ""
    """As the engine names it."""
    license_url: str = ""
    """Of its text."""
    engine: str = ""
    """Name of the engine that found it."""
    query: str = ""
    """Text of the query that found it."""
    fetched_at: float = field(default=0.0, compare=False)
    """Seconds since 1970, set by the store."""

    @property
    def license_id(self) -> str:
        """Identifier of the license, see `license_id`."""
        return license_id(self.license, self.license_url)


@dataclass(frozen=True)
class StoredImage:
    """An image, or what is left of one that was evicted."""

    number: int
    """In the order in which images came, from 1."""
    sha256: str
    """Of the file, in 64 hexadecimal digits; the name of the image everywhere."""
    extension: str
    """Of the file, such as ``jpg``."""
    size: int
    """Bytes of the file."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    hash: str
    """Perceptual hash in 64 hexadecimal digits."""
    quality: int
    """Of that hash, 0 to 100."""
    stored: bool
    """False if the file had to go for the quota."""

    @property
    def perceptual_hash(self) -> PerceptualHash:
        """Hash and quality together."""
        return PerceptualHash.from_hex(self.hash, self.quality)


@dataclass(frozen=True)
class Failure:
    """A URL that gave no image."""

    url: str
    """That was asked for."""
    reason: str
    """One word, such as ``timeout``."""
    detail: str
    """For the reader."""
    tries: int
    """Failures so far."""
    retry: bool
    """True if it may be asked for again."""


def clean(text: str, longest: int | None = _LONGEST) -> str:
    """Text from outside as valid UTF-8, cut to a length."""
    return utf8(text)[:longest]
