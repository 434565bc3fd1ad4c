"""Charts that can be read at the width of a page, with names in words and error bars that stand out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from vl_core.charts import SMALL, smallest_text
from vl_diffusion.charts.adaptation import Example, draw_gains, draw_images
from vl_diffusion.charts.classification import draw_classification
from vl_diffusion.charts.error_maps import draw_error_maps
from vl_diffusion.charts.evaluation import draw_calibration, draw_evaluation
from vl_diffusion.charts.searches import draw_comparison
from vl_diffusion.classification.result import Classification
from vl_diffusion.studies.adaptation.names import METHOD_NAMES, METHOD_TITLES
from vl_diffusion.studies.adaptation.report import study_title

CLASSES = ("T-shirt/top", "a class with quite a long name", "$5_bag")


@pytest.fixture
def figures(monkeypatch):
    """Collect every figure that is saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **b: (saved.append(self), save(self, *a, **b))[1])
    return saved


def classification(images=4, classes=CLASSES):
    """Make a result in which class 0 is predicted and the last one is pruned early."""
    shape = (images, len(classes))
    differences = np.tile(np.linspace(0, 0.02, len(classes)), (images, 1))
    evaluations = np.full(shape, 30)
    evaluations[:, -1] = 6
    probabilities = np.full(shape, 1 / len(classes))
    return Classification(
        classes=tuple(classes),
        image_ids=np.arange(images),
        errors=differences + 0.1,
        standard_errors=np.full(shape, 0.01),
        draws=evaluations,
        evaluations=evaluations,
        differences=differences,
        difference_standard_errors=np.where(differences > 0, 0.004, 0.0),
        predictions=np.zeros(images, int),
        probabilities=probabilities,
        inner_evaluations=np.zeros(images, int),
        num_values=np.full(images, 784),
        pruned=evaluations < 30,
    )


def classified(path):
    white = np.full((28, 28), 255, np.uint8)
    names = [f"photos/of a very long folder name/{i}.png" for i in range(4)]
    draw_classification(path, [white] * 4, classification(), ["T-shirt/top", "$5_bag", None, None], names)


def test_undecided_answers_are_marked(tmp_path, figures):
    result = classification(2)
    # The second image's margin is within its standard error.
    result.difference_standard_errors[1, 1:] = 0.5
    draw_classification(tmp_path / "a.png", [np.zeros((28, 28), np.uint8)] * 2, result, [None, "$5_bag"])
    titles = [axes.get_title() for axes in figures[-1].axes if axes.get_title()]
    assert titles == ["T-shirt/top", "T-shirt/top\n(undecided)\n(true: $5_bag)"]


def many_classified(path):
    names = [f"class {i}" for i in range(40)]
    draw_classification(path, [np.zeros((8, 8, 3))] * 9, classification(9, names), [None] * 9)


def undecided_classified(path):
    result = classification(11, ("dress", "a class with quite a long name", "an-even-longer-name-without-any-spaces"))
    result.difference_standard_errors[:, 1:] = 0.5
    result.predictions[:] = np.arange(11) % 3
    truths = ["a class with quite a long name", "dress", "dress", None] * 3
    draw_classification(path, [np.zeros((8, 8, 3))] * 11, result, truths[:11], ["a/very/long/name.png"] * 11)


def compared(path):
    rows = [
        SimpleNamespace(search=name, images=20, accuracy=0.9, agreement=agreement, evaluations_per_image=cost)
        for name, agreement, cost in (("exhaustive", 1, 2500), ("racing", 0.95, 158), ("tree", 0.95, 158))
    ]
    draw_comparison(path, rows)


def gained(path):
    rows = [
        SimpleNamespace(corruption=c, method=m, accuracy=0.7, gain=1.0, gain_low=0.0, gain_high=2.0)
        for c in ("clean", "jpeg_compression")
        for m in METHOD_NAMES
    ]
    draw_gains(path, rows, study_title(500, [3, 5], 3), METHOD_TITLES)


def many_adapted(path):
    example = Example(np.ones((8, 8)), np.zeros((8, 8)), "elastic transform 5", CLASSES[0], CLASSES[1], CLASSES[0])
    draw_images(path, [example] * 4, "adapter, seed 0")


