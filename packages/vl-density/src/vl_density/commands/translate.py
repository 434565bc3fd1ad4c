"""`vl-density translate`: a generator that a frozen density teaches, judged by measures that use no density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from vl_core.cli import note_on_interruption
from vl_core.data import open_dataset
from vl_core.intervals import Interval, bootstrap
from vl_core.results import read_rows
from vl_core.tables import text_table, write_rows
from vl_core.training import TrainingSettings

from vl_density.charts.translations import draw_translation
from vl_density.commands._threads import computing_threads
from vl_density.commands.settings.translate import Translate
from vl_density.datasets.outside import HELD_OUT, open_fashion
from vl_density.models.density import AutoregressiveDensity
from vl_density.models.pretrained import load_density
from vl_density.translation.measures import MEASURES, Measured, fit_classifier, measure_translation
from vl_density.translation.networks import Translator
from vl_density.translation.sides import UnpairedSides, fade
from vl_density.translation.train import Signal, train_translator

_PAIRS, _WARM = "pairs", "density, after pairs"
_RUNS: dict[str, Signal] = {_PAIRS: "pairs", "critic": "critic", "density": "density", _WARM: "density"}
_SHOWN = 8


@dataclass(frozen=True)
class _Judge:
    """Measures of translated test images."""

    pairs: Tensor
    labels: Tensor
    classifier: nn.Module
    density: AutoregressiveDensity

    def __call__(self, translated: Tensor) -> Measured:
        return measure_translation(
            translated.cpu(), self.pairs, self.labels, classifier=self.classifier, density=self.density
        )


def run(settings: Translate) -> None:
    """Train what `settings.out` does not contain yet, and write the tables and the figure.

    Raises:
        ValueError: If the density has images of another size, or the folder holds runs of other settings.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    with computing_threads(settings.threads), note_on_interruption("rerun to resume from the last checkpoint"):
        _run(settings)


def _run(settings: Translate) -> None:
    density = load_density(settings.density)
    images, labels = open_fashion("train"), _labels("train")
    test, test_labels = open_fashion("test")[: settings.limit], _labels("test")[: settings.limit]
    density.pixels(test[:1])  # of this size, or an error
    judge = _Judge(test, test_labels, fit_classifier(images, labels), density)
    steps: list[dict[str, object]] = []
    found: dict[str, list[Measured]] = {"source": [judge(fade(test))], "true pair": [judge(test)]}
    shown = {"source": fade(test[:_SHOWN]), "true pair": test[:_SHOWN]}
    for seed in range(settings.seed, settings.seed + settings.seeds):
        trained: dict[str, Translator] = {}
        for name in _RUNS:
            trained[name] = translator = _train(name, seed, settings, UnpairedSides(images), judge, trained)
            steps += _rows_of(settings, name, seed)
            found.setdefault(name, []).append(judge(translator.eval().translate(fade(test))))
            shown.setdefault(name, translator.translate(fade(test[:_SHOWN])).cpu())
    # Images are common to all seeds, so an interval draws images of means over seeds.
    ends = {name: _over_seeds(those) for name, those in found.items()}
    write_rows(settings.out / "translate.csv", [_row(name, settings, one) for name, one in ends.items()])
    write_rows(settings.out / "steps.csv", steps)
    limits = {measure: ends["true pair"][measure].estimate for measure in MEASURES}
    draw_translation(settings.out / "translate.png", steps, limits, shown)
    _print(ends, settings)
    print(f"wrote translate.csv, steps.csv and translate.png to {settings.out}")


def _over_seeds(found: list[Measured]) -> dict[str, Interval]:
    """Mean of each measure over seeds and images."""
    return {name: bootstrap(np.mean, np.mean([getattr(one, name) for one in found], axis=0)) for name in MEASURES}


def _train(
    name: str, seed: int, settings: Translate, sides: Any, judge: _Judge, trained: dict[str, Translator]
) -> Translator:
    """Train one generator, and record its measures on the way."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        translator = Translator(channels=judge.pairs.shape[1])
    if name == _WARM:
        translator.load_state_dict(trained[_PAIRS].state_dict())
    folder = _folder(settings, name, seed)
    sources = fade(judge.pairs)
    path = folder / "measures.csv"
    rows: dict[int, Mapping[str, object]] = {}
    if path.exists():
        rows = {int(row["update"]): row for row in read_rows(path)}

    def record(done: int) -> None:
        measured = judge(translator.translate(sources))
        rows[done] = {"signal": name, "seed": seed, "update": done} | {
            measure: float(getattr(measured, measure).mean()) for measure in MEASURES
        }
        write_rows(path, [rows[number] for number in sorted(rows)])

    def after_update(update: int) -> None:
        if (update + 1) % (settings.updates // 4) == 0:
            record(update + 1)

    if 0 not in rows:
        record(0)
    signal = _RUNS[name]
    training = TrainingSettings(
        updates=settings.updates,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        betas=(0.5, 0.99),
        max_grad_norm=1,
        seed=seed,
    )
    train_translator(
        translator,
        sides,
        training,
        folder / "run",
        signal=signal,
        density=judge.density if signal == "density" else None,
        signal_weight=settings.signal_weight,
        content_weight=settings.content_weight,
        after_update=after_update,
        config={"begins": name, "test_images": settings.limit},  # measures on the way are of these
    )
    return translator


def _folder(settings: Translate, name: str, seed: int) -> Path:
    return settings.out / f"seed-{seed}" / name.replace(", ", "-").replace(" ", "-")


def _rows_of(settings: Translate, name: str, seed: int) -> list[dict[str, object]]:
    """Recorded measures of one generator, numbers as they were written."""
    found: list[dict[str, object]] = []
    for row in read_rows(_folder(settings, name, seed) / "measures.csv"):
        numbers = {measure: float(row[measure]) for measure in MEASURES}
        found.append({"signal": name, "seed": seed, "update": int(row["update"])} | numbers)
    return found


def _labels(split: str) -> Tensor:
    """Classes of the images of `open_fashion`."""
    dataset = open_dataset("fashion", split=split)
    labels = torch.as_tensor(dataset.labels)
    return labels[labels != dataset.classes.index(HELD_OUT)]


def _row(name: str, settings: Translate, ends: dict[str, Interval]) -> dict[str, object]:
    trained = name in _RUNS
    row: dict[str, object] = {
        "images": name,
        "seeds": settings.seeds if trained else 0,
        "updates": settings.updates if trained else 0,
    }
    for measure, interval in ends.items():
        row |= {measure: interval.estimate, f"{measure} low": interval.low, f"{measure} high": interval.high}
    return row


def _print(ends: dict[str, dict[str, Interval]], settings: Translate) -> None:
    rows = []
    for name, measures in ends.items():
        cells = [f"{one.estimate:.3f} ({one.low:.3f} to {one.high:.3f})" for one in measures.values()]
        rows.append([name, *cells])
    print(text_table(["images", "bits per dim", "distance to the pair", "accuracy", "sharpness"], rows))
    print(
        f"{settings.limit} test images after {settings.updates} updates, mean of {settings.seeds} seeds; intervals of "
        "95 %, which draw images"
    )
    print("bits per dim: of the density; fewer are more probable; the other columns use no density")
    print("accuracy: of a classifier of the target side; sharpness: of true pairs, 1")
