"""Licenses as engines write them."""

from __future__ import annotations

import pytest
from vl_explorer.store.rights.licenses import FREE, LicenseClass, is_allowed, license_class, license_id, strictest

CC = "https://creativecommons.org/licenses"


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("CC BY-SA 4.0", "", "CC-BY-SA-4.0"),
        ("CC BY-SA 3.0 de", "", "CC-BY-SA-3.0-DE"),
        ("CC-BY-SA-3.0-migrated", "", "CC-BY-SA-3.0"),
        ("by-nc 2.0", "", "CC-BY-NC-2.0"),
        ("by", f"{CC}/by/2.0/", "CC-BY-2.0"),
        ("", f"{CC}/by-nc-nd/3.0/de/deed.en", "CC-BY-NC-ND-3.0-DE"),
        ("Attribution License", f"{CC}/by/2.0/", "CC-BY-2.0"),
        ("Attribution License", "", "LicenseRef-Attribution"),
        ("Attribution-NonCommercial-NoDerivs License", "", "CC-BY-NC-ND"),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution Non Commercial Share Alike 4.0", "", "CC-BY-NC-SA-4.0"),
        ("cc0", "", "CC0"),
        ("CC0 1.0 Universal", "", "CC0-1.0"),
        ("", "https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("pdm", "http://www.creativecommons.org/publicdomain/mark/1.0/legalcode", "CC-PDM-1.0"),
        ("Public domain", "", "LicenseRef-Public-Domain"),
        ("No known copyright restrictions", "https://www.flickr.com/commons/usage/", "LicenseRef-No-Known-Copyright"),
        ("United States Government Work", "", "LicenseRef-US-Government"),
        ("GNU Free Documentation License 1.2", "", "GFDL-1.2"),
        ("Free Art License 1.3", "", "LAL-1.3"),
        ("OGL 3.0", "", "OGL-UK-3.0"),
        ("MIT License", "", "MIT"),
        ("Apache-2.0", "", "Apache-2.0"),
        ("All rights reserved", "", "LicenseRef-All-Rights-Reserved"),
        ("All rights reserved", f"{CC}/by/4.0/", "unknown"),
        ("CC BY 4.0", f"{CC}/by-sa/4.0/", "unknown"),
        ("CC BY 4.0", f"{CC}/by/3.0/", "unknown"),
        ("", "https://creativecommons.org.evil.example/licenses/by/4.0/", "unknown"),
        ("sampling+", "", "unknown"),
        ("by-nd-sa", "", "unknown"),
        ("by by", "", "unknown"),
        ("cc", "", "unknown"),
        ("free to use", "", "unknown"),
        ("", "", "unknown"),
    ],
)
def test_names_and_addresses_become_identifiers(name, url, expected):
    assert license_id(name, url) == expected
    assert (license_class(expected) is LicenseClass.UNKNOWN) == (expected == "unknown")


def test_identifiers_stay_what_they_are():
    for identifier in ("CC-BY-4.0", "CC-BY-NC-SA-2.0", "CC0-1.0", "GFDL-1.2", "CC-BY-SA-3.0-DE"):
        assert license_id(identifier) == identifier


def test_the_list_of_what_is_allowed_holds_classes_and_identifiers():
    assert is_allowed("CC-BY-SA-4.0", FREE)
    assert not is_allowed("CC-BY-NC-2.0", FREE)
    assert is_allowed("CC-BY-NC-2.0", ["CC-BY-NC-2.0"])
    assert not is_allowed("CC-BY-NC-4.0", ["CC-BY-NC-2.0"])
    assert not is_allowed("unknown", FREE)
    assert is_allowed("unknown", ["unknown"])


def test_of_several_licenses_the_one_that_asks_most_counts():
    assert strictest(["CC-BY-4.0", "unknown", "CC-BY-NC-2.0", "CC0-1.0"]) == "CC-BY-NC-2.0"
    assert strictest(["unknown"]) == strictest([]) == "unknown"
