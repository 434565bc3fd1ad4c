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


def run(settings: Classify) -> None:
    """Classify, resuming from `settings.out`, and write the table and the chart.

    All input is checked before the folder is created.

    Raises:
        ValueError: If an argument or an image is invalid.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set requires an extra that is not installed.
        KeyboardInterrupt: If interrupted; a note gives the number of finished images.
    """
    settings.check()
    images, split, limit = _asked_for(settings)
    gathered = gather(images, split=split, at_most=limit, exclude=settings.out)
    classifier = build_classifier(settings, gathered.classes)
    collection = drop_unknown_labels(gathered, classifier.classes)
    task = make_task(settings, settings.out, classifier, collection, images, split)
    result = run_task(task, classifier)
    if result is None:
        return
    names = [image.name for image in collection.entries]
    truths = [image.truth for image in collection.entries]
    write_classification_csv(settings.out / "classify.csv", names, truths, result)
    write_classification_parquet(settings.out / "results.parquet", names, truths, result)
    draw_classification(settings.out / "classify.png", collection, result, truths, names)
    print(classification_table(names, truths, result))
    if result.timestep_embedding == "published":
        print("the DiT was evaluated as the published network (see --timestep-embedding)")
    print(f"wrote {settings.out / 'classify.csv'} and {settings.out / 'classify.png'}")


def _asked_for(settings: Classify) -> tuple[tuple[str, ...], str | None, int | None]:
    """Sources of the images, their split and their limit; files in the results' own folder do not count."""
    if not settings.images:
        return ("fashion",), settings.split or "test", settings.limit or 32
    names = [name for given in settings.images for name in (_listed() if given == STANDARD_INPUT else [given])]
    if not names:
        raise ValueError("standard input names no images; give a file name a line")
    out = settings.out.resolve()
    images = tuple(s for s in names if not (Path(s).is_file() and Path(s).resolve().parent == out))
    if not images:
        raise ValueError(f"no images but those in {settings.out}, the folder of the results; choose another --out")
    return images, settings.split, settings.limit


def _listed() -> list[str]:
    """File names from standard input, a line each, or ended by NUL as `find -print0` writes them."""
    processes = current_process()
    # All processes of a launch have the same standard input, and what one has read the others do not find.
    content = processes.from_main(sys.stdin.buffer.read() if processes.is_main else b"")
    lines = content.split(b"\0") if b"\0" in content else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(line) for line in lines if line.strip()]
