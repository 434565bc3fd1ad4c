"""Searches side by side: every one on the same draws of the same images, each error computed once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from vl_diffusion.classification.classifier import DiffusionClassifier
from vl_diffusion.classification.encoding import encode_each
from vl_diffusion.classification.engine import EncodedImage, Engine
from vl_diffusion.runs.append_only import AppendOnlyFile
from vl_diffusion.scoring.cached_errors import CachedErrors
from vl_diffusion.search import Search

# Images whose searches are run and recorded together; an interruption loses these.
_TOGETHER = 10


@dataclass(frozen=True)
class Finding:
    """What one search made of one image."""

    prediction: int
    """Index of the class."""

    evaluations: int
    """Calls of the network that it asked for, a row of the batch each."""

    bookkeeping_seconds: float
    """CPU time that it took beside the network: its image's share of a group's."""


@dataclass(frozen=True)
class Row:
    """What one search found and cost over all images; a row of search.csv."""

    search: str
    """Which search."""

    images: int
    """Images that it looked at."""

    accuracy: float
    """Share that it named right."""

    agreement: float
    """Share on which it found what the first search found, exhaustive search."""

    evaluations_per_image: float
    """Calls of the network, a row of the batch each."""

    cpu_seconds: float
    """CPU time of an image: its evaluations at their average cost here, and the search's own bookkeeping."""


class SearchRecord(AppendOnlyFile):
    """Findings on disk, a line a group of images, so that a comparison goes on where it stopped.

    Args:
        path: A JSON-lines file; groups are appended inside a `with` block. A last line without its end does not count.

    Raises:
        ValueError: If a line other than the last cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._findings: dict[int, dict[str, Finding]] = {}
        self._evaluations, self._cpu_seconds = 0, 0.0
        for number, line in enumerate(self.lines(), 1):
            try:
                self._add(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number} is damaged ({error}); delete the line or the file") from error

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._findings

    @property
    def seconds_per_evaluation(self) -> float:
        """CPU time of one evaluation, over all that were computed."""
        return self._cpu_seconds / max(1, self._evaluations)

    def append(
        self,
        image_ids: Sequence[int],
        findings: Mapping[str, Sequence[Finding]],
        evaluations: int,
        cpu_seconds: float,
    ) -> None:
        """Write what all searches made of a group of images, and what its errors cost to compute.

        Raises:
            OSError: If it cannot be written; the groups before are kept.
        """
        group: dict[str, Any] = {
            "image_ids": list(image_ids),
            "findings": {name: [asdict(f) for f in of_search] for name, of_search in findings.items()},
            "evaluations": evaluations,
            "cpu_seconds": cpu_seconds,
        }
        self.write(json.dumps(group) + "\n")
        self._add(group)

    def rows(self, searches: Sequence[str], image_ids: Sequence[int], labels: np.ndarray) -> list[Row]:
        """A row for each search over these images.

        Args:
            searches: Their names; the others are compared with the first.
            image_ids: Ids of B images that are on record.
            labels: int64 ``(B,)``, the true classes.
        """
        reference = np.array([self._findings[i][searches[0]].prediction for i in image_ids])
        rows = []
        for name in searches:
            findings = [self._findings[i][name] for i in image_ids]
            predictions = np.array([f.prediction for f in findings])
            evaluations = float(np.mean([f.evaluations for f in findings]))
            bookkeeping = float(np.mean([f.bookkeeping_seconds for f in findings]))
            rows.append(
                Row(
                    search=name,
                    images=len(findings),
                    accuracy=float((predictions == labels).mean()),
                    agreement=float((predictions == reference).mean()),
                    evaluations_per_image=evaluations,
                    cpu_seconds=evaluations * self.seconds_per_evaluation + bookkeeping,
                )
            )
        return rows

    def _add(self, group: Mapping[str, Any]) -> None:
        for place, image_id in enumerate(group["image_ids"]):
            self._findings[image_id] = {
                name: Finding(**of_search[place]) for name, of_search in group["findings"].items()
            }
        self._evaluations += group["evaluations"]
        self._cpu_seconds += group["cpu_seconds"]


def compare(
    classifier: DiffusionClassifier,
    searches: Mapping[str, Search],
    images: Sequence[Any],
    image_ids: Sequence[int],
    record: SearchRecord,
    logits: np.ndarray | None = None,
) -> None:
    """Run all searches on the images that are not on record yet, and record what they find.

    Args:
        classifier: The model and what its error is; its own search has as many draws as the others.
        searches: The searches by name, with equally many draws.
        images: The images.
        image_ids: Their ids; equal ones are looked at once.
        record: Where the findings go.
        logits: ``(B, K)``, what another model says of the images, for searches that ask.
    """
    todo = list({image_id: i for i, image_id in enumerate(image_ids) if image_id not in record}.values())
    evaluations = 0
    with record, tqdm(total=len(todo), desc="compare", unit="image", miniters=0) as bar:

        def advance(count: int) -> None:
            nonlocal evaluations
            evaluations += count
            bar.set_postfix_str(f"{evaluations:,} evaluations", refresh=False)
            bar.update(0)

        for start in range(0, len(todo), _TOGETHER):
            group = todo[start : start + _TOGETHER]
            ids = [image_ids[i] for i in group]
            remembered = CachedErrors(classifier.evaluator)
            scores = None if logits is None else logits[group]
            encoded_images = list(encode_each(classifier.denoiser, [images[i] for i in group], ids, scores))
            engine = replace(classifier.engine, evaluator=remembered)
            findings = {
                name: _run(classifier, engine, remembered, search, encoded_images, advance)
                for name, search in searches.items()
            }
            record.append(ids, findings, remembered.evaluations, remembered.cpu_seconds)
            bar.update(len(group))


def _run(
    classifier: DiffusionClassifier,
    engine: Engine,
    remembered: CachedErrors,
    search: Search,
    encoded_images: Sequence[EncodedImage],
    advance: Callable[[int], object],
) -> list[Finding]:
    network, start = remembered.cpu_seconds, time.process_time()
    found = {
        state.encoded.index: classifier.summary(state) for state in engine.run(iter(encoded_images), search, advance)
    }
    bookkeeping = time.process_time() - start - (remembered.cpu_seconds - network)
    return [
        Finding(
            prediction=int(result.predictions[0]),
            evaluations=int(result.total_evaluations[0]),
            bookkeeping_seconds=bookkeeping / len(encoded_images),
        )
        for result in (found[encoded.index] for encoded in encoded_images)
    ]
