"""`vl-diffusion calibrate`: fit the temperature that turns errors into probabilities one can believe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vl_diffusion.charts.evaluation import draw_calibration
from vl_diffusion.classification.calibration import (
    TemperatureFit,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
)
from vl_diffusion.commands.evaluate import Evaluate, labels_of, prepare, write_json
from vl_diffusion.commands.running import run_task


@dataclass(frozen=True, kw_only=True)
class Calibrate(Evaluate):
    """Fit the temperature on labeled images, for the very search that will be used.

    Without arguments: 100 training images of clothes, none of which the other commands show. Give the number that it
    prints to the others as --temperature.
    """

    out: Path = Path("vl-diffusion-calibrate")
    """Folder for calibration.json, calibration.png and what is finished."""

    split: str | None = None
    """Split of the data sets that are given, not the one that probabilities are judged on; default: train, where they
    are divided into splits."""


def run(settings: Calibrate) -> None:
    """Classify labeled images, resuming what `settings.out` already holds, and fit the temperature.

    Raises:
        ValueError: If an argument or an image is not what it must be, no image has a label, or no temperature is
            better than another.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
        KeyboardInterrupt: If it is interrupted; a note says how much is kept.
    """
    # Errors do not depend on the temperature, and where prompts are mixed it is fitted from the plain one.
    classifier, images, task = prepare(replace(settings, temperature=1.0), default_split="train")
    result = run_task(task, classifier)
    if result is None:
        return
    labels = labels_of(images, classifier.classes)
    fitted = fit_temperature(result, labels)
    after = apply_temperature(result, fitted.value)
    errors = {
        f"expected_calibration_error_{when}": expected_calibration_error(r.probabilities, labels, bins=settings.bins)
        for when, r in (("before", result), ("after", after))
    }
    write_json(settings.out / "calibration.json", asdict(fitted) | errors)
    draw_calibration(settings.out / "calibration.png", result, after, labels, fitted.value, bins=settings.bins)
    print(f"--temperature {fitted.value:.4g}")
    print(what_changes(fitted, *errors.values()))
    print(f"wrote {settings.out / 'calibration.json'} and {settings.out / 'calibration.png'}")


def what_changes(fitted: TemperatureFit, error_before: float, error_after: float) -> str:
    """What a temperature does to the images that it was fitted on, in a sentence or two.

    Args:
        fitted: The temperature.
        error_before: The calibration error without it.
        error_after: The calibration error with it.
    """
    moves = "falls" if fitted.nll_after < fitted.nll_before else "rises"
    text = (
        f"over the {fitted.images} images that it was fitted on, the negative log-likelihood {moves} from "
        f"{fitted.nll_before:.3f} to {fitted.nll_after:.3f}, and the calibration error goes from "
        f"{100 * error_before:.1f} to {100 * error_after:.1f} %"
    )
    if not fitted.separable:
        return text
    return (
        "no true class was behind another, so the lower the temperature, the likelier: this one instead makes the mean "
        f"confidence what the accuracy may well be; {text}; more images would say more"
    )
