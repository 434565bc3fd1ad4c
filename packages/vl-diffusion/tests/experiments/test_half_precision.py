"""Noising in float16, against numbers rounded by numpy."""

from __future__ import annotations

from pathlib import Path

import half_precision
import numpy as np
import pytest
import torch
from vl_core.results import read_rows
from vl_diffusion import NoiseSchedule
from vl_diffusion.models.loading import load_denoiser


def test_levels_are_those_of_numpy_and_off_at_the_first_steps() -> None:
    schedule = NoiseSchedule.from_config(half_precision.STABLE_DIFFUSION)
    squared = (schedule.alpha**2).astype(np.float32).astype(np.float16)
    alpha, sigma = half_precision.half_levels(schedule)
    np.testing.assert_array_equal(alpha, np.sqrt(squared))
    np.testing.assert_array_equal(sigma, np.sqrt(np.float16(1) - squared))
    rows = half_precision.level_rows("stable-diffusion", schedule)
    assert float(rows[1]["sigma"]) == pytest.approx(-7.3, abs=0.05)
    assert max(abs(float(row["sigma"])) for row in rows[50:]) < 0.25


def test_errors_are_of_the_noise_that_was_added(pixel_dit_folder: Path) -> None:
    denoiser = load_denoiser(pixel_dit_folder)
    images = denoiser.encode_images(torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(1)))
    exact, rounded = (half_precision.errors(denoiser, images, 500, half=half) for half in (False, True))
    assert exact.shape == (2, 10)
    np.testing.assert_allclose(rounded, exact, rtol=1e-2)
    assert (rounded != exact).all()
    # The network of this test returns little, so the error is near the mean square of the noise, which is 1.
    predicting_nothing = denoiser.network.proj_out_2
    torch.nn.init.zeros_(predicting_nothing.weight)
    torch.nn.init.zeros_(predicting_nothing.bias)
    np.testing.assert_allclose(half_precision.errors(denoiser, images, 500, half=False), 1, atol=0.15)


def test_the_command_writes_a_table_and_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_precision, "STEPS", (1, 500))
    table, figure = tmp_path / "half.csv", tmp_path / "half.png"
    monkeypatch.setattr("sys.argv", ["half", "--images", "1", "--out", str(table), "--plot", str(figure)])
    half_precision.main()
    rows = read_rows(table)
    assert [row["step"] for row in rows] == ["1", "500"] * 3
    assert float(rows[-1]["error"]) < 1
    assert figure.stat().st_size > 1000