def evaluated(path, classes=CLASSES):
    figures = SimpleNamespace(accuracy=0.5, accuracy_low=0.1, accuracy_high=0.9, images=4, evaluations_per_image=66.0)
    figures.expected_calibration_error = 0.1
    draw_evaluation(path, classification(classes=classes), np.array([0, 0, 1, 2]), figures, bins=5)


def evaluated_on_thirty(path):
    evaluated(path, [f"quite a long name of class {i}" for i in range(30)])


def calibrated(path):
    draw_calibration(path, classification(), classification(), np.array([0, 0, 1, 2]), 0.3, bins=5)


def mapped(path):
    rng = np.random.default_rng(0)
    draw_error_maps(path, np.full((8, 8, 3), 255, np.uint8), rng.random((3, 4, 4)), CLASSES)


CHARTS = [
    *(classified, many_classified, undecided_classified, compared, gained, many_adapted),
    *(evaluated, evaluated_on_thirty, calibrated, mapped),
]


@pytest.mark.parametrize("draw", CHARTS, ids=lambda draw: draw.__name__)
def test_no_type_is_smaller_than_eight_points_at_the_width_of_a_page(draw, figures, tmp_path):
    draw(tmp_path / "chart.png")
    assert smallest_text(figures[0]) >= SMALL


def test_titles_and_file_names_lie_within_the_figure(figures, tmp_path):
    undecided_classified(tmp_path / "chart.png")
    figures[0].draw_without_rendering()
    left, right = figures[0].bbox.intervalx
    for text in (text for axes in figures[0].axes for text in (axes.title, axes.xaxis.label)):
        box = text.get_window_extent()
        assert left <= box.x0 <= box.x1 <= right, text.get_text()


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_a_classified_image_has_its_file_name_and_a_frame(figures, tmp_path):
    classified(tmp_path / "chart.png")
    assert "…folder name/0.png" in texts(figures[0])
    assert "T-shirt/top\n(true: $5_bag)" in texts(figures[0])
    image = figures[0].axes[0]
    assert image.images
    assert all(spine.get_visible() for spine in image.spines.values())
    assert to_hex(image.spines["left"].get_edgecolor()) != "#ffffff"


def luminance(color):
    """Relative luminance, as WCAG 2 defines it."""
    parts = np.array([int(to_hex(color)[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_error_bars_stand_out_from_every_bar(figures, tmp_path):
    classified(tmp_path / "chart.png")
    bars = figures[0].axes[1]
    (lines,) = (c for c in bars.collections if len(c.get_segments()) == len(CLASSES))
    line = luminance(lines.get_color()[0])
    for bar in bars.patches:
        assert (luminance(bar.get_facecolor()) + 0.05) / (line + 0.05) > 4.5
    assert len({to_hex(bar.get_facecolor()) for bar in bars.patches}) == 2


def test_of_many_classes_the_nearest_are_drawn(figures, tmp_path):
    many_classified(tmp_path / "chart.png")
    assert "6 of 40 classes" in figures[0].get_suptitle()
    assert len(figures[0].axes[1].patches) == 6


def test_methods_and_corruptions_are_named_in_words(figures, tmp_path):
    gained(tmp_path / "chart.png")
    shown = [text for text in texts(figures[0]) if text]
    assert {"JPEG compression", "adapter, online", "Diffusion-TTA", "diffusion classifier"} <= set(shown)
    assert not [text for text in shown if "_" in text]
    assert figures[0].get_suptitle() == "500 images per corruption at severity 3 and 5, 3 seeds"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1, [5], 1), "1 image per corruption at severity 5, 1 seed"),
        ((2, [1, 3, 3, 5], 2), "2 images per corruption at severity 1, 3 and 5, 2 seeds"),
        ((3, [], 1), "3 images per corruption, 1 seed"),
    ],
)
def test_the_title_of_a_study_lists_its_severities(given, expected):
    assert study_title(*given) == expected


def test_searches_are_drawn_from_the_cheapest_with_their_figures_beside_them(figures, tmp_path):
    compared(tmp_path / "chart.png")
    axes = figures[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["racing", "tree", "exhaustive"]
    shown = texts(figures[0])
    assert "2,500" in shown
    assert shown.count("158") == 2
    assert "baseline" in shown
    assert sum(text.startswith("95.0 % (") for text in shown) == 2
