"""Sheets of images with captions."""

import numpy as np
import pytest
from PIL import Image
from vl_vlm.charts.sheets import draw_sheet

GRAY = np.full((8, 8, 3), 128, np.uint8)


def test_every_image_and_the_start_of_every_caption_is_on_the_sheet(tmp_path):
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250), (250, 0, 250)]
    images = [Image.new("RGB", (8, 8), color) for color in colors]
    heights = []
    for words in (1, 40):
        draw_sheet(tmp_path / "sheet.png", images, ["$word_ " * words] * 6, title="a $title")
        sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
        found = dict(map(reversed, sheet.getcolors(2**24)))
        assert all(found.get(color, 0) > 10_000 for color in colors)
        heights.append(sheet.height)
    assert heights[0] == heights[1]


@pytest.mark.parametrize(("images", "captions"), [([], []), ([GRAY], []), ([GRAY], ["a", "b"])])
def test_numbers_that_do_not_fit_are_refused(images, captions, tmp_path):
    with pytest.raises(ValueError, match="captions must be one for each image, and images at least one"):
        draw_sheet(tmp_path / "sheet.png", images, captions)
    assert not list(tmp_path.iterdir())
