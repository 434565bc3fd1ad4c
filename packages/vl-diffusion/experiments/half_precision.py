"""Errors of noising in float16: levels of noise, errors of a model, and differences between classes.

The authors of the Diffusion Classifier run Stable Diffusion in float16 and round more than the network: the squared
signal levels of the schedule are cast to float16, their square roots are taken there, and image and noise are rounded
before they are added. This package makes the noisy image in float32 from a float64 schedule, and rounds only what the
network gets.

The first part compares the levels themselves, of the schedule of Stable Diffusion and of the fashion model. The second
evaluates the fashion model, in float32 both times, on images that were noised in the two ways, each error against the
noise that was added. A minute on two cores::

    python packages/vl-diffusion/experiments/half_precision.py --out packages/vl-diffusion/results/half_precision.csv --plot packages/vl-diffusion/docs/half_precision.png
"""  # noqa: E501

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vl_core.charts import COLORS, MARKERS, PAGE_WIDTH, SMALL, new_figure, save_figure, style_axes
from vl_core.data import image_to_tensor, open_dataset
from vl_core.noise import gaussian, make_keys
from vl_core.results import append_row, provenance
from vl_diffusion import NoiseSchedule
from vl_diffusion.models.loading import load_denoiser

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
QUANTITIES = ("alpha", "sigma", "error", "difference")
STEPS = (0, 1, 2, 3, 5, 8, 13, 20, 32, 50, 79, 126, 200, 316, 500, 790, 990)


def row(model: str, step: int, images: int = 0, **percent: float) -> dict[str, Any]:
    """A row of the table: quantities in percent, of the levels, or of the errors on some images."""
    quantities = {name: f"{percent[name]:.4f}" if name in percent else "" for name in QUANTITIES}
    return {"model": model, "step": step, "images": images, **quantities}


def half_levels(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    """Signal and noise level of each step, float16 ``(T,)``, from squared signal levels in float16."""
    squared = torch.from_numpy(schedule.alpha**2).float().half()
    return squared.sqrt(), (1 - squared).sqrt()


def level_rows(name: str, schedule: NoiseSchedule) -> list[dict[str, Any]]:
    """Relative errors of the two levels in float16, in percent, at every step."""
    rows = []
    for step, (alpha, sigma) in enumerate(zip(*half_levels(schedule), strict=True)):
        off = [
            100 * (float(half) / exact - 1)
            for half, exact in ((alpha, schedule.alpha[step]), (sigma, schedule.sigma[step]))
        ]
        rows.append(row(name, step, alpha=off[0], sigma=off[1]))
    return rows


@torch.no_grad()
def errors(denoiser: Any, images: Tensor, step: int, *, half: bool) -> np.ndarray:
    """Errors ``(B, K)`` of the noise at one step, on the same noise, made in float16 or in float32."""
    noise = gaussian(make_keys(0, torch.arange(len(images)), torch.tensor([step])), images.shape[1:])
    if half:
        alpha, sigma = (levels[step] for levels in half_levels(denoiser.schedule))
        noise = noise.half()
        noisy = (alpha * images.half() + sigma * noise).float()
    else:
        noisy = float(denoiser.schedule.alpha[step]) * images + float(denoiser.schedule.sigma[step]) * noise
    classes = len(denoiser.class_names)
    condition = denoiser.encode_classes(denoiser.class_names).repeat(len(images))
    time = torch.full((len(images) * classes,), int(denoiser.schedule.times[step]))
    output = denoiser.predict(noisy.repeat_interleave(classes, 0), time, condition)
    wanted = noise.float().repeat_interleave(classes, 0)
    found: Tensor = (output - wanted).square().flatten(1).mean(1, dtype=torch.float64)
    return found.view(len(images), classes).numpy()


def error_rows(name: str, count: int) -> list[dict[str, Any]]:
    """Root mean square changes by float16, in percent: of an error, and of the difference between two classes' errors.

    The latter is a share of the root mean square difference to the mean over classes.
    """
    denoiser = load_denoiser(name)
    data = open_dataset(name, split="test")
    images = denoiser.encode_images(torch.stack([image_to_tensor(data[i][0]) for i in range(count)]))
    rows = []
    for step in STEPS:
        exact, rounded = (errors(denoiser, images, step, half=half) for half in (False, True))
        between = [table - table.mean(1, keepdims=True) for table in (exact, rounded)]
        change = np.sqrt(np.mean((rounded / exact - 1) ** 2))
        moved = np.sqrt(np.mean((between[1] - between[0]) ** 2) / np.mean(between[0] ** 2))
        rows.append(row(name, step, count, error=100 * change, difference=100 * moved))
    return rows


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the levels on the left, and the errors on the right, over the step."""
    figure = new_figure(PAGE_WIDTH, 3.0)
    left, right = figure.subplots(1, 2)
    levels = [found for found in rows if found["sigma"]]
    for i, (model, label) in enumerate({"stable-diffusion": "Stable Diffusion", "fashion": "fashion"}.items()):
        mine = [found for found in levels if found["model"] == model]
        steps, off = (np.array([float(found[name]) for found in mine]) for name in ("step", "sigma"))
        left.plot(steps + 1, off, color=COLORS[i], linewidth=1.2, label=label)
    left.set(xlabel="time step, counted from 1", ylabel="error of the noise level, %", xscale="log")
    left.set_title("Schedule in float16")
    left.legend(frameon=False, fontsize=SMALL)
    measured = [found for found in rows if found["error"]]
    steps = np.array([float(found["step"]) for found in measured]) + 1
    for i, (name, label) in enumerate({"error": "error of the noise", "difference": "between classes"}.items()):
        values = [float(found[name]) for found in measured]
        right.plot(steps, values, marker=MARKERS[i], markersize=4, color=COLORS[i], linewidth=1.2, label=label)
    right.set(xlabel="time step, counted from 1", ylabel="change by float16, %", xscale="log", yscale="log")
    right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.set_title("Errors of the fashion model")
    right.legend(frameon=False, fontsize=SMALL)
    for axes in (left, right):
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        style_axes(axes, grid="y")
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--out", type=Path, help="append rows to this CSV file")
    parser.add_argument("--plot", type=Path, help="write this PNG file, of the rows of this run")
    args = parser.parse_args()
    fashion = load_denoiser("fashion")
    rows = level_rows("stable-diffusion", NoiseSchedule.from_config(STABLE_DIFFUSION))
    rows += level_rows("fashion", fashion.schedule) + error_rows("fashion", args.images)
    for found in rows:
        if found["step"] in STEPS[:4] or found["error"]:
            print(*found.values())
    if args.out:
        made = provenance()
        # Levels are drawn at every step, and kept at those of the errors.
        for found in rows:
            if found["step"] in STEPS:
                append_row(args.out, found | made)
    if args.plot:
        draw(args.plot, rows)


if __name__ == "__main__":
    main()
