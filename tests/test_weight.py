"""Budgets of what the repository carries: shipped weights per package, files of results, and the tracked tree.

One megabyte is 10^6 bytes here. A failure names the files that broke the budget, the heaviest first.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from workspace import ROOT, read_packages

MEGABYTE = 1_000_000
TREE = 40 * MEGABYTE
RESULT = 300_000
"""Limit of one file under a `results/` folder."""
WEIGHTS = {"vl-diffusion": 14 * MEGABYTE, "vl-attention": 4_500_000}
OTHER_WEIGHTS = 3 * MEGABYTE
"""Limit of the shipped weights of a package that `WEIGHTS` does not name."""


def tracked_sizes(root: Path = ROOT) -> dict[str, int]:
    """Return the bytes of every tracked file that exists, by path relative to the root, or skip outside a checkout."""
    if not (root / ".git").exists():
        pytest.skip(f"{root} is no git checkout, so which files are tracked is unknown")
    listed = subprocess.check_output(["git", "-C", str(root), "ls-files", "-z"], text=True).split("\0")
    return {name: (root / name).stat().st_size for name in listed if name and (root / name).is_file()}


def over_budget(sizes: Mapping[str, int]) -> list[str]:
    """Return a line for each budget that is broken, with the heaviest files of what broke it."""
    problems = [
        f"{name} takes {size:,} bytes, at most {RESULT:,} are allowed under results/"
        for name, size in sorted(sizes.items())
        if "results" in Path(name).parts[:-1] and size > RESULT
    ]
    for package in sorted({name.split("/")[1] for name in sizes if name.startswith("packages/")}):
        source = f"packages/{package}/src/"
        weights = {n: s for n, s in sizes.items() if n.startswith(source) and n.endswith(".safetensors")}
        problems += _exceeded(f"weights shipped in {package}", weights, WEIGHTS.get(package, OTHER_WEIGHTS))
    return problems + _exceeded("the tracked tree", sizes, TREE)


def _exceeded(what: str, sizes: Mapping[str, int], limit: int) -> list[str]:
    total = sum(sizes.values())
    if total <= limit:
        return []
    heaviest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
    files = ", ".join(f"{name} ({sizes[name]:,})" for name in heaviest)
    return [f"{what}: {total:,} bytes, at most {limit:,} are allowed; the heaviest: {files}"]


def test_the_repository_is_within_its_budgets() -> None:
    assert over_budget(tracked_sizes()) == []


def test_budgets_name_packages_that_exist() -> None:
    assert WEIGHTS.keys() <= read_packages().keys()


SHIPPED = "packages/{}/src/x/model.safetensors"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"packages/vl-a/results/x/big.png": 300_001}, ["packages/vl-a/results/x/big.png takes 300,001 bytes"]),
        ({"packages/vl-a/results/x/fine.png": 300_000, "packages/vl-a/docs/results": 300_001}, []),
        ({SHIPPED.format("vl-ssl"): 3_000_001}, ["weights shipped in vl-ssl: 3,000,001 bytes, at most 3,000,000"]),
        ({SHIPPED.format("vl-attention"): 4_500_000, SHIPPED.format("vl-diffusion"): 14_000_000}, []),
        ({SHIPPED.format("vl-diffusion"): 14_000_001}, ["weights shipped in vl-diffusion: 14,000,001 bytes"]),
        ({"a": 39_999_999, "b": 2}, ["the tracked tree: 40,000,001 bytes, at most 40,000,000 are allowed"]),
    ],
)
def test_a_broken_budget_is_named_with_its_heaviest_files(sizes: dict[str, int], expected: list[str]) -> None:
    found = over_budget(sizes)
    assert len(found) == len(expected)
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)
        assert max(sizes, key=sizes.__getitem__) in line


def test_outside_a_checkout_the_tree_is_not_weighed(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="is no git checkout"):
        tracked_sizes(tmp_path)
