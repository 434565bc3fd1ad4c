"""`vl-diffusion compare-search`: what each search finds and costs, on the same draws of the same pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from vl_core.data import open_dataset
from vl_core.runs import RunFolder

from vl_diffusion.class_means import class_mean_logits
from vl_diffusion.commands.evaluate import labels_of, with_truth
from vl_diffusion.commands.running import check_model, judged, read_ids, what_decides
from vl_diffusion.commands.settings import ClassifierSettings, build_classifier, read_tree
from vl_diffusion.comparison import Row, SearchRecord, compare
from vl_diffusion.loading import local_folder
from vl_diffusion.pictures import Pictures, gather
from vl_diffusion.search import Exhaustive, Halving, LabelTree, Racing, Search, Shortlist, Staged
from vl_diffusion.search.common_grid import OnGrid
from vl_diffusion.search_chart import draw_comparison
from vl_diffusion.tables import write_rows


@dataclass(frozen=True, kw_only=True)
class CompareSearch(ClassifierSettings):
    """Run every search on the same draws of the same labelled pictures, and compare what they find and cost.

    An error is computed once, whichever searches look at it. Without arguments: a dozen held-out pictures of clothes,
    some two minutes on two cores. An interrupted command goes on where it stopped, and with a larger --limit a finished
    one goes on, too.
    """

    images: tyro.conf.Positional[tuple[str, ...]] = ()
    """Image folders with a folder a class, .npz or .parquet files, or names of built-in sets."""

    out: Path = Path("vl-diffusion-compare-search")
    """Folder for search.csv, search.png and what is finished."""

    limit: int | None = None
    """Compare on at most this many pictures: the first ones of an order that a larger limit keeps."""

    split: str | None = "test"
    """Split of the data sets that are given."""

    exhaustive: int = 250
    """Draws of exhaustive search, and the most draws of halving, racing and the searches that end in a race."""

    stages: tuple[int, ...] = (50, 500)
    """Draws of the staged searches."""

    survivors: tuple[int, ...] = (5, 1)
    """Classes that survive each stage."""

    top: int = 5
    """Classes on the shortlist."""

    logits: Path | None = None
    """Scores of another model for the shortlist, a .npy array of pictures by classes, in the order of the pictures
    before --limit; default: how close a picture is to the mean of each class's training pictures, where there are."""


def run(settings: CompareSearch) -> None:
    """Run all searches, going on from what `settings.out` already holds, and write the table and the plot.

    Raises:
        ValueError: If an argument or a picture is not what it must be, or no picture has a label.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set needs an extra that is not installed.
        KeyboardInterrupt: If it is interrupted; the message says how much is kept.
    """
    if settings.limit is not None and settings.limit < 1:
        raise ValueError(f"--limit must be at least 1, got {settings.limit}")
    images = settings.images or ("fashion",)
    gathered = gather(images, split=settings.split, exclude=settings.out)
    on_grid = replace(settings, search="exhaustive", draws=(_grid(settings),), max_evaluations=None)
    classifier = build_classifier(on_grid, gathered.classes)
    whole = with_truth(judged(gathered, classifier.classes))
    order = np.random.default_rng(0).permutation(len(whole))[: settings.limit or (None if settings.images else 12)]
    pictures = Pictures([whole.pictures[i] for i in order])
    logits = _logits(settings, images, whole, order, classifier.classes)
    searches = _searches(settings, classifier.classes, has_logits=logits is not None)
    ids = read_ids(pictures)
    config = what_decides(settings, classifier.classes, images, settings.split, without=("temperature",))
    config |= {"searches": list(searches), "draws_in_all": _grid(settings)}
    check_model(settings, settings.out, config)
    RunFolder(settings.out, config).close()
    record = SearchRecord(settings.out / "searches.jsonl")
    if finished := sum(image_id in record for image_id in ids):
        print(f"{finished} of {len(ids)} pictures are finished in {settings.out}", file=sys.stderr)
    try:
        compare(classifier, searches, pictures, ids, record, logits)
    except KeyboardInterrupt:
        kept = sum(image_id in record for image_id in ids)
        raise KeyboardInterrupt(
            f"{kept} of {len(ids)} pictures are kept in {settings.out}, and the same command goes on from there"
        ) from None
    rows = record.rows(list(searches), ids, labels_of(pictures, classifier.classes))
    write_rows(settings.out / "search.csv", rows)
    draw_comparison(settings.out / "search.png", rows)
    print(_table(rows))
    print(f"wrote {settings.out / 'search.csv'} and {settings.out / 'search.png'}")


def _searches(settings: CompareSearch, classes: tuple[str, ...], *, has_logits: bool) -> dict[str, Search]:
    """All searches by name on one grid of draws, and first the one that the others are compared with."""
    most, limit = settings.exhaustive, settings.max_evaluations
    racing = Racing(most, level=settings.level, max_evaluations=limit)
    found: dict[str, Search] = {
        "exhaustive": Exhaustive(most),
        "staged, literal grid": Staged(settings.stages, settings.survivors, "literal"),
        "staged, nested grid": Staged(settings.stages, settings.survivors),
        "successive halving": Halving(most, max_evaluations=limit),
        "racing": racing,
        "racing, empirical Bernstein": replace(racing, bound="bernstein"),
    }
    tree = settings.tree or _tree_beside(settings.model)
    if tree is None:
        print("no label tree is compared: give --tree FILE", file=sys.stderr)
    else:
        found["label tree, then racing"] = LabelTree(read_tree(tree), classes, racing)
    if has_logits:
        found["shortlist, then racing"] = Shortlist(racing, settings.top)
    else:
        print("no shortlist is compared: give --logits FILE, or a data set with a training split", file=sys.stderr)
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
    settings: CompareSearch, images: Sequence[str], whole: Pictures, order: np.ndarray, classes: tuple[str, ...]
) -> np.ndarray | None:
    """Another model's scores of the chosen pictures: the file's, or by class means where there is a training split."""
    if settings.logits is not None:
        scores: np.ndarray = np.load(settings.logits, allow_pickle=False)
        if scores.shape != (wanted := (len(whole), len(classes))):
            raise ValueError(f"{settings.logits} must hold {wanted} scores, pictures by classes, got {scores.shape}")
        return np.asarray(scores[order], np.float64)
    if len(images) != 1 or settings.split == "train":
        return None
    try:
        training = open_dataset(images[0], split="train")
    except (ValueError, OSError):
        return None
    if not set(classes) <= set(training.classes):
        return None
    return class_mean_logits(training, Pictures([whole.pictures[i] for i in order]), classes)


def _table(rows: Sequence[Row]) -> str:
    width = max(len(row.search) for row in rows)
    head = f"{'search':{width}}  {'right':>7}  {'as exhaustive':>13}  {'evaluations':>11}  {'CPU s an image':>14}"
    lines = [head, "-" * len(head)]
    lines += [
        f"{row.search:{width}}  {100 * row.accuracy:>5.1f} %  {100 * row.agreement:>11.1f} %  "
        f"{row.evaluations_per_image:>11,.1f}  {row.cpu_seconds:>14.3f}"
        for row in rows
    ]
    return "\n".join(lines)
