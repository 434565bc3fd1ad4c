"""Compares searches on the same draws of the same images, with each error computed once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from vl_core.progress import progress_bar

from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.encoding import encode_each
from vl_diffusion.classification.engine import EncodedImage, Engine
from vl_diffusion.scoring.cached_errors import CachedErrors
from vl_diffusion.search import Search
from vl_diffusion.studies.record import StudyRecord

# Images in a group, which is recorded as a whole; an interruption loses the current one.
_GROUP_SIZE = 10


@dataclass(frozen=True)
class Finding:
    """Result of one search for one image."""

    prediction: int
    """Index of the class."""

    evaluations: int
    """Evaluations of the network that the search requested."""

    bookkeeping_seconds: float
    """CPU time besides the network's: the image's share of its group's."""


@dataclass(frozen=True)
class Row:
    """Accuracy and cost of one search over all images; a row of search.csv."""

    search: str
    """Name of the search."""

    images: int
    """Number of images."""

    accuracy: float
    """Share of images that are classified correctly."""

    agreement: float
    """Share of images with the same prediction as the first search, exhaustive search."""

    evaluations_per_image: float
    """Evaluations of the network."""

    cpu_seconds: float
    """CPU time per image: its evaluations at their mean cost in this comparison, and the search's bookkeeping."""


def compare(
    classifier: DiffusionClassifier,
    searches: Mapping[str, Search],
    images: Sequence[Any],
    image_ids: Sequence[int],
    record: StudyRecord[Finding],
    logits: np.ndarray | None = None,
) -> None:
    """Run all searches on the images that are not on record yet, and record their findings.

    Args:
        classifier: The model and its settings; its own search has as many draws as the others.
        searches: The searches by name, with equally many draws.
        images: The images.
        image_ids: Their ids; images with the same id are searched once.
        record: Receives the findings.
        logits: ``(B, K)``, scores of another model, for searches that use them.
    """
    first = next(iter(searches))
    todo = list({image_id: i for i, image_id in enumerate(image_ids) if image_id not in record.of(first)}.values())
    evaluations = 0
    with record, progress_bar(total=len(todo), desc="compare", unit="image", miniters=0) as bar:

        def advance(count: int) -> None:
            nonlocal evaluations
            evaluations += count
            bar.set_postfix_str(f"{evaluations:,} evaluations", refresh=False)
            bar.update(0)

        for start in range(0, len(todo), _GROUP_SIZE):
            group = todo[start : start + _GROUP_SIZE]
            ids = [image_ids[i] for i in group]
            cached = CachedErrors(classifier.evaluator)
            scores = None if logits is None else logits[group]
            encoded_images = list(encode_each(classifier.denoiser, [images[i] for i in group], ids, scores))
            engine = replace(classifier.engine, evaluator=cached)
            findings = {
                name: _run(classifier, engine, cached, search, encoded_images, advance)
                for name, search in searches.items()
            }
            record.append(ids, findings, evaluations=cached.evaluations, cpu_seconds=cached.cpu_seconds)
            bar.update(len(group))


def summarize(
    record: StudyRecord[Finding], searches: Sequence[str], image_ids: Sequence[int], labels: np.ndarray
) -> list[Row]:
    """A row for each search over these images.

    Args:
        record: The findings.
        searches: Names of searches; the others are compared with the first.
        image_ids: Ids of B images that are on record.
        labels: int64 ``(B,)``, the true classes.
    """
    seconds_per_evaluation = record.total("cpu_seconds") / max(1, record.total("evaluations"))
    reference = np.array([record.of(searches[0])[i].prediction for i in image_ids])
    rows = []
    for name in searches:
        findings = [record.of(name)[i] for i in image_ids]
        predictions = np.array([finding.prediction for finding in findings])
        evaluations = float(np.mean([finding.evaluations for finding in findings]))
        bookkeeping = float(np.mean([finding.bookkeeping_seconds for finding in findings]))
        rows.append(
            Row(
                search=name,
                images=len(findings),
                accuracy=float((predictions == labels).mean()),
                agreement=float((predictions == reference).mean()),
                evaluations_per_image=evaluations,
                cpu_seconds=evaluations * seconds_per_evaluation + bookkeeping,
            )
        )
    return rows


def _run(
    classifier: DiffusionClassifier,
    engine: Engine,
    cached: CachedErrors,
    search: Search,
    encoded_images: Sequence[EncodedImage],
    advance: Callable[[int], object],
) -> list[Finding]:
    network, start = cached.cpu_seconds, time.process_time()
    found = {
        state.image.index: classifier.summary(state) for state in engine.run(iter(encoded_images), search, advance)
    }
    bookkeeping = time.process_time() - start - (cached.cpu_seconds - network)
    return [
        Finding(
            prediction=int(result.predictions[0]),
            evaluations=int(result.total_evaluations[0]),
            bookkeeping_seconds=bookkeeping / len(encoded_images),
        )
        for result in (found[encoded.index] for encoded in encoded_images)
    ]
