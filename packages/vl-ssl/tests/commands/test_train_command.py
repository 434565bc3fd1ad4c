"""`vl-ssl train` from the command line: files, resumption, alarms, own images, and what is refused."""

import csv
import inspect
import re

import numpy as np
import pytest
import torch
from PIL import Image
from vl_core.data import ImageDataset
from vl_core.files import read_json
from vl_core.runs import read_metrics
from vl_ssl import load_backbone
from vl_ssl.cli import main
from vl_ssl.collapse import monitor as monitor_module
from vl_ssl.commands import _watched_run as watched
from vl_ssl.commands import train as train_command
from vl_ssl.commands._report_page import write_page
from vl_ssl.commands._training_images import open_training_images
from vl_ssl.commands.settings.train import OPTIONS, Train
from vl_ssl.methods.build import METHODS

SMALL = [
    *("--limit", "48", "--size", "8", "--width", "2", "--projection", "8", "--predictor-hidden", "4"),
    *("--epochs", "4", "--batch-size", "16", "--read-every", "3", "--probe-every", "6", "--probe-limit", "40"),
]


def run(*arguments):
    return main(["train", *map(str, arguments)])


@pytest.fixture(autouse=True)
def _read_early(monkeypatch):
    """Readings of 32 samples; the default waits for 1,024."""
    monkeypatch.setattr(monitor_module, "_LEAST", 32)
    monkeypatch.setattr(monitor_module, "_PER_DIMENSION", 1)


@pytest.fixture
def _plain_figure(monkeypatch):
    """No figure, which takes longer than these trainings."""
    monkeypatch.setattr(train_command, "draw_training", lambda path, *_, **__: Image.new("L", (1, 1)).save(path))


fast = pytest.mark.usefixtures("_plain_figure")


