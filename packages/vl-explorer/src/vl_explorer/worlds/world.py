"""A web on this machine with a task in it: images that can be searched for, and those of them that the task needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vl_core.data import ImageDataset

from vl_explorer.rewards.encoder import ImageEncoder
from vl_explorer.search.captions import CaptionEngine
from vl_explorer.vocabulary.concepts import Vocabulary


@dataclass(frozen=True)
class HeldOut:
    """Labeled images of the task, none of which is in the web."""

    train: ImageDataset
    """Images that the classifier knows; those of the target are among them."""
    test: ImageDataset
    """Images that it is tested on, of the same classes."""

    def accuracy(self, encoder: ImageEncoder, *, neighbors: int = 20) -> float:
        """Accuracy of k-NN on the test side, with the train side as its bank.

        Args:
            encoder: Makes the features of both.
            neighbors: Of the train side that vote, at most all of it.
        """
        import torch
        from vl_core.features import knn_accuracy

        sides = (self.train, self.test)
        known, tested = (torch.from_numpy(encoder([side[place][0] for place in range(len(side))])) for side in sides)
        known_labels, labels = (torch.from_numpy(np.asarray(side.labels, np.int64)) for side in sides)
        return float(knn_accuracy(known, known_labels, tested, labels, k=min(neighbors, len(known))))


@dataclass(frozen=True)
class World:
    """A web of images with captions, and a task; made by `open_world`."""

    name: str
    """Name of the web."""
    task: str
    """Name of the task, in one word of the vocabulary's embedding."""
    engine: CaptionEngine
    """Finds images of the web by their captions, and reads them."""
    web: ImageDataset
    """Images of the web, by the numbers in the addresses of the engine."""
    target: ImageDataset
    """Images of the task without labels, none of which is in the web."""
    held_out: HeldOut
    """Labeled images of the task, to measure what was learned."""
    vocabulary: Vocabulary
    """Concepts that can be searched for."""
    relevant: frozenset[str]
    """Addresses of the images of the web that show what the task is about; to measure with, never to search by."""

    def describe(self) -> str:
        """Summary of the web and the task in one line."""
        return (
            f"{self.name}, {self.task}: {len(self.web):,} images, {len(self.relevant):,} of them relevant; "
            f"{len(self.vocabulary):,} concepts; {len(self.target)} target images; {len(self.held_out.train)} and "
            f"{len(self.held_out.test)} labeled images of {len(self.held_out.test.classes)} classes held out"
        )
