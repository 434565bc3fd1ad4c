"""`vl-diffusion compare-search`: what each search finds and costs, on the same draws of the same images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import tyro
from vl_core.data import open_dataset
from vl_core.runs import RunFolder

from vl_diffusion.charts.searches import draw_comparison
from vl_diffusion.checks import checked_logits
from vl_diffusion.classification.class_means import class_mean_logits
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.engine import fit_budget
from vl_diffusion.commands.evaluate import labeled, labels_of, with_truth
from vl_diffusion.commands.running import check_model, drop_unknown_labels, read_ids, run_config
from vl_diffusion.commands.settings import ClassifierSettings, SearchName, build_classifier, read_tree
from vl_diffusion.models.folders import local_folder
from vl_diffusion.runs.fingerprint import file_sha256
from vl_diffusion.runs.image_collection import ImageCollection, balanced_order, gather
from vl_diffusion.runs.processes import current_process
from vl_diffusion.runs.tables import write_rows
from vl_diffusion.search import Exhaustive, Grid, Halving, LabelTree, Racing, Search, Shortlist, Staged
from vl_diffusion.search.common_grid import OnGrid
from vl_diffusion.search.evidence import Bound
from vl_diffusion.studies.record import StudyRecord
from vl_diffusion.studies.search_comparison import Finding, Row, compare, summarize

_T = TypeVar("_T")

# A setting of the other commands that is none of this one.
NotAsked = tyro.conf.Suppress[tyro.conf.Fixed[_T]]


@dataclass(frozen=True, kw_only=True)
class CompareSearch(ClassifierSettings):
    """Run every search on the same draws of the same labeled images, and compare what they find and cost.

    An error is computed once, whichever searches look at it. Without arguments: a dozen held-out images of clothes,
    some two minutes on two cores. An interrupted command goes on where it stopped, and with a larger --limit a finished
    one goes on, too.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with a folder a class, .npz or .parquet files, or names of built-in sets."""

    out: Path = Path("vl-diffusion-compare-search")
    """Folder for search.csv, search.png and what is finished."""

    limit: int | None = None
    """Compare on at most this many images, all classes in proportion; a larger limit keeps them."""

    split: str | None = None
    """Split of the data sets that are given; default: test, where they are divided into splits."""

    exhaustive: int = 250
    """Draws of exhaustive search, and the most draws of halving, racing and the searches that end in a race."""

    stages: tuple[int, ...] = (50, 500)
    """Draws of the staged searches."""

    survivors: tuple[int, ...] = (5, 1)
    """Classes that survive each stage."""

    top: int = 5
    """Classes on the shortlist."""

    max_evaluations: int | None = None
    """Hard limit on the evaluations of an image, for every search but the exhaustive one, which the others are
    compared with."""

    search: NotAsked[SearchName] = "exhaustive"
    """All are compared."""

    draws: NotAsked[tuple[int, ...] | None] = None
    """See `exhaustive` and `stages`."""

    keep: NotAsked[tuple[int, ...]] = (1,)
    """See `survivors`."""

    grid: NotAsked[Grid] = "nested"
    """Both are compared."""

    bound: NotAsked[Bound] = "t"
    """Both are compared."""

    logits: Path | None = None
    """Scores of another model for the shortlist, a .npy array of images by classes, in the order of the images
    before --limit; default: how close an image is to the mean of each class's training images, where there are."""


def run(settings: CompareSearch) -> None:
    """Run all searches, going on from what `settings.out` already holds, and write the table and the plot.

    Raises:
        ValueError: If an argument or an image is not what it must be, or no image has a label.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
        KeyboardInterrupt: If it is interrupted; a note says how much is kept.
    """
    if settings.limit is not None and settings.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {settings.limit}")
    if current_process().count > 1:
        raise ValueError("compare-search measures time in one process; start it without accelerate launch")
    images, split = settings.images or ("fashion",), settings.split or "test"
    given = labeled(gather(images, split=settings.split, default_split="test", exclude=settings.out))
    on_grid = replace(settings, search="exhaustive", draws=(_grid(settings),), max_evaluations=None)
    classifier = build_classifier(on_grid, given.classes)
    whole = with_truth(drop_unknown_labels(given, classifier.classes))
    order = balanced_order(whole.entries)[: settings.limit or (None if settings.images else 12)]
    collection = ImageCollection([whole.entries[i] for i in order])
    ids = read_ids(collection)
    logits = _logits(settings, images, whole, order, classifier.classes)
    searches = _searches(settings, classifier, has_logits=logits is not None)
    without = ("search", "draws", "keep", "grid", "bound", "logits")
    config = run_config(settings, classifier.classes, images, split, without=without)
    config |= {"searches": list(searches), "draws_in_all": _grid(settings)}
    config["logits_sha256"] = None if settings.logits is None else file_sha256(settings.logits)
    check_model(settings.model, settings.out, config)
    RunFolder(settings.out, config).close()
    record = StudyRecord(settings.out / "searches.jsonl", Finding)
    names = list(searches)
    if finished := sum(image_id in record.of(names[0]) for image_id in ids):
        print(f"{finished} of {len(ids)} images are finished in {settings.out}", file=sys.stderr)
    try:
        compare(classifier, searches, collection, ids, record, logits)
    except (Exception, KeyboardInterrupt) as error:
        kept = sum(image_id in record.of(names[0]) for image_id in ids)
        error.add_note(f"{kept} of {len(ids)} images are kept in {settings.out}; rerun the command to resume")
        raise
    rows = summarize(record, names, ids, labels_of(collection, classifier.classes))
    write_rows(settings.out / "search.csv", rows)
    draw_comparison(settings.out / "search.png", rows)
    print(_table(rows))
    print(f"wrote {settings.out / 'search.csv'} and {settings.out / 'search.png'}")


