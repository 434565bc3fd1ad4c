"""`vl-diffusion evaluate`: its figures are those of its own predictions, and what cannot be judged is refused."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from scipy.stats import binomtest
from vl_diffusion.cli import main
from vl_diffusion.models.families.class_conditional import ClassConditionalDenoiser

QUICK = ("--search", "exhaustive", "--draws", "4")


@pytest.fixture(scope="module")
def evaluated(labeled_folder, pixel_dit_folder, tmp_path_factory):
    """The folder of an evaluation, and its arguments but for the folder."""
    out = tmp_path_factory.mktemp("evaluate") / "out"
    arguments = ["evaluate", str(labeled_folder), "--model", str(pixel_dit_folder), *QUICK, "--temperature", "0.5"]
    assert main([*arguments, "--bins", "5", "--out", str(out)]) == 0
    return out, arguments


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_figures_are_those_of_the_predictions(evaluated, labeled_folder):
    out, _ = evaluated
    (figures,) = rows(out / "evaluate.csv")
    predictions = rows(out / "predictions.csv")
    assert [row["image"] for row in predictions] == sorted(
        path.relative_to(labeled_folder).as_posix() for path in labeled_folder.glob("*/*.png")
    )
    assert [row["true"] for row in predictions] == [row["image"].split("/")[0] for row in predictions]
    right = np.array([row["true"] == row["predicted"] for row in predictions])
    confidence = np.array([float(row["probability"]) for row in predictions])
    truths = np.array([row["true"] for row in predictions])
    assert 0 < right.sum() < len(right) == int(figures["images"]) == 16
    interval = binomtest(int(right.sum()), 16).proportion_ci(method="wilson")
    error = 0.0
    for low in np.arange(5) / 5:
        of_bin = (confidence > low) & (confidence <= low + 0.2)
        if of_bin.any():
            error += of_bin.mean() * abs(confidence[of_bin].mean() - right[of_bin].mean())
    expected = {
        "accuracy": right.mean(),
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "mean_per_class_accuracy": np.mean([right[truths == name].mean() for name in sorted(set(truths))]),
        "evaluations_per_image": np.mean([int(row["evaluations"]) for row in predictions]),
        "expected_calibration_error": error,
        "temperature": 0.5,
    }
    for name, value in expected.items():
        assert float(figures[name]) == pytest.approx(value, rel=1e-4), name
    table = parquet.read_table(out / "results.parquet").to_pylist()
    classes = json.loads(parquet.read_schema(out / "results.parquet").metadata[b"classes"])
    own = [row["probabilities"][classes.index(row["true"])] for row in table]
    assert float(figures["negative_log_likelihood"]) == pytest.approx(-np.log(own).mean(), rel=1e-5)


def test_the_parquet_file_holds_all_that_is_known(evaluated, tiny):
    out, _ = evaluated
    table = parquet.read_table(out / "results.parquet")
    assert table.column_names == [
        *(
            "image",
            "image_id",
            "true",
            "predicted",
            "undecided",
            "margin",
            "margin_standard_error",
            "probability",
            "evaluations",
        ),
        *("errors", "standard_errors", "draws", "pruned", "differences", "difference_standard_errors"),
        "probabilities",
    ]
    assert json.loads(table.schema.metadata[b"classes"]) == list(tiny.CLASSES)
    for row, of_csv in zip(table.to_pylist(), rows(out / "predictions.csv"), strict=True):
        assert row["image"] == of_csv["image"]
        assert row["predicted"] == of_csv["predicted"] == tiny.CLASSES[int(np.argmin(row["errors"]))]
        assert row["draws"] == [4] * 10
        assert row["pruned"] == [False] * 10
        assert of_csv["pruned"] == "0"
        assert row["evaluations"] == 40
        assert sum(row["probabilities"]) == pytest.approx(1)
        assert row["errors"] == pytest.approx([float(of_csv[f"error: {name}"]) for name in tiny.CLASSES], rel=1e-6)


def test_a_limit_that_is_too_small_is_refused_before_anything_is_loaded_or_written(
    labeled_folder, pixel_dit_folder, tmp_path, monkeypatch, capsys, tiny
):
    arguments = ["evaluate", str(labeled_folder), "--model", str(pixel_dit_folder), "--out", str(tmp_path / "out")]
    arguments += ["--search", "exhaustive", "--max-evaluations", "5"]
    assert main(arguments) == 2
    message = "--max-evaluations must be at least 10, one draw of each class, got 5"
    assert message in capsys.readouterr().err
    monkeypatch.setattr("vl_diffusion.commands._classifier.load_denoiser", lambda *a, **b: pytest.fail("it was loaded"))
    assert main([*arguments, "--classes", *tiny.CLASSES]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_temperature_or_number_of_bins_computes_nothing_again(evaluated, tmp_path, monkeypatch):
    out, arguments = evaluated
    again = shutil.copytree(out, tmp_path / "again")
    monkeypatch.setattr(ClassConditionalDenoiser, "predict", lambda *given: pytest.fail("something was computed"))
    assert main([*arguments[:-1], "0.01", "--bins", "4", "--out", str(again)]) == 0
    (before,), (after,) = rows(out / "evaluate.csv"), rows(again / "evaluate.csv")
    assert float(after["temperature"]) == 0.01
    assert after["accuracy"] == before["accuracy"]
    assert after["negative_log_likelihood"] != before["negative_log_likelihood"]
    of_all = [float(row["probability"]) for row in rows(again / "predictions.csv")]
    assert np.mean(of_all) > np.mean([float(row["probability"]) for row in rows(out / "predictions.csv")])
    # And back to the first one, to the last digit.
    assert main([*arguments, "--bins", "5", "--out", str(again)]) == 0
    for name in ("evaluate.csv", "predictions.csv"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_images_without_labels_are_refused_in_one_line(labeled_folder, pixel_dit_folder, tmp_path, capsys):
    for given in (next(labeled_folder.glob("*/*.png")), next(labeled_folder.glob("*"))):
        out = tmp_path / "out"
        assert main(["evaluate", str(given), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 2
        error = capsys.readouterr().err
        assert error.startswith("vl-diffusion: error: images must have labels, got none")
        assert error.count("\n") == 1
        assert not out.exists()


def test_labels_that_are_none_of_the_classes_are_refused(labeled_folder, pixel_dit_folder, tmp_path, capsys):
    folder = tmp_path / "images" / "2023"
    shutil.copytree(next(labeled_folder.glob("*")), folder)
    shutil.copytree(folder, folder.parent / "2024")
    arguments = ["evaluate", str(folder.parent), "--model", str(pixel_dit_folder), "--out", str(tmp_path / "out")]
    assert main([*arguments, *QUICK]) == 2
    assert "no image has a label that is one of the classes" in capsys.readouterr().err.splitlines()[-1]


def test_those_without_a_label_are_counted(labeled_folder, pixel_dit_folder, tmp_path, capsys):
    Image.new("L", (28, 28)).save(tmp_path / "extra.png")
    out, both = tmp_path / "out", [str(labeled_folder), str(tmp_path / "extra.png")]
    assert main(["evaluate", *both, "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "1 of 17 images have no label and are left out"
    assert rows(out / "evaluate.csv")[0]["images"] == "16"


def test_the_test_split_is_taken_where_there_is_one(labeled_folder, pixel_dit_folder, tmp_path, capsys):
    first, second = sorted(labeled_folder.glob("*"))[:2]
    for split, kind in (("train", first), ("test", first), ("test", second)):
        shutil.copytree(kind, tmp_path / "divided" / split / kind.name)
    arguments = ["evaluate", str(tmp_path / "divided"), "--model", str(pixel_dit_folder), *QUICK, "--out"]
    assert main([*arguments, str(tmp_path / "test")]) == 0
    assert {row["image"].split("/")[0] for row in rows(tmp_path / "test" / "predictions.csv")} == {"test"}
    assert main([*arguments, str(tmp_path / "train"), "--split", "train"]) == 0
    assert {row["image"].split("/")[0] for row in rows(tmp_path / "train" / "predictions.csv")} == {"train"}


def test_no_bins_are_refused_before_anything_is_computed(labeled_folder, pixel_dit_folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["evaluate", str(labeled_folder), "--model", str(pixel_dit_folder), "--out", str(out), *QUICK]
    assert main([*arguments, "--bins", "0"]) == 2
    assert "--bins must be at least 1, got 0" in capsys.readouterr().err
    assert not out.exists()
