"""`vl-diffusion evaluate`: accuracy, cost and calibration on labeled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vl_core.results import wilson_interval
from vl_core.tables import write_rows

from vl_diffusion.charts.evaluation import draw_evaluation
from vl_diffusion.classification.calibration import expected_calibration_error, negative_log_likelihood
from vl_diffusion.classification.result import Classification
from vl_diffusion.commands._labels import labels_of, prepare
from vl_diffusion.commands._running import run_task
from vl_diffusion.commands.settings.labeled import Evaluate
from vl_diffusion.runs.tables import undecided_line, write_classification_csv, write_classification_parquet


@dataclass(frozen=True)
class Figures:
    """Metrics of an evaluation, the row of evaluate.csv."""

    images: int
    """Number of labeled images."""

    accuracy: float
    """Accuracy, 0 to 1."""

    accuracy_low: float
    """Lower end of its 95 % Wilson interval."""

    accuracy_high: float
    """Upper end of its 95 % Wilson interval."""

    mean_per_class_accuracy: float
    """Mean accuracy per class, over classes with images."""

    evaluations_per_image: float
    """Mean number of evaluations of the network."""

    expected_calibration_error: float
    """Expected calibration error over bins of equal width."""

    negative_log_likelihood: float
    """Mean negative log-likelihood in nats; a true class that was not evaluated counts with probability 1e-6."""

    temperature: float
    """Temperature of the probabilities."""


def run(settings: Evaluate) -> int:
    """Evaluate, resuming from `settings.out`, and write the metrics and the report.

    Returns:
        The exit status: 1 if images were left out because they cannot be read, else 0.

    Raises:
        ValueError: If an argument or an image is invalid, or no image has a label.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set requires an extra that is not installed.
        KeyboardInterrupt: If interrupted; a note gives the number of finished images.
    """
    classifier, task = prepare(settings, default_split="test")
    outcome = run_task(task, classifier)
    if outcome is None:
        return 0
    result, names, truths = outcome.result, outcome.names, outcome.truths
    labels = labels_of(outcome.images.collection, classifier.classes)
    figures = measure(result, labels, temperature=settings.temperature, bins=settings.bins)
    write_rows(settings.out / "evaluate.csv", [figures])
    write_classification_csv(settings.out / "predictions.csv", names, truths, result)
    write_classification_parquet(settings.out / "results.parquet", names, truths, result)
    draw_evaluation(settings.out / "report.png", result, labels, figures, bins=settings.bins)
    shares = (figures.accuracy, figures.accuracy_low, figures.accuracy_high, figures.mean_per_class_accuracy)
    accuracy, low, high, per_class = (f"{100 * share:.2f}" for share in shares)
    print(f"accuracy {accuracy} % on {figures.images} images (95 %: {low} to {high} %), mean per class {per_class} %")
    print(
        f"{figures.evaluations_per_image:.1f} evaluations per image; at temperature {figures.temperature:g} the "
        f"calibration error is {100 * figures.expected_calibration_error:.1f} %, the negative log-likelihood "
        f"{figures.negative_log_likelihood:.3f}"
    )
    if result.undecided.any():
        print(undecided_line(result))
    print(f"wrote evaluate.csv, predictions.csv, results.parquet and report.png to {settings.out}")
    return outcome.images.report(settings.out)


def measure(result: Classification, labels: np.ndarray, *, temperature: float, bins: int = 15) -> Figures:
    """Compute the metrics of a classification with known labels, int64 ``(B,)``."""
    correct = result.predictions == labels
    low, high = wilson_interval(int(correct.sum()), len(correct))
    return Figures(
        images=len(labels),
        accuracy=float(correct.mean()),
        accuracy_low=low,
        accuracy_high=high,
        mean_per_class_accuracy=float(np.mean([correct[labels == k].mean() for k in np.unique(labels)])),
        evaluations_per_image=float(result.total_evaluations.mean()),
        expected_calibration_error=expected_calibration_error(result.probabilities, labels, bins=bins),
        negative_log_likelihood=negative_log_likelihood(result, labels),
        temperature=temperature,
    )
