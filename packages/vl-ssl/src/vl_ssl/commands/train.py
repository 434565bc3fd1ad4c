"""`vl-ssl train`: a network of one's own images, and whether it collapses on the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import timm
from vl_core.runs.processes import current_process
from vl_core.tables import open_csv, percent, text_table

from vl_ssl.backbones.building import SMALL_RESNET, build_backbone
from vl_ssl.backbones.saving import save_backbone
from vl_ssl.charts.training import draw_training
from vl_ssl.commands._report_page import write_page
from vl_ssl.commands._training_images import TrainingImages, open_training_images
from vl_ssl.commands._watched_run import WatchedRun, watched_run
from vl_ssl.commands.settings.train import Train

_CAPTION = (
    "Top: loss; AUC of the singular values of the features (solid) and projections (dashed), 1 where collapsed; "
    "accuracy of k-NN on the features. A dotted line marks the first alarm of its run. Bottom: singular values, each "
    "line a reading, from early (dark) to late (bright)."
)
_UNREAD = "no reading of the spectra: fewer images were seen than one needs, 1,024 or four for each dimension"
_STAYED = "hybrid stayed continual to the end, since no alarm came; --switch-at 0.4 switches without one"
_ALL = 12  # rows of the page's table for each run


def run(settings: Train) -> int:
    """Train what `settings.out` does not contain yet, and write model, figure, page and table.

    Returns:
        0, or 1 if an alarm stopped the run.

    Raises:
        ValueError: If the images cannot be used, or the folder holds a run of other settings.
        OSError: If a file is missing or damaged.
    """
    settings.check()
    if settings.backbone != SMALL_RESNET and not timm.is_model(settings.backbone):
        build_backbone(settings.backbone)  # says what is near, before images are read
    images = open_training_images(settings)
    runs = [_resumable(settings, images, settings.out)]
    if settings.beside_run != "none":
        runs.append(_resumable(settings, images, settings.out / "beside", settings.beside_run))
    if not current_process().is_main:
        return 0
    first = runs[0]
    written = ["train.png", "report.html", "curve.csv"]
    if not first.stopped:
        save_backbone(first.method.backbone, settings.out / "model")
        written.insert(0, "model/")
    write_curve(settings.out / "curve.csv", runs)
    what = f"{settings.method} on {settings.images}, {len(images.images):,} images of {images.size} pixels"
    draw_training(settings.out / "train.png", [each.curve for each in runs], title=what)
    head, rows = summary(runs)
    read = any("collapse/features/auc" in row for row in first.curve.rows)
    alarms = [f"{each.curve.name}: {alarm}" for each in runs for alarm in each.alarms]
    waited = settings.schedule == "hybrid" and settings.switch_share is None
    if waited and not first.curve.rows[-1]["switched"]:
        alarms.append(_STAYED)
    write_page(
        settings.out / "report.html",
        what,
        figure=settings.out / "train.png",
        caption=_CAPTION,
        tables={
            "At the end": (head, rows),
            **{f"On the way: {each.curve.name}": on_the_way(each) for each in runs},
            "Settings": (("setting", "value"), chosen_settings(settings)),
        },
        alarms=alarms,
        calm="no alarm" if read else _UNREAD,
    )
    print(what)
    print(text_table(head, rows))
    if not read:
        print(_UNREAD)
    for line in alarms:
        print(line)
    if first.stopped:
        print("stopped by the alarm; model/ is not written, checkpoint/ is of that update: --on-alarm warn goes on")
    print(f"wrote {', '.join(written)} to {settings.out}; curves: tensorboard --logdir {settings.out}")
    return 1 if first.stopped else 0


def _resumable(settings: Train, images: TrainingImages, out: Path, without: str = "none") -> WatchedRun:
    """A run whose interruption says what a rerun begins from."""
    try:
        return watched_run(settings, images, out, without=without)
    except KeyboardInterrupt as interruption:
        kept = any((out / "checkpoint").glob("*"))
        interruption.add_note(
            "rerun to resume from the last checkpoint"
            if kept
            else f"{out} has no checkpoint yet, so a rerun begins it anew; the first is kept after a minute"
        )
        raise


def summary(runs: Sequence[WatchedRun]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and a row a run: the latest value of each number, and the update of the first alarm."""
    head = (
        "run",
        "updates",
        "loss",
        _accuracy(runs[0]),
        "AUC features",
        "AUC projections",
        "RankMe features",
        "alarm at",
    )
    rows = []
    for each in runs:
        latest = {name: value for row in each.curve.rows for name, value in row.items()}
        rows.append(
            (
                each.curve.name,
                f"{int(latest.get('step', -1)) + 1:,}",
                *_cells(latest, ("loss", "knn", *_READINGS)),
                f"{each.alarms[0].step + 1:,}" if each.alarms else "-",
            )
        )
    return head, rows


def on_the_way(each: WatchedRun) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of a run at evaluations, at most `_ALL` of them."""
    head = ("update", "loss", _accuracy(each), "AUC features", "AUC projections", "RankMe features")
    rows = [row for row in each.curve.rows if "knn" in row] or list(each.curve.rows)
    shown = rows[:: max(1, math.ceil(len(rows) / _ALL))]
    shown += rows[-1:] if rows and shown[-1] is not rows[-1] else []
    return head, [(f"{int(row['step']) + 1:,}", *_cells(row, ("loss", "knn", *_READINGS))) for row in shown]


def write_curve(path: Path, runs: Sequence[WatchedRun]) -> None:
    """Write the rows of all runs as one table; a cell is empty where a row lacks the number."""
    names = dict.fromkeys(name for each in runs for row in each.curve.rows for name in row if name != "step")
    with open_csv(path) as write:
        write(["run", "update", *names])
        for each in runs:
            for row in each.curve.rows:
                write([each.curve.name, row["step"] + 1, *(f"{row[n]:.6g}" if n in row else "" for n in names)])


def chosen_settings(settings: Train) -> list[tuple[str, str]]:
    """Options with their values, those that are left to a default included."""
    named = ((field.name, getattr(settings, field.name)) for field in fields(settings))
    return [(f"--{name.replace('_', '-')}", "default" if value is None else str(value)) for name, value in named]


def _accuracy(each: WatchedRun) -> str:
    """Heading of the accuracy, with the number of test images it is of."""
    return f"k-NN % of {each.test_size:,}" if each.test_size else "k-NN %"


_READINGS = ("collapse/features/auc", "collapse/projections/auc", "collapse/features/rankme")


def _cells(row: Mapping[str, float], names: Iterable[str]) -> Iterable[str]:
    for name in names:
        if name not in row:
            yield "-"
        else:
            yield percent(row[name]) if name == "knn" else f"{row[name]:.1f}" if "rank" in name else f"{row[name]:.3f}"
