"""Runs of a study: rows, curves, resumption, and the grid."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from vl_core.files import read_json
from vl_core.runs import RunFolder, read_metrics
from vl_ssl import CollapseMeter, StudyRun, load_backbone, run_study, study_grid
from vl_ssl.training import study
from vl_ssl.training.study import METRICS, divided_images, study_images

SMALL = StudyRun(width=2, batch_size=16, epochs=2, limit=64, image_size=8)


def load_checkpoint_step(folder):
    """Updates that the checkpoint of a run stands for."""
    with RunFolder(folder, read_json(folder / "config.json")) as run:
        return run.load_checkpoint().step


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: its folder and row."""
    folder = tmp_path_factory.mktemp("study") / "run"
    return folder, run_study(SMALL, folder)


def test_a_row_holds_settings_and_what_was_measured(finished):
    folder, row = finished
    assert {name: row[name] for name in SMALL.row()} == SMALL.row()
    assert (row["updates"], row["dimensions"]) == (8, 16)
    # Eight updates are logged each: the last tenth is the last one.
    assert row["loss"] == pytest.approx(read_metrics(folder)[-1]["loss"])
    images = study_images("fashion", 8, 64).train
    meter = CollapseMeter()
    with torch.no_grad():
        meter.update(load_backbone(folder / "model")(images.batch(slice(0, 64))))
    expected = meter.compute()
    for name in METRICS:
        assert row[name] == pytest.approx(getattr(expected, name), rel=1e-4), name
    assert 0 <= row["knn"] <= row["knn_best"] <= 1
    assert row["projection_auc"] >= 0.5


def test_the_curve_ends_with_the_row(finished):
    folder, row = finished
    with (folder / "curve.csv").open() as file:
        curve = list(csv.DictReader(file))
    assert [int(each["step"]) for each in curve] == list(range(8))
    assert float(curve[-1]["auc"]) == pytest.approx(row["auc"], rel=1e-4)
    assert max(float(each["knn"]) for each in curve) == pytest.approx(row["knn_best"])


def test_a_finished_run_is_read_and_not_repeated(finished, monkeypatch):
    folder, row = finished
    monkeypatch.setattr(study, "pretrain", None)
    assert run_study(SMALL, folder) == row
    with pytest.raises(ValueError, match="another seed"):
        run_study(replace(SMALL, seed=1), folder)


def test_an_interrupted_run_ends_with_the_same_row(finished, tmp_path, monkeypatch):
    whole = study.StudyProbe.__call__

    def stop(self, method, update):
        if update == 5:
            raise KeyboardInterrupt
        return whole(self, method, update)

    monkeypatch.setattr(study.StudyProbe, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        run_study(SMALL, tmp_path, checkpoint_every=3)
    assert load_checkpoint_step(tmp_path) == 3
    assert not (tmp_path / "row.json").exists()
    monkeypatch.setattr(study.StudyProbe, "__call__", whole)
    row = run_study(SMALL, tmp_path)
    assert {**row, "seconds": 0} == {**finished[1], "seconds": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "byol", "ablation": "no-predictor", "schedule": "continual"},
        {"method": "vicreg", "schedule": "hybrid", "share": 0.5},
    ],
)
def test_methods_schedules_and_shares_train_for_as_many_updates(changes, tmp_path):
    row = run_study(replace(SMALL, epochs=1, **changes), tmp_path)
    assert row["updates"] == 4
    assert np.isfinite([row["loss"], row["auc"], row["knn"]]).all()


def test_images_without_splits_keep_a_fifth_for_tests(tmp_path):
    for number in range(10):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    train, test = divided_images(str(tmp_path))
    assert (len(train), len(test)) == (8, 2)
    assert not set(train.names) & set(test.names)
    assert sorted(test.labels.tolist()) == [0, 1]
    assert study_images(str(tmp_path), 8, 100).train.images.shape == (8, 3, 8, 8)


def test_a_grid_leaves_out_ablations_that_a_method_lacks():
    runs = study_grid({"method": ["simsiam", "simclr"], "ablation": ["none", "no-predictor"], "width": [2, 4]})
    assert len(runs) == 6
    assert {run.ablation for run in runs if run.method == "simclr"} == {"none"}
    assert len({run.name for run in runs}) == 6
    assert replace(runs[0], seed=1).name != runs[0].name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StudyRun(width=3), "width must be even, got 3"),
        (lambda: StudyRun(width=0), "width must be at least 2, got 0"),
        (lambda: StudyRun(share=0), "share must be above 0 and at most 1, got 0"),
        (lambda: StudyRun(base_learning_rate=float("inf")), "base_learning_rate must be above 0 and finite"),
        (lambda: StudyRun(method="dino"), "method must be one of simsiam, .* got 'dino'"),
        (lambda: StudyRun(method="simclr", ablation="no-predictor"), "must be for simsiam or byol, got simclr"),
        (lambda: StudyRun(batch_size=64, limit=32, epochs=1), "batch_size must be at most the run's 32 positions"),
        (lambda: StudyRun(schedule="continual", limit=20, share=0.1, batch_size=2), "at most the 2 images"),
        (lambda: study_grid({"lr": [1]}), "choices must be among method, "),
        (lambda: study_grid({"seed": []}), "seed must have at least one value"),
        (lambda: study_grid({"method": ["byol", "vicreg"][1:], "ablation": ["no-predictor"]}), "at least one run"),
    ],
)
def test_what_cannot_be_studied_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