def _searches(settings: CompareSearch, classifier: DiffusionClassifier, *, has_logits: bool) -> dict[str, Search]:
    """All searches by name on one grid of draws, and first the one that the others are compared with."""
    most, limit = settings.exhaustive, settings.max_evaluations
    racing = Racing(most, level=settings.level, max_evaluations=limit)
    found: dict[str, Search] = {
        "exhaustive": Exhaustive(most),
        "staged, literal grid": Staged(settings.stages, settings.survivors, "literal", max_evaluations=limit),
        "staged, nested grid": Staged(settings.stages, settings.survivors, max_evaluations=limit),
        "successive halving": Halving(most, min(Halving.first, most), max_evaluations=limit),
        "racing": racing,
        "racing, empirical Bernstein": replace(racing, bound="bernstein"),
    }
    tree = settings.tree or _tree_beside(settings.model)
    if tree is None:
        print("no label tree is compared: give --tree FILE", file=sys.stderr)
    elif len(classifier.candidates) > len(classifier.classes):
        print("no label tree is compared: it is of classes, and prompts are searched over", file=sys.stderr)
    elif settings.aggregation != "mean":
        print("no label tree is compared: it asks for the classes of a draw in parts, for means alone", file=sys.stderr)
    else:
        draws = min(LabelTree.draws, most)
        found["label tree, then racing"] = LabelTree(
            read_tree(tree), classifier.classes, racing, draws=draws, max_evaluations=limit
        )
    if has_logits:
        found["shortlist, then racing"] = Shortlist(racing, settings.top)
    else:
        print("no shortlist is compared: give --logits FILE, or a data set with a training split", file=sys.stderr)
    for name, search in found.items():
        try:
            fit_budget(search, classifier.candidates)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return {name: OnGrid(search, _grid(settings)) for name, search in found.items()}


def _grid(settings: CompareSearch) -> int:
    """How many draws all searches choose from."""
    return max(settings.exhaustive, settings.stages[-1])


def _tree_beside(model: str) -> Path | None:
    """The tree of labels that lies with a model, if one does."""
    folder = local_folder(model)
    path = None if folder is None else folder / "tree.json"
    return path if path is not None and path.is_file() else None


def _logits(
    settings: CompareSearch, images: Sequence[str], whole: ImageCollection, order: list[int], classes: tuple[str, ...]
) -> np.ndarray | None:
    """Another model's scores of the chosen images: the file's, or by class means where there is a training split."""
    if settings.logits is not None:
        try:
            scores = checked_logits(np.load(settings.logits, allow_pickle=False), len(whole), len(classes))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{settings.logits}: {error}") from error
        chosen: np.ndarray = scores[order]
        return chosen
    if len(images) != 1 or settings.split == "train":
        return None
    try:
        training = open_dataset(images[0], split="train")
    # It has no such split.
    except ValueError:
        return None
    if not set(classes) <= set(training.classes):
        return None
    return class_mean_logits(training, ImageCollection([whole.entries[i] for i in order]), classes)


def _table(rows: Sequence[Row]) -> str:
    width = max(len(row.search) for row in rows)
    head = f"{'search':{width}}  {'accuracy':>8}  {'as exhaustive':>13}  {'evaluations':>11}  {'CPU s an image':>14}"
    lines = [head, "-" * len(head)]
    lines += [
        f"{row.search:{width}}  {100 * row.accuracy:>6.1f} %  {100 * row.agreement:>11.1f} %  "
        f"{row.evaluations_per_image:>11,.1f}  {row.cpu_seconds:>14.3f}"
        for row in rows
    ]
    return "\n".join(lines)
