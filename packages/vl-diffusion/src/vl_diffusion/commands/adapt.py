"""`vl-diffusion adapt`: compare methods of test-time adaptation on corrupted images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import tyro
from tqdm.auto import tqdm
from vl_core.corruptions import CORRUPTIONS, PUBLISHED_SIZES, SEVERITIES
from vl_core.data import balanced_order
from vl_core.devices import find_device
from vl_core.runs import RunFolder
from vl_core.runs.processes import current_process

from vl_diffusion.commands._labels import labeled, labels_of
from vl_diffusion.commands._running import check_model, read_ids
from vl_diffusion.commands._settings import WITHOUT_EFFECT, Precision
from vl_diffusion.models.folders import local_folder
from vl_diffusion.models.images import to_tensor
from vl_diffusion.models.loading import as_denoiser, load_denoiser
from vl_diffusion.runs.fingerprint import fingerprint
from vl_diffusion.runs.image_collection import ImageCollection, describe, gather
from vl_diffusion.scoring.cached_errors import CachedErrors
from vl_diffusion.studies.adaptation.cells import CLEAN, Cell, CorruptedImages
from vl_diffusion.studies.adaptation.gains import SOURCE, Study
from vl_diffusion.studies.adaptation.methods import METHODS
from vl_diffusion.studies.adaptation.report import Report
from vl_diffusion.studies.adaptation.runners import MethodInputs, Outcome, Runner
from vl_diffusion.studies.adaptation.runs import MethodRun, run_method
from vl_diffusion.studies.adaptation.sources import Source, has_seeds, load_source, source_folder
from vl_diffusion.studies.record import StudyRecord

_QUICK = 100  # images where none are named


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """Compare methods that adapt a classifier to corrupted images with a diffusion model.

    All methods get the same corrupted images, and the clean ones. Without arguments: a hundred held-out images of
    clothes under four corruptions, a minute or two on two cores. Rerun an interrupted command to resume, or a finished
    one with more images, corruptions, methods or seeds to extend it.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with one subfolder per class, .npz or .parquet files, or names of built-in data sets."""

    model: str = "fashion_robust"
    """The diffusion model: "fashion_robust" or "fashion" (built in), the folder of a diffusers pipeline or network, or
    a hub id."""

    source: str = "fashion_few"
    """The classifier: "fashion_few" (built in), or a folder, such as of a transformers image classifier; {seed} in its
    name is replaced by the seed."""

    classes: tuple[str, ...] | None = None
    """Class names in the order of the logits; default: those in the classifier's configuration."""

    corruptions: tuple[str, ...] = ("impulse_noise", "glass_blur", "fog", "contrast")
    """Names of corruptions, or "all" fifteen; clean images are always included."""

    severities: tuple[int, ...] = (5,)
    """Severities of the corruptions, from 1 to 5."""

    tuned_for: int | None = None
    """Image size in pixels, from 32 to 224, for which published corruption strengths are used; default: that of the
    images."""

    methods: tuple[str, ...] = ("source", "tent", "default", "default_online")
    """Any of source, tent, default, default_online, ungated, diffusion_tta (slow: 900 forward and 900 backward passes
    per image) and diffusion_classifier; the source is always included."""

    seeds: tuple[int, ...] = (0,)
    """Seeds of the classifier's training, if there are several, with the same noise; otherwise seeds of the methods'
    noise. Corruptions do not change."""

    limit: int | None = None
    """Maximum number of images per corruption and severity, balanced over classes; a larger limit includes them."""

    split: str | None = None
    """Split of the data sets; default: test, if they have splits."""

    out: Path = Path("vl-diffusion-adapt")
    """Folder for adapt.csv, gains.csv, adapt.png, images.png and finished results."""

    image_size: int | None = None
    """For text-conditional models: height and width of the images in pixels; default: the training resolution."""

    prompt_template: str = "a photo of a {}."
    """For text-conditional models: a prompt with {} for the class name."""

    batch_size: int = 64
    """Evaluations per call of the diffusion model."""

    precision: Precision = "float32"
    """Precision of the diffusion model, by autocast; its weights, the classifier and all errors are float32."""

    compile: bool = False
    """Compile the diffusion model with torch.compile, for the errors of individual classes."""

    device: str = "auto"
    """"cpu", "cuda", ..., or "auto" for a GPU if available."""


