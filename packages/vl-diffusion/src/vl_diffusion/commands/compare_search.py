"""`vl-diffusion compare-search`: accuracy and cost of all searches, on the same draws of the same images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from vl_core.data import balanced_order, open_dataset
from vl_core.runs import RunFolder, file_sha256
from vl_core.runs.processes import current_process
from vl_core.tables import write_rows

from vl_diffusion.charts.searches import draw_comparison
from vl_diffusion.checks import checked_logits
from vl_diffusion.classification.class_means import class_mean_logits
from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.engine import fit_budget
from vl_diffusion.commands._classifier import build_classifier
from vl_diffusion.commands._labels import labeled, labels_of, with_truth
from vl_diffusion.commands._running import check_model, drop_unknown_labels, run_config
from vl_diffusion.commands.settings.classifier import read_tree
from vl_diffusion.commands.settings.compare_search import CompareSearch
from vl_diffusion.models.folders import local_folder
from vl_diffusion.runs.image_collection import ImageCollection, gather
from vl_diffusion.runs.reading import read_images
from vl_diffusion.search import Exhaustive, Halving, LabelTree, Racing, Search, Shortlist, Staged
from vl_diffusion.search.common_grid import OnGrid
from vl_diffusion.studies.record import StudyRecord
from vl_diffusion.studies.search_comparison import Finding, Row, compare, summarize


def run(settings: CompareSearch) -> int:
    """Run all searches, resuming from `settings.out`, and write the table and the chart.

    Returns:
        The exit status: 1 if images were left out because they cannot be read, else 0.

    Raises:
        ValueError: If an argument or an image is invalid, or no image has a label.
        OSError: If a file or a model is missing or cannot be read.
        ModuleNotFoundError: If a data set requires an extra that is not installed.
        KeyboardInterrupt: If interrupted; a note gives the number of finished images.
    """
    settings.check()
    settings = settings.with_draws()
    if current_process().count > 1:
        raise ValueError("compare-search measures time in one process; start it without accelerate launch")
    images, split = settings.images or ("fashion",), settings.split or "test"
    given = labeled(gather(images, split=settings.split, default_split="test", exclude=settings.out))
    on_grid = replace(settings, search="exhaustive", draws=(_grid(settings),), max_evaluations=None)
    classifier = build_classifier(on_grid, given.classes)
    whole = with_truth(drop_unknown_labels(given, classifier.classes))
    order = balanced_order([image.truth for image in whole.entries])
    order = order[: settings.limit or (None if settings.images else 12)]
    read = read_images(ImageCollection([whole.entries[i] for i in order]), strict=settings.strict)
    order = [order[place] for place in read.places]
    collection, ids = read.collection, read.image_ids
    logits = _logits(settings, images, whole, order, classifier.classes)
    searches = _searches(settings, classifier, has_logits=logits is not None)
    without = ("search", "draws", "keep", "grid", "bound", "logits")
    config = run_config(settings, classifier, images, split, without=without)
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
    return read.report(settings.out)


def _searches(settings: CompareSearch, classifier: DiffusionClassifier, *, has_logits: bool) -> dict[str, Search]:
    """All searches by name on a common grid of draws, the reference first."""
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
        print(
            "no label tree is compared: it needs one candidate per class, and prompts are searched individually",
            file=sys.stderr,
        )
    elif settings.aggregation != "mean":
        print("no label tree is compared: it supports only --aggregation mean", file=sys.stderr)
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
    """Number of draws of the common grid."""
    return max(settings.exhaustive, settings.stages[-1])


def _tree_beside(model: str) -> Path | None:
    """The label tree in the model's folder, if there is one."""
    folder = local_folder(model)
    path = None if folder is None else folder / "tree.json"
    return path if path is not None and path.is_file() else None


def _logits(
    settings: CompareSearch, images: Sequence[str], whole: ImageCollection, order: list[int], classes: tuple[str, ...]
) -> np.ndarray | None:
    """Scores of the chosen images from the file, or by class means if there is a training split."""
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
    head = f"{'search':{width}}  {'accuracy':>8}  {'agreement':>9}  {'evaluations':>11}  {'CPU s per image':>15}"
    lines = [head, "-" * len(head)]
    lines += [
        f"{row.search:{width}}  {100 * row.accuracy:>6.1f} %  {100 * row.agreement:>7.1f} %  "
        f"{row.evaluations_per_image:>11,.1f}  {row.cpu_seconds:>15.3f}"
        for row in rows
    ]
    return "\n".join(lines)
