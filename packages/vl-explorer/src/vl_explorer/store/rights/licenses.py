"""Names and addresses of licenses as engines write them, as identifiers in the manner of SPDX.

What is not recognized is ``unknown``, and so is a name that contradicts its address: no license is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import NamedTuple

UNKNOWN = "unknown"
"""Identifier of a license that nobody named, or that is not recognized."""


class LicenseClass(StrEnum):
    """Conditions of a license for whoever passes an image on, from the least to the most."""

    PUBLIC_DOMAIN = "public-domain"
    ATTRIBUTION = "attribution"
    SHARE_ALIKE = "share-alike"
    NON_COMMERCIAL = "non-commercial"
    NO_DERIVATIVES = "no-derivatives"
    RESERVED = "reserved"
    UNKNOWN = "unknown"


FREE = (LicenseClass.PUBLIC_DOMAIN, LicenseClass.ATTRIBUTION, LicenseClass.SHARE_ALIKE)
"""Classes that allow any use, with or without conditions."""

# Of which nothing more is known: Flickr calls CC BY so, and Wikimedia Commons another license.
_ATTRIBUTION = "LicenseRef-Attribution"

_CLASSES = {
    "CC0": LicenseClass.PUBLIC_DOMAIN,
    "CC-PDM": LicenseClass.PUBLIC_DOMAIN,
    "LicenseRef-Public-Domain": LicenseClass.PUBLIC_DOMAIN,
    "LicenseRef-US-Government": LicenseClass.PUBLIC_DOMAIN,
    "LicenseRef-No-Known-Copyright": LicenseClass.PUBLIC_DOMAIN,
    "CC-BY": LicenseClass.ATTRIBUTION,
    "OGL-UK": LicenseClass.ATTRIBUTION,
    "MIT": LicenseClass.ATTRIBUTION,
    "Apache": LicenseClass.ATTRIBUTION,
    _ATTRIBUTION: LicenseClass.ATTRIBUTION,
    "CC-BY-SA": LicenseClass.SHARE_ALIKE,
    "GFDL": LicenseClass.SHARE_ALIKE,
    "LAL": LicenseClass.SHARE_ALIKE,
    "CC-BY-NC": LicenseClass.NON_COMMERCIAL,
    "CC-BY-NC-SA": LicenseClass.NON_COMMERCIAL,
    "CC-BY-ND": LicenseClass.NO_DERIVATIVES,
    "CC-BY-NC-ND": LicenseClass.NO_DERIVATIVES,
    "LicenseRef-All-Rights-Reserved": LicenseClass.RESERVED,
}

_NAMES = {
    "cc0": "CC0",
    "cc zero": "CC0",
    "creative commons zero": "CC0",
    "pdm": "CC-PDM",
    "public domain mark": "CC-PDM",
    "public domain": "LicenseRef-Public-Domain",
    "pd": "LicenseRef-Public-Domain",
    "public domain work": "LicenseRef-Public-Domain",
    "united states government work": "LicenseRef-US-Government",
    "no known copyright restrictions": "LicenseRef-No-Known-Copyright",
    "all rights reserved": "LicenseRef-All-Rights-Reserved",
    "gfdl": "GFDL",
    "gnu free documentation": "GFDL",
    "fal": "LAL",
    "free art": "LAL",
    "open government": "OGL-UK",
    "ogl": "OGL-UK",
    "mit": "MIT",
    "apache": "Apache",
}

_ELEMENTS = {"attribution": "by", "sharealike": "sa", "noncommercial": "nc", "noderivatives": "nd", "noderivs": "nd"}
_PORT = r"(?:[ /](?P<port>[a-z]{2,3}))?"  # of a country, after the version
_CC_NAME = re.compile(rf"(?:cc )?(?P<elements>by(?: (?:nc|sa|nd))*)(?: (?P<version>[1-4]\.[05]){_PORT})?")
_OTHER_NAME = re.compile(r"(?P<name>[a-z0 ]*?[a-z0])(?: v?(?P<version>\d\.\d))?")
_CC_URL = re.compile(
    r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/(?P<elements>[a-z-]+)/"
    rf"(?P<version>[1-4]\.[05]){_PORT}(?:/(?:deed|legalcode)?[^/]*)?/?"
)


class _License(NamedTuple):
    family: str
    version: str = ""
    port: str = ""

    @property
    def identifier(self) -> str:
        return "-".join(part for part in self if part)

    def merged(self, other: _License) -> _License | None:
        """The two as one license, None if they contradict each other."""
        if self.family != other.family or any(a and b and a != b for a, b in zip(self[1:], other[1:], strict=True)):
            return None
        return _License(self.family, self.version or other.version, self.port or other.port)


def license_id(name: str, url: str = "") -> str:
    """Identifier of a license, such as ``"CC-BY-SA-4.0"``, ``"CC0-1.0"`` or ``"unknown"``.

    Args:
        name: As an engine writes it: ``"CC BY-SA 4.0"``, ``"by-sa 4.0"``, ``"cc0"``, ``"Attribution-NonCommercial"``.
        url: Of its text, where known.

    Example:
        >>> license_id("by-nc", "https://creativecommons.org/licenses/by-nc/2.0/")
        'CC-BY-NC-2.0'
        >>> license_id("free to use")
        'unknown'
    """
    named, addressed = _from_name(name), _from_url(url)
    if named is None or addressed is None or named.family == _ATTRIBUTION:
        found = addressed or named
    else:
        found = addressed.merged(named)
    return UNKNOWN if found is None else found.identifier


def license_class(identifier: str) -> LicenseClass:
    """Class of an identifier that `license_id` gave.

    Example:
        >>> license_class("CC-BY-NC-2.0").value
        'non-commercial'
    """
    family = re.sub(r"-\d.*", "", identifier)
    return _CLASSES.get(family, LicenseClass.UNKNOWN)


def strictest(identifiers: Iterable[str]) -> str:
    """Of the licenses under which one image was found, the one that asks most; unknown if none is known."""
    order = list(LicenseClass)
    known = sorted({i for i in identifiers if license_class(i) is not LicenseClass.UNKNOWN})
    return max(known, key=lambda i: order.index(license_class(i)), default=UNKNOWN)


def is_allowed(identifier: str, allow: Collection[str]) -> bool:
    """Return True if a license is on a list of classes and identifiers.

    Args:
        identifier: From `license_id`.
        allow: Names of classes such as ``"attribution"``, and identifiers such as ``"CC-BY-NC-2.0"``; a license that
            is not known is allowed by ``"unknown"`` alone.
    """
    return identifier in allow or license_class(identifier) in allow


def check_allow(allow: Collection[str]) -> None:
    """Refuse a list with a word that is neither a class nor an identifier, such as a misspelled one.

    Raises:
        ValueError: If there is one.
    """
    if isinstance(allow, str):
        raise ValueError(f"allow must be a list of classes and identifiers, got the text {allow!r}; give [{allow!r}]")
    for word in allow:
        if word not in set(LicenseClass) and license_class(word) is LicenseClass.UNKNOWN:
            raise ValueError(
                f"allow must hold classes ({', '.join(LicenseClass)}) or identifiers such as CC-BY-4.0, got {word!r}"
            )


def _from_name(name: str) -> _License | None:
    words = " ".join(re.sub(r"[-_,()/]", " ", name.casefold()).split()).replace("licence", "license")
    words = re.sub(
        r" (?:international|unported|generic|universal|dedication|migrated|license|version)(?= |$)", "", words
    )
    if words in ("attribution", "copyrighted attribution required"):
        return _License(_ATTRIBUTION)
    words = re.sub(r"^creative commons (?!zero)", "cc ", words)
    words = re.sub(r"(non|no|share) (commercial|derivatives|derivs|alike)", r"\1\2", words)
    words = " ".join(_ELEMENTS.get(word, word) for word in words.split())
    if found := _CC_NAME.fullmatch(words):
        return _creative_commons(found["elements"].split(), found["version"] or "", found["port"] or "")
    if (other := _OTHER_NAME.fullmatch(words)) and other["name"] in _NAMES:
        return _License(_NAMES[other["name"]], other["version"] or "")
    return None


def _from_url(url: str) -> _License | None:
    found = _CC_URL.fullmatch(url.strip().casefold())
    if not found:
        return None
    special = {"zero": "CC0", "mark": "CC-PDM"}
    if found["elements"] in special:
        return _License(special[found["elements"]], found["version"])
    return _creative_commons(found["elements"].split("-"), found["version"], found["port"] or "")


def _creative_commons(elements: list[str], version: str, port: str) -> _License | None:
    family = "-".join(["CC", "BY", *(e.upper() for e in ("nc", "nd", "sa") if e in elements)])
    if elements[0] != "by" or len(elements) != len(set(elements)) or family not in _CLASSES:
        return None
    return _License(family, version, port.upper())
