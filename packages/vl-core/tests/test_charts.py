"""Figures of the right size, saved in one step without a display or a warning."""

import sys

import numpy as np
import pytest
from PIL import Image
from vl_core import charts
from vl_core.charts import label_text, legend_text, new_figure, save_figure, style_axes


def test_a_figure_is_saved_in_its_size_and_replaces_the_file(tmp_path):
    path = tmp_path / "chart.png"
    path.write_text("old")
    figure = new_figure(2.0, 1.5)
    figure.subplots().plot([0, 1])
    save_figure(figure, path)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (240, 180))
        assert len(np.unique(np.asarray(image.convert("L")))) > 2
    assert [file.name for file in tmp_path.iterdir()] == ["chart.png"]


def test_a_figure_that_cannot_be_drawn_leaves_the_file(tmp_path, monkeypatch):
    path = tmp_path / "chart.png"
    path.write_text("old")
    figure = new_figure(2.0, 1.5)
    monkeypatch.setattr(figure, "savefig", lambda *given, **named: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_figure(figure, path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.filterwarnings("error")
def test_characters_that_the_font_lacks_do_not_warn(tmp_path):
    figure = new_figure(2.0, 1.5)
    figure.suptitle("\N{SNOWMAN WITHOUT SNOW}\N{HANGUL SYLLABLE GAG}")
    save_figure(figure, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 0


def test_styled_axes_keep_two_spines_and_have_a_grid_behind_the_data():
    axes = new_figure(2.0, 1.5).subplots()
    style_axes(axes, grid="y")
    assert {side for side, spine in axes.spines.items() if spine.get_visible()} == {"left", "bottom"}
    assert [line.get_visible() for line in (axes.get_ygridlines()[0], axes.get_xgridlines()[0])] == [True, False]
    assert axes.get_axisbelow() is True
    style_axes(axes, spines=("bottom",))
    assert {side for side, spine in axes.spines.items() if spine.get_visible()} == {"bottom"}


def test_every_color_has_a_marker():
    assert len(charts.MARKERS) == len(set(charts.COLORS)) == len(charts.COLORS)


def test_names_are_shortened_and_drawable():
    assert label_text("coat") == "coat"
    assert label_text("a" * 21) == "a" * 19 + "…"
    assert label_text("a" * 21, at_most=None) == "a" * 21
    assert label_text("b\udcff.png") == r"b\udcff.png"


def test_legends_show_underscores_and_dollars():
    assert legend_text("_a $b$") == r" _a \$b\$"


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'vl-core\[charts\]'"):
        new_figure(1.0, 1.0)
