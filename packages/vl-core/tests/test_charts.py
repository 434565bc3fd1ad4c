"""Figures of the right size, saved in one step without a display or a warning."""

import sys

import numpy as np
import pytest
from PIL import Image
from vl_core import charts
from vl_core.charts import (
    PAGE_WIDTH,
    SMALL,
    draw_intervals,
    in_words,
    label_text,
    legend_text,
    new_figure,
    save_figure,
    show_image,
    smallest_text,
    spread,
    style_axes,
    wrapped_label,
)
from vl_core.intervals import Interval


def test_a_figure_is_saved_in_its_size_and_replaces_the_file(tmp_path):
    path = tmp_path / "chart.png"
    path.write_text("old")
    figure = new_figure(2.0, 1.5)
    figure.subplots().plot([0, 1])
    save_figure(figure, path)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (320, 240))
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


PANELS = {
    "strokes": {"likelihood": Interval(0.1, 0.05, 0.2), "likelihood ratio of two models": Interval(0.6, 0.5, 0.7)},
    "a_$b$": {"likelihood": Interval(0.4, 0.3, 0.5), "likelihood ratio of two models": Interval(0.8, 0.7, 0.9)},
}


@pytest.mark.parametrize(
    "options", [{}, {"label": "AUROC", "ticks": (0, 0.5, 1), "reference": 0.5, "title": "images outside"}]
)
def test_intervals_stand_in_rows_from_the_top(options, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(charts, "save_figure", lambda figure, path: saved.append(figure) or save_figure(figure, path))
    draw_intervals(tmp_path / "intervals.png", PANELS, **options)
    (figure,) = saved
    for axes, (name, found) in zip(figure.axes, PANELS.items(), strict=True):
        lines = axes.get_lines()[1 if options else 0 :]
        for row, own in enumerate(found.values()):
            bar, estimate = lines[2 * row : 2 * row + 2]
            assert (list(bar.get_xdata()), list(bar.get_ydata())) == ([own.low, own.high], [row, row])
            assert (list(estimate.get_xdata()), list(estimate.get_ydata())) == ([own.estimate], [row])
        assert axes.get_xlabel() == options.get("label", name)
        assert axes.yaxis_inverted()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [wrapped_label(m, width=20) for m in found]
    assert smallest_text(figure) == SMALL
    if options:
        assert [axes.get_title() for axes in figure.axes] == list(PANELS)
        assert all(axes.get_xlim() == pytest.approx((-0.03, 1.03)) for axes in figure.axes)
        assert list(figure.axes[1].get_lines()[0].get_xdata()) == [0.5, 0.5]
    assert (tmp_path / "intervals.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("panels", [{}, {"digits": {}}])
def test_intervals_of_nothing_are_refused(panels, tmp_path):
    with pytest.raises(ValueError, match=r"^panels must hold at least one with one method, got none"):
        draw_intervals(tmp_path / "intervals.png", panels)


def test_long_names_take_two_lines():
    assert wrapped_label("likelihood ratio of two models", width=20) == "likelihood ratio of\ntwo models"
    assert wrapped_label("a" * 40) == "a" * 17 + "…"
    assert wrapped_label("a b") == "a b"


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


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([0.0, 0.1, 5.0], [-0.45, 0.55, 5.0]),
        ([5.0, 0.1, 0.0], [5.0, 0.55, -0.45]),
        ([1.0, 1.0, 1.0], [0.0, 1.0, 2.0]),
        # Two groups that touch once they are spread become one.
        ([0.0, 0.0, 1.2], [-0.6, 0.4, 1.4]),
        ([], []),
    ],
)
def test_labels_are_spread_around_their_places(places, expected):
    assert spread(places, 1.0) == pytest.approx(expected)


def test_the_smallest_text_is_what_is_left_of_it_on_a_page():
    figure = new_figure(2 * PAGE_WIDTH, 3.0)
    assert smallest_text(figure) == float("inf")
    figure.suptitle("title", fontsize=20)
    assert smallest_text(figure) == 10
    axes = figure.subplots()
    style_axes(axes)
    figure.draw_without_rendering()
    assert smallest_text(figure) == SMALL / 2
    axes.set_axis_off()
    assert smallest_text(figure) == 10
    assert smallest_text(new_figure(PAGE_WIDTH / 2, 3.0)) == float("inf")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"])
def test_images_of_every_mode_are_drawn_in_a_frame(mode, tmp_path):
    base = Image.new("L", (4, 4), 255)
    image = Image.fromarray(np.full((4, 4), 4095, np.uint16)) if mode == "I;16" else base.convert(mode)
    image = image.point(lambda value: value / 255) if mode == "F" else image
    figure = new_figure(1.0, 1.0)
    axes = figure.subplots()
    show_image(axes, image)
    save_figure(figure, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    assert (pixels[80, 80] > 250).all()
    assert all(spine.get_visible() for spine in axes.spines.values())
    # The frame is the only thing on white that is not white.
    assert (pixels < 230).any()


@pytest.mark.parametrize(
    ("identifier", "words"),
    [("jpeg_compression", "JPEG compression"), ("tent", "TENT"), ("runs/a_b", "runs/a_b"), ("a $b", "a $b")],
)
def test_identifiers_are_written_in_words_and_paths_as_they_are(identifier, words):
    assert in_words(identifier) == words
