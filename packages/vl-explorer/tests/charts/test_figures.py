"""Figures of a run are PNG files that hold what they are given."""

from __future__ import annotations

import math

import pytest
from PIL import Image
from vl_core.charts import smallest_text
from vl_explorer.charts import progress, wall
from vl_explorer.charts.progress import draw_progress
from vl_explorer.charts.wall import draw_wall
from vl_explorer.exploring.summary import IterationSummary


def summary(t, accuracy=None):
    return IterationSummary((0.1,), 0.1 * t, 0.2 * t, 10 + t, 10 - t, 1, 0, 3, 0.0, 10 * t, accuracy)


@pytest.fixture
def figures(monkeypatch):
    """Figures as they are saved."""
    found = []

    def save(figure, path):
        found.append(figure)
        figure.savefig(path, dpi=40)

    for module in (progress, wall):
        monkeypatch.setattr(module, "save_figure", save)
    return found


def lines(axes):
    return {line.get_label(): [round(value, 9) for value in line.get_ydata()] for line in axes.get_lines()}


def test_progress_shows_rewards_accuracy_and_images(tmp_path, figures):
    draw_progress(tmp_path / "curve.png", [summary(0), summary(1, 0.5), summary(2, 0.75)], title="$birds$")
    (figure,) = figures
    rewards, accuracy, images = figure.axes
    assert lines(rewards) == {"mean of all images": [0, 0.1, 0.2], "best tenth": [0, 0.2, 0.4]}
    (values,) = lines(accuracy).values()
    assert math.isnan(values[0])
    assert values[1:] == [50, 75]
    assert lines(images) == {"found": [10, 11, 12], "new": [10, 9, 8]}
    assert smallest_text(figure) >= 8
    with Image.open(tmp_path / "curve.png") as image:
        assert image.format == "PNG"


def test_hits_stand_beside_chance_and_no_panel_is_empty(tmp_path, figures):
    draw_progress(tmp_path / "curve.png", [summary(0), summary(1)], hits=[0.25, 0.5], chance=0.1)
    _, hits = figures[0].axes
    assert lines(hits) == {"images that are relevant": [25, 50], "in the whole web": [10, 10]}


def test_a_wall_has_a_tile_an_image(tmp_path, figures):
    sizes = [(40, 20), (1, 500), (300, 300), (8, 8), (64, 64)]
    modes = ["RGB", "L", "RGBA", "P", "CMYK"]
    images = [Image.new(mode, size) for mode, size in zip(modes, sizes, strict=True)]
    draw_wall(tmp_path / "wall.png", images, ["$x_1", "a\nb\nc", "", "w" * 200, "\udcff"], columns=4, title="best")
    (figure,) = figures
    assert len(figure.axes) == 8
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 5
    captions = [axes.get_xlabel() for axes in shown]
    assert captions[:3] == ["$x_1", "a\nb", ""]
    assert captions[3].endswith("…")
    assert smallest_text(figure) >= 8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: draw_progress(path, []), "summaries must hold at least one iteration"),
        (lambda path: draw_progress(path, [summary(0)], hits=[0.1, 0.2]), "one share an iteration, 1, got 2"),
        (lambda path: draw_wall(path, [], []), "images must hold 1 to 200, got 0"),
        (lambda path: draw_wall(path, [Image.new("L", (1, 1))], []), "as many as images, 1, got 0"),
        (lambda path: draw_wall(path, [Image.new("L", (1, 1))], [""], columns=13), r"columns must lie in 1\.\.12"),
    ],
)
def test_refused(tmp_path, call, words):
    with pytest.raises(ValueError, match=words):
        call(tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []
