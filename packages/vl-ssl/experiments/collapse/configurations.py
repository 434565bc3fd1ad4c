"""Runs of the studies of collapse, stated before any of them was trained.

Base learning rates are those for a batch of 256: 0.12 is 0.03 for a batch of 64. All runs keep a constant rate after a
warm-up, so that a longer run begins as a shorter one does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from vl_ssl.training.configuration import StudyRun, StudySchedule

RATE = 0.12
SEEDS = (0, 1, 2)
WIDTHS = (4, 8, 16)
SCHEDULES: tuple[StudySchedule, ...] = ("multi-epoch", "continual", "hybrid")
_FASHION: dict[str, Any] = {"images": "fashion", "limit": 10_000, "epochs": 10}
_EMOJI: dict[str, Any] = {"images": "emoji", "limit": 4_000, "epochs": 25}


def healthy_runs(seed: int) -> dict[str, StudyRun]:
    """Runs without anything left out: widths, rates and data of SimSiam, other methods, and other schedules."""
    found = {
        f"{name} width {width} rate x {factor:g}": StudyRun(
            width=width, base_learning_rate=RATE * factor, seed=seed, **data
        )
        for name, data in (("fashion", _FASHION), ("emoji", _EMOJI))
        for width in WIDTHS
        for factor in (0.3, 1, 3)
    }
    for method in ("byol", "moco-v3", "simclr", "vicreg"):
        found[method] = StudyRun(method=method, base_learning_rate=RATE, seed=seed, **_FASHION)
    found["fashion 10 %"] = StudyRun(share=0.1, base_learning_rate=RATE, seed=seed, **_FASHION)
    found["continual"] = StudyRun(schedule="continual", base_learning_rate=RATE, seed=seed, **_FASHION)
    return found


def collapsing_runs(seed: int) -> dict[str, StudyRun]:
    """SimSiam, four times made to collapse."""
    return {
        "no predictor": StudyRun(ablation="no-predictor", base_learning_rate=RATE, seed=seed, **_FASHION),
        "no stop-gradient": StudyRun(ablation="no-stop-gradient", base_learning_rate=RATE, seed=seed, **_FASHION),
        "rate x 30": StudyRun(base_learning_rate=30 * RATE, seed=seed, **_FASHION),
        # The rate of an update stays, so its noise grows.
        "batch of 4": StudyRun(
            batch_size=4, base_learning_rate=RATE * 16, seed=seed, images="fashion", limit=10_000, epochs=1
        ),
    }


def alarm_choice_runs() -> dict[str, StudyRun]:
    """Runs by which the alarm's rule was chosen."""
    halved = {
        name: run for number, (name, run) in enumerate(healthy_runs(100).items()) if number % 3 == 0 or number % 4 == 1
    }
    return _kinds({seed: collapsing_runs(seed) for seed in (100, *SEEDS)}, {100: halved, 0: healthy_runs(0)})


def alarm_runs() -> dict[str, StudyRun]:
    """Runs that judge the rule, of seeds that had no part in its choice."""
    return _kinds({seed: collapsing_runs(seed) for seed in (3, 4, 5)}, {1: healthy_runs(1)})


def _kinds(
    collapsing: Mapping[int, dict[str, StudyRun]], healthy: Mapping[int, dict[str, StudyRun]]
) -> dict[str, StudyRun]:
    kinds = {"collapsing": collapsing, "healthy": healthy}
    return {
        f"{kind}/{name}/{seed}": run
        for kind, seeds in kinds.items()
        for seed, runs in seeds.items()
        for name, run in runs.items()
    }


def hybrid_runs(chunks: int, switches: Sequence[float]) -> dict[str, StudyRun]:
    """Continual first, then all images: from given shares of the run on, or from the alarm on; at three times the rate.

    Args:
        chunks: Of the continual schedule, 20 passes over the images in all. With 20 no run collapses and no alarm
            comes; with 500, of 20 images each, continual training does.
        switches: Shares of the run.
    """
    images = int(_FASHION["limit"])
    length = 20 * images // chunks
    runs = {}
    for seed in SEEDS:
        common: dict[str, Any] = {"base_learning_rate": 3 * RATE, "width": 4, "seed": seed, **_FASHION}
        common |= {"epochs": chunks, "epoch_length": None if length == images else length}
        runs[f"multi-epoch/{seed}"] = StudyRun(**common)
        runs[f"continual/{seed}"] = StudyRun(schedule="continual", **common)
        for share in switches:
            runs[f"switch at {share:g}/{seed}"] = StudyRun(schedule="hybrid", switch_at=share, **common)
        runs[f"triggered/{seed}"] = StudyRun(schedule="hybrid", switch_at=0.8, triggered=True, **common)
    return runs


def phenomenon_runs(updates: int) -> dict[str, StudyRun]:
    """The grid of the paper's claim: widths, rates, shares of the images, and schedules, for so many updates.

    Cells come one after the other, with their seeds: a study that is cut short has whole cells.

    Args:
        updates: 1,000, 10,000 or 50,000. Emoji are trained for 1,000 updates at the middle rate alone; the longest runs
            are of that rate and two shares.
    """
    length = updates * 64
    fashion = StudyRun(images="fashion-mnist", limit=60_000, epochs=100, epoch_length=length // 100)
    long = updates > 10_000
    runs = _cells(fashion, (1,) if long else (1, 0.3, 3), (0.01, 1.0) if long else (0.01, 1.0, 0.1))
    if updates == 1000:
        emoji = StudyRun(images="emoji", limit=4_000, epochs=40, epoch_length=length // 40)
        first = {name: run for name, run in runs.items() if "rate x 1/" in name}
        runs = first | _cells(emoji, (1,), (0.1, 1.0, 0.3)) | runs
    return {f"{updates}/{name}": run for name, run in runs.items()}


def _cells(common: StudyRun, factors: Iterable[float], shares: Sequence[float]) -> dict[str, StudyRun]:
    return {
        f"{common.images}/width {width}/rate x {factor:g}/{share:g}/{schedule}/{seed}": replace(
            common, width=width, base_learning_rate=RATE * factor, share=share, schedule=schedule, seed=seed
        )
        for factor, width, share, schedule, seed in product(factors, WIDTHS, shares, SCHEDULES, SEEDS)
    }
