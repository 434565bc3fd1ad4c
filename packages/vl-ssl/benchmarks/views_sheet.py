"""Draw the sheet of views in the documentation: emoji of 64 pixels and clothing of 28 by each recipe.

python packages/vl-ssl/benchmarks/views_sheet.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from vl_core.data import open_dataset
from vl_ssl import byol_recipe, image_tensors, mocov2_recipe, small_recipe
from vl_ssl.charts.views import chart_views

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Write both sheets."""
    emoji = image_tensors(open_dataset("emoji:noto", split="test"), size=64, channels=3, limit=2)
    recipes = {"MoCo v2": mocov2_recipe(64), "BYOL": byol_recipe(64), "small": small_recipe(32)}
    chart_views(emoji.images, recipes, DOCS / "views.png", pairs=3)
    fashion = image_tensors(open_dataset("fashion", split="test"), size=28, channels=1, limit=2)
    blurred = small_recipe(28, blur=0.5)
    gray = {"small": small_recipe(28), "with blur": blurred}
    chart_views(torch.as_tensor(fashion.images), gray, DOCS / "views-gray.png", pairs=3)


if __name__ == "__main__":
    main()
