"""The sheet of views is written, and refuses what it cannot draw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from vl_ssl.augmentation.recipes import byol_recipe, small_recipe
from vl_ssl.charts.views import chart_views


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_is_written_and_the_same_again(tmp_path: Path, channels: int) -> None:
    images = torch.randint(256, (2, channels, 12, 12), dtype=torch.uint8)
    for name in ("one.png", "two.png"):
        chart_views(images, {"BYOL": byol_recipe(8), "small": small_recipe(8)}, tmp_path / name, pairs=1)
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize(
    ("shape", "names", "message"),
    [
        ((1, 13, 8, 8), ["a"], "got \\(1, 13, 8, 8\\)"),
        ((0, 1, 8, 8), ["a"], "images must"),
        ((1, 1, 8, 8), [], "at least one"),
    ],
)
def test_nothing_to_draw_is_refused(tmp_path: Path, shape: tuple[int, ...], names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chart_views(torch.zeros(shape), {name: small_recipe(8) for name in names}, tmp_path / "sheet.png")
