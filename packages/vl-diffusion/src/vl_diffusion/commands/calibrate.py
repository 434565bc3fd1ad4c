"""`vl-diffusion calibrate`: fit the temperature that calibrates the probabilities."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from vl_core.runs import atomic_write

from vl_diffusion.charts.evaluation import draw_calibration
from vl_diffusion.classification.calibration import (
    TemperatureFit,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
)
from vl_diffusion.commands._labels import labels_of, prepare
from vl_diffusion.commands._running import run_task
from vl_diffusion.commands.settings.labeled import Calibrate


def run(settings: Calibrate) -> int:
    """Classify labeled images, resuming from `settings.out`, and fit the temperature.

    Returns:
        The exit status: 1 if images were left out because they cannot be read, else 0.

    Raises:
        ValueError: If an argument or an image is invalid, no image has a label, or the likelihood does not depend on
            the temperature.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set requires an extra that is not installed.
        KeyboardInterrupt: If interrupted; a note gives the number of finished images.
    """
    # Errors do not depend on the temperature; for mixtures of prompts, the fit starts from temperature 1.
    classifier, task = prepare(replace(settings, temperature=1.0), default_split="train")
    outcome = run_task(task, classifier)
    if outcome is None:
        return 0
    result = outcome.result
    labels = labels_of(outcome.images.collection, classifier.classes)
    fitted = fit_temperature(result, labels)
    after = apply_temperature(result, fitted.value)
    errors = {
        f"expected_calibration_error_{when}": expected_calibration_error(r.probabilities, labels, bins=settings.bins)
        for when, r in (("before", result), ("after", after))
    }
    with atomic_write(settings.out / "calibration.json", "w") as file:
        file.write(json.dumps(asdict(fitted) | errors, indent=2) + "\n")
    draw_calibration(settings.out / "calibration.png", result, after, labels, fitted.value, bins=settings.bins)
    print(f"--temperature {fitted.value:.4g}")
    print(describe_fit(fitted, *errors.values()))
    print(f"wrote {settings.out / 'calibration.json'} and {settings.out / 'calibration.png'}")
    return outcome.images.report(settings.out)


def describe_fit(fitted: TemperatureFit, error_before: float, error_after: float) -> str:
    """Describe in a sentence how the temperature changes the images that it was fitted on.

    Args:
        fitted: The temperature.
        error_before: Calibration error before the fit.
        error_after: Calibration error after the fit.
    """
    moves = "falls" if fitted.nll_after < fitted.nll_before else "rises"
    text = (
        f"on the {fitted.images} images of the fit, the negative log-likelihood {moves} from "
        f"{fitted.nll_before:.3f} to {fitted.nll_after:.3f}, and the calibration error goes from "
        f"{100 * error_before:.1f} to {100 * error_after:.1f} %"
    )
    if not fitted.separable:
        return text
    return (
        "all predictions are correct, so the likelihood has no maximum; this temperature sets the mean confidence to "
        f"an estimate of the accuracy instead; {text}; use more images for a better fit"
    )
