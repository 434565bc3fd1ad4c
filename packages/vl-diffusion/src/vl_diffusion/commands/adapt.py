"""`vl-diffusion adapt`: compare methods of test-time adaptation on corrupted images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from vl_core.data import balanced_order
from vl_core.devices import find_device
from vl_core.progress import progress_bar
from vl_core.runs import RunFolder
from vl_core.runs.processes import current_process

from vl_diffusion.commands._labels import labeled, labels_of
from vl_diffusion.commands._running import check_model, model_sha256
from vl_diffusion.commands.settings.adapt import Adapt
from vl_diffusion.commands.settings.class_names import class_names
from vl_diffusion.commands.settings.classifier import WITHOUT_EFFECT
from vl_diffusion.models.denoiser import Denoiser
from vl_diffusion.models.images import to_tensor
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.runs.fingerprint import fingerprint
from vl_diffusion.runs.image_collection import ImageCollection, describe, gather
from vl_diffusion.runs.reading import ReadImages, read_images
from vl_diffusion.scoring.cached_errors import CachedErrors
from vl_diffusion.studies.adaptation.cells import CLEAN, Cell, CorruptedImages
from vl_diffusion.studies.adaptation.gains import Study
from vl_diffusion.studies.adaptation.methods import METHODS
from vl_diffusion.studies.adaptation.names import SOURCE, has_seeds, source_folder
from vl_diffusion.studies.adaptation.report import Report
from vl_diffusion.studies.adaptation.runners import MethodInputs, Outcome, Runner
from vl_diffusion.studies.adaptation.runs import MethodRun, run_method
from vl_diffusion.studies.adaptation.sources import Source, load_source
from vl_diffusion.studies.record import StudyRecord

_QUICK = 100  # images where none are named


def run(settings: Adapt) -> int:
    """Run all methods, resuming from `settings.out`, and write the tables and the charts.

    Returns:
        The exit status: 1 if images were left out because they cannot be read, else 0.

    Raises:
        ValueError: If an argument, an image or a model is invalid.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set requires an extra that is not installed.
        KeyboardInterrupt: If interrupted; a note gives the number of finished images.
    """
    settings = _checked(settings)
    images, split = settings.images or ("fashion",), settings.split or "test"
    given = labeled(gather(images, split=settings.split, default_split="test", exclude=settings.out))
    folders = {seed: source_folder(settings.source, seed) for seed in settings.seeds}
    sources = _sources(settings, folders)
    classes = sources[settings.seeds[0]].classes
    read, collection, ids = _images(settings, given, classes)
    cells = _cells(settings)
    for source in sources.values():
        source.check(to_tensor(collection[0]))
    for cell in cells:
        # Check that the images can be corrupted before computing anything.
        CorruptedImages(collection, ids, cell, settings.tuned_for)(0)
    denoiser = as_denoiser(load_denoiser(**settings.loading()), device=find_device(settings.device))
    runners = _runners(settings, sources, denoiser)
    kept = settings.out / "kept"
    _open_folder(settings, denoiser, images, split, classes)
    for seed, folder in folders.items():
        RunFolder(kept / "sources" / f"seed-{seed}", {"source_sha256": fingerprint(folder)}).close()
    for method in settings.methods:
        method_settings = runners[method, settings.seeds[0]].settings
        RunFolder(kept / "methods" / method, {"method": method} | method_settings).close()
    record = StudyRecord(settings.out / "outcomes.jsonl", Outcome)
    _run_all(settings, cells, runners, collection, ids, record)
    study = Study(record, ids, labels_of(collection, classes), settings.seeds)
    report = Report(study, cells, settings.methods, collection, classes, settings.tuned_for)
    print(report.write(settings.out))
    print(f"wrote adapt.csv, gains.csv, adapt.png and images.png to {settings.out}")
    return read.report(settings.out)


def _checked(settings: Adapt) -> Adapt:
    """Expand "all", remove duplicates, and put the source first.

    Raises:
        ValueError: If a name is unknown or a number out of range.
    """
    if current_process().count > 1:
        raise ValueError("adapt measures time in one process; start it without accelerate launch")
    settings.check()
    return replace(
        settings,
        corruptions=tuple(dict.fromkeys(settings.named_corruptions())),
        severities=tuple(dict.fromkeys(settings.severities)),
        methods=tuple(dict.fromkeys((SOURCE, *settings.methods))),
        seeds=tuple(dict.fromkeys(settings.seeds)),
    )


def _cells(settings: Adapt) -> list[Cell]:
    """The clean cell, and every corruption at every severity."""
    return [CLEAN, *(Cell(name, severity) for name in settings.corruptions for severity in settings.severities)]


def _sources(settings: Adapt, folders: dict[int, Path]) -> dict[int, Source]:
    """The classifier of each seed, on the device."""
    device = find_device(settings.device)
    sources = {seed: load_source(folder, class_names(settings.classes)) for seed, folder in folders.items()}
    first = next(iter(sources))
    for seed, source in sources.items():
        source.model.to(device)
        if source.classes != sources[first].classes:
            raise ValueError(f"the sources of seeds {first} and {seed} have other classes, or in another order")
    return sources


def _images(
    settings: Adapt, given: ImageCollection, classes: tuple[str, ...]
) -> tuple[ReadImages, ImageCollection, list[int]]:
    """The first images in a balanced order, and those of them that equal no other, with their ids."""
    truths = dict.fromkeys(image.truth or "" for image in given.entries)
    if strangers := [name for name in truths if name not in classes]:
        raise ValueError(
            f"the images' labels must be classes of the source ({', '.join(classes)}), got {', '.join(strangers)}; "
            "rename or leave out these images, or name the source's logits with --classes"
        )
    order = balanced_order([image.truth for image in given.entries])
    order = order[: settings.limit or (None if settings.images else _QUICK)]
    read = read_images(ImageCollection([given.entries[i] for i in order]), strict=settings.strict)
    chosen, ids = read.collection, read.image_ids
    first = {image_id: i for i, image_id in reversed(list(enumerate(ids)))}
    if len(first) < len(ids):
        print(f"{len(ids) - len(first)} of {len(ids)} images equal others and are left out", file=sys.stderr)
    places = sorted(first.values())
    return read, ImageCollection([chosen.entries[i] for i in places]), [ids[i] for i in places]


def _runners(settings: Adapt, sources: dict[int, Source], denoiser: Denoiser) -> dict[tuple[str, int], Runner]:
    """Every method with every seed, built before anything is computed, so that a misfit is reported at once."""
    autocast = None if settings.precision == "float32" else getattr(torch, settings.precision)
    runners: dict[tuple[str, int], Runner] = {}
    errors: dict[int, CachedErrors] = {}
    for seed, source in sources.items():
        noise = 0 if has_seeds(settings.source) else seed
        inputs = MethodInputs.make(
            source,
            denoiser,
            seed=noise,
            errors=errors.get(noise),
            batch_size=settings.batch_size,
            autocast=autocast,
            compile=settings.compile,
            prompt_template=settings.prompt_template,
        )
        errors[noise] = inputs.errors
        for name in settings.methods:
            runners[name, seed] = METHODS[name].build(inputs)
    return runners


def _open_folder(
    settings: Adapt, denoiser: Denoiser, images: Sequence[str], split: str, classes: tuple[str, ...]
) -> None:
    """Create the folder, or check that its results were made with the same images, models and settings.

    Corruptions, severities, methods, seeds and the number of images may differ.
    """
    config = asdict(settings)
    for name in (*WITHOUT_EFFECT, "out", "limit", "strict", "corruptions", "severities", "methods", "seeds"):
        config.pop(name, None)
    config |= {
        "images": describe(images),
        "split": split,
        "classes": list(classes),
        "model_sha256": model_sha256(settings),
        "timestep_embedding": getattr(denoiser, "timestep_embedding", None),
    }
    check_model(settings.model, settings.out, config)
    RunFolder(settings.out, config).close()


def _run_all(
    settings: Adapt,
    cells: Sequence[Cell],
    runners: dict[tuple[str, int], Runner],
    collection: ImageCollection,
    ids: Sequence[int],
    record: StudyRecord[Outcome],
) -> None:
    """Run every method on every cell and seed that is not finished yet."""
    runs = [MethodRun(cell, method, seed) for cell in cells for seed in settings.seeds for method in settings.methods]
    total = len(runs) * len(ids)

    def finished() -> int:
        return sum(image_id in record.of(run.name) for run in runs for image_id in ids)

    if before := finished():
        print(f"{before} of {total} predictions are finished in {settings.out}", file=sys.stderr)
    try:
        with record, progress_bar(total=total, initial=before, desc="adapt", unit="prediction") as bar:
            for run in runs:
                bar.set_postfix_str(run.name, refresh=False)
                image = CorruptedImages(collection, ids, run.cell, settings.tuned_for)
                runner = runners[run.method, run.seed]
                run_method(run, runner, image, ids, record, settings.out / "kept" / "runs", bar.update)
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(f"{finished()} of {total} predictions are kept in {settings.out}; rerun the command to resume")
        raise
