"""Figures of trainings and spectra: what is drawn, and what is refused."""

import math

import pytest
from PIL import Image
from vl_core.charts import PAGE_WIDTH, smallest_text
from vl_ssl.charts import training as training_module
from vl_ssl.charts.training import TrainingCurve, draw_training


def curve(name="simsiam", alarms=(), knn=True):
    rows = [
        {
            "step": 50 * number + 49,
            "loss": -number / 10,
            **{f"collapse/{space}/auc": 0.8 + number / 50 for space in ("features", "projections") if number},
            **({"knn": 0.5 + number / 20} if knn and number % 2 else {}),
        }
        for number in range(6)
    ]
    spectra = {space: {step: [2.0, 1.0, 1e-9] for step in (49, 149)} for space in ("features", "projections")}
    return TrainingCurve(name, rows, spectra, alarms)


@pytest.fixture
def figures(monkeypatch):
    """Figures in the order they are saved."""
    found = []
    save = training_module.save_figure

    def keep(figure, path):
        found.append(figure)
        save(figure, path)

    monkeypatch.setattr(training_module, "save_figure", keep)
    return found


def test_two_runs_have_a_line_each_and_their_alarms_are_marked(figures, tmp_path):
    draw_training(tmp_path / "two.png", [curve(), curve("no predictor", alarms=(149, 199))], title="$a$ and _b_")
    axes = {part.get_title(): part for part in figures[0].axes}
    assert {"loss", "AUC, 1 is collapsed", "k-NN accuracy", "simsiam: projections", "no predictor: projections"} <= set(
        axes
    )
    vertical = [line for line in axes["loss"].lines if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in vertical] == [150]
    (legend,) = figures[0].subfigs[0].legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["simsiam", "no predictor", "AUC of features", "AUC of projections", "alarm"]
    assert smallest_text(figures[0]) >= 8
    with Image.open(tmp_path / "two.png") as image:
        assert image.width == PAGE_WIDTH * 160


def test_one_run_shows_the_spectra_of_features_and_projections(figures, tmp_path):
    draw_training(tmp_path / "one.png", [curve(knn=False)])
    axes = {part.get_title(): part for part in figures[0].axes}
    assert len(axes["features"].lines) == len(axes["projections"].lines) == 2
    early, late = (sum(line.get_color()[:3]) for line in axes["features"].lines)
    assert early < late
    assert [text.get_text() for text in axes["k-NN accuracy"].texts] == ["no labels"]


def test_a_run_that_has_read_nothing_yet_is_drawn(tmp_path):
    draw_training(tmp_path / "empty.png", [TrainingCurve("none", [])])
    assert (tmp_path / "empty.png").stat().st_size > 1000


def test_points_leave_out_rows_without_the_number():
    rows = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": math.nan, "knn": 0.5}, {"step": 2}]
    assert TrainingCurve("run", rows).points("loss") == ([1], [1.0])
    assert TrainingCurve("run", rows).points("knn") == ([2], [0.5])


def test_spectra_do_not_depend_on_the_scale_of_features_and_a_point_lies_on_the_floor(figures, tmp_path):
    spectra = {"features": {0: [4.0, 2.0], 1: [0.4, 0.2], 2: [0.0, 0.0]}}
    draw_training(tmp_path / "spectra.png", [TrainingCurve("run", [], spectra)])
    (axes,) = (part for part in figures[0].axes if part.get_title() == "features")
    first, second, point = (list(line.get_ydata()) for line in axes.lines)
    assert first == second == [1.0, 0.5]
    assert point[0] == point[1] < 1e-3


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda path: draw_training(path, []), "one or two runs, got 0"),
        (lambda path: draw_training(path, [curve()] * 3), "one or two runs, got 3"),
    ],
)
def test_nothing_and_too_much_are_refused(draw, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "figure.png")
