"""`vl-diffusion classify`: classify images."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vl_core.runs.processes import current_process

from vl_diffusion.charts.classification import draw_classification
from vl_diffusion.commands._classifier import build_classifier
from vl_diffusion.commands._running import drop_unknown_labels, make_task, run_task
from vl_diffusion.commands.settings.classify import STANDARD_INPUT, Classify
from vl_diffusion.runs.image_collection import gather
from vl_diffusion.runs.tables import classification_table, write_classification_csv, write_classification_parquet


def run(settings: Classify) -> int:
    """Classify, resuming from `settings.out`, and write the table and the chart.

    All input is checked before the folder is created. An image that cannot be read is left out and listed at the end,
    unless `settings.strict`.

    Returns:
        The exit status: 1 if images were left out because they cannot be read, else 0.

    Raises:
        ValueError: If an argument or an image is invalid.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set requires an extra that is not installed.
        KeyboardInterrupt: If interrupted; a note gives the number of finished images.
    """
    settings.check()
    images, split, limit, listed = _asked_for(settings)
    gathered = gather(images, split=split, at_most=limit, exclude=settings.out, listed=listed)
    classifier = build_classifier(settings, gathered.classes)
    collection = drop_unknown_labels(gathered, classifier.classes)
    task = make_task(settings, settings.out, classifier, collection, images, split)
    outcome = run_task(task, classifier)
    if outcome is None:
        return 0
    result, names, truths = outcome.result, outcome.names, outcome.truths
    write_classification_csv(settings.out / "classify.csv", names, truths, result)
    write_classification_parquet(settings.out / "results.parquet", names, truths, result)
    draw_classification(settings.out / "classify.png", outcome.images.collection, result, truths, names)
    print(classification_table(names, truths, result))
    if result.timestep_embedding == "published":
        print("the DiT was evaluated as the published network (see --timestep-embedding)")
    print(f"wrote {settings.out / 'classify.csv'} and {settings.out / 'classify.png'}")
    return outcome.images.report(settings.out)


def _asked_for(settings: Classify) -> tuple[tuple[str, ...], str | None, int | None, frozenset[str]]:
    """Sources of the images, their split and their limit, and the sources that standard input lists.

    Files in the results' own folder do not count.
    """
    if not settings.images:
        return ("fashion",), settings.split or "test", settings.limit or 32, frozenset()
    listed = _listed() if STANDARD_INPUT in settings.images else []
    names = [name for given in settings.images for name in (listed if given == STANDARD_INPUT else [given])]
    if not names:
        raise ValueError("standard input names no images; give a file name a line")
    out = settings.out.resolve()
    images = tuple(s for s in names if not (Path(s).is_file() and Path(s).resolve().parent == out))
    if not images:
        raise ValueError(f"no images but those in {settings.out}, the folder of the results; choose another --out")
    return images, settings.split, settings.limit, frozenset(listed)


def _listed() -> list[str]:
    """File names from standard input, a line each, or ended by NUL as `find -print0` writes them."""
    processes = current_process()
    # All processes of a launch have the same standard input, and what one has read the others do not find.
    content = processes.from_main(sys.stdin.buffer.read() if processes.is_main else b"")
    lines = content.split(b"\0") if b"\0" in content else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(line) for line in lines if line.strip()]