def weights(folder):
    return load_backbone(folder / "model").state_dict()


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_two_runs_are_written_and_a_second_call_changes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    assert run(*SMALL, "--out", out) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^no stop-gradient +12 ", shown, re.MULTILINE)
    for folder in (out, out / "beside"):
        assert len(read_metrics(folder)) == 4
        assert list(folder.glob("tensorboard/events*"))
    with (out / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["simsiam"] * 4 + ["no stop-gradient"] * 4
    assert all(0 <= float(row["collapse/features/auc"]) <= 1 for row in rows)
    assert [row["knn"] != "" for row in rows[:4]] == [False, True, False, True]
    assert set(watched.read_spectra(out / "spectra.jsonl")["projections"]) == {5, 11}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    assert not re.search(r"<script|<link|http", page)
    before = {
        name: (out / name).read_bytes() for name in ("curve.csv", "metrics.jsonl", "spectra.jsonl", "report.html")
    }
    first = weights(out)
    assert run(*SMALL, "--out", out) == 0
    assert {name: (out / name).read_bytes() for name in before} == before
    assert same(first, weights(out))
    assert run(*SMALL, "--out", out, "--seed", 1) == 2
    capsys.readouterr()
    assert run(*SMALL, "--out", out, "--read-every", 2) == 2
    assert "read_every (3 in the folder, now 2)" in capsys.readouterr().err


@fast
@pytest.mark.parametrize(
    ("seconds", "said"), [(60, "killed has no checkpoint yet, so a rerun begins it anew"), (0, "rerun to resume from")]
)
def test_an_interrupted_run_ends_like_one_that_was_not(seconds, said, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vl_core.training._loop.CHECKPOINT_SECONDS", seconds)
    arguments = [*SMALL, "--beside", "none"]
    assert run(*arguments, "--out", tmp_path / "whole") == 0
    probe = watched._Recorder.__call__

    def interrupted(self, method, update):
        if update > 5:
            raise KeyboardInterrupt
        return probe(self, method, update)

    with monkeypatch.context() as patch:
        patch.setattr(watched._Recorder, "__call__", interrupted)
        assert run(*arguments, "--out", tmp_path / "killed") == 130
    assert said in capsys.readouterr().err
    assert run(*arguments, "--out", tmp_path / "killed") == 0
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    for name in ("curve.csv", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert watched.read_spectra(tmp_path / "whole/spectra.jsonl") == watched.read_spectra(
        tmp_path / "killed/spectra.jsonl"
    )


class _AlwaysHigh(monitor_module.CollapseAlarm):
    """An alarm at its second reading."""

    def update(self, step, auc, **reading):
        return super().update(step, 0.2 if step < 4 else 0.9, **reading)


@fast
@pytest.mark.parametrize(
    ("arguments", "status", "switched"),
    [
        (["--on-alarm", "stop"], 1, None),
        (["--schedule", "hybrid", "--chunks", "2"], 0, 1),
        (["--schedule", "hybrid", "--switch-at", "0.5"], 0, 1),
        (["--schedule", "continual"], 0, None),
    ],
)
def test_an_alarm_warns_stops_or_switches(arguments, status, switched, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(monitor_module, "CollapseAlarm", _AlwaysHigh)
    assert run(*SMALL, "--beside", "none", "--begin", "0", *arguments, "--out", tmp_path) == status
    assert "collapse, the AUC of the features is 0.900, up from 0.200 after 3" in capsys.readouterr().out
    assert '<p class="alarm">simsiam: after 9 steps: collapse' in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "model").exists() == (status == 0)
    assert read_metrics(tmp_path)[-1].get("switched") == switched
    if status:
        assert run(*SMALL, "--beside", "none", "--begin", "0", *arguments, "--out", tmp_path) == status
        assert len(read_metrics(tmp_path)) == 3
        assert run(*SMALL, "--beside", "none", "--begin", "0", "--on-alarm", "warn", "--out", tmp_path) == 0
        assert len(read_metrics(tmp_path)) == 4


@fast
@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("byol", ["--beside", "no-stop-gradient", "--target-momentum", "0.9"]),
        ("moco-v3", ["--schedule", "accumulate", "--optimizer", "adamw", "--learning-rate", "1e-3"]),
        ("nnsiam", ["--accumulation", "2", "--precision", "bfloat16"]),
        ("simclr", ["--augmentation", "byol", "--optimizer", "lars"]),
        ("vicreg", ["--weight-decay", "0", "--warmup", "0.5"]),
    ],
)
def test_every_method_trains(method, more, tmp_path, capsys):
    small = SMALL if method in OPTIONS["predictor_hidden"] else [*SMALL[:8], *SMALL[10:]]
    assert run(*small, "--epochs", 2, "--method", method, *more, "--out", tmp_path) == 0
    assert ("no stop-gradient" in capsys.readouterr().out) == ("--beside" in more)
    assert load_backbone(tmp_path / "model").num_features == 16


@fast
def test_a_hybrid_without_an_alarm_says_that_it_stayed_continual(tmp_path, capsys):
    assert run(*SMALL, "--beside", "none", "--schedule", "hybrid", "--out", tmp_path) == 0
    assert "hybrid stayed continual to the end, since no alarm came" in capsys.readouterr().out
    assert "hybrid stayed continual" in (tmp_path / "report.html").read_text(encoding="utf-8")


@fast
def test_the_patch_projection_of_a_transformer_can_be_frozen(tmp_path):
    backbone = ["--backbone", "vit_tiny_patch16_224", "--size", "32", "--method", "moco-v3", "--freeze-patch-embedding"]
    small = [*SMALL[:4], *SMALL[6:]]
    assert run(*small, "--limit", "8", "--batch-size", "8", "--epochs", "3", *backbone, "--out", tmp_path) == 0
    assert "backbone.network.patch_embed.proj.weight" in read_json(tmp_path / "config.json", dict)["frozen"]


def test_options_are_for_the_methods_that_take_them():
    names = {"target_momentum": "momentum"}
    for option, methods in OPTIONS.items():
        taken = [n for n, own in METHODS.items() if names.get(option, option) in inspect.signature(own).parameters]
        assert taken == list(methods), option


def make_images(folder, sides, classes=("a", "b"), count=6):
    draw = np.random.default_rng(0)
    for label in classes:
        (folder / label).mkdir(parents=True)
        for number in range(count):
            height, width = sides
            pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@fast
@pytest.mark.parametrize("sides", [(12, 16), (70, 80)], ids=["in memory", "from files"])
def test_images_of_ones_own_with_classes_have_k_nn_on_some_that_are_kept(sides, tmp_path, capsys):
    photos = make_images(tmp_path / "photos", sides)
    arguments = ["--images", photos, *SMALL, "--batch-size", 4, "--epochs", 3, "--test-share", "0.3"]
    assert run(*arguments, "--out", tmp_path / "run") == 0
    shown = capsys.readouterr().out
    assert "8 images of 8 pixels" in shown
    assert "k-NN % of 4 " in shown
    assert "no stop-gradient" not in shown
    assert load_backbone(tmp_path / "run/model").config.channels == 3
    assert "knn" in read_metrics(tmp_path / "run")[-1]


def test_one_large_image_among_small_ones_is_enough_for_views_of_large_ones(tmp_path):
    photos = make_images(tmp_path / "photos", (12, 16))
    assert open_training_images(Train(images=str(photos))).size == 12
    Image.new("RGB", (300, 400)).save(photos / "b" / "9.png")
    found = open_training_images(Train(images=str(photos), test_share=0.0))
    assert (found.size, type(found.images)) == (224, ImageDataset)


@fast
def test_images_without_classes_train_and_damaged_ones_are_counted(tmp_path, capsys):
    photos = make_images(tmp_path / "photos", (12, 16), classes=(".",), count=8)
    (photos / "damaged.png").write_bytes(b"no image")
    arguments = ["--images", photos, *SMALL, "--batch-size", 4, "--epochs", 3, "--out", tmp_path / "run"]
    assert run(*arguments) == 2
    assert "damaged.png" in capsys.readouterr().err
    assert run(*arguments, "--skip-broken") == 0
    said = capsys.readouterr()
    assert "damaged.png" in said.err
    assert not any("knn" in row for row in read_metrics(tmp_path / "run"))


def test_spectra_of_an_interrupted_file_are_read_and_the_last_of_an_update_counts(tmp_path):
    path = tmp_path / "spectra.jsonl"
    path.write_text('{"step": 1, "features": [2, 1]}\n{"step": 3, "fea\n{"step": 1, "features": [3]}\n7\n{}\n')
    assert watched.read_spectra(path) == {"features": {1: [3]}}
    assert watched.read_spectra(tmp_path / "none.jsonl") == {}


def test_all_text_of_the_page_is_escaped(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "figure.png")
    bad = '<b>&"\udcff'
    table = {bad: ([bad], [[bad]])}
    write_page(tmp_path / "p.html", bad, figure=tmp_path / "figure.png", caption=bad, tables=table, alarms=[bad])
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert page.count("&lt;b&gt;&amp;&quot;\\udcff") == 8


def test_warmup_of_a_recipe_fits_into_few_epochs():
    assert watched.training_settings(Train(epochs=4)).warmup_epochs == pytest.approx(0.4)
    assert watched.training_settings(Train(recipe="byol", epochs=50, warmup=7)).warmup_epochs == 7
    assert watched.training_settings(Train(recipe="moco-v3-vit")).optimizer == "adamw"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "3"], "--width must be even, got 3"),
        (["--backbone", "resnet18", "--depth", "18"], "are for small_resnet"),
        (["--backbone", "resnet-18"], "did you mean"),
        (["--method", "vicreg", "--beside", "no-predictor"], "must be for one of simsiam, byol, got --method vicreg"),
        (["--method", "simclr", "--target-momentum", "0"], "--target-momentum must be for one of byol, moco-v3, got"),
        (["--method", "vicreg", "--predictor-hidden", "64"], "got --method vicreg; leave it out"),
        (["--freeze-patch-embedding"], "--freeze-patch-embedding must be for one of moco-v3, got --method simsiam"),
        (["--read-every", "40"], "--probe-every must be a multiple of --read-every, 40, got 150"),
        (["--chunks", "3"], "--chunks is for other schedules"),
        (["--schedule", "hybrid", "--switch-at", "1.5"], "--switch-at must be a share from 0 to 1, or alarm"),
        (["--schedule", "hybrid", "--switch-at", "soon"], "--switch-at must be a share from 0 to 1, or alarm"),
        (["--switch-at", "0.5"], "--switch-at is for --schedule hybrid"),
        (["--on-alarm", "switch"], "--on-alarm switch needs --schedule hybrid"),
        (["--schedule", "hybrid", "--on-alarm", "stop"], "would let hybrid wait forever"),
        (["--images", "fashion", "--limit", "1"], "at least two"),
        (["--images", "nowhere/at/all"], "there is no file or folder"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments, message, tmp_path, capsys):
    assert run(*arguments, "--out", tmp_path / "run") == 2
    assert message in capsys.readouterr().err
