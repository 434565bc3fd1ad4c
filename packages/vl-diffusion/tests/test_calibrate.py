"""`vl-diffusion calibrate`: the number that it prints makes other commands' probabilities what it says."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from vl_diffusion.classification.calibration import TemperatureFit
from vl_diffusion.cli import main
from vl_diffusion.commands.calibrate import describe_fit

QUICK = ("--search", "exhaustive", "--draws", "8", "--bins", "5")


def test_a_temperature_passed_back_does_what_was_said(labeled_folder, pixel_dit_folder, tmp_path, capsys):
    settings = (str(labeled_folder), "--model", str(pixel_dit_folder), *QUICK)
    assert main(["calibrate", *settings, "--out", str(tmp_path / "calibrate")]) == 0
    printed = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "calibrate" / "calibration.json").read_text())
    assert found["images"] == 16
    assert found["value"] > 0
    assert found["nll_after"] < found["nll_before"]
    assert printed[0] == f"--temperature {found['value']:.4g}"
    with Image.open(tmp_path / "calibrate" / "calibration.png") as image:
        assert image.width > 400

    said = {}
    for temperature in ("1", repr(found["value"])):
        assert main(["evaluate", *settings, "--temperature", temperature, "--out", str(tmp_path / "evaluate")]) == 0
        with (tmp_path / "evaluate" / "evaluate.csv").open(newline="") as file:
            (said[temperature],) = csv.DictReader(file)
    before, after = said.values()
    for when, figures in (("before", before), ("after", after)):
        error = float(figures["expected_calibration_error"])
        assert error == pytest.approx(found[f"expected_calibration_error_{when}"], rel=1e-5)
        assert float(figures["negative_log_likelihood"]) == pytest.approx(found[f"nll_{when}"], rel=1e-5)
    assert before["expected_calibration_error"] != after["expected_calibration_error"]


def test_what_is_said_of_the_likelihood_is_what_it_does():
    fitted = TemperatureFit(3.0, nll_before=0.7, nll_after=0.4, images=20, pruned=0, unseen=0, separable=False)
    said = describe_fit(fitted, 0.3, 0.1)
    assert said.startswith("on the 20 images of the fit, the negative log-likelihood falls from 0.700")
    assert said.endswith("the calibration error goes from 30.0 to 10.0 %")
    # All right and all but certain of it: the temperature that 20 images can vouch for is less sure.
    said = describe_fit(replace(fitted, nll_before=0.001, nll_after=0.047, separable=True), 0.001, 0.045)
    assert "all predictions are correct" in said
    assert "the negative log-likelihood rises from 0.001 to 0.047" in said


def test_no_temperature_is_made_up_where_labels_say_nothing(pixel_dit_folder, tmp_path, capsys, tiny):
    # Each image once under every class: no class is nearer to the truth than another.
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8))
    for name in tiny.CLASSES:
        (tmp_path / "images" / name).mkdir(parents=True)
        pixels.save(tmp_path / "images" / name / "0.png")
    out = tmp_path / "out"
    arguments = ["calibrate", str(tmp_path / "images"), "--model", str(pixel_dit_folder), *QUICK, "--out", str(out)]
    assert main(arguments) == 2
    assert "the most likely; check" in capsys.readouterr().err.splitlines()[-1]
    assert not (out / "calibration.json").exists()