def run(settings: Adapt) -> None:
    """Run all methods, resuming from `settings.out`, and write the tables and the charts.

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
    collection, ids = _images(settings, given, classes)
    cells = _cells(settings)
    for source in sources.values():
        source.check(to_tensor(collection[0]))
    for cell in cells:
        # Check that the images can be corrupted before computing anything.
        CorruptedImages(collection, ids, cell, settings.tuned_for)(0)
    runners = _runners(settings, sources)
    kept = settings.out / "kept"
    _open_folder(settings, images, split, classes)
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


def _checked(settings: Adapt) -> Adapt:
    """Expand "all", remove duplicates, and put the source first.

    Raises:
        ValueError: If a name is unknown or a number out of range.
    """
    if current_process().count > 1:
        raise ValueError("adapt measures time in one process; start it without accelerate launch")
    if settings.limit is not None and settings.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {settings.limit}")
    if settings.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {settings.batch_size}")
    smallest, largest = PUBLISHED_SIZES[0], PUBLISHED_SIZES[-1]
    if settings.tuned_for is not None and not smallest <= settings.tuned_for <= largest:
        raise ValueError(f"--tuned-for must lie in {smallest} ... {largest}, got {settings.tuned_for}")
    corruptions = CORRUPTIONS if settings.corruptions == ("all",) else settings.corruptions
    for option, values, known in (
        ("corruptions", corruptions, CORRUPTIONS),
        ("severities", settings.severities, SEVERITIES),
        ("methods", settings.methods, tuple(METHODS)),
    ):
        if not values:
            raise ValueError(f"--{option} names none; leave it out for the default")
        if strangers := [value for value in values if value not in known]:
            raise ValueError(f"--{option} must be among {', '.join(map(str, known))}, got {strangers[0]}")
    if not settings.seeds or (wrong := [seed for seed in settings.seeds if not 0 <= seed < 2**31]):
        raise ValueError(f"--seeds must be in 0 ... 2**31 - 1, got {wrong[0] if settings.seeds else 'none'}")
    return replace(
        settings,
        corruptions=tuple(dict.fromkeys(corruptions)),
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
    sources = {seed: load_source(folder, settings.classes) for seed, folder in folders.items()}
    first = next(iter(sources))
    for seed, source in sources.items():
        source.model.to(device)
        if source.classes != sources[first].classes:
            raise ValueError(f"the sources of seeds {first} and {seed} have other classes, or in another order")
    return sources


def _images(settings: Adapt, given: ImageCollection, classes: tuple[str, ...]) -> tuple[ImageCollection, list[int]]:
    """The first images in a balanced order, without duplicates, and their ids."""
    truths = dict.fromkeys(image.truth or "" for image in given.entries)
    if strangers := [name for name in truths if name not in classes]:
        raise ValueError(
            f"the images' labels must be classes of the source ({', '.join(classes)}), got {', '.join(strangers)}; "
            "rename or leave out these images, or name the source's logits with --classes"
        )
    order = balanced_order([image.truth for image in given.entries])
    order = order[: settings.limit or (None if settings.images else _QUICK)]
    chosen = ImageCollection([given.entries[i] for i in order])
    ids = read_ids(chosen)
    first = {image_id: i for i, image_id in reversed(list(enumerate(ids)))}
    if len(first) < len(ids):
        print(f"{len(ids) - len(first)} of {len(ids)} images equal others and are left out", file=sys.stderr)
    places = sorted(first.values())
    return ImageCollection([chosen.entries[i] for i in places]), [ids[i] for i in places]


def _runners(settings: Adapt, sources: dict[int, Source]) -> dict[tuple[str, int], Runner]:
    """Every method with every seed, built before anything is computed, so that a misfit is reported at once."""
    device = find_device(settings.device)
    denoiser = as_denoiser(load_denoiser(settings.model, image_size=settings.image_size), device=device)
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


def _open_folder(settings: Adapt, images: Sequence[str], split: str, classes: tuple[str, ...]) -> None:
    """Create the folder, or check that its results were made with the same images, models and settings.

    Corruptions, severities, methods, seeds and the number of images may differ.
    """
    config = asdict(settings)
    for name in (*WITHOUT_EFFECT, "out", "limit", "corruptions", "severities", "methods", "seeds"):
        config.pop(name, None)
    folder = local_folder(settings.model)
    config |= {
        "images": describe(images),
        "split": split,
        "classes": list(classes),
        "model_sha256": None if folder is None else fingerprint(folder),
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
        with record, tqdm(total=total, initial=before, desc="adapt", unit="prediction") as bar:
            for run in runs:
                bar.set_postfix_str(run.name, refresh=False)
                image = CorruptedImages(collection, ids, run.cell, settings.tuned_for)
                runner = runners[run.method, run.seed]
                run_method(run, runner, image, ids, record, settings.out / "kept" / "runs", bar.update)
    except (Exception, KeyboardInterrupt) as error:
        error.add_note(f"{finished()} of {total} predictions are kept in {settings.out}; rerun the command to resume")
        raise
